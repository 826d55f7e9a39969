"""Networks in training: losses and median unit means after each epoch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
import torch
from torch import Tensor, nn

from analyses.data import datasets
from analyses.experiments.learning_behaviour.prediction import initial_median
from analyses.experiments.learning_behaviour.settings import COLUMNS, OF_THE_PAPER, Config
from analyses.framework.settings import named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected, hidden_activations
from analyses.networks.training import Training, fabric_on, train
from elutheory.errors import InputError


@dataclass(frozen=True)
class Cell:
    """All seeds of one activation, trained at once."""

    activation: str


def cells(config: Config) -> list[Cell]:
    """One an activation. Raises InputError on repeated ones, ones not of the paper, and sizes below 1."""
    chosen = config.activations
    if not chosen or len(set(chosen)) < len(chosen) or not OF_THE_PAPER.issuperset(chosen):
        known = ", ".join(sorted(OF_THE_PAPER))
        raise InputError(f"activations are {', '.join(chosen) or 'none'}; give some of {known}, each once.")
    for name in ("layers", "units", "epochs", "measured", "seeds"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}; give 1 or more.")
    for name in config.activations:
        named_activation(name, config.negative_slope)
    return [Cell(name) for name in config.activations]


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row an activation, seed and epoch; COLUMNS says what it holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str, checkpoint: Path | None = None) -> pandas.DataFrame:
    """The rows of one activation."""
    function = named_activation(cell.activation, config.negative_slope)
    data = datasets.load(config.data).standardised("dataset").flattened()
    data = data.subset(config.examples) if config.examples else data
    measured = data.subset(min(config.measured, len(data.train))).train.inputs
    fabric = fabric_on(device)
    on_device = measured.to(fabric.device)
    sizes = (*data.shape, *[config.units] * config.layers, data.classes)
    trained = train(
        lambda: fully_connected(sizes, function),
        data,
        Training(
            epochs=config.epochs,
            seeds=tuple(range(config.seeds)),
            learning_rates=(config.learning_rate,),
            batch_size=config.batch_size,
            evaluated=("validation",),
        ),
        fabric=fabric,
        measure=lambda networks: {"unit_mean_median": networks.map(median_unit_mean, on_device)},
        checkpoint=checkpoint,
    )
    table = trained.table.rename(columns={"train_loss": "training_loss", "diverged_update": "diverged"})
    prediction = initial_median(function, config.layers, config.units, *input_moments(measured))
    predicted = {"predicted": prediction.value, "predicted_low": prediction.low, "predicted_high": prediction.high}
    for name, value in predicted.items():
        table[name] = np.where(table["epoch"] == 0, value, np.nan)
    described = {"activation": cell.activation, "data": data.name, "examples": len(data.train)}
    settings = {name: getattr(config, name) for name in ("layers", "units", "batch_size", "negative_slope")}
    return table.assign(**described, **settings).reindex(columns=list(COLUMNS))


def median_unit_mean(network: nn.Sequential, inputs: Tensor) -> Tensor:
    """Median over all hidden units (the lower middle one) of the unit's mean activation over `inputs` (N, features)."""
    return torch.cat([activations.mean(0) for activations in hidden_activations(network, inputs)]).median()


def input_moments(inputs: Tensor) -> tuple[float, float]:
    """Means of |x|²/n and, over all pairs, of x·x'/n, of `inputs` (N, n)."""
    inputs = inputs.double()
    return inputs.square().mean().item(), inputs.mean(0).square().mean().item()
