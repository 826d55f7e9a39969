"""What the functions of signal propagation accept: finite real numbers, counts, one value a layer."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy

from elutheory.errors import InputError


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
    """True or False for every layer, or one for each; raises InputError."""
    if isinstance(value, bool):
        return (value,) * depth
    flags = _per_layer(name, value, depth, "True, False")
    if not all(isinstance(flag, bool) for flag in flags):
        raise InputError(f"{name} must be True, False or a sequence of them, one a layer.")
    return flags


def width_per_layer(value: Any, depth: int) -> tuple[int, ...]:
    """One width for every layer, or one for each; raises InputError."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(count("width", width) for width in _per_layer("width", value, depth, "an integer"))
    return (count("width", value),) * depth


def _per_layer(name: str, value: Any, depth: int, single: str) -> tuple[Any, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InputError(f"{name} must be {single} or a sequence with one a layer, not {value!r}.")
    if len(value) != depth:
        raise InputError(f"{name} has {len(value)} entries for {depth} layers.")
    return tuple(value)


def numpy_arguments(mean: Any, std: Any) -> tuple[Any, Any]:
    refuse_wrong_type("mean", mean)
    refuse_wrong_type("std", std)
    dtype = numpy.result_type(*(value if _is_python_number(value) else numpy.asarray(value) for value in (mean, std)))
    if dtype.kind in "iu":
        dtype = numpy.dtype(numpy.float64)
    if dtype not in (numpy.float32, numpy.float64):
        raise InputError(f"mean and std must be float32, float64 or integers, not {dtype}.")
    try:
        mean, std = numpy.asarray(mean, dtype=dtype), numpy.asarray(std, dtype=dtype)
    except OverflowError as error:
        raise InputError("mean and std must be within the range of float64.") from error
    try:
        mean, std = numpy.broadcast_arrays(mean, std)
    except ValueError as error:
        raise InputError(f"mean of shape {mean.shape} and std of shape {std.shape} do not broadcast.") from error
    return mean, std


def _is_python_number(value: Any) -> bool:
    return type(value) in (int, float)


def refuse_wrong_type(name: str, value: Any) -> None:
    """Raises InputError unless `value` is a real number or a numpy array of such."""
    if isinstance(value, numpy.ndarray | numpy.generic):
        if value.dtype.kind not in "iuf":
            raise InputError(f"{name} must be real numbers, not of dtype {value.dtype}.")
    elif isinstance(value, list | tuple):
        raise InputError(f"{name} must be a number, a numpy array or a torch tensor, not a {type(value).__name__}.")
    elif not isinstance(value, Real) or isinstance(value, bool):
        raise InputError(f"{name} must be real numbers, not {type(value).__name__}.")


def torch_arguments(mean: Any, std: Any) -> tuple[Any, Any]:
    import torch

    tensors = [value for value in (mean, std) if isinstance(value, torch.Tensor)]
    for name, value in (("mean", mean), ("std", std)):
        if isinstance(value, torch.Tensor):
            if value.dtype == torch.bool or value.is_complex():
                raise InputError(f"{name} must be real numbers, not of dtype {value.dtype}.")
        elif not isinstance(value, Real) or isinstance(value, bool) or hasattr(value, "dtype"):
            raise InputError(
                f"with a torch tensor, {name} must be a tensor or a Python number, not {type(value).__name__}."
            )
    if len({tensor.device for tensor in tensors if tensor.ndim}) > 1:
        raise InputError(f"mean and std must be on one device, not on {mean.device} and {std.device}.")
    dtype = torch.result_type(mean, std)
    if not dtype.is_floating_point:
        dtype = torch.get_default_dtype()
    if dtype not in (torch.float32, torch.float64):
        raise InputError(f"mean and std must be float32, float64 or integers, not {dtype}.")
    device = max(tensors, key=lambda tensor: tensor.ndim).device
    mean, std = (
        value.to(device=device, dtype=dtype)
        if isinstance(value, torch.Tensor)
        else torch.tensor(float(value), dtype=dtype, device=device)
        for value in (mean, std)
    )
    try:
        return tuple(torch.broadcast_tensors(mean, std))
    except RuntimeError as error:
        shapes = f"mean of shape {tuple(mean.shape)} and std of shape {tuple(std.shape)}"
        raise InputError(f"{shapes} do not broadcast.") from error


def check_number(name: str, value: float | int, below: float = math.inf) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (0 <= value < below):
        limit = "zero or larger" if below == math.inf else f"from 0 to below {below:g}"
        raise InputError(f"{name} is {value!r}; a finite number, {limit}, is needed.")


def check_whole(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} is {value!r}; a whole number, 1 or larger, is needed.")


def check_damping(damping: float) -> None:
    """Raise InputError unless `damping` is finite and not negative."""
    if not (math.isfinite(damping) and damping >= 0):
        raise InputError(f"damping is {damping}; a finite number, zero or larger, is needed.")
