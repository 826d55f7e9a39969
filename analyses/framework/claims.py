"""Claims stated before measuring, and their verdict from paired differences over seeds: by Wilcoxon's signed-rank test,
or, where a claim says so, by Student's t.

The signed-rank test is two-sided and exact at any number of pairs: its null distribution, every sign equally likely
given the ranks, is computed, not approximated. Equal sizes share their mean rank; zeros are ranked and left out (Pratt,
1959).
The effect is the Hodges–Lehmann estimate, the median of the means of all two differences (Walsh averages, each
difference with itself included), with its distribution-free interval from the order statistics of those means
(Hollander and Wolfe, Nonparametric Statistical Methods, section 3.3).

With five networks of each kind its p cannot fall below 2/2⁵, whatever the networks do. A claim that is to be decided at
such sizes takes the t test of the mean difference, two-sided too, with Student's interval; it supposes that differences
are about normal, which those of logarithms are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.special import stdtr, stdtrit
from scipy.stats import rankdata

from elutheory.errors import InputError

Verdict = Literal["holds", "does not hold", "undecided", "cannot be decided", "not trained"]


@dataclass(frozen=True)
class Claim:
    """What is claimed of the differences `first` − `second` of one number per seed; a constant of an analysis."""

    identifier: str
    sentence: str
    compared: str
    """The two that are paired by seed, such as "ELU − ReLU"."""
    statistic: str
    """The number of each: its definition and unit."""
    alternative: Literal["less", "greater"]
    """Where the claim has the differences: below or above 0."""
    level: float
    """Of significance, shared by all claims that are decided together."""
    margin: float | None = None
    """Differences up to this size count as none: an interval within ± margin refutes the claim."""
    counted: str = "seeds"
    """What there is one difference of."""
    test: Literal["signed rank", "t"] = "signed rank"
    """t: for few pairs; its differences must be finite."""

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise InputError(f"the level of {self.identifier} is {self.level}; a number between 0 and 1 is needed.")
        if self.margin is not None and not self.margin > 0:
            raise InputError(f"the margin of {self.identifier} is {self.margin}; a number > 0 is needed.")


@dataclass(frozen=True)
class Decision:
    """A claim's verdict. `effect`: Hodges–Lehmann, of a t test the mean; (low, high): its interval; p as tested, and
    for all claims.

    "holds": `adjusted_p` ≤ level, the differences on the claimed side of 0. "does not hold": the same on the other
    side, or the interval lies within ± margin. "cannot be decided": with so few pairs no p could be small enough.
    "undecided": all else. "not trained": see `without_learning`. `agreeing`: how many differences have the sign of the
    effect; None: not counted.
    """

    claim: Claim
    pairs: int
    effect: float
    low: float
    high: float
    p: float
    adjusted_p: float
    verdict: Verdict
    agreeing: int | None = None

    def __str__(self) -> str:
        verdict: str = self.verdict
        if verdict == "cannot be decided":
            verdict = f"cannot be decided with {self.pairs} {self.claim.counted}"
        return (
            f"{verdict}: {self.claim.sentence} {self.claim.compared}, {self.claim.statistic}: "
            f"{self.effect:+.3g} [{self.low:+.3g}, {self.high:+.3g}], n = {self.pairs}, "
            f"p = {self.p:.2g} (of all claims: {self.adjusted_p:.2g})"
        )


def decide(claims: Sequence[Claim], differences: Mapping[str, Any]) -> list[Decision]:
    """The verdicts of all claims of one analysis; `differences`: by identifier, one number per seed.

    Bonferroni's correction, of tests and intervals alike, keeps the probability of any wrong verdict below the level:
    p values are multiplied by the number of claims, intervals have confidence 1 − level/claims each. A difference may
    be ±inf, where one of the two runs diverged and that counts as worst. Raises InputError on NaN, no differences,
    unequal levels.
    """
    levels = {claim.level for claim in claims}
    if len(levels) != 1:
        raise InputError(f"claims decided together need one level; these have {sorted(levels)}.")
    values = [_checked(claim, differences) for claim in claims]
    return [_decision(claim, found, len(claims)) for claim, found in zip(claims, values, strict=True)]


def without_learning(decision: Decision) -> Decision:
    """The decision with the verdict "not trained": what it compares are networks that have not learned."""
    return replace(decision, verdict="not trained")


def paired_differences(table: Any, value: str, first: str, second: str, by: str = "activation") -> Any:
    """`value` of `first` minus that of `second`, ordered by seed; where both are inf, 0.

    `table`: one row a `by` and seed. Raises InputError where the two do not have the same seeds, once each.
    """
    columns = [table[table[by] == name].set_index("seed")[value].sort_index() for name in (first, second)]
    seeds = [column.index.tolist() for column in columns]
    if seeds[0] != seeds[1] or not seeds[0] or not columns[0].index.is_unique:
        raise InputError(f"{first} and {second} are not paired: they have the seeds {seeds[0]} and {seeds[1]}.")
    left, right = (column.to_numpy(float) for column in columns)
    with np.errstate(invalid="ignore"):
        return np.where((left == right) & np.isinf(left), 0.0, left - right)


def signed_rank_p(differences: Any) -> float:
    """Two-sided p of the signed-rank test; 1 where all differences are 0."""
    doubled, positive, negative = _rank_sums(differences)
    probabilities = _null_distribution(doubled)
    return min(1.0, 2 * float(probabilities[: min(positive, negative) + 1].sum()))


def hodges_lehmann(differences: Any, level: float) -> tuple[float, float, float]:
    """Estimate and interval of confidence 1 − level or the next higher one attained; (−inf, inf) if none is."""
    values = np.asarray(differences, dtype=np.float64)
    first, second = np.triu_indices(len(values))
    with np.errstate(invalid="ignore"):
        means = 0.5 * values[first] + 0.5 * values[second]
    averages = np.sort(np.where(np.isnan(means), 0.0, means))  # of inf and −inf: equal sizes
    below = np.cumsum(_null_distribution(2 * np.arange(1, len(values) + 1))[::2])
    cut = int(np.searchsorted(below, level / 2 * (1 + 1e-12), side="right"))
    low, high = (averages[cut - 1], averages[-cut]) if cut else (-np.inf, np.inf)
    middle = averages[[(len(averages) - 1) // 2, len(averages) // 2]]
    return float(middle[0] if middle[0] == middle[1] else middle.mean()), float(low), float(high)


def student_p(differences: Any) -> float:
    """Two-sided p of the t test that the mean is 0; 1 for a single difference, and where all are 0.

    Where all are equal they have no spread to go by, and p is that of n equal signs.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2 or not values.any():
        return 1.0
    error = _standard_error(values)
    return 2.0 ** (1 - len(values)) if error == 0 else float(2 * stdtr(len(values) - 1, -abs(values.mean()) / error))


def student(differences: Any, level: float) -> tuple[float, float, float]:
    """Mean and Student's interval of confidence 1 − level; (−inf, inf) for a single difference."""
    values = np.asarray(differences, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, -np.inf, np.inf
    reach = float(stdtrit(len(values) - 1, 1 - level / 2) * _standard_error(values))
    return mean, mean - reach, mean + reach


def _standard_error(values: Any) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.inf


def _decision(claim: Claim, differences: Any, claims: int) -> Decision:
    """One of `claims` that are decided together."""
    pairs, level = len(differences), claim.level / claims
    if claim.test == "t":
        (effect, low, high), p = student(differences, level), student_p(differences)
        above, too_few = effect > 0, pairs < 2
    else:
        (effect, low, high), p = hodges_lehmann(differences, level), signed_rank_p(differences)
        _, positive, negative = _rank_sums(differences)
        above, too_few = positive > negative, 2.0 ** (1 - pairs) > level
    adjusted_p = min(1.0, claims * p)
    verdict: Verdict = "undecided"
    if too_few:
        verdict = "cannot be decided"
    elif adjusted_p <= claim.level:
        verdict = "holds" if above == (claim.alternative == "greater") else "does not hold"
    elif claim.margin is not None and -claim.margin <= low and high <= claim.margin:
        verdict = "does not hold"
    agreeing = int((np.sign(differences) == np.sign(effect)).sum())
    return Decision(claim, pairs, effect, low, high, p, adjusted_p, verdict, agreeing)


def _rank_sums(differences: Any) -> tuple[Any, int, int]:
    """Twice the ranks of the sizes that are not 0, whole numbers; their sums over positive and negative differences."""
    values = np.asarray(differences, dtype=np.float64)
    ranks = np.rint(2 * rankdata(np.abs(values))).astype(int)
    return ranks[values != 0], int(ranks[values > 0].sum()), int(ranks[values < 0].sum())


def _null_distribution(ranks: Any) -> Any:
    """Probabilities of 0, 1, …, sum of `ranks` for the sum over a random half: each counts or not, by a fair coin."""
    probabilities = np.ones(1)
    for rank in ranks:
        gap = np.zeros(rank)
        probabilities = 0.5 * (np.concatenate([probabilities, gap]) + np.concatenate([gap, probabilities]))
    return probabilities


def _checked(claim: Claim, differences: Mapping[str, Any]) -> Any:
    values = np.asarray(differences[claim.identifier], dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise InputError(f"{claim.identifier} needs one difference a seed, not an array of shape {values.shape}.")
    if np.isnan(values).any():
        raise InputError(f"{claim.identifier}: a difference is NaN; say what a run without a number counts as.")
    if claim.test == "t" and not np.isfinite(values).all():
        raise InputError(f"{claim.identifier}: a t test needs finite differences; say what a diverged run counts as.")
    return values
