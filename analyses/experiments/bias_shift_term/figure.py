"""The figure, from the table alone: size and exponent of the term over the mean, and its size across layers."""

from typing import Any

import numpy as np
import pandas
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from analyses.experiments.bias_shift_term.exponents import SMALL, across_layers
from analyses.experiments.bias_shift_term.settings import setting_of
from elutheory.output.figures import look_of, style


def draw(table: Any) -> Figure:
    """Undamped; means over layers, before and after training, as median over seeds and range."""
    exact = table[table["damping"] == 0]
    names = exact["activation"].unique().tolist()
    with style():
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        panels: Any = figure.subplots(1, 3)
        _draw_sizes(panels[0], exact)
        _draw_exponents(panels[1], exact)
        _draw_means(panels[2], exact[exact["t"] == 1], names)
        for panel in panels:
            panel.minorticks_off()
        panels[1].axhline(1.0, color="0.7", linewidth=0.6, zorder=0)
        panels[1].set_ylabel("d ln|shift|/d ln t")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8)
        figure.suptitle(setting_of(table).replace("; exact", ";\nexact"), fontsize=8)
    return figure


def _over_seeds(rows: Any, column: str, index: str) -> Any:
    """Median and range over seeds of the means over all else, by `index`."""
    means = rows.groupby([index, "seed"])[column].mean().unstack()
    return pandas.DataFrame({"middle": means.median(axis=1), "low": means.min(axis=1), "high": means.max(axis=1)})


def _draw_points(panel: Any, name: str, places: Any, found: Any, *, filled: bool = True) -> None:
    """Median and range over seeds."""
    look, middle = look_of(name), found["middle"].to_numpy()
    reach = [middle - found["low"].to_numpy(), found["high"].to_numpy() - middle]
    face = look.colour if filled else "white"
    panel.errorbar(
        places, middle, reach, fmt=look.marker, color=look.colour, markerfacecolor=face, markersize=3.5, linewidth=0.8
    )


def _draw_sizes(panel: Any, exact: Any) -> None:
    for name, rows in exact[exact["t"] > 0].groupby("activation", sort=False):
        look, found = look_of(str(name)), _over_seeds(rows, "shift", "t")
        panel.plot(found.index, found["middle"], color=look.colour, linestyle=look.line, label=look.label)
        panel.fill_between(found.index, found["low"], found["high"], color=look.colour, alpha=0.15, linewidth=0)
    start = exact.loc[exact["t"] == SMALL, "shift"].median()
    ends = np.array([SMALL, 1.0])
    panel.plot(ends, 3 * start * ends / SMALL, color="0.4", linewidth=0.8, linestyle=":", label="slope 1")
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_ylim(top=3)
    panel.set_title("(a) size of the shift")
    panel.set_xlabel("t: means, of what they are")
    panel.set_ylabel("|shift| / effect of update")


def _draw_exponents(panel: Any, exact: Any) -> None:
    for name, rows in exact[exact["t"] > 0].groupby("activation", sort=False):
        look = look_of(str(name))
        predicted, measured = (_over_seeds(rows, column, "t") for column in ("predicted_exponent", "exponent_shift"))
        panel.plot(predicted.index, predicted["middle"], color=look.colour, linestyle=look.line, linewidth=1)
        _draw_points(panel, str(name), measured.index, measured)
    panel.set_xscale("log")
    panel.set_title("(b) its exponent")
    panel.set_xlabel("t: means, of what they are")


def _draw_means(panel: Any, as_it_is: Any, names: list[str]) -> None:
    """Medians over seeds by layer, before training open, after it filled."""
    for name in names:
        look = look_of(name)
        for epoch, rows in as_it_is[as_it_is["activation"] == name].groupby("epoch"):
            found = rows.groupby("layer")[["mean_activation", "length"]].median()
            face = look.colour if epoch else "white"
            panel.plot(*found.to_numpy().T, look.marker, color=look.colour, markersize=4, markerfacecolor=face)
    correlation, slope = across_layers(as_it_is)
    panel.set_xscale("log")
    panel.set_yscale("log")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    numbers = f"log-log slope {slope.mean():.2f}\nrank correlation {correlation.mean():.2f}"
    panel.text(1.0, 0.02, numbers, ha="right", va="bottom", transform=panel.transAxes, fontsize=7)
    panel.set_title("(c) by layer (open: untrained)")
    panel.set_xlabel("rms of E$_q$[a]")
    panel.set_ylabel("|term| / |natural gradient|")
