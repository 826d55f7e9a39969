"""M3-M7: every closed form is proved, agrees with quadrature, and no mutant of it survives."""

from functools import cache
from typing import Any

import mpmath
import pytest
import sympy

from elutheory.activations import Activation, activation
from elutheory.derivations.expectations.checks import not_zero
from elutheory.derivations.expectations.functions import Phi, phi
from elutheory.derivations.expectations.integrals import NoClosedForm
from elutheory.derivations.expectations.normal_form import is_identically_zero
from elutheory.derivations.moments.deactivation import deactivated, deactivation_limit
from elutheory.derivations.moments.entropy import entropy_of_output
from elutheory.derivations.moments.moments_of_activations import MomentFormulas, activation_moments, moment_formulas
from elutheory.derivations.moments.smooth_activations import check_smooth_expectation
from elutheory.derivations.proof.notation import mu, negative_slope, sigma, unit_variance
from elutheory.derivations.proof.steps import CheckError, UndecidedCheckError
from elutheory.errors import InputError
from tests.derivations.test_expectations import survivors, without_checks

alpha = sympy.Symbol("alpha", positive=True)
slope = sympy.Symbol("negative_slope", positive=True)
x = sympy.Symbol("x", real=True)
z = mu / sigma
Q = sympy.Rational

SYMBOLIC = {
    "elu": activation("elu", alpha=alpha),
    "celu": activation("celu", alpha=alpha),
    "leaky_relu": activation("leaky_relu", negative_slope=slope),
}
IN_CLASS = ("identity", "relu", "leaky_relu", "shifted_relu", "elu", "celu", "selu", "hard_tanh", "relu6")
IN_CLASS += ("prelu", "squared_relu", "hard_sigmoid", "hard_swish")
SMOOTH = ("gelu", "erf", "sin", "cos")
OUTSIDE = ("tanh", "logistic", "softplus", "silu", "gelu_tanh", "quick_gelu", "mish")


THREE_HALVES = Q(3, 2)


@cache
def custom(end: sympy.Expr = THREE_HALVES, name: str = "jumping") -> Activation:
    """A polynomial and an exponential piece, f and f' with a jump."""
    expression = sympy.Piecewise((x**2 - x, x > end), (Q(1, 2) - sympy.exp(2 * x), True))
    return Activation.from_expression(expression, x, name=name)


def functions() -> list[Activation]:
    at_an_irrational_point = custom(sympy.sqrt(2), "jumping at √2")
    return [*SYMBOLIC.values(), *(activation(name) for name in IN_CLASS), custom(), at_an_irrational_point]


CHOSEN = {"elu(alpha=alpha)", "leaky_relu(negative_slope=negative_slope)", "hard_tanh", "jumping"}
"""What every run proves: symbolic parameters, one kink and two, and jumps; the others are much like one of these."""


def few(function: Activation | str) -> Any:
    """The function as a parameter of a test, of an exhaustive one unless it is `CHOSEN`."""
    return pytest.param(function, id=str(function), marks=[] if str(function) in CHOSEN else [pytest.mark.exhaustive])


@pytest.mark.parametrize("function", [few(function) for function in functions()])
def test_every_closed_form_is_proved_and_agrees_with_quadrature(function: Activation) -> None:
    verified = activation_moments(function).verify()
    assert len(verified) in (9, 10)
    assert all(step.proved for step in verified)
    assert all(any("quadrature, 50 digits" in scope for scope in step.scopes) for step in verified)


@pytest.mark.parametrize(
    "name", ["sin", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("erf", "gelu"))]
)
def test_smooth_closed_forms_are_proved_and_agree_with_quadrature(name: str) -> None:
    verified = activation_moments(name).verify()
    assert len(verified) == (10 if name == "erf" else 9)
    assert all(step.proved for step in verified)
    assert all(any("quadrature, 50 digits" in scope for scope in step.scopes) for step in verified)


@pytest.mark.parametrize("name", SMOOTH)
def test_a_changed_smooth_formula_is_no_proof(name: str) -> None:
    """A term more, a factor more, another mean: the heat equation or the value at sigma = 0 notices."""
    function, formulas = activation(name), moment_formulas(name)
    slope = sympy.diff(function.expression, function.symbol)
    for formula, integrand in ((formulas.mean, function.expression), (formulas.slope_mean, slope)):
        check_smooth_expectation(function, formula, integrand)
        for wrong in (formula + sigma**2, 2 * formula, formula.subs(mu, 2 * mu), formula + mu * sigma**2):
            with pytest.raises(CheckError):
                check_smooth_expectation(function, wrong, integrand)


@pytest.mark.parametrize("name", OUTSIDE)
def test_outside_the_class_no_closed_form_is_attempted(name: str) -> None:
    for derive in (moment_formulas, activation_moments):
        with pytest.raises(NoClosedForm, match=f"{name}: .* has no closed form here"):
            derive(activation(name))


def test_a_proof_is_called_so_and_a_sample_is_not() -> None:
    for derivation in (*map(activation_moments, functions()), deactivation_limit()):
        for step in derivation.steps:
            for check in step.checks:
                assert check.proves == check.scope.startswith("every"), check.scope


@pytest.mark.parametrize("one_in", [8, pytest.param(1, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", ["elu", "hard_tanh", "jumping"])
def test_no_mutant_survives(name: str, one_in: int) -> None:
    derivation = activation_moments(custom() if name == "jumping" else SYMBOLIC.get(name) or activation(name))
    alive, killed = survivors(derivation, one_in=one_in * (8 if name == "jumping" else 1))
    assert not alive
    assert killed > 100 / one_in


def test_each_kind_of_check_alone_catches_a_flipped_sign_and_a_dropped_term() -> None:
    for step in activation_moments(SYMBOLIC["elu"]).steps:
        right = step.statement.rhs
        wrong = [-right] if not right.is_Add else [-right, *(right - term for term in right.args)]
        for check in step.checks[:2]:  # the special values of alpha see only part of a formula
            check.run(step.statement)
            for formula in wrong:
                with pytest.raises(CheckError):
                    check.run(sympy.Eq(step.statement.lhs, formula, evaluate=False))


# --- the formulas ---------------------------------------------------------------------------------------------------


def test_elu_formulas_by_hand() -> None:
    """Worked out on paper from the definition."""
    formulas = moment_formulas(SYMBOLIC["elu"])
    grown = sympy.exp(mu + sigma**2 / 2) * Phi(-z - sigma)
    twice = sympy.exp(2 * mu + 2 * sigma**2) * Phi(-z - 2 * sigma)
    by_hand = {
        "slope_mean": Phi(z) + alpha * grown,
        "slope_second_moment": Phi(z) + alpha**2 * twice,
        "value_slope_mean": mu * Phi(z) + sigma * phi(z) + alpha**2 * (twice - grown),
        "log_slope_mean": (sympy.log(alpha) + mu) * Phi(-z) - sigma * phi(z),
        "flat_probability": sympy.Integer(0),
    }
    for name, formula in by_hand.items():
        assert is_identically_zero(getattr(formulas, name) - formula), name


def test_celu_numbers_by_direct_integration() -> None:
    """CELU typed in again for mpmath: E f, E f'², E X f and E ln f' at one point."""
    mean, std, parameter = 0.375, 1.25, 0.75
    with mpmath.workdps(40):

        def expectation(left: Any, right: Any) -> Any:
            def integrate(function: Any, ends: list[Any]) -> Any:
                return mpmath.quad(lambda t: function(t) * mpmath.npdf(t, mean, std), ends)

            return integrate(left, [-30, -8, -3, 0]) + integrate(right, [0, 3, 8, 30])

        numbers = {
            "mean": expectation(lambda t: parameter * mpmath.expm1(t / parameter), lambda t: t),
            "slope_second_moment": expectation(lambda t: mpmath.exp(2 * t / parameter), lambda t: 1),
            "input_value_mean": expectation(lambda t: t * parameter * mpmath.expm1(t / parameter), lambda t: t * t),
            "log_slope_mean": expectation(lambda t: t / parameter, lambda t: 0),
        }
        at = {mu: Q(mean), sigma: Q(std), alpha: Q(parameter)}
        for name, number in numbers.items():
            value = mpmath.mpf(str(getattr(moment_formulas(SYMBOLIC["celu"]), name).subs(at).evalf(40)))
            assert abs(value - number) < 1e-35, name


def test_log_slope_says_why_where_there_is_none() -> None:
    """M6: an atom, a decreasing piece, and a slope that is not one exponential."""
    atom = moment_formulas(activation("relu"))
    assert atom.log_slope_mean is -sympy.oo
    assert atom.log_slope_reason == "f' = 0 with positive probability: f(X) has an atom"
    assert atom.flat_probability == Phi(-z)
    decreasing = moment_formulas(Activation.from_expression(-x, x))
    assert decreasing.log_slope_mean is None
    assert "not positive" in decreasing.log_slope_reason
    cubic = moment_formulas(Activation.from_expression(x**3, x))
    assert cubic.log_slope_mean is None
    assert "not one exponential" in cubic.log_slope_reason
    assert moment_formulas(activation("leaky_relu", negative_slope=0.0)).log_slope_mean is -sympy.oo
    assert "−oo" not in activation_moments(activation("relu")).to_text()


def test_leaky_relu_information() -> None:
    """M6: ln s times P(X < 0)."""
    formulas = moment_formulas(SYMBOLIC["leaky_relu"])
    assert formulas.log_slope_mean == sympy.log(slope) * Phi(-z)


def test_parameters_may_not_be_called_mu_or_sigma() -> None:
    with pytest.raises(InputError, match="call the parameter otherwise"):
        moment_formulas(activation("elu", alpha=sympy.Symbol("sigma", positive=True)))


def test_numeric_and_symbolic_parameters_agree() -> None:
    numeric, symbolic = moment_formulas(activation("elu", alpha=0.5)), moment_formulas(SYMBOLIC["elu"])
    for name in ("mean", "second_moment", "variance", "slope_mean", "value_slope_mean", "mean_by_sigma"):
        assert is_identically_zero(getattr(numeric, name) - getattr(symbolic, name).subs(alpha, Q(1, 2)))


def test_selu_is_a_scaled_elu() -> None:
    """selu = λ elu(α) with the constants as published, arXiv 1706.02515."""
    selu, elu = moment_formulas(activation("selu")), moment_formulas(SYMBOLIC["elu"])
    published = Q("1.6732632423543772848170429916717"), Q("1.0507009873554804934193349852946")
    for name, power in (("mean", 1), ("second_moment", 2), ("variance", 2), ("slope_mean", 1)):
        scaled = published[1] ** power * getattr(elu, name).subs(alpha, published[0])
        assert is_identically_zero(getattr(selu, name) - scaled)


def test_formulas_are_records() -> None:
    formulas = moment_formulas(activation("elu"))
    assert isinstance(formulas, MomentFormulas)
    with pytest.raises(AttributeError):
        formulas.mean = sympy.Integer(0)  # pyright: ignore


# --- M6 -------------------------------------------------------------------------------------------------------------


def test_entropy_verifies_and_no_mutant_survives() -> None:
    derivation = entropy_of_output()
    assert all(step.proved for step in derivation.verify())
    alive, killed = survivors(derivation, one_in=6)
    assert not alive
    assert killed > 25


def test_each_check_of_the_entropy_alone_catches_a_changed_side() -> None:
    for step in entropy_of_output().steps:
        left, right = step.statement.args
        for check in step.checks:
            with pytest.raises(CheckError):
                check.run(sympy.Eq(left, 2 * right, evaluate=False))  # pyright: ignore


# --- M7 -------------------------------------------------------------------------------------------------------------


def test_deactivation_verifies_and_no_mutant_survives() -> None:
    derivation = deactivation_limit()
    assert all(step.proved for step in derivation.verify())
    alive, killed = survivors(derivation, one_in=4)
    assert not alive
    assert killed > 20


def test_deactivated_variance_of_elu() -> None:
    """M7 against the variance of the log-normal distribution, alpha e^X − alpha."""
    lognormal = alpha**2 * (sympy.exp(sigma**2) - 1) * sympy.exp(2 * mu + sigma**2)
    assert is_identically_zero(deactivated(moment_formulas(SYMBOLIC["elu"]).variance) - lognormal)
    assert deactivated(moment_formulas(activation("relu")).variance) == 0


def test_leaky_variance_depends_on_mu() -> None:
    """M7's s² sigma² holds for mu -> −oo only; at 0 half-normal moments give the variance."""
    step = deactivation_limit().steps[-1]
    assert step.statement.lhs == unit_variance
    half_normal_mean, half_normal_square = 1 / sympy.sqrt(2 * sympy.pi), Q(1, 2)
    mean, second = (1 - negative_slope) * half_normal_mean, (1 + negative_slope**2) * half_normal_square
    assert sympy.expand(step.statement.rhs / sigma**2 - (second - mean**2)) == 0
    with pytest.raises(CheckError):
        step.checks[0].run(sympy.Eq(unit_variance, negative_slope**2 * sigma**2, evaluate=False))


# --- for people -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*map(few, IN_CLASS), "jumping", "symbolic celu", "deactivation", "entropy"])
def test_renderings(name: str) -> None:
    """Rendering verifies; the checks have their own tests and are left out here."""
    if name == "deactivation":
        derivation = deactivation_limit()
    elif name == "entropy":
        derivation = entropy_of_output()
    elif name == "jumping":
        derivation = activation_moments(custom())
    else:
        derivation = activation_moments(SYMBOLIC["celu"] if name == "symbolic celu" else activation(name))
    derivation = without_checks(derivation)
    assert max(len(line) for line in derivation.to_text().splitlines()) <= 80
    assert derivation.to_latex().isascii()
    assert derivation.to_markdown()
    assert "<math" in derivation.to_html()


def test_formulas_read_like_the_theory() -> None:
    text = activation_moments(SYMBOLIC["elu"]).to_text()
    assert "E[f]     = μ Φ(μ/σ) + α (exp(μ + σ²/2) Φ(−σ − μ/σ) − Φ(−μ/σ))" in text
    assert "E[ln f′] = (μ + ln(α)) Φ(−μ/σ) − σ φ(μ/σ)" in text
    assert "f(x) = α (exp(x) − 1) for x ≤ 0, x for x > 0" in " ".join(text.split())


def test_registry_names_are_accepted() -> None:
    assert moment_formulas("elu") == moment_formulas(activation("elu"))
    assert activation_moments("relu") is activation_moments(activation("relu"))


SLOW = ("where(x>pi,x,0)", "where(x>10,x,0)", "sin(100*x)", "erfc(x)", "x+1e16")


@pytest.mark.parametrize(
    "text", ["where(x>1e29,1,0)", "erfc(-2.5)", *(pytest.param(text, marks=pytest.mark.exhaustive) for text in SLOW)]
)
def test_right_formulas_pass_wherever_f_bends_and_however_large_or_fast_it_is(text: str) -> None:
    """Each was called a failed check: quadrature saw nothing of f, lost its digits (or had a constant's variance as the
    square of its rounding, not as 0), or no rule rewrote erfc.

    All but one take seconds each.
    """
    activation_moments(Activation.from_text(text)).verify()


def test_no_rule_is_no_refutation() -> None:
    difference = sympy.sqrt(2) + sympy.sqrt(3) - sympy.sqrt(5 + 2 * sympy.sqrt(6))
    assert type(not_zero(difference + mu - mu, "claim")) is UndecidedCheckError
    assert type(not_zero(difference + mu / 10**9, "claim")) is CheckError
    assert type(not_zero(sympy.Function("g")(mu), "claim")) is UndecidedCheckError


def test_closed_forms_of_too_many_terms_are_refused_at_once() -> None:
    with pytest.raises(NoClosedForm, match="no closed form beyond 128 terms or the power 64"):
        moment_formulas(Activation.from_text("(x**2+1)**20"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("+".join(f"abs(x-{place})" for place in range(9)), "closed forms are derived for up to 8 breakpoints"),
        ("abs(3*abs(3*abs(3*x-1)-1)-1)", "its square has 24 powers of x over all pieces, and 16 are derived"),
        ("where(x>=0 and x<1,x**9,where(x>=1,1,0))", "its square has [0-9]+ powers of x"),
    ],
)
def test_long_closed_forms_are_not_derived(text: str, reason: str) -> None:
    """Their proofs took up to a quarter of a minute."""
    with pytest.raises(NoClosedForm, match=reason):
        moment_formulas(Activation.from_text(text))
    assert moment_formulas(Activation.from_text("max(min(x,1),min(-x,2),0.3*x)")).flat_probability != 0
