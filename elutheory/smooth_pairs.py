"""E f'(U)f'(V) of centred pairs for f without kinks: the trapezoid rule in both variables.

For analytic functions its error falls like e^{−a/h}: the sum over every second node has the square root of that error,
and says whether the step h is small enough. It is checked for every pair.
"""

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elutheory.activations import Activation

_REACH = 9.6  # of the standard normal density, 1e-20 of its peak
_STEPS = tuple(0.6 / 2 ** (k / 2) for k in range(9))
_AGREEMENT = 1e-8  # of the two sums; its square is the error
_BLOCK = 2**18  # evaluations of f' at a time


def smooth_slope_products(activation: "Activation", std: float, cosine: Any, sine: Any) -> Any:
    """E f'(U)f'(V), U and V ~ N(0, std²) of correlation `cosine`, for one-dimensional arrays; None: no convergence.

    `sine` = √(1 − cosine²) is taken as it is. None as well where f has kinks, or is too steep for the finest step.
    """
    import numpy

    step = _step(activation, std) if len(activation.pieces) == 1 else None
    if step is None:
        return None
    x, weight, slopes = _nodes(activation, std, step)
    outer, size = weight * slopes, float(weight @ slopes**2)
    block = max(1, _BLOCK // len(x) ** 2)
    parts = []
    for start in range(0, len(cosine), block):
        rho, sigma = (side[start : start + block, None, None] for side in (cosine, sine))
        inner = activation.derivative(std * (rho * x[:, None] + sigma * x))  # (pair, node of U, node of the rest of V)
        fine = (inner @ weight) @ outer
        coarse = 4 * (inner[:, ::2, ::2] @ weight[::2]) @ outer[::2]
        if not (abs(fine - coarse) <= _AGREEMENT * size).all():
            return None
        parts.append(fine)
    return numpy.concatenate(parts)


@lru_cache(maxsize=4096)
def _step(activation: "Activation", std: float) -> float | None:
    """The largest step that finds E f'(U)²."""
    for step in _STEPS:
        _, weight, slopes = _nodes(activation, std, step)
        fine, coarse = weight @ slopes**2, 2 * weight[::2] @ slopes[::2] ** 2
        if abs(fine - coarse) <= 0.1 * _AGREEMENT * fine:
            return step
    return None


def _nodes(activation: "Activation", std: float, step: float) -> tuple[Any, Any, Any]:
    """Nodes x, an even number on either side of 0; step × density; f'(std x)."""
    import numpy

    count = math.ceil(_REACH / step / 2) * 2
    x = step * numpy.arange(-count, count + 1)
    return x, step / math.sqrt(2 * math.pi) * numpy.exp(-0.5 * x * x), activation.derivative(std * x)
