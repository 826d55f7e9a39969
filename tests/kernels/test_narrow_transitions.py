"""Pairs of functions that change over lengths far below the standard deviations, at places where no panel ends itself.

References: a bump of width 1e-3 makes an expectation one over a narrow Gaussian (M1), of the conditional mean of what
is added to it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

import elutheory as et
from elutheory.kernels import dual_covariance, dual_kernel, dual_kernel_derivative

BUMP = "exp(-1e6*(x - 300)**2)"
PARABOLA = "where(abs(x)<1, 1-x**2, 0)"
FAR = (  # variances, covariance, means
    (103546220496.98982, 9.618824312492911e-10, -9.885723370820772, 1599880.4377912956, 7.669253425857913e-05),
    (958290755356.2996, 8.706422732253917e-10, -28.88474409881515, -410112.09336357994, 6.034134959340783e-06),
    (4812356453.754919, 62181355155.60483, 17298521485.46572, -291710.3083701189, -263826.3102554552),
    (1e12, 9e11, 0.5e12, 1e6, -3e5),
    (1e8, 9e8, -0.5e8, 2e4, -3e3),
)
DECAY, PLACE, STD, CORRELATION = 2e6, 300.0, 1e3, 0.5


def folded(mean: Any, std: float) -> Any:
    """E |N(mean, std²)|."""
    z = mean / std
    return std * np.sqrt(2.0 / np.pi) * np.exp(-0.5 * z * z) + mean * (1.0 - 2.0 * ndtr(-z))


def tanh_mean(mean: Any, std: float) -> Any:
    return et.gaussian_moments("tanh", mean, np.full_like(mean, std)).mean


@pytest.mark.parametrize(
    ("text", "conditional", "without"),
    [
        ("abs(x)", folded, 2.0 / np.pi * STD**2 * (np.sqrt(0.75) + 0.5 * np.arcsin(0.5))),
        ("tanh(x)", tanh_mean, float(dual_kernel("tanh", STD**2, STD**2, CORRELATION * STD**2).value)),
    ],
    ids=["kinked", "analytic"],
)
def test_a_bump_far_out_is_seen(text: str, conditional: Callable[[Any, float], Any], without: float) -> None:
    variance = STD**2
    pair = variance, variance, CORRELATION * variance
    one = 1.0 + DECAY * variance
    weight = np.exp(-0.5 * DECAY * PLACE**2 / one) / np.sqrt(one)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    v = PLACE * (1.0 - 1.0 / one) + np.sqrt(variance / one) * nodes
    mixed = weight * (weights @ conditional(CORRELATION * v, STD * np.sqrt(1.0 - CORRELATION**2))) / weights.sum()
    bumps = float(dual_kernel(et.Activation.from_text(BUMP), *pair).value)
    expected = without + 2.0 * mixed + bumps
    found = float(dual_kernel(et.Activation.from_text(f"{text} + {BUMP}"), *pair).value)
    assert abs(mixed) > 1e-10 * without
    assert found == pytest.approx(expected, rel=2e-13)


@pytest.mark.parametrize("rate", [30, 1000, 1e5])
def test_exponentials_beside_a_kink(rate: float) -> None:
    """E e^{−k|U| − k|V|} is the density of (U, V) at 0 times (2/k)², but for its curvature."""
    found = float(dual_kernel(et.Activation.from_text(f"exp(-{rate}*abs(x))"), 1.0, 1.0, 0.5).value)
    curvature = (2.0 / 0.75) / rate**2  # E u² = 2/k² under e^{−k|u|}; ½ (u² + v²)/(1 − ρ²)
    expected = (2.0 / rate) ** 2 / (2.0 * np.pi * np.sqrt(0.75)) * (1.0 - curvature)
    assert found == pytest.approx(expected, rel=30.0 / rate**4 + 1e-12)


@pytest.mark.parametrize(
    ("text", "quantity", "numbers", "expected", "allowed"),
    [
        # composite rules in long double, nodes measured from the kinks: test_other_random_pairs.py has their like
        ("x/(1+abs(x))", dual_covariance, FAR[0], -1.0953849928527608e-10, 1e-13),
        ("x/(1+abs(x))", dual_covariance, FAR[1], -2.1564085236686086e-05, 1e-13),
        ("x/(1+abs(x))", dual_kernel_derivative, FAR[2], 3.836165359031992e-17, 1e-13),
        pytest.param(PARABOLA, dual_kernel, FAR[3], 1.3010295820795217e-13, 1e-13, marks=pytest.mark.exhaustive),
        pytest.param(PARABOLA, dual_covariance, FAR[4], -1.1271495980291399e-12, 1e-9, marks=pytest.mark.exhaustive),
    ],
)
def test_transitions_far_from_the_means(
    text: str, quantity: Callable[..., Any], numbers: tuple[float, ...], expected: float, allowed: float
) -> None:
    """Relative to themselves; mean + std x is rounded like the mean, which moves nodes by much of a transition."""
    found = quantity(et.Activation.from_text(text), *numbers)
    assert float(found.value) == pytest.approx(expected, rel=allowed)
    u, v, c, m, n = numbers
    assert float(quantity(et.Activation.from_text(text), v, u, c, n, m).value) == pytest.approx(expected, rel=allowed)


def test_bumps_that_never_meet() -> None:
    """Of a root mean square that panels about the other variable's transitions do not see."""
    found = dual_kernel(et.Activation.from_text("x*exp(-abs(x))"), 1e12, 9e11, 0.5e12, 1e6, -3e5)
    assert abs(float(found.value) + 1.4272819966198184e-24) < 1e-13 * 1e-7
    tiny = dual_kernel_derivative(et.Activation.from_text("x*exp(-abs(x))"), 1e12, 9e11, 0.5e12, 1e6, -3e5)
    assert abs(float(tiny.value) + 3.4184288343769645e-29) < 1e-13 * 1e-7
