"""K1 and K2 derived: the dual kernels of ELU, CELU, SELU and ReLU, quadrant by quadrant, every step checked.

E[f' f'] is proved by its mixed derivative in the means, E[f f] by Price's theorem (K3) from the product at rho = 0.
"""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportOperatorIssue=false, reportArgumentType=false

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import mpmath
import sympy

from elutheory.derivations.expectations.checks import Point
from elutheory.derivations.expectations.functions import Phi2, bivariate_density
from elutheory.derivations.expectations.integrals import gaussian_expectation
from elutheory.derivations.expectations.pair_checks import (
    DIGITS,
    check_number,
    check_slope_and_start,
    check_vanishing,
    quadrature_in_the_plane,
)
from elutheory.derivations.expectations.pair_normal_form import is_zero_at_every_correlation
from elutheory.derivations.expectations.pair_notation import (
    QUADRANTS,
    A,
    B,
    G,
    a,
    b,
    k,
    place,
    rho,
    s1,
    s2,
    slope_mean,
    slope_parts,
    value_mean,
    value_parts,
    x,
)
from elutheory.derivations.kernels.formulas import SLOPE_PARTS, VALUE_PARTS, above, below, explicit, half_moment
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.steps import Assumption, Check, CheckError, Step, equation, right_side

_Q = sympy.Rational
WORKING_DIGITS = 40


# --- machine checks -----------------------------------------------------------------------------------------------

_SIGNS = {"above": 1, "below": -1}

POINTS = tuple(
    Point(tuple(zip((a, b, s1, s2, rho, A, B, k), (_Q(n, 16) for n in numbers), strict=True)))
    for numbers in (
        (6, -11, 18, 11, 10, 20, 11, 9),
        (-13, -5, 9, 22, -11, 13, 27, 14),
        (9, 15, 14, 20, 4, 17, 23, 19),
    )
)


def _numbers(point: Point) -> tuple[Any, Any, Any]:
    exact = point.exact()
    return tuple(mpmath.mpf(exact[symbol].p) / exact[symbol].q for symbol in (A, B, k))  # pyright: ignore


def definition(point: Point, sides: str, slope: bool) -> Callable[[Any], Any]:
    """f or f' for mpmath, restricted to one side of 0 (or "both")."""
    rise, depth, rate = _numbers(point)

    def function(t: Any) -> Any:
        if t > 0:
            return (rise if slope else rise * t) if sides != "below" else 0
        return depth * (rate * mpmath.exp(rate * t) if slope else mpmath.expm1(rate * t)) if sides != "above" else 0

    return function


@cache
def _integral(point: Point, quadrant: str, slope: bool) -> Any:
    with mpmath.workdps(WORKING_DIGITS):
        first, second = quadrant.split("_") if quadrant else ("both", "both")
        return quadrature_in_the_plane(point, definition(point, first, slope), definition(point, second, slope))


def match_quadrature(
    left: sympy.Symbol, quadrant: str, slope: bool, points: tuple[Point, ...], statement: sympy.Basic
) -> None:
    """Compare the right side with quadrature in the plane at each point; raises CheckError where they differ."""
    right = explicit(right_side(statement, left))
    for point in points:
        check_number(right, point, _integral(point, quadrant, slope))


def _prove_slope_part(quadrant: str, statement: sympy.Basic) -> None:
    """`(∂_m1 − c)(∂_m2 − d)` of it is the density at 0 times f'(0±) f'(0±), and it vanishes far on either side.

    c, d are 0 above and k below; a function of both means with these properties is the quadrant's integral.
    """
    formula = explicit(right_side(statement, slope_parts[quadrant]))
    sides = quadrant.split("_")
    rates = [0 if side == "above" else k for side in sides]
    ends = [A if side == "above" else B * k for side in sides]
    by_x = sympy.diff(formula, a) / s1 - rates[0] * formula
    mixed = sympy.diff(by_x, b) / s2 - rates[1] * by_x
    density = bivariate_density(a, b, rho) / (s1 * s2)
    signs = [_SIGNS[side] for side in sides]
    if not is_zero_at_every_correlation(mixed - sympy.Mul(*signs, *ends) * density):
        raise CheckError(f"the mixed derivative of {statement} by the means is not the integrand's")
    for variable, sign in zip((a, b), signs, strict=True):
        check_vanishing(formula, variable, -sign)


def one_dimensional(mean: Any, std: Any, slope: bool, power: int = 1, sides: str = "both") -> Any:
    """`E[f^power]` or `E[f'^power]` for N(mean, std²), on one side of 0 or both (M2-M4)."""
    total: Any = sympy.Integer(0)
    for side, expression, lower, upper in (("above", above, 0, sympy.oo), ("below", below, -sympy.oo, 0)):
        if sides in (side, "both"):
            integrand = (sympy.diff(expression, x) if slope else expression) ** power
            total += gaussian_expectation(integrand, x, mean, std, sympy.sympify(lower), sympy.sympify(upper))
    return total


def _product(quadrant: str) -> Any:
    """The value at rho = 0."""
    first, second = quadrant.split("_") if quadrant else ("both", "both")
    return one_dimensional(a * s1, s1, False, 1, first) * one_dimensional(b * s2, s2, False, 1, second)


def _prove_value(left: sympy.Symbol, quadrant: str, statement: sympy.Basic) -> None:
    """Price: slope in rho `s1 s2` times the quadrant of K2, and the product of two means at rho = 0."""
    slope = slope_parts[quadrant] if quadrant else slope_mean
    check_slope_and_start(explicit(right_side(statement, left)), s1 * s2 * explicit(slope), _product(quadrant))


def _prove_slope_sum(statement: sympy.Basic) -> None:
    if not is_zero_at_every_correlation(explicit(right_side(statement, slope_mean)) - explicit(slope_mean)):
        raise CheckError(f"{statement} is not the sum of the quadrants")


def _prove_half_moment(statement: sympy.Basic) -> None:
    """Its derivative by a is P(Z1 > −a, Z2 < −b), and it vanishes for a -> −∞."""
    formula = explicit(right_side(statement, G(a, b)))
    if not is_zero_at_every_correlation(sympy.diff(formula, a) - Phi2(a, -b, -rho)):
        raise CheckError(f"the derivative of {statement} by a is not the quadrant's probability")
    check_vanishing(formula, a, -1)


def _match_half_moment(statement: sympy.Basic) -> None:
    formula = explicit(right_side(statement, G(a, b)))
    for point in POINTS:
        check_number(formula, point, _half_moment_by_quadrature(point))


@cache
def _half_moment_by_quadrature(point: Point) -> Any:
    std = point.exact()[s1]
    with mpmath.workdps(WORKING_DIGITS):
        integral = quadrature_in_the_plane(point, lambda t: max(t, 0), lambda t: int(t < 0))
        return integral / mpmath.mpf(std.p) * std.q


# --- K2 and K1 ----------------------------------------------------------------------------------------------------

SOURCE = "layers of the units of section 3 of arXiv 1511.07289; zero mean: Tsuchida et al., arXiv 2002.08517"
ASSUMPTIONS = (
    Assumption("X = s1 (a + Z1), Y = s2 (b + Z2); Z1, Z2 standard normal, correlation inside (−1, 1); s1, s2 > 0."),
    Assumption(
        "f(x) = A x for x > 0, B (exp(k x) − 1) for x ≤ 0; A, k > 0, B ≥ 0: ELU (1, α, 1), CELU (1, α, 1/α), "
        "SELU with scale s (s, s α, 1), ReLU (1, 0, 1)."
    ),
    Assumption(
        "e1 = exp(k s1 a + k²s1²/2), e2 = exp(k s2 b + k²s2²/2), "
        "e12 = exp(k s1 a + k s2 b + k²(s1² + 2 r s1 s2 + s2²)/2), r the correlation."
    ),
    Assumption("Φ2(h, k; r) = P(Z1 ≤ h, Z2 ≤ k) at correlation r; Φ and φ are of the standard normal distribution."),
)
_VARIABLES = "a, b, s1, s2, A, B, k and correlation"


def _quadrature_check(left: sympy.Symbol, quadrant: str, slope: bool, points: tuple[Point, ...] = POINTS) -> Check:
    scope = f"{len(points)} points (quadrature in the plane, {DIGITS} digits)"
    return Check(scope, partial(match_quadrature, left, quadrant, slope, points))


@cache
def dual_kernel_derivative_closed_form() -> Derivation:
    """K2: `E[f'(X) f'(Y)]` of ELU, CELU, SELU, quadrant by quadrant: tilting (M1 for a pair), then Phi2.

    Every mean, every std > 0, |rho| < 1.

    >>> import elutheory as et
    >>> derivation = et.dual_kernel_derivative_closed_form()
    >>> derivation.number, derivation.steps[-1].name
    ('K2', 'K2')
    """
    steps = []
    for quadrant in QUADRANTS:
        left = slope_parts[quadrant]
        proof = Check(
            f"every {_VARIABLES} (mixed derivative by the means, zero far away)",
            partial(_prove_slope_part, quadrant),
            proves=True,
        )
        reason = f"The part of E[f′(X) f′(Y)] with {place(quadrant)}: tilting, then the quadrant's probability."
        steps.append(
            Step(
                equation(left, SLOPE_PARTS[quadrant]),
                reason,
                (proof, _quadrature_check(left, quadrant, True)),
                quadrant,
            )
        )
    total = Check(f"every {_VARIABLES} (the quadrants added)", _prove_slope_sum, proves=True)
    steps.append(
        Step(
            equation(slope_mean, sum(SLOPE_PARTS.values())),
            "The sum over the quadrants, K2.",
            (total, _quadrature_check(slope_mean, "", True)),
            "K2",
        )
    )
    return Derivation(
        "dual-kernel-derivative",
        "The dual kernel of the slope",
        "K2",
        SOURCE,
        ASSUMPTIONS,
        tuple(steps),
    )


@cache
def dual_kernel_closed_form() -> Derivation:
    """K1: `E[f(X) f(Y)]` of ELU, CELU, SELU, quadrant by quadrant: Price's theorem (K3) on K2, the product at rho = 0.

    Every mean, every std > 0, |rho| < 1.

    >>> import elutheory as et
    >>> derivation = et.dual_kernel_closed_form()
    >>> derivation.number, derivation.steps[-1].name
    ('K1', 'K1')
    """
    first = Step(
        equation(G(a, b), half_moment(a, b)),
        "G(a, b) = E[(a + Z1) 1(Z1 > −a) 1(Z2 < −b)].",
        (
            Check("every a, b and correlation (derivative by a, zero for a → −∞)", _prove_half_moment, proves=True),
            Check(f"{len(POINTS)} points (quadrature in the plane, {DIGITS} digits)", _match_half_moment),
        ),
        "G",
    )

    def proof(left: sympy.Symbol, quadrant: str) -> Check:
        scope = f"every {_VARIABLES} (slope in the correlation from K2, product of means at 0)"
        return Check(scope, partial(_prove_value, left, quadrant), proves=True)

    steps = [first]
    for quadrant in QUADRANTS:
        left = value_parts[quadrant]
        reason = f"The part of E[f(X) f(Y)] with {place(quadrant)}; f is 0 at 0, so Price's theorem holds for it."
        checks = (proof(left, quadrant), _quadrature_check(left, quadrant, False))
        steps.append(Step(equation(left, VALUE_PARTS[quadrant]), reason, checks, quadrant))
    steps.append(
        Step(
            equation(value_mean, sum(value_parts.values())),
            "The sum over the quadrants, K1.",
            (proof(value_mean, ""), _quadrature_check(value_mean, "", False)),
            "K1",
        )
    )
    return Derivation("dual-kernel", "The dual kernel", "K1", SOURCE, ASSUMPTIONS, tuple(steps))
