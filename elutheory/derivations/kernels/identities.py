"""What K1-K3 follow from: the bivariate normal distribution's rules, tilting of a pair, and Price's theorem."""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportOperatorIssue=false, reportArgumentType=false

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import mpmath
import sympy

from elutheory.derivations.expectations.checks import Point
from elutheory.derivations.expectations.functions import (
    Phi,
    Phi2,
    bivariate_density,
    bivariate_probability,
    numerical_value,
    phi,
)
from elutheory.derivations.expectations.pair_checks import (
    DIGITS,
    check_number,
    check_slope_and_start,
    check_vanishing,
    quadrature_in_the_plane,
)
from elutheory.derivations.expectations.pair_normal_form import is_zero_at_every_correlation
from elutheory.derivations.expectations.pair_notation import a, b, pair_covariance, rho, s1, s2
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.steps import Assumption, Check, CheckError, Step, equation, right_side, sides
from elutheory.errors import InputError

_SOURCE = "used for layers of the units of section 3 of arXiv 1511.07289"
_WORKING_DIGITS = 40
_QUADRANT_POINTS = 2
_Q = sympy.Rational
_h, _k, _c, _d, _x, _y, _t, _u = sympy.symbols("h k c d x y t u", real=True)
_m1, _m2 = sympy.symbols("m1 m2", real=True)
_f, _g, _function = sympy.Function("f"), sympy.Function("g"), sympy.Function("h")
_slopes: Any = sympy.Function("D")
_complement = sympy.sqrt(1 - rho**2)

_NUMBERS: tuple[dict[Any, Any], ...] = tuple(
    dict(zip((_h, _k, _c, _d, _x, _y, _t, _u, _m1, _m2, a, b, s1, s2, rho), numbers, strict=True))
    for numbers in (
        tuple(_Q(n, 16) for n in (6, -11, 9, -5, 13, 7, -10, 3, 5, -12, 7, -9, 18, 11, 10)),
        tuple(_Q(n, 16) for n in (-19, 8, -13, 6, -7, 18, 5, -9, -15, 4, -14, -3, 9, 22, -11)),
        tuple(_Q(n, 16) for n in (21, 14, 4, 11, 9, -6, 15, 12, 8, 17, 4, 15, 13, 10, 3)),
    )
)


class DefiniteIntegral(sympy.Integral):
    """An integral that is written with its limits."""

    def _statement_text(self, printer: Any) -> str:
        limits: Any = self.limits
        variable, lower, upper = limits[0]
        inside = f"∫[{printer._print(lower)}, {printer._print(upper)}] {printer._print(self.function)} d{variable}"
        return inside.replace(" ", "\N{NO-BREAK SPACE}")


# --- checks -------------------------------------------------------------------------------------------------------


def _prove_identity(statement: sympy.Basic) -> None:
    left, right = sides(statement)
    if not is_zero_at_every_correlation(sympy.Add(left, -right).doit()):
        raise CheckError(f"the two sides of {statement} differ")


def _match_numbers(statement: sympy.Basic) -> None:
    """The undefined functions f, g and h become the sine, the exponential and the sine of x + 2 y."""
    concrete = [side.replace(_f, sympy.sin).replace(_g, sympy.exp) for side in sides(statement)]
    concrete = [side.replace(_function, lambda x, y: sympy.sin(x + 2 * y)).doit() for side in concrete]
    for numbers in _NUMBERS:
        values = {symbol: numbers[symbol] for symbol in numbers}
        point = Point(tuple(values.items()))
        try:
            left = numerical_value(concrete[0], values, _WORKING_DIGITS)
        except InputError as error:
            raise CheckError(str(error)) from error
        check_number(concrete[1], point, left)


def _identity_checks(variables: str) -> tuple[Check, ...]:
    return (
        Check(f"every {variables} (normal form)", _prove_identity, proves=True),
        Check(f"{len(_NUMBERS)} points ({DIGITS} digits, sines for general functions)", _match_numbers),
    )


# --- the distribution function ------------------------------------------------------------------------------------

_INTEGRAND = phi(_t) * Phi((_k - rho * _t) / _complement)  # Phi2(h, k, rho) is its integral over t from −∞ to h
_LAST = _INTEGRAND.subs(_t, _h)


def _prove_derivative(left: Any, variable: sympy.Symbol, statement: sympy.Basic) -> None:
    """Its slope in h is the variable's slope of ∂h Phi2, and it vanishes for h -> −∞; ∂h Phi2 is the last integrand."""
    right = right_side(statement, left)
    if variable == _h:
        difference = right - _LAST
    else:
        difference = sympy.diff(right, _h) - sympy.diff(_LAST, variable)
        check_vanishing(_with_density(right), _h, -1)
    if not is_zero_at_every_correlation(difference):
        raise CheckError(f"{statement} is not the derivative of the integral by {variable}")


def _with_density(expression: Any) -> Any:
    """exp of the bivariate density as `phi(h) phi((k − rho h)/q)`, in which its decay is seen."""
    exponent = sympy.exp(bivariate_density(_h, _k, rho).atoms(sympy.exp).pop().args[0])
    return expression.xreplace({exponent: 2 * sympy.pi * phi(_h) * phi((_k - rho * _h) / _complement)})


def _match_derivative(left: Any, position: int, statement: sympy.Basic) -> None:
    """Compare the right side with the numerical derivative of Plackett's integral."""
    right = right_side(statement, left)
    for index, numbers in enumerate(_NUMBERS):
        check_number(right, Point(tuple(numbers.items())), _numerical_derivative(index, position))


@cache
def _numerical_derivative(index: int, position: int) -> Any:
    with mpmath.workdps(_WORKING_DIGITS):
        exact = [_NUMBERS[index][symbol] for symbol in (_h, _k, rho)]
        arguments = [mpmath.mpf(number.p) / number.q for number in exact]
        order = tuple(int(i == position) for i in range(3))
        return mpmath.diff(bivariate_probability, tuple(arguments), order)


def _prove_from_independence(statement: sympy.Basic) -> None:
    """Equal at rho = 0, and equal slopes in rho."""
    left, right = sides(statement)
    check_slope_and_start(left, sympy.diff(right, rho), right.subs(rho, 0))


def _match_quadrant(left: Any, first: Any, second: Any, statement: sympy.Basic) -> None:
    """Compare the right side with quadrature of the density: P(Z1 <= first, Z2 <= second)."""
    right = right_side(statement, left)
    for numbers in _NUMBERS[:_QUADRANT_POINTS]:
        h, k = (sympy.sympify(u).subs(numbers) for u in (first, second))
        point = Point(((a, -h), (b, -k), (s1, _Q(1)), (s2, _Q(1)), (rho, sympy.sympify(left.args[2]).subs(numbers))))
        check_number(right, Point(tuple(numbers.items())), quadrature_in_the_plane(point, _is_negative, _is_negative))


def _is_negative(x: Any) -> int:
    return int(x < 0)


@cache
def bivariate_normal() -> Derivation:
    """The rules of `Phi2(h, k; rho) = P(Z1 <= h, Z2 <= k)` that K1 and K2 use: derivatives, Plackett, symmetries.

    Every h and k, |rho| < 1. Plackett, Biometrika 41 (1954) 351.

    >>> import elutheory as et
    >>> derivation = et.bivariate_normal()
    >>> derivation.number, derivation.steps[-1].name
    ('K1, K2', 'quadrant')
    """
    identity = _identity_checks("h, k, t and correlation")
    phi2 = bivariate_density(_h, _k, rho)
    function = Phi2(_h, _k, rho)

    def derivative(variable: Any, position: int, right: Any, reason: str) -> Step:
        left = Partial(function, variable)
        how = "integrand of the definition" if variable == _h else "slope in h, zero for h → −∞"
        checks = (
            Check(f"every h, k and correlation ({how})", partial(_prove_derivative, left, variable), proves=True),
            Check(
                f"{len(_NUMBERS)} points (numerical derivative, {DIGITS} digits)",
                partial(_match_derivative, left, position),
            ),
        )
        return Step(equation(left, right), reason, checks, f"by {variable}")

    def rule(left: Any, right: Any, reason: str, name: str) -> Step:
        scope = "every h, k and correlation (equal slopes, equal at correlation 0)"
        match = partial(_match_quadrant, left, left.args[0], left.args[1])
        numbers = Check(f"{_QUADRANT_POINTS} points (quadrature of the density, {DIGITS} digits)", match)
        return Step(equation(left, right), reason, (Check(scope, _prove_from_independence, proves=True), numbers), name)

    steps = (
        Step(
            equation(phi(_h) * phi((_k - rho * _h) / _complement) / _complement, phi2),
            "Given the first variable, the second is normal with the correlation times it as mean.",
            identity,
            "density",
        ),
        derivative(_h, 0, _LAST, "The integrand at the end of the integral."),
        Step(
            equation(Partial(_LAST, _k), phi2),
            "The density is the mixed derivative.",
            identity,
            "mixed derivative",
        ),
        derivative(_k, 1, phi(_k) * Phi((_h - rho * _k) / _complement), "The same with the variables exchanged."),
        Step(
            equation(Partial(_INTEGRAND, rho), Partial(bivariate_density(_t, _k, rho), _t)),
            "The integrand's slope in the correlation is a total derivative.",
            identity,
            "total derivative",
        ),
        derivative(rho, 2, phi2, "Integrated over t from −∞ to h: Plackett's identity."),
        rule(Phi2(_k, _h, rho), function, "Exchange of the variables.", "exchange"),
        rule(Phi2(-_h, _k, -rho), Phi(_k) - function, "Reflection of the first variable.", "reflection"),
        rule(Phi2(-_h, -_k, rho), 1 - Phi(_h) - Phi(_k) + function, "Reflection of both.", "both reflected"),
        rule(
            Phi2(0, 0, rho),
            _Q(1, 4) + sympy.asin(rho) / (2 * sympy.pi),
            "The probability of a quadrant (Sheppard).",
            "quadrant",
        ),
    )
    return Derivation(
        "bivariate-normal",
        "The bivariate normal distribution",
        "K1, K2",
        _SOURCE,
        (
            Assumption("Z1, Z2 are standard normal, their correlation is inside (−1, 1); Φ2 is P(Z1 ≤ h, Z2 ≤ k)."),
            Assumption("Φ2 is the first variable's density times the second's conditional Φ, integrated up to h."),
            Assumption("Φ and φ are the standard normal distribution function and density."),
        ),
        steps,
    )


# --- the density of a pair ------------------------------------------------------------------------------------------


class Partial(sympy.Derivative):
    """A partial derivative, written with its variables."""

    def _statement_text(self, printer: Any) -> str:
        order = "∂²" if len(self.variables) == 2 else "∂"
        by = "".join(f"∂{printer._print(variable)}" for variable in self.variables)
        return f"{order}({printer._print(self.expr)})/{by}".replace(" ", "\N{NO-BREAK SPACE}")

    def _latex(self, printer: Any) -> str:
        order = "^2" if len(self.variables) == 2 else ""
        by = " ".join(rf"\partial {printer._print(variable)}" for variable in self.variables)
        return rf"\frac{{\partial{order}}}{{{by}}}\left[{printer._print(self.expr)}\right]"

    def _mathml_presentation(self, printer: Any) -> Any:
        create = printer.dom.createElement

        def leaf(tag: str, text: str) -> Any:
            element = create(tag)
            element.appendChild(printer.dom.createTextNode(text))
            return element

        above, below, fraction, row = create("mrow"), create("mrow"), create("mfrac"), create("mrow")
        above.appendChild(leaf("mo", "∂²" if len(self.variables) == 2 else "∂"))
        for variable in self.variables:
            below.appendChild(leaf("mo", "∂"))
            below.appendChild(printer._print(variable))
        for part in (above, below):
            fraction.appendChild(part)
        for part in (fraction, leaf("mo", "["), printer._print(self.expr), leaf("mo", "]")):
            row.appendChild(part)
        return row


_pair_density: Any = sympy.Function("p")


def _density(x: Any, y: Any, mean_x: Any = _m1, mean_y: Any = _m2, r: Any = rho) -> Any:
    """The density of X times that of Y given X: mean `m2 + rho s2 u`, std `s2 sqrt(1 − rho²)` at `x = m1 + s1 u`."""
    u, v, complement = (x - mean_x) / s1, (y - mean_y) / s2, sympy.sqrt(1 - r**2)
    return phi(u) / s1 * phi((v - r * u) / complement) / (s2 * complement)


def _with_densities(check: Callable[[sympy.Basic], None], statement: sympy.Basic) -> None:
    check(equation(*(side.replace(_pair_density, _density) for side in sides(statement))))


def _density_checks(variables: str) -> tuple[Check, ...]:
    return tuple(replace(check, run=partial(_with_densities, check.run)) for check in _identity_checks(variables))


_PAIR = Assumption(
    "X and Y are jointly Gaussian, means m1 and m2, std s1 and s2, correlation inside (−1, 1); p is their density."
)


# --- tilting ------------------------------------------------------------------------------------------------------


@cache
def bivariate_tilting() -> Derivation:
    """M1 for a pair: `E[e^{cX + dY} h(X, Y)] = e^{c m1 + d m2 + (c² s1² + 2 c d rho s1 s2 + d² s2²)/2} E[h(shifted)]`.

    e^{dY} shifts X by `d rho s1 s2` and Y by `d s2²`, e^{cX} X by `c s1²` and Y by `c rho s1 s2`; |rho| < 1.

    >>> import elutheory as et
    >>> derivation = et.bivariate_tilting()
    >>> derivation.number, derivation.steps[-1].name
    ('K1, K2', 'tilting')
    """
    checks = _density_checks("x, y, c, d, mean, std and correlation")
    p = _pair_density
    weight = sympy.exp(_c * _m1 + _d * _m2 + (_c**2 * s1**2 + 2 * _c * _d * rho * s1 * s2 + _d**2 * s2**2) / 2)
    shift_x = _c * s1**2 + _d * rho * s1 * s2
    shift_y = _d * s2**2 + _c * rho * s1 * s2
    x, y = _t + shift_x, _u + shift_y
    u, v = (_x - _m1) / s1, (_y - _m2) / s2
    square = sympy.exp(-(u**2 - 2 * rho * u * v + v**2) / (2 * (1 - rho**2)))
    steps = (
        Step(
            equation(p(_x, _y, _m1, _m2), square / (2 * sympy.pi * s1 * s2 * _complement)),
            "The density of X and Y, written with their means.",
            checks,
            "density",
        ),
        Step(
            equation(
                sympy.exp(_c * _x + _d * _y) * p(_x, _y, _m1, _m2),
                weight * p(_x, _y, _m1 + shift_x, _m2 + shift_y),
            ),
            "Exponential times density is a constant times the density with shifted means.",
            checks,
            "tilted density",
        ),
        Step(
            equation(
                sympy.exp(_c * x + _d * y) * _function(x, y) * p(x, y, _m1, _m2),
                weight * _function(x, y) * p(_t, _u, _m1, _m2),
            ),
            "At x = t + shift, y = u + shift; integrated over t and u this is tilting for a pair.",
            checks,
            "tilting",
        ),
    )
    return Derivation(
        "bivariate-tilting",
        "Tilting a pair of Gaussians",
        "K1, K2",
        _SOURCE,
        (
            _PAIR,
            Assumption("The expectation of exp(cX + dY) |h(X, Y)| is finite."),
        ),
        steps,
    )


# --- Price's theorem ----------------------------------------------------------------------------------------------


def _prove_covariance(statement: sympy.Basic) -> None:
    """The right side's slope in rho is Price's, and it is zero at rho = 0."""
    right = right_side(statement, pair_covariance)
    if not is_zero_at_every_correlation(sympy.diff(right, rho) - s1 * s2 * _slopes(rho)):
        raise CheckError(f"the derivative of {statement} by rho is not Price's")
    if not is_zero_at_every_correlation(right.subs(rho, 0).doit()):
        raise CheckError(f"{statement} is not zero for independent variables")


def _match_covariance(statement: sympy.Basic) -> None:
    """For f = g = sine, E[cos X cos Y] is elementary; the covariance of the sines comes from quadrature."""
    means = s1 * a, s2 * b
    spread = (s1**2 + s2**2) / 2

    def slopes(r: Any) -> Any:
        same, opposite = (sympy.exp(sign * r * s1 * s2 - spread) for sign in (1, -1))
        return (same * sympy.cos(means[0] - means[1]) + opposite * sympy.cos(means[0] + means[1])) / 2

    concrete = right_side(statement, pair_covariance).replace(_slopes, slopes)
    for index, numbers in enumerate(_NUMBERS):
        values = {symbol: numbers[symbol] for symbol in (a, b, s1, s2, rho)}
        check_number(concrete, Point(tuple(values.items())), _covariance_of_sines(index))


@cache
def _covariance_of_sines(index: int) -> Any:
    point = Point(tuple((symbol, _NUMBERS[index][symbol]) for symbol in (a, b, s1, s2, rho)))
    with mpmath.workdps(_WORKING_DIGITS):
        mean_x = quadrature_in_the_plane(point, mpmath.sin, lambda y: 1)
        mean_y = quadrature_in_the_plane(point, lambda x: 1, mpmath.sin)
        return quadrature_in_the_plane(point, lambda x: mpmath.sin(x) - mean_x, lambda y: mpmath.sin(y) - mean_y)


@cache
def price_theorem() -> Derivation:
    """K3: `d/d rho E[f(X) g(Y)] = s1 s2 E[f'(X) g'(Y)]`, hence the covariance as an integral without subtraction.

    f and g continuous and piecewise smooth, growing at most exponentially; |rho| < 1. Price, IRE Trans. 4 (1958) 69.

    >>> import elutheory as et
    >>> derivation = et.price_theorem()
    >>> derivation.number, derivation.steps[-1].name
    ('K3', 'covariance')
    """
    identity = _density_checks("x, y, mean, std, correlation, f and g")
    p = _pair_density(_x, _y, _m1, _m2, rho)
    f, g = _f(_x), _g(_y)
    slope_f, slope_g = sympy.Derivative(f, _x), sympy.Derivative(g, _y)
    marginals = phi((_x - _m1) / s1) / s1 * phi((_y - _m2) / s2) / s2
    mixed = Partial(p, _x, _y)
    of_sine = DefiniteIntegral(_slopes(sympy.sin(_t)) * sympy.cos(_t), (_t, 0, sympy.asin(rho)))
    by_x = Partial(f * g * Partial(p, _y), _x)
    by_y = Partial(slope_f * g * p, _y)
    steps = (
        Step(
            equation(Partial(p, rho), s1 * s2 * mixed),
            "The density's slope in the correlation is its mixed derivative times both std.",
            identity,
            "density",
        ),
        Step(
            equation(f * g * mixed, slope_f * slope_g * p + by_x - by_y),
            "The product rule, twice. Integrated, the total derivatives vanish where f and g are continuous: "
            "the slope of E[f(X) g(Y)] in the correlation is s1 s2 E[f′(X) g′(Y)], Price's theorem.",
            identity,
            "Price",
        ),
        Step(
            equation(_pair_density(_x, _y, _m1, _m2, 0), marginals),
            "Uncorrelated Gaussians are independent: at correlation 0 the covariance is 0.",
            identity,
            "independence",
        ),
        Step(
            equation(pair_covariance, s1 * s2 * of_sine),
            "Price's theorem integrated from correlation 0, with the sine of t for the correlation (K3); "
            "D is E[f′(X) g′(Y)] as a function of the correlation.",
            (
                Check("every mean, std, correlation and D (slope, zero at 0)", _prove_covariance, proves=True),
                Check(f"{len(_NUMBERS)} points (f = g = sine, quadrature, {DIGITS} digits)", _match_covariance),
            ),
            "covariance",
        ),
    )
    return Derivation(
        "price-theorem",
        "Price's theorem",
        "K3",
        _SOURCE,
        (
            _PAIR,
            Assumption("f and g are continuous, piecewise smooth and of at most exponential growth."),
        ),
        steps,
    )
