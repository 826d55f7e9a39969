"""Fully connected networks as the theory has them, read off a torch model: layers, activation functions, variances."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elutheory.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from elutheory.activations.activation_function import Activation


@dataclass(frozen=True)
class PlainLayer:
    """A hidden layer: `weight_variance` is fan_in × the mean square of its weights, `bias_variance` that of biases."""

    name: str
    module: "nn.Linear"
    activation: "Activation"
    weight_variance: float
    bias_variance: float

    @property
    def width(self) -> int:
        """Its units."""
        return self.module.out_features

    @property
    def fan_in(self) -> int:
        """Its incoming activations."""
        return self.module.in_features


def is_network(value: Any) -> bool:
    """Whether it is a torch module with parameters that is no activation function: a network."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.nn.Module):
        return False
    # torch is loaded already where there is a module
    from elutheory.activations.recognition import is_activation  # noqa: PLC0415

    return not is_activation(value)


def plain_layers(model: "nn.Module") -> list[PlainLayer]:
    """The hidden layers of a sequence of `Linear` layers, each but the last with an activation function behind it.

    Flattening, identities and dropout in evaluation mode are passed over. Raises InputError for anything else, named.
    """
    from torch import nn  # noqa: PLC0415

    from elutheory.activations.recognition import is_activation, recognised_activation  # noqa: PLC0415
    from elutheory.models.layers import DROPOUT  # noqa: PLC0415

    found: list[PlainLayer] = []
    waiting: tuple[str, nn.Linear] | None = None
    for name, module in _in_order(model, ""):
        if isinstance(module, nn.Flatten | nn.Identity) or (isinstance(module, DROPOUT) and not module.training):
            continue
        if type(module) is nn.Linear:
            if waiting is not None:
                raise InputError(f"layer {waiting[0]!r} has no activation function behind it, but layer {name!r}.")
            waiting = name, module
        elif is_activation(module) and waiting is not None:
            function = recognised_activation(module)
            if function is None:
                raise InputError(f"module {name!r}, a {type(module).__name__}, applies no activation that is known.")
            weight, bias = waiting[1].weight.detach().double(), waiting[1].bias
            of_bias = 0.0 if bias is None else float(bias.detach().double().square().mean())
            variance = weight.shape[1] * float(weight.square().mean())
            found.append(PlainLayer(waiting[0], waiting[1], function, variance, of_bias))
            waiting = None
        else:
            raise InputError(
                f"module {name!r} is a {type(module).__name__}; theory predicts sequences of Linear layers, each with "
                "an activation function behind it."
            )
    if not found:
        raise InputError("the model has no Linear layer with an activation function behind it.")
    return found


def _in_order(model: "nn.Module", name: str) -> "Iterator[tuple[str, nn.Module]]":
    """The modules of nested `Sequential`s; anything else as it is."""
    from torch import nn  # noqa: PLC0415

    if type(model) is not nn.Sequential:
        yield name, model
        return
    for key, child in model.named_children():
        yield from _in_order(child, f"{name}.{key}" if name else key)
