"""Diagnosis of any torch model: what bias shift does in every layer and what the unit natural gradient would change.

Run as `python -m elutheory.diagnosis package.module:factory --data digits`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas
import torch
from torch import Tensor, nn

from elutheory.diagnosis.layer import COLUMNS, LayerSums
from elutheory.diagnosis.results import Diagnosis
from elutheory.errors import InputError
from elutheory.fisher.likelihoods import Likelihood, as_likelihood
from elutheory.fisher.scores import Kind, ModelScores, model_scores
from elutheory.models.batch_layout import (
    BatchLayout,
    Mask,
    Output,
    kept_rows,
    labels_in,
    with_mask,
    without_mask,
)
from elutheory.models.data import BATCH_SIZE, batches_of, check_inputs, number_of_examples, rows_of
from elutheory.models.layers import KINDS_OF_LAYER, layer_names
from elutheory.models.observers import observing
from elutheory.numerics.arguments import check_damping, check_whole

EXACT_OUTPUTS = 64
"""Without a choice of `kind` the Fisher matrices are exact for models of up to so many outputs per example.

Exact ones take a backward pass per output: with 64 of them, over 512 examples, as much as one pass over 30,000."""


BATCH_BYTES = 2**28
"""Batches are cut so that the activations and deltas of all layers together take about so much."""


def diagnose(
    model: nn.Module,
    data: Any,
    likelihood: Likelihood | str = "categorical",
    *,
    targets: Tensor | None = None,
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
) -> Diagnosis:
    """Bias shift, its correction and the unit Fisher matrices of every layer (F, B, M3, arXiv 1511.07289).

    - `data`: a tensor (examples, ...), a mapping of such (the model's keyword arguments), a tuple (inputs, targets), or
      an iterable of batches of these. One pass, over `max_examples` at most; a tensor's or a mapping's examples in a
      seeded random order, batches as they come;
    - `layers`: names; None: every `Linear` and `Conv1d/2d/3d` that runs;
    - the means and the gradient are over all these examples and units. The gradient is that of the mean negative
      log-density of the targets; without targets, of labels drawn from the model;
    - the Fisher matrices are of the first `fisher_examples` of them and of `units` units per layer, drawn at random
      (fewer where they would take more than `elutheory.diagnosis.layer.FISHER_BYTES`): their columns are medians over
      these units;
    - `kind` "exact", "monte_carlo" (one drawn label per example), or "empirical"; None: exact for models with up to
      EXACT_OUTPUTS outputs per example and no weights shared over positions, otherwise monte_carlo;
    - `damping` λ relative to the mean diagonal of each unit's F, and of S in B5: with fewer examples than coordinates
      F is singular, and what is called the strength of the correction grows like 1/λ;
    - `mask`, `batch_axis`, `class_axis`, `output`: which positions count (by default those of a batch's
      `attention_mask`), and where examples, classes and outputs are, as in `unit_fisher`. A batch's own `labels` are
      its targets.

    Results depend on `seed` alone. Raises InputError for whatever `model_scores` refuses about model and data, and if
    no layer can be measured; layers that alone are refused are listed in `Diagnosis.uncovered`.
    """
    chosen = as_likelihood(likelihood)
    _check_options(units, fisher_examples, max_examples, damping)
    names = layer_names(model) if layers is None else list(layers)
    data, targets = with_mask(data, targets, mask)
    stream = _batches(data, targets, max_examples, seed, batch_axis)
    first_inputs, first_targets = next(stream)
    check_inputs(first_inputs)
    generator = torch.Generator().manual_seed(seed)

    def scores_of(inputs: Any, labels: Any, layers: list[str], of_kind: Kind) -> ModelScores:
        labels, own_mask = without_mask(labels, None if isinstance(mask, Tensor) else mask)
        return model_scores(
            model,
            inputs,
            layers,
            of_kind,
            chosen,
            targets=labels,
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
    kind = _kind(probe, columns) if kind is None else kind
    if kind == "empirical" and not has_labels:
        raise InputError("kind 'empirical' takes the scores at the data's labels; give targets.")
    drawn = kind != "exact"
    size, fisher_size = _batch_size(probe, 1), _batch_size(probe, 1 if drawn else columns)
    vectors = fisher_examples * (1 if drawn or not _shares_weights(probe) else columns)
    modules = dict(model.named_modules())
    sums = {
        name: LayerSums(name, modules[name], scores, units, vectors, seed + number)
        for number, (name, scores) in enumerate(probe.layers.items())
    }
    refused: dict[str, str] = {}
    _drop(sums, refused, probe)

    examples = 0
    with observing(model, {name: modules[name] for name in sums}) as observer:
        for batch, batch_targets in _all(first_inputs, first_targets, stream):
            if (_labels(batch, batch_targets) is not None) != has_labels:
                raise InputError("some batches have targets and some have none; give all of them targets, or none.")
            label_kind: Kind = "empirical" if has_labels else "monte_carlo"
            for inputs, labels in _counted(_cut(batch, batch_targets, size, batch_axis), mask, batch_axis):
                observer.watch_next(BatchLayout(batch_axis, mask=without_mask(labels, mask)[1]).masks(inputs))
                found = scores_of(inputs, labels, list(sums), label_kind)
                _drop(sums, refused, found)
                for name, scores in found.layers.items():
                    sums[name].add(scores)
                for part, part_labels in _first(inputs, labels, fisher_examples - examples, fisher_size, batch_axis):
                    found = scores_of(part, part_labels, list(sums), kind)
                    _drop(sums, refused, found)
                    for name, scores in found.layers.items():
                        sums[name].add_fisher(scores, scores.examples / fisher_examples)
                examples += number_of_examples(inputs, batch_axis)
    rows = [layer_sums.row(damping, observer.records.get(name)) for name, layer_sums in sums.items()]
    return Diagnosis(
        _table(rows),
        _uncovered(model, sums, refused),
        examples,
        min(examples, fisher_examples),
        kind,
        chosen.name,
        damping,
        "targets" if has_labels else "sampled",
        "random" if isinstance(data, Tensor | Mapping | tuple) else "as given",
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


def _shares_weights(probe: ModelScores) -> bool:
    return any(scores.deltas.shape[2] > 1 for scores in probe.layers.values())


def _kind(probe: ModelScores, columns: int) -> Kind:
    return "exact" if columns <= EXACT_OUTPUTS and not _shares_weights(probe) else "monte_carlo"


def _batch_size(probe: ModelScores, columns: int) -> int:
    """Examples per batch, from what one example with one column takes."""
    numbers = sum(3 * scores.incoming.nbytes + columns * scores.deltas.nbytes for scores in probe.layers.values())
    return max(1, min(BATCH_SIZE, BATCH_BYTES // max(1, numbers)))


# --- results --------------------------------------------------------------------------------------------------------


def _drop(sums: dict[str, LayerSums], refused: dict[str, str], found: ModelScores) -> None:
    """Forget layers that a batch shows cannot be measured. Raises InputError if none is left."""
    for name, reason in found.refused.items():
        refused[name] = reason
        sums.pop(name, None)
    if not sums:
        raise InputError(next(iter(refused.values())))


def _table(rows: list[dict[str, Any]]) -> pandas.DataFrame:
    table = pandas.DataFrame(rows, columns=list(COLUMNS))
    texts = ("layer", "kind", "activation")
    whole = ("units", "fan_in", "measured_units", "dead_units")
    numbers = [column for column in COLUMNS if column not in (*texts, *whole)]
    return table.astype(dict.fromkeys(numbers, float))


def _uncovered(model: nn.Module, covered: Mapping[str, Any], refused: Mapping[str, str]) -> dict[str, str]:
    modules = dict(model.named_modules())
    reasons = {}
    for parameter, _ in model.named_parameters():
        name = parameter.rpartition(".")[0]
        if name in covered:
            continue
        kind = type(modules[name]).__name__
        if name in refused:
            reasons[parameter] = refused[name]
        elif isinstance(modules[name], KINDS_OF_LAYER):
            reasons[parameter] = f"layer {name!r} was not asked for."
        else:
            reasons[parameter] = f"it belongs to a {kind}; Linear, Conv1d, Conv2d and Conv3d are measured."
    return reasons
