"""The figure, from the table alone."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analyses.experiments.causal_claim.settings import METHODS, ROUNDING, setting_of
from analyses.experiments.causal_claim.verdicts import LEVEL, explained, gaps, predictions
from analyses.framework.claims import hodges_lehmann
from elutheory.output.figures import look_of, style


def draw(table: Any) -> Figure:
    """Above: training loss, a panel per method (median over seeds, range). Below: gaps with 95 % intervals, and the
    decrease of ln loss in the next epoch of SGD by cosine and by mean share, relative to the mean over activations."""
    with style():
        figure = Figure(figsize=(7.2, 4.6), layout="constrained")
        parts: Any = figure.subfigures(2, 1)
        above, below = parts
        panels: Any = above.subplots(1, 4, sharey=True)
        for panel, method, letter in zip(panels, METHODS, "abcd", strict=True):
            _draw_losses(panel, table, method)
            panel.set_title(f"({letter}) {method}")
            panel.set_xlabel("updates")
        panels[0].set_yscale("log")
        _limit_losses(panels)
        panels[0].set_ylabel("training loss (nats)")
        panels[0].legend(frameon=False, fontsize=7)
        panels = below.subplots(1, 3, width_ratios=[1.25, 1, 1])
        _draw_gaps(panels[0], table)
        panels[1].sharey(panels[2])
        for panel, name, title in zip(
            panels[1:], ("cosine", "mean_share"), ("(f) cosine", "(g) mean share"), strict=True
        ):
            _draw_predictions(panel, table, name)
            panel.set_title(title)
        figure.suptitle(setting_of(table).replace(" updates, ", " updates,\n"), fontsize=8)
    return figure


def _draw_losses(panel: Any, table: Any, method: str) -> None:
    rows = table[(table["role"] == "test") & (table["method"] == method) & (table["epoch"] > 0)]
    for name, of_one in rows.groupby("activation", sort=False):
        look = look_of(name)
        losses = of_one.pivot(index="updates", columns="seed", values="train_loss").clip(lower=ROUNDING)
        panel.plot(losses.index, losses.median(axis=1), color=look.colour, linestyle=look.line, label=look.label)
        panel.fill_between(
            losses.index, losses.min(axis=1), losses.max(axis=1), color=look.colour, alpha=0.2, linewidth=0
        )


def _limit_losses(panels: Any) -> None:
    """The medians and a factor of 3; a panel says how far runs reach beyond."""
    medians = np.concatenate([line.get_ydata() for panel in panels for line in panel.lines])
    lowest, highest = np.nanmin(medians) / 3, np.nanmax(medians) * 3
    panels[0].set_ylim(lowest, highest)
    for panel in panels:
        reached = max(band.get_datalim(panel.transData).y1 for band in panel.collections)
        if reached > highest:
            note = f"single runs\nreach {reached:.1g}"
            panel.text(0.97, 0.97, note, transform=panel.transAxes, ha="right", va="top", fontsize=7)


def _draw_gaps(panel: Any, table: Any) -> None:
    names = table["activation"].unique().tolist()
    rivals = [name for name in names if name != "elu"] if "elu" in names else []
    for order, rival in enumerate(rivals):
        look = look_of(rival)
        for place, values in enumerate(gaps(table, rival=rival).values()):
            effect, low, high = hodges_lehmann(values, LEVEL)
            low, high = (low, high) if np.isfinite([low, high]).all() else (effect, effect)
            height = -place + 0.18 * ((len(rivals) - 1) / 2 - order)
            reach = [[effect - low], [high - effect]]
            label = look.label if place == 0 else None
            panel.errorbar(
                effect, height, xerr=reach, fmt=look.marker, color=look.colour, markersize=4, linewidth=1, label=label
            )
    panel.axvline(0.0, color="0.7", linewidth=0.6, zorder=0)
    panel.set_yticks([-place for place in range(len(METHODS))], METHODS)
    panel.set_xlabel("mean ln training loss less ELU's")
    panel.set_title("(e) gap behind ELU")
    panel.legend(frameon=False, fontsize=7)


def _draw_predictions(panel: Any, table: Any, name: str) -> None:
    rows = predictions(table)
    for activated, of_one in rows.groupby("activation", sort=False):
        panel.scatter(
            of_one[name], of_one["decrease"], s=3, color=look_of(str(activated)).colour, alpha=0.5, linewidth=0
        )
    square = explained(table)[name].median()
    panel.text(0.03, 0.97, f"r² = {square:.2f}", transform=panel.transAxes, fontsize=8, va="top")
    panel.set_xlabel(f"{name.replace('_', ' ')}, relative", fontsize=8)
    if name == "cosine":
        panel.set_ylabel("decrease of ln loss\nan update, relative")
