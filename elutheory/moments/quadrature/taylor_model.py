"""Gaussian moments where f is smooth over the reach of X: from Taylor coefficients at the mean, no integral taken.

f(mean + std·t) = Σ a_k t^k is re-expanded in normalised Hermite polynomials, f = Σ h_j He_j(t)/√j! (K4). Then
E f = h_0, Var f = Σ_{j≥1} h_j², E f' = h_1/std and E f'² = Σ j h_j²/std²: sums of squares, hence every moment is right
relative to itself, at zeros of f and however small the std is.
"""

import math
from functools import lru_cache
from typing import Any

import numpy
import sympy

from elutheory.moments.quadrature.taylor_series import DEGREE, taylor_coefficients

# Below, powers of the std would underflow; coefficients are taken at this scale and multiplied by the ratio.
_SMALLEST_SCALE = 1e-100
# The last coefficients may add this much to a moment, relative; the terms beyond them fall off faster.
_REMAINDER = 1e-16
_LAST = 4
_SLOPE = 2e-14  # of the first coefficient, beside f'
_UNDERFLOW = 1e-140


@lru_cache(maxsize=1)
def _hermite() -> Any:
    """t^k = Σ_j T[k, j] He_j(t)/√j!, T[k, j] = k! / (2^i i! √j!), i = (k − j)/2."""
    table = numpy.zeros((DEGREE + 1, DEGREE + 1))
    for k in range(DEGREE + 1):
        for j in range(k % 2, k + 1, 2):
            i = (k - j) // 2
            table[k, j] = math.factorial(k) / (2**i * math.factorial(i)) / math.sqrt(math.factorial(j))
    return table


def _scaled(expression: sympy.Expr, symbol: sympy.Symbol, mean: Any, std: Any) -> tuple[Any, Any, Any]:
    """Coefficients a_k at the scale max(std, 1e-100), times ratio^{k−1} for k ≥ 1; the scale, the ratio std/scale."""
    scale = numpy.maximum(std, _SMALLEST_SCALE)
    ratio = std / scale
    coefficients = taylor_coefficients(expression, symbol, mean, scale)
    if (ratio < 1.0).any():
        coefficients[2:] *= ratio ** numpy.arange(1.0, DEGREE)[:, None]
    return coefficients, scale, ratio


def _settled(parts: Any, total: Any) -> Any:
    """Whether the last coefficients' parts are nothing beside the total, (n,)."""
    return numpy.abs(parts[-_LAST:]).sum(0) <= _REMAINDER * numpy.abs(total)


def moments(
    value: sympy.Expr, logarithm: sympy.Expr | None, symbol: sympy.Symbol, mean: Any, std: Any, slope: Any
) -> tuple[Any, Any]:
    """The six moments (6, n) of one smooth piece, and for which of the n points they are right.

    `value` is f in stable form, `logarithm` ln f' or None, in which case the last moment is left 0. `slope` is
    f'(mean): coefficients of x/(1 + x) far out are differences, and not right where they miss it.
    """
    table = _hermite()
    with numpy.errstate(all="ignore"):
        a, scale, ratio = _scaled(value, symbol, mean, std)
        close = numpy.abs(a[1] / scale - slope) <= _SLOPE * numpy.abs(slope)
        a[1] = numpy.where(close, slope * scale, a[1])
        h = table[1:, 1:].T @ a[1:]
        to_mean = table[1:, :1] * a[1:]
        mean_of_f = a[0] + ratio * to_mean.sum(0)
        orders = numpy.arange(1.0, DEGREE + 1)[:, None]
        spread, steep = (h * h).sum(0), (orders * (h / scale) ** 2).sum(0)
        norm = numpy.sqrt((table[1:, 1:] ** 2).sum(1))[:, None]
        steep_norm = numpy.sqrt(((table[1:, 1:] ** 2) * orders.T).sum(1))[:, None]
        right = (
            _settled(ratio * to_mean, mean_of_f)
            & _settled(norm * a[1:], numpy.sqrt(spread))
            & _settled(steep_norm * a[1:] / scale, numpy.sqrt(steep))
            & _settled(table[1:, 1:2] * a[1:], h[0])
        )
        right &= close
        # where f itself underflows, what counts lies elsewhere
        right &= (numpy.maximum(numpy.abs(a[0]), numpy.sqrt(spread)) > _UNDERFLOW) | (not value.has(symbol))
        deviation = ratio * numpy.sqrt(spread)
        variance = deviation * deviation
        result = [mean_of_f, mean_of_f * mean_of_f + variance, variance, h[0] / scale, steep, numpy.zeros_like(mean)]
        if logarithm is not None:
            a, _, ratio = _scaled(logarithm, symbol, mean, std)
            parts = ratio * table[1:, :1] * a[1:]
            result[5] = a[0] + parts.sum(0)
            right &= _settled(parts, result[5])
        found = numpy.stack(result)
    return found, right & numpy.isfinite(found).all(0)


def expectation(expression: sympy.Expr, symbol: sympy.Symbol, mean: Any, std: Any) -> tuple[Any, Any]:
    """E g(X) (n,) of a smooth g in stable form, and for which of the n points it is right."""
    with numpy.errstate(all="ignore"):
        a, _, ratio = _scaled(expression, symbol, mean, std)
        parts = ratio * _hermite()[1:, :1] * a[1:]
        result = a[0] + parts.sum(0)
        return result, _settled(parts, result) & numpy.isfinite(result)
