"""Which closed form an activation has: recognised by its pieces, whoever wrote them (M2).

Continuous piecewise linear functions with at most one kink, ramps between two constants, and A x above 0 with
B (e^{k x} − 1) below: everything of this form, not only the registry's names.
"""

from functools import lru_cache
from itertools import pairwise

import sympy

from elutheory.activations.activation_function import Activation
from elutheory.activations.kinks import jumps
from elutheory.moments.closed_forms.exponential_linear import ExponentialLinear
from elutheory.moments.closed_forms.form import Bend, ClosedForm
from elutheory.moments.closed_forms.piecewise_linear import Kink, Line, StraightLine
from elutheory.moments.closed_forms.ramp import Ramp


@lru_cache(maxsize=256)
def closed_form(activation: Activation) -> ClosedForm | None:
    """The activation's closed form, None where no recogniser knows one."""
    for recognise in _RECOGNISERS:
        if form := recognise(activation):
            return form
    return None


def _piecewise_linear(activation: Activation) -> Line | Kink | Ramp | None:
    x = activation.symbol
    lines = [_straight(piece.expression, x) for piece in activation.pieces]
    if None in lines or jumps(activation, 0):
        return None
    bends = tuple(
        _bend(at, a + b * at, b, d)  # type: ignore[misc]
        for ((a, b), (_, d)), at in zip(pairwise(lines), activation.breakpoints, strict=True)  # type: ignore[misc]
    )
    numbers = [_line(intercept, slope) for intercept, slope in lines]  # type: ignore[misc]
    match bends:
        case ():
            return Line(numbers[0])
        case (bend,):
            return Kink(bend, *numbers)
        case (lower, upper) if lower.lower_slope == 0.0 == upper.upper_slope:
            return Ramp(lower, upper, numbers[1])
    return None


def _exponential_linear(activation: Activation) -> ExponentialLinear | None:
    x = activation.symbol
    if activation.breakpoints != (0,):
        return None
    lower, upper = (piece.expression for piece in activation.pieces)
    line = _straight(upper, x)
    if line is None or line[0] != 0 or _straight(lower, x) is not None:
        return None
    upper_slope = line[1]
    slope = sympy.diff(lower, x)
    rate = sympy.simplify(sympy.diff(slope, x) / slope)
    if rate.has(x) or not rate.is_positive or not upper_slope.is_positive:
        return None
    lower_slope = slope.subs(x, 0)
    amplitude = lower_slope / rate
    if not amplitude.is_positive or sympy.simplify(lower - amplitude * (sympy.exp(rate * x) - 1)) != 0:
        return None
    bend = _bend(sympy.Integer(0), sympy.Integer(0), lower_slope, upper_slope)
    return ExponentialLinear(_number(amplitude), _number(rate), bend)


_RECOGNISERS = (_piecewise_linear, _exponential_linear)


def _straight(expression: sympy.Expr, x: sympy.Symbol) -> tuple[sympy.Expr, sympy.Expr] | None:
    """The exact (intercept, slope) of a polynomial of degree at most 1, None for anything else."""
    if not expression.is_polynomial(x) or sympy.Poly(expression, x).degree() > 1:
        return None
    slope = sympy.diff(expression, x)
    return sympy.expand(expression - slope * x), slope


def _line(intercept: sympy.Expr, slope: sympy.Expr) -> StraightLine:
    zero = -intercept / slope if slope != 0 else sympy.nan
    exact = zero.is_Rational and sympy.Rational(_number(zero)) == zero
    return StraightLine(_number(intercept), _number(slope), _number(zero) if exact else None)


def _bend(at: sympy.Expr, value: sympy.Expr, lower_slope: sympy.Expr, upper_slope: sympy.Expr) -> Bend:
    """From exact numbers, each rounded once; the jump is that of the exact slopes."""
    return Bend(*map(_number, (at, value, lower_slope, upper_slope, upper_slope - lower_slope)))


def _number(value: sympy.Expr) -> float:
    return float(value.evalf(30))
