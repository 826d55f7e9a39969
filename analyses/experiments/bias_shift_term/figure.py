"""The figure, from the table alone: size and exponent of the term over the mean, by part, layer and mean."""

from typing import Any

import numpy as np
import pandas
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from analyses.experiments.bias_shift_term.exponents import SMALL, TOLERANCE, across_layers
from analyses.experiments.bias_shift_term.settings import setting_of
from analyses.experiments.bias_shift_term.translated_units import PARTS
from elutheory.output.figures import look_of, style


def draw(table: Any) -> Figure:
    """Undamped; means over layers, before and after training, as median over seeds and range."""
    exact = table[table["damping"] == 0]
    names = exact["activation"].unique().tolist()
    with style():
        figure = Figure(figsize=(7.2, 5.4), layout="constrained")
        panels: Any = figure.subplots(2, 3)
        _draw_sizes(panels[0, 0], exact)
        _draw_exponents(panels[0, 1], exact)
        as_it_is = exact[exact["t"] == 1]
        _draw_by(panels[0, 2], as_it_is, {_SHORT[part]: f"exponent_{part}" for part in PARTS}, names)
        panels[0, 2].set_title("(c) parts of the term, t = 1")
        _draw_layers(panels[1, 0], as_it_is, names)
        _draw_means(panels[1, 1], as_it_is, names)
        _draw_by(panels[1, 2], as_it_is, {_SHORT[part]: f"near_{part}" for part in PARTS}, names)
        panels[1, 2].axhline(0.5, color="0.7", linewidth=0.6, linestyle=":", zorder=0)
        panels[1, 2].set_title(f"(f) exponent 1 ± {TOLERANCE:g}, t = 1")
        panels[1, 2].set_ylabel("share of units")
        for panel in panels.flat:
            panel.minorticks_off()
        for panel in (panels[0, 1], panels[0, 2], panels[1, 0]):
            panel.axhline(1.0, color="0.7", linewidth=0.6, zorder=0)
            panel.set_ylabel("d ln|term|/d ln t")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8)
        figure.suptitle(setting_of(table).replace("; exact", ";\nexact"), fontsize=8)
    return figure


_SHORT = {"shift": "shift", "bias": "Δw$_0$", "weights": "Δw", "gradient": "bΔw$_0$", "incoming": "kE$_q$a"}


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
    panel.set_title("(a) bias-shift term")
    panel.set_xlabel("t: mean, relative to what it is")
    panel.set_ylabel("|shift| / effect of update")


def _draw_exponents(panel: Any, exact: Any) -> None:
    for name, rows in exact[exact["t"] > 0].groupby("activation", sort=False):
        look = look_of(str(name))
        predicted, measured = (_over_seeds(rows, column, "t") for column in ("predicted_exponent", "exponent_shift"))
        panel.plot(predicted.index, predicted["middle"], color=look.colour, linestyle=look.line, linewidth=1)
        _draw_points(panel, str(name), measured.index, measured)
    panel.set_xscale("log")
    panel.set_title("(b) its exponent (line: theory)")
    panel.set_xlabel("t: mean, relative to what it is")


def _draw_by(panel: Any, rows: Any, columns: dict[str, str], names: list[str]) -> None:
    """A group of points per column, one per activation: median over seeds and range."""
    for order, name in enumerate(names):
        of_one = rows[rows["activation"] == name]
        found = pandas.concat([_over_seeds(of_one, column, "activation") for column in columns.values()])
        places = np.arange(len(columns)) + 0.14 * (order - (len(names) - 1) / 2)
        _draw_points(panel, name, places, found)
    panel.set_xticks(range(len(columns)), list(columns), fontsize=8)


def _draw_layers(panel: Any, as_it_is: Any, names: list[str]) -> None:
    """Before training open, after it filled."""
    for order, name in enumerate(names):
        shift = 0.14 * (order - (len(names) - 1) / 2)
        for epoch, rows in as_it_is[as_it_is["activation"] == name].groupby("epoch"):
            found = _over_seeds(rows, "exponent_shift", "layer")
            _draw_points(panel, name, found.index + shift, found, filled=bool(epoch))
    panel.set_xticks(sorted(as_it_is["layer"].unique()))
    panel.set_title("(d) shift by layer, t = 1")
    panel.set_xlabel("hidden layer (open: untrained)")


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
    panel.set_title("(e) size of the term, t = 1")
    panel.set_xlabel("rms of E$_q$[a]")
    panel.set_ylabel("|term| / |natural gradient|")
