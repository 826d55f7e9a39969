"""K1 and K2 specialised: zero means, the arc-cosine kernels of ReLU, independent inputs, equal inputs."""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportOperatorIssue=false, reportArgumentType=false

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import mpmath
import sympy

from elutheory.derivations.expectations.checks import Point
from elutheory.derivations.expectations.functions import Phi, Phi2, phi
from elutheory.derivations.expectations.pair_checks import DIGITS, check_number
from elutheory.derivations.expectations.pair_normal_form import (
    half_angle,
    is_zero_at_every_correlation,
    rational_in_half_angle,
)
from elutheory.derivations.expectations.pair_notation import (
    QUADRANTS,
    A,
    B,
    a,
    b,
    e1,
    e2,
    e12,
    k,
    place,
    relu_slope_mean,
    relu_value_mean,
    rho,
    s1,
    s2,
    slope_mean,
    slope_parts,
    square_mean,
    square_slope_mean,
    value_mean,
    value_parts,
)
from elutheory.derivations.kernels.dual_kernels import (
    ASSUMPTIONS,
    POINTS,
    SOURCE,
    WORKING_DIGITS,
    definition,
    match_quadrature,
    one_dimensional,
)
from elutheory.derivations.kernels.formulas import explicit
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.steps import (
    Assumption,
    Check,
    CheckError,
    Step,
    UndecidedCheckError,
    equation,
    right_side,
)

_complement = sympy.sqrt(1 - rho**2)
_d1, _d2 = k * s1, k * s2
_quarter = sympy.Rational(1, 4) + sympy.asin(rho) / (2 * sympy.pi)  # Phi2(0, 0; rho)

Case = Mapping[sympy.Symbol, Any]
_ZERO_MEAN: Case = {a: sympy.Integer(0), b: sympy.Integer(0)}
_RELU: Case = {A: sympy.Integer(1), B: sympy.Integer(0)}
_INDEPENDENT: Case = {rho: sympy.Integer(0)}


def _points(case: Case) -> tuple[Point, ...]:
    """The points of K1 and K2 with the case's own values."""
    return tuple(Point(tuple((symbol, case.get(symbol, value)) for symbol, value in point.values)) for point in POINTS)


def _special(formula: Any, case: Case) -> Any:
    return explicit(formula).subs(case)


def _prove_case(left: sympy.Symbol, general: sympy.Symbol, case: Case, statement: sympy.Basic) -> None:
    right = _special(right_side(statement, left), case)
    if not is_zero_at_every_correlation(right - _special(general, case)):
        raise CheckError(f"{statement} is not what the general formula becomes")


def _case_step(left: sympy.Symbol, general: sympy.Symbol, case: Case, right: Any, words: tuple[str, str, str]) -> Step:
    scope, reason, name = words
    slope = general == slope_mean or general in slope_parts.values()
    quadrant = next((key for key in QUADRANTS if general in (slope_parts[key], value_parts[key])), "")
    points = _points(case)
    checks = (
        Check(f"every {scope} (normal form)", partial(_prove_case, left, general, case), proves=True),
        Check(
            f"{len(points)} points (quadrature in the plane, {DIGITS} digits)",
            partial(match_quadrature, left, quadrant, slope, points),
        ),
    )
    return Step(equation(left, right), reason, checks, name)


# --- zero means ---------------------------------------------------------------------------------------------------


def _mixed(own: Any, other: Any, weight: Any) -> Any:
    """`E[f f 1(X > 0) 1(Y < 0)] / (A B)` at zero means: std of X, k times the std of Y, e2."""
    tilted = rho * other * Phi2(rho * other, -other, -rho) + phi(rho * other) * Phi(-_complement * other)
    return own * (weight * tilted - phi(0) / 2)


@cache
def zero_mean_dual_kernel() -> Derivation:
    """K1 and K2 at zero means, and ReLU's arc-cosine kernels (Cho & Saul 2009) as the case A = 1, B = 0.

    Every std > 0, |rho| < 1. First given by Tsuchida et al., arXiv 2002.08517, for the ELU's value.

    >>> import elutheory as et
    >>> derivation = et.zero_mean_dual_kernel()
    >>> derivation.number, derivation.steps[-1].name
    ('K1, K2', 'ReLU, slope')
    """
    every, zero = "s1, s2, A, B, k and correlation", {**_ZERO_MEAN}
    arguments = -_d1 - rho * _d2, -_d2 - rho * _d1, rho
    values = {
        "above_above": A**2 * s1 * s2 * (rho * _quarter + _complement / (2 * sympy.pi)),
        "above_below": A * B * _mixed(s1, _d2, e2),
        "below_above": A * B * _mixed(s2, _d1, e1),
        "below_below": B**2
        * (e12 * Phi2(*arguments) - e1 * Phi2(-_d1, -rho * _d1, rho) - e2 * Phi2(-rho * _d2, -_d2, rho) + _quarter),
    }
    slopes = {
        "above_above": A**2 * _quarter,
        "above_below": A * B * k * e2 * Phi2(rho * _d2, -_d2, -rho),
        "below_above": A * B * k * e1 * Phi2(rho * _d1, -_d1, -rho),
        "below_below": B**2 * k**2 * e12 * Phi2(*arguments),
    }
    steps = [
        _case_step(
            parts[quadrant],
            parts[quadrant],
            zero,
            formulas[quadrant],
            (every, f"Zero means: the part of {what} with {place(quadrant)}.", f"{name}, {quadrant}"),
        )
        for parts, formulas, what, name in (
            (value_parts, values, "E[f(X) f(Y)]", "value"),
            (slope_parts, slopes, "E[f′(X) f′(Y)]", "slope"),
        )
        for quadrant in QUADRANTS
    ]
    relu = {**_ZERO_MEAN, **_RELU}
    angle = sympy.pi / 2 + sympy.asin(rho)
    steps += [
        _case_step(
            relu_value_mean,
            value_mean,
            relu,
            s1 * s2 * (_complement + rho * angle) / (2 * sympy.pi),
            ("s1, s2 and correlation", "ReLU, A = 1 and B = 0: the arc-cosine kernel of degree 1.", "ReLU, value"),
        ),
        _case_step(
            relu_slope_mean,
            slope_mean,
            relu,
            angle / (2 * sympy.pi),
            ("s1, s2 and correlation", "ReLU's slopes: the arc-cosine kernel of degree 0.", "ReLU, slope"),
        ),
    ]
    return Derivation(
        "zero-mean-dual-kernel",
        "The dual kernel at zero means",
        "K1, K2",
        SOURCE,
        (*ASSUMPTIONS, Assumption("a = b = 0: both means are zero.")),
        tuple(steps),
    )


# --- independent and equal inputs ---------------------------------------------------------------------------------


def at_equality(formula: Any) -> Any:
    """The limit of a formula with Y's mean and std equal to X's as rho -> 1; raises CheckError if it is not known.

    With `rho = 2t/(1 + t²)` the arguments are continuous at t = 1, and Phi2(h, k; ·) tends to Phi(h) for h = k, r -> 1,
    and to 0 for h = −k, r -> −1.
    """
    expression = rational_in_half_angle(formula.xreplace({b: a, s2: s1}))

    def limit(argument: Any) -> Any:
        value = sympy.expand(sympy.cancel(argument).subs(half_angle, 1))
        if value.has(sympy.zoo, sympy.nan, sympy.oo):
            raise CheckError(f"{argument} has no finite limit for equal inputs")
        return value

    def of_pair(h: Any, other: Any, r: Any) -> Any:
        first, second, correlation = limit(h), limit(other), limit(r)
        if correlation == 1 and first == second:
            return Phi(first)
        if correlation == -1 and first == -second:
            return sympy.Integer(0)
        raise UndecidedCheckError(f"the limit of Phi2({h}, {other}; {r}) for equal inputs is not known")

    expression = expression.replace(Phi2, of_pair)
    expression = expression.replace(Phi, lambda u: Phi(limit(u)))
    return expression.replace(sympy.exp, lambda u: sympy.exp(limit(u))).subs(half_angle, 1)


def _prove_equality(left: sympy.Symbol, general: sympy.Symbol, statement: sympy.Basic) -> None:
    if not is_zero_at_every_correlation(right_side(statement, left) - at_equality(explicit(general))):
        raise CheckError(f"{statement} is not the limit for equal inputs")


def _match_square(left: sympy.Symbol, slope: bool, statement: sympy.Basic) -> None:
    formula = right_side(statement, left)
    for point in POINTS:
        check_number(formula, point, _square(point, slope))


@cache
def _square(point: Point, slope: bool) -> Any:
    exact = point.exact()
    with mpmath.workdps(WORKING_DIGITS):
        function = definition(point, "both", slope)
        shift, std = (mpmath.mpf(exact[symbol].p) / exact[symbol].q for symbol in (a, s1))

        def integrand(t: Any) -> Any:
            return function(std * (shift + t)) ** 2 * mpmath.npdf(t)

        return mpmath.quad(integrand, [-14, -shift - 4, -shift, -shift + 4, 14])


@cache
def dual_kernel_limits() -> Derivation:
    """K1 and K2 at rho = 0, where they factorise (M3), and for equal means and std as rho -> 1, where they are M4.

    Every mean, every std > 0.

    >>> import elutheory as et
    >>> derivation = et.dual_kernel_limits()
    >>> derivation.number, derivation.steps[-1].name
    ('K1, K2', 'equal, slope')
    """

    def product(parts: Callable[[Any, Any, bool], Any], slope: bool) -> Any:
        return parts(a * s1, s1, slope) * parts(b * s2, s2, slope)

    every = "a, b, s1, s2, A, B and k"

    def equal(left: sympy.Symbol, general: sympy.Symbol, slope: bool, reason: str, name: str) -> Step:
        checks = (
            Check(
                "every a, s1, A, B and k (limit of the normal form)",
                partial(_prove_equality, left, general),
                proves=True,
            ),
            Check(f"{len(POINTS)} points (quadrature, {DIGITS} digits)", partial(_match_square, left, slope)),
        )
        return Step(equation(left, one_dimensional(a * s1, s1, slope, 2)), reason, checks, name)

    steps = (
        _case_step(
            value_mean,
            value_mean,
            _INDEPENDENT,
            product(one_dimensional, False),
            (every, "Correlation 0: the product of the means (M3).", "independent, value"),
        ),
        _case_step(
            slope_mean,
            slope_mean,
            _INDEPENDENT,
            product(one_dimensional, True),
            (every, "Correlation 0: the product of the mean slopes.", "independent, slope"),
        ),
        equal(square_mean, value_mean, False, "Equal inputs, correlation tending to 1: E[f²] (M4).", "equal, value"),
        equal(square_slope_mean, slope_mean, True, "Equal inputs: E[f′²] (M4).", "equal, slope"),
    )
    return Derivation(
        "dual-kernel-limits",
        "Independent and equal inputs of the dual kernel",
        "K1, K2",
        SOURCE,
        (*ASSUMPTIONS, Assumption("Correlation 0 in the first two steps; in the others Y tends to X.")),
        steps,
    )
