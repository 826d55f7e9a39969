"""E f(U)g(V) and Cov(f(U), g(V)) where f, g are sums of p(y) e^{rate y − decay y²/2}: polynomials, bumps, waves.

Bumps multiply the density of (U, V) by that of another Gaussian pair, e^{rate y} moves it (M1), and of polynomials
there are the moments (Isserlis), each from those below by Stein's identity. With m, n the means of y, s, t their
standard deviations, c the covariance, and decays a, b:

D = (1 + as²)(1 + bt²) − ab c² = 1 + as² + bt² + ab (s t sine)²,   E e^{−aU²/2 − bV²/2} = e^{−N/2D}/√D,
N = a m² + b n² + ab ((t m ∓ s n)² ± 2 s t m n (1 − |cosine|)).

Covariances are differences from c = 0, factor by factor: nothing cancels but between terms of f. What rounding leaves
of a sum is known beside it, and where that is too much, others have the pair.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

from jaxtyping import Float

from elutheory.activations.activation_function import Activation
from elutheory.activations.smooth_shapes import packets
from elutheory.numerics.arrays import Array, library
from elutheory.numerics.known_numbers import UNIT, Known
from elutheory.numerics.twofold import Twofold

Numbers = Float[Array, " pairs"]


@dataclass(frozen=True)
class Packet:
    """p(y) e^{rate y − decay y²/2}, y = x − centre: coefficients from power 0 on; real numbers where there is no wave.

    The coefficients may be arrays, one number a pair.
    """

    centre: float
    decay: float
    rate: Any
    coefficients: tuple[Any, ...]

    def derivative(self) -> "Packet":
        """p' + (rate − decay y) p."""
        count = len(self.coefficients)
        found: list[Any] = [0.0] * (count + 1)
        for power, number in enumerate(self.coefficients):
            if power:
                found[power - 1] = found[power - 1] + power * number
            found[power] = found[power] + self.rate * number
            found[power + 1] = found[power + 1] - self.decay * number
        while len(found) > 1 and isinstance(found[-1], (float, complex)) and found[-1] == 0.0:
            found.pop()
        return Packet(self.centre, self.decay, self.rate, tuple(found))


Packets = tuple[Packet, ...]

# Below, a product of means has lost its digits, and what the covariance multiplies it by cannot bring them back.
_UNDERFLOW = 1e-290

ONE: Packets = (Packet(0.0, 0.0, 0.0, (1.0,)),)


class Columns(NamedTuple):
    """Means, standard deviations, cosine and sine of pairs."""

    mean_u: Numbers
    mean_v: Numbers
    std_u: Numbers
    std_v: Numbers
    cosine: Numbers
    sine: Numbers


@lru_cache(maxsize=256)
def packets_of(activation: Activation, order: int = 0) -> Packets | None:
    """f^(order), rounded once; None where f is no such sum, or its numbers are beyond double precision."""
    if order:
        below = packets_of(activation, order - 1)
        return None if below is None else tuple(packet.derivative() for packet in below)
    shapes = packets(activation)
    if not shapes:
        return None
    try:
        found = tuple(
            Packet(
                float(shape.centre.evalf(30)),
                float(shape.decay.evalf(30)),
                _number(shape.rate),
                tuple(map(_number, shape.coefficients)),
            )
            for shape in shapes
        )
    except (OverflowError, TypeError):
        return None
    numbers = [abs(number) for packet in found for number in (packet.centre, packet.decay, *packet.coefficients)]
    return found if max(numbers) < float("inf") and min(map(abs, numbers)) == min(numbers) else None


def _number(value: Any) -> Any:
    number = complex(value.evalf(30))
    return number if number.imag else number.real


def product(f: Packets, g: Packets, columns: Columns) -> Known:
    """E f(U)g(V) and what it may be off by."""
    return _sum([_Coupled.of(p, q, columns).value() for p in f for q in g])


def covariance(f: Packets, g: Packets, columns: Columns) -> Known:
    """Cov(f(U), g(V)) and what it may be off by."""
    return _sum([_Coupled.of(p, q, columns).covariance() for p in f for q in g])


def root_mean_square(f: Packets, mean: Numbers, std: Numbers) -> Numbers:
    """√E f(U)², or less where it has lost its digits."""
    none = 0.0 * mean
    square = product(f, f, Columns(mean, mean, std, std, none + 1.0, none))
    return library(mean).clip(square.value - UNIT * square.rounding, 0.0, None) ** 0.5


def _sum(terms: list[Known]) -> Known:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return Known(total.value.real, total.rounding)  # of a real f the imaginary parts are each other's opposites


def _mean(packet: Packet, mean: Numbers) -> Twofold:
    return Twofold.sum(mean, 0.0 * mean - packet.centre)


@dataclass(frozen=True)
class _Coupled:
    """Two packets at pairs: the law of (y, y') under the bumps, tilted by the rates; and that without covariance."""

    p: Packet
    q: Packet
    weight: Known  # e^{−N/2D}/√D
    exponent: Known  # of the rates
    means: tuple[Known, Known]
    variances: tuple[Known, Known]
    shared: Known  # covariance
    without: Callable[[], "_Apart"]

    @classmethod
    def of(cls, p: Packet, q: Packet, at: Columns) -> "_Coupled":
        a, b, s, t, cosine, sine = p.decay, q.decay, at.std_u, at.std_v, at.cosine, at.sine
        xp = library(s)
        sign = xp.where(cosine < 0, 0.0 * s - 1.0, 0.0 * s + 1.0)
        gap = sine * (sine / (1.0 + abs(cosine)))
        m, n = _mean(p, at.mean_u), _mean(q, at.mean_v)
        mean_u, mean_v = Known.rounded(m.high), Known.rounded(n.high)
        first, second = (Known.rounded(1.0 + decay * std * std, 2.0) for decay, std in ((a, s), (b, t)))
        c = Known.rounded(s * t * cosine, 3.0)
        narrow_u, narrow_v = s * sine, t * sine
        determinant = Known.rounded(1.0 + a * s * s + b * t * t + a * b * (narrow_u * t) ** 2, 5.0)
        # t m ∓ s n, and t m − cosine s n, s n − cosine t m
        between = Twofold(t) * m - Twofold(sign * s) * n
        difference = Known.rounded(between.high)
        given_u = difference + (gap * sign * s) * mean_v
        given_v = sign * (-1.0 * difference + (gap * t) * mean_u)
        base_u = ((b * t) * given_u + mean_u).over(determinant)
        base_v = ((a * s) * given_v + mean_v).over(determinant)
        variance_u = Known.rounded(s * s * (1.0 + b * narrow_v * narrow_v), 5.0).over(determinant)
        variance_v = Known.rounded(t * t * (1.0 + a * narrow_u * narrow_u), 5.0).over(determinant)
        shared = c.over(determinant)
        alpha, beta = p.rate, q.rate
        tilted_u = base_u + alpha * variance_u + beta * shared
        tilted_v = base_v + alpha * shared + beta * variance_v
        exponent = alpha * base_u + beta * base_v
        exponent = exponent + (0.5 * alpha * alpha) * variance_u + (0.5 * beta * beta) * variance_v
        exponent = exponent + (alpha * beta) * shared
        weight = _bumps(a, b, m, n, s, t, between, sign * gap, sine).over(determinant.root())
        without = partial(_Apart.of, p, q, (mean_u, mean_v), (s, t), (first, second), c, determinant)
        return cls(p, q, weight, exponent, (tilted_u, tilted_v), (variance_u, variance_v), shared, without)

    def _total_weight(self) -> Known:
        if self.p.rate == self.q.rate == 0.0:
            return self.weight
        return self.weight.times(self.exponent.exp())

    def value(self) -> Known:
        """E of the two packets' product."""
        return self._total_weight().times(self._polynomials(self._moments()))

    def covariance(self) -> Known:
        """That less the product of the means: factor by factor, or where the two are far apart by subtraction."""
        together, apart = self._moments(), self.without()
        alone = apart.moments(len(self.p.coefficients), len(self.q.coefficients))
        weight, of_together, of_alone = apart.weight(), self._polynomials(together), self._polynomials(alone)
        grown = self._grown(together, alone, apart)
        near = weight.times(apart.growth.expm1().times(of_together) + self._polynomials(grown))
        far = self._total_weight().times(of_together) - weight.times(of_alone)
        xp = library(far.rounding)
        use_far = ~(near.rounding <= far.rounding) | (abs(weight.value) < _UNDERFLOW)
        return Known(xp.where(use_far, far.value, near.value), xp.where(use_far, far.rounding, near.rounding))

    def _polynomials(self, moments: list[list[Known]]) -> Known:
        return _total(
            [
                first * (second * moments[i][j])
                for i, first in enumerate(self.p.coefficients)
                for j, second in enumerate(self.q.coefficients)
            ]
        )

    def _moments(self) -> list[list[Known]]:
        """E y^i y'^j."""
        (mean_u, mean_v), (variance_u, variance_v) = self.means, self.variances
        zero = 0.0 * mean_v
        row = [Known(zero.value + 1.0, zero.rounding)]
        for j in range(1, len(self.q.coefficients)):
            row.append(_total([mean_v.times(row[-1]), *([(j - 1) * variance_v.times(row[-2])] if j > 1 else [])]))
        rows = [row]
        for i in range(1, len(self.p.coefficients)):
            following = []
            for j in range(len(row)):
                terms = [mean_u.times(rows[-1][j])]
                terms += [(i - 1) * variance_u.times(rows[-2][j])] if i > 1 else []
                terms += [j * self.shared.times(rows[-1][j - 1])] if j else []
                following.append(_total(terms))
            rows.append(following)
        return rows

    def _grown(self, together: list[list[Known]], alone: list[list[Known]], apart: "_Apart") -> list[list[Known]]:
        """E y^i y'^j less that without covariance."""
        (mean_u, mean_v), (variance_u, variance_v) = self.means, self.variances
        (moved_u, moved_v), (spread_u, spread_v) = apart.moved, apart.spread
        zero = 0.0 * mean_v
        row = [zero]
        for j in range(1, len(self.q.coefficients)):
            terms = [mean_v.times(row[-1]), moved_v.times(alone[0][j - 1])]
            if j > 1:
                terms += [(j - 1) * variance_v.times(row[-2]), (j - 1) * spread_v.times(alone[0][j - 2])]
            row.append(_total(terms))
        rows = [row]
        for i in range(1, len(self.p.coefficients)):
            following = []
            for j in range(len(row)):
                terms = [mean_u.times(rows[-1][j]), moved_u.times(alone[i - 1][j])]
                if i > 1:
                    terms += [(i - 1) * variance_u.times(rows[-2][j]), (i - 1) * spread_u.times(alone[i - 2][j])]
                if j:
                    terms.append(j * self.shared.times(together[i - 1][j - 1]))
                following.append(_total(terms))
            rows.append(following)
        return rows


@dataclass(frozen=True)
class _Apart:
    """The same without covariance, and how far the covariance moves each part of it."""

    bumps: Known
    exponent: Known
    has_rates: bool
    means: tuple[Known, Known]
    variances: tuple[Known, Known]
    growth: Known  # ln of the weight over that without covariance
    moved: tuple[Known, Known]  # means
    spread: tuple[Known, Known]  # variances

    @classmethod
    def of(
        cls,
        p: Packet,
        q: Packet,
        means: tuple[Known, Known],
        stds: tuple[Any, Any],
        ones: tuple[Known, Known],
        c: Known,
        determinant: Known,
    ) -> "_Apart":
        (a, b), (m, n), (s, t), (first, second) = (p.decay, q.decay), means, stds, ones
        alpha, beta = p.rate, q.rate
        base_u, base_v = m.over(first), n.over(second)
        variance_u = Known.rounded(s * s).over(first)
        variance_v = Known.rounded(t * t).over(second)
        exponent = alpha * base_u + (0.5 * alpha * alpha) * variance_u
        exponent = exponent + beta * base_v + (0.5 * beta * beta) * variance_v
        bumps = _bump(a, m, first).times(_bump(b, n, second))
        # what the covariance adds
        shared = c.over(determinant)
        moved_u = b * shared.times(a * c.times(base_u) - n)
        moved_v = a * shared.times(b * c.times(base_v) - m)
        spread_u, spread_v = -b * c.times(shared).over(first), -a * c.times(shared).over(second)
        growth = alpha * moved_u + beta * moved_v + (alpha * beta) * shared
        growth = growth + (0.5 * alpha * alpha) * spread_u + (0.5 * beta * beta) * spread_v
        if a and b:
            growth = growth + _growth_of_bumps(a, b, base_u, base_v, (m, n), (first, second), c, determinant)
        moved_u = moved_u + alpha * spread_u + beta * shared
        moved_v = moved_v + alpha * shared + beta * spread_v
        has_rates = not alpha == beta == 0.0
        tilted = base_u + alpha * variance_u, base_v + beta * variance_v
        return cls(
            bumps,
            exponent,
            has_rates,
            tilted,
            (variance_u, variance_v),
            growth,
            (moved_u, moved_v),
            (spread_u, spread_v),
        )

    def weight(self) -> Known:
        """Of the two means' product."""
        return self.bumps.times(self.exponent.exp()) if self.has_rates else self.bumps

    def moments(self, rows: int, columns: int) -> list[list[Known]]:
        """E y^i E y'^j."""
        sides = []
        for mean, variance, count in zip(self.means, self.variances, (rows, columns), strict=True):
            zero = 0.0 * mean
            row = [Known(zero.value + 1.0, zero.rounding)]
            for j in range(1, count):
                row.append(_total([mean.times(row[-1]), *([(j - 1) * variance.times(row[-2])] if j > 1 else [])]))
            sides.append(row)
        return [[one.times(other) for other in sides[1]] for one in sides[0]]


def _total(terms: list[Known]) -> Known:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _bump(decay: float, mean: Known, one: Known) -> Known:
    """E e^{−decay y²/2}."""
    return (-0.5 * decay * mean.times(mean).over(one)).exp().over(one.root())


def _bumps(a: float, b: float, m: Twofold, n: Twofold, s: Any, t: Any, between: Twofold, gap: Any, sine: Any) -> Known:
    """e^{−N/2D}; N and D to twice the digits, for the exponential magnifies their errors. `gap` has the sign of c."""
    if not a and not b:
        return Known(1.0 + 0.0 * s, 0.0 * s)
    rates = [Twofold(0.0 * s + decay) for decay in (a, b)]
    spreads = [rate * Twofold.product(std, std) for rate, std in zip(rates, (s, t), strict=True)]
    determinant = Twofold(0.0 * s + 1.0) + spreads[0] + spreads[1]
    numerator = rates[0] * m * m + rates[1] * n * n
    off = 0.0 * s
    if a and b:
        determinant = determinant + spreads[0] * spreads[1] * Twofold.product(sine, sine)
        corner = Twofold(2.0 * gap) * (Twofold(s) * n) * (Twofold(t) * m)
        numerator = numerator + rates[0] * rates[1] * (between * between + corner)
        off = a * b * abs(corner.high) / determinant.high  # of which the gap is rounded
    exponent = numerator / determinant
    value = library(s).exp(-0.5 * exponent.high) * (1.0 - 0.5 * exponent.low)
    return Known(value, value * (2.0 + off))


def _growth_of_bumps(
    a: float,
    b: float,
    base_u: Known,
    base_v: Known,
    means: tuple[Known, Known],
    ones: tuple[Known, Known],
    c: Known,
    determinant: Known,
) -> Known:
    """ln of e^{−N/2D}/√D over its like at c = 0: with u, v, r as of a normal density, −½ ln(1 − r²) + …."""
    xp = library(c.value)
    whole = ones[0].times(ones[1])
    square = (a * b) * c.times(c).over(whole)  # r²
    rest = determinant.over(whole)  # 1 − r²
    small = xp.clip(square.value, None, 0.5)
    near = -0.5 * xp.log1p(-small)
    far = -0.5 * xp.log(rest.value)
    close = square.value < 0.5
    logarithm = Known(xp.where(close, near, far), xp.where(close, 8.0 * near, 4.0 + abs(far)))
    product = (a * b) * c.times(base_u).times(base_v)  # r u v
    squares = a * means[0].times(base_u) + b * means[1].times(base_v)  # u² + v²
    return logarithm + (product - 0.5 * square.times(squares)).over(rest)
