"""Arrays computed once and kept on disk, outside of the checkout: whole and unchanged, or computed again.

They lie in the folder that the environment variable ELUTHEORY_CACHE names, or in the user's folder of caches
(XDG_CACHE_HOME, else ~/.cache), in `elutheory`; it may be deleted at any time.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from elutheory.errors import InputError
from elutheory.output.files import check_output_folder

_DESCRIPTION = "description.json"
_CHUNK = 2**22


@dataclass(frozen=True)
class Kept:
    """Arrays by name, read from disk as they are used, and what else is known of them, in values that JSON can hold."""

    arrays: Mapping[str, Any]
    description: Mapping[str, Any]


def cache_folder() -> Path:
    """Where arrays are kept; it need not exist."""
    chosen = os.environ.get("ELUTHEORY_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "elutheory"


def kept(name: str, key: Mapping[str, Any], make: Callable[[], Kept]) -> Kept:
    """What `make` computes, from disk if it was computed before with this `name` and `key`.

    Of several processes one computes, the others wait. Raises InputError where the folder cannot be written to.
    """
    folder = _folder(name, key)
    check_output_folder(folder.parent)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        found = _read(folder)
        if found is None:
            _write(folder, make())
            found = _read(folder)
    if found is None:
        raise InputError(f"{folder} does not keep what is written there; name another folder by ELUTHEORY_CACHE.")
    return found


def kept_description(name: str, key: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The description alone, without a look at the arrays; None if nothing is kept."""
    try:
        return json.loads((_folder(name, key) / _DESCRIPTION).read_text(encoding="utf-8"))["description"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def digest_of_files(place: Path) -> str:
    """SHA-256 of names and content of a file, or of all files below a folder but hidden ones."""
    files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
    digest = hashlib.sha256()
    for file in files:
        relative = file.relative_to(place).as_posix()
        if not any(part.startswith(".") for part in Path(relative).parts):
            digest.update(json.dumps([relative, _checksum(file)]).encode())
    return digest.hexdigest()


def _folder(name: str, key: Mapping[str, Any]) -> Path:
    text = json.dumps(key, sort_keys=True)
    return cache_folder() / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _read(folder: Path) -> Kept | None:
    """None, with a line on standard error, if something is there that is not whole."""
    if not folder.exists():
        return None
    try:
        held = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        for name, checksum in held["sha256"].items():
            if _checksum(folder / f"{name}.npy") != checksum:
                raise ValueError(name)
        # Copied on writing: torch takes no arrays that are read-only.
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in held["sha256"]}
        return Kept(arrays, held["description"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        print(f"elutheory: {folder} is corrupt; it is computed again.", file=sys.stderr)
        return None


def _write(folder: Path, made: Kept) -> None:
    """Into a folder beside, renamed once it is whole; what a crash has left there is removed first."""
    staging = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        for name, array in made.arrays.items():
            with (staging / f"{name}.npy").open("wb") as file:
                np.save(file, np.ascontiguousarray(array), allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        checksums = {name: _checksum(staging / f"{name}.npy") for name in made.arrays}
        described = {"description": dict(made.description), "sha256": checksums}
        (staging / _DESCRIPTION).write_text(json.dumps(described), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _checksum(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
