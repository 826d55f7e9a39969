"""Which closed form an activation has: recognised by its pieces, whoever wrote them (M2).

Continuous piecewise linear functions with at most one kink, ramps between two constants, A x above 0 with
B (e^{k x} − 1) below, straight lines times the normal distribution function, waves of one length: everything of this
form, not only the registry's names.
"""

from functools import lru_cache
from itertools import pairwise

import sympy

from elutheory.activations.activation_function import Activation
from elutheory.activations.kinks import jumps
from elutheory.activations.smooth_shapes import lines_times_phi, straight, wave
from elutheory.moments.closed_forms.error_function import ErrorFunction
from elutheory.moments.closed_forms.exponential_linear import ExponentialLinear
from elutheory.moments.closed_forms.form import Bend, ClosedForm, PiecewiseForm
from elutheory.moments.closed_forms.piecewise_linear import Kink, Line, StraightLine
from elutheory.moments.closed_forms.ramp import Ramp
from elutheory.moments.closed_forms.sinusoid import Sinusoid


@lru_cache(maxsize=256)
def closed_form(activation: Activation) -> ClosedForm | None:
    """The activation's closed form, None where no recogniser knows one."""
    for recognise in _RECOGNISERS:
        if form := recognise(activation):
            return form
    return None


def piecewise_form(activation: Activation) -> PiecewiseForm | None:
    """The closed form whose conditional mean the one-dimensional rule of pairs integrates, None without one."""
    form = closed_form(activation)
    return form if isinstance(form, PiecewiseForm) else None


def _piecewise_linear(activation: Activation) -> Line | Kink | Ramp | None:
    x = activation.symbol
    lines = [straight(piece.expression, x) for piece in activation.pieces]
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
    line = straight(upper, x)
    if line is None or line[0] != 0 or straight(lower, x) is not None:
        return None
    upper_slope = line[1]
    slope = sympy.diff(lower, x)
    rate = sympy.cancel(sympy.expand(sympy.diff(slope, x) / slope))
    if rate.has(x) or not rate.is_positive or not upper_slope.is_positive:
        return None
    lower_slope = slope.subs(x, 0)
    amplitude = lower_slope / rate
    if not amplitude.is_positive or sympy.expand(lower - amplitude * (sympy.exp(rate * x) - 1)) != 0:
        return None
    bend = _bend(sympy.Integer(0), sympy.Integer(0), lower_slope, upper_slope)
    return ExponentialLinear(_number(amplitude), _number(rate), bend)


def _error_function(activation: Activation) -> ErrorFunction | None:
    shape = lines_times_phi(activation)
    if shape is None:
        return None
    return ErrorFunction(_number(shape.scale), _number(shape.offset), _pair(shape.distribution), _pair(shape.line))


def _sinusoid(activation: Activation) -> Sinusoid | None:
    shape = wave(activation)
    return None if shape is None else Sinusoid(*map(_number, (shape.constant, shape.rate, shape.sine, shape.cosine)))


_RECOGNISERS = (_piecewise_linear, _exponential_linear, _error_function, _sinusoid)


def _pair(numbers: tuple[sympy.Expr, sympy.Expr]) -> tuple[float, float]:
    return _number(numbers[0]), _number(numbers[1])


def _line(intercept: sympy.Expr, slope: sympy.Expr) -> StraightLine:
    zero = -intercept / slope if slope != 0 else sympy.nan
    exact = zero.is_Rational and sympy.Rational(_number(zero)) == zero
    return StraightLine(_number(intercept), _number(slope), _number(zero) if exact else None)


def _bend(at: sympy.Expr, value: sympy.Expr, lower_slope: sympy.Expr, upper_slope: sympy.Expr) -> Bend:
    """From exact numbers, each rounded once; the jump is that of the exact slopes."""
    return Bend(*map(_number, (at, value, lower_slope, upper_slope, upper_slope - lower_slope)))


def _number(value: sympy.Expr) -> float:
    return float(value.evalf(30))
