"""What commands share: options, exit codes, errors in one sentence, a report printed or written."""

import errno
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from elutheory.errors import InputError
from elutheory.output.command_line import (
    BAD_INPUT,
    EXIT_CODES,
    FAILED,
    INTERRUPTED,
    VERIFIED,
    parse_options,
    run,
    write_or_print,
)


@dataclass(frozen=True)
class Options:
    """What is asked for."""

    depth: int = 3
    """How deep."""


def test_options_are_read_or_refused_in_one_sentence() -> None:
    assert parse_options(Options, "elutheory test", ["--depth", "4"]) == Options(4)
    with pytest.raises(InputError, match=r"^[^\n]*deep[^\n]*; see elutheory test --help\.$"):
        parse_options(Options, "elutheory test", ["--depth", "deep"])
    with pytest.raises(InputError, match=r"^Unrecognized options: --width; see elutheory test --help\.$"):
        parse_options(Options, "elutheory test", ["--width"])


def test_help_states_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(Options, "elutheory test", ["--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "What is asked for." in shown
    assert EXIT_CODES in shown


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("depth is 0; at least 1 is needed."), BAD_INPUT, "elutheory: depth is 0; at least 1 is needed.\n"),
        (KeyboardInterrupt(), INTERRUPTED, "elutheory: interrupted.\n"),
    ],
)
def test_bad_input_and_interruption_have_their_exit_codes(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    def command(_: object) -> int:
        raise error

    assert run(command) == code
    assert capsys.readouterr() == ("", message)
    assert run(lambda _: FAILED) == FAILED


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "/a/b fails: Permission denied."),
        (OSError(errno.ENOSPC, "No space left on device", "a"), "a fails: No space left on device."),
        (OSError(errno.EIO, "Input/output error"), "a file or stream fails: Input/output error."),
        (OSError("said by a library"), "a file or stream fails: said by a library."),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a\nb\x1b[2J\udcff"),
            "a\\nb\\x1b[2J\\udcff fails: No such",
        ),
        (MemoryError(), "there is not enough memory for this; ask for less."),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "there is not enough memory"),
    ],
)
def test_what_the_system_refuses_is_one_sentence_and_bad_input(
    error: Exception, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(_: object) -> int:
        raise error

    assert run(command) == BAD_INPUT
    said = capsys.readouterr().err
    assert said.startswith(f"elutheory: {sentence}")
    assert said.count("\n") == 1


def test_a_fault_of_the_program_is_none_of_the_users() -> None:
    def command(_: object) -> int:
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        run(command)


@pytest.mark.parametrize("size", [5, 10**6])
def test_a_reader_that_leaves_is_said(
    size: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    def command(_: object) -> int:
        write_or_print("a" * size, None)
        return VERIFIED

    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert run(command) == BAD_INPUT
        stream.flush()  # what was not written goes nowhere
    assert capsys.readouterr().err == "elutheory: standard output fails: Broken pipe.\n"


# In an interpreter of its own: the streams it is given, its end, its exit code.
SCRIPT = """
import sys
from elutheory.errors import InputError
from elutheory.output.command_line import run
def command(_):
    print("a line")
    if "refuse" in sys.argv:
        raise InputError("refused.")
    if "leave" in sys.argv:
        raise SystemExit(0)
    return 0
sys.exit(run(command))
"""


@pytest.mark.parametrize(
    ("streams", "words", "code", "said"),
    [
        ("> /dev/full", "", BAD_INPUT, "elutheory: standard output fails: No space left on device.\n"),
        ("> /dev/full", "leave", BAD_INPUT, "elutheory: standard output fails: No space left on device.\n"),
        ("> /dev/full", "refuse", BAD_INPUT, "elutheory: standard output fails: No space left on device.\n"),
        (">&-", "", BAD_INPUT, "elutheory: standard output is closed; send it to a file or to /dev/null.\n"),
        ("> /dev/null 2> /dev/full", "refuse", BAD_INPUT, ""),
        ("> /dev/null 2>&-", "refuse", BAD_INPUT, ""),
        ("> /dev/null", "leave", VERIFIED, ""),
    ],
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_streams_that_fail_are_one_sentence_and_one_exit_code(streams: str, words: str, code: int, said: str) -> None:
    line = f'exec "$0" -c "$1" {words} {streams}'
    ran = subprocess.run(["sh", "-c", line, sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (code, said)


def test_output_is_utf_8_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    target = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(target, encoding="ascii"))
    assert run(lambda _: write_or_print("Φ\n", None) or VERIFIED) == VERIFIED
    assert target.getvalue() == "Φ\n".encode()


def test_a_report_is_written_or_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_or_print("✓ all\n", tmp_path / "report", coloured=True)
    assert ((tmp_path / "report").read_text(encoding="utf-8"), capsys.readouterr().out) == ("✓ all\n", "")
    write_or_print("✓ all\n", None, coloured=True)
    assert capsys.readouterr().out == "✓ all\n"  # no colour in a pipe


def test_ticks_and_crosses_are_coloured_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    write_or_print("✓ one\n✗ two\n", None, coloured=True)
    assert capsys.readouterr().out == "\x1b[32m✓\x1b[0m one\n\x1b[1;31m✗ two\x1b[0m\n"
