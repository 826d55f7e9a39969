"""Rewriting a smooth expression so that floating point loses no digits, and so that its derivative does not either.

`exp(x) − 1` becomes `Expm1(x)`, `1 + erf(x/√2)` becomes `2 NormalDistribution(x)`, and so on; each new function's
derivative is again in stable form, hence the derivative of a stable expression needs no second thought.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import sympy

_HIGHEST_POWER = 8  # of `Gaussian`, which underflows at 38 standard deviations, powers of it sooner


class _StableFunction(sympy.Function):
    nargs = 1

    @property
    def argument(self) -> Any:
        """The u of f(u)."""
        return self.args[0]

    if TYPE_CHECKING:

        def __new__(cls, *args: Any) -> Any: ...


class Expm1(_StableFunction):
    """exp(u) − 1."""

    def fdiff(self, argindex: int = 1) -> Any:
        """The derivative by u, in stable form again."""
        return sympy.exp(self.argument)


class Log1p(_StableFunction):
    """log(1 + u)."""

    def fdiff(self, argindex: int = 1) -> Any:
        """The derivative by u, in stable form again."""
        return 1 / (1 + self.argument)


class Logistic(_StableFunction):
    """1 / (1 + exp(−u))."""

    def fdiff(self, argindex: int = 1) -> Any:
        """The derivative by u, in stable form again."""
        return Logistic(self.argument) * Logistic(-self.argument)


class Softplus(_StableFunction):
    """log(1 + exp(u))."""

    def fdiff(self, argindex: int = 1) -> Any:
        """The derivative by u, in stable form again."""
        return Logistic(self.argument)


class LogCosh(_StableFunction):
    """log(cosh(u))."""

    def fdiff(self, argindex: int = 1) -> Any:
        """The derivative by u."""
        return sympy.tanh(self.argument)


class Gaussian(_StableFunction):
    """exp(−u²/2)."""

    def fdiff(self, argindex: int = 1) -> Any:
        """The derivative by u, in stable form again."""
        return -self.argument * Gaussian(self.argument)


class NormalDistribution(_StableFunction):
    """The standard normal distribution function, (1 + erf(u/√2)) / 2."""

    def fdiff(self, argindex: int = 1) -> Any:
        """The derivative by u, in stable form again."""
        return Gaussian(self.argument) / sympy.sqrt(2 * sympy.pi)


def from_zero(expression: Any, symbol: Any) -> Any:
    """A straight line c x + d as c (x + d/c), which keeps its digits next to its zero if that is a float exactly."""
    if not isinstance(expression, sympy.Add):
        return expression
    constant, line = expression.as_independent(symbol, as_Add=True)
    slope, rest = line.as_independent(symbol, as_Add=False)
    offset = constant / slope if slope.is_Rational and rest == symbol else sympy.nan
    if not (offset.is_Rational and slope != 1 and sympy.Rational(float(offset)) == offset):
        return expression
    return sympy.Mul(slope, symbol + offset, evaluate=False)


def stable(expression: Any) -> Any:
    """An equal expression in which the cancellations and overflows named in the rules below are gone."""
    if not expression.args or not expression.free_symbols:
        return expression
    expression = expression.func(*(stable(argument) for argument in expression.args))
    if isinstance(expression, sympy.Add):
        return _stable_sum(expression)
    if isinstance(expression, sympy.Mul):
        return _stable_product(expression)
    if isinstance(expression, sympy.Pow):
        return _stable_power(expression)
    if isinstance(expression, sympy.log):
        return _stable_logarithm(expression)
    if isinstance(expression, sympy.exp):
        return _stable_exponential(expression)
    return expression


def _stable_sum(expression: Any) -> Any:
    """Pairs of terms `r g + c r`, with g an exponential, error function, hyperbolic tangent or logistic function."""
    terms = list(expression.args)
    for term in terms:
        for factor in _factors(term):
            for offset, replacement in _cancelling_pairs(factor):
                rest = term / factor
                partner = offset * rest
                if partner in terms:
                    terms.remove(term)
                    terms.remove(partner)
                    return stable(sympy.Add(rest * replacement, *terms))
    return _over_one_power(expression)


def _over_one_power(expression: Any) -> Any:
    """`1/√(1 + x²) − x² (1 + x²)^(−3/2)` is `(1 + x²)^(−3/2)`: over one power of a sum where terms then cancel."""
    for power in sorted(expression.atoms(sympy.Pow), key=sympy.default_sort_key):
        base, exponent = power.args
        if not (exponent.is_Rational and exponent.is_negative and isinstance(base, sympy.Add) and base.free_symbols):
            continue
        if not base.is_polynomial(*base.free_symbols):
            continue
        terms = [term for term in expression.args if any(factor.as_base_exp()[0] == base for factor in _factors(term))]
        numerators = [sympy.expand(term / power) for term in terms]
        if not all(one.is_polynomial(*base.free_symbols) for one in numerators):
            continue
        numerator = sympy.expand(sympy.Add(*numerators))
        if len(sympy.Add.make_args(numerator)) < sum(len(sympy.Add.make_args(one)) for one in numerators):
            return stable(sympy.Add(numerator * power, *(term for term in expression.args if term not in terms)))
    return expression


def _factors(term: Any) -> Iterator[Any]:
    """The factors of a term that have a symbol, and the bases of those that are squares or higher powers."""
    for factor in sympy.Mul.make_args(term):
        if factor.free_symbols:
            yield factor
            base, exponent = factor.as_base_exp()
            if exponent.is_Integer and exponent > 1:
                yield base


def _cancelling_pairs(g: Any) -> list[tuple[Any, Any]]:
    """Pairs (c, stable form of g + c); c is a constant or another function."""
    if isinstance(g, sympy.exp):
        return [(sympy.Integer(-1), Expm1(g.args[0]))]
    if isinstance(g, sympy.erf):
        u: Any = g.args[0]
        return [(sympy.Integer(1), _complementary_error(-u)), (sympy.Integer(-1), -_complementary_error(u))]
    if isinstance(g, sympy.erfc):
        return [(sympy.Integer(-2), -2 * NormalDistribution(sympy.sqrt(2) * g.args[0]))]
    if isinstance(g, sympy.tanh):
        u: Any = g.args[0]
        return [(sympy.Integer(1), 2 * Logistic(2 * u)), (sympy.Integer(-1), -2 * Logistic(-2 * u))]
    if isinstance(g, sympy.Pow) and g.exp == 2 and isinstance(g.base, sympy.tanh):
        u: Any = g.base.args[0]
        return [(sympy.Integer(-1), -4 * Logistic(2 * u) * Logistic(-2 * u))]
    if isinstance(g, Logistic):
        u: Any = g.args[0]
        half = sympy.tanh(u / 2)
        return [(sympy.Integer(-1), -Logistic(-u)), (-sympy.Rational(1, 2), half / 2), (-Logistic(-u), half)]
    return []


def _complementary_error(u: Any) -> Any:
    """erfc(u), whose u sympy would make positive as 2 − erfc(−u); as the normal distribution function where it does,
    and where its argument then has no √2 left to round."""
    argument = -sympy.sqrt(2) * u
    plain = sympy.erfc(u)
    return plain if argument.has(sympy.sqrt(2)) and isinstance(plain, sympy.erfc) else 2 * NormalDistribution(argument)


def _stable_product(expression: Any) -> Any:
    """`exp(u) logistic(−u)ⁿ` is `logistic(u) logistic(−u)ⁿ⁻¹`."""
    factors = list(expression.args)
    for exponential in factors:
        if not isinstance(exponential, sympy.exp):
            continue
        u: Any = exponential.args[0]
        partner = Logistic(-u)
        for factor in factors:
            base, exponent = factor.as_base_exp()
            if base == partner and exponent.is_Integer and exponent >= 1:
                factors.remove(exponential)
                factors.remove(factor)
                return stable(sympy.Mul(Logistic(u), Logistic(-u) ** (exponent - 1), *factors))
    return expression


def _stable_power(expression: Any) -> Any:
    """`(c + c exp(u))⁻ⁿ` is `(logistic(−u) / c)ⁿ`."""
    base, exponent = expression.args
    if exponent.is_Integer and exponent.is_negative and isinstance(base, sympy.Add) and len(base.args) == 2:
        for scale, term in (base.args, base.args[::-1]):
            exponential = term / scale
            if isinstance(exponential, sympy.exp):
                u: Any = exponential.args[0]
                return (Logistic(-u) / scale) ** (-exponent)
    return expression


def _stable_logarithm(expression: Any) -> Any:
    """`log(1 + exp(u))` is softplus, `log(1 + u)` is Log1p."""
    argument = expression.args[0]
    if isinstance(argument, sympy.Add) and sympy.Integer(1) in argument.args:
        rest = argument - 1
        return Softplus(rest.args[0]) if isinstance(rest, sympy.exp) else Log1p(rest)
    return expression


def _stable_exponential(expression: Any) -> Any:
    """`exp(−n u²/2)` is `Gaussian(u)ⁿ`: the rounding of u² would be multiplied by n u²/2."""
    coefficient, rest = expression.args[0].as_coeff_Mul()
    base, exponent = rest.as_base_exp()
    doubled = -2 * coefficient
    if exponent == 2 and doubled.is_Integer and 0 < doubled <= _HIGHEST_POWER:
        return Gaussian(base) ** doubled
    return expression
