"""The figure, from the table alone."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analyses.experiments.median_variance.settings import QUANTILES, setting_of
from analyses.experiments.median_variance.verdicts import finding
from elutheory.output.figures import look_of, style

_PANELS = {
    "relative_variance": "(a) median activation, relative to its scale",
    "relative_net_variance": "(b) median net input, relative to its scale",
    "variance": "(c) median activation, in its own scale",
    "change_variance": "(d) its changes, in its own scale",
}


def draw(table: Any) -> Figure:
    """Distribution over units by layer, quantiles averaged over seeds: 5–95 %, quartiles, median, and the mean."""
    with style():
        figure = Figure(figsize=(7.0, 5.0), layout="constrained")
        panels: Any = figure.subplots(2, 2, sharex=True)
        for panel, (quantity, title) in zip(panels.flat, _PANELS.items(), strict=True):
            shown = table[table["quantity"] == quantity]
            for side, name in ((-0.17, "elu"), (0.17, "relu")):
                _draw_boxes(panel, name, shown[shown["activation"] == name], side)
            panel.set_yscale("symlog", linthresh=_smallest(shown), linscale=0.4)
            panel.set_ylim(bottom=0)
            panel.set_title(title, loc="left")
        for panel in panels[1]:
            panel.set_xlabel("hidden layer")
            panel.set_xticks(range(1, int(table["layer"].max()) + 1))
        panels[0, 0].set_ylabel("variance over epochs /\nvariance over examples")
        panels[1, 0].set_ylabel("variance over epochs")
        figure.legend(*panels[1, 1].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        key = "units of a layer, averaged over seeds: 5 %, quartiles, median, 95 %; symbols: their mean"
        said = (finding(table), setting_of(table), key)
        figure.suptitle("\n".join(textwrap.fill(line, 110) for line in said), fontsize=8)
    return figure


def _draw_boxes(panel: Any, name: str, shown: Any, side: float) -> None:
    look = look_of(name)
    layers = shown.groupby("layer")[["mean", *QUANTILES]].mean()
    x = layers.index.to_numpy(float) + side
    panel.vlines(x, layers["q05"], layers["q95"], color=look.colour, linewidth=1.2)
    panel.vlines(x, layers["q25"], layers["q75"], color=look.colour, linewidth=6, alpha=0.45)
    panel.plot(x, layers["q50"], "_", color=look.colour, markersize=10, clip_on=False)
    diverged = int(shown.groupby("seed")["diverged"].max().notna().sum())
    label = f"{look.label} ({diverged} diverged)" if diverged else look.label
    panel.plot(x, layers["mean"], look.marker, color=look.colour, markersize=4, markeredgecolor="white", label=label)


def _smallest(shown: Any) -> float:
    """The power of ten at or below the smallest quartile that is not 0; what is smaller is drawn on a linear scale."""
    quartiles = shown.groupby(["activation", "layer"])[["q25", "q50"]].mean().to_numpy()
    positive = quartiles[quartiles > 0]
    return 10.0 ** np.floor(np.log10(positive.min())) if len(positive) else 1e-6
