"""Moments of f(x) = (d₀ + d₁y) Phi(y) + e₀ + e₁y, y = a x + b (a > 0): erf, the normal distribution function, GELU.

f'' is π(y) phi(y), π = 2d₁ − d₀y − d₁y², so that E f''(U)f''(V) is elementary for every Gaussian pair (M1), and Price's
theorem (K3), twice, gives the variance and E f'² as sums of positive terms, with U, V of Y's law and covariance t s²:

Var f = s² (E f')² + s⁴ ∫₀¹ (1 − t) E f''(U)f''(V) dt,   E f'² = (E f')² + s² ∫₀¹ E f''(U)f''(V) dt.

That is Owen's T by its defining integral, its companions beside it. The variable of integration is v = ln(x/x₁), where
x² = (1 + s² − t s²)/(1 + s² + t s²) is Owen's variable, and x₁ = 1/√(1 + 2s²) its value at t = 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy
from jaxtyping import Float

from elutheory.moments.closed_forms.form import ClosedForm
from elutheory.numerics.arrays import Array, as_array_like, indices, library
from elutheory.numerics.normal_tails import DENSITY_AT_ZERO, SQRT_HALF, erf, normal_density, overshoot
from elutheory.numerics.quadrature import composite_rule

# Gauss–Legendre nodes on a panel of v, and the length of a panel: the nearest singularity, x² = −1, is π/2 away.
# tests/moments/test_smooth_forms.py has standard deviations next to every change of their number; 10 nodes fail there.
_NODES = 14
_PANEL = 0.85
_PANELS = (1, 2, 3, 5, 9, 17, 45, 407)
# Where e^{−y²/p} has fallen by e^−_FALL the integrand is over, and it may fall by e^−_FALL_PER_PANEL on a panel: 14
# nodes leave 2e-16 of e^{−12 u}, 7e-13 of e^{−16 u}.
_FALL = 42.0
_FALL_PER_PANEL = 11.0
# From here on, far short of overflow, the integrals are powers of the standard deviation of y.
_LARGEST_STD = 1e150
# E[Y Phi(Y)] at mean −t τ: by its two terms up to this t; above, where they cancel, by that of the overshoot. Good from
# 0.3 to 6.
_FROM_OVERSHOOT = 1.0
# Standard deviations from 0, beyond which phi is 0 in double precision.
_FARTHEST = 64.0
_SMALLEST = 1e-300
_AT_ONCE = 1 << 16  # numbers an array

Numbers = Float[Array, " points"]


@final
@dataclass(frozen=True)
class ErrorFunction(ClosedForm):
    """`scale` = a, `offset` = b; `distribution` = (d₀, d₁), `line` = (e₀, e₁)."""

    scale: float
    offset: float
    distribution: tuple[float, float]
    line: tuple[float, float]

    def moments(self, mean: Numbers, std: Numbers) -> tuple[Numbers, ...]:
        """The six moments; E ln f' where f is a multiple of Phi(y) alone, else nan."""
        dtype = mean.dtype
        y, s = self._of_argument(mean, std)
        expectation, slope = self._means(y, s)
        first, second = self._integrals(y, s)
        variance = (s * slope) ** 2 + second
        a, log_slope = self.scale, y * math.nan
        if self._is_distribution:
            log_slope = math.log(a * DENSITY_AT_ZERO * self.distribution[0]) - 0.5 * (y * y + s * s)
        slope_square = a * a * (slope * slope + first)
        found = (expectation, variance + expectation**2, variance, a * slope, slope_square, log_slope)
        return tuple(_as(value, dtype) for value in found)

    def derivative(self, quantity: str, order: int, mean: Numbers, std: Numbers) -> Numbers:
        """By Leibniz' rule from the derivatives of E f, and from those of E f''(U)f''(V) under the integral."""
        dtype, a = mean.dtype, self.scale
        y, s = self._of_argument(mean, std)
        if quantity == "log_slope_mean":
            result = (-y, -1.0 + 0.0 * y, 0.0 * y, 0.0 * y)[order - 1] if self._is_distribution else y * math.nan
            return _as(a**order * result, dtype)
        F = self.derivatives_of_mean(y, s, order + 1)
        if quantity == "mean":
            return _as(a**order * F[order], dtype)
        if quantity == "slope_mean":
            return _as(a ** (order + 1) * F[order + 1], dtype)
        first, second = self._integrals(y, s, order)
        squares = _leibniz(F[1:], order)
        if quantity == "slope_second_moment":
            return _as(a ** (order + 2) * (squares + first), dtype)
        variance = s * s * squares + second
        if quantity == "second_moment":
            variance = variance + _leibniz(F, order)
        return _as(a**order * variance, dtype)

    @property
    def _is_distribution(self) -> bool:
        """Whether f is a positive multiple of Phi(y) and a constant, ln f' hence a parabola."""
        return self.distribution[1] == self.line[1] == 0.0 and self.distribution[0] > 0.0

    def _of_argument(self, mean: Numbers, std: Numbers) -> tuple[Numbers, Numbers]:
        """Mean and standard deviation of y, in float64."""
        double = library(mean).float64
        mean, std = (_as(value, double) for value in (mean, std))
        return self.scale * mean + self.offset, self.scale * std

    def _means(self, y: Numbers, s: Numbers) -> tuple[Numbers, Numbers]:
        """E f and the mean of its derivative by y; all from the side on which Phi is small."""
        xp = library(y)
        (d0, d1), (e0, e1) = self.distribution, self.line
        upper = y > 0
        sign = xp.where(upper, -1.0 + 0.0 * y, 1.0 + 0.0 * y)
        # Phi(y) = 1 − Phi(−y)
        constant, slope = (
            xp.where(upper, high + 0.0 * y, low + 0.0 * y) for high, low in ((d0 + e0, e0), (-d1 - e1, e1))
        )
        d0 = d0 * sign
        root = xp.hypot(s, xp.ones_like(s))
        t = xp.clip(abs(y) / root, None, _FARTHEST)
        over = overshoot(t)
        density = normal_density(t)
        tail = density * over.mills
        middle = 0.5 * erf(SQRT_HALF * t)
        inverse = 1.0 / root
        spread = s * inverse
        # d₀ Phi + e₀ and d₁ Phi + e₁, where they are odd in y without a difference
        height = -d0 * middle if e0 == -0.5 * self.distribution[0] else constant + d0 * tail
        rise = -d1 * middle if e1 == -0.5 * d1 else slope + d1 * tail
        near = -abs(y) * rise + d1 * (s * spread) * density
        if e1 != -0.5 * d1:
            far = -abs(y) * slope + d1 * (root * density) * (over.mills * over.first - inverse * inverse)
            near = xp.where(t < _FROM_OVERSHOOT, near, far)
        by_y = rise + density * inverse * (d0 - d1 * (t * inverse))
        return height + near, sign * by_y

    def _squared_curvature(self, c: Any, v: Any, p: Any) -> list[Any]:
        """E π(U)π(V) of the tilted pair as a polynomial in y, from its power 0 on: tilted covariance c, variance v."""
        d0, d1 = self.distribution
        level, tilt, bend = d1 * (2.0 - v), d0 / p, d1 / (p * p)
        turn = 2.0 * d1 / p
        return [
            level * level + c * (d0 * d0 + 2.0 * c * d1 * d1),
            -2.0 * level * tilt + 2.0 * c * d0 * turn,
            tilt * tilt - 2.0 * level * bend + c * turn * turn,
            2.0 * tilt * bend,
            bend * bend,
        ]

    def _integrals(self, y: Numbers, s: Numbers, order: int = 0) -> tuple[Numbers, Numbers]:
        """s² ∫₀¹ K dt and s⁴ ∫₀¹ (1 − t) K dt, K the derivative by y of E f''(U)f''(V), of the given order."""
        xp = library(y)
        first, second = xp.zeros_like(y), xp.zeros_like(y)
        bounded = xp.clip(s, None, _LARGEST_STD)
        limit = _FARTHEST * xp.hypot(bounded, xp.ones_like(s))
        y = xp.clip(y * (bounded / xp.clip(s, _LARGEST_STD, None)) if (s > _LARGEST_STD).any() else y, -limit, limit)
        square = 1.0 + 2.0 * bounded * bounded
        steepness = y * (y / (square + 1.0)) / square  # of −y²/p in (x/x₁)²
        whole = 0.5 * xp.log1p(2.0 * bounded * bounded)
        ends = 0.5 * xp.log1p(_FALL / xp.clip(steepness, _SMALLEST, None))
        length = xp.where(whole < ends, whole, ends)
        needed = xp.maximum(length / _PANEL, steepness * xp.expm1(2.0 * length) / _FALL_PER_PANEL)
        for fewer, panels in zip((-1.0, *_PANELS), _PANELS, strict=False):
            members = indices((needed > fewer) & (needed <= panels))
            step = max(1, _AT_ONCE // (panels * _NODES))
            for start in range(0, len(members), step):
                chunk = members[start : start + step]
                first[chunk], second[chunk] = self._sums(y[chunk], bounded[chunk], length[chunk], panels, order)
        further = s / bounded
        return (first, second * further**2) if self.distribution[1] else (first / further, second)

    def _sums(self, y: Numbers, s: Numbers, length: Numbers, panels: int, order: int) -> tuple[Numbers, Numbers]:
        xp = library(y)
        nodes, weights = (as_array_like(numbers, y) for numbers in _rule(panels))
        y, length = y[:, None], length[:, None]
        beyond = xp.expm1(2.0 * length * nodes)  # (x/x₁)² − 1
        square = (1.0 + beyond) / (1.0 + 2.0 * s * s)[:, None]
        rest = beyond / (1.0 + square)  # (1 − t) s²
        q = 1.0 + rest
        p = q / square  # 1 + s² ± t s²
        coefficients = self._squared_curvature(0.5 * (1.0 - square) / q, 1.0 - 0.5 * (1.0 + square) / q, p)
        for _ in range(order):
            coefficients = _differentiated(coefficients, 2.0 / p)
        curvature = coefficients[-1]
        for coefficient in coefficients[-2::-1]:
            curvature = curvature * y + coefficient
        weight = (length / math.pi) * weights * (square**0.5 / (1.0 + square)) * xp.exp(-y * (y / p))
        terms = weight * curvature
        return terms.sum(-1), (terms * rest).sum(-1)

    def derivatives_of_mean(self, y: Numbers, s: Numbers, highest: int) -> list[Numbers]:
        """E f and its derivatives by y: from the second on f^(n) = π_n phi, and phi tilts y (M1)."""
        xp = library(y)
        (d0, d1), root = self.distribution, xp.hypot(s, xp.ones_like(s))
        h = xp.clip(y / root, -_FARTHEST, _FARTHEST)
        weight, mean, variance = normal_density(h) / root, h / root, (s / root) ** 2
        powers: list[Any] = [1.0, mean]
        polynomial = [2.0 * d1, -d0, -d1]
        found = list(self._means(y, s))
        for _ in range(2, highest + 1):
            while len(powers) < len(polynomial):
                powers.append(mean * powers[-1] + (len(powers) - 1) * variance * powers[-2])
            found.append(weight * sum(number * power for number, power in zip(polynomial, powers, strict=False)))
            polynomial = _differentiated(polynomial, 1.0)
        return found


def _differentiated(polynomial: Sequence[Any], rate: Any) -> list[Any]:
    """The polynomial q' − rate y q, coefficients from power 0 on: the derivative of q(y) e^{−rate y²/2}."""
    zero = 0.0 * polynomial[0]
    lowered = [*(n * coefficient for n, coefficient in enumerate(polynomial) if n), zero, zero]
    return [low - rate * high for low, high in zip(lowered, [zero, *polynomial], strict=True)]


def _leibniz(factors: Sequence[Any], order: int) -> Any:
    """The derivative of a square, from those of what is squared."""
    return sum(math.comb(order, n) * factors[n] * factors[order - n] for n in range(order + 1))


@lru_cache(maxsize=16)
def _rule(panels: int) -> tuple[Any, Any]:
    return composite_rule(numpy.linspace(0.0, 1.0, panels + 1), _NODES)


def _as(values: Any, dtype: Any) -> Any:
    return values.astype(dtype, copy=False) if isinstance(values, numpy.ndarray) else values.to(dtype)
