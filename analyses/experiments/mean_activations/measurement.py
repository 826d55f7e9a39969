"""Random networks layer by layer, measured, with what theory predicts for them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
import torch

from analyses.data import datasets
from analyses.experiments.mean_activations.prediction import from_gram_matrix, from_two_numbers
from analyses.experiments.mean_activations.settings import COLUMNS, ArchitectureName, Config, InitialisationName
from analyses.framework.settings import check_at_least, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.random import STATISTICS, Architecture, Start, measure_networks
from elutheory.errors import InputError
from elutheory.propagation import initialisation


@dataclass(frozen=True)
class Cell:
    """Networks of all activations: they share their random numbers."""

    initialisation: InitialisationName
    architecture: ArchitectureName
    width: int


def cells(config: Config) -> list[Cell]:
    """Every width, architecture and initialisation. Raises InputError where there is nothing to measure."""
    check_at_least(config, depth=1, examples=2, seeds=1)
    if min(config.widths, default=0) < 1 or not (
        config.activations and config.initialisations and config.architectures
    ):
        raise InputError("widths of 1 or more, activations, initialisations and architectures are needed, one of each.")
    if not (0 < config.damping < np.inf and config.memory > 0):
        raise InputError(f"damping is {config.damping:g} and memory {config.memory:g}; numbers above 0 are needed.")
    return [
        Cell(name, architecture, width)
        for width in config.widths
        for architecture in config.architectures
        for name in config.initialisations
    ]


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per cell, activation, layer and statistic; COLUMNS says what it holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one cell."""
    architecture = architecture_of(cell, config.depth)
    starts = {name: start_of(config, cell, name) for name in config.activations}
    data = datasets.load(config.data).flattened().standardised().subset(config.examples)
    inputs = data.train.inputs
    measured = measure_networks(
        starts,
        architecture,
        inputs.to(device),
        range(config.seeds),
        damping=config.damping,
        memory=config.memory * 1e9,
    )
    doubles = inputs.to(torch.float64).numpy()
    features = doubles.shape[1]
    gram = doubles @ doubles.T / features
    tables = []
    for name, start in starts.items():
        values, bands = from_two_numbers(start, architecture, gram)
        wide = from_gram_matrix(start, architecture, gram, features, config.damping)
        for statistic in STATISTICS:
            found = measured[name][statistic]
            table = pandas.DataFrame({"layer": np.arange(1, config.depth + 1), "statistic": statistic})
            table["measured"], table["std"], table["seeds"] = found.mean(0), _spread(found), config.seeds
            if name != config.reference and config.reference in measured:
                table["nearer"] = (abs(found) < abs(measured[config.reference][statistic])).sum(0)
            if statistic in values:
                table["two_numbers"], table["band"] = values[statistic].to_numpy(), bands[statistic].to_numpy()
            table["gram"] = wide[statistic].to_numpy(float)
            tables.append(table.assign(activation=name, **_variances(start)))
    table = pandas.concat(tables, ignore_index=True)
    table = (
        table.assign(data=data.name, examples=len(inputs))
        .assign(
            initialisation=cell.initialisation, architecture=cell.architecture, width=cell.width, depth=config.depth
        )
        .reindex(columns=list(COLUMNS))
    )
    return with_z_scores(table)


def architecture_of(cell: Cell, depth: int) -> Architecture:
    """What the cell's networks are built of."""
    return Architecture(cell.width, depth, "batch_norm" in cell.architecture, "residual" in cell.architecture)


def start_of(config: Config, cell: Cell, name: str) -> Start:
    """The activation and its initialisation. Raises InputError where it has none of that name."""
    function = named_activation(name, config.negative_slope)
    return Start(function, initialisation(cell.initialisation, function))


def _variances(start: Start) -> dict[str, float]:
    found = start.initialisation
    return {"weight_variance": found.weight_variance, "bias_variance": found.bias_variance}


def _spread(found: Any) -> Any:
    return found.std(0, ddof=1) if len(found) > 1 else np.full(found.shape[1], np.nan)


def with_z_scores(table: pandas.DataFrame) -> pandas.DataFrame:
    """The table with its columns z_two_numbers and z_gram computed from the others."""
    root = np.sqrt(table["seeds"])
    # a statistic that is constant by definition (the last layer's gradient variance) has no z-score
    errors = table["std"].where(table["std"] > 0) / root
    banded = table["band"].where(table["band"] > 0) / root
    return table.assign(
        z_two_numbers=(table["measured"] - table["two_numbers"]) / banded.fillna(errors),
        z_gram=(table["measured"] - table["gram"]) / errors,
    )
