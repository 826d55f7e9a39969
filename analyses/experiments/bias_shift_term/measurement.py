"""Networks before and after training: their bias-shift terms, over means of incoming activations that are moved."""

from dataclasses import asdict, dataclass
from typing import Any

import pandas
import torch

from analyses.data import datasets
from analyses.experiments.bias_shift_term.exponents import measure_network
from analyses.experiments.bias_shift_term.settings import COLUMNS, SETTING, Config
from analyses.framework.settings import check_at_least, check_each_once, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.classifiers import classifier_sizes, train_classifiers
from analyses.networks.training import fabric_on
from elutheory.errors import InputError


@dataclass(frozen=True)
class Cell:
    """All networks of one activation."""

    activation: str


def cells(config: Config) -> list[Cell]:
    """One cell per activation. Raises InputError where nothing would be measured."""
    check_at_least(config, units=1, epochs=1, batch_size=1, seeds=1)
    if config.layers < 2:
        raise InputError(f"layers is {config.layers}; units above the first hidden layer need 2 or more.")
    if config.examples < 2 or config.learning_rate <= 0:
        raise InputError("examples are 2 or more, the learning rate is positive.")
    check_each_once(config, "activations", "dampings")
    if min(config.dampings) < 0 or 0.0 not in config.dampings:
        raise InputError("dampings are 0, about which the claims are, and positive numbers.")
    for name in config.activations:
        named_activation(name, config.negative_slope)
    return [Cell(name) for name in config.activations]


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per activation, seed, epoch (before and after training), layer above the first, damping and t."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one activation; no numbers for a network that diverged."""
    function = named_activation(cell.activation, config.negative_slope)
    data = datasets.load(config.data).standardised().flattened()
    if config.examples > len(data.train):
        raise InputError(f"examples is {config.examples}; {data.name} has {len(data.train)} for training.")
    fabric = fabric_on(device, "64-true")
    trained = train_classifiers(config, function, data, fabric=fabric, evaluated=[])
    examples = datasets.Split(
        data.train.inputs[: config.examples].double().to(fabric.device),
        data.train.targets[: config.examples].to(fabric.device),
    )
    rows: list[dict[str, Any]] = []
    for seed in range(config.seeds):
        blank = fully_connected(classifier_sizes(config, data), function, dtype=torch.float64)
        networks: dict[int, Any] = {
            0: initialise(blank, seed).to(fabric.device),
            config.epochs: trained.networks.network(seed),
        }
        for epoch, network in networks.items():
            found = {"seed": seed, "epoch": epoch}
            rows += [{**found, **row} for row in measure_network(network, examples, config.dampings)]
    setting = {name: getattr(config, name) for name in SETTING} | {"data": data.name}
    return pandas.DataFrame(rows).assign(**asdict(cell), **setting).reindex(columns=[*COLUMNS, *SETTING])
