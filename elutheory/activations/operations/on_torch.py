"""The operations on torch tensors, differentiable."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch

from elutheory.activations.definitions import SOFTPLUS_THRESHOLD
from elutheory.activations.operations.composed import composed_gaussian, composed_normal_distribution, log_cosh_far

_gaussian = composed_gaussian(torch.exp, torch.floor, lambda u: u.clamp(-64.0, 64.0))

OPERATIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "power": torch.pow,
        "divide": lambda a, b: a / b,
        "exp": torch.exp,
        "Expm1": torch.expm1,
        "log": torch.log,
        "Log1p": torch.log1p,
        "sqrt": torch.sqrt,
        "sin": torch.sin,
        "cos": torch.cos,
        "atan": torch.atan,
        "asinh": torch.asinh,
        "sinh": torch.sinh,
        "cosh": torch.cosh,
        "tanh": torch.tanh,
        "erf": torch.erf,
        "erfc": torch.erfc,
        "Logistic": torch.sigmoid,
        "Softplus": lambda u: torch.nn.functional.softplus(u, threshold=SOFTPLUS_THRESHOLD),
        "LogCosh": lambda u: torch.where(
            u.abs() < 1.0, torch.log1p(2.0 * torch.sinh(0.5 * u.clamp(-1.0, 1.0)) ** 2), log_cosh_far(u, torch)
        ),
        "Gaussian": _gaussian,
        "NormalDistribution": composed_normal_distribution(torch.where, torch.special.erfcx, _gaussian),
        "where": torch.where,
        "at_least": lambda x, bound: x.clamp(min=bound),
        "at_most": lambda x, bound: x.clamp(max=bound),
    }
)
