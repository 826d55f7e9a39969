"""M7: the variance of a deactivated unit, mu -> −∞: the claim of noise-robust deactivation as a formula.

Every term of a moment's normal form that contains phi or Phi(u), u -> −∞, is at most `e^{−mu²/(2 sigma²)}` times an
exponential in mu, and vanishes faster than every e^{k mu}. The other terms are the asymptotic form, exactly.
"""

from functools import cache, partial
from typing import Any

import sympy

from elutheory.activations.activation_function import Activation
from elutheory.derivations.expectations.checks import Point, quadrature
from elutheory.derivations.expectations.functions import Phi
from elutheory.derivations.expectations.normal_form import is_identically_zero, normal_form, terms_as_expression
from elutheory.derivations.moments.moments_of_activations import (
    INTEGRANDS,
    MomentFormulas,
    moment_formulas,
    with_symbols,
)
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import (
    alpha,
    deactivated_mean,
    deactivated_slope_second_moment,
    deactivated_variance,
    mu,
    negative_slope,
    sigma,
    unit_variance,
)
from elutheory.derivations.proof.steps import (
    Assumption,
    Check,
    CheckError,
    Step,
    UndecidedCheckError,
    equation,
    right_side,
)

_Q = sympy.Rational
_POINTS = ((_Q(-13), _Q(1, 2), _Q(5, 4)), (_Q(-15), _Q(5, 8), _Q(3, 4)))  # mu, sigma, parameter
_DIGITS = 30


def deactivated(formula: sympy.Expr) -> sympy.Expr:
    """The terms of a moment that remain for mu -> −∞, the others vanishing faster than every exponential of mu.

    Raises CheckError if a term's behaviour is not known.
    """
    remaining = {}
    for (exponent, factors), coefficient in normal_form(formula, expand_density=False).items():
        if all(_tends_to_one(function) for function, _ in factors):
            remaining[exponent, frozenset()] = remaining.get((exponent, frozenset()), 0) + coefficient
    return terms_as_expression(remaining)


def _tends_to_one(function: sympy.Expr) -> bool:
    """The limit of Phi(u), 0 or 1; that of phi is 0."""
    slope = sympy.diff(function.args[0], mu)
    if not (slope.is_positive or slope.is_negative) or slope.has(mu):
        raise UndecidedCheckError(f"the limit of {function} for mu -> -oo is not known")
    return isinstance(function, Phi) and bool(slope.is_negative)


def _prove(formula: sympy.Expr, left: sympy.Symbol, statement: sympy.Basic) -> None:
    if not is_identically_zero(deactivated(formula) - right_side(statement, left)):
        raise CheckError(f"{statement}: for mu -> -oo there remains {deactivated(formula)}")


def _prove_at_zero(formula: sympy.Expr, left: sympy.Symbol, statement: sympy.Basic) -> None:
    if not is_identically_zero(formula.subs(mu, 0) - right_side(statement, left)):
        raise CheckError(f"{statement} is not the formula at mu = 0")


@cache
def _integral(function: Activation, name: str, point: Point) -> Any:
    """The moment by quadrature of the definition; the variance as E (f − E f)², without cancellation."""
    mean = quadrature(function, point, INTEGRANDS["mean"])
    integrands = {
        deactivated_mean.name: INTEGRANDS["mean"],
        deactivated_slope_second_moment.name: INTEGRANDS["slope_second_moment"],
        deactivated_variance.name: lambda at: (at.value - mean) ** 2,
        unit_variance.name: lambda at: (at.value - mean) ** 2,
    }
    return quadrature(function, point, integrands[name])


def _match_quadrature(
    function: Activation, left: sympy.Symbol, points: tuple[Point, ...], statement: sympy.Basic
) -> None:
    right = right_side(statement, left)
    for point in points:
        integral = _integral(function, left.name, point)
        ratio: Any = right.subs(point.exact()).evalf(2 * _DIGITS) / sympy.Float(integral, 2 * _DIGITS)
        if not (ratio.is_number and abs(ratio - 1) < sympy.Float(10) ** -_DIGITS):
            raise CheckError(f"{statement}: the ratio of the right side to the moment is {ratio} at {point}")


def _points(parameter: sympy.Symbol, at_zero: bool = False) -> tuple[Point, ...]:
    return tuple(
        Point(((mu, sympy.Integer(0) if at_zero else mean), (sigma, std), (parameter, value)))
        for mean, std, value in _POINTS
    )


@cache
def deactivation_limit() -> Derivation:
    """M7: for mu -> −∞ the variance of an ELU vanishes as e^{2 mu}; a leaky ReLU's stays slope² sigma².

    `slope² sigma²` is the leaky ReLU's variance in the deactivated state only, not at any mu: the last step gives it at
    mu = 0.

    >>> import elutheory as et
    >>> derivation = et.deactivation_limit()
    >>> derivation.number, derivation.steps[-1].name
    ('M7', 'leaky ReLU, variance at 0')
    """
    elu = with_symbols("elu")
    leaky = with_symbols("leaky_relu")

    def step(left: sympy.Symbol, function: Activation, formula: str, right: sympy.Expr, reason: str, name: str) -> Step:
        parameter = alpha if function is elu else negative_slope
        letter = "α" if function is elu else "s"
        formulas: MomentFormulas = moment_formulas(function)
        proof = partial(_prove, getattr(formulas, formula), left)
        numbers = partial(_match_quadrature, function, left, _points(parameter))
        checks = (
            Check(f"every σ, {letter} (terms with φ and Φ vanish faster than exp(kμ))", proof, proves=True),
            Check(f"μ = −13, −15 (quadrature, ratio 1 to {_DIGITS} digits)", numbers),
        )
        return Step(equation(left, right), reason, checks, name)

    elu_variance = alpha**2 * sympy.exp(2 * mu + sigma**2) * (sympy.exp(sigma**2) - 1)
    leaky_at_zero = sigma**2 * ((1 + negative_slope**2) / 2 - (1 - negative_slope) ** 2 / (2 * sympy.pi))
    at_zero = (
        Check(
            "every σ, s at μ = 0 (normal form)",
            partial(_prove_at_zero, moment_formulas(leaky).variance, unit_variance),
            proves=True,
        ),
        Check(
            f"2 points at μ = 0 (quadrature, {_DIGITS} digits)",
            partial(_match_quadrature, leaky, unit_variance, _points(negative_slope, at_zero=True)),
        ),
    )
    steps = (
        step(
            deactivated_mean,
            elu,
            "mean",
            alpha * sympy.exp(mu + sigma**2 / 2) - alpha,
            "ELU: the mean saturates at −α.",
            "ELU, mean",
        ),
        step(
            deactivated_variance,
            elu,
            "variance",
            elu_variance,
            "ELU: the variance vanishes as exp(2μ); the ratio of the two sides tends to 1 (M7).",
            "ELU, variance",
        ),
        step(
            deactivated_slope_second_moment,
            elu,
            "slope_second_moment",
            alpha**2 * sympy.exp(2 * mu + 2 * sigma**2),
            "ELU: so does the factor of the gradient's variance.",
            "ELU, slope",
        ),
        step(
            deactivated_variance,
            leaky,
            "variance",
            negative_slope**2 * sigma**2,
            "Leaky ReLU of slope s: the variance does not vanish, however small μ (M7).",
            "leaky ReLU, variance",
        ),
        Step(
            equation(unit_variance, leaky_at_zero),
            "Leaky ReLU at μ = 0: another value, so s²σ² is the deactivated state's, not that of every μ.",
            at_zero,
            "leaky ReLU, variance at 0",
        ),
    )
    return Derivation(
        "deactivation-limit",
        "The deactivated state",
        "M7",
        "section 3 of arXiv 1511.07289: noise-robust deactivation",
        (
            Assumption("X is Gaussian, N(μ, σ²); f is the ELU with parameter α, or the leaky ReLU with slope s > 0."),
            Assumption(
                "Equations with (μ→−∞) are asymptotic: their difference is below every exp(kμ), their ratio tends to 1."
            ),
        ),
        steps,
    )
