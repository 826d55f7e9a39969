"""The figure, from the table alone."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analyses.experiments.learning_behaviour.settings import setting_of
from elutheory.output.figures import look_of, style


def draw(table: Any) -> Figure:
    """Median over seeds and their range, by epoch: (a) the median unit mean, (b) training and validation loss."""
    with style():
        figure = Figure(figsize=(7.2, 3.0), layout="constrained")
        panels: Any = figure.subplots(1, 3, sharex=True)
        panels[2].sharey(panels[1])
        names = table["activation"].unique().tolist()
        for order, name in enumerate(names):
            curves = table[table["activation"] == name]
            for panel, column in zip(panels, ("unit_mean_median", "training_loss", "validation_loss"), strict=True):
                _draw_curves(panel, name, curves, column)
            _draw_prediction(panels[0], name, curves, place=(order - len(names)) / 40 * table["epoch"].max())
        titles = ("(a) median over units of their means", "(b) training loss", "(b) validation loss")
        for panel, title in zip(panels, titles, strict=True):
            panel.set_title(title)
            panel.set_xlabel("epoch")
        panels[0].axhline(0.0, color="0.7", linewidth=0.6, zorder=0)
        panels[0].errorbar([], [], [], fmt="_", color="0.3", label="predicted, no fit")
        panels[0].legend(handles=panels[0].containers[-1:], frameon=False, fontsize=8, loc="lower right")
        panels[0].set_ylabel("mean activation")
        panels[1].set_yscale("log")
        lowest, highest = panels[1].get_ylim()
        panels[1].yaxis.set_major_locator(LogLocator(subs=(1.0,) if highest > 1e3 * lowest else (1.0, 2.0, 5.0)))
        panels[1].yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
        panels[1].yaxis.set_minor_formatter(NullFormatter())
        panels[1].set_ylabel("cross-entropy (nats)")
        panels[2].legend(frameon=False, loc="best")
        figure.suptitle(f"{setting_of(table)}\nmedian over seeds and range", fontsize=8)
    return figure


def _draw_curves(panel: Any, name: str, curves: Any, column: str) -> None:
    look = look_of(name)
    values = curves.pivot(index="epoch", columns="seed", values=column)
    values = values[values.notna().any(axis=1)]
    middle, lowest, highest = values.median(axis=1), values.min(axis=1), values.max(axis=1)
    diverged = int(curves.groupby("seed")["diverged"].max().notna().sum())
    label = f"{look.label} ({diverged} diverged)" if diverged else look.label
    panel.plot(values.index, middle, color=look.colour, linestyle=look.line, label=label)
    panel.fill_between(values.index, lowest, highest, color=look.colour, alpha=0.2, linewidth=0)


def _draw_prediction(panel: Any, name: str, curves: Any, place: float) -> None:
    value, low, high = curves.loc[curves["epoch"] == 0, ["predicted", "predicted_low", "predicted_high"]].iloc[0]
    panel.errorbar([place], [value], [[value - low], [high - value]], fmt="_", color=look_of(name).colour, markersize=6)
