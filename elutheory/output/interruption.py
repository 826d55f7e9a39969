"""Ctrl-C in a command: at once while it loads, in order where there is something to keep.

A KeyboardInterrupt in another package's import is printed there, turned into an ImportError or swallowed. So a
command that is started (`python -m elutheory.moments`, `python -m analyses`) ends at Ctrl-C with one line, except
`in_order`: where cells are measured, files are written or a terminal is drawn on.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

INTERRUPTED = 130
"""Exit code: 128 and the number of the signal, as shells have it."""


def leave_at_once(package: str) -> None:
    """End this process at Ctrl-C from now on, if a command of `package` is being started; else nothing changes.

    Where whoever started it has Ctrl-C ignored, it stays ignored.
    """
    if _is_started(package) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """Within, Ctrl-C is a KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is not _leave or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _leave)


def _is_started(package: str) -> bool:
    """Whether `python -m package…` is importing its packages, or the console script of that name was called."""
    program = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    if program != "-m":
        return program.removesuffix(".exe") == package
    return any(word.removeprefix("-m").partition(".")[0] == package for word in sys.orig_argv[1:])


def _leave(*_: object) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"elutheory: interrupted.\n")
    os._exit(INTERRUPTED)
