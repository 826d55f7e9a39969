"""The figure, from the table alone: what a training step costs, as ratios to that with ReLU."""

from math import inf
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from analyses.experiments.footprint.networks import VARIANTS
from analyses.experiments.footprint.settings import NAMES, setting_of
from analyses.experiments.footprint.verdicts import ratios
from elutheory.output.figures import look_of, style

_PAPER = "5 % more, as the paper's ELU networks"
_WORDS = {
    "operations, exp 1": "operations, exp = 1",
    "operations, exp 21": "operations, exp = 21",
    "bytes kept": "bytes kept for backward",
    "parameters, state": "parameters and buffers",
}
_COMPARED = ("elu", "relu_batch_norm", "elu_batch_norm")
_TICKS = {
    2.6: (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.4, 1.6, 2),
    8.0: (0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7),
    70.0: (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50),
    inf: (0.001, 0.01, 0.1, 1, 10, 100, 1000),
}
"""By the largest ratio of the panel's ends for which they have room."""


def draw(table: Any) -> Figure:
    """A panel per network: of a whole training step, times with intervals of 95 % over the turns, counts exact."""
    networks = table["network"].unique().tolist()
    with style():
        figure = Figure(figsize=(7.2, 3.9), layout="constrained")
        panels: Any = figure.subplots(1, len(networks), squeeze=False, sharey=True)[0]
        for letter, panel, name in zip("abcdefgh", panels, networks, strict=False):
            rows = table[table["network"] == name]
            found = ratios(rows)
            _draw_ratios(panel, found[found["scope"] == "step"])
            panel.set_xlabel("a training step's, over that with ReLU")
            panel.set_title(f"({letter}) {name.replace('_', ' ')}, batches of {rows['batch_size'].iloc[0]}")
            panel.axvline(1.05, color="0.3", linewidth=0.8, linestyle=(0, (3, 2)), label=_PAPER)
        _draw_legend(figure, panels[0], "upper", title=setting_of(table), title_fontsize=8)
    return figure


def _draw_legend(figure: Any, panel: Any, place: str, **options: Any) -> None:
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, ncols=4, loc=f"outside {place} center", **options)


def _draw_ratios(panel: Any, found: Any) -> None:
    whats = found["what"].unique().tolist()[::-1]
    for order, variant in enumerate(_COMPARED):
        of_variant = found[found["variant"] == variant]
        heights = [whats.index(what) + 0.22 * (1 - order) for what in of_variant["what"]]
        errors = [of_variant["ratio"] - of_variant["low"], of_variant["high"] - of_variant["ratio"]]
        panel.errorbar(of_variant["ratio"], heights, xerr=errors, label=NAMES[variant], **_look(variant))
    panel.axvline(1.0, color="0.7", linewidth=0.8, zorder=0)
    panel.set_yticks(range(len(whats)), [_WORDS.get(what, what) for what in whats])
    panel.set_xscale("log")
    low, high = panel.get_xlim()
    panel.xaxis.set_major_locator(FixedLocator(next(ticks for span, ticks in _TICKS.items() if high / low < span)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())


def _look(variant: str) -> dict[str, Any]:
    activation, batch_norm = VARIANTS[variant]
    look = look_of(activation)
    return {
        "color": look.colour,
        "marker": look.marker,
        "markerfacecolor": "white" if batch_norm else look.colour,
        "markersize": 4.5,
        "linestyle": "none",
        "elinewidth": 1.0,
    }
