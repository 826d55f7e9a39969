"""Chebyshev series: coefficients from values, where to cut them, fast sums at many arguments, functions in pieces.

Source: Trefethen, Approximation Theory and Approximation Practice (2013), chapters 3, 4 and 7 (analytic functions).

On [−1, 1] `coefficients` takes the values at `nodes` to the series, `kept` says how much of it matters, `clenshaw` and
`horner` sum it at many arguments. `interpolate` represents a function of one variable by such series on pieces, which
are halved until each is resolved, and checked between the nodes: an analytic function needs one piece, a feature as
narrow as 1e-9 of the interval is found by halving.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy
from jaxtyping import Float
from numpy.polynomial.chebyshev import chebpts2
from scipy.fft import dct

from elutheory.numerics.arrays import Array, library

_LARGEST_GROWTH = 16.0  # of the coefficients, in monomials, relative to the function: costs at most one digit


@lru_cache(maxsize=32)
def nodes(count: int) -> Float[numpy.ndarray, " count"]:
    """The Chebyshev points cos(π k / (count − 1)), from 1 down to −1, exactly antisymmetric."""
    points = chebpts2(count)
    return 0.5 * (points[::-1] - points)


def coefficients(values: Float[numpy.ndarray, "..."], axis: int = 0) -> Float[numpy.ndarray, "..."]:
    """The coefficients of T_0 … T_{count−1} from the values at `nodes(count)`, both along `axis`, count >= 2."""
    last = values.shape[axis] - 1
    found = dct(values, type=1, axis=axis) / last
    leading = numpy.moveaxis(found, axis, 0)
    leading[[0, last]] *= 0.5
    return found


def kept(coefficients: Float[numpy.ndarray, " degrees"], allowed: float) -> int:
    """How many leading coefficients to keep (at least one), so that those left out sum to at most `allowed`."""
    tail = numpy.cumsum(numpy.abs(coefficients)[::-1])[::-1]
    return max(int(numpy.count_nonzero(tail > allowed)), 1)


@lru_cache(maxsize=128)
def _monomials(count: int) -> Float[numpy.ndarray, "count count"]:
    """The monomial coefficients of T_j in row j, by the recursion T_{j+1} = 2 t T_j − T_{j−1}, exactly.

    What numpy's `cheb2poly` finds of every unit vector, in a twentieth of the time (20 terms).
    """
    table = numpy.eye(count)
    for j in range(2, count):
        table[j] = -table[j - 2]
        table[j, 1:] += 2.0 * table[j - 1, :-1]
    return table


def monomial_coefficients(coefficients: Float[numpy.ndarray, "degrees ..."]) -> Any | None:
    """Monomial coefficients of Chebyshev series along the leading axis, None where that could cost digits."""
    table = _monomials(len(coefficients))
    growth = numpy.tensordot(numpy.abs(table).sum(1), numpy.abs(coefficients), 1)
    if numpy.max(growth) > _LARGEST_GROWTH * numpy.max(numpy.abs(coefficients)):
        return None
    return numpy.tensordot(table.T, coefficients, 1)


Summation = Callable[[Any, Iterable[Any]], Any]


def horner(t: Any, descending: Iterable[Any]) -> Any:
    """Σ_k c_k t^k from the coefficients, the highest first, each a number or an array of t's shape; numpy or torch.

    numpy's `polyval` and `chebval` need all coefficients of all arguments at once; here they may come one by one.
    """
    total = 0.0 * t
    for coefficient in descending:
        total *= t
        total += coefficient
    return total


def clenshaw(t: Any, descending: Iterable[Any]) -> Any:
    """Σ_k c_k T_k(t) by Clenshaw's recursion; arguments as for `horner`."""
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
    """A function on the interval between the first and the last of `edges`, by a Chebyshev series per piece.

    `edges` increase; `coefficients` has an array per piece. `error` is the largest deviation from the function that was
    found at points between the nodes, relative to the function's largest value.
    """

    edges: Float[numpy.ndarray, " ends"]
    coefficients: tuple[Float[numpy.ndarray, "..."], ...]
    error: float

    @cached_property
    def _summations(self) -> tuple[tuple["Summation", list[float]], ...]:
        """How each piece is summed, and its coefficients for that, the highest first."""
        choices = []
        for series in self.coefficients:
            monomials = monomial_coefficients(series)
            summation, chosen = (clenshaw, series) if monomials is None else (horner, monomials)
            choices.append((summation, chosen[::-1].tolist()))
        return tuple(choices)

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The values at x; where x is beyond the ends, those of the end pieces' series."""
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
        """The number of the piece that x belongs to."""
        return int(numpy.clip(numpy.searchsorted(self.edges, x, side="right") - 1, 0, len(self.coefficients) - 1))

    def _in_piece(self, piece: int, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The series of one piece, whatever x."""
        lower, upper = float(self.edges[piece]), float(self.edges[piece + 1])
        summation, coefficients = self._summations[piece]
        t = x * (2.0 / (upper - lower))
        t -= (upper + lower) / (upper - lower)
        return summation(t, coefficients)


def interpolate(function: Callable[[Any], Any], lower: float, upper: float, rounding: float = 4e-15) -> ChebyshevPieces:
    """The series of `function`, which takes one-dimensional float64 numpy arrays, on [lower, upper].

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
    """One attempt with `count` nodes per interval: which intervals are not resolved, what was found on the others.

    What was found is a tuple (start, coefficients, deviation) per interval. The third result is the function's largest
    value so far.
    """
    ends = numpy.array(intervals)
    centre, half = 0.5 * (ends[:, 1] + ends[:, 0]), 0.5 * (ends[:, 1] - ends[:, 0])
    t = numpy.concatenate([nodes(count), numpy.array(_CHECKS)])
    x = numpy.clip(centre[:, None] + half[:, None] * t, ends[:, :1], ends[:, 1:])
    values = function(x.reshape(-1)).reshape(x.shape)
    scale = max(scale, float(numpy.max(numpy.abs(values))))
    unresolved, found = [], []
    for interval, row, series in zip(intervals, values, coefficients(values[:, :count], axis=1), strict=True):
        deviation = float(numpy.max(numpy.abs(clenshaw(t[count:], series[::-1]) - row[count:])))
        resolved = numpy.max(numpy.abs(series[-3:])) <= rounding * scale and deviation <= _ALLOWED * rounding * scale
        if resolved:
            found.append((interval[0], series[: kept(series, _CUT * scale)], deviation))
        else:
            unresolved.append(interval)
    return unresolved, found, scale
