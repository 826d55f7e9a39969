"""Work on a large matrix tile by tile: in the processor's cache, on every core, symmetric ones on their upper half."""

from collections.abc import Callable, Iterator
from typing import Any

from elutheory.numerics.normal_tails import library
from elutheory.numerics.worker_threads import on_all_cores

_EDGE = 224  # a tile of float64 and a few temporaries fit in a core's own cache
_EDGE_ON_DEVICE = 2048


def over_tiles(matrix: Any, symmetric: bool, work: Callable[[slice, slice], Any]) -> list[Any]:
    """`work(rows, columns)` for every tile of a matrix, for those on and above the diagonal if symmetric; the results.

    On the processor they run on all cores (`worker_threads`).
    """
    import numpy

    on_host = library(matrix) is numpy
    edge = _EDGE if on_host or matrix.device.type == "cpu" else _EDGE_ON_DEVICE
    tiles = list(_tiles(matrix.shape[0], matrix.shape[1], edge, symmetric))
    if not on_host:
        return [work(*tile) for tile in tiles]
    return on_all_cores(lambda tile: work(*tile), tiles)


def is_diagonal(rows: slice, columns: slice, symmetric: bool) -> bool:
    """Whether this tile of a symmetric matrix holds a part of the diagonal."""
    return symmetric and rows.start == columns.start


def mirror(matrix: Any) -> None:
    """Copies the upper half of a square matrix into the lower, in place."""
    xp = library(matrix)

    def copy(rows: slice, columns: slice) -> None:
        tile = matrix[rows, columns]
        if rows.start == columns.start:
            matrix[rows, columns] = xp.triu(tile) + xp.triu(tile, 1).T
        else:
            matrix[columns, rows] = tile.T

    over_tiles(matrix, True, copy)


def _tiles(rows: int, columns: int, edge: int, symmetric: bool) -> Iterator[tuple[slice, slice]]:
    for top in range(0, rows, edge):
        for left in range(top if symmetric else 0, columns, edge):
            yield slice(top, min(top + edge, rows)), slice(left, min(left + edge, columns))
