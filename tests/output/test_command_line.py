"""What commands share: options, exit codes, errors in one sentence, a report printed or written."""

import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from elutheory.errors import InputError
from elutheory.output.command_line import (
    BAD_INPUT,
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


def test_a_reader_that_leaves_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    def command(_: object) -> int:
        write_or_print("a line\n", None)
        return FAILED

    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert run(command) == VERIFIED
        stream.flush()  # what was not written goes nowhere


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
