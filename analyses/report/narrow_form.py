"""A figure's form for a phone: the same panels, one above the other, as wide as one of them."""

import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec

from elutheory.output.figures import style

WIDTH = 3.6
"""Inches; letters of 8 points can be read where the page is 34rem wide or less."""
_LETTERS = 56
"""Of 8 points, in a line of that width."""
_LINE = 0.15
"""Inches from one line of 8 points to the next."""


def narrowed(figure: Figure) -> Figure:
    """The figure, changed in place and returned: every panel below the one before, each as high as its row was.

    What the panels of a row or a column shared, labels and ticks, each has for itself; legends stand below, in two
    columns.
    """
    places = {
        axes: spec
        for axes in figure.axes
        if (spec := axes.get_subplotspec()) is not None and axes.get_label() != "<colorbar>"
    }
    heights = [_height(spec, figure) for spec in places.values()]
    with style():
        below = figure.get_supxlabel()
        for axes, spec in places.items():
            _label(axes, *_neighbours(spec, places), below)
        if below:
            figure.supxlabel("")
        grid = figure.add_gridspec(len(places), 1, height_ratios=heights)
        for index, axes in enumerate(places):
            axes.set_subplotspec(grid[index])
        lines = sum(_legend_below(figure, legend) for legend in list(figure.legends)) + _wrapped_title(figure)
    figure.set_size_inches(WIDTH, sum(heights) + _LINE * lines)
    return figure


def _height(spec: SubplotSpec, figure: Figure) -> float:
    """Of the panel's row or rows, in inches."""
    grid = spec.get_gridspec()
    ratios: Any = grid.get_height_ratios()
    return figure.get_figheight() * sum(ratios[row] for row in spec.rowspan) / sum(ratios)


def _neighbours(spec: SubplotSpec, places: dict[Axes, SubplotSpec]) -> tuple[Axes, Axes]:
    """The first panel of its row, and the lowest of its column."""
    first = next(axes for axes, other in places.items() if other.rowspan.start == spec.rowspan.start)
    column = [axes for axes, other in places.items() if spec.colspan.start in other.colspan]
    return first, column[-1]


def _label(axes: Axes, first: Axes, lowest: Axes, below: str) -> None:
    """Labels and ticks that the panel left to the first of its row, the lowest of its column, or the whole figure."""
    axes.set_ylabel(axes.get_ylabel() or first.get_ylabel())
    words = [label.get_text() for label in first.get_yticklabels()]
    alone = axes is not first and not axes.get_shared_y_axes().joined(axes, first)
    if alone and len(axes.get_yticks()) == len(words) and not any(text.get_text() for text in axes.get_yticklabels()):
        limits = axes.get_ylim()
        axes.set_yticks(axes.get_yticks(), words)
        axes.set_ylim(limits)
    axes.tick_params(labelleft=True, labelbottom=True)
    beside = max((len(label.get_text()) for label in axes.get_yticklabels() if "$" not in label.get_text()), default=0)
    letters = max(20, _LETTERS - 12 - beside)
    axes.set_xlabel(_wrapped(axes.get_xlabel() or lowest.get_xlabel() or below, letters))
    for side in ("left", "center"):
        if title := axes.get_title(side):
            axes.set_title(_wrapped(title, letters), loc=side)


def _legend_below(figure: Figure, legend: Any) -> int:
    """The legend anew, in two columns; returns the lines that it takes."""
    drawn: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        drawn |= dict(zip(labels, handles, strict=True))
    labels = [text.get_text() for text in legend.get_texts()]
    handles = [drawn.get(label, handle) for label, handle in zip(labels, legend.legend_handles, strict=True)]
    title = _wrapped(legend.get_title().get_text(), _LETTERS)
    labels = [textwrap.fill(label, _LETTERS // 2 - 6) for label in labels]
    legend.remove()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8, title=title, title_fontsize=8
    )
    return sum(label.count("\n") + 1 for label in labels) // 2 + 1 + title.count("\n") + bool(title)


def _wrapped_title(figure: Figure) -> int:
    """Returns the lines that the title takes."""
    title = figure.get_suptitle()
    if not title:
        return 0
    figure.suptitle(_wrapped(title, _LETTERS), fontsize=8)
    return _wrapped(title, _LETTERS).count("\n") + 1


def _wrapped(text: str, letters: int) -> str:
    return "\n".join(textwrap.fill(line, letters) for line in text.splitlines())
