"""What the functions of signal propagation accept: finite real numbers, counts, one value a layer."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

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
