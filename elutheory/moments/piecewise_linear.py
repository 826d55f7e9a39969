"""M2 for continuous piecewise linear f: one kink (ReLU, leaky and shifted ReLU, |x|), or a ramp between two constants.

Every moment is a sum over the pieces of probability × conditional moment, the variance
Σ p_i V_i + Σ_{i<j} p_i p_j (m_i − m_j)²: positive terms only. The pieces' own moments are those of a truncated normal.
"""

import math
from dataclasses import dataclass
from typing import Any

from elutheory.numerics.arrays import library
from elutheory.numerics.normal_tails import mills_ratio, normal_density, overshoot

Z_LIMIT = 64.0  # beyond, the normal tail is zero in double precision
# A window narrower than this (in standard deviations, and times the distance of the mean) is expanded in its width.
NARROW_WIDTH = 1.5
NARROW_TILT = 2.0
# The mean of an odd ramp: below this the series in the smaller of |z| and the half-width, above it plain sums.
SMALL_ODD = 1.0
_TERMS_NARROW = {4: 20, 8: 42}
_TERMS_ODD = {4: 6, 8: 14}


@dataclass(frozen=True)
class Line:
    """f(x) = intercept + slope x."""

    intercept: float
    slope: float

    def __call__(self, x: Any) -> Any:
        return self.intercept + self.slope * x


@dataclass(frozen=True)
class Kink:
    """Two half-lines that meet at `at`, where f = `value`; `bend` = upper slope − lower slope, correctly rounded."""

    at: float
    value: float
    lower: Line
    upper: Line
    bend: float


@dataclass(frozen=True)
class Ramp:
    """f = lower_value up to `lower`, upper_value from `upper`, linear (`line`) between."""

    lower: float
    upper: float
    lower_value: float
    upper_value: float
    line: Line

    @property
    def middle(self) -> float:
        return 0.5 * (self.lower + self.upper)


@dataclass(frozen=True)
class PieceMoments:
    """Probability, conditional mean and variance of f on one piece, and its slope."""

    probability: Any
    mean: Any
    variance: Any
    slope: float


@dataclass(frozen=True)
class Decomposition:
    """The pieces, the mean of f, and the density of X at each kink."""

    pieces: tuple[PieceMoments, ...]
    mean: Any
    densities: tuple[Any, ...]


def decomposition(f: Line | Kink | Ramp, mean: Any, std: Any) -> Decomposition:
    """All ingredients, for one-dimensional finite `mean` and `std` > 0 of one dtype."""
    if isinstance(f, Line):
        value = f(mean)
        one = 0.0 * mean + 1.0
        return Decomposition((PieceMoments(one, value, f.slope * f.slope * std * std, f.slope),), value, ())
    return _kink(f, mean, std) if isinstance(f, Kink) else _ramp(f, mean, std)


def _kink(f: Kink, mean: Any, std: Any) -> Decomposition:
    xp = library(mean)
    distance = mean - f.at
    z = xp.clip(distance / std, -Z_LIMIT, Z_LIMIT)
    positive = z >= 0
    away = xp.abs(z)
    phi = normal_density(z)
    over = overshoot(away)
    tail = phi * over.mills
    hazard = phi / (1.0 - tail)
    square = std * std
    # from the kink: the side that holds the mean, and the far side (the smaller tail)
    near_shift, near_variance = std * hazard, square * (1.0 - hazard * (hazard + away))
    far_reach, far_variance = std * over.first, square * (over.first * (over.second - over.first))
    upper_mean = xp.where(positive, f.upper(mean) + f.upper.slope * near_shift, f.value + f.upper.slope * far_reach)
    lower_mean = xp.where(positive, f.value - f.lower.slope * far_reach, f.lower(mean) - f.lower.slope * near_shift)
    upper = PieceMoments(
        xp.where(positive, 1.0 - tail, tail),
        upper_mean,
        f.upper.slope * f.upper.slope * xp.where(positive, near_variance, far_variance),
        f.upper.slope,
    )
    lower = PieceMoments(
        xp.where(positive, tail, 1.0 - tail),
        lower_mean,
        f.lower.slope * f.lower.slope * xp.where(positive, far_variance, near_variance),
        f.lower.slope,
    )
    # f is the line at the mean plus a multiple of max(0, distance beyond the kink)
    bend = f.bend * (tail * far_reach)
    value = xp.where(positive, f.upper(mean), f.lower(mean)) + bend
    return Decomposition((lower, upper), value, (phi / std,))


def _ramp(f: Ramp, mean: Any, std: Any) -> Decomposition:
    xp = library(mean)
    width = f.upper - f.lower
    # seen from the window's middle with the mean at or below it: u in [near, near + width] in standard deviations
    flipped = mean > f.middle
    to_near = xp.where(flipped, mean - f.upper, f.lower - mean)
    to_far = xp.where(flipped, mean - f.lower, f.upper - mean)
    near = xp.clip(to_near / std, -Z_LIMIT, Z_LIMIT)
    far = xp.clip(to_far / std, -Z_LIMIT, Z_LIMIT)
    height = xp.clip(width / std, 0.0, 2.0 * Z_LIMIT)
    phi_near, phi_far = normal_density(near), normal_density(far)
    mills_far = mills_ratio(far)
    beyond = phi_far * mills_far
    tail = phi_near * mills_ratio(xp.abs(near))
    before = xp.where(near < 0, tail, 1.0 - tail)

    # the mean inside the window, or the window narrow: moments about the mean
    inside = 1.0 - tail - beyond
    shift = (phi_near - phi_far) / inside
    spread = 1.0 + (near * phi_near - far * phi_far) / inside - shift * shift
    reach = shift - near

    outside = near >= 0
    if outside.any():
        a, b, h, p = near[outside], far[outside], height[outside], phi_near[outside]
        first, second, third = _window_outside(a, b, h)
        inside[outside] = p * first
        reach[outside] = second
        spread[outside] = third
        shift[outside] = a + second
    narrow = (height < NARROW_WIDTH) & (height * xp.abs(near) < NARROW_TILT)
    if narrow.any():
        first, second, third = _window_narrow(near[narrow], height[narrow])
        inside[narrow] = phi_near[narrow] * first
        reach[narrow] = second
        spread[narrow] = third
        shift[narrow] = near[narrow] + second

    slope = f.line.slope
    sign = xp.where(flipped, -1.0 + 0.0 * mean, 1.0 + 0.0 * mean)
    centred = (near < 0) & ~narrow
    near_value = xp.where(flipped, f.upper_value + 0.0 * mean, f.lower_value + 0.0 * mean)
    window_mean = xp.where(
        centred, f.line(mean) + (sign * slope) * (std * shift), near_value + (sign * slope) * (std * reach)
    )
    lower_probability = xp.where(flipped, beyond, before)
    upper_probability = xp.where(flipped, before, beyond)
    pieces = (
        PieceMoments(lower_probability, f.lower_value + 0.0 * mean, 0.0 * mean, 0.0),
        PieceMoments(inside, window_mean, slope * slope * (std * std) * spread, slope),
        PieceMoments(upper_probability, f.upper_value + 0.0 * mean, 0.0 * mean, 0.0),
    )
    total = f.lower_value * lower_probability + f.upper_value * upper_probability + inside * window_mean
    if f.lower_value == -f.upper_value:
        total = xp.where(centred, f.line(mean) + _odd_correction(f, mean, std), total)
        away, half = xp.abs(mean - f.middle) / std, 0.5 * height
        small = (away < SMALL_ODD) | (half < SMALL_ODD)
        if small.any():
            low = xp.where(away < half, away, half)[small]
            high = xp.clip(xp.where(away < half, half, away)[small], 0.0, Z_LIMIT)
            direction = xp.where(mean < f.middle, -1.0 + 0.0 * mean, 1.0 + 0.0 * mean)[small]
            total[small] = (slope * direction) * std[small] * _odd_mean(low, high)
    densities = (xp.where(flipped, phi_far, phi_near) / std, xp.where(flipped, phi_near, phi_far) / std)
    return Decomposition(pieces, total, densities)


def _window_outside(a: Any, b: Any, h: Any) -> tuple[Any, Any, Any]:
    """J_0, J_1/J_0 and the variance, J_n = ∫_0^h u^n e^{−u²/2 − a u} du, a >= 0: two overshoots' difference."""
    at_a, at_b = overshoot(a), overshoot(b)
    weight = library(a).exp(-h * (a + 0.5 * h))
    upper = weight * at_b.mills
    mass = at_a.mills - upper
    first_b = at_b.first
    first = (at_a.mills * at_a.first - upper * (first_b + h)) / mass
    second = (
        at_a.mills * at_a.first * at_a.second - upper * (first_b * at_b.second + 2.0 * h * first_b + h * h)
    ) / mass
    return mass, first, second - first * first


def _window_narrow(a: Any, h: Any) -> tuple[Any, Any, Any]:
    """The same from the power series of e^{−u²/2 − a u}: c_{n+1} = −(a h c_n + h² c_{n−1}) / (n + 1) at u = h."""
    tilt, square = a * h, h * h
    before, term = 0.0, 0.0 * a + 1.0
    zeroth, first, second = term, term / 2.0, term / 3.0
    for n in range(_TERMS_NARROW[a.dtype.itemsize]):
        before, term = term, -(tilt * term + square * before) / (n + 1)
        zeroth, first, second = zeroth + term / (n + 2), first + term / (n + 3), second + term / (n + 4)
    ratio = first / zeroth
    return h * zeroth, h * ratio, square * (second / zeroth - ratio * ratio)


def _odd_mean(low: Any, high: Any) -> Any:
    """½ ∫_{−high}^{high} ∫_{−low}^{low} phi(u + t) du dt, low < 1.

    = low erf(high/√2) − 2 phi(high) Σ_{k>=1} low^{2k+1} He_{2k−1}(high) / (2k+1)!
    """
    phi = normal_density(high)
    total = low * (1.0 - 2.0 * phi * mills_ratio(high))
    small = high < 1.0
    if small.any():
        total[small] = low[small] * _central_probability(high[small])
    square = low * low
    power = phi * low * square / 3.0
    previous, hermite = 1.0, high  # He_0, He_1
    for k in range(1, _TERMS_ODD[low.dtype.itemsize]):
        total = total - power * hermite
        previous = high * hermite - (2 * k - 1) * previous
        previous, hermite = previous, high * previous - 2 * k * hermite
        power = power * square / ((2 * k + 2) * (2 * k + 3))
    return total


def _central_probability(x: Any) -> Any:
    """P(|Z| < x) = 2 phi(x) (x + x³/3 + x⁵/15 + …), x < 1."""
    term = x
    total = x
    for n in range(1, {4: 10, 8: 18}[x.dtype.itemsize]):
        term = term * (x * x / (2 * n + 1))
        total = total + term
    return 2.0 * normal_density(x) * total


def _odd_correction(f: Ramp, mean: Any, std: Any) -> Any:
    """E f − f(mean) for a mean inside the window: ∓ slope · std · R(−|distance|) from each end."""
    xp = library(mean)
    corrections = []
    for end in (f.lower, f.upper):
        over_t = xp.clip(xp.abs((mean - end) / std), 0.0, Z_LIMIT)
        over = overshoot(over_t)
        corrections.append(std * (normal_density(over_t) * over.mills) * over.first)
    return f.line.slope * (corrections[0] - corrections[1])


def variance(d: Decomposition) -> Any:
    """Between the pieces plus within them, every term positive."""
    total: Any = 0.0
    for i, piece in enumerate(d.pieces):
        total = total + piece.probability * piece.variance
        for other in d.pieces[i + 1 :]:
            difference = piece.mean - other.mean
            total = total + piece.probability * other.probability * difference * difference
    return total


def moments(f: Line | Kink | Ramp, mean: Any, std: Any) -> tuple[Any, ...]:
    """mean, second moment, variance, slope mean, slope second moment, mean log slope."""
    d = decomposition(f, mean, std)
    second: Any = 0.0
    slope: Any = 0.0
    slope_second: Any = 0.0
    log_slope: Any = 0.0
    for piece in d.pieces:
        second = second + piece.probability * (piece.mean * piece.mean + piece.variance)
        slope = slope + piece.probability * piece.slope
        slope_second = slope_second + piece.probability * (piece.slope * piece.slope)
        log_slope = log_slope + _weighted_logarithm(piece)
    return d.mean, second, variance(d), slope, slope_second, log_slope


def _weighted_logarithm(piece: PieceMoments) -> Any:
    """−inf for a flat piece of positive probability, nan for a falling one."""
    if piece.slope > 0:
        return math.log(piece.slope) * piece.probability
    if piece.slope < 0:
        return piece.probability * math.nan
    xp = library(piece.probability)
    return xp.where(piece.probability > 0, -math.inf + 0.0 * piece.probability, 0.0 * piece.probability)
