"""Along which axis of a tensor the units of a layer lie, followed through whatever a model does to the layer's output.

A layer says it of its own output (`layers.unit_axis`). From there on the axis is followed function by function, while a
model runs: elementwise functions, normalisations, pools, pads and crops keep it, permutations move it, a matrix product
or a convolution makes a new one, and after anything else it is unknown. Nothing is told from sizes that happen to fit.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils.hooks import RemovableHandle

from elutheory.models.hooks import hooked
from elutheory.models.layers import layers_of, unit_axis


class Source(NamedTuple):
    """The layer that a tensor comes from ("" if its units are several layers', or of no module), and the axis of the
    tensor along which the units lie, from the end."""

    layer: str
    axis: int


class _Label(NamedTuple):
    """What is known of a tensor.

    - `direct`: it is the layer's output as it is, or only normalised or dropped out; `order`: later layers have more;
    - `part`: the same for tensors made element by element of the same numbers;
    - `function`: the activation function whose values they are, "" if they are no such values.
    """

    source: Source
    direct: bool
    order: int
    part: int
    function: str = ""


@runtime_checkable
class FunctionListener(Protocol):
    """Is told of every function that a model calls while it runs, by the function's name, before and after."""

    def before(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """The function is about to be called."""

    def after(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """It has returned."""


_DIRECT = frozenset(
    """
    alpha_dropout batch_norm bfloat16 clone contiguous cpu cuda detach double dropout dropout1d dropout2d
    dropout3d feature_alpha_dropout float group_norm half instance_norm layer_norm requires_grad_ rms_norm to
    type type_as
    """.split()  # noqa: SIM905
)
"""Functions whose values still are one number per unit and position of the layer's output itself."""

_KEPT = _DIRECT | frozenset(
    """
    abs adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d add addcdiv addcmul avg_pool1d avg_pool2d avg_pool3d boolean_dispatch celu clamp
    clamp_max clamp_min clip constant_pad_nd copy_ cos cumsum div elu erf exp expand_as expm1 fill_
    fractional_max_pool2d fractional_max_pool3d gelu hardshrink hardsigmoid hardswish hardtanh iadd imul
    interpolate isub itruediv leaky_relu lerp local_response_norm log log1p log_softmax logsigmoid lp_pool1d
    lp_pool2d lp_pool3d masked_fill max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices
    max_pool3d max_pool3d_with_indices maximum minimum mish mul nan_to_num neg normalize pad pow prelu radd
    reciprocal relu relu6 rmul rrelu rsqrt rsub rtruediv selu sigmoid silu sin softmax softmin softplus
    softshrink softsign sqrt square sub tanh tanhshrink threshold true_divide truediv upsample upsample_bilinear
    upsample_nearest where
    """.split()  # noqa: SIM905
)
"""Functions that leave the units where they are: elementwise, over positions, or normalising."""

_MOVED = frozenset(
    """
    adjoint getitem mT T H mH expand moveaxis movedim narrow permute select squeeze swapaxes swapdims t
    transpose unsqueeze unfold chunk split unbind tensor_split
    """.split()  # noqa: SIM905
)
"""Functions that permute, cut or add axes: where the units go is seen on a tensor of the same shape without memory."""

_RESHAPED = frozenset(
    """
    flatten unflatten view reshape ravel view_as reshape_as
    """.split()  # noqa: SIM905
)

_LAST_AXIS = frozenset(
    """
    addmm baddbmm bilinear embedding embedding_bag linear mm _transpose
    """.split()  # noqa: SIM905
)


_CUT = frozenset("getitem narrow select chunk split unbind tensor_split".split())  # noqa: SIM905
"""Those of _MOVED whose result is some of the numbers."""

_SUMS = frozenset("add iadd radd".split())  # noqa: SIM905

_CONVOLUTIONS = {f"conv{of}{n}d": n for n in (1, 2, 3) for of in ("", "_transpose")}


class _Ending(RemovableHandle):
    """What is to be done when hooks are removed, in the shape of a hook's handle."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def remove(self) -> None:
        """Do it."""
        self._end()


class UnitAxes(TorchFunctionMode):
    """Follows the axis of the units while a model runs: `note` says where it starts, `source` where it is.

    A tensor is told by its identity. Inside `following` every torch function of a forward pass is
    seen, while `enabled`. `weights`: the names of layers by the identity of their weights, so that products with them
    are those layers' outputs where a model calls functions; `listener` is told of every function. `running`: the
    modules that are being called, the innermost last, each with counts that whoever listens keeps.
    """

    def __init__(self, weights: Mapping[int, str] | None = None, listener: FunctionListener | None = None) -> None:
        super().__init__()
        self._weights = weights or {}
        self._listener = listener
        self.running: list[tuple[nn.Module, Counter[Any]]] = []
        self._labels: dict[int, tuple[weakref.ref[Tensor], _Label]] = {}
        self._order = count(1)
        self._outermost: nn.Module | None = None
        self.enabled = True

    def note(self, tensor: Tensor, source: Source) -> None:
        """The tensor is a layer's own output."""
        self._set(tensor, self._new_label(source, True))

    def note_function(self, tensor: Tensor, function: str) -> None:
        """The tensor holds the values of this activation function; "": of none."""
        label = self._label(tensor)
        if label is not None:
            self._set(tensor, label._replace(function=function))

    def function(self, tensor: Any) -> str:
        """The activation function whose values the tensor holds; "" if none is known."""
        label = self._label(tensor)
        return "" if label is None else label.function

    def part(self, tensor: Any) -> int | None:
        """The same for tensors made element by element of the same numbers of a layer; None if none is known."""
        label = self._label(tensor)
        return None if label is None else label.part

    def source(self, tensor: Any) -> Source | None:
        """The layer and the axis, or None if the axis is not known."""
        label = self._label(tensor)
        return None if label is None else label.source

    def is_direct(self, tensor: Any) -> bool:
        """Whether the tensor is a layer's output as it is, or only normalised or dropped out."""
        label = self._label(tensor)
        return label is not None and label.direct

    def hooks(self, model: nn.Module) -> Iterator[RemovableHandle]:
        """Hooks that follow functions during every forward pass of the model or of a part of it."""
        for module in model.modules():
            yield module.register_forward_pre_hook(self._enter)
            yield module.register_forward_hook(self._leave, always_call=True)
        yield _Ending(self._end)  # a pass may be under way whose own hook somebody has removed

    def _enter(self, module: nn.Module, _arguments: Any) -> None:
        if self.enabled and self._outermost is None and torch._C._current_graph_task_id() == -1:
            self._outermost = module
            self.__enter__()
        if self._outermost is not None:
            self.running.append((module, Counter()))

    def _leave(self, module: nn.Module, *_: Any) -> None:
        if self.running and self.running[-1][0] is module:
            self.running.pop()
        if self._outermost is module and not any(running is module for running, _ in self.running):
            self._end()

    def _end(self) -> None:
        if self._outermost is not None:
            self._outermost = None
            self.running.clear()
            self.__exit__(None, None, None)

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the function and labels what it returns."""
        kwargs = kwargs or {}
        name, listener = function_name(func), self._listener
        if listener is not None:
            listener.before(name, args, kwargs)
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            self._follow(name, func, args, kwargs, result)
        elif isinstance(result, tuple | list) and result and isinstance(result[0], Tensor):
            self._follow_several(name, func, args, kwargs, result)
        if listener is not None:
            listener.after(name, args, kwargs, result)
        return result

    # ---------------------------------------------------------------------------------------------------- internals

    def _set(self, tensor: Tensor, label: _Label) -> None:
        key = id(tensor)  # a tensor's own while it lives: with it the label goes
        self._labels[key] = weakref.ref(tensor, lambda _: self._labels.pop(key, None)), label

    def _label(self, tensor: Any) -> _Label | None:
        found = self._labels.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def _follow(self, name: str, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Tensor) -> None:
        label = self._labelled(name, func, args, kwargs, result)
        if label is not None:
            self._set(result, label)
        elif self._labels:
            self._labels.pop(id(result), None)  # of a function in place

    def _labelled(
        self, name: str, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Tensor
    ) -> _Label | None:
        if name in _CONVOLUTIONS:
            return self._new(-1 - _CONVOLUTIONS[name], _tensors(args, kwargs))
        if name in _LAST_AXIS:
            return self._new(-1, _tensors(args, kwargs))
        if name == "matmul":
            return self._of_product(args, result)
        if name == "scaled_dot_product_attention":
            values = self._label(args[2] if len(args) > 2 else kwargs.get("value"))
            return None if values is None or values.source.axis != -1 else values._replace(direct=False, function="")
        tensors = _tensors(args, kwargs)
        labels = [(tensor, label) for tensor in tensors if (label := self._label(tensor)) is not None]
        if not labels:
            return self._of_normalisation(name, args, kwargs, result)
        if name in _KEPT:
            adds_bias = name in _SUMS and any(isinstance(one, nn.Parameter) and one.ndim == 1 for one in tensors)
            return self._kept(labels, result, name in _DIRECT or adds_bias)
        if name in ("cat", "concat", "concatenate", "hstack", "vstack", "stack"):
            return _concatenated(name, labels, len(tensors), args, kwargs, result)
        tensor, label = labels[0]
        if name == "glu":
            return label._replace(direct=False, part=next(self._order))
        if tensor is not (args[0] if args else None) or result.is_nested or tensor.is_nested:
            return None
        axis = None
        if name in _RESHAPED:
            axis = _after_reshape(tensor.shape, label.source.axis, result.shape)
        elif name in _MOVED:
            axis = _after_move(func, args, kwargs, label.source.axis, result)
        if axis is None:
            return None
        part = next(self._order) if name in _CUT else label.part
        return _Label(Source(label.source.layer, axis), False, label.order, part, label.function)

    def _new_label(self, source: Source, direct: bool) -> _Label:
        order = next(self._order)
        return _Label(source, direct, order, order)

    def _new(self, axis: int, tensors: list[Tensor] | None = None) -> _Label:
        """Units of a product: the layer's whose weight is among the tensors."""
        layer = next((self._weights[id(one)] for one in tensors or () if id(one) in self._weights), "")
        return self._new_label(Source(layer, axis), bool(layer))

    def _kept(self, labels: list[tuple[Tensor, _Label]], result: Tensor, direct: bool) -> _Label | None:
        """As `_kept`; what is made of several tensors is no part of a single one, nor an activation's values."""
        label = _kept(labels, result, direct)
        if label is None:
            return None
        several = len(labels) > 1
        function = label.function if direct and not several else ""
        return label._replace(part=next(self._order) if several else label.part, function=function)

    def _of_product(self, args: tuple[Any, ...], result: Tensor) -> _Label | None:
        right = args[1] if len(args) > 1 else None
        if not isinstance(right, Tensor) or result.ndim == 0:
            return None
        label = self._label(right)
        if label is not None:
            product = label.source.axis == -1 and right.ndim > 1
            return label._replace(direct=False, part=next(self._order), function="") if product else None
        return self._new(-1, [right]) if right.ndim == 2 else None

    def _of_normalisation(self, name: str, args: Any, kwargs: Mapping[str, Any], result: Tensor) -> _Label | None:
        """Of a tensor whose units were not known: the axis along which a normalisation has its parameters."""
        if name in ("batch_norm", "instance_norm", "group_norm") and result.ndim > 1:
            return self._new(1 - result.ndim)
        if name in ("layer_norm", "rms_norm"):
            shape = args[1] if len(args) > 1 else kwargs.get("normalized_shape", ())
            return self._new(-1) if len(shape) == 1 else None
        return None

    def _follow_several(
        self, name: str, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], results: Any
    ) -> None:
        label = self._label(args[0] if args else None)
        if name in ("multi_head_attention_forward", "lstm", "gru", "rnn_tanh", "rnn_relu"):
            self._set(results[0], self._new(-1))
        elif label is not None and name in _MOVED:
            probe = _probe(args[0].shape, label.source.axis)
            moved = None if probe is None else _tried(func, (probe, *args[1:]), kwargs)
            if moved is not None and len(moved) == len(results):
                for result, shadow in zip(results, moved, strict=True):
                    axis = _varying_axis(shadow, result)
                    if axis is not None:
                        source, part = Source(label.source.layer, axis), next(self._order)
                        self._set(result, _Label(source, False, label.order, part, label.function))
        elif label is not None and name in _KEPT:  # a pool with its indices, a maximum
            kept = _kept([(args[0], label)], results[0], False)
            if kept is not None:
                self._set(results[0], kept)


@contextmanager
def following(model: nn.Module, layers: Mapping[str, nn.Module] | None = None) -> Iterator[UnitAxes]:
    """Inside, the axes of the units are followed from the outputs of `layers`; None: of every module that has units."""
    axes = UnitAxes()
    named = dict(model.named_modules()) if layers is None else layers
    with hooked(handle for handles in (layer_hooks(axes, named), axes.hooks(model)) for handle in handles):
        yield axes


def layer_hooks(axes: UnitAxes, layers: Mapping[str, nn.Module]) -> Iterator[RemovableHandle]:
    """Hooks that note the outputs of those of the modules whose outputs have units."""
    sources = {layers[name]: Source(name, axis) for name in layers if (axis := unit_axis(layers[name])) is not None}

    def note(module: nn.Module, _arguments: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) and output else output
        if isinstance(first, Tensor):
            axes.note(first, sources[module])

    for module in sources:
        yield module.register_forward_hook(note)


def names_of_weights(model: nn.Module) -> dict[int, str]:
    """The first name of every layer that has a weight to itself, by the weight's identity."""
    names: dict[int, str] = {}
    for name, layer in layers_of(model).items():
        if layer.rows is None:
            names.setdefault(id(layer.weight), name)
    return names


# --- single functions -----------------------------------------------------------------------------------------------


def function_name(func: Any) -> str:
    """relu_, __add__ and Tensor.T.__get__ as relu, add and T."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        name = (resolve_name(func) or "").removesuffix(".__get__").rpartition(".")[2]
    return name.strip("_") if name != "requires_grad_" else name


def _tensors(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    found = []
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += [entry for entry in value if isinstance(entry, Tensor)]
    return found


def _kept(labels: list[tuple[Tensor, _Label]], result: Tensor, direct: bool) -> _Label | None:
    """The label of the layer called last; None where the axes disagree, or the result has other units there."""
    axes = {label.source.axis for _, label in labels}
    if len(axes) != 1 or result.is_nested:
        return None
    axis = axes.pop()
    if result.ndim < -axis or any(tensor.shape[axis] != result.shape[axis] for tensor, _ in labels):
        return None
    last = max((label for _, label in labels), key=lambda label: label.order)
    return last._replace(direct=last.direct and direct)


def _concatenated(
    name: str, labels: list[tuple[Tensor, _Label]], parts: int, args: Any, kwargs: Mapping[str, Any], result: Tensor
) -> _Label | None:
    """Parts whose units lie along one axis: joined along it they are units of several layers."""
    axes = {label.source.axis for _, label in labels}
    if len(axes) != 1 or len(labels) != parts or name in ("hstack", "vstack", "stack"):
        return None
    axis = axes.pop()
    dimension = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis", 0))
    last = max((label for _, label in labels), key=lambda label: label.order)
    along = dimension % result.ndim == axis % result.ndim
    return last._replace(source=Source("", axis) if along else last.source, direct=False, function="")


def _after_reshape(before: torch.Size, axis: int, after: torch.Size) -> int | None:
    """Where an axis is after a reshape: of its size, with as many numbers before it; None if it was cut or joined."""
    place = axis % len(before)
    size, leading = before[place], torch.Size(before[:place]).numel()
    found = [
        other for other, length in enumerate(after) if length == size and torch.Size(after[:other]).numel() == leading
    ]
    return found[0] - len(after) if len(found) == 1 else None


def _probe(shape: torch.Size, axis: int) -> Tensor | None:
    """A tensor of that shape, without memory, its only stride other than 0 that of the units; None for one unit."""
    units = shape[axis]
    if units < 2:
        return None
    strides = [0] * len(shape)
    strides[axis] = 1
    return torch.empty(units, device="meta").as_strided(tuple(shape), tuple(strides))


def _tried(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    try:
        return func(*args, **kwargs)
    except (RuntimeError, NotImplementedError, IndexError, TypeError, ValueError):  # an index that has values, say
        return None


def _varying_axis(probe: Any, result: Tensor) -> int | None:
    if not isinstance(probe, Tensor) or probe.shape != result.shape:
        return None
    found = [axis for axis in range(probe.ndim) if probe.stride(axis) != 0 and probe.shape[axis] > 1]
    return found[0] - probe.ndim if len(found) == 1 else None


def _after_move(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], axis: int, result: Tensor) -> int | None:
    probe = _probe(args[0].shape, axis)
    return None if probe is None else _varying_axis(_tried(func, (probe, *args[1:]), kwargs), result)
