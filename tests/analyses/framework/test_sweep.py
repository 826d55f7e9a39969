"""Sweeps: the same table in turn, side by side, on a cluster, resumed; what is kept when something breaks."""

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyses.framework import kept_cells, workers
from analyses.framework.sweep import Interrupted, Sweep
from analyses.networks import checkpoints
from elutheory.errors import InputError
from tests.analyses.framework import toy_analysis as toy


@pytest.fixture(scope="module")
def expected() -> pandas.DataFrame:
    return toy.measure(toy.Config())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def _measured(log: Path) -> list[int]:
    return sorted(int(line.split()[0]) for line in log.read_text().splitlines()) if log.exists() else []


def test_rows_follow_the_cells(expected: pandas.DataFrame) -> None:
    assert expected["x"].tolist() == [x for x in range(6) for _ in range(2)]
    assert expected["third"][2] == 1 / 3
    assert expected.index.tolist() == list(range(12))


@given(
    st.lists(st.tuples(st.floats(), st.integers(-(2**63), 2**63 - 1), st.text(), st.booleans(), st.floats(width=32)))
)
def test_a_kept_cell_comes_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple]) -> None:
    table = pandas.DataFrame(rows, columns=["float", "integer", "text", "truth", "single"])
    table = table.astype({"float": "float64", "integer": "int64", "text": "str", "truth": "bool", "single": "float32"})
    path = tmp_path_factory.mktemp("kept") / "cell.json"
    saved, loaded = kept_cells.save(path, table), kept_cells.load(path)
    assert loaded is not None
    for back in (saved, loaded):
        assert back.dtypes.equals(table.dtypes)
        assert back["text"].tolist() == table["text"].tolist()
        pandas.testing.assert_frame_equal(back, table, check_exact=True)
        assert _bits(back["float"]) == _bits(table["float"])


def _bits(column: pandas.Series) -> list[bytes | None]:
    return [None if value != value else struct.pack("d", value) for value in column]


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path: Path, log: Path, expected: pandas.DataFrame) -> None:
    class StopError(Exception):
        pass

    def stop_at_four(config: toy.Config, cell: toy.Cell, device: str) -> pandas.DataFrame:
        if cell.x == 4 and not stopped:
            stopped.append(cell)
            raise StopError
        return toy.measure_cell(config, cell, device)

    stopped: list[toy.Cell] = []
    config, sweep = toy.Config(log=str(log)), Sweep(folder=tmp_path / "kept")
    with pytest.raises(StopError) as caught:
        sweep.table(stop_at_four, config, toy.cells(config))
    assert caught.value.__notes__ == ["while measuring Cell(x=4)"]
    assert _measured(log) == [0, 1, 2, 3]
    pandas.testing.assert_frame_equal(sweep.table(stop_at_four, config, toy.cells(config)), expected, check_exact=True)
    assert _measured(log) == [0, 1, 2, 3, 4, 5]


def test_cells_of_another_configuration_code_or_device_are_not_mixed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    config, cell = toy.Config(), toy.Cell(1)

    def name(measure_cell=toy.measure_cell, config=config, cell=cell, device="cpu") -> str:
        kept_cells.code_checksum.cache_clear()
        return kept_cells.file_name(measure_cell, config, cell, device)

    names = [name(), name(config=replace(config, seconds=0.5)), name(cell=toy.Cell(2)), name(device="cuda")]
    names += [name(measure_cell=toy.measure), name(config=toy.Config(seconds=1.0))]
    assert name() == names[0]
    with monkeypatch.context() as other:
        other.setattr(kept_cells, "version", lambda _: "0")
        names.append(name())
    with monkeypatch.context() as other:
        other.setattr(Path, "read_bytes", lambda _: b"edited")
        names.append(name())
    assert len(set(names)) == len(names)
    assert name() == names[0]


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty", "binary", "one line"])
def test_a_corrupt_cell_is_measured_again(
    damage: str, tmp_path: Path, log: Path, expected: pandas.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    config, sweep = toy.Config(log=str(log)), Sweep(folder=tmp_path / "kept")
    toy.measure(config, sweep)
    path = tmp_path / "kept" / kept_cells.file_name(toy.measure_cell, config, toy.Cell(3), "cpu")
    content = path.read_bytes()
    path.write_bytes(
        {
            "truncated": content[:-9],
            "altered": content.replace(b"3e+300", b"4e+300"),
            "empty": b"",
            "binary": bytes(range(256)),
            "one line": content.splitlines()[1],
        }[damage]
    )
    log.unlink()
    pandas.testing.assert_frame_equal(toy.measure(config, sweep), expected, check_exact=True)
    assert _measured(log) == [3]
    assert capsys.readouterr().err == f"elutheory: {path} is corrupt; its cell is measured again.\n"
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_removed_and_its_cell_measured_again(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, sweep = toy.Config(numbers=3, refused=1), Sweep(folder=tmp_path)
    with pytest.raises(InputError, match="refused"):
        sweep.table(toy.measure_resumable, config, toy.cells(config))
    checkpoint = (tmp_path / kept_cells.file_name(toy.measure_resumable, config, toy.Cell(1), "cpu")).with_suffix(
        ".safetensors"
    )
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:-8] + b"\1" * 8 if content is None else content)
    with pytest.raises(InputError, match="refused"):
        sweep.table(toy.measure_resumable, config, toy.cells(config))
    said = f"elutheory: {checkpoint} is damaged; its cell is measured again from the start.\n"
    assert capsys.readouterr().err == said
    assert checkpoints.load(checkpoint, {"x": 1}) == {"count": 1}


def test_ctrl_c_says_what_is_kept(tmp_path: Path) -> None:
    def interrupted(config: toy.Config, cell: toy.Cell, device: str) -> pandas.DataFrame:
        if cell.x == 2:
            raise KeyboardInterrupt
        return toy.measure_cell(config, cell, device)

    for folder, kept in ((tmp_path, 2), (None, 0)):
        with pytest.raises(Interrupted, match=rf"^{kept} of 6 cells are kept; the same command goes on from there\.$"):
            Sweep(folder=folder).table(interrupted, toy.Config(), toy.cells(toy.Config()))


def test_two_jobs_give_the_same_table(expected: pandas.DataFrame) -> None:
    together = toy.measure(toy.Config(), Sweep(jobs=2))
    pandas.testing.assert_frame_equal(together, expected, check_exact=True)


def test_a_failing_cell_of_two_jobs_is_named_and_the_finished_are_kept(tmp_path: Path, log: Path) -> None:
    config = toy.Config(log=str(log), broken=4)
    with pytest.raises(ZeroDivisionError, match="broken") as caught:
        toy.measure(config, Sweep(jobs=2, folder=tmp_path / "kept"))
    (note,) = caught.value.__notes__
    assert note.startswith("while measuring Cell(x=4), in a worker:\nTraceback")
    kept = len(list((tmp_path / "kept").iterdir()))
    assert kept >= 3  # two jobs: at most one of 0 … 3 was still on its way
    with pytest.raises(InputError) as refused:
        toy.measure(toy.Config(refused=4), Sweep(jobs=2))
    assert str(refused.value) == "this number is refused."


def test_a_killed_worker_ends_in_one_sentence_and_the_rest_goes_on(tmp_path: Path, expected: pandas.DataFrame) -> None:
    config = toy.Config(killed=str(tmp_path / "killed"))
    sweep = Sweep(jobs=2, folder=tmp_path / "kept")
    with pytest.raises(InputError, match="a worker process was killed, perhaps for want of memory"):
        toy.measure(config, sweep)
    pandas.testing.assert_frame_equal(toy.measure(config, sweep), expected, check_exact=True)


@pytest.mark.usefixtures("fork_server")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.skipif(sys.platform != "linux", reason="lists processes in /proc")
def test_no_worker_outlives_its_parent(stop: signal.Signals, tmp_path: Path, log: Path) -> None:
    messages = tmp_path / "messages"
    process = toy.start(tmp_path / "record", toy.Config(seconds=1000, log=str(log)), jobs=2, messages=messages)
    assert process.pid is not None
    try:
        _wait(lambda: len(_measured(log)) == 2)
        workers = [int(line.split()[1]) for line in log.read_text().splitlines()]
        assert process.pid not in workers
        if stop == signal.SIGINT:
            os.killpg(process.pid, stop)  # as a terminal does
        else:
            os.kill(process.pid, stop)
        process.join(_PATIENCE)
        _wait(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    finally:
        process.kill()
    if stop == signal.SIGINT:
        said = messages.read_text()
        assert said.count("Traceback") == 1  # the parent's, which no command has caught: workers are silent
        assert said.splitlines()[-1].endswith("0 of 6 cells are kept; the same command goes on from there.")


_PATIENCE = 600
"""Seconds after which what a test waits for is held not to happen; only a test that fails takes them."""


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    distributed = pytest.importorskip("distributed")
    kept_cells.code_checksum.cache_clear()  # workers are refused if a file has been edited since it was computed
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0", silence_logs="CRITICAL"
    ) as two_workers:
        yield two_workers


def test_a_cluster_of_which_a_worker_is_killed_gives_the_same_table(
    cluster: object, log: Path, expected: pandas.DataFrame
) -> None:
    def kill() -> None:
        _wait(lambda: len(_measured(log)) >= 3)
        number, worker = log.read_text().splitlines()[-1].split()
        victims.append(int(number))
        os.kill(int(worker), signal.SIGKILL)

    victims: list[int] = []
    killer = Thread(target=kill)
    killer.start()
    config = toy.Config(seconds=0.2, log=str(log))
    table = toy.measure(config, Sweep(cluster=cluster.scheduler_address))  # type: ignore[attr-defined]
    killer.join()
    assert len({line.split()[1] for line in log.read_text().splitlines()}) >= 2
    assert _measured(log).count(victims[0]) == 2
    pandas.testing.assert_frame_equal(table, expected, check_exact=True)


def test_a_cluster_that_runs_other_code_is_refused(cluster: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyses.framework.workers.code_checksum", lambda _: "edited since")
    with pytest.raises(InputError, match="the Dask workers run other code"):
        toy.measure(toy.Config(), Sweep(cluster=cluster.scheduler_address))  # type: ignore[attr-defined]


def test_no_cluster_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "distributed", None)
        with pytest.raises(InputError, match=r"--cluster needs Dask; install it with `pip install"):
            toy.measure(toy.Config(), Sweep(cluster="tcp://127.0.0.1:8786"))
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match="no Dask scheduler answers at nonsense://here"):
        toy.measure(toy.Config(), Sweep(cluster="nonsense://here"))


def test_what_listens_there_and_never_answers_is_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "_PATIENCE", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(InputError, match=r"is no Dask scheduler; its dashboard, for one, has another port"):
            toy.measure(toy.Config(), Sweep(cluster=address))


def test_a_cluster_that_loses_all_workers_is_given_up(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "_PATIENCE", 2.0)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0", silence_logs="CRITICAL") as none,
        pytest.raises(InputError, match=r"has no workers; start some, and the same command goes on\."),
    ):
        toy.measure(toy.Config(), Sweep(cluster=none.scheduler_address))


def test_workers_without_the_checkout_say_so(tmp_path: Path) -> None:
    """An interpreter of its own, in another folder, calls what the cluster's workers are sent."""
    cloudpickle = pytest.importorskip("cloudpickle")
    sent = cloudpickle.dumps(workers._shipped(3, toy.measure_cell, toy.Config(), toy.Cell(0), None, "cpu", "code"))
    program = "import pickle, sys; print(*pickle.load(sys.stdin.buffer)(), sep='|')"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", program], input=sent, capture_output=True, cwd=tmp_path, env=environment, check=True
    )
    said = "3|the Dask workers have not this checkout's code (No module named 'tests'); start them in its folder.\n"
    assert done.stdout.decode() in (said, said.replace("'tests'", "'analyses'"))


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_unfinished_cell_goes_on_from_its_checkpoint(tmp_path: Path, jobs: int) -> None:
    config = toy.Config(numbers=2)
    measured = (toy.measure_cell_from_checkpoint, config, toy.cells(config))
    with pytest.raises(ZeroDivisionError):
        Sweep(folder=tmp_path / "kept", jobs=jobs).table(*measured)
    table = Sweep(folder=tmp_path / "kept", jobs=jobs).table(*measured)
    assert table["begun"].tolist() == [False, True]
    assert table["checkpoint"].all()
    assert not Sweep().table(*measured)["checkpoint"].any()


def test_jobs_are_counted_from_one() -> None:
    with pytest.raises(InputError, match="jobs is 0; give 1 or more"):
        Sweep(jobs=0)


def test_progress_on_a_terminal_and_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.measure(toy.Config(), Sweep(progress=True))
    assert capsys.readouterr().err == ""  # quicker than the first line is due
    monkeypatch.setattr("analyses.framework.sweep._SECONDS_BETWEEN_LINES", 0.0)
    toy.measure(toy.Config(), Sweep(progress=True))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" cells after")[0] for line in lines] == [f"elutheory: {n} of 6" for n in range(1, 7)]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    toy.measure(toy.Config(seconds=0.1), Sweep(progress=True))
    shown = capsys.readouterr().err
    assert "6/6" in shown
    assert "left" in shown
