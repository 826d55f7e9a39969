"""Gaussian moments of 10⁶ elements, in units of their floor: `pytest benchmarks -o addopts= -s`.

The floor is the special functions that M3 and M4 cannot do without: one ndtr, two erfcx, three exp of one array.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special

from elutheory.moments import gaussian_moments

COUNT = 10**6
NUMPY_LIMIT, TORCH_LIMIT = 6.0, 2.0  # times the floor; times numpy
ROUNDS = 5

pytestmark = pytest.mark.usefixtures("one_thread")


def inputs(kind: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    if kind == "wide":
        return 3.0 * rng.standard_normal(COUNT), np.exp(rng.standard_normal(COUNT))
    if kind == "narrow":
        return rng.standard_normal(COUNT), 10 ** rng.uniform(-2, -1, COUNT)
    return rng.standard_normal(COUNT), np.ones(COUNT)


def floor(x: np.ndarray) -> None:
    special.ndtr(x)
    for _ in range(2):
        special.erfcx(x)
    for _ in range(3):
        np.exp(x)


def best(function: Callable[[], Any]) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.parametrize("kind", ["wide", "unit"])
def test_floor(benchmark: Any, kind: str) -> None:
    mean, _ = inputs(kind)
    benchmark(floor, mean)


@pytest.mark.parametrize("kind", ["wide", "unit", "narrow"])
@pytest.mark.parametrize("name", ["elu", "celu", "selu", "relu"])
def test_numpy(benchmark: Any, compare: Callable[..., None], kind: str, name: str) -> None:
    mean, std = inputs(kind)
    benchmark(gaussian_moments, name, mean, std)
    ours, least = best(lambda: gaussian_moments(name, mean, std)), best(lambda: floor(mean))
    ratio = ours / least
    benchmark.extra_info["times the floor"] = ratio
    print(f"\n{name}, {kind}: {ratio:.1f} times the floor")
    compare(
        name="moments",
        what=f"six Gaussian moments of {COUNT:,} values, each",
        peer="its special functions alone",
        is_floor=True,
        seconds=ours / COUNT,
        peer_seconds=least / COUNT,
    )
    assert ratio <= NUMPY_LIMIT


@pytest.mark.parametrize("kind", ["wide", "unit"])
def test_torch(benchmark: Any, kind: str) -> None:
    mean, std = inputs(kind)
    tensors = torch.tensor(mean), torch.tensor(std)
    benchmark(gaussian_moments, "elu", *tensors)
    ratio = best(lambda: gaussian_moments("elu", *tensors)) / best(lambda: gaussian_moments("elu", mean, std))
    benchmark.extra_info["times numpy"] = ratio
    print(f"\nelu, {kind}: torch takes {ratio:.1f} times as long as numpy")
    assert ratio <= TORCH_LIMIT
