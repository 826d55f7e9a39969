"""The figure, from the table alone."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analyses.experiments.bias_shift_in_training.settings import setting_of
from analyses.experiments.bias_shift_in_training.verdicts import run_statistics
from elutheory.output.figures import look_of, style


def draw(table: Any) -> Figure:
    """By update, mean over hidden layers above the first: median over seeds and their range; last panel: averages."""
    with style():
        figure = Figure(figsize=(7.2, 4.7), layout="constrained")
        panels: Any = figure.subplots(2, 3)
        shares = "share of update's effect"
        panels[0, 0].sharey(panels[0, 1])
        _draw_curves(panels[0, 0], table, False, "shift_share", "(a) bias shift", shares)
        _draw_curves(panels[0, 1], table, True, "shift_share", "(b) with batch normalisation", "")
        panels[0, 0].set_yscale("log")
        _draw_curves(panels[0, 2], table, False, "explained", "(c) shift by own weights", "explained share")
        _draw_curves(panels[1, 0], table, False, "cosine", "(d) with unit natural gradient", "cosine of the gradient")
        _draw_curves(
            panels[1, 1], table, False, "sign_changes", "(e) oscillation of unit means", "share of sign changes"
        )
        _draw_directions(panels[1, 2], table)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8)
        figure.suptitle(setting_of(table).replace("; means", "\nmeans"), fontsize=8)
    return figure


def _draw_curves(panel: Any, table: Any, normalised: bool, column: str, title: str, unit: str) -> None:
    rows = table[(table["batch_norm"] == normalised) & (table["layer"] > 1)]
    for name, of_one in rows.groupby("activation", sort=False):
        look = look_of(name)
        values = of_one.groupby(["update", "seed"])[column].mean().unstack()
        panel.plot(values.index, values.median(axis=1), color=look.colour, linestyle=look.line, label=look.label)
        panel.fill_between(
            values.index, values.min(axis=1), values.max(axis=1), color=look.colour, alpha=0.15, linewidth=0
        )
    panel.set_xscale("log")
    panel.set_title(title)
    panel.set_xlabel("update")
    panel.set_ylabel(unit)


def _draw_directions(panel: Any, table: Any) -> None:
    """Bias shift's share of a step of the unit alone along three directions, an activation a column."""
    runs = run_statistics(table).query("not batch_norm")
    names = runs["activation"].unique().tolist()
    directions = {
        "gradient_share": ("o", "gradient"),
        "share_without": ("^", "natural gradient, uncoupled"),
        "share_with": ("D", "unit natural gradient"),
    }
    for order, (column, (marker, label)) in enumerate(directions.items()):
        values = runs.pivot(index="activation", columns="seed", values=column).loc[names]
        middle = values.median(axis=1).to_numpy()
        reach = np.stack([middle - values.min(axis=1).to_numpy(), values.max(axis=1).to_numpy() - middle])
        places = np.arange(len(names)) + 0.2 * (order - 1)
        for place, value, below, above, name in zip(places, middle, *reach, names, strict=True):
            panel.errorbar(
                place, value, [[below], [above]], fmt=marker, color=look_of(name).colour, markersize=4, linewidth=1
            )
        panel.plot([], [], marker, color="0.4", markersize=4, label=label)
    panel.set_yscale("log")
    lowest = panel.get_ylim()[0]
    panel.set_ylim(lowest / 30, 1.5)  # room for the legend
    panel.set_xticks([])
    panel.set_title("(f) bias shift, unit's own step")
    panel.set_ylabel("share of step's effect")
    panel.legend(frameon=False, fontsize=7, loc="lower left")
