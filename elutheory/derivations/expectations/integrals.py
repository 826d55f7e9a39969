"""M1 and M2: Gaussian integrals of piecewise (polynomial × exponential) functions, in phi and Phi.

The class: on each of finitely many intervals a sum of terms `c x^k e^{r x}`. A term's integral is M1, which moves the
exponential into the mean, and the recursion M2 for the moments of a truncated normal distribution.
"""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportArgumentType=false, reportAssignmentType=false, reportReturnType=false, reportOperatorIssue=false

from collections.abc import Iterable, Mapping
from typing import Any

import sympy

from elutheory.activations.pieces import Piece, pieces_of
from elutheory.derivations.expectations.functions import Phi, phi
from elutheory.derivations.expectations.normal_form import hyperbolics_as_exponentials
from elutheory.derivations.proof.notation import mu, sigma
from elutheory.errors import InputError

Terms = dict[sympy.Expr, dict[int, sympy.Expr]]  # rate r -> power k -> coefficient c of c x^k e^{r x}

_INFINITIES = (sympy.oo, -sympy.oo)
# More is a matter of minutes: every power is a step of the recursion, whose results have as many terms.
_LARGEST_POWER = 64
_MOST_TERMS = 128


class NoClosedForm(InputError):  # noqa: N818 (it is a fact about the function)
    """The function is not piecewise polynomial × exponential: its Gaussian integral has no closed form here."""


# --- terms c x^k e^{r x} ------------------------------------------------------------------------------------------


def exponential_polynomial(expression: sympy.Expr, symbol: sympy.Symbol) -> Terms:
    """The terms `c x^k e^{r x}` of an expression, as {r: {k: c}}; raises NoClosedForm where there are others."""
    return _terms(hyperbolics_as_exponentials(expression), symbol, expression)


def _terms(expression: Any, symbol: sympy.Symbol, whole: sympy.Expr) -> Terms:
    zero, one = sympy.Integer(0), sympy.Integer(1)
    if not expression.has(symbol):
        return {} if expression == 0 else {zero: {0: expression}}
    match expression:
        case sympy.Symbol():
            return {zero: {1: one}}
        case sympy.Add():
            total: Terms = {}
            for term in expression.args:
                for rate, polynomial in _terms(term, symbol, whole).items():
                    for power, coefficient in polynomial.items():
                        _accumulate(total, rate, power, coefficient)
            return total
        case sympy.Mul():
            product: Terms = {zero: {0: one}}
            for factor in expression.args:
                product = _product(product, _terms(factor, symbol, whole))
            return product
        case sympy.Pow() if expression.exp.is_Integer and 0 < expression.exp <= _LARGEST_POWER:
            base = _terms(expression.base, symbol, whole)
            power = base
            for _ in range(int(expression.exp) - 1):
                power = _product(power, base)
            return power
        case sympy.Pow() if isinstance(expression.base, sympy.exp) and expression.exp.is_Integer:
            return _terms(sympy.exp(expression.exp * expression.base.args[0]), symbol, whole)
        case sympy.exp():
            linear = _linear(expression.args[0], symbol)
            if linear is not None:
                return {linear[0]: {0: sympy.exp(linear[1])}}
    raise NoClosedForm(f"{whole} has no closed form here: it is not a sum of terms c·{symbol}^k·exp(r·{symbol}).")


def _linear(expression: Any, symbol: sympy.Symbol) -> tuple[sympy.Expr, sympy.Expr] | None:
    """Slope and intercept of a linear expression, else None."""
    slope = sympy.cancel(sympy.diff(expression, symbol)) if expression.is_polynomial(symbol) else symbol
    return None if slope.has(symbol) else (slope, expression.subs(symbol, 0))


def _accumulate(terms: Terms, rate: sympy.Expr, power: int, coefficient: sympy.Expr) -> None:
    polynomial = terms.setdefault(rate, {})
    polynomial[power] = sympy.expand(polynomial.get(power, sympy.Integer(0)) + coefficient)


def _product(left: Terms, right: Terms) -> Terms:
    product: Terms = {}
    for rate_l, polynomial_l in left.items():
        for rate_r, polynomial_r in right.items():
            for power_l, coefficient_l in polynomial_l.items():
                for power_r, coefficient_r in polynomial_r.items():
                    _accumulate(product, rate_l + rate_r, power_l + power_r, coefficient_l * coefficient_r)
    if sum(map(len, product.values())) > _MOST_TERMS or max(map(max, product.values()), default=0) > _LARGEST_POWER:
        raise NoClosedForm(f"there is no closed form beyond {_MOST_TERMS} terms or the power {_LARGEST_POWER}.")
    return product


# --- their integrals ----------------------------------------------------------------------------------------------


def gaussian_expectation(
    expression: sympy.Expr,
    symbol: sympy.Symbol,
    mean: sympy.Expr = mu,
    std: sympy.Expr = sigma,
    lower: sympy.Expr = -sympy.oo,
    upper: sympy.Expr = sympy.oo,
) -> sympy.Expr:
    """`E[expression(X) 1(lower < X < upper)]`, X ~ N(mean, std²), in phi and Phi (M1, M2).

    Piecewise, Max, Min and Abs are cut into pieces first (numeric breakpoints); symbolic parameters and ends are fine,
    std > 0 and lower <= upper understood. Raises NoClosedForm outside the class of piecewise polynomial × exponential.

    >>> import elutheory as et
    >>> import sympy
    >>> x = sympy.Symbol("x", real=True)
    >>> et.gaussian_expectation(x**2, x), et.gaussian_expectation(sympy.Integer(1), x, lower=sympy.Integer(0))
    (mu**2 + sigma**2, Phi(mu/sigma))
    """
    if expression.has(sympy.Piecewise, sympy.Max, sympy.Min, sympy.Abs, sympy.sign):
        if lower.free_symbols or upper.free_symbols:
            raise InputError("with symbolic ends, give the pieces of the function one by one.")
        parts = [
            Piece(sympy.Max(piece.lower, lower), sympy.Min(piece.upper, upper), piece.expression)
            for piece in pieces_of(expression, symbol)
        ]
        return gaussian_expectation_of_pieces([part for part in parts if part.lower < part.upper], symbol, mean, std)
    return gaussian_expectation_of_pieces([Piece(lower, upper, expression)], symbol, mean, std)


def gaussian_expectation_of_pieces(
    pieces: Iterable[Piece], symbol: sympy.Symbol, mean: sympy.Expr = mu, std: sympy.Expr = sigma
) -> sympy.Expr:
    """`E f(X)`, X ~ N(mean, std²), of a function given by its pieces (zero elsewhere), in phi and Phi (M1, M2).

    Raises NoClosedForm outside the class of piecewise polynomial × exponential.
    """
    sums: dict[sympy.Expr, sympy.Expr] = {}
    for piece, terms in [(piece, exponential_polynomial(piece.expression, symbol)) for piece in pieces]:
        for rate, polynomial in terms.items():
            _add_integral(sums, rate, polynomial, (piece.lower, piece.upper), mean, std)
    return _collected(sums, {symbol for part in (mean, std) for symbol in part.free_symbols})


def _add_integral(
    sums: dict[sympy.Expr, sympy.Expr],
    rate: sympy.Expr,
    polynomial: Mapping[int, sympy.Expr],
    interval: tuple[sympy.Expr, sympy.Expr],
    mean: sympy.Expr,
    std: sympy.Expr,
) -> None:
    """Add `E[p(X) e^{rate X} 1(interval)]` to the sums, which map a function of mean and std to its coefficient."""
    shifted = mean + rate * std**2
    weight = sympy.exp(sympy.expand(rate * mean + rate**2 * std**2 / 2))
    degree = max(polynomial)
    shared, at_end = _recursion(degree, shifted, std)
    bulk = sympy.expand(sum(coefficient * shared[power] for power, coefficient in polynomial.items()))
    for function, sign in _probability(interval, mean, std, rate):
        _add(sums, weight * function, sign * bulk)
    for end, sign in zip(interval, (1, -1), strict=True):
        if end in _INFINITIES:
            continue
        boundary = sum(coefficient * at_end(power, end) for power, coefficient in polynomial.items())
        # M1 once more: the tilted density at the end is e^{rate · end} times the density.
        _add(sums, phi((end - mean) / std), sympy.expand(sign * std * sympy.exp(rate * end) * boundary))


def _recursion(degree: int, m: sympy.Expr, s: sympy.Expr) -> tuple[list[Any], Any]:
    """M2: `T_k = m T_{k−1} + (k−1) s² T_{k−2} − s [x^{k−1} phi]`, split into the factor of T_0 and the boundary's."""
    shared: list[Any] = [sympy.Integer(1), m]
    for k in range(2, degree + 1):
        shared.append(sympy.expand(m * shared[k - 1] + (k - 1) * s**2 * shared[k - 2]))

    def at_end(power: int, end: sympy.Expr) -> Any:
        """The factor of `s phi((end − m)/s)` in −T_power at the upper end."""
        values: list[Any] = [sympy.Integer(0), sympy.Integer(1)]
        for k in range(2, power + 1):
            values.append(m * values[k - 1] + (k - 1) * s**2 * values[k - 2] + end ** (k - 1))
        return values[power]

    return shared, at_end


def _probability(
    interval: tuple[sympy.Expr, sympy.Expr], mean: sympy.Expr, std: sympy.Expr, rate: sympy.Expr
) -> list[tuple[sympy.Expr, int]]:
    """`P(lower < X < upper)`, X ~ N(mean + rate std², std²), as functions with signs."""
    lower, upper = interval

    def below(end: sympy.Expr) -> sympy.Expr:
        return Phi((end - mean) / std - rate * std if end != 0 else -mean / std - rate * std)

    if upper is sympy.oo:
        return [(sympy.Integer(1) if lower is -sympy.oo else Phi((mean - lower) / std + rate * std), 1)]
    return [(below(upper), 1)] if lower is -sympy.oo else [(below(upper), 1), (below(lower), -1)]


def _add(sums: dict[sympy.Expr, sympy.Expr], function: sympy.Expr, coefficient: sympy.Expr) -> None:
    sums[function] = sympy.expand(sums.get(function, sympy.Integer(0)) + coefficient)


def _collected(sums: Mapping[sympy.Expr, sympy.Expr], variables: set[Any]) -> sympy.Expr:
    """One sum; what has the same monomial of parameters in front stands in one bracket."""
    groups: dict[sympy.Expr, list[sympy.Expr]] = {}
    for function, coefficient in sums.items():
        monomial = _common_monomial(coefficient, variables)
        factored = sympy.factor_terms(sympy.expand(coefficient / monomial), sign=True)
        groups.setdefault(monomial, []).append(sympy.Mul(*sympy.Mul.make_args(factored), function))
    return sympy.Add(*(monomial * sympy.Add(*terms) for monomial, terms in groups.items()))


def _common_monomial(coefficient: sympy.Expr, variables: set[Any]) -> sympy.Expr:
    """The largest monomial of the parameters (the symbols that are no variables) that divides every term."""
    if coefficient == 0:
        return sympy.Integer(1)
    powers = [term.as_powers_dict() for term in sympy.Add.make_args(coefficient)]
    parameters = sorted(coefficient.free_symbols - variables, key=str)
    return sympy.Mul(*(parameter ** min(power.get(parameter, 0) for power in powers) for parameter in parameters))
