"""The figure, from the table alone."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analyses.experiments.depth.settings import DEEP, RIVALS, of_use, setting_of
from analyses.experiments.depth.verdicts import LEVEL, decisions, diverged_networks, finding, gaps
from analyses.framework.claims import hodges_lehmann
from elutheory.output.figures import look_of, style


def draw(table: Any) -> Figure:
    """By depth: (a) test errors, median and range over seeds; (b) ELU's leads, and pooled above DEEP layers."""
    names = table["activation"].unique().tolist()
    depths = sorted(table["depth"].unique().tolist())
    compared = of_use(table, "comparison")
    spread = max(depths) / 60
    with style():
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        panels: Any = figure.subplots(1, 2)
        for order, name in enumerate(names):
            shift = spread * (order - (len(names) - 1) / 2)
            _draw_errors(panels[0], name, compared[compared["activation"] == name], shift)
        lowest, highest = panels[0].dataLim.intervaly
        if highest > 3 * lowest > 0:
            panels[0].set_yscale("log")
        for order, rival in enumerate(rival for rival in RIVALS if {"elu", rival} <= set(names)):
            _draw_leads(panels[1], rival, gaps(table, rival), spread * (order - 0.5))
        _draw_pooled(panels[1], table, max(depths))
        panels[1].axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
        titles = ("(a) test error", f"(b) ELU's lead, and its mean above {DEEP} layers")
        for panel, title in zip(panels, titles, strict=True):
            panel.set_title(title, loc="left")
            panel.set_xticks(depths)
            panel.set_xlabel("hidden layers")
        lost = diverged_networks(compared)
        panels[0].set_xlabel("\n".join(["hidden layers", *lost]))
        panels[0].set_ylabel("test examples misclassified (%)")
        panels[1].set_ylabel("percentage points")
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names), frameon=False
        )
        said = (finding(table), *setting_of(table).split("\n"))
        figure.suptitle("\n".join(textwrap.fill(line, 110) for line in said if line), fontsize=8)
    return figure


def _draw_errors(panel: Any, name: str, networks: Any, shift: float) -> None:
    """Median and range over the seeds that did not diverge."""
    look = look_of(name)
    errors = (100 * networks["test_error"]).groupby(networks["depth"]).agg(["median", "min", "max"])
    middle = errors["median"]
    ranges = [middle - errors["min"], errors["max"] - middle]
    shown: Any = {"color": look.colour, "linestyle": look.line, "marker": look.marker, "markersize": 4}
    panel.errorbar(errors.index + shift, middle, ranges, linewidth=1, label=look.label, **shown)


def _draw_leads(panel: Any, rival: str, gap: Any, shift: float) -> None:
    """Hodges–Lehmann estimates with a 95 % interval for each depth alone; none where a network of a pair diverged."""
    look = look_of(rival)
    for depth in gap:
        if not np.isfinite(gap[depth]).all():
            continue
        lead, low, high = hodges_lehmann(gap[depth], LEVEL)
        if np.isfinite([low, high]).all():
            panel.plot([depth + shift] * 2, [low, high], color=look.colour, linewidth=1)
        panel.plot(depth + shift, lead, look.marker, color=look.colour, markersize=4)


def _draw_pooled(panel: Any, table: Any, last: int) -> None:
    """The mean lead above DEEP hidden layers, a line with the band of its interval."""
    for one in decisions(table):
        name, _, rival = one.claim.identifier.partition(": ")
        if name != f"above {DEEP}" or not np.isfinite(one.effect):
            continue
        look, reach = look_of(rival), [DEEP + 0.5, last + 0.5]
        panel.plot(reach, [one.effect] * 2, color=look.colour, linestyle=look.line, linewidth=1.2)
        if np.isfinite([one.low, one.high]).all():
            panel.fill_between(reach, one.low, one.high, color=look.colour, alpha=0.15, linewidth=0)
        panel.annotate(look.label, (reach[1], one.effect), (4, 0), textcoords="offset points", fontsize=8,
                       color=look.colour, va="center")  # fmt: skip
        panel.set_xlim(right=reach[1] * 1.3)
