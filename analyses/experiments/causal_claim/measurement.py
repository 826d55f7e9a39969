"""Networks of every activation and method: first those that tune the learning rates, then fresh ones to compare."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas
import torch
from torch import nn

from analyses.data.datasets import Dataset, Split
from analyses.experiments.causal_claim.settings import (
    ARMS,
    BATCH_NORM,
    CENTRED,
    COLUMNS,
    DECIDING,
    LOSSES,
    METHODS,
    NATURAL,
    OUTCOME,
    OUTPUTS,
    SGD,
    TERM,
    Config,
)
from analyses.framework.rates import Comparison, check_grid, place_of
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.classifiers import classification_data, classifier_sizes
from analyses.networks.corrections import unit_corrections
from analyses.networks.origins import CentredOutputs
from analyses.networks.training import MakeOptimizer, Training, fabric_on, train
from analyses.networks.training_cost import classifier_shape, fisher_cost, training_cost
from elutheory.activations import Activation
from elutheory.errors import InputError
from elutheory.fisher import UnitNaturalGradient
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains


@dataclass(frozen=True)
class Cell:
    """Networks of one activation, method and learning rate."""

    role: str
    activation: str
    method: str
    learning_rate: float
    seeds: tuple[int, ...]


COMPARISON = Comparison(
    ARMS,
    OUTCOME,
    make=lambda role, arm, rate, seeds: Cell(role, arm[0], arm[1], rate, seeds),
    first_seed=6000,
    first_tuning_seed=6_000_000,
    roles=("tuned",),
)
"""Other seeds were used while sizes and rates were chosen."""


def cells(config: Config) -> list[Cell]:
    """The networks that tune on the first grids. Raises InputError where nothing would be measured or compared."""
    check_domains(config)
    check_activations(config.activations, config.negative_slope)
    check_grid(config.learning_rates)
    check_grid(config.natural_learning_rates, name="natural_learning_rates")
    found = []
    for method in reversed(METHODS):
        rates = config.natural_learning_rates if method == NATURAL else config.learning_rates
        found += COMPARISON.tuning_cells(config, [(name, method) for name in config.activations], rates)
    return found


def cost(config: Config) -> Cost:
    """Of all networks on all examples at once; of two methods an update takes Fisher matrices too.

    A network that gets to the deciding loss stops there: half of the updates are counted.
    """
    examples, sizes = classifier_shape(config.data, config.examples, [config.units] * config.layers)
    sizes = (min(config.features or sizes[0], sizes[0]), *sizes[1:])
    networks = len(config.activations) * sum(count * seeds for count, seeds in COMPARISON.groups(config))
    taken = -(-config.updates // 2)
    each = training_cost(sizes, networks=1, examples=examples, epochs=taken, batch_size=examples, itemsize=8)
    natural = fisher_cost((*sizes, 1), examples) * taken
    closest = fisher_cost(sizes, examples) * (2 * len(config.activations) * config.seeds)
    at_once = each.bytes * max(config.tuning_seeds, config.seeds) + natural.bytes
    return replace(each * (len(METHODS) * networks) + natural * (2 * networks) + closest, bytes=at_once)


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per network; see COLUMNS."""
    return COMPARISON.measure(measure_cell, config, cells(config), sweep)


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one cell."""
    data = prepared(config)
    function = named_activation(cell.activation, config.negative_slope)
    sizes = classifier_sizes(config, data)
    trained = train(
        lambda: network_of(sizes, function, cell.method),
        data,
        Training(
            config.updates,
            cell.seeds,
            (cell.learning_rate,),
            batch_size=len(data.train),
            evaluated=(),
            stop_at=DECIDING,
        ),
        fabric=fabric_on(device),
        make_optimizer=optimizer_of(cell.method, config.damping),
    )
    rows: list[dict[str, Any]] = []
    for seed, curve in trained.table.groupby("seed", sort=False):
        losses = curve["train_loss"].to_numpy(float)[1:]  # of the one batch of each epoch, before its update
        row: dict[str, Any] = {
            f"updates_to_{loss:g}": place_of(losses, np.arange(len(losses)), loss) for loss in LOSSES
        }
        row |= {"seed": seed, "last_loss": losses[-1], "diverged_update": curve["diverged_update"].iloc[0]}
        if (cell.role, cell.method) == ("tuned", SGD):
            row |= closeness(sizes, function, int(row["seed"]), data.train, config.damping)
        rows.append(row)
    described = {name: getattr(cell, name) for name in ("role", "activation", "method", "learning_rate")}
    settings = {name: getattr(config, name) for name in ("updates", "layers", "units", "damping", "negative_slope")}
    table = pandas.DataFrame(rows).assign(**described, **settings)
    table = table.assign(data=data.name, examples=len(data.train), features=sizes[0])
    return table.reindex(columns=list(COLUMNS))


def network_of(sizes: tuple[int, ...], function: Activation, method: str) -> nn.Sequential:
    """Not yet initialised."""
    network = fully_connected(sizes, function, batch_norm=method == BATCH_NORM)
    return nn.Sequential(*network, CentredOutputs(sizes[-1])) if method == OUTPUTS else network


def optimizer_of(method: str, damping: float) -> MakeOptimizer | None:
    """None: SGD. Means and Fisher matrices are those of all examples at the present weights."""
    centred: Any = {CENTRED: "p", OUTPUTS: "p", TERM: "q", NATURAL: False}
    if method not in centred:
        return None
    return lambda network, rate: UnitNaturalGradient(
        network, rate, kind="exact", centred=centred[method], damping=damping, decay=0.0, max_kl=None
    )


def prepared(config: Config) -> Dataset:
    """Inputs of mean zero, every one, and together of second moment 1, over the training examples.

    In the coordinates of their principal components where `features` asks for these. Raises InputError for more
    components than there are.
    """
    data = classification_data(config.data, config.examples)
    inputs = data.train.inputs.double()
    mean = inputs.mean(0)
    basis = torch.eye(inputs.shape[1], dtype=torch.float64)
    if config.features:
        if config.features > min(inputs.shape):
            raise InputError(f"features is {config.features}; {data.name} has at most {min(inputs.shape)} components.")
        _, vectors = torch.linalg.eigh((inputs - mean).mT @ (inputs - mean))
        basis = vectors[:, -config.features :].flip(1)
    scale = ((inputs - mean) @ basis).square().mean().sqrt()

    def of(split: Split) -> Split:
        return Split(((split.inputs.double() - mean) @ basis / scale).float(), split.targets)

    return replace(data, train=of(data.train), validation=of(data.validation), test=of(data.test))


def closeness(
    sizes: tuple[int, ...], function: Activation, seed: int, examples: Split, damping: float
) -> dict[str, float]:
    """Cosines of gradient and unit natural gradient at initialisation, for activations as they are and centred."""
    network: Any = initialise(fully_connected(sizes, function), seed).double()
    examples = Split(examples.inputs.double(), examples.targets)
    plain, centred = (
        unit_corrections(network, examples, len(examples), damping, centred=centred)[1:] for centred in (False, True)
    )
    return {
        "cosine": float(np.mean([layer.cosine.nanmedian().item() for layer in plain])),
        "centred_cosine": float(np.mean([layer.cosine.nanmedian().item() for layer in centred])),
        "mean_share": float(np.mean([layer.mean_share for layer in plain])),
    }
