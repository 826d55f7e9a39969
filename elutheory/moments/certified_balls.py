"""Expressions and Gaussian integrals enclosed in Arb balls: every digit printed is proved (python-flint).

A ball is a midpoint and a radius that certainly contain the true value; the working precision is raised until the
radius is as small as the digits asked for.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sympy
from flint import acb, arb, fmpq

from elutheory.activations.pieces import Piece
from elutheory.activations.stable_forms import (
    Expm1,
    Gaussian,
    Log1p,
    LogCosh,
    Logistic,
    NormalDistribution,
    Softplus,
    stable,
)
from elutheory.derivations.expectations.functions import Phi, Phi2, phi
from elutheory.errors import InputError
from elutheory.numerics.working_precision import arb_precision

LARGEST_PRECISION = 2**13  # bits, for closed forms
LARGEST_INTEGRATION_PRECISION = 2**9
_EVALUATIONS = 10**5  # of one integrand on one interval


def _normal_distribution(z: Any) -> Any:
    return (-z / arb(2).sqrt()).erfc() / 2


def _normal_density(z: Any) -> Any:
    return (-z * z / 2).exp() / (2 * arb.pi()).sqrt()


def _bivariate_distribution(h: arb, k: arb, r: arb, equal: bool) -> arb:
    """Phi2(h, k; r): Plackett's slope, integrated over the angle whose sine is the correlation."""

    def slope(angle: acb, _: bool) -> acb:
        sine = angle.sin()
        # of equal arguments 1 − sin² does not cancel
        exponent = h * h / (1 + sine) if equal else (h * h - 2 * h * k * sine + k * k) / (2 * (1 - sine * sine))
        return (-exponent).exp() / (2 * arb.pi())

    return _normal_distribution(h) * _normal_distribution(k) + acb.integral(slope, arb(0), r.asin()).real


def _logistic(u: Any) -> Any:
    """1 / (1 + e^{−u}) by whichever exponential is the smaller."""
    if _real_part(u) < 0:
        small = u.exp()
        return small / (1 + small)
    return 1 / (1 + (-u).exp())


_FUNCTIONS: dict[type, Callable[[Any], Any]] = {
    sympy.exp: lambda u: u.exp(),
    sympy.sin: lambda u: u.sin(),
    sympy.cos: lambda u: u.cos(),
    sympy.sinh: lambda u: u.sinh(),
    sympy.cosh: lambda u: u.cosh(),
    sympy.tanh: lambda u: u.tanh(),
    sympy.atan: lambda u: u.atan(),
    sympy.asinh: lambda u: u.asinh(),
    sympy.erf: lambda u: u.erf(),
    sympy.erfc: lambda u: u.erfc(),
    Phi: _normal_distribution,
    phi: _normal_density,
    NormalDistribution: _normal_distribution,
    Gaussian: lambda u: (-u * u / 2).exp(),
    Expm1: lambda u: u.exp() - 1,
    Logistic: _logistic,
}
_LOGARITHMS: dict[type, Callable[[Any], Any]] = {sympy.log: lambda u: u, Log1p: lambda u: 1 + u}


def ball(expression: sympy.Basic, values: Mapping[sympy.Basic, Any], analytic: bool = False) -> Any:
    """Enclose an expression at balls `values` (arb or acb, one for each free symbol), at the current precision.

    With `analytic`, a complex ball that touches a branch cut gives a non-finite result, as `acb.integral` wants it.
    Raises InputError for a function that Arb is not asked to evaluate here.
    """
    if expression in values:
        return values[expression]
    match expression:
        case sympy.Rational():
            return arb(fmpq(expression.p, expression.q))
        case sympy.Add():
            return sum((ball(term, values, analytic) for term in expression.args), arb(0))
        case sympy.Mul():
            product = arb(1)
            for factor in expression.args:
                product = product * ball(factor, values, analytic)
            return product
        case sympy.Pow() if isinstance(expression.exp, sympy.Integer):
            power = _integer_power(ball(expression.base, values, analytic), abs(int(expression.exp)))
            return 1 / power if expression.exp < 0 else power
        case sympy.Pow() if (2 * expression.exp).is_Integer:
            root = _branch_cut("sqrt", ball(expression.base, values, analytic), analytic)
            power = _integer_power(root, abs(int(2 * expression.exp)))
            return 1 / power if expression.exp < 0 else power
    if expression is sympy.pi:
        return arb.pi()
    if expression is sympy.E:
        return arb(1).exp()
    if isinstance(expression, Phi2):
        h, k, r = (ball(argument, values, analytic) for argument in expression.args)
        return _bivariate_distribution(h, k, r, expression.args[0] == expression.args[1])
    if type(expression) in _FUNCTIONS:
        return _FUNCTIONS[type(expression)](ball(expression.args[0], values, analytic))
    if type(expression) in _LOGARITHMS:
        return _branch_cut("log", _LOGARITHMS[type(expression)](ball(expression.args[0], values, analytic)), analytic)
    if isinstance(expression, Softplus):
        u = ball(expression.args[0], values, analytic)
        if _real_part(u) > 0:  # log(1 + e^u), continued from the real axis without crossing its cut
            return u + _branch_cut("log", 1 + (-u).exp(), analytic)
        return _branch_cut("log", 1 + u.exp(), analytic)
    if isinstance(expression, LogCosh):
        u = ball(expression.args[0], values, analytic)
        u = u if _real_part(u) > 0 else -u  # even, and continued from the positive axis
        return u + _branch_cut("log", (1 + (-2 * u).exp()) / 2, analytic)
    raise InputError(f"certified digits know no {type(expression).__name__} as in {expression}.")


def _real_part(value: Any) -> arb:
    return value.real if isinstance(value, acb) else value


def log_slope(expression: sympy.Expr, symbol: sympy.Symbol) -> sympy.Expr:
    """`ln f'` of one piece f, logarithms of products and logistic functions written out."""
    slope = stable(sympy.diff(stable(expression), symbol))
    logarithm: Any = sympy.expand_log(sympy.log(slope), force=True)
    is_log_gaussian = lambda node: isinstance(node, sympy.log) and isinstance(node.args[0], Gaussian)  # noqa: E731
    logarithm = logarithm.replace(is_log_gaussian, lambda node: -(node.args[0].args[0] ** 2) / 2)
    is_log_logistic = lambda node: isinstance(node, sympy.log) and isinstance(node.args[0], Logistic)  # noqa: E731
    return logarithm.replace(is_log_logistic, lambda node: -Softplus(-node.args[0].args[0]))


def _integer_power(base: Any, exponent: int) -> Any:
    """By squaring: `**` gives nan for a ball around zero."""
    if exponent == 0:
        return arb(1)
    half = _integer_power(base, exponent // 2)
    return half * half * base if exponent % 2 else half * half


def _branch_cut(name: str, argument: Any, analytic: bool) -> Any:
    method = getattr(argument, name)
    return method(analytic=analytic) if isinstance(argument, acb) else method()


def certified_value(expression: sympy.Expr, values: Mapping[sympy.Basic, fmpq], digits: int) -> arb:
    """The expression at exact rational `values`, as a ball good to `digits` decimal digits.

    Where LARGEST_PRECISION bits cannot tell the value from zero, the ball contains zero and is tiny. Raises InputError
    if they do not suffice otherwise.
    """

    def at_precision(_: int) -> arb:
        return ball(expression, {symbol: arb(value) for symbol, value in values.items()})

    return _until_accurate(at_precision, digits, LARGEST_PRECISION)


def certified_expectation(
    pieces: tuple[Piece, ...],
    symbol: sympy.Symbol,
    transform: Callable[[sympy.Expr], sympy.Expr],
    growth: tuple[fmpq, fmpq, int],
    mean: fmpq,
    std: fmpq,
    digits: int,
) -> arb:
    """E h(X), X ~ N(mean, std²), by rigorous integration of the definition: h = `transform` of every piece.

    `growth` = (a, b, n) promises `|h(x)| <= (a + b |x|)ⁿ`, which bounds what lies outside the finite range integrated.
    Independent of every closed form. Zero and errors as for `certified_value`, with LARGEST_INTEGRATION_PRECISION.
    """
    integrands = [(piece, stable(transform(piece.expression))) for piece in pieces]

    def at_precision(bits: int) -> arb:
        mu, sigma = arb(mean), arb(std)
        cut = (2 * bits * arb(2).log()).sqrt() + 4
        total = arb(0)
        for piece, integrand in integrands:
            lower, upper = _clipped((piece.lower, piece.upper), mu, sigma, cut)
            if integrand.is_zero or not lower < upper:
                continue

            def density(t: acb, analytic: bool, integrand: sympy.Expr = integrand) -> acb:
                return acb(ball(integrand, {symbol: mu + sigma * t}, analytic)) * _normal_density(t)

            for a, b in _halves(lower, upper):
                part = acb.integral(
                    density, a, b, rel_tol=arb(2) ** -bits, abs_tol=arb(2) ** (-bits - 20), eval_limit=_EVALUATIONS
                )
                total += part.real
        return total + _tails(growth, mu, sigma, cut)

    return _until_accurate(at_precision, digits, LARGEST_INTEGRATION_PRECISION)


def _clipped(interval: tuple[sympy.Expr, sympy.Expr], mu: arb, sigma: arb, cut: arb) -> list[arb]:
    """The ends in units of the standard deviation, no farther out than `cut`."""
    ends = []
    for end, limit in zip(interval, (-cut, cut), strict=True):
        scaled = limit if end.is_infinite else (ball(end, {}) - mu) / sigma
        ends.append(-cut if scaled < -cut else cut if scaled > cut else scaled)
    return ends


def _halves(lower: arb, upper: arb) -> Iterator[tuple[arb, arb]]:
    """Split at 0, where the density peaks."""
    if lower < 0 < upper:
        yield lower, arb(0)
        yield arb(0), upper
    else:
        yield lower, upper


def _tails(growth: tuple[fmpq, fmpq, int], mu: arb, sigma: arb, cut: arb) -> arb:
    """`2 ∫_cut^∞ (a + b(|mu| + sigma t))ⁿ phi(t) dt` as a ball around 0; T_k = ∫_cut^∞ t^k phi(t) dt by parts."""
    a, b, power = arb(growth[0]) + arb(growth[1]) * abs(mu), arb(growth[1]) * sigma, growth[2]
    density = _normal_density(cut)
    tails = [_normal_distribution(-cut), density]
    for k in range(2, power + 1):
        tails.append(cut ** (k - 1) * density + (k - 1) * tails[k - 2])
    bound = sum((math.comb(power, k) * a ** (power - k) * b**k * tails[k] for k in range(power + 1)), arb(0))
    return arb(0, abs(2 * bound).upper())


def _until_accurate(at_precision: Callable[[int], arb], digits: int, largest: int) -> arb:
    wanted = int(digits * 3.33) + 8
    bits = wanted + 64
    while True:
        with arb_precision(bits + 32):
            result = at_precision(bits)
        if result.is_finite() and (result == 0 or result.rel_accuracy_bits() >= wanted):
            return result
        if bits > max(largest, 4 * wanted):
            break
        bits *= 2
    if result.is_finite() and abs(result) < arb(2) ** -wanted:
        return result  # zero, as far as anyone can tell
    raise InputError(f"{digits} certified digits need more than {bits} bits here; ask for fewer.")
