"""E[f^(order)(U) f^(order)(V)] for zero means as a Chebyshev series in both log standard deviations and the angle.

In the angle, where f has no kink or one at 0, the kernel has no singularity at cosine ±1, and series of 20 to 50 terms
reach rounding; in the cosine they would not converge. What is interpolated is the kernel over the root mean squares of
f^(order)(U) and f^(order)(V), a number in [−1, 1]. Checked where it was not built; where it fails, there is none.

E[f^(order)(U) f^(order)(V)] of centred pairs on a grid, standard deviations × standard deviations × angles.

With x = U/std_u, M(x) = E[f^(order)(V) | x] depends on std_v and the angle θ only, f^(order)(std_u x) on std_u only:
at every θ, Σ_x weight(x) f^(order)(std_u x) M(x) is a product of two matrices. One rule in x serves all standard
deviations where f has one kink, at 0; else every pair is evaluated by itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
from numpy.polynomial.chebyshev import chebvander

from elutheory.kernels.analytic.lattice import lattice_grid
from elutheory.kernels.analytic.mehler import mehler_grid
from elutheory.kernels.expectations import centred_pair_expectation
from elutheory.moments.closed_forms import PiecewiseForm, piecewise_form
from elutheory.moments.floating_point import gaussian_moments
from elutheory.moments.quadrature.features import parity
from elutheory.numerics.arrays import library
from elutheory.numerics.chebyshev import clenshaw, coefficients, horner, kept, monomial_coefficients, nodes
from elutheory.numerics.quadrature import integrals_from, nodes_and_weights

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation


TOLERANCE = 2e-13
_CUT = 1e-14
_ANGLE_COUNTS = (33, 65, 97)
_NORM_COUNTS = (9, 17, 33, 49)
_CHECKS = 256
_CHECK_SEED = 1


@dataclass(frozen=True, eq=False)
class KernelInterpolant:
    """Coefficients (norm, norm, angle) on [lower, upper]² × [0, π], lower and upper being log standard deviations.

    `error`: the largest deviation at random points, relative to the root mean squares' product.
    """

    lower: float
    upper: float
    coefficients: Any
    monomials: Any | None
    error: float

    def on(self, left: Any, right: Any, like: Any) -> "PairSeries":
        """Ready for the pairs of two sets of log standard deviations (numpy), in the library and place of `like`."""
        table = self.coefficients if self.monomials is None else self.monomials
        descending = numpy.moveaxis(table, -1, 0)[::-1]
        first, second = (chebvander(self._scaled(x), table.shape[0] - 1) for x in (left, right))
        rows = numpy.matmul(first, descending)  # (angle, left, norm)
        xp = library(like)
        if xp is not numpy:
            rows, second = (xp.as_tensor(a.copy(), dtype=like.dtype, device=like.device) for a in (rows, second))
        constants = tuple(descending[:, 0, 0].tolist()) if table.shape[0] == 1 else None
        return PairSeries(clenshaw if self.monomials is None else horner, rows, second.T, constants)

    def _scaled(self, x: Any) -> Any:
        return (2.0 * x - (self.upper + self.lower)) / (self.upper - self.lower)


@dataclass(frozen=True, eq=False)
class PairSeries:
    """The series in the angle of every pair: coefficient k of pair (i, j) is rows[k, i] · columns[:, j]."""

    summation: Callable[[Any, Any], Any]
    rows: Any
    columns: Any
    constants: tuple[float, ...] | None

    def __call__(self, rows: slice, columns: slice, angle: Any) -> Any:
        """Over the root mean squares' product, for a tile of angles."""
        t = angle * (2.0 / 3.141592653589793)
        t -= 1.0
        if self.constants is not None:
            return self.summation(t, self.constants)
        return self.summation(t, self._coefficients(rows, columns))

    def _coefficients(self, rows: slice, columns: slice) -> Iterator[Any]:
        right = self.columns[:, columns]
        for k in range(len(self.rows)):
            yield self.rows[k, rows] @ right


def kernel_interpolant(
    activation: "Activation", order: int, lower: float, upper: float, largest_cost: int
) -> KernelInterpolant | None:
    """The interpolant for log standard deviations in [lower, upper], None where it is not accurate to `TOLERANCE`.

    None, too, where it would take more than `largest_cost` evaluations of the kernel.
    """
    if largest_cost < _CHECKS:
        return None
    middle, half = 0.5 * (upper + lower), max(0.5 * (upper - lower), 1e-9)
    lower, upper = middle - half, middle + half
    ends, few_angles = numpy.array([lower, upper]), numpy.array([0.2, 1.5, 2.9])

    def kernel(x: Any, y: Any, angle: Any) -> Any:
        return normalised_grid(activation, order, x, y, angle)

    # With values along the leading axis: coefficients in the angle, and in one norm.
    angle_count = _count(_ANGLE_COUNTS, lambda t: numpy.moveaxis(kernel(ends, ends, _angle(t)), -1, 0))
    norm_count = _count(_NORM_COUNTS, lambda t: kernel(middle + half * t, ends, few_angles))
    if angle_count is None or norm_count is None:
        return None
    others = 1 if has_common_rule(activation) else norm_count
    if norm_count * others * angle_count + _CHECKS > largest_cost:
        return None
    norms = middle + half * nodes(norm_count)
    values = kernel(norms, norms, _angle(nodes(angle_count)))
    for axis in range(3):
        values = coefficients(values, axis)
    table = _chopped(values)
    rng = numpy.random.default_rng(_CHECK_SEED)
    x, y = middle + half * rng.uniform(-1, 1, (2, _CHECKS))
    angle = numpy.pi * rng.uniform(0, 1, _CHECKS) ** numpy.where(rng.random(_CHECKS) < 0.3, 4.0, 1.0)
    places = ((x - middle) / half, (y - middle) / half, 2.0 * angle / numpy.pi - 1.0)
    values_of = [chebvander(t, count - 1) for t, count in zip(places, table.shape, strict=True)]
    found = numpy.tensordot(values_of[0], table, 1)
    for polynomial in values_of[1:]:
        found = (found * polynomial.reshape(*polynomial.shape, *([1] * (found.ndim - 2)))).sum(1)
    error = float(numpy.max(numpy.abs(found - normalised_kernel(activation, order, x, y, angle))))
    if not error <= TOLERANCE:
        return None
    return KernelInterpolant(lower, upper, table, _monomials(table), error)


def normalised_kernel(activation: "Activation", order: int, x: Any, y: Any, angle: Any) -> Any:
    """E[f^(order)(U) f^(order)(V)] over the root mean squares; x, y: log standard deviations (float64 numpy arrays)."""
    std_u, std_v = numpy.exp(x), numpy.exp(y)
    value = centred_pair_expectation(activation, order, std_u, std_v, numpy.cos(angle), numpy.sin(angle))
    return value / (root_mean_square(activation, order, std_u) * root_mean_square(activation, order, std_v))


def normalised_grid(activation: "Activation", order: int, x: Any, y: Any, angle: Any) -> Any:
    """`normalised_kernel` for all x, all y and all angles, of shape (len(x), len(y), len(angle))."""
    std_u, std_v = numpy.exp(x), numpy.exp(y)
    value = grid_expectation(activation, order, std_u, std_v, angle)
    root = root_mean_square(activation, order, numpy.concatenate([std_u, std_v]))
    return value / (root[: len(x), None, None] * root[len(x) :, None])


def root_mean_square(activation: "Activation", order: int, std: Any) -> Any:
    """√E f^(order)(U)² for U ~ N(0, std²), each distinct std once; 1 where it is 0."""
    distinct, place = numpy.unique(std, return_inverse=True)
    moments = gaussian_moments(activation, numpy.zeros_like(distinct), distinct)
    root = numpy.sqrt(moments.slope_second_moment if order else moments.second_moment)
    return numpy.where(root > 0.0, root, 1.0)[place].reshape(numpy.shape(std))


def _angle(t: Any) -> Any:
    return 0.5 * numpy.pi * (t + 1.0)


def _count(counts: tuple[int, ...], sections: Callable[[Any], Any]) -> int | None:
    """How many nodes resolve all sections (along the leading axis), None if more than the largest count."""
    for count in counts:
        series = coefficients(sections(nodes(count))).reshape(count, -1)
        if not numpy.isfinite(series).all():
            return None
        needed = max(kept(column, _CUT) for column in series.T)
        if needed <= count - 2:
            return min(needed + 2, count)
    return None


def _chopped(table: Any) -> Any:
    """Without the highest degrees that do not matter: coefficients left out sum to at most 3 `_CUT`."""
    size = numpy.abs(table)
    norm = kept(size.sum((1, 2)), _CUT)
    angle = kept(size.sum((0, 1)), _CUT)
    return table[:norm, :norm, :angle]


def _monomials(table: Any) -> Any | None:
    """Chebyshev in the norms, monomial in the angle, where that costs no digits for any pair of norms."""
    grid = chebvander(nodes(2 * len(table) + 1), len(table) - 1)
    on_grid = numpy.einsum("ai,bj,ijk->kab", grid, grid, table, optimize=True)
    if monomial_coefficients(on_grid) is None:
        return None
    monomials = monomial_coefficients(numpy.moveaxis(table, -1, 0))
    return None if monomials is None else numpy.moveaxis(monomials, 0, -1)


_REACH = 9.0  # of the normal density: 1e-19 lies beyond
_DEGREE = 16
_SAME_ANGLE = 1e-15  # two roundings of π
_SERIES_TOLERANCE = 5e-14  # of the root mean squares; else pair by pair
_FIXED = (0.0, 2.0, 4.5, _REACH)
_TRANSITION = (2.5, 6.0, 9.5, 14.0)  # of M', in its own width tan θ
_DECAY = (2.0, 5.0, 9.0, 14.0, 20.0, 28.0, 40.0)  # of e^{rate U}, in its own length


def has_common_rule(activation: "Activation") -> bool:
    """Whether `grid_expectation` costs about as much as len(std_v) × len(angle) single pairs, whatever len(std_u)."""
    form = piecewise_form(activation)
    return form is not None and form.tilt > 0.0


def grid_expectation(activation: "Activation", order: int, std_u: Any, std_v: Any, angle: Any) -> Any:
    """Shape (len(std_u), len(std_v), len(angle)) from one-dimensional float64 numpy arrays; std > 0, 0 <= angle <= π.

    Order 0 or 1. Accuracy: rounding of √(E f^(order)(U)² E f^(order)(V)²).
    """
    symmetry = parity(activation) * (-1) ** order
    opposite = len(angle) // 2
    if not symmetry or not numpy.allclose(angle, numpy.pi - angle[::-1], rtol=0.0, atol=_SAME_ANGLE):
        return _grid(activation, order, std_u, std_v, angle)
    # for even and odd functions the sign of V does not matter but for a sign
    values = _grid(activation, order, std_u, std_v, angle[opposite:])
    return numpy.concatenate([symmetry * values[:, :, : -opposite - 1 : -1], values], -1)


def _grid(activation: "Activation", order: int, std_u: Any, std_v: Any, angle: Any) -> Any:
    form = piecewise_form(activation)
    if form is not None and form.tilt > 0.0:
        sine = numpy.clip(numpy.sin(angle), 0.0, None)
        means = _means(form, sine[:, None] * std_v) if order == 0 else numpy.zeros((len(angle), 1))
        columns = (numpy.cos(angle), sine, means)
        return numpy.stack([_products(form, order, std_u, std_v, *row) for row in zip(*columns, strict=True)], -1)
    shape = (len(std_u), len(std_v), len(angle))
    columns = (std_u[:, None, None], std_v[:, None], numpy.cos(angle), numpy.sin(angle))
    values, error = numpy.empty(shape), numpy.full(shape, numpy.inf)
    if form is None and not activation.breakpoints:
        with numpy.errstate(all="ignore"):
            values, error = mehler_grid(activation, order, std_u, std_v, columns[2])
            close = numpy.flatnonzero((error > _SERIES_TOLERANCE).any((0, 1)))  # angles near 0 and π
            found, accuracy = lattice_grid(activation, order, std_u, std_v, columns[2][close], columns[3][close])
            better = accuracy < error[:, :, close]
            values[:, :, close] = numpy.where(better, found, values[:, :, close])
            error[:, :, close] = numpy.where(better, accuracy, error[:, :, close])
    left = ~(error <= _SERIES_TOLERANCE)
    if left.any():
        chosen = (numpy.broadcast_to(column, shape)[left] for column in columns)
        values[left] = centred_pair_expectation(activation, order, *chosen)
    return values


def _products(form: PiecewiseForm, order: int, std_u: Any, std_v: Any, cosine: Any, sine: Any, means: Any) -> Any:
    """At one angle; `means`: E f(std_v sine Z), for order 0."""
    edges = _edges(form, max(std_u.max(), std_v.max()), abs(cosine), sine)
    x, weight, half = nodes_and_weights(edges, _DEGREE)
    # M is taken along increasing V: U falls where the correlation is negative
    u = (std_u if cosine >= 0.0 else -std_u)[:, None, None] * x
    slope_v = std_v[:, None, None] * abs(cosine)
    mean_v = slope_v * x
    slopes = form.conditional_slope(mean_v, std_v[:, None, None] * sine) if sine > 0.0 else form.slope(mean_v)
    if order:
        return _sum(weight * form.slope(u), slopes)
    values = weight * form.value(u)
    return _sum(values, slope_v * integrals_from(numpy.zeros(1), slopes, half, edges)) + numpy.outer(
        values.sum((1, 2)), means
    )


def _means(form: PiecewiseForm, std: Any) -> Any:
    """E f(std Z); f(0) = 0."""
    positive = std > 0.0
    safe = numpy.where(positive, std, 1.0).reshape(-1)
    return numpy.where(positive, form.moments(numpy.zeros_like(safe), safe)[0].reshape(std.shape), 0.0)


def _sum(left: Any, right: Any) -> Any:
    return left.reshape(len(left), -1) @ right.reshape(len(right), -1).T


def _edges(form: PiecewiseForm, largest_std: float, cosine: float, sine: float) -> Any:
    width, length = sine / max(cosine, 1e-300), 1.0 / (form.tilt * largest_std)
    ends = [*_FIXED, *(width * multiple for multiple in _TRANSITION), *(length * multiple for multiple in _DECAY)]
    places = numpy.unique(numpy.clip(ends, 0.0, _REACH))
    return numpy.concatenate([-places[:0:-1], places])[None]
