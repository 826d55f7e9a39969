"""The figure of a propagation: four panels by layer, one row per initialisation, one colour per activation."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from elutheory.output.figures import Look, looks_of, style

if TYPE_CHECKING:
    from elutheory.propagation.deep_network import Propagation

_PANELS = (
    ("mean", "mean activation"),
    ("unit_mean_median", "median of unit means"),
    ("chi", "χ, gradient factor per layer"),
    ("gradient_variance", "gradient variance"),
)
_SIZES = {"font.size": 8, "axes.titlesize": 8}
_WIDTH = 7.2
_LETTER, _KEY = 0.068, 0.5  # inches in the legend: of a letter at this size, of a line's sample and the gaps beside it
_TINIEST, _LARGEST = 1e-300, 1e300

Rows = Sequence[tuple[str, Sequence[tuple[str, "Propagation"]]]]


def figure_of(rows: Rows) -> Figure:
    """The figure of `rows`: (heading, curves), where curves are (activation, propagation), alike in every row."""
    with style(_SIZES):
        looks = looks_of(label for _, curves in rows for label, _ in curves)
        columns = _legend_columns(list(looks))
        figure = Figure(figsize=(_WIDTH, 1.65 * len(rows) + 0.75), layout="constrained")
        figure.get_layout_engine().set(h_pad=0.06, w_pad=0.05)  # pyright: ignore
        panels = figure.subplots(len(rows), len(_PANELS), sharex=True, squeeze=False)
        for number, (panel_row, (heading, curves)) in enumerate(zip(panels, rows, strict=True)):
            for panel, (column, title) in zip(panel_row, _PANELS, strict=True):
                for label, propagation in curves:
                    _curve(panel, propagation.table, column, looks[label], label)
                _axes(panel, column)
                if number == 0:
                    panel.set_title(title)
                if number == len(rows) - 1:
                    panel.set_xlabel("layer")
                panel.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
            panel_row[0].set_ylabel(heading.replace("_", " "))
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False)
    return figure


def _legend_columns(labels: list[str]) -> int:
    """As many as fit beside each other, at most six."""
    return max(1, min(len(labels), 6, int(_WIDTH / (_LETTER * max(map(len, labels)) + _KEY))))


def _curve(panel: Any, table: Any, column: str, look: Look, label: str) -> None:
    values = table[column].clip(-_LARGEST, _LARGEST)
    if column == "gradient_variance":
        values = values.where(values >= _TINIEST)
    marker = look.marker if len(table) == 1 else None
    shown: Any = {"color": look.colour, "linestyle": look.line, "marker": marker}
    panel.plot(table["layer"], values, **shown, linewidth=1.4, label=label)
    band = f"{column}_std"
    if band in table:
        low, high = table[column] - table[band], table[column] + table[band]
        panel.fill_between(table["layer"], low, high, color=look.colour, alpha=0.18, linewidth=0)


def _axes(panel: Any, column: str) -> None:
    shown = [y for line in panel.lines for y in line.get_ydata() if math.isfinite(y)]
    if not shown:
        panel.text(0.5, 0.5, "undefined", transform=panel.transAxes, ha="center", color="0.4")
        return
    if column == "gradient_variance":
        panel.set_yscale("log")
        if max(shown) < 3 * min(shown):
            panel.set_ylim(min(shown) / 10, max(shown) * 10)
    level = 1.0 if column in ("chi", "gradient_variance") else 0.0
    panel.axhline(level, color="0.8", linewidth=0.6, zorder=0)
