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
from elutheory.activations.pieces import Piece, degree_bound
from elutheory.activations.stable_forms import Expm1, stable

# Zeros of arguments that are no polynomials are bracketed on ± a logarithmic grid of this many points.
_GRID = numpy.concatenate([-numpy.logspace(4, -6, 400), [0.0], numpy.logspace(-6, 4, 400)])
_HIGHEST_DEGREE = 40
_ROUNDING = 1e-12  # of a simple root of a polynomial, relative
_LONGEST_FOR_PARITY = 200  # operations
_HIGHEST_POWER = 8  # that is multiplied out for parity
_OSCILLATING = (sympy.sin, sympy.cos)
_SCALE_FREE = (sympy.exp, sympy.sinh, sympy.cosh)  # of a line these have no place where they change faster


@lru_cache(maxsize=256)
def features(activation: Activation) -> tuple[tuple[float, float], ...]:
    """(place, length) of every transition of f, increasing, and (place, 0) of every kink, which may be both."""
    kinks = {(constant_value(point), 0.0) for point in activation.breakpoints}
    found: dict[float, float] = {}
    for piece in activation.pieces:
        expression = stable(piece.expression)
        for place, length in _of_expression(expression, activation.symbol):
            if piece.lower <= place <= piece.upper or _near(piece, place, length):
                found[place] = min(length, found.get(place, length))
        for place, length in _at_ends(piece, expression, activation.symbol):
            found[place] = min(length, found.get(place, length))
    return tuple(sorted(kinks | set(found.items())))


def _at_ends(piece: Piece, expression: sympy.Expr, x: sympy.Symbol) -> Iterator[tuple[float, float]]:
    """Exponentials of a line, which change alike everywhere, count where a piece that they are in ends."""
    ends = [constant_value(end) for end in (piece.lower, piece.upper) if end.is_finite]
    for node in expression.atoms(*_SCALE_FREE, Expm1) if ends else ():
        if node.has(x) and degree_bound(node.args[0], x) == 1:
            rate = abs(constant_value(sympy.diff(node.args[0], x)))
            yield from ((end, 1.0 / rate) for end in ends if rate > 0)


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
            is_line = degree_bound(argument, x) == 1
            if not (isinstance(node, _SCALE_FREE) and is_line):
                yield from _zeros(argument, x, complex_ones=False)
            if not is_line:
                yield from _peaks(argument, x)


def _peaks(argument: sympy.Expr, x: sympy.Symbol) -> Iterator[tuple[float, float]]:
    """(place, length) where the argument is stationary: e^{−9 − 10⁸ x²} has a bump where −9 − 10⁸ x² has no zero."""
    if degree_bound(argument, x) is not None:
        for place, length, order in _roots(sympy.diff(argument, x), x, complex_ones=False):
            yield place, ((order + 1) * length**order) ** (1.0 / (order + 1))
    else:
        for place, bend in _stationary_points(argument, x):
            yield place, (2.0 / bend) ** 0.5


def _zeros(argument: sympy.Expr, x: sympy.Symbol, complex_ones: bool) -> Iterator[tuple[float, float]]:
    """(real part, length) of the zeros; the length is the imaginary part, or |k!/u^(k)|^{1/k} at a zero of order k."""
    for place, length, _ in _roots(argument, x, complex_ones):
        yield place, length


def _roots(argument: sympy.Expr, x: sympy.Symbol, complex_ones: bool) -> Iterator[tuple[float, float, int]]:
    """As `_zeros`, and the order of the zero."""
    degree = degree_bound(argument, x)
    if degree is not None:
        if degree <= _HIGHEST_DEGREE:  # else it is too long to multiply out
            yield from _roots_of_polynomial(sympy.Poly(argument, x), complex_ones)
        return
    u, slope = _function(argument, x, 0), _function(argument, x, 1)
    for root in _sign_changes(u):
        steepness = abs(float(slope(root)))
        if steepness > 0:
            yield root, 1.0 / steepness, 1
    if complex_ones:  # a stationary point has two of them beside it, which bring the function to 0
        for place, bend in _stationary_points(argument, x):
            height = abs(float(u(place)))
            if 0 < height < float("inf"):  # no number outside of u's domain
                yield place, (2.0 * height / bend) ** 0.5, 1


def _stationary_points(argument: sympy.Expr, x: sympy.Symbol) -> Iterator[tuple[float, float]]:
    """(place, |u''|) of the sign changes of u', u no polynomial; u'' from a difference, for its size alone."""
    slope = _function(argument, x, 1)
    for place in _sign_changes(slope):
        step = 1e-6 * (1.0 + abs(place))
        bend = abs(float(slope(place + step)) - float(slope(place - step))) / (2.0 * step)
        if 0 < bend < float("inf"):
            yield place, bend


def _function(expression: sympy.Expr, x: sympy.Symbol, order: int) -> NumericFunction:
    return NumericFunction((Piece(-sympy.oo, sympy.oo, expression),), x, order)


def _roots_of_polynomial(polynomial: sympy.Poly, complex_ones: bool) -> Iterator[tuple[float, float, int]]:
    """Orders are exact: numerical roots are those of square-free factors, whose roots are simple."""
    if polynomial.degree() < 1:
        return
    exact = [c if c.is_Rational else sympy.Rational(str(c.evalf(30))) for c in polynomial.all_coeffs()]
    coefficients = [float(c) for c in exact]
    for factor, order in sympy.Poly(exact, polynomial.gen).sqf_list()[1]:
        for root in numpy.roots([float(c) for c in factor.all_coeffs()]):
            if abs(root.imag) > _ROUNDING * abs(root):
                if complex_ones:
                    yield float(root.real), abs(float(root.imag)), 1
            else:
                slope = abs(float(numpy.polyval(numpy.polyder(coefficients, order), root.real)))
                if slope > 0:
                    yield float(root.real), (float(sympy.factorial(order)) / slope) ** (1.0 / order), order


def _sign_changes(u: NumericFunction) -> Iterator[float]:
    """Places on ± a logarithmic grid where a function is 0 or changes its sign."""
    with numpy.errstate(all="ignore"):
        values = u(_GRID)
    for i in numpy.flatnonzero(numpy.sign(values[1:]) * numpy.sign(values[:-1]) <= 0):
        if not numpy.isfinite(values[i : i + 2]).all():
            continue
        root: Any = _GRID[i] if values[i] == 0 else _GRID[i + 1]
        if values[i] != 0 and values[i + 1] != 0:
            root = brentq(u, _GRID[i], _GRID[i + 1])
        if numpy.isfinite(root):  # u may be defined on a part of the axis only
            yield float(root)


@lru_cache(maxsize=256)
def parity(activation: Activation) -> int:
    """1 if f is even, −1 if it is odd, else 0 or not known: decided by the expressions, samples would miss a bump."""
    x = activation.symbol
    expression: Any = stable(activation.expression)
    mirrored: Any = stable(activation.expression.subs(x, -x))
    if expression.count_ops() > _LONGEST_FOR_PARITY:
        return 0
    may_be_expanded = all(
        not (power.exp.is_Integer and abs(power.exp) > _HIGHEST_POWER) for power in expression.atoms(sympy.Pow)
    )
    for sign in (1, -1):
        difference = mirrored - sign * expression
        if difference.is_zero or (may_be_expanded and sympy.expand(difference).is_zero):
            return sign
    return 0
