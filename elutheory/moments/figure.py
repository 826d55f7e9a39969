"""The moments as curves over mean or std."""

import io
import math
from pathlib import Path

import matplotlib
import seaborn
from matplotlib.figure import Figure

from elutheory.activations.activation_function import Activation
from elutheory.errors import InputError
from elutheory.moments.typed_numbers import Number
from elutheory.moments.verification import SYMBOLS, Row
from elutheory.output.files import write_whole


def check_figure(figure: Path, means: list[Number], stds: list[Number]) -> None:
    """Refuse, before any work, what cannot be drawn."""
    if figure.suffix.lower() not in (".svg", ".pdf", ".png"):
        raise InputError(f"--figure {figure} has no known ending; .svg, .pdf and .png can be drawn.")
    if len(means) < 2 and len(stds) < 2:
        raise InputError("--figure needs several means or stds; give a range such as --mean -4:4:161.")
    if any(number.exact is None for number in (*means, *stds)):
        raise InputError("--figure needs finite means and stds.")


def draw(function: Activation, rows: list[Row], figure: Path) -> None:
    """Six panels, a moment each, over mean (one curve a std) or, with one mean, over std."""
    matplotlib.use("Agg")

    means = sorted({row.mean.value for row in rows})
    stds = sorted({row.std.value for row in rows})
    over_mean = len(means) >= len(stds)
    across, along = ("mean", "std") if over_mean else ("std", "mean")
    curves = stds if over_mean else means
    palette = seaborn.color_palette("viridis", len(curves)) if len(curves) > 1 else ["#0072B2"]
    with matplotlib.rc_context(
        {"svg.hashsalt": "elutheory", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        drawing = Figure(figsize=(7.2, 4.6), layout="constrained")
        panels = drawing.subplots(2, 3, sharex=True)
        for panel, (name, symbol) in zip(panels.flat, SYMBOLS.items(), strict=True):
            for colour, level in zip(palette, curves, strict=True):
                points = sorted(
                    (getattr(row, across).value, row.values[name]) for row in rows if getattr(row, along).value == level
                )
                shown = [(x, y) for x, y in points if math.isfinite(y)]
                if shown:
                    panel.plot(*zip(*shown, strict=True), color=colour, linewidth=1.4, label=f"{along} {level:g}")
            if not panel.lines:
                panel.text(0.5, 0.5, "no finite value", transform=panel.transAxes, ha="center", color="0.4")
            panel.set_title(symbol)
            panel.axhline(0, color="0.8", linewidth=0.6, zorder=0)
        for panel in panels[1]:
            panel.set_xlabel(f"{across} of X (net-input units)")
        if 1 < len(curves) <= 8:
            handles, labels = panels.flat[0].get_legend_handles_labels()
            drawing.legend(handles, labels, loc="outside right upper", frameon=False)
        drawing.suptitle(f"{function} of X ~ N(mean, std²)")
        buffer = io.BytesIO()
        kind = figure.suffix.lower()[1:]
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
        drawing.savefig(buffer, format=kind, dpi=200, metadata=metadata)
    write_whole(figure, buffer.getvalue())
