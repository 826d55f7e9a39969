"""What describes a Gaussian pair: variances, covariance, means; checked, broadcast, turned into an angle."""

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy

from elutheory.errors import InputError
from elutheory.numerics.arguments import refuse_wrong_type
from elutheory.numerics.arrays import indices, is_torch, library

# |correlation| up to 1 + this many units in the last place is rounding (a Gram matrix is a sum) and taken as ±1.
_ROUNDING = 64.0
_NAMES = ("variance_u", "variance_v", "covariance", "mean_u", "mean_v")


@dataclass(frozen=True)
class PairArguments:
    """float64 arrays of one shape: means, standard deviations, the correlation as cosine and sine of an angle."""

    mean_u: Any
    mean_v: Any
    std_u: Any
    std_v: Any
    cosine: Any
    sine: Any


def broadcast(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    """The five arguments as float64 arrays of one shape, numpy or torch, and the dtype that the result must have."""
    return _torch_arrays(values) if any(is_torch(value) for value in values) else _numpy_arrays(values)


def pair_arguments(arrays: tuple[Any, ...], unit: float) -> PairArguments:
    """One-dimensional, from `broadcast`'s float64 arrays; `unit` is the rounding unit of the numbers as given.

    sine² = (variance_u variance_v − covariance²) / (variance_u variance_v), both products with their rounding errors.
    Raises InputError naming the first pair that is no pair: nan or infinite, negative variance, |correlation| > 1.
    """
    xp = library(arrays[0])
    shape = tuple(arrays[0].shape)
    arguments = tuple(array.reshape(-1) for array in arrays)
    variance_u, variance_v, covariance, mean_u, mean_v = arguments
    for name, value in zip(_NAMES, arguments, strict=True):
        _refuse(~xp.isfinite(value), arguments, shape, f"{name} must be finite")
    for name, value in zip(_NAMES[:2], arguments[:2], strict=True):
        _refuse(value < 0, arguments, shape, f"{name} must be >= 0")
    u, v = _scale(variance_u), _scale(variance_v)
    scaled_u, scaled_v = _times_power(variance_u, -2 * u), _times_power(variance_v, -2 * v)
    scaled = _times_power(_times_power(covariance, -u), -v)
    square, square_error = _product(scaled_u, scaled_v)
    cross, cross_error = _product(scaled, scaled)
    degenerate = square == 0
    excess = (cross - square) + (cross_error - square_error)
    _refuse(
        ~(excess <= 2.0 * _ROUNDING * unit * square) | (degenerate & (covariance != 0)),  # ~: nan where it overflows
        arguments,
        shape,
        "|covariance| must not exceed the square root of variance_u times variance_v",
    )
    safe = xp.where(degenerate, xp.ones_like(square), square)
    sine = (xp.clip(-excess, 0.0, None) / safe) ** 0.5
    sine = xp.where(degenerate, xp.ones_like(sine), sine)
    cosine = xp.clip(scaled / safe**0.5, -1.0, 1.0)
    cosine = xp.where((sine == 0) & ~degenerate, xp.sign(scaled), cosine)
    return PairArguments(mean_u, mean_v, variance_u**0.5, variance_v**0.5, cosine, sine)


def _refuse(wrong: Any, arguments: tuple[Any, ...], shape: tuple[int, ...], what: str) -> None:
    if not wrong.any():
        return

    flat = int(indices(wrong)[0])
    index: list[int] = []
    rest = flat
    for length in reversed(shape):
        rest, place = divmod(rest, length)
        index.insert(0, place)
    where = f"pair {tuple(index) if len(index) != 1 else index[0]}" if index else "the pair"
    numbers = ", ".join(f"{name} = {float(value[flat])!r}" for name, value in zip(_NAMES, arguments, strict=True))
    raise InputError(f"{what}; {where} has {numbers}.")


def _scale(value: Any) -> Any:
    """Half the binary exponent."""
    return library(value).frexp(value)[1] // 2


def _times_power(value: Any, exponent: Any) -> Any:
    return library(value).ldexp(value, exponent)


def _product(a: Any, b: Any) -> tuple[Any, Any]:
    """a b rounded, and its rounding error (Dekker), for |a|, |b| near 1."""
    a_high, b_high = _high(a), _high(b)
    a_low, b_low = a - a_high, b - b_high
    product = a * b
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _high(a: Any) -> Any:
    shifted = 134217729.0 * a
    return shifted - (shifted - a)


def _numpy_arrays(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    for name, value in zip(_NAMES, values, strict=True):
        refuse_wrong_type(name, value)
    kinds = (value if type(value) in (int, float) else numpy.asarray(value) for value in values)
    dtype = numpy.result_type(*kinds)
    if dtype.kind in "iu":
        dtype = numpy.dtype(numpy.float64)
    if dtype not in (numpy.float32, numpy.float64):
        raise InputError(f"variances, covariance and means must be float32, float64 or integers, not {dtype}.")
    try:
        arrays = [numpy.asarray(value, dtype=numpy.float64) for value in values]
    except OverflowError as error:
        raise InputError("variances, covariance and means must be within the range of float64.") from error
    try:
        return tuple(numpy.broadcast_arrays(*arrays)), dtype
    except ValueError as error:
        raise InputError(f"{_shapes(arrays)} do not broadcast.") from error


def _torch_arrays(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    import torch

    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    for name, value in zip(_NAMES, values, strict=True):
        if isinstance(value, torch.Tensor):
            if value.dtype == torch.bool or value.is_complex():
                raise InputError(f"{name} must be real numbers, not of dtype {value.dtype}.")
        elif not isinstance(value, Real) or isinstance(value, bool) or hasattr(value, "dtype"):
            raise InputError(
                f"with a torch tensor, {name} must be a tensor or a Python number, not {type(value).__name__}."
            )
    if len({tensor.device for tensor in tensors if tensor.ndim}) > 1:
        places = ", ".join(sorted({str(tensor.device) for tensor in tensors}))
        raise InputError(f"variances, covariance and means must be on one device, not on {places}.")
    dtype = tensors[0].dtype
    for value in values:
        dtype = torch.result_type(torch.empty((1,), dtype=dtype), value)
    if not dtype.is_floating_point:
        dtype = torch.get_default_dtype()
    if dtype not in (torch.float32, torch.float64):
        raise InputError(f"variances, covariance and means must be float32, float64 or integers, not {dtype}.")
    device = max(tensors, key=lambda tensor: tensor.ndim).device
    arrays = [
        value.to(device=device, dtype=torch.float64)
        if isinstance(value, torch.Tensor)
        else torch.tensor(float(value), dtype=torch.float64, device=device)
        for value in values
    ]
    try:
        return tuple(torch.broadcast_tensors(*arrays)), dtype
    except RuntimeError as error:
        raise InputError(f"{_shapes(arrays)} do not broadcast.") from error


def _shapes(arrays: list[Any]) -> str:
    return ", ".join(f"{name} of shape {tuple(array.shape)}" for name, array in zip(_NAMES, arrays, strict=True))
