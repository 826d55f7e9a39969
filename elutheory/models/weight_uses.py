"""Where a running model multiplies a parameter with activations: seen function by function, whoever calls it.

`nn.Linear` calls a function with its weight, and so does attention with parts of one, a decoder with the embedding's, a
pruned or masked layer with a product of the two, and code that has parameters of its own. All of them are seen here.
What is done to a parameter before it is used is followed as far as the result stays linear in it, row by row.
"""

import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor  # pyright: ignore[reportMissingImports]
from torch.overrides import TorchFunctionMode

from elutheory.models.linear_maps import Dense, LinearMap, Lookup, Patches, TransposedPatches
from elutheory.models.recurrence import StepwiseProduct, cell, unrolled
from elutheory.models.unit_axes import function_name

Rows = tuple[int, int] | None
"""The first and the last but one of a parameter's first axis; None: all."""


@dataclass(frozen=True, eq=False)
class Origin:
    """What a tensor is made of: the rows of a parameter, `transposed` or not, times `scale`, plus what is constant."""

    parameter: Tensor
    rows: Rows = None
    transposed: bool = False
    scale: Tensor | float | None = None


@dataclass(frozen=True, eq=False)
class Use:
    """One product of a parameter with activations.

    - `weight`: the parameter, and what became of it; `bias`: the same of what was added within the function, None if
      that is no parameter;
    - `incoming`: what it was multiplied with; `net`: the product, for which gradients are taken; `map`: how both are
      laid out.
    """

    weight: Origin
    bias: Origin | None
    map: LinearMap
    incoming: Tensor
    net: Tensor


Note = Callable[[Use], Tensor]
"""Takes a use, whose net is what the function returned; gives the net input that the model goes on with."""


class WeightUses(TorchFunctionMode):
    """Inside, tells `note` of every use of one of the weights in a linear map, and which of the biases it adds.

    `detached`: inside of the function weights and biases have their values, and no gradient reaches them.
    """

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor], note: Note, detached: bool = True) -> None:
        super().__init__()
        self._parameters = {id(parameter): parameter for parameter in (*weights, *biases)}
        self._note = note
        self._detached = detached
        self._origins: dict[int, tuple[weakref.ref[Tensor], Origin]] = {}
        self._before: dict[int, tuple[weakref.ref[Tensor], torch.Size]] = {}

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the function; one with a weight in it as a product that is noted."""
        kwargs = kwargs or {}
        name = function_name(func)
        product = _PRODUCTS.get(name)
        if product is not None:
            result = product(self, func, args, kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        if name in _FOLLOWED:
            self._follow(name, func, args, kwargs, result)
        if name in _JOINING and isinstance(result, Tensor) and isinstance(args[0], Tensor):
            self._join(args[0], result)
        return result

    # ---------------------------------------------------------------------------------------- what tensors are made of

    def origin(self, tensor: Any) -> Origin | None:
        """What a tensor is made of; None if of none of the parameters, or not in a way that is followed."""
        if not isinstance(tensor, Tensor):
            return None
        if id(tensor) in self._parameters:
            return Origin(self._parameters[id(tensor)])
        known = self._origins.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else None

    def _set(self, tensor: Tensor, origin: Origin) -> None:
        key = id(tensor)
        self._origins[key] = (weakref.ref(tensor, lambda _: self._origins.pop(key, None)), origin)

    def _follow(self, name: str, func: Any, args: Any, kwargs: Mapping[str, Any], result: Any) -> None:
        operands = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        own = [(tensor, origin) for tensor in operands if (origin := self.origin(tensor)) is not None]
        if len(own) != 1:
            return
        tensor, origin = own[0]
        if name in _PARTS:
            if origin.transposed or isinstance(origin.scale, Tensor):
                return
            start = 0 if origin.rows is None else origin.rows[0]
            if name == "getitem":
                index = args[1]
                if isinstance(index, slice) and index.step in (None, 1):
                    start += index.indices(len(tensor))[0]
                    self._set(result, replace(origin, rows=(start, start + len(result))))
            elif _dimension(args, kwargs) == 0:
                for part in result:
                    self._set(part, replace(origin, rows=(start, start + len(part))))
                    start += len(part)
            return
        if not isinstance(result, Tensor):
            return
        if name in _TURNED:
            if tensor.ndim == 2 and result.shape == tensor.shape[::-1] and result.stride() == tensor.stride()[::-1]:
                self._set(result, replace(origin, transposed=not origin.transposed))
        elif name in _SAME:
            if result.shape == tensor.shape and result.dtype == tensor.dtype:
                self._set(result, origin)
        elif result.shape == tensor.shape:
            self._scaled(name, args, tensor, origin, result)

    def _scaled(self, name: str, args: Any, tensor: Tensor, origin: Origin, result: Tensor) -> None:
        """Sums with, and products and quotients by, what does not depend on the parameter."""
        others = [value for value in args if value is not tensor]
        other = others[0] if len(others) == 1 else None
        if name == "neg":
            other = -1.0
        if other is None or not isinstance(other, Tensor | int | float):
            return
        if isinstance(other, Tensor):
            if _depends(other, origin.parameter):
                return
            other = other.detach()
        if name in ("add", "radd", "iadd"):
            self._set(result, origin)
        elif name in ("sub", "isub"):
            if args[0] is tensor:
                self._set(result, origin)
        elif name in ("rsub",):
            self._set(result, replace(origin, scale=_times(origin.scale, -1.0)))
        elif name in ("mul", "rmul", "imul", "neg"):
            self._set(result, replace(origin, scale=_times(origin.scale, _placed(other, tensor, origin))))
        elif args[0] is tensor:  # a quotient
            inverse = 1.0 / other
            self._set(result, replace(origin, scale=_times(origin.scale, _placed(inverse, tensor, origin))))

    def follow_part(self, whole: Tensor, part: Tensor, place: int) -> None:
        """`part` is as many rows of `whole`, the one numbered `place` of equal ones."""
        origin = self.origin(whole)
        if origin is not None and origin.scale is None and not origin.transposed:
            start = place * len(part) + (0 if origin.rows is None else origin.rows[0])
            self._set(part, replace(origin, rows=(start, start + len(part))))

    def _join(self, before: Tensor, result: Tensor) -> None:
        """All axes but the last in one: the examples are no axis of the result, which a product puts back."""
        if result.ndim == 2 < before.ndim and result.shape[-1] == before.shape[-1]:
            key = id(result)
            self._before[key] = (weakref.ref(result, lambda _: self._before.pop(key, None)), before.shape)

    # ------------------------------------------------------------------------------------------------------ products

    def product(
        self, run: Callable[[Any, Any], Tensor], weight: Any, bias: Any, incoming: Any, linear: Callable[[], LinearMap]
    ) -> Any:
        """`run` (weight, bias), noted if the weight is one; NotImplemented if it is none."""
        origin = self.origin(weight)
        if origin is None or not isinstance(incoming, Tensor) or isinstance(incoming, nn.Parameter):
            return NotImplemented
        if self.origin(incoming) is not None:
            return NotImplemented
        if is_functorch_wrapped_tensor(incoming) or not isinstance(bias, Tensor | None):
            return NotImplemented
        found = linear()
        if origin.transposed:
            if not isinstance(found, Dense) or weight.ndim != 2:
                return NotImplemented
            found = Dense(not found.transposed)
        added = self.origin(bias)
        if added is not None and (added.scale is not None or added.transposed):
            added = None  # no gradient of it is had here, and none is lost
        elif added is not None and self._detached and bias is not None:
            bias = bias.detach()
        net = run(weight.detach() if self._detached else weight, bias)
        if not isinstance(net, Tensor):
            return net
        joined = self._before.get(id(incoming))
        if joined is None or joined[0]() is not incoming:
            return self._note(Use(origin, added, found, incoming, net))
        apart = joined[1][:-1]
        use = Use(origin, added, found, incoming.reshape(joined[1]), net.reshape(*apart, net.shape[-1]))
        return self._note(use).reshape(net.shape)

    def linear(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """inputs · weightᵀ + bias, noted if the weight is one."""
        run = partial(nn.functional.linear, inputs)
        found = self.product(run, weight, bias, inputs, Dense)
        return run(weight, bias) if found is NotImplemented else found

    def steps(self, weight: Tensor, bias: Tensor | None, shape: tuple[int, ...], axis: int) -> StepwiseProduct:
        """A product that is noted when its last step was made."""
        origin = self.origin(weight)
        if origin is None:
            return StepwiseProduct(weight, bias)
        return _NotedSteps(self, origin, weight, bias, shape, axis)

    def note(self, use: Use) -> Tensor:
        """Tells of a use."""
        return self._note(use)

    @property
    def detached(self) -> bool:
        """Whether no gradient reaches the parameters inside of the functions."""
        return self._detached


class _NotedSteps(StepwiseProduct):
    """All steps' activations in one tensor and, for their gradients, zeros that are added to the nets."""

    def __init__(
        self, uses: WeightUses, origin: Origin, weight: Tensor, bias: Tensor | None, shape: tuple[int, ...], axis: int
    ) -> None:
        added = uses.origin(bias)
        if uses.detached:
            weight, bias = weight.detach(), None if bias is None else bias.detach()
        super().__init__(weight, bias)
        self._uses, self._origin, self._added, self._axis = uses, origin, added, axis
        self._inputs: dict[int, Tensor] = {}
        self._zeros = weight.new_zeros(*shape, len(weight)).requires_grad_()

    def at(self, step: int, inputs: Tensor) -> Tensor:
        """The product at one step, and the zeros."""
        self._inputs[step] = inputs
        return super().at(step, inputs) + self._zeros.select(self._axis, step)

    def finish(self) -> None:
        """Tells of the one use."""
        incoming = torch.stack([self._inputs[step] for step in sorted(self._inputs)], self._axis)
        self._uses.note(Use(self._origin, self._added, Dense(), incoming, self._zeros))


# --- the functions that multiply ------------------------------------------------------------------------------------


def _bound(func: Any, names: str, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return dict(zip(names.split(), args, strict=False)) | dict(kwargs)


def _linear(uses: WeightUses, func: Any, args: Any, kwargs: Any) -> Any:
    given = _bound(func, "input weight bias", args, kwargs)
    return uses.product(partial(func, given["input"]), given["weight"], given.get("bias"), given["input"], Dense)


def _product(uses: WeightUses, func: Any, args: Any, kwargs: Any) -> Any:
    """inputs · weight: the units are columns."""
    if len(args) != 2 or kwargs or not isinstance(args[1], Tensor) or args[1].ndim != 2:
        return NotImplemented
    run = lambda weight, _: func(args[0], weight)  # noqa: E731
    return uses.product(run, args[1], None, args[0], partial(Dense, transposed=True))


def _sum_with_product(uses: WeightUses, func: Any, args: Any, kwargs: Any) -> Any:
    given = _bound(func, "input mat1 mat2", args, kwargs)
    if given.get("beta", 1) != 1 or given.get("alpha", 1) != 1 or len(given) != 3:
        return NotImplemented
    run = lambda weight, bias: func(bias, given["mat1"], weight)  # noqa: E731
    return uses.product(run, given["mat2"], given["input"], given["mat1"], partial(Dense, transposed=True))


def _bilinear(uses: WeightUses, func: Any, args: Any, kwargs: Any) -> Any:
    given = _bound(func, "input1 input2 weight bias", args, kwargs)
    first, second = given["input1"], given["input2"]
    origin = uses.origin(given["weight"])
    if origin is None or uses.origin(first) is not None or uses.origin(second) is not None:
        return NotImplemented
    pairs = (first.detach()[..., :, None] * second.detach()[..., None, :]).flatten(-2)
    return uses.product(partial(func, first, second), given["weight"], given.get("bias"), pairs, Dense)


def _convolution(uses: WeightUses, func: Any, args: Any, kwargs: Any) -> Any:
    given = _bound(func, "input weight bias stride padding dilation groups", args, kwargs)
    return _shared(uses, func, given, Patches.of_call)


def _transposed_convolution(uses: WeightUses, func: Any, args: Any, kwargs: Any) -> Any:
    given = _bound(func, "input weight bias stride padding output_padding groups dilation", args, kwargs)
    return _shared(uses, func, given, TransposedPatches.of_call)


def _shared(uses: WeightUses, func: Any, given: dict[str, Any], kind: Callable[..., LinearMap]) -> Any:
    inputs, weight, bias = given.pop("input"), given.pop("weight"), given.pop("bias", None)
    run = lambda weight, bias: func(inputs, weight, bias, **given)  # noqa: E731
    return uses.product(run, weight, bias, inputs, partial(kind, weight, **given))


def _embedding(uses: WeightUses, func: Any, args: Any, kwargs: Any) -> Any:
    given = _bound(func, "input weight padding_idx max_norm norm_type scale_grad_by_freq sparse", args, kwargs)
    words, weight = given.pop("input"), given.pop("weight")
    if not isinstance(words, Tensor) or words.is_floating_point():
        return NotImplemented  # torch.embedding has them in another order; it is called by the one handled here
    run = lambda weight, _: func(words, weight, **given)  # noqa: E731
    padding = given.get("padding_idx")
    if padding is not None:
        padding = padding % len(weight)
    return uses.product(run, weight, None, words, partial(Lookup, padding))


def _attention(uses: WeightUses, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """The products with the weights apart from the attention, which then has identities in their place."""
    signature = inspect.signature(func)
    given = signature.bind(*args, **kwargs)
    given.apply_defaults()
    own = given.arguments
    inputs = [own["query"], own["key"], own["value"]]
    if own["use_separate_proj_weight"]:
        weights = [own["q_proj_weight"], own["k_proj_weight"], own["v_proj_weight"]]
    else:
        weights = own["in_proj_weight"].chunk(3)
        for place, weight in enumerate(weights):
            uses.follow_part(own["in_proj_weight"], weight, place)
    biases: Any = [None] * 3
    if own["in_proj_bias"] is not None:
        whole = own["in_proj_bias"]
        biases = (whole.detach() if uses.detached else whole).chunk(3)
        for place, bias in enumerate(biases):
            uses.follow_part(whole, bias, place)
    own["query"], own["key"], own["value"] = map(uses.linear, inputs, weights, biases)
    identity = torch.eye(own["embed_dim_to_check"], dtype=weights[0].dtype, device=weights[0].device)
    own["in_proj_weight"] = own["in_proj_bias"] = None
    own["use_separate_proj_weight"] = True
    own["q_proj_weight"] = own["k_proj_weight"] = own["v_proj_weight"] = identity
    weight, bias = own["out_proj_weight"], own["out_proj_bias"]
    own["out_proj_weight"], own["out_proj_bias"] = identity, None
    attended, shares = func(*given.args, **given.kwargs)
    return uses.linear(attended, weight, bias), shares


def _recurrent(uses: WeightUses, func: Any, args: Any, kwargs: Any) -> Any:
    if kwargs or len(args) != 9 or not isinstance(args[2], tuple | list):
        return NotImplemented  # packed sequences have no axis of examples
    if all(uses.origin(weight) is None for weight in args[2]):
        return NotImplemented
    return unrolled(function_name(func), *args, product=uses.linear, steps=uses.steps)


def _cell(uses: WeightUses, func: Any, args: Any, kwargs: Any) -> Any:
    given = _bound(func, "input hx w_ih w_hh b_ih b_hh", args, kwargs)
    if all(uses.origin(given[key]) is None for key in ("w_ih", "w_hh")):
        return NotImplemented
    state = given["hx"] if isinstance(given["hx"], tuple | list) else (given["hx"],)
    entering = uses.linear(given["input"], given["w_ih"], given.get("b_ih"))
    held = uses.linear(state[0], given["w_hh"], given.get("b_hh"))
    after = cell(function_name(func).removesuffix("_cell"), entering, held, tuple(state))
    return after if len(state) > 1 else after[0]


_PRODUCTS: Mapping[str, Callable[[WeightUses, Any, Any, Any], Any]] = {
    "linear": _linear,
    "matmul": _product,
    "mm": _product,
    "addmm": _sum_with_product,
    "bilinear": _bilinear,
    "embedding": _embedding,
    "multi_head_attention_forward": _attention,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed_convolution),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _cell),
}

_JOINING = frozenset("view reshape flatten".split())  # noqa: SIM905
_SAME = frozenset("clone contiguous to type float double requires_grad_ view reshape".split())  # noqa: SIM905
_SCALING = frozenset("add radd iadd sub rsub isub mul rmul imul div truediv true_divide itruediv neg".split())  # noqa: SIM905
_PARTS = frozenset("chunk split tensor_split getitem".split())  # noqa: SIM905
_TURNED = frozenset("t T mT transpose swapaxes swapdims permute adjoint".split())  # noqa: SIM905
_FOLLOWED = _SAME | _SCALING | _PARTS | _TURNED


def _dimension(args: Any, kwargs: Mapping[str, Any]) -> Any:
    return args[2] if len(args) > 2 else kwargs.get("dim", 0)


def _depends(tensor: Tensor, parameter: Tensor) -> bool:
    if not tensor.requires_grad:
        return False
    return torch.autograd.grad(tensor.sum(), parameter, retain_graph=True, allow_unused=True)[0] is not None


def _placed(factor: Any, tensor: Tensor, origin: Origin) -> Any:
    """A factor of a tensor in the layout of the parameter's rows."""
    if not isinstance(factor, Tensor) or factor.ndim == 0:
        return factor
    factor = factor.expand(tensor.shape)
    return factor.T if origin.transposed else factor


def _times(scale: Any, factor: Any) -> Any:
    return factor if scale is None else scale * factor
