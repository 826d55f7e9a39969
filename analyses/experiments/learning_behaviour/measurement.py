"""Networks in training: losses and median unit means after each epoch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
import torch
from torch import Tensor, nn

from analyses.experiments.learning_behaviour.prediction import initial_median
from analyses.experiments.learning_behaviour.settings import COLUMNS, OF_THE_PAPER, Config
from analyses.framework.settings import named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import hidden_activations
from analyses.networks.classifiers import classification_data, train_classifiers
from analyses.networks.training import fabric_on
from analyses.networks.training_cost import classifier_shape, training_cost
from elutheory.errors import InputError
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains


@dataclass(frozen=True)
class Cell:
    """All seeds of one activation, trained at once."""

    activation: str


def cells(config: Config) -> list[Cell]:
    """One cell per activation. Raises InputError on repeated ones, ones not of the paper, and sizes below 1."""
    chosen = config.activations
    check_domains(config)
    if not OF_THE_PAPER.issuperset(chosen):
        known = ", ".join(sorted(OF_THE_PAPER))
        raise InputError(f"activations are {', '.join(chosen)}; give some of {known}, each once.")
    return [Cell(name) for name in config.activations]


def cost(config: Config) -> Cost:
    """Of training, with validation and measured examples after every epoch."""
    examples, sizes = classifier_shape(config.data, config.examples, [config.units] * config.layers)
    evaluated = examples / 5 + min(config.measured, examples)
    each = training_cost(
        sizes,
        networks=config.seeds,
        examples=examples,
        epochs=config.epochs,
        batch_size=config.batch_size,
        evaluated=evaluated,
    )
    return each * len(config.activations)


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per activation, seed and epoch; COLUMNS says what it holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str, checkpoint: Path | None = None) -> pandas.DataFrame:
    """The rows of one activation."""
    function = named_activation(cell.activation, config.negative_slope)
    data = classification_data(config.data, config.examples)
    measured = data.subset(min(config.measured, len(data.train))).train.inputs
    fabric = fabric_on(device)
    on_device = measured.to(fabric.device)
    trained = train_classifiers(
        config,
        function,
        data,
        fabric=fabric,
        evaluated=["validation"],
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
