"""What the activation modules of a running model receive and return, and which layer feeds each of them."""

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor  # pyright: ignore[reportMissingImports]
from torch.utils.hooks import RemovableHandle

from elutheory.activations.activation_function import Activation
from elutheory.errors import InputError
from elutheory.models.hooks import hooked
from elutheory.models.layers import PASSED_THROUGH, unit_axis
from elutheory.models.recognition import is_activation, recognised_activation
from elutheory.models.running_moments import RunningMoments

Of = Literal["output", "input"]


class Source(NamedTuple):
    """The layer that a tensor comes from, and the axis of the tensor along which that layer's units lie."""

    layer: str
    axis: int


class Call(NamedTuple):
    """What one call of an observed module received (`of` "input", before the call) or returned ("output", after it).

    - `values`: the first argument as it was received, or whatever was returned;
    - `source`: the layer whose output that argument is, as it is or through modules of PASSED_THROUGH; None: unknown;
    - `lookalike`: the layer called last whose output had that argument's shape (a sum with it, say); None: there is
      none.
    """

    module: nn.Module
    of: Of
    values: Any
    source: Source | None
    lookalike: Source | None


class Observer:
    """Tells `receive` of every call of the observed modules, with the layer that feeds it.

    Which layer a tensor comes from is told by the tensor's identity, never by the order of modules in the model.
    `layers`: those that can feed a module, by name. Forward passes that a checkpointed model repeats in its backward
    pass are not told of.
    """

    def __init__(self, layers: Mapping[str, nn.Module], receive: Callable[[Call], None]) -> None:
        axes = {name: unit_axis(module) for name, module in layers.items()}
        self._layers = {layers[name]: Source(name, axis) for name, axis in axes.items() if axis is not None}
        self._receive = receive
        self._sources: dict[int, tuple[weakref.ref[Tensor], Source]] = {}
        self._latest: dict[torch.Size, Source] = {}

    def hooks(self, model: nn.Module, observed: Iterable[nn.Module], inputs: bool) -> Iterator[RemovableHandle]:
        """Registers them one by one; `inputs`: what the observed modules receive is told, too."""
        for module in model.modules():
            if module in self._layers:
                yield module.register_forward_hook(self._after_layer)
            elif isinstance(module, PASSED_THROUGH):
                yield module.register_forward_hook(self._after_passed_through)
        for module in observed:
            if inputs:
                yield module.register_forward_pre_hook(self._before_observed)
            yield module.register_forward_hook(self._after_observed)

    def _after_layer(self, module: nn.Module, _arguments: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            self._note(output, self._layers[module])
            if not output.is_nested:  # such a tensor has no shape
                self._latest[output.shape] = self._layers[module]

    def _after_passed_through(self, _module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        source = self._source(arguments)
        if source is not None and isinstance(output, Tensor):
            self._note(output, source)

    def _before_observed(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments:
            self._tell(module, "input", arguments[0], arguments)

    def _after_observed(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        self._tell(module, "output", output, arguments)

    def _tell(self, module: nn.Module, of: Of, values: Any, arguments: tuple[Any, ...]) -> None:
        if torch._C._current_graph_task_id() != -1:
            return  # inside a backward pass: a checkpointed forward pass that is repeated there, and told of already
        received = arguments[0] if arguments else None
        lookalike = None
        if isinstance(received, Tensor) and not received.is_nested:
            lookalike = self._latest.get(received.shape)
        self._receive(Call(module, of, values, self._source(arguments), lookalike))

    def _note(self, tensor: Tensor, source: Source) -> None:
        key = id(tensor)  # a tensor's own while it lives: with it the note goes
        self._sources[key] = weakref.ref(tensor, lambda _: self._sources.pop(key, None)), source

    def _source(self, arguments: tuple[Any, ...]) -> Source | None:
        found = self._sources.get(id(arguments[0])) if arguments else None
        return found[1] if found is not None and found[0]() is arguments[0] else None


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


Receiver = Callable[[str, Of, Tensor, Source], None]
"""Called with the observed module's name, "output" or "input", the values, and the layer that feeds the module."""


@contextmanager
def observing_modules(
    model: nn.Module, observed: Mapping[str, nn.Module], receive: Receiver, inputs: bool
) -> Iterator[None]:
    """Inside, `receive` is called for every call of an observed module; afterwards the model is as it was.

    Every module of the model whose outputs have units can feed them. `inputs`: what they receive is told, too. Inside,
    raises InputError for values that are no real numbers.
    """
    names = {module: name for name, module in observed.items()}
    layers = {name: module for name, module in model.named_modules() if unit_axis(module) is not None}

    def told(call: Call) -> None:
        values = _real_values(call, names[call.module])
        if values.numel():  # an empty batch has no points
            receive(names[call.module], call.of, values.detach(), _fed_by(call, values))

    with hooked(Observer(layers, told).hooks(model, names, inputs)):
        yield


def _real_values(call: Call, name: str) -> Tensor:
    """The first tensor of what was received or returned. Raises InputError unless it is one of real numbers."""
    values = call.values
    if isinstance(values, tuple | list):
        values = next((value for value in values if isinstance(value, Tensor)), None)
    if not isinstance(values, Tensor) or values.layout != torch.strided or values.is_complex():
        raise InputError(f"the {call.of} of module {name!r} is no tensor of real numbers; leave it out of layers.")
    if is_functorch_wrapped_tensor(values):
        raise InputError(f"module {name!r} runs inside torch.func's vmap or grad; observe a plain forward pass.")
    return values


def _fed_by(call: Call, values: Tensor) -> Source:
    """The layer that feeds the module, its name "" if none is known, and the axis of the units.

    Without a known layer the units lie along axis 1 of four and five axes, else along the last.
    """
    own = unit_axis(call.module)
    if own is not None:
        return Source("", own)
    return call.source or call.lookalike or Source("", 1 if values.ndim in (4, 5) else -1)


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
        self._functions: dict[nn.Module, Activation | None] = {}

    def watch_next(self) -> None:
        """Watch the model's next forward pass."""
        self._armed = True

    def hooks(self, model: nn.Module) -> Iterator[RemovableHandle]:
        """Registers those that open and close the one forward pass that is watched."""
        yield model.register_forward_pre_hook(self._begin)
        yield model.register_forward_hook(self._end, always_call=True)

    def receive(self, call: Call) -> None:
        """Takes what a module that may be an activation function received, before it is changed in place, or returned.

        A layer's activation function is the first module with a known function that receives the layer's output.
        """
        if not self._watching or call.source is None:
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
            moments.add(call.values.detach().movedim(call.source.axis, -1).flatten(0, -2))

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
