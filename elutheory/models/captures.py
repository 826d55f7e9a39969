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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from elutheory.models.hooks import hooked
from elutheory.models.layers import UnitWeights, WeightLayer
from elutheory.models.linear_maps import LinearMap, Lookup, map_of_module
from elutheory.models.weight_uses import Use, WeightUses


@dataclass(frozen=True, eq=False)
class Call:
    """One product of a layer's weight with activations.

    - `map`: how they are laid out; `incoming`: what was multiplied, (examples, ...); `net`: the product, the net input
      of the activation function that follows, where gradients reach it; None: not kept;
    - `units`: those of the net's units that are the layer's; `scale`: by what the weights were multiplied before;
    - `bias`: whether biases were added.
    """

    map: LinearMap
    incoming: Tensor
    net: Tensor | None
    units: slice = field(default_factory=lambda: slice(None))
    scale: Tensor | float | None = None
    bias: bool = False


@dataclass(frozen=True, eq=False)
class Capture:
    """One layer's calls during a forward pass, in their order.

    `batch_axes`: the axis of the examples in each call's tensors; (): the first. `trouble`: why they are not scores of
    one layer's units.
    """

    layer: UnitWeights | WeightLayer
    calls: tuple[Call, ...]
    batch_axes: tuple[int, ...] = ()
    trouble: str | None = None

    @classmethod
    def of_calls(cls, layer: WeightLayer, calls: Sequence[tuple[Tensor, Tensor]]) -> "Capture":
        """Of a `Linear` or a convolution, from pairs of what a call of the module received and what it returned."""
        bias = layer.bias is not None
        return cls(layer, tuple(Call(map_of_module(layer), *call, bias=bias) for call in calls))

    @property
    def incoming(self) -> tuple[Tensor, ...]:
        """What each call received."""
        return tuple(call.incoming for call in self.calls)

    @property
    def nets(self) -> tuple[Tensor, ...]:
        """What each call returned, as far as it is kept; one net may be of several layers."""
        return tuple(call.net for call in self.calls if call.net is not None)

    @property
    def has_bias(self) -> bool:
        """Whether the calls added biases."""
        return bool(self.calls) and self.calls[0].bias

    def without_nets(self) -> "Capture":
        """The same without the graph."""
        return replace(self, calls=tuple(replace(call, net=None) for call in self.calls))

    def of_call(self, call: int) -> "Capture":
        """One call alone."""
        return replace(self, calls=(self.calls[call],), batch_axes=(self.batch_axis(call),))

    def activations(self) -> Float[Tensor, "examples groups positions fan_in"]:
        """Incoming activations of all calls: a convolution's patches, a sequence's positions, call after call.

        Of an embedding one-hot vectors with a coordinate for each of `words`.
        """
        words = self.words()
        return torch.cat([self._activations_of(number, words) for number in range(len(self.calls))], dim=2)

    def words(self) -> Int[Tensor, " words"] | None:
        """Of an embedding the words that occur, in ascending order; None for other layers."""
        found = [call.map.words(call.incoming) for call in self.calls if isinstance(call.map, Lookup)]
        return torch.cat(found).unique() if found else None

    def _activations_of(self, number: int, words: Tensor | None) -> Tensor:
        call = self.calls[number]
        incoming = call.incoming.movedim(self.batch_axis(number), 0)
        if isinstance(call.map, Lookup) and words is not None:
            found = call.map.one_hot(incoming, words).to(self.layer.weight.dtype)
        else:
            found = call.map.activations(incoming, torch.Size() if call.net is None else call.net.shape)
        if call.scale is None:
            return found
        if not isinstance(call.scale, Tensor):
            return found * call.scale
        scale = call.map.by_unit(call.scale).to(found.dtype)  # of every unit's own, so that each is a group
        if words is not None:
            scale = scale[:, words]
        units = len(scale) // found.shape[1]
        return found.repeat_interleave(units, dim=1) * scale[:, None]

    def batch_axis(self, call: int) -> int:
        """The axis of the examples in what a call received and returned."""
        return self.batch_axes[call] if self.batch_axes else 0

    def positions(self, call: int) -> tuple[int, ...]:
        """The lengths of the axes of a call's positions."""
        one, axis = self.calls[call], self.batch_axis(call)
        net = torch.Size() if one.net is None else one.net.movedim(axis, 0).shape
        return one.map.positions(one.incoming.movedim(axis, 0).shape, net)

    def by_position(self, net: Tensor, call: int = 0) -> Float[Tensor, "examples positions units"]:
        """A call's net input, or a gradient with respect to it, with one axis of positions."""
        one = self.calls[call]
        return one.map.by_position(net.movedim(self.batch_axis(call), 0))[..., one.units]

    def by_unit(self, weight: Tensor) -> Float[Tensor, "units fan_in"]:
        """The layer's weight, or a gradient with respect to it, in the layout of the activations."""
        rows = self.layer.rows if isinstance(self.layer, UnitWeights) else None
        return self.calls[0].map.by_unit(weight if rows is None else weight[slice(*rows)])


# --- recording a forward pass -----------------------------------------------------------------------------------------


class Recorder:
    """Notes the uses of layers' weights while `record` runs."""

    def __init__(self, layers: dict[str, UnitWeights]) -> None:
        self._layers = layers
        self._uses: list[Use] | None = None
        self.functions = WeightUses([layer.weight for layer in layers.values()], biases_of(layers), self._note)

    def record(self, run: Callable[[], Any]) -> tuple[Any, dict[str, Capture]]:
        """What `run` returns, and the calls it made."""
        self._uses = []
        try:
            with self.functions:
                result = run()
            uses = self._uses
        finally:
            self._uses = None  # the further calls of a checkpointed model, in the backward pass, are not kept
        return result, {name: capture_of(layer, uses) for name, layer in self._layers.items()}

    def _note(self, use: Use) -> Tensor:
        net = use.net if use.net.requires_grad else use.net.detach().requires_grad_()
        if self._uses is not None:
            # a copy: the model may change it in place
            self._uses.append(replace(use, incoming=use.incoming.detach().clone(), net=net))
        return net.clone()


def biases_of(layers: dict[str, UnitWeights]) -> list[Tensor]:
    """The layers' biases."""
    return [layer.bias for layer in layers.values() if layer.bias is not None]


def capture_of(layer: UnitWeights, uses: Sequence[Use]) -> Capture:
    """Those of the uses that are of the layer's weight, as its calls."""
    calls, kinds, biases = [], set(), set()
    trouble = None
    for use in uses:
        if use.weight.parameter is not layer.weight:
            continue
        kinds.add((use.map.axis_of_units, use.map.groups, isinstance(use.map, Lookup)))
        units = _units(layer, use)
        if units is None:
            continue
        if isinstance(units, str):
            trouble = units
            continue
        biases.add(None if use.bias is None else (id(use.bias.parameter), use.bias.rows))
        calls.append(Call(use.map, use.incoming, use.net, units, use.weight.scale, use.bias is not None))
    if len(kinds) > 1:
        trouble = (
            "has its weight used in two ways, the units of one of which are the incoming activations of the other (a "
            "decoder tied to an embedding, or transposed)"
        )
    elif len(biases) > 1:  # the units have no bias of their own: F is that of the weights
        calls = [replace(call, bias=False) for call in calls]
    if trouble is None and len({isinstance(call.scale, Tensor) for call in calls}) > 1:
        trouble = "has its weight used as it is and multiplied by a mask"
    return Capture(layer, tuple(calls), trouble=trouble)


def _units(layer: UnitWeights, use: Use) -> slice | str | None:
    """Which of the net's units are the layer's; None if none are."""
    own, used = layer.rows, use.weight.rows
    whole = len(layer.weight)
    first, last = own or (0, whole)
    start, end = used or (0, whole)
    if end <= first or last <= start:
        return None
    if start > first or end < last or (used is not None and use.map.axis_of_units != 0):
        return "has only some of its rows used"
    if (start, end) == (first, last):
        return slice(None)
    return slice(first - start, last - start)


@contextmanager
def capturing(model: nn.Module, layers: dict[str, UnitWeights]) -> Iterator[Recorder]:
    """Inside, the recorder can note the uses of the layers' weights; afterwards the model is as it was.

    Gradients flow to the net inputs and to nothing else, except to the weights and biases of `layers` wherever they are
    used in another way: a net input does not depend on them.
    """
    required = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    recorder = Recorder(layers)
    try:
        for parameter, _ in required:
            parameter.requires_grad_(False)
        for layer in layers.values():
            layer.weight.requires_grad_(True)
            if layer.bias is not None:
                layer.bias.requires_grad_(True)
        with hooked(_hooks(model, recorder)):
            yield recorder
    finally:
        for parameter, requires_grad in required:
            parameter.requires_grad_(requires_grad)


def is_captured(model: nn.Module) -> bool:
    """Whether `capturing` notes the calls of the model's layers now: a forward pass is not the user's own."""
    hooks = (hook for module in model.modules() for hook in module._forward_pre_hooks.values())
    return any(isinstance(hook, _SeenAgain) for hook in hooks)


class _SeenAgain:
    """The hook before a module: in a backward pass a checkpointed module runs again, and must run as it did before."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._open: dict[nn.Module, ExitStack] = {}

    def __call__(self, module: nn.Module, _arguments: tuple[Any, ...]) -> None:
        if torch._C._current_graph_task_id() != -1 and not self._open:
            stack = self._open[module] = ExitStack()
            stack.enter_context(self._recorder.functions)

    def leave(self, module: nn.Module, *_: Any) -> None:
        """The hook after the module."""
        stack = self._open.pop(module, None)
        if stack is not None:
            stack.close()


def _hooks(model: nn.Module, recorder: Recorder) -> Iterator[RemovableHandle]:
    again = _SeenAgain(recorder)
    for module in model.modules():
        yield module.register_forward_pre_hook(again)
        yield module.register_forward_hook(again.leave, always_call=True)
