"""Networks at every dose of the mean: first those that tune the learning rates, then fresh ones that are compared."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
from torch import nn

from analyses.experiments.dose_response.settings import COLUMNS, DECIDING, LOSSES, Config
from analyses.framework.settings import check_at_least, check_each_once, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.classifiers import classification_data
from analyses.networks.origins import mean_shares, move_origins, with_origins
from analyses.networks.training import Training, fabric_on, train
from elutheory.errors import InputError

_FIRST_SEED, _FIRST_TUNING_SEED = 3000, 3_000_000  # others were used while sizes and rates were chosen


Score = tuple[int, float, float]
"""Networks that did not get to the deciding loss; mean ln of the updates to it, all of them where not reached; loss of
the last epoch, mean, inf where diverged."""


@dataclass(frozen=True)
class Cell:
    """Networks of one activation, dose and learning rate."""

    role: str
    activation: str
    dose: float
    learning_rate: float
    seeds: tuple[int, ...]


def cells(config: Config) -> list[Cell]:
    """The networks that tune on the first grid. Raises InputError where nothing would be measured or compared."""
    check_at_least(config, layers=2, units=1, epochs=1, batch_size=1, widenings=0, tuning_seeds=1, seeds=1, examples=0)
    check_each_once(config, "activations", "doses", "learning_rates")
    for name in config.activations:
        named_activation(name, config.negative_slope)
    if 0.0 not in config.doses or not np.isfinite(config.doses).all():
        raise InputError(f"doses are {', '.join(map(str, config.doses))}; finite numbers are needed, 0 among them.")
    if len(config.learning_rates) < 3 or min(*config.learning_rates, config.fixed_rate) <= 0:
        raise InputError("learning_rates are three or more positive numbers, and fixed_rate is one.")
    rates = sorted(config.learning_rates)
    if not np.allclose(np.diff(np.log2(rates)), 1.0):
        raise InputError(f"learning_rates are {', '.join(map(str, rates))}; each must be twice the one before.")
    return [cell for name in config.activations for dose in config.doses for cell in tuning(config, name, dose, rates)]


def tuning(config: Config, name: str, dose: float, rates: list[float]) -> list[Cell]:
    """One cell per rate, of the seeds that tune."""
    seeds = tuple(range(_FIRST_TUNING_SEED, _FIRST_TUNING_SEED + config.tuning_seeds))
    return [Cell("tuning", name, dose, rate, seeds) for rate in rates]


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per network; see COLUMNS."""
    found = sweep.table(measure_cell, config, cells(config))
    for _ in range(config.widenings):
        wider = [
            cell
            for (name, dose), rates in tuning_scores(found).items()
            if (rate := rate_beyond(rates)) is not None
            for cell in tuning(config, name, dose, [rate])
        ]
        if not wider:
            break
        found = pandas.concat([found, sweep.table(measure_cell, config, wider)], ignore_index=True)
    seeds = tuple(range(_FIRST_SEED, _FIRST_SEED + config.seeds))
    compared = []
    for (name, dose), rates in tuning_scores(found).items():
        compared.append(Cell("tuned", name, dose, min(rates, key=lambda rate: rates[rate]), seeds))
        compared.append(Cell("fixed", name, dose, config.fixed_rate, seeds))
    return pandas.concat([found, sweep.table(measure_cell, config, compared)], ignore_index=True)


def tuning_scores(table: Any) -> dict[tuple[str, float], dict[float, Score]]:
    """By activation and dose, then by learning rate in ascending order; the lowest score is the best."""
    scores: dict[tuple[str, float], dict[float, Score]] = {}
    rows = table[table["role"] == "tuning"]
    for (name, dose, rate), networks in rows.groupby(["activation", "dose", "learning_rate"]):
        updates, last = networks[f"updates_to_{DECIDING:g}"], networks["last_loss"]
        missed = int(updates.isna().sum())
        logarithm = float(np.log(updates.fillna(networks["updates"]).clip(lower=1.0)).mean())
        scores.setdefault((name, dose), {})[rate] = (missed, logarithm, float(last.fillna(np.inf).mean()))
    return scores


def rate_beyond(scores: dict[float, Score]) -> float | None:
    """Half of the lowest or twice the highest rate, if that is the best so far; None if the best lies inside."""
    rates = sorted(scores)
    best = min(rates, key=lambda rate: scores[rate])
    if best == rates[0]:
        return rates[0] / 2
    return rates[-1] * 2 if best == rates[-1] else None


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one cell."""
    function = named_activation(cell.activation, config.negative_slope)
    data = classification_data(config.data, config.examples)
    sizes = (*data.shape, *[config.units] * config.layers, data.classes)
    shares: list[float] = []

    def at_dose(network: Any, seed: int) -> nn.Module:
        moved = move_origins(initialise(network, seed), data.train.inputs.to(device), cell.dose)
        shares.append(float(np.mean(mean_shares(moved, data.train.inputs.to(device)))))
        return moved

    trained = train(
        lambda: with_origins(fully_connected(sizes, function)),
        data,
        Training(config.epochs, cell.seeds, (cell.learning_rate,), batch_size=config.batch_size, evaluated=()),
        fabric=fabric_on(device),
        initialise=at_dose,
    )
    each = -(-len(data.train) // config.batch_size)
    rows = []
    for (seed, curve), share in zip(trained.table.groupby("seed", sort=False), shares, strict=True):
        losses = curve["train_loss"].to_numpy(float)
        rows.append(
            {"seed": seed, "mean_share": share, "initial_loss": losses[0], "last_loss": losses[-1]}
            | {f"updates_to_{loss:g}": updates_to(losses, each, loss) for loss in LOSSES}
            | {"diverged_update": curve["diverged_update"].iloc[0]}
        )
    described = {name: getattr(cell, name) for name in ("role", "activation", "dose", "learning_rate")}
    settings = {name: getattr(config, name) for name in ("layers", "units", "batch_size", "negative_slope")}
    table = pandas.DataFrame(rows).assign(**described, **settings, updates=each * config.epochs)
    return table.assign(data=data.name, examples=len(data.train)).reindex(columns=list(COLUMNS))


def updates_to(losses: Any, updates: int, wanted: float) -> float:
    """Updates until the training loss is `wanted`; NaN if it never is.

    `losses`: (epochs + 1,), the loss before training and each epoch's mean over batches, which is placed in the middle
    of the epoch's `updates`; ln loss is a straight line in between.
    """
    places = updates * np.concatenate([[0.0], np.arange(1, len(losses)) - 0.5])
    below = np.flatnonzero(losses <= wanted)
    if not len(below):
        return np.nan
    first = below[0]
    if first == 0:
        return 0.0
    before, after = np.log(losses[first - 1]), np.log(losses[first])
    return float(np.interp(np.log(wanted), [after, before], [places[first], places[first - 1]]))
