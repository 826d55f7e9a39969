"""The figure, from the table alone."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analyses.experiments.vanishing_gradient.settings import INITIALISATION_NAMES, setting_of
from elutheory.output.figures import label_of, look_of, style

_POINTS, _MARKERS = 18, 7
_LOWEST = 8.0
"""Powers of ten below 1 that are drawn: what falls faster leaves the panel, straight down."""


def draw(table: Any) -> Figure:
    """A panel per initialisation: s by depth, in powers of ten."""
    layers = table[table["kind"] == "layer"]
    starts = list(layers["initialisation"].unique())
    names = list(layers["activation"].unique())
    with style():
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        panels: Any = figure.subplots(1, len(starts), sharex=True, sharey=True, squeeze=False)[0]
        for letter, panel, start in zip("abcdefgh", panels, starts, strict=False):
            shown = layers[layers["initialisation"] == start]
            for name in names:
                curve = shown[shown["activation"] == name]
                if not curve.empty:
                    _draw_curve(panel, curve, name)
            panel.axhline(0.0, color="0.7", linewidth=0.6, zorder=0)
            panel.set_title(f"({letter}) {INITIALISATION_NAMES[start]}")
        _scale(panels[0], layers)
        figure.supxlabel("layers below the last", fontsize=9)
        _add_legend(figure, names, table.iloc[0])
    return figure


def _draw_curve(panel: Any, rows: Any, name: str) -> None:
    """In powers of ten: P3 as a line, the measured mean as points with their spread, P6's band of one network."""
    look = look_of(name)
    powers = rows.iloc[::-1][["infinite_width", "finite_width", "band", "log_gradient", "std"]] / np.log(10)
    below = np.arange(len(powers))
    # closest where the first layers bend the curve
    lines = np.unique((below[-1] * np.sin(np.linspace(0, np.pi / 2, _POINTS))).round().astype(int))
    marked = np.unique(np.linspace(0, below[-1], _MARKERS).round().astype(int))
    panel.plot(lines, powers["infinite_width"].iloc[lines], color=look.colour, linewidth=1.0)
    points = powers.iloc[marked]
    panel.plot(marked, points["log_gradient"], color=look.colour, marker=look.marker, markersize=3, linestyle="none")
    low, high = (powers["finite_width"] + sign * powers["band"] for sign in (-1, 1))
    panel.fill_between(lines, low.iloc[lines], high.iloc[lines], color=look.colour, alpha=0.18, linewidth=0)
    low, high = (points["log_gradient"] + sign * points["std"].fillna(0.0) for sign in (-1, 1))
    places, ends = np.repeat(marked.astype(float), 3), np.stack([low, high, np.full(len(marked), np.nan)], axis=1)
    panel.plot(places, ends.ravel(), color=look.colour, linewidth=0.7)


def _scale(panel: Any, layers: Any) -> None:
    powers = layers[["log_gradient", "infinite_width"]].to_numpy() / np.log(10)
    top = 1.2 * max(powers.max(), 0.0) + 2
    panel.set_ylim(-min(top, _LOWEST), top)
    panel.set_ylabel("second moment of δ,\nlast layer: 1")
    panel.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 4, 5, 10], integer=True))
    panel.yaxis.set_major_formatter(lambda power, _: f"$10^{{{power:.0f}}}$")


_LEGEND: dict[str, Any] = {"fontsize": 8, "frameon": False, "handlelength": 1.6, "columnspacing": 1.2}


def _add_legend(part: Any, names: list[str], row: Any) -> None:
    handles = [
        Line2D([], [], color=look_of(name).colour, marker=look_of(name).marker, markersize=4, label=label_of(name))
        for name in names
    ]
    read = "lines: P3; points: mean of the logarithm, bars: std over networks; bands: one network to order 1/width (P6)"
    title = f"{setting_of(row)}\n{read}"
    part.legend(
        handles=handles, title=title, title_fontsize=8, loc="outside upper center", ncols=len(handles), **_LEGEND
    )
