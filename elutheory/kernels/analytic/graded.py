"""Pair expectations of analytic f where U and V spread over many widths of its features: graded trapezoidal rules.

Given x = (U − mean_u)/std_u, V is normal, and E g(U)g(V) = ∫ φ(x) g(U) M(x) dx, M(x) = E[g(V) | x]. Both integrals are
taken at equal steps of t(x) = κ x + A Σ_c asinh((x − c)/w): steps of the width w of a feature of g next to its place c,
growing in proportion to the distance, bounded by what resolves φ. For analytic g the error falls like e^{−a/step}: the
sums over every second node, of the outer and of the inner rule, have about its square root.

One pair at a time: hundreds of nodes each way, whatever the standard deviations are.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

from elutheory.activations.kinks import second_derivative
from elutheory.kernels.analytic.scales import Feature, features
from elutheory.numerics.arrays import on_host, place_like
from elutheory.numerics.normal_tails import DENSITY_AT_ZERO, normal_density
from elutheory.numerics.quadrature import gauss_legendre

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

_DENSITY = 1.0 / 0.6  # nodes a standard deviation
_GRADING = 6.5  # nodes a feature's half width and, far from it, a factor e of distance
_REFINEMENTS = (1.0, 1.5, 2.25)
_MOST_NODES = 4000
_NEGLIGIBLE = 1e-22
_HALF_WIDTH = 8.6  # of φ: 1e-16 of its peak
_REACH = 38.5  # φ is subnormal beyond
_AGREEMENT = 3e-8
_ROUNDING = 1e-14  # what sums of products of that many rounded numbers were seen to leave, relative to the size


# --- one pair -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Rule:
    """Nodes, and weights without φ: equal steps of a graded variable."""

    x: Any
    weight: Any


def graded_expectations(activation: "Activation", quantity: str, *columns: Any) -> tuple[Any, Any]:
    """`graded_expectation` of every pair: the numbers, and their errors relative to the size.

    One-dimensional float64 arrays, numpy or torch: means, standard deviations, cosine, sine; computed on the host.
    """
    found = [graded_expectation(activation, quantity, *pair) for pair in zip(*map(_numbers, columns), strict=True)]
    value, error, size = (numpy.array(part) for part in zip(*found, strict=True))
    with numpy.errstate(all="ignore"):
        relative = numpy.where(error == 0.0, 0.0, error / size)
    return place_like(value, columns[0]), place_like(relative, columns[0])


def _numbers(column: Any) -> list[float]:
    return on_host(column).tolist()


def graded_expectation(
    activation: "Activation", quantity: str, m1: float, m2: float, s1: float, s2: float, cosine: float, sine: float
) -> tuple[float, float, float]:
    """value, slope or covariance of an analytic f; its estimated error; and the size that the error is relative to.

    √(E f(U)² E f(V)²) of the value, √(E f'² E f'²) of the slope, |covariance| of the covariance. std > 0. The error is
    inf where the rule cannot tell or would take too many nodes.
    """
    found = features(activation)
    best = (math.nan, math.inf, math.nan)
    if found is None or not (s1 > 0.0 and s2 > 0.0):
        return best
    if (s1, m1) < (s2, m2):  # in one order, whatever the caller's: the result is exactly symmetric
        m1, m2, s1, s2 = m2, m1, s2, s1
    with numpy.errstate(all="ignore"):
        for refinement in _REFINEMENTS:
            value, error, size = _Pair(activation, found, quantity, m1, m2, s1, s2, cosine, sine, refinement).sum()
            if error < best[1] or math.isnan(best[0]):
                best = value, error, size
            if error <= 8.0 * _ROUNDING * size:
                break
    return best


def _nodes(low: float, high: float, density: float, steps: float, grades: list[tuple[float, float]]) -> _Rule | None:
    """On [low, high]: `density` nodes a unit and, near each (centre, width), `steps` a width. None: too many."""

    def t(x: Any) -> Any:
        return density * x + sum(steps * numpy.arcsinh((x - centre) / width) for centre, width in grades)

    def slope(x: Any) -> Any:
        return density + sum(steps / numpy.hypot(x - centre, width) for centre, width in grades)

    knots = [numpy.linspace(low, high, 65)]
    for centre, width in grades:
        offsets = width * 2.0 ** numpy.arange(-3.0, max(2.0, math.log2((high - low) / width) + 1.0), 0.5)
        knots += [centre - offsets, centre + offsets, numpy.array([centre])]
    table = numpy.unique(numpy.clip(numpy.concatenate(knots), low, high))
    heights = t(table)
    count = 2 * math.ceil(0.5 * float(heights[-1] - heights[0])) + 4
    if not count <= _MOST_NODES:
        return None
    wanted = numpy.linspace(heights[0], heights[-1], count + 1)
    x = numpy.interp(wanted, heights, table)
    for _ in range(6):
        x = numpy.clip(x - (t(x) - wanted) / slope(x), low, high)
    return _Rule(x, (wanted[1] - wanted[0]) / slope(x))


class _Pair:
    def __init__(
        self,
        activation: "Activation",
        found: tuple[Feature, ...],
        quantity: str,
        m1: float,
        m2: float,
        s1: float,
        s2: float,
        cosine: float,
        sine: float,
        refinement: float,
    ) -> None:
        self.f, self.found, self.quantity = activation, found, quantity
        self.m1, self.m2, self.s1, self.s2, self.cosine, self.sine = m1, m2, s1, s2, cosine, sine
        self.density, self.steps = refinement * _DENSITY, refinement * _GRADING
        self.g = activation if quantity == "value" else activation.derivative
        self.smallest = min(feature.width for feature in found)
        self.noise = 0.0  # of f(V) − f(mean_v), where that is a difference of rounded numbers
        self.hulls: dict[tuple[float, float], tuple[float, float] | None] = {}

    def sum(self) -> tuple[float, float, float]:
        """The quantity, its estimated error, and its size."""
        outer, hull_v = self._outer()
        if outer is None:
            return math.nan, math.inf, math.nan
        x = outer.x
        weight = outer.weight * normal_density(x)
        u = self.m1 + self.s1 * x
        conditional = self._conditional(x, hull_v)
        if conditional is None:
            return math.nan, math.inf, math.nan
        means, coarse_means = conditional
        if self.quantity == "covariance":
            factor = _increments(self.f.derivative, u, int(numpy.argmin(numpy.abs(x))))
            total, every_second, by_coarse = (
                _covariance(*parts)
                for parts in (
                    (weight, factor, means),
                    (2.0 * weight[::2], factor[::2], means[::2]),
                    (weight, factor, coarse_means),
                )
            )
            size = abs(total)
            rounding = self.noise * (weight @ abs(factor))
            rounding += _ROUNDING * (abs(weight @ (factor * means)) + abs((weight @ factor) * (weight @ means)))
        else:
            factor = self.g(u)
            total, by_coarse = weight @ (factor * means), weight @ (factor * coarse_means)
            every_second = 2.0 * (weight[::2] @ (factor * means)[::2])
            size = self._root()
            rounding = _ROUNDING * size
        difference = max(abs(every_second - total), abs(by_coarse - total))
        if not math.isfinite(difference):
            return float(total), math.inf, float(size)
        if difference == 0.0:
            return float(total), float(rounding), float(size)
        if not difference <= _AGREEMENT * size:
            return float(total), float(difference), float(size)
        return float(total), float(10.0 * difference * (difference / size) + rounding), float(size)

    def _grades(self, mean: float, std: float, least: float = 0.0) -> list[tuple[float, float]]:
        return [((one.at - mean) / std, math.hypot(one.width, least) / std) for one in self.found]

    def _sampled(self, mean: float, std: float) -> tuple[Any, Any]:
        """Places in standard deviations, and ln of the larger of φ|g| and φg² there, each over its largest."""
        places = [numpy.linspace(-_REACH, _REACH, 155)]
        for centre, width in self._grades(mean, std):
            offsets = width * 2.0 ** numpy.arange(-2.0, 40.0)
            places += [centre - offsets, centre + offsets]
        x = numpy.concatenate(places)
        x = numpy.unique(x[numpy.abs(x) <= _REACH])
        g = numpy.abs(self.g(mean + std * x))
        if self.quantity == "covariance":
            # f − f(mean) has at least the reach of f'; that of constants is φ's own
            g = numpy.maximum(g, numpy.abs(self.f(mean + std * x) - self.f(mean)) / std)
        size = numpy.log(g)
        logs = [power * size - 0.5 * x * x for power in (1.0, 2.0)]
        return x, numpy.maximum(*(one - numpy.nanmax(one) for one in logs))

    def _hull(self, mean: float, std: float) -> tuple[float, float] | None:
        """Where g at that mean and standard deviation has its mass, in standard deviations."""
        if (mean, std) not in self.hulls:
            self.hulls[mean, std] = self._found_hull(mean, std)
        return self.hulls[mean, std]

    def _found_hull(self, mean: float, std: float) -> tuple[float, float] | None:
        x, logs = self._sampled(mean, std)
        inside = numpy.flatnonzero(logs >= math.log(_NEGLIGIBLE))
        if not len(inside):
            return None
        low, high = max(inside[0] - 1, 0), min(inside[-1] + 1, len(x) - 1)
        return min(float(x[low]), -_HALF_WIDTH), max(float(x[high]), _HALF_WIDTH)

    def _outer(self) -> tuple[_Rule | None, tuple[float, float]]:
        hulls = self._hull(self.m1, self.s1), self._hull(self.m2, self.s2)
        if hulls[0] is None or hulls[1] is None:
            return None, (0.0, 0.0)
        # g(U) may be negligible where V has its mass, but not what comes of the two
        low, high = hulls[0]
        ends = sorted(self.cosine * end for end in hulls[1])
        low = max(min(low, ends[0] - _HALF_WIDTH * self.sine), -_REACH)
        high = min(max(high, ends[1] + _HALF_WIDTH * self.sine), _REACH)
        grades = self._grades(self.m1, self.s1)
        if self.cosine != 0.0:
            smoothed = self._grades(self.m2, self.s2 * abs(self.cosine), 2.0 * self.s2 * self.sine)
            sign = math.copysign(1.0, self.cosine)
            grades += [(sign * centre, width) for centre, width in smoothed if abs(centre) < 4.0 * _REACH]
        return _nodes(low, high, self.density, self.steps, grades), hulls[1]

    def _conditional(self, x: Any, hull: tuple[float, float]) -> tuple[Any, Any] | None:
        """M(x), by all nodes and by every second; for the covariance less f at its value at x = 0."""
        y = self.cosine * x
        q, tau = self.sine, self.s2 * self.sine
        narrow = tau <= 0.3 * self.smallest
        centres = [centre for centre, _ in self._grades(self.m2, self.s2)]
        low, high = min(hull[0], float(y.min()) - _HALF_WIDTH * q), max(hull[1], float(y.max()) + _HALF_WIDTH * q)
        near = numpy.zeros(len(x), dtype=bool)
        fine, coarse = numpy.empty(len(x)), numpy.empty(len(x))
        if not narrow:
            if q >= 0.15:
                near[:] = True
            else:
                near = (y > min(centres) - _HALF_WIDTH * q) & (y < max(centres) + _HALF_WIDTH * q)
                low = max(low, min(centres) - 2.0 * _HALF_WIDTH * q)
                high = min(high, max(centres) + 2.0 * _HALF_WIDTH * q)
            if near.any():
                rule = _nodes(low, high, self.density / q, self.steps, self._grades(self.m2, self.s2))
                if rule is None:
                    return None
                v = self.m2 + self.s2 * rule.x
                if self.quantity == "covariance":
                    first = int(numpy.argmin(numpy.abs(rule.x)))
                    g = _increments(self.f.derivative, v, first) + self._rise(float(v[first]))
                else:
                    g = self.g(v)
                kernel = numpy.exp(-0.5 * ((rule.x - y[near, None]) / q) ** 2) * (DENSITY_AT_ZERO / q)
                fine[near] = kernel @ (rule.weight * g)
                coarse[near] = kernel[:, ::2] @ (2.0 * rule.weight[::2] * g[::2])
        far = ~near
        if far.any():
            if tau == 0.0:
                fine[far], coarse[far] = self._fixed(y)[:, far]
            elif narrow or self.quantity != "covariance":
                fine[far], coarse[far] = self._narrow(y, tau)[:, far]
            else:
                # the steps of x, made for M, do not resolve f' where V has passed its features: no sum of increments
                there = float(self.f(self.m2))
                fine[far], coarse[far] = self._averages(self.f, y[far], tau) - there
                self.noise = 4e-16 * abs(there)
        return fine, coarse

    def _rise(self, v: float) -> float:
        """f(v) − f(mean_v)."""
        if abs(v - self.m2) > self.smallest:
            self.noise = 4e-16 * abs(float(self.f(v)))
            return float(self.f(v) - self.f(self.m2))
        points, weights = gauss_legendre(20)
        half = 0.5 * (v - self.m2)
        return float(half * (self.f.derivative(self.m2 + half * (1.0 + points)) @ weights))

    def _fixed(self, y: Any) -> Any:
        v = self.m2 + self.s2 * y
        if self.quantity != "covariance":
            value = self.g(v)
        else:
            first = int(numpy.argmin(numpy.abs(y)))
            value = _increments(self.f.derivative, v, first) + self._rise(float(v[first]))
        return numpy.stack([value, value])

    def _narrow(self, y: Any, tau: float) -> Any:
        """Where V given x is narrow next to what f varies over: equal steps of φ."""
        z, weight = self._lattice()
        v = self.m2 + self.s2 * y
        if self.quantity == "covariance":
            # E f(v + τ Z) − f(v) = τ² ∫_0^1 E f''(v + r τ Z) r dr, nothing subtracted
            points, weights = gauss_legendre(8)
            r = 0.5 * (1.0 + points)
            curvature = second_derivative(self.f)(v[:, None, None] + tau * r[:, None] * z)
            by_node = numpy.einsum("irz,r->iz", curvature, 0.5 * weights * r) * tau**2
            value = self._fixed(y)[0]
            return numpy.stack([value + by_node @ weight, value + 2.0 * (by_node[:, ::2] @ weight[::2])])
        return self._averages(self.g, y, tau)

    def _averages(self, g: Any, y: Any, tau: float) -> Any:
        """E g(V) given y = (E V − mean_v)/std_v, by all nodes and by every second."""
        z, weight = self._lattice()
        values = g(self.m2 + self.s2 * y[:, None] + tau * z)
        return numpy.stack([values @ weight, 2.0 * (values[:, ::2] @ weight[::2])])

    def _lattice(self) -> tuple[Any, Any]:
        step = 1.0 / self.density
        count = 2 * math.ceil(0.5 * _HALF_WIDTH / step)
        z = step * numpy.arange(-count, count + 1)
        return z, step * normal_density(z)

    def _root(self) -> float:
        """√(E g(U)² E g(V)²)."""
        squares = []
        for mean, std in ((self.m1, self.s1), (self.m2, self.s2)):
            hull = self._hull(mean, std)
            rule = _nodes(*hull, self.density, self.steps, self._grades(mean, std)) if hull else None
            if rule is None:
                return math.nan
            squares.append(float((rule.weight * normal_density(rule.x)) @ self.g(mean + std * rule.x) ** 2))
        return math.sqrt(squares[0]) * math.sqrt(squares[1])


def _covariance(weight: Any, u: Any, v: Any) -> Any:
    return weight @ (u * v) - (weight @ u) * (weight @ v)


def _increments(slope: Any, x: Any, first: int) -> Any:
    """f(x_i) − f(x_first) for neighbouring x: integrals of f' from node to node, summed outwards."""
    points, weights = gauss_legendre(8)
    half = 0.5 * numpy.diff(x)
    parts = half * (slope((x[:-1] + half)[:, None] + half[:, None] * points) @ weights)
    result = numpy.zeros(len(x))
    result[first + 1 :] = numpy.cumsum(parts[first:])
    result[:first] = -numpy.cumsum(parts[:first][::-1])[::-1]
    return result
