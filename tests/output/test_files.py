"""Output files: refused in one sentence before any work, written whole or not at all."""

from pathlib import Path

import pytest

from elutheory.errors import InputError
from elutheory.output import files


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_files_that_can_be_written_are_accepted_and_left_alone(tmp_path: Path) -> None:
    files.check_output_files(output=None, figure=None)
    files.check_output_files(output=Path("report"), table=Path("a.svg"), figure=tmp_path / "b.SVG")
    for ending in files.FIGURE_ENDINGS:
        files.check_output_files(figure=Path(f"layers{ending}"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ({"output": "."}, r"^\. is a folder; name a file to write\.$"),
        ({"output": "nowhere/a"}, r"^the folder .*nowhere does not exist; create it or name another file\.$"),
        ({"figure": "a.bmp"}, r"^--figure a\.bmp has no known ending; \.svg, \.pdf and \.png can be drawn\.$"),
        ({"figure": "svg"}, "^--figure svg has no known ending"),
        ({"output": "a", "table": "./a"}, r"^--output and --table must be different files\.$"),
        ({"html": "a.svg", "figure": "a.svg", "csv": None}, r"^--html, --figure and --csv must be different files\.$"),
    ],
)
def test_files_that_cannot_be_written_are_refused(named: dict[str, str | None], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        files.check_output_files(**{option: name and Path(name) for option, name in named.items()})


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.txt"
    target.write_text("old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_whole(target, "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.txt"]


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    target = tmp_path / "report.txt"
    files.write_whole(target, b"old")
    target.chmod(0o640)
    files.write_whole(target, "Φ")
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == ("Φ".encode(), 0o640)
