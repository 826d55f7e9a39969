"""Networks of every depth: the learning rate is chosen on the validation examples, then others are compared at it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas

from analyses.experiments.depth.settings import COLUMNS, Config
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected
from analyses.networks.classifiers import classification_data
from analyses.networks.training import Training, fabric_on, train
from analyses.networks.training_cost import classifier_shape, training_cost
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains


@dataclass(frozen=True)
class Cell:
    """All networks of one activation and depth."""

    activation: str
    depth: int


def cells(config: Config) -> list[Cell]:
    """Every activation and depth. Raises InputError on repeated or unknown ones and sizes below 1."""
    check_domains(config)
    check_activations(config.activations, config.negative_slope)
    return [Cell(name, depth) for depth in config.depths for name in config.activations]


def cost(config: Config) -> Cost:
    """Of the networks that tune and those that are compared, of every depth."""
    total = Cost()
    for depth in config.depths:
        examples, sizes = classifier_shape(config.data, config.examples, [config.units] * depth)
        for networks in (config.tuning_seeds * len(config.learning_rates), config.seeds):
            total += training_cost(
                sizes,
                networks=networks,
                examples=examples,
                epochs=config.epochs,
                batch_size=config.batch_size,
                evaluated=examples / 5,
            )
    return total * len(config.activations)


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per network after its last epoch; COLUMNS says what it holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str, checkpoint: Path | None = None) -> pandas.DataFrame:
    """The rows of one activation and depth: the networks that choose the learning rate, then those compared."""
    function = named_activation(cell.activation, config.negative_slope)
    data = classification_data(config.data, config.examples)
    sizes = (*data.shape, *[config.units] * cell.depth, data.classes)

    def networks(use: str, training: Training) -> Any:
        trained = train(
            lambda: fully_connected(sizes, function),
            data,
            training,
            fabric=fabric_on(device),
            checkpoint=checkpoint and checkpoint.with_stem(f"{checkpoint.stem}-{use}"),
        )
        table = trained.table.rename(columns={"train_loss": "training_loss", "diverged_update": "diverged"})
        for split in training.evaluated:
            table[f"{split}_error"] = 1 - table[f"{split}_accuracy"]
        return table[table["epoch"] == config.epochs].assign(use=use)

    shared: Any = {"epochs": config.epochs, "batch_size": config.batch_size}
    tuning_seeds = tuple(range(config.tuning_seeds))
    seeds = tuple(range(config.tuning_seeds, config.tuning_seeds + config.seeds))
    grid = {"seeds": tuning_seeds, "learning_rates": config.learning_rates, "evaluated": ("validation",)}
    tuning = networks("tuning", Training(**grid, **shared))
    chosen = {"seeds": seeds, "learning_rates": (chosen_rate(tuning),), "evaluated": ("test",)}
    compared = networks("comparison", Training(**chosen, **shared))
    described = {"activation": cell.activation, "depth": cell.depth, "data": data.name, "examples": len(data.train)}
    settings = {name: getattr(config, name) for name in ("units", "batch_size", "negative_slope")}
    return (
        pandas.concat([tuning, compared], ignore_index=True)
        .assign(**described, **settings)
        .reindex(columns=list(COLUMNS))
    )


def chosen_rate(tuning: Any) -> float:
    """Of the rates at which the fewest networks diverge, that of the lowest mean validation error, then loss."""
    rates = tuning.groupby("learning_rate").agg(
        diverged=("diverged", "count"), error=("validation_error", "mean"), loss=("validation_loss", "mean")
    )
    rates["error"] = rates["error"].round(9)  # equal shares, averaged in different orders
    return float(rates.sort_values(["diverged", "error", "loss"], kind="stable").index[0])
