"""The figure of a diagnosis: four panels by layer. It reads only the table."""

import math
from typing import TYPE_CHECKING

import numpy
from matplotlib.figure import Figure

from elutheory.output.figures import style

if TYPE_CHECKING:
    import pandas

# Okabe and Ito's colours; here they stand for quantities, as no panel shows several activations
_BLUE, _VERMILION, _GREEN, _ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"

_PANELS = (
    (
        "bias shift of the activations",
        "linear",
        0.0,
        (
            ("mean_share", "incoming |E a|² / E|a|²", _BLUE, "o", "-"),
            ("outgoing_mean", "outgoing mean, measured", _VERMILION, "s", "-"),
            ("outgoing_mean_gaussian", "outgoing mean, Gaussian", "#000000", "x", ""),
        ),
    ),
    (
        "strength of the correction",
        "log",
        1.0,
        (
            ("s_times_c", "s·c (1: no correction)", _BLUE, "o", "-"),
            ("k", "|k| (1: no correction)", _ORANGE, "^", (0, (4, 2))),
        ),
    ),
    (
        "bias shift by a natural gradient step of size 1",
        "log",
        None,
        (
            ("shift_without", "without the correction", _VERMILION, "s", "-"),
            ("shift_with", "with it", _BLUE, "o", (0, (4, 2))),
        ),
    ),
    (
        "Fisher matrix and gradient",
        "linear",
        0.0,
        (
            ("top_eigenvalue_share", "top eigenvalue / trace", _VERMILION, "s", "-"),
            ("cosine", "cosine(gradient, natural gradient)", _GREEN, "o", (0, (4, 2))),
        ),
    ),
)

_SIZES = {"font.size": 10, "axes.titlesize": 11, "legend.fontsize": 8.5}
_LONGEST_NAME = 28
_MOST_NAMES = 24
_WIDEST = 40  # letters of all names together, side by side


def figure_of(table: "pandas.DataFrame") -> Figure:
    """Four panels with the layers along the horizontal axis, in the table's order."""
    with style(_SIZES):
        names = _shown_names(list(table["layer"]))
        turned = sum(map(len, names)) > _WIDEST
        figure = Figure(figsize=(10, 8.0 if turned else 6.4), layout="constrained")
        panels = figure.subplots(2, 2, sharex=True)
        for panel, (title, scale, level, curves) in zip(panels.flat, _PANELS, strict=True):
            panel.set_title(title)
            for column, label, colour, marker, dash in curves:
                values = table[column].to_numpy()
                if scale == "log":
                    values = numpy.where(values == 0, math.nan, abs(values))
                if numpy.isfinite(values).any():
                    panel.plot(range(len(table)), values, color=colour, marker=marker, linestyle=dash, label=label)
            if panel.lines:
                panel.set_yscale(scale)
                if level is not None:
                    panel.axhline(level, color="0.8", linewidth=0.8, zorder=0)
                panel.legend(framealpha=0.75, edgecolor="none")
            else:
                panel.text(0.5, 0.5, "not defined for these layers", transform=panel.transAxes, ha="center")
        for panel in panels[1]:
            step = -(-len(table) // _MOST_NAMES)
            panel.set_xticks(range(0, len(table), step), names, rotation=90 if turned else 0)
            for label in panel.get_xticklabels():
                label.set_parse_math(False)
            panel.set_xlabel("layer")
    return figure


def _shown_names(layers: list[str]) -> list[str]:
    """Every layer's name, or every second, …, so that at most _MOST_NAMES are shown; long ones by their end."""
    shown = map(_display, layers[:: -(-len(layers) // _MOST_NAMES)])
    return [name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}" for name in shown]


def _display(name: str) -> str:
    """Printable: a module's name may be any text."""
    return "".join(character if character.isprintable() else "?" for character in name) or "(the model)"
