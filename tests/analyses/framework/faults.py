"""A run of an analysis in a process of its own, as a command is, with a disk, streams or rights that fail it."""

import contextlib
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

NOBODY = 65534


def run_analyses(
    arguments: Sequence[str], said: Path, *, largest_file: int | None = None, stdout: str = os.devnull, user: int = 0
) -> None:
    """`python -m analyses ARGUMENTS`: standard error goes to `said`, no file grows beyond `largest_file` bytes."""
    from analyses.__main__ import main
    from elutheory.output.interruption import leave_at_once

    os.setsid()
    sys.argv, sys.orig_argv = ["-m", *arguments], [sys.executable, "-m", "analyses", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background
    leave_at_once("analyses")
    for descriptor, file in ((1, stdout), (2, str(said))):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT, 0o644), descriptor)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    if largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as an interpreter has it
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    if user:
        os.setuid(user)
    code = main(arguments)
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


def start_server() -> None:
    """Have the process that `started` forks from import everything: the first fork waits for that."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.analyses.framework.faults", "tests.analyses.framework.all_analyses"])
    process = context.Process(target=os.getpid)
    process.start()
    process.join()


def started(arguments: Sequence[str], said: Path, **faults: object) -> ForkServerProcess:
    """`run_analyses` in another process."""
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=run_analyses, args=(arguments, said), kwargs=faults)
    process.start()
    return process
