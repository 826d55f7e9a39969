"""M6: what a strictly increasing activation does to the differential entropy of its net input."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import mpmath
import sympy

from elutheory.derivations.algebra.finite_sums import SumSetting
from elutheory.derivations.expectations.functions import Phi, numerical_value, phi
from elutheory.derivations.expectations.integrals import gaussian_expectation
from elutheory.derivations.expectations.normal_form import is_identically_zero
from elutheory.derivations.expectations.pointwise import pointwise_checks
from elutheory.derivations.moments.moments_of_activations import moment_formulas, with_symbols
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import (
    Symbol,
    alpha,
    input_entropy,
    log_slope_mean,
    mu,
    negative_slope,
    output_entropy,
    sigma,
)
from elutheory.derivations.proof.steps import Assumption, Check, CheckError, Step, equation, right_side, sides
from elutheory.errors import InputError

_DIGITS = 20
_WORKING_DIGITS = 30
_Q = sympy.Rational
_x, _y = sympy.symbols("x y", real=True)
_slope = Symbol("slope", "f′(x)", "f'(x)", positive=True)
_g = sympy.Function("g")
_PLACES: tuple[dict[Any, Any], ...] = tuple(
    dict(zip((_x, _y, mu, sigma, _slope, alpha, negative_slope), map(_Q, numbers), strict=True))
    for numbers in (
        ("5/7", "2/3", "-1/4", "3/2", "5/6", "5/4", "2/7"),
        ("-7/4", "-7/5", "2/3", "1/2", "7/4", "3/4", "9/8"),
        ("1/3", "3/8", "5/7", "9/8", "2/9", "3/2", "1/6"),
    )
)


def _written_out(expression: Any) -> Any:
    """Derivatives taken, and exponentials in place of the normal density."""
    return expression.doit().replace(phi, lambda u: sympy.exp(-(u**2) / 2) / sympy.sqrt(2 * sympy.pi))


# --- the logarithm of the density -----------------------------------------------------------------------------------


def _prove_logarithm(statement: sympy.Basic) -> None:
    left, right = (sympy.expand_log(_written_out(side)) for side in sides(statement))
    if sympy.cancel(sympy.expand(left - right)) != 0:
        raise CheckError(f"the two sides of {statement} differ")


def _match_logarithm(statement: sympy.Basic) -> None:
    for place in _PLACES:
        left, right = (_written_out(side).subs(place).evalf(_WORKING_DIGITS) for side in sides(statement))
        if not abs(left - right) < sympy.Float(10) ** -_DIGITS:
            raise CheckError(f"the two sides of {statement} are {left} and {right} at {place}")


# --- entropies as integrals -----------------------------------------------------------------------------------------

# Of one activation: its inverse, the inverse's derivative, and where f(X) lies, in parts.
_ENTROPIES: dict[str, Callable[[Any], tuple[Callable[[Any], Any], Callable[[Any], Any], list[Any]]]] = {
    "identity": lambda _: (lambda y: y, lambda y: mpmath.mpf(1), [-mpmath.inf, 0, mpmath.inf]),
    "elu": lambda number: (
        lambda y: y if y > 0 else mpmath.log1p(y / number),
        lambda y: mpmath.mpf(1) if y > 0 else 1 / (number + y),
        [-number, 0, mpmath.inf],
    ),
    "leaky_relu": lambda number: (
        lambda y: y if y > 0 else y / number,
        lambda y: mpmath.mpf(1) if y > 0 else 1 / number,
        [-mpmath.inf, 0, mpmath.inf],
    ),
    "tanh": lambda _: (mpmath.atanh, lambda y: 1 / (1 - y * y), [-1, 0, 1]),
}
_PARAMETERS = {"elu": alpha, "leaky_relu": negative_slope}


@cache
def _entropy(name: str, index: int) -> Any:
    """`−∫ p ln p` over the values of f(X), with the density p(y) = φ((g(y) − μ)/σ) g′(y)/σ."""
    place: Any = _PLACES[index]
    with mpmath.workdps(_WORKING_DIGITS):
        mean, std = (mpmath.mpf(place[symbol].p) / place[symbol].q for symbol in (mu, sigma))
        parameter: Any = place[_PARAMETERS[name]] if name in _PARAMETERS else _Q(1)
        inverse, slope, ends = _ENTROPIES[name](mpmath.mpf(parameter.p) / parameter.q)

        def integrand(y: Any) -> Any:
            if y in (ends[0], ends[-1]):  # the quadrature's last nodes, rounded
                return mpmath.mpf(0)
            density = mpmath.npdf((inverse(y) - mean) / std) * slope(y) / std
            return -density * mpmath.log(density) if density > 0 else mpmath.mpf(0)

        return mpmath.quad(integrand, ends)


@cache
def _log_slope(name: str, index: int) -> Any:
    """`E ln f'(X)` over the net input, from the slope at x."""
    place: Any = _PLACES[index]
    with mpmath.workdps(_WORKING_DIGITS):
        mean, std = (mpmath.mpf(place[symbol].p) / place[symbol].q for symbol in (mu, sigma))
        parameter: Any = place[_PARAMETERS[name]] if name in _PARAMETERS else _Q(1)
        number = mpmath.mpf(parameter.p) / parameter.q
        logarithms: dict[str, Callable[[Any], Any]] = {
            "elu": lambda x: mpmath.mpf(0) if x > 0 else mpmath.log(number) + x,
            "leaky_relu": lambda x: mpmath.mpf(0) if x > 0 else mpmath.log(number),
            "tanh": lambda x: -2 * mpmath.log(mpmath.cosh(x)),
        }

        def integrand(x: Any) -> Any:
            return mpmath.npdf((x - mean) / std) / std * logarithms[name](x)

        reach = 12 * std  # φ(12) < 1e-31
        return mpmath.quad(integrand, [mean - reach, *sorted((mpmath.mpf(0), mean)), mean + reach])


def _check_number(formula: Any, index: int, values: dict[Any, Any], reference: Any, statement: sympy.Basic) -> None:
    exact = {symbol: number for symbol, number in _PLACES[index].items() if symbol in formula.free_symbols}
    try:
        value = numerical_value(formula.xreplace(values), exact, _WORKING_DIGITS)
    except InputError as error:
        raise CheckError(str(error)) from error
    if not abs(value - reference) < mpmath.mpf(10) ** -_DIGITS * (1 + abs(reference)):
        raise CheckError(f"{statement} is {mpmath.nstr(value)}, the integral {mpmath.nstr(reference)}")


def _match_entropy(left: sympy.Symbol, name: str, statement: sympy.Basic) -> None:
    right = right_side(statement, left)
    for index in range(len(_PLACES)):
        _check_number(right, index, {}, _entropy(name, index), statement)


def _match_information(statement: sympy.Basic) -> None:
    """Both entropies over the values of X and f(X), E ln f' over X: three integrals of their own."""
    left, right = sides(statement)
    for name in ("elu", "leaky_relu", "tanh"):
        for index in range(len(_PLACES)):
            numbers = (_entropy(name, index), _entropy("identity", index), _log_slope(name, index))
            symbols = (output_entropy, input_entropy, log_slope_mean)
            values = {s: sympy.Float(number, _WORKING_DIGITS) for s, number in zip(symbols, numbers, strict=True)}
            difference = (left - right).xreplace(values)
            if not (difference.is_number and abs(difference) < sympy.Float(10) ** -_DIGITS):
                raise CheckError(f"the two sides of {statement} differ by {difference} for {name}")


# --- closed forms ---------------------------------------------------------------------------------------------------

_MINUS_LOG_DENSITY = (_x - mu) ** 2 / (2 * sigma**2) + sympy.log(sigma) + sympy.log(2 * sympy.pi) / 2


def _prove_input_entropy(statement: sympy.Basic) -> None:
    """It is the expectation of minus the logarithm of the density, by the calculus."""
    if not is_identically_zero(right_side(statement, input_entropy) - gaussian_expectation(_MINUS_LOG_DENSITY, _x)):
        raise CheckError(f"{statement} is not E[−ln p(X)]")


def _prove_output_entropy(name: str, statement: sympy.Basic) -> None:
    formula = gaussian_expectation(_MINUS_LOG_DENSITY, _x) + moment_formulas(with_symbols(name)).log_slope_mean
    if not is_identically_zero(right_side(statement, output_entropy) - formula):
        raise CheckError(f"{statement} is not the entropy of the net input plus E[ln f′]")


def _sums() -> SumSetting:
    """The expectation as a sum over points: −ln p(x) and ln f'(x) are its integrands."""
    j, points = sympy.Symbol("j", integer=True, positive=True), sympy.Symbol("n", integer=True, positive=True)
    probability: Any
    density: Any
    slope: Any
    probability, density, slope = (sympy.IndexedBase(name) for name in ("p", "d", "s"))

    def total(term: Any) -> Any:
        return sympy.Sum(term, (j, 1, points))

    definitions: dict[sympy.Basic, Any] = {
        input_entropy: total(probability[j] * density[j]),
        log_slope_mean: total(probability[j] * slope[j]),
        output_entropy: total(probability[j] * (density[j] + slope[j])),
    }
    return SumSetting(j, points, probability, definitions)


@cache
def entropy_of_output() -> Derivation:
    """M6: `h(f(X)) = h(X) + E[ln f'(X)]` for strictly increasing f and Gaussian X; ELU and leaky ReLU in closed form.

    Where f is flat with positive probability the output has an atom and no density: its entropy is −∞, as E[ln f'] is.

    >>> import elutheory as et
    >>> derivation = et.entropy_of_output()
    >>> derivation.number, derivation.steps[-1].name
    ('M6', 'leaky ReLU')
    """
    outside = phi((_g(_y) - mu) / sigma)
    points = f"{len(_PLACES)} points ({_DIGITS} digits; entropies by quadrature over the output)"
    logarithm = (
        Check("every x, μ, σ, f′(x) > 0 (logarithms expanded)", _prove_logarithm, proves=True),
        Check(points, _match_logarithm),
    )

    def integral(left: sympy.Symbol, name: str, prove: Callable[[sympy.Basic], None]) -> tuple[Check, ...]:
        proof = Check("every μ, σ, α, s (E[−ln p(X)] and E[ln f′] by the calculus of M2)", prove, proves=True)
        return proof, Check(points, partial(_match_entropy, left, name))

    def closed(name: str, term: Any, reason: str) -> Step:
        checks = integral(output_entropy, name, partial(_prove_output_entropy, name))
        formula = sympy.log(sigma) + (1 + sympy.log(2 * sympy.pi)) / 2 + term
        title = {"elu": "ELU", "leaky_relu": "leaky ReLU"}[name]
        return Step(equation(output_entropy, formula), reason, checks, title)

    below = Phi(-mu / sigma)
    steps = (
        Step(
            equation(sympy.Derivative(Phi((_g(_y) - mu) / sigma), _y), sympy.Derivative(_g(_y), _y) * outside / sigma),
            "f(X) ≤ y where X ≤ g(y), g the inverse of f: the density of f(X) at y is that of X at g(y) times g′(y).",
            pointwise_checks(outside, _PLACES, _written_out),
            "density of the output",
        ),
        Step(
            equation(-sympy.log(phi((_x - mu) / sigma) / (sigma * _slope)), _MINUS_LOG_DENSITY + sympy.log(_slope)),
            "At y = f(x), where g′(y) = 1/f′(x): minus the logarithm of that density.",
            logarithm,
            "logarithm",
        ),
        Step(
            equation(input_entropy, sympy.log(sigma) + (1 + sympy.log(2 * sympy.pi)) / 2),
            "The entropy E[−ln p(X)] of the net input itself, f′ = 1.",
            integral(input_entropy, "identity", _prove_input_entropy),
            "entropy of the input",
        ),
        Step(
            equation(output_entropy, input_entropy + log_slope_mean),
            "The expectation of step 2: h(f(X)) is h(X) plus E[ln f′(X)], M6.",
            (
                *_sums().checks,
                Check(f"ELU, leaky ReLU, tanh (quadrature over x and y, {_DIGITS} digits)", _match_information),
            ),
            "information",
        ),
        closed(
            "elu",
            (sympy.log(alpha) + mu) * below - sigma * phi(mu / sigma),
            "ELU: as μ → −∞ the entropy falls without bound, like ln α + μ.",
        ),
        closed(
            "leaky_relu",
            sympy.log(negative_slope) * below,
            "Leaky ReLU of slope s < 1: at most −ln s is lost, however small μ; at s → 0 (ReLU) there is no bound.",
        ),
    )
    return Derivation(
        "entropy-of-output",
        "Differential entropy behind an activation function",
        "M6",
        "change of variables; section 3 of arXiv 1511.07289 says that saturation decreases the information",
        (
            Assumption("X is Gaussian, N(μ, σ²), σ > 0; h(X) = E[−ln p(X)] with the density p of X."),
            Assumption("f is strictly increasing, continuous and piecewise smooth, f′ > 0 but at single points."),
            Assumption("E[|ln f′(X)|] is finite. Step 4 as sums: x_j has probability p_j, −ln p is d_j, ln f′ is s_j."),
        ),
        steps,
    )
