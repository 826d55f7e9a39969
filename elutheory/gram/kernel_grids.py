"""E[f^(order)(U) f^(order)(V)] of centred pairs on a grid, standard deviations × standard deviations × angles.

With x = U/std_u, M(x) = E[f^(order)(V) | x] depends on std_v and the angle θ only, f^(order)(std_u x) on std_u only:
at every θ, Σ_x weight(x) f^(order)(std_u x) M(x) is a product of two matrices. One rule in x serves all standard
deviations where f has one kink, at 0; else every pair is evaluated by itself.
"""

from typing import TYPE_CHECKING, Any

from elutheory.kernels.trapezoid import centred_pair_expectation
from elutheory.moments.closed_forms import closed_form, moments
from elutheory.moments.conditional_slopes import conditional_slope, function, slope
from elutheory.moments.exponential_linear import ExponentialLinear
from elutheory.numerics.quadrature import integrals_from, nodes_and_weights

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

_REACH = 9.0  # of the normal density: 1e-19 lies beyond
_DEGREE = 16
_FIXED = (0.0, 2.0, 4.5, _REACH)
_TRANSITION = (2.5, 6.0, 9.5, 14.0)  # of M', in its own width tan θ
_DECAY = (2.0, 5.0, 9.0, 14.0, 20.0, 28.0, 40.0)  # of e^{rate U}, in its own length


def has_common_rule(activation: "Activation") -> bool:
    """Whether `grid_expectation` costs about as much as len(std_v) × len(angle) single pairs, whatever len(std_u)."""
    return isinstance(closed_form(activation), ExponentialLinear)


def grid_expectation(activation: "Activation", order: int, std_u: Any, std_v: Any, angle: Any) -> Any:
    """Shape (len(std_u), len(std_v), len(angle)) from one-dimensional float64 numpy arrays; std > 0, 0 <= angle <= π.

    Order 0 or 1. Accuracy: rounding of √(E f^(order)(U)² E f^(order)(V)²).
    """
    import numpy

    form = closed_form(activation)
    if isinstance(form, ExponentialLinear):
        sine = numpy.clip(numpy.sin(angle), 0.0, None)
        means = _means(form, sine[:, None] * std_v) if order == 0 else numpy.zeros((len(angle), 1))
        columns = (numpy.cos(angle), sine, means)
        return numpy.stack([_products(form, order, std_u, std_v, *row) for row in zip(*columns, strict=True)], -1)
    shape = (len(std_u), len(std_v), len(angle))
    columns = (std_u[:, None, None], std_v[:, None], numpy.cos(angle), numpy.sin(angle))
    flat = (numpy.broadcast_to(column, shape).reshape(-1) for column in columns)
    return centred_pair_expectation(activation, order, *flat).reshape(shape)


def _products(form: ExponentialLinear, order: int, std_u: Any, std_v: Any, cosine: Any, sine: Any, means: Any) -> Any:
    """At one angle; `means`: E f(std_v sine Z), for order 0."""
    import numpy

    edges = _edges(form, max(std_u.max(), std_v.max()), abs(cosine), sine)
    x, weight, half = nodes_and_weights(edges, _DEGREE)
    # M is taken along increasing V: U falls where the correlation is negative
    u = (std_u if cosine >= 0.0 else -std_u)[:, None, None] * x
    slope_v = std_v[:, None, None] * abs(cosine)
    mean_v = slope_v * x
    slopes = conditional_slope(form, mean_v, std_v[:, None, None] * sine) if sine > 0.0 else slope(form, mean_v)
    if order:
        return _sum(weight * slope(form, u), slopes)
    values = weight * function(form, u)
    return _sum(values, slope_v * integrals_from(numpy.zeros(1), slopes, half, edges)) + numpy.outer(
        values.sum((1, 2)), means
    )


def _means(form: ExponentialLinear, std: Any) -> Any:
    """E f(std Z); f(0) = 0."""
    import numpy

    positive = std > 0.0
    safe = numpy.where(positive, std, 1.0).reshape(-1)
    return numpy.where(positive, moments(form, numpy.zeros_like(safe), safe)[0].reshape(std.shape), 0.0)


def _sum(left: Any, right: Any) -> Any:
    return left.reshape(len(left), -1) @ right.reshape(len(right), -1).T


def _edges(form: ExponentialLinear, largest_std: float, cosine: float, sine: float) -> Any:
    import numpy

    width, length = sine / max(cosine, 1e-300), 1.0 / (form.rate * largest_std)
    ends = [*_FIXED, *(width * multiple for multiple in _TRANSITION), *(length * multiple for multiple in _DECAY)]
    places = numpy.unique(numpy.clip(ends, 0.0, _REACH))
    return numpy.concatenate([-places[:0:-1], places])[None]
