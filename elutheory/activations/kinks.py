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


@lru_cache(maxsize=256)
def jumps(activation: "Activation", order: int) -> tuple[tuple[float, float], ...]:
    """The breakpoints where f^(order) jumps, from left to right, each with the height of the jump."""
    found = []
    for left, right in pairwise(activation.pieces):
        difference = sympy.diff(right.expression - left.expression, activation.symbol, order)
        jump = sympy.N(difference.subs(activation.symbol, right.lower), _DIGITS)
        if abs(jump) > _SMALLEST_JUMP:
            found.append((constant_value(right.lower), float(jump)))
    return tuple(found)


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
