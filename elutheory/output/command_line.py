"""What the commands share: options by tyro, whatever goes wrong in one sentence, a report written to a file or printed.

Every command has the same exit codes, which its --help states: see EXIT_CODES.
"""

import contextlib
import errno
import inspect
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO, TypeVar

import tyro
from rich.console import Console
from rich.text import Text

from elutheory.errors import InputError
from elutheory.output.domains import check_domains
from elutheory.output.files import write_whole
from elutheory.output.interruption import INTERRUPTED

Options = TypeVar("Options")

VERIFIED, FAILED, BAD_INPUT, UNDECIDED = 0, 1, 2, 3
EXIT_CODES = (
    f"Exit code {VERIFIED}: done, and verified where there is something to verify; {FAILED}: a check failed; "
    f"{BAD_INPUT}: bad input, or a file, standard output or the memory gives out; {UNDECIDED}: a check is not decided; "
    f"{INTERRUPTED}: interrupted."
)
_OF_A_WRITE = (errno.EPIPE, errno.ENOSPC, errno.EFBIG, errno.EBADF)


def parse_options(options: type[Options], program: str, arguments: Sequence[str] | None = None) -> Options:
    """The options given on the command line, as a dataclass; raises InputError with the reason in one sentence.

    Every option is within its domain.
    """
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            parsed = tyro.cli(
                options,
                prog=program,
                description=f"{inspect.cleandoc(options.__doc__ or '')}\n\n{EXIT_CODES}",
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InputError(_first_sentence(message.getvalue(), program)) from None
    check_domains(parsed, command_line=True)
    return parsed


def _first_sentence(boxed: str, program: str) -> str:
    """The first paragraph below the title in tyro's box (drawn, or between dashes), on one line."""
    paragraphs: list[list[str]] = [[]]
    for line in re.sub(r"\x1b\[[0-9;]*m", "", boxed).splitlines():
        content = line.strip(" │")
        if content.startswith(("╭", "╰")) or (content and set(content) <= {"─", "-"}):
            paragraphs.append([])
        elif content:
            paragraphs[-1].append(content)
    below_title = [paragraph for paragraph in paragraphs[1:] if paragraph]
    sentence = " ".join(below_title[0]).rstrip(".") if below_title else "the options could not be read"
    sentence = re.sub(r"^Error parsing \w+: ", "", sentence)  # a dataclass refused its values in its own words
    return f"{sentence}; see {program} --help."


def run(command: Callable[[Sequence[str] | None], int], arguments: Sequence[str] | None = None) -> int:
    """Exit code of a command. What a user or the machine can do to it becomes one sentence on standard error.

    That is bad input, files and streams that fail, memory that gives out (2), and Ctrl-C (130).
    """
    try:
        _prepare_streams()
        try:
            return command(arguments)
        finally:
            sys.stdout.flush()  # here, where its failure is caught
    except InputError as error:
        return _said(str(error), BAD_INPUT)
    except KeyboardInterrupt as stop:
        return _said(f"interrupted; {stop}" if str(stop) else "interrupted.", INTERRUPTED)
    except OSError as error:
        return _said(_system_error(error), BAD_INPUT)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not re.search(r"out of memory|allocate memory", str(error)):
            raise
        return _said("there is not enough memory for this; ask for less.", BAD_INPUT)


def _prepare_streams() -> None:
    """Formulas need UTF-8, whatever the locale; file names that are none pass as they are."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for good)
    if sys.stdout is None:
        raise InputError("standard output is closed; send it to a file or to /dev/null.")
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=errors)


def _said(sentence: str, code: int) -> int:
    """Say the sentence on one line; returns the exit code."""
    line = "".join(character if character.isprintable() else repr(character)[1:-1] for character in sentence)
    try:
        print(f"elutheory: {line}", file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)
    return code


def _system_error(error: OSError) -> str:
    """What fails and why: whoever writes a file names it in the error, so that the rest is standard output."""
    name = error.filename
    if name is None:
        name = "standard output" if error.errno in _OF_A_WRITE else "a file or stream"
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        return f"{name} fails: {error.strerror or error or type(error).__name__}."
    _discard(sys.stdout)
    return f"standard output fails: {error.strerror or error}."


def _discard(stream: TextIO) -> None:
    """What is still to be written to it goes nowhere, lest the interpreter tries again as it ends."""
    with contextlib.suppress(OSError):  # a stream without a descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def write_or_print(report: str, output: Path | None, *, coloured: bool = False) -> None:
    """Write a report to a file, whole or not at all, or print it if there is none.

    `coloured`: on a terminal ticks become green, and what follows a cross red.
    """
    if output is not None:
        write_whole(output, report)
        return
    if coloured and sys.stdout.isatty():
        text = Text(report)
        text.highlight_regex(r"✓", "green")
        text.highlight_regex(r"✗.*", "bold red")
        Console(highlight=False).print(text, end="", soft_wrap=True)
    else:
        sys.stdout.write(report)
    sys.stdout.flush()
