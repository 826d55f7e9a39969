"""Networks in training: every unit's median after each epoch, and how it moves over the epochs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from jaxtyping import Float
from torch import Tensor

from analyses.experiments.median_variance.settings import COLUMNS, FIRST_SEED, QUANTILES, Config
from analyses.framework.sweep import Sweep
from analyses.networks.classifiers import chance, classification_data, train_classifiers
from analyses.networks.training import fabric_on
from analyses.networks.training_cost import classifier_shape, training_cost
from elutheory.activations import activation
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains


@dataclass(frozen=True)
class Cell:
    """All seeds of one activation, trained at once."""

    activation: str


def cells(config: Config) -> list[Cell]:
    """ELU and ReLU. Raises InputError on sizes that are too small."""
    check_domains(config)
    return [Cell("elu"), Cell("relu")]


def cost(config: Config) -> Cost:
    """Of training, and of the exact medians of all units over the training examples after every epoch."""
    examples, sizes = classifier_shape(config.data, config.examples, [config.units] * config.layers)
    trained = training_cost(
        sizes,
        networks=config.seeds,
        examples=examples,
        epochs=config.epochs,
        batch_size=config.batch_size,
        evaluated=examples,
    )
    values = float(examples * config.units * config.layers)
    medians = Cost(200 * values, config.layers, 40 * values / config.layers) * (config.seeds * config.epochs)
    kept = 80.0 * config.seeds * config.epochs * config.layers * config.units
    total = (trained + medians) * 2
    return replace(total, bytes=total.bytes + kept)


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per activation, seed, hidden layer and quantity; COLUMNS says what it holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str, checkpoint: Path | None = None) -> pandas.DataFrame:
    """The rows of one activation."""
    function = activation(cell.activation)
    data = classification_data(config.data, config.examples)
    fabric = fabric_on(device)
    inputs = data.train.inputs.to(fabric.device)
    trained = train_classifiers(
        config,
        function,
        data,
        fabric=fabric,
        evaluated=["validation"],
        measure=lambda networks: _stacked([unit_statistics(networks.network(i), inputs) for i in range(len(networks))]),
        checkpoint=checkpoint,
        first_seed=FIRST_SEED,
    )
    after_epochs = {name: values[1:].double().numpy() for name, values in trained.measured.items()}
    last = trained.table[trained.table["epoch"] == config.epochs].set_index("seed")
    rows = []
    for network in range(config.seeds):
        for layer in range(config.layers):
            found = movement({name: values[:, network, layer] for name, values in after_epochs.items()})
            seed = FIRST_SEED + network
            of_run = {"training_loss": last["train_loss"][seed], "diverged": last["diverged_update"][seed]}
            place = {"seed": seed, "layer": layer + 1, **of_run}
            rows += [{**place, "quantity": name, **_over_units(values)} for name, values in found.items()]
    described = {"activation": cell.activation, "data": data.name, "examples": len(data.train)}
    described["chance_loss"] = chance(data)[0]
    settings = {name: getattr(config, name) for name in ("epochs", "units", "learning_rate", "batch_size")}
    return pandas.DataFrame(rows).assign(**described, **settings).reindex(columns=list(COLUMNS))


@torch.no_grad()
def unit_statistics(
    network: Any, inputs: Float[Tensor, "examples features"]
) -> dict[str, Float[Tensor, "layers units"]]:
    """Of each hidden unit: exact medians (the lower middle value) and variances over `inputs`.

    `network`: Linear, activation, …, Linear (`fully_connected`), with hidden layers of one width.
    """
    layers = []
    for linear, function in zip(network[:-1:2], network[1::2], strict=True):
        net = linear(inputs)
        inputs = function(net)
        net_median = net.T.contiguous().median(dim=1).values
        layers.append(
            {
                "median": function(net_median),
                "net_median": net_median,
                "activation_variance": inputs.var(0, correction=0),
                "net_input_variance": net.var(0, correction=0),
            }
        )
    return _stacked(layers)


def _stacked(measured: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([found[name] for found in measured]) for name in measured[0]}


def movement(after_epochs: Mapping[str, Float[np.ndarray, "epochs units"]]) -> dict[str, Float[np.ndarray, " units"]]:
    """QUANTITIES of one layer, from its `unit_statistics` after each epoch; over n epochs variances divide by n − 1."""
    variance = after_epochs["median"].var(0, ddof=1)
    net_variance = after_epochs["net_median"].var(0, ddof=1)
    activation_variance = after_epochs["activation_variance"].mean(0)
    net_input_variance = after_epochs["net_input_variance"].mean(0)
    return {
        "variance": variance,
        "change_variance": np.diff(after_epochs["median"], axis=0).var(0, ddof=1),
        "net_variance": net_variance,
        "activation_variance": activation_variance,
        "net_input_variance": net_input_variance,
        "relative_variance": variance
        / np.where((variance == 0) & (activation_variance == 0), 1.0, activation_variance),
        "relative_net_variance": net_variance / net_input_variance,
    }


def _over_units(values: Float[np.ndarray, " units"]) -> dict[str, float]:
    """Mean, quantiles and share of zeros; NaN for a run that diverged."""
    quantiles = np.quantile(values, list(QUANTILES.values()))
    still = np.nan if np.isnan(values).any() else float((values == 0).mean())
    return {"mean": float(values.mean()), **dict(zip(QUANTILES, quantiles.tolist(), strict=True)), "still": still}
