"""Sums of weighted outer products, sum_n w[n, u] c_n c_nᵀ for every unit u, at the speed of matrix products."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

# Sums in blocks of _POINTS points and about _PAIRS products c_i c_j of each, a few MiB, which stay in a core's cache.
# Measured on one core, float32, 128 units of 129 coordinates: 512 or 1,024 points are fastest, 64 take twice as long;
# from 256 to 4,096 pairs the time is the same. A matrix product per unit is faster for up to 8 units, the blocks from
# 16 on, for 17, 129 and 513 coordinates alike. Values on both sides of each are compared in test_outer_products.py, the
# speed in bench_fisher.py (`test_accumulation_reaches_the_matrix_product_peak`).
_POINTS = 512
_PAIRS = 1024
_FEW_UNITS = 8
_MIRRORED_ROWS = 32  # copied at a time


def add_weighted_outer_products(
    total: Float[Tensor, "units coordinates coordinates"],
    weights: Float[Tensor, "points units"],
    points: Float[Tensor, "points coordinates"],
) -> None:
    """total[u] += sum_n weights[n, u] points[n] points[n]ᵀ, in place, on and above the diagonal; `mirror` completes it.

    The sum is linear in the weights: for a block of coordinate pairs (i, j ≥ i) the products points[n, i] points[n, j]
    are the same for all units, so that one matrix product (units × points) (points × pairs) serves them all, at half
    the operations of `units` products pointsᵀ diag(w) points. Memory: a few MiB, whatever the number of points.
    """
    if len(total) <= _FEW_UNITS:
        for some, some_weights in zip(points.split(_POINTS), weights.split(_POINTS), strict=True):
            for matrix, weight in zip(total, some_weights.T, strict=True):
                matrix.addmm_((weight[:, None] * some).T, some)
        return
    coordinates = points.shape[1]
    widest = max((last - first) * (coordinates - left) for first, last, left in _row_blocks(coordinates))
    rows = min(_POINTS, len(points))
    products = points.new_empty(rows * widest)
    sums = points.new_empty(len(total) * widest)
    for start in range(0, len(points), _POINTS):
        some = points[start : start + _POINTS]
        some_weights = weights[start : start + _POINTS].T.contiguous()
        for first, last, left in _row_blocks(coordinates):
            pairs = (last - first, coordinates - left)
            product = products[: len(some) * pairs[0] * pairs[1]].view(len(some), *pairs)
            torch.mul(some[:, first:last, None], some[:, None, left:], out=product)
            summed = sums[: len(total) * pairs[0] * pairs[1]].view(len(total), -1)
            torch.mm(some_weights, product.flatten(1), out=summed)
            total[:, first:last, left:] += summed.view(len(total), *pairs)


def add_outer_products(
    total: Float[Tensor, "units coordinates coordinates"], scores: Float[Tensor, "scores units coordinates"]
) -> None:
    """total[u] += sum_m scores[m, u] scores[m, u]ᵀ, in place: vectors of each unit's own, a matrix product per unit."""
    by_unit = scores.transpose(0, 1)
    total.baddbmm_(by_unit.mT, by_unit)


def mirror(total: Float[Tensor, "units coordinates coordinates"]) -> None:
    """Copies what is above every matrix's diagonal below it, in place."""
    for first in range(0, total.shape[-1], _MIRRORED_ROWS):
        last = first + _MIRRORED_ROWS
        corner = total[:, first:last, first:last]
        corner.copy_(corner.triu() + corner.triu(1).mT)
        total[:, last:, first:last] = total[:, first:last, last:].mT


def chunks_of_units(total: Tensor, most_bytes: int) -> Iterator[slice]:
    """Slices of the first axis, of at most `most_bytes` or one element each."""
    size = max(1, most_bytes // max(1, total[0].numel() * total.element_size()))
    return (slice(start, min(start + size, len(total))) for start in range(0, len(total), size))


def _row_blocks(coordinates: int) -> Iterator[tuple[int, int, int]]:
    """(first, last, left): rows first to last of the upper half, from column left = first on; about _PAIRS pairs."""
    first = 0
    while first < coordinates:
        last = min(coordinates, first + max(1, min(16, _PAIRS // (coordinates - first))))
        yield first, last, first
        first = last
