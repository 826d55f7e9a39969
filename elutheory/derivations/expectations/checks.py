"""Two independent tests that a formula in mu and sigma is `E g(X)`, X ~ N(mu, sigma²): heat equation, quadrature.

Proof: `u(mu, sigma) = E g(mu + sigma Z)` is the only solution of `∂u/∂sigma = sigma ∂²u/∂mu²` that is locally bounded
up to sigma = 0, grows at most exponentially in mu, and tends to g(mu) as sigma -> 0 except at finitely many mu. A
formula that has these properties is therefore E g(X); no integral is taken.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

import mpmath
import sympy

from elutheory.activations.activation_function import Activation
from elutheory.activations.pieces import Piece, interior_point
from elutheory.derivations.expectations.functions import Phi, gauss_legendre
from elutheory.derivations.expectations.normal_form import is_identically_zero, normal_form
from elutheory.derivations.proof.notation import mu, sigma
from elutheory.derivations.proof.steps import CheckError, UndecidedCheckError

DIGITS = 50
_WORKING_DIGITS = 65  # and twice those before the point of the largest constant, which may cancel in a variance
_MOST_DIGITS = 2000  # that evaluating a closed form may take where its terms cancel
_FARTHEST = 21  # phi(21) < 1e-96
_WIDEST = 4  # standard deviations of an interval, with 48 Gauss-Legendre nodes
_WIDEST_OF_ERF = 4  # of an interval in u and t for erf(u): 48 nodes leave 1e-50
_STEEPEST = 40  # of e^{c t} on an interval, c times its length: 48 nodes leave 1e-50 of it
_REFUTED = 1e-12  # a difference that is larger, relative to its largest term, is no rounding of 30 digits
_EXPONENTIALS = (sympy.exp, sympy.sinh, sympy.cosh)
_FARTHEST_KINK = 10  # where phi itself changes like e^{10 t}: with a kink beyond it that is all of the integral


# --- the heat equation --------------------------------------------------------------------------------------------


def check_heat_equation(formula: sympy.Expr, pieces: Iterable[Piece], symbol: sympy.Symbol) -> None:
    """Prove `formula = E g(X)` for the g given by its pieces (numeric ends), or raise CheckError.

    It is an UndecidedCheckError where a condition of the proof cannot be shown: that refutes nothing.
    """
    heat = sympy.diff(formula, sigma) - sigma * sympy.diff(sympy.diff(formula, mu), mu)
    if not is_identically_zero(heat):
        raise not_zero(heat, f"{formula} does not satisfy the heat equation")
    terms = normal_form(formula, expand_density=False)
    _refuse_unbounded(terms)
    for piece in pieces:
        limit = _limit_without_noise(terms, piece)
        difference = limit - piece.expression.subs(symbol, mu)
        if not is_identically_zero(difference):
            inside = interior_point(piece.lower, piece.upper)
            places = inside, interior_point(inside, piece.upper)  # one may be a zero of the difference
            raise not_zero(difference, f"{formula} tends to {limit}, not to {piece.expression}, as sigma -> 0", *places)


def not_zero(difference: Any, claim: str, *places: sympy.Expr) -> CheckError:
    """The error to raise where no rule shows that `difference` vanishes.

    A CheckError with the `claim`, which is then refuted, if it is another number than 0 at one of the `places` of mu
    (none: 3/7 and 8/5), sigma = 5/7 and parameters of 9/7; else an UndecidedCheckError.
    """
    values: dict[Any, Any] = dict.fromkeys(difference.free_symbols, sympy.Rational(9, 7))
    for place in places or (sympy.Rational(3, 7), sympy.Rational(8, 5)):
        values |= {mu: place, sigma: sympy.Rational(5, 7)}
        try:
            terms = [term.subs(values) for term in sympy.Add.make_args(difference)]
            total, size = abs(sympy.N(sympy.Add(*terms), 30)), max(abs(sympy.N(term, 15)) for term in terms)
            if total > _REFUTED * size:
                return CheckError(claim)
        except (TypeError, ValueError, ArithmeticError):
            continue
    return UndecidedCheckError(f"no rule decides whether {difference} is 0")


def _refuse_unbounded(terms: Mapping[Any, Any]) -> None:
    """Coefficients polynomial in mu and sigma, exponents linear in mu and without 1/sigma."""
    for (exponent, _), coefficient in terms.items():
        if not coefficient.is_polynomial(mu, sigma) or not exponent.is_polynomial(mu, sigma):
            raise UndecidedCheckError(f"the term {coefficient} exp({exponent}) may be unbounded as sigma -> 0")
        if sympy.Poly(exponent, mu).degree() > 1:
            raise UndecidedCheckError(f"the term {coefficient} exp({exponent}) grows faster than an exponential in mu")


def _limit_without_noise(terms: Mapping[Any, Any], piece: Piece) -> sympy.Expr:
    """The limit sigma -> 0 at every mu inside a piece: Phi tends to 0 or 1, phi to 0."""
    total: Any = sympy.Integer(0)
    for (exponent, factors), coefficient in terms.items():
        if all(_limit_of(function, piece) for function, _ in factors):
            total += coefficient.subs(sigma, 0) * sympy.exp(exponent.subs(sigma, 0))
    return total


def _limit_of(function: sympy.Expr, piece: Piece) -> int:
    """Limit of Phi(u) or phi(u): `sigma u -> slope (mu − h)` with h outside the piece."""
    scaled = sympy.expand(sigma * function.args[0])
    leading = scaled.subs(sigma, 0) if scaled.is_polynomial(mu, sigma) else sympy.Integer(0)
    slope = sympy.diff(leading, mu)
    if not slope.is_Number or slope == 0:
        raise UndecidedCheckError(f"the limit of {function} as sigma -> 0 is not known")
    root = -leading.subs(mu, 0) / slope
    if not root.is_real or ((piece.lower < root) == sympy.true and (root < piece.upper) == sympy.true):
        raise CheckError(f"the limit of {function} as sigma -> 0 changes at mu = {root}, inside a piece")
    is_above = bool(leading.subs(mu, interior_point(piece.lower, piece.upper)) > 0)
    return int(is_above and isinstance(function, Phi))


# --- quadrature ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """Exact numbers for mu, sigma and the parameters."""

    values: tuple[tuple[sympy.Symbol, Any], ...]

    def exact(self) -> dict[Any, Any]:
        """Symbol -> exact number."""
        return dict(self.values)

    def __str__(self) -> str:
        return ", ".join(f"{symbol} = {value}" for symbol, value in self.values)


@dataclass(frozen=True)
class Node:
    """A node of the quadrature: weight (density included), standard score t, x = mu + sigma t, f(x), f'(x), sigma."""

    weight: Any
    t: Any
    x: Any
    value: Any
    slope: Any
    std: Any


def working_digits(activation: Activation, point: Point) -> int:
    """Of the quadrature, in steps of 32: large constants cancel in deviations from the mean."""
    numbers = {*activation.expression.atoms(sympy.Rational), *point.exact().values()}
    before_the_point = max((len(str(abs(int(number)))) for number in numbers), default=1)
    return _WORKING_DIGITS + 32 * (before_the_point // 8)


@cache
def _nodes(activation: Activation, point: Point) -> tuple[Node, ...]:
    """Gauss-Legendre nodes on intervals that end at the breakpoints; f and f' are the activation's own."""
    exact = point.exact()
    numeric = replace(activation, parameters=(), expression=activation.expression.subs(exact))
    digits = working_digits(activation, point)
    with mpmath.workdps(digits):
        mean, std = (mpmath.mpf(exact[symbol].p) / exact[symbol].q for symbol in (mu, sigma))  # pyright: ignore
        kinks = [(mpmath.mpf(str(kink.evalf(digits))) - mean) / std for kink in activation.breakpoints]
        # where the square of the steepest exponential times the density peaks
        tilt = 2 * _highest_rate(numeric.expression) * exact[sigma]
        farthest = _FARTHEST + int(sympy.ceiling(tilt))
        widest = min(_WIDEST, sympy.Rational(_STEEPEST, max(1, farthest - _FARTHEST)))
        widest = min(widest, _WIDEST_OF_ERF / (1 + _steepest_error_function(numeric.expression) * exact[sigma]))
        if any(_FARTHEST_KINK < abs(kink) < farthest for kink in kinks):
            widest = min(widest, sympy.Rational(_STEEPEST, farthest))
        count = int(sympy.ceiling(2 * farthest / widest))
        grid = [mpmath.mpf(farthest) * (2 * i - count) / count for i in range(count + 1)]
        ends = sorted(set(grid + [kink for kink in kinks if abs(kink) < farthest]))
        nodes = []
        for left, right in pairwise(ends):
            for t, weight in _rule(left, right):
                x = mean + std * t
                nodes.append(Node(weight * mpmath.npdf(t), t, x, numeric(x), numeric.derivative(x), std))
        return tuple(nodes)


def _steepest_error_function(expression: sympy.Expr) -> sympy.Expr:
    """The largest |c| of a factor erf(c x + …), rounded up; 0 without error functions of a line."""
    slopes = [sympy.diff(node.args[0], *node.free_symbols) for node in expression.atoms(sympy.erf, sympy.erfc)]
    return max((sympy.ceiling(abs(slope)) for slope in slopes if slope.is_number), default=sympy.Integer(0))


def _highest_rate(expression: sympy.Expr, *functions: type[sympy.Function]) -> sympy.Expr:
    """The largest |c| of a factor e^{c x + …}, or of those functions of c x + …; 0 without one, or if c is a letter."""
    rates = []
    for node in expression.atoms(*(functions or _EXPONENTIALS)):
        if len(node.free_symbols) == 1:
            slope = sympy.diff(node.args[0], *node.free_symbols)
            rates += [abs(slope)] if slope.is_number else []
    return max(rates, default=sympy.Integer(0))


def length_of(expression: sympy.Expr) -> sympy.Expr:
    """A power of two: 1, or less where an exponential, wave or error function changes within less than 1."""
    rate = _highest_rate(expression, *_EXPONENTIALS, sympy.sin, sympy.cos, sympy.erf, sympy.erfc)
    return sympy.Rational(1, 2 ** max(0, int(sympy.ceiling(sympy.log(rate, 2))))) if rate > 0 else sympy.Integer(1)


def _rule(left: Any, right: Any) -> list[tuple[Any, Any]]:
    half, middle = (right - left) / 2, (right + left) / 2
    return [(middle + half * node, half * weight) for node, weight in gauss_legendre(mpmath.mp.prec)]


@cache
def quadrature_and_size(activation: Activation, point: Point, integrand: Callable[[Node], Any]) -> tuple[Any, Any]:
    """`E integrand(X)` by Gauss-Legendre quadrature of the activation's own definition, to DIGITS digits of its size.

    The second number is that size, `E |integrand(X)|`: what rounding leaves is a share of it.
    """
    with mpmath.workdps(working_digits(activation, point)):
        terms = [node.weight * integrand(node) for node in _nodes(activation, point)]
        return mpmath.fsum(terms), mpmath.fsum(terms, absolute=True)


def quadrature(activation: Activation, point: Point, integrand: Callable[[Node], Any]) -> Any:
    """`E integrand(X)` alone."""
    return quadrature_and_size(activation, point, integrand)[0]


def check_value(formula: sympy.Expr, point: Point, integral: Any, size: Any = 0) -> None:
    """Raise CheckError unless the formula's value agrees with the integral to DIGITS digits of it, or of its `size`."""
    value: Any = formula.subs(point.exact()).evalf(_WORKING_DIGITS, maxn=_MOST_DIGITS)
    if not value.is_number or not value.is_finite or not value.is_real:
        raise CheckError(f"{formula} has no value at {point}")
    with mpmath.workdps(_WORKING_DIGITS):
        number = mpmath.mpf(str(value))
        if not abs(number - integral) <= mpmath.mpf(10) ** -DIGITS * max(abs(integral), size):
            raise CheckError(f"{formula} is {mpmath.nstr(number)} at {point}, quadrature {mpmath.nstr(integral)}")
