"""What the activation modules of a running model receive and return, and which layer feeds each of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor  # pyright: ignore[reportMissingImports]
from torch.utils.hooks import RemovableHandle

from elutheory.activations.activation_function import Activation
from elutheory.activations.recognition import is_activation, recognised_activation
from elutheory.errors import InputError
from elutheory.models.batch_layout import BatchLayout, mask_of_positions
from elutheory.models.hooks import hooked
from elutheory.models.layers import PASSED_THROUGH, unit_axis
from elutheory.models.running_moments import RunningMoments
from elutheory.models.unit_axes import Source, UnitAxes, layer_hooks

Of = Literal["output", "input"]


class Call(NamedTuple):
    """What one call of an observed module received (`of` "input", before the call) or returned ("output", after it).

    - `values`: the first argument as it was received, or whatever was returned;
    - `source`: the layer that the argument comes from, and the axis of its units, in `values` if that is known, else in
      the argument; None: unknown;
    - `direct`: whether the argument is that layer's output as it is, or only normalised or dropped out.
    """

    module: nn.Module
    of: Of
    values: Any
    source: Source | None
    direct: bool


class Observer:
    """Tells `receive` of every call of the observed modules, with the layer that feeds it.

    Which layer a tensor comes from, and where its units are, is followed through the functions between them
    (`UnitAxes`), never told by the order of modules in the model. `layers`: those that can feed a module, by name.
    Forward passes that a checkpointed model repeats in its backward pass are not told of.
    """

    def __init__(self, layers: Mapping[str, nn.Module], receive: Callable[[Call], None]) -> None:
        self._layers = layers
        self._receive = receive
        self._axes = UnitAxes()
        self._received: dict[nn.Module, list[tuple[Source | None, bool]]] = {}
        self._activations: dict[nn.Module, bool] = {}

    def hooks(self, model: nn.Module, observed: Iterable[nn.Module], inputs: bool) -> Iterator[RemovableHandle]:
        """Registers them one by one; `inputs`: what the observed modules receive is told, too."""
        yield from self._axes.hooks(model)
        yield from layer_hooks(self._axes, self._layers)
        for module in observed:
            yield module.register_forward_pre_hook(self._before_observed)
            if inputs:
                yield module.register_forward_pre_hook(self._tell_input)
            yield module.register_forward_hook(self._after_observed)

    def _before_observed(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        first = arguments[0] if arguments else None
        self._received.setdefault(module, []).append((self._axes.source(first), self._axes.is_direct(first)))

    def _tell_input(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments:
            self._tell(module, "input", arguments[0], *self._received[module][-1])

    def _after_observed(self, module: nn.Module, _arguments: tuple[Any, ...], output: Any) -> None:
        source, direct = self._received[module].pop()  # the last: it may be called to see which function it is
        followed = self._axes.source(_first_tensor(output))
        if followed is not None:
            source = Source(source.layer if source is not None else followed.layer, followed.axis)
        elif not self._is_activation(module):
            source = None
        self._tell(module, "output", output, source, direct)

    def _is_activation(self, module: nn.Module) -> bool:
        if module not in self._activations:
            self._activations[module] = is_activation(module)
        return self._activations[module]

    def _tell(self, module: nn.Module, of: Of, values: Any, source: Source | None, direct: bool) -> None:
        if torch._C._current_graph_task_id() != -1:
            return  # inside a backward pass: a checkpointed forward pass that is repeated there, and told of already
        with torch._C.DisableTorchFunction():
            self._receive(Call(module, of, values, source, direct))


def _first_tensor(values: Any) -> Any:
    if isinstance(values, tuple | list):
        return next((value for value in values if isinstance(value, Tensor)), None)
    return values


# --- the activation modules of a model, whatever feeds them ---------------------------------------------------------


def observed_modules(model: nn.Module, layers: Sequence[str] | None) -> dict[str, nn.Module]:
    """The modules to observe, by name: those named in `layers`, or, with None, all activation modules.

    Raises InputError for unknown names, for no name, and if there is no activation module.
    """
    named = dict(model.named_modules())
    if layers is not None:
        every = dict(model.named_modules(remove_duplicate=False))
        unknown = [name for name in layers if name not in every]
        if unknown:
            raise InputError(f"the model has no module {unknown[0]!r}; its modules are {', '.join(map(repr, named))}.")
        if not layers:
            raise InputError("layers is empty; name at least one module, or leave it out for all activations.")
        return {name: every[name] for name in layers}
    found = {name: module for name, module in named.items() if is_activation(module)}
    if not found:
        raise InputError(
            "the model has no activation module, and hooks do not see functions such as torch.relu; use modules such "
            "as nn.ReLU() in their place, or name the modules whose outputs are wanted by layers=[...]."
        )
    return found


def counted_points(
    values: Tensor, axis: int, masks: Sequence[Tensor], batch_axis: int = 0
) -> Float[Tensor, "points units"] | str:
    """Values by unit at the positions that count; a text: why that is not known."""
    by_unit = values.movedim(axis, -1)
    if masks and by_unit.ndim > 2:
        by_unit = by_unit.movedim(min(batch_axis, by_unit.ndim - 2), 0)
        mask = mask_of_positions(masks, tuple(by_unit.shape[1:-1]))
        if isinstance(mask, str):
            return mask
        if mask is not None and mask.shape[0] == by_unit.shape[0]:
            return by_unit.flatten(1, -2)[mask.to(values.device)]
    return by_unit.flatten(0, -2)


Receiver = Callable[[str, Of, Tensor, Source], None]
"""Called with the observed module's name, "output" or "input", the values, and the layer that feeds the module."""

UnitAxis = int | Mapping[str, int] | None
"""Where the units lie: an axis for all modules that no layer tells it of, or one per module's name, layer or not."""


@contextmanager
def observing_modules(
    model: nn.Module,
    observed: Mapping[str, nn.Module],
    receive: Receiver,
    inputs: bool,
    unit_axis: UnitAxis = None,
    layout: BatchLayout | None = None,
) -> Iterator[None]:
    """Inside, `receive` is called for every call of an observed module; afterwards the model is as it was.

    Every module of the model whose outputs have units can feed them. `inputs`: what they receive is told, too.
    `layout` says which positions count; where it has a mask, values are told as (points, units). Inside, raises
    InputError for values that are no real numbers, and where the axis of the units is not known.
    """
    names = {module: name for name, module in observed.items()}
    layers = dict(model.named_modules())
    _check_unit_axis(unit_axis, observed)

    def told(call: Call) -> None:
        name = names[call.module]
        values = _real_values(call, name)
        if not values.numel():  # an empty batch has no points
            return
        source = _fed_by(call, values, name, unit_axis)
        if masks:
            points = counted_points(values.detach(), source.axis, masks, layout.batch_axis if layout else 0)
            if isinstance(points, str):
                raise InputError(f"the {call.of} of module {name!r} {points}; give mask= (False: all of them count).")
            values, source = points, Source(source.layer, -1)
        if values.numel():
            receive(name, call.of, values.detach(), source)

    def starts(_module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if layout is not None:
            masks[:] = layout.masks(keywords or (arguments[0] if arguments else None))

    masks: list[Tensor] = []
    with (
        hooked(iter([model.register_forward_pre_hook(starts, with_kwargs=True)])),
        hooked(Observer(layers, told).hooks(model, names, inputs)),
    ):
        yield


def _check_unit_axis(given: UnitAxis, observed: Mapping[str, nn.Module]) -> None:
    axes = given if isinstance(given, Mapping) else {} if given is None else {"": given}
    for name, axis in axes.items():
        if isinstance(axis, bool) or not isinstance(axis, int):
            raise InputError(f"unit_axis is {given!r}; an axis, or one for each module's name, is needed.")
        if isinstance(given, Mapping) and name not in observed:
            raise InputError(
                f"unit_axis names {name!r}, which is not observed; the modules observed are "
                f"{', '.join(map(repr, observed))}."
            )


def _real_values(call: Call, name: str) -> Tensor:
    """The first tensor of what was received or returned. Raises InputError unless it is one of real numbers."""
    values = _first_tensor(call.values)
    if not isinstance(values, Tensor) or values.layout != torch.strided or values.is_complex():
        raise InputError(f"the {call.of} of module {name!r} is no tensor of real numbers; leave it out of layers.")
    if is_functorch_wrapped_tensor(values):
        raise InputError(f"module {name!r} runs inside torch.func's vmap or grad; observe a plain forward pass.")
    return values


def _fed_by(call: Call, values: Tensor, name: str, given: UnitAxis) -> Source:
    """The layer that feeds the module, its name "" if none is known, and the axis of the units.

    Without a known layer (examples, units) have their units last; more axes are refused unless one is `given`.
    """
    own = unit_axis(call.module)
    if isinstance(given, Mapping) and name in given:
        axis: int | None = given[name]
    elif own is not None and call.of == "output":
        axis = own
    elif call.source is not None:
        axis = call.source.axis
    elif isinstance(given, int):
        axis = given
    else:
        axis = -1 if values.ndim < 3 else None
    if axis is None:
        raise InputError(
            f"which axis of the {call.of} of module {name!r}, of shape {tuple(values.shape)}, counts its units is not "
            f"known, as no layer could be followed to it; give unit_axis={{{name!r}: axis}}, or one axis for all."
        )
    if not -values.ndim <= axis < values.ndim:
        raise InputError(
            f"unit_axis of module {name!r} is {axis}; its {call.of} has shape {tuple(values.shape)}, so "
            f"{-values.ndim} to {values.ndim - 1} are allowed."
        )
    layer = "" if call.source is None or own is not None else call.source.layer
    return Source(layer, axis if axis < 0 else axis - values.ndim)


# --- the activation functions behind some layers --------------------------------------------------------------------


class ActivationRecord:
    """What one layer's activation function receives and returns over the data: one number per unit.

    `module` applies the activation function `function`; `nets` are the moments of the net inputs as it receives them,
    `outputs` those of what it returns, over examples and positions.
    """

    def __init__(self, module: nn.Module, function: Activation) -> None:
        self.module = module
        self.function = function
        self.nets = RunningMoments()
        self.outputs = RunningMoments()


class ActivationObserver:
    """Keeps an `ActivationRecord` for every layer whose output an activation function receives, while it is watching.

    One forward pass is watched after each `watch_next`: that model call, and no other.
    """

    def __init__(self) -> None:
        self.records: dict[str, ActivationRecord] = {}
        self._armed = self._watching = False
        self._masks: Sequence[Tensor] = ()
        self._functions: dict[nn.Module, Activation | None] = {}

    def watch_next(self, masks: Sequence[Tensor] = ()) -> None:
        """Watch the model's next forward pass; `masks` say which positions count."""
        self._armed, self._masks = True, masks

    def hooks(self, model: nn.Module) -> Iterator[RemovableHandle]:
        """Registers those that open and close the one forward pass that is watched."""
        yield model.register_forward_pre_hook(self._begin)
        yield model.register_forward_hook(self._end, always_call=True)

    def receive(self, call: Call) -> None:
        """Takes what a module that may be an activation function received, before it is changed in place, or returned.

        A layer's activation function is the first module with a known function that receives the layer's output.
        """
        if not self._watching or call.source is None or not call.direct or not call.source.layer:
            return
        module = call.module
        if module not in self._functions:
            self._functions[module] = recognised_activation(module, call.values.device)
        function = self._functions[module]
        if function is None:
            return
        record = self.records.setdefault(call.source.layer, ActivationRecord(module, function))
        if record.module is module:
            moments = record.nets if call.of == "input" else record.outputs
            points = counted_points(call.values.detach(), call.source.axis, self._masks)
            if not isinstance(points, str):
                moments.add(points)

    def _begin(self, *_arguments: Any) -> None:
        self._watching, self._armed = self._armed, False

    def _end(self, *_arguments: Any) -> None:
        self._watching = False


@contextmanager
def observing(model: nn.Module, layers: Mapping[str, nn.Module]) -> Iterator[ActivationObserver]:
    """Inside, the observer is told of the model's forward passes; afterwards the model is as it was.

    `layers`: those whose activation functions are looked for among all modules without parameters.
    """
    observer = ActivationObserver()
    candidates = [
        module
        for module in model.modules()
        if module is not model
        and module not in layers.values()
        and not isinstance(module, PASSED_THROUGH)
        and not any(True for _ in module.parameters())
    ]
    with hooked(observer.hooks(model)), hooked(Observer(layers, observer.receive).hooks(model, candidates, True)):
        yield observer
