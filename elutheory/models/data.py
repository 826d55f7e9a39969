"""Data as batches: a tensor, a pair (inputs, targets), a mapping of tensors, or any iterable of such batches.

Data sets from files, read without pickle: .npz and .safetensors with `inputs` and, optionally, `targets`, or, .parquet
too, with a model's keyword arguments; and scikit-learn's handwritten digits.
"""

import inspect
import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sized
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from elutheory.errors import InputError
from elutheory.numerics.arguments import check_whole
from elutheory.numerics.memory import check_fits, in_words

BATCH_SIZE = 512


def batches_of(
    data: Any, targets: Any = None, batch_size: int = BATCH_SIZE, axis: int = 0
) -> Iterator[tuple[Any, Any]]:
    """Pairs (inputs, targets or None), one per batch.

    `data` is a tensor, a mapping of tensors (a model's keyword arguments) or a tuple (inputs, targets), cut into
    batches of `batch_size`, or an iterable of such, taken as they come (there a list of two counts as a pair, as data
    loaders make it). `axis` counts the examples. Raises InputError for data without a batch and for targets given
    twice or of another length.
    """
    check_whole("batch_size", batch_size)
    if isinstance(data, Tensor | Mapping | tuple):
        inputs, own_targets = _pair(data)
        if own_targets is not None and targets is not None:
            raise InputError("targets are given twice, with the inputs and apart; give them once.")
        yield from _cut(inputs, targets if own_targets is None else own_targets, batch_size, axis)
        return
    if targets is not None:
        raise InputError("targets apart from the inputs need a tensor of inputs; give batches (inputs, targets).")
    if not isinstance(data, Iterable):
        raise InputError(f"the data are a {type(data).__name__}; a tensor, (inputs, targets) or batches are needed.")
    empty = True
    for batch in data:
        empty = False
        yield _pair(batch)
    if empty:
        raise InputError("the data have no batch; at least one is needed.")


def _pair(batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, tuple | list):
        return batch, None
    if len(batch) != 2:
        raise InputError(
            f"a batch has {len(batch)} parts; inputs, or a pair (inputs, targets), are needed, as in "
            "((x, y) for x, y, *_ in loader), or a mapping of the model's keyword arguments."
        )
    return batch[0], batch[1]


def _cut(inputs: Any, targets: Any, batch_size: int, axis: int) -> Iterator[tuple[Any, Any]]:
    if isinstance(inputs, Tensor | Mapping):
        check_inputs(inputs)
    examples = number_of_examples(inputs, axis)
    if not examples:
        yield inputs, targets  # whoever takes the batch says what is wrong with it
        return
    of_targets = axis if isinstance(targets, Tensor) and targets.ndim > axis else 0
    if isinstance(targets, Tensor) and (targets.ndim == 0 or targets.shape[of_targets] != examples):
        raise InputError(
            f"targets have shape {tuple(targets.shape)} for {examples} examples; one per example is needed."
        )
    for start in range(0, examples, batch_size):
        part = slice(start, start + batch_size)
        yield rows_of(inputs, part, axis), rows_of(targets, part, axis)


def check_inputs(inputs: Any) -> None:
    """Raise InputError unless a batch's inputs are a mapping, or a tensor of at least one example."""
    if not isinstance(inputs, Tensor | Mapping):
        raise InputError(
            f"inputs are a {type(inputs).__name__}; a tensor or a mapping of tensors is needed (several arguments "
            "of the model by their names)."
        )
    if isinstance(inputs, Mapping):
        for key, value in inputs.items():
            if isinstance(value, Tensor):
                check_tensor(f"inputs[{key!r}]", value)
        return
    check_tensor("inputs", inputs)
    if inputs.ndim == 0:
        raise InputError(f"inputs have shape {tuple(inputs.shape)}; at least one example is needed.")


def rows_of(values: Any, index: slice | Tensor, axis: int = 0) -> Any:
    """Some examples of a tensor, or of every tensor of a mapping that has them; what has none stays as it is.

    `axis`: that of the examples; tensors of fewer axes have them first. In a mapping, tensors of another length than
    the first are shared by all examples.
    """
    if isinstance(values, Mapping):
        examples = number_of_examples(values, axis)
        return {
            key: rows_of(value, index, axis)
            if isinstance(value, Mapping) or _has_examples(value, examples, axis)
            else value
            for key, value in values.items()
        }
    if not isinstance(values, Tensor):
        return values
    leading = (slice(None),) * (axis if values.ndim > axis else 0)
    return values[(*leading, index.to(values.device) if isinstance(index, Tensor) else index)]


def number_of_examples(inputs: Any, axis: int = 0) -> int:
    """Examples of a tensor, or of the first of a mapping's tensors that has the axis; 0 if there is none.

    Nested tensors have no sizes; who computes with them refuses them in a sentence.
    """
    values = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    tensors = (value for value in values if isinstance(value, Tensor) and not value.is_nested)
    return next((tensor.shape[axis] for tensor in tensors if tensor.ndim > axis), 0)


def number_of_batches(data: Any, batch_size: int = BATCH_SIZE, axis: int = 0) -> int | None:
    """How many batches `batches_of` cuts the data into; None where that is not known beforehand.

    Raises InputError for a batch size that is no whole number.
    """
    check_whole("batch_size", batch_size)
    if isinstance(data, Tensor | Mapping | tuple):
        return -(-number_of_examples(data[0] if isinstance(data, tuple) and data else data, axis) // batch_size)
    return len(data) if isinstance(data, Sized) else None


def shared_tensors(inputs: Any, axis: int = 0) -> list[str]:
    """The keys of a mapping's tensors that all examples share, for their length along `axis` is another one."""
    if not isinstance(inputs, Mapping):
        return []
    examples = number_of_examples(inputs, axis)
    return [
        key for key, value in inputs.items() if isinstance(value, Tensor) and not _has_examples(value, examples, axis)
    ]


def _has_examples(value: Any, examples: int, axis: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and value.shape[axis if value.ndim > axis else 0] == examples


def tensors_of(data: Any, model: nn.Module) -> Any:
    """The data with numpy arrays as tensors, in every batch of them; see `array_as_tensor`."""

    def converted(values: Any) -> Any:
        if isinstance(values, Mapping):
            return {key: converted(value) for key, value in values.items()}
        if type(values) in (tuple, list):
            return type(values)(map(converted, values))
        return array_as_tensor(values, model)

    if isinstance(data, Tensor | Mapping | tuple | numpy.ndarray):
        return converted(data)
    return map(converted, data) if isinstance(data, Iterable) else data


def array_as_tensor(values: Any, model: nn.Module) -> Any:
    """A numpy array as a tensor, one of real numbers in the dtype of the model's parameters; else the values."""
    if not isinstance(values, numpy.ndarray):
        return values
    if values.dtype.kind not in "biuf":
        raise InputError(f"an array holds {values.dtype}; numbers are needed.")
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())
    tensor = torch.from_numpy(numpy.ascontiguousarray(values.astype(values.dtype.newbyteorder("="))))
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def on_device_of(model: nn.Module, values: Any) -> Any:
    """The values, with tensors that are on none of the model's devices on that of its first parameter."""
    devices = [tensor.device for tensors in (model.parameters(), model.buffers()) for tensor in tensors]

    def moved(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: moved(one) for key, one in value.items()}
        return value.to(devices[0]) if isinstance(value, Tensor) and value.device not in devices else value

    return moved(values) if devices else values


def run_on(model: nn.Module, inputs: Any) -> Any:
    """What the model returns for a batch: for a mapping `model(**inputs)`, else `model(inputs)`.

    Raises InputError, in one sentence with what torch or the model says, if it fails.
    """
    try:
        return model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    except InputError:
        raise
    except Exception as error:
        kind, said = type(error).__name__, first_sentence(error)
        raise InputError(f"the model fails on {_described(inputs)}: {kind}{f': {said}' * (said != kind)}.") from error


def first_sentence(error: Exception) -> str:
    """What an error of another library says, in one line without its full stop; its kind where it says nothing."""
    return " ".join(str(error).split()).partition(". ")[0].rstrip(".") or type(error).__name__


def _described(inputs: Any) -> str:
    named = inputs.items() if isinstance(inputs, Mapping) else [("", inputs)]
    tensors = [(key, value) for key, value in named if isinstance(value, Tensor)]
    parts = [f"{key} {tuple(value.shape)} of {value.dtype}".strip() for key, value in tensors]
    return f"inputs {', '.join(parts)}" if parts else "its inputs"


def check_tensor(name: str, tensor: Tensor) -> None:
    """Raise InputError for a tensor that is nothing to cut into examples: empty, sparse, nested, quantised or meta."""
    if tensor.is_nested or tensor.layout != torch.strided:
        kind = "nested" if tensor.is_nested else f"sparse ({tensor.layout})"
        raise InputError(f"{name} are {kind}; a dense tensor is needed.")
    if tensor.is_quantized:
        raise InputError(f"{name} are quantised ({tensor.dtype}); real numbers are needed, as dequantize() gives them.")
    if tensor.is_meta:
        raise InputError(f"{name} are on the meta device, without values; tensors on a real one are needed.")
    if not tensor.numel():
        raise InputError(f"{name} have shape {tuple(tensor.shape)}; at least one example is needed.")


def load_digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's digits: pixels (1797, 64), float64 in [0, 1], and labels (1797,), integers 0 to 9."""
    from sklearn.datasets import load_digits as load  # noqa: PLC0415  it takes a second to load, for these data alone

    images, labels = load(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float64), torch.tensor(labels, dtype=torch.int64)


SUFFIXES = (".npz", ".safetensors")
SUFFIXES_OF_BATCHES = (*SUFFIXES, ".parquet")


def read_batch(path: Path, model: nn.Module) -> tuple[Any, Tensor | None]:
    """What a file gives a model: `inputs`, or a mapping of its arguments; and `targets`, None if the file has none.

    A file (.npz, .safetensors or .parquet) without `inputs` has arrays that are called as arguments of the model's
    forward pass are, such as input_ids, attention_mask and labels; a table's columns of lists are arrays. Raises
    InputError for a file that is missing, corrupt or of another kind, for arrays of other names, of no numbers, or of
    another length than the first.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES_OF_BATCHES:
        raise InputError(f"{path} has no known ending; {', '.join(SUFFIXES)} and .parquet files can be read.")
    if not path.is_file():
        raise InputError(f"there is no file {path}; name an .npz, a .safetensors or a .parquet file.")
    arguments = inspect.signature(model.forward).parameters
    known = [name for name in arguments if arguments[name].kind is not inspect.Parameter.VAR_KEYWORD]
    takes_any = len(known) < len(arguments)
    if suffix == ".npz":
        arrays = _read_npz(path, None)
    else:
        arrays = _read_safetensors(path) if suffix == ".safetensors" else _read_parquet(path)
    targets = arrays.pop("targets", None)
    if "inputs" in arrays:
        inputs: Any = arrays["inputs"]
        mapping = {"inputs": inputs}
    else:
        inputs = mapping = {name: array for name, array in arrays.items() if takes_any or name in known}
        if not mapping or (takes_any and not {*mapping} & {*known}):
            found = ", ".join(map(repr, sorted(arrays))) or "none"
            raise InputError(
                f"{path} has no array 'inputs'; its arrays are {found}. The model's arguments are "
                f"{', '.join(map(repr, known)) or 'none'}."
            )
    length = None
    for name, array in (*mapping.items(), *([("targets", targets)] if targets is not None else [])):
        if array.ndim == 0 or not len(array):
            raise InputError(f"{name} in {path} have shape {tuple(array.shape)}; at least one example is needed.")
        length = len(array) if length is None else length
        if len(array) != length:
            raise InputError(
                f"{name} in {path} have shape {tuple(array.shape)} for {length} examples; one per example is needed."
            )
    return inputs, targets


def _read_parquet(path: Path) -> dict[str, Tensor]:
    if find_spec("pyarrow") is None:
        raise InputError(f"{path} needs pyarrow, which is not installed; pip install 'elutheory[data]' does it.")
    import pandas  # noqa: PLC0415  (half a second, for tables alone)

    try:
        table = pandas.read_parquet(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, _reason(error)) from error
    tensors = {}
    for name, column in table.items():
        try:
            array = numpy.array([_as_list(cell) for cell in column])
        except ValueError:
            raise InputError(
                f"column {str(name)!r} of {path} has lists of different lengths; pad them to one, with a mask beside."
            ) from None
        if array.dtype.kind in "biuf":
            tensors[str(name)] = torch.from_numpy(array)
    return tensors


def _as_list(cell: Any) -> Any:
    return [_as_list(one) for one in cell] if isinstance(cell, numpy.ndarray | list) else cell


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
            f"targets in {path} have shape {tuple(targets.shape)} for {len(inputs)} examples; one per example is "
            "needed."
        )
    return inputs, targets


def _read_npz(path: Path, wanted: frozenset[str] | None = frozenset({"inputs", "targets"})) -> dict[str, Tensor]:
    """The arrays `wanted` (None: all of them); of others the names, without values."""
    tensors = {}
    if not zipfile.is_zipfile(path):
        raise _unreadable(path, "it is no zip archive, or not a whole one")
    try:
        with path.open("rb") as stream, numpy.load(stream, allow_pickle=False) as file:
            for name in sorted(set(file.files) if wanted is None else wanted & set(file.files)):
                _refuse_other_size(path, name)
                array = file[name]
                tensors[name] = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
            others = set(file.files) - tensors.keys()
    except InputError:
        raise
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise _unreadable(path, _reason(error)) from error
    return tensors if "inputs" in tensors else tensors | {name: torch.empty(0) for name in others}


def _refuse_other_size(path: Path, name: str) -> None:
    """Before anything is allocated: an array that has not the bytes its header declares, or that does not fit."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        version = numpy.lib.format.read_magic(member)
        headers = {(1, 0): numpy.lib.format.read_array_header_1_0, (2, 0): numpy.lib.format.read_array_header_2_0}
        shape, _, dtype = headers[version](member)
        declared, held = math.prod(shape) * dtype.itemsize, archive.getinfo(f"{name}.npy").file_size - member.tell()
    if declared != held and not dtype.hasobject:
        raise ValueError(f"{name} declares {in_words(declared)} and holds {in_words(held)}")
    remedy = "use fewer examples or a machine with more memory"
    examples, fits = (shape[0] if shape else 1), "{fitting} examples would fit"
    check_fits(f"the {name} in {path}", 2 * declared, torch.device("cpu"), examples, fits, remedy)  # read, then copied


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise _unreadable(path, _reason(error)) from error


def _reason(error: Exception) -> str:
    """The library's first sentence."""
    return " ".join(str(error).split()).split(". ")[0].rstrip(".") or type(error).__name__


def _unreadable(path: Path, reason: str) -> InputError:
    return InputError(f"{path} cannot be read as {path.suffix.lower()} with arrays of numbers: {reason}.")
