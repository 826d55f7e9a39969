"""Networks at every dose of the mean: first those that tune the learning rates, then fresh ones that are compared."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
from torch import nn

from analyses.data.datasets import Dataset
from analyses.experiments.dose_response.settings import ARMS, COLUMNS, DECIDING, LOSSES, OUTCOME, Config
from analyses.framework.rates import Comparison, check_grid, updates_to
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.classifiers import classification_data
from analyses.networks.origins import mean_shares, move_origins, with_origins
from analyses.networks.predictions import kernel_of_examples, predicted_training
from analyses.networks.training import Training, fabric_on, train
from analyses.networks.training_cost import classifier_shape, prediction_cost, training_cost
from elutheory.errors import InputError
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains


@dataclass(frozen=True)
class Cell:
    """Networks of one activation, dose and learning rate."""

    role: str
    activation: str
    dose: float
    learning_rate: float
    seeds: tuple[int, ...]


COMPARISON = Comparison(
    ARMS,
    OUTCOME,
    make=lambda role, arm, rate, seeds: Cell(role, arm[0], arm[1], rate, seeds),
    first_seed=3000,
    first_tuning_seed=3_000_000,
)
"""Other seeds were used while sizes and rates were chosen."""


def cells(config: Config) -> list[Cell]:
    """The networks that tune on the first grid. Raises InputError where nothing would be measured or compared."""
    check_domains(config)
    check_activations(config.activations, config.negative_slope)
    if 0.0 not in config.doses:
        raise InputError(f"doses are {', '.join(map(str, config.doses))}; finite numbers are needed, 0 among them.")
    check_grid(config.learning_rates)
    arms = [(name, dose) for name in config.activations for dose in config.doses]
    return COMPARISON.tuning_cells(config, arms)


def cost(config: Config) -> Cost:
    """Of the networks that tune, on the first grid and wider ones, and of those that are compared at two rates."""
    examples, sizes = classifier_shape(config.data, config.examples, [config.units] * config.layers)
    arms = len(config.activations) * len(config.doses)
    total = Cost()
    for count, networks in COMPARISON.groups(config):
        each = training_cost(
            sizes, networks=networks, examples=examples, epochs=config.epochs, batch_size=config.batch_size
        )
        total += each * (count * arms)
    if config.draws:
        steps = config.epochs * -(-examples // min(config.batch_size, examples))
        predicted = prediction_cost(examples, config.layers, sizes[-1], steps, config.draws, config.batch_size)
        total += predicted * (2 * arms)
    return total


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per network; see COLUMNS."""
    return COMPARISON.measure(measure_cell, config, cells(config), sweep)


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one cell."""
    function = named_activation(cell.activation, config.negative_slope)
    data = classification_data(config.data, config.examples)
    sizes = (*data.shape, *[config.units] * config.layers, data.classes)
    shares: list[float] = []

    def at_dose(network: Any, seed: int) -> nn.Module:
        initialise(network, seed)
        moved = move_origins(network, data.train.inputs.to(device), cell.dose)
        shares.append(float(np.mean(mean_shares(moved, data.train.inputs.to(device)))))
        return moved

    trained = train(
        lambda: with_origins(fully_connected(sizes, function)),
        data,
        Training(
            config.epochs,
            cell.seeds,
            (cell.learning_rate,),
            batch_size=config.batch_size,
            evaluated=(),
            stop_at=LOSSES[-1],
        ),
        fabric=fabric_on(device),
        initialise=at_dose,
    )
    each = -(-len(data.train) // config.batch_size)
    rows = []
    for (seed, curve), share in zip(trained.table.groupby("seed", sort=False), shares, strict=True):
        losses = curve["train_loss"].to_numpy(float)
        rows.append(
            {"seed": seed, "mean_share": share, "initial_loss": losses[0], "last_loss": losses[-1]}
            | {f"updates_to_{loss:g}": updates_to(losses, each, loss) for loss in LOSSES}
            | {"diverged_update": curve["diverged_update"].iloc[0]}
        )
    prediction = {} if cell.role == "tuning" or not config.draws else predicted(config, cell, data, each)
    described = {name: getattr(cell, name) for name in ("role", "activation", "dose", "learning_rate")}
    settings = {name: getattr(config, name) for name in ("layers", "units", "batch_size", "negative_slope")}
    table = pandas.DataFrame(rows).assign(**described, **settings, **prediction, updates=each * config.epochs)
    return table.assign(data=data.name, examples=len(data.train)).reindex(columns=list(COLUMNS))


def predicted(config: Config, cell: Cell, data: Dataset, each: int) -> dict[str, float]:
    """What the kernel says whose hidden layers receive what is left at this dose (T5): updates, largest stable rate."""
    theta = kernel_of_examples(
        data,
        named_activation(cell.activation, config.negative_slope),
        layers=config.layers,
        units=config.units,
        weight_variance=2.0,
        bias_variance=0.0,
    )
    found = predicted_training(
        theta.centred(dose=cell.dose, inputs=False),
        data,
        learning_rate=cell.learning_rate,
        steps=each * config.epochs,
        batch_size=config.batch_size,
        batch_seed=cell.seeds[0],
        draws=config.draws,
    )
    steps = found.steps_to(DECIDING)
    stable = found.largest_stable_rate
    return {"predicted": steps if np.isfinite(steps) else np.nan, "largest_stable_rate": stable}
