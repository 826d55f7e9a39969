"""What a kernel of N inputs says by itself: its size, its largest eigenvalue, and the constant direction's share."""

from functools import cached_property
from typing import Any

from jaxtyping import Float
from scipy.linalg import eigh

from elutheory.numerics.arrays import Array, on_host


class InputKernel:
    """What a kernel Θ of N inputs, `matrix` (inputs, inputs), says by itself."""

    matrix: Any

    @property
    def trace(self) -> float:
        """tr Θ, the trace of `matrix`."""
        return self.diagonal_mean * len(self.matrix)

    @property
    def diagonal_mean(self) -> float:
        """tr Θ/N: the sum of the eigenvalues λ_k of Θ/N, the kernel's size in T4."""
        return float(on_host(self.matrix.diagonal()).mean())

    @cached_property
    def top_eigenvalue(self) -> float:
        """λ_1, the largest eigenvalue of Θ/N: 2/λ_1 is the largest stable rate of T3."""
        return top_eigenvalue(self.matrix)

    @property
    def top_share(self) -> float:
        """λ_1/tr(Θ/N): the share of the trace in the top eigenvector, which is close to the constant direction (T5)."""
        return self.top_eigenvalue / self.diagonal_mean if self.diagonal_mean > 0 else float("nan")

    @property
    def constant_share(self) -> float:
        """1ᵀΘ1/(N tr Θ): the share of the trace in the constant direction itself, at most `top_share` (T5)."""
        values = on_host(self.matrix)
        trace = float(values.trace())
        return float(values.mean()) * len(values) / trace if trace > 0 else float("nan")


def top_eigenvalue(matrix: Float[Array, "inputs inputs"]) -> float:
    """λ_1, the largest eigenvalue of Θ/N."""
    values = on_host(matrix)
    last = len(values) - 1
    return float(eigh(values, eigvals_only=True, subset_by_index=(last, last))[0]) / len(values)
