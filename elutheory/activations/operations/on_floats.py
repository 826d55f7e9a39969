"""The operations on Python's floats: IEEE results where Python raises."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from elutheory.activations.operations.composed import composed_gaussian, composed_normal_distribution, log_cosh_far


def _or_infinite(function: Callable[..., float]) -> Callable[..., float]:
    """`function` with IEEE results where Python raises: overflow is inf, a domain error nan."""

    def total(*arguments: Any) -> float:
        try:
            result = function(*arguments)
        except OverflowError:
            # A power of a negative base overflows to the sign of the base; sinh to that of its argument.
            odd = function is math.sinh or (len(arguments) == 2 and arguments[1] % 2 == 1)
            return math.copysign(math.inf, arguments[0]) if odd else math.inf
        except (ValueError, ZeroDivisionError):
            return math.nan
        return math.nan if isinstance(result, complex) else result

    return total


def _float_divide(a: float, b: float) -> float:
    if b != 0.0:
        return a / b
    return math.nan if a == 0.0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


def _float_logistic(u: float) -> float:
    if u >= 0.0:
        return 1.0 / (1.0 + math.exp(-u))
    return math.exp(u) / (1.0 + math.exp(u))


def _clip(u: float) -> float:
    return u if math.isnan(u) else min(max(u, -64.0), 64.0)


def _erfcx(u: float) -> float:
    # a float's ELU must not load scipy, which only GELU needs
    from scipy.special import erfcx  # noqa: PLC0415

    return float(erfcx(u))


def _where(condition: bool, a: float, b: float) -> float:
    return a if condition else b


_gaussian = composed_gaussian(math.exp, lambda u: u if math.isnan(u) else math.floor(u), _clip)

OPERATIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "power": _or_infinite(lambda base, exponent: base**exponent),
        "divide": _float_divide,
        "exp": _or_infinite(math.exp),
        "Expm1": _or_infinite(math.expm1),
        "log": lambda u: -math.inf if u == 0.0 else _or_infinite(math.log)(u),
        "Log1p": lambda u: -math.inf if u == -1.0 else _or_infinite(math.log1p)(u),
        "sqrt": _or_infinite(math.sqrt),
        "sin": _or_infinite(math.sin),
        "cos": _or_infinite(math.cos),
        "atan": math.atan,
        "asinh": math.asinh,
        "sinh": _or_infinite(math.sinh),
        "cosh": _or_infinite(math.cosh),
        "tanh": math.tanh,
        "erf": math.erf,
        "erfc": math.erfc,
        "Logistic": _float_logistic,
        "Softplus": lambda u: math.log1p(math.exp(-abs(u))) + max(u, 0.0) if u == u else u,
        "LogCosh": lambda u: math.log1p(2.0 * math.sinh(0.5 * u) ** 2) if abs(u) < 1.0 else log_cosh_far(u, math),
        "Gaussian": _gaussian,
        "NormalDistribution": composed_normal_distribution(_where, _erfcx, _gaussian),
    }
)
