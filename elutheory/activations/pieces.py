"""A function of one real variable, cut into the maximal intervals on which it is smooth."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import pairwise
from typing import Any

import sympy
from sympy.core.evalf import PrecisionExhausted

from elutheory.errors import InputError

_SWITCHES = (sympy.Piecewise, sympy.Max, sympy.Min, sympy.Abs, sympy.sign)
_LARGEST_DEGREE = 8
LARGEST_NUMBER_OF_KINKS = 64
_DIGITS = 60


@dataclass(frozen=True)
class Piece:
    """The function is the smooth `expression` between `lower` and `upper` (exact, possibly infinite).

    A closed end belongs to this piece: value and derivative there are this expression's. An isolated value, such
    as sign(0) = 0, is a piece with lower == upper.
    """

    lower: sympy.Expr
    upper: sympy.Expr
    expression: sympy.Expr
    lower_closed: bool = False
    upper_closed: bool = False


@dataclass(frozen=True)
class _Cells:
    """Values on n breakpoints' 2n + 1 cells: open interval, point, open interval, …, open interval."""

    breakpoints: tuple[sympy.Expr, ...]
    values: tuple[sympy.Basic, ...]

    def intervals(self) -> Iterable[tuple[sympy.Expr, sympy.Expr]]:
        ends = (-sympy.oo, *self.breakpoints, sympy.oo)
        return pairwise(ends)

    def refined(self, breakpoints: tuple[sympy.Expr, ...]) -> "_Cells":
        """The same function on a superset of the breakpoints."""
        values = [self.values[0]]
        position = 0
        for point in breakpoints:
            if position < len(self.breakpoints) and _same(point, self.breakpoints[position]):
                position += 1
                values.append(self.values[2 * position - 1])
            else:
                values.append(self.values[2 * position])
            values.append(self.values[2 * position])
        return _Cells(breakpoints, tuple(values))


def pieces_of(expression: sympy.Expr, symbol: sympy.Symbol) -> tuple[Piece, ...]:
    """The maximal pieces of `expression`, left to right, isolated points included.

    At a breakpoint a Piecewise follows its conditions as written; Max, Min and Abs belong to the piece on the left.
    Raises InputError where a comparison is not between polynomials of degree at most 8, where the function has a
    pole or more than 64 kinks, where no condition of a Piecewise holds, and where numbers are too close to tell apart.
    """
    try:
        cells = _resolve(expression, symbol, {})
    except PrecisionExhausted as error:
        raise InputError("the numbers in the expression are too close together or too far apart to compare.") from error
    ends = (-sympy.oo, *cells.breakpoints, sympy.oo)
    pieces: list[Piece] = []
    for cell, value in enumerate(cells.values):
        is_point = cell % 2 == 1
        upper = ends[(cell + 1) // 2] if is_point else ends[cell // 2 + 1]
        if pieces and pieces[-1].expression == value:
            last = pieces.pop()
            pieces.append(Piece(last.lower, upper, last.expression, last.lower_closed, is_point))
        else:
            pieces.append(Piece(ends[(cell + 1) // 2], upper, value, is_point, is_point))  # pyright: ignore
    for piece in pieces:
        _refuse_poles(piece, symbol)
    return tuple(pieces)


def _same(a: sympy.Expr, b: sympy.Expr) -> bool:
    return a == b or bool(abs(sympy.N(a - b, _DIGITS)) < sympy.Float(10) ** (10 - _DIGITS))


def _merged(points: Iterable[sympy.Expr]) -> tuple[sympy.Expr, ...]:
    """The breakpoints in order, each once; raises InputError where there are too many."""
    merged: list[sympy.Expr] = []
    for point in sorted(points, key=lambda point: sympy.N(point, _DIGITS)):
        if not merged or not _same(merged[-1], point):
            merged.append(point)
    if len(merged) > LARGEST_NUMBER_OF_KINKS:
        raise InputError(f"the expression has more than {LARGEST_NUMBER_OF_KINKS} kinks; write it with fewer.")
    return tuple(merged)


def _combine(function: Callable[..., sympy.Basic], *functions: _Cells) -> _Cells:
    breakpoints = _merged(point for cells in functions for point in cells.breakpoints)
    refined = [cells.refined(breakpoints).values for cells in functions]
    combined = tuple(function(*values) for values in zip(*refined, strict=True))
    for value in combined:
        if value.has(sympy.zoo, sympy.nan, sympy.oo, -sympy.oo, sympy.I):
            raise InputError(f"a part of the expression is {value} on some interval; it must be finite and real.")
    return _Cells(breakpoints, combined)


def _resolve(expression: sympy.Basic, symbol: sympy.Symbol, known: dict[sympy.Basic, _Cells]) -> _Cells:
    """The cells of an expression; `known` has those of parts met before, for a part may stand in many places."""
    if expression not in known:
        known[expression] = _resolved(expression, symbol, known)
    return known[expression]


def _resolved(expression: Any, symbol: sympy.Symbol, known: dict[sympy.Basic, _Cells]) -> _Cells:
    if not expression.has(*_SWITCHES):
        return _Cells((), (expression,))
    if isinstance(expression, sympy.Piecewise):
        return _resolve_piecewise(expression, symbol, known)
    arguments = [_resolve(argument, symbol, known) for argument in expression.args]
    if isinstance(expression, sympy.sign):
        return _signs(arguments[0], symbol)
    if isinstance(expression, sympy.Abs):
        return _maximum(arguments[0], _combine(lambda u: -u, arguments[0]), symbol)
    if isinstance(expression, sympy.Max):
        return reduce(lambda a, b: _maximum(a, b, symbol), arguments)
    if isinstance(expression, sympy.Min):
        negated = [_combine(lambda u: -u, argument) for argument in arguments]
        return _combine(lambda u: -u, reduce(lambda a, b: _maximum(a, b, symbol), negated))
    return _combine(expression.func, *arguments)


def _resolve_piecewise(expression: sympy.Expr, symbol: sympy.Symbol, known: dict[sympy.Basic, _Cells]) -> _Cells:
    branches = [_resolve(pair.args[0], symbol, known) for pair in expression.args]  # pyright: ignore
    conditions = [_resolve_condition(pair.args[1], symbol, known) for pair in expression.args]

    def first_that_holds(*values: sympy.Basic) -> sympy.Basic:
        for value, holds in zip(values[: len(branches)], values[len(branches) :], strict=True):
            if holds == sympy.true:
                return value
        raise InputError(f"{expression} has no value where none of its conditions holds; end it with (value, True).")

    return _combine(first_that_holds, *branches, *conditions)


def _resolve_condition(condition: sympy.Basic, symbol: sympy.Symbol, known: dict[sympy.Basic, _Cells]) -> _Cells:
    if condition in (sympy.true, sympy.false):
        return _Cells((), (condition,))
    if isinstance(condition, sympy.core.relational.Relational):
        left, right = (_resolve(side, symbol, known) for side in condition.args)  # pyright: ignore
        difference = _combine(lambda a, b: a - b, left, right)
        return _combine(lambda sign: condition.func(sign, 0), _signs(difference, symbol))
    if isinstance(condition, sympy.And | sympy.Or | sympy.Not):
        return _combine(condition.func, *(_resolve_condition(part, symbol, known) for part in condition.args))
    if isinstance(condition, sympy.ITE):  # what sympy makes of a comparison with a Piecewise
        parts = [_resolve_condition(part, symbol, known) for part in condition.args]
        return _combine(lambda holds, then, otherwise: then if holds == sympy.true else otherwise, *parts)
    raise InputError(f"the condition {condition} is not understood; allowed are <, <=, >, >= joined by and, or, not.")


def _maximum(a: _Cells, b: _Cells, symbol: sympy.Symbol) -> _Cells:
    signs = _signs(_combine(lambda u, v: u - v, a, b), symbol)
    a, b = a.refined(signs.breakpoints), b.refined(signs.breakpoints)
    values: list[sympy.Basic] = []
    for cell, sign in enumerate(signs.values):
        left_is_a = cell > 0 and values[-1] == a.values[cell - 1]
        values.append(a.values[cell] if sign == 1 or (sign == 0 and left_is_a) else b.values[cell])
    return _Cells(signs.breakpoints, tuple(values))


def _signs(cells: _Cells, symbol: sympy.Symbol) -> _Cells:
    """The sign (−1, 0, 1) of a function, on its cells cut at its zeros."""
    zeros: list[sympy.Expr] = list(cells.breakpoints)
    for value, (lower, upper) in zip(cells.values[::2], cells.intervals(), strict=True):
        if _constant_sign(value) is None:
            zeros += [zero for zero in _zeros(value, symbol) if lower < zero and zero < upper]  # pyright: ignore
    cells = cells.refined(_merged(zeros))
    signs: list[sympy.Expr] = []
    for cell, value in enumerate(cells.values):
        known = _constant_sign(value)
        if known is None and cell % 2 == 1:
            known = _sign_at(value, symbol, cells.breakpoints[cell // 2])
        elif known is None:
            ends = (-sympy.oo, *cells.breakpoints, sympy.oo)
            known = _sign_at(value, symbol, interior_point(ends[cell // 2], ends[cell // 2 + 1]))
        signs.append(sympy.Integer(known))
    return _Cells(cells.breakpoints, tuple(signs))


def interior_point(lower: sympy.Expr, upper: sympy.Expr) -> sympy.Expr:
    """A rational number strictly between two exact ends; 0, or an integer, where it can be."""
    if lower is -sympy.oo:
        return sympy.Integer(0) if upper is sympy.oo else -_integer_beyond(-upper)
    if upper is sympy.oo:
        return _integer_beyond(lower)
    return sympy.Rational(sympy.N((lower + upper) / 2, _DIGITS))


def _integer_beyond(point: Any) -> sympy.Expr:
    """An integer above an exact number: 1 to 2 more, or in proportion where it has more digits than are used."""
    value = sympy.Rational(sympy.N(point, _DIGITS))
    return sympy.Integer(sympy.ceiling(value + abs(value) / 10 ** (_DIGITS - 10))) + 1


def _constant_sign(value: sympy.Basic) -> int | None:
    if value.is_zero:
        return 0
    if value.is_positive:
        return 1
    return -1 if value.is_negative else None


def _sign_at(value: sympy.Basic, symbol: sympy.Symbol, point: sympy.Expr) -> int:
    if any(_same(point, zero) for zero in _zeros(value, symbol)):
        return 0
    sign = _constant_sign(sympy.N(value.subs(symbol, point), _DIGITS))
    if sign is None:
        raise InputError(f"the sign of {value} at {symbol} = {point} cannot be decided; compare real polynomials.")
    return sign


def degree_bound(expression: sympy.Basic, symbol: sympy.Symbol) -> int | None:
    """A bound on the degree of a polynomial, without expanding it; None for anything else."""
    if expression == symbol:
        return 1
    if not expression.has(symbol):
        return 0
    degrees = [degree_bound(argument, symbol) for argument in expression.args]
    if isinstance(expression, sympy.Pow):
        exponent = expression.exp
        return degrees[0] * int(exponent) if degrees[0] and exponent.is_Integer and exponent > 0 else None
    if not isinstance(expression, sympy.Add | sympy.Mul) or None in degrees:
        return None
    return max(degrees) if isinstance(expression, sympy.Add) else sum(degrees)  # pyright: ignore


@lru_cache(maxsize=1024)
def _zeros(expression: sympy.Basic, symbol: sympy.Symbol) -> tuple[Any, ...]:
    degree = degree_bound(expression, symbol)
    if degree is None or degree > _LARGEST_DEGREE:
        raise InputError(
            f"where {expression} changes sign cannot be found; compare polynomials of degree at most {_LARGEST_DEGREE}."
        )
    polynomial = sympy.Poly(expression, symbol)
    if polynomial.degree() < 1:
        return ()
    if polynomial.degree() == 1:
        slope, intercept = polynomial.all_coeffs()
        zeros: list[Any] = [-intercept / slope]
    else:
        try:
            zeros = list(dict.fromkeys(polynomial.real_roots()))  # pyright: ignore
        except (NotImplementedError, sympy.PolynomialError) as error:
            raise InputError(f"the zeros of {expression} cannot be found; use rational coefficients.") from error
    if any(zero.free_symbols for zero in zeros):
        raise InputError(f"the zeros of {expression} depend on a symbol; breakpoints must be numbers.")
    return tuple(zeros)


def _refuse_poles(piece: Piece, symbol: sympy.Symbol) -> None:
    for node in sympy.preorder_traversal(piece.expression):
        if not (isinstance(node, sympy.Pow) and node.exp.is_negative and degree_bound(node.base, symbol)):
            continue
        for pole in _zeros(node.base, symbol):
            inside = piece.lower < pole and pole < piece.upper  # pyright: ignore
            at_end = (piece.lower_closed and _same(pole, piece.lower)) or (
                piece.upper_closed and _same(pole, piece.upper)
            )
            if inside or at_end:
                raise InputError(f"{piece.expression} has a pole at {symbol} = {pole}; an activation must be finite.")
