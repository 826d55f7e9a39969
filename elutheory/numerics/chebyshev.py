"""Chebyshev series on [−1, 1]: coefficients from values, where to cut them, and fast evaluation of many arguments.

Source: Trefethen, Approximation Theory and Approximation Practice (2013), chapters 3, 4 and 7 (analytic functions).
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

_LARGEST_GROWTH = 16.0  # of the coefficients, in monomials, relative to the function: costs at most one digit


@lru_cache(maxsize=32)
def nodes(count: int) -> Any:
    """The Chebyshev points cos(π k / (count − 1)), from 1 down to −1."""
    import numpy

    points = numpy.cos(numpy.pi * numpy.arange(count) / (count - 1))
    return 0.5 * (points - points[::-1])  # exactly antisymmetric


@lru_cache(maxsize=32)
def transform(count: int) -> Any:
    """The matrix that takes the values at `nodes(count)` to the coefficients of T_0 … T_{count−1}."""
    import numpy

    index = numpy.arange(count)
    weight = numpy.where((index == 0) | (index == count - 1), 0.5, 1.0)
    angle = numpy.pi * (numpy.outer(index, index) % (2 * (count - 1))) / (count - 1)
    return 2.0 / (count - 1) * weight[:, None] * weight * numpy.cos(angle)


def polynomials(t: Any, count: int) -> Any:
    """T_0(t) … T_{count−1}(t) of a one-dimensional numpy array, shape (len(t), count)."""
    import numpy

    return numpy.cos(numpy.arange(count) * numpy.arccos(numpy.clip(t, -1.0, 1.0))[:, None])


def kept(coefficients: Any, allowed: float) -> int:
    """How many leading coefficients to keep (at least one), so that those left out sum to at most `allowed`."""
    import numpy

    tail = numpy.cumsum(numpy.abs(coefficients)[::-1])[::-1]
    return max(int(numpy.count_nonzero(tail > allowed)), 1)


@lru_cache(maxsize=128)
def _monomials(count: int) -> Any:
    """Row j: the monomial coefficients of T_j."""
    import numpy

    table = numpy.eye(count)
    for j in range(2, count):
        table[j] = -table[j - 2]
        table[j, 1:] += 2.0 * table[j - 1, :-1]
    return table


def monomial_coefficients(coefficients: Any) -> Any | None:
    """Monomial coefficients (leading axis: the degree), None where forming and summing them could cost digits."""
    import numpy

    table = _monomials(len(coefficients))
    growth = numpy.tensordot(numpy.abs(table).sum(1), numpy.abs(coefficients), 1)
    if numpy.max(growth) > _LARGEST_GROWTH * numpy.max(numpy.abs(coefficients)):
        return None
    return numpy.tensordot(table.T, coefficients, 1)


Summation = Callable[[Any, Iterable[Any]], Any]


def horner(t: Any, descending: Iterable[Any]) -> Any:
    """Σ_k c_k t^k, the highest coefficient first, each a number or an array of t's shape; numpy or torch."""
    total = 0.0 * t
    for coefficient in descending:
        total *= t
        total += coefficient
    return total


def clenshaw(t: Any, descending: Iterable[Any]) -> Any:
    """Σ_k c_k T_k(t); arguments as for `horner`."""
    twice = t + t
    total, previous, before = 0.0 * t, 0.0 * t, 0.0 * t
    for coefficient in descending:
        before, previous = previous, total
        total = twice * previous
        total -= before
        total += coefficient
    total -= t * previous
    return total
