"""Sums of units over batches against two passes in float64 over all values together."""

import numpy as np
import pytest
import torch
from torch import Tensor

import elutheory.numerics.running_moments
from elutheory.numerics.running_moments import Moments, RunningMoments, UnitSums

EXACTLY = {"rtol": 1e-12, "atol": 1e-14}


def values_far_from_zero() -> Tensor:
    return torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1e6


def test_parts_merge_in_any_order_without_cancellation() -> None:
    # Reference: numpy's two passes over all points; 1e6 standard deviations from zero, Σx² would leave four digits.
    values = values_far_from_zero()
    parts = [
        Moments(len(part), part.mean(0), (part - part.mean(0)).square().sum(0)) for part in values.split([1, 30, 19])
    ]
    none = Moments(0, torch.empty(0), torch.empty(0))
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        merged = none
        for place in order:
            merged = merged.merged(parts[place])
        assert merged.count == 50
        np.testing.assert_allclose(merged.mean, values.numpy().mean(0), rtol=1e-15)
        np.testing.assert_allclose(merged.squares, 50 * values.numpy().var(0), rtol=1e-9)


def test_running_moments_keep_their_digits_far_from_zero() -> None:
    values = values_far_from_zero()
    moments = RunningMoments()
    for part in values.split([1, 30, 19]):
        moments.add(part)
    torch.testing.assert_close(moments.mean, values.mean(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(moments.variance, values.var(0, correction=0), rtol=1e-9, atol=0)


@pytest.mark.parametrize("extremes", [False, True])
def test_sums_merge_and_are_made_from_their_parts(extremes: bool) -> None:
    values = values_far_from_zero()
    sums = [UnitSums(extremes), UnitSums(extremes)]
    for part, of_part in zip(sums, values.split([20, 30]), strict=True):
        part.add(of_part, -1)
    first = UnitSums.from_parts(20, dict(sums[0].parts()))
    first.merge(sums[1])
    first.merge(UnitSums(extremes))
    assert first.count == 50
    found = first.parts()
    assert found.keys() == {"mean", "squares"} | ({"minimum", "maximum", "nonpositive"} if extremes else set())
    np.testing.assert_allclose(found["mean"], values.numpy().mean(0), rtol=1e-15)
    np.testing.assert_allclose(found["squares"], 50 * values.numpy().var(0), rtol=1e-9)


def errors(values: Tensor, batches: list[int]) -> tuple[float, float]:
    """Largest relative errors of mean and variance against two passes in float64 over the very same float32 values."""
    sums = UnitSums(extremes=False)
    for batch in values.split(batches):
        sums.add(batch, -1)
    parts, exact = sums.parts(), values.double()
    mean, variance = exact.mean(0), exact.var(0, correction=0)
    found = parts["squares"] / sums.count
    return float(((parts["mean"] - mean) / mean).abs().max()), float(((found - variance) / variance).abs().max())


@pytest.mark.parametrize("order", ["random", "sorted", "drifting"])
@pytest.mark.parametrize("ratio", [0.1, 1e3])
def test_variance_of_float32_far_from_zero(order: str, ratio: float) -> None:
    """Mean/standard deviation up to 1e3: the variance keeps a relative error of 1e-5 in whatever order points come."""
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(4000, 50, generator=generator)
    if order != "random":
        values = values.sort(0).values
    if order == "drifting":
        values[:2000] += 30
    mean_error, variance_error = errors(values + ratio * values.std(), [256] * 15 + [160])
    assert mean_error < 1e-6
    assert variance_error < 1e-5


def test_one_pass_sums_of_squares_would_not_do() -> None:
    values = torch.randn(4000, 50, generator=torch.Generator().manual_seed(3)) + 1e3
    naive = values.square().mean(0) - values.mean(0).square()
    exact = values.double().var(0, correction=0)
    assert float(((naive - exact) / exact).abs().max()) > 1e-2


def test_many_batches_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(1000, 3, dtype=torch.float64)
    found = []
    for fold_after in (1, 7, 10_000):
        monkeypatch.setattr(elutheory.numerics.running_moments, "FOLD_AFTER", fold_after)
        sums = UnitSums(extremes=True)
        for batch in values.split(9):
            sums.add(batch, -1)
        assert sums.count == 1000
        found.append(sums.parts())
    for parts in found:
        np.testing.assert_allclose(parts["squares"] / 1000, values.numpy().var(0), **EXACTLY)
        np.testing.assert_array_equal(parts["minimum"], values.numpy().min(0))
