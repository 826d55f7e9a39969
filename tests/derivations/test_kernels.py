"""K1–K4: every step is proved and agrees with quadrature, no mutant survives; formulas against definitions."""

import itertools
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import sympy

from elutheory.activations import Activation, activation
from elutheory.derivations.expectations.functions import Phi, Phi2, bivariate_density, bivariate_probability, phi
from elutheory.derivations.expectations.integrals import NoClosedForm
from elutheory.derivations.expectations.pair_checks import check_vanishing
from elutheory.derivations.expectations.pair_normal_form import is_zero_at_every_correlation
from elutheory.derivations.expectations.pair_notation import a, b, rho, s1, s2
from elutheory.derivations.kernels.dual_kernels import dual_kernel_closed_form, dual_kernel_derivative_closed_form
from elutheory.derivations.kernels.formulas import dual_kernel_formulas
from elutheory.derivations.kernels.identities import bivariate_normal, bivariate_tilting, price_theorem
from elutheory.derivations.kernels.mehler import mehler_series
from elutheory.derivations.kernels.special_cases import at_equality, dual_kernel_limits, zero_mean_dual_kernel
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.steps import CheckError
from elutheory.errors import InputError
from tests.derivations.test_expectations import survivors, without_checks

Q = sympy.Rational
h, k, u = sympy.symbols("h k u", real=True)
alpha = sympy.Symbol("alpha", positive=True)
q = sympy.sqrt(1 - rho**2)
DIGITS = 25

DERIVATIONS: dict[str, Callable[[], Derivation]] = {
    "bivariate normal": bivariate_normal,
    "tilting": bivariate_tilting,
    "K3": price_theorem,
    "K2": dual_kernel_derivative_closed_form,
    "K1": dual_kernel_closed_form,
    "zero mean": zero_mean_dual_kernel,
    "limits": dual_kernel_limits,
    "K4": mehler_series,
}


# --- the derivations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DERIVATIONS)
def test_derivations_verify_and_every_step_is_proved(name: str) -> None:
    derivation = DERIVATIONS[name]()
    assert all(step.proved and len(step.scopes) == 2 for step in derivation.verify())
    for step in derivation.steps:
        assert all(check.proves == check.scope.startswith("every") for check in step.checks)


@pytest.mark.parametrize("name", DERIVATIONS)
def test_derivations_render(name: str) -> None:
    """Rendering verifies; the checks have their own tests and are left out here."""
    derivation = without_checks(DERIVATIONS[name]())
    text = derivation.to_text()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "Integral(" not in text
    assert "Derivative(" not in text
    assert derivation.to_latex().isascii()
    assert derivation.to_markdown().count("$$") == 2 * len(derivation.steps)
    html = derivation.to_html()
    assert "\\" not in html
    statements = ElementTree.fromstring(html).iter("{http://www.w3.org/1998/Math/MathML}math")  # noqa: S314
    assert len(list(statements)) == len(derivation.steps)


@pytest.mark.parametrize("name", DERIVATIONS)
def test_no_mutant_survives(name: str) -> None:
    alive, killed = survivors(DERIVATIONS[name](), one_in=12)
    assert not alive
    assert killed >= 9


@pytest.mark.parametrize("first", [2, pytest.param(None, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", DERIVATIONS)
def test_each_check_alone_catches_a_doubled_side(name: str, first: int | None) -> None:
    """Of the first two steps of each: the checks of the others are made by the same functions."""
    for step in DERIVATIONS[name]().steps[:first]:
        left, right = step.statement.args
        for check in step.checks:
            with pytest.raises(CheckError):
                check.run(sympy.Eq(left, 2 * right, evaluate=False))  # pyright: ignore


def test_each_check_alone_catches_a_dropped_term_of_k1() -> None:
    for step in dual_kernel_closed_form().steps[:3]:
        left, right = step.statement.args
        for term in sympy.Add.make_args(sympy.expand_mul(right))[::2]:
            for check in step.checks:
                with pytest.raises(CheckError):
                    check.run(sympy.Eq(left, right - term, evaluate=False))  # pyright: ignore


# --- the normal form and the decay ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "zero",
    [
        Phi2(h, k, rho) - Phi2(k, h, rho),
        Phi2(-h, k, -rho) + Phi2(h, k, rho) - Phi(k),
        Phi2(-h, -k, rho) - Phi2(h, k, rho) + Phi(h) + Phi(k) - 1,
        Phi2(h, k, rho).subs(rho, 0) - Phi(h) * Phi(k),
        Phi2(sympy.Integer(0), sympy.Integer(0), -rho) - Q(1, 4) + sympy.asin(rho) / (2 * sympy.pi),
        phi(h) * phi((k - rho * h) / q) / q - bivariate_density(h, k, rho),
        sympy.diff(Phi2(h, k, rho), h, k) - sympy.diff(Phi2(h, k, rho), rho),
        sympy.diff(Phi2(h, k, rho), h, rho) - sympy.diff(Phi2(h, k, rho), rho, h),
        (1 - rho) / q - q / (1 + rho),
        (Phi2(h, k, rho) + 1) ** 2 - Phi2(k, h, rho) ** 2 - 2 * Phi2(h, k, rho) - 1,
    ],
)
def test_identities_with_a_correlation_are_decided(zero: sympy.Expr) -> None:
    assert is_zero_at_every_correlation(zero)


@pytest.mark.parametrize(
    "nonzero",
    [
        Phi2(h, k, rho) - Phi(h) * Phi(k),
        Phi2(h, k, rho) - Phi2(h, k, -rho),
        Phi2(h, -k, rho) - Phi2(-h, k, rho),
        q - 1 + rho**2,
        Phi((h - rho * k) / q) - Phi((k - rho * h) / q),
    ],
)
def test_differences_with_a_correlation_are_not_zero(nonzero: sympy.Expr) -> None:
    assert not is_zero_at_every_correlation(nonzero)


@pytest.mark.parametrize(
    "expression", [sympy.sqrt(1 + rho), sympy.exp(Phi2(h, k, rho)), 1 / Phi2(h, k, rho), sympy.zoo * h, sympy.sin(rho)]
)
def test_normal_form_refuses_what_it_cannot_decide(expression: sympy.Expr) -> None:
    with pytest.raises(CheckError, match="no rule"):
        is_zero_at_every_correlation(expression)


def test_decay_is_recognised_on_the_right_side_only() -> None:
    formula = h * Phi2(h, -k, -rho) + phi(h) * Phi((rho * h - k) / q) - rho * phi(k) * Phi((h - rho * k) / q)
    check_vanishing(sympy.exp(h) * formula, h, -1)
    with pytest.raises(CheckError, match="nothing shows"):
        check_vanishing(formula, h, 1)
    for growing in (phi(k), sympy.exp(-h), Phi(h) * sympy.exp(h**2), Phi(h**3), Phi2(h, k, rho) + 1):
        with pytest.raises(CheckError, match="nothing shows"):
            check_vanishing(growing, h, -1)


def test_limit_for_equal_inputs_refuses_unequal_ones() -> None:
    assert at_equality(Phi2(a, b, rho)) == Phi(a)
    assert at_equality(Phi2(a, -b, -rho)) == 0
    for formula in (Phi2(a, b + s2, rho), Phi((a + s1) / q), 1 / q):
        with pytest.raises(CheckError, match=r"limit|no rule"):
            is_zero_at_every_correlation(at_equality(formula))


# --- Phi2 in numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [(0.5, -0.25, 0.75), (-1.5, 2.0, -0.96875), (-6.0, -5.0, -0.5), (3.0, 2.5, 0.99)])
def test_phi2_is_the_integral_of_its_definition(numbers: tuple[float, float, float]) -> None:
    """`∫ phi(t) Phi((k − r t)/sqrt(1 − r²)) dt` up to h; evalf is relative to the value, in the far tail too."""
    with mpmath.workdps(45):
        first, second, r = map(mpmath.mpf, numbers)
        root = mpmath.sqrt(1 - r * r)
        bend = second / r
        ends = sorted({mpmath.mpf(-16), first, *(e for e in (bend - 1, bend, bend + 1, -4, 0) if -16 < e < first)})
        integral = mpmath.quad(lambda t: mpmath.npdf(t) * mpmath.ncdf((second - r * t) / root), ends)
        exact = Phi2(*(Q(number) for number in numbers)).evalf(30)
        assert abs(bivariate_probability(first, second, r) - integral) < mpmath.mpf(10) ** -38
        assert abs(mpmath.mpf(str(exact)) / integral - 1) < mpmath.mpf(10) ** -28


@pytest.mark.parametrize("r", [1, -1, 1.5])
def test_phi2_refuses_a_correlation_outside(r: float) -> None:
    with pytest.raises(InputError, match=r"inside \(-1, 1\)"):
        bivariate_probability(mpmath.mpf(0), mpmath.mpf(0), mpmath.mpf(r))


# --- the formulas ---------------------------------------------------------------------------------------------------


def test_elu_formulas_are_those_of_the_theory() -> None:
    """K1 and K2 as they stand in the theory's text, typed in by hand."""
    e1, e2 = sympy.exp(s1 * a + s1**2 / 2), sympy.exp(s2 * b + s2**2 / 2)
    e12 = sympy.exp(s1 * a + s2 * b + (s1**2 + 2 * rho * s1 * s2 + s2**2) / 2)

    def G(u: Any, v: Any) -> Any:
        upper = phi(u) * Phi((rho * u - v) / q) - rho * phi(v) * Phi((u - rho * v) / q)
        return u * Phi2(u, -v, -rho) + upper

    value = s1 * s2 * ((a * b + rho) * Phi2(a, b, rho) + b * phi(a) * Phi((b - rho * a) / q))
    value += s1 * s2 * a * phi(b) * Phi((a - rho * b) / q)
    value += s1 * s2 * q / (2 * sympy.pi) * sympy.exp(-(a**2 - 2 * rho * a * b + b**2) / (2 * q**2))
    value += alpha * s1 * (e2 * G(a + rho * s2, b + s2) - G(a, b))
    value += alpha * s2 * (e1 * G(b + rho * s1, a + s1) - G(b, a))
    corner = e12 * Phi2(-a - s1 - rho * s2, -b - s2 - rho * s1, rho)
    shifted = e1 * Phi2(-a - s1, -b - rho * s1, rho) + e2 * Phi2(-a - rho * s2, -b - s2, rho)
    value += alpha**2 * (corner - shifted + Phi2(-a, -b, rho))
    slope = Phi2(a, b, rho) + alpha * e2 * Phi2(a + rho * s2, -b - s2, -rho)
    slope += alpha * e1 * Phi2(b + rho * s1, -a - s1, -rho) + alpha**2 * corner
    formulas = dual_kernel_formulas(activation("elu", alpha=alpha))
    assert is_zero_at_every_correlation(formulas.value_mean - value)
    assert is_zero_at_every_correlation(formulas.slope_mean - slope)


def test_relu_is_the_arc_cosine_kernel() -> None:
    """Cho & Saul 2009, zero mean: `(sin θ + (π − θ) cos θ)/(2π)` and `(π − θ)/(2π)`, cos θ = rho."""
    values = dual_kernel_formulas("relu").numbers(0, 0, Q(3, 2), Q(4, 3), Q(-5, 7))
    with mpmath.workdps(30):
        theta = mpmath.acos(mpmath.mpf(-5) / 7)
        known = (mpmath.sin(theta) + (mpmath.pi - theta) * mpmath.cos(theta)) / mpmath.pi
        assert abs(values[0] - known) < mpmath.mpf(10) ** -28
        assert abs(values[1] - (mpmath.pi - theta) / (2 * mpmath.pi)) < mpmath.mpf(10) ** -28


def _elu(t: Any) -> Any:
    return t if t > 0 else mpmath.expm1(t)


@pytest.mark.exhaustive
def test_elu_numbers_by_integration_over_the_plane() -> None:
    """mpmath's two-dimensional quadrature of the definition, f typed in again, 15 digits."""
    mean_x, mean_y, std_x, std_y, r = 0.25, -0.5, 1.25, 0.75, -0.625
    with mpmath.workdps(20):

        def integrand(s: Any, t: Any) -> Any:
            density = mpmath.exp(-(s * s - 2 * r * s * t + t * t) / (2 * (1 - r * r)))
            return _elu(mean_x + std_x * s) * _elu(mean_y + std_y * t) * density

        ends = [[-9, -4, -mean / std, 4, 9] for mean, std in ((mean_x, std_x), (mean_y, std_y))]
        total = sum(
            mpmath.quad(integrand, first, second, method="gauss-legendre", maxdegree=4)
            for first, second in itertools.product(*(itertools.pairwise(axis) for axis in ends))
        ) / (2 * mpmath.pi * mpmath.sqrt(1 - r * r))
        value, _ = dual_kernel_formulas("elu").numbers(mean_x, mean_y, std_x, std_y, r)
        assert abs(value - total) < 1e-15


def _conditional_means(mean: Any, std: Any, A: Any, B: Any, rate: Any) -> tuple[Any, Any]:
    """`E f` and `E f'` of N(mean, std²), written down by hand (M3)."""
    z = mean / std
    grown = mpmath.exp(rate * mean + (rate * std) ** 2 / 2) * mpmath.ncdf(-z - rate * std)
    above = A * (mean * mpmath.ncdf(z) + std * mpmath.npdf(z))
    return above + B * (grown - mpmath.ncdf(-z)), A * mpmath.ncdf(z) + B * rate * grown


FAMILY: dict[str, tuple[Activation, tuple[str, str, str]]] = {
    "elu": (activation("elu", alpha=1.5), ("1", "1.5", "1")),
    "celu": (activation("celu", alpha=0.5), ("1", "0.5", "2")),
    "selu": (
        activation("selu"),
        ("1.0507009873554804934193349852946", "1.7580993408473768599402175208123", "1"),
    ),
    "relu": (activation("relu"), ("1", "0", "1")),
}


@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("elu", ("0.5", "-1.25", "1.5", "0.25", "0.96875")),
        pytest.param("celu", ("-3", "2", "2.5", "3", "-0.75"), marks=pytest.mark.exhaustive),
        pytest.param("selu", ("0", "0", "1", "1", "0.5"), marks=pytest.mark.exhaustive),
        ("relu", ("-3", "2", "2.5", "3", "-0.75")),
    ],
)
def test_numbers_by_integrating_the_conditional_mean(name: str, point: tuple[str, ...]) -> None:
    """`E[f(X) E(f(Y)|X)]` by one-dimensional quadrature of hand-written formulas, split at the kink and at the bend."""
    function, parameters = FAMILY[name]
    with mpmath.workdps(DIGITS + 15):
        A, B, rate = map(mpmath.mpf, parameters)
        mean_x, mean_y, std_x, std_y, r = map(mpmath.mpf, point)
        rest = std_y * mpmath.sqrt(1 - r * r)

        def integrand(t: Any, which: int) -> Any:
            x = mean_x + std_x * t
            own = (A * x, A) if x > 0 else (B * mpmath.expm1(rate * x), B * rate * mpmath.exp(rate * x))
            inner = _conditional_means(mean_y + r * std_y * t, rest, A, B, rate)
            return own[which] * inner[which] * mpmath.npdf(t)

        kink, bend = -mean_x / std_x, -mean_y / (r * std_y)
        width = rest / abs(r * std_y)
        ends = sorted({mpmath.mpf(-14), kink, bend - 4 * width, bend, bend + 4 * width, -5, 5, mpmath.mpf(14)})
        ends = [end for end in ends if -14 <= end <= 14]
        integrals = [mpmath.quad(lambda t, which=which: integrand(t, which), ends) for which in (0, 1)]
        for value, integral in zip(dual_kernel_formulas(function).numbers(*point, digits=40), integrals, strict=True):
            assert abs(value - integral) < mpmath.mpf(10) ** -DIGITS * (1 + abs(integral))


@pytest.mark.exhaustive
def test_covariance_is_the_integral_of_the_slopes() -> None:
    """K3 for the ELU: `s1 s2 ∫ K2 d rho` from 0 against K1 minus the product of the means, 20 digits."""
    formulas = dual_kernel_formulas("elu")
    means, stds, r = (Q(1, 2), Q(-3, 4)), (Q(5, 4), Q(2, 3)), Q(-4, 5)
    with mpmath.workdps(30):
        nodes = mpmath.calculus.quadrature.GaussLegendre(mpmath.mp).calc_nodes(4, mpmath.mp.prec)
        half = mpmath.asin(mpmath.mpf(r.p) / r.q) / 2
        total = mpmath.mpf(0)
        for node, weight in nodes:
            angle = half * (1 + node)
            _, slope = formulas.numbers(*means, *stds, Q(mpmath.nstr(mpmath.sin(angle), 35)), digits=25)
            total += half * weight * slope * mpmath.cos(angle)
        product = mpmath.mpf(1)
        for mean, std in zip(means, stds, strict=True):
            product *= _conditional_means(mpmath.mpf(mean.p) / mean.q, mpmath.mpf(std.p) / std.q, 1, 1, 1)[0]
        value, _ = formulas.numbers(*means, *stds, r)
        assert abs(total * 5 / 6 - (value - product)) < mpmath.mpf(10) ** -20


def test_mehler_series_of_the_elu() -> None:
    """K4: `sum of a_k² rho^k`, a_k from quadrature with Hermite polynomials, at zero mean and unit std."""
    r = Q(1, 16)
    with mpmath.workdps(30):
        total = mpmath.mpf(0)
        for order in range(16):  # the rest is below (1/16)^16 E f² < 1e-19
            coefficient = mpmath.quad(
                lambda t, order=order: (
                    _elu(t) * mpmath.hermite(order, t / mpmath.sqrt(2)) * mpmath.sqrt(2) ** -order * mpmath.npdf(t)
                ),
                [-13, -6, 0, 6, 13],
                method="gauss-legendre",
            )
            total += coefficient**2 / mpmath.factorial(order) * mpmath.mpf(r.p) ** order / mpmath.mpf(r.q) ** order
        value, _ = dual_kernel_formulas("elu").numbers(0, 0, 1, 1, r)
        assert abs(value - total) < 1e-18


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["leaky_relu", "shifted_relu", "identity", "hard_tanh", "tanh"])
def test_other_activations_have_no_closed_form_here(name: str) -> None:
    with pytest.raises(NoClosedForm, match=f"{name}.*closed form here"):
        dual_kernel_formulas(name)


@pytest.mark.parametrize("arguments", [(0, 0, 1, 1, 1), (0, 0, 1, 1, Q(-3, 2)), (0, 0, -1, 1, 0), (0, 0, 1, 0, 0)])
def test_numbers_of_no_pair_are_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(InputError, match="std must be positive"):
        dual_kernel_formulas("elu").numbers(*arguments)


def test_symbols_without_numbers_and_taken_names_are_refused() -> None:
    with pytest.raises(InputError, match="alpha has no value"):
        dual_kernel_formulas(activation("elu", alpha=alpha)).numbers(0, 0, 1, 1, 0)
    x, own = sympy.Symbol("x", real=True), sympy.Symbol("a", positive=True)
    function = Activation.from_expression(sympy.Piecewise((x, x > 0), (own * (sympy.exp(x) - 1), True)), x)
    with pytest.raises(InputError, match="a names a quantity of the pair"):
        dual_kernel_formulas(function)
