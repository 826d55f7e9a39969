"""The runs that tune the learning rates, then the runs that are compared at the tuned ones."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas
import torch
from torch import Tensor, nn

from analyses.data import datasets
from analyses.experiments.causal_claim.settings import (
    BATCH_NORM,
    CENTRED,
    COLUMNS,
    CORRECTIONS,
    METHODS,
    NATURAL,
    SETTING,
    SGD,
    Config,
)
from analyses.experiments.causal_claim.tuning import tuned_rates
from analyses.framework.settings import check_activations, check_at_least, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected
from analyses.networks.corrections import unit_corrections
from analyses.networks.training import Training, fabric_on, train
from elutheory.errors import InputError
from elutheory.fisher import UnitNaturalGradient

_FIRST_SEED, _FIRST_TUNING_SEED = 2000, 1_000_000  # smaller ones were used while grids and sizes were chosen


@dataclass(frozen=True)
class Cell:
    """Runs of one activation by one method at one learning rate."""

    role: str
    activation: str
    method: str
    learning_rate: float
    seeds: tuple[int, ...]


def cells(config: Config) -> list[Cell]:
    """The runs that tune. Raises InputError where nothing would be measured."""
    check_at_least(config, layers=1, units=1, epochs=1, batch_size=1, tuning_seeds=1, seeds=1, seeds_at_once=1)
    if config.layers < 2:
        raise InputError(f"layers is {config.layers}; 2 or more are needed, of which the first is not measured.")
    if config.examples < 0 or config.features < 0:
        raise InputError("examples and features are 0 (all) or more.")
    check_activations(config.activations, config.negative_slope)
    if len(config.learning_rates) != len(config.natural_learning_rates) or not config.learning_rates:
        raise InputError("both grids have equally many learning rates, one or more; every method is tuned alike.")
    if min(*config.learning_rates, *config.natural_learning_rates) <= 0:
        raise InputError("learning rates are positive.")
    if config.measured < 2:
        raise InputError(f"measured is {config.measured}; give 2 or more.")
    seeds = tuple(range(_FIRST_TUNING_SEED, _FIRST_TUNING_SEED + config.tuning_seeds))
    return [
        Cell("tuning", name, method, rate, seeds)
        for method in reversed(METHODS)  # the longest first
        for name in config.activations
        for rate in (config.natural_learning_rates if method == NATURAL else config.learning_rates)
    ]


def test_cells(config: Config, tuning: pandas.DataFrame) -> list[Cell]:
    """The runs that are compared, at the tuned rates. Raises InputError where every rate diverged."""
    rates = tuned_rates(tuning, config.tuned_by)
    end = _FIRST_SEED + config.seeds
    groups = [
        tuple(range(start, min(start + config.seeds_at_once, end)))
        for start in range(_FIRST_SEED, end, config.seeds_at_once)
    ]
    found = []
    for method in reversed(METHODS):
        for name in config.activations:
            if (name, method) not in rates:
                raise InputError(f"every run of {name} by {method} diverged in tuning; give smaller learning rates.")
            found += [Cell("test", name, method, rates[name, method], seeds) for seeds in groups]
    return found


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per run and epoch, first of the runs that tune, then of those that are compared; see COLUMNS."""
    tuning = sweep.table(measure_cell, config, cells(config))
    test = sweep.table(measure_cell, config, test_cells(config, tuning))
    return pandas.concat([tuning, test], ignore_index=True)


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one cell."""
    data = prepared(config)
    function = named_activation(cell.activation, config.negative_slope)
    sizes = (data.train.inputs.shape[1], *[config.units] * config.layers, data.classes)
    measured = min(config.measured, len(data.train))
    examples = datasets.Split(
        data.train.inputs[:measured].double().to(device), data.train.targets[:measured].to(device)
    )

    def measure_corrections(networks: Any) -> dict[str, Tensor]:
        found = [_corrections(networks.network(run), examples, config.damping) for run in range(len(networks))]
        return {name: torch.tensor([of_one[name] for of_one in found]) for name in CORRECTIONS}

    def make_optimizer(network: nn.Module, rate: float) -> torch.optim.Optimizer:
        centred = "p" if cell.method == CENTRED else False
        options: Any = {"damping": config.damping, "decay": config.decay, "max_kl": config.max_kl}
        return UnitNaturalGradient(network, rate, kind="exact", centred=centred, **options)

    trained = train(
        lambda: fully_connected(sizes, function, batch_norm=cell.method == BATCH_NORM),
        data,
        Training(
            config.epochs, cell.seeds, (cell.learning_rate,), batch_size=config.batch_size, evaluated=("validation",)
        ),
        fabric=fabric_on(device),
        make_optimizer=make_optimizer if cell.method in (CENTRED, NATURAL) else None,
        measure=measure_corrections if (cell.role, cell.method) == ("test", SGD) else None,
    )
    table = trained.table.assign(role=cell.role, activation=cell.activation, method=cell.method, data=data.name)
    table = table.assign(updates=table["epoch"] * -(-len(data.train) // config.batch_size))
    table = table.assign(**{name: getattr(config, name) for name in SETTING} | {"examples": len(data.train)})
    return table.reindex(columns=[*COLUMNS, "data", *SETTING])


def prepared(config: Config) -> datasets.Dataset:
    """Standardised, flat, and in the coordinates of the principal components where `features` asks for them."""
    data = datasets.load(config.data)
    if config.examples:
        data = data.subset(config.examples)
    data = data.standardised().flattened()
    if not config.features:
        return data
    inputs = data.train.inputs.double()
    if config.features > min(inputs.shape):
        raise InputError(f"features is {config.features}; {data.name} has at most {min(inputs.shape)} components.")
    _, vectors = torch.linalg.eigh(inputs.mT @ inputs)
    basis = vectors[:, -config.features :].flip(1).float()
    parts = {name: getattr(data, name) for name in ("train", "validation", "test")}
    return replace(data, **{name: datasets.Split(part.inputs @ basis, part.targets) for name, part in parts.items()})


def _corrections(network: Any, examples: datasets.Split, damping: float) -> dict[str, float]:
    """Medians over units, mean over hidden layers above the first; NaN for a network that diverged."""
    if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
        return dict.fromkeys(CORRECTIONS, np.nan)
    layers = unit_corrections(network.double(), examples, len(examples), damping)[1:]
    return {
        "cosine": float(np.mean([layer.cosine.nanmedian().item() for layer in layers])),
        "mean_share": float(np.mean([layer.mean_share for layer in layers])),
        "gradient_share": float(np.mean([layer.gradient_share.nanmedian().item() for layer in layers])),
    }
