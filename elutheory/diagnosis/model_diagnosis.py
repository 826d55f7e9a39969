"""Diagnosis of any torch model: what bias shift does in every layer and what the unit natural gradient would change.

Run as `python -m elutheory.diagnosis package.module:factory --data digits`.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from elutheory.diagnosis.layer import GROUPS, Drawing, LayerSums
from elutheory.diagnosis.layer_predictions import predict_layers
from elutheory.diagnosis.results import Diagnosis, table_of
from elutheory.diagnosis.training_kernel_shares import training_kernel_shares
from elutheory.errors import InputError
from elutheory.fisher.likelihoods import Likelihood, as_likelihood
from elutheory.fisher.scores import Kind, LayerScores, ModelScores, model_scores
from elutheory.models.batch_layout import (
    BatchLayout,
    Mask,
    Output,
    kept_rows,
    labels_in,
    with_mask,
    without_mask,
)
from elutheory.models.data import (
    BATCH_SIZE,
    array_as_tensor,
    batches_of,
    check_inputs,
    number_of_examples,
    rows_of,
    tensors_of,
)
from elutheory.models.layers import UnitWeights, find_layer, layer_names, layers_of
from elutheory.models.observers import observing
from elutheory.numerics.arguments import check_damping, check_whole
from elutheory.numerics.cost import Cost, check_cost
from elutheory.output.progress import tracked

EXACT_OPERATIONS = 2e11
"""Without a choice of `kind` the Fisher matrices are exact if that takes so many operations at most, by an estimate.

That is about ten seconds of one core, for 512 examples, 16 units a layer and ten classes a network of 20 layers, 3 ×
3 × 256 channels on 16 × 16 positions. Beyond, labels are drawn, as many per example as take the same, one at least and
MOST_SAMPLES at most. Guarded by `test_exact_where_that_is_affordable`."""


MOST_SAMPLES = 32

_OPERATIONS_OF_A_CALL = 2e7  # what a backward pass through one layer takes at least: half a millisecond

FISHER_BYTES = 2**30
"""Memory for the Fisher matrices of all layers; fewer units per layer are measured where they would take more."""


PREDICTED_EXAMPLES = 256
"""Of so many inputs' Gram matrix mean shares are predicted; their own share of it is 1/256, below what is printed."""


BATCH_BYTES = 2**28
"""Batches are cut so that the activations and deltas of all layers together take about so much."""


def diagnose(
    model: nn.Module,
    data: Any,
    likelihood: Likelihood | str = "categorical",
    *,
    targets: Any = None,
    layers: Sequence[str] | None = None,
    kind: Kind | None = None,
    units: int = 16,
    fisher_examples: int = 512,
    max_examples: int | None = None,
    damping: float = 1e-2,
    seed: int = 0,
    mask: Mask = None,
    batch_axis: int = 0,
    class_axis: int | None = None,
    output: Output = None,
    batch_size: int = BATCH_SIZE,
    progress: bool | None = None,
) -> Diagnosis:
    """Bias shift, its correction and the unit Fisher matrices of every layer (F, B, M3, arXiv 1511.07289).

    - `data`: a tensor (examples, ...), a mapping of such (the model's keyword arguments), a tuple (inputs, targets), or
      an iterable of batches of these. One pass, over `max_examples` at most; a tensor's or a mapping's examples in a
      seeded random order, batches as they come;
    - `layers`: names; None: every layer that runs, see `elutheory.models.layers.layers_of`;
    - the means and the gradient are over all these examples and units. The gradient is that of the mean negative
      log-density of the targets; without targets, of labels drawn from the model;
    - the Fisher matrices are of the first `fisher_examples` of them and of `units` units per layer, drawn at random
      among those that live (fewer where they would take more than FISHER_BYTES, which the column `cut` says): their
      columns are medians over these units, with a standard error each for whatever was drawn;
    - `kind` "exact", "monte_carlo" (drawn labels), or "empirical"; None: exact wherever an estimate of its cost allows
      it (EXACT_OPERATIONS), else monte_carlo with as many labels per example as that cost allows;
    - `damping` λ relative to the mean diagonal of each unit's F, and of S in B5: with fewer examples than coordinates
      F is singular, and what is called the strength of the correction grows like 1/λ;
    - `mask`, `batch_axis`, `class_axis`, `output`: which positions count (by default those of a batch's
      `attention_mask`), and where examples, classes and outputs are, as in `unit_fisher`. A batch's own `labels` are
      its targets;
    - `batch_size`: examples at a time at most, fewer where BATCH_BYTES asks for it; it changes rounding alone;
    - `progress`: a bar with the time left, from two seconds on; None: where standard error is a terminal.

    Results depend on `seed` alone. Raises InputError for whatever `model_scores` refuses about model and data, and if
    no layer can be measured; layers that alone are refused are listed in `Diagnosis.uncovered`.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> x = torch.randn(50, 3)
    >>> diagnosis = et.diagnose(model, (x, (x[:, 0] > 0).long()))
    >>> diagnosis.table["layer"].tolist(), diagnosis.uncovered
    (['0', '2'], {})
    """
    chosen = as_likelihood(likelihood)
    _check_options(units, fisher_examples, max_examples, damping)
    check_whole("batch_size", batch_size)
    names = layer_names(model) if layers is None else list(layers)
    as_given = not isinstance(data, Tensor | Mapping | tuple | numpy.ndarray)
    targets, mask = array_as_tensor(targets, model), array_as_tensor(mask, model)
    data, targets = with_mask(tensors_of(data, model), targets, mask)
    stream = _batches(data, targets, max_examples, seed, batch_axis)
    first_inputs, first_targets = next(stream)
    check_inputs(first_inputs)
    generator = torch.Generator().manual_seed(seed)

    def scores_of(inputs: Any, labels: Any, layers: list[str], of_kind: Kind, samples: int = 1) -> ModelScores:
        labels, own_mask = without_mask(labels, None if isinstance(mask, Tensor) else mask)
        return model_scores(
            model,
            inputs,
            layers,
            of_kind,
            chosen,
            targets=labels,
            samples=samples,
            generator=generator,
            mask=own_mask,
            batch_axis=batch_axis,
            class_axis=class_axis,
            output=output,
        )

    has_labels = _labels(first_inputs, first_targets) is not None
    some = _first_that_counts(first_inputs, first_targets, mask, batch_axis)
    probe = scores_of(*some, names, "monte_carlo")
    columns = probe.outputs[0].numel()
    kind, samples = _kind(probe, columns, fisher_examples, units, chosen) if kind is None else (kind, 1)
    if kind == "empirical" and not has_labels:
        raise InputError("kind 'empirical' takes the scores at the data's labels; give targets.")
    columns = columns if kind == "exact" else samples
    asked = fisher_examples if max_examples is None else min(fisher_examples, max_examples)
    check_cost(_cost(probe, columns, asked, units, None if as_given else _count(data, max_examples, 1, batch_axis)))
    size, fisher_size = (min(batch_size, _batch_size(probe, one)) for one in (1, columns))
    sums = {
        name: LayerSums(name, find_layer(model, name).kind, scores, seed + number)
        for number, (name, scores) in enumerate(probe.layers.items())
    }
    refused: dict[str, str] = {}
    _drop(sums, refused, probe)
    label_kind: Kind = "empirical" if has_labels else "monte_carlo"

    def add(found: ModelScores, take: Callable[[LayerSums, LayerScores], None]) -> None:
        _drop(sums, refused, found)
        for name, scores in found.layers.items():
            take(sums[name], scores)

    def add_fishers(held: list[tuple[Any, Any]], count: int) -> None:
        """Now that it is known which units live: the gradient and the Fisher matrices of the first examples."""
        affordable = _affordable_units(sums, probe, columns, fisher_examples, units)
        for name, one in sums.items():
            one.choose(units, affordable[name])
        for inputs, labels in held:
            add(scores_of(inputs, labels, list(sums), label_kind), LayerSums.add_gradient)
            for part, part_labels in _cut(inputs, labels, fisher_size, batch_axis):
                found = scores_of(part, part_labels, list(sums), kind, samples)
                add(found, lambda one, scores: one.add_fisher(scores, scores.examples / count))

    def parts() -> Iterator[tuple[Any, Any]]:
        for batch, batch_targets in _all(first_inputs, first_targets, stream):
            if (_labels(batch, batch_targets) is not None) != has_labels:
                raise InputError("some batches have targets and some have none; give all of them targets, or none.")
            yield from _counted(_cut(batch, batch_targets, size, batch_axis), mask, batch_axis)

    examples = 0
    seen: list[Tensor] = []
    held: list[tuple[Any, Any]] | None = []
    with observing(model, {name: find_layer(model, name) for name in sums}) as observer:
        count = None if as_given else _count(data, max_examples, size, batch_axis)
        for inputs, labels in tracked(parts(), count, "diagnosis", progress):
            observer.watch_next(BatchLayout(batch_axis, mask=without_mask(labels, mask)[1]).masks(inputs))
            found = scores_of(inputs, labels, list(sums), label_kind)
            add(found, LayerSums.add)
            here = number_of_examples(inputs, batch_axis)
            if examples < PREDICTED_EXAMPLES and isinstance(inputs, Tensor) and inputs.ndim == 2 and batch_axis == 0:
                seen.append(inputs)
            if held is None:
                add(found, LayerSums.add_gradient)
            else:
                held += _first(inputs, labels, fisher_examples - examples, size, batch_axis)
                if examples + here >= fisher_examples:
                    add_fishers(held, fisher_examples)
                    held = None
                    for rest in _rest(inputs, labels, fisher_examples - examples, batch_axis):
                        add(scores_of(*rest, list(sums), label_kind), LayerSums.add_gradient)
            examples += here
        if held is not None:
            add_fishers(held, examples)
    measured = min(examples, fisher_examples)
    drawing = Drawing(kind == "monte_carlo", not has_labels, measured / examples, damping)
    predicted = _predicted_shares(model, torch.cat(seen)[:PREDICTED_EXAMPLES]) if seen and output is None else {}
    rows = [
        one.row(drawing, observer.records.get(name), observer.gates.get(name), predicted.get(name))
        for name, one in sums.items()
    ]
    shares = training_kernel_shares(model, first_inputs, probe.outputs, output, batch_axis)
    return Diagnosis(
        table_of(rows),
        _uncovered(model, sums, refused),
        examples,
        measured,
        kind,
        samples if kind == "monte_carlo" else 0,
        chosen.name,
        damping,
        "targets" if has_labels else "sampled",
        "as given" if as_given else "random",
        shares.top,
        shares.constant,
        shares.examples,
        shares.why,
    )


# --- options and data -----------------------------------------------------------------------------------------------


def _check_options(units: int, fisher_examples: int, max_examples: int | None, damping: float) -> None:
    numbers = {"units": units, "fisher_examples": fisher_examples, "max_examples": max_examples}
    for name, number in numbers.items():
        if number is not None:
            check_whole(name, number)
    check_damping(damping)
    if damping == 0:
        raise InputError("damping is 0; a number above zero is needed, as Fisher matrices of samples are singular.")


def _batches(data: Any, targets: Any, max_examples: int | None, seed: int, axis: int) -> Iterator[tuple[Any, Any]]:
    """Batches of at most BATCH_SIZE examples, max_examples in all; at random where the data can be indexed."""
    limit = math.inf if max_examples is None else max_examples
    if not isinstance(data, Tensor | Mapping | tuple):
        left = limit
        for inputs, labels in batches_of(data, targets):
            for part in _first(inputs, labels, left, BATCH_SIZE, axis):
                yield part
                left -= number_of_examples(part[0], axis)
            if left <= 0:
                return
        return
    whole, labels = next(batches_of(data, targets, 2**62, axis))
    examples = number_of_examples(whole, axis)
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(seed))
    for index in order[: int(min(limit, examples))].split(BATCH_SIZE):
        yield rows_of(whole, index, axis), rows_of(labels, index, axis)


def _count(data: Any, max_examples: int | None, size: int, axis: int) -> int:
    """How many parts of `size` examples data that can be indexed are cut into, about."""
    examples = number_of_examples(data[0] if isinstance(data, tuple) else data, axis)
    return -(-min(examples, max_examples or examples) // size)


def _all(inputs: Any, targets: Any, rest: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    yield inputs, targets
    yield from rest


def _cut(inputs: Any, targets: Any, size: int, axis: int) -> Iterator[tuple[Any, Any]]:
    return batches_of((inputs, targets), None, size, axis)


def _first(inputs: Any, targets: Any, count: int | float, size: int, axis: int) -> Iterator[tuple[Any, Any]]:
    """At most `count` examples, cut into parts of `size`."""
    if count > 0:
        part = slice(int(min(count, number_of_examples(inputs, axis))))
        yield from _cut(rows_of(inputs, part, axis), rows_of(targets, part, axis), size, axis)


def _rest(inputs: Any, targets: Any, count: int, axis: int) -> Iterator[tuple[Any, Any]]:
    """The examples after the first `count`, if there are any."""
    if number_of_examples(inputs, axis) > count:
        part = slice(count, None)
        yield rows_of(inputs, part, axis), rows_of(targets, part, axis)


def _labels(inputs: Any, targets: Any) -> Any:
    """The targets of a batch, or its own labels; None if it has none."""
    own = without_mask(targets, None)[0]
    return labels_in(inputs) if own is None else own


def _counted(batches: Iterator[tuple[Any, Any]], mask: Mask, axis: int) -> Iterator[tuple[Any, Any]]:
    """Batches without the examples of which no position counts, and without those of no example."""
    for inputs, targets in batches:
        masks = BatchLayout(axis, mask=without_mask(targets, mask)[1]).masks(inputs)
        keep = kept_rows(inputs, _labels(inputs, targets), masks, axis)
        if keep is None:
            yield inputs, targets
        elif keep.any():
            index = keep.nonzero()[:, 0]
            yield rows_of(inputs, index, axis), rows_of(targets, index, axis)


def _first_that_counts(inputs: Any, targets: Any, mask: Mask, axis: int) -> tuple[Any, Any]:
    """One example."""
    found = next(_counted(iter([(inputs, targets)]), mask, axis), None)
    if found is None:
        raise InputError("no example of a batch has a position that counts and a target; leave such batches out.")
    return next(_cut(*found, 1, axis))


# --- sizes ----------------------------------------------------------------------------------------------------------


def _kind(probe: ModelScores, columns: int, examples: int, units: int, likelihood: Likelihood) -> tuple[Kind, int]:
    """Exact if the estimated operations allow it, else the number of labels per example that they allow."""
    of_columns, of_examples = _operations(probe, examples, units, _batch_size(probe, columns))
    left = EXACT_OPERATIONS - of_examples
    if likelihood.has_factors and columns * of_columns <= left:
        return "exact", 1
    return "monte_carlo", int(max(1, min(MOST_SAMPLES, left / of_columns)))


def _operations(probe: ModelScores, examples: int, units: int, batch: int) -> tuple[float, float]:
    """What the Fisher matrices take per column, and what they take besides, in floating-point operations."""
    of_columns = of_examples = 0.0
    for scores in probe.layers.values():
        positions, fan_in = scores.incoming.shape[2:]
        all_units = scores.deltas.shape[-1]
        of_columns += 4.0 * examples * positions * fan_in * all_units + _OPERATIONS_OF_A_CALL * -(-examples // batch)
        chosen, outer = min(units, all_units), 2.0 * (fan_in + 1) ** 2
        if positions == 1:
            of_examples += examples * chosen * outer
        else:
            of_columns += examples * chosen * (2.0 * positions * fan_in + outer)
    return of_columns, of_examples


def _cost(probe: ModelScores, columns: int, fisher_examples: int, units: int, examples: int | None) -> Cost:
    """Of the whole diagnosis, as far as can be told before; `examples` None: as many as the Fisher matrices are of."""
    of_columns, of_examples = _operations(probe, fisher_examples, units, _batch_size(probe, columns))
    passes = sum(6.0 * scores.incoming[0].numel() * scores.deltas.shape[-1] for scores in probe.layers.values())
    return Cost(operations=of_examples + columns * of_columns + passes * (examples or fisher_examples))


def _affordable_units(
    sums: Mapping[str, LayerSums], probe: ModelScores, columns: int, examples: int, units: int
) -> dict[str, int]:
    """How many units of every layer FISHER_BYTES are enough for; layers that need little leave more to the others."""
    bytes_per_unit = {}
    for name in sums:
        positions, fan_in = probe.layers[name].incoming.shape[2:]
        if probe.layers[name].words is not None:
            fan_in = examples * positions  # words at most
        groups = probe.layers[name].incoming.shape[1]
        vectors = examples * (1 if positions == 1 else columns)
        if positions == 1 and groups == 1 and vectors < fan_in + 1:
            bytes_per_unit[name] = 8 * vectors  # activations that all units share
        else:
            bytes_per_unit[name] = 8 * (fan_in + 1) * min(vectors, GROUPS * (fan_in + 1))
    affordable, left = {}, float(FISHER_BYTES)
    for number, name in enumerate(sorted(sums, key=lambda name: bytes_per_unit[name])):
        share = left / (len(sums) - number)
        affordable[name] = max(1, min(units, int(share // bytes_per_unit[name])))
        left -= affordable[name] * bytes_per_unit[name]
    return affordable


def _batch_size(probe: ModelScores, columns: int) -> int:
    """Examples per batch, from what one example with one column takes."""
    numbers = sum(3 * scores.incoming.nbytes + columns * scores.deltas.nbytes for scores in probe.layers.values())
    most = min(BATCH_SIZE, BATCH_BYTES // max(1, numbers))
    for scores in probe.layers.values():
        if scores.words is not None:  # as many one-hot vectors as positions, of as many words at most
            side = math.sqrt(BATCH_BYTES / (3 * scores.incoming.element_size()))
            most = min(most, int(side / scores.incoming.shape[2]))
    return max(1, most)


def _predicted_shares(model: nn.Module, inputs: Any) -> dict[str, float]:
    """What P4 predicts for the incoming mean share of every layer behind a hidden one; {} for other networks."""
    if not isinstance(inputs, Tensor) or inputs.ndim != 2 or len(inputs) < 2:
        return {}
    try:
        found = predict_layers(model, inputs, examples=PREDICTED_EXAMPLES).table
    except InputError:  # not a sequence of Linear layers and activation functions
        return {}
    shares = dict(zip(found["layer"], found["mean_share"], strict=True))
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return {after: float(shares[name]) for name, after in itertools.pairwise(names) if name in shares}


# --- results --------------------------------------------------------------------------------------------------------


def _drop(sums: dict[str, LayerSums], refused: dict[str, str], found: ModelScores) -> None:
    """Forget layers that a batch shows cannot be measured. Raises InputError if none is left."""
    for name, reason in found.refused.items():
        refused[name] = reason
        sums.pop(name, None)
    if not sums:
        raise InputError(next(iter(refused.values())))


def _uncovered(model: nn.Module, covered: Mapping[str, LayerSums], refused: Mapping[str, str]) -> dict[str, str]:
    """Every parameter that no row covers, with the reason; one tied between modules under its first name."""
    layers = layers_of(model)
    own: dict[int, list[str]] = {}
    for name, layer in layers.items():
        for parameter in (layer.weight, layer.bias):
            if parameter is not None:
                own.setdefault(id(parameter), []).append(name)
    modules = dict(model.named_modules())
    reasons = {}
    for parameter_name, parameter in model.named_parameters():
        names = own.get(id(parameter), [])
        of_bias = [name for name in names if layers[name].bias is parameter]
        why = next((refused[name] for name in names if name in refused), None)
        missing = next((name for name in names if name not in covered), None)
        without = next((name for name in of_bias if name in covered and not covered[name].has_bias), None)
        if why is None and missing is not None and not _same_weight(layers, missing, covered):
            why = f"layer {missing!r} was not asked for."
        if why is None and without is not None:
            why = f"layer {without!r} is measured without it, as its weight is used with several biases, or none."
        if why is None and not names:
            kind = type(modules[parameter_name.rpartition(".")[0]]).__name__
            why = f"it belongs to a {kind} and is no weight or bias of a layer's units."
        if why is not None:
            reasons[parameter_name] = why
    return reasons


def _same_weight(layers: Mapping[str, UnitWeights], name: str, covered: Mapping[str, Any]) -> bool:
    """Whether the layer's weight is measured under another name."""
    return any(
        other in covered and (layers[other].weight is layers[name].weight and layers[other].rows == layers[name].rows)
        for other in layers
    )
