"""Quadrants of a bivariate normal law: Plackett's integral in 40 digits, at every correlation, out to the rim."""

from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from scipy.special import ndtr

from elutheory.numerics import normal_quadrants
from elutheory.numerics.normal_quadrants import Correlation, quadrants

EPS = 2.0**-52


def points(count: int, radii: tuple[float, float], gaps: tuple[float, float]) -> tuple[np.ndarray, ...]:
    """h, k, 1 − |correlation| (log-uniform) and its sign; half of them as near as the correlation makes X and ±Y."""
    rng = np.random.default_rng(count)
    radius, angle = rng.uniform(*radii, count), rng.uniform(0, 2 * np.pi, count)
    h, k = radius * np.cos(angle), radius * np.sin(angle)
    gap = np.exp(rng.uniform(np.log(gaps[0]), np.log(gaps[1]), count))
    sign = rng.choice([-1.0, 1.0], count)
    near = np.arange(count) % 2 == 0
    along = sign * h + 2.0 * np.sqrt(gap) * rng.normal(size=count)
    h, k = np.where(near, h * 0.7, h), np.where(near, 0.7 * along, k)
    return h, k, gap, sign


def exact(h: Any, k: Any, gap: Any, sign: float) -> Any:
    """P(X < h, Y < k): its value where Y = ±X, less the integral over the angle from there."""
    with mpmath.workdps(40):
        h, k, gap = mpmath.mpf(h), mpmath.mpf(k), mpmath.mpf(gap)
        end = mpmath.sqrt(gap / (2 - gap))
        other = sign * k
        distance = abs(h - other)

        def density(v: Any) -> Any:
            exponent = -(h * h + k * k) / 4 - (h + other) ** 2 * v * v / 8
            return mpmath.exp(exponent - (distance / v) ** 2 / 8) / (1 + v * v) if v else mpmath.mpf(distance == 0)

        places = (distance / 20, distance / 5, distance, 3 * distance, end / 4, end / 2)
        missing = mpmath.quad(density, [0, *sorted(x for x in places if 0 < x < end), end]) / mpmath.pi
        if sign > 0:
            return mpmath.ncdf(min(h, k)) - missing
        return max(mpmath.ncdf(h) - mpmath.ncdf(-k), mpmath.mpf(0)) + missing


def evaluate(h: np.ndarray, k: np.ndarray, gap: np.ndarray, sign: np.ndarray) -> normal_quadrants.Quadrants:
    return quadrants(h, k, h - sign * k, Correlation(sign * (1 - gap), np.sqrt(gap * (2 - gap))))


SWITCH = 1.0 - normal_quadrants._SWITCH


@pytest.mark.parametrize(
    ("radii", "gaps"),
    [
        ((0.0, 12.0), (1e-16, 1e-2)),
        ((0.0, 12.0), (1e-2, 1.0)),
        ((0.0, 6.0), (0.9 * SWITCH, 1.1 * SWITCH)),
        ((10.0, 12.0), (0.97 * SWITCH, SWITCH)),
        ((10.0, 12.0), (SWITCH, 1.03 * SWITCH)),
    ],
    ids=str,
)
def test_plackett_in_forty_digits(radii: tuple[float, float], gaps: tuple[float, float]) -> None:
    """All four quadrants, by changing signs; in rounding units of what moves them."""
    h, k, gap, sign = points(16, radii, gaps)
    found = evaluate(h, k, gap, sign)
    for i, (x, y, g, s) in enumerate(zip(h.tolist(), k.tolist(), gap.tolist(), sign.tolist(), strict=True)):
        for name, flip_x, flip_y in (("lower", 1, 1), ("upper", -1, -1), ("right", -1, 1), ("left", 1, -1)):
            if i % 4 != ("lower", "upper", "right", "left").index(name):
                continue
            want = exact(flip_x * x, flip_y * y, g, s * flip_x * flip_y)
            unit = EPS * (3.0 + x * x + y * y)
            got = float(getattr(found, name)[i])
            assert abs(got - want) <= 2.0 * unit * (float(want) + found.size[i]), (name, x, y, g, s)


def test_they_add_up_and_far_out_they_are_not_known() -> None:
    h, k, gap, sign = points(400, (0.0, 11.9), (1e-16, 1.0))
    found = evaluate(h, k, gap, sign)
    np.testing.assert_allclose(found.lower + found.upper + found.right + found.left, 1.0, rtol=1e-14)
    assert np.isfinite(found.size).all()
    assert np.isinf(evaluate(np.array([9.0]), np.array([-9.0]), np.array([0.5]), np.array([1.0])).size).all()


def test_association_keeps_its_digits_at_weak_correlations() -> None:
    """Next to independence Φ₂ − ΦΦ = r φ(h)φ(k) (1 + r h k/2 + …)."""
    h, k, correlation = np.array([0.3, -2.0, 4.0]), np.array([1.0, 3.0, 5.0]), 1e-9
    found = quadrants(h, k, h - k, Correlation(np.full(3, correlation), np.ones(3)))
    densities = np.exp(-0.5 * (h * h + k * k)) / (2 * np.pi)
    np.testing.assert_allclose(found.association, correlation * densities * (1 + 0.5e-9 * h * k), rtol=1e-14)
    h, k, gap, sign = points(200, (0.0, 5.0), (0.2, 0.4))
    found = evaluate(h, k, gap, sign)
    apart = found.association - (found.lower - ndtr(h) * ndtr(k))
    assert (abs(apart) <= 4 * EPS).all()


def test_torch_agrees() -> None:
    h, k, gap, sign = points(40, (0.0, 5.0), (1e-8, 1.0))
    expected = evaluate(h, k, gap, sign)
    arrays = [torch.tensor(array) for array in (h, k, h - sign * k, sign * (1 - gap), np.sqrt(gap * (2 - gap)))]
    found = quadrants(arrays[0], arrays[1], arrays[2], Correlation(arrays[3], arrays[4]))
    np.testing.assert_allclose(found.lower.numpy(), expected.lower, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(found.left.numpy(), expected.left, rtol=1e-13, atol=1e-15)
