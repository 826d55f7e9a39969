"""Functions that change over lengths far below the standard deviation, far from the mean or in one corner of its reach.

References are sums of nodes over the pieces on which f lives, with 400 bits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from flint import arb

import elutheory as et
from tests.references.oracle import precision

NAMES = ("mean", "second_moment", "variance", "slope_mean", "slope_second_moment")
_NODES = 40


@dataclass(frozen=True)
class Case:
    text: str
    value: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    ends: tuple[float, ...]  # of the pieces on which it is integrated


def gaussian(decay: Any) -> Callable[[Any], Any]:
    return lambda x: (-decay * x * x).exp()


def grid(low: float, high: float, count: int) -> tuple[float, ...]:
    return tuple(np.linspace(low, high, count + 1).tolist())


BUMP = Case("exp(-1000*x**2)", gaussian(1000), lambda x: -2000 * x * gaussian(1000)(x), (*grid(-0.64, 0.64, 64),))
WAVES = Case(
    "sin(x)*exp(-x**2/8)",
    lambda x: x.sin() * gaussian(arb(1) / 8)(x),
    lambda x: (x.cos() - x / 4 * x.sin()) * gaussian(arb(1) / 8)(x),
    grid(-48, 48, 32),
)
LAPLACE = Case("exp(-abs(x))", lambda x: (-abs(x)).exp(), lambda x: -x.sgn() * (-abs(x)).exp(), grid(-160, 160, 64))
ODD = Case(
    "x*exp(-abs(x))", lambda x: x * (-abs(x)).exp(), lambda x: (1 - abs(x)) * (-abs(x)).exp(), grid(-170, 170, 68)
)
PARABOLA = Case("where(abs(x)<1, 1-x**2, 0)", lambda x: 1 - x * x, lambda x: -2 * x, (-1.0, 0.0, 1.0))
STEEP = Case(
    "where(x > 7, exp(-50*(x - 7)), 0)",
    lambda x: (-50 * (x - 7)).exp(),
    lambda x: -50 * (-50 * (x - 7)).exp(),
    grid(7, 10, 30),
)


@cache
def nodes_and_weights() -> list[tuple[arb, arb]]:
    with precision(400):
        return [arb.legendre_p_root(_NODES, k, weight=True) for k in range(_NODES)]


def expectation(g: Callable[[Any], Any], case: Case, mean: float, std: float) -> arb:
    """Composite Gauss–Legendre of 40 nodes."""
    total, rule = arb(0), nodes_and_weights()
    for low, high in pairwise(map(arb, case.ends)):
        half, middle = (high - low) / 2, (high + low) / 2
        for node, weight in rule:
            x = middle + half * node
            total += half * weight * g(x) * (-(((x - arb(mean)) / arb(std)) ** 2) / 2).exp()
    return total / (arb(std) * (2 * arb.pi()).sqrt())


@pytest.mark.parametrize(
    ("case", "mean", "std"),
    [
        (BUMP, 1e6, 3e5),
        (BUMP, -3.0, 4e4),
        (BUMP, 102.74832416220387, 3.4086732892594274),
        (WAVES, 3616.0026781390643, 2336.3470017007235),
        (WAVES, -12359320.624265635, 311572.7645156228),
        (WAVES, 0.0, 6221.054527498884),
        (LAPLACE, 1e6, 3e5),
        (LAPLACE, -2e4, 1e4),
        (ODD, 1e6, 3e5),
        (ODD, 5e5, 2e4),
        (PARABOLA, -16920012.95494848, 641414.7056664656),
        (PARABOLA, 23386.64094181189, 8986.16169922373),
        (PARABOLA, 0.3, 5e5),
        (STEEP, 1e5, 2e4),
        (STEEP, 2.0, 900.0),
    ],
    ids=lambda value: value.text if isinstance(value, Case) else f"{value:g}",
)
def test_bumps_far_from_the_mean(case: Case, mean: float, std: float) -> None:
    """To 1e-13 of the root mean squares, and the stated error is one of every moment."""
    found = et.gaussian_moments(et.Activation.from_text(case.text), mean, std)
    stated = float(found.method.split()[-1])
    with precision(400):
        first = expectation(case.value, case, mean, std)
        second = expectation(lambda x: case.value(x) ** 2, case, mean, std)
        slope = expectation(case.slope, case, mean, std)
        steep = expectation(lambda x: case.slope(x) ** 2, case, mean, std)
        wanted = (first, second, second - first * first, slope, steep)
        scales = (second.sqrt(), second, second, steep.sqrt(), steep)
    for name, want, scale in zip(NAMES, map(float, wanted), map(float, scales), strict=True):
        deviation = abs(float(getattr(found, name)) - want)
        assert deviation <= 1e-13 * scale, (name, deviation / scale)
        assert deviation <= 2.0 * stated * abs(want) + 1e-18 * scale, (name, deviation / abs(want), stated)


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        (-0.2091, 0.0369),
        (-2.4319954411141304e-05, 3.447205083451657e-06),
        (777.886, 111.1065),
        (-0.238, 0.0133),
        (5, 1),
    ],
)
def test_variance_of_a_step_at_the_edge(mean: float, std: float) -> None:
    """4 P(X > 0) P(X < 0), of itself: what lies beyond nine standard deviations counts."""
    found = et.gaussian_moments(et.Activation.from_text("sign(x)"), mean, std)
    with mpmath.workdps(40):
        tail = mpmath.ncdf(-abs(mpmath.mpf(mean) / mpmath.mpf(std)))
        assert float(found.variance) == pytest.approx(float(4 * tail * (1 - tail)), rel=2e-13)


@pytest.mark.parametrize(("mean", "std"), [(-247034.2526615916, 0.0022928676999367697), (635721.140605, 43.879941887)])
def test_slopes_of_a_quotient_far_out(mean: float, std: float) -> None:
    """(1 + |x|)^−2, which is a difference in x/(1 + |x|)'s own Taylor series."""
    found = et.gaussian_moments(et.Activation.from_text("x/(1+abs(x))"), mean, std)
    with mpmath.workdps(40):
        distance, spread = 1 + abs(mpmath.mpf(mean)), mpmath.mpf(std)
        share = (spread / distance) ** 2
        slope = (1 + 3 * share) / distance**2
        variance = spread**2 * (1 + 8 * share) / distance**4
    assert float(found.slope_mean) == pytest.approx(float(slope), rel=1e-14)
    assert float(found.variance) == pytest.approx(float(variance), rel=1e-14)


@pytest.mark.parametrize("case", [BUMP, WAVES, LAPLACE], ids=lambda case: case.text)
def test_derivatives_far_from_the_mean(case: Case) -> None:
    """Beside difference quotients of the moments themselves."""
    f = et.Activation.from_text(case.text)
    at = np.array([3000.0, 2000.0])
    tensors = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in at]
    for name in NAMES:
        gradient = torch.autograd.grad(getattr(et.gaussian_moments(f, *tensors), name), tensors)
        for place, derivative in enumerate(gradient):
            step = np.zeros(2)
            step[place] = 0.1
            high, low = (getattr(et.gaussian_moments(f, *(at + sign * step)), name) for sign in (1, -1))
            assert float(derivative) == pytest.approx((high - low) / 0.2, rel=1e-5)
