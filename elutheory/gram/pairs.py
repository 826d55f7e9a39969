"""The law of a layer, and the pairs of inputs that it acts on."""

from dataclasses import dataclass
from typing import Any

OVERFLOW = "the second moments or the tangent kernel exceed float64's range within this depth."


@dataclass(frozen=True)
class LayerRule:
    """From E f f to the next net input's second moments: σ_w² E f f + σ_b² (P1), plus the present ones if residual."""

    weight_variance: float
    bias_variance: float
    residual: bool = False

    def block(self, expectation: Any) -> Any:
        """Second moments of W f(h) + b from E f f (numbers or arrays)."""
        return self.weight_variance * expectation + self.bias_variance

    def next(self, present: Any, expectation: Any) -> Any:
        """Second moments of the next net input from those of the present one and E f f."""
        return self.block(expectation) + present if self.residual else self.block(expectation)

    def next_tangent(self, present: Any, slopes: Any, block: Any) -> Any:
        """P5: the next tangent kernel from the present one, E f'f', and the second moments of W f(h) + b."""
        following = block + self.weight_variance * slopes * present
        return following + present if self.residual else following
