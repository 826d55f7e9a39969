"""Numbers, arrays and tensors as the package takes them: library, dtype, shape, and what is refused in which words."""

import re
from typing import Any

import numpy
import pytest
import torch

from elutheory.errors import InputError
from elutheory.numerics.arguments import check_damping, check_number, check_whole, real_array, real_arrays

SINGLE, DOUBLE = torch.float32, torch.float64


def of(*values: Any) -> tuple[tuple[Any, ...], Any]:
    return real_arrays(("first", "second", "third")[: len(values)], values)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((1, 2.5), numpy.float64),
        ((numpy.ones(2, numpy.int8), 3), numpy.float64),
        ((numpy.ones(2, numpy.float32), 2.5), numpy.float32),
        ((numpy.ones(2, numpy.float32), numpy.float64(2.5)), numpy.float64),
        ((torch.ones(2, dtype=torch.uint8), 3), SINGLE),
        ((torch.ones(2), 2.5), SINGLE),
        ((torch.tensor(2.5, dtype=DOUBLE), 1), DOUBLE),
        # A tensor without dimensions does not change the dtype of one with, wherever it stands.
        ((torch.ones(2), torch.tensor(2.5, dtype=DOUBLE)), SINGLE),
        ((torch.tensor(2.5, dtype=DOUBLE), torch.ones(2)), SINGLE),
        ((torch.tensor(2.5, dtype=DOUBLE), 1.0, torch.ones(2)), SINGLE),
        ((torch.ones(2), torch.ones(1, dtype=DOUBLE)), DOUBLE),
        ((torch.ones(2, dtype=torch.int32), torch.tensor(2.5, dtype=DOUBLE)), DOUBLE),
    ],
)
def test_the_dtype_of_results_is_that_of_a_sum(values: tuple[Any, ...], dtype: Any) -> None:
    arrays, found = of(*values)
    assert found == dtype
    assert all(array.dtype == dtype and array.shape == arrays[0].shape for array in arrays)
    arrays, found = real_arrays(("a", "b", "c")[: len(values)], values, in_float64=True)
    assert found == dtype
    assert {str(array.dtype).removeprefix("torch.") for array in arrays} == {"float64"}


def test_arrays_are_broadcast_and_tensors_stay_in_their_graph() -> None:
    (first, second), _ = of(numpy.ones((3, 1)), numpy.arange(2))
    assert first.shape == second.shape == (3, 2)
    assert (second == [[0.0, 1.0]] * 3).all()
    given = torch.ones(2, requires_grad=True)
    (first, second), _ = of(given, 3)
    assert first.requires_grad
    assert (second == 3).all()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (("1", 2), "first must be real numbers, not str."),
        ((True, 2), "first must be real numbers, not bool."),
        (([1.0], 2), "first must be a number, a numpy array or a torch tensor, not a list."),
        ((1, numpy.array([1j])), "second must be real numbers, not of dtype complex128."),
        ((1, torch.ones(2).bool()), "second must be real numbers, not of dtype torch.bool."),
        (
            (torch.ones(2), numpy.ones(2)),
            "with a torch tensor, second must be a tensor or a Python number, not ndarray.",
        ),
        ((torch.ones(2), True), "with a torch tensor, second must be a tensor or a Python number, not bool."),
        ((1, 2, numpy.float16(3)), "first, second and third must be float32, float64 or integers, not float16."),
        ((1, torch.ones(2).half()), "first and second must be float32, float64 or integers, not torch.float16."),
        ((1, 10**400), "first and second must be within the range of float64."),
        ((numpy.ones(2), numpy.ones(3)), "first of shape (2,) and second of shape (3,) do not broadcast."),
        (
            (torch.ones(2), 1, torch.ones(3)),
            "first of shape (2,), second of shape () and third of shape (3,) do not broadcast.",
        ),
        (
            (torch.ones(2), torch.ones(2, device="meta")),
            "first and second must be on one device, not on cpu and meta.",
        ),
    ],
)
def test_what_is_refused(values: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        of(*values)


@pytest.mark.parametrize(
    ("value", "dtype", "unit"),
    [
        (numpy.ones((2, 3), numpy.float32), numpy.float32, 2.0**-23),
        (numpy.ones(2, numpy.int16), numpy.float64, 2.0**-52),
        (torch.ones(2), SINGLE, 2.0**-23),
        (torch.ones(2, dtype=torch.int16), SINGLE, 2.0**-52),
    ],
)
def test_a_single_array(value: Any, dtype: Any, unit: float) -> None:
    array, found, rounding = real_array("gram", value)
    assert (found, rounding) == (dtype, unit)
    assert str(array.dtype).removeprefix("torch.") == "float64"
    assert array.shape == value.shape


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (1.0, "gram must be a numpy array or torch tensor of real numbers, not float."),
        (
            numpy.ones(2, complex),
            "gram must be a numpy array or torch tensor of real numbers, not an array of complex128.",
        ),
        (torch.ones(2, dtype=torch.complex64), "gram must be float32, float64 or integers, not torch.complex64."),
        (torch.ones(2).half(), "gram must be float32, float64 or integers, not torch.float16."),
    ],
)
def test_what_is_refused_of_a_single_array(value: Any, sentence: str) -> None:
    """A complex tensor's imaginary part is not dropped."""
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        real_array("gram", value)


def test_single_numbers_of_options() -> None:
    check_damping(numpy.float32(0.5))
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match=f"^damping is {wrong}; a finite number, zero or larger, is needed\\.$"):
            check_damping(wrong)
    with pytest.raises(InputError, match=r"^decay is 1; a finite number, from 0 to below 1, is needed\.$"):
        check_number("decay", 1, below=1.0)
    for wrong in (0, True, 2.0):
        with pytest.raises(InputError, match=f"^units is {wrong}; a whole number, 1 or larger, is needed\\.$"):
            check_whole("units", wrong)
