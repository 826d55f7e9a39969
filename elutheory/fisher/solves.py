"""Solves with many positive semi-definite matrices at once: Cholesky, eigendecomposition, Woodbury's identity."""

import scipy.linalg
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.linalg import LinAlgError  # pyright: ignore[reportAttributeAccessIssue]

from elutheory.errors import InputError


def solve_positive_definite(
    matrix: Float[Tensor, "units n n"], right: Float[Tensor, "units n"]
) -> Float[Tensor, "units n"]:
    """matrix⁻¹ right by Cholesky, after scaling to a unit diagonal (near the best condition scaling can reach).

    A matrix so close to singular that its factorisation breaks down is solved by its eigendecomposition, on the
    eigenvectors whose eigenvalues (scaled to unit diagonal) exceed n × the dtype's rounding unit times the largest.
    """
    solution, failed = cholesky_solution(matrix, right)
    if failed.any():
        matrix, right = matrix[failed], right[failed]
        scale = matrix.diagonal(dim1=-2, dim2=-1).rsqrt()
        scaled = scale[:, :, None] * matrix * scale[:, None, :]
        threshold = matrix.shape[-1] * torch.finfo(matrix.dtype).eps
        solution[failed] = scale * solve_on_range(scaled, scale * right, threshold)
    return solution


def cholesky_solution(
    matrix: Float[Tensor, "units n n"], right: Float[Tensor, "units n"]
) -> tuple[Float[Tensor, "units n"], Bool[Tensor, " units"]]:
    """matrix⁻¹ right by Cholesky alone, and which units' factorisation broke down, whose solution is none.

    An accelerator is not waited for.
    """
    scale = matrix.diagonal(dim1=-2, dim2=-1).rsqrt()
    factor, failed = torch.linalg.cholesky_ex(scale[:, :, None] * matrix * scale[:, None, :])
    solution = torch.cholesky_solve((scale * right)[:, :, None], factor)[:, :, 0]
    return scale * solution, failed != 0


def solve_on_range(
    matrix: Float[Tensor, "units n n"],
    right: Float[Tensor, "units n"],
    threshold: float,
    damping: Float[Tensor, " units"] | None = None,
) -> Float[Tensor, "units n"]:
    """Pseudo-inverse of matrix + damping·I times right: eigenvalues up to threshold × the largest count as zero."""
    eigenvalues, eigenvectors = eigensystem(matrix)
    if damping is not None:
        eigenvalues = eigenvalues + damping[:, None]
    inverses = torch.where(eigenvalues > threshold * eigenvalues[:, -1:], 1 / eigenvalues, 0.0)
    inner = torch.einsum("uji,uj->ui", eigenvectors, right)
    return torch.einsum("uij,uj->ui", eigenvectors, inverses * inner)


def eigensystem(
    matrix: Float[Tensor, "units n n"],
) -> tuple[Float[Tensor, "units n"], Float[Tensor, "units n n"]]:
    """Eigenvalues, ascending, and eigenvectors, one a column, of symmetric matrices.

    Where divide and conquer does not converge, QR iteration takes its place. Raises InputError for NaN and infinity.
    """
    try:
        eigenvalues, eigenvectors = torch.linalg.eigh(matrix)
    except LinAlgError:
        refuse_nonfinite(matrix)
        parts = [scipy.linalg.eigh(one.cpu().numpy(), driver="ev") for one in matrix]
        eigenvalues = torch.stack([torch.as_tensor(part[0]) for part in parts]).to(matrix)
        eigenvectors = torch.stack([torch.as_tensor(part[1]) for part in parts]).to(matrix)
    return eigenvalues, eigenvectors


def eigenvalues_of(matrix: Float[Tensor, "units n n"]) -> Float[Tensor, "units n"]:
    """Eigenvalues of symmetric matrices, ascending; as `eigensystem`, without the vectors."""
    try:
        return torch.linalg.eigvalsh(matrix)
    except LinAlgError:
        refuse_nonfinite(matrix)
        parts = [scipy.linalg.eigvalsh(one.cpu().numpy(), driver="ev") for one in matrix]
        return torch.stack([torch.as_tensor(part) for part in parts]).to(matrix)


def refuse_nonfinite(values: Float[Tensor, "units ..."]) -> None:
    """Raise InputError if a unit's numbers contain NaN or infinity."""
    if not values.isfinite().all():
        broken = (~values.flatten(1).isfinite().all(1)).nonzero()[:, 0].tolist()
        raise InputError(
            f"Fisher matrix or gradient of {len(broken)} units (first: {broken[0]}) contain NaN or infinity; scores "
            f"that overflow {values.dtype} do, so scale the inputs or use float64."
        )


def in_float64(values: Tensor) -> Tensor:
    """The values in float64, on their device if it has that (Apple's has not)."""
    return values.to("cpu" if values.device.type == "mps" else values.device, torch.float64)


def solve_damped_rows(
    rows: Float[Tensor, "units vectors n"], damping: Float[Tensor, " units"], right: Float[Tensor, "units n"]
) -> Float[Tensor, "units n"]:
    """(VᵀV + λI)⁻¹ right for every unit's rows V and λ > 0, in the rows' space: (right − Vᵀ(VVᵀ + λI)⁻¹V right)/λ."""
    return solve_damped_gram(rows, rows @ rows.mT, damping, right)


def solve_damped_gram(
    rows: Float[Tensor, "units vectors n"],
    gram: Float[Tensor, "units vectors vectors"],
    damping: Float[Tensor, " units"],
    right: Float[Tensor, "units n"],
) -> Float[Tensor, "units n"]:
    """`solve_damped_rows` where the Gram matrix VVᵀ is known (Woodbury's identity)."""
    damped = gram.clone()
    damped.diagonal(dim1=-2, dim2=-1).add_(damping[:, None])
    inside = solve_positive_definite(damped, torch.einsum("umi,ui->um", rows, right))
    return (right - torch.einsum("umi,um->ui", rows, inside)) / damping[:, None]
