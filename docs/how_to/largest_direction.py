"""How much of the tangent kernel its largest direction takes, by depth, for networks as they are trained (T1, T5).

Inputs are Gaussian with a mean, drawn anew for each seed. What is claimed is a difference between two activation
functions on the same inputs.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas
from matplotlib.figure import Figure

from analyses.framework.claims import Claim, Decision, decide, paired_differences
from analyses.framework.settings import Names, Seeds, check_activations
from analyses.framework.sweep import Sweep
from elutheory.dynamics import training_kernel
from elutheory.numerics.cost import Cost
from elutheory.output.domains import Real, Several, Whole, check_domains
from elutheory.output.figures import label_of, looks_of, style

FEATURES = 50


@dataclass(frozen=True)
class Config:
    """Networks with He's initialisation on `examples` inputs."""

    activations: Names = ("elu", "relu")
    depths: Annotated[tuple[int, ...], Several(Whole(1, 1000))] = (1, 2, 4, 8)
    examples: Annotated[int, Whole(2, 10**5)] = 60
    mean: Annotated[float, Real(-1e6, 1e6)] = 0.5
    """Of every input feature, in standard deviations."""
    seeds: Seeds = 8


DEVICES = ("cpu",)
PRESETS = {"quick": Config(), "paper": Config(depths=(1, 2, 4, 8, 16, 32), examples=400, seeds=16)}
COLUMNS = {
    "activation": "the networks' activation function",
    "depth": "hidden layers",
    "seed": "of the inputs",
    "share": "of the kernel's trace, in its largest direction",
}
CLAIMS = (
    Claim(
        identifier="relu-larger",
        sentence="ReLU puts more of the kernel into one direction than ELU",
        compared="ReLU − ELU",
        statistic="share of the trace at the largest depth",
        alternative="greater",
        level=0.05,
    ),
)


@dataclass(frozen=True)
class Cell:
    """One activation function, at all depths."""

    activation: str


def cells(config: Config) -> list[Cell]:
    """One cell per activation. Raises InputError for bad options."""
    check_domains(config)
    check_activations(config.activations, negative_slope=0.01)
    return [Cell(name) for name in config.activations]


def cost(config: Config) -> Cost:
    """Of the kernels, refused beyond the memory and announced beyond an hour."""
    pairs = float(config.examples) ** 2
    kernel = Cost(operations=2e3 * pairs, updates=1, bytes=8 * pairs * (2 * max(config.depths) + 8))
    return kernel * (sum(config.depths) * config.seeds * len(config.activations))


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per activation, seed and depth."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one activation."""
    rows = []
    for seed in range(config.seeds):
        inputs = np.random.default_rng(seed).normal(config.mean, 1.0, (config.examples, FEATURES))
        gram = inputs @ inputs.T / FEATURES
        for depth in config.depths:
            theta = training_kernel(
                cell.activation, gram, depth=depth, width=128, features=FEATURES, weight_variance=2.0
            )
            rows.append({"activation": cell.activation, "depth": depth, "seed": seed, "share": float(theta.top_share)})
    return pandas.DataFrame(rows)


def decisions(table: pandas.DataFrame) -> list[Decision]:
    """The claim's verdict, from the largest depth."""
    deepest = table[table["depth"] == table["depth"].max()]
    return decide(CLAIMS, {"relu-larger": paired_differences(deepest, "share", "relu", "elu")})


def summary(table: pandas.DataFrame) -> str:
    """Medians over seeds, and the verdict."""
    medians = table.pivot_table(index="depth", columns="activation", values="share", aggfunc="median")
    return "\n".join([medians.to_string(float_format="%.3f"), "", *map(str, decisions(table))])


def draw(table: pandas.DataFrame) -> Figure:
    """Medians by depth."""
    with style():
        figure = Figure(figsize=(4.5, 3.0), layout="constrained")
        axis = figure.subplots()
        looks = looks_of(table["activation"].unique())
        for name, rows in table.groupby("activation", sort=False):
            medians = rows.groupby("depth")["share"].median()
            look = looks[str(name)]
            axis.plot(medians, color=look.colour, marker=look.marker, linestyle=look.line, label=label_of(str(name)))
        axis.set(xlabel="hidden layers", ylabel="share of the largest direction", xscale="log")
        axis.legend(frameon=False)
    return figure
