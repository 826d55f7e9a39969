"""Cells measured side by side: processes of this machine by joblib, or the workers of a Dask cluster."""

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas
from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError

from analyses.framework.kept_cells import code_checksum
from elutheory.errors import DamagedFileError, InputError

MeasureCell = Callable[..., pandas.DataFrame]
"""`measure_cell(config, cell, device)`, or with `checkpoint=`, a path, as well."""

Cells = Sequence[tuple[Any, Path | None]]
"""Each with the file from which its measurement goes on, None: without."""

_ONE_BY_ONE: dict[str, Any] = {"batch_size": 1, "return_as": "generator_unordered"}
Measuring = Generator[tuple[int, pandas.DataFrame], None, None]


def in_turn(measure_cell: MeasureCell, config: Any, cells: Cells, device: str) -> Measuring:
    """(index, table) of each cell, in this process."""
    for index, (cell, checkpoint) in enumerate(cells):
        try:
            table = _measure(measure_cell, config, cell, device, checkpoint)
        except Exception as failure:
            failure.add_note(f"while measuring {cell}")
            raise
        yield index, table


def _measure(
    measure_cell: MeasureCell, config: Any, cell: Any, device: str, checkpoint: Path | None
) -> pandas.DataFrame:
    if checkpoint is None:
        return measure_cell(config, cell, device)
    try:
        return measure_cell(config, cell, device, checkpoint=checkpoint)
    except DamagedFileError:
        print(f"elutheory: {checkpoint} is damaged; its cell is measured again from the start.", file=sys.stderr)
        for file in checkpoint.parent.glob(f"{checkpoint.stem}*{checkpoint.suffix}"):
            file.unlink()
        return measure_cell(config, cell, device, checkpoint=checkpoint)


def side_by_side(measure_cell: MeasureCell, config: Any, cells: Cells, device: str, *, jobs: int) -> Measuring:
    """(index, table) of each cell, as they finish; a cell's exception ends all, with a note that names the cell."""
    threads = threads_per_job(jobs)
    worker: dict[str, Any] = {"initializer": _start_worker, "initargs": (os.getpid(),)}
    with parallel_config("loky", n_jobs=jobs, inner_max_num_threads=threads, **worker):
        tasks = (delayed(_measured)(index, measure_cell, config, *cell, device) for index, cell in enumerate(cells))
        with _without_interrupts():  # which the workers inherit; from a terminal Ctrl-C reaches the whole group
            finished: Any = Parallel(**_ONE_BY_ONE)(tasks)
        try:
            for index, outcome in finished:
                yield index, _table_or_raise(outcome)
        except TerminatedWorkerError:
            raise InputError(
                "a worker process was killed, perhaps for want of memory; the same command with fewer jobs goes on."
            ) from None
        finally:
            with warnings.catch_warnings(action="ignore"):  # joblib's, about leaving early
                finished.close()


def on_cluster(measure_cell: MeasureCell, config: Any, cells: Cells, device: str, *, address: str) -> Measuring:
    """(index, table) of each cell, from the workers of a Dask scheduler; cells of one that dies are given to another.

    By Dask itself: joblib's backend measures in this process while the cluster has no more than one thread.
    """
    try:
        from distributed import CancelledError, Client, KilledWorker, as_completed  # noqa: PLC0415 (an extra)
    except ImportError:
        raise InputError("--cluster needs Dask; install it with `pip install 'elutheory[cluster]'`.") from None
    try:
        client = Client(address, set_as_default=False, timeout=10)
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {address} ({type(error).__name__}).") from None
    code = code_checksum(measure_cell.__module__)
    with client:
        try:
            client.wait_for_workers(1, timeout=60)
            futures = [
                client.submit(_measured, index, measure_cell, config, *cell, device, code, pure=False)
                for index, cell in enumerate(cells)
            ]
            for future in as_completed(futures, loop=client.loop):
                index, outcome = future.result()
                yield index, _table_or_raise(outcome)
        except TimeoutError:
            raise InputError(f"the Dask scheduler at {address} has no workers; start some.") from None
        except (CancelledError, KilledWorker) as error:
            reason = "stopped answering" if isinstance(error, CancelledError) else "lost several workers to one cell"
            raise InputError(f"the Dask scheduler at {address} {reason}; the same command goes on.") from None


def _table_or_raise(outcome: pandas.DataFrame | Exception) -> pandas.DataFrame:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _measured(
    index: int,
    measure_cell: MeasureCell,
    config: Any,
    cell: Any,
    checkpoint: Path | None,
    device: str,
    code: str | None = None,
) -> tuple[int, Any]:
    """The table or the exception: raised in the worker, it would overtake tables that are on their way."""
    try:
        if code not in (None, code_checksum(measure_cell.__module__)):
            raise InputError("the Dask workers run other code or library versions; start them anew from this checkout.")
        return index, _measure(measure_cell, config, cell, device, checkpoint)
    except Exception as failure:
        failure.add_note(f"while measuring {cell}, in a worker:\n{traceback.format_exc()}")  # which does not travel
        return index, failure


def threads_per_job(jobs: int) -> int:
    """One job has what torch takes, several share the cores."""
    if jobs > 1:
        return max(1, cpu_count() // jobs)
    import torch  # noqa: PLC0415 (workers of an analysis without torch need not load it)

    return torch.get_num_threads()


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C waits for the end of this, and does not reach processes started meanwhile, not even as they load."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """End this process once its parent has gone, even one killed without a word."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
