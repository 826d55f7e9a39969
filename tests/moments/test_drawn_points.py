"""Moments of all registered activations and fifteen of users' own, drawn over twelve decades, in Arb balls.

Within 1e-13 of the root mean square of what is averaged, and within what `method` states of themselves; one by one, in
a batch, and as tensors.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from flint import arb, fmpq

import elutheory as et
from tests.references import nested_oracle
from tests.references.nested_oracle import FUNCTIONS, WAVES
from tests.references.oracle import precision

ALLOWED = 1e-13
ROUNDED = 5e-16  # a stated error has one digit
SMALLEST = 1e-290
QUICK = ("elu", "hard_swish", "tanh", "log(1+abs(x))*sign(x)")
PLACES = (-3, -1, -0.5, 0, 1, 3, 6, 1 / 3, 2)


def named(name: str) -> et.Activation:
    return et.activation(name) if name in et.activation_names() else et.Activation.from_text(name)


def draw(rng: np.random.Generator, wave: bool) -> tuple[float, float]:
    """std 1e-6 … 1e6; the mean anywhere up to 40 of it, at 0, next to where functions bend, or anywhere at all."""
    std, kind = 10.0 ** rng.uniform(-6, 1.2 if wave else 6), rng.random()
    if kind < 0.35:
        mean = std * rng.uniform(-40, 40)
    elif kind < 0.5:
        mean = std * rng.uniform(-4, 4)
    elif kind < 0.55:
        mean = 0.0
    elif kind < 0.8:
        mean = float(rng.choice(PLACES)) + std * rng.choice([0, 1, 10]) * rng.uniform(-3, 3)
    else:
        mean = float(rng.choice([-1, 1]) * 10 ** rng.uniform(-6, 6))
    return (mean / 1e5 if wave and abs(mean) > 300 else mean), std


def exact(number: float) -> arb:
    return arb(fmpq(*number.as_integer_ratio()))


def deviations(name: str, points: list[tuple[float, float]]) -> Iterator[tuple[str, float, float, str, float]]:
    """(where, error of the root mean square, of itself, method, stated) of every moment that is no rounding to 0."""
    f, function = named(name), FUNCTIONS[name]
    means, stds = np.array(points).T
    batch = et.gaussian_moments(f, means, stds)
    tensors = et.gaussian_moments(f, torch.tensor(means), torch.tensor(stds))
    for place, (mean, std) in enumerate(points):
        one = et.gaussian_moments(f, mean, std)
        stated = float(one.method.split()[-1]) if "relative error" in one.method else ALLOWED
        spread = max(float(one.variance), 1e-300)
        with precision(140 + max(0, int(-np.log2(spread)))):
            want = nested_oracle.moments(function, exact(mean), exact(std))
            roots = {"mean": want["second_moment"].sqrt(), "slope_mean": want["slope_second_moment"].sqrt()}
            for quantity, value in want.items():
                root = roots.get(quantity, value)
                if (function.jumps and "slope" in quantity) or not root.mid() > SMALLEST:
                    continue
                assert value.rad() < 1e-15 * root.mid(), f"the reference has no digits: {quantity} at {mean!r}, {std!r}"
                found = [getattr(moments, quantity) for moments in (one, batch, tensors)]
                numbers = [float(found[0]), float(found[1][place]), float(found[2][place])]
                distance = max(abs(float(exact(number) - value)) for number in numbers)
                size = abs(float(value))
                own = distance / size if size > 1e-17 * float(root) and value.rad() < 1e-15 * abs(value) else 0.0
                yield f"{quantity} at {mean!r}, {std!r}", distance / float(root), own, one.method, stated


def check(name: str, seed: int, count: int) -> int:
    """How many moments were right."""
    rng = np.random.default_rng([seed, sum(map(ord, name))])
    points = [draw(rng, name in WAVES) for _ in range(count)]
    right = 0
    for where, error, own, method, stated in deviations(name, points):
        assert error <= ALLOWED, (name, where, error, method)
        assert own <= 2.0 * stated + ROUNDED, (name, where, own, method)
        right += 1
    return right


@pytest.mark.parametrize("name", QUICK)
def test_over_twelve_decades(name: str) -> None:
    assert check(name, 1, 2) >= 6


def test_stated_errors_cover_tails_and_zeros() -> None:
    """Densities far in a tail are rounded like their exponents; 3 x − 1 has few digits near 1/3."""
    for name, point in (
        ("squared_relu", (-2196.705197178812, 84.65237027845548)),
        ("hard_swish", (-429.9677568428599, 12.896923521103364)),
        ("where(abs(x)<1, 1-x**2, 0)", (34.199565985439705, 3.420086075797509)),
        ("tanh(3*x-1)", (0.33316374674209165, 9.880503059693674e-06)),
        ("tanh(3*x-1)", (-19.285424356914397, 0.73239968095206)),
        ("sign(x)", (-535.8773856680531, 18.118375673804994)),
        ("x/(1+abs(x))", (-42.43484054346226, 6.0689681548973655e-06)),
    ):
        for where, _, own, method, stated in deviations(name, [point]):
            assert own <= 2.0 * stated + ROUNDED, (name, where, own, method)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_over_twelve_decades_everywhere(name: str, seed: int) -> None:
    assert check(name, seed, 30) >= 60
