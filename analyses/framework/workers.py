"""Cells measured side by side: processes of this machine by joblib, or the workers of a Dask cluster."""

import contextlib
import logging
import os
import pickle
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

_ONE_AT_A_TIME = threading.Lock()
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

    By Dask itself: joblib's backend measures in this process while the cluster has no more than one thread. Raises
    InputError where no scheduler answers, where it has no workers for `_PATIENCE` seconds, before or while cells are
    measured, and where the workers have not this checkout's code.
    """
    try:
        from distributed import CancelledError, Client, KilledWorker, as_completed  # noqa: PLC0415 (an extra)
    except ImportError:
        raise InputError("--cluster needs Dask; install it with `pip install 'elutheory[cluster]'`.") from None
    client = _connected(Client, address)
    code = code_checksum(measure_cell.__module__)
    no_workers = InputError(
        f"the Dask scheduler at {address} has no workers; start some, and the same command goes on."
    )
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
            futures = [
                client.submit(_shipped(index, measure_cell, config, *cell, device, code), pure=False)
                for index, cell in enumerate(cells)
            ]
            completed, last_seen = as_completed(futures, loop=client.loop), time.monotonic()
            while completed.count():
                if completed.has_ready():
                    index, outcome = next(completed).result()
                    yield index, _table_or_raise(outcome)
                    last_seen = time.monotonic()
                elif client.scheduler_info()["workers"]:
                    last_seen = time.monotonic()
                elif time.monotonic() - last_seen > _PATIENCE:
                    raise no_workers
                time.sleep(_GLANCE)
        except TimeoutError:
            raise no_workers from None
        except (CancelledError, KilledWorker) as error:
            reason = "stopped answering" if isinstance(error, CancelledError) else "lost several workers to one cell"
            raise InputError(f"the Dask scheduler at {address} {reason}; the same command goes on.") from None


_PATIENCE, _GLANCE = 30.0, 0.05
"""Seconds without a worker after which a cluster is given up, and between two looks at it."""


def _connected(connect: Callable[..., Any], address: str) -> Any:
    """A client of the scheduler at this address.

    In a thread: whatever else listens there, such as the scheduler's own dashboard, may never answer.
    """
    outcome: list[Any] = []

    def attempt() -> None:
        try:
            outcome.append(connect(address, set_as_default=False, timeout=10))
        except Exception as failure:
            outcome.append(failure)

    thread = threading.Thread(target=attempt, daemon=True)
    with _quiet("distributed"):
        thread.start()
        thread.join(_PATIENCE / 2)
    if not outcome:
        raise InputError(
            f"what listens at {address} is no Dask scheduler; its dashboard, for one, has another port than itself."
        )
    (found,) = outcome
    if isinstance(found, OSError | ValueError):
        raise InputError(f"no Dask scheduler answers at {address} ({type(found).__name__}).") from None
    if isinstance(found, Exception):
        raise found
    return found


@contextlib.contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """A library's log is not shown meanwhile; what it means is said in a sentence."""
    log = logging.getLogger(logger)
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _shipped(*arguments: Any) -> Callable[[], tuple[int, Any]]:
    """A function of nothing that calls `_measured` with the arguments, and needs no code of ours to be unpickled.

    A scheduler need not have this checkout, and a worker that has not says so instead of failing before it can.
    """
    index, payload = arguments[0], pickle.dumps((_measured, arguments))

    def run() -> tuple[int, Any]:  # pickled by value, as it is no module's
        import pickle  # noqa: PLC0415

        try:
            function, given = pickle.loads(payload)  # noqa: S301 (made above)
        except (ImportError, AttributeError) as error:
            return index, f"the Dask workers have not this checkout's code ({error}); start them in its folder."
        return function(*given)

    return run


def _table_or_raise(outcome: pandas.DataFrame | Exception | str) -> pandas.DataFrame:
    """A sentence is why the worker could not measure."""
    if isinstance(outcome, str):
        raise InputError(outcome)
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
    """The table or the exception: raised in the worker, it would overtake tables that are on their way.

    One cell at a time in a process, however many threads it has: tracing a training step is not for two at once.
    """
    try:
        if code not in (None, code_checksum(measure_cell.__module__)):
            raise InputError("the Dask workers run other code or library versions; start them anew from this checkout.")
        with _ONE_AT_A_TIME:
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
