"""The figure, from the table alone."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analyses.experiments.cifar.settings import BATCH, NONE, layers_of, setting_of
from analyses.experiments.cifar.verdicts import final_errors
from elutheory.output.figures import look_of, style


def draw(table: Any) -> Figure:
    """(a) test error by epoch; (b) at the end, a point a network; (c) layers' means before and after training."""
    names = table["activation"].unique().tolist()
    with style():
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        panels: Any = figure.subplots(1, 3)
        for name in names:
            for normalisation in (NONE, BATCH):
                runs = table[(table["activation"] == name) & (table["normalisation"] == normalisation)]
                if len(runs):
                    _draw_curve(panels[0], runs, name, normalisation)
        chance = 100 * float(table["chance_error"].iloc[0])
        panels[0].axhline(chance, color="0.6", linewidth=0.6, linestyle=":")
        panels[0].set_xlabel("epoch")
        panels[0].set_ylabel("test error in %")
        panels[0].set_title("(a) test error (dotted: chance)")
        _draw_ends(panels[1], table, names)
        without = NONE if (table["normalisation"] == NONE).any() else BATCH
        _draw_layers(panels[2], table[table["normalisation"] == without], names)
        panels[2].set_title(f"(c) means, {'without' if without == NONE else 'with'} batch norm.")
        figure.legend(
            *panels[2].get_legend_handles_labels(), loc="outside lower center", ncols=len(names) + 2, frameon=False
        )
        figure.suptitle(
            f"{setting_of(table)}\nmedians over seeds; hollow points and thin lines: with batch normalisation",
            fontsize=8,
        )
    return figure


def _draw_curve(panel: Any, runs: Any, name: str, normalisation: str) -> None:
    curve = 100 * runs.groupby("epoch")["test_error"].median().dropna()
    look = look_of(name)
    thin = normalisation == BATCH
    panel.plot(
        curve.index,
        curve,
        color=look.colour,
        linestyle=look.line,
        linewidth=0.7 if thin else 1.5,
        alpha=0.7 if thin else 1,
    )


def _draw_ends(panel: Any, table: Any, names: list[str]) -> None:
    """Finite errors as points, their mean as a line; how many diverged stands above."""
    errors = final_errors(table)
    for place, name in enumerate(names):
        look = look_of(name)
        for shift, normalisation in ((-0.18, NONE), (0.18, BATCH)):
            if (name, normalisation) not in errors:
                continue
            found = errors[(name, normalisation)].to_numpy(float)
            finite = found[np.isfinite(found)]
            inside = look.colour if normalisation == NONE else "none"
            spread = np.linspace(-0.08, 0.08, len(finite)) if len(finite) > 1 else np.zeros(len(finite))
            panel.plot(
                place + shift + spread,
                finite,
                look.marker,
                color=look.colour,
                markerfacecolor=inside,
                markersize=3.5,
                linestyle="none",
            )
            if len(finite):
                panel.hlines(finite.mean(), place + shift - 0.14, place + shift + 0.14, color=look.colour, linewidth=1)
            if len(finite) < len(found):
                lost = f"{len(found) - len(finite)} diverged"
                panel.annotate(lost, (place + shift, 1.0), xycoords=("data", "axes fraction"), fontsize=6, ha="center")
    panel.set_xticks(range(len(names)), [look_of(name).label for name in names], rotation=20)
    panel.set_title("(b) at the end, a network each")


def _draw_layers(panel: Any, table: Any, names: list[str]) -> None:
    layers = layers_of(table)
    last = table["epoch"].max()
    for name in names:
        look = look_of(name)
        runs = table[table["activation"] == name]
        start, end = (runs[runs["epoch"] == epoch] for epoch in (0, last))
        measured, ended, predicted = (
            [found[f"{column}_{layer}"].mean() for layer in layers]
            for found, column in ((start, "mean"), (end, "mean"), (start, "predicted"))
        )
        shown: Any = {"color": look.colour, "markersize": 3.5}
        panel.plot(layers, ended, linestyle=look.line, marker=look.marker, label=look.label, **shown)
        panel.plot(layers, measured, linestyle="none", marker=look.marker, markerfacecolor="none", **shown)
        panel.plot(layers, predicted, linestyle="none", marker="_", color="black", markersize=7, zorder=3)
    panel.plot([], [], "ok", markerfacecolor="none", markersize=3.5, label="before training")
    panel.plot([], [], "_k", markersize=7, label="M3, no fit")
    panel.axhline(0.0, color="0.7", linewidth=0.6, zorder=0)
    panel.set_xlabel("hidden layer")
    panel.set_ylabel("mean activation")
