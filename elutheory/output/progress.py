"""The progress of long calls: a bar with the time left on standard error, which goes when the call is over."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SHORT = 2.0
"""Seconds that a call may take without a bar. Guarded by `test_a_bar_is_shown_of_long_work_alone`."""


Value = TypeVar("Value")


def tracked(
    values: Iterable[Value], count: int | None, what: str, shown: bool | None = None, console: Console | None = None
) -> Iterator[Value]:
    """The values, one after another; from SHORT seconds on with a bar that says how many of `count` are done.

    `shown` None: where standard error is a terminal; True: in any case; False: never.
    """
    console = Console(stderr=True) if console is None else console
    if shown is False or (shown is None and not console.is_terminal):
        yield from values
        return
    if not console.is_terminal:
        console = Console(file=console.file, force_terminal=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar, start, started = Progress(*columns, console=console, transient=True), time.monotonic(), False
    task = bar.add_task(what, total=count)
    try:
        for value in values:
            yield value
            bar.advance(task)
            if not started and time.monotonic() - start > SHORT:
                bar.start()
                started = True
    finally:
        if started:
            bar.stop()
