"""Networks before and after training: their bias-shift terms, over means of incoming activations that are moved."""

from dataclasses import asdict, dataclass
from typing import Any

import pandas
import torch

from analyses.data import datasets
from analyses.experiments.bias_shift_term.exponents import measure_network
from analyses.experiments.bias_shift_term.settings import COLUMNS, SETTING, Config
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.classifiers import classifier_sizes, train_classifiers
from analyses.networks.training import fabric_on
from analyses.networks.training_cost import classifier_shape, fisher_cost, training_cost
from elutheory.errors import InputError
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains


@dataclass(frozen=True)
class Cell:
    """All networks of one activation."""

    activation: str


def cells(config: Config) -> list[Cell]:
    """One cell per activation. Raises InputError where nothing would be measured."""
    check_domains(config)
    if 0.0 not in config.dampings:
        raise InputError("dampings are 0, about which the claims are, and positive numbers.")
    check_activations(config.activations, config.negative_slope)
    return [Cell(name) for name in config.activations]


def cost(config: Config) -> Cost:
    """Of training in float64, and of Fisher matrices before and after it at every damping."""
    examples, sizes = classifier_shape(config.data, 0, [config.units] * config.layers)
    trained = training_cost(
        sizes,
        networks=config.seeds,
        examples=examples,
        epochs=config.epochs,
        batch_size=config.batch_size,
        itemsize=8,
    )
    matrices = fisher_cost(sizes[1:], config.examples) * (2 * config.seeds * (1 + 2 * len(config.dampings)))
    return (trained + matrices * 6) * len(config.activations)


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
