"""M2 for a ramp between two constants: hard tanh, ReLU6.

The ramp's own moments are those of a normal variable in a window, by one of three arrangements without cancellation:
the mean inside the window, outside of it, or the window narrow.
"""

from dataclasses import dataclass
from typing import Any, final

from jaxtyping import Float

from elutheory.moments.closed_forms.form import SMALLEST_STD, Bend
from elutheory.moments.closed_forms.piecewise_linear import (
    Z_LIMIT,
    Decomposition,
    PieceMoments,
    PiecewiseLinear,
    StraightLine,
)
from elutheory.numerics.arrays import Array, library
from elutheory.numerics.normal_tails import mills_ratio, normal_density, normal_distribution, overshoot

# The switches were moved on purpose; test_both_sides_of_every_switch_ramp (tests/moments/test_moments.py) has points on
# both sides of each, and notices every move called bad here.

# A window narrower than NARROW_WIDTH standard deviations, with width × distance of the mean below NARROW_TILT, is
# expanded in its width, by _TERMS_NARROW terms. NARROW_WIDTH is good from 0.3 to 2: at 3 the series has not converged
# (5e-9), at 0.1 the moments about the mean cancel. NARROW_TILT is good from 1 to 4: 6e-13 at 8, 2e-12 at 0.1. Half the
# terms leave 1e-8.
NARROW_WIDTH = 1.5
NARROW_TILT = 2.0
_TERMS_NARROW = {4: 20, 8: 42}
# The mean of an odd ramp: below this the series in the smaller of |z| and the half-width, above it plain sums. Good
# from 0.25 to 1.4: at 2 the series is off by 6e-11, without it the sums by 1e-10 where E f is all but 0. Half the
# terms leave 1e-8.
SMALL_ODD = 1.0
_TERMS_ODD = {4: 6, 8: 14}
# The ramp's probability is expanded in windows narrower than this, where the difference of two tails would cancel.
NARROW_SLOPE = 0.4
_TERMS_SLOPE = 14


@final
@dataclass(frozen=True)
class Ramp(PiecewiseLinear):
    """f = lower.value up to the bend `lower`, upper.value from the bend `upper`, linear (`line`) between."""

    lower: Bend
    upper: Bend
    line: StraightLine

    @property
    def bends(self) -> tuple[Bend, ...]:
        """The two ends of the ramp."""
        return self.lower, self.upper

    @property
    def middle(self) -> float:
        """Halfway between the bends."""
        return 0.5 * (self.lower.at + self.upper.at)

    def reflected(self) -> "Ramp":
        """x ↦ f(−x)."""
        return Ramp(self.upper.reflected(), self.lower.reflected(), self.line.reflected())

    def value(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The ramp between its two constants."""
        xp = library(x)
        rising = xp.where(x > self.lower.at, self.line(x), self.lower.value)
        return xp.where(x > self.upper.at, self.upper.value, rising)

    def slope(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The ramp's slope strictly between the bends, 0 elsewhere."""
        inside = (x > self.lower.at) & (x < self.upper.at)
        return library(x).where(inside, self.line.slope + 0.0 * x, 0.0 * x)

    def conditional_slope(
        self, mean: Float[Array, "pairs panels nodes"], std: Float[Array, "pairs 1 1"]
    ) -> Float[Array, "pairs panels nodes"]:
        """The ramp's slope times its probability, a difference of two tails on the side where both are small."""
        xp = library(mean)
        spread = xp.clip(std, SMALLEST_STD, None)
        low, high = (mean - self.upper.at) / spread, (mean - self.lower.at) / spread
        flipped = low > 0
        near, far = xp.where(flipped, -low, high), xp.where(flipped, -high, low)
        probability = normal_distribution(near) - normal_distribution(far)
        width = (self.upper.at - self.lower.at) / spread
        if bool((width < NARROW_SLOPE).any()):
            middle = (mean - self.middle) / spread
            probability = xp.where(width < NARROW_SLOPE, _narrow_probability(middle, width), probability)
        return self.line.slope * probability

    def decomposition(self, mean: Float[Array, " points"], std: Float[Array, " points"]) -> Decomposition:
        """The ramp between the bends, by one of three arrangements, and a constant on either side."""
        xp, f = library(mean), self
        width = f.upper.at - f.lower.at
        # seen from the window's middle with the mean at or below it: u in [near, near + width] in standard deviations
        flipped = mean > f.middle
        to_near = xp.where(flipped, mean - f.upper.at, f.lower.at - mean)
        to_far = xp.where(flipped, mean - f.lower.at, f.upper.at - mean)
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
        # the spread is over the square of this: in a narrow window's width it never underflows
        unit = slope * xp.where(narrow, width + 0.0 * std, std)
        sign = xp.where(flipped, -1.0 + 0.0 * mean, 1.0 + 0.0 * mean)
        centred = (near < 0) & ~narrow
        near_value = xp.where(flipped, f.upper.value + 0.0 * mean, f.lower.value + 0.0 * mean)
        window_mean = xp.where(
            centred, f.line(mean) + (sign * slope) * (std * shift), near_value + (sign * slope) * (std * reach)
        )
        # from the near end, where X is or which it is closest to, towards the far one
        climb = sign * slope
        window_offset = climb * xp.where(centred, std * shift - to_near, std * reach)
        far_offset = climb * (width + 0.0 * mean)
        none = 0.0 * mean
        lower_probability = xp.where(flipped, beyond, before)
        upper_probability = xp.where(flipped, before, beyond)
        pieces = (
            PieceMoments(lower_probability, f.lower.value + none, xp.where(flipped, far_offset, none), none, 0.0),
            PieceMoments(inside, window_mean, window_offset, unit * (unit * spread), slope),
            PieceMoments(upper_probability, f.upper.value + none, xp.where(flipped, none, far_offset), none, 0.0),
        )
        total = f.lower.value * lower_probability + f.upper.value * upper_probability + inside * window_mean
        if f.lower.value == -f.upper.value:
            total = xp.where(centred, f.line(mean) + _odd_correction(f, mean, std), total)
            away, half = xp.abs(mean - f.middle) / std, 0.5 * height
            small = (away < SMALL_ODD) | (half < SMALL_ODD)
            if small.any():
                low = xp.where(away < half, away, half)[small]
                high = xp.clip(xp.where(away < half, half, away)[small], 0.0, Z_LIMIT)
                direction = xp.where(mean < f.middle, -1.0 + 0.0 * mean, 1.0 + 0.0 * mean)[small]
                total[small] = (slope * direction) * std[small] * _odd_mean(low, high)
        densities = (xp.where(flipped, phi_far, phi_near) / std, xp.where(flipped, phi_near, phi_far) / std)
        return Decomposition(pieces, total, near_value, densities)


def _narrow_probability(middle: Any, width: Any) -> Any:
    """P(|Z − middle| < width/2) = phi(middle) width Σ He_2n(middle) (width/2)^2n / (2n + 1)!."""
    half = 0.5 * width
    step = middle * half
    square = half * half
    # T_n = He_n(middle) (width/2)^n / n!, each from the two before
    before, term = 1.0, step
    total = 1.0 + 0.0 * middle
    for n in range(2, 2 * _TERMS_SLOPE, 2):
        even = (step * term - square * before) / n
        before, term = even, (step * even - square * term) / (n + 1)
        total = total + even / (n + 1)
    return normal_density(middle) * width * total


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
    """The same, the variance over h², from the power series of e^{−u²/2 − a u} at u = h.

    c_{n+1} = −(a h c_n + h² c_{n−1}) / (n + 1).
    """
    tilt, square = a * h, h * h
    before, term = 0.0, 0.0 * a + 1.0
    zeroth, first, second = term, term / 2.0, term / 3.0
    for n in range(_TERMS_NARROW[a.dtype.itemsize]):
        before, term = term, -(tilt * term + square * before) / (n + 1)
        zeroth, first, second = zeroth + term / (n + 2), first + term / (n + 3), second + term / (n + 4)
    ratio = first / zeroth
    return h * zeroth, h * ratio, second / zeroth - ratio * ratio


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
    for end in (f.lower.at, f.upper.at):
        over_t = xp.clip(xp.abs((mean - end) / std), 0.0, Z_LIMIT)
        over = overshoot(over_t)
        corrections.append(std * (normal_density(over_t) * over.mills) * over.first)
    return f.line.slope * (corrections[0] - corrections[1])
