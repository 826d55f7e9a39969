"""The operations on numpy arrays."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy import special

from elutheory.activations.operations.composed import composed_gaussian, composed_normal_distribution, log_cosh_far

_gaussian = composed_gaussian(np.exp, np.floor, lambda u: np.clip(u, -64.0, 64.0))


def _log_cosh(u: Any) -> Any:
    u = np.asarray(u)
    result = np.asarray(log_cosh_far(u, np))
    near = np.abs(u) < 1.0
    if near.any():
        result[near] = np.log1p(2.0 * np.sinh(0.5 * u[near]) ** 2)
    return result


OPERATIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "power": np.power,
        "divide": np.true_divide,
        "exp": np.exp,
        "Expm1": np.expm1,
        "log": np.log,
        "Log1p": np.log1p,
        "sqrt": np.sqrt,
        "sin": np.sin,
        "cos": np.cos,
        "atan": np.arctan,
        "asinh": np.arcsinh,
        "sinh": np.sinh,
        "cosh": np.cosh,
        "tanh": np.tanh,
        "erf": special.erf,
        "erfc": special.erfc,
        "Logistic": special.expit,
        "Softplus": lambda u: np.log1p(np.exp(-np.abs(u))) + np.maximum(u, 0.0),
        "LogCosh": _log_cosh,
        "Gaussian": _gaussian,
        "NormalDistribution": composed_normal_distribution(np.where, special.erfcx, _gaussian),
        "where": np.where,
        "at_least": np.maximum,
        "at_most": np.minimum,
    }
)
