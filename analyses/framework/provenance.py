"""Where a record came from: the command that makes it again, code, library versions and machine."""

import dataclasses
import platform
import shlex
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LIBRARIES = ("elutheory", "numpy", "scipy", "pandas", "sympy", "python-flint", "torch", "matplotlib")
_CHECKOUT = Path(__file__).parents[2]


def regenerating_command(analysis: str, preset: str, preset_config: Any, config: Any, device: str) -> str:
    """`python -m analyses …` with the options in which the configuration differs from its preset."""
    words = ["python", "-m", "analyses", analysis, "--preset", preset, "--device", device]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value == getattr(preset_config, field.name):
            continue
        option = field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", *map(str, value if isinstance(value, tuple) else (value,))]
    return shlex.join(words)


def without_places(config: Any) -> Any:
    """The configuration with `data` that is a path reduced to its name: where it lies concerns this machine alone."""
    data = getattr(config, "data", None)
    if data is None or not Path(data).exists():
        return config
    return dataclasses.replace(config, data=Path(data).resolve().name)


def versions() -> dict[str, str]:
    """Of Python and of the libraries that numbers and figures depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def commit() -> str | None:
    """The commit of the code, "-dirty" if the code differs from it; None outside a git checkout."""
    try:
        changed = _git("status", "--porcelain", "--", "analyses", "elutheory")
        return _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*words: str) -> str:
    command = ["git", "-C", str(_CHECKOUT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
