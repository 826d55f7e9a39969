"""Networks of every depth: the learning rate is chosen on the validation examples, then others are compared at it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from analyses.experiments.depth.settings import (
    AVERAGED,
    COLUMNS,
    FIRST_SEED,
    FIRST_TUNING_SEED,
    RATE_FACTORS,
    Config,
    of_use,
)
from analyses.framework.rates import Arm, Comparison, Score, check_grid
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected
from analyses.networks.classifiers import chance, classification_data
from analyses.networks.training import Training, fabric_on, train
from analyses.networks.training_cost import classifier_shape, training_cost
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains

ARMS = ("activation", "depth")
"""What has a learning rate of its own."""


@dataclass(frozen=True)
class Cell:
    """Networks of one activation, depth and learning rate."""

    use: str
    activation: str
    depth: int
    learning_rate: float
    seeds: tuple[int, ...]


def scores(table: Any) -> dict[Arm, dict[float, Score]]:
    """By arm and rate, of the networks that tune: how many diverged, mean validation error, mean validation loss."""
    found: dict[Arm, dict[float, Score]] = {}
    for (*arm, rate), networks in of_use(table, "tuning").groupby([*ARMS, "learning_rate"], sort=True):
        error, loss = (float(networks[name].mean()) for name in ("validation_error", "validation_loss"))
        worst = (error, loss) if np.isfinite(error) else (np.inf, np.inf)
        rounded = round(worst[0], 9) if np.isfinite(error) else np.inf  # equal shares, averaged in different orders
        found.setdefault(tuple(arm), {})[float(rate)] = (int(networks["diverged"].count()), rounded, worst[1])
    return found


COMPARISON = Comparison(
    ARMS,
    "validation_error",
    make=lambda role, arm, rate, seeds: Cell(
        "tuning" if role == "tuning" else "comparison", arm[0], arm[1], rate, seeds
    ),
    first_seed=FIRST_SEED,
    first_tuning_seed=FIRST_TUNING_SEED,
    roles=("tuned",),
    scores=scores,
)


def cells(config: Config) -> list[Cell]:
    """The networks that tune on the first grid. Raises InputError on bad options and grids not of factors of two."""
    check_domains(config)
    check_activations(config.activations, config.negative_slope)
    check_grid(config.learning_rates)
    return COMPARISON.tuning_cells(config, [(name, depth) for depth in config.depths for name in config.activations])


def cost(config: Config) -> Cost:
    """Of the networks that tune, on the first grid and wider ones, and those that are compared, of every depth."""
    total = Cost()
    for depth in config.depths:
        examples, sizes = classifier_shape(config.data, config.examples, [config.units] * depth)
        for count, networks in COMPARISON.groups(config):
            each = training_cost(
                sizes,
                networks=networks,
                examples=examples,
                epochs=config.epochs,
                batch_size=config.batch_size,
                evaluated=examples / 5,
            )
            total += each * count
    return total * len(config.activations)


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per network; COLUMNS says what it holds."""
    return COMPARISON.measure(measure_cell, config, cells(config), sweep)


def measure_cell(config: Config, cell: Cell, device: str, checkpoint: Path | None = None) -> pandas.DataFrame:
    """The rows of one cell."""
    function = named_activation(cell.activation, config.negative_slope)
    data = classification_data(config.data, config.examples)
    sizes = (*data.shape, *[config.units] * cell.depth, data.classes)
    split = "validation" if cell.use == "tuning" else "test"
    updates = config.epochs * -(-len(data.train) // config.batch_size)
    training = Training(
        config.epochs,
        cell.seeds,
        (cell.learning_rate,),
        batch_size=config.batch_size,
        schedule=tuple((round(share * updates), factor) for share, factor in RATE_FACTORS),
        evaluated=(split,),
    )
    trained = train(
        lambda: fully_connected(sizes, function), data, training, fabric=fabric_on(device), checkpoint=checkpoint
    )
    curves = trained.table.rename(columns={"train_loss": "training_loss", "diverged_update": "diverged"})
    curves[f"{split}_error"] = 1 - curves[f"{split}_accuracy"]
    last: Any = curves[curves["epoch"] == config.epochs].copy()
    averaged: Any = curves[curves["epoch"] > config.epochs - max(1, round(AVERAGED * config.epochs))].groupby("seed")
    for name in (f"{split}_loss", f"{split}_error"):
        last[name] = last["seed"].map(averaged[name].mean()).where(last["diverged"].isna())
    described = {"activation": cell.activation, "depth": cell.depth, "use": cell.use, "chance_loss": chance(data)[0]}
    settings = {name: getattr(config, name) for name in ("units", "batch_size", "negative_slope")}
    return last.assign(**described, **settings, data=data.name, examples=len(data.train)).reindex(columns=list(COLUMNS))
