"""The figure, from the table alone."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analyses.experiments.bias_shift_in_training.settings import setting_of
from analyses.experiments.bias_shift_in_training.verdicts import run_statistics
from elutheory.output.figures import look_of, style


def draw(table: Any) -> Figure:
    """By update, mean over hidden layers above the first: median over seeds and their range; last panel: averages.

    Batch normalisation stands in the first panel, four decades lower. Oscillation of the means is in the record alone.
    """
    with style():
        figure = Figure(figsize=(7.2, 5.2), layout="constrained")
        panels: Any = figure.subplots(2, 2)
        _draw_curves(panels[0, 0], table, False, "shift_share", "(a) bias shift", "share of update's effect")
        if table["batch_norm"].any():
            _draw_curves(panels[0, 0], table, True, "shift_share", "(a) bias shift", "share of update's effect")
            _name_the_normalised(panels[0, 0], table)
        panels[0, 0].set_yscale("log")
        _draw_curves(panels[0, 1], table, False, "explained", "(b) part of it by the unit's own weights", "share of it")
        _draw_directions(panels[1, 0], table)
        _draw_curves(
            panels[1, 1], table, False, "cosine", "(d) gradient against unit natural gradient", "cosine of the angle"
        )
        handles, labels = panels[0, 1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8)
        setting = setting_of(table).replace("; means", "\nmeans")
        figure.suptitle(f"{setting}: median and range", fontsize=8)
    return figure


def _name_the_normalised(panel: Any, table: Any) -> None:
    """Words above the lower bundle of curves, which is that of the networks with batch normalisation."""
    rows = table[table["batch_norm"] & (table["layer"] > 1)]
    highest = rows.groupby("update")["shift_share"].max().max()
    panel.annotate(
        "with batch normalisation",
        (rows["update"].max(), highest),
        xytext=(0, 5),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color="0.3",
    )


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
    panel.set_title("(c) bias shift of the unit's own step")
    panel.set_ylabel("share of step's effect")
    panel.legend(frameon=False, fontsize=7, loc="lower left")
