"""M3-M7: Gaussian moments of every piecewise (polynomial × exponential) activation, derived and machine-checked.

Those of GELU, erf and lines times them, of sin and cos come from `smooth_activations`.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from string import ascii_lowercase
from typing import Any

import mpmath
import sympy

from elutheory.activations.activation_function import Activation, activation, as_activation
from elutheory.activations.pieces import Piece
from elutheory.derivations.expectations.checks import (
    DIGITS,
    Node,
    Point,
    check_heat_equation,
    check_value,
    length_of,
    not_zero,
    quadrature,
    quadrature_and_size,
)
from elutheory.derivations.expectations.functions import phi
from elutheory.derivations.expectations.integrals import (
    NoClosedForm,
    exponential_polynomial,
    gaussian_expectation_of_pieces,
)
from elutheory.derivations.expectations.normal_form import is_identically_zero
from elutheory.derivations.moments.smooth_activations import (
    check_smooth_expectation,
    is_smoothly_zero,
    log_slope_formula,
    smooth_formulas,
    smooth_log_slope,
)
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import (
    PARAMETERS,
    Written,
    flat_probability,
    input_value_mean,
    log_slope_mean,
    mean_by_mu,
    mean_by_sigma,
    mu,
    sigma,
    slope_mean,
    slope_second_moment,
    unit_mean,
    unit_second_moment,
    unit_variance,
    value_slope_mean,
)
from elutheory.derivations.proof.printing import statement_text
from elutheory.derivations.proof.steps import Assumption, Check, CheckError, Step, equation, right_side
from elutheory.errors import InputError

_POINTS = 3
_LONG = 10**6  # a rational constant with more digits than this is given a letter
_LONGEST_TITLE = 50
# Of closed forms, whose proofs take half a second a breakpoint and a third of one a power of f² over all pieces;
# test_long_closed_forms_are_not_derived guards both.
_MOST_BREAKPOINTS = 8
_MOST_POWERS = 16
# In lengths of f, of the breakpoint next to 0: (3 + 2) / (1/4) standard deviations, which the quadrature still reaches.
_FARTHEST_BREAKPOINT = 3


@dataclass(frozen=True)
class MomentFormulas:
    """Closed forms in mu, sigma and the activation's parameters, X ~ N(mu, sigma²); f' is the pieces' derivative.

    `log_slope_mean` is −oo where f' = 0 with positive probability (`flat_probability`), and None where f' is negative
    or ln f' has no closed form; `log_slope_reason` says which, in words.

    >>> import elutheory as et
    >>> formulas = et.moment_formulas("relu")
    >>> formulas.mean, formulas.log_slope_mean
    (mu*Phi(mu/sigma) + sigma*phi(mu/sigma), -oo)
    """

    mean: sympy.Expr  # E f
    second_moment: sympy.Expr  # E f²
    variance: sympy.Expr  # E f² − (E f)²
    slope_mean: sympy.Expr  # E f'
    slope_second_moment: sympy.Expr  # E f'²
    value_slope_mean: sympy.Expr  # E f f'
    input_value_mean: sympy.Expr  # E X f
    mean_by_mu: sympy.Expr  # ∂ E f / ∂mu = E f' plus the density at the jumps of f
    mean_by_sigma: sympy.Expr  # ∂ E f / ∂sigma = sigma E f'', jumps of f' and f included
    flat_probability: sympy.Expr  # P(f' = 0)
    log_slope_mean: sympy.Expr | None  # E ln f'
    log_slope_reason: str


# --- pieces of the integrands -------------------------------------------------------------------------------------


def _derivative(function: Activation, piece: Piece) -> sympy.Expr:
    return sympy.diff(piece.expression, function.symbol)


def _pieces(function: Activation, integrand: Callable[[Node], Any]) -> tuple[Piece, ...]:
    """The pieces of g, for an integrand g(x, f(x), f'(x)) that is a polynomial."""
    x = function.symbol
    return tuple(
        replace(piece, expression=integrand(Node(1, None, x, piece.expression, _derivative(function, piece), None)))
        for piece in function.pieces
    )


def _flat_pieces(function: Activation) -> tuple[Piece, ...]:
    """The indicator of f' = 0."""
    return tuple(
        replace(piece, expression=sympy.Integer(int(_derivative(function, piece) == 0))) for piece in function.pieces
    )


def _log_slope_pieces(function: Activation) -> tuple[Piece, ...]:
    """ln f', where f' is one positive term `c e^{r x}` on every piece or a normal density; else NoClosedForm."""
    if smooth_formulas(function) is not None:
        logarithm, reason = smooth_log_slope(function)
        if logarithm is None:
            raise NoClosedForm(f"{reason}.")
        return tuple(replace(piece, expression=logarithm) for piece in function.pieces)
    x = function.symbol
    pieces = []
    for piece in function.pieces:
        slope = _derivative(function, piece)
        terms = {
            (rate, power): coefficient
            for rate, polynomial in exponential_polynomial(slope, x).items()
            for power, coefficient in polynomial.items()
            if coefficient != 0
        }
        ((rate, power), coefficient), *others = terms.items()
        if others or power:
            raise NoClosedForm(f"ln f' has no closed form here: f' = {slope} is not one exponential.")
        if not coefficient.is_positive:
            raise NoClosedForm(f"ln f' is not defined: f' = {slope} is not positive.")
        pieces.append(replace(piece, expression=sympy.expand_log(sympy.log(coefficient)) + rate * x))
    return tuple(pieces)


def _jumps(function: Activation, integrand: Callable[[Piece], sympy.Expr]) -> list[tuple[sympy.Expr, sympy.Expr]]:
    """(breakpoint, jump) of a function of the pieces, zero jumps left out."""
    pieces = function.pieces
    jumps = [
        (
            right.lower,
            sympy.factor_terms(sympy.expand((integrand(right) - integrand(left)).subs(function.symbol, right.lower))),
        )
        for left, right in pairwise(pieces)
    ]
    return [(point, jump) for point, jump in jumps if jump != 0]


# --- closed forms -------------------------------------------------------------------------------------------------


def with_symbols(name: str) -> Activation:
    """The registered activation of that name, α or s left symbolic where it has such a parameter."""
    return activation(name, **{key: PARAMETERS[key] for key in activation(name).parameter_values})


def moment_formulas(function: Activation | str) -> MomentFormulas:
    """The closed forms of M3-M6 for an activation or a registry name; parameters are numbers or positive symbols.

    Raises NoClosedForm if a piece of the activation is not polynomial × exponential and the whole no line times Phi and
    no wave (tanh, silu, …), for more than 8 breakpoints, and where the pieces of f² have more than 16 powers of x
    together; InputError for a parameter called mu or sigma.

    >>> import elutheory as et
    >>> et.moment_formulas("relu").slope_mean
    Phi(mu/sigma)
    """
    return _moment_formulas(as_activation(function))


@cache
def _moment_formulas(function: Activation) -> MomentFormulas:

    names = {str(symbol) for symbol in function.expression.free_symbols}
    if names & {"mu", "sigma"}:
        raise InputError(f"{function}: mu and sigma name the net input's mean and std; call the parameter otherwise.")

    if (smooth := smooth_formulas(function)) is not None:
        return _smooth_moment_formulas(function, smooth)

    def expectation(pieces: tuple[Piece, ...]) -> sympy.Expr:
        return gaussian_expectation_of_pieces(pieces, function.symbol)

    if len(function.breakpoints) > _MOST_BREAKPOINTS:
        raise NoClosedForm(f"{function}: closed forms are derived for up to {_MOST_BREAKPOINTS} breakpoints.")
    try:
        squares = [piece.expression for piece in _pieces(function, INTEGRANDS["second_moment"])]
        terms = [exponential_polynomial(square, function.symbol) for square in squares]  # too many are so at once
        powers = sum(1 + max(polynomial, default=0) for of_piece in terms for polynomial in of_piece.values())
        if function.breakpoints and powers > _MOST_POWERS:
            raise NoClosedForm(f"its square has {powers} powers of x over all pieces, and {_MOST_POWERS} are derived.")
        moments = {name: expectation(_pieces(function, integrand)) for name, integrand in INTEGRANDS.items()}
    except NoClosedForm as error:
        raise NoClosedForm(f"{function}: {error}") from error
    value_jumps = _jumps(function, lambda piece: piece.expression)
    slope_jumps = _jumps(function, lambda piece: _derivative(function, piece))
    curvature = expectation(_pieces_of_curvature(function))
    flat = expectation(_flat_pieces(function))
    by_mu = moments["slope_mean"] + sum(jump * phi((h - mu) / sigma) / sigma for h, jump in value_jumps)
    by_sigma = (
        sympy.expand_mul(sigma * curvature, deep=False)
        + sum(jump * phi((h - mu) / sigma) for h, jump in slope_jumps)
        + sum(jump * (h - mu) * phi((h - mu) / sigma) / sigma**2 for h, jump in value_jumps)
    )
    log_slope, reason = _log_slope(function, flat)
    return MomentFormulas(
        **moments,
        variance=moments["second_moment"] - moments["mean"] ** 2,
        mean_by_mu=by_mu,
        mean_by_sigma=by_sigma,
        flat_probability=flat,
        log_slope_mean=log_slope,
        log_slope_reason=reason,
    )


def _smooth_moment_formulas(function: Activation, smooth: Mapping[str, Any]) -> MomentFormulas:
    moments = {name: formula for name, formula in smooth.items() if name != "curvature"}
    logarithm, reason = smooth_log_slope(function)
    return MomentFormulas(
        **moments,
        input_value_mean=mu * moments["mean"] + sigma**2 * moments["slope_mean"],
        variance=moments["second_moment"] - moments["mean"] ** 2,
        mean_by_mu=moments["slope_mean"],
        mean_by_sigma=sigma * smooth["curvature"],
        flat_probability=sympy.Integer(0),
        log_slope_mean=None if logarithm is None else log_slope_formula(function),
        log_slope_reason=reason,
    )


def _pieces_of_curvature(function: Activation) -> tuple[Piece, ...]:
    return tuple(replace(p, expression=sympy.diff(p.expression, function.symbol, 2)) for p in function.pieces)


def _log_slope(function: Activation, flat: sympy.Expr) -> tuple[sympy.Expr | None, str]:
    if flat != 0:
        return -sympy.oo, "f' = 0 with positive probability: f(X) has an atom"
    try:
        return gaussian_expectation_of_pieces(_log_slope_pieces(function), function.symbol), ""
    except NoClosedForm as error:
        return None, str(error)


# The six polynomial moments: one function of (x, f, f'), for sympy and for mpmath alike.
INTEGRANDS: Mapping[str, Callable[[Node], Any]] = {
    "mean": lambda at: at.value,
    "second_moment": lambda at: at.value**2,
    "slope_mean": lambda at: at.slope,
    "slope_second_moment": lambda at: at.slope**2,
    "value_slope_mean": lambda at: at.value * at.slope,
    "input_value_mean": lambda at: at.x * at.value,
}


def _is_flat(at: Node) -> Any:
    return int(at.slope == 0)


def _log_of_slope(at: Node) -> Any:
    return mpmath.log(at.slope)


def _score_of_mu(at: Node) -> Any:
    return at.value * at.t / at.std


def _score_of_sigma(at: Node) -> Any:
    return at.value * (at.t**2 - 1) / at.std


_SYMBOLS: Mapping[str, sympy.Symbol] = {
    "mean": unit_mean,
    "second_moment": unit_second_moment,
    "variance": unit_variance,
    "slope_mean": slope_mean,
    "slope_second_moment": slope_second_moment,
    "value_slope_mean": value_slope_mean,
    "input_value_mean": input_value_mean,
    "mean_by_mu": mean_by_mu,
    "mean_by_sigma": mean_by_sigma,
    "flat_probability": flat_probability,
    "log_slope_mean": log_slope_mean,
}


# --- machine checks -----------------------------------------------------------------------------------------------


def _formula(statement: sympy.Basic, left: sympy.Symbol, formulas: MomentFormulas) -> Any:
    """The right side of an equation for `left`, the other moments replaced by their formulas."""
    right = right_side(statement, left)
    lower = {symbol: getattr(formulas, name) for name, symbol in _SYMBOLS.items() if symbol != left}
    return right.xreplace({symbol: formula for symbol, formula in lower.items() if formula is not None})


def _prove_expectation(
    function: Activation,
    left: sympy.Symbol,
    pieces: Callable[[Activation], tuple[Piece, ...]],
    statement: sympy.Basic,
) -> None:
    right = _formula(statement, left, moment_formulas(function))
    if smooth_formulas(function) is not None:
        (whole,) = pieces(function)
        check_smooth_expectation(function, right, whole.expression)
    else:
        check_heat_equation(right, pieces(function), function.symbol)


def _is_zero(function: Activation, expression: sympy.Expr) -> bool:
    smooth = smooth_formulas(function) is not None
    return is_smoothly_zero(function, expression) if smooth else is_identically_zero(expression)


def _prove_derivative(function: Activation, left: sympy.Symbol, variable: sympy.Symbol, statement: sympy.Basic) -> None:
    formulas = moment_formulas(function)
    difference = _formula(statement, left, formulas) - sympy.diff(formulas.mean, variable)
    if not _is_zero(function, difference):
        raise not_zero(difference, f"{statement} is not the derivative of E f by {variable}")


def _prove_variance(function: Activation, statement: sympy.Basic) -> None:
    """Compare with `E (f − m)²`, derived for any constant m and taken at m = E f."""
    formulas, constant = moment_formulas(function), sympy.Dummy("m", real=True)
    if (shifted := smooth_formulas(function, constant)) is not None:
        deviation = shifted["second_moment"]
    else:
        squares = _pieces(function, lambda at: (at.value - constant) ** 2)
        deviation = gaussian_expectation_of_pieces(squares, function.symbol)
    right = _formula(statement, unit_variance, formulas)
    difference = right - deviation.subs(constant, formulas.mean)
    if not _is_zero(function, difference):
        raise not_zero(difference, f"{statement} is not E (f − E f)²")


def _match_quadrature(
    function: Activation,
    numeric: Activation,
    left: sympy.Symbol,
    integral: Callable[[Activation, Point], Any],
    points: tuple[Point, ...],
    statement: sympy.Basic,
) -> None:
    right = _formula(statement, left, moment_formulas(function))
    for point in points:
        check_value(right, point, *integral(numeric, point))


def _expectation_integral(integrand: Callable[[Node], Any], function: Activation, point: Point) -> tuple[Any, Any]:
    return quadrature_and_size(function, point, integrand)


@cache
def _variance_integral(function: Activation, point: Point) -> tuple[Any, Any]:
    """Its size is at least what the rounding of f − E f leaves of a constant f, whose variance is exactly 0."""
    mean = quadrature(function, point, INTEGRANDS["mean"])
    variance, size = quadrature_and_size(function, point, lambda at: (at.value - mean) ** 2)
    return variance, max(size, quadrature(function, point, INTEGRANDS["second_moment"]) * mpmath.mpf(10) ** -DIGITS)


def _points(function: Activation, constants: Mapping[sympy.Symbol, Any]) -> tuple[Point, ...]:
    """Random exact points: mu in [−2, 2], sigma in [1/4, 2], in lengths of f; parameters in [1/2, 5/2].

    Where all breakpoints are far from 0, mu is within 2 of the next one: elsewhere quadrature would not see it.
    """
    generator = random.Random(1511_07289)  # noqa: S311 - examples, not secrets
    parameters: list[Any] = sorted(function.expression.free_symbols - {function.symbol, *constants}, key=str)

    numeric: Any = function.expression.xreplace(dict(constants))
    length = length_of(numeric)
    nearest = min(function.breakpoints, key=abs, default=sympy.Integer(0))
    origin: Any = sympy.Integer(0)
    if abs(nearest) > _FARTHEST_BREAKPOINT * length:
        origin = nearest if nearest.is_Rational else sympy.Rational(sympy.N(nearest, DIGITS))

    def draw(low: int, high: int) -> Any:
        return sympy.Rational(generator.randint(16 * low, 16 * high), 64)

    return tuple(
        Point(
            (
                (mu, origin + length * draw(-8, 8)),
                (sigma, length * draw(1, 8)),
                *((parameter, draw(2, 10)) for parameter in parameters),
                *constants.items(),
            )
        )
        for _ in range(_POINTS)
    )


# Special values of a parameter: activation -> (parameter, value, the activation it becomes).
_SPECIAL_CASES: Mapping[str, tuple[tuple[str, int, str], ...]] = {
    "elu": (("alpha", 0, "relu"), ("alpha", 1, "celu")),
    "celu": (("alpha", 1, "elu"),),
    "leaky_relu": (("negative_slope", 0, "relu"), ("negative_slope", 1, "identity")),
}
# Limits of a parameter at 0 that no substitution gives: activation -> (parameter, the activation it becomes).
_LIMITS: Mapping[str, tuple[tuple[str, str], ...]] = {"celu": (("alpha", "relu"),)}


def _special_cases(function: Activation, name: str) -> tuple[Check, ...]:
    if name in ("log_slope_mean", "flat_probability"):
        return ()
    checks = []
    names = _names(function)
    for key, value, becomes in _SPECIAL_CASES.get(function.name, ()):
        parameter = function.parameter_values[key]
        if isinstance(parameter, sympy.Symbol):
            scope = f"{statement_text(parameter, names)} = {value} gives {becomes}"
            checks.append(Check(scope, partial(_match_special_case, function, name, parameter, value, becomes)))
    for key, becomes in _LIMITS.get(function.name, ()):
        parameter = function.parameter_values[key]
        if isinstance(parameter, sympy.Symbol):
            scope = f"{statement_text(parameter, names)} = 1e-8 gives {becomes} to 6 digits, {_POINTS} points"
            checks.append(Check(scope, partial(_match_limit, function, name, parameter, becomes)))
    return tuple(checks)


def _match_limit(
    function: Activation, name: str, parameter: sympy.Symbol, becomes: str, statement: sympy.Basic
) -> None:
    limit = getattr(moment_formulas(activation(becomes)), name)
    right = _formula(statement, _SYMBOLS[name], moment_formulas(function)).subs(parameter, sympy.Rational(1, 10**8))
    for point in _points(function, {}):
        values = {symbol: number for symbol, number in point.values if symbol != parameter}
        difference: Any = (right - limit).subs(values).evalf(DIGITS)
        if not (difference.is_number and abs(difference) < sympy.Rational(1, 10**6)):
            raise CheckError(f"{statement} does not tend to the formula of {becomes} as {parameter} -> 0 at {point}")


def _match_special_case(
    function: Activation, name: str, parameter: sympy.Symbol, value: int, becomes: str, statement: sympy.Basic
) -> None:
    right = _formula(statement, _SYMBOLS[name], moment_formulas(function)).subs(parameter, value)
    difference = right - getattr(moment_formulas(activation(becomes)), name)
    if not is_identically_zero(difference):
        raise not_zero(difference, f"{statement} at {parameter} = {value} is not the formula of {becomes}")


# --- the derivation -----------------------------------------------------------------------------------------------


def _lettered(function: Activation) -> tuple[Activation, dict[sympy.Symbol, Any]]:
    """The activation with letters a, b, … for positive rational constants too long to read, and their values."""
    if smooth_formulas(function) is not None:
        return function, {}
    long = {abs(number) for number in function.expression.atoms(sympy.Rational) if max(abs(number.p), number.q) > _LONG}
    taken = {str(symbol) for symbol in function.expression.free_symbols}
    letters = [letter for letter in ascii_lowercase if letter not in taken and letter not in "ekx"]
    names = {number: sympy.Symbol(letter, positive=True) for number, letter in zip(sorted(long), letters, strict=False)}
    renamed = {sign * number: sign * symbol for number, symbol in names.items() for sign in (1, -1)}
    lettered = replace(function, expression=function.expression.xreplace(renamed)) if names else function
    if not _has_numbers_for_breakpoints(lettered):
        return function, {}
    return lettered, {symbol: number for number, symbol in names.items()}


def _has_numbers_for_breakpoints(function: Activation) -> bool:
    """Not where a letter stands in a condition."""
    try:
        return not any(point.free_symbols for point in function.breakpoints)
    except InputError:
        return False


def _names(function: Activation) -> dict[sympy.Basic, Written]:
    """How symbolic parameters of a registered activation are written, if they bear the registry's names for them."""
    return {
        value: PARAMETERS[key].written
        for key, value in function.parameters
        if key in PARAMETERS and isinstance(value, sympy.Symbol) and value.name == key
    }


def _definition(function: Activation) -> str:
    """`f(x) = α (exp(x) − 1) for x ≤ 0, x for x > 0`."""
    parts = []
    names = _names(function)
    for piece in function.pieces:
        lower, upper = ("" if end.is_infinite else statement_text(end, names) for end in (piece.lower, piece.upper))
        below = f"x {'≤' if piece.upper_closed else '<'} {upper}" if upper else ""
        above = f"x {'≥' if piece.lower_closed else '>'} {lower}" if lower else ""
        both = f"{lower} {'≤' if piece.lower_closed else '<'} {below}"
        condition = both if upper and lower else above or below
        formula = statement_text(sympy.factor_terms(piece.expression), names)
        parts.append(formula + (f" for {condition}" if condition else ""))
    return "f(x) = " + ", ".join(parts)


_REASONS: Mapping[str, str] = {
    "mean": "The mean: tilting (M1) on every piece, then truncated moments (M2).",
    "second_moment": "The second moment, the same way: f² is of the same class.",
    "variance": "The variance.",
    "slope_mean": "The mean slope.",
    "slope_second_moment": "The second moment of the slope: the factor of the gradient's variance.",
    "value_slope_mean": "Half the derivative of E[f²] by μ where f is continuous.",
    "input_value_mean": "Stein's identity (M5).",
    "mean_by_mu": "A shift of the mean acts on f: ∂/∂μ stands for d/dx.",
    "mean_by_sigma": "The heat equation: σ E[f″], with what f′ jumps by at the breakpoints.",
    "log_slope_mean": "Information (M6): h(f(X)) = h(X) + E[ln f′] for strictly increasing f.",
    "flat_probability": (
        "An atom of this probability: E[ln f′] is minus infinity, the information in X is lost there (M6)."
    ),
}


_SMOOTH_REASONS: Mapping[str, str] = {
    "mean": "The mean: Stein's identity (M5), and tilting (M1) by every density or exponential.",
    "second_moment": "The second moment, the same way: the square of Φ has the distribution function of a pair.",
    "mean_by_sigma": "The heat equation: σ E[f″].",
}


def activation_moments(function: Activation | str) -> Derivation:
    """M3-M6 for an activation or a registry name: every Gaussian moment in closed form, proved, checked by numbers.

    The activation's parameters are numbers or positive symbols. Raises NoClosedForm outside the class of M2.

    >>> import elutheory as et
    >>> derivation = et.activation_moments("elu")
    >>> derivation.number, derivation.steps[-1].name
    ('M2–M6', 'E[ln f′]')
    """
    return _activation_moments(as_activation(function))


@cache
def _activation_moments(function: Activation) -> Derivation:
    original = function
    function, constants = _lettered(function)
    formulas, smooth = moment_formulas(function), smooth_formulas(function) is not None
    points = _points(function, constants)
    variables = sorted(function.expression.free_symbols - {function.symbol}, key=str)
    names = _names(function)
    every = "every " + ", ".join(statement_text(symbol, names) for symbol in (mu, sigma, *variables))
    value_jumps = _jumps(function, lambda piece: piece.expression)
    at_jumps = sum((jump * phi((h - mu) / sigma) / sigma for h, jump in value_jumps), sympy.Integer(0))

    def step(name: str, right: sympy.Expr, proof: Check, integral: Callable[[Activation, Point], Any]) -> Step:
        left = _SYMBOLS[name]
        scope = f"{_POINTS} points (quadrature, {DIGITS} digits)"
        numbers = Check(scope, partial(_match_quadrature, function, original, left, integral, points))
        statement = equation(left, right)
        reason = _SMOOTH_REASONS.get(name, _REASONS[name]) if smooth else _REASONS[name]
        return Step(statement, reason, (proof, numbers, *_special_cases(function, name)), statement_text(left))

    def expectation(
        name: str,
        right: sympy.Expr,
        integrand: Callable[[Node], Any],
        pieces: Callable[[Activation], tuple[Piece, ...]],
    ) -> Step:
        prove = partial(_prove_expectation, function, _SYMBOLS[name], pieces)
        proof = Check(f"{every} (heat equation, σ → 0)", prove, proves=True)
        return step(name, right, proof, partial(_expectation_integral, integrand))

    def moment(name: str, right: sympy.Expr) -> Step:
        return expectation(name, right, INTEGRANDS[name], partial(_pieces, integrand=INTEGRANDS[name]))

    def derivative(name: str, right: sympy.Expr, variable: sympy.Symbol, score: Callable[[Node], Any]) -> Step:
        prove = partial(_prove_derivative, function, _SYMBOLS[name], variable)
        proof = Check(f"{every} (differentiation)", prove, proves=True)
        return step(name, right, proof, partial(_expectation_integral, score))

    variance_proof = Check(f"{every} (E[(f − m)²] at m = E[f])", partial(_prove_variance, function), proves=True)
    steps = [
        moment("mean", formulas.mean),
        moment("second_moment", formulas.second_moment),
        step("variance", unit_second_moment - unit_mean**2, variance_proof, _variance_integral),
        moment("slope_mean", formulas.slope_mean),
        moment("slope_second_moment", formulas.slope_second_moment),
        moment("value_slope_mean", formulas.value_slope_mean),
        moment("input_value_mean", mu * unit_mean + sigma**2 * (slope_mean + at_jumps)),
        derivative("mean_by_mu", slope_mean + at_jumps, mu, _score_of_mu),
        derivative("mean_by_sigma", formulas.mean_by_sigma, sigma, _score_of_sigma),
    ]
    assumptions = [
        Assumption(f"X is Gaussian, N(μ, σ²), σ > 0; {_definition(function)}."),
        Assumption("Φ and φ are the standard normal distribution function and density; f′ is the slope of the pieces."),
    ]
    if constants:
        values = ", ".join(f"{symbol} = {number.evalf(16)}…" for symbol, number in constants.items())
        assumptions.append(Assumption(f"{values}; the proofs hold for every positive value."))
    if formulas.flat_probability != 0:
        steps.append(expectation("flat_probability", formulas.flat_probability, _is_flat, _flat_pieces))
    elif formulas.log_slope_mean is not None:
        steps.append(expectation("log_slope_mean", formulas.log_slope_mean, _log_of_slope, _log_slope_pieces))
    else:
        assumptions.append(Assumption(f"E[ln f′] is left out: {formulas.log_slope_reason}"))
    return Derivation(
        "moments-" + "".join(letter if letter.isalnum() else "-" for letter in original.name),
        f"Gaussian moments of {original.name if len(original.name) <= _LONGEST_TITLE else 'an activation'}",
        "M2–M6",
        "the activation functions of section 3 of arXiv 1511.07289, with Gaussian net input",
        tuple(assumptions),
        tuple(steps),
        tuple(names.items()),
    )
