"""The calculus of Gaussian integrals against mpmath's quadrature, and M1, M2, M5 as derivations."""

import dataclasses
import itertools
import random
from typing import Any

import mpmath
import pytest
import sympy

from elutheory.activations.pieces import Piece, pieces_of
from elutheory.derivations.expectations.checks import check_heat_equation
from elutheory.derivations.expectations.functions import Phi, phi
from elutheory.derivations.expectations.integrals import (
    NoClosedForm,
    exponential_polynomial,
    gaussian_expectation,
    gaussian_expectation_of_pieces,
)
from elutheory.derivations.expectations.normal_form import is_identically_zero, normal_form
from elutheory.derivations.moments.identities import stein, tilting, truncated_moments
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import mu, sigma
from elutheory.derivations.proof.steps import Check, CheckError, VerificationError
from elutheory.errors import InputError
from tests.references.mutants import is_same_statement, mutants

x = sympy.Symbol("x", real=True)
a, b, c, d = sympy.symbols("a b c d", real=True)
alpha = sympy.Symbol("alpha", positive=True)
z = mu / sigma
Q = sympy.Rational
oo = sympy.oo


def survivors(derivation: Derivation, one_in: int = 1) -> tuple[list[Any], int]:
    """The mutants that verify nevertheless, and how many were killed; cheap checks go first.

    One mutant in `one_in` is tried, from every statement.
    """
    alive, killed = [], 0
    for step in derivation.steps:
        checks = step.checks[::-1]
        for kind, build in itertools.islice(mutants(step.statement), 0, None, one_in):
            try:
                mutant = build()
            except (ValueError, TypeError):  # sympy refuses to build it
                continue
            if is_same_statement(kind, step.statement, mutant):
                continue
            try:
                dataclasses.replace(
                    derivation, steps=(dataclasses.replace(step, statement=mutant, checks=checks),)
                ).verify()
            except VerificationError:
                killed += 1
            else:
                alive.append((step.name, kind, mutant))
    return alive, killed


def without_checks(derivation: Derivation) -> Derivation:
    """Every step with a check that does nothing: to be written, not to be verified."""
    unchecked = (Check("nothing", lambda _: None),)
    steps = tuple(dataclasses.replace(step, checks=unchecked) for step in derivation.steps)
    return dataclasses.replace(derivation, steps=steps)


# --- the normal form ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "zero",
    [
        Phi(z) + Phi(-z) - 1,
        phi(z + sigma) * sympy.exp(mu + sigma**2 / 2) - phi(z),
        (Phi(z) + phi(z)) ** 2 - Phi(z) ** 2 - 2 * phi(z) * Phi(z) - phi(z) ** 2,
        sympy.exp(mu) * sympy.exp(sigma) - sympy.exp(mu + sigma),
        Phi((1 - mu) / sigma) + Phi((mu - 1) / sigma) - 1,
        sympy.E * sympy.exp(mu) - sympy.exp(mu + 1),
        sympy.exp(mu / alpha) / alpha - sympy.exp(mu / alpha) * alpha / alpha**2,
        sympy.diff(Phi(z), mu) - phi(z) / sigma,
        x ** (sympy.Symbol("k") - 1) * x * phi(x) - x ** sympy.Symbol("k") * phi(x),
    ],
)
def test_identities_are_decided(zero: sympy.Expr) -> None:
    assert is_identically_zero(zero)


@pytest.mark.parametrize(
    "nonzero", [Phi(z) - Phi(-z), phi(z) - phi(z + sigma), sympy.exp(mu) - 1, Phi(z) ** 2 - Phi(z), mu - sigma]
)
def test_differences_are_not_zero(nonzero: sympy.Expr) -> None:
    assert not is_identically_zero(nonzero)


@pytest.mark.parametrize("expression", [sympy.exp(Phi(z)), 1 / Phi(z), sympy.sin(Phi(z)), phi(z) ** Q(1, 2)])
def test_normal_form_refuses_what_it_cannot_decide(expression: sympy.Expr) -> None:
    with pytest.raises(CheckError, match="no rule"):
        normal_form(expression)


# --- the calculus ---------------------------------------------------------------------------------------------------


def test_terms_of_an_exponential_polynomial() -> None:
    terms = exponential_polynomial((x + 1) ** 2 * sympy.exp(2 * x / alpha + 1) - 3 * sympy.cosh(x), x)
    assert terms == {
        2 / alpha: {2: sympy.E, 1: 2 * sympy.E, 0: sympy.E},
        sympy.Integer(1): {0: -Q(3, 2)},
        sympy.Integer(-1): {0: -Q(3, 2)},
    }


@pytest.mark.parametrize(
    "function",
    [
        sympy.tanh(x),
        1 / (1 + sympy.exp(-x)),
        sympy.log(1 + sympy.exp(x)),
        x * sympy.erf(x),
        sympy.exp(x**2),
        sympy.sqrt(x**2 + 1),
        sympy.sin(x),
    ],
)
def test_outside_the_class_there_is_no_closed_form_here(function: sympy.Expr) -> None:
    with pytest.raises(NoClosedForm, match=r"has no closed form here.*\.$"):
        gaussian_expectation(function, x)


def test_elu_mean_and_second_moment_are_the_formulas_of_the_theory() -> None:
    """M3 and M4 as they stand in the theory's text, typed in by hand."""
    elu = sympy.Piecewise((x, x > 0), (alpha * (sympy.exp(x) - 1), True))
    grown = sympy.exp(mu + sigma**2 / 2) * Phi(-z - sigma)
    mean = mu * Phi(z) + sigma * phi(z) + alpha * (grown - Phi(-z))
    second = (mu**2 + sigma**2) * Phi(z) + mu * sigma * phi(z)
    second += alpha**2 * (sympy.exp(2 * mu + 2 * sigma**2) * Phi(-z - 2 * sigma) - 2 * grown + Phi(-z))
    assert gaussian_expectation(elu, x) == mean
    assert gaussian_expectation(elu**2, x) == second


@pytest.mark.parametrize("power", range(9))
def test_moments_of_a_gaussian(power: int) -> None:
    """The known moments: sum over even j of binomial(k, j) mu^{k−j} sigma^j (j−1)!!."""
    known = sum(
        sympy.binomial(power, j) * mu ** (power - j) * sigma**j * sympy.factorial2(j - 1)
        for j in range(0, power + 1, 2)
    )
    assert sympy.expand(gaussian_expectation(x**power, x) - known) == 0


def _random_piece(generator: random.Random) -> sympy.Expr:
    def number() -> sympy.Rational:
        return Q(generator.randint(-12, 12), generator.randint(1, 5))

    polynomial = sum(number() * x**k for k in range(generator.randint(1, 5)))
    return polynomial + sum(number() * x ** generator.randint(0, 3) * sympy.exp(number() * x / 4) for _ in range(2))


@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(4, 12))]
)
def test_random_piecewise_functions_against_quadrature(seed: int) -> None:
    """mpmath's adaptive quadrature of the definition, 40 digits; breakpoints, mean and std are random too."""
    generator = random.Random(seed)
    ends = sorted({Q(generator.randint(-30, 30), 7) for _ in range(3)})
    bounds = [-oo, *ends, oo]
    pieces = [Piece(lower, upper, _random_piece(generator)) for lower, upper in itertools.pairwise(bounds)]
    formula = gaussian_expectation_of_pieces(pieces, x)
    mean, std = Q(generator.randint(-20, 20), 9), Q(generator.randint(2, 15), 8)
    with mpmath.workdps(50):
        total = mpmath.mpf(0)
        for piece in pieces:
            function = sympy.lambdify(x, piece.expression, "mpmath")
            lower, upper = (
                mpmath.mpf(int(sign) * 24)
                if end in (oo, -oo)
                else (mpmath.mpf(end.p) / end.q - mpmath.mpf(mean.p) / mean.q) / (mpmath.mpf(std.p) / std.q)
                for end, sign in ((piece.lower, -1), (piece.upper, 1))
            )
            total += mpmath.quad(
                lambda t, function=function: (
                    function(mpmath.mpf(mean.p) / mean.q + mpmath.mpf(std.p) / std.q * t) * mpmath.npdf(t)
                ),
                mpmath.linspace(lower, upper, 9),
                method="gauss-legendre",
            )
        value = mpmath.mpf(str(formula.subs({mu: mean, sigma: std}).evalf(50)))
        assert abs(value - total) < mpmath.mpf(10) ** -40 * (1 + abs(total))


def test_symbolic_breakpoints_mean_and_std() -> None:
    """A window on symbolic ends, differentiated by its upper end: the integrand there."""
    std = sympy.Symbol("s", positive=True)
    formula = gaussian_expectation(x**2 * sympy.exp(c * x), x, d, std, lower=a, upper=b)
    assert formula.free_symbols == {a, b, c, d, std}
    density = phi((b - d) / std) / std
    assert is_identically_zero(sympy.diff(formula, b) - b**2 * sympy.exp(c * b) * density)
    assert is_identically_zero(formula.subs(b, a))


def test_a_piecewise_expression_is_cut_at_the_ends_asked_for() -> None:
    absolute = gaussian_expectation(sympy.Abs(x), x, lower=sympy.Integer(-1), upper=sympy.Integer(2))
    parts = gaussian_expectation(-x, x, lower=-Q(1), upper=Q(0)) + gaussian_expectation(x, x, lower=Q(0), upper=Q(2))
    assert is_identically_zero(absolute - parts)
    with pytest.raises(InputError, match="one by one"):
        gaussian_expectation(sympy.Abs(x), x, lower=a)


# --- the proof by the heat equation ---------------------------------------------------------------------------------


def test_the_heat_equation_is_not_fooled_by_its_own_kernel() -> None:
    """phi((mu − h)/sigma)/sigma solves the heat equation and vanishes as sigma -> 0 off h: it must not pass as 0."""
    relu = sympy.Piecewise((x, x > 0), (0, True))
    formula, pieces = gaussian_expectation(relu, x), pieces_of(relu, x)
    check_heat_equation(formula, pieces, x)
    for h in (0, 1):
        with pytest.raises(CheckError, match="unbounded"):
            check_heat_equation(formula + phi((mu - h) / sigma) / sigma, pieces, x)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Phi(z), "tends to"),
        (mu * Phi(z), "heat equation"),
        (gaussian_expectation(sympy.Max(x - 1, 0), x), "inside a piece"),
        (gaussian_expectation(sympy.Max(x, 0), x) + 1, "tends to"),
        (mu * Phi(z) + sigma * phi(z) + sympy.exp(mu + sigma**2 / 2), "tends to"),
    ],
)
def test_the_heat_equation_refutes(wrong: sympy.Expr, message: str) -> None:
    with pytest.raises(CheckError, match=message):
        check_heat_equation(wrong, pieces_of(sympy.Piecewise((x, x > 0), (0, True)), x), x)


# --- M1, M2, M5 -----------------------------------------------------------------------------------------------------

DERIVATIONS = {"M1": tilting, "M2": truncated_moments, "M5": stein}


@pytest.mark.parametrize("number", DERIVATIONS)
def test_derivations_verify_and_every_step_is_proved(number: str) -> None:
    derivation = DERIVATIONS[number]()
    assert derivation.number == number
    verified = derivation.verify()
    assert all(step.proved and len(step.scopes) == 2 for step in verified)
    for step in derivation.steps:
        assert all(check.proves == check.scope.startswith("every") for check in step.checks)
    assert max(len(line) for line in derivation.to_text().splitlines()) <= 80
    assert derivation.to_latex().isascii()
    assert derivation.to_markdown()
    assert "<math" in derivation.to_html()


@pytest.mark.parametrize("one_in", [6, pytest.param(1, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("number", DERIVATIONS)
def test_no_mutant_survives(number: str, one_in: int) -> None:
    alive, killed = survivors(DERIVATIONS[number](), one_in=one_in * (3 if number == "M2" else 1))
    assert not alive
    assert killed > 100 / one_in


@pytest.mark.parametrize("number", DERIVATIONS)
def test_each_check_alone_catches_a_dropped_term(number: str) -> None:
    for step in DERIVATIONS[number]().steps:
        right = step.statement.rhs
        wrong = sympy.Eq(step.statement.lhs, 2 * right, evaluate=False)
        for check in step.checks:  # which pass the right side: the derivation verifies
            with pytest.raises(CheckError):
                check.run(wrong)
