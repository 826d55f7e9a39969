"""The figure, from the table alone."""

from typing import Any

import numpy as np
import pandas
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analyses.experiments.gaussian_closure.settings import deepest_layer
from elutheory.output.figures import label_of, look_of, style


def draw(table: pandas.DataFrame) -> Figure:
    """Above: measured (points) and predicted (lines) median over units of the mean activation, a panel per activation.

    Below: what M3 and M4 leave unexplained, and the net inputs' excess kurtosis. Means over seeds; bars and bands are
    their range.
    """
    names, deepest, last = list(table["activation"].unique()), deepest_layer(table), max(table["epoch"])
    trained, deep = table[table["epoch"] == last], table[table["layer"] == deepest]
    with style():
        figure = Figure(figsize=(7.2, 5.4), layout="constrained")
        above, below = np.ravel(np.asarray(figure.subfigures(2, 1, height_ratios=(1.0, 1.15))))
        panels: Any = above.subplots(1, len(names), squeeze=False)[0]
        for panel, name in zip(panels, names, strict=True):
            _draw_medians(panel, table[table["activation"] == name], look_of(name).colour)
            panel.set_title(f"{label_of(name)}{_diverged_note(trained, name)}")
        panels[0].set_ylabel("median unit mean")
        handles = _handles(_shown_layers(table))
        above.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=8)

        lower: Any = below.subplots(1, 4)
        _draw_curves(lower[0], deep, "epoch", "unexplained")
        _draw_curves(lower[1], trained, "layer", "unexplained")
        _draw_curves(lower[1], trained, "layer", "unexplained_corrected", dotted=True)
        _draw_curves(lower[2], trained, "layer", "variance_unexplained")
        _draw_curves(lower[3], trained, "layer", "excess_kurtosis")
        titles = (
            f"unit means, layer {deepest}:\n1 − R² of M3",
            f"unit means, epoch {last}:\n1 − R² of M3",
            f"unit variances, epoch {last}:\n1 − R² of M3 and M4",
            f"net inputs, epoch {last}:\nexcess kurtosis",
        )
        for panel, title in zip(lower, titles, strict=True):
            panel.set_title(title, fontsize=8)
        for panel in (*panels, lower[0]):
            panel.set_xscale("symlog", linthresh=1)
            ticks = [0, *(10**power for power in range(0, len(str(last)), 2 if last >= 1000 else 1))]
            panel.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=7)
            panel.set_xlabel("epoch")
        for panel in lower[1:]:
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            panel.set_xlabel("layer")
        for panel in lower[:3]:
            panel.set_yscale("log")
            panel.axhline(1.0, color="0.6", linewidth=0.8)
        lower[3].axhline(0.0, color="0.6", linewidth=0.8)
        curves = lower[0].get_lines()[: len(names)]
        wide = Line2D([], [], color="0.6", linewidth=0.8, label="1: one Gaussian a layer")
        corrected = Line2D([], [], color="0.2", linestyle=":", label="M3 with skewness and kurtosis")
        handles = [*curves, wide, corrected]
        below.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _shown_layers(table: Any) -> list[int]:
    """The first, a middle and the last."""
    return sorted({1, (deepest_layer(table) + 1) // 2, deepest_layer(table)})


def _handles(layers: list[int]) -> list[Line2D]:
    marks = [
        Line2D([], [], color=_shade("black", layer, layers[-1]), marker="o", markersize=3, label=f"layer {layer}")
        for layer in layers
    ]
    measured = Line2D([], [], color="0.2", marker="o", markersize=3, linestyle="", label="measured")
    return [*marks, measured, Line2D([], [], color="0.2", linewidth=1.2, label="M3")]


def _draw_medians(panel: Any, runs: Any, colour: str) -> None:
    for layer in _shown_layers(runs):
        shade = _shade(colour, layer, deepest_layer(runs))
        chosen = runs[runs["layer"] == layer]
        predicted = _over_seeds(chosen, "epoch", "median_predicted")
        panel.plot(predicted.index, predicted["mean"], color=shade, linewidth=1.2)
        measured = _over_seeds(chosen, "epoch", "median")
        bars = np.abs(measured[["min", "max"]].to_numpy().T - measured["mean"].to_numpy())
        panel.errorbar(measured.index, measured["mean"], bars, fmt="o", color=shade, markersize=3, linewidth=0.8)


def _draw_curves(panel: Any, rows: Any, along: str, column: str, *, dotted: bool = False) -> None:
    for name, runs in rows.groupby("activation", sort=False):
        look = look_of(str(name))
        found = _over_seeds(runs, along, column)
        panel.fill_between(found.index, found["min"], found["max"], color=look.colour, alpha=0.2, linewidth=0)
        marks = {"linestyle": ":"} if dotted else {"marker": look.marker, "markersize": 3, "label": look.label}
        panel.plot(found.index, found["mean"], color=look.colour, linewidth=1.0, **marks)


def _over_seeds(rows: Any, along: str, column: str) -> Any:
    """Mean, smallest and largest over the seeds that have a number: not diverged, nor units all alike."""
    return rows.dropna(subset=column).groupby(along)[column].agg(["mean", "min", "max"])


def _shade(colour: str, layer: int, deepest: int) -> Any:
    """The deeper the layer, the less white."""
    share = 0.3 + 0.7 * layer / deepest
    return tuple(1 - share * (1 - part) for part in to_rgb(colour))


def _diverged_note(trained: Any, name: str) -> str:
    runs = trained[(trained["activation"] == name) & (trained["layer"] == 1)]
    diverged = int(runs["diverged"].notna().sum())
    return f"\n{diverged} of {len(runs)} diverged" if diverged else ""
