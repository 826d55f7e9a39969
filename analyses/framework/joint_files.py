"""Files that change together: after a crash at any moment, all are the old ones or all the new ones.

New files are prepared in a staging folder; one rename makes it a journal, from which they are moved into place. Whoever
finds a journal first completes it.
"""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

_STAGING, _JOURNAL, _LOCK = ".staging", ".publishing", ".lock"


def replace_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the named files into the folder, which is made if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _LOCK):
        _finish(folder)
        staging = folder / _STAGING
        staging.mkdir()
        for name, content in contents.items():
            with (staging / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        _sync(staging)
        os.replace(staging, folder / _JOURNAL)
        _sync(folder)
        _finish(folder)


def complete(folder: Path) -> None:
    """Carry out what an interrupted `replace_together` had decided; a reader calls this first."""
    if (folder / _JOURNAL).exists() or (folder / _STAGING).exists():
        with FileLock(folder / _LOCK):
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
