"""A training's state on disk: one safetensors file, replaced whole, with a checksum and the training it belongs to."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from elutheory.errors import DamagedFileError, InputError
from elutheory.output.files import write_whole

_TENSOR, _PAIRS, _TUPLE = "tensor", "pairs", "tuple"


def save(path: Path, training: Mapping[str, Any], state: Any) -> None:
    """Write `state`: tensors, numbers, strings and None in dictionaries, lists and tuples, every bit of them kept.

    `training`: what the state belongs to, by name, in values that JSON can hold.
    """
    tensors: dict[str, Tensor] = {}
    metadata = {"training": json.dumps(training), "state": json.dumps(_pack(state, tensors))}
    metadata["sha256"] = _checksum(tensors, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, safetensors_bytes(tensors, metadata))


def load(path: Path, training: Mapping[str, Any]) -> Any:
    """The state saved there, tensors on the CPU; None if there is no file.

    Raises InputError, and leaves the file as it is, if it is no checkpoint, damaged (a DamagedFileError), or of another
    training.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            # Clones, for a matrix product's bits depend on how its operands are aligned in memory.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        said = f"{path} is no checkpoint or a damaged one ({error}); delete it or name another."
        raise DamagedFileError(said) from None
    stated = metadata.pop("sha256", None)
    if set(metadata) != {"training", "state"}:
        raise InputError(f"{path} is no checkpoint of a training; delete it or name another.")
    if stated != _checksum(tensors, metadata):
        raise DamagedFileError(f"{path} is damaged: its checksum differs; delete it or name another.")
    theirs, ours = json.loads(metadata["training"]), json.loads(json.dumps(training))
    for name in sorted({*theirs, *ours}):
        if theirs.get(name) != ours.get(name):
            raise InputError(
                f"{path} is the checkpoint of another training ({name}: {_short(theirs.get(name))} there, "
                f"{_short(ours.get(name))} here); delete it or name another."
            )
    return _unpack(json.loads(metadata["state"]), tensors)


def bytes_of(tensor: Tensor) -> memoryview:
    """The numbers as they lie in memory, row by row."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps([metadata["training"], metadata["state"]]).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(bytes_of(tensor))
    return digest.hexdigest()


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The value for JSON, its tensors put into `tensors` and named in their place."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        return {_PAIRS: [[key, _pack(held, tensors)] for key, held in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_pack(held, tensors) for held in value]}
    if isinstance(value, list):
        return [_pack(held, tensors) for held in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(f"a checkpoint cannot hold a {type(value).__name__}; tensors, numbers and strings are needed.")


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(held, tensors) for held in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == _TENSOR:
        return tensors[held]
    if kind == _TUPLE:
        return tuple(_unpack(part, tensors) for part in held)
    return {key: _unpack(part, tensors) for key, part in held}
