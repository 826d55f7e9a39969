"""Two independent tests that a formula in (a, b, s1, s2, rho) is `E u(X) v(Y)`: its slope in rho, quadrature.

Proof: by Price's theorem (K3) the slope in rho of `E u(X) v(Y)`, u and v continuous, is `s1 s2 E u'(X) v'(Y)`, and at
rho = 0 the expectation factorises. A formula with this slope and this start is therefore the expectation.
"""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportOperatorIssue=false, reportArgumentType=false

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import mpmath
import sympy
from flint import arb, arb_mat
from flint import ctx as flint_context

from elutheory.derivations.expectations.checks import Point
from elutheory.derivations.expectations.functions import Phi, Phi2, gauss_legendre, numerical_value, phi
from elutheory.derivations.expectations.pair_normal_form import is_zero_at_every_correlation
from elutheory.derivations.expectations.pair_notation import a, b, rho, s1, s2
from elutheory.derivations.proof.steps import CheckError, UndecidedCheckError
from elutheory.errors import InputError

DIGITS = 25
_WORKING_DIGITS = 40
_FARTHEST = 12  # phi(12) < 1e-31
_WIDEST = 8  # standard deviations for 48 Gauss-Legendre nodes

Function = Callable[[Any], Any]


# --- proofs -------------------------------------------------------------------------------------------------------


def check_slope_and_start(formula: sympy.Expr, slope: sympy.Expr, start: sympy.Expr) -> None:
    """Prove that the formula is `start` at rho = 0 and grows by `slope` in rho, or raise CheckError."""
    if not is_zero_at_every_correlation(sympy.diff(formula, rho) - slope):
        raise CheckError(f"the derivative of {formula} by rho is not {slope}")
    if not is_zero_at_every_correlation(formula.subs(rho, 0) - start):
        raise CheckError(f"{formula} is not {start} at rho = 0")


def check_vanishing(formula: sympy.Expr, variable: sympy.Symbol, sign: int) -> None:
    """Prove that the formula vanishes faster than every exponential as sign · variable -> ∞, or raise CheckError.

    Every term must have a factor phi(u), or Phi(u) or Phi2(u, ·) with u -> −∞, u linear in the variable; the other
    factors are polynomials, exponentials of linear functions, and functions with values in [0, 1].
    """
    complement = sympy.Symbol("complement", positive=True)
    plain = formula.subs(sympy.sqrt(1 - rho**2), complement)
    for term in sympy.Add.make_args(sympy.expand_mul(plain)):
        factors = sympy.Mul.make_args(term)
        if not any(_decays(factor, variable, sign) for factor in factors):
            raise UndecidedCheckError(f"nothing shows that {term} vanishes as {variable} tends to {sign}·∞")
        for factor in factors:
            if not isinstance(factor, Phi | Phi2 | phi) and not _is_tame(factor, variable):
                raise UndecidedCheckError(f"nothing shows how {factor} grows in {variable}")


def _slope_of(argument: Any, variable: sympy.Symbol) -> Any:
    slope = sympy.diff(argument, variable)
    return sympy.Integer(0) if slope.has(variable) else slope


def _decays(factor: Any, variable: sympy.Symbol, sign: int) -> bool:
    match factor:
        case phi():
            slope = _slope_of(factor.args[0], variable)
            return bool(slope.is_positive or slope.is_negative)
        case Phi():
            return bool((sign * _slope_of(factor.args[0], variable)).is_negative)
        case Phi2():
            return any(bool((sign * _slope_of(u, variable)).is_negative) for u in factor.args[:2])
    return False


def _is_tame(factor: Any, variable: sympy.Symbol) -> bool:
    if isinstance(factor, sympy.exp):
        return sympy.diff(factor.args[0], variable, 2) == 0
    return bool(factor.is_polynomial(variable))


# --- quadrature ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Axis:
    """Nodes of one variable: standard score, value, and weight without the density."""

    scores: tuple[Any, ...]
    values: tuple[Any, ...]
    weights: tuple[Any, ...]


def _axis(shift: Any, std: Any) -> _Axis:
    """Gauss-Legendre nodes on intervals that end where the variable is zero."""
    rule = gauss_legendre(mpmath.mp.prec)
    ends = {mpmath.mpf(-_FARTHEST), -shift, mpmath.mpf(_FARTHEST)}
    scores, weights = [], []
    for left, right in pairwise(sorted(ends)):
        panels = int(mpmath.ceil((right - left) / _WIDEST))
        for lower, upper in pairwise(mpmath.linspace(left, right, panels + 1)):
            half, middle = (upper - lower) / 2, (upper + lower) / 2
            scores += [middle + half * node for node, _ in rule]
            weights += [half * weight for _, weight in rule]
    return _Axis(tuple(scores), tuple(std * (shift + score) for score in scores), tuple(weights))


@cache
def _grid(point: Point) -> tuple[_Axis, _Axis, arb_mat]:
    """Both axes, and the bivariate density times the weights (one row per x, one column per y)."""
    numbers = {symbol: mpmath.mpf(value.p) / value.q for symbol, value in point.values}
    r = numbers[rho]
    complement = 1 - r * r
    first, second = _axis(numbers[a], numbers[s1]), _axis(numbers[b], numbers[s2])
    scale = arb(1 / (2 * mpmath.pi * mpmath.sqrt(complement)))
    x, y = ([arb(score / mpmath.sqrt(complement)) for score in axis.scores] for axis in (first, second))
    by_x, by_y = (
        [arb(weight) * (-u * u / 2).exp() for u, weight in zip(scores, axis.weights, strict=True)]
        for scores, axis in ((x, first), (y, second))
    )
    r_x = [arb(r) * u for u in x]
    rows = [
        [scale * at_x * at_y * (r_u * v).exp() for v, at_y in zip(y, by_y, strict=True)]
        for r_u, at_x in zip(r_x, by_x, strict=True)
    ]
    return first, second, arb_mat(rows)


def quadrature_in_the_plane(point: Point, left: Function, right: Function) -> Any:
    """`E left(X) right(Y)` at exact numbers of a, b, s1, s2 and rho, to DIGITS digits; kinks and jumps at 0 only.

    By tensor Gauss-Legendre quadrature of the definition on each of the four quadrants.
    """
    with mpmath.workdps(_WORKING_DIGITS), flint_context.workdps(_WORKING_DIGITS):
        first, second, density = _grid(point)
        at_x = arb_mat([[arb(mpmath.mpf(left(x))) for x in first.values]])
        at_y = arb_mat([[arb(mpmath.mpf(right(y)))] for y in second.values])
        mantissa, exponent = (at_x * density * at_y)[0, 0].mid().man_exp()
        return mpmath.ldexp(mpmath.mpf(int(mantissa)), int(exponent))


def check_number(formula: sympy.Expr, point: Point, reference: Any) -> None:
    """Raise CheckError unless the formula's value at the point agrees with the reference to DIGITS digits."""
    try:
        value = numerical_value(formula, point.exact(), _WORKING_DIGITS)
    except InputError as error:
        raise CheckError(str(error)) from error
    with mpmath.workdps(_WORKING_DIGITS):
        if not abs(value - reference) < mpmath.mpf(10) ** -DIGITS * (1 + abs(reference)):
            raise CheckError(f"{formula} is {mpmath.nstr(value)} at {point}, not {mpmath.nstr(reference)}")
