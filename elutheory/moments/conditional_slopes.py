"""E f'(m + τZ) and E f''(m + τZ), the inner integrals of K1–K3: closed forms of positive terms, else quadrature.

ELU (M1, M3): A Phi(z) + B k e^{y + t²/2} Phi(−z − t) with z = m/τ, y = k m, t = k τ; the second term is written
phi(z) times Mills' ratio at z + t where that is positive, so that nothing overflows.
"""

from typing import Any

from elutheory.moments.exponential_linear import ExponentialLinear
from elutheory.moments.piecewise_linear import Kink, Line, Ramp
from elutheory.numerics.arrays import library
from elutheory.numerics.normal_tails import SQRT_HALF, erfcx, normal_density, normal_distribution

_SMALLEST = 1e-300
# Up to this t, e^{y + t²/2} Phi(−z − t) loses no digit as it stands: Phi(z) dominates where it is small.
_SMALL_TILT = 2.0
_LARGEST_EXPONENT = 700.0


def bends(form: Any) -> tuple[tuple[float, float], ...]:
    """Where f' jumps, and by how much."""
    if isinstance(form, ExponentialLinear):
        return ((0.0, form.bend),)
    if isinstance(form, Kink):
        return ((form.at, form.bend),)
    return ((form.lower, form.line.slope), (form.upper, -form.line.slope)) if isinstance(form, Ramp) else ()


def rate(form: Any) -> float:
    """The k of e^{k x}, 0 where there is none."""
    return form.rate if isinstance(form, ExponentialLinear) else 0.0


def function(form: Any, x: Any) -> Any:
    """f(x)."""
    xp = library(x)
    if isinstance(form, ExponentialLinear):
        return form.amplitude * xp.expm1(xp.clip(form.rate * x, None, 0.0)) + form.upper_slope * xp.clip(x, 0.0, None)
    if isinstance(form, Line):
        return form(x)
    if isinstance(form, Kink):
        return xp.where(x > form.at, form.upper(x), form.lower(x))
    return xp.where(x > form.upper, form.upper_value, xp.where(x > form.lower, form.line(x), form.lower_value))


def slope(form: Any, x: Any) -> Any:
    """f'(x); anything between its two sides at a kink."""
    xp = library(x)
    if isinstance(form, ExponentialLinear):
        return xp.where(x > 0, form.upper_slope, form.lower_slope * xp.exp(xp.clip(form.rate * x, None, 0.0)))
    if isinstance(form, Line):
        return form.slope + 0.0 * x
    if isinstance(form, Kink):
        return xp.where(x > form.at, form.upper.slope + 0.0 * x, form.lower.slope + 0.0 * x)
    return xp.where((x > form.lower) & (x < form.upper), form.line.slope + 0.0 * x, 0.0 * x)


def conditional_slope(form: Any, mean: Any, std: Any) -> Any:
    """E f'(mean + std Z), std > 0."""
    xp = library(mean)
    spread = xp.clip(std, _SMALLEST, None)
    if isinstance(form, Line):
        return form.slope + 0.0 * mean
    if isinstance(form, ExponentialLinear):
        z = mean / spread
        return form.upper_slope * normal_distribution(z) + _lower_slope(form, mean, spread, z)
    if isinstance(form, Kink):
        z = (mean - form.at) / spread
        if not form.lower.slope:
            return form.upper.slope * normal_distribution(z)
        if not form.upper.slope:
            return form.lower.slope * normal_distribution(-z)
        return form.upper.slope * normal_distribution(z) + form.lower.slope * normal_distribution(-z)
    low, high = (mean - form.upper) / spread, (mean - form.lower) / spread
    flipped = low > 0
    near, far = xp.where(flipped, -low, high), xp.where(flipped, -high, low)
    return form.line.slope * (normal_distribution(near) - normal_distribution(far))


def conditional_curvature(form: Any, mean: Any, std: Any) -> Any:
    """E f''(mean + std Z), std > 0, point masses included."""
    spread = library(mean).clip(std, _SMALLEST, None)
    total = 0.0 * mean
    for at, bend in bends(form):
        if bend:
            total = total + bend * (normal_density((mean - at) / spread) / spread)
    if isinstance(form, ExponentialLinear):
        total = total + form.rate * _lower_slope(form, mean, spread, mean / spread)
    return total


def _lower_slope(f: ExponentialLinear, mean: Any, std: Any, z: Any) -> Any:
    """B k E[e^{k X}; X < 0]."""
    xp = library(mean)
    t = f.rate * std
    shifted = z + t
    if bool((t <= _SMALL_TILT).all()):
        exponent = f.rate * mean + 0.5 * t * t
        if bool((exponent[:, -1, -1] > _LARGEST_EXPONENT).any()):  # the last is the largest; the probability is 0 there
            exponent = xp.clip(exponent, None, _LARGEST_EXPONENT)
        return (f.lower_slope * xp.exp(exponent)) * normal_distribution(-shifted)
    below = shifted < 0
    tail = 0.5 * xp.exp(-0.5 * z * z) * erfcx(SQRT_HALF * xp.abs(shifted))
    whole = xp.exp(xp.where(below, f.rate * mean + 0.5 * t * t, xp.zeros_like(shifted) - float("inf")))
    return f.lower_slope * xp.where(below, whole - tail, tail)
