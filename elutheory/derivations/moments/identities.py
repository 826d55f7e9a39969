"""M1 (tilting), M2 (truncated moments) and M5 (Stein), from which the closed forms of Gaussian moments follow."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import mpmath
import sympy
from sympy.core.function import AppliedUndef

from elutheory.derivations.expectations.functions import Phi, phi
from elutheory.derivations.expectations.integrals import gaussian_expectation
from elutheory.derivations.expectations.normal_form import is_identically_zero
from elutheory.derivations.proof import notation
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import mu, sigma
from elutheory.derivations.proof.steps import Assumption, Check, CheckError, Step, equation, right_side, sides

_DIGITS = 40
_a, _b, _c, _t, _x = sympy.symbols("a b c t x", real=True)
_k = sympy.Symbol("k", integer=True, positive=True)
_h, _f = sympy.Function("h"), sympy.Function("f")
_T: tuple[Any, ...] = notation.truncated_moments
_WEIGHT = sympy.exp(_c * mu + _c**2 * sigma**2 / 2)

_Q = sympy.Rational
_NUMBERS: tuple[dict[Any, Any], ...] = tuple(
    dict(zip((_x, _t, mu, sigma, _a, _b, _c, _k), numbers, strict=True))
    for numbers in (
        (_Q(3, 7), _Q(-5, 8), _Q(1, 3), _Q(6, 5), _Q(-3, 4), _Q(9, 8), _Q(2, 3), 3),
        (_Q(-8, 5), _Q(4, 9), _Q(-7, 6), _Q(3, 4), _Q(-5, 2), _Q(-1, 9), _Q(-7, 5), 5),
        (_Q(11, 6), _Q(7, 3), _Q(5, 4), _Q(9, 4), _Q(1, 6), _Q(10, 3), _Q(4, 3), 2),
    )
)


def _density(at: Any, mean: Any = mu) -> Any:
    return phi((at - mean) / sigma) / sigma


def _probability_below(at: Any) -> Any:
    return Phi((at - mu) / sigma)


# --- identities between functions ---------------------------------------------------------------------------------


def _difference(statement: sympy.Basic) -> Any:
    left, right = sides(statement)
    return sympy.Add(left, -right).doit()


def _prove_identity(statement: sympy.Basic) -> None:
    if not is_identically_zero(_without_derivatives(_difference(statement))):
        raise CheckError(f"the two sides of {statement} differ")


def _without_derivatives(expression: Any) -> Any:
    """f'(x) as an undefined function of its own."""
    return expression.replace(
        lambda node: isinstance(node, sympy.Derivative) and isinstance(node.expr, AppliedUndef),
        lambda node: sympy.Function(f"{node.expr.func}_prime")(*node.expr.args),
    )


def _match_numbers(statement: sympy.Basic) -> None:
    """The undefined functions h and f become the sine."""
    difference = _difference(statement).replace(_h, sympy.sin).replace(_f, sympy.sin).doit()
    for numbers in _NUMBERS:
        value: Any = difference.subs(numbers).evalf(_DIGITS, chop=sympy.Float(10) ** (-_DIGITS))
        if not (value.is_number and abs(value) < sympy.Float(10) ** (10 - _DIGITS)):
            raise CheckError(f"the two sides of {statement} differ by {value} at {numbers}")


def _identity_checks(variables: str) -> tuple[Check, ...]:
    return (
        Check(f"every {variables} (normal form)", _prove_identity, proves=True),
        Check(f"{len(_NUMBERS)} points ({_DIGITS - 10} digits, sine for a general function)", _match_numbers),
    )


@cache
def tilting() -> Derivation:
    """M1: `E[e^{cX} h(X)] = e^{c mu + c² sigma²/2} E[h(X + c sigma²)]`.

    >>> import elutheory as et
    >>> derivation = et.tilting()
    >>> derivation.number, derivation.steps[-1].name
    ('M1', 'tilting')
    """
    checks = _identity_checks("x, t, c, μ, σ, h")
    moved = _t + _c * sigma**2
    square = (_x - mu - _c * sigma**2) ** 2 / (2 * sigma**2)
    steps = (
        Step(
            equation(_c * _x - (_x - mu) ** 2 / (2 * sigma**2), _c * mu + _c**2 * sigma**2 / 2 - square),
            "Complete the square.",
            checks,
            "square",
        ),
        Step(
            equation(sympy.exp(_c * _x) * _density(_x), _WEIGHT * _density(_x, mu + _c * sigma**2)),
            "Exponential times density is a constant times the density with mean μ + c σ².",
            checks,
            "density",
        ),
        Step(
            equation(sympy.exp(_c * moved) * _h(moved) * _density(moved), _WEIGHT * _h(moved) * _density(_t)),
            "At x = t + c σ²; integrated over t this is E[exp(cX) h(X)] = exp(cμ + c²σ²/2) E[h(X + cσ²)], M1.",
            checks,
            "tilting",
        ),
    )
    return Derivation(
        "tilting",
        "Tilting a Gaussian",
        "M1",
        "used for the activation functions of section 3 of arXiv 1511.07289",
        (Assumption("X is Gaussian, N(μ, σ²), with density φ((x − μ)/σ)/σ; E[exp(cX) |h(X)|] < ∞."),),
        steps,
    )


@cache
def stein() -> Derivation:
    """M5: `E[X f(X)] = mu E f + sigma² E f'` for a continuous, piecewise smooth f.

    >>> import elutheory as et
    >>> derivation = et.stein()
    >>> derivation.number, derivation.steps[-1].name
    ('M5', 'Stein')
    """
    checks = _identity_checks("x, μ, σ, f")
    derivative = sympy.Derivative(_f(_x) * _density(_x), _x)
    slope = sympy.Derivative(_f(_x), _x)
    steps = (
        Step(
            equation(derivative, slope * _density(_x) - (_x - mu) / sigma**2 * _f(_x) * _density(_x)),
            "The product rule; the density's derivative is −(x − μ)/σ² times itself.",
            checks,
            "product rule",
        ),
        Step(
            equation(
                _x * _f(_x) * _density(_x),
                mu * _f(_x) * _density(_x) + sigma**2 * slope * _density(_x) - sigma**2 * derivative,
            ),
            "Integrated over the line, where f is continuous and f times density vanishes at ±∞: "
            "E[X f] = μ E[f] + σ² E[f′], M5.",
            checks,
            "Stein",
        ),
    )
    return Derivation(
        "stein",
        "Stein's identity",
        "M5",
        "used for the activation functions of section 3 of arXiv 1511.07289",
        (Assumption("X is Gaussian, N(μ, σ²); f is continuous and piecewise smooth, E[|f′|] < ∞."),),
        steps,
    )


# --- truncated moments --------------------------------------------------------------------------------------------


@cache
def _moment(power: int, rate: Any = sympy.Integer(0)) -> Any:  # noqa: B008 - sympy's numbers are immutable
    """`E[X^power e^{rate X} 1(a < X < b)]` by the calculus."""
    return gaussian_expectation(_x**power * sympy.exp(rate * _x), _x, lower=_a, upper=_b)


_CLOSED = {_T[power]: partial(_moment, power) for power in range(len(_T))}


def _formula(statement: sympy.Basic, left: sympy.Symbol) -> Any:
    """The right side of an equation for `left`, truncated moments of lower order replaced by their closed forms."""
    right = right_side(statement, left)
    lower = right.free_symbols - {left}
    return right.xreplace({symbol: _CLOSED[symbol]() for symbol in lower if symbol in _CLOSED})


def _prove_integral(left: sympy.Symbol, integrand: Any, calculus: Callable[[], Any], statement: sympy.Basic) -> None:
    """Zero at b = a, derivative by b equal to the integrand at b; and it is what the calculus gives."""
    formula = _formula(statement, left)
    if not is_identically_zero(formula.subs(_b, _a)):
        raise CheckError(f"{statement} is not zero for a = b")
    if not is_identically_zero(sympy.diff(formula, _b) - integrand.subs(_x, _b)):
        raise CheckError(f"the derivative of {statement} by b is not the integrand at b")
    if not is_identically_zero(formula - calculus()):
        raise CheckError(f"{statement} is not what gaussian_expectation gives")


@cache
def _integral(integrand: Any, index: int) -> Any:
    numbers = {symbol: number for symbol, number in _NUMBERS[index].items() if symbol != _x}
    with mpmath.workdps(_DIGITS + 10):
        function = sympy.lambdify(_x, integrand.subs(numbers).rewrite(sympy.exp), "mpmath")
        ends = [mpmath.mpf(numbers[end].p) / numbers[end].q for end in (_a, _b)]  # pyright: ignore
        return mpmath.quad(function, ends)


def _match_integral(left: sympy.Symbol, integrand: Any, statement: sympy.Basic) -> None:
    formula = _formula(statement, left)
    for index, numbers in enumerate(_NUMBERS):
        value = formula.subs(numbers).evalf(_DIGITS + 10)
        if not value.is_number or not value.is_finite:
            raise CheckError(f"{statement} has no value at {numbers}")
        with mpmath.workdps(_DIGITS + 10):
            difference = abs(mpmath.mpf(str(value)) - _integral(integrand, index))
            if not difference < mpmath.mpf(10) ** -_DIGITS:
                raise CheckError(f"{statement} is off by {mpmath.nstr(difference)} at {numbers}")


@cache
def truncated_moments() -> Derivation:
    """M2: `T_k = E[X^k 1(a < X < b)] = mu T_{k−1} + (k−1) sigma² T_{k−2} − sigma (b^{k−1} phi(β) − a^{k−1} phi(α))`.

    The recursion is proved for every k; T_0, …, T_6 and the tilted moments also one by one.

    >>> import elutheory as et
    >>> derivation = et.truncated_moments()
    >>> derivation.number, derivation.steps[-1].name
    ('M2', 'tilted, 2')
    """
    identity = _identity_checks("k, x ≠ 0, μ, σ")
    product = _x ** (_k - 1) * _density(_x)
    derivative = sympy.Derivative(product, _x)

    def checks(left: sympy.Symbol, power: int, rate: Any, variables: str) -> tuple[Check, ...]:
        integrand = _x**power * sympy.exp(rate * _x) * _density(_x)
        prove = partial(_prove_integral, left, integrand, partial(_moment, power, rate))
        return (
            Check(f"every {variables} (derivative by b, zero at a = b)", prove, proves=True),
            Check(f"{len(_NUMBERS)} points (quadrature, {_DIGITS} digits)", partial(_match_integral, left, integrand)),
        )

    def boundary(power: int) -> Any:
        return sigma * (_b**power * phi((_b - mu) / sigma) - _a**power * phi((_a - mu) / sigma))

    steps = [
        Step(
            equation(
                derivative,
                (_k - 1) * _x ** (_k - 2) * _density(_x) - _x ** (_k - 1) * (_x - mu) / sigma**2 * _density(_x),
            ),
            "The product rule.",
            identity,
            "product rule",
        ),
        Step(
            equation(
                _x**_k * _density(_x),
                mu * product + (_k - 1) * sigma**2 * _x ** (_k - 2) * _density(_x) - sigma**2 * derivative,
            ),
            "Integrated from a to b: the recursion T_k from T_k−1 and T_k−2, for every k ≥ 1.",
            identity,
            "recursion",
        ),
        Step(
            equation(_T[0], _probability_below(_b) - _probability_below(_a)),
            "The probability of the interval; a = −∞ and b = ∞ are limits.",
            checks(_T[0], 0, sympy.Integer(0), "μ, σ, a, b"),
            "T_0",
        ),
    ]
    for power in range(1, len(_T)):
        lower = (power - 1) * sigma**2 * _T[power - 2] if power > 1 else sympy.Integer(0)
        steps.append(
            Step(
                equation(_T[power], mu * _T[power - 1] + lower - boundary(power - 1)),
                f"The recursion for k = {power}.",
                checks(_T[power], power, sympy.Integer(0), "μ, σ, a, b"),
                f"T_{power}",
            )
        )
    steps += [
        Step(
            equation(left, _moment(power, _c)),
            f"Tilted (M1), k = {power}: T_{power} at mean μ + c σ², times exp(cμ + c²σ²/2).",
            checks(left, power, _c, "μ, σ, a, b, c"),
            f"tilted, {power}",
        )
        for power, left in enumerate(notation.tilted_moments)
    ]
    return Derivation(
        "truncated-moments",
        "Moments of a truncated Gaussian",
        "M2",
        "used for the activation functions of section 3 of arXiv 1511.07289",
        (
            Assumption("X is Gaussian, N(μ, σ²), with density φ((x − μ)/σ)/σ; T_k = E[X^k 1(a<X<b)] for a ≤ b."),
            Assumption("Φ and φ are the standard normal distribution function and density."),
        ),
        tuple(steps),
    )
