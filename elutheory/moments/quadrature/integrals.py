"""The six Gaussian moments of any activation, each with its error: by Taylor model, trapezoidal rule or panels.

Of bumps and waves whatever the trapezoidal rule leaves, by their Gaussian integrals.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import mpmath
import numpy
import sympy

from elutheory.activations.activation_function import Activation
from elutheory.activations.evaluation import NumericFunction, constant_value
from elutheory.activations.pieces import Piece
from elutheory.activations.stable_forms import stable
from elutheory.errors import InputError
from elutheory.moments.closed_forms.packet_moments import packet_derivative, packet_moments
from elutheory.moments.quadrature import taylor_model
from elutheory.moments.quadrature.derivatives import derivative
from elutheory.moments.quadrature.features import features
from elutheory.moments.quadrature.log_slope import log_slope
from elutheory.moments.quadrature.panels import REACH, by_panels
from elutheory.moments.quadrature.trapezoidal import by_trapezoidal_rule

_EPS = 2.0**-52
_OF_SERIES = 4e-15  # of Taylor models: functions of arguments of some size (test_drawn_points.py)
_LOSSY = 50.0  # |x f'(x)/f(x)| above which half a unit of x in f may be more than 5e-15 of f
_TWICE = 120  # bits
_SMOOTH = 2.0  # standard deviations that a transition must be long at least


@dataclass(frozen=True)
class Integrals:
    """mean, second moment, variance, slope mean, slope second moment, mean log slope; error estimates of each.

    `errors` are relative to the moments themselves, (6, n); `scaled_errors` relative to the root mean square of what is
    averaged, to 1 + |E ln f'| for the last.
    """

    moments: Any
    errors: Any
    scaled_errors: Any


def integrals(activation: Activation, mean: Any, std: Any) -> Integrals:
    """For float64 numpy arrays (n,), finite, std > 0. Raises InputError where too many panels are needed."""
    integrand = make_integrand(activation)
    found = numpy.empty((6, mean.size))
    errors = numpy.full((6, mean.size), _OF_SERIES)
    places, lengths = integrand.places
    # a Taylor series does not know of a bump or a step that it is far from
    steep = (numpy.abs(places - mean[:, None]) <= REACH * std[:, None]) & (lengths < _SMOOTH * std[:, None])
    smooth = ~steep.any(1)
    rest = numpy.ones(mean.size, dtype=bool)
    for piece, value, logarithm in integrand.smooth_pieces:
        inside = (mean - _end(piece.lower) > REACH * std) & (_end(piece.upper) - mean > REACH * std)
        rows = numpy.flatnonzero(inside & smooth)
        if not rows.size:
            continue
        slope = activation.derivative(mean[rows])
        moments, right = taylor_model.moments(value, logarithm, activation.symbol, mean[rows], std[rows], slope)
        if logarithm is None:
            moments[5] = integrand.logarithm
        _mend_cancellation(activation, mean[rows], slope, moments)
        found[:, rows[right]] = moments[:, right]
        rest[rows[right]] = False
    rows = numpy.flatnonzero(rest)
    if rows.size:
        moments, left, right = by_trapezoidal_rule(integrand, mean[rows], std[rows])
        found[:, rows[right]], errors[:, rows[right]] = moments[:, right], left[:, right]
        rows = rows[~right]
    if rows.size and not isinstance(integrand.logarithm, NumericFunction):
        moments, left, right = packet_moments(activation, mean[rows], std[rows])
        moments[5], left[5] = integrand.logarithm, 0.0
        found[:, rows[right]], errors[:, rows[right]] = moments[:, right], left[:, right]
        rows = rows[~right]
    if rows.size:
        found[:, rows], errors[:, rows] = by_panels(integrand, mean[rows], std[rows])
    with numpy.errstate(all="ignore"):
        roots = numpy.sqrt(numpy.abs(found[[1, 4]]))
        scales = numpy.stack([roots[0], found[1], found[2], roots[1], found[4], 1.0 + numpy.abs(found[5])])
        share = numpy.abs(found) / scales
        scaled = numpy.where(numpy.isfinite(share) & (errors > 0), errors * share, errors)
    return Integrals(found, errors, scaled)


def derivative_by_quadrature(activation: Activation, quantity: str, order: int, mean: Any, std: Any) -> Any:
    """The `order`-th derivative (1 to 4) of the moment `quantity` by the mean; float64 (n,), finite, std > 0."""
    result, right = packet_derivative(activation, quantity, order, mean, std)
    rest = numpy.flatnonzero(~right)
    if rest.size:
        result[rest] = derivative(make_integrand(activation), quantity, order, mean[rest], std[rest])
    return result


def _mend_cancellation(activation: Activation, mean: Any, slope: Any, moments: Any) -> None:
    """Near a zero of f that is not at 0 an expression such as 3 x − 1 has lost digits: f(mean) by twice as many."""
    with numpy.errstate(all="ignore"):
        lossy = numpy.abs(mean * slope) > _LOSSY * numpy.abs(moments[0])
    for row in numpy.flatnonzero(lossy & numpy.isfinite(moments[0])):
        with mpmath.workprec(_TWICE):
            lost = activation(mpmath.mpf(float(mean[row]))) - mpmath.mpf(float(activation(mean[row])))
            moments[0, row] += float(lost)
            moments[1, row] = moments[0, row] ** 2 + moments[2, row]


def _end(point: sympy.Expr) -> float:
    return float("-inf") if point is -sympy.oo else float("inf") if point is sympy.oo else constant_value(point)


@dataclass(frozen=True, eq=False)
class _Integrand:
    """f, f' and ln f' as functions, and where they need care."""

    activation: Activation
    logarithm: Any  # a NumericFunction, or the number that ln f' is where it is none

    @cached_property
    def smooth_pieces(self) -> tuple[tuple[Piece, sympy.Expr, sympy.Expr | None], ...]:
        """(piece, f, ln f') in stable form, of the pieces that have a Taylor series."""
        found = []
        one = numpy.ones(1)
        for index, piece in enumerate(self.activation.pieces):
            logarithm = self.logarithm.expressions[index] if isinstance(self.logarithm, NumericFunction) else None
            value = stable(piece.expression)
            try:
                taylor_model.moments(value, logarithm, self.activation.symbol, one, one, one)
            except InputError:
                continue
            found.append((piece, value, logarithm))
        return tuple(found)

    @cached_property
    def places(self) -> tuple[Any, Any]:
        """Where f changes fast, and the lengths on which it does."""
        pairs = features(self.activation)
        return numpy.array([place for place, _ in pairs]), numpy.array([length for _, length in pairs])

    @cached_property
    def kinks(self) -> tuple[float, ...]:
        return tuple(constant_value(point) for point in self.activation.breakpoints)

    def __call__(self, x: Any) -> tuple[Any, Any, Any]:
        """f, f', ln f' (None where it is a number), at float64 x of any shape."""
        logarithm = self.logarithm(x) if isinstance(self.logarithm, NumericFunction) else None
        return self.activation(x), self.activation.derivative(x), logarithm


@lru_cache(maxsize=256)
def make_integrand(activation: Activation) -> _Integrand:
    """f, f' and ln f' of an activation, with what the rules ask of them; kept."""
    return _Integrand(activation, log_slope(activation))
