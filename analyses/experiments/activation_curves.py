"""The activation functions and their derivatives: figure 1 of arXiv 1511.07289 (E1).

ELU, ReLU, leaky ReLU and shifted ReLU, max(−1, x), with the parameters of the paper's figure. Each piece between kinks
is sampled on its own, ends included as limits from within, so that a jump of the derivative is drawn as a gap.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas
from matplotlib.figure import Figure

from analyses.framework.settings import NegativeSlope, Positive
from analyses.framework.sweep import Sweep
from elutheory.activations import Activation, activation
from elutheory.numerics.cost import Cost
from elutheory.output.domains import Whole, check_domains
from elutheory.output.figures import look_of, style


@dataclass(frozen=True)
class Config:
    """The curves on [−largest, largest]."""

    alpha: Positive = 1.0
    """Of the ELU."""
    negative_slope: NegativeSlope = 0.1
    """Of the leaky ReLU."""
    largest: Positive = 10.0
    """Largest net input."""
    points: Annotated[int, Whole(2, 10**6)] = 101
    """Of every piece between kinks."""


DEVICES = ("cpu",)
PRESETS = {"quick": Config(), "paper": Config()}


@dataclass(frozen=True)
class Cell:
    """One curve: a registry name."""

    activation: str


def cells(config: Config) -> list[Cell]:
    """One cell per activation, of which later curves are drawn over earlier ones.

    Raises InputError on an empty range or grid.
    """
    check_domains(config)
    return [Cell(name) for name in ("relu", "elu", "leaky_relu", "shifted_relu")]


def cost(config: Config) -> Cost:
    """Of some forty lines and columns of `points` numbers."""
    return Cost(operations=1e4 * config.points, updates=400, bytes=2e3 * config.points)


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per activation, piece (from the left) and net input: value and derivative there, within that piece."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one activation."""
    parameters = {"elu": {"alpha": config.alpha}, "leaky_relu": {"negative_slope": config.negative_slope}}
    function = activation(cell.activation, **parameters.get(cell.activation, {}))
    pieces = []
    for index, piece in enumerate(function.pieces):
        lower, upper = (
            float(np.clip(float(end), -config.largest, config.largest)) for end in (piece.lower, piece.upper)
        )
        if lower < upper:
            pieces.append(_sampled(function, index, lower, upper, config.points))
    return pandas.concat(pieces, ignore_index=True)


def _sampled(function: Activation, piece: int, lower: float, upper: float, points: int) -> pandas.DataFrame:
    net_input = np.linspace(lower, upper, points)
    within = np.clip(net_input, np.nextafter(lower, np.inf), np.nextafter(upper, -np.inf))
    columns = {"net_input": net_input, "value": function(within), "derivative": function.derivative(within)}
    return pandas.DataFrame({"activation": repr(function), "piece": piece, **columns})


def draw(table: pandas.DataFrame) -> Figure:
    """Curves on the left, derivatives on the right."""
    with style():
        figure = Figure(figsize=(7.0, 3.0), layout="constrained")
        panels: Any = figure.subplots(1, 2)
        for panel, column in zip(panels, ("value", "derivative"), strict=True):
            for name, curve in table.groupby("activation", sort=False):
                _draw_curve(panel, str(name), curve, column)
            panel.axhline(0.0, color="0.8", linewidth=0.6, zorder=0)
            panel.set_xlabel("net input")
            panel.margins(x=0.02)
        for letter, panel, words in zip("ab", panels, ("activation", "derivative"), strict=True):
            panel.set_title(f"({letter}) {words}")
            panel.set_ylabel({"a": "f(net input)", "b": "f'(net input)"}[letter])
        panels[0].axvline(0.0, color="0.8", linewidth=0.6, zorder=0)
        panels[0].legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def _draw_curve(panel: Any, name: str, curve: Any, column: str) -> None:
    look = look_of(name)
    parameters = name.partition("(")[2].rstrip(")").replace("alpha", "α").replace("negative_slope", "slope")
    label = f"{look.label} ({parameters.replace('=', ' = ')})" if parameters else look.label
    for _, piece in curve.groupby("piece"):
        panel.plot(piece["net_input"], piece[column], color=look.colour, linestyle=look.line, label=label)
        label = None


def summary(table: pandas.DataFrame) -> str:
    """Range of every activation and of its derivative."""
    ranges = table.groupby("activation", sort=False)[["value", "derivative"]].agg(["min", "max"])
    return ranges.to_string(float_format="%.4g")
