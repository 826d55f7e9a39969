"""Which modules of a model have activations to observe, which layer feeds them, and hooks that are always removed."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor  # pyright: ignore[reportMissingImports]

from elutheory.activations.torch_module import ActivationModule
from elutheory.errors import InputError
from elutheory.models.recognition import PASSED_THROUGH, recognised_activation

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

_CHANNEL_AXES = {
    nn.Linear: -1,
    nn.Bilinear: -1,
    nn.Conv1d: -2,
    nn.ConvTranspose1d: -2,
    nn.Conv2d: -3,
    nn.ConvTranspose2d: -3,
    nn.Conv3d: -4,
    nn.ConvTranspose3d: -4,
}
_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)

Receiver = Callable[[str, str, str, Tensor, int], None]
"""Called with (module, fed by, "output" or "input", values, axis of the units)."""


def check_observable(model: nn.Module) -> None:
    """Raise InputError for a model whose forward pass hooks cannot see: compiled, scripted, or spread over devices."""
    for name, module in model.named_modules():
        described = f"{type(module).__name__} {name!r}" if name else f"the {type(module).__name__}"
        if hasattr(module, "_orig_mod"):
            raise InputError(f"{described} is compiled by torch.compile, where hooks see nothing; pass its ._orig_mod.")
        if module._compiled_call_impl is not None:
            raise InputError(f"{described} is compiled in place, where hooks see nothing; do not call its compile().")
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(f"{described} is a TorchScript module; pass the model as it was before.")
        if isinstance(module, _PARALLEL):
            raise InputError(f"{described} spreads a model over devices or processes; pass its .module.")


def observed_modules(model: nn.Module, layers: Sequence[str] | None) -> dict[str, nn.Module]:
    """The modules to observe, by name. Raises InputError for unknown names and if there is no activation module."""
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


class Observer:
    """Hands every observed module's output (and, if wanted, input) on, with the layer that feeds it.

    A module is fed by the layer (Linear, Conv1d, …) whose output it receives, as it is or through normalisation and
    dropout, found by the tensor's identity; else by the last called layer whose output had the input's shape (a sum
    with it, say); else by none, "". The units' axis is that layer's; without one 1 for four and five axes, else the
    last.
    """

    def __init__(self, receive: Receiver, inputs: bool) -> None:
        self._receive = receive
        self._inputs = inputs
        self._names: dict[nn.Module, str] = {}
        self._axes: dict[nn.Module, int | None] = {}
        self._sources: dict[int, tuple[weakref.ref[Tensor], str, int]] = {}
        self._latest: dict[torch.Size, tuple[str, int]] = {}

    def hooks(self, model: nn.Module, observed: dict[str, nn.Module]) -> Iterator[Any]:
        """Register them, one after the other."""
        self._names = {module: name for name, module in observed.items()}
        self._axes = {module: _channel_axis(module) for module in observed.values()}
        for name, module in model.named_modules():
            axis = _channel_axis(module)
            if axis is not None:
                yield module.register_forward_hook(self._layer_hook(name, axis))
            elif isinstance(module, PASSED_THROUGH):
                yield module.register_forward_hook(self._passed_through)
        for module in observed.values():
            if self._inputs:
                yield module.register_forward_pre_hook(self._before)
            yield module.register_forward_hook(self._after)

    def _layer_hook(self, name: str, axis: int) -> Callable[..., None]:
        def hook(_module: nn.Module, _arguments: tuple[Any, ...], output: Any) -> None:
            if isinstance(output, Tensor):
                self._note(output, name, axis)
                self._latest[output.shape] = name, axis

        return hook

    def _note(self, tensor: Tensor, name: str, axis: int) -> None:
        key = id(tensor)
        self._sources[key] = weakref.ref(tensor, lambda _: self._sources.pop(key, None)), name, axis

    def _passed_through(self, _module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        source = self._source(arguments)
        if source is not None and isinstance(output, Tensor):
            self._note(output, *source)

    def _source(self, arguments: tuple[Any, ...]) -> tuple[str, int] | None:
        if arguments:
            found = self._sources.get(id(arguments[0]))
            if found is not None and found[0]() is arguments[0]:
                return found[1:]
        return None

    def _fed_by(self, arguments: tuple[Any, ...], values: Tensor) -> tuple[str, int]:
        source = self._source(arguments)
        if source is None and arguments and isinstance(arguments[0], Tensor):
            source = self._latest.get(arguments[0].shape)
        return source or ("", 1 if values.ndim in (4, 5) else -1)

    def _before(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments:
            self._hand_on(module, arguments, arguments[0], "input")

    def _after(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        self._hand_on(module, arguments, output, "output")

    def _hand_on(self, module: nn.Module, arguments: tuple[Any, ...], values: Any, of: str) -> None:
        if torch._C._current_graph_task_id() != -1:
            return  # a checkpointed forward pass that the backward pass repeats: counted already
        name = self._names[module]
        values = _first_tensor(values)
        if values is None or values.layout != torch.strided or values.is_complex():
            raise InputError(f"the {of} of module {name!r} is no tensor of real numbers; leave it out of layers.")
        if is_functorch_wrapped_tensor(values):
            raise InputError(f"module {name!r} runs inside torch.func's vmap or grad; observe a plain forward pass.")
        if not values.numel():
            return  # an empty batch
        axis = self._axes[module]
        fed_by, axis = self._fed_by(arguments, values) if axis is None else ("", axis)
        self._receive(name, fed_by, of, values.detach(), axis)


def _channel_axis(module: nn.Module) -> int | None:
    return next((axis for kind, axis in _CHANNEL_AXES.items() if isinstance(module, kind)), None)


def _first_tensor(values: Any) -> Tensor | None:
    if isinstance(values, tuple | list):
        return next((value for value in values if isinstance(value, Tensor)), None)
    return values if isinstance(values, Tensor) else None


@contextmanager
def observing_modules(
    model: nn.Module, observed: dict[str, nn.Module], receive: Receiver, inputs: bool
) -> Iterator[None]:
    """Inside, `receive` is called for every call of an observed module; afterwards the model is as it was."""
    handles = []
    try:
        for handle in Observer(receive, inputs).hooks(model, observed):
            handles.append(handle)
        yield
    finally:
        for handle in handles:
            handle.remove()
