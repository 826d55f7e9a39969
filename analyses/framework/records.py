"""Records: a tidy table, where it came from and the figure drawn from it, which belong together.

The files of a record change together: after a crash at any moment, all are the old ones or all the new ones. New files
are prepared in a staging folder; one rename makes it a journal, from which they are moved into place. Whoever finds a
journal first completes it.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas
from filelock import FileLock
from matplotlib.figure import Figure

from elutheory.errors import InputError
from elutheory.output.checksums import EMPTY, is_unchanged, with_checksum
from elutheory.output.csv_text import csv_of, without_apostrophes
from elutheory.output.figures import figure_bytes
from elutheory.output.files import check_output_folder
from elutheory.output.interruption import in_order

Draw = Callable[[pandas.DataFrame], Figure]
FILES = ("records.csv", "provenance.json", "figure.svg", "figure.png")
_STAGING, _JOURNAL, _LOCK = ".staging", ".publishing", ".lock"


def save(folder: Path, table: pandas.DataFrame, draw: Draw, provenance: Mapping[str, Any]) -> pandas.DataFrame:
    """Write records.csv (floats to 7 digits), provenance.json, figure.svg and figure.png; returns the table as saved.

    All four are replaced together: a crash leaves the old record or the new one. The figure is drawn from the table as
    saved. Provenance gets the checksums of the others, and its own.
    """
    text = csv_of(table, float_format="%.7g").encode()
    saved = _parse(text)
    described = {**provenance, "records_sha256": hashlib.sha256(text).hexdigest()}
    figures = _figures(draw, saved)
    replace_together(folder, {"records.csv": text, "provenance.json": _vouching(described, figures), **figures})
    return saved


def _vouching(described: Mapping[str, Any], figures: Mapping[str, bytes]) -> bytes:
    """provenance.json with the figures' checksums and its own."""
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in figures.items()}
    described = {**described, "figures_sha256": checksums, "sha256": EMPTY}
    return with_checksum((json.dumps(described, indent=2) + "\n").encode())


def redraw(folder: Path, draw: Draw, *, analysis: str | None = None) -> pandas.DataFrame:
    """Draw figure.svg and figure.png again from the saved table alone, with new checksums of them; returns it."""
    table = load(folder, analysis=analysis)
    with columns_of(folder, table):
        figures = _figures(draw, table)
    replace_together(folder, {"provenance.json": _vouching(provenance_of(folder), figures), **figures})
    return table


def load(folder: Path, *, analysis: str | None = None) -> pandas.DataFrame:
    """The table saved in `folder`, if its provenance vouches for it (and names the `analysis`).

    Raises InputError if there is none, it cannot be read, or provenance.json describes another records.csv.
    """
    _complete(folder)
    text, provenance = _read(folder, "records.csv"), provenance_of(folder)
    if analysis is not None and provenance.get("analysis") != analysis:
        raise InputError(f"{folder} holds records of {provenance.get('analysis')}, not of {analysis}.")
    if hashlib.sha256(text).hexdigest() != provenance.get("records_sha256"):
        raise InputError(f"{folder / 'records.csv'} is not what provenance.json beside it describes; measure again.")
    try:
        return _parse(text)
    except (ValueError, pandas.errors.ParserError) as error:
        raise InputError(f"{folder / 'records.csv'} is no table ({error}); measure again.") from None


def provenance_of(folder: Path) -> dict[str, Any]:
    """What provenance.json in `folder` says.

    Raises InputError if it cannot be read, describes no records, or is not as it was written. Records made before files
    had checksums have neither one for figures nor of provenance.json itself; they get both when they are drawn again.
    """
    path = folder / "provenance.json"
    content = _read(folder, path.name)
    try:
        provenance = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise InputError(f"{path} is no JSON (not in UTF-8); measure again.") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(f"{path} is no JSON ({reason}); measure again.") from None
    if not isinstance(provenance, dict):
        raise InputError(f"{path} does not describe records; measure again.")
    if {"sha256", "figures_sha256"} & provenance.keys() and not is_unchanged(content):
        raise InputError(f"{path} is not as it was written: its checksum differs; measure again.")
    return provenance


def figure_of(folder: Path, name: str = "figure.svg") -> bytes:
    """A figure in `folder`; raises InputError if it cannot be read or is not the one that provenance.json describes."""
    _complete(folder)
    content = _read(folder, name, "draw it again with --redraw")
    stated = provenance_of(folder).get("figures_sha256")
    if stated is not None and stated.get(name) != hashlib.sha256(content).hexdigest():
        raise InputError(f"{folder / name} is not the one that was drawn; draw it again with --redraw.")
    return content


@contextlib.contextmanager
def columns_of(folder: Path, table: pandas.DataFrame) -> Iterator[None]:
    """Inside, a column that the record lacks is told in one sentence: it was measured by earlier code."""
    try:
        yield
    except KeyError as error:
        missing = error.args[0] if error.args else None
        if not isinstance(missing, str) or missing in table.columns:
            raise
        raise InputError(f"{folder} holds a record of older columns ({missing}); measure again.") from error


def check_folder(folder: Path, analysis: str, config: Mapping[str, Any], *, replace: bool) -> None:
    """Refuse, before any work, a folder in which a record measured with this `config` has no place.

    Raises InputError where it cannot be written into, holds the records of another analysis, or, unless `replace`, a
    record measured with other settings.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder.")
    check_output_folder(folder)
    _complete(folder)
    for name in FILES:
        file = folder / name
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise InputError(f"{file} is no regular file; name another folder.")
    if not (folder / "provenance.json").exists():
        return
    provenance = provenance_of(folder)
    held = provenance.get("analysis", analysis)
    if held != analysis:
        raise InputError(f"{folder} holds records of {held}; name another folder for those of {analysis}.")
    theirs, ours = provenance.get("config"), json.loads(json.dumps(config))
    if theirs != ours and not replace:
        raise InputError(
            f"{folder} holds a record measured with other settings{_difference(theirs, ours)}; name another folder by "
            "--output, or replace that record by --replace."
        )


def _difference(theirs: Any, ours: dict[str, Any]) -> str:
    """The first setting that differs, in brackets."""
    if not isinstance(theirs, dict):
        return ""
    for name, value in ours.items():
        if name not in theirs or theirs[name] != value:
            there = f"{theirs[name]} there" if name in theirs else "not known there"
            return f" ({name}: {there}, {value} here)"
    return ""


def _read(folder: Path, name: str, remedy: str = "run the analysis first, without --redraw") -> bytes:
    try:
        if (folder / name).exists() and not (folder / name).is_file():
            raise InputError(f"{folder / name} is no regular file; {remedy}.")
        return (folder / name).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{folder} holds no {name}; {remedy}.") from None
    except OSError as error:
        raise InputError(f"{folder / name} cannot be read ({error.strerror}).") from None


def _parse(text: bytes) -> pandas.DataFrame:
    """Only an empty field is a missing value: "None" and "NA" are words."""
    return without_apostrophes(pandas.read_csv(io.BytesIO(text), keep_default_na=False, na_values=[""]))


def _figures(draw: Draw, table: pandas.DataFrame) -> dict[str, bytes]:
    figure = draw(table)
    return {f"figure.{kind}": figure_bytes(figure, kind) for kind in ("svg", "png")}


def replace_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the named files into the folder, which is made if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    with in_order(), FileLock(folder / _LOCK):
        _finish(folder)
        staging = folder / _STAGING
        try:
            staging.mkdir()
            for name, content in contents.items():
                _write(staging / name, content)
            _sync(staging)
            os.replace(staging, folder / _JOURNAL)
        except (Exception, KeyboardInterrupt):
            shutil.rmtree(staging, ignore_errors=True)
            raise
        _sync(folder)
        _finish(folder)


def _write(path: Path, content: bytes) -> None:
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _complete(folder: Path) -> None:
    """Carry out what an interrupted `replace_together` had decided; a reader calls this first."""
    if (folder / _JOURNAL).exists() or (folder / _STAGING).exists():
        with in_order(), FileLock(folder / _LOCK):
            _finish(folder)


def _finish(folder: Path) -> None:
    journal, staging = folder / _JOURNAL, folder / _STAGING
    if journal.exists():
        for file in sorted(journal.iterdir()):
            os.replace(file, folder / file.name)
        _sync(folder)
        journal.rmdir()
    if staging.exists():
        shutil.rmtree(staging)


def _sync(folder: Path) -> None:
    with contextlib.suppress(PermissionError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
