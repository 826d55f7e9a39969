"""Gradients of deep random networks layer by layer, with what theory predicts for them."""

from dataclasses import dataclass, replace
from math import nan

import numpy as np
import pandas

from analyses.data import datasets
from analyses.experiments.vanishing_gradient.finite_width import log_gradient
from analyses.experiments.vanishing_gradient.float32 import lost_after
from analyses.experiments.vanishing_gradient.gradients import random_gradients
from analyses.experiments.vanishing_gradient.settings import COLUMNS, Config
from analyses.framework.settings import named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.random import Start
from elutheory.errors import InputError
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains
from elutheory.propagation import initialisation, propagate
from elutheory.propagation.initialisations import INITIALISATIONS


@dataclass(frozen=True)
class Cell:
    """The networks of all activations under one initialisation."""

    initialisation: str


def cells(config: Config) -> list[Cell]:
    """Every initialisation. Raises InputError where there is nothing to measure, or no float32 network to."""
    check_domains(config)
    for name in config.initialisations:
        starts, refused = starts_of(config, name)
        if not starts:
            raise InputError(" ".join(refused.values()))
    return [Cell(name) for name in config.initialisations]


def starts_of(config: Config, name: str) -> tuple[dict[str, Start], dict[str, str]]:
    """By activation: the start of its networks, or why it has none. Raises InputError for unknown names."""
    if name not in INITIALISATIONS:
        raise InputError(f"unknown initialisation {name!r}; known are {', '.join(INITIALISATIONS)}.")
    starts, refused = {}, {}
    for activation in config.activations:
        function = named_activation(activation, config.negative_slope)
        try:
            starts[activation] = Start(function, initialisation(name, function))
        except InputError as refusal:
            refused[activation] = str(refusal)
    return starts, refused


def cost(config: Config) -> Cost:
    """Of products of matrices with one input each, whose numbers are drawn anew forward and backward."""
    layers = float(config.seeds * config.depth * len(config.activations))
    networks = Cost(100 * layers * config.width**2, config.depth * len(config.activations))
    held = 8.0 * config.seeds * config.depth * config.width * len(config.activations) + 64.0 * config.width**2
    theory = Cost(1e7, 1) * (config.depth * len(config.activations))
    return (replace(networks, bytes=held) + theory) * len(config.initialisations)


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """COLUMNS says what a row holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one initialisation."""
    starts, refused = starts_of(config, cell.initialisation)
    data = datasets.load(config.data).flattened().standardised().subset(config.seeds)
    inputs = data.train.inputs.double()
    lengths = inputs.norm(dim=1, keepdim=True)
    if not lengths.all():
        raise InputError(f"an input of {data.name} is the mean of all; its direction is not defined.")
    inputs = (inputs / lengths * inputs.shape[1] ** 0.5).to(device)
    found = random_gradients(starts, inputs, config.width, config.depth, range(config.seeds))
    tables = []
    for place, (name, start) in enumerate(starts.items()):
        variances = {key: getattr(start.initialisation, key) for key in ("weight_variance", "bias_variance")}
        weight_std = (variances["weight_variance"] / config.width) ** 0.5
        logs = found.log_second_moment[:, place]
        lost = lost_after(found.single[:, place], weight_std)
        networks = pandas.DataFrame({"seed": range(config.seeds), "rate": logs[:, 0] / (config.depth - 1)})
        networks = networks.assign(kind="network", **{f"lost_{loss}": after for loss, after in lost.items()})
        layers = predictions(start, config.width, config.depth).assign(
            kind="layer", log_gradient=logs.mean(0), std=logs.std(0, ddof=1) if len(logs) > 1 else nan
        )
        tables += [part.assign(activation=name, **variances) for part in (layers, networks)]
    reasons = pandas.DataFrame({"kind": "refused", "activation": refused.keys(), "reason": refused.values()})
    return (
        pandas.concat([*tables, reasons], ignore_index=True)
        .assign(initialisation=cell.initialisation, data=data.name)
        .assign(width=config.width, depth=config.depth, networks=config.seeds)
        .reindex(columns=list(COLUMNS))
    )


def predictions(start: Start, width: int, depth: int) -> pandas.DataFrame:
    """Columns layer, infinite_width, finite_width and band of COLUMNS, for inputs of mean square 1."""
    variances = start.initialisation.weight_variance, start.initialisation.bias_variance
    theory = propagate(start.activation, depth, *variances, 1.0, 1.0).table
    q, chi = (theory[name].to_numpy() for name in ("q", "chi"))
    finite = log_gradient(start, q, chi, width)
    logs = np.append(np.cumsum(np.log(chi[:-1])[::-1])[::-1], 0.0)
    return pandas.DataFrame(
        {"layer": theory["layer"], "infinite_width": logs, "finite_width": finite.mean, "band": finite.std}
    )
