"""What a kernel of N inputs says by itself: its size, its largest eigenvalue, and the constant direction's share."""

from jaxtyping import Float
from scipy.linalg import eigh

from elutheory.numerics.arrays import Array, on_host


def mean_diagonal(matrix: Float[Array, "inputs inputs"]) -> float:
    """tr Θ/N."""
    return float(on_host(matrix.diagonal()).mean())


def top_eigenvalue(matrix: Float[Array, "inputs inputs"]) -> float:
    """λ_1, the largest eigenvalue of Θ/N."""
    values = on_host(matrix)
    last = len(values) - 1
    return float(eigh(values, eigvals_only=True, subset_by_index=(last, last))[0]) / len(values)


def share_of_constants(matrix: Float[Array, "inputs inputs"]) -> float:
    """1ᵀΘ1/(N tr Θ), nan for Θ = 0."""
    values = on_host(matrix)
    trace = float(values.trace())
    return float(values.mean()) * len(values) / trace if trace > 0 else float("nan")
