"""Equality of expressions in Phi, phi and exp, decided by a normal form.

An expression is a sum of terms `coefficient · exp(exponent) · Phi(u)^k · …`; with every exponent expanded and every
argument of Phi oriented one way, two expressions are equal if their terms are.
"""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportArgumentType=false, reportOperatorIssue=false

from collections.abc import Mapping
from typing import Any

import sympy
from sympy.core.function import AppliedUndef

from elutheory.derivations.expectations.functions import Phi, phi
from elutheory.derivations.proof.steps import UndecidedCheckError

Factors = frozenset[tuple[sympy.Expr, int]]
Terms = dict[tuple[sympy.Expr, Factors], Any]  # (exponent, functions with their powers) -> coefficient

_ONE: tuple[sympy.Expr, Factors] = (sympy.Integer(0), frozenset())
_LARGEST_POWER = 16


def normal_form(expression: sympy.Expr, expand_density: bool = True) -> Terms:
    """The terms of an expression; phi(u) as `exp(−u²/2) / sqrt(2 pi)` or, without `expand_density`, as a function.

    Raises UndecidedCheckError for an expression that is not a polynomial in Phi, phi, exp and undefined functions.
    """
    terms = _terms(hyperbolics_as_exponentials(expression), expand_density)
    expanded = {key: sympy.expand(coefficient) for key, coefficient in terms.items()}
    return {key: coefficient for key, coefficient in expanded.items() if not _is_zero(coefficient)}


def hyperbolics_as_exponentials(expression: Any) -> Any:
    """Hyperbolic sines and cosines as exponentials."""
    expression = expression.replace(sympy.sinh, lambda u: (sympy.exp(u) - sympy.exp(-u)) / 2)
    return expression.replace(sympy.cosh, lambda u: (sympy.exp(u) + sympy.exp(-u)) / 2)


def is_identically_zero(expression: sympy.Expr) -> bool:
    """Whether every coefficient of the normal form vanishes: a proof that the expression is zero everywhere."""
    return not normal_form(expression)


def _is_zero(coefficient: sympy.Expr) -> bool:
    if coefficient.is_zero is not None:
        return bool(coefficient.is_zero)
    return sympy.cancel(sympy.together(sympy.powsimp(coefficient))) == 0


def _terms(expression: Any, expand_density: bool) -> Terms:
    if not expression.has(sympy.exp, sympy.E, Phi, phi, AppliedUndef):
        return {_ONE: expression}
    match expression:
        case sympy.Add():
            total: Terms = {}
            for term in expression.args:
                for key, coefficient in _terms(term, expand_density).items():
                    total[key] = total.get(key, sympy.Integer(0)) + coefficient
            return total
        case sympy.Mul():
            product: Terms = {_ONE: sympy.Integer(1)}
            for factor in expression.args:
                product = _multiply(product, _terms(factor, expand_density))
            return product
        case _ if expression is sympy.E:
            return {(sympy.Integer(1), frozenset()): sympy.Integer(1)}
        case sympy.exp():
            return {(_expanded_exponent(expression.args[0]), frozenset()): sympy.Integer(1)}
        case sympy.Pow() if expression.exp.is_Integer and 0 < expression.exp <= _LARGEST_POWER:
            power: Terms = {_ONE: sympy.Integer(1)}
            base = _terms(expression.base, expand_density)
            for _ in range(int(expression.exp)):
                power = _multiply(power, base)
            return power
        case phi() if expand_density:
            exponent = _expanded_exponent(-(expression.args[0] ** 2) / 2)
            return {(exponent, frozenset()): 1 / sympy.sqrt(2 * sympy.pi)}
        case Phi() | phi():
            u = sympy.expand(expression.args[0])
            if isinstance(expression, Phi) and u.could_extract_minus_sign():
                return {_ONE: sympy.Integer(1), _function(Phi(-u)): sympy.Integer(-1)}
            return {_function(expression.func(u)): sympy.Integer(1)}
        case AppliedUndef():
            return {_function(expression.func(*map(sympy.expand, expression.args))): sympy.Integer(1)}
    raise UndecidedCheckError(f"no rule decides the equality of expressions with {expression}")


def _function(function: sympy.Expr) -> tuple[sympy.Expr, Factors]:
    return sympy.Integer(0), frozenset({(function, 1)})


def _expanded_exponent(exponent: sympy.Expr) -> sympy.Expr:
    if exponent.has(sympy.exp, Phi, phi):
        raise UndecidedCheckError(f"no rule decides the equality of expressions with exp({exponent})")
    return sympy.expand(exponent)


def _multiply(left: Terms, right: Terms) -> Terms:
    product: Terms = {}
    for (exponent_l, factors_l), coefficient_l in left.items():
        for (exponent_r, factors_r), coefficient_r in right.items():
            powers: dict[sympy.Expr, int] = dict(factors_l)
            for function, power in factors_r:
                powers[function] = powers.get(function, 0) + power
            key = (exponent_l + exponent_r, frozenset(powers.items()))
            product[key] = product.get(key, sympy.Integer(0)) + coefficient_l * coefficient_r
    return product


def terms_as_expression(terms: Mapping[tuple[sympy.Expr, Factors], Any]) -> sympy.Expr:
    """The sum that a normal form stands for."""
    return sympy.Add(
        *(
            coefficient * sympy.exp(exponent) * sympy.Mul(*(function**power for function, power in factors))
            for (exponent, factors), coefficient in terms.items()
        )
    )
