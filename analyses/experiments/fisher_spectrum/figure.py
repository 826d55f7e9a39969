"""The figure, from the table alone: spectra, the top eigenvalue's share, and descents on both sides of 2/λ."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analyses.experiments.fisher_spectrum.settings import (
    BATCH_NORM,
    CENTRING,
    FACTORS,
    FIRST,
    LINEARISED,
    METHODS,
    MODELS,
    NEAR,
    NETWORK,
    NONE,
    RANKS,
    setting_of,
)
from analyses.experiments.fisher_spectrum.verdicts import growth, of_likelihood
from elutheory.output.figures import label_of, look_of, style

_MARKERS = {NONE: "o", CENTRING: "^", BATCH_NORM: "s"}
_MODEL_MARKERS = {LINEARISED: "x", NEAR: "D", NETWORK: "o"}


def draw(table: Any) -> Figure:
    """Medians and ranges over seeds; lines in grey are theory."""
    names = table["activation"].unique().tolist()
    spectra = of_likelihood(table, "categorical")
    with style():
        figure = Figure(figsize=(7.2, 5.6), layout="constrained")
        panels: Any = figure.subplots(2, 2).ravel()
        _draw_by_activation(panels[0], spectra, names)
        _draw_predictions(panels[1], table, names)
        _draw_shares(panels[2], spectra, names)
        _draw_growth(panels[3], growth(table), names)
        titles = (
            "(a) eigenvalues before training",
            "(b) the top one's share, one output",
            "(c) the top one's share of the trace, all outputs",
            "(d) descent at {:g} and {:g} times 2/λ".format(*FACTORS),
        )
        for panel, title in zip(panels, titles, strict=True):
            panel.set_title(title)
            panel.minorticks_off()
        panels[2].set_ylabel("share")
        panels[3].set_ylabel(f"loss along the top\neigenvector, {FIRST} steps / 0")
        handles = [
            Line2D([], [], color=look_of(name).colour, linestyle=look_of(name).line, label=label_of(name))
            for name in names
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(names), frameon=False)
        figure.suptitle(f"{setting_of(table)}; median and range", fontsize=8)
    return figure


def _draw_by_activation(panel: Any, spectra: Any, names: list[str]) -> None:
    initial = spectra[(spectra["epoch"] == 0) & (spectra["method"] == NONE)]
    for name in names:
        look = look_of(name)
        ranks, values = _ranked(initial[initial["activation"] == name])
        panel.plot(ranks, np.median(values, axis=0), color=look.colour, linestyle=look.line, linewidth=1.2)
        panel.fill_between(ranks, values.min(0), values.max(0), color=look.colour, alpha=0.15, linewidth=0)
    _label_spectrum(panel)


def _ranked(rows: Any) -> tuple[Any, Any]:
    """Ranks whose eigenvalues are above rounding in every network, and these (networks, ranks)."""
    values = rows[[f"eigenvalue_{rank}" for rank in RANKS]].to_numpy(float)
    values = values[~np.isnan(values[:, 0])]
    kept = (values > 1e-10 * values[:, :1]).all(axis=0)
    return np.array(RANKS)[kept], values[:, kept]


def _label_spectrum(panel: Any) -> None:
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_ylim(bottom=max(panel.get_ylim()[0], 1e-4))
    panel.set_xlabel("rank")
    panel.set_ylabel("eigenvalue")


def _draw_predictions(panel: Any, table: Any, names: list[str]) -> None:
    """Measured shares over predicted ones, by kernel (filled) and formula (hollow)."""
    gaussian = of_likelihood(table, "gaussian")
    ends = []
    for name in names:
        look, own = look_of(name), gaussian[gaussian["activation"] == name]
        middle, low, high = _range(own["one_output_share"])
        for column, face in (("kernel_share", look.colour), ("formula_share", "white")):
            place = own[column].iloc[0]
            shown: Any = {"color": look.colour, "marker": look.marker, "markersize": 4.5, "markerfacecolor": face}
            panel.errorbar([place], [middle], [[middle - low], [high - middle]], linewidth=0.8, **shown)
            ends.append(place)
        ends += [low, high]
    line = [min(ends) / 1.3, max(ends) * 1.3]
    panel.plot(line, line, color="0.6", linewidth=0.8, zorder=0)
    panel.set_xscale("log")
    panel.set_yscale("log")
    for axis in (panel.xaxis, panel.yaxis):
        _plain_ticks(axis, line)
    handles = [
        Line2D([], [], color="0.3", marker="o", linestyle="", markersize=4.5, markerfacecolor=face, label=label)
        for label, face in (("kernel's eigenvalue", "0.3"), ("κ2 + (κ1 − κ2)/N", "white"))
    ]
    panel.legend(handles=handles, frameon=False, fontsize=7, loc="lower right", handletextpad=0.2, borderaxespad=0.1)
    panel.set_xlabel("predicted")
    panel.set_ylabel("measured")


def _draw_shares(panel: Any, spectra: Any, names: list[str]) -> None:
    """By method, before (hollow) and after training (filled)."""
    for place, name in enumerate(names):
        look = look_of(name)
        for order, method in enumerate(METHODS):
            for late in (False, True):
                rows = spectra[(spectra["activation"] == name) & (spectra["method"] == method)]
                shares = rows[(rows["epoch"] > 0) == late]["top_share"].dropna()
                if shares.empty:
                    continue
                middle, low, high = _range(shares)
                at = place + 0.26 * (order - 1) + 0.1 * (late - 0.5)
                shown: Any = {"color": look.colour, "marker": _MARKERS[method], "markersize": 4}
                shown["markerfacecolor"] = look.colour if late else "white"
                panel.errorbar([at], [middle], [[middle - low], [high - middle]], linewidth=0.8, **shown)
    panel.set_yscale("log")
    _plain_ticks(panel.yaxis, panel.get_ylim())
    panel.set_ylim(top=panel.get_ylim()[1] * 1.9)
    panel.set_xticks(range(len(names)), [label_of(name).replace(" ", "\n") for name in names])
    _explain(panel, _MARKERS, "hollow: before training, filled: after")


def _draw_growth(panel: Any, descents: Any, names: list[str]) -> None:
    """exp(first) by model, at 0.9 (hollow) and 1.1 (filled), and (1 − 2 factor)^(2 FIRST) of the linearised network."""
    for factor in FACTORS:
        panel.axhline((1 - 2 * factor) ** (2 * FIRST), color="0.6", linewidth=0.8, zorder=0)
    panel.axhline(1.0, color="0.85", linewidth=0.6, zorder=0)
    for place, name in enumerate(names):
        look = look_of(name)
        for order, model in enumerate(MODELS):
            for late, factor in enumerate(FACTORS):
                rows = descents[(descents["activation"] == name) & (descents["model"] == model)]
                middle, low, high = _range(np.exp(rows[rows["factor"] == factor]["first"]).clip(1e-12, 1e12))
                at = place + 0.26 * (order - 1) + 0.1 * (late - 0.5)
                shown: Any = {"color": look.colour, "marker": _MODEL_MARKERS[model], "markersize": 4}
                shown["markerfacecolor"] = look.colour if late else "white"
                panel.errorbar([at], [middle], [[middle - low], [high - middle]], linewidth=0.8, **shown)
    panel.set_yscale("log")
    panel.set_ylim(panel.get_ylim()[0], max(panel.get_ylim()[1], 10) * 300)
    panel.set_xticks(range(len(names)), [label_of(name).replace(" ", "\n") for name in names])
    _explain(panel, _MODEL_MARKERS, "left or hollow: step size {:g} × 2/λ, right or filled: {:g}".format(*FACTORS))


def _explain(panel: Any, markers: dict[str, str], title: str) -> None:
    handles = [
        Line2D([], [], color="0.3", marker=marker, linestyle="", markersize=4, label=label)
        for label, marker in markers.items()
    ]
    spaces: Any = {"handletextpad": 0.1, "columnspacing": 0.8, "borderaxespad": 0.1}
    panel.legend(
        handles=handles, title=title, title_fontsize=7, frameon=False, fontsize=7, ncols=3, loc="upper left", **spaces
    )


def _range(values: Any) -> tuple[float, float, float]:
    """Median, least and largest."""
    return float(np.median(values)), float(np.min(values)), float(np.max(values))


def _plain_ticks(axis: Any, ends: Any) -> None:
    ticks = [size * 10.0**power for power in range(-4, 1) for size in (1, 2, 5)]
    ticks = [tick for tick in ticks if ends[0] <= tick <= ends[1]]
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
