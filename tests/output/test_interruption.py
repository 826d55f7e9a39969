"""Ctrl-C: exit code 130 and one line, while a command loads too; in order where there is something to keep."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from elutheory.output import interruption

ROOT = Path(__file__).parents[2]
COMMANDS = [
    *(f"elutheory.{name}" for name in ("bias_shift", "moments", "propagation", "dynamics", "diagnosis", "derivations")),
    "elutheory",
    "analyses",
    "analyses depth",
    "analyses claims",
    "analyses report",
]


def interrupted(module: str, at: str) -> subprocess.CompletedProcess[str]:
    """`python -m module`, which is sent Ctrl-C when it begins to import `at`."""
    script = f"""
import os, runpy, signal, sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == {at!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
sys.argv = ["-m", *{module.split()[1:]!r}]
sys.orig_argv = [sys.executable, "-m", *{module.split()!r}]
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background
runpy._run_module_as_main({module.split()[0]!r})
"""
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("module", "at"),
    [
        ("elutheory.moments", "numpy"),
        ("elutheory.moments", "tyro"),
        ("elutheory", "rich.console"),
        ("analyses", "tyro"),
        ("analyses claims", "pandas"),
    ],
)
def test_ctrl_c_while_a_command_loads(module: str, at: str) -> None:
    ended = interrupted(module, at)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "elutheory: interrupted.\n")


@pytest.mark.exhaustive  # 11 commands, 8 moments of the first two seconds each
@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_in_the_first_two_seconds(command: str) -> None:
    for tenths in (2, 4, 6, 8, 10, 13, 16, 20):
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                *command.split(),
                *(["their:model", "--data", "x"] if "diagnosis" in command else []),
            ],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        time.sleep(tenths / 10)
        process.send_signal(signal.SIGINT)
        said = process.communicate()[1]
        assert "Traceback" not in said
        assert said.count("\n") <= 1
        assert process.returncode == 130 or said != "elutheory: interrupted.\n"


def test_within_order_ctrl_c_is_an_exception_and_a_library_leaves_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    interruption.leave_at_once("elutheory")
    assert signal.getsignal(signal.SIGINT) is before  # this is pytest, no command
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        monkeypatch.setattr(sys, "argv", ["/usr/bin/elutheory"])
        interruption.leave_at_once("elutheory")
        leaving = signal.getsignal(signal.SIGINT)
        assert leaving is not signal.default_int_handler
        with pytest.raises(KeyboardInterrupt), interruption.in_order(), interruption.in_order():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is leaving
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("words", "package", "started"),
    [
        (["python", "-m", "elutheory.moments", "elu"], "elutheory", True),
        (["python", "-W", "error", "-melutheory"], "elutheory", True),
        (["python", "-m", "analyses", "depth"], "analyses", True),
        (["python", "-m", "analyses", "depth"], "elutheory", False),
        (["python", "-m", "elutheory_of_another"], "elutheory", False),
        (["python", "-m", "pytest"], "elutheory", False),
    ],
)
def test_which_command_is_started(
    words: list[str], package: str, started: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["-m", *words[3:]])
    monkeypatch.setattr(sys, "orig_argv", words)
    assert interruption._is_started(package) is started
