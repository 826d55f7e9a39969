"""K4: the dual kernel at zero means as a power series in the correlation, by Hermite polynomials (Mehler)."""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportOperatorIssue=false, reportArgumentType=false

import math
from functools import cache, partial
from typing import Any

import numpy
import sympy

from elutheory.activations.activation_function import activation
from elutheory.derivations.expectations.checks import Point
from elutheory.derivations.expectations.functions import PairDensity, densities_written_out, phi
from elutheory.derivations.expectations.pair_checks import quadrature_in_the_plane
from elutheory.derivations.expectations.pair_notation import (
    a,
    b,
    rho,
    s1,
    s2,
    value_curvature,
    value_pair_mean,
    value_slope,
)
from elutheory.derivations.expectations.pointwise import pointwise_checks
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.steps import Assumption, Check, CheckError, Step, equation, right_side
from elutheory.numerics.quadrature import composite_rule

_DIGITS = 12
_TERMS = 32  # |ρ| ≤ 1/3: 3^-32 < 1e-15
_FARTHEST = 14  # phi(14) He_31(14)/sqrt(31!) < 1e-23
_ORDER = 24
_Q = sympy.Rational
_x, _y, _s, _t, _c, _d = sympy.symbols("x y s t c d", real=True)
_k = sympy.Symbol("k", integer=True, nonnegative=True)
_f = sympy.Function("f")
_first: Any = sympy.IndexedBase("a")
_second: Any = sympy.IndexedBase("b")
_coefficient, _other = sympy.symbols("a_k b_k", real=True)
_rate, _other_rate = sympy.symbols("c d", positive=True)
_PLACES = tuple(
    dict(zip((_x, _y, _s, _t, _c, _d, s1, s2, rho), map(_Q, numbers), strict=True))
    for numbers in (
        ("2/3", "-5/7", "4/5", "-3/8", "1/4", "3/2", "5/6", "9/4", "3/5"),
        ("-7/5", "1/3", "9/8", "5/4", "-2/3", "1/6", "7/4", "6/5", "-2/7"),
        ("1/9", "8/3", "-2/5", "7/6", "5/7", "-4/3", "2/7", "8/3", "1/2"),
    )
)
_PAIRS = ((_Q(3, 4), _Q(5, 4), _Q(1, 3)), (_Q(3, 2), _Q(1, 2), _Q(-2, 7)))  # s1, s2, correlation


def _written_out(expression: Any) -> Any:
    return (
        densities_written_out(expression)
        .doit()
        .replace(phi, lambda u: sympy.exp(-(u**2) / 2) / sympy.sqrt(2 * sympy.pi))
    )


def _generating(x: Any, t: Any) -> Any:
    """`exp(tx − t²/2)`, the sum of He_k(x) t^k/k!."""
    return sympy.exp(t * x - t**2 / 2)


# --- the series -----------------------------------------------------------------------------------------------------


def _term(statement: sympy.Basic, left: Any) -> Any:
    """The k-th term of a series for `left`, with symbols for the coefficients a_k and b_k."""
    factor, series = right_side(statement, left).as_independent(sympy.Sum)
    if not isinstance(series, sympy.Sum) or series.limits != (sympy.Tuple(_k, 0, sympy.oo),):
        raise CheckError(f"{statement} is no series over k from 0")
    return (factor * series.function).xreplace({_first[_k]: _coefficient, _second[_k]: _other})


def _prove_terms(left: Any, term: Any, statement: sympy.Basic) -> None:
    if sympy.simplify(_term(statement, left) - term) != 0:
        raise CheckError(f"{statement} is another series")


def _prove_product(statement: sympy.Basic) -> None:
    """For exponentials the k-th term is that of exp(ρ c d s1 s2) times E[exp(cX)] E[exp(dY)]."""
    z = rho * _rate * _other_rate * s1 * s2
    rates = {
        _coefficient: (_rate * s1) ** _k * sympy.exp(_rate**2 * s1**2 / 2) / sympy.sqrt(sympy.factorial(_k)),
        _other: (_other_rate * s2) ** _k * sympy.exp(_other_rate**2 * s2**2 / 2) / sympy.sqrt(sympy.factorial(_k)),
    }
    expected = z**_k / sympy.factorial(_k) * sympy.exp((_rate**2 * s1**2 + _other_rate**2 * s2**2) / 2)
    found = _term(statement, value_pair_mean).xreplace(rates)
    if sympy.simplify(sympy.powsimp(sympy.expand_power_base(found / expected, force=True))) != 1:
        raise CheckError(f"{statement} does not hold for exponentials")


@cache
def _hermite_coefficients(name: str, std: float) -> Any:
    """`E[f(std Z) He_k(Z)]/sqrt(k!)` for every k by a composite rule split at the kink 0, in double precision."""
    ends = numpy.linspace(-_FARTHEST, _FARTHEST, 2 * _FARTHEST + 1)
    z, weights = composite_rule(ends, _ORDER)
    before, polynomial = 0.0 * z, 1.0 + 0.0 * z
    values = weights * numpy.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) * activation(name)(std * z)
    coefficients = []
    for k in range(_TERMS):
        coefficients.append(float(values @ polynomial))
        before, polynomial = polynomial, (z * polynomial - math.sqrt(k) * before) / math.sqrt(k + 1)
    return coefficients


def _check_sum(statement: sympy.Basic, left: Any, names: tuple[str, str], pair: Any, reference: float) -> None:
    """The series' first terms at a pair of stds and a correlation, against a number."""
    std, other_std, correlation = map(float, pair)
    summand = sympy.lambdify((_k, _coefficient, _other, rho), _term(statement, left), "math")
    coefficients = (_hermite_coefficients(name, scale) for name, scale in zip(names, (std, other_std), strict=True))
    try:
        total = math.fsum(
            summand(k, one, two, correlation) for k, (one, two) in enumerate(zip(*coefficients, strict=True))
        )
    except (TypeError, NameError, ValueError, ArithmeticError) as error:
        raise CheckError(f"{statement} has no value: {error}") from error
    if not abs(total - reference) < 10.0**-_DIGITS:
        raise CheckError(f"{statement}: the series is {total}, not {reference}")


@cache
def _pair_mean(index: int, order: int) -> float:
    """E[f(X)g(Y)] of ELU and ReLU, or s1 s2 E[f'(X)g'(Y)], in the plane."""
    std, other_std, correlation = _PAIRS[index]
    zero = sympy.Integer(0)
    point = Point(((a, zero), (b, zero), (s1, std), (s2, other_std), (rho, correlation)))
    elu, relu = activation("elu"), activation("relu")
    if not order:
        return float(quadrature_in_the_plane(point, elu, relu))
    return float(std * other_std) * float(quadrature_in_the_plane(point, elu.derivative, relu.derivative))


def _match_pairs(left: Any, order: int, statement: sympy.Basic) -> None:
    for index, pair in enumerate(_PAIRS):
        _check_sum(statement, left, ("elu", "relu"), pair, _pair_mean(index, order))


def _match_curvature(statement: sympy.Basic) -> None:
    """ReLU twice at one std: E[f(X)f(Y)] is an arc-cosine kernel, its curvature s²/(2π sqrt(1 − ρ²))."""
    for std, _, correlation in _PAIRS:
        reference = float(std) ** 2 / (2 * math.pi * math.sqrt(1 - float(correlation) ** 2))
        _check_sum(statement, value_curvature, ("relu", "relu"), (std, std, correlation), reference)


@cache
def mehler_series() -> Derivation:
    """K4: `E[f(X)g(Y)] = Σ_k a_k b_k ρ^k` at zero means, `a_k = E[f(s1 Z) He_k(Z)]/√k!` and `b_k` of g at s2, |ρ| < 1.

    For g = f and s2 = s1 every coefficient is a square: as a function of ρ the dual kernel is convex on [0, 1), which
    `fixed_points` stands on. F. G. Mehler, Journal für die reine und angewandte Mathematik 66 (1866) 161.

    >>> import elutheory as et
    >>> derivation = et.mehler_series()
    >>> derivation.number, derivation.steps[-1].name
    ('K4', 'convexity')
    """
    weight, outer = phi(_x), PairDensity(_x, _y, 1, rho)
    generating, terms = _generating(_x, _t), _first[_k] * _second[_k] * rho**_k
    on_line = pointwise_checks(weight, _PLACES, _written_out)
    on_plane = pointwise_checks(outer, _PLACES, _written_out)
    slope = sympy.Derivative(_f(_x), _x)
    pairs = f"{len(_PAIRS)} pairs of ELU and ReLU, {_TERMS} terms (quadrature, {_DIGITS} digits)"
    every = "every f, g spanned by exponentials (their terms for every k)"

    def series(term: Any) -> Any:
        return sympy.Sum(term, (_k, 0, sympy.oo))

    def termwise(left: Any, term: Any) -> Check:
        term = term.xreplace({_first[_k]: _coefficient, _second[_k]: _other})
        return Check("every k (derivative of the terms by ρ)", partial(_prove_terms, left, term), proves=True)

    def numbers(left: Any, order: int) -> Check:
        return Check(pairs, partial(_match_pairs, left, order))

    square = _first[_k] ** 2 * _k * (_k - 1) * rho ** (_k - 2)
    steps = (
        Step(
            equation(generating * weight, phi(_x - _t)),
            "The function that generates the Hermite polynomials, exp(tx − t²/2) = Σ He_k(x) t^k/k!, shifts the "
            "density: He_k φ is (−1)^k times the k-th derivative of φ.",
            on_line,
            "generating function",
        ),
        Step(
            equation(sympy.Derivative(generating, _t), (_x - _t) * generating),
            "Coefficients of t^k/k!: He_{k+1} = x He_k − k He_{k−1}, from He_0 = 1.",
            on_line,
            "recursion",
        ),
        Step(
            equation(
                _f(_x) * (_x - _t) * generating * weight,
                slope * generating * weight - sympy.Derivative(_f(_x) * generating * weight, _x),
            ),
            "Integrated, where f is continuous: E[f(Z) He_{k+1}(Z)] = E[f′(Z) He_k(Z)], Stein for every k.",
            on_line,
            "parts",
        ),
        Step(
            equation(_generating(_x, _s) * generating * weight, sympy.exp(_s * _t) * phi(_x - _s - _t)),
            "Integrated: exp(st), so E[He_j(Z) He_k(Z)] is k! for j = k and else 0.",
            on_line,
            "orthogonality",
        ),
        Step(
            equation(
                _generating(_x, _s) * _generating(_y, _t) * outer,
                sympy.exp(rho * _s * _t) * PairDensity(_x - _s - rho * _t, _y - _t - rho * _s, 1, rho),
            ),
            "Two standard normal variables of correlation ρ, with density p(x, y, 1, ρ); integrated: exp(ρst), so "
            "E[He_j He_k] is k! ρ^k for j = k and else 0.",
            on_plane,
            "pair",
        ),
        Step(
            equation(
                sympy.exp(_c * s1 * _x) * generating * weight,
                sympy.exp(_c**2 * s1**2 / 2 + _c * s1 * _t) * phi(_x - _t - _c * s1),
            ),
            "f(x) = exp(cx): a_k √k! is the coefficient (c s1)^k exp(c²s1²/2).",
            on_line,
            "exponentials",
        ),
        Step(
            equation(value_pair_mean, series(terms)),
            "K4. For exponentials f, g both sides are E[exp(cX + dY)]; they are bilinear and continuous in f and g.",
            (Check(every, _prove_product, proves=True), numbers(value_pair_mean, 0)),
            "series",
        ),
        Step(
            equation(value_slope, series(_k * _first[_k] * _second[_k] * rho ** (_k - 1))),
            "Term by term inside the circle of convergence; by Price (K3) it is s1 s2 E[f′(X)g′(Y)].",
            (termwise(value_slope, sympy.diff(terms, rho)), numbers(value_slope, 1)),
            "slope",
        ),
        Step(
            equation(value_curvature, series(square)),
            "And again, for g = f and s2 = s1: no term is negative for ρ ≥ 0, so the dual kernel is convex there.",
            (
                termwise(value_curvature, sympy.diff(terms.subs(_second[_k], _first[_k]), rho, 2)),
                Check(
                    f"{len(_PAIRS)} points of ReLU, {_TERMS} terms (arc-cosine kernel, {_DIGITS} digits)",
                    _match_curvature,
                ),
            ),
            "convexity",
        ),
    )
    return Derivation(
        "mehler-series",
        "The dual kernel as a series in the correlation",
        "K4",
        "Mehler's formula (F. G. Mehler, Journal für die reine und angewandte Mathematik 66, 1866)",
        (
            Assumption(
                "X and Y are jointly Gaussian, means 0, std s1 and s2, correlation ρ inside (−1, 1); E[f(X)²] and "
                "E[g(Y)²] are finite."
            ),
            Assumption(
                "a_k = E[f(s1 Z) He_k(Z)]/√k! and b_k = E[g(s2 Z) He_k(Z)]/√k!, Z standard normal. Bessel: the sum of "
                "a_k² is at most E[f(X)²], so the series converges."
            ),
            Assumption(
                "Quoted: exponentials span a dense subspace of the square-integrable functions of Z (uniqueness of the "
                "Laplace transform). Both sides of step 7 are at most √(E[f²] E[g²]) in size."
            ),
        ),
        steps,
    )
