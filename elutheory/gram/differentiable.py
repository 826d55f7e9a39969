"""Gram matrix and tangent kernel through the layers where torch wants derivatives: the dual kernel of every pair."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from elutheory.gram.pairs import LayerRule
from elutheory.kernels.dual_kernels import dual_kernel, dual_kernel_derivative
from elutheory.moments.floating_point import gaussian_moments
from elutheory.numerics.arrays import place_like

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation
    from elutheory.gram.arguments import GramArguments


@dataclass(frozen=True, eq=False)
class DifferentiablePairs:
    """Net-input second moments of pairs, those of rows and columns, and the tangent kernel, in torch's graph."""

    gram: Any
    left: Any
    right: Any
    symmetric: bool
    tangent: Any | None
    methods: tuple[str, ...] = ("dual kernel of every pair, differentiable",)
    error: float = 0.0

    @classmethod
    def of_layer_one(cls, arguments: "GramArguments", rule: LayerRule, with_tangent: bool) -> "DifferentiablePairs":
        """σ_w² gram + σ_b²; the tangent kernel is the same there."""
        gram = rule.block(arguments.gram)
        if arguments.symmetric:
            left = right = torch.diagonal(gram)
        else:
            left, right = (place_like(rule.block(values), gram) for values in (arguments.left, arguments.right))
        return cls(gram, left, right, arguments.symmetric, gram if with_tangent else None)

    def behind_layer(self, activation: "Activation", rule: LayerRule, batch_norm: bool) -> "DifferentiablePairs":
        """P4, P5: one layer on."""
        gram, left, right = self._normalised() if batch_norm else (self.gram, self.left, self.right)
        rows = gaussian_moments(activation, torch.zeros_like(left), left.sqrt())
        columns = rows if self.symmetric else gaussian_moments(activation, torch.zeros_like(right), right.sqrt())
        block = rule.block(self._pairwise(dual_kernel, activation, gram, left, right, rows.second_moment))
        tangent = None
        if self.tangent is not None:
            slopes = self._pairwise(dual_kernel_derivative, activation, gram, left, right, rows.slope_second_moment)
            tangent = rule.next_tangent(self.tangent, slopes, block)
        return DifferentiablePairs(
            block + self.gram if rule.residual else block,
            rule.next(self.left, rows.second_moment),
            rule.next(self.right, columns.second_moment),
            self.symmetric,
            tangent,
        )

    def _pairwise(self, kernel: Any, activation: Any, gram: Any, left: Any, right: Any, diagonal: Any) -> Any:
        """The kernel of every pair; where both are one input, its moment, and no derivative of the angle there."""
        if not self.symmetric:
            return kernel(activation, left[:, None], right, gram).value
        same = torch.eye(len(left), dtype=torch.bool, device=gram.device)
        value = kernel(activation, left[:, None], right, torch.where(same, 0.0, gram)).value
        return torch.where(same, diagonal, value)

    def _normalised(self) -> tuple[Any, Any, Any]:
        gram = self.gram - self.gram.mean(0)
        gram = gram - gram.mean(1)[:, None]
        gram = gram / torch.diagonal(gram).mean()
        return gram, torch.diagonal(gram), torch.diagonal(gram)
