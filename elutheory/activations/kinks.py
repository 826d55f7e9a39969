"""Where an activation function or one of its derivatives jumps: the one detector; and its values piece by piece."""

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import sympy

from elutheory.activations.evaluation import NumericFunction, constant_value
from elutheory.errors import InputError

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

# The difference of two exact pieces is evaluated to this many digits, and what is smaller than this is its rounding:
# ten digits may cancel in it. A true jump is far larger, for coefficients are decimals of 17 digits at most.
# tests/activations/test_kinks.py has both sides.
_DIGITS = 40
_SMALLEST_JUMP = sympy.Float(10) ** -30
# A limit that is no value, as that of sin(x)/x at 0, is what two values agree on to 12 digits (of 1, where they are
# smaller), from 10^−16 away on, the next one at twice the exponent. Each may lose the digits of the distance twice.
_NEARNESS = (16, 32, 64, 128, 256, 512, 1024)
_AGREEMENT = sympy.Float(10) ** -12


@lru_cache(maxsize=256)
def jumps(activation: "Activation", order: int) -> tuple[tuple[float, float], ...]:
    """The breakpoints where f^(order) jumps, from left to right, each with the height of the jump.

    Raises InputError where f^(order) has no finite limit on a side of a breakpoint, or none that is found.
    """
    found = []
    for left, right in pairwise(activation.pieces):
        difference = sympy.diff(right.expression - left.expression, activation.symbol, order)
        jump = _value(difference, activation.symbol, right.lower)
        if jump is None:
            sides = ((left, -1), (right, 1))
            below, above = (_limit(activation, piece.expression, order, right.lower, side) for piece, side in sides)
            jump = above - below if abs(above - below) > 2 * _AGREEMENT * max(1, abs(above)) else sympy.Integer(0)
        if abs(jump) > _SMALLEST_JUMP:
            found.append((constant_value(right.lower), float(jump)))
    return tuple(found)


def _value(expression: sympy.Expr, x: sympy.Symbol, place: sympy.Expr, digits: int = _DIGITS) -> Any:
    """The real number that an expression is at a place; None where it is none there."""
    try:
        value = sympy.N(expression.subs(x, place), digits, maxn=max(100, digits))
    except (TypeError, ValueError, ArithmeticError, NotImplementedError):
        return None
    return value if value.is_Float or value.is_Rational else None


def _limit(activation: "Activation", piece: sympy.Expr, order: int, place: sympy.Expr, side: int) -> Any:
    """The limit of a piece's derivative at its end, from inside (`side` 1: from above)."""
    x = activation.symbol
    expression = sympy.diff(piece, x, order)
    value = _value(expression, x, place)
    if value is not None:
        return value
    before = None
    for digits in _NEARNESS:
        value = _value(expression, x, place + side * sympy.Rational(1, 10**digits), _DIGITS + 2 * digits)
        if value is None:
            break
        if before is not None and abs(value - before) <= _AGREEMENT * max(1, abs(value)):
            return sympy.Integer(0) if abs(value) <= _AGREEMENT else sympy.N(value, _DIGITS)
        before = value
    what = "f" + "'" * order
    raise InputError(
        f"{activation} has no finite limit of {what} at {x} = {sympy.N(place, 6)} from {('below', 'above')[side > 0]}, "
        "or none that is found; pieces must meet."
    )


def is_continuous(activation: "Activation") -> bool:
    """Whether f has no jump: where it has one, E f'(U)f'(V) does not exist."""
    return not jumps(activation, 0)


def refuse_discontinuous(activation: "Activation") -> None:
    """Raises InputError where f jumps, naming the first place: Price's theorem fails for such functions."""
    if not is_continuous(activation):
        place, _ = jumps(activation, 0)[0]
        raise InputError(f"{activation} jumps at {sympy.N(place, 6)}; propagation needs it continuous.")


@lru_cache(maxsize=256)
def breakpoint_values(activation: "Activation") -> tuple[float, ...]:
    """The breakpoints as floats, increasing."""
    return tuple(constant_value(point) for point in activation.breakpoints)


@lru_cache(maxsize=256)
def features(activation: "Activation") -> tuple[float, ...]:
    """0 and the breakpoints, increasing: around these f is not a straight line."""
    return tuple(sorted({0.0, *breakpoint_values(activation)}))


@lru_cache(maxsize=256)
def second_derivative(activation: "Activation") -> NumericFunction:
    """f'' piece by piece."""
    return NumericFunction(activation.pieces, activation.symbol, 2)


def values(activation: "Activation", order: int, x: Any) -> Any:
    """f^(order)(x), order 0 to 2, point masses left out; x as for `Activation`."""
    return (activation, activation.derivative, second_derivative(activation))[order](x)
