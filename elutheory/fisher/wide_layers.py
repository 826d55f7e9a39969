"""Named approximations of the unit Fisher matrices of wide layers, with their error measured (F1, F2).

A layer of 4,096 units with 4,096 incoming activations has unit matrices of 4,096 × 4,097² numbers: 550 GB. With q = p
(the data weighted by delta² taken for the data) all units share one matrix up to a factor; in the directions of the
largest activations every unit has a small matrix of its own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from elutheory.errors import InputError
from elutheory.fisher.likelihoods import Likelihood
from elutheory.fisher.scores import Kind, LayerScores, layer_scores
from elutheory.models.batch_layout import Mask, Output
from elutheory.models.data import batches_of, check_inputs, tensors_of
from elutheory.numerics.arguments import check_damping, check_whole
from elutheory.numerics.memory import check_fits
from elutheory.output.progress import tracked

ERROR_EXAMPLES = 512
"""The error of "shared" is that over so many examples at most, through their Gram matrix.

`test_the_error_of_the_shared_matrix_is_measured` has it against the matrices themselves."""

_CHUNK_BYTES = 2**26  # of weighted vectors at a time


@dataclass(frozen=True, eq=False)
class SharedUnitFisher:
    """F_u ≈ c_u E[(1, a)(1, a)ᵀ] for every unit u, c_u = E[delta²]: the Fisher matrices with q = p.

    - `second_moment` (coordinates, coordinates): E[(1, a)(1, a)ᵀ] over the points, the bias coordinate first, if the
      layer has a bias; `weights` (units,): c_u; `examples`: of how many;
    - `errors` (units,): ‖F_u − c_u E[(1, a)(1, a)ᵀ]‖ / ‖F_u‖ (Frobenius), over the first `error_examples` examples,
      where both are known exactly; NaN for dead units.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> F = et.approximate_unit_fisher(model, torch.randn(50, 3), "0", "shared")
    >>> F.second_moment.shape, F.errors.shape, F.natural_gradient(torch.ones(4, 4), damping=1e-2).shape
    (torch.Size([4, 4]), torch.Size([4]), torch.Size([4, 4]))
    """

    second_moment: Float[Tensor, "coordinates coordinates"]
    weights: Float[Tensor, " units"]
    errors: Float[Tensor, " units"]
    examples: int
    error_examples: int

    def natural_gradient(
        self, gradient: Float[Tensor, "units coordinates"], damping: float
    ) -> Float[Tensor, "units coordinates"]:
        """(F_u + λ_u I)⁻¹ g_u by one Cholesky factor for all units, worked out in float64, in the gradient's dtype.

        λ_u is `damping` × the mean diagonal of F_u. Rows of dead units, whose F_u is 0, are 0. Raises InputError for a
        wrong shape, and for a singular matrix.
        """
        _check_gradient(gradient, len(self.weights), len(self.second_moment), damping)
        matrix = self.second_moment.clone()
        matrix.diagonal().add_(damping * float(matrix.diagonal().mean()))
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if failed:
            raise InputError("E[(1, a)(1, a)ᵀ] is singular; give a damping above zero.")
        solved = torch.cholesky_solve(gradient.double().T, factor).T
        return torch.where(self.weights[:, None] > 0, solved / self.weights[:, None], 0.0).to(gradient.dtype)

    def matrix_of(self, unit: int) -> Float[Tensor, "coordinates coordinates"]:
        """What stands for one unit's F."""
        return self.weights[unit] * self.second_moment


@dataclass(frozen=True, eq=False)
class ProjectedUnitFisher:
    """P F_u P for every unit u, P the projection on the bias and the `rank` directions of largest E(a·v)².

    - `basis` (fan_in, rank): orthonormal directions v; `matrices` (units, coordinates, coordinates): F_u in the
      coordinates (1, a·v), the bias first, if the layer has one; `examples`: of how many;
    - `neglected` (units,): share of tr F_u outside of the directions; `bounds` (units,): what ‖F_u − P F_u P‖ / tr F_u
      (Frobenius) is at most, √(2τ(1 − τ) + τ²) with τ = `neglected`, as F_u has no negative eigenvalue; NaN for dead
      units.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
    >>> F = et.approximate_unit_fisher(model, torch.randn(50, 3), "0", "projected", rank=2)
    >>> F.matrices.shape, F.bounds.shape
    (torch.Size([4, 3, 3]), torch.Size([4]))
    """

    basis: Float[Tensor, "fan_in rank"]
    matrices: Float[Tensor, "units coordinates coordinates"]
    neglected: Float[Tensor, " units"]
    has_bias: bool
    examples: int

    @property
    def bounds(self) -> Float[Tensor, " units"]:
        """Of the relative error: see the class."""
        return (2 * self.neglected * (1 - self.neglected) + self.neglected.square()).sqrt()

    def natural_gradient(
        self, gradient: Float[Tensor, "units coordinates"], damping: float
    ) -> Float[Tensor, "units coordinates"]:
        """(P F_u P + λ_u I)⁻¹ g_u, λ_u `damping` × the mean diagonal of F_u over all coordinates.

        Worked out in float64, in the gradient's dtype. Rows of dead units are 0. Raises InputError for a wrong
        shape, and a damping of 0, as P F_u P is singular.
        """
        bias = int(self.has_bias)
        _check_gradient(gradient, len(self.matrices), len(self.basis) + bias, damping)
        if damping == 0:
            raise InputError("damping is 0; a number above zero is needed, as projected matrices are singular.")
        given = gradient.double()
        inside = torch.cat([given[:, :bias], given[:, bias:] @ self.basis], 1)
        outside = given[:, bias:] - inside[:, bias:] @ self.basis.T
        trace = self.matrices.diagonal(dim1=1, dim2=2).sum(1) / (1 - self.neglected)
        alive = trace > 0
        shift = torch.where(alive, damping * trace / given.shape[1], 1.0)
        damped = self.matrices + shift[:, None, None] * torch.eye(inside.shape[1]).to(self.matrices)
        solved = torch.linalg.solve(damped, inside)
        weights = solved[:, bias:] @ self.basis.T + outside / shift[:, None]
        return torch.where(alive[:, None], torch.cat([solved[:, :bias], weights], 1), 0.0).to(gradient.dtype)


def approximate_unit_fisher(
    model: nn.Module,
    data: Any,
    layer: str,
    approximation: str,
    *,
    rank: int = 64,
    kind: Kind = "exact",
    likelihood: Likelihood | str = "categorical",
    samples: int = 1,
    generator: torch.Generator | None = None,
    batch_size: int = 256,
    mask: Mask = None,
    batch_axis: int = 0,
    class_axis: int | None = None,
    output: Output = None,
    progress: bool | None = None,
) -> SharedUnitFisher | ProjectedUnitFisher:
    """The unit Fisher matrices of a layer that is too wide for them, approximated, with the error.

    - `approximation`: "shared", one matrix for all units (q = p), one pass over the data and fan_in² numbers;
      "projected", a small matrix for every unit in the `rank` directions of the largest activations, two passes and
      units × (rank + 1)² numbers beside fan_in²;
    - `data`: a tensor, a mapping of the model's arguments, a tuple (inputs, targets), or a list of batches; for
      "projected" no iterator, as it is read twice;
    - weights shared over positions count position by position (`weight_sharing` "positionwise" of `unit_fisher`);
    - `kind`, `likelihood`, `samples`, `generator`, `mask`, `batch_axis`, `class_axis`, `output`: as in `unit_fisher`;
    - `progress`: a bar with the time left, from two seconds on; None: where standard error is a terminal.

    Everything is summed in float64. Raises InputError for an unknown approximation, a grouped convolution, an
    embedding, whatever does not fit into the free memory, and whatever `layer_scores` refuses.

    >>> import elutheory as et
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.ELU(), torch.nn.Linear(20, 2))
    >>> F = et.approximate_unit_fisher(model, torch.randn(50, 30), "0", "projected", rank=10)
    >>> bool((F.neglected < 1).all())
    True
    """
    if approximation not in ("shared", "projected"):
        raise InputError(f"approximation is {approximation!r}; 'shared' and 'projected' are known.")
    check_whole("rank", rank)
    if approximation == "projected" and isinstance(data, Iterator):
        raise InputError("the data are an iterator, and are read twice; a tensor or a list of batches is needed.")
    asked = {"kind": kind, "likelihood": likelihood, "samples": samples, "generator": generator, "output": output}
    asked |= {"mask": mask, "batch_axis": batch_axis, "class_axis": class_axis, "weight_sharing": "positionwise"}

    def scores() -> Iterator[LayerScores]:
        for inputs, targets in batches_of(tensors_of(data, model), None, batch_size, batch_axis):
            check_inputs(inputs)
            found = layer_scores(model, inputs, layer, targets=targets, **asked)
            if found.incoming.shape[1] > 1 or found.words is not None:
                raise InputError(f"layer {layer!r} has groups or words; its units share no matrix.")
            yield found

    if approximation == "shared":
        return _shared(tracked(scores(), None, "shared Fisher matrix", progress))
    return _projected(scores, rank, progress)


def _shared(batches: Iterator[LayerScores]) -> SharedUnitFisher:
    total: Tensor | None = None
    weights: Any = 0.0
    points = examples = 0
    held: list[tuple[Tensor, Tensor]] = []
    error_examples = 0
    for scores in batches:
        vectors, squared = _vectors(scores)
        if total is None:
            size = 3 * 8 * vectors.shape[1] ** 2
            _refuse_more_than_is_free(size, vectors.device)
            total = vectors.new_zeros(vectors.shape[1], vectors.shape[1])
        total.addmm_(vectors.T, vectors)
        weights = weights + squared.sum(0)
        if error_examples < ERROR_EXAMPLES:
            held.append((vectors, squared))
            error_examples += scores.examples
        points, examples = points + len(vectors), examples + scores.examples
    assert total is not None  # noqa: S101  (batches_of refuses data without a batch)
    vectors, squared = torch.cat([part[0] for part in held]), torch.cat([part[1] for part in held])
    return SharedUnitFisher(total / points, weights / examples, _errors(vectors, squared), examples, error_examples)


def _errors(vectors: Tensor, squared: Tensor) -> Float[Tensor, " units"]:
    """‖F − c S‖/‖F‖ of every unit from K = (v·v')² over the points: ‖Σ w v vᵀ‖² = wᵀKw."""
    products = (vectors @ vectors.T).square_()
    count = len(vectors)
    weighted = products @ squared  # K w, one column per unit
    own = (squared * weighted).sum(0)
    mean = squared.mean(0)
    mixed, alone = weighted.sum(0), products.sum()
    difference = own - 2 * mean * mixed + mean.square() * alone
    return (difference.clamp(min=0) / own).sqrt() if count else own


def _projected(scores: Callable[[], Iterator[LayerScores]], rank: int, progress: bool | None) -> ProjectedUnitFisher:
    total: Tensor | None = None
    for one in tracked(scores(), None, "largest directions", progress):
        points = one.points()[:, 0].double()
        if total is None:
            _refuse_more_than_is_free(3 * 8 * points.shape[1] ** 2, points.device)
            total = points.new_zeros(points.shape[1], points.shape[1])
        total.addmm_(points.T, points)
    assert total is not None  # noqa: S101  (batches_of refuses data without a batch)
    basis = torch.linalg.eigh(total).eigenvectors[:, -rank:].flip(1)
    matrices: Tensor | None = None
    traces: Any = 0.0
    examples, has_bias = 0, True
    for one in tracked(scores(), None, "projected Fisher matrices", progress):
        vectors, squared = _vectors(one)
        has_bias = one.has_bias
        inside = vectors @ basis if not has_bias else torch.cat([vectors[:, :1], vectors[:, 1:] @ basis], 1)
        units, size = squared.shape[1], inside.shape[1]
        if matrices is None:
            _refuse_more_than_is_free(3 * 8 * units * size**2, inside.device)
            matrices = inside.new_zeros(units, size, size)
        step = max(1, _CHUNK_BYTES // (8 * inside.numel()))
        for chunk in (slice(start, start + step) for start in range(0, units, step)):
            matrices[chunk] += (squared.T[chunk, :, None] * inside).mT @ inside
        traces = traces + squared.T @ vectors.square().sum(1)
        examples += one.examples
    assert matrices is not None  # noqa: S101
    kept = matrices.diagonal(dim1=1, dim2=2).sum(1)
    return ProjectedUnitFisher(basis, matrices / examples, (1 - kept / traces).clamp(min=0), has_bias, examples)


def _vectors(scores: LayerScores) -> tuple[Float[Tensor, "points coordinates"], Float[Tensor, "points units"]]:
    """(1, a) of every point that counts, the bias coordinate where there is one, and delta² by unit, in float64."""
    points = scores.points()[:, 0].double()
    squared = scores.squared_deltas().double()
    squared = squared.flatten(0, 1) if scores.mask is None else squared[scores.mask]
    if scores.has_bias:
        points = torch.cat([torch.ones_like(points[:, :1]), points], 1)
    return points, squared


def _refuse_more_than_is_free(size: int, device: torch.device) -> None:
    check_fits("the matrices", size, device, 1, "{fitting} would fit", "use a smaller rank or another machine")


def _check_gradient(gradient: Tensor, units: int, coordinates: int, damping: float) -> None:
    check_damping(damping)
    if tuple(gradient.shape) != (units, coordinates):
        raise InputError(f"the gradient has shape {tuple(gradient.shape)}; ({units}, {coordinates}) is needed.")
