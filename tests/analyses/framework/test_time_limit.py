"""A run that is given so many minutes stops in order, and the same command goes on."""

import signal
import time
from pathlib import Path

import pytest

from analyses import __main__ as command
from analyses.framework.time_limit import at_most
from tests.analyses.framework import toy_analysis as toy


def test_a_run_stops_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The limit, whose timer is tested below, falls into the sixth cell, however busy the machine is.

    Ctrl-C is ignored, as in a shell's background.
    """
    monkeypatch.setattr(command, "find_analysis", lambda _: toy)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 6:
            signal.raise_signal(signal.SIGALRM)

    monkeypatch.setattr(toy.time, "sleep", sleep)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    toy_of = ["toy", "--device", "cpu", "--seconds", "0.2", "--numbers", "40"]
    try:
        assert command.main([*toy_of, "--output", str(tmp_path / "cut"), "--max-minutes", "100"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    said = capsys.readouterr().err
    assert said.startswith("elutheory: interrupted; ")
    assert said.endswith(" of 40 cells are kept; the same command goes on from there.\n")
    kept = int(said.split()[2])
    assert kept == 5
    assert not (tmp_path / "cut" / "records.csv").exists()
    measured: list[float] = []
    monkeypatch.setattr(toy.time, "sleep", measured.append)
    assert command.main([*toy_of, "--output", str(tmp_path / "cut")]) == 0
    assert len(measured) == 40 - kept
    assert command.main([*toy_of, "--output", str(tmp_path / "whole")]) == 0
    whole, cut = ((tmp_path / name / "records.csv").read_bytes() for name in ("whole", "cut"))
    assert whole == cut


def test_nothing_is_left_behind() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with at_most(1000.0):
        pass
    with pytest.raises(KeyboardInterrupt, match=r"^0.0001 minutes are over"), at_most(1e-4):
        time.sleep(5)
    with pytest.raises(KeyboardInterrupt), at_most(1e-320):  # over before the timer is set
        time.sleep(5)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    with at_most(None):
        assert signal.getsignal(signal.SIGALRM) is before
