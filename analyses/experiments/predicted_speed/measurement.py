"""The prediction for a setting, then networks of it, trained for twice as long as predicted."""

import math
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
import pandas
from torch import nn

from analyses.data.datasets import Dataset
from analyses.experiments.predicted_speed.settings import COLUMNS, LOSSES, REFERENCE_WIDTH, RULES, Config
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.classifiers import classification_data
from analyses.networks.predictions import kernel_of_examples, predicted_training
from analyses.networks.training import Training, fabric_on, train
from analyses.networks.training_cost import classifier_shape, parameters, prediction_cost, training_cost
from elutheory.errors import InputError
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains
from elutheory.propagation import initialisation

_FIRST_SEED = 4000  # others were used while sizes were chosen


@dataclass(frozen=True)
class Cell:
    """A setting."""

    activation: str
    depth: int
    width: int
    initialisation: str
    batch_size: int
    rule: str


def cells(config: Config) -> list[Cell]:
    """Every setting, but those of too much work and of initialisations an activation has not, the longest first.

    Raises InputError where nothing would be measured.
    """
    check_domains(config)
    check_activations(config.activations, config.negative_slope)
    grid: Any = product(
        config.activations, config.depths, config.widths, config.initialisations, config.batch_sizes, RULES
    )
    features, classes = _shape_of(config)
    found = [Cell(*setting) for setting in grid if _has_initialisation(config, *setting[:4:3])]
    within = [cell for cell in found if largest_work(config, cell, features, classes) <= config.largest_work]
    if not within:
        raise InputError(f"every setting is of more than {config.largest_work:.2g} operations; give a larger_work.")
    return sorted(within, key=lambda cell: -largest_work(config, cell, features, classes))


def largest_work(config: Config, cell: Cell, features: int, classes: int) -> float:
    """Floating-point operations of a network's longest training: forward, and backward twice as many."""
    weights = sum(left * right for left, right in pairwise((features, *[cell.width] * cell.depth, classes)))
    return 6.0 * weights * (cell.batch_size or config.examples) * config.longest


def cost(config: Config) -> Cost:
    """Of every setting that is not of too much work: the kernel, its prediction, and the networks trained."""
    total = Cost()
    for depth, width, batch_size in product(config.depths, config.widths, config.batch_sizes):
        examples, sizes = classifier_shape(config.data, config.examples, [width] * depth)
        batch = min(batch_size or examples, examples)
        if 6.0 * parameters(sizes) * batch * config.longest > 1.1 * config.largest_work:
            continue
        epochs = config.longest / -(-examples // batch)
        trained = training_cost(
            sizes, networks=config.seeds, examples=examples, epochs=epochs, batch_size=batch, evaluated=examples
        )
        total += trained + prediction_cost(examples, depth, sizes[-1], config.longest, config.draws, batch)
    return total * (len(config.activations) * len(config.initialisations) * len(RULES))


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per network and loss; see COLUMNS."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one setting."""
    data = classification_data(config.data, config.examples)
    function = named_activation(cell.activation, config.negative_slope)
    start = initialisation(cell.initialisation, function)
    variances = {"weight_variance": start.weight_variance, "bias_variance": start.bias_variance}
    theta = kernel_of_examples(data, function, layers=cell.depth, units=cell.width, **variances)
    fixed = config.fixed_rate * REFERENCE_WIDTH / cell.width
    rate = fixed if cell.rule == "fixed" else 2 / theta.top_eigenvalue
    batch = cell.batch_size if 0 < cell.batch_size < len(data.train) else None
    seeds = tuple(range(_FIRST_SEED, _FIRST_SEED + config.seeds))
    predicted = predicted_training(
        theta,
        data,
        learning_rate=rate,
        steps=config.longest,
        batch_size=batch,
        batch_seed=seeds[0],
        draws=config.draws,
    )
    steps = {loss: predicted.steps_to(loss) for loss in LOSSES}
    last = steps[LOSSES[-1]]
    updates = config.longest if math.isinf(last) else int(min(config.longest, max(20, 2 * last)))
    found = measured_losses(config, cell, data, rate, updates, seeds, variances, device)
    described = {name: getattr(cell, name) for name in cell.__dataclass_fields__}
    rows = [
        {"seed": seed, "loss": loss, "predicted": steps[loss], "measured": first_at(losses, loss), "updates": updates}
        | {"diverged_update": diverged}
        for seed, (losses, diverged) in found.items()
        for loss in LOSSES
    ]
    table = pandas.DataFrame(rows).replace([np.inf], np.nan).assign(**described, learning_rate=rate)
    table = table.assign(diagonal_mean=theta.diagonal_mean, top_share=theta.top_share)
    table = table.assign(data=data.name, examples=len(data.train), negative_slope=config.negative_slope)
    return table.reindex(columns=list(COLUMNS))


def measured_losses(
    config: Config,
    cell: Cell,
    data: Dataset,
    rate: float,
    updates: int,
    seeds: tuple[int, ...],
    variances: dict[str, float],
    device: str,
) -> dict[int, tuple[Any, float]]:
    """By seed: the training loss before each update and after the last, (updates + 1,), and where it diverged.

    Of minibatches the loss of all examples is taken after each epoch, and ln loss is a straight line in between.
    """
    function = named_activation(cell.activation, config.negative_slope)
    sizes = (*data.shape, *[cell.width] * cell.depth, data.classes)
    examples = len(data.train)
    batch = min(cell.batch_size or examples, examples)
    each = -(-examples // batch)

    def initialised(network: Any, seed: int) -> nn.Module:
        return initialise(network, seed, **variances)

    trained = train(
        lambda: fully_connected(sizes, function),
        data,
        Training(-(-updates // each), seeds, (rate,), batch_size=batch, evaluated=("train",)),
        fabric=fabric_on(device),
        initialise=initialised,
    )
    curves = {}
    for seed, curve in trained.table.groupby("seed", sort=False):
        losses = curve["whole_train_loss"].to_numpy(float)
        places = np.arange(updates + 1)
        logarithms = np.interp(places, each * np.arange(len(losses)), np.log(losses))
        curves[seed] = (np.exp(logarithms), float(curve["diverged_update"].iloc[0]))
    return curves


def first_at(losses: Any, wanted: float) -> float:
    """Updates after which the loss is at most `wanted`, nan if it never is."""
    reached = np.flatnonzero(losses <= wanted)
    return float(reached[0]) if len(reached) else math.nan


def _has_initialisation(config: Config, name: str, kind: str) -> bool:
    """Only `critical` can be missing: it would need a negative variance of the biases."""
    try:
        initialisation(kind, named_activation(name, config.negative_slope))
    except InputError:
        if kind != "critical":
            raise
        return False
    return True


def _shape_of(config: Config) -> tuple[int, int]:
    data = classification_data(config.data, config.examples)
    return data.train.inputs.shape[1], data.classes
