"""The exact unit Fisher matrices of a fully connected layer, section F (arXiv 1511.07289)."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from elutheory.errors import InputError
from elutheory.scores import LayerScores, layer_scores

RANK_THRESHOLD = 1e-10
"""Eigenvalues up to this share of the largest count as zero: six digits above double precision's rounding."""


@dataclass(frozen=True, eq=False)
class UnitFisher:
    """Fisher matrices of a layer's units, F = E[delta² (1,a)(1,a)ᵀ] with blocks A, b, c (F1, arXiv 1511.07289).

    - `matrix` (units, fan_in + 1, fan_in + 1): the bias coordinate first (index 0), as in the paper; for a layer
      without bias (units, fan_in, fan_in);
    - `mean_under_p` (fan_in,): E_p[a], over the inputs;
    - `mean_under_q` (units, fan_in): E_q[a] under q = delta² p / E_p[delta²] (F2); NaN for a dead unit (c = 0);
    - `covariance_under_q` (units, fan_in, fan_in): Var_q(a), summed over centred activations, so that it does not
      suffer the cancellation of A/c − E_q[a] E_q[a]ᵀ; NaN for a dead unit.
    """

    matrix: Float[Tensor, "units coordinates coordinates"]
    mean_under_p: Float[Tensor, " fan_in"]
    mean_under_q: Float[Tensor, "units fan_in"]
    covariance_under_q: Float[Tensor, "units fan_in fan_in"]

    @classmethod
    def from_scores(cls, scores: LayerScores) -> "UnitFisher":
        """F1 and F2 from per-example activations and deltas, over the inputs and the model's own labels."""
        incoming = scores.incoming
        coordinates = torch.cat([incoming.new_ones(len(incoming), 1), incoming], dim=1) if scores.has_bias else incoming
        matrices, means, covariances = [], [], []
        for squared_deltas in scores.squared_deltas().unbind(dim=1):  # one unit at a time: memory for one, not for all
            root = squared_deltas.sqrt()[:, None]
            weighted = root * coordinates
            mean = squared_deltas @ incoming / squared_deltas.sum()
            centred = root * (incoming - mean)
            matrices.append(weighted.T @ weighted / len(incoming))
            means.append(mean)
            covariances.append(centred.T @ centred / squared_deltas.sum())
        return cls(torch.stack(matrices), incoming.mean(0), torch.stack(means), torch.stack(covariances))

    @property
    def has_bias(self) -> bool:
        """Whether the layer has biases, the coordinate of index 0."""
        return self.matrix.shape[-1] == len(self.mean_under_p) + 1

    @property
    def A(self) -> Float[Tensor, "units fan_in fan_in"]:
        """E[delta² a aᵀ] (F1)."""
        return self.matrix[:, 1:, 1:] if self.has_bias else self.matrix

    @property
    def b(self) -> Float[Tensor, "units fan_in"]:
        """E[delta² a] (F1). Raises InputError for a layer without bias."""
        self._require_bias()
        return self.matrix[:, 1:, 0]

    @property
    def c(self) -> Float[Tensor, " units"]:
        """E[delta²] (F1). Raises InputError for a layer without bias."""
        self._require_bias()
        return self.matrix[:, 0, 0]

    @cached_property
    def eigenvalues(self) -> Float[Tensor, "units coordinates"]:
        """Eigenvalues of every unit's F, ascending."""
        return torch.linalg.eigvalsh(self.matrix)

    @property
    def rank_threshold(self) -> float:
        """Eigenvalues up to this share of the largest count as zero: RANK_THRESHOLD or, if larger, coordinates × the
        dtype's rounding unit."""
        return max(RANK_THRESHOLD, self.matrix.shape[-1] * torch.finfo(self.matrix.dtype).eps)

    @property
    def rank(self) -> list[int]:
        """Number of non-zero eigenvalues of every unit's F, by the rule of `rank_threshold`."""
        return (self.eigenvalues > self.rank_threshold * self.eigenvalues[:, -1:]).sum(1).tolist()

    def damped(self, damping: float) -> "UnitFisher":
        """F + λI as a unit Fisher matrix: blocks A + λI, b, c + λ, with E_q[a] = b/(c + λ) and
        Var_q(a) = (A + λI)/(c + λ) − E_q[a] E_q[a]ᵀ, for which Theorems 1 and 2 hold as they stand.

        A dead unit gets E_q[a] = 0 and Var_q(a) = I. Raises InputError unless `damping` is finite and not negative.
        """
        _check_damping(damping)
        if damping == 0.0:
            return self
        total = self.c + damping
        identity = torch.eye(self.matrix.shape[-1], dtype=self.matrix.dtype, device=self.matrix.device)
        mean = self.mean_under_q
        # Var_q without cancellation: every term is positive semi-definite.
        spread = (self.c / total)[:, None, None] * self.covariance_under_q
        offset = (self.c * damping / total.square())[:, None, None] * mean[:, :, None] * mean[:, None, :]
        alive = (self.c > 0)[:, None, None]
        covariance = torch.where(alive, spread + offset, 0.0) + (damping / total)[:, None, None] * identity[1:, 1:]
        return UnitFisher(self.matrix + damping * identity, self.mean_under_p, self.b / total[:, None], covariance)

    def natural_gradient(
        self, gradient: Float[Tensor, "units coordinates"], damping: float = 0.0
    ) -> Float[Tensor, "units coordinates"]:
        """(F + λI)⁻¹ gradient, by a direct solve; the layout of `matrix`, bias first.

        Raises InputError if F + λI is singular for any unit (rule of `rank_threshold`).
        """
        self.check_shape(gradient)
        self.refuse_singular(damping)
        matrix = self.matrix
        if damping:
            matrix = matrix + damping * torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        scale = matrix.diagonal(dim1=-2, dim2=-1).rsqrt()  # unit diagonal: near the best condition scaling can reach
        scaled = scale[:, :, None] * matrix * scale[:, None, :]
        return scale * torch.linalg.solve(scaled, scale * gradient)

    def refuse_singular(self, damping: float = 0.0) -> None:
        """Raise InputError if any unit's F + λI is singular by the rule of `rank_threshold`, or λ is negative."""
        _check_damping(damping)
        regular = self.eigenvalues[:, 0] + damping > self.rank_threshold * (self.eigenvalues[:, -1] + damping)
        if not regular.all():
            singular = (~regular).nonzero()[:, 0].tolist()
            raise InputError(
                f"the Fisher matrix with damping {damping:g} is singular for {len(singular)} of {len(regular)} units "
                f"(first: unit {singular[0]}, rank {self.rank[singular[0]]} of {self.matrix.shape[-1]}); "
                "give a larger damping or project the activations on their range."
            )

    def check_shape(self, gradient: Tensor) -> None:
        """Raise InputError unless `gradient` has one row a unit and one column a coordinate."""
        if gradient.shape != self.matrix.shape[:2]:
            raise InputError(
                f"the gradient has shape {tuple(gradient.shape)}; {tuple(self.matrix.shape[:2])}, one row a unit with "
                "the bias first, is needed."
            )

    def _require_bias(self) -> None:
        if not self.has_bias:
            raise InputError("the layer has no bias, so its Fisher matrix has no blocks b and c; a bias is needed.")


def unit_fisher(
    model: nn.Module, inputs: Tensor, layer: str, kind: str = "exact", likelihood: str = "categorical"
) -> UnitFisher:
    """Unit Fisher matrices of the `torch.nn.Linear` named `layer` (F1, arXiv 1511.07289).

    `inputs` (inputs, ...): the data p. `kind` "exact": the expectation over labels is taken analytically under the
    model's own predictive distribution. `model(inputs)` are categorical logits (inputs, classes). Raises InputError for
    another kind or likelihood and for whatever `layer_scores` refuses.
    """
    if kind != "exact":
        raise InputError(f"kind {kind!r} is not available; the only kind is 'exact'.")
    if likelihood != "categorical":
        raise InputError(f"likelihood {likelihood!r} is not available; the only likelihood is 'categorical'.")
    return UnitFisher.from_scores(layer_scores(model, inputs, layer))


def _check_damping(damping: float) -> None:
    if not (math.isfinite(damping) and damping >= 0):
        raise InputError(f"damping is {damping}; a finite number, zero or larger, is needed.")
