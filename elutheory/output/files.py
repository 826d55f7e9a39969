"""Files are checked before any work, and written whole or not at all."""

import os
import tempfile
from pathlib import Path

from elutheory.errors import InputError

FIGURE_ENDINGS = (".svg", ".pdf", ".png")


def check_output_files(**files: Path | None) -> None:
    """Refuse, before any work, what a command could not write; the keywords are its options' names.

    Raises InputError for a file that could not be written, a `figure` whose ending names no kind of figure, and one
    file named twice. None stands for an option that is not given.
    """
    given = {option: path for option, path in files.items() if path is not None}
    for path in given.values():
        check_output(path)
    figure = given.get("figure")
    if figure is not None and figure.suffix.lower() not in FIGURE_ENDINGS:
        raise InputError(f"--figure {figure} has no known ending; .svg, .pdf and .png can be drawn.")
    if len({path.absolute() for path in given.values()}) < len(given):
        *others, last = (f"--{option}" for option in files)
        raise InputError(f"{', '.join(others)} and {last} must be different files.")


def check_output(path: Path | None) -> None:
    """Refuse, before any work, a file that could not be written; None stands for standard output."""
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file to write.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"the folder {path.absolute().parent} does not exist; create it or name another file.")
    if not os.access(path.absolute().parent, os.W_OK):
        raise InputError(f"the folder {path.absolute().parent} cannot be written to; name another file.")


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace the file's content in one step: a reader finds the old text or the new one, never part of it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        Path(temporary).chmod(mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
