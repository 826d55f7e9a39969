"""T1, T6: the tangent kernel of a torch model as it is, by the exact gradients of every output at every example.

A fully connected layer's gradient at one position is δ (a, 1)ᵀ, so its part of an inner product is (a·a' + 1) δ·δ' and
the gradient itself is never formed. All other parameters take their gradients by torch.func, example by example.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from elutheory.dynamics.spectra import InputKernel
from elutheory.errors import InputError
from elutheory.fisher.likelihoods import Gaussian
from elutheory.fisher.scores import LayerScores, model_scores
from elutheory.models.batch_layout import BatchLayout, Output
from elutheory.models.data import check_inputs, first_sentence, number_of_examples, rows_of
from elutheory.models.layers import KINDS_OF_LAYER, own_parameters
from elutheory.models.refusals import check_model, refusal_of_layer
from elutheory.numerics.arguments import check_whole
from elutheory.output.progress import tracked

MOST_BYTES = 2**28
"""Of what is kept of the examples' gradients at once; `tests/dynamics/test_measured_networks.py` lowers it."""


@dataclass(frozen=True, eq=False)
class EmpiricalTrainingKernel(InputKernel):
    """The tangent kernel of a torch model at its present parameters, over those that require gradients.

    - `matrix` (inputs, inputs): the mean over the C outputs of Σ_p ∂f_c(x)/∂p ∂f_c(x')/∂p, what T1 is the limit of;
    - `blocks` (inputs, outputs, inputs, outputs): ∂f_c(x)·∂f_c'(x') of every pair of outputs, where asked for;
    - `outputs` (inputs, outputs): the model's, F_0 of T2.

    All of the model's dtype and on its device.

    >>> import elutheory as et
    >>> import torch
    >>> kernel = et.empirical_training_kernel(torch.nn.Linear(2, 3), torch.ones(5, 2), blocks=True)
    >>> kernel.matrix.shape, kernel.blocks.shape
    (torch.Size([5, 5]), torch.Size([5, 3, 5, 3]))
    """

    matrix: Float[Tensor, "inputs inputs"]
    outputs: Float[Tensor, "inputs outputs"]
    blocks: Float[Tensor, "inputs outputs inputs outputs"] | None = None


def empirical_training_kernel(
    model: nn.Module,
    inputs: Tensor | Mapping[str, Any],
    *,
    blocks: bool = False,
    output: Output = None,
    most_bytes: int = MOST_BYTES,
    progress: bool | None = None,
) -> EmpiricalTrainingKernel:
    """T1 of one network: inner products of the gradients of a model's outputs at N inputs, exact to rounding.

    - `model`: any torch module whose examples are computed one by one (dropout off, batch normalisation in evaluation);
      parameters that do not require gradients are not trained and do not count;
    - `inputs`: a tensor (inputs, ...), or a mapping of them passed as `model(**inputs)`; the outputs are (inputs,),
      (inputs, outputs) or of more axes, each number an output;
    - `blocks`: return the kernel of every pair of outputs too, N² C² numbers, of outputs (inputs, outputs);
    - `output`: which of several things returned are the outputs, as in `model_scores`;
    - `most_bytes`: how much to keep of the gradients at once. Where that is less than all, they are computed again for
      every pair of batches;
    - `progress`: a bar with the time left, from two seconds on; None: where standard error is a terminal.

    Raises InputError for what `model_scores` refuses in a model or its inputs, and a model without trained parameters.

        theta = et.empirical_training_kernel(model, images)
        theta.matrix, theta.top_share

    >>> import elutheory as et
    >>> import torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> x = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    >>> et.empirical_training_kernel(model, x).matrix
    tensor([[ 1.,  3.],
            [ 3., 25.]])
    """
    gradients, first, fitting = _first_gradients(model, inputs, output, most_bytes)
    examples = number_of_examples(inputs)
    if blocks and first.outputs.ndim != 2:
        raise InputError(f"blocks are of outputs (inputs, outputs), not of {first.outputs.ndim} axes.")
    size = max(1, min(examples, fitting))
    parts = [slice(start, min(start + size, examples)) for start in range(0, examples, size)]
    count = first.outputs[0].numel()
    matrix = first.outputs.new_zeros(examples, examples)
    pairs = first.outputs.new_zeros(examples, count, examples, count) if blocks else None
    outputs = first.outputs.new_zeros(examples, count)
    for number, rows in tracked(enumerate(parts), len(parts), "kernel of the network", progress):
        left = gradients.at(rows_of(inputs, rows))
        outputs[rows] = left.outputs.flatten(1)
        for columns in parts[number:]:
            right = left if columns is rows else gradients.at(rows_of(inputs, columns))
            matrix[rows, columns] = left.products(right)
            matrix[columns, rows] = matrix[rows, columns].T.clone()  # on the diagonal, rounding is mended below
            if pairs is not None:
                block = left.blocks(right)
                pairs[rows, :, columns] = block
                pairs[columns, :, rows] = block.permute(2, 3, 0, 1).clone()
    if pairs is not None:
        pairs = 0.5 * (pairs + pairs.permute(2, 3, 0, 1))
    return EmpiricalTrainingKernel(0.5 * (matrix + matrix.T), outputs, pairs)


def inputs_at_once(
    model: nn.Module, inputs: Tensor | Mapping[str, Any], *, output: Output = None, most_bytes: int = MOST_BYTES
) -> int:
    """Of how many inputs the gradients fit into `most_bytes`, so that none is computed twice; 0: not even of one."""
    return _first_gradients(model, inputs, output, most_bytes)[2]


def _first_gradients(
    model: nn.Module, inputs: Any, output: Output, most_bytes: int
) -> "tuple[_Gradients, _Batch, int]":
    """How the gradients are had, those of the first input, and of how many they fit, two batches side by side."""
    check_inputs(inputs)
    check_model(model)
    check_whole("most_bytes", most_bytes)
    gradients = _Gradients(model, BatchLayout(0, None, output, False))
    first = gradients.at(rows_of(inputs, slice(0, 1)))
    return gradients, first, most_bytes // (2 * max(1, first.bytes))


# --- gradients of a batch ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Dense:
    """Gradients (examples, outputs, parameters)."""

    gradient: Float[Tensor, "examples outputs parameters"]

    @property
    def bytes(self) -> int:
        return self.gradient.nbytes

    def products(self, other: "_Dense") -> Tensor:
        return self.gradient.flatten(1) @ other.gradient.flatten(1).T

    def blocks(self, other: "_Dense") -> Tensor:
        return torch.einsum("icp,jdp->icjd", self.gradient, other.gradient)


@dataclass(frozen=True, eq=False)
class _Linear:
    """Of a fully connected layer at one position: activations a below, δ, and which of weight and bias are trained."""

    incoming: Float[Tensor, "examples fan_in"]
    deltas: Float[Tensor, "examples outputs units"]
    weight: bool
    bias: bool

    @property
    def bytes(self) -> int:
        return self.incoming.nbytes + self.deltas.nbytes

    def _overlaps(self, other: "_Linear") -> Tensor:
        overlaps = self.incoming @ other.incoming.T if self.weight else self.incoming.new_zeros(())
        return overlaps + float(self.bias)

    def products(self, other: "_Linear") -> Tensor:
        return self.deltas.flatten(1) @ other.deltas.flatten(1).T * self._overlaps(other)

    def blocks(self, other: "_Linear") -> Tensor:
        overlaps = self._overlaps(other)
        overlaps = overlaps[:, None, :, None] if overlaps.ndim else overlaps
        return torch.einsum("icu,jdu->icjd", self.deltas, other.deltas) * overlaps


@dataclass(frozen=True, eq=False)
class _Batch:
    """The factors of all trained parameters' gradients at a batch, and the model's outputs there."""

    factors: tuple[Any, ...]
    outputs: Tensor

    @property
    def bytes(self) -> int:
        return sum(factor.bytes for factor in self.factors)

    def products(self, other: "_Batch") -> Tensor:
        """Averaged over the outputs."""
        count = self.outputs[0].numel()
        total: Any = sum(a.products(b) for a, b in zip(self.factors, other.factors, strict=True))
        return total / count

    def blocks(self, other: "_Batch") -> Tensor:
        return sum(a.blocks(b) for a, b in zip(self.factors, other.factors, strict=True))  # pyright: ignore


class _Gradients:
    """How a model's gradients are had: which layers by their scores, which parameters by torch.func."""

    def __init__(self, model: nn.Module, layout: BatchLayout) -> None:
        self.model, self.layout = model, layout
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not trained:
            raise InputError("no parameter of the model requires gradients; there is nothing to train.")
        self.layers = [
            name
            for name, module in model.named_modules()
            if isinstance(module, KINDS_OF_LAYER)
            and refusal_of_layer(model, name, module) is None
            and any(p.requires_grad for p in own_parameters(module).values())
        ]
        self.trained = trained
        self.modules = dict(model.named_modules())

    def at(self, inputs: Any) -> _Batch:
        """The gradients at these examples."""
        factors: list[Any] = []
        rest = dict(self.trained)
        outputs = None
        if self.layers:
            found = model_scores(
                self.model, inputs, self.layers, "exact", Gaussian(), mask=False, output=self.layout.output
            )
            outputs = found.outputs
            for name, scores in found.layers.items():
                factors += self._of_layer(name, scores)
                for key in own_parameters(self.modules[name]):
                    rest.pop(f"{name}.{key}" if name else key, None)
        if rest:
            dense, outputs_here = self._by_func(inputs, rest)
            factors += dense
            outputs = outputs_here if outputs is None else outputs
        assert outputs is not None  # noqa: S101  (some parameter is trained)
        return _Batch(tuple(factors), outputs)

    def _of_layer(self, name: str, scores: LayerScores) -> Iterator[Any]:
        trained = {key: p.requires_grad for key, p in own_parameters(self.modules[name]).items()}
        weight, bias = trained["weight"], trained.get("bias", False)
        deltas = scores.deltas.transpose(0, 1)  # (examples, outputs, positions, units)
        if scores.incoming.shape[1:3] == (1, 1):
            yield _Linear(scores.incoming[:, 0, 0], deltas[:, :, 0], weight, bias)
            return
        if weight:
            grouped = deltas.unflatten(-1, (scores.incoming.shape[1], scores.units_per_group))
            yield _Dense(torch.einsum("ncpgu,ngpi->ncgui", grouped, scores.incoming).flatten(2))
        if bias:
            yield _Dense(deltas.sum(2))

    def _by_func(self, inputs: Any, parameters: dict[str, nn.Parameter]) -> tuple[list[_Dense], Tensor]:
        values = {name: p.detach() for name, p in parameters.items()}

        def of_one(example: Any) -> tuple[list[dict[str, Tensor]], Tensor]:
            def outputs(values: dict[str, Tensor]) -> Tensor:
                alone = {key: value[None] for key, value in example.items()}
                given = ((), alone) if isinstance(inputs, Mapping) else (tuple(alone.values()), {})
                return self.layout.selected(torch.func.functional_call(self.model, values, *given))[0]

            differentiated: Any = torch.func.vjp(outputs, values)
            found, pull = differentiated
            rows = torch.eye(found.numel(), dtype=found.dtype, device=found.device).unflatten(1, found.shape or (1,))
            # Output by output: under a second vmap over them torch's gradient of PReLU is another.
            return [pull(row if found.ndim else row[0])[0] for row in rows], found

        try:
            with torch.no_grad():  # of what is outside of vjp: parameters that are not its arguments
                rows, found = torch.func.vmap(of_one)(inputs if isinstance(inputs, Mapping) else {"": inputs})
        except InputError:
            raise
        except Exception as error:
            names, reason = ", ".join(map(repr, values)), first_sentence(error)
            raise InputError(f"the gradients by {names} cannot be had example by example: {reason}.") from error
        return [_Dense(torch.stack([row[name].reshape(len(found), -1) for row in rows], 1)) for name in values], found
