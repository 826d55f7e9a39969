"""M3–M7 in floating point: the moments of f(X), X ~ N(mean, std²), for numpy and torch, accurate everywhere.

Closed forms where `elutheory.moments.closed_forms` recognises the activation, else quadrature with an error estimate.
"""

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from elutheory.errors import InputError

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation


@dataclass(frozen=True)
class GaussianMoments:
    """E f, E f², Var f, E f', E f'², E ln f' at X ~ N(mean, std²), of the broadcast shape; and how they were found.

    log_slope_mean = h(f(X)) − h(X) for increasing f (M6). It is −inf where f is constant on a set of positive
    probability (an atom: information is lost), nan where f falls or its slope has no known logarithm.
    """

    mean: Any
    second_moment: Any
    variance: Any
    slope_mean: Any
    slope_second_moment: Any
    log_slope_mean: Any
    method: str


def gaussian_moments(activation: "Activation | str", mean: Any, std: Any) -> GaussianMoments:
    """The moments of f(X), X ~ N(mean, std²): M3, M4, M6, M7 (arXiv 1511.07289).

    `mean` and `std` are numbers, numpy arrays or torch tensors and broadcast; float64 and float32 come out as they go
    in (numpy promotes a mixture), integers as float64 (torch: the default dtype). torch results have first and second
    derivatives by `mean` and `std`, computed from identities; the activation's parameters are not differentiated.
    std = 0 gives f(mean), variance 0 and f'(mean) as `Activation.derivative` has it; mean = ±inf the limits.
    Raises InputError: std negative, infinite or nan; mean nan; not real numbers; shapes that do not broadcast; an
    integral that quadrature cannot find to 1e-8 (float32: 1e-3).
    """
    from elutheory.activations.activation_function import as_activation

    f = as_activation(activation)
    f.refuse_symbolic()
    if is_torch(mean) or is_torch(std):
        from elutheory.moments.torch_gradients import torch_moments

        mean, std = _torch_arguments(mean, std)
        values, error = torch_moments(f, mean, std)
    else:
        from elutheory.moments.moment_evaluation import evaluate, refuse_invalid

        mean, std = _numpy_arguments(mean, std)
        refuse_invalid(mean, std)
        values, error = evaluate(f, mean, std)
        values = tuple(value[()] for value in values)
    if error is None:
        return GaussianMoments(*values, method="closed form")
    return GaussianMoments(*values, method=f"Gauss-Legendre quadrature, estimated relative error {error:.0e}")


def is_torch(value: Any) -> bool:
    """Whether `value` is a torch tensor; torch is not imported for it."""
    import sys

    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _numpy_arguments(mean: Any, std: Any) -> tuple[Any, Any]:
    import numpy

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
    import numpy

    if isinstance(value, numpy.ndarray | numpy.generic):
        if value.dtype.kind not in "iuf":
            raise InputError(f"{name} must be real numbers, not of dtype {value.dtype}.")
    elif isinstance(value, list | tuple):
        raise InputError(f"{name} must be a number, a numpy array or a torch tensor, not a {type(value).__name__}.")
    elif not isinstance(value, Real) or isinstance(value, bool):
        raise InputError(f"{name} must be real numbers, not {type(value).__name__}.")


def _torch_arguments(mean: Any, std: Any) -> tuple[Any, Any]:
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
