"""Unit Fisher matrices in units of the machine's own matrix products: `pytest benchmarks -o addopts= -s -k fisher`.

Every ratio is of times measured in turn in one run, best of several rounds, on the process's threads. Other packages
and the straightforward formula are in bench_fisher_peers.py. `-m "not slow"` leaves out 60,000 inputs of 784-1000-500.
"""

import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.interleaved_times import best_times
from elutheory.fisher import LayerScores, UnitFisher, unit_fisher
from elutheory.fisher.outer_products import add_weighted_outer_products, mirror

ROUNDS = 25
UNITS, FAN_IN, EXAMPLES = 128, 128, 512
MEMORY_LIMIT = 256e6


def network(*widths: int, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for fan_in, units in pairwise(widths):
        layers += [nn.Linear(fan_in, units), nn.ELU()]
    return nn.Sequential(*layers[:-1]).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_accumulation_reaches_the_matrix_product_peak(dtype: torch.dtype) -> None:
    points = torch.randn(EXAMPLES, FAN_IN + 1, dtype=dtype)
    weights = torch.rand(EXAMPLES, UNITS, dtype=dtype)
    total = torch.zeros(UNITS, FAN_IN + 1, FAN_IN + 1, dtype=dtype)
    square = torch.randn(2048, 2048, dtype=dtype)
    product = torch.empty_like(square)

    def accumulate() -> None:
        add_weighted_outer_products(total, weights, points)
        mirror(total)

    ours, matrix_product, einsum = best_times(
        accumulate,
        lambda: torch.mm(square, square, out=product),
        lambda: torch.einsum("nu,ni,nj->uij", weights, points, points),
        rounds=ROUNDS,
    )
    operations = 2 * EXAMPLES * UNITS * (FAN_IN + 1) ** 2
    peak = 2 * len(square) ** 3 / matrix_product
    shares = operations / ours / peak, operations / einsum / peak
    print(f"\n{dtype}: {shares[0]:.2f} of the peak of {peak / 1e9:.0f} Gflop/s; einsum {shares[1]:.2f}")
    assert shares[0] >= 1


def memory(field: str) -> int:
    """Bytes: VmRSS now, VmHWM the most so far (getrusage's would include the parent's before exec). Linux."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return 1024 * int(line.split()[1])


def memory_beside_the_result(examples: int, units: int) -> tuple[int, int, float]:
    """Bytes of the first layer's matrices, bytes at the peak beyond model, inputs and these, seconds."""
    model = network(784, units, 500, 10, dtype=torch.float32)
    inputs = torch.randn(examples, 784)
    _ = unit_fisher(model, inputs[:1024], "4").matrix  # what the first call allocates once
    before = memory("VmRSS")
    start = time.perf_counter()
    matrix = unit_fisher(model, inputs, "0").matrix
    seconds = time.perf_counter() - start
    result = matrix.numel() * matrix.element_size()
    return result, memory("VmHWM") - before - result, seconds


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.parametrize(
    ("examples", "units"), [(1_536, 1000), (60_000, 8), pytest.param(60_000, 1000, marks=pytest.mark.slow)]
)
def test_bounded_memory(examples: int, units: int) -> None:
    """784-1000-500 in full takes some 10 to 20 minutes: by default all units of few inputs, few units of all inputs."""
    # A process of its own: the peak is that of a process's whole life.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        result, more, seconds = process.submit(memory_beside_the_result, examples, units).result()
    print(
        f"\n{examples} inputs of 784-{units}-500: {seconds:.1f} s, {more / 1e6:.0f} MB above the result's"
        f" {result / 1e6:.0f} MB"
    )
    assert more <= MEMORY_LIMIT


def processor_seconds(function: Callable[[], Any]) -> float:
    """User seconds of this process: what other processes take does not count."""
    start = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    function()
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime - start


def test_time_is_linear_in_the_inputs() -> None:
    """Doubling the inputs costs as much as they did before, and so again: fixed costs drop out of the differences."""
    counts = (2_048, 4_096, 8_192)
    model = network(784, 16, 10, dtype=torch.float32)
    inputs = torch.randn(max(counts), 784)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for one another take user time
    try:
        times = [float("inf")] * len(counts)
        for _ in range(4):
            for place, count in enumerate(counts):
                part = inputs[:count]
                times[place] = min(times[place], processor_seconds(lambda: unit_fisher(model, part, "0")))  # noqa: B023
    finally:
        torch.set_num_threads(threads)
    growth = (times[2] - times[1]) / (times[1] - times[0])
    print(f"\n{counts} inputs: {', '.join(f'{t:.2f}' for t in times)} s; increments {growth:.2f}-fold (linear: 2)")
    assert times[1] > times[0]
    assert growth < 2.5


def test_single_precision_sums() -> None:
    generator = torch.Generator().manual_seed(0)
    incoming = 0.5 + torch.randn(60_000, 1, 1, 32, generator=generator, dtype=torch.float64)
    deltas = torch.randn(1, 60_000, 1, 8, generator=generator, dtype=torch.float64)
    double = UnitFisher.from_scores(LayerScores(incoming, deltas)).matrix
    fisher = None
    for a, d in zip(incoming.float().split(512), deltas.float().split(512, dim=1), strict=True):
        scores = LayerScores(a, d)
        fisher = UnitFisher.from_scores(scores) if fisher is None else fisher.add_scores(scores)
    error = (fisher.matrix - double).abs().max() / double.abs().max()
    print(f"\nfloat32 sums of 60,000 inputs: {error:.1e} of the largest entry")
    assert error < 1e-6
