"""Tasks on every core: order, tasks of tasks, errors, and a forked process, whose parent's threads are gone."""

import subprocess
import sys
import threading

import pytest

from elutheory.numerics import tiles
from elutheory.numerics.tiles import on_all_cores


def test_results_in_order_and_tasks_of_tasks_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "_cores", lambda: 2)

    def inner(task: int) -> tuple[int, int]:
        return task, threading.get_ident()

    def outer(task: int) -> tuple[int, int, set[int]]:
        found = on_all_cores(inner, range(task, task + 3))
        return threading.get_ident(), sum(number for number, _ in found), {thread for _, thread in found}

    results = on_all_cores(outer, range(40))
    assert [total for _, total, _ in results] == [3 * task + 3 for task in range(40)]
    for thread, _, inner_threads in results:
        assert thread != threading.get_ident()
        assert inner_threads == {thread}
    assert on_all_cores(inner, [7]) == [(7, threading.get_ident())]


def test_an_error_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "_cores", lambda: 2)
    with pytest.raises(ZeroDivisionError):
        on_all_cores(lambda task: 1 // task, [1, 0])


@pytest.mark.skipif(not hasattr(tiles.os, "fork"), reason="no fork on this system")
def test_a_forked_process_has_threads_of_its_own() -> None:
    script = (
        "import os, sys\n"
        "from elutheory.numerics import tiles\n"
        "tiles._cores = lambda: 2\n"
        "tiles.on_all_cores(abs, [-1, -2, -3])\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os._exit(0 if tiles.on_all_cores(abs, [-1, -2, -3]) == [1, 2, 3] else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=600).returncode == 0
