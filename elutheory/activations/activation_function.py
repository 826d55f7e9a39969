"""Activation functions: one symbolic definition each, evaluated by float, numpy, torch, mpmath and LaTeX.

At a kink the derivative follows torch: relu'(0) = 0, leaky_relu'(0) = negative_slope, elu'(0) = alpha, celu'(0) = 1,
selu'(0) = scale·alpha, hard_tanh'(±1) = 0, relu6'(0) = relu6'(6) = 0, shifted_relu'(−1) = 0. The conditions of
each Piecewise definition say so: a breakpoint belongs to one piece, and the derivative is that piece's.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from elutheory.activations.definitions import DEFINITIONS, Parameter
from elutheory.errors import InputError

if TYPE_CHECKING:
    import sympy
    import torch

    import elutheory.activations.pieces


def activation_names() -> tuple[str, ...]:
    """The names that `activation` knows."""
    return tuple(DEFINITIONS)


def activation(name: str, **parameters: Any) -> "Activation":
    """The registered activation `name`, e.g. `activation("elu", alpha=2.0)`.

    Parameters are finite real numbers: alpha > 0 (elu, celu; default 1), negative_slope >= 0 (leaky_relu; default
    0.01). A positive sympy symbol is allowed too; the activation is then symbolic only. Raises InputError for an
    unknown name, an unknown parameter or a value outside its domain.
    """
    import sympy

    if not isinstance(name, str) or name not in DEFINITIONS:
        near = difflib.get_close_matches(str(name).lower(), DEFINITIONS, n=1)
        suggestion = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"unknown activation {name!r}; {suggestion}known are {', '.join(DEFINITIONS)}.")
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
    symbol = sympy.Symbol("x", real=True)
    expression = definition.formula(sympy, symbol, **exact, **constants)
    return Activation(name, tuple(values.items()), expression, symbol)


def as_activation(activation_or_name: "Activation | str") -> "Activation":
    """An Activation as it is; a registry name with its default parameters. Raises InputError for anything else."""
    if isinstance(activation_or_name, Activation):
        return activation_or_name
    if isinstance(activation_or_name, str):
        return activation(activation_or_name)
    raise InputError(f"expected an Activation or a registry name, not {type(activation_or_name).__name__}.")


def _validated(name: str, key: str, value: Any, rule: Parameter) -> Any:
    import sympy

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


def _exact_decimal(number: float) -> "sympy.Expr":
    import sympy

    return sympy.Rational(repr(number))


# --- the activation -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Activation:
    """An activation function R → R; build one with `activation`, `from_expression` or `from_text`.

    `expression` is the one definition, a sympy expression in the real `symbol` x. A call, and `derivative`, take a
    float, int, numpy array or scalar, torch tensor or mpmath.mpf, and give back the same kind, shape, dtype and
    device; integers become float64 (torch: the default dtype). NaN gives NaN, ±inf the limit. torch results are
    differentiable, derivatives included, and work under `torch.func`.
    """

    name: str
    parameters: tuple[tuple[str, Any], ...]
    expression: "sympy.Expr"
    symbol: "sympy.Symbol"

    @classmethod
    def from_expression(
        cls, expression: "sympy.Expr", symbol: "sympy.Symbol | None" = None, name: str | None = None
    ) -> "Activation":
        """An activation from a sympy expression in one symbol, finite and real on the whole line.

        Allowed are + − * / **, exp, log, sqrt, sin, cos, atan, asinh, sinh, cosh, tanh, erf, erfc, Abs, sign, Max, Min
        and Piecewise, with comparisons of polynomials. At a breakpoint a Piecewise follows its conditions in order;
        Max, Min and Abs take the derivative from the left. Floats are read as the decimals they print as. Digits
        lost to cancellation in an expression are yours, but for the forms that `elutheory.activations.stable_forms`
        knows.
        With `symbol` given, other positive symbols are parameters, and evaluation is symbolic only. Raises InputError.
        """
        return _from_expression(expression, symbol, name)

    @classmethod
    def from_text(cls, text: str, name: str | None = None) -> "Activation":
        """An activation from text in x such as `where(x > 0, x, exp(x) - 1)`, never evaluated as Python code.

        The language is that of `elutheory.activations.expression_parser`. Raises InputError.
        """
        from elutheory.activations.expression_parser import parse_expression

        expression = parse_expression(text)
        (symbol,) = expression.free_symbols or {_real_x()}
        return _from_expression(expression, symbol, name or text.strip())  # pyright: ignore

    def __call__(self, x: Any) -> Any:
        """f(x), elementwise."""
        return self._value(x)

    def derivative(self, x: Any) -> Any:
        """f'(x), elementwise; at a kink the derivative of the piece that the kink belongs to (torch's convention)."""
        return self._slope(x)

    @property
    def parameter_values(self) -> Mapping[str, Any]:
        """The parameters by name, read-only."""
        return MappingProxyType(dict(self.parameters))

    @property
    def pieces(self) -> tuple["elutheory.activations.pieces.Piece", ...]:
        """The maximal intervals on which f is one smooth expression, left to right, exact ends from −oo to oo."""
        return tuple(piece for piece in self._all_pieces if piece.lower != piece.upper)

    @property
    def breakpoints(self) -> tuple["sympy.Expr", ...]:
        """The finite ends of the pieces, increasing, exact."""
        return tuple(piece.lower for piece in self.pieces[1:])

    @cached_property
    def latex(self) -> str:
        """f(x) in LaTeX; selu's two constants as α and λ with their values."""
        import sympy

        definition = DEFINITIONS.get(self.name)
        if definition is None or not definition.constants:
            return sympy.latex(self.expression)
        symbols = {key: sympy.Symbol(key, positive=True) for key in definition.constants}
        formula = sympy.latex(definition.formula(sympy, self.symbol, **symbols))
        values = (
            rf"{sympy.latex(symbols[key])} \approx {float(text):.4f}" for key, text in definition.constants.items()
        )
        return rf"{formula},\quad " + r",\ ".join(values)

    def torch_module(self) -> "torch.nn.Module":
        """torch.nn's own module, parameters set, not in place; a module calling this activation where torch has none.

        nn.Softplus gets threshold 40, so that it agrees in float64 too; nn.GELU is the exact erf form. nn.CELU's own
        gradient has only float32 accuracy unless 1/alpha is a float32 number (torch 2.13).
        """
        self.refuse_symbolic()
        from torch import nn

        if self.name in DEFINITIONS:
            return DEFINITIONS[self.name].module(nn, **dict(self.parameters))
        from elutheory.activations.torch_module import ActivationModule

        return ActivationModule(self)

    def __repr__(self) -> str:
        if not self.parameters:
            return self.name
        return f"{self.name}({', '.join(f'{key}={value}' for key, value in self.parameters)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Activation, (self.name, self.parameters, self.expression, self.symbol)

    @cached_property
    def _all_pieces(self) -> tuple["elutheory.activations.pieces.Piece", ...]:
        from elutheory.activations.pieces import pieces_of

        return pieces_of(self.expression, self.symbol)

    @cached_property
    def _value(self) -> Any:
        return self._numeric(order=0)

    @cached_property
    def _slope(self) -> Any:
        return self._numeric(order=1)

    def _numeric(self, order: int) -> Any:
        from elutheory.activations.evaluation import NumericFunction

        self.refuse_symbolic()
        return NumericFunction(self._all_pieces, self.symbol, order)

    def refuse_symbolic(self) -> None:
        """Raise InputError if a parameter is a symbol: there is no number to compute with."""
        free = sorted(str(symbol) for symbol in self.expression.free_symbols - {self.symbol})
        if free:
            raise InputError(f"{self} has the symbolic parameter {free[0]}; give it a number to evaluate it.")


# --- a user's own -------------------------------------------------------------------------------------------------


def _real_x() -> "sympy.Symbol":
    import sympy

    return sympy.Symbol("x", real=True)


def _from_expression(expression: Any, symbol: Any, name: str | None) -> Activation:
    import sympy

    if not isinstance(expression, sympy.Expr):
        raise InputError(f"expected a sympy expression, not {type(expression).__name__}; text goes to from_text.")
    if symbol is None:
        if len(expression.free_symbols) != 1:
            found = ", ".join(sorted(map(str, expression.free_symbols))) or "none"
            raise InputError(f"{expression} must have exactly one free symbol, it has {found}; or name it by symbol=.")
        (symbol,) = expression.free_symbols
    _refuse_unsupported(expression, symbol)
    x = _real_x()
    if symbol != x:
        if x.name in {str(other) for other in expression.free_symbols - {symbol}}:
            raise InputError("a parameter may not be called x, the name of the argument.")
        expression = expression.xreplace({symbol: x})
    expression = expression.xreplace({number: _decimal(number) for number in expression.atoms(sympy.Float)})
    if name in DEFINITIONS:
        raise InputError(f"the name {name!r} belongs to the registry; choose another.")
    custom = Activation(name or str(expression), (), expression, x)
    _refuse_non_real(custom)
    return custom


def _decimal(number: "sympy.Float") -> "sympy.Expr":
    import sympy

    exact = sympy.Rational(number)
    nearest = float(number)
    return _exact_decimal(nearest) if sympy.Rational(nearest) == exact else exact


def _refuse_unsupported(expression: "sympy.Expr", symbol: "sympy.Symbol") -> None:
    import sympy
    from sympy.functions.elementary.piecewise import ExprCondPair

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


def _refuse_non_real(custom: Activation) -> None:
    """The real axis is sampled: −700…700 on a logarithmic grid, and every piece's ends and neighbourhood."""
    from elutheory.activations.evaluation import constant_value

    pieces = custom._all_pieces
    if custom.expression.free_symbols - {custom.symbol}:
        return
    points = [0.0] + [sign * 1.7**exponent for sign in (-1.0, 1.0) for exponent in range(-12, 13)]
    for piece in pieces[1:]:
        end = constant_value(piece.lower)
        points += [end, end - 1e-3, end + 1e-3]
    for point in sorted(points):
        if math.isnan(custom(point)):
            raise InputError(f"{custom.name} is not a real number at x = {point:.6g}; an activation must be.")
    custom._slope  # noqa: B018 - the derivative must be evaluable too
