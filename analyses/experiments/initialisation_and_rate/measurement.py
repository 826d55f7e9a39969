"""Networks of every activation and initialisation: those that tune, fresh ones that are compared, and predictions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
from torch import nn

from analyses.data.datasets import Dataset
from analyses.experiments.initialisation_and_rate.settings import ARMS, COLUMNS, DECIDING, OUTCOME, Config
from analyses.framework.rates import Comparison, check_grid, updates_to
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.classifiers import classification_data, classifier_sizes
from analyses.networks.predictions import kernel_of_examples, predicted_training
from analyses.networks.training import Training, fabric_on, train
from analyses.networks.training_cost import classifier_shape, prediction_cost, training_cost
from elutheory.errors import InputError
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains
from elutheory.propagation import Initialisation, initialisation


@dataclass(frozen=True)
class Cell:
    """Networks of one activation, initialisation and learning rate."""

    role: str
    activation: str
    initialisation: str
    learning_rate: float
    seeds: tuple[int, ...]


COMPARISON = Comparison(
    ARMS,
    OUTCOME,
    make=lambda role, arm, rate, seeds: Cell(role, arm[0], arm[1], rate, seeds),
    first_seed=5000,
    first_tuning_seed=5_000_000,
)
"""Other seeds were used while sizes and rates were chosen."""


def cells(config: Config) -> list[Cell]:
    """The networks that tune on the first grid. Raises InputError where nothing would be measured or compared."""
    check_domains(config)
    check_activations(config.activations, config.negative_slope)
    check_grid(config.learning_rates)
    pairs = [(name, kind) for name in config.activations for kind in config.initialisations]
    arms = [arm for arm in pairs if start_of(config, *arm) is not None]
    return COMPARISON.tuning_cells(config, arms)


def start_of(config: Config, name: str, kind: str) -> Initialisation | None:
    """The variances; None for an activation that is critical for no variance of the biases."""
    try:
        return initialisation(kind, named_activation(name, config.negative_slope))
    except InputError:
        if kind != "critical":
            raise
        return None


def cost(config: Config) -> Cost:
    """Of the networks that tune, on the first grid and wider ones, and of those that are compared at two rates."""
    examples, sizes = classifier_shape(config.data, config.examples, [config.units] * config.layers)
    arms = len(config.activations) * len(config.initialisations)
    total = Cost()
    for count, networks in COMPARISON.groups(config):
        each = training_cost(
            sizes, networks=networks, examples=examples, epochs=config.epochs, batch_size=config.batch_size
        )
        total += each * (count * arms)
    steps = config.epochs * -(-examples // min(config.batch_size, examples))
    predicted = prediction_cost(examples, config.layers, sizes[-1], steps, config.draws, config.batch_size)
    return total + predicted * (2 * arms)


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per network; see COLUMNS."""
    return COMPARISON.measure(measure_cell, config, cells(config), sweep)


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one cell."""
    data = classification_data(config.data, config.examples)
    function = named_activation(cell.activation, config.negative_slope)
    start = initialisation(cell.initialisation, function)
    variances = {"weight_variance": start.weight_variance, "bias_variance": start.bias_variance}

    def initialised(network: Any, seed: int) -> nn.Module:
        return initialise(network, seed, **variances)

    trained = train(
        lambda: fully_connected(classifier_sizes(config, data), function),
        data,
        Training(
            config.epochs,
            cell.seeds,
            (cell.learning_rate,),
            batch_size=config.batch_size,
            evaluated=(),
            stop_at=DECIDING,
        ),
        fabric=fabric_on(device),
        initialise=initialised,
    )
    each = -(-len(data.train) // config.batch_size)
    rows = []
    for seed, curve in trained.table.groupby("seed", sort=False):
        losses = curve["train_loss"].to_numpy(float)
        rows.append(
            {"seed": seed, OUTCOME: updates_to(losses, each, DECIDING), "last_loss": losses[-1]}
            | {"diverged_update": curve["diverged_update"].iloc[0]}
        )
    prediction = predicted(config, cell, data, variances, each) if cell.role != "tuning" else {}
    described = {name: getattr(cell, name) for name in ("role", "activation", "initialisation", "learning_rate")}
    settings = {name: getattr(config, name) for name in ("layers", "units", "batch_size", "negative_slope")}
    table = pandas.DataFrame(rows).assign(**described, **variances, **prediction, **settings)
    table = table.assign(updates=each * config.epochs, data=data.name, examples=len(data.train))
    return table.reindex(columns=list(COLUMNS))


def predicted(config: Config, cell: Cell, data: Dataset, variances: dict[str, float], each: int) -> dict[str, float]:
    """What the kernel at initialisation says: updates to the deciding loss, and its size and top share."""
    function = named_activation(cell.activation, config.negative_slope)
    theta = kernel_of_examples(data, function, layers=config.layers, units=config.units, **variances)
    found = predicted_training(
        theta,
        data,
        learning_rate=cell.learning_rate,
        steps=each * config.epochs,
        batch_size=config.batch_size,
        batch_seed=cell.seeds[0],
        draws=config.draws,
    )
    steps = found.steps_to(DECIDING)
    predicted = steps if np.isfinite(steps) else np.nan
    return {"predicted": predicted, "diagonal_mean": theta.diagonal_mean, "top_share": theta.top_share}
