"""Learning rates by the outcome they are judged by: updates to a training loss, over a grid of factors of two that is
widened until the best rate lies inside."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas

from analyses.framework.sweep import Sweep
from elutheory.errors import InputError

Score = tuple[int, float, float]
"""Networks that did not get to the deciding loss; mean ln of the updates to it, all of them where not reached; loss of
the last epoch, mean, inf where diverged. The lowest is the best."""
Arm = tuple[Any, ...]
"""What has a learning rate of its own."""


def check_grid(rates: Sequence[float], *others: float) -> None:
    """Raises InputError unless the rates are three or more positive numbers by factors of two, the others positive."""
    if len(rates) < 3 or min(*rates, *others) <= 0:
        raise InputError("learning_rates are three or more positive numbers, and fixed_rate is one.")
    if not np.allclose(np.diff(np.log2(sorted(rates))), 1.0):
        raise InputError(f"learning_rates are {', '.join(map(str, rates))}; each must be twice the one before.")


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


def tuned_outcomes(table: Any, column: str, role: str, arms: Sequence[str]) -> Any:
    """ln of the updates in `column`: one row per seed, a column per arm, of the networks of this role.

    A network that diverged or did not get there counts as one that needed all the updates it was given.
    """
    rows = table[table["role"] == role].copy()
    rows["outcome"] = np.log(rows[column].fillna(rows["updates"]).clip(lower=1.0))
    return rows.pivot(index="seed", columns=list(arms), values="outcome")


def tuning_scores(table: Any, column: str, arms: Sequence[str]) -> dict[Arm, dict[float, Score]]:
    """By arm, then by learning rate in ascending order, of the networks whose role is to tune."""
    scores: dict[Arm, dict[float, Score]] = {}
    rows = table[table["role"] == "tuning"]
    for (*arm, rate), networks in rows.groupby([*arms, "learning_rate"], sort=True):
        updates, last = networks[column], networks["last_loss"]
        missed = int(updates.isna().sum())
        logarithm = float(np.log(updates.fillna(networks["updates"]).clip(lower=1.0)).mean())
        scores.setdefault(tuple(arm), {})[rate] = (missed, logarithm, float(last.fillna(np.inf).mean()))
    return scores


def best_rate(scores: dict[float, Score]) -> float:
    """The rate of the lowest score."""
    return min(scores, key=lambda rate: scores[rate])


def rate_beyond(scores: dict[float, Score]) -> float | None:
    """Half of the lowest or twice the highest rate, if that is the best so far; None if the best lies inside."""
    best = best_rate(scores)
    if best == min(scores):
        return best / 2
    return best * 2 if best == max(scores) else None


def tuned(
    measure_cell: Any,
    config: Any,
    cells: Sequence[Any],
    sweep: Sweep,
    *,
    column: str,
    arms: Sequence[str],
    cell_of: Callable[[Arm, float], Any],
) -> tuple[pandas.DataFrame, dict[Arm, float]]:
    """The table of the tuning cells and of those that `config.widenings` rounds of wider grids add; the best rates.

    `cell_of(arm, rate)`: a further tuning cell.
    """
    found = sweep.table(measure_cell, config, cells)
    for _ in range(config.widenings):
        scores = tuning_scores(found, column, arms)
        beyond = {arm: rate_beyond(of_arm) for arm, of_arm in scores.items()}
        wider = [cell_of(arm, rate) for arm, rate in beyond.items() if rate is not None]
        if not wider:
            break
        found = pandas.concat([found, sweep.table(measure_cell, config, wider)], ignore_index=True)
    return found, {arm: best_rate(of_arm) for arm, of_arm in tuning_scores(found, column, arms).items()}
