"""The layers of a torch model whose units can be studied, and along which axis of their outputs the units lie."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from elutheory.errors import InputError

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
WeightLayer = nn.Linear | Convolution
KINDS_OF_LAYER = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
INSTANCE_NORM = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
PASSED_THROUGH = (nn.Identity, *DROPOUT, *BATCH_NORM, *INSTANCE_NORM, nn.GroupNorm, nn.LayerNorm)
"""Modules that are no activation functions, though they have no parameters or keep every unit in its place."""

_WITH_A_WEIGHT = (
    nn.Linear,
    nn.Bilinear,
    nn.Embedding,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
PARAMETRISED = (
    "computes its weight or bias from other parameters (a parametrisation such as weight or spectral norm), not "
    "linearly in them; remove it first, which keeps the effective weight."
)

# Counted from the end, so that an example without a batch axis has its units in the right place too.
_UNIT_AXES = {
    nn.Linear: -1,
    nn.Bilinear: -1,
    nn.Conv1d: -2,
    nn.ConvTranspose1d: -2,
    nn.Conv2d: -3,
    nn.ConvTranspose2d: -3,
    nn.Conv3d: -4,
    nn.ConvTranspose3d: -4,
    nn.RNNBase: -1,
    nn.RNNCellBase: -1,
    nn.MultiheadAttention: -1,
    nn.Embedding: -1,
    nn.EmbeddingBag: -1,
}


@dataclass(frozen=True, eq=False)
class UnitWeights:
    """The weights of a layer's units, wherever in a model they are kept.

    - `module`: the module that they belong to; `kind`: its class, of torch.nn's subclasses torch.nn's;
    - `weight`, `bias`: the parameters; `bias` None: there is none that is known beforehand;
    - `rows`: those of the weight's first axis, where several layers share one parameter (the queries, keys and values
      of attention).
    """

    module: nn.Module
    kind: str
    weight: nn.Parameter
    bias: nn.Parameter | None = None
    rows: tuple[int, int] | None = None


def layers_of(model: nn.Module) -> dict[str, UnitWeights]:
    """Every layer of a model, by name, in the order of `named_modules`; a weight tied between modules has two names.

    A layer is called as its module is. Modules with several weights have a layer for each: `attention.q`, `.k` and `.v`
    of an `nn.MultiheadAttention`, `lstm.ih_l0` and `lstm.hh_l0` of an LSTM, and by the parameter's own name any matrix
    that a module of no known kind keeps, as `adapter.lora_A`.
    """
    found: dict[str, UnitWeights] = {}
    for name, module in model.named_modules():
        for key, weights in _layers_of_module(module):
            found[".".join(part for part in (name, key) if part)] = weights
    return found


def layer_names(model: nn.Module) -> list[str]:
    """Names of the model's layers; of a weight tied between modules the first alone."""
    names: dict[tuple[Any, ...], str] = {}
    for name, weights in layers_of(model).items():
        names.setdefault((id(weights.weight), weights.rows), name)
    return list(names.values())


def find_layer(model: nn.Module, name: str) -> UnitWeights:
    """The layer named `name`. Raises InputError if there is none, or if it has no weights that units have."""
    layers = layers_of(model)
    if name in layers:
        return layers[name]
    modules = dict(model.named_modules(remove_duplicate=False))
    allowed = f"the layers are {', '.join(map(repr, layers)) or 'none'}"
    if name not in modules:
        raise InputError(f"the model has no layer {name!r}; {allowed}.")
    for other, module in model.named_modules():
        if module is modules[name] and other in layers:
            return layers[other]
    if nn.utils.parametrize.is_parametrized(modules[name], "weight") or _is_normalised_by_hooks(modules[name]):
        raise InputError(f"layer {name!r} {PARAMETRISED}")
    kind = type(modules[name]).__name__
    raise InputError(f"layer {name!r} is a {kind}, not a layer whose units have weights; {allowed}.")


def kind_of(module: nn.Module) -> str:
    """The name of the module's class, of a subclass of torch.nn's that of torch.nn's class."""
    own = (kind.__name__ for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn.modules"))
    found = next(own, "Module")
    return type(module).__name__ if found == "Module" else found


def _layers_of_module(module: nn.Module) -> Iterator[tuple[str, UnitWeights]]:
    kind = kind_of(module)
    own = dict(own_parameters(module))
    if isinstance(module, nn.MultiheadAttention):
        yield from _layers_of_attention(module, own)
    elif isinstance(module, nn.RNNBase | nn.RNNCellBase):
        for key in [key for key in own if key.startswith("weight_")]:
            weight, bias = own.pop(key), own.pop(key.replace("weight", "bias"), None)
            yield key.removeprefix("weight_"), UnitWeights(module, kind, weight, bias)
    else:
        weight = _weight(module, own)
        if weight is not None:
            own = {key: parameter for key, parameter in own.items() if parameter is not weight}
            bias = own.pop("bias", None)
            yield "", UnitWeights(module, kind, weight, bias)
        elif _is_normalised_by_hooks(module):
            own = {key: parameter for key, parameter in own.items() if not key.startswith("weight_")}
    if not isinstance(module, (*PASSED_THROUGH, nn.EmbeddingBag)):
        for key, parameter in own.items():
            if parameter.ndim == 2 and _is_real(parameter):
                yield key, UnitWeights(module, kind, parameter)


def _weight(module: nn.Module, own: dict[str, nn.Parameter]) -> nn.Parameter | None:
    """A module's weight, or what it makes it of: pruned (`weight_orig`), or parametrised by one tensor."""
    if isinstance(module, (*PASSED_THROUGH, nn.EmbeddingBag)):
        return None
    found = own.get("weight")
    if found is None:
        found = own.get("weight_orig")
    if found is None and nn.utils.parametrize.is_parametrized(module, "weight"):
        found = cast(Any, module.parametrizations).weight._parameters.get("original")
    known = isinstance(module, _WITH_A_WEIGHT)
    if found is None or not (known or found.ndim == 2) or isinstance(found, nn.parameter.UninitializedParameter):
        return None
    return found if _is_real(found) or known else None


def _is_normalised_by_hooks(module: nn.Module) -> bool:
    """Whether the module's weight is what torch's former `weight_norm` makes of a direction and a length."""
    return isinstance(module, _WITH_A_WEIGHT) and "weight_g" in module._parameters


def _is_real(parameter: nn.Parameter) -> bool:
    return parameter.is_floating_point()


def _layers_of_attention(
    module: nn.MultiheadAttention, own: dict[str, nn.Parameter]
) -> Iterator[tuple[str, UnitWeights]]:
    """Queries, keys and values, each with its rows of the weights and biases that they share."""
    bias, width = own.pop("in_proj_bias", None), module.embed_dim
    together = own.pop("in_proj_weight", None)
    for place, key in enumerate("qkv"):
        weight = together if together is not None else own.pop(f"{key}_proj_weight")
        rows = (place * width, (place + 1) * width) if together is not None else None
        yield key, UnitWeights(module, "MultiheadAttention", weight, bias, rows)


def unit_axis(module: nn.Module) -> int | None:
    """The axis of a layer's outputs along which its units lie; None for a module that is no layer with weights."""
    return next((axis for kind, axis in _UNIT_AXES.items() if isinstance(module, kind)), None)


def own_parameters(layer: nn.Module) -> dict[str, nn.Parameter]:
    """The module's own parameters by name: of a layer its weight and, if it has one, its bias."""
    return {name: parameter for name, parameter in layer._parameters.items() if parameter is not None}
