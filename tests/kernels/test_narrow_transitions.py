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
from elutheory.kernels import dual_kernel

BUMP = "exp(-1e6*(x - 300)**2)"
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
