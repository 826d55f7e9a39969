"""K1 and K2 as formulas: `E[f(X) f(Y)]` and `E[f'(X) f'(Y)]` of ELU, CELU, SELU and ReLU in Phi2, Phi and phi.

The family is `f(x) = A x` for x > 0 and `B (e^{kx} − 1)` for x <= 0; every formula is a sum over the four quadrants.
"""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportOperatorIssue=false, reportArgumentType=false

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import sympy

from elutheory.activations.activation_function import Activation, as_activation
from elutheory.derivations.expectations.functions import Phi, Phi2, bivariate_density, numerical_value, phi
from elutheory.derivations.expectations.integrals import NoClosedForm, exponential_polynomial
from elutheory.derivations.expectations.pair_notation import (
    QUADRANTS,
    A,
    B,
    G,
    a,
    b,
    e1,
    e2,
    e12,
    k,
    rho,
    s1,
    s2,
    slope_mean,
    slope_parts,
    value_mean,
    value_parts,
    x,
)
from elutheory.errors import InputError

above, below = A * x, B * (sympy.exp(k * x) - 1)  # f on either side of 0
_complement = sympy.sqrt(1 - rho**2)


# --- closed forms -------------------------------------------------------------------------------------------------


def half_moment(u: Any, v: Any) -> Any:
    """`G(u, v) = E[(u + Z1) 1(Z1 > −u) 1(Z2 < −v)]`."""
    return (
        u * Phi2(u, -v, -rho)
        + phi(u) * Phi((rho * u - v) / _complement)
        - rho * phi(v) * Phi((u - rho * v) / _complement)
    )


_DEFINITIONS: Mapping[Any, Any] = {
    e1: sympy.exp(k * s1 * a + k**2 * s1**2 / 2),
    e2: sympy.exp(k * s2 * b + k**2 * s2**2 / 2),
    e12: sympy.exp(k * (s1 * a + s2 * b) + k**2 * (s1**2 + 2 * rho * s1 * s2 + s2**2) / 2),
}
_d1, _d2 = k * s1, k * s2

# K2 and K1 quadrant by quadrant, in e1, e2, e12 and G.
SLOPE_PARTS: Mapping[str, Any] = {
    "above_above": A**2 * Phi2(a, b, rho),
    "above_below": A * B * k * e2 * Phi2(a + rho * _d2, -b - _d2, -rho),
    "below_above": A * B * k * e1 * Phi2(b + rho * _d1, -a - _d1, -rho),
    "below_below": B**2 * k**2 * e12 * Phi2(-a - _d1 - rho * _d2, -b - _d2 - rho * _d1, rho),
}
VALUE_PARTS: Mapping[str, Any] = {
    "above_above": A**2
    * s1
    * s2
    * (
        (a * b + rho) * Phi2(a, b, rho)
        + b * phi(a) * Phi((b - rho * a) / _complement)
        + a * phi(b) * Phi((a - rho * b) / _complement)
        + (1 - rho**2) * bivariate_density(a, b, rho)
    ),
    "above_below": A * B * s1 * (e2 * G(a + rho * _d2, b + _d2) - G(a, b)),
    "below_above": A * B * s2 * (e1 * G(b + rho * _d1, a + _d1) - G(b, a)),
    "below_below": B**2
    * (
        e12 * Phi2(-a - _d1 - rho * _d2, -b - _d2 - rho * _d1, rho)
        - e1 * Phi2(-a - _d1, -b - rho * _d1, rho)
        - e2 * Phi2(-a - rho * _d2, -b - _d2, rho)
        + Phi2(-a, -b, rho)
    ),
}


def explicit(expression: Any) -> Any:
    """e1, e2, e12, G and the quadrants' symbols replaced by their formulas."""
    parts = {value_parts[name]: VALUE_PARTS[name] for name in QUADRANTS}
    parts |= {slope_parts[name]: SLOPE_PARTS[name] for name in QUADRANTS}
    parts |= {value_mean: sum(VALUE_PARTS.values()), slope_mean: sum(SLOPE_PARTS.values())}
    return expression.xreplace(parts).replace(G, half_moment).xreplace(_DEFINITIONS)


@dataclass(frozen=True)
class DualKernelFormulas:
    """`E[f(X) f(Y)]` and `E[f'(X) f'(Y)]` in a, b, s1, s2, rho: X = s1 (a + Z1), Y = s2 (b + Z2), |rho| < 1.

    >>> import elutheory as et
    >>> value, slope = et.dual_kernel_formulas("relu").numbers(0, 0, 1, 1, 0, digits=15)
    >>> str(slope)
    '0.25'
    """

    value_mean: sympy.Expr
    slope_mean: sympy.Expr

    def numbers(
        self, mean_x: Any, mean_y: Any, std_x: Any, std_y: Any, correlation: Any, digits: int = 30
    ) -> tuple[Any, Any]:
        """Both values at exact numbers (fractions, decimal text or floats), as mpmath reals.

        `digits` are relative to the largest term of the formula: where e1, e2 or e12 is large, ask for more.
        Raises InputError unless both std are positive and the correlation is inside (−1, 1).
        """
        means, stds = ([sympy.Rational(number) for number in pair] for pair in ((mean_x, mean_y), (std_x, std_y)))
        r = sympy.Rational(correlation)
        if not (min(stds) > 0 and -1 < r < 1):
            raise InputError(f"std must be positive and the correlation inside (-1, 1), not {stds} and {r}.")
        values = dict(zip((a, b, s1, s2, rho), (means[0] / stds[0], means[1] / stds[1], *stds, r), strict=True))
        return numerical_value(self.value_mean, values, digits), numerical_value(self.slope_mean, values, digits)


def dual_kernel_formulas(function: Activation | str) -> DualKernelFormulas:
    """K1 and K2 for elu, celu, selu, relu or another `A x above 0, B (e^{kx} − 1) below`; parameters may be symbols.

    Raises NoClosedForm for every other activation.

    >>> import elutheory as et
    >>> et.dual_kernel_formulas("relu").slope_mean
    Phi2(a, b, rho)
    """
    return _formulas(as_activation(function))


@cache
def _formulas(function: Activation) -> DualKernelFormulas:
    values = _parameters(function)
    value, slope = (explicit(symbol).subs(values, simultaneous=True) for symbol in (value_mean, slope_mean))
    return DualKernelFormulas(value, slope)


def _parameters(function: Activation) -> dict[Any, Any]:
    """A, B and k of an activation of the family."""
    taken = {str(symbol) for symbol in function.expression.free_symbols} & {"a", "b", "s1", "s2", "rho"}
    if taken:
        raise InputError(f"{function}: {min(taken)} names a quantity of the pair; call the parameter otherwise.")
    pieces = function.pieces
    if len(pieces) == 2 and pieces[0].upper == 0:
        left, right = (_nonzero_terms(piece.expression, function.symbol) for piece in pieces)
        rates = [rate for rate, _ in left if rate != 0]
        rate = rates[0] if rates else sympy.Integer(1)
        values = {A: right.get((0, 1), sympy.Integer(0)), B: left.get((rate, 0), sympy.Integer(0)), k: rate}
        family = (
            {(rate, 0): values[B], (0, 0): -values[B]} if values[B] != 0 else {},
            {(0, 1): values[A]} if values[A] != 0 else {},
        )
        if (left, right) == family:
            return values
    raise NoClosedForm(
        f"{function} has no dual kernel in closed form here: it is not A x above 0, B (exp(k x) − 1) below."
    )


def _nonzero_terms(expression: sympy.Expr, symbol: sympy.Symbol) -> dict[tuple[Any, int], sympy.Expr]:
    """(rate, power) -> coefficient of `coefficient · x^power e^{rate x}`."""
    return {
        (rate, power): coefficient
        for rate, polynomial in exponential_polynomial(expression, symbol).items()
        for power, coefficient in polynomial.items()
        if coefficient != 0
    }
