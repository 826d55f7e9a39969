"""The four quadrants of a standard bivariate normal distribution: P(X < h, Y < k) and its like, at every correlation.

With correlation r = sin α and v = tan(θ/2), Plackett's integral over the angle is free of sines,

P(X < h, Y < k) − Φ(h)Φ(k) = (1/π) ∫_0^{tan(α/2)} exp(−(h² + k² − 2hk sin θ)/(2 cos² θ)) dv/(1 + v²),

for small |r| by Gauss–Legendre. From the other end, where X = ±Y, with g = h ∓ k and v from 0 to v₀ = sine/(1 + |r|),

J = (1/π) e^{−(h² + k²)/4} ∫_0^{v₀} e^{−g²/(8v²)} e^{−(h ± k)² v²/8} dv/(1 + v²)

is what P(X < h, Y < k) lacks of its value at r = ±1: a power series in v², term by term in closed form.
"""

import math
from dataclasses import dataclass

from jaxtyping import Float

from elutheory.numerics.arrays import Array, as_array_like, indices, library
from elutheory.numerics.normal_tails import normal_distribution
from elutheory.numerics.quadrature import gauss_legendre

Numbers = Float[Array, " pairs"]

# |correlation| up to which Plackett's integral is taken from 0, and the numbers of nodes and of terms that leave 1e-16
# there for (h, k) up to so far from (0, 0); tests/numerics/test_normal_quadrants.py has both sides and that rim, where
# 16 nodes, or 26 terms, fail.
_SWITCH = 0.7
_NODES = 20
_TERMS = 36
_FARTHEST = 12.0
_SQRT_TWO_PI = math.sqrt(2.0 * math.pi)


@dataclass(frozen=True)
class Quadrants:
    """P(X < h, Y < k) is `lower`, P(X > h, Y > k) `upper`; P(X > h, Y < k) `right`, P(X < h, Y > k) `left`.

    `association`: P(X < h, Y < k) − Φ(h)Φ(k), to rounding of `association_size`.
    `size`: to rounding of it, of themselves, and of h and k each of them is known; inf where they are not.
    """

    lower: Numbers
    upper: Numbers
    right: Numbers
    left: Numbers
    size: Numbers
    association: Numbers
    association_size: Numbers


@dataclass(frozen=True)
class Correlation:
    """A correlation as cosine and sine > 0 of an angle; `sign` is its sign (1 at 0), `gap` 1 − |cosine|."""

    cosine: Numbers
    sine: Numbers

    @property
    def sign(self) -> Numbers:
        """−1 or 1."""
        xp = library(self.cosine)
        return xp.where(self.cosine < 0, xp.zeros_like(self.cosine) - 1.0, xp.zeros_like(self.cosine) + 1.0)

    @property
    def gap(self) -> Numbers:
        """1 − |cosine|."""
        return self.sine * (self.sine / (1.0 + abs(self.cosine)))


def quadrants(h: Numbers, k: Numbers, distance: Numbers, correlation: Correlation) -> Quadrants:
    """All four, to `Quadrants.size`; `distance` = h − sign k, which may be known better than by subtraction."""
    xp = library(h)
    close = abs(correlation.cosine) > _SWITCH
    if bool(close.all()):
        return _from_the_end(h, k, distance, correlation)
    if not bool(close.any()):
        return _from_the_middle(h, k, correlation)
    parts = []
    for members, rule in ((indices(close), True), (indices(~close), False)):
        here = Correlation(correlation.cosine[members], correlation.sine[members])
        found = (
            _from_the_end(h[members], k[members], distance[members], here)
            if rule
            else _from_the_middle(h[members], k[members], here)
        )
        parts.append((members, found))
    outputs = [xp.empty_like(h) for _ in range(7)]
    for members, found in parts:
        columns = (found.lower, found.upper, found.right, found.left, found.size)
        columns += (found.association, found.association_size)
        for output, column in zip(outputs, columns, strict=True):
            output[members] = column
    return Quadrants(*outputs)


def _known(h: Numbers, k: Numbers, size: Numbers) -> Numbers:
    xp = library(h)
    return xp.where(h * h + k * k <= _FARTHEST**2, size, xp.zeros_like(size) + math.inf)


def _from_the_middle(h: Numbers, k: Numbers, correlation: Correlation) -> Quadrants:
    xp = library(h)
    nodes, weights = gauss_legendre(_NODES)
    half = 0.5 * correlation.cosine / (1.0 + correlation.sine)
    v = half * (1.0 + as_array_like(nodes, h)[:, None])
    square = v * v
    whole, rest = 1.0 + square, 1.0 - square
    # 1/cos θ, and sin θ/cos θ² over 2 v/(1 + v²)
    secant = whole / rest
    exponent = secant * (2.0 * h * k * (v / rest) - 0.5 * (h * h + k * k) * secant)
    values = xp.exp(exponent) / whole
    # one after the other: the same to the bit, however many pairs there are
    integral = (half / math.pi) * sum(weight * row for weight, row in zip(weights.tolist(), values, strict=True))
    h_low, h_high, k_low, k_high = (normal_distribution(x) for x in (h, -h, k, -k))
    size = xp.minimum(h_low, h_high) * xp.minimum(k_low, k_high) + abs(integral)
    lower, upper = h_low * k_low + integral, h_high * k_high + integral
    right, left = h_high * k_low - integral, h_low * k_high - integral
    return Quadrants(lower, upper, right, left, _known(h, k, size), integral, _known(h, k, abs(integral)))


def _from_the_end(h: Numbers, k: Numbers, distance: Numbers, correlation: Correlation) -> Quadrants:
    xp = library(h)
    end = correlation.sine / (1.0 + abs(correlation.cosine))
    square = end * end
    # M_n = ∫_0^1 x^{2n} e^{−a²/2x²} dx, (2n + 1) M_n = e^{−a²/2} − a² M_{n−1}
    a = abs(distance) / (2.0 * end)
    a_square = a * a
    edge = xp.exp(-0.5 * a_square)
    moment = edge - a * (_SQRT_TWO_PI * normal_distribution(-a))
    along = k * correlation.sign + h
    rate = -0.125 * along * along * square
    exponential = xp.ones_like(h)
    coefficient = xp.ones_like(h)
    total = moment
    for n in range(1, _TERMS):
        moment = (edge - a_square * moment) / (2 * n + 1)
        exponential = exponential * rate / n
        coefficient = exponential - square * coefficient
        total = total + coefficient * moment
    missing = xp.exp(-0.25 * (h * h + k * k)) * (end / math.pi) * total
    positive = correlation.cosine >= 0
    none = xp.zeros_like(h)
    h_low, h_high, k_low, k_high = (normal_distribution(x) for x in (h, -h, k, -k))
    # At correlation 1 Y = X, at −1 Y = −X: X is in an interval or below or above both ends. Its probability is a
    # difference of the two tails that are small.
    between_falling = xp.where(h < 0, h_low - k_high, k_low - h_high)  # −k < X < h
    between_rising = xp.where(h < 0, k_low - h_low, h_high - k_high)  # h < X < k
    lower = xp.where(positive, xp.minimum(h_low, k_low), xp.where(distance > 0, between_falling, none))
    upper = xp.where(positive, xp.minimum(h_high, k_high), xp.where(distance < 0, -between_falling, none))
    right = xp.where(positive, xp.where(distance < 0, between_rising, none), xp.minimum(h_high, k_low))
    left = xp.where(positive, xp.where(distance > 0, -between_rising, none), xp.minimum(h_low, k_high))
    size = xp.minimum(h_low, h_high) + xp.minimum(k_low, k_high) + abs(missing)
    signed = xp.where(positive, missing, -missing)
    lower, upper, right, left = lower - signed, upper - signed, right + signed, left + signed
    # Φ(h)Φ(k) has all of its digits in the quadrant where it is least
    association = xp.where(h * k > 0, xp.where(h < 0, lower - h_low * k_low, upper - h_high * k_high), 0.0 * h)
    opposite = xp.where(h > 0, h_high * k_low - right, h_low * k_high - left)
    association = xp.where(h * k > 0, association, opposite)
    size = _known(h, k, size)
    return Quadrants(lower, upper, right, left, size, association, size)
