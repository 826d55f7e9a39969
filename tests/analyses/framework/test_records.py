"""Records: what belongs together stays together, whenever the process is killed; mixtures are refused."""

import dataclasses
import errno
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
import pytest

from analyses.framework import records
from analyses.framework.provenance import regenerating_command, without_places
from analyses.framework.run import run_analysis
from analyses.framework.sweep import Sweep
from elutheory.errors import InputError
from tests.analyses.framework import toy_analysis as toy

FILES = ["figure.png", "figure.svg", "provenance.json", "records.csv"]
OLD, NEW = toy.Config(numbers=2), toy.Config(numbers=6)


@dataclass(frozen=True)
class Record:
    """The bytes of each file."""

    files: dict[str, bytes]

    @classmethod
    def of(cls, folder: Path) -> "Record":
        return cls({name: (folder / name).read_bytes() for name in FILES})

    def without_times(self) -> dict[str, bytes]:
        """All but what differs from run to run."""
        provenance = {**json.loads(self.files["provenance.json"]), "seconds": None, "sha256": None}
        return {**self.files, "provenance.json": json.dumps(provenance).encode()}


def _save(folder: Path, config: toy.Config) -> Record:
    records.save(folder, toy.measure(config), toy.draw, {"analysis": "toy_analysis", "config": config.numbers})
    return Record.of(folder)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    table = toy.measure(NEW)
    saved = records.save(tmp_path / "a" / "b", table, toy.draw, {"analysis": "toy_analysis"})
    loaded = records.load(tmp_path / "a" / "b", analysis="toy_analysis")
    pandas.testing.assert_frame_equal(loaded, saved, check_exact=True)
    pandas.testing.assert_frame_equal(loaded.astype({"third": float}), table, rtol=5e-7, check_exact=False)
    assert loaded["word"].tolist()[:2] == ["NA", "é, None"]
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == [".lock", *FILES]


def test_figure_is_drawn_from_the_table_as_saved(tmp_path: Path) -> None:
    drawn: list[pandas.DataFrame] = []
    table = pandas.DataFrame({"x": [0], "third": [0.123456789012]})
    records.save(tmp_path, table, lambda given: (drawn.append(given), toy.draw(given))[1], {})
    assert drawn[0]["third"].tolist() == [0.1234568]


def test_redrawing_needs_the_record_alone_and_repeats_byte_for_byte(tmp_path: Path) -> None:
    before = _save(tmp_path, NEW)
    (tmp_path / "figure.svg").unlink()
    (tmp_path / "figure.png").write_bytes(b"spoilt")
    pandas.testing.assert_frame_equal(records.redraw(tmp_path, toy.draw), records.load(tmp_path), check_exact=True)
    assert Record.of(tmp_path) == before
    (tmp_path / "figure.svg").unlink()
    script = "import sys, pathlib; from tests.analyses.framework import toy_analysis as toy; "
    script += "from analyses.framework import records; "
    script += "records.redraw(pathlib.Path(sys.argv[1]), toy.draw)"
    paths = str(Path(records.__file__).parents[2])
    another = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=another, check=True)
    assert Record.of(tmp_path) == before


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no records\.csv; run the analysis first, without --redraw"):
        records.load(tmp_path / "nothing")
    record = _save(tmp_path, NEW)
    with pytest.raises(InputError, match=r"holds records of toy_analysis, not of mean_activations\.$"):
        records.load(tmp_path, analysis="mean_activations")
    with pytest.raises(InputError, match=r"holds records of toy_analysis; name another folder"):
        records.check_folder(tmp_path, "mean_activations", {}, replace=False)
    with pytest.raises(InputError, match="is a file; name a folder"):
        records.check_folder(tmp_path / "records.csv", "toy_analysis", {}, replace=False)
    provenance = tmp_path / "provenance.json"
    for content, complaint in ((b"{", "is no JSON"), (b"\xff", "is no JSON"), (b"[1]", "does not describe records")):
        provenance.write_bytes(content)
        with pytest.raises(InputError, match=complaint):
            records.load(tmp_path)
    provenance.unlink()
    with pytest.raises(InputError, match=r"holds no provenance\.json"):
        records.load(tmp_path)
    described = json.loads(record.files["provenance.json"])
    del described["records_sha256"]
    provenance.write_text(json.dumps(described))
    with pytest.raises(InputError, match=r"is not as it was written: its checksum differs; measure again\.$"):
        records.load(tmp_path)
    provenance.write_text('{"analysis": "toy_analysis"}')
    with pytest.raises(InputError, match=r"is not what provenance\.json beside it describes; measure again\.$"):
        records.load(tmp_path)


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-1], lambda text: text.replace(b"0.333", b"0.334"), lambda _: b""]
)
def test_records_that_are_not_those_described_are_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    record = _save(tmp_path, NEW)
    (tmp_path / "records.csv").write_bytes(damage(record.files["records.csv"]))
    with pytest.raises(InputError, match=r"is not what provenance\.json beside it describes; measure again\.$"):
        records.load(tmp_path)


# --- whose record and whose cells -----------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [{"numbers": 3}, {"gone": 1}, None])
def test_a_record_of_other_settings_is_replaced_only_when_asked(held: dict[str, int] | None, tmp_path: Path) -> None:
    ours = dataclasses.asdict(OLD)
    settings = held and {**ours, **held}
    records.save(tmp_path, toy.measure(OLD), toy.draw, {"analysis": "toy_analysis", "config": settings})
    before = Record.of(tmp_path)
    with pytest.raises(InputError, match=r"a record measured with other settings.*replace that record by --replace\.$"):
        run_analysis(toy, tmp_path, config=OLD, device="cpu", progress=False)
    assert Record.of(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", *FILES]
    run_analysis(toy, tmp_path, config=OLD, device="cpu", replace=True, progress=False)
    run_analysis(toy, tmp_path, config=OLD, device="cpu", progress=False)  # the same settings need no leave
    assert records.provenance_of(tmp_path)["config"] == dataclasses.asdict(OLD)


def test_a_record_written_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_records: tuple[Path, Path]
) -> None:
    def measure(config: toy.Config, sweep: Sweep) -> pandas.DataFrame:
        shutil.copytree(two_records[1], tmp_path, dirs_exist_ok=True)
        return sweep.table(toy.measure_cell, config, toy.cells(config))

    with monkeypatch.context() as during:
        during.setattr(toy, "measure", measure)
        with pytest.raises(InputError, match="other settings"):
            run_analysis(toy, tmp_path, config=OLD, device="cpu", progress=False)
    assert len(list(tmp_path.glob(".unfinished/*/*.json"))) == OLD.numbers
    run_analysis(toy, tmp_path, config=OLD, device="cpu", replace=True, progress=False)
    assert not (tmp_path / ".unfinished").exists()


def test_a_run_removes_the_cells_of_its_own_settings_alone(tmp_path: Path) -> None:
    long, short = toy.Config(numbers=6, broken=4), toy.Config(numbers=2)
    with pytest.raises(ZeroDivisionError):
        run_analysis(toy, tmp_path, config=long, device="cpu", progress=False)
    kept = {path: path.read_bytes() for path in tmp_path.glob(".unfinished/*/*")}
    assert len(kept) == 4
    run_analysis(toy, tmp_path, config=short, device="cpu", progress=False)
    assert {path: path.read_bytes() for path in tmp_path.glob(".unfinished/*/*")} == kept


# --- crashes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["folder", "link", "FIFO"])
def test_what_a_record_would_replace_is_a_file(name: str, kind: str, tmp_path: Path) -> None:
    file, elsewhere = tmp_path / "record" / name, tmp_path / "elsewhere"
    file.parent.mkdir()
    elsewhere.write_text("kept")
    {"folder": file.mkdir, "link": lambda: file.symlink_to(elsewhere), "FIFO": lambda: os.mkfifo(file)}[kind]()
    with pytest.raises(InputError, match=rf"{name} is no regular file; name another folder"):
        run_analysis(toy, file.parent, config=OLD, device="cpu", replace=True, progress=False)
    assert [path.name for path in file.parent.iterdir()] == [name]
    assert elsewhere.read_text() == "kept"


class Crash(BaseException):
    """Stands for a power cut."""


def _crash_at(monkeypatch: pytest.MonkeyPatch, function: str, call: int, *, after: bool) -> None:
    original, calls = getattr(os, function), itertools.count()

    def crashing(*arguments: Any) -> None:
        number = next(calls)
        if number == call and not after:
            raise Crash
        original(*arguments)
        if number == call:
            raise Crash

    monkeypatch.setattr(os, function, crashing)


@pytest.mark.parametrize("call", range(5))
def test_a_full_disk_leaves_the_old_record_and_nothing_else(
    call: int, tmp_path: Path, two_records: tuple[Path, Path]
) -> None:
    folder = tmp_path / "record"
    shutil.copytree(two_records[0], folder)
    old, new = (Record.of(record) for record in two_records)
    calls = itertools.count()

    def full(_: int) -> None:
        if next(calls) == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device"):
            records.replace_together(folder, new.files)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", *FILES]
    assert Record.of(folder) == old


STEPS = [("fsync", call) for call in range(7)] + [("replace", call) for call in range(5)] + [("rmdir", 0)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("function", "call"), STEPS)
def test_a_crash_at_any_step_leaves_the_old_record_or_the_new_one(
    function: str, call: int, after: bool, tmp_path: Path, two_records: tuple[Path, Path]
) -> None:
    """Every step of publishing: 4 files and 3 folders synced, the folder and 4 files renamed, the folder removed."""
    folder = tmp_path / "record"
    shutil.copytree(two_records[0], folder)
    old, new = (Record.of(record) for record in two_records)
    with pytest.MonkeyPatch.context() as crashing:
        _crash_at(crashing, function, call, after=after)
        with pytest.raises(Crash):
            records.replace_together(folder, new.files)
    decided = function == "rmdir" or (function, call) >= ("replace", 1) or (function == "fsync" and call >= 5)
    decided = decided or (function == "replace" and after)
    loaded = records.load(folder)
    assert loaded["x"].nunique() == (NEW if decided else OLD).numbers
    assert Record.of(folder) == (new if decided else old)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", *FILES]


@pytest.fixture(scope="module")
def two_records(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of the old record and of the new one."""
    folders = tmp_path_factory.mktemp("old"), tmp_path_factory.mktemp("new")
    for folder, config in zip(folders, (OLD, NEW), strict=True):
        _save(folder, config)
    return folders


def test_a_record_half_published_twice_is_the_last_one_decided(tmp_path: Path, two_records: tuple[Path, Path]) -> None:
    """The next run finds the journal of one that was killed, completes it, and is killed before its own."""
    folder = tmp_path / "record"
    shutil.copytree(two_records[0], folder)
    new, newest = Record.of(two_records[1]), {name: name.encode() for name in FILES}
    for files, call in ((new.files, 2), (newest, 3)):
        with pytest.MonkeyPatch.context() as crashing:
            _crash_at(crashing, "replace", call, after=False)
            with pytest.raises(Crash):
                records.replace_together(folder, files)
    records.load(folder)
    assert Record.of(folder) == new


@pytest.mark.usefixtures("fork_server")
@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(3, 8))])
def test_a_kill_leaves_the_old_record_or_the_new_one_and_the_run_goes_on(seed: int, tmp_path: Path) -> None:
    """SIGKILL at a random moment, from before the first cell to after the last rename."""
    whole, folder, config = tmp_path / "whole", tmp_path / "record", toy.Config(seconds=0.03)
    run_analysis(toy, folder, config=toy.Config(numbers=2), device="cpu", progress=False)
    before = Record.of(folder)
    process = toy.start(whole, config)
    duration = -time.perf_counter()
    process.join()
    duration += time.perf_counter()
    assert process.exitcode == 0
    expected = Record.of(whole).without_times()

    killed = toy.start(folder, config)
    time.sleep(random.Random(seed).uniform(0, duration))
    killed.kill()
    killed.join()
    table, found = records.load(folder, analysis="toy_analysis"), Record.of(folder)
    assert found == before or found.without_times() == expected
    assert table["x"].nunique() == (2 if found == before else 6)

    going_on = toy.start(folder, config)
    going_on.join()
    assert going_on.exitcode == 0
    assert Record.of(folder).without_times() == expected
    assert sorted(path.name for path in folder.iterdir()) == [".lock", *FILES]


def test_provenance_names_data_without_their_place(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class WithData:
        data: str = "digits"
        seeds: int = 2

    folder = tmp_path / "shirts"
    folder.mkdir()
    shown = without_places(WithData(str(folder), 3))
    assert shown == WithData("shirts", 3)
    words = regenerating_command("curves", "quick", WithData(), shown, "cpu")
    assert words == "python -m analyses curves --preset quick --device cpu --data shirts --seeds 3"
    assert without_places(WithData()) == WithData()
    assert without_places(toy.Config()) == toy.Config()


def test_flipped_bits_of_the_provenance_and_figures_are_noticed(tmp_path: Path) -> None:
    record = _save(tmp_path, NEW)
    for name in ("provenance.json", "figure.svg"):
        content = record.files[name]
        for place in range(0, 8 * len(content), 8 * len(content) // 50):
            changed = bytearray(content)
            changed[place // 8] ^= 1 << place % 8
            (tmp_path / name).write_bytes(changed)
            with pytest.raises(InputError, match=r"^[^\n]*\.$"):
                records.figure_of(tmp_path)
        (tmp_path / name).write_bytes(content)
    assert records.figure_of(tmp_path) == record.files["figure.svg"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"[" * 100_000, "nested too deeply"), ('{"analysis": "toy_analysis"}'.encode("utf-16"), "not in UTF-8")],
)
def test_provenance_that_is_no_plain_json_is_refused(content: bytes, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "provenance.json").write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        records.provenance_of(tmp_path)


def test_older_columns_are_told_in_one_sentence(tmp_path: Path) -> None:
    _save(tmp_path, NEW)
    with pytest.raises(InputError, match=r"holds a record of older columns \(newer\); measure again\.$"):
        records.redraw(tmp_path, lambda table: toy.draw(table.assign(x=table["newer"])))
