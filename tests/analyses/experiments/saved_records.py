"""A table as its record keeps it, and the figure drawn from that alone."""

import io
from typing import Any

import numpy as np
import pandas
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from analyses.framework.records import Draw
from elutheory.output.csv_text import csv_of, without_apostrophes
from elutheory.output.figures import figure_bytes


def saved_and_drawn(table: pandas.DataFrame, draw: Draw) -> pandas.DataFrame:
    """The table after records.csv, which keeps 7 digits; its figure, drawn twice, must be the same.

    That a record's files are written and read whole, and that a figure has the same bytes in another process, is tested
    once for all analyses, in test_records.
    """
    text = csv_of(table, float_format="%.7g").encode()
    first, second = (
        without_apostrophes(pandas.read_csv(io.BytesIO(text), keep_default_na=False, na_values=[""])) for _ in range(2)
    )
    rendered_alike(draw(first), draw(second))
    return first


def rendered_alike(first: Figure, second: Figure) -> bytes:
    """The first as SVG; the second, which must hold the same, is not rendered: that is what a figure costs."""
    assert contents(first) == contents(second)
    return figure_bytes(first, "svg")


def contents(figure: Figure) -> list[Any]:
    """Of all that the figure holds: words, points, colours, and limits and scales of its axes; 10 digits of numbers."""
    held: list[Any] = []
    for panel in figure.axes:
        held.append([_digits(panel.get_position().bounds), panel.get_xscale(), panel.get_yscale()])
        held.append(_digits([panel.get_xlim(), panel.get_ylim()]))
    for artist in figure.findobj():
        if isinstance(artist, Text):
            held.append([artist.get_text(), _digits(artist.get_position())])
        elif isinstance(artist, Line2D):
            held.append([_digits(artist.get_xydata()), artist.get_color(), artist.get_marker(), artist.get_linestyle()])
        elif isinstance(artist, Patch):
            corners = artist.get_patch_transform().transform(artist.get_path().vertices)
            held.append([_digits(corners), artist.get_facecolor()])
        elif isinstance(artist, Collection):
            points = [*(path.vertices for path in artist.get_paths()), artist.get_offsets(), artist.get_facecolor()]
            held.append([_digits(numbers) for numbers in points])
    return held


def _digits(numbers: Any) -> list[str]:
    filled = np.ma.filled(np.ma.asarray(numbers, dtype=float), np.nan)  # of points that are not drawn
    return [f"{number:.10g}" for number in np.ravel(filled).tolist()]
