"""Gram matrix and tangent kernel through the layers where torch wants derivatives: the dual kernel of every pair."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float

from elutheory.gram.pairs import LayerRule
from elutheory.kernels.dual_kernels import DualKernel, dual_kernel, dual_kernel_derivative
from elutheory.moments.floating_point import gaussian_moments
from elutheory.numerics.arrays import place_like

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation
    from elutheory.gram.arguments import GramArguments


@dataclass(frozen=True, eq=False)
class DifferentiablePairs:
    """Net-input second moments of all pairs at one layer, those of rows and columns, and the tangent kernel (P5).

    What `pairs.Pairs` is without derivatives, but never changed: a layer makes new ones, in torch's graph, so that
    autograd finds the way back. Of square matrices the second moments are the diagonal, and derivatives go through it.
    """

    gram: Float[torch.Tensor, "rows columns"]
    left: Float[torch.Tensor, " rows"]
    right: Float[torch.Tensor, " columns"]
    symmetric: bool
    tangent: Float[torch.Tensor, "rows columns"] | None
    method: str = "dual kernel of every pair, differentiable"
    error: float = 0.0

    @classmethod
    def of_layer_one(cls, arguments: "GramArguments", rule: LayerRule, with_tangent: bool) -> "DifferentiablePairs":
        """Layer one, σ_w² gram + σ_b², and its own part as the tangent kernel, in P5 the same."""
        gram = rule.block(arguments.gram)
        if arguments.symmetric:
            left = right = torch.diagonal(gram)
        else:
            left, right = (place_like(rule.block(values), gram) for values in (arguments.left, arguments.right))
        return cls(gram, left, right, arguments.symmetric, rule.own_part(arguments.gram) if with_tangent else None)

    def behind_layer(self, activation: "Activation", rule: LayerRule, batch_norm: bool) -> "DifferentiablePairs":
        """The pairs one layer further (P4, P5); with `batch_norm` that layer is W f(BN(h)) + b."""
        gram, left, right = self._normalised() if batch_norm else (self.gram, self.left, self.right)
        rows = gaussian_moments(activation, torch.zeros_like(left), left.sqrt())
        columns = rows if self.symmetric else gaussian_moments(activation, torch.zeros_like(right), right.sqrt())
        products = self._pairwise(dual_kernel, activation, gram, left, right, rows.second_moment)
        block = rule.block(products)
        tangent = None
        if self.tangent is not None:
            slopes = self._pairwise(dual_kernel_derivative, activation, gram, left, right, rows.slope_second_moment)
            tangent = rule.next_tangent(self.tangent, slopes, products)
        return DifferentiablePairs(
            block + self.gram if rule.residual else block,
            rule.next(self.left, rows.second_moment),
            rule.next(self.right, columns.second_moment),
            self.symmetric,
            tangent,
        )

    def _pairwise(
        self,
        kernel: Callable[..., DualKernel],
        activation: "Activation",
        gram: Float[torch.Tensor, "rows columns"],
        left: Float[torch.Tensor, " rows"],
        right: Float[torch.Tensor, " columns"],
        diagonal: Float[torch.Tensor, " rows"],
    ) -> Float[torch.Tensor, "rows columns"]:
        """The kernel of every pair; where both are one input, its moment, and no derivative of the angle there."""
        if not self.symmetric:
            return kernel(activation, left[:, None], right, gram).value
        same = torch.eye(len(left), dtype=torch.bool, device=gram.device)
        value = kernel(activation, left[:, None], right, torch.where(same, 0.0, gram)).value
        return torch.where(same, diagonal, value)

    def _normalised(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The Gram matrix centred over the data and divided by its mean diagonal, and its diagonal twice."""
        gram = self.gram - self.gram.mean(0)
        gram = gram - gram.mean(1)[:, None]
        gram = gram / torch.diagonal(gram).mean()
        return gram, torch.diagonal(gram), torch.diagonal(gram)
