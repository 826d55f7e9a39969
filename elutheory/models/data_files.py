"""Data sets from files, read without pickle: .npz and .safetensors with `inputs` and, optionally, `targets`."""

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from elutheory.errors import InputError

SUFFIXES = (".npz", ".safetensors")


def read_data(path: Path) -> tuple[Tensor, Tensor | None]:
    """`inputs` (examples, ...) and `targets`, None if the file has none.

    Raises InputError for a file that is missing, corrupt or of another kind, that lacks `inputs`, or whose arrays are
    not numbers or not of the same length.
    """
    readers = {".npz": _read_npz, ".safetensors": _read_safetensors}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} has no known ending; {' and '.join(SUFFIXES)} files can be read.")
    if not path.is_file():
        raise InputError(f"there is no file {path}; name an {' or a '.join(SUFFIXES)} file.")
    arrays = readers[path.suffix.lower()](path)
    if "inputs" not in arrays:
        found = ", ".join(map(repr, sorted(arrays))) or "none"
        raise InputError(f"{path} has no array 'inputs'; its arrays are {found}.")
    inputs, targets = arrays["inputs"], arrays.get("targets")
    if inputs.ndim == 0 or not len(inputs):
        raise InputError(f"inputs in {path} have shape {tuple(inputs.shape)}; at least one example is needed.")
    if targets is not None and (targets.ndim == 0 or len(targets) != len(inputs)):
        raise InputError(
            f"targets in {path} have shape {tuple(targets.shape)} for {len(inputs)} examples; one an example is needed."
        )
    return inputs, targets


def _read_npz(path: Path) -> dict[str, Tensor]:
    import numpy

    tensors = {}
    if not zipfile.is_zipfile(path):
        raise _unreadable(path, "it is no zip archive, or not a whole one")
    try:
        with path.open("rb") as stream, numpy.load(stream, allow_pickle=False) as file:
            for name in {"inputs", "targets"} & set(file.files):
                array = file[name]
                tensors[name] = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
            others = set(file.files) - tensors.keys()
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise _unreadable(path, _reason(error)) from error
    return tensors if "inputs" in tensors else tensors | {name: torch.empty(0) for name in others}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise _unreadable(path, _reason(error)) from error


def _reason(error: Exception) -> str:
    """The library's first sentence."""
    return " ".join(str(error).split()).split(". ")[0].rstrip(".") or type(error).__name__


def _unreadable(path: Path, reason: str) -> InputError:
    return InputError(f"{path} cannot be read as {path.suffix.lower()} with arrays of numbers: {reason}.")
