"""The figure, from the table alone."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analyses.experiments.vanishing_gradient.float32 import PRECISION, SMALLEST_NORMAL, ZERO
from analyses.experiments.vanishing_gradient.settings import INITIALISATION_NAMES, setting_of
from analyses.experiments.vanishing_gradient.verdicts import kinds_of, layers_of, predicted_losses
from elutheory.output.figures import label_of, look_of, style

_POINTS, _MARKERS = 18, 7
_FLOOR = -96.0
"""Lowest power of ten drawn."""
_LOSSES = {"precision": "weights unchanged", "subnormal": "subnormal", "zero": "zero"}
_FACES = dict(zip(_LOSSES, ("full", "left", "none"), strict=True))


def draw(table: Any) -> Figure:
    """A column per initialisation: s by depth, all of it, then near 1; below, where float32 loses the gradient."""
    layers = table[table["kind"] == "layer"]
    starts = list(layers["initialisation"].unique())
    names = list(layers["activation"].unique())
    lost = [(kind, rows) for kind, rows in kinds_of(table).items() if _is_lost(table, kind, rows)]
    strip = 0.9 + 0.17 * len(lost) if lost else 0.0
    with style():
        figure = Figure(figsize=(7.2, 5.0 + strip), layout="constrained")
        parts = np.ravel(
            np.asarray(figure.subfigures(2 if lost else 1, 1, height_ratios=(5.0, strip) if lost else (1.0,)))
        )
        panels: Any = parts[0].subplots(2, len(starts), sharex=True, sharey="row", squeeze=False)
        for column, start in zip(panels.T, starts, strict=True):
            shown = layers[layers["initialisation"] == start]
            for name in names:
                curve = shown[shown["activation"] == name]
                if not curve.empty:
                    _draw_curve(column[0], curve, name, spread=False)
                    _draw_curve(column[1], curve, name, spread=True)
            _draw_limits(column[0], shown, named=start == starts[-1])
            column[0].set_title(INITIALISATION_NAMES[start])
        _scale_rows(panels, layers)
        parts[0].supxlabel("layers below the last", fontsize=9)
        _add_legend(parts[0], names, table.iloc[0])
        if lost:
            _draw_losses(parts[1], table, lost)
    return figure


def _is_lost(table: Any, kind: tuple[str, str], rows: Any) -> bool:
    measured = rows[[f"lost_{loss}" for loss in _LOSSES]].to_numpy(float)
    expected = predicted_losses(layers_of(table, kind))
    return bool(np.isfinite([*measured.ravel(), *(expected[loss] for loss in _LOSSES)]).any())


def _draw_curve(panel: Any, rows: Any, name: str, *, spread: bool) -> None:
    """In powers of ten: P3 as a line, the measured mean as points; with their spread, P6's band of one network."""
    look = look_of(name)
    powers = rows.iloc[::-1][["infinite_width", "finite_width", "band", "log_gradient", "std"]] / np.log(10)
    below = np.arange(len(powers))
    # closest where the first layers bend the curve
    lines = np.unique((below[-1] * np.sin(np.linspace(0, np.pi / 2, _POINTS))).round().astype(int))
    marked = np.unique(np.linspace(0, below[-1], _MARKERS).round().astype(int))
    panel.plot(lines, powers["infinite_width"].iloc[lines], color=look.colour, linewidth=1.0)
    points = powers.iloc[marked]
    panel.plot(marked, points["log_gradient"], color=look.colour, marker=look.marker, markersize=3, linestyle="none")
    if spread:
        low, high = (powers["finite_width"] + sign * powers["band"] for sign in (-1, 1))
        panel.fill_between(lines, low.iloc[lines], high.iloc[lines], color=look.colour, alpha=0.18, linewidth=0)
        low, high = (points["log_gradient"] + sign * points["std"].fillna(0.0) for sign in (-1, 1))
        places, ends = np.repeat(marked.astype(float), 3), np.stack([low, high, np.full(len(marked), np.nan)], axis=1)
        panel.plot(places, ends.ravel(), color=look.colour, linewidth=0.7)


def _draw_limits(panel: Any, rows: Any, *, named: bool) -> None:
    """The squares of the sizes at which float32 loses δ."""
    weights = (rows["weight_variance"] / rows["width"]).to_numpy()
    limits = PRECISION**2 * np.array([weights.min(), weights.max()]), [SMALLEST_NORMAL**2] * 2, [ZERO**2] * 2
    for name, (low, high) in zip(_LOSSES.values(), np.log10(np.array(limits)), strict=True):
        panel.axhspan(low, high, color="0.6", linewidth=0.7, zorder=0)
        if named:
            panel.annotate(
                name, (0.97, high), (0, 1.5), xycoords=panel.get_yaxis_transform(), textcoords="offset points",
                ha="right", fontsize=7, color="0.3", annotation_clip=True,
            )  # fmt: skip


def _scale_rows(panels: Any, layers: Any) -> None:
    """Above: all of s that float32 can hold. Below: what is near 1, with its spread."""
    powers = layers[["log_gradient", "infinite_width"]].to_numpy() / np.log(10)
    top, bottom = max(powers.max(), 0.0), max(powers.min(), _FLOOR)
    panels[0, 0].set_ylim(bottom - 3, top + 4)
    panels[1, 0].set_ylim(-min(1.2 * top + 2, 8.0), 1.2 * top + 2)
    panels[0, 0].set_ylabel("second moment of δ,\nlast layer: 1")
    panels[1, 0].set_ylabel("the same, near 1")
    for panel in panels[:, 0]:
        panel.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 4, 5, 10], integer=True))
        panel.yaxis.set_major_formatter(lambda power, _: f"$10^{{{power:.0f}}}$")
    for panel in panels[1]:
        panel.axhline(0.0, color="0.7", linewidth=0.6, zorder=0)


def _draw_losses(part: Any, table: Any, lost: Any) -> None:
    """Medians and ranges over networks; upright lines: predicted by P3."""
    panel = part.subplots()
    depth = int(table["depth"].iloc[0])
    outside = 2 * depth  # of the panel
    for place, (kind, rows) in enumerate(lost):
        look = look_of(kind[0])
        expected = predicted_losses(layers_of(table, kind))
        for loss, face in _FACES.items():
            low, middle, high = np.minimum(np.sort(rows[f"lost_{loss}"])[[0, len(rows) // 2, -1]], outside)
            predicted = min(expected[loss], outside)
            panel.plot([predicted, predicted], [place - 0.4, place + 0.4], color="0.2", linewidth=0.8)
            panel.plot([low, high], [place, place], color=look.colour, linewidth=1.0)
            panel.plot(middle, place, color=look.colour, marker=look.marker, markersize=6, fillstyle=face)
    names = [f"{label_of(name)}, {INITIALISATION_NAMES[start]}" for (name, start), _ in lost]
    panel.set_yticks(range(len(lost)), names)
    panel.set_ylim(len(lost) - 0.4, -0.6)
    panel.set_xlim(0, depth)
    panel.set_xlabel("layers below the last where float32 has lost δ (others: nowhere)")
    handles = [
        Line2D([], [], color="0.3", marker="o", markersize=5, fillstyle=face, linestyle="none", label=_LOSSES[loss])
        for loss, face in _FACES.items()
    ]
    handles.append(Line2D([], [], color="0.2", marker="|", markersize=8, linestyle="none", label="predicted (P3)"))
    part.legend(handles=handles, loc="outside upper center", ncols=len(handles), **_LEGEND)


_LEGEND: dict[str, Any] = {"fontsize": 8, "frameon": False, "handlelength": 1.6, "columnspacing": 1.2}


def _add_legend(part: Any, names: list[str], row: Any) -> None:
    handles = [
        Line2D([], [], color=look_of(name).colour, marker=look_of(name).marker, markersize=4, label=label_of(name))
        for name in names
    ]
    read = "lines: P3; points: mean of the logarithm, bars: std over networks; bands: one network to order 1/width (P6)"
    title = f"{setting_of(row)}\n{read}"
    part.legend(
        handles=handles, title=title, title_fontsize=8, loc="outside upper center", ncols=len(handles), **_LEGEND
    )
