"""The figure of a diagnosis: four panels by layer. It reads only the table."""

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from elutheory.output.layer_figure import Panel, Points, figure_by_layer

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
            ("mean_share", "incoming |E a|² / E|a|²", _BLUE, "o"),
            ("mean_share_predicted", "the same, predicted (P4)", _GREEN, "+"),
            ("outgoing_mean", "outgoing mean, measured", _VERMILION, "s"),
            ("outgoing_mean_gaussian", "outgoing mean, Gaussian", "#000000", "x"),
        ),
    ),
    (
        "strength of the correction",
        "log",
        1.0,
        (
            ("s_times_c", "s·c (1: no correction)", _BLUE, "o"),
            ("k", "|k| (1: no correction)", _ORANGE, "^"),
        ),
    ),
    (
        "bias shift by a natural gradient step of size 1",
        "log",
        None,
        (
            ("shift_without", "without the correction", _VERMILION, "s"),
            ("shift_with", "with it", _BLUE, "o"),
        ),
    ),
    (
        "Fisher matrix and gradient",
        "linear",
        0.0,
        (
            ("top_eigenvalue_share", "top eigenvalue / trace", _VERMILION, "s"),
            ("cosine", "cosine(gradient, natural gradient)", _GREEN, "o"),
        ),
    ),
)


def figure_of(table: "pandas.DataFrame") -> Figure:
    """Four panels with the layers along the horizontal axis, in the table's order, and standard errors."""
    panels = []
    for title, scale, level, curves in _PANELS:
        points = []
        for column, label, colour, marker in curves:
            errors = table.get(f"{column}_error")
            points.append(Points(table[column].tolist(), label, colour, marker, None if errors is None else [*errors]))
        panels.append(Panel(title, tuple(points), scale, level))
    return figure_by_layer(table["layer"].tolist(), panels)
