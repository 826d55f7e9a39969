"""The figure of layer statistics: means, spread, share of the mean, dead units, by layer. It reads only the table."""

from matplotlib.figure import Figure
from pandas import DataFrame

from elutheory.output.layer_figure import Panel, Points, figure_by_layer

_BLUE, _VERMILION, _GREEN, _ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"


def figure_of(table: DataFrame, names: list[str]) -> Figure:
    """Of rows with these names: three panels, and a fourth of dead units where extremes were asked for."""
    mean = Points(table["mean"].tolist(), "mean over the units ± their spread", _BLUE, "o", [*table["unit_mean_std"]])
    median = Points(table["unit_mean_median"].tolist(), "median over the units", "#000000", "x")
    panels = [
        Panel("means of the units", (mean, median), level=0.0),
        Panel("variance and second moment", (_points(table, "variance", _GREEN, "o"), _second(table)), "log"),
        Panel("share of the second moment that is the mean's", (_points(table, "mean_share", _VERMILION, "s"),)),
    ]
    if bool(table["never_positive_share"].notna().any()):
        never = _points(table, "never_positive_share", _ORANGE, "^")
        panels.append(Panel("share of the units", (_points(table, "dead_share", "#000000", "o"), never), level=0.0))
    return figure_by_layer(names, panels)


def _points(table: DataFrame, column: str, colour: str, marker: str) -> Points:
    labels = {"mean_share": "|E a|² / E|a|²", "dead_share": "dead", "never_positive_share": "never positive"}
    return Points(table[column].tolist(), labels.get(column, column), colour, marker)


def _second(table: DataFrame) -> Points:
    return Points(table["second_moment"].tolist(), "second moment", _BLUE, "s")
