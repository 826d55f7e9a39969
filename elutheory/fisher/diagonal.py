"""The diagonal of the Fisher matrix of all of a model's parameters, exact and in one pass over the data."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

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
    shared_tensors,
    tensors_of,
)
from elutheory.models.refusals import check_model
from elutheory.output.progress import tracked

BATCH_BYTES = 2**28
"""Batches are cut so that the activations, deltas and gradients of their examples take about so much.

Guarded by `test_batches_are_cut_to_bounded_memory`.
"""

_GRADIENT_BYTES = 2**25  # of the gradients of as many examples as are squared at a time
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def fisher_diagonal(
    model: nn.Module,
    inputs: Any,
    kind: Kind = "exact",
    likelihood: Likelihood | str = "categorical",
    *,
    targets: Any = None,
    samples: int = 1,
    generator: torch.Generator | None = None,
    parameters: Sequence[str] | None = None,
    batch_size: int = BATCH_SIZE,
    mask: Mask = None,
    batch_axis: int = 0,
    class_axis: int | None = None,
    output: Output = None,
    progress: bool | None = None,
) -> dict[str, Tensor]:
    """E[(d ln p(y | x) / d θ)²] of every parameter θ of a model by its name, each in the parameter's shape (F1).

    What elastic weight consolidation, Laplace approximations and pruning ask for. In the unit Fisher matrices of
    `unit_fisher` it is the diagonal; the mean over examples, the score of an example being the sum over its positions.

    - `inputs`, `kind`, `likelihood`, `targets`, `samples`, `generator`, `batch_size`, `mask`, `batch_axis`,
      `class_axis`, `output`: as in `unit_fisher`. "exact" takes the expectation over labels analytically, by a backward
      pass per class; "monte_carlo" is the mean over `samples` labels drawn from the model; "empirical" has the data's
      own `targets`, and is not the Fisher matrix's;
    - `parameters`: the names of those wanted; None: every one, also where it is frozen; 0 where outputs do not depend
      on it;
    - `progress`: a bar with the time left on standard error for more than two seconds; None: if that is a terminal.

    Of `Linear` and convolution layers the squares of all examples come from matrix products of activations and deltas;
    of everything else (norms, embeddings, recurrent and attention weights, tied ones) from gradients example by
    example, many at once where the model's functions allow that (`torch.vmap`), else one after another. Memory: the
    result, and batches of BATCH_BYTES. Nothing of the model changes.

    Raises InputError for names that are no parameters and for whatever `model_scores` refuses about model and data:
    models that couple examples, say.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> diagonal = et.fisher_diagonal(model, torch.randn(50, 3))
    >>> {name: tuple(value.shape) for name, value in diagonal.items()}
    {'0.weight': (4, 3), '0.bias': (4,), '2.weight': (2, 4), '2.bias': (2,)}
    """
    chosen = as_likelihood(likelihood)
    every = dict(model.named_parameters())
    wanted = _wanted(every, parameters)
    check_model(model)
    layers = _names_of_layers(model, wanted)
    targets, mask = array_as_tensor(targets, model), array_as_tensor(mask, model)
    data, labels = with_mask(tensors_of(inputs, model), targets, mask)

    def scores_of(batch: Any, batch_targets: Any, of_layers: list[str] | None, of_kind: Kind, seed: Any) -> ModelScores:
        batch_targets, batch_mask = without_mask(batch_targets, None if isinstance(mask, Tensor) else mask)
        return model_scores(
            model,
            batch,
            of_layers,
            of_kind,
            chosen,
            targets=batch_targets,
            samples=samples,
            generator=seed,
            mask=batch_mask,
            batch_axis=batch_axis,
            class_axis=class_axis,
            output=output,
        )

    sums = {name: torch.zeros_like(every[name], requires_grad=False) for name in wanted}
    examples, size = 0, 0
    batches = batches_of(data, labels, batch_size, batch_axis)
    count = _number_of_batches(data, batch_size, batch_axis)
    for batch, batch_labels in tracked(batches, count, "diagonal of the Fisher matrix", progress):
        check_inputs(batch)
        if not _counts(batch, *without_mask(batch_labels, mask), batch_axis):
            continue
        if not size:
            one = _first_that_counts(batch, batch_labels, mask, batch_axis)
            layers, size = _measured(partial(scores_of, *one), layers, kind, samples)
        for part, part_labels in batches_of((batch, batch_labels), None, min(size, batch_size), batch_axis):
            if not _counts(part, *without_mask(part_labels, mask), batch_axis):
                continue
            scores = scores_of(part, part_labels, layers, kind, generator)
            found = _of_layers(model, scores, every, wanted)
            rest = {name: every[name] for name in wanted if name not in found}
            if rest:
                columns = partial(_columns, scores, chosen, kind, samples, generator)
                found |= _of_the_rest(model, rest, scores, columns, batch_axis)
            for name, squares in found.items():
                sums[name] += squares
            examples += len(scores.outputs)
    if not examples:
        raise InputError("no example of a batch has a position that counts and a target; leave such batches out.")
    return {name: total / examples for name, total in sums.items()}


# --- what there is to do --------------------------------------------------------------------------------------------


def _wanted(every: Mapping[str, Tensor], names: Sequence[str] | None) -> list[str]:
    wanted = list(every) if names is None else list(dict.fromkeys([names] if isinstance(names, str) else names))
    unknown = [name for name in wanted if name not in every]
    if unknown:
        raise InputError(f"the model has no parameter {unknown[0]!r}; names of model.named_parameters() are needed.")
    if not wanted:
        raise InputError("there are no parameters to take the diagonal of; the model has none, or none is named.")
    return wanted


def _names_of_layers(model: nn.Module, wanted: Sequence[str]) -> list[str] | None:
    """The layers that have a wanted parameter; None if there are none: then all serve to see how outputs lie."""
    prefixes = {name.rpartition(".")[0] for name in wanted}
    return [name for name, module in model.named_modules() if isinstance(module, _LAYERS) and name in prefixes] or None


def _number_of_batches(data: Any, batch_size: int, axis: int) -> int | None:
    whole = data[0] if isinstance(data, tuple) else data
    if isinstance(whole, Tensor | Mapping):
        check_inputs(whole)
        return -(-number_of_examples(whole, axis) // batch_size)
    return len(data) if hasattr(data, "__len__") else None


def _counts(inputs: Any, targets: Any, mask: Mask, axis: int) -> bool:
    """Whether an example of a batch has a position that counts and a target that is not left out."""
    labels = labels_in(inputs) if targets is None else targets
    keep = kept_rows(inputs, labels, BatchLayout(axis, mask=mask).masks(inputs), axis)
    return keep is None or bool(keep.any())


def _first_that_counts(inputs: Any, labels: Any, mask: Mask, axis: int) -> tuple[Any, Any]:
    """One example; the first of all if none counts."""
    alone = list(batches_of((inputs, labels), None, 1, axis))
    return next((one for one in alone if _counts(one[0], *without_mask(one[1], mask), axis)), alone[0])


def _measured(
    scores_of: Callable[..., ModelScores], layers: list[str] | None, kind: Kind, samples: int
) -> tuple[list[str] | None, int]:
    """The layers whose scores are taken, and how many examples a batch may have, from what one of them takes.

    Where no layer with a wanted parameter has scores, any other tells how the outputs lie.
    """
    drawing = torch.Generator().manual_seed(0)
    try:
        found = scores_of(layers, "monte_carlo", drawing)
    except InputError:
        layers, found = None, scores_of(None, "monte_carlo", drawing)
    columns = {"exact": found.outputs[0].numel(), "monte_carlo": samples, "empirical": 1}[kind]
    deltas = sum(scores.deltas[0].nbytes for scores in found.layers.values())
    needed = columns * deltas + sum(3 * scores.incoming.nbytes for scores in found.layers.values())
    return layers, max(1, BATCH_BYTES // max(1, needed))


def _columns(
    scores: ModelScores,
    likelihood: Likelihood,
    kind: Kind,
    samples: int,
    generator: torch.Generator | None,
    rows: slice,
) -> Iterator[Float[Tensor, "rows *positions classes"]]:
    """The columns of some of a batch's examples, as those that the layers' scores are made of."""
    outputs = scores.outputs[rows]
    if kind == "exact":
        columns = likelihood.score_factors(outputs)
    elif kind == "monte_carlo":
        columns = likelihood.drawn_scores(outputs, samples, generator)
    else:
        columns = iter([likelihood.score(outputs, scores.targets[rows])])
    return columns if scores.counting is None else (column * scores.counting[rows] for column in columns)


# --- layers: squares of all examples from matrix products -----------------------------------------------------------


def _of_layers(
    model: nn.Module, scores: ModelScores, every: Mapping[str, Tensor], wanted: Sequence[str]
) -> dict[str, Tensor]:
    """The sums over a batch's examples for the weights and biases of the layers with scores, by parameter name."""
    modules, names, found = dict(model.named_modules()), {id(value): name for name, value in every.items()}, {}
    for layer, one in scores.layers.items():
        module = modules[layer]
        if not isinstance(module, _LAYERS) or one.incoming.shape[-1] * one.deltas.shape[-1] != module.weight.numel():
            continue
        of_weight, of_bias = names.get(id(module.weight)), names.get(id(module.bias))
        if of_weight is None or (one.has_bias and of_bias is None) or {of_weight, of_bias}.isdisjoint(wanted):
            continue
        weight, bias = _squares(one)
        found |= {of_weight: weight.reshape(module.weight.shape)} | ({of_bias: bias} if one.has_bias else {})
    return {name: value for name, value in found.items() if name in wanted}


def _squares(scores: LayerScores) -> tuple[Float[Tensor, "units fan_in"], Float[Tensor, " units"]]:
    """Sums over columns and examples of the squared scores of weights and biases, in bounded memory."""
    _, examples, positions, units = scores.deltas.shape
    groups, fan_in = scores.incoming.shape[1], scores.incoming.shape[3]
    if positions == 1:
        squares = scores.deltas[0, :, 0].square()
        for column in scores.deltas[1:, :, 0]:  # one at a time: memory for one column's squares, not for all
            squares.addcmul_(column, column)
        by_group = squares.unflatten(1, (groups, -1))
        weight = torch.einsum("ngu,ngi->gui", by_group, scores.incoming[:, :, 0].square())
        return weight.flatten(0, 1), squares.sum(0)
    weight = scores.incoming.new_zeros(groups, units // groups, fan_in)
    bias = scores.incoming.new_zeros(units)
    size = max(1, _GRADIENT_BYTES // (units * fan_in * weight.element_size()))
    for start in range(0, examples, size):
        incoming = scores.incoming[start : start + size]
        for column in scores.deltas[:, start : start + size]:
            by_group = column.unflatten(2, (groups, -1))
            weight += torch.einsum("npgu,ngpi->ngui", by_group, incoming).square_().sum(0)
            bias += column.sum(1).square().sum(0)
    return weight.flatten(0, 1), bias


# --- everything else: gradients example by example -------------------------------------------------------------------


def _of_the_rest(
    model: nn.Module,
    rest: Mapping[str, Tensor],
    scores: ModelScores,
    columns: Callable[[slice], Iterator[Tensor]],
    axis: int,
) -> dict[str, Tensor]:
    """The sums over a batch's examples of the squared gradients of any parameters."""
    totals = {name: torch.zeros_like(value, requires_grad=False) for name, value in rest.items()}
    one = sum(value.nbytes for value in rest.values())
    size, start, examples = max(1, _GRADIENT_BYTES // max(1, one)), 0, len(scores.outputs)
    with torch.inference_mode(False), torch.enable_grad(), _without_fused_attention():
        while start < examples:
            rows = slice(start, min(start + size, examples))
            traced = _traced_at_once(model, rest, scores, rows, axis) if size > 1 else None
            if traced is None:
                rows, size = slice(start, start + 1), 1
                traced = _traced_alone(model, rest, scores, rows, axis)
            copies, outputs = traced
            if outputs.requires_grad:
                _add_squares(totals, copies, outputs, columns(rows))
            start = rows.stop
    return totals


@contextmanager
def _without_fused_attention() -> Iterator[None]:
    """Inside, torch's attention is computed by functions that have derivatives, also under `torch.vmap`."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


_Traced = tuple[dict[str, Tensor], Tensor]  # parameters with an axis of examples in front, and the outputs from them


def _add_squares(
    totals: dict[str, Tensor], copies: dict[str, Tensor], outputs: Tensor, columns: Iterator[Tensor]
) -> None:
    for column in columns:
        gradients = torch.autograd.grad(
            outputs, list(copies.values()), column, retain_graph=True, allow_unused=True, materialize_grads=False
        )
        for total, gradient in zip(totals.values(), gradients, strict=True):
            if gradient is not None:
                total += gradient.square().sum(0)


def _traced_at_once(
    model: nn.Module, rest: Mapping[str, Tensor], scores: ModelScores, rows: slice, axis: int
) -> _Traced | None:
    """Of all examples by `torch.vmap`; None where the model has a function that it does not know, or tells wrongly."""
    inputs = rows_of(scores.inputs, rows, axis)
    mapping = inputs if isinstance(inputs, Mapping) else {"": inputs}
    shared = set(shared_tensors(inputs, axis))
    of_examples = {key: value for key, value in mapping.items() if isinstance(value, Tensor) and key not in shared}
    others = {key: value for key, value in mapping.items() if key not in of_examples}
    if any(isinstance(value, Mapping) for value in others.values()):
        return None
    axes = {key: axis if value.ndim > axis else 0 for key, value in of_examples.items()}
    count = scores.outputs[rows].shape[0]
    copies = {name: value.detach().expand(count, *value.shape).requires_grad_() for name, value in rest.items()}

    def outputs_of(parameters: dict[str, Tensor], values: dict[str, Tensor]) -> Tensor:
        given = {key: value.unsqueeze(axes[key]) for key, value in values.items()} | others
        return scores.read(_run_with(model, parameters, given if isinstance(inputs, Mapping) else given[""]))[0]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of functions that are slower than they might be
            outputs = torch.vmap(outputs_of, in_dims=(0, axes))(copies, of_examples)
    except (RuntimeError, ValueError, TypeError, NotImplementedError, InputError):
        return None
    within = scores.outputs[rows]
    if outputs.shape != within.shape:
        return None
    close = (outputs - within).abs().max() <= torch.finfo(within.dtype).eps ** 0.5 * within.abs().max()
    return (copies, outputs) if bool(close) else None


def _traced_alone(model: nn.Module, rest: Mapping[str, Tensor], scores: ModelScores, rows: slice, axis: int) -> _Traced:
    """Of one example."""
    copies = {name: value.detach()[None].requires_grad_() for name, value in rest.items()}
    parameters = {name: value[0] for name, value in copies.items()}
    return copies, scores.read(_run_with(model, parameters, rows_of(scores.inputs, rows, axis)))


def _run_with(model: nn.Module, parameters: dict[str, Tensor], inputs: Any) -> Any:
    """What the model returns for a batch with other values of some parameters."""
    if isinstance(inputs, Mapping):
        return functional_call(model, parameters, (), dict(inputs))
    return functional_call(model, parameters, (inputs,))
