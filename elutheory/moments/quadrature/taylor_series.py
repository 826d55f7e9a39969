"""Taylor coefficients of a smooth expression at many points at once, by the arithmetic of power series.

A series is an array of shape (degree + 1, n): row k holds the coefficient of t^k of f(x₀ + scale·t) at n points. Every
rule starts from the function's own value in stable form and adds terms that the chain rule g(u)' = g'(u) u' gives, so
that a coefficient is as accurate as the derivative it stands for, at a zero of f too.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy
import sympy
from scipy import special

from elutheory.activations.evaluation import constant_value
from elutheory.activations.operations.on_numpy import OPERATIONS
from elutheory.errors import InputError

# With 24 terms the model holds for std up to a fifteenth of the radius of convergence; more terms reach little
# farther, because the moments of t grow like factorials (tests/moments/test_quadrature.py checks both sides).
DEGREE = 24

_Series = Any


def taylor_coefficients(
    expression: sympy.Expr, symbol: sympy.Symbol, centre: Any, scale: Any, degree: int = DEGREE
) -> _Series:
    """Coefficients of t ↦ expression(centre + scale·t), (degree + 1, n); nan or inf where it has none there.

    `expression` in the stable form of `elutheory.activations.stable_forms`, without Piecewise; `centre` and `scale` are
    float64 arrays of shape (n,). Raises InputError for a function that has no rule here.
    """
    variable = numpy.zeros((degree + 1, centre.size))
    variable[0], variable[1] = centre, scale
    with numpy.errstate(all="ignore"):
        return _series(expression, symbol, {symbol: variable})


def _series(expression: Any, symbol: sympy.Symbol, known: dict[sympy.Basic, _Series]) -> _Series:
    if expression in known:
        return known[expression]
    if not expression.has(symbol):
        result = numpy.zeros_like(known[symbol])
        result[0] = constant_value(expression)
    else:
        arguments = [_series(argument, symbol, known) for argument in expression.args]
        result = _applied(expression, symbol, arguments)
    known[expression] = result
    return result


def _applied(expression: Any, symbol: sympy.Symbol, arguments: list[_Series]) -> _Series:
    if isinstance(expression, sympy.Add):
        return sum(arguments[1:], arguments[0])
    if isinstance(expression, sympy.Mul):
        result = arguments[0]
        for factor, argument in zip(arguments[1:], expression.args[1:], strict=True):
            if not argument.has(symbol):
                result = result * factor[0]
            elif not expression.args[0].has(symbol) and result is arguments[0]:
                result = result[0] * factor
            else:
                result = product(result, factor)
        return result
    if isinstance(expression, sympy.Pow):
        return _power(expression, symbol, arguments[0])
    rule = _RULES.get(type(expression).__name__)
    if rule is None:
        raise InputError(f"the function {type(expression).__name__} in {expression} has no Taylor series here.")
    return rule(arguments[0])


def product(a: _Series, b: _Series) -> _Series:
    """The series of the product, cut off at the same degree."""
    result = numpy.empty_like(a)
    for k in range(len(a)):
        result[k] = (a[: k + 1] * b[k::-1]).sum(0)
    return result


def _convolution(a: _Series, b: _Series, k: int) -> Any:
    """Coefficient k of the product."""
    return (a[: k + 1] * b[k::-1]).sum(0)


_ORDERS = numpy.arange(DEGREE + 1.0)[:, None]


def _chain(value: Any, u: _Series, slope: Callable[[int, _Series], Any]) -> _Series:
    """g(u) from g(u₀) = `value` and the coefficients of g'(u): n g_n = Σ k u_k d_{n−k}.

    `slope(k, g)` is coefficient k of g'(u), the rows 0…k of g being known.
    """
    g, d = numpy.zeros_like(u), numpy.zeros_like(u)
    g[0] = value
    weighted = u * _ORDERS[: len(u)]
    for n in range(1, len(u)):
        d[n - 1] = slope(n - 1, g)
        g[n] = (weighted[1 : n + 1] * d[n - 1 :: -1][:n]).sum(0) / n
    return g


def _derivative_given(value: Any, u: _Series, d: _Series) -> _Series:
    return _chain(value, u, lambda k, _: d[k])


def _exponential(value: Any, u: _Series) -> _Series:
    return _chain(value, u, lambda k, g: g[k])


def _expm1(u: _Series) -> _Series:
    result = _exponential(numpy.exp(u[0]), u)
    result[0] = numpy.expm1(u[0])
    return result


def _logarithm(value: Any, of: _Series, u: _Series) -> _Series:
    """log of the series `of`, whose constant term is not lost in `value`; of' = u'."""
    return _derivative_given(value, u, _reciprocal(of))


def _reciprocal(u: _Series) -> _Series:
    result = numpy.empty_like(u)
    result[0] = 1.0 / u[0]
    for n in range(1, len(u)):
        result[n] = -(u[1 : n + 1] * result[n - 1 :: -1][:n]).sum(0) / u[0]
    return result


def _real_power(u: _Series, exponent: float) -> _Series:
    """u^p: n u₀ g_n = Σ (p k − (n − k)) u_k g_{n−k}."""
    g = numpy.empty_like(u)
    g[0] = u[0] ** exponent
    for n in range(1, len(u)):
        k = _ORDERS[1 : n + 1]
        g[n] = ((exponent * k - (n - k)) * u[1 : n + 1] * g[n - 1 :: -1][:n]).sum(0) / (n * u[0])
    return g


def _power(expression: sympy.Pow, symbol: sympy.Symbol, base: _Series) -> _Series:
    exponent: Any = expression.exp
    if exponent.has(symbol):
        raise InputError(f"{expression} has no Taylor series here.")
    if exponent.is_Integer:
        result, power = None, base
        count = abs(int(exponent))
        while count:
            if count % 2:
                result = power if result is None else product(result, power)
            count //= 2
            power = product(power, power) if count else power
        return result if exponent > 0 else _reciprocal(result)
    return _real_power(base, constant_value(exponent))


def _logistic_slope(k: int, g: _Series, complement: Any) -> Any:
    """Coefficient k of s (1 − s), 1 − s having the constant term `complement`."""
    other = -g[: k + 1]
    other[0] = complement
    return (g[: k + 1] * other[::-1]).sum(0)


def _logistic(u: _Series) -> _Series:
    complement = special.expit(-u[0])
    return _chain(special.expit(u[0]), u, lambda k, g: _logistic_slope(k, g, complement))


def _tanh(u: _Series) -> _Series:
    first = 4.0 * special.expit(2.0 * u[0]) * special.expit(-2.0 * u[0])
    return _chain(OPERATIONS["tanh"](u[0]), u, lambda k, g: first if k == 0 else -_convolution(g, g, k))


def _sine_and_cosine(u: _Series, values: tuple[Any, Any], sign: float) -> tuple[_Series, _Series]:
    """(sin, cos) with sign −1, (sinh, cosh) with sign 1."""
    s, c = numpy.zeros_like(u), numpy.zeros_like(u)
    s[0], c[0] = values
    weighted = u * _ORDERS[: len(u)]
    for n in range(1, len(u)):
        s[n] = (weighted[1 : n + 1] * c[n - 1 :: -1][:n]).sum(0) / n
        c[n] = sign * (weighted[1 : n + 1] * s[n - 1 :: -1][:n]).sum(0) / n
    return s, c


def _circular(u: _Series) -> tuple[_Series, _Series]:
    return _sine_and_cosine(u, (numpy.sin(u[0]), numpy.cos(u[0])), -1.0)


def _hyperbolic(u: _Series) -> tuple[_Series, _Series]:
    return _sine_and_cosine(u, (numpy.sinh(u[0]), numpy.cosh(u[0])), 1.0)


def _one_plus_square(u: _Series) -> _Series:
    result = product(u, u)
    result[0] = 1.0 + result[0]
    return result


def _gaussian(u: _Series) -> _Series:
    return _exponential(OPERATIONS["Gaussian"](u[0]), -0.5 * product(u, u))


def _error_slope(u: _Series) -> _Series:
    square = -product(u, u)
    return (2.0 / math.sqrt(math.pi)) * _exponential(numpy.exp(square[0]), square)


def _plus_one(u: _Series) -> _Series:
    result = u.copy()
    result[0] = 1.0 + result[0]
    return result


_RULES: Mapping[str, Callable[[_Series], _Series]] = {
    "exp": lambda u: _exponential(numpy.exp(u[0]), u),
    "Expm1": _expm1,
    "log": lambda u: _logarithm(numpy.log(u[0]), u, u),
    "Log1p": lambda u: _logarithm(numpy.log1p(u[0]), _plus_one(u), u),
    "sin": lambda u: _circular(u)[0],
    "cos": lambda u: _circular(u)[1],
    "sinh": lambda u: _hyperbolic(u)[0],
    "cosh": lambda u: _hyperbolic(u)[1],
    "tanh": _tanh,
    "atan": lambda u: _derivative_given(numpy.arctan(u[0]), u, _reciprocal(_one_plus_square(u))),
    "asinh": lambda u: _derivative_given(numpy.arcsinh(u[0]), u, _real_power(_one_plus_square(u), -0.5)),
    "erf": lambda u: _derivative_given(special.erf(u[0]), u, _error_slope(u)),
    "erfc": lambda u: _derivative_given(special.erfc(u[0]), u, -_error_slope(u)),
    "Logistic": _logistic,
    "Softplus": lambda u: _derivative_given(OPERATIONS["Softplus"](u[0]), u, _logistic(u)),
    "LogCosh": lambda u: _derivative_given(OPERATIONS["LogCosh"](u[0]), u, _tanh(u)),
    "Gaussian": _gaussian,
    "NormalDistribution": lambda u: _derivative_given(
        OPERATIONS["NormalDistribution"](u[0]), u, _gaussian(u) / math.sqrt(2.0 * math.pi)
    ),
}
