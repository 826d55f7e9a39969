"""One look for every figure: vector output that repeats byte for byte, colour-blind-safe colours.

An activation has the same colour, marker and line everywhere; the colours are Okabe and Ito's.

Numbers as figures and the report print them.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isnan
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


@dataclass(frozen=True)
class Look:
    """How an activation is drawn: colour, marker, line style, and its name as readers know it."""

    colour: str
    marker: str
    line: Any
    label: str


_LOOKS = {
    "elu": Look("#0072B2", "o", "-", "ELU"),
    "relu": Look("#D55E00", "s", "-", "ReLU"),
    "leaky_relu": Look("#E69F00", "^", (0, (4, 2)), "leaky ReLU"),
    "shifted_relu": Look("#CC79A7", "v", (0, (4, 1.5, 1, 1.5)), "shifted ReLU"),
    "selu": Look("#56B4E9", "D", (0, (5, 1.5)), "SELU"),
    "tanh": Look("#009E73", "P", (0, (1.5, 1.2)), "tanh"),
    "celu": Look("#003F66", "p", (0, (3, 1.5)), "CELU"),
    "relu6": Look("#8C3800", "h", (0, (2, 2)), "ReLU6"),
    "gelu": Look("#7D3C98", "X", (0, (6, 1.5, 1.2, 1.5)), "GELU"),
    "silu": Look("#B39DDB", "<", (0, (2, 1)), "SiLU"),
    "softplus": Look("#999900", ">", (0, (1, 1)), "softplus"),
    "logistic": Look("#66C2A5", "*", (0, (3, 1, 1, 1)), "logistic"),
    "hard_tanh": Look("#4D4D4D", "d", (0, (1, 2)), "hard tanh"),
    "identity": Look("#999999", "x", (0, (1, 3)), "identity"),
}


def look_of(activation: str) -> Look:
    """That of a registry name, parameters in brackets aside; black for a name that has none."""
    return _LOOKS.get(activation.partition("(")[0], Look("#000000", ".", "-", activation))


def colour_of(activation: str) -> str:
    """The colour of a registry name."""
    return look_of(activation).colour


def marker_of(activation: str) -> str:
    """The marker of a registry name."""
    return look_of(activation).marker


def label_of(activation: str) -> str:
    """The name of an activation in legends and sentences."""
    return look_of(activation).label


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
        _settle(figure)
        figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
    return buffer.getvalue()


def _settle(figure: Figure) -> None:
    """Fix the layout: its solver's last digit varies from run to run, and the SVG's names of clip paths with it."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        part.bbox_relative.set_points(part.bbox_relative.get_points().round(5))
    for panel in figure.get_axes():
        left, bottom, width, height = (round(side, 5) for side in panel.get_position().bounds)
        panel.set_position((left, bottom, width, height))


def number(value: float, form: str = "+.3g") -> str:
    """With a true minus sign and ∞; a dash where there is none. `form`: a format specification."""
    return "–" if isnan(value) else f"{value:{form}}".replace("-", "−").replace("inf", "∞")
