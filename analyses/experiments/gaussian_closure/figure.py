"""The figure, from the table alone."""

from typing import Any

import numpy as np
import pandas
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analyses.experiments.gaussian_closure.settings import deepest_layer
from elutheory.output.figures import Look, label_of, look_of, style


def draw(table: pandas.DataFrame) -> Figure:
    """(a) the deepest layer's median unit mean, measured (points) and by M3 (lines); (b), (c) what M3 and M4 leave
    unexplained after training; (d) why: the net inputs' excess kurtosis. Means over seeds; bars and bands: range.
    """
    names, deepest, last = list(table["activation"].unique()), deepest_layer(table), max(table["epoch"])
    trained, deep = table[table["epoch"] == last], table[table["layer"] == deepest]
    with style():
        figure = Figure(figsize=(7.2, 5.6), layout="constrained")
        panels: Any = figure.subplots(2, 2)
        first, *others = panels.flat
        for name, runs in deep.groupby("activation", sort=False):
            _draw_medians(first, runs, look_of(str(name)))
        _draw_curves(others[0], trained, "unexplained")
        _draw_curves(others[0], trained, "unexplained_corrected", dotted=True)
        _draw_curves(others[1], trained, "variance_unexplained")
        _draw_curves(others[2], trained, "excess_kurtosis")
        titles = (
            (f"(a) layer {deepest}: measured, and lines for Gaussian inputs", "median unit mean"),
            (f"(b) unit means, epoch {last}", "unexplained share, 1 − R²"),
            (f"(c) unit variances, epoch {last}", "unexplained share, 1 − R²"),
            (f"(d) net inputs, epoch {last}", "excess kurtosis"),
        )
        for panel, (title, label) in zip(panels.flat, titles, strict=True):
            panel.set_title(title)
            panel.set_ylabel(label)
        first.set_xscale("symlog", linthresh=1)
        ticks = [0, *(10**power for power in range(0, len(str(last)), 2 if last >= 1000 else 1))]
        first.set_xticks(ticks, [str(tick) for tick in ticks])
        first.set_xlabel("epoch")
        for panel in others:
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            panel.set_xlabel("layer")
        for panel in others[:2]:
            panel.set_yscale("log")
            panel.axhline(1.0, color="0.6", linewidth=0.8)
        others[2].axhline(0.0, color="0.6", linewidth=0.8)
        curves = others[1].get_lines()[: len(names)]
        for curve, name in zip(curves, names, strict=True):
            curve.set_label(f"{label_of(name)}{_diverged_note(trained, name)}")
        wide = Line2D([], [], color="0.6", linewidth=0.8, label="1: the layer's units alike")
        corrected = Line2D([], [], color="0.2", linestyle=":", label="with skewness and kurtosis")
        handles = [*curves, wide, corrected]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
        figure.suptitle(
            "What Gaussian net inputs explain (M3, M4): means over seeds; bars and bands: their range", fontsize=8
        )
    return figure


def _draw_medians(panel: Any, runs: Any, look: Look) -> None:
    predicted = _over_seeds(runs, "epoch", "median_predicted")
    panel.plot(predicted.index, predicted["mean"], color=look.colour, linewidth=1.2)
    measured = _over_seeds(runs, "epoch", "median")
    bars = np.abs(measured[["min", "max"]].to_numpy().T - measured["mean"].to_numpy())
    panel.errorbar(
        measured.index, measured["mean"], bars, fmt=look.marker, color=look.colour, markersize=3, linewidth=0.8
    )


def _draw_curves(panel: Any, rows: Any, column: str, *, dotted: bool = False) -> None:
    for name, runs in rows.groupby("activation", sort=False):
        look = look_of(str(name))
        found = _over_seeds(runs, "layer", column)
        panel.fill_between(found.index, found["min"], found["max"], color=look.colour, alpha=0.2, linewidth=0)
        marks = {"linestyle": ":"} if dotted else {"marker": look.marker, "markersize": 3, "label": look.label}
        panel.plot(found.index, found["mean"], color=look.colour, linewidth=1.0, **marks)


def _over_seeds(rows: Any, along: str, column: str) -> Any:
    """Mean, smallest and largest over the seeds that have a number: not diverged, nor units all alike."""
    return rows.dropna(subset=column).groupby(along)[column].agg(["mean", "min", "max"])


def _diverged_note(trained: Any, name: str) -> str:
    runs = trained[(trained["activation"] == name) & (trained["layer"] == 1)]
    diverged = int(runs["diverged"].notna().sum())
    return f" ({diverged} of {len(runs)} diverged)" if diverged else ""
