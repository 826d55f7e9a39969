"""The figure, from the table alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter, SymmetricalLogLocator

from analyses.experiments.depth.settings import RIVALS, SHALLOW, of_use, setting_of
from analyses.experiments.depth.verdicts import decisions, diverged_networks
from analyses.framework.claims import Decision
from elutheory.output.figures import label_of, look_of, number, style


def draw(table: Any) -> Figure:
    """By depth: (a) the chosen learning rate, (b) the test error, (c) the gap; filled where its test decides."""
    names = table["activation"].unique().tolist()
    depths = sorted(table["depth"].unique().tolist())
    grid = sorted(of_use(table, "tuning")["learning_rate"].unique())
    compared = of_use(table, "comparison")
    spread = max(depths) / 70
    with style():
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        panels: Any = figure.subplots(1, 3)
        for order, name in enumerate(names):
            networks = compared[compared["activation"] == name]
            shift = spread * (order - (len(names) - 1) / 2)
            _draw_rates(panels[0], name, networks, shift)
            _draw_errors(panels[1], name, networks, shift)
        opened = _draw_gaps(panels[2], decisions(table), spread)
        panels[0].set_yscale("log")
        panels[0].set_yticks(grid, [f"{rate:g}" for rate in grid])
        panels[0].minorticks_off()
        panels[0].set_ylim(grid[0] / 1.4, grid[-1] * 1.4)
        lowest, highest = panels[1].dataLim.intervaly
        if highest > 2 * lowest:
            _scale_by_decades(panels[1], (1, 1.5, 2, 3, 5))
        _scale_by_decades(panels[2], (1, 2, 5))
        titles = ("(a) chosen learning rate", "(b) test error (%)", "(c) the other's error − ELU's (%)")
        notes = ([], diverged_networks(compared), opened)
        for panel, title, note in zip(panels, titles, notes, strict=True):
            panel.set_title(title)
            panel.set_xticks(depths)
            panel.set_xlabel("\n".join(["hidden layers", *note]), fontsize=8)
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names), frameon=False
        )
        figure.suptitle(setting_of(table), fontsize=8)
    return figure


def _scale_by_decades(panel: Any, ticks: Sequence[float]) -> None:
    """Percentages on a logarithmic scale beyond ±1 %, a linear one within."""
    panel.set_yscale("symlog", linthresh=1)
    panel.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1, subs=ticks))
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _draw_rates(panel: Any, name: str, networks: Any, shift: float) -> None:
    look = look_of(name)
    rates = networks.groupby("depth")["learning_rate"].first()
    shown: Any = {"color": look.colour, "linestyle": look.line, "marker": look.marker, "markersize": 4}
    panel.plot(rates.index + shift, rates, label=look.label, linewidth=1, **shown)


def _draw_errors(panel: Any, name: str, networks: Any, shift: float) -> None:
    """Median and range over the seeds that did not diverge."""
    look = look_of(name)
    errors = (100 * networks["test_error"]).groupby(networks["depth"]).agg(["median", "min", "max"])
    middle = errors["median"]
    ranges = [middle - errors["min"], errors["max"] - middle]
    shown: Any = {"color": look.colour, "linestyle": look.line, "marker": look.marker, "markersize": 4}
    panel.errorbar(errors.index + shift, middle, ranges, linewidth=1, **shown)


def _draw_gaps(panel: Any, verdicts: list[Decision], spread: float) -> list[str]:
    """Hodges–Lehmann estimates and intervals, without end where seeds are too few or networks diverged.

    Returns lines about how the gap opens.
    """
    leads = [decision for decision in verdicts if not decision.claim.identifier.startswith("opening")]
    for decision in leads:
        depth, _, rival = decision.claim.identifier.partition(": ")
        look = look_of(rival)
        face = look.colour if decision.verdict in ("holds", "does not hold") else "white"
        place = int(depth) + spread * (RIVALS.index(rival) - 0.5)
        low, high = np.clip([decision.low, decision.high], -200, 200)  # outside the panel
        panel.plot([place, place], [low, high], color=look.colour, linewidth=1)
        panel.plot(place, decision.effect, marker=look.marker, markersize=4, color=look.colour, markerfacecolor=face)
    shown = [number for decision in leads for number in (decision.effect, decision.low, decision.high)]
    shown = [number for number in shown if np.isfinite(number)]
    panel.set_ylim(1.3 * min([-1, *shown]), 1.3 * max([1, *shown]))
    panel.axhline(0.0, color="0.7", linewidth=0.6, zorder=0)
    openings = [decision for decision in verdicts if decision not in leads]
    if not openings:
        return []
    panel.axvline(SHALLOW + 0.5, color="0.7", linewidth=0.6, linestyle=":", zorder=0)
    return [
        "mean gap, right − left of line:",
        *(
            "{} {} [{}, {}]".format(
                label_of(decision.claim.identifier.partition(": ")[2]),
                *(number(value, "+.2g") for value in (decision.effect, decision.low, decision.high)),
            )
            for decision in openings
        ),
    ]
