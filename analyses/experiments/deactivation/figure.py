"""The figure, from the table alone: one unit, noise at units that are off, what they code and what they add."""

from typing import Any

import numpy as np
import pandas
from matplotlib.figure import Figure

from analyses.experiments.deactivation.settings import labelled, setting_of, widest_units
from elutheory.output.figures import look_of, style

_LINES = ((0, (1, 1.2)), (0, (4, 2)), "-")
_FILLS = ("white", "#F6DCA4", None)
"""Of the markers, in the order of the slopes; None: as the line."""


def draw(table: Any) -> Figure:
    """One unit: the variance that it passes on. Networks, median and range over seeds: noise, degree, variation.

    Of single units, lines are theory and points are simulated, with two standard errors.
    """
    units = widest_units(table[table["part"] == "unit"])
    layers = table[table["part"] == "layer"]
    names = table["activation"].unique().tolist()
    with style():
        figure = Figure(figsize=(7.2, 5.6), layout="constrained")
        panels: Any = figure.subplots(2, 2).ravel()
        looks = _looks(names)
        for name in names:
            rows = units[units["activation"] == name].sort_values("mean")
            _draw_variance(panels[0], rows, looks[name], labelled(name))
        std = units["std"].iloc[0]
        panels[0].set_yscale("log")
        panels[0].set_ylim(bottom=1e-8)
        panels[0].set_title("(a) one unit: variance that it passes on")
        panels[0].set_ylabel(f"Var f, net input's: {std**2:g}")
        panels[0].set_xlabel("mean net input")
        _draw_relative_gains(panels[1], layers, looks)
        _draw_states(panels[2], layers, "information", {"off": "absence (off)", "on": "presence (on)"}, looks)
        panels[2].set_title("(c) the degree that a unit codes")
        panels[2].set_ylabel("information through noise (nats)")
        panels[2].set_ylim(bottom=-0.05)
        _draw_layers(panels[3], layers, "next_share", looks)
        panels[3].set_title("(d) variation within off states")
        panels[3].set_ylabel("share of the next\nlayer's variance")
        for panel in panels:
            panel.minorticks_off()
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8
        )
        setting = setting_of(table).replace("examples, ", "examples,\n")
        figure.suptitle(f"{setting}, median and range", fontsize=8)
    return figure


def _looks(names: list[str]) -> dict[str, dict[str, Any]]:
    """Those of `elutheory.output.figures`; leaky ReLUs differ in line and filling, in the order of their slopes."""
    leaky = [name for name in names if name.startswith("leaky_relu")]
    looks: dict[str, dict[str, Any]] = {}
    for name in names:
        look = look_of(name)
        found = {"color": look.colour, "marker": look.marker, "linestyle": look.line, "markerfacecolor": look.colour}
        if name in leaky:
            place = leaky.index(name) % len(_LINES)
            found |= {"linestyle": _LINES[place], "markerfacecolor": _FILLS[place] or look.colour}
        looks[name] = found
    return looks


def _line(look: dict[str, Any]) -> dict[str, Any]:
    return {key: look[key] for key in ("color", "linestyle")} | {"linewidth": 1.1}


def _points(look: dict[str, Any]) -> dict[str, Any]:
    return {key: look[key] for key in ("color", "marker", "markerfacecolor")} | {"linestyle": "none", "markersize": 4}


def _draw_variance(panel: Any, rows: Any, look: dict[str, Any], label: str) -> None:
    off = rows[rows["mean"] <= 0]
    panel.plot(off["mean"], off["variance"].where(off["variance"] > 0), **_line(look))
    marked = off.iloc[:: max(1, len(off) // 8)]
    marked = marked[marked["simulated"] > 0]
    size, error = marked["simulated"], 2 * marked["simulated_error"]
    _draw_points(panel, marked["mean"], size, (np.maximum(size - error, 1e-3 * size), size + error), look)
    panel.plot([], [], **{**look, "markersize": 4, "linewidth": 1.1}, label=label)


def _draw_layers(panel: Any, layers: Any, column: str, looks: dict[str, dict[str, Any]]) -> None:
    """Of the off state, by layer."""
    off = layers[layers["state"] == "off"]
    for order, (name, look) in enumerate(looks.items()):
        found = _over_seeds(off[off["activation"] == name], column, "layer")
        _draw_range(panel, found.index + _shift(order, looks), found, look)
    panel.set_xticks(sorted(off["layer"].unique()))
    panel.set_xlabel("hidden layer")


def _draw_relative_gains(panel: Any, layers: Any, looks: dict[str, dict[str, Any]]) -> None:
    """Of one unit off and deep, over that of one that is on."""
    gains = layers.pivot(index=["activation", "seed", "layer"], columns="state", values="unit_gain")
    relative = pandas.concat(
        [
            gains[state].div(gains["on"]).rename("relative").reset_index().assign(state=state)
            for state in ("off", "deep")
        ]
    )
    _draw_states(panel, relative[relative["relative"] > 0], "relative", {"off": "off", "deep": "deep off"}, looks)
    panel.set_yscale("log")
    panel.set_title("(b) noise at an off unit, beside an on one")
    panel.set_ylabel("change of the logits, ratio")
    if "relu" in looks:
        panel.set_xlabel("deep: the lowest tenth (ReLU: none)")


def _draw_states(
    panel: Any, layers: Any, column: str, states: dict[str, str], looks: dict[str, dict[str, Any]]
) -> None:
    """Means over layers by state; nothing where a number is infinite."""
    for order, (name, look) in enumerate(looks.items()):
        rows = layers[(layers["activation"] == name) & np.isfinite(layers[column])]
        if not rows.empty:
            found = _over_seeds(rows, column, "state").reindex(list(states))
            _draw_range(panel, np.arange(len(states)) + _shift(order, looks), found, look)
    panel.set_xticks(range(len(states)), list(states.values()))


def _over_seeds(rows: Any, column: str, index: str) -> Any:
    """Median and range over seeds of the means over all else, by `index`."""
    means = rows.groupby([index, "seed"])[column].mean().unstack()
    return pandas.DataFrame({"middle": means.median(axis=1), "low": means.min(axis=1), "high": means.max(axis=1)})


def _draw_range(panel: Any, places: Any, found: Any, look: dict[str, Any]) -> None:
    _draw_points(panel, places, found["middle"], (found["low"], found["high"]), look)


def _draw_points(panel: Any, places: Any, middle: Any, ends: Any, look: dict[str, Any]) -> None:
    """One path for all bars: a figure of small size."""
    gaps = np.full(len(places), np.nan)
    heights = np.stack([*ends, gaps], axis=1)
    panel.plot(np.repeat(np.asarray(places, dtype=float), 3), heights.ravel(), color=look["color"], linewidth=0.8)
    panel.plot(places, middle, **_points(look))


def _shift(order: int, looks: dict[str, Any]) -> float:
    return 0.1 * (order - (len(looks) - 1) / 2)
