"""The progress of long calls: a bar with the time left on standard error, which goes when the call is over."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SHORT = 2.0
"""Seconds that a call may take without a bar. Guarded by `test_a_bar_is_shown_of_long_work_alone`."""


Value = TypeVar("Value")


class Ticks:
    """A bar that goes on by one each call; from SHORT seconds after it was made on it is shown."""

    def __init__(self, count: int | None, what: str, console: Console | None) -> None:
        self._done, self._start, self._started = 0, time.monotonic(), False
        self._bar: Progress | None = None
        if console is not None:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            self._bar = Progress(*columns, console=console, transient=True)
            self._task = self._bar.add_task(what, total=count)

    def __call__(self) -> None:
        """One more is done."""
        self._done += 1
        if self._bar is None:
            return
        self._bar.advance(self._task)
        if not self._started and time.monotonic() - self._start > SHORT:
            self._bar.start()
            self._started = True

    def expect(self, further: int) -> None:
        """So many are still to be done."""
        if self._bar is not None:
            self._bar.update(self._task, total=self._done + further)

    def stop(self) -> None:
        """The bar goes."""
        if self._bar is not None and self._started:
            self._bar.stop()


@contextmanager
def ticking(count: int | None, what: str, shown: bool | None = None, console: Console | None = None) -> Iterator[Ticks]:
    """A bar of work that is not done one value of an iterable after another; `shown` as in `tracked`."""
    console = Console(stderr=True) if console is None else console
    hidden = shown is False or (shown is None and not console.is_terminal)
    if not console.is_terminal:
        console = Console(file=console.file, force_terminal=True)
    ticks = Ticks(count, what, None if hidden else console)
    try:
        yield ticks
    finally:
        ticks.stop()


def tracked(
    values: Iterable[Value], count: int | None, what: str, shown: bool | None = None, console: Console | None = None
) -> Iterator[Value]:
    """The values, one after another; from SHORT seconds on with a bar that says how many of `count` are done.

    `shown` None: where standard error is a terminal; True: in any case; False: never.
    """
    with ticking(count, what, shown, console) as tick:
        for value in values:
            yield value
            tick()
