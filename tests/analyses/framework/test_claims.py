"""Exact signed-rank tests against scipy and against enumeration of all signs; verdicts on both sides of every limit."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import PermutationMethod, rankdata, ttest_1samp, wilcoxon

from analyses.framework.claims import (
    Claim,
    decide,
    hodges_lehmann,
    paired_differences,
    signed_rank_p,
    student_p,
    without_learning,
)
from elutheory.errors import InputError

DIFFERENCES = np.array([0.952, -0.147, 1.022, 0.43, 0.62, 0.59, 0.49, -0.08, 0.01])
"""Depression scores, Hollander and Wolfe, table 3.1: the 9 patients' first minus second visit."""


def claim(
    identifier: str = "c", alternative: str = "greater", level: float = 0.05, margin: float | None = None
) -> Claim:
    return Claim(identifier, "It is larger.", "A − B", "its size", alternative, level, margin)  # pyright: ignore


def test_textbook_example() -> None:
    """R's wilcox.test: p = 0.03906 two-sided, estimate 0.46, interval of confidence 0.961 (0.010, 0.786)."""
    assert signed_rank_p(DIFFERENCES) == pytest.approx(10 / 256)
    assert hodges_lehmann(DIFFERENCES, 0.05) == pytest.approx((0.46, 0.01, 0.786))


@pytest.mark.parametrize("pairs", [1, 2, 5, 12, 25])
def test_p_is_scipys_where_sizes_differ(pairs: int) -> None:
    for seed in range(10):
        differences = np.random.default_rng(seed).normal(0.4, 1.0, pairs)
        assert signed_rank_p(differences) == pytest.approx(wilcoxon(differences, method="exact").pvalue, rel=1e-12)


@pytest.mark.parametrize("differences", [[1, 1, 2, -1, 3, 3, -2], [0, 1, 0, 2, 2, -1, 4], [0, 0, 5], [-2, 2], [0, 1]])
def test_p_with_equal_sizes_and_zeros_is_scipys_enumeration(differences: list[float]) -> None:
    enumerated = wilcoxon(differences, zero_method="pratt", method=PermutationMethod(n_resamples=10**9))
    assert signed_rank_p(differences) == pytest.approx(enumerated.pvalue, rel=1e-12)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_p_is_the_share_of_signs_at_least_as_lopsided(differences: list[int]) -> None:
    sizes = np.abs(differences)
    ranks = np.where(sizes > 0, rankdata(sizes), 0.0)
    observed = abs((np.sign(differences) * ranks).sum())
    sums = [abs((np.array(signs) * ranks).sum()) for signs in product((-1, 1), repeat=len(ranks))]
    assert signed_rank_p(differences) == pytest.approx(np.mean(np.array(sums) >= observed - 1e-9), rel=1e-12)


def test_interval_holds_the_shifts_that_scipys_test_does_not_reject() -> None:
    for seed, pairs, level in [(0, 6, 0.05), (1, 8, 0.01), (2, 11, 0.05), (3, 15, 0.3)]:
        differences = np.random.default_rng(seed).normal(size=pairs)
        _, low, high = hodges_lehmann(differences, level)
        step = 1e-9
        for shift, rejected in [(low - step, True), (low + step, False), (high - step, False), (high + step, True)]:
            assert (wilcoxon(differences - shift, method="exact").pvalue <= level) == rejected


def test_coverage_of_the_interval_is_what_is_said() -> None:
    """4,000 samples from a symmetric law, within 4 standard errors of the confidence that 9 pairs attain above 95 %."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(4000):
        _, low, high = hodges_lehmann(generator.standard_t(3, size=9), 0.05)
        covered += low <= 0.0 <= high
    attained = 1 - 2 * 10 / 512  # the largest tail of 9 ranks up to 0.025: P(W ≤ 5) = 10/512
    assert abs(covered / 4000 - attained) < 4 * np.sqrt(attained * (1 - attained) / 4000)


def test_too_few_pairs_have_no_interval() -> None:
    assert hodges_lehmann([1.0, 2.0, 3.0, 4.0, 5.0], 0.05) == (3.0, -np.inf, np.inf)
    assert hodges_lehmann([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2 / 64) == (3.5, 1.0, 6.0)
    assert hodges_lehmann([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], np.nextafter(2 / 64, 0) - 1e-9)[1:] == (-np.inf, np.inf)


def test_diverged_runs_count_by_rank() -> None:
    assert signed_rank_p([np.inf, 1.0, 2.0, np.inf]) == signed_rank_p([3.0, 1.0, 2.0, 3.0])
    effect, low, high = hodges_lehmann([-np.inf, np.inf, 1.0], 0.25)
    assert (effect, low, high) == (0.5, -np.inf, np.inf)
    assert hodges_lehmann([np.inf] * 6, 0.05) == (np.inf, np.inf, np.inf)


def test_verdict_and_interval_say_the_same() -> None:
    """Whatever is decided by p, decided together with nine others: its interval has no 0; and the other way round."""
    generator = np.random.default_rng(5)
    claims = [Claim(str(number), "It is larger.", "A − B", "its size", "greater", 0.05) for number in range(10)]
    seen = set()
    for _ in range(40):
        spread = generator.normal(0.0, 0.8, (10, 1)) + generator.normal(0.0, 1.0, (10, 12))
        for decision in decide(claims, {claim.identifier: spread[int(claim.identifier)] for claim in claims}):
            by_p = decision.adjusted_p <= 0.05
            assert by_p == (not decision.low <= 0 <= decision.high)
            assert (
                decision.agreeing == (np.sign(spread[int(decision.claim.identifier)]) == np.sign(decision.effect)).sum()
            )
            seen.add((by_p, decision.verdict))
    assert {verdict for _, verdict in seen} == {"holds", "does not hold", "undecided"}


@pytest.mark.parametrize(
    ("differences", "alternative", "margin", "verdict"),
    [
        ([1, 2, 3, 4, 5, 6], "greater", None, "holds"),
        ([1, 2, 3, 4, 5, 6], "less", None, "does not hold"),
        ([-1, -2, -3, -4, -5, -6], "less", None, "holds"),
        ([1, 2, -3, 4, -5, 6], "greater", None, "undecided"),
        ([1, 2, -3, 4, -5, 6], "greater", 6.0, "does not hold"),
        ([1, 2, -3, 4, -5, 6], "greater", 5.9, "undecided"),
        ([1, 2, 3, 4, 5], "greater", None, "cannot be decided"),
        ([1, 2, 3, 4, 5], "greater", 100.0, "cannot be decided"),
        ([0, 0, 0, 0, 0, 0], "greater", None, "undecided"),
        ([0, 0, 0, 0, 0, 0], "greater", 1e-3, "does not hold"),
        ([1, 2, 3, 4, 5, np.inf], "greater", None, "holds"),
    ],
)
def test_verdicts(differences: list[float], alternative: str, margin: float | None, verdict: str) -> None:
    (decision,) = decide([claim(alternative=alternative, margin=margin)], {"c": differences})
    assert decision.verdict == verdict
    assert decision.pairs == len(differences)


def test_several_claims_need_more_seeds_and_wider_intervals() -> None:
    names = ("first", "second", "third")
    claims = [claim(name) for name in names]
    seven = {name: np.arange(1.0, 8.0) for name in names}  # p = 2/128, three times that is within 0.05
    assert [decision.verdict for decision in decide(claims, seven)] == ["holds"] * 3
    assert [decision.adjusted_p for decision in decide(claims, seven)] == pytest.approx([3 / 64] * 3)
    assert all(decision.low == 1.0 and decision.high == 7.0 for decision in decide(claims, seven))
    six = {name: np.arange(1.0, 7.0) for name in names}
    assert {decision.verdict for decision in decide(claims, six)} == {"cannot be decided"}
    assert "cannot be decided with 6 seeds: It is larger." in str(decide(claims, six)[0])
    assert decide(claims[:1], six)[0].verdict == "holds"


def test_report_of_a_decision() -> None:
    text = str(decide([claim()], {"c": DIFFERENCES})[0])
    assert (
        text == "holds: It is larger. A − B, its size: +0.46 [+0.01, +0.786], n = 9, p = 0.039 (of all claims: 0.039)"
    )


def test_differences_are_paired_by_seed() -> None:
    table = pandas.DataFrame(
        {"activation": ["relu", "elu", "elu", "relu"], "seed": [1, 0, 1, 0], "loss": [np.inf, 1.0, 2.0, 4.0]}
    )
    assert paired_differences(table, "loss", "elu", "relu").tolist() == [-3.0, -np.inf]
    table["loss"] = np.inf
    assert paired_differences(table, "loss", "elu", "relu").tolist() == [0.0, 0.0]
    for unpaired in (table[:3], pandas.concat([table, table])):
        with pytest.raises(InputError, match="elu and relu are not paired"):
            paired_differences(unpaired, "loss", "elu", "relu")


def test_bad_input() -> None:
    with pytest.raises(InputError, match="a difference is NaN"):
        decide([claim()], {"c": [1.0, np.nan]})
    with pytest.raises(InputError, match="one difference a seed"):
        decide([claim()], {"c": []})
    with pytest.raises(InputError, match="need one level"):
        decide([claim("a"), claim("b", level=0.01)], {"a": [1.0], "b": [1.0]})
    with pytest.raises(InputError, match="between 0 and 1"):
        claim(level=5.0)
    with pytest.raises(InputError, match="a number > 0"):
        claim(margin=0.0)


# --- the t test -----------------------------------------------------------------------------------------------------


def t_claims(count: int = 1) -> list[Claim]:
    return [Claim(f"c{number}", "It is less.", "A − B", "its size", "less", 0.05, test="t") for number in range(count)]


@pytest.mark.parametrize("claims", [1, 20])
@pytest.mark.parametrize("differences", [[-0.3, -0.25, -0.35, -0.31, -0.28], [0.1, -0.2, 0.3], [2.0, 1.0]])
def test_t_test_is_scipys_corrected_alike_in_p_and_interval(differences: list[float], claims: int) -> None:
    known: Any = ttest_1samp(differences, 0.0)
    interval = known.confidence_interval(1 - 0.05 / claims)
    found = decide(t_claims(claims), {f"c{number}": differences for number in range(claims)})[0]
    assert found.effect == pytest.approx(np.mean(differences))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p == pytest.approx(known.pvalue)
    assert found.adjusted_p == pytest.approx(min(1.0, claims * known.pvalue))
    decided = (found.low > 0) or (found.high < 0)
    assert found.verdict == (("holds" if found.effect < 0 else "does not hold") if decided else "undecided")


def test_t_test_decides_with_five_pairs_what_ranks_cannot() -> None:
    differences = [-0.3, -0.25, -0.35, -0.31, -0.28]
    assert decide(t_claims(), {"c0": differences})[0].verdict == "holds"
    ranked = replace(t_claims()[0], test="signed rank")
    assert decide([ranked], {"c0": differences})[0].verdict == "cannot be decided"


def test_t_test_of_equal_and_of_single_differences() -> None:
    """Without spread p is that of equal signs; a single difference says nothing about its error."""
    assert student_p([0.0] * 5) == 1.0
    assert student_p([0.5] * 5) == 2 / 32
    one = decide(t_claims(), {"c0": [-1.0]})[0]
    assert (one.verdict, one.p, one.low, one.high) == ("cannot be decided", 1.0, -np.inf, np.inf)


def test_t_test_refuses_infinite_differences() -> None:
    with pytest.raises(InputError, match="c0: a t test needs finite differences; say what a diverged run counts as"):
        decide(t_claims(), {"c0": [1.0, np.inf]})


def test_networks_that_have_not_learned_keep_their_numbers() -> None:
    found = decide(t_claims(), {"c0": [-1.0, -1.1, -0.9]})[0]
    lazy = without_learning(found)
    assert (lazy.verdict, lazy.effect, lazy.p) == ("not trained", found.effect, found.p)
    assert str(lazy).startswith("not trained: It is less.")
