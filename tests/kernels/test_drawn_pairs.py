"""K1–K3 of all registered activations and fifteen of users' own, drawn over twelve decades, in Arb balls.

Values and slopes within 1e-13 of the root mean squares, covariances within 1e-12 of themselves; in both orders, and as
tensors. The references are integrals within integrals, which take about a second a number: the draws are exhaustive.
"""

from fractions import Fraction

import numpy as np
import pytest
import torch

import elutheory as et
from tests.references import nested_oracle, pair_oracle
from tests.references.nested_oracle import FUNCTIONS, WAVES
from tests.references.oracle import precision

KERNELS = {"value": et.dual_kernel, "slope": et.dual_kernel_derivative, "covariance": et.dual_covariance}
ALLOWED = {"value": 1e-13, "slope": 1e-13, "covariance": 1e-12}
CANCELLED = 1e-17  # of √(E f² E f²), for covariances that all but cancel
SMALLEST = 1e-150
PLACES = (-3, -1, -0.5, 0, 1, 3, 6, 1 / 3, 2)


def named(name: str) -> et.Activation:
    return et.activation(name) if name in et.activation_names() else et.Activation.from_text(name)


def draw(rng: np.random.Generator, wave: bool) -> tuple[float, ...]:
    """Variances, covariance, means: std 1e-6 … 1e6, mean/std −40 … 40, 1 − |correlation| 1e-16 … 1."""
    while True:
        highest = 1.2 if wave else 6.0
        std_u, std_v = 10.0 ** rng.uniform(-6, highest, 2)
        if rng.random() < 0.6:
            std_v = min(std_u * 10.0 ** rng.uniform(-1, 1), 10.0**highest)
        mean_u, mean_v = (
            rng.choice([0.0, 1.0, 5.0, 40.0], p=[0.2, 0.35, 0.3, 0.15])
            * rng.uniform(-1, 1, 2)
            * (
                std_u,
                std_v,
            )
        )
        kind = rng.random()
        if kind < 0.1:
            mean_u, mean_v = -abs(mean_u), -abs(mean_v)
        elif kind < 0.2:
            mean_u, mean_v = rng.choice(PLACES, 2) + rng.uniform(-2, 2, 2) * (std_u, std_v)
        elif kind < 0.3:
            std_v = std_u
        if wave and max(abs(mean_u), abs(mean_v)) > 100:
            continue
        covariance = rng.choice([-1.0, 1.0]) * (1.0 - 10.0 ** rng.uniform(-16, 0)) * (std_u * std_v)
        numbers = tuple(map(float, (std_u**2, std_v**2, covariance, mean_u, mean_v)))
        if Fraction(numbers[2]) ** 2 <= Fraction(numbers[0]) * Fraction(numbers[1]):
            return numbers


def deviation(name: str, quantity: str, numbers: tuple[float, ...]) -> float | None:
    """In units of what is allowed; None where all is below 1e-150."""
    kernel, f = KERNELS[quantity], named(name)
    u, v, c, m, n = numbers
    tensors = [torch.tensor(number, dtype=torch.float64) for number in numbers]
    found = [float(kernel(f, *numbers).value), float(kernel(f, v, u, c, n, m).value), float(kernel(f, *tensors).value)]
    with precision(120):
        at = pair_oracle.angles(pair_oracle.Pair(*numbers))
        bits = nested_oracle.BITS
        for _ in range(4):
            want, size = nested_oracle.pair(FUNCTIONS[name], quantity, at, bits)
            if size < SMALLEST:
                return None
            allowed = size * ALLOWED[quantity]
            if quantity == "covariance":
                squares = [
                    nested_oracle.single(FUNCTIONS[name], [FUNCTIONS[name].f] * 2, mean, std, 60)
                    for mean, std in ((at.mean_u, at.std_u), (at.mean_v, at.std_v))
                ]
                allowed = max(abs(want.mid()) * ALLOWED[quantity], (squares[0] * squares[1]).sqrt().mid() * CANCELLED)
            if want.rad() < 0.1 * allowed:
                break
            bits += 24
        assert want.rad() < 0.2 * allowed, f"the reference has no digits: {name}, {quantity}, {numbers}"
        return max(abs(float((number - want).mid() / allowed.mid())) for number in found)


def check(name: str, seed: int, count: int) -> int:
    """How many numbers were right."""
    rng = np.random.default_rng([seed, sum(map(ord, name))])
    right = 0
    for _ in range(count):
        numbers = draw(rng, name in WAVES)
        for quantity in KERNELS if not FUNCTIONS[name].jumps else ("value",):
            ratio = deviation(name, quantity, numbers)
            if ratio is not None:
                assert ratio <= 1.0, (name, quantity, numbers, ratio)
                right += 1
    return right


@pytest.mark.parametrize(
    ("name", "quantity", "numbers"),
    [
        ("tanh", "value", (1.0, 1.0, 0.5, 0.0, 0.0)),
        ("hard_swish", "slope", (1.0, 2.0, 0.3, -1.0, 0.5)),
    ],
)
def test_pairs(name: str, quantity: str, numbers: tuple[float, ...]) -> None:
    ratio = deviation(name, quantity, numbers)
    assert ratio is not None
    assert ratio <= 1.0


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FUNCTIONS)
def test_pairs_over_twelve_decades(name: str) -> None:
    assert check(name, 1, 4) >= 1
