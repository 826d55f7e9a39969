"""Identities between functions, decided at every point by exact algebra, and again by numbers."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import sympy

from elutheory.derivations.proof.steps import Check, CheckError, sides

_DIGITS = 40
_PLACES = 3

Explicit = Callable[[Any], Any]


def _unchanged(expression: Any) -> Any:
    return expression


def _difference(statement: sympy.Basic, explicit: Explicit) -> Any:
    left, right = (explicit(side) for side in sides(statement))
    return (left - right).doit()


def _prove(explicit: Explicit, density: Any, statement: sympy.Basic) -> None:
    """Both sides divided by a density are rational functions of the other quantities: their difference cancels."""
    ratio = sympy.expand(_difference(statement, explicit) / explicit(density), deep=False)
    ratio = sympy.powsimp(ratio, combine="exp")
    ratio = ratio.replace(sympy.exp, lambda exponent: sympy.exp(sympy.cancel(sympy.together(exponent))))
    if sympy.cancel(sympy.together(sympy.expand(ratio))) != 0:
        raise CheckError(f"the two sides of {statement} differ")


def _match(explicit: Explicit, places: tuple[Mapping[Any, Any], ...], statement: sympy.Basic) -> None:
    """Every undefined function becomes the sine."""
    difference = _difference(statement, explicit)
    functions = {node.func for node in difference.atoms(sympy.core.function.AppliedUndef)}
    for function in functions:
        difference = difference.replace(function, sympy.sin)
    difference = difference.doit()
    for place in places:
        value = difference.subs(place).evalf(_DIGITS, chop=sympy.Float(10) ** (-_DIGITS))
        if not (value.is_number and value.is_finite and abs(value) < sympy.Float(10) ** (10 - _DIGITS)):
            raise CheckError(f"the two sides of {statement} differ by {value} at {dict(place)}")


def pointwise_checks(
    density: Any, places: tuple[Mapping[Any, Any], ...], explicit: Explicit = _unchanged
) -> tuple[Check, ...]:
    """A proof for all values of the variables, and exact rational places evaluated to 40 digits.

    `density` is positive and divides both sides up to rational functions; `explicit` replaces named functions by their
    formulas.
    """
    return (
        Check(
            "every value of the variables (division by the density)", partial(_prove, explicit, density), proves=True
        ),
        Check(
            f"{len(places)} points ({_DIGITS - 10} digits, sine for a general function)",
            partial(_match, explicit, places),
        ),
    )
