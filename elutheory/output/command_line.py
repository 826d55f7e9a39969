"""What the commands share: options by tyro, bad input in one sentence, files written whole or not at all."""

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from elutheory.errors import InputError

Options = TypeVar("Options")

VERIFIED, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def parse_options(options: type[Options], program: str, arguments: Sequence[str] | None = None) -> Options:
    """The options given on the command line, as a dataclass; raises InputError with tyro's reason in one sentence."""
    import tyro

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


def check_output(path: Path | None) -> None:
    """Refuse, before any work, a file that could not be written."""
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file to write.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"the folder {path.absolute().parent} does not exist; create it or name another file.")
    if not os.access(path.absolute().parent, os.W_OK):
        raise InputError(f"the folder {path.absolute().parent} cannot be written to; name another file.")


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace the file's content in one step: a reader finds the old text or the new one, never part of it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        Path(temporary).chmod(mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
