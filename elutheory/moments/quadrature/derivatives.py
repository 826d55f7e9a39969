"""Derivatives of Gaussian moments by the mean, orders 1 to 4, as expectations of derivatives of f.

∂ⁿ_mean E g = E g⁽ⁿ⁾ + Σ over kinks and j < n of (jump of g⁽ʲ⁾) d⁽ⁿ⁻¹⁻ʲ⁾, d the density of X at the kink and d⁽ᵐ⁾ its
derivatives by the mean. With the heat equation, ∂_std E g = std ∂²_mean E g, these are all first and second derivatives
by mean and std. Nothing of a node outlives its chunk.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy
import sympy

from elutheory.activations.activation_function import Activation
from elutheory.activations.evaluation import NumericFunction, constant_value
from elutheory.activations.stable_forms import stable
from elutheory.moments.quadrature.panels import Panels, centres, chunks, settled_panels
from elutheory.moments.quadrature.taylor_series import taylor_coefficients
from elutheory.numerics.normal_tails import density_derivatives, normal_density

_ORDERS = 6  # f up to its fifth derivative


def derivative(integrand: Any, quantity: str, order: int, mean: Any, std: Any) -> Any:
    """The `order`-th derivative (1 to 4) of the moment `quantity` by the mean; float64 (n,), finite, std > 0."""
    result = numpy.empty(mean.size)
    with numpy.errstate(all="ignore"):
        for rows, reach in chunks(integrand, mean, std):
            centre = centres(integrand, mean[rows], std[rows])
            tilt = (mean[rows] - centre) / std[rows]
            for part, done, panels in settled_panels(integrand, mean[rows], std[rows], centre, tilt, reach):
                result[rows[part[done]]] = _of_panels(integrand, quantity, order, panels)[done]
    return result


def _of_panels(integrand: Any, quantity: str, order: int, panels: Panels) -> Any:
    activation = integrand.activation
    mean, std = panels.mean, panels.std
    if quantity == "log_slope_mean" and not isinstance(integrand.logarithm, NumericFunction):
        return numpy.zeros_like(mean)
    at_nodes = _at_nodes(integrand, quantity == "log_slope_mean", panels)
    at_kinks = _at_kinks(activation, quantity == "log_slope_mean")
    densities = [density_derivatives(normal_density((mean - at) / std) / std, mean - at, std) for at in integrand.kinks]

    def expectation(product: Any, n: int) -> Any:
        """∂ⁿ E g, `product(j, derivatives)` being g⁽ʲ⁾ made of the derivatives of f."""
        total = numpy.einsum("npk,npk->n", panels.weight, product(n, at_nodes))
        for (left, right), density in zip(at_kinks, densities, strict=True):
            for j in range(n):
                total = total + (product(j, right) - product(j, left)) * density[n - 1 - j]
        return total

    if quantity in ("mean", "log_slope_mean"):
        return expectation(lambda j, f: f[j], order)
    if quantity == "slope_mean":
        # a jump of f is a point mass of f', which the pieces' derivative leaves out
        return expectation(lambda j, f: f[j + 1], order)
    if quantity == "second_moment":
        return expectation(lambda j, f: _power(f, f, j), order)
    if quantity == "slope_second_moment":
        return expectation(lambda j, f: _power(f[1:], f[1:], j), order)
    # Var f = E (f − c)² − (E f − c)², c = E f
    centre = numpy.einsum("npk,npk->n", panels.weight, at_nodes[0])

    def squared(j: int, f: Sequence[Any]) -> Any:
        shape = centre[:, None, None] if numpy.ndim(f[0]) else centre
        shifted = [f[0] - shape, *f[1:]]
        return _power(shifted, shifted, j)

    F = [numpy.zeros_like(centre), *(expectation(lambda j, f: f[j], n) for n in range(1, order))]
    within = expectation(squared, order)
    return within - sum((math.comb(order, n) * F[n] * F[order - n] for n in range(1, order)), numpy.zeros_like(centre))


def _power(f: Sequence[Any], g: Sequence[Any], n: int) -> Any:
    """(f g)⁽ⁿ⁾ by Leibniz' rule."""
    return sum(math.comb(n, k) * f[k] * g[n - k] for k in range(n + 1))


def _at_nodes(integrand: Any, logarithm: bool, panels: Panels) -> list[Any]:
    """f⁽⁰⁾ … f⁽⁵⁾ at the nodes (of ln f' instead, with `logarithm`)."""
    activation = integrand.activation
    shape, x = panels.x.shape, panels.x.ravel()
    found = numpy.empty((_ORDERS, x.size))
    expressions = _expressions(integrand, logarithm)
    ends = [-math.inf, *integrand.kinks, math.inf]
    for expression, (low, high) in zip(expressions, pairwise(ends), strict=True):
        inside = numpy.flatnonzero((x > low) & (x < high)) if len(ends) > 2 else slice(None)
        points = x[inside]
        if points.size:
            found[:, inside] = taylor_coefficients(
                expression, activation.symbol, points, numpy.ones_like(points), _ORDERS - 1
            )
    return [math.factorial(order) * row.reshape(shape) for order, row in enumerate(found)]


def _expressions(integrand: Any, logarithm: bool) -> tuple[sympy.Expr, ...]:
    if logarithm:
        return integrand.logarithm.expressions
    return tuple(stable(piece.expression) for piece in integrand.activation.pieces)


@lru_cache(maxsize=256)
def _at_kinks(activation: Activation, logarithm: bool) -> tuple[tuple[list[float], list[float]], ...]:
    """The derivatives on the left and on the right of every kink."""
    x = activation.symbol
    found = []
    for left, right in pairwise(activation.pieces):
        sides = []
        for piece in (left, right):
            expression = sympy.log(sympy.diff(piece.expression, x)) if logarithm else piece.expression
            values = [sympy.diff(expression, x, n).subs(x, right.lower) for n in range(_ORDERS)]
            sides.append([constant_value(value) if value.is_number else math.nan for value in values])
        found.append(tuple(sides))
    return tuple(found)
