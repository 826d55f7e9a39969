"""The registry: the formula of every activation function that has a name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

SOFTPLUS_THRESHOLD = 40.0
"""Beyond it log(1 + exp(u)) is u in float64; torch's default of 20 leaves an error of 1e-10."""


@dataclass(frozen=True)
class Parameter:
    default: float
    allowed: str
    is_allowed: Callable[[float], bool]


@dataclass(frozen=True)
class Definition:
    """`formula(sympy, x, **parameters, **constants)`; `module(torch.nn, **parameters)`, None where torch has none."""

    formula: Callable[..., Any]
    module: Callable[..., Any] | None
    parameters: Mapping[str, Parameter]
    constants: Mapping[str, str]


def _define(
    formula: Callable[..., Any],
    module: Callable[..., Any] | None,
    parameters: Mapping[str, Parameter] = MappingProxyType({}),
    constants: Mapping[str, str] = MappingProxyType({}),
) -> Definition:
    return Definition(formula, module, parameters, constants)


def _softplus_module(nn: Any) -> Any:
    return nn.Softplus(threshold=SOFTPLUS_THRESHOLD)


_ALPHA = Parameter(1.0, "a finite number > 0", lambda alpha: alpha > 0)
_SLOPE = Parameter(0.01, "a finite number >= 0", lambda slope: slope >= 0)
_ANY_SLOPE = Parameter(0.25, "a finite number", lambda slope: True)
_SELU_CONSTANTS = {"alpha": "1.6732632423543772848170429916717", "lambda": "1.0507009873554804934193349852946"}


DEFINITIONS: Mapping[str, Definition] = MappingProxyType(
    {
        "identity": _define(lambda sp, x: x, lambda nn: nn.Identity()),
        "relu": _define(lambda sp, x: sp.Piecewise((x, x > 0), (0, True)), lambda nn: nn.ReLU()),
        "leaky_relu": _define(
            lambda sp, x, negative_slope: sp.Piecewise((x, x > 0), (negative_slope * x, True)),
            lambda nn, negative_slope: nn.LeakyReLU(negative_slope),
            {"negative_slope": _SLOPE},
        ),
        "shifted_relu": _define(
            lambda sp, x: sp.Piecewise((x, x > -1), (-1, True)), lambda nn: nn.Threshold(-1.0, -1.0)
        ),
        "elu": _define(
            lambda sp, x, alpha: sp.Piecewise((x, x > 0), (alpha * (sp.exp(x) - 1), True)),
            lambda nn, alpha: nn.ELU(alpha),
            {"alpha": _ALPHA},
        ),
        "celu": _define(
            lambda sp, x, alpha: sp.Piecewise((x, x > 0), (alpha * (sp.exp(x / alpha) - 1), True)),
            lambda nn, alpha: nn.CELU(alpha),
            {"alpha": _ALPHA},
        ),
        "selu": _define(
            lambda sp, x, **constants: sp.Piecewise(
                (constants["lambda"] * x, x > 0), (constants["lambda"] * constants["alpha"] * (sp.exp(x) - 1), True)
            ),
            lambda nn: nn.SELU(),
            constants=_SELU_CONSTANTS,
        ),
        "hard_tanh": _define(
            lambda sp, x: sp.Piecewise((-1, x <= -1), (1, x >= 1), (x, True)), lambda nn: nn.Hardtanh()
        ),
        "relu6": _define(lambda sp, x: sp.Piecewise((0, x <= 0), (6, x >= 6), (x, True)), lambda nn: nn.ReLU6()),
        "tanh": _define(lambda sp, x: sp.tanh(x), lambda nn: nn.Tanh()),
        "logistic": _define(lambda sp, x: 1 / (1 + sp.exp(-x)), lambda nn: nn.Sigmoid()),
        "softplus": _define(lambda sp, x: sp.log(1 + sp.exp(x)), _softplus_module),
        "gelu": _define(lambda sp, x: x * (1 + sp.erf(x / sp.sqrt(2))) / 2, lambda nn: nn.GELU(approximate="none")),
        "silu": _define(lambda sp, x: x / (1 + sp.exp(-x)), lambda nn: nn.SiLU()),
        "prelu": _define(
            lambda sp, x, negative_slope: sp.Piecewise((x, x > 0), (negative_slope * x, True)),
            lambda nn, negative_slope: nn.PReLU(init=negative_slope),
            {"negative_slope": _ANY_SLOPE},
        ),
        "squared_relu": _define(lambda sp, x: sp.Piecewise((x**2, x > 0), (0, True)), None),
        "hard_sigmoid": _define(
            lambda sp, x: sp.Piecewise((0, x <= -3), (1, x >= 3), ((x + 3) / 6, True)), lambda nn: nn.Hardsigmoid()
        ),
        "hard_swish": _define(
            lambda sp, x: sp.Piecewise((0, x <= -3), (x, x >= 3), (x * (x + 3) / 6, True)), lambda nn: nn.Hardswish()
        ),
        "gelu_tanh": _define(
            lambda sp, x, beta: x * (1 + sp.tanh(sp.sqrt(2 / sp.pi) * (x + beta * x**3))) / 2,
            lambda nn: nn.GELU(approximate="tanh"),
            constants={"beta": "0.044715"},
        ),
        "quick_gelu": _define(lambda sp, x, beta: x / (1 + sp.exp(-beta * x)), None, constants={"beta": "1.702"}),
        "mish": _define(lambda sp, x: x * sp.tanh(sp.log(1 + sp.exp(x))), lambda nn: nn.Mish()),
        "erf": _define(lambda sp, x: sp.erf(x), None),
        "sin": _define(lambda sp, x: sp.sin(x), None),
        "cos": _define(lambda sp, x: sp.cos(x), None),
    }
)

OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "linear": "identity",
        "leakyrelu": "leaky_relu",
        "parametric_relu": "prelu",
        "relu2": "squared_relu",
        "relu_squared": "squared_relu",
        "hardtanh": "hard_tanh",
        "hardsigmoid": "hard_sigmoid",
        "hardswish": "hard_swish",
        "sigmoid": "logistic",
        "swish": "silu",
        "gelu_new": "gelu_tanh",
        "gelu_fast": "gelu_tanh",
        "gelu_pytorch_tanh": "gelu_tanh",
        "quickgelu": "quick_gelu",
        "sine": "sin",
        "cosine": "cos",
    }
)
"""What else the registry's functions are called, in torch, Keras and transformers; each is understood."""
