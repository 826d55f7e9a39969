"""The symbolic half of `Activation`: parameters and expressions, checked and made exact. Loads sympy."""

import difflib
import math
import re
from collections.abc import Callable, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import sympy
from sympy.functions.elementary.piecewise import ExprCondPair

from elutheory.activations.definitions import DEFINITIONS, OTHER_NAMES, Parameter
from elutheory.activations.evaluation import constant_value
from elutheory.errors import InputError

if TYPE_CHECKING:
    from elutheory.activations.pieces import Piece

_Parameters = tuple[tuple[str, Any], ...]


def real_x() -> sympy.Symbol:
    """The argument of every activation."""
    return sympy.Symbol("x", real=True)


# --- the registry's -----------------------------------------------------------------------------------------------


def registry_name(name: Any) -> str:
    """The name by which the registry has it: itself, or what another of its names stands for; raises InputError."""
    if isinstance(name, str) and OTHER_NAMES.get(name, name) in DEFINITIONS:
        return OTHER_NAMES.get(name, name)
    spelled = re.sub(r"[\W_]+", "_", str(name)).lower()
    near = difflib.get_close_matches(spelled, (*DEFINITIONS, *OTHER_NAMES), n=1)
    suggestion = f"did you mean {OTHER_NAMES.get(near[0], near[0])!r}? " if near else ""
    raise InputError(f"unknown activation {name!r}; {suggestion}known are {', '.join(DEFINITIONS)}.")


def registered_expression(name: str, parameters: Mapping[str, Any]) -> tuple[_Parameters, sympy.Expr, sympy.Symbol]:
    """Parameters, expression and argument of the activation that the registry has by `name`; raises InputError."""
    definition = DEFINITIONS[name]
    unknown = [key for key in parameters if key not in definition.parameters]
    if unknown:
        allowed = ", ".join(definition.parameters) or "none"
        raise InputError(f"{name} has no parameter {unknown[0]!r}; its parameters are: {allowed}.")
    values = {
        key: _validated(name, key, parameters.get(key, rule.default), rule)
        for key, rule in definition.parameters.items()
    }
    exact = {key: _exact_decimal(value) if isinstance(value, float) else value for key, value in values.items()}
    constants = {key: sympy.Rational(text) for key, text in definition.constants.items()}
    symbol = real_x()
    return tuple(values.items()), definition.formula(sympy, symbol, **exact, **constants), symbol


def _validated(name: str, key: str, value: Any, rule: Parameter) -> Any:
    if isinstance(value, sympy.Symbol):
        if value.is_positive and value.name != "x":
            return value
        raise InputError(f"{name}: the symbol {value} must be declared positive and not be called x.")
    # numpy's real scalars are registered as Real, its booleans are not.
    if not isinstance(value, Real) or isinstance(value, bool | sympy.Basic):
        raise InputError(f"{name}: {key} must be {rule.allowed}, not {value!r}.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and rule.is_allowed(number)):
        raise InputError(f"{name}: {key} must be {rule.allowed}, not {value!r}.")
    return number


def _exact_decimal(number: float) -> sympy.Expr:
    return sympy.Rational(repr(number))


def latex(name: str, expression: sympy.Expr, symbol: sympy.Symbol) -> str:
    """f(x) in LaTeX; of the registry's constants (selu has two) the symbols, and their values behind."""
    definition = DEFINITIONS.get(name)
    if definition is None or not definition.constants:
        return sympy.latex(expression)
    symbols = {key: sympy.Symbol(key, positive=True) for key in definition.constants}
    formula = sympy.latex(definition.formula(sympy, symbol, **symbols))
    values = (rf"{sympy.latex(symbols[key])} \approx {float(text):.4f}" for key, text in definition.constants.items())
    return rf"{formula},\quad " + r",\ ".join(values)


# --- a user's own -------------------------------------------------------------------------------------------------


def checked_expression(expression: Any, symbol: Any, name: str | None) -> tuple[sympy.Expr, sympy.Symbol]:
    """A user's expression with exact numbers, and its argument, renamed to x; raises InputError for what is refused."""
    if not isinstance(expression, sympy.Expr):
        raise InputError(f"expected a sympy expression, not {type(expression).__name__}; text goes to from_text.")
    if symbol is None:
        if len(expression.free_symbols) != 1:
            found = ", ".join(sorted(map(str, expression.free_symbols))) or "none"
            raise InputError(f"{expression} must have exactly one free symbol, it has {found}; or name it by symbol=.")
        (symbol,) = expression.free_symbols
    _refuse_unsupported(expression, symbol)
    x = real_x()
    if symbol != x:
        if x.name in {str(other) for other in expression.free_symbols - {symbol}}:
            raise InputError("a parameter may not be called x, the name of the argument.")
        expression = expression.xreplace({symbol: x})
    expression = expression.xreplace({number: _decimal(number) for number in expression.atoms(sympy.Float)})
    if name in DEFINITIONS:
        raise InputError(f"the name {name!r} belongs to the registry; choose another.")
    return expression, x


def _decimal(number: sympy.Float) -> sympy.Expr:
    """The decimal that the number prints as, where it is a float; the number itself, where it has more digits."""
    exact = sympy.Rational(number)
    nearest = float(number)
    return _exact_decimal(nearest) if sympy.Rational(nearest) == exact else exact


def _refuse_unsupported(expression: sympy.Expr, symbol: sympy.Symbol) -> None:
    functions = (
        sympy.exp,
        sympy.log,
        sympy.sin,
        sympy.cos,
        sympy.atan,
        sympy.asinh,
        sympy.sinh,
        sympy.cosh,
        sympy.tanh,
    )
    functions += (sympy.erf, sympy.erfc, sympy.Abs, sympy.sign, sympy.Max, sympy.Min, sympy.Piecewise)
    names = ", ".join(function.__name__ for function in functions)
    numbers = (sympy.Rational, sympy.Float, type(sympy.pi), type(sympy.E))
    structure = (sympy.Add, sympy.Mul, sympy.Pow, sympy.Symbol, ExprCondPair)
    conditions = (sympy.core.relational.Relational, sympy.logic.boolalg.Boolean)
    for node in sympy.preorder_traversal(expression):
        if node in (sympy.nan, sympy.zoo, sympy.oo, -sympy.oo) or not isinstance(
            node, functions + numbers + structure + conditions
        ):
            raise InputError(f"{node} cannot be evaluated; allowed are real numbers, + - * / ** and {names}.")
        if isinstance(node, sympy.Symbol) and node != symbol and not node.is_positive:
            raise InputError(f"the symbol {node} is neither the argument {symbol} nor declared positive.")


def refuse_non_real(name: str, function: Callable[[float], float], pieces: "tuple[Piece, ...]") -> None:
    """Raises InputError where f is not a real number.

    The real axis is sampled: −700…700 on a logarithmic grid, and every piece's ends and neighbourhood.
    """
    points = [0.0] + [sign * 1.7**exponent for sign in (-1.0, 1.0) for exponent in range(-12, 13)]
    for piece in pieces[1:]:
        end = constant_value(piece.lower)
        points += [end, end - 1e-3, end + 1e-3]
    for point in sorted(points):
        if math.isnan(function(point)):
            raise InputError(f"{name} is not a real number at x = {point:.6g}; an activation must be.")
