"""Which layers of a torch model can be captured, and what goes in and out of them during a forward pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from elutheory.errors import InputError
from elutheory.models.convolution_patches import Convolution, convolution_patches

WeightLayer = nn.Linear | Convolution
KINDS_OF_LAYER = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_INSTANCE_NORM = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


@dataclass(frozen=True, eq=False)
class Capture:
    """One layer's calls during a forward pass, in their order.

    - `incoming`: what each call received, (examples, ...);
    - `nets`: what each call returned, the net input of the activation function that follows; gradients reach it.
    """

    layer: WeightLayer
    incoming: tuple[Tensor, ...]
    nets: tuple[Tensor, ...]

    def activations(self) -> Float[Tensor, "examples groups positions fan_in"]:
        """Incoming activations of all calls: a convolution's patches, a sequence's positions, call after call."""
        return torch.cat([_activations(self.layer, incoming) for incoming in self.incoming], dim=2)

    def by_position(self, net: Tensor) -> Float[Tensor, "examples positions units"]:
        """A call's net input, or a gradient with respect to it, with one axis of positions."""
        if isinstance(self.layer, nn.Linear):
            return net.reshape(len(net), -1, net.shape[-1])
        return net.flatten(2).transpose(1, 2)


def _activations(layer: WeightLayer, incoming: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return incoming.reshape(len(incoming), 1, -1, layer.in_features)
    return convolution_patches(layer, incoming)


class Recorder:
    """Notes the calls of layers while `record` runs."""

    def __init__(self, layers: dict[str, WeightLayer]) -> None:
        self._layers = layers
        self._calls: dict[str, list[tuple[Tensor, Tensor]]] | None = None

    def record(self, run: Callable[[], Tensor]) -> tuple[Tensor, dict[str, Capture]]:
        """What `run` returns, and the calls it made."""
        self._calls = {name: [] for name in self._layers}
        try:
            result = run()
            calls = self._calls
        finally:
            self._calls = None  # the further calls of a checkpointed model, in the backward pass, are not kept
        return result, {
            name: Capture(layer, tuple(call[0] for call in calls[name]), tuple(call[1] for call in calls[name]))
            for name, layer in self._layers.items()
        }

    def note(self, name: str, incoming: Tensor, net: Tensor) -> None:
        """Called by the hooks."""
        if self._calls is not None:
            self._calls[name].append((incoming.detach().clone(), net))  # a copy: the model may change it in place


@contextmanager
def capturing(model: nn.Module, layers: dict[str, WeightLayer]) -> Iterator[Recorder]:
    """Inside, the recorder can note calls of `layers`; afterwards the model is as it was.

    Gradients flow to the layers' outputs and to nothing else, except to the weights and biases of `layers` wherever
    they are used without calling their module: a call's own output does not depend on them.
    """
    required = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    own = {name: own_parameters(layer) for name, layer in layers.items()}
    recorder = Recorder(layers)
    handles = []
    try:
        for parameter, _ in required:
            parameter.requires_grad_(False)
        for name, layer in layers.items():
            for parameter in own[name].values():
                parameter.requires_grad_(True)
            handles += _hooks(name, layer, own[name], recorder)
        yield recorder
    finally:
        for handle in handles:
            handle.remove()
        for name, layer in layers.items():
            layer._parameters.update(own[name])
        for parameter, requires_grad in required:
            parameter.requires_grad_(requires_grad)


def own_parameters(layer: nn.Module) -> dict[str, nn.Parameter]:
    """The layer's weight and, if it has one, its bias."""
    return {name: parameter for name, parameter in layer._parameters.items() if parameter is not None}


def _hooks(name: str, layer: WeightLayer, own: dict[str, nn.Parameter], recorder: Recorder) -> list[RemovableHandle]:
    def before(_module: nn.Module, _arguments: tuple[Any, ...]) -> None:
        layer._parameters.update({key: cast(nn.Parameter, parameter.detach()) for key, parameter in own.items()})

    def after(_module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Tensor) -> Tensor:
        layer._parameters.update(own)
        net = output if output.requires_grad else output.detach().requires_grad_()
        recorder.note(name, arguments[0] if arguments else keywords["input"], net)
        return net.clone()  # a copy, so that an in-place activation function may follow

    return [
        layer.register_forward_pre_hook(before),  # after all of the user's
        layer.register_forward_hook(after, prepend=True, with_kwargs=True),  # before all of the user's
    ]


def layer_names(model: nn.Module) -> list[str]:
    """Names of the model's `Linear` and `Conv1d/2d/3d` layers, in the order of `named_modules`."""
    return [name for name, module in model.named_modules() if isinstance(module, KINDS_OF_LAYER)]


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The module named `name`. Raises InputError if there is none or if it is not a `Linear` or `Conv1d/2d/3d`."""
    modules = dict(model.named_modules(remove_duplicate=False))
    allowed = f"the Linear and convolution layers are {', '.join(map(repr, layer_names(model))) or 'none'}"
    if name not in modules:
        raise InputError(f"the model has no layer {name!r}; {allowed}.")
    module = modules[name]
    if not isinstance(module, KINDS_OF_LAYER):
        kind = type(module).__name__
        raise InputError(f"layer {name!r} is a {kind}, not a torch.nn Linear, Conv1d, Conv2d or Conv3d; {allowed}.")
    return module


def refusal_of_layer(model: nn.Module, name: str, layer: nn.Module) -> str | None:
    """Why the layer's scores cannot be had, in one sentence, as far as can be told before a forward pass; else None."""
    base = next(kind for kind in KINDS_OF_LAYER if isinstance(layer, kind))
    if nn.utils.parametrize.is_parametrized(layer) or not {"weight", "bias"} <= layer._parameters.keys():
        return (
            f"layer {name!r} computes its weight or bias from other parameters (a parametrisation such as weight or "
            "spectral norm); remove it first, which keeps the effective weight."
        )
    if type(layer).forward is not base.forward:
        return (
            f"layer {name!r} is a {type(layer).__name__} with a forward pass of its own; {base.__name__}'s is needed."
        )
    weight = cast(nn.Parameter, layer._parameters["weight"])
    if weight.dtype not in (torch.float32, torch.float64):
        return f"layer {name!r} has weights of {weight.dtype}; torch.float32 or torch.float64 is needed."
    own = {id(parameter): key for key, parameter in layer._parameters.items() if parameter is not None}
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


def check_model(model: nn.Module) -> None:
    """Raise InputError for a model in which examples are random or influence one another, as far as modules tell, and
    for wrapped models and models whose parameters have no values."""
    for name, module in model.named_modules():
        described = f"{type(module).__name__} {name!r}"
        if hasattr(module, "_orig_mod") or module._compiled_call_impl is not None:
            raise InputError(f"{described} is compiled by torch.compile; pass the model as it was before.")
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(f"{described} is a TorchScript module; pass the model as it was before.")
        if isinstance(module, _PARALLEL):
            raise InputError(f"{described} spreads a model over devices or processes; pass its .module.")
        if _is_random(module):
            raise InputError(
                f"{described} is in training mode, where the output for an example is random or depends on its batch; "
                "call model.eval() first."
            )
        if isinstance(module, _BATCH_NORM) and module.running_mean is None:
            raise InputError(f"{described} keeps no running statistics, so that examples influence one another.")
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
    if isinstance(module, _DROPOUT):
        return module.p > 0
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return module.dropout > 0
    if isinstance(module, _INSTANCE_NORM):
        return module.track_running_stats
    return isinstance(module, (*_BATCH_NORM, nn.RReLU))
