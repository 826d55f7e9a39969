"""Pair expectations of analytic f on a lattice of the half sum and the half difference, for correlations near ±1.

With c = cos(θ/2), s = sin(θ/2) of the angle θ between U and V, and independent standard normal x, y,

    U = mean_u + std_u (c x + s y),   V = mean_v + std_v (c x − s y),   cos θ = correlation:

E g(U) g(V) is a sum over equal steps in x and in y, the steps in y being the longer the closer the two are. For
analytic g the error falls like e^{−a/step}: the sums over every second node, one direction at a time, have about its
square root. Where Mehler's series (`mehler`) is short it costs less; where U or V spreads over many widths of a feature
of g there are too many nodes (`graded`).
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy

from elutheory.kernels.analytic.scales import largest_steps
from elutheory.numerics.arrays import as_array_like, library, on_host

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

_STEPS = tuple(0.45 * 2.0 ** (-k / 2) for k in range(13))  # of x and of y; twice 0.45 resolves x² φ to 3e-9
_FINER = (0, 1)  # steps by which both are shorter than what features ask for: the second where the first is no number
_REACH = 9.2  # of (x, y): φ is 4e-19 of its peak there; what g makes of it is checked at the rim
_MOST_NODES = 1 << 16
_AT_ONCE = 1 << 18  # numbers an array
_AGREEMENT = 3e-8  # of the sums by all nodes and by every second: its square is the error
_NEGLIGIBLE = 1e-17  # of the mean square, at the ends
_ROUNDING = 2e-15  # what sums of that many rounded numbers were seen to leave, relative to the root mean squares


def lattice_expectation(
    activation: "Activation", quantity: str, m1: Any, m2: Any, s1: Any, s2: Any, cosine: Any, sine: Any
) -> tuple[Any, Any]:
    """value or slope of an analytic f, and its error relative to the root mean squares, inf where there is no number.

    One-dimensional float64 arrays, numpy or torch. Covariances, which are wanted relative to themselves, have none.
    """
    xp = library(m1)
    value, error = xp.zeros_like(m1), xp.zeros_like(m1) + math.inf
    if quantity == "covariance":
        return value, error
    function = activation if quantity == "value" else activation.derivative
    swapped = (s1 < s2) | ((s1 == s2) & (m1 < m2))  # in one order, whatever the caller's: exactly symmetric
    (m1, m2), (s1, s2) = (
        (xp.where(swapped, second, first), xp.where(swapped, first, second)) for first, second in ((m1, m2), (s1, s2))
    )
    half_sum, half_difference = half_angles(cosine, sine)
    steps = [numpy.asarray(largest_steps(activation, on_host(m), on_host(s))) for m, s in ((m1, s1), (m2, s2))]
    step = numpy.minimum(*steps)
    levels = numpy.stack([_levels(step, on_host(part)) for part in (half_sum, half_difference)], -1)
    left = numpy.arange(len(step))
    for finer in _FINER:
        for level in sorted(set(map(tuple, levels[left].tolist()))):
            lattice = _lattice(level[0] + finer, level[1] + finer)
            if lattice is None:
                continue
            own = left[(levels[left] == level).all(-1)]
            size = max(1, _AT_ONCE // len(lattice.x))
            for start in range(0, len(own), size):
                places = own[start : start + size] if xp is numpy else xp.as_tensor(own[start : start + size])
                columns = (column[places][:, None] for column in (m1, m2, s1, s2, half_sum, half_difference))
                value[places], error[places] = _pairs(function, lattice, *columns)
        left = numpy.flatnonzero(~numpy.isfinite(on_host(error)))
    return value, error


def lattice_grid(
    activation: "Activation", order: int, std_u: Any, std_v: Any, cosine: Any, sine: Any
) -> tuple[Any, Any]:
    """E f^(order)(U) f^(order)(V) of centred pairs, all of std_u with all of std_v at every angle, and their errors.

    One-dimensional numpy arrays; results of shape (len(std_u), len(std_v), len(cosine)), errors relative to the root
    mean squares, inf where there is no number. At each angle one lattice, and one product of matrices, for all.
    """
    function = activation.derivative if order else activation
    stds = numpy.concatenate([std_u, std_v])
    step = largest_steps(activation, numpy.zeros_like(stds), stds).min()
    shape = (len(std_u), len(std_v))
    value, error = numpy.zeros((*shape, len(cosine))), numpy.full((*shape, len(cosine)), numpy.inf)
    first = 0
    for place, (half_sum, half_difference) in enumerate(zip(*half_angles(cosine, sine), strict=True)):
        level = [int(_levels(numpy.array([step]), numpy.array([part]))[0]) for part in (half_sum, half_difference)]
        for finer in _FINER[first:]:
            lattice = _lattice(level[0] + finer, level[1] + finer)
            if lattice is not None:
                value[:, :, place], error[:, :, place] = _products(
                    function, lattice, std_u[:, None], std_v[:, None], half_sum, half_difference
                )
                if numpy.isfinite(error[:, :, place]).all():
                    break
                first = len(_FINER) - 1  # at further angles, too
    return value, error


def half_angles(cosine: Any, sine: Any) -> tuple[Any, Any]:
    """cos(θ/2) and sin(θ/2) from cos θ and sin θ >= 0, each to rounding: 1 − |cos θ| may be below it."""
    xp = library(cosine)
    larger = (0.5 * (1.0 + abs(cosine))) ** 0.5
    smaller = 0.5 * sine / larger
    return xp.where(cosine >= 0, larger, smaller), xp.where(cosine >= 0, smaller, larger)


@dataclass(frozen=True, eq=False)
class _Lattice:
    """Nodes (x, y) in one row, step² φ(x) φ(y), those at the rim, and those of every second x and every second y.

    `mirrored`: where (x, −y) is.
    """

    x: Any
    y: Any
    weight: Any
    rim: Any
    halves: tuple[Any, Any]
    mirrored: Any


@lru_cache(maxsize=64)
def _lattice(level_x: int, level_y: int) -> _Lattice | None:
    """None where there would be too many nodes."""
    if max(level_x, level_y) >= len(_STEPS):
        return None
    steps = _STEPS[level_x], _STEPS[level_y]
    counts = [2 * math.ceil(0.5 * _REACH / step) for step in steps]
    if (2 * counts[0] + 1) * (2 * counts[1] + 1) > _MOST_NODES:
        return None
    i, j = numpy.meshgrid(*(numpy.arange(-count, count + 1) for count in counts), indexing="ij")
    radius = numpy.hypot(steps[0] * i, steps[1] * j)
    i, j, radius = (table[radius <= _REACH] for table in (i, j, radius))
    weight = steps[0] * steps[1] / (2.0 * math.pi) * numpy.exp(-0.5 * radius * radius)
    rim = numpy.flatnonzero(radius > _REACH - min(steps))
    halves = numpy.flatnonzero(i % 2 == 0), numpy.flatnonzero(j % 2 == 0)
    mirrored = numpy.lexsort((-j, i))  # they lie in the order of i, and then of j
    return _Lattice(steps[0] * i, steps[1] * j, weight, rim, halves, mirrored)


def _levels(step: Any, share: Any) -> Any:
    """The first of the steps, of a variable that enters U and V with this share, that is short enough."""
    with numpy.errstate(divide="ignore"):
        largest = step / share
    return (numpy.array(_STEPS)[:, None] > largest).sum(0)


def _pairs(
    function: Any, lattice: _Lattice, m1: Any, m2: Any, s1: Any, s2: Any, half_sum: Any, half_difference: Any
) -> tuple[Any, Any]:
    """Of pairs along the first axis."""
    xp = library(m1)
    x, y, weight = (as_array_like(table, m1) for table in (lattice.x, lattice.y, lattice.weight))
    u = function(m1 + s1 * (half_sum * x + half_difference * y))
    v = function(m2 + s2 * (half_sum * x - half_difference * y))
    seen = m1[:, 0] == m1[:, 0]
    root = xp.ones_like(m1[:, 0])
    for side in (u, v):
        squares = side * side
        mean_square = squares @ weight
        seen = seen & (xp.amax(squares[:, lattice.rim] * weight[lattice.rim], -1) <= _NEGLIGIBLE * mean_square)
        root = root * mean_square**0.5
    products = u * v
    fine = products @ weight
    difference = xp.zeros_like(fine)
    for half in lattice.halves:
        difference = xp.maximum(difference, abs(2.0 * (products[:, half] @ weight[half]) - fine))
    return fine, _error(xp, difference, root, seen)


def _products(
    function: Any, lattice: _Lattice, std_u: Any, std_v: Any, half_sum: float, half_difference: float
) -> tuple[Any, Any]:
    """Of centred pairs at one angle, all of one column of standard deviations with all of another."""
    u = function(std_u * (half_sum * lattice.x + half_difference * lattice.y))
    if numpy.array_equal(std_u, std_v):
        v = u[:, lattice.mirrored]
    else:
        v = function(std_v * (half_sum * lattice.x - half_difference * lattice.y))
    mean_squares = [(side * side) @ lattice.weight for side in (u, v)]
    ends = [abs(side * side * lattice.weight)[:, lattice.rim].max(1) for side in (u, v)]
    root = numpy.sqrt(numpy.outer(*mean_squares))
    weighted = u * lattice.weight
    fine = weighted @ v.T
    difference = numpy.zeros_like(fine)
    for half in lattice.halves:
        difference = numpy.maximum(difference, abs(2.0 * (weighted[:, half] @ v[:, half].T) - fine))
    seen = numpy.logical_and.outer(*(end <= _NEGLIGIBLE * mean for end, mean in zip(ends, mean_squares, strict=True)))
    return fine, _error(numpy, difference, root, seen)


def _error(xp: Any, difference: Any, root: Any, seen: Any) -> Any:
    """Relative to the root mean squares, from what every second node changes; inf where that is not small."""
    relative = difference / xp.where(root > 0, root, xp.ones_like(root))
    error = 10.0 * relative * relative + _ROUNDING
    trusted = seen & (relative <= _AGREEMENT) & (root > 0)
    return xp.where(trusted, error, xp.zeros_like(error) + math.inf)
