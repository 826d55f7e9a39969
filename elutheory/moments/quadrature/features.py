"""Where a function changes fast: its kinks, the zeros of the arguments of its special functions, its poles' real parts.

A quadrature rule that refines towards these places, each with the length on which the function changes there, cannot
miss a narrow bump or a steep transition, and need not look for them.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy
import sympy
from scipy.optimize import brentq

from elutheory.activations.activation_function import Activation
from elutheory.activations.evaluation import NumericFunction, constant_value
from elutheory.activations.pieces import Piece
from elutheory.activations.stable_forms import stable

# Zeros of arguments that are no polynomials are bracketed on ± a logarithmic grid of this many points.
_GRID = numpy.concatenate([-numpy.logspace(4, -6, 400), [0.0], numpy.logspace(-6, 4, 400)])
_OSCILLATING = (sympy.sin, sympy.cos)
_SCALE_FREE = (sympy.exp, sympy.sinh, sympy.cosh)  # of a line these have no place where they change faster


@lru_cache(maxsize=256)
def features(activation: Activation) -> tuple[tuple[float, float], ...]:
    """(place, length) of every transition of f, kinks with length 0, one entry a place, increasing."""
    found: dict[float, float] = {constant_value(point): 0.0 for point in activation.breakpoints}
    for piece in activation.pieces:
        for place, length in _of_expression(stable(piece.expression), activation.symbol):
            if piece.lower <= place <= piece.upper or _near(piece, place, length):
                found[place] = min(length, found.get(place, length)) or found.get(place, 0.0)
    return tuple(sorted(found.items()))


def _near(piece: Piece, place: float, length: float) -> bool:
    return bool(piece.lower - 10 * length < place < piece.upper + 10 * length)


@lru_cache(maxsize=256)
def highest_frequency(activation: Activation) -> float:
    """The largest slope of an argument of sin or cos, where it is a line; inf if it is none; 0 without sin and cos."""
    largest = 0.0
    for piece in activation.pieces:
        for node in sympy.preorder_traversal(piece.expression):
            if isinstance(node, _OSCILLATING) and node.has(activation.symbol):
                slope = sympy.diff(node.args[0], activation.symbol)
                largest = max(largest, float("inf") if slope.has(activation.symbol) else abs(constant_value(slope)))
    return largest


def _of_expression(expression: sympy.Expr, x: sympy.Symbol) -> Iterator[tuple[float, float]]:
    node: Any
    for node in sympy.preorder_traversal(expression):
        if not node.has(x) or node == x or isinstance(node, sympy.Add | sympy.Mul):
            continue
        if isinstance(node, sympy.Pow):
            if not (node.exp.is_Integer and node.exp > 0):
                yield from _zeros(node.base, x, complex_ones=True)
        elif isinstance(node, sympy.log) or type(node).__name__ == "Log1p":
            inside = node.args[0] if isinstance(node, sympy.log) else 1 + node.args[0]
            yield from _zeros(inside, x, complex_ones=True)
        elif not isinstance(node, _OSCILLATING):
            argument = node.args[0]
            is_line = argument.is_polynomial(x) and sympy.Poly(argument, x).degree() == 1
            if not (isinstance(node, _SCALE_FREE) and is_line):
                yield from _zeros(argument, x, complex_ones=False)


def _zeros(argument: sympy.Expr, x: sympy.Symbol, complex_ones: bool) -> Iterator[tuple[float, float]]:
    """(real part, length) of the zeros; the length is the imaginary part, or |k!/u^(k)|^{1/k} at a zero of order k."""
    if argument.is_polynomial(x):
        polynomial = sympy.Poly(argument, x)
        if polynomial.degree() < 1:
            return
        coefficients = [float(c.evalf(20)) for c in polynomial.all_coeffs()]
        for root in numpy.roots(coefficients):
            if abs(root.imag) > 1e-5 * (1.0 + abs(root)):
                if complex_ones:
                    yield float(root.real), abs(float(root.imag))
                continue
            order, slope = 1, 0.0
            for order in range(1, len(coefficients)):
                slope = abs(numpy.polyval(numpy.polyder(coefficients, order), root.real))
                if slope > 1e-4 * max(abs(c) for c in coefficients):
                    break
            yield float(root.real), float(_factorial(order) / slope) ** (1.0 / order)
        return
    u = NumericFunction((Piece(-sympy.oo, sympy.oo, argument),), x)
    slope = NumericFunction((Piece(-sympy.oo, sympy.oo, argument),), x, 1)
    with numpy.errstate(all="ignore"):
        values = u(_GRID)
    for i in numpy.flatnonzero(numpy.sign(values[1:]) * numpy.sign(values[:-1]) <= 0):
        if not numpy.isfinite(values[i : i + 2]).all():
            continue
        root: Any = _GRID[i] if values[i] == 0 else _GRID[i + 1]
        if values[i] != 0 and values[i + 1] != 0:
            root = brentq(u, _GRID[i], _GRID[i + 1])
        steepness = abs(float(slope(float(root))))
        if steepness > 0:
            yield float(root), 1.0 / steepness


def _factorial(order: int) -> float:
    return float(sympy.factorial(order))


@lru_cache(maxsize=256)
def parity(activation: Activation) -> int:
    """1 if f is even, −1 if it is odd, else 0: compared at eight points with 40 digits."""
    x = activation.symbol
    expression: Any = activation.expression
    signs = {1, -1}
    for index in range(8):
        at = sympy.Rational(37 * index + 11, 89) * sympy.Rational(3, 2) ** (index - 2)
        right, left = (sympy.N(expression.subs(x, place), 40) for place in (at, -at))
        if not (right.is_Number and left.is_Number):
            return 0
        tolerance = sympy.Float(10, 40) ** -30 * (abs(right) + abs(left))
        signs &= {sign for sign in (1, -1) if abs(right - sign * left) <= tolerance}
    return 0 if len(signs) != 1 else signs.pop()
