"""Output files: refused in one sentence before any work, written whole or not at all."""

import os
import socket
import subprocess
import sys
import threading
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


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a" * 256, "cannot be written \\(File name too long\\); name another file"),
        ("b/" * 2500 + "a", "cannot be written \\(File name too long\\)"),
        ("loop", "cannot be written \\(Too many levels of symbolic links\\)"),
        ("file/a", "cannot be written \\(Not a directory\\)"),
        ("a\0b", "is no name of a file \\(.*null"),
        ("socket", "is a socket; name a file to write"),
        ("missing/a", "the folder .*missing does not exist"),
        ("dangling", "the folder .*missing does not exist"),
        ("/proc/self/fd/987", "cannot be written \\(Bad file descriptor\\)"),
        ("/proc/a", "the folder /proc cannot be written to \\("),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the words and folders of Linux")
def test_whatever_cannot_be_a_file_is_refused_before_any_work(name: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "missing" / "a")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        before = sorted(tmp_path.iterdir())
        with pytest.raises(InputError, match=sentence):
            files.check_output(Path(name))
        assert sorted(tmp_path.iterdir()) == before


def test_a_fifo_is_written_through(tmp_path: Path) -> None:
    os.mkfifo("pipe")
    files.check_output(Path("pipe"))
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_bytes()))
    reader.start()
    files.write_whole(Path("pipe"), "Φ" * 100_000)
    reader.join()
    assert read == ["Φ".encode() * 100_000]
    assert Path("pipe").is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_devices_are_written_through_and_may_be_named_twice() -> None:
    files.check_output_files(output=Path("/dev/null"), table=Path("/dev/null"))
    files.write_whole(Path("/dev/null"), "gone")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        files.write_whole(Path("/dev/full"), "too much")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_by_name_goes_where_it_was_sent_and_after_what_was_printed(name: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    script = (
        "import sys, pathlib; from elutheory.output import files; print('before'); path = pathlib.Path(sys.argv[1]); "
        "files.check_output(path); files.write_whole(path, 'report\\n'); print('after')"
    )
    with Path("sent").open("w") as sent:
        subprocess.run([sys.executable, "-c", script, name], stdout=sent, check=True)
    assert Path("sent").read_text() == "before\nreport\nafter\n"


def test_links_are_followed_to_the_file_they_lead_to(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    Path("to the file").symlink_to("again")
    Path("again").symlink_to(folder / "file")
    for content in ("new", "newer"):  # the first makes the file
        files.check_output(Path("to the file"))
        files.write_whole(Path("to the file"), content)
        assert (folder / "file").read_text() == content
        assert Path("to the file").is_symlink()
        assert Path("again").is_symlink()
    with pytest.raises(InputError, match="must be different files"):
        files.check_output_files(output=Path("to the file"), table=folder / "file")


def test_a_folder_to_be_made_is_tried_and_left_unmade(tmp_path: Path) -> None:
    files.check_output_folder(Path("a/b/c"))
    files.check_output_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []
    Path("file").write_text("kept")
    for name in ("file/a", "/proc/a/b", "a" * 256, "a/" + "b" * 256, "a\0b"):
        with pytest.raises(
            InputError, match=r"^the folder .* cannot be written to \(.*\); name another|is no name of a folder"
        ):
            files.check_output_folder(Path(name))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_names_that_are_no_text_reach_the_file_as_they_are() -> None:
    files.write_whole(Path("report"), "of \udcff.npz")
    assert Path("report").read_bytes() == b"of \xff.npz"


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
