"""Figures with the layers of a model along the horizontal axis: points without lines, labels that differ.

Neighbours on the axis need not follow one another in the model, so no line joins them. What belongs to one layer,
before and after, is joined. Legends stand above the panels, never on data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any

import numpy
from matplotlib.figure import Figure

from elutheory.output.figures import style
from elutheory.output.short_labels import short_labels

_MOST_LABELS = 120
_ONE_COLUMN = 16  # layers, beyond which panels stand below one another
_SIZES = {"font.size": 10, "axes.titlesize": 11, "legend.fontsize": 8.5}


@dataclass(frozen=True)
class Points:
    """One number per layer, NaN where there is none, with its standard error if it has one."""

    values: Sequence[float]
    label: str
    colour: str
    marker: str
    errors: Sequence[float] | None = None
    filled: bool = True


@dataclass(frozen=True)
class Panel:
    """Several of them. `level`: a line that means no effect; `joined`: the points of one layer are joined."""

    title: str
    points: tuple[Points, ...]
    scale: str = "linear"
    level: float | None = None
    joined: bool = False
    named: str = field(default="layer", kw_only=True)


def figure_by_layer(names: Sequence[str], panels: Sequence[Panel]) -> Figure:
    """The panels, two in a row, or below one another where there are many layers."""
    labels = short_labels(names)
    step = -(-len(labels) // _MOST_LABELS)
    wide = len(names) > _ONE_COLUMN
    columns = 1 if wide or len(panels) == 1 else 2
    rows = -(-len(panels) // columns)
    turned = wide or sum(map(len, labels)) > 40
    with style(_SIZES):
        figure = Figure(figsize=(min(16.0, max(10.0, 0.145 * len(names))), 1.2 + 2.9 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
        for panel, place in zip(panels, axes.flat, strict=False):
            _draw(place, panel, len(names))
        for place in axes.flat[len(panels) :]:
            place.set_axis_off()
        for place in axes[-1]:
            place.set_xticks(range(0, len(labels), step), labels[::step], rotation=90 if turned else 0)
            for label in place.get_xticklabels():
                label.set_parse_math(False)
                label.set_fontsize(7 if len(labels) > 60 else 8 if turned else 10)
            place.set_xlabel(panels[0].named)
            place.set_xlim(-0.6, len(names) - 0.4)
    return figure


def _draw(place: Any, panel: Panel, count: int) -> None:
    shown = [points for points in panel.points if numpy.isfinite(_values(points, panel)).any()]
    if not shown:
        place.set_title(panel.title, loc="left")
        place.text(0.5, 0.5, f"not defined for these {panel.named}s", transform=place.transAxes, ha="center")
        return
    width = 0.5 / len(shown) if len(shown) > 1 else 0.0
    size = 5.0 if count <= 40 else 3.2
    drawn = []
    for number, points in enumerate(shown):
        positions = numpy.arange(count) + width * (number - (len(shown) - 1) / 2)
        values = _values(points, panel)
        drawn.append((positions, values))
        place.plot(
            positions,
            values,
            color=points.colour,
            marker=points.marker,
            markersize=size,
            linestyle="",
            label=points.label,
            markerfacecolor=points.colour if points.filled else "white",
            zorder=3,
        )
        if points.errors is not None:
            errors = numpy.nan_to_num(numpy.asarray(points.errors, dtype=float), nan=0.0)
            if panel.scale == "log":
                errors = numpy.stack([numpy.minimum(errors, 0.9 * numpy.nan_to_num(values)), errors])
            place.errorbar(positions, values, errors, color=points.colour, linestyle="", linewidth=1.0, zorder=2)
    if panel.joined and len(drawn) == 2:
        (left, before), (right, after) = drawn
        place.plot([left, right], [before, after], color="0.6", linewidth=0.8, zorder=1, label="_joined")
    place.set_yscale(panel.scale)
    if panel.level is not None:
        place.axhline(panel.level, color="0.8", linewidth=0.8, zorder=0)
    place.grid(axis="x", color="0.93", linewidth=0.6)
    place.set_axisbelow(True)
    columns = 3 if sum(len(points.label) for points in shown) < 56 else 2 if len(shown) > 1 else 1
    lines = -(-len(shown) // columns)
    place.set_title(panel.title, loc="left", pad=8 + 15 * lines)
    place.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=columns,
        frameon=False,
        borderaxespad=0.1,
        handletextpad=0.3,
        columnspacing=1.0,
    )


def _values(points: Points, panel: Panel) -> Any:
    values = numpy.asarray(points.values, dtype=float)
    return numpy.where(values == 0, nan, abs(values)) if panel.scale == "log" else values
