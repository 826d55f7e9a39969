"""What the commands share: options by tyro, bad input in one sentence, a report written to a file or printed."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import tyro
from rich.console import Console
from rich.text import Text

from elutheory.errors import InputError
from elutheory.output.files import write_whole

Options = TypeVar("Options")

VERIFIED, FAILED, BAD_INPUT, UNDECIDED, INTERRUPTED = 0, 1, 2, 3, 130


def parse_options(options: type[Options], program: str, arguments: Sequence[str] | None = None) -> Options:
    """The options given on the command line, as a dataclass; raises InputError with tyro's reason in one sentence."""
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            return tyro.cli(options, prog=program, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InputError(_first_sentence(message.getvalue(), program)) from None


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
    """Exit code of a command; bad input becomes one sentence on standard error and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() not in ("utf-8", "utf8"):
            stream.reconfigure(encoding="utf-8")  # formulas need it, whatever the locale
    try:
        return command(arguments)
    except InputError as error:
        print(f"elutheory: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("elutheory: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of standard output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return VERIFIED


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
