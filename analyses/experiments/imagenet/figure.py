"""The figure, from the table alone."""

from typing import Any

from matplotlib.figure import Figure

from analyses.experiments.imagenet.settings import setting_of
from elutheory.output.figures import look_of, style


def draw(table: Any) -> Figure:
    """(a) layers' means, (b) second moments, each beside M3's; (c) seconds of a training step, a point a turn."""
    names = table["activation"].unique().tolist()
    with style():
        figure = Figure(figsize=(7.2, 3.0), layout="constrained")
        panels: Any = figure.subplots(1, 3)
        for name in names:
            for panel, quantity in zip(panels, ("mean", "second_moment"), strict=False):
                _draw_layers(panel, table[(table["activation"] == name) & (table["quantity"] == quantity)], name)
        panels[0].axhline(0.0, color="0.7", linewidth=0.6, zorder=0)
        panels[0].set_ylabel("mean activation")
        panels[1].set_ylabel("mean squared activation")
        panels[1].set_yscale("log")
        for place, name in enumerate(names):
            found = table[(table["activation"] == name) & (table["quantity"] == "seconds")]["value"]
            look = look_of(name)
            panels[2].plot([place] * len(found), found, look.marker, color=look.colour, alpha=0.5, markersize=4)
            panels[2].hlines(found.median(), place - 0.2, place + 0.2, color=look.colour)
        panels[2].set_xticks(range(len(names)), [look_of(name).label for name in names])
        panels[2].set_ylabel("seconds of a training step")
        panels[2].set_ylim(bottom=0)
        for panel, title in zip(panels, ("(a) means", "(b) second moments", "(c) time"), strict=True):
            panel.set_title(title)
        for panel in panels[:2]:
            panel.set_xlabel("hidden layer")
        panels[0].plot([], [], "_k", markersize=7, label="M3, no fit")
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names) + 1, frameon=False
        )
        figure.suptitle(f"{setting_of(table)}\nbefore training, mean over seeds", fontsize=8)
    return figure


def _draw_layers(panel: Any, rows: Any, name: str) -> None:
    found = rows.groupby("layer")[["value", "predicted"]].mean()
    look = look_of(name)
    shown: Any = {"color": look.colour, "linestyle": look.line, "marker": look.marker, "markersize": 3.5}
    panel.plot(found.index, found["value"], label=look.label, **shown)
    panel.plot(found.index, found["predicted"], "_k", markersize=7, zorder=3)
