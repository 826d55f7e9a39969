"""Many positive definite systems at once by conjugate gradients: one product with all of them an iteration."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

_ROUNDINGS = 4
"""Residuals count as zero up to so many rounding units times the right-hand side.

A Cholesky factorisation leaves as much. Guarded by `test_conjugate_gradients_solve_as_cholesky_does`.
"""


def conjugate_gradients(
    product: Callable[[Float[Tensor, "units n"]], Float[Tensor, "units n"]], right: Float[Tensor, "units n"], most: int
) -> Float[Tensor, "units n"] | None:
    """The solution x of matrix x = right of every unit; None if `most` iterations do not reach it for all units.

    `product` gives the matrices' products. A device is waited for at every iteration. Breakdowns are no solution.
    """
    scale = right.abs().amax(dim=1, keepdim=True)
    residual = torch.where(scale == 0, 0.0, right / scale)  # squares of small numbers would vanish
    direction, solution = residual, torch.zeros_like(right)
    squares = torch.linalg.vecdot(residual, residual)
    limit = squares * (_ROUNDINGS * torch.finfo(right.dtype).eps) ** 2
    for _ in range(most):
        through = product(direction)
        unsolved, forms = squares > limit, torch.linalg.vecdot(direction, through)
        length = torch.where(unsolved, squares / forms, 0.0)[:, None]
        solution = torch.addcmul(solution, direction, length)
        residual = torch.addcmul(residual, through, length, value=-1)
        before, squares = squares, torch.linalg.vecdot(residual, residual)
        if bool((squares <= limit).all()):
            return scale * solution
        direction = torch.addcmul(residual, direction, torch.where(unsolved, squares / before, 0.0)[:, None])
    return None
