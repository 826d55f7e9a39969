"""What the activation functions of a running model receive and return, and which layer feeds each of them.

They may be modules or functions that a module calls; see `activation_calls.py` for which functions count.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor  # pyright: ignore[reportMissingImports]
from torch.utils.hooks import RemovableHandle

from elutheory.activations.activation_function import Activation
from elutheory.activations.recognition import is_activation, recognised_activation
from elutheory.errors import InputError
from elutheory.models.activation_calls import (
    gate_name,
    is_activation_function,
    key_of_call,
    module_of_call,
    name_of_function,
)
from elutheory.models.batch_layout import BatchLayout, mask_of_positions
from elutheory.models.hooks import hooked
from elutheory.models.layers import PASSED_THROUGH, UnitWeights, unit_axis
from elutheory.models.unit_axes import Source, UnitAxes, layer_hooks, names_of_weights
from elutheory.numerics.running_moments import RunningMoments

Of = Literal["output", "input"]


class Call(NamedTuple):
    """What one call of an activation function received (`of` "input", before the call) or returned ("output", after).

    - `module`: the module that was called; of a function a module that does the same, which is no part of the model;
    - `values`: the first argument as it was received, or whatever was returned;
    - `source`: the layer that the argument comes from, and the axis of its units, in `values` if that is known, else in
      the argument; None: unknown;
    - `direct`: whether the argument is that layer's output as it is, or only normalised or dropped out;
    - `function`: of a function its name, of a gated unit its name, as SwiGLU; of a module "";
    - `caller`: the module that called the function;
    - `number`: of calls of one function by one call of one module whose layer is not known, 1 for the first; else 1;
    - `factors`: of a gated unit the layers whose values it multiplies.
    """

    module: nn.Module
    of: Of
    values: Any
    source: Source | None
    direct: bool
    function: str = ""
    caller: nn.Module | None = None
    number: int = 1
    factors: tuple[str, ...] = ()


class Observer:
    """Tells `receive` of every call of the observed modules and activation functions, with the layer that feeds it.

    Which layer a tensor comes from, and where its units are, is followed through the functions between them
    (`UnitAxes`), never told by the order of modules in the model. `layers`: those that can feed a module, by name;
    `weights`: the names of layers by their weights, so that functions with these weights feed too; `functions`: calls
    of torch's functions that are activation functions, and gated units, are told too. Forward passes that a
    checkpointed model repeats in its backward pass are not told of.
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        receive: Callable[[Call], None],
        weights: Mapping[int, str] | None = None,
        functions: bool = False,
    ) -> None:
        self._layers = layers
        self._receive = receive
        self._functions = functions
        self._inputs = False
        self._axes = UnitAxes(weights, self if functions else None)
        self._received: dict[nn.Module, list[tuple[Source | None, bool]]] = {}
        self._activations: dict[nn.Module, bool] = {}
        self._names: dict[nn.Module, str] = {}
        self._stand_ins: dict[tuple[Any, ...], nn.Module | None] = {}
        self._called: Call | None = None
        self._factors: list[tuple[Any, str, int | None, str]] = []

    def hooks(self, model: nn.Module, observed: Iterable[nn.Module], inputs: bool) -> Iterator[RemovableHandle]:
        """Registers them one by one; `inputs`: what the observed modules receive is told, too."""
        self._inputs = inputs
        yield from self._axes.hooks(model)
        yield from layer_hooks(self._axes, self._layers)
        for module in observed:
            yield module.register_forward_pre_hook(self._before_observed)
            if inputs:
                yield module.register_forward_pre_hook(self._tell_input)
            yield module.register_forward_hook(self._after_observed)

    # --------------------------------------------------------------------------------------------------------- modules

    def _before_observed(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        first = arguments[0] if arguments else None
        self._received.setdefault(module, []).append((self._axes.source(first), self._axes.is_direct(first)))

    def _tell_input(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments:
            self._tell(Call(module, "input", arguments[0], *self._received[module][-1]))

    def _after_observed(self, module: nn.Module, _arguments: tuple[Any, ...], output: Any) -> None:
        source, direct = self._received[module].pop()  # the last: it may be called to see which function it is
        first = _first_tensor(output)
        followed = self._axes.source(first)
        if followed is not None:
            source = Source(source.layer if source is not None else followed.layer, followed.axis)
        elif not self._is_activation(module):
            source = None
        if self._functions and isinstance(first, Tensor) and self._is_activation(module):
            self._axes.note_function(first, self._name(module))
        self._tell(Call(module, "output", output, source, direct))

    def _is_activation(self, module: nn.Module) -> bool:
        if module not in self._activations:
            with torch._C.DisableTorchFunction():
                self._activations[module] = is_activation(module)
        return self._activations[module]

    def _name(self, module: nn.Module) -> str:
        if module not in self._names:
            with torch._C.DisableTorchFunction():
                self._names[module] = name_of_function(module)
        return self._names[module]

    # ------------------------------------------------------------------------------------------------------- functions

    def before(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Notes a call of an activation function; tells what it receives."""
        self._called, self._factors = None, []
        if name in ("mul", "imul", "rmul"):
            self._factors = [self._factor(value) for value in args[:2]]
            return
        if name == "square" or (name == "pow" and _is_two(args[1:])):
            self._factors = [self._factor(args[0])] * 2
            return
        inputs = args[0] if args else kwargs.get("input")
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            return
        source = self._axes.source(inputs)
        if not is_activation_function(name, source is not None and bool(source.layer)) or self._is_inside_activation():
            return
        caller, counts = self._axes.running[-1]
        key = (caller, *key_of_call(name, args[1:], {key: kwargs[key] for key in kwargs if key != "input"}))
        if key not in self._stand_ins:
            with torch._C.DisableTorchFunction():
                self._stand_ins[key] = module_of_call(name, args[1:], kwargs)
        module = self._stand_ins[key]
        if module is None:
            return
        if source is None or not source.layer:
            counts[name] += 1
        number = max(1, counts[name]) if source is None or not source.layer else 1
        direct = self._axes.is_direct(inputs)
        self._called = Call(module, "input", inputs, source, direct, name, caller, number)
        if self._inputs:
            self._tell(self._called)

    def after(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """Tells what the activation function returned, or of the gated unit that a product is."""
        if not isinstance(result, Tensor):
            return
        if self._called is not None:
            call, self._called = self._called, None
            followed = self._axes.source(result)
            self._axes.note_function(result, self._name(call.module))
            source = call.source
            if followed is not None:
                source = Source(source.layer if source is not None else followed.layer, followed.axis)
            factors = (source.layer,) if name == "glu" and source is not None else ()
            self._tell(call._replace(of="output", values=result, source=source, factors=factors))
        elif self._factors:
            factors, self._factors = self._factors, []
            self._tell_gate(factors, result)

    def _factor(self, value: Any) -> tuple[Any, str, int | None, str]:
        source = self._axes.source(value)
        layer = "" if source is None else source.layer
        shape = value.shape if isinstance(value, Tensor) else None
        return shape, self._axes.function(value), self._axes.part(value), layer

    def _tell_gate(self, factors: Sequence[tuple[Any, str, int | None, str]], result: Tensor) -> None:
        """A product of an activation function's values, of those of other units (a gated unit) or of its own input."""
        if len(factors) != 2 or any(shape != result.shape or part is None for shape, _, part, _ in factors):
            return
        functions = tuple(sorted(function for _, function, _, _ in factors if function))
        if not functions or self._is_inside_activation():
            return
        own = factors[0][2] == factors[1][2]
        name = "·".join([*(["x"] if len(functions) == 1 else []), *(f"{function}(x)" for function in functions)])
        name = name if own else gate_name(functions)
        value = next((layer for _, function, _, layer in factors if not function), factors[0][3])
        axis = self._axes.source(result)
        source = None if axis is None else Source(value, axis.axis)
        layers = tuple(layer for *_, layer in factors if layer)
        stand_in = self._stand_ins.setdefault((name,), nn.Identity())
        assert stand_in is not None  # noqa: S101
        caller = self._axes.running[-1][0]
        self._tell(Call(stand_in, "output", result, source, False, name, caller, 1, layers))

    def _is_inside_activation(self) -> bool:
        return not self._axes.running or any(self._is_activation(module) for module, _ in self._axes.running)

    def _tell(self, call: Call) -> None:
        if torch._C._current_graph_task_id() != -1:
            return  # inside a backward pass: a checkpointed forward pass that is repeated there, and told of already
        with torch._C.DisableTorchFunction():
            self._receive(call)


def _is_two(exponents: tuple[Any, ...]) -> bool:
    return len(exponents) == 1 and isinstance(exponents[0], int | float) and exponents[0] == 2


def _is_of_one_factor(product: str) -> bool:
    """Whether a product of values is of one net input alone, as x·logistic(x) is."""
    return product.endswith("(x)")


def _first_tensor(values: Any) -> Any:
    if isinstance(values, tuple | list):
        return next((value for value in values if isinstance(value, Tensor)), None)
    return values


# --- the activation modules of a model, whatever feeds them ---------------------------------------------------------


def observed_modules(model: nn.Module, layers: Sequence[str] | None) -> dict[str, nn.Module]:
    """The modules to observe, by name: those named in `layers`, or, with None, all activation modules, if any.

    Raises InputError for unknown names, and for no name.
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
    return {name: module for name, module in named.items() if is_activation(module)}


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


class Observed(NamedTuple):
    """Where values were observed.

    - `name`: of the module, or, of a function, of the module that calls it, with the function's, as `block.relu()`;
    - `kind`: the module's class, or the function's name;
    - `module`: the module, or one that does what the function does.
    """

    name: str
    kind: str
    module: nn.Module


Receiver = Callable[[Observed, Of, Tensor, Source], None]
"""Called with where the values are, "output" or "input", the values, and the layer that feeds the module."""

LeftOut = Callable[[str, str], None]
"""Called with the name of a function's call that cannot be observed, and the reason."""

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
    left_out: LeftOut | None = None,
) -> Iterator[None]:
    """Inside, `receive` is called for every call of an observed module; afterwards the model is as it was.

    Every module of the model whose outputs have units can feed them. `inputs`: what they receive is told, too.
    `layout` says which positions count; where it has a mask, values are told as (points, units). With `left_out` the
    activation functions that modules call without a module are told of, too, or left out with a reason. Inside, raises
    InputError for modules' values that are no real numbers, and where the axis of their units is not known.
    """
    sites = {module: Observed(name, type(module).__name__, module) for name, module in observed.items()}
    layers = dict(model.named_modules())
    names = {module: name for name, module in layers.items()}
    _check_unit_axis(unit_axis, observed, left_out is not None)

    def told(call: Call) -> None:
        if call.caller is None:
            site = sites[call.module]
        else:
            number = f"#{call.number}" if call.number > 1 else ""
            called = call.function if "(" in call.function else f"{call.function}()"
            site = Observed(f"{names[call.caller]}.{called}{number}".lstrip("."), call.function, call.module)
        try:
            values = _real_values(call, site.name)
            if not values.numel():  # an empty batch has no points
                return
            source = _fed_by(call, values, site.name, unit_axis)
            if masks:
                points = counted_points(values.detach(), source.axis, masks, layout.batch_axis if layout else 0)
                if isinstance(points, str):
                    raise InputError(
                        f"the {call.of} of {_described(call, site)} {points}; give mask= (False: all of them count)."
                    )
                values, source = points, Source(source.layer, -1)
        except InputError as refusal:
            if call.caller is None or left_out is None or isinstance(unit_axis, int):
                raise
            left_out(site.name, str(refusal))
            return
        if values.numel():
            receive(site, call.of, values.detach(), source)

    def starts(_module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if layout is not None:
            masks[:] = layout.masks(keywords or (arguments[0] if arguments else None))

    masks: list[Tensor] = []
    observer = Observer(layers, told, names_of_weights(model), functions=left_out is not None)
    with (
        hooked(iter([model.register_forward_pre_hook(starts, with_kwargs=True)])),
        hooked(observer.hooks(model, sites, inputs)),
    ):
        yield


def _described(call: Call, site: Observed) -> str:
    return f"module {site.name!r}" if call.caller is None else f"function {site.name!r}"


def _check_unit_axis(given: UnitAxis, observed: Mapping[str, nn.Module], functions: bool) -> None:
    axes = given if isinstance(given, Mapping) else {} if given is None else {"": given}
    for name, axis in axes.items():
        if isinstance(axis, bool) or not isinstance(axis, int):
            raise InputError(f"unit_axis is {given!r}; an axis, or one for each module's name, is needed.")
        if isinstance(given, Mapping) and name not in observed and not (functions and "(" in name):
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


@dataclass(frozen=True, eq=False)
class SlopePerUnit:
    """A PReLU whose negative slope is every unit's own."""

    slopes: Float[Tensor, " units"]

    def __str__(self) -> str:
        return f"prelu(negative_slope={float(self.slopes.min()):.3g} to {float(self.slopes.max()):.3g} by unit)"


class ActivationRecord:
    """What one layer's activation function receives and returns over the data: one number per unit.

    `module` applies the activation function `function`; `nets` are the moments of the net inputs as it receives them,
    `outputs` those of what it returns, over examples and positions.
    """

    def __init__(self, module: nn.Module, function: Activation | SlopePerUnit) -> None:
        self.module = module
        self.function = function
        self.nets = RunningMoments()
        self.outputs = RunningMoments()


class ActivationObserver:
    """Keeps an `ActivationRecord` for every layer whose output an activation function receives, while it is watching.

    `gates`: what the gated units are called that multiply a layer's values, by the layer's name. One forward pass is
    watched after each `watch_next`: that model call, and no other.
    """

    def __init__(self) -> None:
        self.records: dict[str, ActivationRecord] = {}
        self.gates: dict[str, str] = {}
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
        if not self._watching:
            return
        for layer in call.factors if call.of == "output" else ():
            self.gates[layer] = "GLU" if call.function == "glu" else call.function
            if _is_of_one_factor(call.function):
                self.records.pop(layer, None)  # times its own input, or squared, it is another function
        if isinstance(call.module, nn.GLU) and call.source is not None and call.source.layer:
            self.gates[call.source.layer] = "GLU"
        if call.source is None or not call.direct or not call.source.layer or call.factors:
            return
        if _is_of_one_factor(self.gates.get(call.source.layer, "")):
            return
        function = self._function(call, call.source)
        if function is None:
            return
        module = call.module
        record = self.records.setdefault(call.source.layer, ActivationRecord(module, function))
        if record.module is module:
            moments = record.nets if call.of == "input" else record.outputs
            points = counted_points(call.values.detach(), call.source.axis, self._masks)
            if not isinstance(points, str):
                moments.add(points)

    def _function(self, call: Call, source: Source) -> Activation | SlopePerUnit | None:
        module = call.module
        if isinstance(module, nn.PReLU) and module.weight.numel() > 1:
            of_units = call.values.ndim + source.axis == 1  # its slopes lie along the second axis
            return SlopePerUnit(module.weight.detach().double()) if of_units else None
        if module not in self._functions:
            self._functions[module] = recognised_activation(module, call.values.device)
        return self._functions[module]

    def _begin(self, *_arguments: Any) -> None:
        self._watching, self._armed = self._armed, False

    def _end(self, *_arguments: Any) -> None:
        self._watching = False


@contextmanager
def observing(model: nn.Module, layers: Mapping[str, UnitWeights]) -> Iterator[ActivationObserver]:
    """Inside, the observer is told of the model's forward passes; afterwards the model is as it was.

    `layers`: those whose activation functions are looked for among all modules without parameters, PReLUs, and the
    functions that modules call.
    """
    observer = ActivationObserver()
    named = dict(model.named_modules())
    feeding = {name: named[name] for name in layers if name in named}
    weights = {id(layer.weight): name for name, layer in layers.items() if layer.rows is None}
    candidates = [
        module
        for module in model.modules()
        if module is not model
        and module not in feeding.values()
        and not isinstance(module, PASSED_THROUGH)
        and (isinstance(module, nn.PReLU) or not any(True for _ in module.parameters()))
    ]
    told = Observer(feeding, observer.receive, weights, functions=True)
    with hooked(observer.hooks(model)), hooked(told.hooks(model, candidates, True)):
        yield observer
