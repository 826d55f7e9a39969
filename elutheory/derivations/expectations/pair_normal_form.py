"""Equality of expressions in Phi2, Phi, phi and exp with one correlation, decided by a normal form.

With `rho = 2 t/(1 + t²)`, `sqrt(1 − rho²) = (1 − t²)/(1 + t²)`, t in (−1, 1), every argument and exponent is a rational
function in lowest terms. Each Phi and Phi2 is oriented one way; two expressions are equal if their terms are.
"""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportArgumentType=false, reportOperatorIssue=false

from typing import Any

import sympy
from sympy.core.function import AppliedUndef
from sympy.polys.fields import field

from elutheory.derivations.expectations.functions import Phi, Phi2, phi
from elutheory.derivations.expectations.pair_notation import rho
from elutheory.derivations.proof.steps import UndecidedCheckError

Factors = frozenset[tuple[Any, int]]
Terms = dict[tuple[Any, Factors], Any]  # (exponent, functions with their powers) -> coefficient

half_angle: Any = sympy.Symbol("t_half", real=True)  # t = tan(asin(rho)/2)
_root: Any = sympy.Symbol("root_two_pi", positive=True)
_angle: Any = sympy.Symbol("arcsine", real=True)  # asin(rho)
_CORRELATION = 2 * half_angle / (1 + half_angle**2)
_COMPLEMENT = (1 - half_angle**2) / (1 + half_angle**2)
_FUNCTIONS = (sympy.exp, sympy.E, Phi, phi, Phi2, AppliedUndef, sympy.Derivative)
_LARGEST_POWER = 16


def is_zero_at_every_correlation(expression: sympy.Expr) -> bool:
    """Whether every coefficient of the normal form vanishes: a proof for every rho in (−1, 1).

    Raises UndecidedCheckError for an expression that is not a polynomial in Phi2, Phi, phi, exp and undefined
    functions with coefficients, arguments and exponents rational in the symbols, sqrt(1 − rho²), asin(rho) and pi.
    """
    return not _NormalForm(rational_in_half_angle(expression)).terms


def rational_in_half_angle(expression: Any) -> Any:
    """The expression in `half_angle` instead of rho; phi is written out."""
    expression = expression.replace(phi, lambda u: sympy.exp(-(u**2) / 2) / _root)
    expression = expression.replace(
        lambda node: isinstance(node, sympy.Pow) and node.base == 1 - rho**2 and (2 * node.exp).is_Integer,
        lambda node: _COMPLEMENT ** (2 * node.exp),
    )
    return expression.xreplace({sympy.asin(rho): _angle, sympy.pi: _root**2 / 2}).xreplace({rho: _CORRELATION})


class _NormalForm:
    """The terms of one expression, over the field of rational functions of its symbols."""

    def __init__(self, expression: Any) -> None:
        symbols = sorted(expression.free_symbols | {half_angle, _root, _angle}, key=str)
        self._field: Any = field(symbols, sympy.QQ)[0]
        self._zero, self._one = self._field.zero, self._field.one
        self._unit: tuple[Any, Factors] = (self._zero, frozenset())
        self.terms: Terms = {key: value for key, value in self._terms(expression).items() if value != self._zero}

    def _rational(self, expression: Any) -> Any:
        try:
            return self._field.from_expr(expression)
        except (ValueError, ZeroDivisionError) as error:  # a root, an infinity, an unknown function
            raise UndecidedCheckError(f"no rule decides the equality of expressions with {expression}") from error

    def _terms(self, expression: Any) -> Terms:
        if not expression.has(*_FUNCTIONS):
            return {self._unit: self._rational(expression)}
        match expression:
            case sympy.Add():
                total: Terms = {}
                for term in expression.args:
                    _accumulate(total, self._terms(term))
                return total
            case sympy.Mul():
                product = self._constant()
                for factor in expression.args:
                    product = _multiply(product, self._terms(factor))
                return product
            case sympy.exp():
                return {(self._rational(expression.args[0]), frozenset()): self._one}
            case sympy.Pow() if expression.exp.is_Integer and 0 < expression.exp <= _LARGEST_POWER:
                power = self._constant()
                for _ in range(int(expression.exp)):
                    power = _multiply(power, self._terms(expression.base))
                return power
            case Phi():
                return self._univariate(self._rational(expression.args[0]))
            case Phi2():
                return self._bivariate(*map(self._rational, expression.args))
            case AppliedUndef():
                return self._function(str(expression.func), *map(self._rational, expression.args))
            case sympy.Derivative() if isinstance(expression.expr, AppliedUndef):
                function, *orders = expression.args
                return self._function(f"{function.func} by {orders}", *map(self._rational, function.args))
        raise UndecidedCheckError(f"no rule decides the equality of expressions with {expression}")

    def _constant(self) -> Terms:
        return {self._unit: self._one}

    def _function(self, name: str, *arguments: Any) -> Terms:
        return {(self._zero, frozenset({((name, *arguments), 1)})): self._one}

    def _univariate(self, u: Any) -> Terms:
        """Phi(0) = 1/2; Phi(−u) = 1 − Phi(u)."""
        if u == self._zero:
            return {self._unit: self._one / 2}
        if _is_oriented(u):
            return self._function("Phi", u)
        return _combined((self._one, self._constant()), (-self._one, self._function("Phi", -u)))

    def _bivariate(self, h: Any, k: Any, r: Any) -> Terms:
        """Phi2 with the correlation, then the first argument, oriented; K's symmetries do the rest."""
        one = self._one
        if r == self._zero:
            return _multiply(self._univariate(h), self._univariate(k))
        if not _is_oriented(r):
            return _combined((one, self._univariate(h)), (-one, self._bivariate(h, -k, -r)))
        if h == self._zero and k == self._zero and r == self._rational(_CORRELATION):
            return {self._unit: self._rational(sympy.Rational(1, 4) + _angle / _root**2)}
        h, k = sorted((h, k), key=lambda u: str(u if _is_oriented(u) else -u))
        if _is_oriented(k if h == self._zero else h):
            return self._function("Phi2", h, k, r)
        return _combined(
            (one, self._constant()),
            (-one, self._univariate(-h)),
            (-one, self._univariate(-k)),
            (one, self._function("Phi2", -h, -k, r)),
        )


def _is_oriented(u: Any) -> bool:
    return not u or (u.numer.LC > 0) == (u.denom.LC > 0)


def _accumulate(total: Terms, terms: Terms) -> None:
    for key, coefficient in terms.items():
        total[key] = total[key] + coefficient if key in total else coefficient


def _combined(*parts: tuple[Any, Terms]) -> Terms:
    total: Terms = {}
    for weight, terms in parts:
        _accumulate(total, {key: weight * coefficient for key, coefficient in terms.items()})
    return total


def _multiply(left: Terms, right: Terms) -> Terms:
    product: Terms = {}
    for (exponent_l, factors_l), coefficient_l in left.items():
        for (exponent_r, factors_r), coefficient_r in right.items():
            powers: dict[Any, int] = dict(factors_l)
            for function, power in factors_r:
                powers[function] = powers.get(function, 0) + power
            key = (exponent_l + exponent_r, frozenset(powers.items()))
            _accumulate(product, {key: coefficient_l * coefficient_r})
    return product
