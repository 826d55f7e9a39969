"""The figure, from the table alone."""

from typing import Any

import numpy as np
import pandas
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analyses.experiments.mean_activations.settings import CURVE, INITIALISATION_NAMES, reference_label
from analyses.experiments.mean_activations.verdicts import compared_rows
from analyses.framework.settings import data_in_words
from elutheory.output.figures import label_of, look_of, style

_PANELS = (
    ("unit_mean_median", "(a) median of the units' means", "mean activation"),
    ("mean_share", "(b) the means' share of the second moment", "Σ (E a)² / Σ E a²"),
)
_MARKERS = 12


def draw(table: pandas.DataFrame) -> Figure:
    """Means by layer, measured and predicted, and where which activation's share is below the reference's.

    Of the widest plain networks in the table (else of its first architecture), the curves of critical ones (else of its
    first initialisation). The map is of the share alone, which does not depend on how large a signal has become.
    """
    drawn: Any = table[table["width"] == table["width"].max()]
    drawn = drawn[drawn["architecture"] == _preferred(drawn["architecture"], "plain")]
    shown: Any = drawn[drawn["initialisation"] == _preferred(drawn["initialisation"], "critical")]
    names = list(shown["activation"].unique())
    compared = compared_rows(drawn)
    rows = len(compared[CURVE].drop_duplicates())
    with style():
        maps = 0.8 + 0.16 * rows if rows else 0.0
        figure = Figure(figsize=(7.2, 3.3 + maps), layout="constrained")
        places: Any = figure.subplot_mosaic("ab;cc" if rows else "ab", height_ratios=[3.3, maps] if rows else [1])
        panels = places["a"], places["b"]
        for panel, (statistic, title, label) in zip(panels, _PANELS, strict=True):
            for name in names:
                chosen = shown[(shown["activation"] == name) & (shown["statistic"] == statistic)]
                _draw_curves(panel, chosen.sort_values("layer"), name)
            panel.set_title(title)
            panel.set_ylabel(label)
            panel.set_xlabel("hidden layer")
        panels[0].axhline(0.0, color="0.8", linewidth=0.6, zorder=0)
        handles = [
            Line2D([], [], color=look_of(name).colour, marker=look_of(name).marker, markersize=4, label=label_of(name))
            for name in names
        ]
        handles += [
            Line2D([], [], color="0.3", marker="o", markersize=4, linestyle="none", label="measured"),
            Line2D([], [], color="0.3", label="predicted (Gram matrix)"),
            Line2D([], [], color="0.3", linestyle=(0, (1, 1.5)), label="(two numbers)"),
        ]
        place = {"loc": "outside upper center", "ncols": len(handles), "frameon": False}
        figure.legend(handles=handles, title=_title(shown.iloc[0]), title_fontsize=9, **place, **_LEGEND)
        if rows:
            _draw_map(places["c"], compared, reference_label(drawn))
    return figure


_LEGEND: dict[str, Any] = {"fontsize": 8, "handlelength": 1.6, "columnspacing": 1.0, "handletextpad": 0.4}


def _preferred(column: Any, name: str) -> str:
    return name if (column == name).any() else str(column.iloc[0])


def _title(row: Any) -> str:
    kind = {"plain": "", "batch_norm": ", batch-normalised", "residual": ", residual"}
    name = kind.get(str(row["architecture"]), ", batch-normalised and residual")
    start = INITIALISATION_NAMES[str(row["initialisation"])]
    networks = f"width {row['width']}, {row['seeds']} networks{name}, {start} initialisation"
    return f"{row['examples']} inputs of {data_in_words(row['data'])}, {networks}: mean and standard error"


def _draw_curves(panel: Any, rows: Any, name: str) -> None:
    look = look_of(name)
    layers = rows["layer"].to_numpy()
    root = np.sqrt(rows["seeds"].to_numpy())
    panel.plot(layers, rows["gram"], color=look.colour, linewidth=1.0)
    panel.plot(layers, rows["two_numbers"], color=look.colour, linewidth=1.0, linestyle=(0, (1, 1.5)))
    band = rows["band"].to_numpy() / root
    low, high = rows["two_numbers"] - band, rows["two_numbers"] + band
    panel.fill_between(layers, low, high, color=look.colour, alpha=0.15, linewidth=0)
    marked = np.unique(np.linspace(0, len(layers) - 1, _MARKERS).round().astype(int))
    points, errors = rows["measured"].to_numpy()[marked], (rows["std"].to_numpy() / root)[marked]
    panel.errorbar(
        layers[marked], points, errors, color=look.colour, marker=look.marker, markersize=3, linestyle="none",
        elinewidth=0.8,
    )  # fmt: skip


def _draw_map(panel: Any, compared: Any, reference: str) -> None:
    """The share over the reference's, a row per initialisation and activation."""
    keys = compared[CURVE].drop_duplicates()
    index = pandas.MultiIndex.from_frame(keys)
    chosen = compared[compared["statistic"] == "mean_share"]
    ratios, found = (chosen.pivot(index=CURVE, columns="layer", values=name).reindex(index)
                     for name in ("ratio", "verdict"))  # fmt: skip
    layers = ratios.columns.to_numpy()
    image = panel.pcolormesh(
        layers, range(len(keys)), np.clip(ratios, 1 / 8, 8), norm=LogNorm(1 / 8, 8), cmap="RdBu_r",
        shading="nearest", rasterized=True,
    )  # fmt: skip
    row, column = np.nonzero(found.to_numpy() == "undecided")
    panel.plot(layers[column], row, ".", color="0.3", markersize=1.5)
    panel.set_title(f"(c) the same share over {reference}'s, by initialisation (dots: not told apart)")
    panel.set_xlabel("hidden layer")
    panel.spines[:].set_visible(False)
    labels = [f"{label_of(name)}, {INITIALISATION_NAMES[start]}" for start, name in keys.itertuples(index=False)]
    panel.set_yticks(range(len(keys)), labels, fontsize=8)
    panel.invert_yaxis()
    bar = panel.figure.colorbar(image, ax=panel, ticks=[1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8], fraction=0.04)
    bar.ax.set_yticklabels(["≤ 1/8", "1/4", "1/2", "1", "2", "4", "≥ 8"])
    bar.ax.minorticks_off()
    bar.set_label(f"÷ {reference}'s")
