"""Finished cells of a sweep on disk: one file per cell, whole or absent, with a checksum and exact numbers."""

import functools
import hashlib
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas

from elutheory.output.files import write_whole

_PACKAGES = ("analyses", "elutheory")
_LIBRARIES = ("numpy", "scipy", "torch")


def run_name(analysis: str, config: Any, device: str) -> str:
    """Of the folder of one run's cells: another for every analysis, config and device."""
    return hashlib.sha256(repr((analysis, config, device)).encode()).hexdigest()[:16]


def file_name(measure_cell: Callable[..., Any], config: Any, cell: Any, device: str) -> str:
    """Another name for anything that could change the cell's table: code, library versions, config, cell, device."""
    measured_by = f"{measure_cell.__module__}.{measure_cell.__qualname__}"
    identity = repr((code_checksum(measure_cell.__module__), measured_by, config, cell, device))
    return f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json"


def save(path: Path, table: pandas.DataFrame) -> pandas.DataFrame:
    """Write the columns (the index is dropped); floats keep every bit. Returns the table as `load` gives it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {str(name): {"type": str(table[name].dtype), "values": table[name].tolist()} for name in table}
    content = json.dumps(columns)
    write_whole(path, f"{_checksum(content)}\n{content}\n")
    return _parse(content)


def load(path: Path) -> pandas.DataFrame | None:
    """The table saved there; None, with a warning line, if the file is corrupt, and silently if there is none."""
    try:
        checksum, content = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except ValueError:
        checksum, content = "", ""
    if checksum != _checksum(content):
        print(f"elutheory: {path} is corrupt; its cell is measured again.", file=sys.stderr)
        return None
    return _parse(content)


def _parse(content: str) -> pandas.DataFrame:
    columns = json.loads(content)
    return pandas.DataFrame({name: pandas.Series(held["values"], dtype=held["type"]) for name, held in columns.items()})


def _checksum(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


@functools.cache
def code_checksum(module: str) -> str:
    """Of library versions, the packages' Python files and the module that measures."""
    files = [Path(sys.modules[module].__file__ or "")]
    for package in _PACKAGES:
        spec = find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            files += sorted(Path(folder).rglob("*.py"))
    digest = hashlib.sha256(repr([(name, version(name)) for name in _LIBRARIES]).encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
