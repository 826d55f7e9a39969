"""One look for every figure: vector output that repeats byte for byte, colour-blind-safe colours."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

_SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "elutheory",
    "svg.fonttype": "path",
    "figure.dpi": 100,
}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib settings of the project's figures, without a display."""
    with matplotlib.rc_context({"backend": "Agg", **_SETTINGS}):
        yield


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as svg, pdf or png; without date, so that the same figure gives the same bytes."""
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}, "png": {}}[kind]
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
    return buffer.getvalue()
