"""The moments as curves over mean or std."""

import math

import matplotlib
import numpy
from matplotlib.figure import Figure

from elutheory.activations.activation_function import Activation
from elutheory.moments.verification import SYMBOLS, Row
from elutheory.output.figures import look_of, style


def figure_of(function: Activation, rows: list[Row]) -> Figure:
    """Six panels, one per moment, over the means with one curve per std; over the stds if they are more.

    A single curve has the activation's colour; of several, the colour tells the std (or mean), dark to light.
    """
    means = sorted({row.mean.value for row in rows})
    stds = sorted({row.std.value for row in rows})
    over_mean = len(means) >= len(stds)
    across, along = ("mean", "std") if over_mean else ("std", "mean")
    curves = stds if over_mean else means
    if len(curves) == 1:
        colours = [look_of(str(function)).colour]
    else:
        colours = list(matplotlib.colormaps["viridis"](numpy.linspace(0, 1, len(curves) + 2)[1:-1]))
    with style():
        figure = Figure(figsize=(7.2, 4.6), layout="constrained")
        panels = figure.subplots(2, 3, sharex=True)
        for panel, (name, symbol) in zip(panels.flat, SYMBOLS.items(), strict=True):
            for colour, level in zip(colours, curves, strict=True):
                points = sorted(
                    (getattr(row, across).value, row.values[name]) for row in rows if getattr(row, along).value == level
                )
                shown = [(x, y) for x, y in points if math.isfinite(y)]
                if shown:
                    panel.plot(*zip(*shown, strict=True), color=colour, linewidth=1.4, label=f"{along} {level:g}")
            if not panel.lines:
                panel.text(0.5, 0.5, "no finite value", transform=panel.transAxes, ha="center", color="0.4")
            panel.set_title(symbol)
            panel.axhline(0, color="0.8", linewidth=0.6, zorder=0)
        for panel in panels[1]:
            panel.set_xlabel(f"{across} of X (net-input units)")
        if 1 < len(curves) <= 8:
            handles, labels = panels.flat[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside right upper", frameon=False)
        figure.suptitle(f"{function} of X ~ N(mean, std²)")
    return figure
