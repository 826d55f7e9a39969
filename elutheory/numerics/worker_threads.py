"""Work on every core: numpy's loops release the interpreter lock. One set of threads for the process."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_MOST_THREADS = 8
_own = threading.local()


def on_all_cores(work: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
    """`work` of every task, in order, on as many threads as the process has cores, at most 8.

    One task, and tasks of a task, run on the caller's thread.
    """
    threads = min(_cores(), _MOST_THREADS)
    if threads <= 1 or len(tasks) <= 1 or getattr(_own, "is_worker", False):
        return [work(task) for task in tasks]
    return list(_pool(threads).map(work, tasks))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, initializer=_become_worker)


def _become_worker() -> None:
    _own.is_worker = True


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
