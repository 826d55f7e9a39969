"""Records: a tidy table, the figure drawn from it, and where they came from, written file by file, each whole."""

import dataclasses
import json
import platform
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas
from matplotlib.figure import Figure

from analyses.style import figure_bytes
from elutheory.command_line import write_whole
from elutheory.errors import InputError

_LIBRARIES = ("elutheory", "numpy", "scipy", "sympy", "python-flint", "torch", "matplotlib")


def save(folder: Path, table: pandas.DataFrame, config: Any, seconds: float) -> None:
    """Write records.csv and provenance.json; `config` is a frozen dataclass."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "records.csv", table.to_csv(index=False, lineterminator="\n", float_format="%.7g"))
    provenance = {
        "config": dataclasses.asdict(config),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        "machine": platform.machine(),
        "device": "cpu",
        "commit": _commit(),
        "seconds": round(seconds, 1),
    }
    write_whole(folder / "provenance.json", json.dumps(provenance, indent=2) + "\n")


def load(folder: Path) -> pandas.DataFrame:
    """The table saved in `folder`. Raises InputError if there is none or it cannot be read."""
    try:
        return pandas.read_csv(folder / "records.csv")
    except FileNotFoundError:
        raise InputError(f"{folder} holds no records.csv; run the analysis first, without --redraw.") from None
    except (pandas.errors.ParserError, pandas.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{folder / 'records.csv'} is no table ({error}); measure again.") from None


def save_figure(folder: Path, draw: Callable[[pandas.DataFrame], Figure], table: pandas.DataFrame) -> None:
    """Draw figure.svg and figure.png from the table alone."""
    figure = draw(table)
    for kind in ("svg", "png"):
        write_whole(folder / f"figure.{kind}", figure_bytes(figure, kind))


def _commit() -> str | None:
    """The commit of the code that measured, None outside a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
