"""Which activation function a torch module applies: told by its class, or by what it does to eighteen numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from elutheory.activations.activation_function import Activation, activation, activation_names
from elutheory.activations.torch_module import ActivationModule
from elutheory.errors import InputError

ACTIVATIONS = (
    ActivationModule,
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.GLU,
    nn.Hardshrink,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.PReLU,
    nn.RReLU,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softshrink,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
    nn.Threshold,
)
"""Modules that count as activation functions; of other libraries', those that `recognised_activation` knows."""

_WITHOUT_PARAMETERS = {
    nn.ReLU: "relu",
    nn.SELU: "selu",
    nn.SiLU: "silu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "logistic",
    nn.Mish: "mish",
    nn.Hardsigmoid: "hard_sigmoid",
    nn.Hardswish: "hard_swish",
}
_PROBE = (-30.0, -6.0, -3.0, -1.7, -1.0, -0.6, -0.3, -0.1, 0.0, 0.1, 0.3, 0.6, 1.0, 1.7, 3.0, 5.5, 7.0, 30.0)
_FOUND_BY_VALUE = tuple(name for name in activation_names() if name not in ("identity", "prelu"))
"""Each with its default parameters. The identity is no activation function here, a PReLU without slopes of its own to
learn is a leaky ReLU, and CELU is ELU first."""


def is_activation(module: nn.Module) -> bool:
    """Whether the module counts as an activation function (see ACTIVATIONS).

    Another library's module is tried at 18 points only if it is a leaf without parameters and buffers.
    """
    if isinstance(module, ACTIVATIONS):
        return True
    if type(module).__module__.startswith("torch.") or any(True for _ in module.children()):
        return False
    if any(True for _ in module.parameters()) or any(True for _ in module.buffers()):
        return False
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        return recognised_activation(module) is not None


def recognised_activation(module: nn.Module, device: torch.device | None = None) -> Activation | None:
    """The registered activation function that the module applies, with its parameters; None if there is none.

    torch's own modules are told by their class, nn.PReLU by its slope where all channels share one; others by their
    values at 18 points of [−30, 30], as are activation functions of other libraries. `device`: where the module
    computes; None: on the CPU.
    """
    if isinstance(module, ActivationModule):
        return module.activation if isinstance(module.activation, Activation) else None
    parameters = {
        nn.ELU: ("elu", {"alpha": "alpha"}),
        nn.CELU: ("celu", {"alpha": "alpha"}),
        nn.LeakyReLU: ("leaky_relu", {"negative_slope": "negative_slope"}),
    }
    if type(module) in parameters:
        name, keys = parameters[type(module)]
        values = {key: getattr(module, attribute) for key, attribute in keys.items()}
        allowed = values.get("alpha", 1.0) > 0 and values.get("negative_slope", 0.0) >= 0
        return activation(name, **values) if allowed else None
    if type(module) is nn.PReLU:
        return activation("prelu", negative_slope=module.weight.item()) if module.weight.numel() == 1 else None
    if type(module) in _WITHOUT_PARAMETERS:
        return activation(_WITHOUT_PARAMETERS[type(module)])
    return _found_by_value(module, [activation(name) for name in _FOUND_BY_VALUE], device)


def activation_of_module(module: nn.Module) -> Activation:
    """The registered activation function that the module applies. Raises InputError where there is none."""
    if isinstance(module, nn.Identity):
        return activation("identity")
    if isinstance(module, nn.PReLU) and module.weight.numel() > 1:
        raise InputError(
            f"a PReLU with {module.weight.numel()} slopes is as many activation functions; take one of them, as in "
            "activation('prelu', negative_slope=...)."
        )
    found = recognised_activation(module)
    if found is None:
        raise InputError(
            f"{module} applies no activation function of the registry, with the parameters that it has; give it as an "
            "expression by Activation.from_text."
        )
    return found


def flat_values(module: nn.Module) -> tuple[float, ...] | None:
    """What an activation module returns where its slope, as torch computes it, is 0; None if that is not known.

    Of a PReLU with some slopes 0 it is known of these channels alone, so it is None. Saturated `Tanh` and `Sigmoid`
    count: their gradients are computed from outputs that round to their limits.
    """
    known: dict[type[nn.Module], Callable[[Any], tuple[float, ...]]] = {
        nn.Tanh: lambda _: (-1.0, 1.0),
        nn.Sigmoid: lambda _: (0.0, 1.0),
        nn.Hardtanh: lambda own: (own.min_val, own.max_val),
        nn.ReLU6: lambda _: (0.0, 6.0),
        nn.Hardsigmoid: lambda _: (0.0, 1.0),
        nn.Hardswish: lambda _: (0.0,),
        nn.Hardshrink: lambda _: (0.0,),
        nn.Softshrink: lambda _: (0.0,),
        nn.Threshold: lambda own: (own.value,),
        nn.LeakyReLU: lambda own: (0.0,) if own.negative_slope == 0 else (),
        **dict.fromkeys((nn.GELU, nn.Mish, nn.Softplus, nn.LogSigmoid, nn.Softsign, nn.Tanhshrink, nn.SiLU), _nowhere),
    }
    if isinstance(module, nn.PReLU) and module.weight.numel() > 1:
        zero = module.weight == 0
        return None if zero.any() and not zero.all() else (0.0,) if zero.all() else ()
    if type(module) in known:
        return known[type(module)](module)
    function = recognised_activation(module) if is_activation(module) else None
    if function is None:
        return None
    return tuple(float(piece.expression) for piece in function.pieces if not piece.expression.free_symbols)


def _nowhere(_module: Any) -> tuple[float, ...]:
    return ()


def _found_by_value(
    module: nn.Module, candidates: Sequence[Activation], device: torch.device | None
) -> Activation | None:
    points = torch.tensor(_PROBE, dtype=torch.float64, device=device)
    try:
        with torch.no_grad():
            values = module.forward(points.clone())  # not called: hooks that ask what it applies would ask again
            reversed_values = module.forward(points.flip(0))
    except Exception:  # whatever a third party's module raises on a vector: it is no activation function
        return None
    if not isinstance(values, Tensor) or values.shape != points.shape or not isinstance(reversed_values, Tensor):
        return None
    if not torch.equal(values, reversed_values.flip(0)):
        return None
    points, values = points.cpu(), values.cpu().double()
    for candidate in candidates:
        if torch.allclose(values, candidate(points), rtol=1e-6, atol=1e-9):
            return candidate
    return None
