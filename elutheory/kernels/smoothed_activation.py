"""E f^(n)(m + τZ) of any activation by composite Gauss–Legendre, split at breakpoints; f, f', f'' and jumps."""

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import sympy

from elutheory.activations.evaluation import NumericFunction, constant_value
from elutheory.numerics.normal_tails import library, normal_density
from elutheory.numerics.quadrature import increasing, nodes_and_weights

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

# Panel ends at these distances from 0 and from each breakpoint, in x.
DISTANCES = (1.5, 3.0, 6.0, 12.0, 24.0, 48.0, 96.0)
# In standard deviations: what is tried first; all that double precision holds.
REACHES = ((0.0, 3.0, 6.0, 9.0, 13.5), (0.0, 1.5, 3.0, 4.5, 6.0, 7.5, 9.0, 11.0, 13.5, 16.5, 20.0, 25.0, 31.0, 38.5))
_NODES_AT_ONCE = 1 << 20  # 8 MiB an array


@lru_cache(maxsize=256)
def second_derivative(activation: "Activation") -> NumericFunction:
    """f'' piece by piece."""
    return NumericFunction(activation.pieces, activation.symbol, 2)


@lru_cache(maxsize=256)
def jumps(activation: "Activation", order: int) -> tuple[tuple[float, float], ...]:
    """The breakpoints where f^(order) jumps, and by how much."""
    found = []
    for left, right in pairwise(activation.pieces):
        difference = sympy.diff(right.expression - left.expression, activation.symbol, order)
        jump = sympy.N(difference.subs(activation.symbol, right.lower), 40)
        if abs(jump) > sympy.Float(10) ** -30:
            found.append((constant_value(right.lower), float(jump)))
    return tuple(found)


@lru_cache(maxsize=256)
def features(activation: "Activation") -> tuple[float, ...]:
    """0 and the breakpoints."""
    return tuple(sorted({0.0, *(constant_value(point) for point in activation.breakpoints)}))


def values(activation: "Activation", order: int, x: Any) -> Any:
    """f^(order)(x), order 0 to 2, point masses left out."""
    return (activation, activation.derivative, second_derivative(activation))[order](x)


def panel_ends(activation: "Activation", mean: Any, std: Any, reach: tuple[float, ...]) -> list[Any]:
    """In standard deviations from the mean: 0, the steps of `reach`, breakpoints, distances from these."""
    largest = float(std.max()) if len(std) else 0.0
    longest = max(end - start for start, end in pairwise(reach)) * largest
    points = [0.0 * mean + sign * end for end in reach for sign in ((1.0, -1.0) if end else (1.0,))]
    breakpoints = set(features(activation)) - (set() if 0.0 in map(constant_value, activation.breakpoints) else {0.0})
    for point in features(activation):
        offsets = [distance for distance in DISTANCES if distance < longest]
        for offset in ([0.0] if point in breakpoints else []) + offsets + [-offset for offset in offsets]:
            points.append((point + offset - mean) / std)
    return points


def smoothed(activation: "Activation", order: int, mean: Any, std: Any, degree: int, reach: tuple[float, ...]) -> Any:
    """E f^(order)(mean + std Z), point masses included; one-dimensional, std >= 0."""
    xp = library(mean)
    output = xp.empty_like(mean)
    start, step = 0, 256
    while start < mean.shape[0]:
        chunk = slice(start, start + step)
        m, tau = mean[chunk], std[chunk]
        edges = increasing(panel_ends(activation, m, tau, reach), -reach[-1], reach[-1])
        z, weight, _ = nodes_and_weights(edges, degree)
        integral = (weight * values(activation, order, m[:, None, None] + tau[:, None, None] * z)).sum(-1).sum(-1)
        if order:
            for at, jump in jumps(activation, order - 1):
                integral = integral + jump * (normal_density(xp.clip((m - at) / tau, -1e8, 1e8)) / tau)
        output[chunk] = xp.where(tau == 0, values(activation, order, m), integral)
        start += step
        step = max(1, _NODES_AT_ONCE // (z.shape[1] * degree))
    return output
