"""numpy or torch: which library, and the few operations that they spell differently."""

import sys
from functools import lru_cache
from typing import Any, TypeAlias

import numpy

Array: TypeAlias = Any
"""A numpy array or a torch tensor, in `Float[Array, " pairs"]`; a name for both would import torch for everyone."""


def library(array: Any) -> Any:
    """numpy or torch, whichever the array belongs to: both know exp, where, sqrt, clip, empty_like, …"""
    if isinstance(array, numpy.ndarray):
        return numpy
    import torch  # noqa: PLC0415 (users of numpy do not pay for it)

    return torch


def namespace(array: Any) -> Any:
    """The array's library as the array API standard spells it: numpy does itself, torch in `array_api_compat`."""
    return numpy if isinstance(array, numpy.ndarray) else torch_namespace()


@lru_cache(maxsize=1)
def torch_namespace() -> Any:
    """torch in the spelling of the array API standard."""
    import array_api_compat.torch  # noqa: PLC0415 (loads torch, which numpy users must not pay for)

    return array_api_compat.torch


def indices(mask: Any) -> Any:
    """Where a one-dimensional mask is true, as integers: gathering by these beats gathering by the mask."""
    return library(mask).nonzero(mask)[0] if library(mask).__name__ == "numpy" else mask.nonzero()[:, 0]


def is_torch(value: Any) -> bool:
    """Whether `value` is a torch tensor; torch is not imported for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def place_like(values: Any, like: Any) -> Any:
    """A numpy array in the library, dtype and place of `like`."""
    return library(like).as_tensor(values, dtype=like.dtype, device=like.device) if is_torch(like) else values


def on_host(values: Any) -> Any:
    """A float64 numpy array, copied from wherever the values are."""
    return numpy.array(values.detach().cpu().numpy() if is_torch(values) else values, dtype=numpy.float64)


def as_array_like(numbers: Any, array: Any) -> Any:
    """A numpy array in the library, dtype and place of `array`."""
    xp = library(array)
    if xp is numpy:
        return numbers.astype(array.dtype, copy=False)
    return xp.as_tensor(numbers, dtype=array.dtype, device=array.device)
