"""Where an activation function or its derivative jumps, and its values piece by piece."""

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import sympy

from elutheory.activations.evaluation import NumericFunction, constant_value
from elutheory.errors import InputError

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation


@lru_cache(maxsize=256)
def second_derivative(activation: "Activation") -> NumericFunction:
    """f'' piece by piece."""
    return NumericFunction(activation.pieces, activation.symbol, 2)


@lru_cache(maxsize=256)
def jumps(activation: "Activation", order: int) -> tuple[tuple[float, float], ...]:
    """The breakpoints where f^(order) jumps, and by how much."""
    found = []
    for left, right in pairwise(activation.pieces):
        difference = sympy.diff(right.expression - left.expression, activation.symbol, order)
        jump = sympy.N(difference.subs(activation.symbol, right.lower), 40)
        if abs(jump) > sympy.Float(10) ** -30:
            found.append((constant_value(right.lower), float(jump)))
    return tuple(found)


@lru_cache(maxsize=256)
def features(activation: "Activation") -> tuple[float, ...]:
    """0 and the breakpoints."""
    return tuple(sorted({0.0, *(constant_value(point) for point in activation.breakpoints)}))


def values(activation: "Activation", order: int, x: Any) -> Any:
    """f^(order)(x), order 0 to 2, point masses left out."""
    return (activation, activation.derivative, second_derivative(activation))[order](x)


@lru_cache(maxsize=256)
def refuse_discontinuous(activation: "Activation") -> None:
    """Raises InputError where f jumps."""
    import sympy

    x = activation.symbol
    for left, right in zip(activation.pieces, activation.pieces[1:], strict=False):
        jump = sympy.N(right.expression.subs(x, right.lower) - left.expression.subs(x, right.lower), 40)
        if abs(jump) > sympy.Float(10) ** -30:
            raise InputError(f"{activation} jumps at {sympy.N(right.lower, 6)}; propagation needs it continuous.")


@lru_cache(maxsize=256)
def is_continuous(activation: "Activation") -> bool:
    """Whether f has no jump: where it has one, E[f'f'] does not exist."""
    pieces, x = activation.pieces, activation.symbol
    return all(
        abs((left.expression - right.expression).subs(x, right.lower).evalf(30)) < 1e-25
        for left, right in pairwise(pieces)
    )
