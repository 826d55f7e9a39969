"""K1–K3 in closed form for (d₀ + d₁y) Phi(y) + e₀ + e₁y, erf and GELU, whatever the means: quadrants of a normal law.

With m, n and s, t the means and standard deviations of y, c their covariance, σ² = 1 + s², τ² = 1 + t², o = Phi − ½:
E Phi(U)Phi(V) = P(X < m/σ, Y < n/τ) at correlation r = c/(στ) (Owen; Tsuchida et al., arXiv 2002.08517), and every
power of y before it is by Stein's identity that of a lower one, E U g = m E g + s² E ∂_u g + c E ∂_v g, where densities
phi tilt U and V (M1). Terms may be larger than their sum; what rounding leaves decides whether it is good enough.
"""

import math
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float

from elutheory.kernels.pairs import PairArguments
from elutheory.moments.closed_forms.error_function import ErrorFunction
from elutheory.numerics.arrays import Array, library
from elutheory.numerics.known_numbers import UNIT, Known
from elutheory.numerics.normal_quadrants import Correlation, quadrants
from elutheory.numerics.normal_tails import SQRT_HALF, erf, normal_density

Numbers = Float[Array, " pairs"]

# Half of what is promised of √(E f(U)² E f(V)²), of the slopes' and of the covariance; rounding units of every term.
_ACCEPTED = {"value": 5e-14, "slope": 5e-14, "covariance": 5e-13}
_ACCEPTED_MIXED = 1e-12
_UNITS = 4.0
# Standard deviations of y beyond which products of five of them are left to other rules.
_LARGEST_STD = 1e30


def error_function_pairs(
    form: ErrorFunction, quantities: tuple[str, ...], pair: PairArguments
) -> list[tuple[Numbers, Bool[Array, " pairs"]]]:
    """Each of value, slope, covariance asked for, and where it is as accurate as promised."""
    terms = _Terms.of(form, pair.ordered())
    found = []
    for quantity in quantities:
        value, rounding, scale = getattr(terms, quantity)()
        found.append((value, (UNIT * rounding <= _ACCEPTED[quantity] * scale) & terms.near))
    return found


def error_function_mixed(
    form: ErrorFunction, orders: tuple[int, int], pair: PairArguments
) -> tuple[Numbers, Bool[Array, " pairs"]]:
    """E f^(i)(U) f^(j)(V), i + j > 0, and where it keeps its digits.

    From f'' on these are polynomials times phi, which tilts the pair (M1); Stein's identity leaves means of f^(j) and
    derivatives.
    """
    outer, inner = orders
    if inner > outer:
        return error_function_mixed(form, (inner, outer), pair.swapped())
    if outer < 2:
        terms = _Terms.of(form, pair)
        value, rounding, size = terms.slope() if inner else terms.slope_and_value()
        return (value if inner else form.scale * value), (UNIT * rounding <= _ACCEPTED_MIXED * size) & terms.near
    a, (d0, d1) = form.scale, form.distribution
    m, n = (a * mean + form.offset for mean in (pair.mean_u, pair.mean_v))
    s, t = a * pair.std_u, a * pair.std_v
    first, c = 1.0 + s * s, s * t * pair.cosine
    weight = normal_density(m / first**0.5) / first**0.5
    mean, variance, shared = m / first, s * s / first, c / first
    spread = t * ((1.0 + (s * pair.sine) ** 2) / first) ** 0.5
    polynomial = [2.0 * d1, -d0, -d1]
    for _ in range(2, outer):
        raised = [0.0, *polynomial]
        polynomial = [-number for number in raised]
        for power, number in enumerate(raised[2:], 1):
            polynomial[power - 1] += power * number
    count = len(polynomial)
    row = [a**inner * one for one in form.derivatives_of_mean(n - shared * m, spread, inner + count - 1)[inner:]]
    before, total = row, polynomial[0] * row[0]
    for power in range(1, count):  # E y^k f^(j)(V) from those below
        following = [
            mean * row[j] + shared * row[j + 1] + ((power - 1) * variance * before[j] if power > 1 else 0.0)
            for j in range(count - power)
        ]
        before, row = row, following
        total = total + polynomial[power] * row[0]
    return a**outer * weight * total, abs(total) < math.inf


@dataclass(frozen=True)
class _Side:
    """Of one variable: E o, E phi, E y phi, E y o."""

    mean: Numbers
    variance: Numbers
    odd: Known
    density: Known
    weighted: Known
    line: Known

    @classmethod
    def of(cls, mean: Numbers, std: Numbers, root: Numbers, place: Numbers) -> "_Side":
        odd = 0.5 * erf(SQRT_HALF * place)
        density = normal_density(place) / root
        tilted = density * (place / root)
        units = _UNITS + place * place
        known, of_odd = Known(density, units * density), Known(odd, _UNITS * abs(odd))
        line = mean * of_odd + (std * std) * known
        return cls(mean, std * std, of_odd, known, Known(tilted, units * abs(tilted)), line)


@dataclass(frozen=True)
class _Terms:
    """Both sides and what couples them: E oo, its like without the means', E phi_u o_v, E o_u phi_v, E phi phi."""

    form: ErrorFunction
    near: Any
    u: _Side
    v: _Side
    c: Numbers
    determinant: Numbers
    odd: Known
    association: Known
    density_u: Known
    density_v: Known
    densities: Known

    @classmethod
    def of(cls, form: ErrorFunction, pair: PairArguments) -> "_Terms":
        xp = library(pair.mean_u)
        m, n = (form.scale * mean + form.offset for mean in (pair.mean_u, pair.mean_v))
        s, t = form.scale * pair.std_u, form.scale * pair.std_v
        c, first, second = s * t * pair.cosine, 1.0 + s * s, 1.0 + t * t
        sigma, tau = first**0.5, second**0.5
        root = xp.hypot((first + t * t) ** 0.5, s * t * pair.sine)  # √D
        at = Correlation(c / (sigma * tau), root / (sigma * tau))
        h, k = m / sigma, n / tau
        distance = h - at.sign * k
        slant = at.sine / (1.0 + abs(at.cosine))
        given_u = at.sign * (h * slant - distance / at.sine)  # (k − rh)/√(1 − r²)
        given_v = distance / at.sine + at.sign * k * slant  # (h − rk)/√(1 − r²)
        found = quadrants(h, k, distance, at)
        units = _UNITS + h * h + k * k
        u, v = _Side.of(m, s, sigma, h), _Side.of(n, t, tau, k)
        off = (_UNITS + abs(h) + abs(k)) / at.sine  # rounding units of what is given

        def half(density: Known, given: Numbers) -> Known:
            part = 0.5 * erf(SQRT_HALF * given)
            return density.times(Known(part, _UNITS * abs(part) + off * normal_density(given)))

        association = Known(found.association, units * found.association_size)
        both = u.density.value * normal_density(given_u) / (tau * at.sine)
        return cls(
            form,
            (s <= _LARGEST_STD) & (t <= _LARGEST_STD),
            u,
            v,
            c,
            root * root,
            u.odd.times(v.odd) + association,
            association,
            half(u.density, given_u),
            half(v.density, given_v),
            Known(both, both * (units + off * abs(given_u))),
        )

    @property
    def _coefficients(self) -> tuple[float, float, float, float]:
        """Of f = level + rise y + (d₀ + d₁y) o."""
        (d0, d1), (e0, e1) = self.form.distribution, self.form.line
        return e0 + 0.5 * d0, e1 + 0.5 * d1, d0, d1

    def value(self) -> tuple[Numbers, Numbers, Numbers]:
        """E f(U)f(V), its rounding, and √(E f(U)² E f(V)²), or less."""
        level, rise, d0, d1 = self._coefficients
        u, v, c = self.u, self.v, self.c
        m, n = u.mean, v.mean
        lines = (rise * rise) * (_exact(m * n) + _exact(c)) + _exact(level * level + level * rise * (m + n))
        one = (level * d0) * (u.odd + v.odd) + (level * d1) * (u.line + v.line)
        one = one + (rise * d0) * (n * u.odd + c * u.density + (m * v.odd + c * v.density))
        one = one + (rise * d1) * (self._line_of_other(u, v) + self._line_of_other(v, u))
        both = (d0 * d0) * self.odd + (d0 * d1) * (self._first(u, v) + self._first(v, u))
        found = lines + one + both + (d1 * d1) * self._second()
        roots = []
        for side in (u, v):
            mean = level + rise * side.mean + d0 * side.odd.value + d1 * side.line.value
            slope = rise + d1 * (side.odd.value + side.weighted.value) + d0 * side.density.value
            roots.append(mean * mean + side.variance * slope * slope)
        return found.value, found.rounding, (roots[0] * roots[1]) ** 0.5

    def covariance(self) -> tuple[Numbers, Numbers, Numbers]:
        """Cov(f(U), f(V)), its rounding, and its size."""
        _, rise, d0, d1 = self._coefficients
        u, v, c = self.u, self.v, self.c
        found = (rise * rise) * _exact(c) + (rise * d0) * (c * (u.density + v.density))
        found = found + (rise * d1) * (c * (u.odd + u.weighted + v.odd + v.weighted)) + (d0 * d0) * self.association
        if d1:
            apart_u = u.mean * self.association + u.variance * (self.density_u - u.density.times(v.odd))
            apart_v = v.mean * self.association + v.variance * (self.density_v - v.density.times(u.odd))
            found = found + (d0 * d1) * (apart_u + c * self.density_v + apart_v + c * self.density_u)
            found = found + (d1 * d1) * (self._second() - u.line.times(v.line))
        return found.value, found.rounding, abs(found.value)

    def slope(self) -> tuple[Numbers, Numbers, Numbers]:
        """E f'(U)f'(V), its rounding, and √(E f'(U)² E f'(V)²), or less."""
        _, rise, d0, d1 = self._coefficients
        u, v = self.u, self.v
        found = _exact(rise * rise + 0.0 * self.c) + (rise * d1) * (u.odd + v.odd + u.weighted + v.weighted)
        found = found + (rise * d0) * (u.density + v.density)
        found = found + (d1 * d1) * (self.odd + self._tilted(u, v) + self._tilted(v, u))
        found = found + (d0 * d1) * (self.density_u + self.density_v) + (d0 * d0) * self.densities
        # y under phi_u phi_v
        tilted = [self._place(u, v), self._place(v, u)]
        found = found + (d0 * d1) * (tilted[0] * self.densities + tilted[1] * self.densities)
        found = found + (d1 * d1) * ((tilted[0] * tilted[1] + self.c / self.determinant) * self.densities)
        means = [rise + d1 * (side.odd.value + side.weighted.value) + d0 * side.density.value for side in (u, v)]
        square = self.form.scale**2
        return square * found.value, square * found.rounding, square * abs(means[0] * means[1])

    def slope_and_value(self) -> tuple[Numbers, Numbers, Numbers]:
        """E f'(U)f(V), the derivative by y; its rounding, and √(E f'(U)² E f(V)²), or less."""
        level, rise, d0, d1 = self._coefficients
        u, v, c = self.u, self.v, self.c
        of_value = _exact(level + rise * v.mean) + d0 * v.odd + d1 * v.line
        odd = level * u.odd + rise * (v.mean * u.odd + c * u.density) + d0 * self.odd + d1 * self._first(v, u)
        of_density = v.mean * u.density - c * u.weighted  # E phi_u y'
        tilted = self._tilted(u, v)
        dense = level * u.density + rise * of_density + d0 * self.density_u
        dense = dense + d1 * (v.mean * self.density_u + v.variance * self.densities - c * tilted)
        both = self._place(u, v) * self.densities  # E y phi_u phi_v
        squared = u.mean * tilted + u.variance * self.density_u + c * both  # E y² phi_u o_v (1 + s²)
        first = 1.0 + u.variance
        curved = self.density_u - (1.0 / first) * squared
        bent = (1.0 / first) * (u.density - (u.mean / first) * (u.mean * u.density))
        line = level * u.weighted + rise * (v.mean * u.weighted + c * bent) + d0 * tilted
        line = line + d1 * (v.mean * tilted + v.variance * both + c * curved)
        found = rise * of_value + d1 * (odd + line) + d0 * dense
        slope = rise + d1 * (u.odd.value + u.weighted.value) + d0 * u.density.value
        other = rise + d1 * (v.odd.value + v.weighted.value) + d0 * v.density.value
        size = abs(slope) * (of_value.value**2 + v.variance * other * other) ** 0.5
        return found.value, found.rounding, size

    def _place(self, one: _Side, other: _Side) -> Numbers:
        """E y under phi phi."""
        return ((1.0 + other.variance) * one.mean - self.c * other.mean) / self.determinant

    def _of(self, one: _Side) -> tuple[Known, Known]:
        """E phi o with the density of this variable, and of the other."""
        return (self.density_u, self.density_v) if one is self.u else (self.density_v, self.density_u)

    def _line_of_other(self, one: _Side, other: _Side) -> Known:
        """E y y' o(y), y' being the other."""
        of_density = other.mean * one.density - self.c * one.weighted
        return one.mean * (other.mean * one.odd + self.c * one.density) + one.variance * of_density + self.c * one.odd

    def _first(self, one: _Side, other: _Side) -> Known:
        """E y oo."""
        own, others = self._of(one)
        return one.mean * self.odd + one.variance * own + self.c * others

    def _tilted(self, one: _Side, other: _Side) -> Known:
        """E y phi(y) o(y')."""
        own, _ = self._of(one)
        return (1.0 / (1.0 + one.variance)) * (one.mean * own + self.c * self.densities)

    def _second(self) -> Known:
        """E y y' oo."""
        u, v, c = self.u, self.v, self.c
        of_density = v.mean * self.density_u + v.variance * self.densities - c * self._tilted(u, v)
        return u.mean * self._first(v, u) + u.variance * of_density + c * (self.odd + self._tilted(v, u))


def _exact(value: Any) -> Known:
    """Known to its rounding units."""
    return Known(value, _UNITS * abs(value))
