"""What the package takes from its callers: single numbers, one value per layer, arrays and tensors of real numbers.

Whatever is wrong raises InputError with a sentence that names the argument and says what it was.
"""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy
from jaxtyping import Float, Shaped

from elutheory.errors import InputError
from elutheory.numerics.arrays import Array, is_torch, namespace, torch_namespace

_FLOAT64 = numpy.dtype(numpy.float64)

# --- single numbers, and one per layer ------------------------------------------------------------------------------


def real_number(name: str, value: Any, *, positive: bool = False) -> float:
    """A finite number >= 0 (> 0 if `positive`) as a float; raises InputError."""
    allowed = "a finite number > 0" if positive else "a finite number >= 0"
    number = finite_number(name, value, allowed)
    if number < 0 or (positive and number == 0):
        raise InputError(f"{name} must be {allowed}, not {value!r}.")
    return number


def finite_number(name: str, value: Any, allowed: str = "a finite number") -> float:
    """A finite number as a float; raises InputError."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise InputError(f"{name} must be {allowed}, not {value!r}.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{name} must be {allowed}, not {value!r}.")
    return number


def count(name: str, value: Any) -> int:
    """An integer >= 1; raises InputError."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} must be an integer >= 1, not {value!r}.")
    return int(value)


def flag_per_layer(name: str, value: Any, depth: int) -> tuple[bool, ...]:
    """The flags of `depth` layers, from one for all of them or a sequence with one per layer; raises InputError."""
    if isinstance(value, bool):
        return (value,) * depth
    flags = _per_layer(name, value, depth, "True, False")
    if not all(isinstance(flag, bool) for flag in flags):
        raise InputError(f"{name} must be True, False or a sequence of them, one a layer.")
    return flags


def number_per_layer(name: str, value: Any, depth: int, *, positive: bool = False) -> tuple[float, ...]:
    """Numbers >= 0 (> 0 if `positive`) of `depth` layers, from one or one per layer; raises InputError."""
    if isinstance(value, numpy.ndarray) and value.ndim == 1:
        value = value.tolist()
    if not isinstance(value, Sequence) or isinstance(value, str):
        return (real_number(name, value, positive=positive),) * depth
    numbers = _per_layer(name, value, depth, "a number")
    return tuple(real_number(name, number, positive=positive) for number in numbers)


def gate_per_layer(name: str, value: Any, depth: int) -> tuple[float, ...]:
    """As `number_per_layer`, where True is 1 and False 0."""
    whole = isinstance(value, Sequence) and not isinstance(value, str)
    given = [float(one) if isinstance(one, bool) else one for one in (value if whole else [value])]
    return number_per_layer(name, given if whole else given[0], depth)


def width_per_layer(value: Any, depth: int) -> tuple[int, ...]:
    """The widths of `depth` layers, from one for all of them or a sequence with one per layer; raises InputError."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(count("width", width) for width in _per_layer("width", value, depth, "an integer"))
    return (count("width", value),) * depth


def _per_layer(name: str, value: Any, depth: int, single: str) -> tuple[Any, ...]:
    """A sequence of `depth` values; `single` says in the refusal what one value for all layers may be."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InputError(f"{name} must be {single} or a sequence with one a layer, not {value!r}.")
    if len(value) != depth:
        raise InputError(f"{name} has {len(value)} entries for {depth} layers.")
    return tuple(value)


def check_number(name: str, value: Any, below: float = math.inf) -> None:
    """Raises InputError unless `value` is a finite int or float from 0 to below `below`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (0 <= value < below):
        limit = "zero or larger" if below == math.inf else f"from 0 to below {below:g}"
        raise InputError(f"{name} is {value!r}; a finite number, {limit}, is needed.")


def check_whole(name: str, value: Any) -> None:
    """Raises InputError unless `value` is an int >= 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} is {value!r}; a whole number, 1 or larger, is needed.")


def check_damping(damping: Any) -> None:
    """Raises InputError unless `damping` is a finite number >= 0."""
    check_number("damping", float(damping))


# --- arrays of numbers ----------------------------------------------------------------------------------------------


def real_arrays(
    names: tuple[str, ...], values: tuple[Any, ...], *, in_float64: bool = False
) -> tuple[tuple[Shaped[Array, "*shape"], ...], Any]:
    """Numbers, numpy arrays or torch tensors as arrays of one shape and library, and the dtype of results.

    If one of the `values` is a tensor, all become tensors, on the device of the tensors with dimensions. The dtype of
    results is the one that the library would give to their sum: float64 and float32 stay, integers become float64 in
    numpy and the default dtype in torch. The arrays are of that dtype, or of float64 with `in_float64`.
    Raises InputError: no real numbers; another dtype; several devices; shapes that do not broadcast.
    """
    convert = _tensors if any(is_torch(value) for value in values) else _numpy_arrays
    return convert(names, values, in_float64)


def real_array(name: str, value: Any) -> tuple[Float[Array, "*shape"], Any, float]:
    """A numpy array or torch tensor in float64, the dtype of results, and the rounding unit of the numbers as given.

    No Python numbers or lists. The dtype of results is as in `real_arrays`; integers are rounded as float64 are.
    Raises InputError: anything else, or another dtype.
    """
    if not is_torch(value) and not (isinstance(value, numpy.ndarray) and value.dtype.kind in "iuf"):
        kind = f"an array of {value.dtype}" if isinstance(value, numpy.ndarray) else type(value).__name__
        raise InputError(f"{name} must be a numpy array or torch tensor of real numbers, not {kind}.")
    xp = namespace(value)
    dtype = _dtype_of_results(xp, value.dtype, name)
    given = dtype if xp.isdtype(value.dtype, "real floating") else xp.float64
    return xp.astype(value, xp.float64, copy=False), dtype, float(xp.finfo(given).eps)


def _dtype_of_results(xp: Any, dtype: Any, what: str) -> Any:
    """float32 and float64 as they are, integers as the library's default; raises InputError for every other."""
    if dtype in (xp.float32, xp.float64):
        return dtype
    if not xp.isdtype(dtype, "integral"):
        raise InputError(f"{what} must be float32, float64 or integers, not {dtype}.")
    default = xp.__array_namespace_info__().default_dtypes()["real floating"]
    return _dtype_of_results(xp, default, what)


def _numpy_arrays(names: tuple[str, ...], values: tuple[Any, ...], in_float64: bool) -> tuple[tuple[Any, ...], Any]:
    if all(type(value) is float for value in values):
        return tuple(numpy.array(value) for value in values), _FLOAT64
    for name, value in zip(names, values, strict=True):
        _refuse_wrong_type(name, value)
    # A Python number has no dtype of its own: beside a float32 array it is float32.
    typed = (value if type(value) in (int, float) else numpy.asarray(value) for value in values)
    dtype = _dtype_of_results(numpy, numpy.result_type(*typed), _listed(names))
    try:
        arrays = [numpy.asarray(value, dtype=numpy.float64 if in_float64 else dtype) for value in values]
    except OverflowError as error:
        raise InputError(f"{_listed(names)} must be within the range of float64.") from error
    if all(array.shape == arrays[0].shape for array in arrays):
        return tuple(arrays), dtype
    try:
        return tuple(numpy.broadcast_arrays(*arrays)), dtype
    except ValueError as error:
        raise InputError(f"{_shapes(names, arrays)} do not broadcast.") from error


def _refuse_wrong_type(name: str, value: Any) -> None:
    """Raises InputError unless `value` is a real number or a numpy array of such."""
    if isinstance(value, numpy.ndarray | numpy.generic):
        if value.dtype.kind not in "iuf":
            raise InputError(f"{name} must be real numbers, not of dtype {value.dtype}.")
    elif isinstance(value, list | tuple):
        raise InputError(f"{name} must be a number, a numpy array or a torch tensor, not a {type(value).__name__}.")
    elif not isinstance(value, Real) or isinstance(value, bool):
        raise InputError(f"{name} must be real numbers, not {type(value).__name__}.")


def _tensors(names: tuple[str, ...], values: tuple[Any, ...], in_float64: bool) -> tuple[tuple[Any, ...], Any]:
    import torch  # noqa: PLC0415 (numpy users must not pay for torch)

    for name, value in zip(names, values, strict=True):
        if isinstance(value, torch.Tensor):
            if value.dtype == torch.bool or value.is_complex():
                raise InputError(f"{name} must be real numbers, not of dtype {value.dtype}.")
        elif not isinstance(value, Real) or isinstance(value, bool) or hasattr(value, "dtype"):
            raise InputError(
                f"with a torch tensor, {name} must be a tensor or a Python number, not {type(value).__name__}."
            )
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    device = max(tensors, key=lambda tensor: tensor.ndim).device
    if len({tensor.device for tensor in tensors if tensor.ndim}) > 1:
        places = sorted({str(tensor.device) for tensor in tensors})
        raise InputError(f"{_listed(names)} must be on one device, not on {_listed(places)}.")
    dtype = _dtype_of_results(torch_namespace(), _promoted(values), _listed(names))
    computed = torch.float64 if in_float64 else dtype
    arrays = [
        value.to(device=device, dtype=computed)
        if isinstance(value, torch.Tensor)
        else torch.tensor(float(value), dtype=computed, device=device)
        for value in values
    ]
    try:
        return tuple(torch.broadcast_tensors(*arrays)), dtype
    except RuntimeError as error:
        raise InputError(f"{_shapes(names, arrays)} do not broadcast.") from error


def _promoted(values: tuple[Any, ...]) -> Any:
    """The dtype of the values' sum in torch: tensors with dimensions decide, then those without, then numbers."""
    import torch  # noqa: PLC0415 (numpy users must not pay for torch)

    ranked = sorted(values, key=lambda value: value.ndim == 0 if isinstance(value, torch.Tensor) else 2)
    found = ranked[0]
    for value in ranked[1:]:
        found = torch.empty((1,) * min(found.ndim, 1), dtype=torch.result_type(found, value))
    return found.dtype


def _listed(words: Sequence[str]) -> str:
    """The words as a sentence has them: mean and std; u, v and w."""
    return " and ".join([part for part in (", ".join(words[:-1]), words[-1]) if part])


def _shapes(names: tuple[str, ...], arrays: list[Any]) -> str:
    return _listed([f"{name} of shape {tuple(array.shape)}" for name, array in zip(names, arrays, strict=True)])
