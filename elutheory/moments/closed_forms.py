"""Which activations have closed-form Gaussian moments here: recognised by their pieces, whoever wrote them (M2).

Continuous piecewise linear functions with at most one kink, ramps between two constants, and A x above 0 with
B (e^{k x} − 1) below: everything of this form, not only the registry's names.
"""

from functools import lru_cache
from typing import Any

import sympy

from elutheory.activations.activation_function import Activation
from elutheory.moments import exponential_linear as exponential_linear_moments
from elutheory.moments import moment_derivatives
from elutheory.moments import piecewise_linear as piecewise_linear_moments
from elutheory.moments.exponential_linear import ExponentialLinear
from elutheory.moments.piecewise_linear import Kink, Line, Ramp

ClosedForm = ExponentialLinear | Line | Kink | Ramp


@lru_cache(maxsize=256)
def closed_form(activation: Activation) -> ClosedForm | None:
    """The activation's closed form, None where this module knows none."""
    x = activation.symbol
    lines = [_line(piece.expression, x) for piece in activation.pieces]
    breakpoints = activation.breakpoints
    if lines == [None, lines[-1]] and lines[-1] is not None and breakpoints[0] == 0 and lines[-1][0] == 0:
        return _exponential_linear(activation.pieces[0].expression, lines[-1][1], x)
    if None in lines:
        return None
    values = [(a + b * at, c + d * at) for (a, b), (c, d), at in zip(lines, lines[1:], breakpoints, strict=False)]  # type: ignore[misc]
    if any(sympy.simplify(left - right) != 0 for left, right in values):
        return None
    numbers = [Line(_number(a), _number(b)) for a, b in lines]  # type: ignore[misc]
    if len(lines) == 1:
        return numbers[0]
    if len(lines) == 2:
        bend = _number(lines[1][1] - lines[0][1])  # type: ignore[index]
        return Kink(_number(breakpoints[0]), _number(values[0][0]), numbers[0], numbers[1], bend)
    if len(lines) == 3 and numbers[0].slope == 0.0 == numbers[2].slope:
        return Ramp(
            _number(breakpoints[0]), _number(breakpoints[1]), numbers[0].intercept, numbers[2].intercept, numbers[1]
        )
    return None


def moments(form: ClosedForm, mean: Any, std: Any) -> tuple[Any, ...]:
    """mean, second moment, variance, slope mean, slope second moment, mean log slope."""
    if isinstance(form, ExponentialLinear):
        return exponential_linear_moments.moments(form, mean, std)
    return piecewise_linear_moments.moments(form, mean, std)


def derivative(form: ClosedForm, quantity: str, order: int, mean: Any, std: Any) -> Any:
    """The `order`-th derivative (1 to 4) of the moment `quantity` with respect to the mean."""
    if isinstance(form, ExponentialLinear):
        return moment_derivatives.exponential_linear(form, quantity, order, mean, std)
    return moment_derivatives.piecewise_linear(form, quantity, order, mean, std)


def _number(value: sympy.Expr) -> float:
    return float(value.evalf(30))


def _line(expression: sympy.Expr, x: sympy.Symbol) -> tuple[sympy.Expr, sympy.Expr] | None:
    """(intercept, slope), exact."""
    if not expression.is_polynomial(x) or sympy.Poly(expression, x).degree() > 1:
        return None
    slope = sympy.diff(expression, x)
    return sympy.expand(expression - slope * x), slope


def _exponential_linear(lower: sympy.Expr, upper_slope: sympy.Expr, x: sympy.Symbol) -> ExponentialLinear | None:
    slope = sympy.diff(lower, x)
    rate = sympy.simplify(sympy.diff(slope, x) / slope)
    if rate.has(x) or not rate.is_positive or not upper_slope.is_positive:
        return None
    lower_slope = slope.subs(x, 0)
    amplitude = lower_slope / rate
    if not amplitude.is_positive or sympy.simplify(lower - amplitude * (sympy.exp(rate * x) - 1)) != 0:
        return None
    return ExponentialLinear(
        _number(upper_slope),
        _number(amplitude),
        _number(rate),
        _number(lower_slope),
        _number(upper_slope - lower_slope),
    )
