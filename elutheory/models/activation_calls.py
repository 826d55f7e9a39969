"""Activation functions that a model calls without a module: which module does the same, and what gates are called."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from elutheory.activations.recognition import recognised_activation


def _same_slopes(weight: Tensor) -> nn.PReLU:
    module = nn.PReLU(weight.numel())
    module.weight = weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight.detach())
    return module


def _clamped(min: Any = None, max: Any = None) -> nn.Module | None:
    """ReLU, ReLU6 and the hard tanh, written as a clamp; any other clamp is no activation function."""
    known = {(0, None): nn.ReLU, (0, 6): nn.ReLU6, (-1, 1): nn.Hardtanh}
    if not all(value is None or isinstance(value, int | float) for value in (min, max)) or (min, max) not in known:
        return None
    return known[min, max]()


_MODULES: Mapping[str, tuple[Callable[..., nn.Module | None], str]] = {
    "relu": (nn.ReLU, ""),
    "relu6": (nn.ReLU6, ""),
    "elu": (nn.ELU, "alpha"),
    "celu": (nn.CELU, "alpha"),
    "selu": (nn.SELU, ""),
    "gelu": (nn.GELU, "approximate"),
    "silu": (nn.SiLU, ""),
    "mish": (nn.Mish, ""),
    "tanh": (nn.Tanh, ""),
    "sigmoid": (nn.Sigmoid, ""),
    "special_expit": (nn.Sigmoid, ""),
    "hardswish": (nn.Hardswish, ""),
    "hardsigmoid": (nn.Hardsigmoid, ""),
    "hardtanh": (nn.Hardtanh, "min_val max_val"),
    "leaky_relu": (nn.LeakyReLU, "negative_slope"),
    "prelu": (_same_slopes, "weight"),
    "rrelu": (nn.RReLU, "lower upper"),
    "logsigmoid": (nn.LogSigmoid, ""),
    "softplus": (nn.Softplus, "beta threshold"),
    "softsign": (nn.Softsign, ""),
    "tanhshrink": (nn.Tanhshrink, ""),
    "hardshrink": (nn.Hardshrink, "lambd"),
    "softshrink": (nn.Softshrink, "lambd"),
    "threshold": (nn.Threshold, "threshold value"),
    "glu": (nn.GLU, "dim"),
    "clamp": (_clamped, "min max"),
    "clip": (_clamped, "min max"),
    "clamp_min": (_clamped, "min"),
}
"""torch's functions (without a trailing underscore), the module of each, and the arguments that both take."""

_OF_LAYERS_ALONE = ("clamp", "clip", "clamp_min")
"""They count as activation functions only of what a layer returns."""

_GATES = {
    "logistic": "GLU",
    "silu": "SwiGLU",
    "gelu": "GEGLU",
    "gelu_tanh": "GEGLU",
    "quick_gelu": "GEGLU",
    "relu": "ReGLU",
}
"""What a product of an activation function's values with those of other units is called (Shazeer 2020)."""


def is_activation_function(name: str, of_a_layer: bool) -> bool:
    """Whether torch's function of this name counts as an activation function; `of_a_layer`: a layer feeds it."""
    return name in _MODULES and (of_a_layer or name not in _OF_LAYERS_ALONE)


def module_of_call(name: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> nn.Module | None:
    """A module that does what this call of torch's function does to its first argument; None: none is known.

    `arguments` are those after the first.
    """
    make, names = _MODULES[name]
    by_name = {key: keywords[key] for key in names.split() if key in keywords}
    given = dict(zip(names.split(), arguments, strict=False)) | by_name
    if any(isinstance(value, Tensor) for key, value in given.items() if key != "weight"):
        return None
    return make(**given)


def key_of_call(name: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> tuple[Any, ...]:
    """Equal for calls that one module stands for."""
    values = (*arguments, *(keywords[key] for key in sorted(keywords)))
    return name, *(id(value) if isinstance(value, Tensor) else repr(value) for value in values)


def gate_name(functions: tuple[str, ...]) -> str:
    """What a product with values of these activation functions (of one factor or of both) is called."""
    if set(functions) == {"tanh", "logistic"}:
        return "GTU"
    return _GATES.get(functions[0], f"{functions[0]} gate") if len(functions) == 1 else " × ".join(functions)


def name_of_function(module: nn.Module) -> str:
    """The registry's name of the activation function that the module applies, else that of its class."""
    function = recognised_activation(module)
    return type(module).__name__ if function is None else function.name
