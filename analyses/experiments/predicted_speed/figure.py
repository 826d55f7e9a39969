"""The figure, from the table alone."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analyses.experiments.predicted_speed.settings import setting_of
from analyses.experiments.predicted_speed.verdicts import compared, elu_to_relu
from elutheory.output.figures import look_of, plain_ticks, style

_LATE = 0.3
"""Nats; below, the second panel's points are open: there networks leave what the kernel at the start predicts."""


def draw(table: Any) -> Figure:
    """(a) measured over predicted updates, on the diagonal if T2 is right; (b) ELU's share of ReLU's; (c) over L/n."""
    rows = compared(table)
    with style():
        figure = Figure(figsize=(7.2, 3.0), layout="constrained")
        panels: Any = figure.subplots(1, 3)
        for name, of_one in rows.groupby("activation", sort=False):
            look = look_of(str(name))
            errors = of_one.assign(place=of_one["depth"] / of_one["width"]).groupby("place")["ratio"]
            middle = errors.median()
            panels[2].errorbar(
                middle.index,
                np.exp(middle),
                [np.exp(middle) - np.exp(errors.quantile(0.25)), np.exp(errors.quantile(0.75)) - np.exp(middle)],
                color=look.colour,
                linestyle=look.line,
                marker=look.marker,
                markersize=4,
                linewidth=1,
            )
        draw_predictions(panels[0], rows)
        ratios = elu_to_relu(rows)
        if len(ratios):
            late = ratios["loss"] < _LATE
            colour = look_of("elu").colour
            for chosen, filled, words in ((~late, colour, "early"), (late, "none", "late")):
                predicted, measured = np.exp(ratios.loc[chosen, "predicted"]), np.exp(ratios.loc[chosen, "measured"])
                label = f"{words}: loss {'below' if words == 'late' else 'of at least'} {_LATE:g}"
                shown: Any = {"facecolor": filled, "edgecolor": colour, "linewidth": 0.5, "label": label}
                panels[1].scatter(predicted, measured, s=7, alpha=0.7, **shown)
            panels[1].legend(frameon=False, fontsize=7, loc="lower right", handletextpad=0, borderaxespad=0)
            _draw_diagonal(panels[1], np.exp(ratios["predicted"]), np.exp(ratios["measured"]))
        panels[2].axhline(1.0, color="0.7", linewidth=0.6, zorder=0)
        for panel in panels:
            panel.set_xscale("log")
            plain_ticks(panel.xaxis)
        for panel in panels[:2]:
            panel.set_yscale("log")
            plain_ticks(panel.yaxis)
        labels = (
            ("(a) updates to a loss", "predicted", "measured"),
            ("(b) ELU's updates / ReLU's", "predicted", "measured"),
            ("(c) medians, quartiles", "depth/width", "measured / predicted updates"),
        )
        for panel, (title, across, up) in zip(panels, labels, strict=True):
            panel.set_title(title)
            panel.set_xlabel(across)
            panel.set_ylabel(up)
        columns = len(rows["activation"].unique())
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=max(1, columns), frameon=False)
        figure.suptitle(setting_of(table).replace("; nothing", ";\nnothing"), fontsize=8)
    return figure


def draw_predictions(panel: Any, rows: Any) -> None:
    """Measured over predicted updates of `compared` rows, a colour per activation, on the diagonal if T2 is right."""
    for name, of_one in rows.groupby("activation", sort=False):
        look = look_of(str(name))
        shown: Any = {"color": look.colour, "marker": look.marker, "s": 6, "alpha": 0.5, "linewidth": 0}
        panel.scatter(of_one["predicted"], of_one["counted"], label=look.label, **shown)
    _draw_diagonal(panel, rows["predicted"], rows["counted"])


def _draw_diagonal(panel: Any, across: Any, up: Any) -> None:
    if not len(across):
        return
    ends = [min(across.min(), up.min()) / 1.2, max(across.max(), up.max()) * 1.2]
    panel.plot(ends, ends, color="0.7", linewidth=0.8, zorder=0)
    panel.set_xlim(ends)
    panel.set_ylim(ends)
    panel.set_aspect("equal")
