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


def _error_function(activation: Activation) -> ErrorFunction | None:
    """(d₀ + d₁y) Phi(y) + e₀ + e₁y, from erf(u) = 2 Phi(√2 u) − 1 and erfc(u) = 2 − 2 Phi(√2 u)."""
    x = activation.symbol
    expression = activation.expression
    arguments = {node.args[0] for node in expression.atoms(sympy.erf, sympy.erfc)}
    if activation.breakpoints or len(arguments) != 1:
        return None
    argument = _straight(arguments.pop(), x)
    if argument is None or argument[1] == 0:
        return None
    sign = sympy.sign(argument[1])
    b, a = (sympy.simplify(sympy.sqrt(2) * sign * number) for number in argument)
    phi = sympy.Dummy("Phi")
    signed = sign * (2 * phi - 1)
    written = expression.replace(sympy.erf, lambda _: signed).replace(sympy.erfc, lambda _: 1 - signed)
    in_y = sympy.expand(written.subs(x, (x - b) / a))
    if not in_y.is_polynomial(x, phi) or sympy.Poly(in_y, phi).degree() != 1:
        return None
    factor = _straight(in_y.coeff(phi, 1), x)
    rest = _straight(in_y.coeff(phi, 0), x)
    if factor is None or rest is None:
        return None
    return ErrorFunction(_number(a), _number(b), _pair(factor), _pair(rest))


def _sinusoid(activation: Activation) -> Sinusoid | None:
    """C + p sin(k x) + r cos(k x), from waves of one length, whatever their phases."""
    x = activation.symbol
    constant = sympy.expand(activation.expression)
    waves = constant.atoms(sympy.sin, sympy.cos)
    if activation.breakpoints or not waves:
        return None
    rates, sine, cosine = set(), sympy.Integer(0), sympy.Integer(0)
    for wave in waves:
        line, factor = _straight(wave.args[0], x), constant.coeff(wave, 1)
        if line is None or line[1] == 0 or factor.has(x):
            return None
        phase, rate = line
        rates.add(abs(rate))
        constant = sympy.expand(constant - factor * wave)
        is_sine = isinstance(wave, sympy.sin)
        in_phase, ahead = (sympy.cos(phase), sympy.sin(phase)) if is_sine else (-sympy.sin(phase), sympy.cos(phase))
        sine, cosine = sine + sympy.sign(rate) * factor * in_phase, cosine + factor * ahead
    if constant.has(x) or len(rates) != 1:
        return None
    return Sinusoid(_number(constant), _number(rates.pop()), _number(sine), _number(cosine))


_RECOGNISERS = (_piecewise_linear, _exponential_linear, _error_function, _sinusoid)


def _straight(expression: sympy.Expr, x: sympy.Symbol) -> tuple[sympy.Expr, sympy.Expr] | None:
    """The exact (intercept, slope) of a polynomial of degree at most 1, None for anything else."""
    if not expression.is_polynomial(x) or sympy.Poly(expression, x).degree() > 1:
        return None
    slope = sympy.diff(expression, x)
    return sympy.expand(expression - slope * x), slope


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
