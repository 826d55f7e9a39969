"""Composite Gauss–Legendre with weight phi: panels, nodes, and antiderivatives at the nodes; numpy and torch."""

from functools import lru_cache
from typing import Any

import numpy
from numpy.polynomial import legendre

from elutheory.numerics.arrays import as_array_like, library
from elutheory.numerics.normal_tails import normal_density


@lru_cache(maxsize=16)
def _legendre(degree: int) -> tuple[Any, Any]:
    return numpy.polynomial.legendre.leggauss(degree)


@lru_cache(maxsize=16)
def _antiderivative(degree: int) -> Any:
    """From values at the nodes to the integrals from −1 to each node, through the interpolating polynomial."""
    nodes, weights = _legendre(degree)
    # the Legendre coefficients of a polynomial of degree < `degree` are Gauss–Legendre integrals, exactly
    coefficients = (legendre.legvander(nodes, degree - 1) * weights[:, None]) * (numpy.arange(degree) + 0.5)
    primitives = [legendre.legint(row, lbnd=-1) for row in numpy.eye(degree)]
    return coefficients @ numpy.stack([legendre.legval(nodes, primitive) for primitive in primitives])


def increasing(points: list[Any], low: Any, high: Any) -> Any:
    """Panel ends of shape (n, panels + 1), increasing, cut off at `low` and `high`; nan becomes `high`."""
    xp = library(points[0])
    stacked = xp.stack([xp.where(xp.isnan(point), 0.0 * low + high, point) for point in points], -1)
    stacked = xp.clip(stacked, _column(low), _column(high))
    return xp.sort(stacked, -1) if xp.__name__ == "numpy" else xp.sort(stacked, -1).values


def _column(bound: Any) -> Any:
    return bound if isinstance(bound, float) else bound[:, None]


def nodes_and_weights(edges: Any, degree: int) -> tuple[Any, Any, Any]:
    """Nodes and weights times phi, shape (n, panels, degree), and the panels' half lengths."""
    nodes, weights = (as_array_like(numbers, edges) for numbers in _legendre(degree))
    middle, half = 0.5 * (edges[:, 1:] + edges[:, :-1]), 0.5 * (edges[:, 1:] - edges[:, :-1])
    x = middle[:, :, None] + half[:, :, None] * nodes
    return x, (half[:, :, None] * weights) * normal_density(x), half


def integrals_from(origin: Any, integrand: Any, half: Any, edges: Any) -> Any:
    """∫_origin^x at every node, `origin` (n,) being among the panels' ends: sums outwards, of one sign for one sign."""
    xp = library(integrand)
    degree = integrand.shape[-1]
    right = edges[:, :-1] >= origin[:, None]
    scaled = integrand * half[:, :, None]
    panels = scaled @ as_array_like(_legendre(degree)[1], integrand)
    none = xp.zeros_like(panels)
    before = _running_sum(xp.where(right, panels, none))
    after = xp.flip(_running_sum(xp.flip(xp.where(right, none, panels), (-1,))), (-1,))
    # left of the origin all is mirrored
    outwards = xp.where(right[:, :, None], scaled, xp.flip(scaled, (-1,))) @ as_array_like(
        _antiderivative(degree), integrand
    )
    outwards = outwards + (before + after)[:, :, None]
    return xp.where(right[:, :, None], outwards, -xp.flip(outwards, (-1,)))


def _running_sum(terms: Any) -> Any:
    """Of the terms before each."""
    xp = library(terms)
    sums = xp.cumsum(terms, -1)
    return xp.concatenate([xp.zeros_like(sums[:, :1]), sums[:, :-1]], -1)
