"""What goes in and out of a model's layers during a forward pass, in the one layout that all scores have.

A layer multiplies its weights with incoming activations a, once per position. Whatever the kind of layer and however
often it is called, they are laid out as (examples, groups, positions, fan_in), and its net inputs as
(examples, positions, units):

- `Linear(3, 4)` on (8, 3): a is (8, 1, 1, 3), the nets are (8, 1, 4);
- `Linear(3, 4)` on a sequence (8, 5, 3): a is (8, 1, 5, 3), the nets are (8, 5, 4);
- the same layer called twice on (8, 3), as in a recurrent network: a is (8, 1, 2, 3), call after call;
- `Conv2d(2, 4, 3)` on images (8, 2, 6, 6), which have 4 × 4 patches of 2 × 3 × 3 numbers: a is (8, 1, 16, 18), the
  nets are (8, 16, 4); with `groups=2` a is (8, 2, 16, 9), units 0 and 1 being those of group 0.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from elutheory.models.hooks import hooked, on_calls
from elutheory.models.layers import Convolution, WeightLayer, own_parameters


@dataclass(frozen=True, eq=False)
class Capture:
    """One layer's calls during a forward pass, in their order.

    - `incoming`: what each call received, (examples, ...);
    - `nets`: what each call returned, the net input of the activation function that follows; gradients reach it;
    - `batch_axes`: the axis of the examples in each call's tensors; (): the first.
    """

    layer: WeightLayer
    incoming: tuple[Tensor, ...]
    nets: tuple[Tensor, ...]
    batch_axes: tuple[int, ...] = ()

    @classmethod
    def of_calls(cls, layer: WeightLayer, calls: Sequence[tuple[Tensor, Tensor]]) -> "Capture":
        """From pairs of what a call received and what it returned."""
        return cls(layer, tuple(call[0] for call in calls), tuple(call[1] for call in calls))

    def activations(self) -> Float[Tensor, "examples groups positions fan_in"]:
        """Incoming activations of all calls: a convolution's patches, a sequence's positions, call after call."""
        moved = [incoming.movedim(self.batch_axis(call), 0) for call, incoming in enumerate(self.incoming)]
        return torch.cat([_activations(self.layer, incoming) for incoming in moved], dim=2)

    def batch_axis(self, call: int) -> int:
        """The axis of the examples in what a call received and returned."""
        return self.batch_axes[call] if self.batch_axes else 0

    def positions(self, call: int) -> tuple[int, ...]:
        """The lengths of the axes of a call's positions."""
        if not isinstance(self.layer, nn.Linear):
            return tuple(self.nets[call].shape[2:])
        return tuple(self.incoming[call].movedim(self.batch_axis(call), 0).shape[1:-1])

    def by_position(self, net: Tensor, call: int = 0) -> Float[Tensor, "examples positions units"]:
        """A call's net input, or a gradient with respect to it, with one axis of positions."""
        net = net.movedim(self.batch_axis(call), 0)
        if isinstance(self.layer, nn.Linear):
            return net.reshape(len(net), -1, net.shape[-1])
        return net.flatten(2).transpose(1, 2)


def _activations(layer: WeightLayer, incoming: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return incoming.reshape(len(incoming), 1, -1, layer.in_features)
    return convolution_patches(layer, incoming)


def convolution_patches(
    convolution: Convolution, inputs: Float[Tensor, "examples channels *space"]
) -> Float[Tensor, "examples groups positions fan_in"]:
    """Patches a with output = weight.flatten(1) · a + bias at every position; stride, padding, dilation and groups.

    fan_in = channels / groups × kernel size, in the order of `weight.flatten(1)`; positions in the order of
    `output.flatten(2)`. Group of output channel u: u // (output channels / groups).
    """
    mode = "constant" if convolution.padding_mode == "zeros" else convolution.padding_mode
    patches = nn.functional.pad(inputs, _padding(convolution), mode=mode)
    kernel = convolution.kernel_size
    for axis, (size, stride, dilation) in enumerate(
        zip(kernel, convolution.stride, convolution.dilation, strict=True), start=2
    ):
        patches = patches.unfold(axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
    examples, channels, *rest = patches.shape  # then one axis of positions and one of the kernel for each space axis
    space = rest[: len(kernel)]
    grouped = patches.reshape(examples, convolution.groups, channels // convolution.groups, *rest)
    last = 3 + len(kernel)
    order = (0, 1, *range(3, last), 2, *range(last, last + len(kernel)))
    fan_in = convolution.weight[0].numel()
    return grouped.permute(order).reshape(examples, convolution.groups, torch.Size(space).numel(), fan_in)


def _padding(convolution: Convolution) -> list[int]:
    """The padding as `torch.nn.functional.pad` takes it: before and after, the last axis first."""
    if convolution.padding == "valid":
        sides = [(0, 0) for _ in convolution.kernel_size]
    elif convolution.padding == "same":
        totals = [
            dilation * (size - 1) for size, dilation in zip(convolution.kernel_size, convolution.dilation, strict=True)
        ]
        sides = [(total // 2, total - total // 2) for total in totals]
    else:
        sides = [(int(size), int(size)) for size in convolution.padding]
    return [size for side in reversed(sides) for size in side]


# --- recording a forward pass -----------------------------------------------------------------------------------------


class Recorder:
    """Notes the calls of layers while `record` runs."""

    def __init__(self, layers: dict[str, WeightLayer]) -> None:
        self._layers = layers
        self._calls: dict[str, list[tuple[Tensor, Tensor]]] | None = None

    def record(self, run: Callable[[], Any]) -> tuple[Any, dict[str, Capture]]:
        """What `run` returns, and the calls it made."""
        self._calls = {name: [] for name in self._layers}
        try:
            result = run()
            calls = self._calls
        finally:
            self._calls = None  # the further calls of a checkpointed model, in the backward pass, are not kept
        return result, {name: Capture.of_calls(layer, calls[name]) for name, layer in self._layers.items()}

    def note(self, name: str, incoming: Tensor, net: Tensor) -> None:
        """Keeps one call of a layer, if `record` is running."""
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
    try:
        for parameter, _ in required:
            parameter.requires_grad_(False)
        for parameters in own.values():
            for parameter in parameters.values():
                parameter.requires_grad_(True)
        with hooked(handle for name, layer in layers.items() for handle in _hooks(name, layer, own[name], recorder)):
            yield recorder
    finally:
        for name, layer in layers.items():
            layer._parameters.update(own[name])
        for parameter, requires_grad in required:
            parameter.requires_grad_(requires_grad)


def is_captured(model: nn.Module) -> bool:
    """Whether `capturing` notes the calls of the model's layers now: a forward pass is not the user's own."""
    hooks = (hook for module in model.modules() for hook in module._forward_pre_hooks.values())
    return any(isinstance(hook, _ParametersDetached) for hook in hooks)


class _ParametersDetached:
    """The hook before a call: inside of the call the layer has its parameters' values, and no gradient reaches them."""

    def __init__(self, own: dict[str, nn.Parameter]) -> None:
        self._own = own

    def __call__(self, layer: nn.Module, _arguments: tuple[Any, ...]) -> None:
        layer._parameters.update({key: cast(nn.Parameter, parameter.detach()) for key, parameter in self._own.items()})


def _hooks(
    name: str, layer: WeightLayer, own: dict[str, nn.Parameter], recorder: Recorder
) -> Iterator[RemovableHandle]:
    def note(incoming: Tensor, output: Tensor) -> Tensor:
        layer._parameters.update(own)
        net = output if output.requires_grad else output.detach().requires_grad_()
        recorder.note(name, incoming, net)
        return net

    yield layer.register_forward_pre_hook(_ParametersDetached(own))  # after all of the user's
    yield on_calls(layer, note)
