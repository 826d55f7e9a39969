"""Gauss–Legendre: nodes and weights, panels side by side, the weight phi, antiderivatives; numpy and torch.

Batches of panels have the shape (batch, panels), their nodes (batch, panels, nodes), their ends (batch, panels + 1).
"""

from functools import lru_cache
from typing import Any

import numpy
from jaxtyping import Float
from numpy.polynomial import legendre

from elutheory.numerics.arrays import Array, as_array_like, library
from elutheory.numerics.normal_tails import normal_density

_Matrix = Float[numpy.ndarray, "nodes nodes"]


@lru_cache(maxsize=32)
def gauss_legendre(degree: int) -> tuple[Float[numpy.ndarray, " nodes"], Float[numpy.ndarray, " nodes"]]:
    """`degree` nodes on (−1, 1), increasing, and their weights; float64, to be read only: they are kept."""
    return legendre.leggauss(degree)


@lru_cache(maxsize=32)
def legendre_coefficients(degree: int) -> _Matrix:
    """The matrix from values at the nodes (row vectors from the left: see `antiderivative`) to Legendre coefficients.

    The coefficients of a polynomial of degree < `degree` are Gauss–Legendre integrals, exactly.
    """
    nodes, weights = gauss_legendre(degree)
    return (legendre.legvander(nodes, degree - 1) * weights[:, None]) * (numpy.arange(degree) + 0.5)


@lru_cache(maxsize=32)
def antiderivative(degree: int) -> _Matrix:
    """From values at the nodes to the integrals from −1 to each node: `values @ antiderivative(degree)`."""
    nodes, _ = gauss_legendre(degree)
    primitives = [legendre.legint(row, lbnd=-1) for row in numpy.eye(degree)]
    return legendre_coefficients(degree) @ numpy.stack([legendre.legval(nodes, primitive) for primitive in primitives])


def composite_rule(
    ends: Float[numpy.ndarray, " ends"], degree: int
) -> tuple[Float[numpy.ndarray, " points"], Float[numpy.ndarray, " points"]]:
    """Nodes and weights of the integral over panels between the increasing `ends`, `degree` nodes on each, in order."""
    nodes, weights = gauss_legendre(degree)
    middle, half = 0.5 * (ends[1:] + ends[:-1]), 0.5 * (ends[1:] - ends[:-1])
    return (middle[:, None] + half[:, None] * nodes).reshape(-1), (half[:, None] * weights).reshape(-1)


def increasing(points: list[Float[Array, " batch"]], low: Any, high: Any) -> Float[Array, "batch ends"]:
    """The points in order, cut off at `low` and `high` (numbers, or one per row); nan becomes `high`."""
    xp = library(points[0])
    stacked = xp.stack([xp.where(xp.isnan(point), 0.0 * low + high, point) for point in points], -1)
    stacked = xp.clip(stacked, _column(low), _column(high))
    return xp.sort(stacked, -1) if xp.__name__ == "numpy" else xp.sort(stacked, -1).values


def _column(bound: Any) -> Any:
    return bound if isinstance(bound, float) else bound[:, None]


def nodes_and_weights(
    ends: Float[Array, "batch ends"], degree: int, origin: Float[Array, " batch"] | None = None
) -> tuple[Float[Array, "batch panels nodes"], Float[Array, "batch panels nodes"], Float[Array, "batch panels"]]:
    """Nodes, weights times phi, and the panels' half lengths; nodes and ends are distances from the `origin`."""
    nodes, weights = (as_array_like(numbers, ends) for numbers in gauss_legendre(degree))
    middle, half = 0.5 * (ends[:, 1:] + ends[:, :-1]), 0.5 * (ends[:, 1:] - ends[:, :-1])
    x = middle[:, :, None] + half[:, :, None] * nodes
    at = x if origin is None else x + origin[:, None, None]
    return x, (half[:, :, None] * weights) * normal_density(at), half


def integrals_from(
    origin: Float[Array, "#batch"],
    integrand: Float[Array, "batch panels nodes"],
    half: Float[Array, "#batch panels"],
    ends: Float[Array, "#batch ends"],
) -> Float[Array, "batch panels nodes"]:
    """∫_origin^x at every node x, `origin` being among the panels' ends.

    Sums run outwards from the origin: for an integrand of one sign no two terms cancel on either side of it.
    """
    xp = library(integrand)
    degree = integrand.shape[-1]
    right = ends[:, :-1] >= origin[:, None]
    scaled = integrand * half[:, :, None]
    panels = scaled @ as_array_like(gauss_legendre(degree)[1], integrand)
    none = xp.zeros_like(panels)
    before = _sums_before(xp.where(right, panels, none))
    after = xp.flip(_sums_before(xp.flip(xp.where(right, none, panels), (-1,))), (-1,))
    # left of the origin all is mirrored
    outwards = xp.where(right[:, :, None], scaled, xp.flip(scaled, (-1,))) @ as_array_like(
        antiderivative(degree), integrand
    )
    outwards = outwards + (before + after)[:, :, None]
    return xp.where(right[:, :, None], outwards, -xp.flip(outwards, (-1,)))


def _sums_before(terms: Any) -> Any:
    """For every term along the last axis the sum of those before it."""
    xp = library(terms)
    sums = xp.cumsum(terms, -1)
    return xp.concatenate([xp.zeros_like(sums[:, :1]), sums[:, :-1]], -1)
