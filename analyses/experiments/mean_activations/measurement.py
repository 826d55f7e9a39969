"""Random networks layer by layer, measured, with what theory predicts for them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas
import torch

from analyses.data import datasets
from analyses.experiments.mean_activations.prediction import from_gram_matrix, from_two_numbers
from analyses.experiments.mean_activations.settings import COLUMNS, ArchitectureName, Config, InitialisationName
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.random import STATISTICS, Architecture, Start, measure_networks
from analyses.networks.training_cost import shape_of
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains
from elutheory.propagation import initialisation


@dataclass(frozen=True)
class Cell:
    """Networks of all activations: they share their random numbers."""

    initialisation: InitialisationName
    architecture: ArchitectureName
    width: int


def cells(config: Config) -> list[Cell]:
    """Every width, architecture and initialisation. Raises InputError where there is nothing to measure."""
    check_domains(config)
    check_activations(config.activations, config.negative_slope)
    return [
        Cell(name, architecture, width)
        for width in config.widths
        for architecture in config.architectures
        for name in config.initialisations
    ]


def cost(config: Config) -> Cost:
    """Of networks forward and backward with the spectra of their Gram matrices, and of the predictions."""
    shape, count, functions = shape_of(config.data), float(config.examples), len(config.activations)
    total = Cost()
    for width in config.widths:
        layer = 12 * count * width**2 + 10 * count**2 * width + 60 * count**3
        drawn = 20.0 * max(width, shape.features) * width
        networks = Cost(config.seeds * config.depth * (functions * layer + drawn), config.depth * functions)
        of_a_seed = 4.0 * functions * config.depth * count * width + 8.0 * width**2 + 40 * count * (width + count)
        bytes_at_once = min(config.seeds * of_a_seed, config.memory * 1e9)
        predicted = Cost(2e3 * count**2 * config.depth, 4 * config.depth, 50 * count**2) * functions
        total += replace(networks, bytes=bytes_at_once) + predicted
    return total * (len(config.architectures) * len(config.initialisations))


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
