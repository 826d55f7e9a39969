"""Why a layer or a whole model cannot be studied: compiled, scripted, parallel, in training mode, weights of a kind."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from elutheory.errors import InputError
from elutheory.models.layers import (
    BATCH_NORM,
    DROPOUT,
    INSTANCE_NORM,
    KINDS_OF_LAYER,
    PARAMETRISED,
    UnitWeights,
    own_parameters,
)

_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def refusal_of_layer(
    model: nn.Module, name: str, layer: nn.Module, dtypes: Sequence[torch.dtype] = (torch.float32, torch.float64)
) -> str | None:
    """Why the layer's scores cannot be had, in one sentence, as far as can be told before a forward pass; else None.

    `dtypes`: those that its weights may have.
    """
    base = next(kind for kind in KINDS_OF_LAYER if isinstance(layer, kind))
    if nn.utils.parametrize.is_parametrized(layer) or not {"weight", "bias"} <= layer._parameters.keys():
        return f"layer {name!r} {PARAMETRISED}"
    if type(layer).forward is not base.forward:
        return (
            f"layer {name!r} is a {type(layer).__name__} with a forward pass of its own; {base.__name__}'s is needed."
        )
    weight = cast(nn.Parameter, layer._parameters["weight"])
    if weight.dtype not in dtypes:
        return f"layer {name!r} has weights of {weight.dtype}; {' or '.join(map(str, dtypes))} is needed."
    own = {id(parameter): key for key, parameter in own_parameters(layer).items()}
    for other_name, other in model.named_modules():
        if other is layer:
            continue
        for key, parameter in other._parameters.items():
            if id(parameter) in own:
                return (
                    f"layer {name!r} shares its {own[id(parameter)]} with {other_name!r} ({type(other).__name__} "
                    f"{key}); the score of a weight tied between modules is not available, so untie them."
                )
    return None


def refusal_of_weights(
    name: str, layer: UnitWeights, dtypes: Sequence[torch.dtype] = (torch.float32, torch.float64)
) -> str | None:
    """Why a layer's scores cannot be had, in one sentence, as far as can be told before a forward pass; else None."""
    if layer.weight.dtype not in dtypes:
        return f"layer {name!r} has weights of {layer.weight.dtype}; {' or '.join(map(str, dtypes))} is needed."
    return None


def check_observable(model: nn.Module) -> None:
    """Raise InputError for a model whose forward pass hooks cannot see: compiled, scripted, or spread over devices."""
    for name, module in model.named_modules():
        described = f"{type(module).__name__} {name!r}" if name else f"the {type(module).__name__}"
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(f"{described} is a TorchScript module; pass the model as it was before.")
        if hasattr(module, "_orig_mod"):
            raise InputError(f"{described} is compiled by torch.compile, where hooks see nothing; pass its ._orig_mod.")
        if module._compiled_call_impl is not None:
            raise InputError(f"{described} is compiled in place, where hooks see nothing; do not call its compile().")
        if isinstance(module, _PARALLEL):
            raise InputError(f"{described} spreads a model over devices or processes; pass its .module.")


def check_model(model: nn.Module) -> None:
    """Raise InputError for a model that `check_observable` refuses, one in which examples are random or influence one
    another as far as its modules tell, and one whose parameters have no values."""
    check_observable(model)
    for name, module in model.named_modules():
        described = f"{type(module).__name__} {name!r}"
        if _is_random(module):
            raise InputError(
                f"{described} is in training mode, where the output for an example is random or depends on its batch; "
                "call model.eval() first."
            )
        if isinstance(module, BATCH_NORM) and module.running_mean is None:
            raise InputError(f"{described} keeps no running statistics, so that examples influence one another.")
    check_parameters(model)


def check_parameters(model: nn.Module) -> None:
    """Raise InputError for a model whose parameters have no values, or none that gradients can reach."""
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise InputError(f"parameter {name!r} has no values yet; run the model once first.")
        if parameter.is_meta:
            raise InputError(f"parameter {name!r} is on the meta device, without values; move the model to a real one.")
        if parameter.is_inference():
            raise InputError(f"parameter {name!r} was made in inference mode; make the model outside of it.")


def _is_random(module: nn.Module) -> bool:
    """Whether the module's output is random, or depends on the rest of the batch, or the call changes its state."""
    if not module.training:
        return False
    if isinstance(module, DROPOUT):
        return module.p > 0
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return module.dropout > 0
    if isinstance(module, INSTANCE_NORM):
        return module.track_running_stats
    return isinstance(module, (*BATCH_NORM, nn.RReLU))
