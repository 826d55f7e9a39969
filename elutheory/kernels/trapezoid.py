"""E f(U)f(V) and E f'(U)f'(V) of centred pairs for f without kinks: the trapezoid rule in both variables.

For analytic functions its error falls like e^{−a/h}: the sum over every second node has the square root of that error,
and says whether the step h is small enough. It is checked for every pair.
"""

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy

from elutheory.kernels.expectations import pair_expectation
from elutheory.moments.closed_forms import closed_form

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation


_REACH = 9.6  # of the standard normal density, 1e-20 of its peak
_STEPS = tuple(0.6 / 2 ** (k / 2) for k in range(9))
_AGREEMENT = 1e-8  # of the two sums; its square is the error
_BLOCK = 2**18  # evaluations of f or f' at a time


def centred_pair_expectation(
    activation: "Activation", order: int, std_u: Any, std_v: Any, cosine: Any, sine: Any
) -> Any:
    """E f^(order)(U) f^(order)(V), order 0 or 1, of centred pairs, by the quickest accurate rule.

    One-dimensional float64 numpy arrays; arguments as in `pair_expectations.pair_expectation`.
    """
    if closed_form(activation) is None:
        values = smooth_products(activation, order, std_u, std_v, cosine, sine)
        if values is not None:
            return values
    zero = numpy.zeros_like(cosine)
    return pair_expectation(activation, order, zero, zero, std_u, std_v, cosine, sine)


def smooth_products(activation: "Activation", order: int, std_u: Any, std_v: Any, cosine: Any, sine: Any) -> Any:
    """E f^(order)(U) f^(order)(V), U ~ N(0, std_u²), V ~ N(0, std_v²) of correlation `cosine`; None: no convergence.

    One-dimensional arrays; `sine` = √(1 − cosine²) is taken as it is. Error: rounding of √(E f²(U) E f²(V)), or f'.
    None as well where f has kinks, or is too steep for the finest step.
    """
    if not len(cosine):
        return numpy.zeros_like(cosine)
    largest = float(max(std_u.max(), std_v.max()))
    step = _step(activation, order, largest) if len(activation.pieces) == 1 else None
    if step is None:
        return None
    x, weight = _nodes(step)
    block = max(1, _BLOCK // len(x) ** 2)
    parts = []
    for start in range(0, len(cosine), block):
        columns = (side[start : start + block, None, None] for side in (std_u, std_v, cosine, sine))
        first, second, rho, sigma = columns
        outer = _values(activation, order, first[..., 0] * x)
        inner = _values(activation, order, second * (rho * x[:, None] + sigma * x))  # (pair, node of U, of V's rest)
        squares = (outer**2 @ weight) * (_values(activation, order, second[..., 0] * x) ** 2 @ weight)
        outer = outer * weight
        fine = ((inner @ weight) * outer).sum(1)
        coarse = 4 * ((inner[:, ::2, ::2] @ weight[::2]) * outer[:, ::2]).sum(1)
        if not (abs(fine - coarse) <= _AGREEMENT * numpy.sqrt(squares)).all():
            return None
        parts.append(fine)
    return numpy.concatenate(parts)


@lru_cache(maxsize=4096)
def _step(activation: "Activation", order: int, std: float) -> float | None:
    """The largest step that finds E f^(order)(U)²."""
    for step in _STEPS:
        x, weight = _nodes(step)
        squares = _values(activation, order, std * x) ** 2
        fine, coarse = weight @ squares, 2 * weight[::2] @ squares[::2]
        if abs(fine - coarse) <= 0.1 * _AGREEMENT * fine:
            return step
    return None


def _values(activation: "Activation", order: int, x: Any) -> Any:
    return activation.derivative(x) if order else activation(x)


@lru_cache(maxsize=len(_STEPS))
def _nodes(step: float) -> tuple[Any, Any]:
    """Nodes x, an even number on either side of 0; step × density."""
    count = math.ceil(_REACH / step / 2) * 2
    x = step * numpy.arange(-count, count + 1)
    return x, step / math.sqrt(2 * math.pi) * numpy.exp(-0.5 * x * x)
