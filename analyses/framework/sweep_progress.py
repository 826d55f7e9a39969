"""How far a sweep is: a bar with the time left on a terminal, elsewhere a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress
from rich.console import Console

_SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def sweep_progress(cells: int, done: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of finished cells; `done` of them were kept from an earlier run."""
    if not shown:
        yield lambda _: None
    elif sys.stderr.isatty():
        yield from _bar(cells, done)
    else:
        yield from _lines(cells)


def _bar(cells: int, done: int) -> Iterator[Callable[[int], None]]:
    columns = (
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("cells,"),
        progress.TimeElapsedColumn(),
        progress.TextColumn("elapsed,"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("left"),
    )
    with progress.Progress(*columns, console=Console(stderr=True), speed_estimate_period=3600, transient=True) as bar:
        task = bar.add_task("", total=cells, completed=done)
        yield lambda finished: bar.update(task, completed=finished)


def _lines(cells: int) -> Iterator[Callable[[int], None]]:
    start = last = time.monotonic()

    def report(finished: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            print(f"elutheory: {finished} of {cells} cells after {now - start:.0f} s.", file=sys.stderr, flush=True)

    yield report
