"""Steps of the unit natural gradient in units of SGD's: `pytest benchmarks -o addopts= -s -k natural_gradient`.

784-64-64-10, float32, cross-entropy. The sides take turns, so that the ratios are of one run, on one thread. A step of
SGD is some 6 × 55,000 operations per example. The first layer's 64 Fisher matrices of 785² have 39 million entries: a
Cholesky factorisation of all is 10⁴ million operations, at 64 examples five hundred steps of SGD's. By the batch's
vectors it is 64 factorisations of examples², at 64 examples 6 million operations; from 128 examples on it is
iterations of conjugate gradients, each a product of all units with one matrix of examples².
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.interleaved_times import best_times
from elutheory.fisher import UnitNaturalGradient

STEPS, ROUNDS = 20, 8
LIMITS = {"every step": 30.0, "every 20th step": 3.0}
"""The goals. Measured on two cores that were busy with other work, at 32, 128 and 256 examples: 17, 19 and 19; and 5.5,
6.1 and 7.6, which misses the second.

Counted at 64 examples, a step between two updates is some 200 operations of torch where one of SGD is 55: a forward
pass more, which measures the divergence, two products with the batch's vectors per layer, and many that are small.
Counted in arithmetic, at 256 examples: SGD's own part of the loop is 1, the forward pass 0.5, the two products 0.9; the
solves read factors of 17 MB twice, which takes as long as a step; and a twentieth of the factorisations, 0.4 billion
operations at a fifth of a matrix product's speed, 1. That is above 4: three cannot be reached there while divergences
are measured at every step."""

pytestmark = pytest.mark.usefixtures("one_thread")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 64), nn.ELU(), nn.Linear(64, 64), nn.ELU(), nn.Linear(64, 10))


def training(examples: int, make: Callable[[nn.Module], Any]) -> Callable[[], None]:
    """STEPS steps of an ordinary training loop."""
    model = network()
    optimizer = make(model)
    inputs, targets = torch.rand(examples, 784), torch.randint(10, (examples,))

    def run() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

    return run


@pytest.mark.parametrize("examples", [32, 128, 256])
def test_a_step_of_the_natural_gradient_beside_one_of_sgd(examples: int) -> None:
    sides = {
        "SGD": training(examples, lambda model: torch.optim.SGD(model.parameters(), 0.01)),
        "every step": training(examples, lambda model: UnitNaturalGradient(model, kind="exact")),
        "every 20th step": training(
            examples, lambda model: UnitNaturalGradient(model, kind="exact", update_interval=STEPS)
        ),
    }
    times = dict(zip(sides, best_times(*sides.values(), rounds=ROUNDS), strict=True))
    for name, limit in LIMITS.items():
        ratio = times[name] / times["SGD"]
        print(
            f"\n{examples} examples, F updated at {name}: {ratio:.1f} steps of SGD ({1e3 * times[name] / STEPS:.1f} ms)"
        )
        assert ratio <= limit
