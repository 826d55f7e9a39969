"""One look for every figure: vector output that repeats byte for byte, colour-blind-safe colours.

An activation has the same colour, marker and line everywhere; the colours are Okabe and Ito's. `style` has the settings
of matplotlib, `figure_bytes` writes a figure, and `number` is how figures and the report print a number.
"""

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from elutheory.output.files import write_whole

_SETTINGS = {
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
    "prelu": Look("#FFAA88", "+", (0, (6, 2)), "PReLU"),
    "squared_relu": Look("#771133", "|", (0, (5, 1, 1, 1)), "squared ReLU"),
    "hard_sigmoid": Look("#224400", "3", (0, (1, 1.5)), "hard sigmoid"),
    "hard_swish": Look("#008800", "4", (0, (3, 1)), "hard swish"),
    "gelu_tanh": Look("#FF00DD", "H", (0, (6, 1, 1, 1)), "GELU (tanh)"),
    "quick_gelu": Look("#EE88FF", "1", (0, (2, 1, 1, 1)), "quick GELU"),
    "mish": Look("#FF1188", "2", (0, (4, 1)), "Mish"),
    "erf": Look("#00DD77", "8", (0, (2, 1.5)), "erf"),
    "sin": Look("#0066FF", "$s$", (0, (1, 1, 3, 1)), "sin"),
    "cos": Look("#00DD00", "$c$", (0, (3, 1, 1, 1, 1, 1)), "cos"),
}
# For activations without a registry name, in this order: at a distance of 30 or more in CIELAB from each other and from
# every colour above, which tests/output/test_figures.py measures.
_OTHER_COLOURS = ("#000000", "#EE2244", "#AA44EE", "#0000EE")
_FURTHER_LINES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
_REGISTRY_NAME = re.compile(r"(\w+)(\((\w+=)?[-+.\de]+\))?")


def look_of(activation: str) -> Look:
    """The look of a registry name, a parameter in brackets aside; a black line for an activation that has none."""
    return looks_of([activation])[activation]


def looks_of(activations: Iterable[str]) -> dict[str, Look]:
    """How the activations of one figure are drawn, each told apart from all others.

    A registry name such as "elu" or "leaky_relu(negative_slope=0.1)" has its own colour, whatever it is drawn beside;
    a second activation of that name, with another parameter, has another line. An activation without a registry name
    has a colour that no name has.
    """
    looks: dict[str, Look] = {}
    drawn: dict[str, int] = {}
    for activation in activations:
        if activation in looks:
            continue
        found = _REGISTRY_NAME.fullmatch(activation)
        name = found[1] if found and found[1] in _LOOKS else ""
        place = drawn[name] = drawn.get(name, -1) + 1
        if name:
            own = _LOOKS[name]
            lines = [own.line, *(line for line in _FURTHER_LINES if line != own.line)]
            looks[activation] = replace(own, line=lines[place % len(lines)])
        else:
            turn, colour = divmod(place, len(_OTHER_COLOURS))
            line = _FURTHER_LINES[turn % len(_FURTHER_LINES)]
            looks[activation] = Look(_OTHER_COLOURS[colour], ".", line, activation)
    return looks


def label_of(activation: str) -> str:
    """The name of an activation in legends and sentences."""
    return look_of(activation).label


@contextmanager
def style(sizes: Mapping[str, int | float] = MappingProxyType({})) -> Iterator[None]:
    """Matplotlib settings of the project's figures, without a display; `sizes` of letters by matplotlib's names."""
    settings: Any = {"backend": "Agg", **_SETTINGS, **sizes}
    with matplotlib.rc_context(settings):
        yield


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as svg, pdf or png; without date, so that the same figure gives the same bytes."""
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}, "png": {}}[kind]
    buffer = io.BytesIO()
    with style():
        _settle(figure)
        figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
    return buffer.getvalue()


def write_figure(figure: Figure, path: Path) -> None:
    """Write the figure as the kind that the file's ending names (.svg, .pdf or .png), whole or not at all."""
    write_whole(path, figure_bytes(figure, path.suffix.lower()[1:]))


def _settle(figure: Figure) -> None:
    """Fix the layout: its solver's last digit varies from run to run, and the SVG's names of clip paths with it."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        part.bbox_relative.set_points(part.bbox_relative.get_points().round(5))
    for panel in figure.get_axes():
        left, bottom, width, height = (round(side, 5) for side in panel.get_position().bounds)
        panel.set_position((left, bottom, width, height))


def plain_ticks(axis: Any, subs: tuple[float, ...] = (1, 2, 5)) -> None:
    """Ticks of a logarithmic axis (`panel.xaxis`, `panel.yaxis`) at these multiples of powers of ten, written out."""
    axis.set_major_locator(LogLocator(base=10, subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.9g}"))
    axis.set_minor_locator(NullLocator())


def number(value: float, form: str = "+.3g") -> str:
    """With a true minus sign and ∞; a dash where there is none. `form`: a format specification."""
    return "–" if isnan(value) else f"{value:{form}}".replace("-", "−").replace("inf", "∞")
