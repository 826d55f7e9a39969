"""The figure of a propagation: four panels by layer, one row an initialisation, one colour an activation."""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from elutheory.propagation.deep_network import Propagation

KINDS = (".svg", ".pdf", ".png")
_PANELS = (
    ("mean", "mean activation"),
    ("unit_mean_median", "median of unit means"),
    ("chi", "χ, gradient factor per layer"),
    ("gradient_variance", "gradient variance"),
)
# Okabe and Ito's colours, then greys
_COLOURS = ("#0072B2", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#999999")
_DASHES = ("-", "-", (0, (4, 2.5)), "-", (0, (1.2, 1.5)), (0, (6, 1.5, 1.2, 1.5)), "-", "-")
_TINIEST, _LARGEST = 1e-300, 1e300


Rows = Sequence[tuple[str, Sequence[tuple[str, "Propagation"]]]]

_STYLE: dict[Any, Any] = {
    "backend": "Agg",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "elutheory",
    "svg.fonttype": "path",
}


def figure_bytes(rows: Rows, kind: str) -> bytes:
    """The figure as svg, pdf or png; the same bytes for the same rows."""
    buffer = io.BytesIO()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}, "png": {}}[kind]
    with matplotlib.rc_context(_STYLE):
        figure_of(rows).savefig(buffer, format=kind, dpi=200, metadata=metadata)
    return buffer.getvalue()


def figure_of(rows: Rows) -> "Figure":
    """`rows`: (heading, curves), and curves: (label, propagation), the same labels in every row."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 1.65 * len(rows) + 0.75), layout="constrained")
        figure.get_layout_engine().set(h_pad=0.06, w_pad=0.05)  # pyright: ignore
        panels = figure.subplots(len(rows), len(_PANELS), sharex=True, squeeze=False)
        for number, (panel_row, (heading, curves)) in enumerate(zip(panels, rows, strict=True)):
            for panel, (column, title) in zip(panel_row, _PANELS, strict=True):
                for index, (label, propagation) in enumerate(curves):
                    _curve(panel, propagation.table, column, index, label)
                _axes(panel, column)
                if number == 0:
                    panel.set_title(title)
                if number == len(rows) - 1:
                    panel.set_xlabel("layer")
                panel.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
            panel_row[0].set_ylabel(heading.replace("_", " "))
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 6), frameon=False)
    return figure


def _curve(panel: Any, table: Any, column: str, index: int, label: str) -> None:
    colour, dash = _COLOURS[index % len(_COLOURS)], _DASHES[index % len(_DASHES)]
    values = table[column].clip(-_LARGEST, _LARGEST)
    if column == "gradient_variance":
        values = values.where(values >= _TINIEST)
    marker = "o" if len(table) == 1 else None
    panel.plot(table["layer"], values, color=colour, linestyle=dash, linewidth=1.4, marker=marker, label=label)
    band = f"{column}_std"
    if band in table:
        low, high = table[column] - table[band], table[column] + table[band]
        panel.fill_between(table["layer"], low, high, color=colour, alpha=0.18, linewidth=0)


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
