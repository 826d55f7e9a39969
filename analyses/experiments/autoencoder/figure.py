"""The figure, from the table alone."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analyses.experiments.autoencoder.settings import CASE, case_in_words, setting_of
from analyses.experiments.autoencoder.verdicts import finding, states
from elutheory.output.figures import label_of, look_of, plain_ticks, style

_PANELS = 4


def draw(table: Any) -> Figure:
    """Test error by epoch, a panel for each of the first four cases: median over seeds and range.

    The mean image's error is dotted; half of it, below which a network has learned, dashed.
    """
    names = table["activation"].unique().tolist()
    cases = list(table[CASE].drop_duplicates().itertuples(index=False, name=None))[:_PANELS]
    columns = min(2, len(cases))
    rows = -(-len(cases) // columns)
    counted = states(table)
    with style():
        figure = Figure(figsize=(7.2, 1.3 + 2.3 * rows), layout="constrained")
        panels: Any = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for letter, case, panel in zip("abcd", cases, panels.flat, strict=False):
            chosen = table[(table[CASE] == list(case)).all(axis=1)]
            for name in names:
                _draw_curves(panel, name, chosen[chosen["activation"] == name])
            _draw_baselines(panel, chosen)
            panel.set_title(f"({letter}) {case_in_words(*case)}", loc="left", fontsize=8)
            lost = counted.loc[case]["diverged"]
            gone = [f"{label_of(str(name))}: {count} diverged" for name, count in lost.items() if count]
            panel.text(0.97, 0.97, "\n".join(gone), transform=panel.transAxes, fontsize=7, ha="right", va="top")
        for panel in panels.flat[len(cases) :]:
            panel.set_visible(False)
        _limit(panels[0, 0], table)
        for panel in panels[:, 0]:
            panel.set_ylabel("test error\n(mean square per pixel)")
        for panel in panels[-1]:
            panel.set_xlabel("epoch")
        looks = [look_of(name) for name in names]
        lines = [Line2D([], [], color=look.colour, linestyle=look.line, label=look.label) for look in looks]
        figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False, fontsize=8)
        said = (finding(table), setting_of(table))
        figure.suptitle("\n".join(textwrap.fill(line, 110) for line in said), fontsize=8)
    return figure


def _draw_curves(panel: Any, name: str, curves: Any) -> None:
    """Of the runs that did not diverge: a median over the others alone would drop once the worst have left."""
    look = look_of(name)
    kept = curves[curves.groupby("seed")["diverged"].transform("max").isna()]
    values = kept.pivot(index="epoch", columns="seed", values="test_error")
    panel.plot(values.index, values.median(axis=1), color=look.colour, linestyle=look.line, linewidth=1.3)
    low, high = values.min(axis=1), values.max(axis=1)
    panel.fill_between(values.index, low, high, color=look.colour, alpha=0.2, linewidth=0)


def _draw_baselines(panel: Any, chosen: Any) -> None:
    mean_image, last = chosen["mean_image_test"].iloc[0], chosen["epoch"].max()
    for part, line, words in ((1.0, (0, (1, 1.5)), "mean image"), (0.5, (0, (4, 2)), "half of it")):
        panel.axhline(part * mean_image, color="0.5", linewidth=0.8, linestyle=line, zorder=0)
        panel.annotate(words, (last, part * mean_image), (0, 2), textcoords="offset points", fontsize=7, color="0.35",
                       ha="right")  # fmt: skip


def _limit(panel: Any, table: Any) -> None:
    """A logarithmic axis up to four times the mean image's error: what starts higher is of no interest there."""
    panel.set_yscale("log")
    mean_image = table["mean_image_test"].iloc[0]
    lowest = np.nanmin([mean_image / 4, table["test_error"].min()])
    panel.set_ylim(0.8 * lowest, 4 * mean_image)
    plain_ticks(panel.yaxis, (1, 2, 5))
