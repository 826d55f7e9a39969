"""A named initialisation applied to a torch model: `initialise`."""

import math
from typing import Any

import torch
from torch import nn

from elutheory.activations.activation_function import Activation, as_activation
from elutheory.errors import InputError
from elutheory.models.plain_networks import plain_layers
from elutheory.propagation.initialisations import INITIALISATIONS, Initialisation, initialisation

_OTHERS = ("xavier", "torch")
_OF_ACTIVATION = ("variance_preserving", "critical")
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@torch.no_grad()
def initialise(
    model: nn.Module,
    name: str,
    activation: Any = None,
    *,
    second_moment: float = 1.0,
    seed: int | None = None,
) -> nn.Module:
    """Draws the weights and biases of every `Linear` and `Conv1d/2d/3d` anew, in place; returns the model.

    - `name`: those of `elutheory.initialisation` (`he`, `lecun`, `variance_preserving`, `critical`), from normal
      distributions of variance σ_w²/fan_in and σ_b²; `xavier`: uniform, of variance 2/(fan_in + fan_out), biases 0;
      `torch`: uniform in ±1/√fan_in, what torch itself draws;
    - `activation`: what the layers' net inputs go through, by name, as an `Activation` or a module, for
      `variance_preserving` and `critical`. None: read off the model, a sequence of `Linear` layers with an activation
      function behind each but the last; the last then has σ_w² = 1 and no biases;
    - `second_moment`: that of the net inputs, kept from layer to layer;
    - `seed`: the same on every device; None: torch's own random numbers.

    Layers of other kinds, as normalisations, stay as they are. Raises InputError for an unknown name, a model without
    such layers, parametrised or uninitialised ones, and an activation that has no such initialisation.

    >>> import elutheory as et
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(20, 500), nn.ELU(), nn.Linear(500, 10))
    >>> fresh = et.initialise(model, "critical", seed=0)
    >>> bool(abs(20 * fresh[0].weight.var() / et.initialisation("critical", "elu").weight_variance - 1) < 0.1)
    True
    """
    if name not in (*INITIALISATIONS, *_OTHERS):
        raise InputError(f"unknown initialisation {name!r}; known are {', '.join((*INITIALISATIONS, *_OTHERS))}.")
    layers = {path: module for path, module in model.named_modules() if isinstance(module, _LAYERS)}
    if not layers:
        raise InputError("the model has no Linear or Conv1d, Conv2d, Conv3d layer to initialise.")
    for path, module in layers.items():
        if not isinstance(module._parameters.get("weight"), nn.Parameter):
            raise InputError(f"layer {path!r} computes its weight from other parameters; remove the parametrisation.")
        if isinstance(module.weight, nn.parameter.UninitializedParameter):
            raise InputError(f"layer {path!r} has no values yet; run the model once first.")
    drawn = {path: _variances(name, path, model, activation, second_moment) for path in layers}
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for path, module in layers.items():
        _draw(module, name, drawn[path], generator)
    return model


def _variances(name: str, path: str, model: nn.Module, activation: Any, second_moment: float) -> Initialisation | None:
    """None for the two that need none."""
    if name in _OTHERS:
        return None
    if name not in _OF_ACTIVATION:
        return initialisation(name, "relu")
    if activation is not None:
        return initialisation(name, as_activation(activation), second_moment)
    functions: dict[str, Activation] = {layer.name: layer.activation for layer in plain_layers(model)}
    if path not in functions:
        return Initialisation(name, 1.0, 0.0)
    return initialisation(name, functions[path], second_moment)


def _draw(module: Any, name: str, found: Initialisation | None, generator: torch.Generator | None) -> None:
    """On the CPU, so that a seed gives the same numbers on every device."""
    fan_in = module.weight[0].numel()
    fan_out = module.weight.numel() // module.weight.shape[1]
    for parameter, is_bias in ((module.weight, False), (module.bias, True)):
        if parameter is None:
            continue
        values = torch.zeros(parameter.shape, dtype=parameter.dtype)
        if found is not None:
            variance = found.bias_variance if is_bias else found.weight_variance / fan_in
            values.normal_(0.0, math.sqrt(variance), generator=generator)
        elif name == "torch":
            values.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
        elif not is_bias:
            bound = math.sqrt(6 / (fan_in + fan_out))
            values.uniform_(-bound, bound, generator=generator)
        parameter.copy_(values)
