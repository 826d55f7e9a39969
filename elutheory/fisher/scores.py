"""Per-example activations and score factors of a torch model's layers: what unit Fisher matrices are made of."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, cast, get_args

import numpy
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from elutheory.errors import InputError
from elutheory.fisher.likelihoods import Likelihood, as_likelihood
from elutheory.models.batch_layout import (
    IGNORED,
    BatchLayout,
    Mask,
    Output,
    additive_mask,
    axis_of_classes,
    axis_of_examples,
    canonical,
    canonical_targets,
    kept_rows,
    labels_in,
    mask_of_positions,
    selected_rows,
)
from elutheory.models.captures import Capture, Recorder, capturing
from elutheory.models.data import (
    check_inputs,
    first_sentence,
    number_of_examples,
    on_device_of,
    rows_of,
    run_on,
    shared_tensors,
)
from elutheory.models.layers import PARAMETRISED, UnitWeights, find_layer, layer_names
from elutheory.models.refusals import check_model, refusal_of_weights
from elutheory.models.unit_axes import following
from elutheory.numerics.arguments import check_whole
from elutheory.numerics.memory import check_fits

Kind = Literal["exact", "monte_carlo", "empirical"]
WeightSharing = Literal["exact", "positionwise"]
Units = Sequence[int] | Tensor | slice


@dataclass(frozen=True, eq=False)
class LayerScores:
    """What a layer's unit Fisher matrices over one batch are made of (section F, arXiv 1511.07289).

    With s[c, n, u] = Σ_position deltas[c, n, position, u] · (1, incoming[n, group of u, position]) the Fisher matrix of
    unit u is F_u = Σ_{c, n} s sᵀ / examples (`weight_sharing` "exact"); "positionwise" leaves out the sum in s and
    sums the outer products over positions instead. Without bias the coordinate 1 is left out.

    - `incoming` (examples, groups, positions, fan_in): activations a of the layer below. A `Linear` has one group and
      as many positions as its input has entries along its middle axes; a convolution one position per patch, fan_in in
      the order of `weight.flatten(1)`; a layer called several times has the positions of all calls, call after call;
    - `deltas` (columns, examples, positions, units): the columns v_c of a factor of the likelihood's Fisher
      information, pulled back to the layer's net input: v_cᵀ d outputs / d net. `kind` "exact": E_y[score scoreᵀ] =
      Σ_c v_c v_cᵀ over the model's own labels; "monte_carlo": k sampled scores, each over √k; "empirical": one column,
      the score at the targets, which does not make a Fisher matrix;
    - `has_bias`: whether the layer has biases. Unit u belongs to group u // (units / groups);
    - `mask`: which positions are data, not padding, and count in means over positions; None: all;
    - `words`: of an embedding, whose activations are one-hot vectors, the words that occur in the batch, ascending:
      `incoming` has a coordinate for each of these alone, for all others are 0. None for other layers;
    - `layer`: the layer's name in its model, as `named_modules` has it; None where no model is known.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> x = torch.randn(50, 3)
    >>> scores = et.layer_scores(model, x, layer="2", kind="monte_carlo", samples=3)
    >>> scores.deltas.shape, scores.kind
    (torch.Size([3, 50, 1, 2]), 'monte_carlo')
    """

    incoming: Float[Tensor, "examples groups positions fan_in"]
    deltas: Float[Tensor, "columns examples positions units"]
    has_bias: bool = True
    kind: Kind = "exact"
    likelihood: Likelihood | str = "categorical"
    weight_sharing: WeightSharing = "exact"
    mask: Bool[Tensor, "examples positions"] | None = None
    words: Int[Tensor, " fan_in"] | None = None
    layer: str | None = None

    @property
    def examples(self) -> int:
        """The number of examples."""
        return self.incoming.shape[0]

    @property
    def units_per_group(self) -> int:
        """Units u with the same incoming activations: units / groups."""
        return self.deltas.shape[-1] // self.incoming.shape[1]

    def points(self) -> Float[Tensor, "points groups fan_in"]:
        """The incoming activations at the positions that count."""
        by_position = self.incoming.transpose(1, 2)
        return by_position.flatten(0, 1) if self.mask is None else by_position[self.mask]

    def squared_deltas(self) -> Float[Tensor, "examples positions units"]:
        """Σ_c delta_c²; for kind "exact" E_y[delta²] over the model's own labels, analytically (F1)."""
        return self.deltas.square().sum(0)

    def gradient(self) -> Float[Tensor, "units coordinates"]:
        """Gradient of the mean negative log-density −E_p[ln p(target | x)], per unit; the bias coordinate first.

        Raises InputError unless `kind` is "empirical".
        """
        if self.kind != "empirical":
            raise InputError(f"scores of kind {self.kind!r} have no targets; kind 'empirical' has the loss's gradient.")
        deltas = self.deltas.unflatten(-1, (self.incoming.shape[1], self.units_per_group))
        weights = -torch.einsum("cnpgu,ngpi->gui", deltas, self.incoming).flatten(0, 1) / self.examples
        if not self.has_bias:
            return weights
        return torch.cat([-self.deltas.sum((0, 1, 2))[:, None] / self.examples, weights], dim=1)

    def of_examples(self, examples: slice) -> "LayerScores":
        """The scores of some examples; columns keep their weights, so that F is the mean over these examples."""
        mask = None if self.mask is None else self.mask[examples]
        return replace(self, incoming=self.incoming[examples], deltas=self.deltas[:, examples], mask=mask)

    def project(self, basis: Float[Tensor, "fan_in rank"]) -> "LayerScores":
        """These scores with the incoming activations in the coordinates `incoming @ basis` (orthonormal columns)."""
        return replace(self, incoming=self.incoming @ basis)

    def unit(self, index: int) -> "LayerScores":
        """The scores of one unit alone: `deltas` (columns, examples, positions, 1), its own group's activations."""
        group = index // self.units_per_group
        return replace(self, incoming=self.incoming[:, group, None], deltas=self.deltas[..., index, None])

    def of_units(self, units: Units) -> "LayerScores":
        """The scores of some units, a slice or numbers; each with its own group's activations if there are groups.

        Raises InputError for numbers that are no units, and for none.
        """
        index = chosen_units(units, self.deltas.shape[-1], self.deltas.device)
        incoming = self.incoming
        if incoming.shape[1] > 1:
            incoming = incoming[
                :, torch.arange(self.deltas.shape[-1], device=incoming.device)[index] // self.units_per_group
            ]
        return replace(self, incoming=incoming, deltas=self.deltas[..., index])


@dataclass(frozen=True, eq=False)
class ModelScores:
    """Scores of several layers from one forward pass.

    - `layers`: scores by layer name; `refused`: for every other layer asked for, the reason in one sentence;
    - `outputs` (examples, ...): what the model returned, as `read` lays it out, of one example alone too;
    - `inputs`: of the examples that count, on the model's device;
    - `counting` (examples, ..., 1): 0 for positions without a label, else 1; None: all have one;
    - `targets`: in the layout of the outputs; None: none were given.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> x = torch.randn(50, 3)
    >>> scores = et.model_scores(model, x, layers=["2"])
    >>> scores.outputs.shape, scores.refused
    (torch.Size([50, 2]), {})
    """

    layers: dict[str, LayerScores]
    refused: dict[str, str]
    outputs: Float[Tensor, "examples *positions classes"]
    read: Callable[[Any], Tensor]
    inputs: Any
    counting: Float[Tensor, "examples *positions one"] | None
    targets: Any


def layer_scores(
    model: nn.Module,
    inputs: Tensor | Mapping[str, Any],
    layer: str,
    kind: str = "exact",
    likelihood: Likelihood | str = "categorical",
    *,
    targets: Tensor | None = None,
    samples: int = 1,
    generator: torch.Generator | None = None,
    weight_sharing: str = "exact",
    mask: Mask = None,
    batch_axis: int = 0,
    class_axis: int | None = None,
    output: Output = None,
) -> LayerScores:
    """Scores of the layer named `layer`, over one batch; see `model_scores`.

    Raises InputError for whatever `model_scores` refuses, and for the layer's own refusal.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> x = torch.randn(50, 3)
    >>> scores = et.layer_scores(model, x, layer="0")
    >>> scores.incoming.shape, scores.deltas.shape
    (torch.Size([50, 1, 1, 3]), torch.Size([2, 50, 1, 4]))
    """
    scores = model_scores(
        model,
        inputs,
        [layer],
        kind,
        likelihood,
        targets=targets,
        samples=samples,
        generator=generator,
        weight_sharing=weight_sharing,
        mask=mask,
        batch_axis=batch_axis,
        class_axis=class_axis,
        output=output,
    )
    if layer in scores.refused:
        raise InputError(scores.refused[layer])
    return scores.layers[layer]


def model_scores(
    model: nn.Module,
    inputs: Tensor | Mapping[str, Any],
    layers: Sequence[str] | None = None,
    kind: str = "exact",
    likelihood: Likelihood | str = "categorical",
    *,
    targets: Tensor | None = None,
    samples: int = 1,
    generator: torch.Generator | None = None,
    weight_sharing: str = "exact",
    mask: Mask = None,
    batch_axis: int = 0,
    class_axis: int | None = None,
    output: Output = None,
) -> ModelScores:
    """Scores of several layers (default: all, see `elutheory.models.layers.layers_of`), over one batch and one pass.

    - `inputs`: a tensor (examples, ...), or a mapping of them, passed as `model(**inputs)`. The model returns outputs
      (examples, classes) or (examples, positions, classes), or an object with such `logits`;
    - `kind`: see `LayerScores`; `targets` for "empirical" (otherwise not looked at), `samples` and `generator` for
      "monte_carlo";
    - `likelihood`: "categorical", "bernoulli", or a likelihood object such as `Gaussian(variance)`;
    - `batch_axis`: the axis of the inputs that counts the examples; 1 for sequence-first models. Where it is in outputs
      and activations is seen by running single examples;
    - `class_axis`: the axis of the outputs that counts the classes, (examples, positions, classes) or torch's
      (examples, classes, positions); None: that of the layer which made them, or the one that the targets lack;
    - `output`: which of several things returned are the outputs: an index, a key, an attribute or a callable;
    - `mask`: which positions count: a key of the batch, a tensor (examples, positions), a callable of the inputs; None:
      the batch's `attention_mask`, if it has one; False: all. Positions that do not count have no labels and no place
      in means; examples without any are left out, and so are targets of −100;
    - a batch's own `labels` are its targets where none are given.

    One backward pass per column. Everything keeps the model's dtype and device; no parameter's `.grad` is touched,
    `requires_grad` is as before, frozen parameters included. Every example must be computed by itself: the model may
    draw no random numbers, and the first, the last and a random example are run alone and must get the outputs they get
    within the batch.
    Layers are seen where their weights are multiplied with activations, whoever does it (`models/weight_uses.py`): the
    uses of a weight that is tied, or called several times, are summed. Refused (`ModelScores.refused`): never executed,
    weights that act on the outputs in another way too, or in two ways with different units (a decoder tied to an
    embedding), examples not on the first axis, dtypes other than float32 and float64,
    no influence on the outputs. Raises InputError for everything else that is wrong with the model, the
    inputs, the outputs or the targets, and if no layer is left to run the model for.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> x = torch.randn(50, 3)
    >>> list(et.model_scores(model, x).layers)
    ['0', '2']
    """
    chosen = as_likelihood(likelihood)
    _check_choices(kind, weight_sharing, samples)
    if kind == "empirical" and targets is None and labels_in(inputs) is None:
        raise InputError("kind 'empirical' takes the scores at the data's labels; give targets.")
    check_model(model)
    names = layer_names(model) if layers is None else list(dict.fromkeys(layers))
    weights = {name: find_layer(model, name) for name in names}
    refused = {name: why for name, layer in weights.items() if (why := refusal_of_weights(name, layer))}
    open_to_capture = {name: layer for name, layer in weights.items() if name not in refused}
    if not open_to_capture:
        raise InputError(next(iter(refused.values()), "the model has no layer whose units have weights."))
    inputs, targets, mask = (on_device_of(model, values) for values in (inputs, targets, mask))
    layout = BatchLayout(batch_axis, class_axis, output, mask)
    own_labels = labels_in(inputs) if targets is None else None
    targets = targets if own_labels is None else own_labels
    ignoring = _check_inputs(inputs, targets, open_to_capture, batch_axis)
    inputs, targets, layout = _counted(inputs, targets, layout, ignoring)
    examples = number_of_examples(inputs, batch_axis)

    with torch.inference_mode(False), torch.enable_grad(), capturing(model, open_to_capture) as recorder:
        inputs = _outside_inference_mode(inputs)
        state = _random_state(inputs)
        returned, captures = recorder.record(lambda: _run_whole(model, inputs, batch_axis))
        found = layout.selected(returned)
        if not torch.equal(state, _random_state(inputs)):
            raise InputError(f"{_COUPLED}; the model draws random numbers in its forward pass, so call model.eval().")
        compared: dict[int, Tensor] = {}
        followed: int | None = None
        example_axis, of_one, places = 0, captures, {}
        for number, index in enumerate(_run_alone(examples)):
            with following(model) as axes:
                alone, of_one = recorder.record(lambda index=index: _alone(model, inputs, index, layout))
                source = axes.source(alone)
            if number == 0:
                example_axis = _axis_of_outputs(found.shape, alone.shape, examples, batch_axis)
                places = _axes_of_calls(recorder, model, inputs, captures, of_one, layout)
                refused |= _refused_calls(of_one, captures, places, examples)
                refused |= _refused_flow(of_one, alone)
                followed = None if source is None else source.axis
            compared[index] = _compared(found, alone, index, example_axis)
        _check_independent_examples(found, compared, _largest_value(captures, found), batch_axis)
        if own_labels is not None and targets is not None:
            targets = _placed_labels(returned, found, targets, example_axis)
        place = _class_axis(found, targets, followed, layout, example_axis, chosen)
        read = partial(_read_outputs, layout, example_axis, place)
        outputs = read(returned)
        refuse_probabilities(chosen, found, outputs)
        chosen.check_outputs(outputs)
        counting, targets = _labelled(chosen, layout, inputs, targets, found, outputs, example_axis, place, ignoring)
        captures = {
            name: replace(capture, batch_axes=cast(Any, places[name]))
            for name, capture in captures.items()
            if name not in refused
        }
        masks, further = masks_of_layers(captures, layout.masks(inputs))
        refused |= further
        captures = {name: capture for name, capture in captures.items() if name not in refused}
        count, columns = _columns(chosen, outputs.detach(), kind, targets, samples, generator)
        if counting is not None:
            columns = (column * counting for column in columns)
        deltas = _deltas(captures, outputs, (count, columns))
    scores = {
        name: LayerScores(
            capture.activations(),
            deltas[name],
            capture.has_bias,
            cast(Kind, kind),
            chosen,
            cast(WeightSharing, weight_sharing),
            masks[name],
            capture.words(),
            name,
        )
        for name, capture in captures.items()
    }
    named = {name: refused[name] for name in names if name in refused}
    return ModelScores(scores, named, outputs.detach(), read, inputs, counting, targets)


def chosen_units(units: Units, count: int, device: torch.device) -> slice | Int[Tensor, " chosen"]:
    """The index of some of `count` units. Raises InputError for numbers that are no units, and for none."""
    if isinstance(units, slice):
        numbers: list[Any] = list(range(count))[units]
    else:
        numbers = units.tolist() if isinstance(units, Tensor) else [*units]
    if not numbers or any(isinstance(unit, bool) or not isinstance(unit, int | numpy.integer) for unit in numbers):
        raise InputError(f"units is {units!r}; a slice or whole numbers, at least one, are needed.")
    outside = [unit for unit in numbers if not 0 <= unit < count]
    if outside:
        raise InputError(f"units has {outside[0]}; the layer's units are 0 to {count - 1}.")
    return units if isinstance(units, slice) else torch.tensor(numbers, device=device)


def _read_outputs(layout: BatchLayout, example_axis: int, place: int, returned: Any) -> Tensor:
    found = layout.selected(returned)
    return canonical(found if found.ndim > 1 else found[:, None], example_axis, place)


def _check_choices(kind: str, weight_sharing: str, samples: int) -> None:
    if kind not in get_args(Kind):
        raise InputError(f"kind {kind!r} is not available; 'exact', 'monte_carlo' and 'empirical' are.")
    if weight_sharing not in get_args(WeightSharing):
        raise InputError(f"weight_sharing {weight_sharing!r} is not available; 'exact' and 'positionwise' are.")
    check_whole("samples", samples)


def _check_inputs(
    inputs: Tensor | Mapping[str, Any], targets: Any, layers: Mapping[str, UnitWeights], axis: int
) -> bool:
    """Whether some of the targets are IGNORED. Raises InputError for inputs that such layers cannot be studied on.

    A device is waited for once.
    """
    check_inputs(inputs)
    if isinstance(inputs, Mapping):
        tensors = {f"inputs[{key!r}]": value for key, value in inputs.items() if isinstance(value, Tensor)}
    else:
        tensors = {"inputs": inputs}
    dtypes = {layer.weight.dtype for layer in layers.values()}
    finite = {name: tensor.isfinite().all() for name, tensor in tensors.items() if tensor.is_floating_point()}
    labels = isinstance(targets, Tensor) and not targets.is_floating_point()
    ignored = [(targets == IGNORED).any()] if labels else []
    read = _read([*finite.values(), *ignored])
    ignoring = bool(ignored) and read.pop()
    infinite = {name for name, value in zip(finite, read, strict=True) if not value}
    for name, tensor in tensors.items():
        if name in infinite and additive_mask(tensor) is None:
            raise InputError(f"{name} contain NaN or infinity; every number must be finite.")
        if tensor.is_floating_point() and dtypes and tensor.dtype not in dtypes:
            weights = " and ".join(sorted(map(str, dtypes)))
            raise InputError(f"{name} are {tensor.dtype} but the layers' weights {weights}; convert one of them.")
    if not number_of_examples(inputs, axis):
        shapes = " and ".join(f"{name} of shape {tuple(tensor.shape)}" for name, tensor in tensors.items()) or "none"
        raise InputError(f"the axis of batch_axis={axis} counts the examples; the tensors are {shapes}, without it.")
    return ignoring


def _run_whole(model: nn.Module, inputs: Any, axis: int) -> Any:
    """What the model returns for a batch. Raises InputError if it fails where some tensors are not of all examples."""
    shared = shared_tensors(inputs, axis)
    try:
        return run_on(model, inputs)
    except (RuntimeError, ValueError, IndexError) as error:
        lengths = (
            sorted({tensor.shape[axis] for tensor in inputs.values() if _has_axis(tensor, axis)}) if shared else []
        )
        if len(lengths) < 2:
            raise
        raise InputError(
            f"inputs have {lengths} examples; tensors with the same number of examples are needed, and "
            f"if {', '.join(map(repr, shared))} are taken as shared by all, {error}"
        ) from error


def _has_axis(value: Any, axis: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > axis


def _read(flags: Sequence[Tensor]) -> list[bool]:
    """Truth values on one or two devices, brought to the host together."""
    if not flags:
        return []
    device = next((flag.device for flag in flags if flag.device.type != "cpu"), flags[0].device)
    return torch.stack([flag.to(device) for flag in flags]).tolist()


def _outside_inference_mode(inputs: Tensor | Mapping[str, Any]) -> Tensor | Mapping[str, Any]:
    """The inputs, copied where they were made in inference mode: gradients cannot pass what saves such tensors."""

    def usable(value: Any) -> Any:
        return value.clone() if isinstance(value, Tensor) and value.is_inference() else value

    return {key: usable(value) for key, value in inputs.items()} if isinstance(inputs, Mapping) else usable(inputs)


def _random_state(inputs: Tensor | Mapping[str, Any]) -> Tensor:
    """The state of torch's random numbers on the inputs' device."""
    tensors = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    device = next(tensor.device for tensor in tensors if isinstance(tensor, Tensor))
    if device.type == "cpu":
        return torch.random.get_rng_state()
    return torch.get_device_module(device).get_rng_state(device)


def _counted(inputs: Any, targets: Any, layout: BatchLayout, ignoring: bool) -> tuple[Any, Any, BatchLayout]:
    """Without the examples of which no position counts, or whose targets are all IGNORED; InputError if none is left.

    `ignoring`: whether there are such targets.
    """
    keep = kept_rows(inputs, targets if ignoring else None, layout.masks(inputs), layout.batch_axis)
    if keep is None:
        return inputs, targets, layout
    if not keep.any():
        raise InputError("no example of a batch has a position that counts and a target; leave such batches out.")
    if len(keep) != number_of_examples(inputs, layout.batch_axis):
        raise InputError(f"mask or targets are of {len(keep)} examples, which the inputs are not.")
    axis = layout.batch_axis
    if isinstance(layout.mask, Tensor):
        layout = replace(layout, mask=selected_rows(layout.mask, keep, axis))
    return selected_rows(inputs, keep, axis), selected_rows(targets, keep, axis), layout


def _run_alone(examples: int) -> list[int]:
    """The first, the last and one in between, drawn at random for this number of examples."""
    between = int(torch.randint(examples, (), generator=torch.Generator().manual_seed(examples)))
    return list(dict.fromkeys([0, examples - 1, between]))


def _alone(model: nn.Module, inputs: Tensor | Mapping[str, Any], index: int, layout: BatchLayout) -> Tensor:
    """One example's outputs without the rest of the batch."""
    try:
        return layout.selected(run_on(model, rows_of(inputs, slice(index, index + 1), layout.batch_axis)))
    except (RuntimeError, ValueError) as error:
        why = first_sentence(cast(Exception, error.__cause__ or error))
        raise InputError(f"{_COUPLED}; run on one of them alone the model fails: {why}.") from error


_COUPLED = "every example must be computed by itself, not randomly and not depending on its batch"


def _axis_of_outputs(batch: torch.Size, alone: torch.Size, examples: int, otherwise: int) -> int:
    axis = axis_of_examples(batch, alone, examples, otherwise)
    if axis is None:
        raise InputError(
            f"{_COUPLED}; the model's outputs have shape {tuple(batch)} for the batch and {tuple(alone)} for its first "
            f"example alone, but one axis of {examples} and of 1 is needed."
        )
    return axis


def _compared(outputs: Tensor, alone: Tensor, index: int, axis: int) -> Float[Tensor, " two"]:
    """How far an example's outputs alone are from those within the batch, and how large these are."""
    within, alone = outputs.select(axis, index), alone.select(axis, 0)
    if within.shape != alone.shape:
        raise InputError(
            f"{_COUPLED}; outputs of one example have shape {tuple(alone.shape)} or {tuple(within.shape)}."
        )
    return torch.stack([(within - alone).abs().max(), within.abs().max()])


def _largest_value(captures: Mapping[str, Capture], outputs: Tensor) -> Tensor:
    """The largest number among what layers receive and return: outputs that cancel are no larger than its rounding."""
    seen = [value for capture in captures.values() for value in (*capture.incoming, *capture.nets)]
    sizes = [value.detach().abs().max().to(outputs) for value in seen if value.is_floating_point() and value.numel()]
    return torch.stack([outputs.detach().abs().max(), *sizes]).max()[None]


_ROUNDINGS = 100.0
"""Outputs may be this many rounding units of the largest number in the network from what they are alone: sums of some
ten thousand terms in another order. Guarded by `test_outputs_that_are_zero_but_for_rounding_are_no_dependence`."""


def _check_independent_examples(
    outputs: Tensor, compared: Mapping[int, Tensor], largest: Tensor, batch_axis: int
) -> None:
    """Raise InputError unless examples alone get the outputs they get within the batch, up to rounding.

    A device is waited for once. Outputs that are not finite are told of as such.
    """
    finite, size, *numbers = torch.cat(
        [outputs.isfinite().all().to(outputs.dtype)[None], largest, *compared.values()]
    ).tolist()
    if not finite:
        raise InputError("the model's outputs contain NaN or infinity; its parameters must give finite ones.")
    eps = torch.finfo(outputs.dtype).eps
    for index, difference, scale in zip(compared, numbers[::2], numbers[1::2], strict=True):
        if not difference <= max(eps**0.5 * scale, _ROUNDINGS * eps * size):
            raise InputError(
                f"{_COUPLED}; the outputs of example {index}, of size {scale:.3g}, change by {difference:.3g} when it "
                "is run alone (dropout, batch statistics, attention across the batch, or examples along another axis "
                f"than {batch_axis}: give batch_axis=)."
            )


Axes = dict[str, tuple[int | None, ...]]


def _axes_of_calls(
    recorder: Recorder,
    model: nn.Module,
    inputs: Any,
    captures: Mapping[str, Capture],
    alone: Mapping[str, Capture],
    layout: BatchLayout,
) -> Axes:
    """By layer the axis of the examples in every call, seen on one example and on several; None where there is none.

    A batch of one is run as two.
    """
    axis = layout.batch_axis
    examples = number_of_examples(inputs, axis)
    if examples == 1:
        twice = rows_of(inputs, torch.tensor([0, 0]), axis)
        try:
            captures = recorder.record(lambda: run_on(model, twice))[1]
            examples = 2
        except (RuntimeError, ValueError, IndexError):  # a mask or a size of the one example's own
            pass
    return {
        name: tuple(
            axis_of_examples(many.shape, one.shape, examples, axis)
            for many, one in zip(capture.incoming, alone[name].incoming, strict=False)
        )
        for name, capture in captures.items()
    }


def _placed_labels(returned: Any, outputs: Tensor, labels: Tensor, example_axis: int) -> Tensor:
    """Labels where the model's own loss has them: at their positions, or, as causal language models, one before.

    Raises InputError where the model has a loss of its own that is neither.
    """
    loss = returned.get("loss") if isinstance(returned, Mapping) else getattr(returned, "loss", None)
    if not isinstance(loss, Tensor) or loss.ndim or labels.ndim + 1 != outputs.ndim or labels.is_floating_point():
        return labels
    shifted = labels
    if labels.ndim == 2:
        shifted = torch.full_like(labels, IGNORED)
        shifted[:, :-1] = labels[:, 1:]
    for placed in (labels, shifted):
        if placed.shape == outputs.shape[:-1] and example_axis == 0:
            own = nn.functional.cross_entropy(outputs.detach().flatten(0, -2).float(), placed.flatten())
            if torch.isclose(own, loss.detach().float(), rtol=1e-3, atol=1e-6):
                return placed
    raise InputError(
        f"the model's own loss on the batch's labels, {float(loss):.6g}, is not the mean cross-entropy of its outputs "
        "at them, nor one position later; give targets apart, one for each output."
    )


def _class_axis(
    found: Tensor, targets: Any, followed: int | None, layout: BatchLayout, example_axis: int, chosen: Likelihood
) -> int:
    if layout.class_axis is not None:
        if not -found.ndim <= layout.class_axis < found.ndim or layout.class_axis % found.ndim == example_axis:
            raise InputError(f"class_axis is {layout.class_axis}, no axis of classes of outputs {tuple(found.shape)}.")
        return layout.class_axis
    if found.ndim < 2 or not chosen.labels_are_classes:
        return -1 if example_axis != found.ndim - 1 or found.ndim == 1 else 0
    shape = targets.shape if isinstance(targets, Tensor) else None
    return axis_of_classes(found.shape, shape, followed, example_axis)


def refuse_probabilities(chosen: Likelihood, found: Tensor, outputs: Tensor) -> None:
    """Raise InputError for a model whose last function makes probabilities, where the likelihood takes logits."""
    if not chosen.takes_logits:
        return
    last = last_function(found)
    made_by_layer = last_node(found).startswith(("Addmm", "Mm", "Bmm", "Linear", "Convolution"))
    if last is None and chosen.labels_are_classes and not made_by_layer:
        sums = outputs.detach().sum(-1)
        if (outputs >= 0).all() and (sums - 1).abs().max() <= 8 * outputs.shape[-1] * torch.finfo(outputs.dtype).eps:
            last = "softmax"
    if last is not None:
        raise InputError(
            f"the model's outputs are probabilities (its last function is a {last}), but the likelihood "
            f"{chosen.name!r} takes logits; leave that function out of the model, or name the logits by output=."
        )


_UNCHANGED = ("View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Permute", "Transpose", "TBackward", "Select")
_UNCHANGED += ("Slice", "Clone", "ToCopy", "Alias", "Expand")


def last_function(outputs: Tensor) -> str | None:
    """ "softmax" or "sigmoid" if that made the outputs, whatever was reshaped after; None: neither."""
    names = {"SoftmaxBackward": "softmax", "SigmoidBackward": "sigmoid", "HardsigmoidBackward": "sigmoid"}
    return names.get(last_node(outputs).rstrip("0123456789"))


def last_node(outputs: Tensor) -> str:
    """What autograd calls the function that made the outputs, whatever was reshaped after; "" if it does not know."""
    node = outputs.grad_fn
    while node is not None and node.name().startswith(_UNCHANGED):
        node = node.next_functions[0][0]
    return "" if node is None else node.name()


def _labelled(
    chosen: Likelihood,
    layout: BatchLayout,
    inputs: Any,
    targets: Any,
    found: Tensor,
    outputs: Tensor,
    example_axis: int,
    place: int,
    ignoring: bool,
) -> tuple[Tensor | None, Any]:
    """What columns are multiplied with so that positions without a label are left out, or None; targets as outputs.

    `ignoring`: whether some of the targets are IGNORED.
    """
    masks = layout.masks(inputs)
    positions = tuple(
        length for axis, length in enumerate(found.shape) if axis not in (example_axis, place % found.ndim)
    )
    counting = mask_of_positions(masks, positions if found.ndim > 2 else ())
    if isinstance(counting, str):
        raise InputError(f"the model's output {counting}; give mask= (False: all of them count).")
    if isinstance(targets, Tensor):
        targets = canonical_targets(targets, found.shape, example_axis, place, chosen.labels_are_classes)
        if chosen.labels_are_classes and not targets.is_floating_point() and targets.shape == outputs.shape[:-1]:
            if ignoring:
                labelled = targets != IGNORED
                counting = labelled if counting is None else counting.to(labelled.device) & labelled
            if counting is not None:
                targets = torch.where(counting.to(targets.device), targets, 0)
        elif counting is not None and targets.shape == outputs.shape:
            uniform = torch.full_like(targets, 1 / outputs.shape[-1] if chosen.labels_are_classes else 0)
            targets = torch.where(counting.to(targets.device)[..., None], targets, uniform)
    return (None if counting is None else counting.to(outputs.device, outputs.dtype)[..., None]), targets


def masks_of_layers(
    captures: Mapping[str, Capture], masks: Sequence[Tensor]
) -> tuple[dict[str, Tensor | None], dict[str, str]]:
    """For every layer which of its positions count, and the layers of which that is not known, with the reason."""
    found: dict[str, Tensor | None] = {}
    refused = {}
    for name, capture in captures.items():
        of_calls = [mask_of_positions(masks, capture.positions(call)) for call in range(len(capture.nets))]
        unknown = next((why for why in of_calls if isinstance(why, str)), None)
        if capture.words() is not None and any(isinstance(mask, Tensor) and not bool(mask.all()) for mask in of_calls):
            refused[name] = (
                f"layer {name!r} is an embedding of masked positions, whose words would count as words of the data; "
                "give mask=False, or sequences without padding."
            )
        elif unknown is not None:
            refused[name] = f"layer {name!r} {unknown}; give mask= (False: all of them count)."
        elif all(mask is None for mask in of_calls):
            found[name] = None
        else:
            parts = [
                incoming.new_ones(
                    (incoming.shape[capture.batch_axis(call)], torch.Size(capture.positions(call)).numel()),
                    dtype=torch.bool,
                )
                if not isinstance(mask, Tensor)
                else mask.to(incoming.device)
                for call, (mask, incoming) in enumerate(zip(of_calls, capture.incoming, strict=True))
            ]
            found[name] = torch.cat(parts, dim=1)
    return found, refused


def refusal_of_calls(name: str, capture: Capture, examples: int, dtypes: Sequence[torch.dtype] = ()) -> str | None:
    """Why a layer's calls have no scores: examples not where they should be, or outputs neither of the weights' dtype
    nor one of `dtypes`; else None."""
    for number, call in enumerate(capture.calls):
        incoming, net = call.incoming, call.net
        if incoming.is_nested or incoming.layout != torch.strided:
            return f"layer {name!r} receives a nested or sparse tensor; a dense one is needed."
        axes = call.map.refusal(incoming, capture.batch_axis(number), examples)
        if axes is not None:
            return (
                f"layer {name!r} receives activations of shape {tuple(incoming.shape)} for {examples} example"
                f"{'s' * (examples > 1)}; the examples must be the first of {axes} axes."
            )
        if net is not None and net.dtype not in (capture.layer.weight.dtype, *dtypes):
            return (
                f"layer {name!r} has weights of {capture.layer.weight.dtype} but returned {net.dtype}; leave the "
                "autocast context."
            )
    return None


def _refused_calls(
    alone: Mapping[str, Capture], batch: Mapping[str, Capture], axes: Axes, examples: int
) -> dict[str, str]:
    """Layers that were never executed, and those of `refusal_of_calls`."""
    refused = {}
    for name, capture in batch.items():
        one = alone[name]
        if capture.trouble is not None:
            refused[name] = f"layer {name!r} {capture.trouble}; such scores are not available."
        elif not capture.nets:
            refused[name] = (
                f"layer {name!r} is never executed in a forward pass, or its weight not multiplied with activations; "
                "name a layer that is."
            )
        elif len(one.nets) != len(capture.nets):
            refused[name] = (
                f"layer {name!r} is called {len(capture.nets)} times, for one example {len(one.nets)} times."
            )
        elif any(tensor.is_nested for tensor in (*capture.incoming, *one.incoming)):
            refused[name] = f"layer {name!r} receives a nested or sparse tensor; a dense one is needed."
        else:
            of_layer = axes[name]
            placed = replace(capture, batch_axes=tuple(0 if axis is None else axis for axis in of_layer))
            if None in of_layer:
                shape = tuple(capture.incoming[of_layer.index(None)].shape)
                refused[name] = (
                    f"layer {name!r} receives activations of shape {shape} for {examples} examples; the examples must "
                    "be the first of its axes."
                )
            elif (why := refusal_of_calls(name, placed, examples)) is not None:
                refused[name] = why
    return refused


def _refused_flow(captures: Mapping[str, Capture], outputs: Tensor) -> dict[str, str]:
    """Layers that ran without influence on the outputs, or whose weights act on them in another way than in calls."""
    own = {name: _own_parameters(capture) for name, capture in captures.items()}
    sources = [source for name, capture in captures.items() for source in (*own[name].values(), *capture.nets)]
    gradients: Sequence[Tensor | None] = [None] * len(sources)
    if outputs.requires_grad:
        with refusing_reentrant_checkpoints():
            gradients = torch.autograd.grad(outputs.sum(), sources, retain_graph=True, allow_unused=True)
    of_biases: dict[tuple[int, Any], list[str]] = {}
    for name, capture in captures.items():
        layer = cast(UnitWeights, capture.layer)
        if capture.has_bias:
            of_biases.setdefault((id(layer.bias), layer.rows), []).append(name)
    reached = iter(gradient is not None for gradient in gradients)
    refused = {}
    for name, capture in captures.items():
        hidden = [key for key in list(own[name]) if next(reached)]
        influences = [next(reached) for _ in capture.nets]
        module = cast(UnitWeights, capture.layer).module
        if hidden and nn.utils.parametrize.is_parametrized(module):
            refused[name] = f"layer {name!r} {PARAMETRISED}"
        elif hidden:
            refused[name] = (
                f"layer {name!r} has its {' and '.join(hidden)} used in another way than as a linear map of "
                "activations whose units are its rows (as when it is normalised before); such scores are not available."
            )
        elif len(sharing := of_biases.get((id(capture.layer.bias), getattr(capture.layer, "rows", None)), [])) > 1:
            refused[name] = (
                f"layers {' and '.join(map(repr, sharing))} have one bias, whose score is not that of one layer's "
                "units; give each its own."
            )
        elif capture.nets and not any(influences):
            refused[name] = (
                f"the outputs do not depend on layer {name!r} (it has no influence, or runs under no_grad or detach); "
                "name a layer they depend on."
            )
    return refused


@contextmanager
def refusing_reentrant_checkpoints() -> Iterator[None]:
    """Raises InputError for what torch says of gradients through checkpoints that call `backward` themselves."""
    try:
        yield
    except RuntimeError as error:
        if "use_reentrant" not in str(error):
            raise
        raise InputError(
            "the model has a checkpoint with use_reentrant=True, through which torch takes no gradients with respect "
            "to what comes before it; give that checkpoint use_reentrant=False."
        ) from error


def _own_parameters(capture: Capture) -> dict[str, Tensor]:
    """The weight and, if calls add it, the bias; of a module of torch.nn in any case."""
    layer = cast(UnitWeights, capture.layer)
    own: dict[str, Tensor] = {"weight": layer.weight}
    if layer.bias is not None and (capture.has_bias or type(layer.module).__module__.startswith("torch.nn")):
        own["bias"] = layer.bias
    return own


def _columns(
    likelihood: Likelihood,
    outputs: Tensor,
    kind: str,
    targets: Tensor | None,
    samples: int,
    generator: torch.Generator | None,
) -> tuple[int, Iterator[Tensor]]:
    """The number of columns in output space, and the columns, each of the outputs' shape."""
    if kind == "exact":
        return outputs[0].numel(), _one_per_output(likelihood, outputs)
    if kind == "monte_carlo":
        return samples, likelihood.drawn_scores(outputs, samples, generator)
    return 1, iter([likelihood.score(outputs, cast(Tensor, targets))])


def _one_per_output(likelihood: Likelihood, outputs: Tensor) -> Iterator[Tensor]:
    """A likelihood's score factors. Raises InputError where there are not as many as outputs."""
    number = 0
    for number, column in enumerate(likelihood.score_factors(outputs), start=1):
        if number > outputs[0].numel() or column.shape != outputs.shape:
            break
        yield column
    else:
        if number == outputs[0].numel():
            return
    raise InputError(
        f"score_factors of the likelihood {likelihood.name!r} must be {outputs[0].numel()} columns, one per position "
        f"and output, each of the outputs' shape {tuple(outputs.shape)}."
    )


def pull_back(
    captures: Mapping[str, Capture], outputs: Tensor, columns: Iterable[Tensor], count: int | None = None
) -> Iterator[dict[str, list[Float[Tensor, "examples positions units"]]]]:
    """One backward pass per column: vᵀ d outputs / d net for every call of every layer.

    The graph goes with the last of `count` columns; None: it stays, for a backward pass that follows.
    """
    nets = [net for capture in captures.values() for net in capture.nets]
    for number, column in enumerate(columns, start=1):
        keep = count is None or number < count
        with refusing_reentrant_checkpoints():
            pulled = iter(
                torch.autograd.grad(outputs, nets, column, retain_graph=keep, allow_unused=True, materialize_grads=True)
            )
        yield {
            name: [capture.by_position(next(pulled), call) for call in range(len(capture.nets))]
            for name, capture in captures.items()
        }


def _deltas(
    captures: Mapping[str, Capture], outputs: Tensor, columns: tuple[int, Iterator[Tensor]]
) -> dict[str, Float[Tensor, "columns examples positions units"]]:
    """All columns pulled back, every layer's in one tensor."""
    if not captures:
        return {}
    count, cotangents = columns
    deltas: dict[str, Tensor] = {}
    _check_memory(captures, len(outputs), count)
    for name, capture in captures.items():
        shapes = [capture.by_position(net, call).shape for call, net in enumerate(capture.nets)]
        positions = sum(shape[1] for shape in shapes)
        deltas[name] = capture.nets[0].new_empty(count, len(outputs), positions, shapes[0][2])
    for column, pulled in enumerate(pull_back(captures, outputs, cotangents, count)):
        for name, parts in pulled.items():
            torch.cat(parts, dim=1, out=deltas[name][column])
    return deltas


def _check_memory(captures: Mapping[str, Capture], examples: int, columns: int) -> None:
    """Raise InputError if the scores of a batch do not fit into memory, before they are allocated."""
    device = next(iter(captures.values())).nets[0].device
    numbers = 0
    for capture in captures.values():
        words = capture.words()
        for number, call in enumerate(capture.calls):
            if call.net is None:
                continue
            places = examples * torch.Size(capture.positions(number)).numel()
            fan_in = capture.by_unit(capture.layer.weight).shape[1] if words is None else len(words)
            groups = len(capture.layer.weight) if isinstance(call.scale, Tensor) else call.map.groups
            size = call.net.element_size()
            numbers += size * (call.net.numel() * columns + places * groups * fan_in)
    check_fits(
        f"the scores of a batch of {examples} examples ({columns:,} columns)",
        numbers,
        device,
        examples,
        "batches of {fitting} examples would fit (batch_size=)",
        "kind='monte_carlo' has one column, and fewer layers at a time take less",
    )
