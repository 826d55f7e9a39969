"""The operations on mpmath's numbers, at the working precision of a context."""

from collections.abc import Callable, Mapping
from typing import Any

import sympy


def operations(context: Any) -> Mapping[str, Callable[..., Any]]:
    """The table for one context; it has `constant` as well, for constants at the working precision."""
    return {
        "power": lambda base, exponent: base**exponent,
        "divide": lambda a, b: a / b,
        "exp": context.exp,
        "Expm1": context.expm1,
        "log": context.log,
        "Log1p": context.log1p,
        "sqrt": context.sqrt,
        "sin": context.sin,
        "cos": context.cos,
        "atan": context.atan,
        "asinh": context.asinh,
        "sinh": context.sinh,
        "cosh": context.cosh,
        "tanh": context.tanh,
        "erf": context.erf,
        "erfc": context.erfc,
        "Logistic": lambda u: 1 / (1 + context.exp(-u)),
        "Softplus": lambda u: context.log1p(context.exp(-abs(u))) + max(u, 0),
        "LogCosh": lambda u: abs(u) + context.log1p(context.expm1(-2 * abs(u)) / 2),
        "Gaussian": lambda u: context.exp(-u * u / 2),
        # mpmath's erfc fails beyond 1e154; at 1e100 it is already 1e-(10^199).
        "NormalDistribution": lambda u: context.erfc(-min(max(u, -1e100), 1e100) / context.sqrt(2)) / 2,
        "constant": lambda number: constant(number, context),
    }


def constant(number: sympy.Expr, context: Any) -> Any:
    """An expression without free symbols, to the working precision."""
    if isinstance(number, sympy.Rational):
        return context.mpf(number.p) / number.q
    return context.mpf(str(sympy.N(number, context.dps + 10)))
