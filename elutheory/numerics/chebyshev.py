"""Chebyshev series on [−1, 1]: coefficients from values, where to cut them, and fast evaluation of many arguments.

Source: Trefethen, Approximation Theory and Approximation Practice (2013), chapters 3, 4 and 7 (analytic functions).

A function of one variable as Chebyshev series on pieces, bisected until each resolves it; checked between the nodes.

Analytic functions need one piece; features as narrow as 1e-9 of the interval are found by bisection.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy

from elutheory.numerics.arrays import library

_LARGEST_GROWTH = 16.0  # of the coefficients, in monomials, relative to the function: costs at most one digit


@lru_cache(maxsize=32)
def nodes(count: int) -> Any:
    """The Chebyshev points cos(π k / (count − 1)), from 1 down to −1."""
    points = numpy.cos(numpy.pi * numpy.arange(count) / (count - 1))
    return 0.5 * (points - points[::-1])  # exactly antisymmetric


@lru_cache(maxsize=32)
def transform(count: int) -> Any:
    """The matrix that takes the values at `nodes(count)` to the coefficients of T_0 … T_{count−1}."""
    index = numpy.arange(count)
    weight = numpy.where((index == 0) | (index == count - 1), 0.5, 1.0)
    angle = numpy.pi * (numpy.outer(index, index) % (2 * (count - 1))) / (count - 1)
    return 2.0 / (count - 1) * weight[:, None] * weight * numpy.cos(angle)


def polynomials(t: Any, count: int) -> Any:
    """T_0(t) … T_{count−1}(t) of a one-dimensional numpy array, shape (len(t), count)."""
    return numpy.cos(numpy.arange(count) * numpy.arccos(numpy.clip(t, -1.0, 1.0))[:, None])


def kept(coefficients: Any, allowed: float) -> int:
    """How many leading coefficients to keep (at least one), so that those left out sum to at most `allowed`."""
    tail = numpy.cumsum(numpy.abs(coefficients)[::-1])[::-1]
    return max(int(numpy.count_nonzero(tail > allowed)), 1)


@lru_cache(maxsize=128)
def _monomials(count: int) -> Any:
    """Row j: the monomial coefficients of T_j."""
    table = numpy.eye(count)
    for j in range(2, count):
        table[j] = -table[j - 2]
        table[j, 1:] += 2.0 * table[j - 1, :-1]
    return table


def monomial_coefficients(coefficients: Any) -> Any | None:
    """Monomial coefficients (leading axis: the degree), None where forming and summing them could cost digits."""
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


_COUNTS = (17, 33, 65)
_CUT = 3e-15  # sum of the coefficients left out, relative to the function
_ALLOWED = 5.0  # deviation between the nodes, in units of the rounding
_LEVELS = 30
_LARGEST_COUNT_OF_PIECES = 200
_CHECKS = (-0.99, -0.71, -0.27, 0.0131, 0.33, 0.77, 0.995)


@dataclass(frozen=True, eq=False)
class ChebyshevPieces:
    """`edges` (pieces + 1,) increasing; `coefficients`, one array of Chebyshev coefficients a piece.

    `error`: the largest deviation from the function found at points between the nodes, relative to the function's
    largest value.
    """

    edges: Any
    coefficients: tuple[Any, ...]
    error: float

    @cached_property
    def _summations(self) -> tuple[tuple[Any, list[float]], ...]:
        choices = []
        for series in self.coefficients:
            monomials = monomial_coefficients(series)
            summation, chosen = (clenshaw, series) if monomials is None else (horner, monomials)
            choices.append((summation, chosen[::-1].tolist()))
        return tuple(choices)

    def __call__(self, x: Any) -> Any:
        """The values at x, numpy or torch, of any shape; x beyond the ends belongs to the end pieces."""
        first, last = (0, 0)
        if len(self.coefficients) > 1 and x.shape and 0 not in x.shape:
            first, last = (self._piece_of(float(end)) for end in (x.min(), x.max()))
        if first == last:
            return self._in_piece(first, x)
        values = library(x).empty_like(x)
        for piece in range(first, last + 1):
            inside = x < self.edges[piece + 1] if piece < last else x == x
            if piece > first:
                inside &= x >= self.edges[piece]
            values[inside] = self._in_piece(piece, x[inside])
        return values

    def _piece_of(self, x: float) -> int:
        return int(numpy.clip(numpy.searchsorted(self.edges, x, side="right") - 1, 0, len(self.coefficients) - 1))

    def _in_piece(self, piece: int, x: Any) -> Any:
        lower, upper = float(self.edges[piece]), float(self.edges[piece + 1])
        summation, coefficients = self._summations[piece]
        t = x * (2.0 / (upper - lower))
        t -= (upper + lower) / (upper - lower)
        return summation(t, coefficients)


def interpolate(function: Callable[[Any], Any], lower: float, upper: float, rounding: float = 4e-15) -> ChebyshevPieces:
    """`function` (of one-dimensional float64 arrays) on [lower, upper].

    A piece is resolved when its last three coefficients are below `rounding`, relative to the function's largest value.
    Never fails: where bisection ends before the function is resolved, `error` says how far off it is.
    """
    scale = numpy.finfo(numpy.float64).tiny
    pending = [(lower, upper)]
    done: list[tuple[float, Any, float]] = []
    for level in range(_LEVELS):
        unresolved = pending
        for count in _COUNTS:
            if not unresolved:
                break
            unresolved, found, scale = _attempt(function, unresolved, count, scale, rounding)
            done += found
        if not unresolved:
            break
        last = level == _LEVELS - 1 or len(done) + 2 * len(unresolved) > _LARGEST_COUNT_OF_PIECES
        if last:
            done += _attempt(function, unresolved, _COUNTS[-1], scale, math.inf)[1]
            break
        pending = [
            half for start, end in unresolved for half in ((start, 0.5 * (start + end)), (0.5 * (start + end), end))
        ]
    done.sort(key=lambda piece: piece[0])
    edges = numpy.array([piece[0] for piece in done] + [upper])
    return ChebyshevPieces(edges, tuple(piece[1] for piece in done), max(piece[2] for piece in done) / scale)


def _attempt(
    function: Callable[[Any], Any],
    intervals: list[tuple[float, float]],
    count: int,
    scale: float,
    rounding: float,
) -> tuple[list[tuple[float, float]], list[tuple[float, Any, float]], float]:
    """The intervals that `count` nodes do not resolve, (start, coefficients, deviation) of the others, the scale."""
    ends = numpy.array(intervals)
    centre, half = 0.5 * (ends[:, 1] + ends[:, 0]), 0.5 * (ends[:, 1] - ends[:, 0])
    t = numpy.concatenate([nodes(count), numpy.array(_CHECKS)])
    x = numpy.clip(centre[:, None] + half[:, None] * t, ends[:, :1], ends[:, 1:])
    values = function(x.reshape(-1)).reshape(x.shape)
    scale = max(scale, float(numpy.max(numpy.abs(values))))
    unresolved, found = [], []
    for interval, row in zip(intervals, values, strict=True):
        series = transform(count) @ row[:count]
        deviation = float(numpy.max(numpy.abs(clenshaw(t[count:], series[::-1]) - row[count:])))
        resolved = numpy.max(numpy.abs(series[-3:])) <= rounding * scale and deviation <= _ALLOWED * rounding * scale
        if resolved:
            found.append((interval[0], series[: kept(series, _CUT * scale)], deviation))
        else:
            unresolved.append(interval)
    return unresolved, found, scale
