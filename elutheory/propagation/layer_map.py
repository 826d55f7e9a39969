"""P1–P3 for one layer: what a layer does to the covariance [[q, c], [c, q]] of a unit's net input at two inputs.

The difference v = q − c is never formed by subtraction where it matters. With cos θ = c/q, Price's theorem gives

E f² − E[f(U)f(V)] = q ∫_0^θ E[f'(U)f'(V)]_t sin t dt,   Cov(f(U), f(V)) = q ∫_θ^{π/2} E[f'(U)f'(V)]_t sin t dt

(K3; t is the angle between U and V), with positive integrands for c >= 0. Hence v keeps its relative accuracy when it
is 1e-200 of q, and c when it is 1e-200 of q.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy
import sympy

from elutheory.activations.kinks import refuse_discontinuous
from elutheory.errors import InputError
from elutheory.kernels.expectations import centred_pair_expectation
from elutheory.moments.floating_point import gaussian_moments
from elutheory.numerics.quadrature import gauss_legendre, legendre_coefficients

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation


# Below it the slopes' moments are the limits q → 0.
_SMALLEST_STD = 1e-150
_ORDERS = (14, 24)
_RESOLVED = 1e-10  # of the last coefficients; the rule is exact to twice the order, and errs by about the square
_MOST_BISECTIONS = 80
_STEP = 1e-3


@dataclass(frozen=True)
class SingleMoments:
    """E f, E f², Var f and E f'² at √q Z; chi = weight_variance × slope_second_moment (P3)."""

    mean: float
    second_moment: float
    variance: float
    slope_second_moment: float

    def refuse_overflow(self, activation: "Activation", q: float) -> None:
        """Raise InputError where one of the moments leaves the range of float64."""
        if not all(map(math.isfinite, (self.second_moment, self.variance, self.slope_second_moment))):
            raise InputError(
                f"the moments of {activation} at net inputs of variance {q:.3g} are too large for float64; scale the "
                "function or the variances down."
            )


@dataclass(frozen=True)
class PairMoments:
    """Of (f(U), f(V)): the covariance, half_squared_difference = ½E(f(U) − f(V))², and slope_product = E f'(U)f'(V)."""

    covariance: float
    half_squared_difference: float
    slope_product: float


@lru_cache(maxsize=4096)
def single_moments(activation: "Activation", q: float) -> SingleMoments:
    """The moments of f(√q Z), q >= 0; at q = 0 the limit q → 0 of E f'²."""
    std = math.sqrt(q)
    m = gaussian_moments(activation, 0.0, std)
    slopes = m if std >= _SMALLEST_STD else gaussian_moments(activation, 0.0, _SMALLEST_STD)
    mean = 0.0 if _is_odd(activation) else float(m.mean)
    return SingleMoments(mean, float(m.second_moment), float(m.variance), float(slopes.slope_second_moment))


@lru_cache(maxsize=256)
def _is_odd(activation: "Activation") -> bool:
    """True where one expression says so: its mean is 0, which quadrature finds to rounding only."""
    x, f = activation.symbol, activation.expression
    return len(activation.pieces) == 1 and sympy.expand(f + f.subs(x, -x)) == 0


def second_moment_slope(activation: "Activation", q: float) -> float:
    """d/dq E f(√q Z)², q > 0, by five-point differences in ln q: about 1e-12 of E f²/q."""
    return _logarithmic_slope(activation, q, "second_moment")


def mean_slope(activation: "Activation", q: float) -> float:
    """d/dq E f(√q Z) = ½E f''(√q Z), q > 0, by five-point differences in ln q."""
    return _logarithmic_slope(activation, q, "mean")


def _logarithmic_slope(activation: "Activation", q: float, name: str) -> float:
    stds = numpy.sqrt(q * numpy.exp(_STEP * numpy.array([-2.0, -1.0, 1.0, 2.0])))
    values = getattr(gaussian_moments(activation, 0.0, stds), name)
    return float((values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * _STEP * q))


def pair_moments(activation: "Activation", q: float, v: float, c: float) -> PairMoments:
    """The pair's moments at variance q > 0, covariance c = q − v; both v and c are given, each accurate by itself.

    Raises InputError for a discontinuous f (Price's theorem fails), where moments leave the range of float64, and where
    the integrals do not converge.
    """
    refuse_discontinuous(activation)
    single = single_moments(activation, q)
    single.refuse_overflow(activation, q)
    variance = single.variance
    root = math.sqrt(v), math.sqrt(max(q + c, 0.0))  # of c = −q rounding may leave less
    angle, complement = 2.0 * math.atan2(*root), math.atan2(c, root[0] * root[1])

    def from_equal(t: Any, cosine: Any, sine: Any) -> tuple[Any, Any]:
        """t is the angle between U and V."""
        return _slope_product(activation, q, cosine, sine), sine

    def from_right_angle(t: Any, cosine: Any, sine: Any) -> tuple[Any, Any]:
        """t is its complement."""
        return _slope_product(activation, q, sine, cosine), cosine

    if c <= v:
        integral, slope_product = _integral(from_right_angle, complement, activation)
        return PairMoments(q * integral, variance - q * integral, slope_product)
    integral, slope_product = _integral(from_equal, angle, activation)
    rest = variance - q * integral
    if rest < 0.1 * variance:
        rest = q * _integral(from_right_angle, complement, activation)[0]
    return PairMoments(rest, q * integral, slope_product)


def _slope_product(activation: "Activation", q: float, cosine: Any, sine: Any) -> Any:
    """E f'(U)f'(V) for one-dimensional arrays."""
    stds = numpy.full_like(cosine, math.sqrt(q))
    return centred_pair_expectation(activation, 1, stds, stds, cosine, sine)


def _integral(
    integrand: Callable[[Any, Any, Any], tuple[Any, Any]], end: float, activation: "Activation"
) -> tuple[float, float]:
    """∫_0^end g w dt of (g, w) = integrand(t, cos t, sin t), and g(end).

    |end| <= π. Gauss–Legendre panels, halved until the Legendre series of g w decays.
    """
    total, at_end = 0.0, math.nan
    panels = [(0.0, end)]
    for order in (*_ORDERS, *(_ORDERS[-1] for _ in range(_MOST_BISECTIONS))):
        nodes, weights = gauss_legendre(order)
        starts, ends = (numpy.array(side)[:, None] for side in zip(*panels, strict=True))
        t = starts + (ends - starts) * (0.5 + 0.5 * nodes)
        points = numpy.append(t.reshape(-1), end)
        values, factors = integrand(points, numpy.cos(points), numpy.sin(points))
        at_end, values = float(values[-1]), (values * factors)[:-1].reshape(t.shape)
        lengths = abs(ends - starts)[:, 0]
        parts = (ends - starts)[:, 0] * (values @ (0.5 * weights))
        tail = lengths * abs(values @ legendre_coefficients(order))[:, -2:].max(1)
        negligible = 1e-16 * (abs(total) + abs(parts).sum()) / len(panels)
        accepted = (tail <= _RESOLVED * lengths * abs(values).max(1)) | (tail <= negligible)
        total += float(parts[accepted].sum())
        if accepted.all():
            return total, at_end
        if order < _ORDERS[-1]:
            total = 0.0
            continue
        rest = [panel for panel, done in zip(panels, accepted, strict=True) if not done]
        panels = [half for a, b in rest for half in ((a, 0.5 * (a + b)), (0.5 * (a + b), b))]
    raise InputError(f"the correlation map of {activation} cannot be integrated to {_RESOLVED:.0e}.")


def depth_scale(slope: float) -> float:
    """−1/ln slope: what the map multiplies by `slope` a layer shrinks e-fold in so many; negative: grows; inf at 1."""
    if slope <= 0:
        return 0.0 if slope == 0 else math.nan
    logarithm = math.log(slope)
    return -1.0 / logarithm if logarithm != 0 else math.inf
