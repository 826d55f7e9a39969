"""The figure, from the table alone: one unit, noise through units that are off, and what they code."""

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
    """One unit: variance, information and interference over the mean. Networks: median over seeds and range.

    Of single units, lines are theory and points are simulated, with two standard errors.
    """
    units = widest_units(table[table["part"] == "unit"])
    layers = table[table["part"] == "layer"]
    names = table["activation"].unique().tolist()
    with style():
        figure = Figure(figsize=(7.2, 7.8), layout="constrained")
        panels: Any = figure.subplots(3, 3)
        looks = _looks(names)
        for name in names:
            rows = units[units["activation"] == name].sort_values("mean")
            _draw_variance(panels[0, 0], rows, looks[name], labelled(name))
            _draw_information(panels[0, 1], rows, looks[name])
            lost = rows[rows["mean"] > 0]
            panels[0, 2].plot(lost["mean"], lost["interference"], **_line(looks[name]))
        _describe_units(panels[0], units["std"].iloc[0])
        _draw_layers(panels[1, 0], layers, "gain", looks, log=True)
        panels[1, 0].set_title("(d) noise through off units")
        panels[1, 0].set_ylabel("change of logits / variance")
        _draw_relative_gains(panels[1, 1], layers, looks)
        _draw_injections(panels[1, 2], table[table["part"] == "injection"], looks)
        _draw_states(panels[2, 0], layers, "log_slope", {"off": "off", "deep": "deep off"}, looks)
        panels[2, 0].set_title("(g) information, unit off (M6)")
        panels[2, 0].set_ylabel("mean ln f' (nats)")
        if {"relu", "shifted_relu"} <= looks.keys():
            panels[2, 0].set_xlabel("(ReLU, shifted ReLU: −∞)")
        _draw_states(panels[2, 1], layers, "information", {"off": "absence (off)", "on": "presence (on)"}, looks)
        panels[2, 1].set_title("(h) degree coded")
        panels[2, 1].set_ylabel("I(f; f + noise) (nats)")
        panels[2, 1].set_ylim(bottom=-0.05)
        _draw_layers(panels[2, 2], layers, "next_share", looks, log=False)
        panels[2, 2].set_title("(i) variation while off")
        panels[2, 2].set_ylabel("of next layer's variance")
        for panel in panels.flat:
            panel.minorticks_off()
        figure.legend(
            *panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8
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


def _draw_information(panel: Any, rows: Any, look: dict[str, Any]) -> None:
    panel.plot(rows["mean"], rows["information"], **_line(look))
    found = rows[rows["sampled"].notna()]
    size, error = found["sampled"], 2 * found["sampled_error"]
    _draw_points(panel, found["mean"], size, (size - error, size + error), look)


def _describe_units(panels: Any, std: float) -> None:
    panels[0].set_yscale("log")
    panels[0].set_ylim(bottom=1e-8)
    panels[0].set_title("(a) variance passed")
    panels[0].set_ylabel(f"Var f (of {std**2:g})")
    panels[0].set_xlabel("mean net input")
    panels[1].set_title("(b) information passed")
    panels[1].set_ylabel("I(net; f + noise) (nats)")
    panels[1].set_xlabel("mean net input")
    panels[1].axvline(0.0, color="0.7", linewidth=0.6, zorder=0)
    panels[2].set_title("(c) present, beside absent")
    panels[2].set_ylabel("information lost (nats)")
    panels[2].set_xlabel("m: means −m and m")
    panels[2].set_ylim(bottom=0)


def _draw_layers(panel: Any, layers: Any, column: str, looks: dict[str, dict[str, Any]], *, log: bool) -> None:
    """Of the off state, by layer."""
    off = layers[layers["state"] == "off"]
    for order, (name, look) in enumerate(looks.items()):
        found = _over_seeds(off[off["activation"] == name], column, "layer")
        found = found[found["low"] > 0] if log else found
        _draw_range(panel, found.index + _shift(order, looks), found, look)
    panel.set_xticks(sorted(off["layer"].unique()))
    panel.set_xlabel("hidden layer (ReLU: none)" if log and "relu" in looks else "hidden layer")
    if log:
        panel.set_yscale("log")


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
    panel.set_title("(e) of a unit, beside one on")
    panel.set_ylabel("ratio of changes of logits")
    if "relu" in looks:
        panel.set_xlabel("(ReLU: none)")


def _draw_injections(panel: Any, injections: Any, looks: dict[str, dict[str, Any]]) -> None:
    """As it was and, level bars, to first order."""
    off = injections[injections["state"] == "off"]
    for order, (name, look) in enumerate(looks.items()):
        rows = off[off["activation"] == name]
        found, linear = (_over_seeds(rows, column, "noise") for column in ("change", "linear"))
        places = np.arange(len(found)) + _shift(order, looks)
        _draw_range(panel, places, found, look)
        if (linear["low"] > 0).all():
            panel.plot(places, linear["middle"], color=look["color"], marker="_", linestyle="none", markersize=8)
    panel.set_yscale("log")
    panel.set_xticks(range(off["noise"].nunique()), [f"{noise:g}" for noise in sorted(off["noise"].unique())])
    panel.set_title("(f) injected (bars: linear)")
    panel.set_xlabel("noise std / net input std")
    panel.set_ylabel("change of logits / variance")


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
