"""A limit of time for a run, after which it stops as at Ctrl-C: what is finished is kept, the same command goes on."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from elutheory.errors import InputError

_AGAIN = 30.0
"""Seconds after which a run that has not stopped is stopped again: a signal may come where exceptions are swallowed."""


@contextmanager
def at_most(minutes: float | None) -> Iterator[None]:
    """Within, a KeyboardInterrupt after so many minutes, also where Ctrl-C is ignored; None: none.

    In the main thread only. Raises InputError on systems without a signal for it (Windows).
    """
    if minutes is None:
        yield
        return
    if not hasattr(signal, "SIGALRM"):
        raise InputError("this system has no signal by which a run could be stopped; leave max_minutes out.")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt(f"{minutes:g} minutes are over; the same command goes on.")

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 60 * minutes, _AGAIN)  # within: a short limit is over before this returns
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
