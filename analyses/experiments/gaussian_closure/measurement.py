"""Networks in training, one thread each; their units are measured after chosen epochs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas
import torch
from torch import Tensor, nn

from analyses.data import datasets
from analyses.experiments.gaussian_closure.closure import compare, measure_units
from analyses.experiments.gaussian_closure.settings import COLUMNS, Config
from analyses.framework.settings import named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.training_cost import classifier_shape, training_cost
from elutheory.bias_shift.digits import classifier
from elutheory.numerics.cost import Cost


@dataclass(frozen=True)
class Cell:
    """One training run."""

    activation: str
    seed: int


def cells(config: Config) -> list[Cell]:
    """Every activation with every seed. Raises InputError for activations that the registry does not know."""
    for name in config.activations:
        named_activation(name, config.negative_slope)
    return [Cell(name, seed) for name in config.activations for seed in range(config.seeds)]


def cost(config: Config) -> Cost:
    """Of training one network at a time, and of the closure's expectations at each recorded epoch."""
    examples, sizes = classifier_shape(config.data, 0, [config.units] * config.layers)
    trained = training_cost(sizes, networks=1, examples=examples, epochs=config.epochs, batch_size=config.batch_size)
    held = 64.0 * config.units * max(config.examples, config.units)
    closure = (
        Cost(2e3 * config.units**2 + 40.0 * config.units * config.examples * config.units, 20, held) * config.layers
    )
    return (trained + closure * len(recorded_epochs(config.epochs))) * (len(config.activations) * config.seeds)


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per run, recorded epoch and hidden layer; COLUMNS says what it holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """Train one network and measure it: one row per recorded epoch and hidden layer.

    Initial weights (standard normal numbers times √(2/fan_in)) and batches depend on the seed alone, not on the
    activation. A run that diverges says when, and has no numbers from there on.
    """
    with _one_thread():
        return _trained_and_measured(config, cell, device)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Layers are too small to share: more threads are slower, and the record would depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _trained_and_measured(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    function = named_activation(cell.activation, config.negative_slope)
    data = datasets.load(config.data).standardised(by="dataset").flattened()
    inputs, targets = data.train.inputs.to(device), data.train.targets.to(device)
    measured = data.subset(config.examples).train
    examples, labels = measured.inputs.to(device), measured.targets.to(device)
    generator = torch.Generator().manual_seed(cell.seed)
    widths = (inputs.shape[1], *[config.units] * config.layers, data.classes)
    model = classifier(function, widths, generator).to(device, torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), config.learning_rate)

    parts: list[pandas.DataFrame] = []
    trained, diverged = 0, None
    for epoch in recorded_epochs(config.epochs):
        while trained < epoch and diverged is None:
            finite = _train_epoch(model, optimizer, inputs, targets, config.batch_size, generator)
            trained += 1
            diverged = None if finite else trained
        with torch.no_grad():
            loss = nn.functional.cross_entropy(model(examples), labels).item()
        if diverged is None and not np.isfinite(loss):
            diverged = trained
        if diverged is None:
            found = compare(function, measure_units(model, examples)).assign(training_loss=loss, diverged=np.nan)
        else:
            found = pandas.DataFrame({"layer": range(1, config.layers + 1), "diverged": float(diverged)})
        found = found.assign(activation=cell.activation, seed=cell.seed, epoch=epoch)
        parts.append(found.reindex(columns=list(COLUMNS)))
    return pandas.concat(parts, ignore_index=True)


def recorded_epochs(epochs: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, 50, … and the last."""
    series = [digit * 10**exponent for exponent in range(len(str(epochs))) for digit in (1, 2, 5)]
    return sorted({0, epochs, *(epoch for epoch in series if epoch < epochs)})


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    batch_size: int,
    generator: torch.Generator,
) -> bool:
    """One pass over the data in random order; whether every batch's loss was finite."""
    total = torch.zeros((), device=inputs.device)
    for batch in torch.randperm(len(inputs), generator=generator).to(inputs.device).split(batch_size):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[batch]), targets[batch])
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return bool(total.isfinite())
