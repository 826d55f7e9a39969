"""What goes into and comes out of the activation functions behind a model's layers, found by the tensors' identity."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from elutheory.activations.activation_function import Activation, activation
from elutheory.activations.torch_module import ActivationModule
from elutheory.models.running_moments import RunningMoments

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation


_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_OTHER_NORM = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm)
PASSED_THROUGH = (nn.Identity, *_DROPOUT, *_BATCH_NORM, *_OTHER_NORM)
"""Modules between a layer and its activation function whose outputs are still one number a unit and position."""


_PROBE = (-30.0, -6.0, -3.0, -1.7, -1.0, -0.6, -0.3, -0.1, 0.0, 0.1, 0.3, 0.6, 1.0, 1.7, 3.0, 5.5, 7.0, 30.0)
_NAMES_FOUND_BY_VALUE = (
    "relu",
    "shifted_relu",
    "elu",
    "gelu",
    "silu",
    "tanh",
    "logistic",
    "softplus",
    "selu",
    "relu6",
    "hard_tanh",
)


class ActivationRecord:
    """Over the data: one layer's net inputs as its activation function receives them, and what comes out of it.

    `module` applies the activation function `function`. One number a unit, over examples and positions.
    """

    def __init__(self, module: nn.Module, function: "Activation") -> None:
        self.module = module
        self.function = function
        self.nets = RunningMoments()
        self.outputs = RunningMoments()


class ActivationObserver:
    """Keeps an `ActivationRecord` for every layer whose output an activation function receives, while it is watching.

    One forward pass is watched after each `watch_next`: that model call, and no other.
    """

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        self.records: dict[str, ActivationRecord] = {}
        self._layers = layers
        self._names = {module: name for name, module in layers.items()}
        self._armed = self._watching = False
        self._from_layer: dict[int, tuple[Tensor, str]] = {}  # the tensor too: an id is only its own while it lives
        self._functions: dict[nn.Module, Activation | None] = {}

    def watch_next(self) -> None:
        """Watch the model's next forward pass."""
        self._armed = True

    def begin(self, *_arguments: Any) -> None:
        """Hook before the model's forward pass."""
        self._watching, self._armed = self._armed, False

    def end(self, *_arguments: Any) -> None:
        """Hook after the model's forward pass."""
        self._watching = False
        self._from_layer = {}

    def layer(self, module: nn.Module, _arguments: tuple[Any, ...], output: Any) -> None:
        """Hook after a layer."""
        if self._watching and isinstance(output, Tensor):
            self._from_layer[id(output)] = output, self._names[module]

    def passed_through(self, _module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        """Hook after a module of the kinds of PASSED_THROUGH."""
        if self._watching and arguments and id(arguments[0]) in self._from_layer and isinstance(output, Tensor):
            self._from_layer[id(output)] = output, self._from_layer[id(arguments[0])][1]

    def before_activation(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Hook before a possible activation function: the net input, before it may be changed in place."""
        name, record = self._record(module, arguments)
        if record is not None:
            record.nets.add(self._by_unit(name, arguments[0]))

    def after_activation(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        """Hook after it."""
        name, record = self._record(module, arguments)
        if record is not None:
            record.outputs.add(self._by_unit(name, output))

    def _record(self, module: nn.Module, arguments: tuple[Any, ...]) -> "tuple[str, ActivationRecord | None]":
        """The layer whose output the module receives and its record, if the module is its activation function."""
        if not self._watching or not arguments or id(arguments[0]) not in self._from_layer:
            return "", None
        if module not in self._functions:
            self._functions[module] = recognised_activation(module, arguments[0].device)
        function, name = self._functions[module], self._from_layer[id(arguments[0])][1]
        if function is None:
            return name, None
        record = self.records.setdefault(name, ActivationRecord(module, function))
        return name, record if record.module is module else None

    def _by_unit(self, name: str, values: Tensor) -> Tensor:
        axis = -1 if isinstance(self._layers[name], nn.Linear) else 1
        return values.detach().movedim(axis, -1).flatten(0, -2)


@contextmanager
def observing(model: nn.Module, layers: dict[str, nn.Module]) -> Iterator[ActivationObserver]:
    """Inside, the observer is told of the model's forward passes; afterwards the model is as it was."""
    observer = ActivationObserver(layers)
    handles = [
        model.register_forward_pre_hook(observer.begin),
        model.register_forward_hook(observer.end, always_call=True),
    ]
    try:
        for module in model.modules():
            if module in layers.values():
                handles.append(module.register_forward_hook(observer.layer))
            elif isinstance(module, PASSED_THROUGH):
                handles.append(module.register_forward_hook(observer.passed_through))
            elif module is not model and not any(True for _ in module.parameters()):
                handles.append(module.register_forward_pre_hook(observer.before_activation))
                handles.append(module.register_forward_hook(observer.after_activation))
        yield observer
    finally:
        for handle in handles:
            handle.remove()


def recognised_activation(module: nn.Module, device: torch.device | None = None) -> "Activation | None":
    """The registered activation function that the module applies, with its parameters; None if there is none.

    torch's own modules are told by their class; others by their values at 18 points of [−30, 30], as are
    activation functions of other libraries. `device`: where the module computes; None: on the CPU.
    """
    if isinstance(module, ActivationModule):
        return module.activation if isinstance(module.activation, Activation) else None
    parameters = {
        nn.ELU: ("elu", {"alpha": "alpha"}),
        nn.CELU: ("celu", {"alpha": "alpha"}),
        nn.LeakyReLU: ("leaky_relu", {"negative_slope": "negative_slope"}),
    }
    if type(module) in parameters:
        name, keys = parameters[type(module)]
        values = {key: getattr(module, attribute) for key, attribute in keys.items()}
        allowed = values.get("alpha", 1.0) > 0 and values.get("negative_slope", 0.0) >= 0
        return activation(name, **values) if allowed else None
    plain = {nn.ReLU: "relu", nn.SELU: "selu", nn.SiLU: "silu", nn.Tanh: "tanh", nn.Sigmoid: "logistic"}
    if type(module) in plain:
        return activation(plain[type(module)])
    return _found_by_value(module, [activation(name) for name in _NAMES_FOUND_BY_VALUE], device)


def _found_by_value(
    module: nn.Module, candidates: "Sequence[Activation]", device: torch.device | None
) -> "Activation | None":
    points = torch.tensor(_PROBE, dtype=torch.float64, device=device)
    try:
        with torch.no_grad():
            values = module(points.clone())
            reversed_values = module(points.flip(0))
    except Exception:  # whatever a third party's module raises on a vector: it is no activation function
        return None
    if not isinstance(values, Tensor) or values.shape != points.shape or not isinstance(reversed_values, Tensor):
        return None
    if not torch.equal(values, reversed_values.flip(0)):
        return None
    points, values = points.cpu(), values.cpu().double()
    for candidate in candidates:
        if torch.allclose(values, candidate(points), rtol=1e-6, atol=1e-9):
            return candidate
    return None
