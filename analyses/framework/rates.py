"""Learning rates by the outcome they are judged by, such as updates to a training loss, over a grid of factors of two
that is widened until the best rate lies inside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas

from analyses.framework.sweep import Sweep
from elutheory.errors import InputError

Score = tuple[float, ...]
"""Of updates: networks that did not get to the deciding loss; mean ln of the updates to it, all of them where not
reached; loss of the last epoch, mean, inf where diverged. The lowest is the best."""
Arm = tuple[Any, ...]
"""What has a learning rate of its own."""


def check_grid(rates: Sequence[float], *, name: str = "learning_rates") -> None:
    """Raises InputError unless the rates, positive numbers, go by factors of two."""
    if not np.allclose(np.diff(np.log2(sorted(rates))), 1.0):
        raise InputError(f"{name} are {', '.join(map(str, rates))}; each must be twice the one before.")


def updates_to(losses: Any, updates: int, wanted: float) -> float:
    """Updates until the training loss is `wanted`; NaN if it never is.

    `losses`: (epochs + 1,), the loss before training and each epoch's mean over batches, which is placed in the middle
    of the epoch's `updates`; ln loss is a straight line in between.
    """
    return place_of(losses, updates * np.concatenate([[0.0], np.arange(1, len(losses)) - 0.5]), wanted)


def place_of(losses: Any, places: Any, wanted: float) -> float:
    """Where `losses`, at ascending `places` and with ln loss a straight line in between, are first `wanted`; or NaN."""
    below = np.flatnonzero(losses <= wanted)
    if not len(below):
        return np.nan
    first = below[0]
    if first == 0:
        return float(places[0])
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


@dataclass(frozen=True)
class Comparison:
    """Arms that each have a rate of their own, tuned on some seeds and compared on others, and one rate for all.

    - `arms`: the columns of an arm, and `column`: of the updates to the deciding loss, in the table of `measure_cell`;
    - `make(role, arm, rate, seeds)`: the cell of an arm at a rate; the role is tuning, tuned or fixed;
    - `first_seed` of the networks compared, `first_tuning_seed` of those that tune;
    - `roles` of the networks compared: tuned, fixed or both;
    - `scores` of a table, by arm and rate, the lowest being the best: None: `tuning_scores` of the column;
    - of the configuration: `learning_rates`, `widenings`, `tuning_seeds`, `seeds`, and `fixed_rate` for the role fixed.
    """

    arms: tuple[str, ...]
    column: str
    make: Callable[[str, Arm, float, tuple[int, ...]], Any]
    first_seed: int
    first_tuning_seed: int
    roles: tuple[str, ...] = ("tuned", "fixed")
    scores: Callable[[Any], dict[Arm, dict[float, Score]]] | None = None

    def tuning_cells(self, config: Any, arms: Sequence[Arm], rates: Sequence[float] | None = None) -> list[Any]:
        """Every arm at every rate of the first grid; None: the configuration's `learning_rates`."""
        first = sorted(config.learning_rates if rates is None else rates)
        return [self._tuning_cell(config, arm, rate) for arm in arms for rate in first]

    def groups(self, config: Any) -> tuple[tuple[int, int], ...]:
        """Of an arm, cells and networks in each: those that tune, on the widest grid, then those that are compared."""
        rates = len(config.learning_rates) + config.widenings
        return (rates, config.tuning_seeds), (len(self.roles), config.seeds)

    def measure(self, measure_cell: Any, config: Any, cells: Sequence[Any], sweep: Sweep) -> pandas.DataFrame:
        """The tables of the tuning cells, of those that wider grids add, then of the networks that are compared."""
        found = sweep.table(measure_cell, config, cells)
        for _ in range(config.widenings):
            scores = self._scores(found)
            beyond = {arm: rate_beyond(of_arm) for arm, of_arm in scores.items()}
            wider = [self._tuning_cell(config, arm, rate) for arm, rate in beyond.items() if rate is not None]
            if not wider:
                break
            found = pandas.concat([found, sweep.table(measure_cell, config, wider)], ignore_index=True)
        seeds = tuple(range(self.first_seed, self.first_seed + config.seeds))
        compared = [
            self.make(role, arm, best_rate(of_arm) if role == "tuned" else config.fixed_rate, seeds)
            for arm, of_arm in self._scores(found).items()
            for role in self.roles
        ]
        return pandas.concat([found, sweep.table(measure_cell, config, compared)], ignore_index=True)

    def _scores(self, table: Any) -> dict[Arm, dict[float, Score]]:
        return tuning_scores(table, self.column, self.arms) if self.scores is None else self.scores(table)

    def _tuning_cell(self, config: Any, arm: Arm, rate: float) -> Any:
        seeds = tuple(range(self.first_tuning_seed, self.first_tuning_seed + config.tuning_seeds))
        return self.make("tuning", arm, rate, seeds)
