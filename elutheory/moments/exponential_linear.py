"""M3, M4, M6 for f(x) = A x (x > 0), B (e^{k x} − 1) (x <= 0): ELU, CELU, SELU (arXiv 1511.07289), no cancellation.

Y = k X has mean m and standard deviation s, z = mean/std, U = the overshoot of −Z beyond z (truncated_normal), so that
Y = −s U given Y < 0. All follows from D1 = E(1 − e^{−sU}), D2 = E(1 − e^{−sU})² and V = D2 − D1², the conditional
variance of e^Y. Var f = P₊P₋ (m₊ − m₋)² + P₊V₊ + P₋V₋ has positive terms only.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy

from elutheory.numerics.arrays import indices, library
from elutheory.numerics.normal_tails import (
    CONTINUED_FRACTION_FROM,
    laplace_differences,
    mills_ratio,
    normal_density,
    overshoot,
)

Z_LIMIT = 64.0  # beyond, the normal tail is zero in double precision
# D1, D2 come from erfcx where the conditional mean of −Y is at least this, else from series and continued fractions:
SMALL_FIRST = 0.5
SMALL_SECOND = 0.25
# V for z below Z_CENTRED and s below S_CENTRED: series of the moments of Z itself, not of U.
Z_CENTRED = -1.0
S_CENTRED = 0.4
_TERMS = {4: 14, 8: 30}
_TERMS_CENTRED = {4: 14, 8: 28}
# Where E f is within this share of the sum of its two pieces, it is integrated node by node: rounding averages out.
NEAR_ZERO = 0.02
NEAR_ZERO_Z = 4.0
NEAR_ZERO_S = 16.0


@dataclass(frozen=True)
class ExponentialLinear:
    """A = upper_slope, B = amplitude, k = rate, lower_slope = B k, bend = A − B k, each correctly rounded."""

    upper_slope: float
    amplitude: float
    rate: float
    lower_slope: float
    bend: float


@dataclass(frozen=True)
class ConditionalMoments:
    """Probability, conditional mean and variance of f on its two pieces, and what else the moments are made of.

    `upper_sum` = E max(X, 0), `lower_sum` = E max(−X, 0); `lower_exponential` = B k E[e^Y; Y < 0],
    `lower_exponential_square` = (B k)² E[e^{2Y}; Y < 0]; `density` = that of X at the kink.
    """

    upper: Any
    lower: Any
    upper_mean: Any
    lower_mean: Any
    upper_variance: Any
    lower_variance: Any
    upper_sum: Any
    lower_sum: Any
    lower_exponential: Any
    lower_exponential_square: Any
    mean: Any
    second_moment: Any
    density: Any


def conditional_moments(f: ExponentialLinear, mean: Any, std: Any) -> ConditionalMoments:
    """All ingredients, for one-dimensional finite `mean` and `std` > 0 of one dtype."""
    xp = library(mean)
    A, B, k = f.upper_slope, f.amplitude, f.rate
    z = xp.clip(mean / std, -Z_LIMIT, Z_LIMIT)
    m, s = k * mean, k * std
    positive = z >= 0
    away = xp.abs(z)
    phi = normal_density(z)
    over = overshoot(away)
    tail = phi * over.mills
    lower = xp.where(positive, tail, 1.0 - tail)
    upper = xp.where(positive, 1.0 - tail, tail)
    tail_sum = tail * over.first * std  # E max(−X, 0) for z >= 0, E max(X, 0) for z < 0
    hazard = phi / (1.0 - tail)

    # the upper piece: X given X > 0
    upper_x = xp.where(positive, mean + std * hazard, std * over.first)
    upper_variance = (
        A * A * std * std * xp.where(positive, 1.0 - hazard * (hazard + away), over.first * (over.second - over.first))
    )
    upper_sum = xp.where(positive, mean + tail_sum, tail_sum)
    lower_sum = xp.where(positive, tail_sum, tail_sum - mean)  # E max(−X, 0)

    # e_n = E[e^{nY}; Y < 0], e_1 scaled by B k and e_2 by its square
    shifted, twice_shifted = z + s, z + 2.0 * s
    mills_1, mills_2 = mills_ratio(xp.abs(shifted)), mills_ratio(xp.abs(twice_shifted))
    g = f.lower_slope
    below_1, below_2 = shifted < 0, twice_shifted < 0
    tail_1, tail_2 = g * phi * mills_1, g * g * phi * mills_2
    whole_1 = g * xp.exp(xp.where(below_1, m + 0.5 * s * s, -math.inf))
    root_2 = g * xp.exp(xp.where(below_2, m + s * s, -math.inf))
    lower_exponential = xp.where(below_1, whole_1 - tail_1, tail_1)
    lower_exponential_square = xp.where(below_2, root_2 * root_2 - tail_2, tail_2)

    # D1, D2, V directly, where that is accurate
    ratio_1 = xp.where(positive, mills_1 / over.mills, lower_exponential / (g * lower))
    ratio_2 = xp.where(positive, mills_2 / over.mills, lower_exponential_square / (g * g * lower))
    first = 1.0 - ratio_1
    second = first - (ratio_1 - ratio_2)
    reach = xp.where(positive, s * over.first, s * hazard - m)  # s E U
    excess = reach - first  # E(sU − 1 + e^{−sU}) >= 0
    variance = ratio_2 - ratio_1 * ratio_1

    near = z < CONTINUED_FRACTION_FROM
    curved = reach < SMALL_FIRST
    small = indices(curved & near)
    if len(small):
        both = _series(m[small], s[small], reach[small])
        small_first = reach[small] - both[0]
        excess[small], first[small] = both[0], small_first
        tiny = reach[small] < SMALL_SECOND
        second[small] = xp.where(tiny, both[1], second[small])
        variance[small] = xp.where(tiny, both[1] - small_first * small_first, variance[small])
    far = indices(curved & ~near & (phi > 0.0))  # with no density left there is nothing to multiply
    if len(far):
        far_first, far_second = laplace_differences(z[far], s[far])
        first[far], second[far] = far_first, far_second
        excess[far] = reach[far] - far_first
        variance[far] = far_second - far_first * far_first
    lower_variance = B * B * variance
    second_lower = B * B * second
    centred = indices((z < Z_CENTRED) & (s < S_CENTRED))
    if len(centred):
        scaled = B * xp.exp(m[centred])
        kept = scaled * scaled * _centred_variance(-z[centred], s[centred], hazard[centred])
        lower_variance[centred] = kept
        second_lower[centred] = B * B * first[centred] * first[centred] + kept

    anchored = (
        xp.where(positive, A * mean, g * mean) + f.bend * tail_sum + B * lower * excess
    )  # f = its tangent at the mean's side + kink + curvature
    mean_of_f = xp.where(curved, anchored, A * upper_sum - B * lower * first)
    crossing = (xp.abs(mean_of_f) < NEAR_ZERO * A * upper_sum) & (away < NEAR_ZERO_Z) & ~curved & (s < NEAR_ZERO_S)
    if crossing.any():
        mean_of_f[crossing] = _mean_near_zero(f, z[crossing], s[crossing], std[crossing])
    upper_second = A * A * upper_x * upper_x + upper_variance
    return ConditionalMoments(
        upper=upper,
        lower=lower,
        upper_mean=A * upper_x,
        lower_mean=-B * first,
        upper_variance=upper_variance,
        lower_variance=lower_variance,
        upper_sum=upper_sum,
        lower_sum=lower_sum,
        lower_exponential=lower_exponential,
        lower_exponential_square=lower_exponential_square,
        mean=mean_of_f,
        second_moment=upper * upper_second + lower * second_lower,
        density=phi / std,
    )


def _mean_near_zero(f: ExponentialLinear, z: Any, s: Any, std: Any) -> Any:
    """∫_0^13 (A std u phi(u − z) + B expm1(−s u) phi(u + z)) du, composite Gauss–Legendre; |z| < 4, s < 16."""
    xp = library(z)
    u, weight = (xp.asarray(values, dtype=z.dtype) for values in _panels())
    if xp.__name__ == "torch":
        u, weight = u.to(z.device), weight.to(z.device)
    z, s, std = z[:, None], s[:, None], std[:, None]
    upper = (f.upper_slope * std) * (u * normal_density(u - z))
    lower = f.amplitude * (xp.expm1(-s * u) * normal_density(u + z))
    return ((upper + lower) * weight).sum(-1)


@lru_cache(maxsize=1)
def _panels() -> tuple[Any, Any]:
    """Twelve Gauss–Legendre nodes on each interval, shorter ones next to the kink."""
    nodes, weights = numpy.polynomial.legendre.leggauss(12)
    ends = numpy.array([0.0, 0.1, 0.25, 0.5, *range(1, 14)])
    half = 0.5 * numpy.diff(ends)[:, None]
    return (ends[:-1, None] + half * (nodes + 1.0)).ravel(), (half * weights).ravel()


def _series(m: Any, s: Any, reach: Any) -> tuple[Any, Any]:
    """E(sU − 1 + e^{−sU}) and E(1 − e^{−sU})² from T_n = s^n E U^n / n!, T_{n+1} = (s² T_{n−1} − m T_n) / (n + 1)."""
    square = s * s
    before, term = 1.0, reach
    excess, second = 0.0 * reach, 0.0 * reach
    sign, power = 1.0, 4.0
    for n in range(1, _TERMS[m.dtype.itemsize]):
        before, term = term, (square * before - m * term) / (n + 1)
        excess = excess + sign * term
        second = second + (sign * (power - 2.0)) * term
        sign, power = -sign, 2.0 * power
    return excess, second


def _centred_variance(tau: Any, s: Any, hazard: Any) -> Any:
    """Var(e^{sZ} | Z < tau) from T_n = s^n E[Z^n | Z < tau] / n!, tau >= 1, s small."""
    square = s * s
    before, term = 1.0, -s * hazard
    first, second = term, 0.0 * s
    weight = s * hazard
    power = 4.0
    for n in range(1, _TERMS_CENTRED[s.dtype.itemsize]):
        weight = weight * (s * tau / n)
        before, term = term, (square * before - weight) / (n + 1)
        first = first + term
        second = second + (power - 2.0) * term
        power = 2.0 * power
    return second - first * first


def variance(c: ConditionalMoments) -> Any:
    """Var f: between the pieces plus within them, every term positive."""
    difference = c.upper_mean - c.lower_mean
    return c.upper * c.lower * difference * difference + (c.upper * c.upper_variance + c.lower * c.lower_variance)


def moments(f: ExponentialLinear, mean: Any, std: Any) -> tuple[Any, ...]:
    """mean, second moment, variance, slope mean, slope second moment, mean log slope."""
    c = conditional_moments(f, mean, std)
    log_slope = math.log(f.upper_slope) * c.upper + math.log(f.lower_slope) * c.lower - f.rate * c.lower_sum
    return (
        c.mean,
        c.second_moment,
        variance(c),
        f.upper_slope * c.upper + c.lower_exponential,
        f.upper_slope * f.upper_slope * c.upper + c.lower_exponential_square,
        log_slope,
    )
