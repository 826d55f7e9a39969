"""The figure, from the table alone."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analyses.experiments.learning_behaviour.settings import setting_of, whole_networks
from analyses.experiments.learning_behaviour.verdicts import crossing_epochs, finding
from elutheory.output.figures import look_of, plain_ticks, style

_LAYERED = ("relu", "elu")
"""Whose layers are shown."""


def draw(table: Any) -> Figure:
    """Median over seeds and their range: (a) median unit mean and (b) training loss by epoch; the means' share of every
    layer of ELU and ReLU (c) before training, over P2b, and (d) after the last epoch, over M3."""
    rows = whole_networks(table)
    layers = table[table["layer"] > 0] if "layer" in table else table.iloc[:0]
    names = rows["activation"].unique().tolist()
    height = 5.4 if len(layers) else 3.2
    with style():
        figure = Figure(figsize=(7.2, height), layout="constrained")
        panels: Any = figure.subplots(2 if len(layers) else 1, 2, squeeze=False)
        for name in names:
            curves = rows[rows["activation"] == name]
            _draw_curves(panels[0, 0], name, curves, "unit_mean_median")
            _draw_curves(panels[0, 1], name, curves, "training_loss")
        for place, name in enumerate(names):
            _draw_prediction(panels[0, 0], name, rows[rows["activation"] == name], 0.07 * (place - len(names)))
        _finish_epochs(panels[0], rows)
        if len(layers):
            last = layers["epoch"].max()
            _draw_layers(panels[1, 0], layers[layers["epoch"] == 0], "predicted")
            _draw_layers(panels[1, 1], layers[layers["epoch"] == last], "gaussian_share")
            panels[1, 0].set_title("(c) before training: measured over theory (P2b)", loc="left")
            panels[1, 1].set_title(f"(d) after {last} epochs: over their net inputs (M3)", loc="left")
            panels[1, 0].set_ylabel("means' share of\nthe second moment")
        said = (finding(table), f"{setting_of(rows)}; lines and bands: median over seeds and range")
        figure.suptitle("\n".join(textwrap.fill(line, 110) for line in said if line), fontsize=8)
        figure.legend(
            *panels[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=len(names), frameon=False
        )
    return figure


def _finish_epochs(panels: Any, rows: Any) -> None:
    last = int(rows["epoch"].max())
    for panel in panels:
        panel.set_xscale("symlog", linthresh=1.0, linscale=0.3)
        ticks = [tick for tick in (0, 1, 3, 10, 30, 100, 300, 1000) if tick <= last]
        panel.set_xticks(ticks, [str(tick) for tick in ticks])
        panel.minorticks_off()
        panel.set_xlim(-0.4, last * 1.05)
        panel.set_xlabel("epoch")
    panels[0].axhline(0.0, color="0.7", linewidth=0.6, zorder=0)
    panels[0].set_title("(a) median over units of their means (bars: P2)", loc="left")
    panels[0].set_ylabel("mean activation")
    panels[1].set_yscale("log")
    lowest, highest = panels[1].get_ylim()
    plain_ticks(panels[1].yaxis, (1.0,) if highest > 1e3 * lowest else (1.0, 2.0, 5.0))
    panels[1].set_title("(b) training loss", loc="left")
    panels[1].set_ylabel("cross-entropy (nats)")
    _draw_chance(panels[1], rows)
    _draw_crossing(panels[1], rows)


def _draw_curves(panel: Any, name: str, curves: Any, column: str) -> None:
    look = look_of(name)
    values = curves.pivot(index="epoch", columns="seed", values=column)
    values = values[values.notna().any(axis=1)]
    middle, lowest, highest = values.median(axis=1), values.min(axis=1), values.max(axis=1)
    diverged = int(curves.groupby("seed")["diverged"].max().notna().sum())
    label = f"{look.label} ({diverged} diverged)" if diverged else look.label
    panel.plot(values.index, middle, color=look.colour, linestyle=look.line, label=label, linewidth=1.3)
    panel.fill_between(values.index, lowest, highest, color=look.colour, alpha=0.2, linewidth=0)


def _draw_prediction(panel: Any, name: str, curves: Any, place: float) -> None:
    """P2's median with its band, left of epoch 0."""
    value, low, high = curves.loc[curves["epoch"] == 0, ["predicted", "predicted_low", "predicted_high"]].iloc[0]
    bars: Any = [[value - low], [high - value]]
    panel.errorbar([place], [value], bars, fmt="_", color=look_of(name).colour, markersize=6)


def _draw_chance(panel: Any, rows: Any) -> None:
    if "chance_loss" not in rows:
        return
    chance = rows["chance_loss"].iloc[0]
    panel.axhline(chance, color="0.5", linewidth=0.8, linestyle=(0, (1, 1.5)))
    panel.annotate("constant output", (rows["epoch"].max(), chance), (0, 2), textcoords="offset points", fontsize=7,
                   color="0.35", ha="right", va="bottom")  # fmt: skip


def _draw_crossing(panel: Any, rows: Any) -> None:
    """Where ReLU's training loss falls below ELU's for good, median over the seeds at which it does."""
    if not {"elu", "relu"} <= set(rows["activation"]):
        return
    crossed = crossing_epochs(rows, "relu")
    found = crossed[np.isfinite(crossed)]
    if not len(found):
        return
    epoch = float(np.median(found))
    panel.axvline(epoch, color="0.5", linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=0)
    panel.annotate(
        f"dotted: ReLU ahead from\nepoch {epoch:.0f} on ({len(found)} of {len(crossed)} seeds)",
        (0.03, 0.04), xycoords="axes fraction", fontsize=7, color="0.35",
    )  # fmt: skip


def _draw_layers(panel: Any, layers: Any, theory: str) -> None:
    """Means over seeds with their range, over the theory: a line, with the band of networks where it has one."""
    numbers = np.sort(layers["layer"].unique())
    for name in _LAYERED:
        found = layers[layers["activation"] == name]
        if found.empty:
            continue
        look, by_layer = look_of(name), found.groupby("layer")
        measured = by_layer["mean_share"].agg(["mean", "min", "max"])
        panel.plot(numbers, by_layer[theory].mean(), color=look.colour, linewidth=1.2, zorder=1)
        if theory == "predicted":
            band = by_layer[["predicted_low", "predicted_high"]].first()
            low, high = band["predicted_low"], band["predicted_high"]
            panel.fill_between(numbers, low, high, color=look.colour, alpha=0.15, linewidth=0)
        bars = [measured["mean"] - measured["min"], measured["max"] - measured["mean"]]
        panel.errorbar(
            numbers, measured["mean"], bars, fmt=look.marker, color=look.colour, markersize=4.5, elinewidth=0.9,
            markeredgecolor="white", markeredgewidth=0.5,
        )  # fmt: skip
        panel.annotate(look.label, (numbers[-1], measured["mean"].iloc[-1]), (7, 0), textcoords="offset points",
                       fontsize=8, color=look.colour, va="center", annotation_clip=False)  # fmt: skip
    panel.set_xticks(numbers)
    panel.set_xlim(numbers[0] - 0.5, numbers[-1] + 1.4)
    panel.set_ylim(0.0, 1.0)
    panel.set_xlabel("hidden layer")
