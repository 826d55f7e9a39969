"""Work on a large matrix tile by tile: in the processor's cache, on every core, symmetric ones on their upper half.

Work on every core: numpy's loops release the interpreter lock. One set of threads for the process.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy

from elutheory.numerics.arrays import library

_EDGE = 224  # a tile of float64 and a few temporaries fit in a core's own cache
_EDGE_ON_DEVICE = 2048


@runtime_checkable
class Ticks(Protocol):
    """Is told how many tiles are to be worked on, and of each that is done, on the caller's thread."""

    def expect(self, further: int) -> None:
        """So many are still to be done."""

    def __call__(self) -> None:
        """One more is done."""


def over_tiles(
    matrix: Any, symmetric: bool, work: Callable[[slice, slice], Any], ticks: Ticks | None = None, repeats: int = 1
) -> list[Any]:
    """`work(rows, columns)` for every tile of a matrix, for those on and above the diagonal if symmetric; the results.

    On the processor they run on all cores (`worker_threads`). `ticks` expects `repeats` times as many tiles.
    """
    on_host = library(matrix) is numpy
    edge = _EDGE if on_host or matrix.device.type == "cpu" else _EDGE_ON_DEVICE
    tiles = list(_tiles(matrix.shape[0], matrix.shape[1], edge, symmetric))
    if ticks is not None:
        ticks.expect(repeats * len(tiles))
    if not on_host:
        return list(_told((work(*tile) for tile in tiles), ticks))
    return on_all_cores(lambda tile: work(*tile), tiles, ticks)


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


Task = TypeVar("Task")
Result = TypeVar("Result")


_MOST_THREADS = 8
_own = threading.local()


def on_all_cores(
    work: Callable[[Task], Result], tasks: Sequence[Task], ticks: Callable[[], Any] | None = None
) -> list[Result]:
    """`work` of every task, in order, on as many threads as the process has cores, at most 8.

    One task, and tasks of a task, run on the caller's thread.
    """
    threads = min(_cores(), _MOST_THREADS)
    if threads <= 1 or len(tasks) <= 1 or getattr(_own, "is_worker", False):
        return list(_told(map(work, tasks), ticks))
    return list(_told(_pool(threads).map(work, tasks), ticks))


def _told(results: Iterable[Result], ticks: Callable[[], Any] | None) -> Iterator[Result]:
    for result in results:
        yield result
        if ticks is not None:
            ticks()


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, initializer=_become_worker)


def _become_worker() -> None:
    _own.is_worker = True


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
