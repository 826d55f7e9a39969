"""ln f' of an activation, written so that it neither underflows nor loses digits where f' = 1."""

from functools import lru_cache
from typing import Any

import sympy

from elutheory.activations.activation_function import Activation
from elutheory.activations.evaluation import NumericFunction
from elutheory.activations.pieces import Piece
from elutheory.activations.stable_forms import Gaussian, LogCosh, Logistic, NormalDistribution, Softplus, stable


@lru_cache(maxsize=256)
def log_slope(activation: Activation) -> Any:
    """ln f' as a function that does not underflow; −inf where a piece of f is constant; nan if unknown.

    Known are derivatives that are products of exponentials, logistic and normal distribution functions.
    """
    if any(sympy.diff(piece.expression, activation.symbol).is_zero for piece in activation.pieces):
        return float("-inf")
    logarithms = [
        _log_of_product(stable(sympy.diff(stable(piece.expression), activation.symbol))) for piece in activation.pieces
    ]
    if None in logarithms:
        return float("nan")
    pieces = tuple(
        Piece(piece.lower, piece.upper, logarithm, piece.lower_closed, piece.upper_closed)
        for piece, logarithm in zip(activation.pieces, logarithms, strict=True)
    )
    return NumericFunction(pieces, activation.symbol, 0)


def _base_and_exponent(factor: Any) -> tuple[Any, Any]:
    return (factor, sympy.Integer(1)) if isinstance(factor, sympy.exp) else factor.as_base_exp()


def _log_of_product(slope: Any) -> Any:
    total: Any = sympy.Integer(0)
    coefficient: Any = sympy.Integer(1)  # one logarithm for all: log(4) − 2 log(2) would be a rounding, not 0
    logistic: dict[Any, Any] = {}
    for factor in sympy.Mul.make_args(slope):
        base, exponent = _base_and_exponent(factor)
        if not factor.free_symbols and factor.is_positive:
            coefficient *= factor
        elif isinstance(base, sympy.exp):
            total += base.args[0] * exponent
        elif isinstance(base, Logistic):
            logistic[base.argument] = exponent
        elif isinstance(base, Gaussian):
            total -= base.argument**2 / 2 * exponent
        elif isinstance(base, NormalDistribution):
            total += sympy.log(base) * exponent
        else:
            return None
    for u, exponent in logistic.items():
        if logistic.get(-u) != exponent:
            total -= Softplus(-u) * exponent
        elif not u.could_extract_minus_sign():
            # logistic(u) logistic(−u) = 1 / (2 cosh(u/2))², whose logarithm keeps its digits at u = 0
            total -= 2 * exponent * LogCosh(u / 2)
            coefficient /= 4**exponent
    return total + sympy.log(coefficient)
