"""Files are checked before any work, and written whole or not at all.

What is no regular file, such as a FIFO, /dev/null or /dev/stdout, is written through. Symbolic links are followed.
Folders, sockets and block devices are refused.
"""

import contextlib
import os
import stat
import sys
import tempfile
from pathlib import Path

from elutheory.errors import InputError
from elutheory.output.interruption import in_order

FIGURE_ENDINGS = (".svg", ".pdf", ".png")
_TEMPORARY = ".elutheory."
_LONGEST_NAME = 60
"""Characters of a file's name in a folder that is checked, and a few more."""
_OWN_DESCRIPTORS = ("/dev/fd", "/proc/self/fd")


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
    replaced = [target for path in given.values() if (target := _regular(path)) is not None]
    if len({*replaced}) < len(replaced):
        *others, last = (f"--{option}" for option in files)
        raise InputError(f"{', '.join(others)} and {last} must be different files.")


def check_output(path: Path | None) -> None:
    """Refuse, before any work, a file that could not be written; None stands for standard output.

    Raises InputError. A file is made and removed again in the folder, for no permission tells whether that is possible.
    """
    if path is None:
        return
    try:
        target = _regular(path)
        if target is None:
            _check_stream(path)
        else:
            _check_folder(target.parent)
            if target.exists() and not os.access(target, os.W_OK):
                raise InputError(f"{path} is read-only; name another file.")
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); name another file.") from None
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no name of a file ({error}); name another.") from None


def check_output_folder(folder: Path) -> None:
    """Refuse, before any work, a folder that cannot be made or written into; what is made to find out is removed.

    Raises InputError.
    """
    place = folder.absolute()
    try:
        missing = [part for part in (place, *place.parents) if not os.path.lexists(part)]
        try:
            place.mkdir(parents=True, exist_ok=True)
            descriptor, probe = tempfile.mkstemp(dir=place, prefix=_TEMPORARY, suffix="0" * _LONGEST_NAME)
            os.close(descriptor)
            os.unlink(probe)
        finally:
            for part in missing:
                with contextlib.suppress(OSError):  # never made, or used by another process by now
                    part.rmdir()
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be written to ({error.strerror}); name another.") from None
    except ValueError as error:
        raise InputError(f"{str(folder)!r} is no name of a folder ({error}); name another.") from None


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace the file's content in one step: a reader finds the old text or the new one, never part of it.

    Raises OSError, with the path, where that fails, and InputError for a folder and the like; the old file stays.
    """
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    try:
        with in_order():
            target = _regular(path)
            if target is None:
                _write_through(path, data)
            else:
                _replace(target, data)
    except OSError as error:
        if error.errno is None or error.filename == str(path):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _regular(path: Path) -> Path | None:
    """The regular file behind all links, which need not exist yet; None for what is written through.

    Raises InputError for all else.
    """
    if _own_descriptor(path) is not None:
        return None
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return Path(os.path.realpath(path))
    if stat.S_ISREG(mode):
        return Path(os.path.realpath(path))
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return None
    kind = "folder" if stat.S_ISDIR(mode) else "socket" if stat.S_ISSOCK(mode) else "block device"
    raise InputError(f"{path} is a {kind}; name a file to write.")


def _own_descriptor(path: Path) -> int | None:
    """The number of an open file of this process that the path stands for, as /dev/stdout does."""
    folders = {os.path.realpath(folder) for folder in _OWN_DESCRIPTORS}
    place = os.path.abspath(path)
    for _ in range(40):  # as many links as Linux follows
        folder, name = os.path.split(place)
        if name.isdecimal() and os.path.realpath(folder) in folders:
            return int(name)
        if not os.path.islink(place):
            return None
        place = os.path.normpath(os.path.join(os.path.realpath(folder), os.readlink(place)))
    return None


def _check_stream(path: Path) -> None:
    descriptor = _own_descriptor(path)
    if descriptor is not None:
        os.write(descriptor, b"")
    elif not os.access(path, os.W_OK):
        raise InputError(f"{path} cannot be written to; name another file.")


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"the folder {folder} does not exist; create it or name another file.")
    try:
        descriptor, probe = tempfile.mkstemp(dir=folder, prefix=_TEMPORARY)
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be written to ({error.strerror}); name a file elsewhere."
        ) from None
    os.close(descriptor)
    os.unlink(probe)


def _write_through(path: Path, data: bytes) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # what was said before comes before
    descriptor = _own_descriptor(path)
    with open(os.open(path, os.O_WRONLY) if descriptor is None else os.dup(descriptor), "wb") as file:
        file.write(data)


def _replace(target: Path, data: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=_TEMPORARY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        Path(temporary).chmod(mode)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
