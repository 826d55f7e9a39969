"""Kills, Ctrl-C, full disks, folders and streams that refuse, at random moments of every analysis: one sentence, and
the same command goes on to the same bytes.

`pytest -m exhaustive tests/analyses/framework/test_faults.py -k NAME` does one analysis; the moments are drawn from
its name, and what is printed counts them.
"""

import os
import random
import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas
import pytest

from analyses.framework.catalogue import catalogue
from tests.analyses.framework import faults
from tests.analyses.framework.smallest_runs import small_options

pytestmark = [
    pytest.mark.exhaustive,  # half an hour: each of 210 runs is interrupted and goes on
    pytest.mark.skipif(sys.platform != "linux", reason="/dev/full, limits of files and rights as Linux has them"),
]
SIGNALS = [("kill -9", signal.SIGKILL)] * 3 + [("Ctrl-C", signal.SIGINT)] * 3
KINDS = [kind for kind, _ in SIGNALS] + ["full disk"] * 2 + ["read-only folder", "full standard output"]
PER_ANALYSIS = len(KINDS)


@dataclass(frozen=True)
class Undisturbed:
    """The record of a run that nothing befell, and what it took."""

    folder: Path
    seconds: float
    timed: frozenset[str]
    """Columns that differ between two such runs: times."""


@pytest.fixture(scope="module", autouse=True)
def _server() -> None:
    faults.start_server()


def arguments(name: str, folder: Path) -> list[str]:
    return [name, *small_options(name), "--device", "cpu", "--output", str(folder)]


def finished(name: str, folder: Path, said: Path) -> float:
    """Runs to the end, or goes on to it; the seconds."""
    start = time.monotonic()
    process = faults.started(arguments(name, folder), said)
    process.join()
    assert process.exitcode == 0, said.read_text()
    return time.monotonic() - start


def undisturbed(name: str, place: Path) -> Undisturbed:
    seconds = [finished(name, place / f"whole{run}", place / "said") for run in (0, 1)]
    first, second = (pandas.read_csv(place / f"whole{run}" / "records.csv") for run in (0, 1))
    timed = frozenset(column for column in first if not first[column].equals(second[column]))
    assert bool(timed) == (name in ("footprint", "imagenet", "moment_accuracy")), timed
    return Undisturbed(place / "whole0", min(seconds), timed)


def check_same(folder: Path, whole: Undisturbed) -> None:
    """Byte by byte, but for times; nothing else lies there."""
    assert sorted(os.listdir(folder)) == sorted(os.listdir(whole.folder))
    if whole.timed:
        kept, expected = (pandas.read_csv(place / "records.csv") for place in (folder, whole.folder))
        left = [column for column in expected if column not in whole.timed]
        pandas.testing.assert_frame_equal(kept[left], expected[left], check_exact=True)
        return
    for file in ("records.csv", "figure.svg", "figure.png"):
        assert (folder / file).read_bytes() == (whole.folder / file).read_bytes(), file


def disturbed(name: str, kind: str, folder: Path, said: Path, draw: random.Random, seconds: float) -> int:
    """The exit code of a run to which this happens; it may end before that."""
    if kind == "full disk":
        process = faults.started(arguments(name, folder), said, largest_file=draw.choice([600, 2000, 20_000, 50_000]))
    elif kind == "full standard output":
        process = faults.started(arguments(name, folder), said, stdout="/dev/full")
    elif kind == "read-only folder":
        folder.mkdir()
        folder.chmod(0o555)
        process = faults.started(arguments(name, folder), said, user=0 if os.getuid() else faults.NOBODY)
    else:
        process = faults.started(arguments(name, folder), said)
        process.join(draw.uniform(0.0, seconds))
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, dict(SIGNALS)[kind])
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def check_outcome(kind: str, code: int, said: str) -> str:
    """One sentence where something happened; returns what did."""
    if code == 0:
        assert kind in ("kill -9", "Ctrl-C"), (kind, said)  # it came too late
        return "too late"
    assert code == {"kill -9": -9, "Ctrl-C": 130}.get(kind, 2), (kind, code, said)
    if code != -9:
        assert re.fullmatch(r"elutheory: [^\n]+\.\n", said), (kind, said)
    return kind


@pytest.mark.parametrize("name", catalogue())
def test_whatever_happens_to_an_analysis_the_same_command_goes_on(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o755)
    whole = undisturbed(name, tmp_path)
    happened: list[str] = []
    for number, kind in enumerate(KINDS):
        folder, said = tmp_path / f"{number}", tmp_path / f"said{number}"
        said.touch(mode=0o666)
        code = disturbed(name, kind, folder, said, random.Random(f"{name} {number}"), whole.seconds)
        happened.append(check_outcome(kind, code, said.read_text()))
        if folder.exists():
            folder.chmod(0o755)
        if folder.exists() and (folder / ".staging").exists():
            assert code == -9
        finished(name, folder, tmp_path / "again")
        check_same(folder, whole)
    with capsys.disabled():
        print(f"\n{name}:", ", ".join(f"{happened.count(kind)} {kind}" for kind in dict.fromkeys(happened)))
