"""Networks in training: losses, errors and unit means after each epoch, layer by layer after some."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from torch import Tensor

from analyses.experiments.learning_behaviour.layers import LAYER_STATISTICS, statistics_of
from analyses.experiments.learning_behaviour.prediction import initial_median, initial_shares
from analyses.experiments.learning_behaviour.settings import (
    COLUMNS,
    FIRST_SEED,
    OF_THE_PAPER,
    SHOWN_EPOCHS,
    Config,
)
from analyses.framework.settings import named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.classifiers import chance, classification_data, train_classifiers
from analyses.networks.training import Trained, fabric_on
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
    """Of training, with validation, test and measured examples after every epoch."""
    examples, sizes = classifier_shape(config.data, config.examples, [config.units] * config.layers)
    evaluated = 2 * examples / 5 + min(config.measured, examples)
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
        evaluated=["validation", "test"],
        measure=lambda networks: statistics_of(networks, function, on_device),
        checkpoint=checkpoint,
        first_seed=FIRST_SEED,
    )
    loss, error = chance(data)
    networks = trained.table.rename(columns={"train_loss": "training_loss", "diverged_update": "diverged"})
    networks = networks.assign(layer=0, test_error=1 - networks["test_accuracy"], chance_loss=loss, chance_error=error)
    start = config.layers, config.units, *input_moments(measured)
    prediction = initial_median(function, *start)
    predicted = {"predicted": prediction.value, "predicted_low": prediction.low, "predicted_high": prediction.high}
    for name, value in predicted.items():
        networks[name] = np.where(networks["epoch"] == 0, value, np.nan)
    layers = _layer_rows(trained, config, initial_shares(function, *start))
    described = {"activation": cell.activation, "data": data.name, "examples": len(data.train)}
    settings = {name: getattr(config, name) for name in ("layers", "units", "learning_rate", "batch_size")}
    table = pandas.concat([networks.reindex(columns=list(COLUMNS)), layers], ignore_index=True)
    return table.assign(**described, **settings, negative_slope=config.negative_slope).reindex(columns=list(COLUMNS))


def _layer_rows(trained: Trained, config: Config, predicted: Any) -> pandas.DataFrame:
    """One row per network, hidden layer and epoch of SHOWN_EPOCHS; `predicted`: share and band of each layer."""
    values = trained.measured["layers"].numpy()  # (epochs + 1, networks, layers, LAYER_STATISTICS)
    epochs = sorted({epoch for epoch in SHOWN_EPOCHS if epoch < len(values)} | {len(values) - 1})
    shown = values[epochs]
    index = pandas.MultiIndex.from_product(
        [epochs, range(FIRST_SEED, FIRST_SEED + config.seeds), range(1, config.layers + 1)],
        names=["epoch", "seed", "layer"],
    )
    rows = pandas.DataFrame(shown.reshape(-1, shown.shape[-1]), index, list(LAYER_STATISTICS)).reset_index()
    bands = pandas.DataFrame(predicted, columns=["predicted", "predicted_low", "predicted_high"])
    bands["layer"], bands["epoch"] = np.arange(1, config.layers + 1), 0
    diverged: Any = trained.table.groupby("seed")["diverged_update"].first()
    return rows.merge(bands, how="left", on=["layer", "epoch"]).assign(diverged=rows["seed"].map(diverged).to_numpy())


def input_moments(inputs: Tensor) -> tuple[float, float]:
    """Means of |x|²/n and, over all pairs, of x·x'/n, of `inputs` (N, n)."""
    inputs = inputs.double()
    return inputs.square().mean().item(), inputs.mean(0).square().mean().item()
