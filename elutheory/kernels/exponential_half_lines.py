"""K1–K3 in closed form for a straight half-line and an exponential one, ELU's: quadrants of a bivariate normal law.

With U = std_u (X + z_u), f(U) is A std_u (X + z_u) where X > −z_u and B (e^{k U} − 1) below; e^{k U} moves X by
t_u = k std_u, and Y by its share of that (M1). So all is P(X < h, Y < k) at four places, Gaussian densities, and, by
Stein's identity, with correlation ρ and sine q,

G(h, k) = E[X − h; X > h, Y < k] = φ(h)Φ((k − ρh)/q) − ρφ(k)Φ((ρk − h)/q) − h P(X > h, Y < k).

The terms may be larger than their sum, where standard deviations are small, or in tails; what rounding leaves of it is
known term by term, and decides whether it is good enough: the rest is for the integral of `quadrature`.
"""

from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Bool, Float

from elutheory.kernels.pairs import PairArguments
from elutheory.moments.closed_forms.exponential_linear import ExponentialLinear
from elutheory.numerics.arrays import Array, as_array_like, indices, library
from elutheory.numerics.normal_quadrants import Correlation, Quadrants, quadrants
from elutheory.numerics.normal_tails import normal_density, normal_distribution
from elutheory.numerics.quadrature import gauss_legendre

Numbers = Float[Array, " pairs"]

# Where the formula is tried: k std, |mean|/std, sine. Beyond, its terms are too large in any case, or overflow.
_LARGEST_TILT = 6.0
_FARTHEST = 8.0
_SMALLEST_SINE = 1e-100
# What is accepted: half of what is promised of √(E f(U)² E f(V)²), of the slope, of the covariance. Rounding units of
# a term: _UNITS, and its exponent and the square of its place for what these are rounded to.
_ACCEPTED = {"value": 5e-14, "slope": 5e-14, "covariance": 5e-13}
_UNITS = 3.0
# Covariances that cancel are a mean of slopes over correlations up to these, of so many: 6.5^−16, 1.92^−56 are left.
_WEAK = ((0.3, 8), (0.9, 28))
_EPS = 2.0**-52


def within_reach(form: ExponentialLinear, pair: PairArguments) -> Bool[Array, " pairs"]:
    """Where the formula is worth trying."""
    near = pair.sine > _SMALLEST_SINE
    for mean, std in ((pair.mean_u, pair.std_u), (pair.mean_v, pair.std_v)):
        near = near & (std > 0) & (form.rate * std <= _LARGEST_TILT) & (abs(mean) <= _FARTHEST * std)
    return near


def half_lines(
    form: ExponentialLinear, quantities: tuple[str, ...], pair: PairArguments
) -> list[tuple[Numbers, Bool[Array, " pairs"]]]:
    """Each of value, slope, covariance asked for, of pairs `within_reach`; and where it is as accurate as promised."""
    pieces = _Pieces.of(form, pair.ordered())
    found = []
    for quantity in quantities:
        value, rounding, scale = getattr(pieces, quantity)()
        accurate = _EPS * rounding <= _ACCEPTED[quantity] * scale
        if quantity == "covariance":
            for weakest, nodes in _WEAK:
                weak = indices(~accurate & (abs(pieces.pair.cosine) <= weakest))
                if len(weak):
                    value[weak], accurate[weak] = _by_slopes(form, nodes, pieces.pair[weak])
        found.append((value, accurate))
    return found


def _by_slopes(form: ExponentialLinear, count: int, pair: PairArguments) -> tuple[Numbers, Bool[Array, " pairs"]]:
    """The covariance is that of U and V times the mean of E f'f' over all correlations from 0 on (K3)."""
    nodes, weights = gauss_legendre(count)
    shares = as_array_like(0.5 * (1.0 + nodes), pair.cosine)
    cosine = (pair.cosine[:, None] * shares).reshape(-1)
    place = library(cosine).arange(len(cosine)) // len(nodes)
    many = replace(pair[place], cosine=cosine, sine=((1.0 - cosine) * (1.0 + cosine)) ** 0.5)
    slope, rounding, _ = _Pieces.of(form, many).slope()
    good = (_EPS * rounding <= _ACCEPTED["covariance"] * slope).reshape(-1, len(nodes)).all(-1)
    slopes = slope.reshape(-1, len(nodes))
    mean = sum(0.5 * weight * slopes[:, i] for i, weight in enumerate(weights.tolist()))
    return pair.std_u * pair.std_v * pair.cosine * mean, good


@dataclass(frozen=True)
class _Place:
    """Quadrants at (h, k), where e^{k U}, e^{k V} or both have moved the kinks, and `weight`, what those are worth.

    `units`: rounding units by which probabilities here are off; `given_x` = (k − ρh)/q, `given_y` = (ρk − h)/q.
    """

    h: Numbers
    k: Numbers
    at: Quadrants
    weight: Numbers
    units: Numbers
    given_x: Numbers
    given_y: Numbers
    correlation: Correlation

    @classmethod
    def of(cls, h: Numbers, k: Numbers, distance: Numbers, exponents: tuple[Numbers, ...], at: Correlation) -> "_Place":
        """`distance` = h − sign k; the weight is e to the sum of the `exponents`."""
        slant, step = at.sine / (1.0 + abs(at.cosine)), distance / at.sine
        units = _UNITS + sum(map(abs, exponents)) + h * h + k * k
        weight = library(h).exp(sum(exponents))
        given_x, given_y = at.sign * (h * slant - step), -step - at.sign * k * slant
        return cls(h, k, quadrants(h, k, distance, at), weight, units, given_x, given_y, at)

    def weighted(self, probability: Numbers) -> tuple[Numbers, Numbers]:
        """One of the quadrants' probabilities, times the weight, and its rounding."""
        return self.weight * probability, self.weight * self.units * (probability + self.at.size)

    def right(self) -> tuple[Numbers, Numbers]:
        """E[X − h; X > h, Y < k], times the weight, and its rounding."""
        return self._beyond(self.h, self.k, self.given_x, self.given_y, self.at.right)

    def left(self) -> tuple[Numbers, Numbers]:
        """E[Y − k; X < h, Y > k], times the weight, and its rounding."""
        return self._beyond(self.k, self.h, -self.given_y, -self.given_x, self.at.left)

    def _beyond(self, h: Numbers, k: Numbers, given: Numbers, other: Numbers, probability: Numbers) -> Any:
        first = normal_density(h) * normal_distribution(given)
        second = self.correlation.cosine * (normal_density(k) * normal_distribution(other))
        size = first + abs(second) + abs(h) * (probability + self.at.size)
        return self.weight * (first - second - h * probability), self.weight * self.units * size

    def above(self) -> tuple[Numbers, Numbers]:
        """E[(X − h)(Y − k); X > h, Y > k] and its rounding."""
        h, k, cosine = self.h, self.k, self.correlation.cosine
        first = k * (normal_density(h) * normal_distribution(-self.given_x))
        second = h * (normal_density(k) * normal_distribution(self.given_y))
        corner = self.correlation.sine * (normal_density(h) * normal_density(self.given_x))
        product = cosine + h * k
        value = product * self.at.upper - first - second + corner
        return value, self.units * (
            (1.0 + abs(h * k)) * (self.at.upper + self.at.size) + abs(first) + abs(second) + corner
        )


@dataclass(frozen=True)
class _Pieces:
    """What f is made of, at both means, and the four places: `none`, of e^{k U} or e^{k V} alone, of `both`."""

    form: ExponentialLinear
    pair: PairArguments
    none: _Place
    of_u: _Place
    of_v: _Place
    both: _Place

    @classmethod
    def of(cls, form: ExponentialLinear, pair: PairArguments) -> "_Pieces":
        at = Correlation(pair.cosine, pair.sine)
        t_u, t_v = form.rate * pair.std_u, form.rate * pair.std_v
        z_u, z_v = pair.mean_u / pair.std_u, pair.mean_v / pair.std_v
        apart = at.sign * z_v - z_u
        line_u, line_v = form.rate * pair.mean_u, form.rate * pair.mean_v
        half_u, half_v, cross = 0.5 * t_u * t_u, 0.5 * t_v * t_v, at.cosine * t_u * t_v

        def place(own_u: float, own_v: float, *exponents: Numbers) -> _Place:
            h = -z_u - own_u * t_u - own_v * (at.cosine * t_v)
            k = -z_v - own_v * t_v - own_u * (at.cosine * t_u)
            distance = apart - (own_u * t_u - own_v * (at.sign * t_v)) * at.gap
            return _Place.of(h, k, distance, exponents, at)

        return cls(
            form,
            pair,
            place(0.0, 0.0, 0.0 * t_u),
            place(1.0, 0.0, line_u, half_u),
            place(0.0, 1.0, line_v, half_v),
            place(1.0, 1.0, line_u, line_v, half_u, half_v, cross),
        )

    def slope(self) -> tuple[Numbers, Numbers, Numbers]:
        """E f'(U)f'(V), its rounding, and what that is relative to."""
        A, g = self.form.bend.upper_slope, self.form.bend.lower_slope
        parts = (
            (A * A, self.none.weighted(self.none.at.upper)),
            (A * g, self.of_v.weighted(self.of_v.at.right)),
            (A * g, self.of_u.weighted(self.of_u.at.left)),
            (g * g, self.both.weighted(self.both.at.lower)),
        )
        value, rounding = _sum(parts)
        return value, rounding, value

    def value(self) -> tuple[Numbers, Numbers, Numbers]:
        """E f(U)f(V), its rounding, and √(E f(U)² E f(V)²), or less."""
        value, rounding = self._value()
        roots = (self._moments(z, std)[1] for z, std in self._sides())
        first, second = roots
        return value, rounding, first * second

    def covariance(self) -> tuple[Numbers, Numbers, Numbers]:
        """Cov(f(U), f(V)), its rounding, and its size."""
        value, rounding = self._value()
        (first, _, off_first), (second, _, off_second) = (self._moments(z, std) for z, std in self._sides())
        covariance = value - first * second
        rounding = rounding + off_first * abs(second) + off_second * abs(first)
        return covariance, rounding, abs(covariance)

    def _value(self) -> tuple[Numbers, Numbers]:
        A, B = self.form.bend.upper_slope, self.form.amplitude
        s_u, s_v = A * self.pair.std_u, A * self.pair.std_v
        none, of_u, of_v, both = self.none, self.of_u, self.of_v, self.both
        return _sum(
            (
                (s_u * s_v, none.above()),
                (s_u * B, of_v.right()),
                (-s_u * B, none.right()),
                (s_v * B, of_u.left()),
                (-s_v * B, none.left()),
                (B * B, both.weighted(both.at.lower)),
                (-B * B, of_u.weighted(of_u.at.lower)),
                (-B * B, of_v.weighted(of_v.at.lower)),
                (B * B, none.weighted(none.at.lower)),
            )
        )

    def _sides(self) -> tuple[tuple[Numbers, Numbers], ...]:
        pair = self.pair
        return (pair.mean_u / pair.std_u, pair.std_u), (pair.mean_v / pair.std_v, pair.std_v)

    def _moments(self, z: Numbers, std: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """E f, at most √E f² (each piece's mean, squared, over its probability), and the rounding of E f."""
        A, B, t = self.form.bend.upper_slope, self.form.amplitude, self.form.rate * std
        above, below = normal_distribution(z), normal_distribution(-z)
        density, line = normal_density(z), z * above
        exponent = t * (z + 0.5 * t)
        exponential = library(z).exp(exponent) * normal_distribution(-z - t)
        upper, lower = A * std * (density + line), B * (below - exponential)
        root = (upper * (upper / above) + lower * (lower / below)) ** 0.5
        units = _UNITS + z * z
        rounding = A * std * units * (density + abs(line)) + B * (
            units * below + (_UNITS + (z + t) ** 2 + t * (abs(z) + t)) * exponential
        )
        return upper - lower, root, rounding


def _sum(parts: tuple[tuple[Any, tuple[Numbers, Numbers]], ...]) -> tuple[Numbers, Numbers]:
    """Σ factor · value, and what the parts' rounding adds up to."""
    value = sum(factor * value for factor, (value, _) in parts)
    rounding = sum(abs(factor) * rounding for factor, (_, rounding) in parts)
    return value, rounding
