"""Networks before and after training: their bias-shift terms, over means of incoming activations that are moved."""

from dataclasses import asdict, dataclass
from typing import Any

import pandas
import torch

from analyses.data import datasets
from analyses.experiments.bias_shift_term.exponents import measure_network
from analyses.experiments.bias_shift_term.settings import COLUMNS, SETTING, Config
from analyses.framework.settings import named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.training import Training, fabric_on, train
from elutheory.errors import InputError


@dataclass(frozen=True)
class Cell:
    """All networks of one activation."""

    activation: str


def cells(config: Config) -> list[Cell]:
    """One an activation. Raises InputError where nothing would be measured."""
    for name in ("units", "epochs", "batch_size", "seeds"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}; give 1 or more.")
    if config.layers < 2:
        raise InputError(f"layers is {config.layers}; units above the first hidden layer need 2 or more.")
    if config.examples < 2 or config.learning_rate <= 0:
        raise InputError("examples are 2 or more, the learning rate is positive.")
    for name in ("activations", "dampings"):
        given = getattr(config, name)
        if not given or len(set(given)) < len(given):
            raise InputError(f"{name} are {', '.join(map(str, given)) or 'none'}; give each once, and one at least.")
    if min(config.dampings) < 0 or 0.0 not in config.dampings:
        raise InputError("dampings are 0, about which the claims are, and positive numbers.")
    for name in config.activations:
        named_activation(name, config.negative_slope)
    return [Cell(name) for name in config.activations]


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row an activation, seed, epoch (before and after training), layer above the first, damping and t."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one activation; no numbers for a network that diverged."""
    function = named_activation(cell.activation, config.negative_slope)
    data = datasets.load(config.data).standardised().flattened()
    if config.examples > len(data.train):
        raise InputError(f"examples is {config.examples}; {data.name} has {len(data.train)} for training.")
    sizes = (*data.shape, *[config.units] * config.layers, data.classes)
    fabric = fabric_on(device, "64-true")
    training = Training(
        epochs=config.epochs,
        seeds=tuple(range(config.seeds)),
        learning_rates=(config.learning_rate,),
        batch_size=config.batch_size,
        evaluated=(),
    )
    trained = train(lambda: fully_connected(sizes, function), data, training, fabric=fabric)
    examples = datasets.Split(
        data.train.inputs[: config.examples].double().to(fabric.device),
        data.train.targets[: config.examples].to(fabric.device),
    )
    rows: list[dict[str, Any]] = []
    for place, seed in enumerate(training.seeds):
        blank = fully_connected(sizes, function, dtype=torch.float64)
        networks: dict[int, Any] = {
            0: initialise(blank, seed).to(fabric.device),
            config.epochs: trained.networks.network(place),
        }
        for epoch, network in networks.items():
            found = {"seed": seed, "epoch": epoch}
            rows += [{**found, **row} for row in measure_network(network, examples, config.dampings)]
    setting = {name: getattr(config, name) for name in SETTING} | {"data": data.name}
    return pandas.DataFrame(rows).assign(**asdict(cell), **setting).reindex(columns=[*COLUMNS, *SETTING])
