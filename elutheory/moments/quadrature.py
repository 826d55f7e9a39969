"""Gaussian moments of any activation: composite Gauss–Legendre in t = (x − mean)/std, split where f has kinks.

Panels end at the kinks, every 1.5 standard deviations, and at geometric distances in x from 0 and from each kink, so
that a transition of width one is resolved at std = 100 too. Two orders are compared; what they differ by is the
error estimate. The kinks' places in t depend on (mean, std), hence torch differentiates the integral, point masses of
f'' included. Arrays are one-dimensional, numpy or torch.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy

from elutheory.activations.activation_function import Activation
from elutheory.activations.evaluation import NumericFunction
from elutheory.activations.kinks import features, jumps
from elutheory.activations.pieces import Piece
from elutheory.activations.stable_forms import Gaussian, Logistic, NormalDistribution, Softplus, stable
from elutheory.numerics.arrays import library
from elutheory.numerics.quadrature import integrals_from, nodes_and_weights

_ORDERS = (16, 24)
_REACH = {4: 13.5, 8: 38.5}  # phi is subnormal beyond
_PANEL = 1.5
_DISTANCES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


@dataclass(frozen=True)
class Integrals:
    """Like `moments` elsewhere, with the largest estimated error relative to the size of the integrand."""

    moments: tuple[Any, ...]
    error: Any


def integrals(activation: Activation, mean: Any, std: Any) -> Integrals:
    """mean, second moment, variance, slope mean, slope second moment, mean log slope, by two rules; std > 0."""
    edges = _edges(activation, mean, std)
    logarithm = log_slope(activation)
    coarse, fine = (_rule(activation, logarithm, mean, std, edges, order) for order in _ORDERS)
    xp = library(mean)
    error = 0.0 * mean
    root = (abs(fine[1]) + 0.0) ** 0.5
    slope_root = (abs(fine[4]) + 0.0) ** 0.5
    scales = (root, fine[1], fine[2], slope_root, fine[4], 1.0 + abs(fine[5]))
    for low, high, scale in zip(coarse, fine, scales, strict=True):
        # a moment below the smallest normal number has no relative error to speak of; −inf and nan are not estimates
        known = xp.isfinite(high) | ~xp.isfinite(low)
        difference = xp.where(low == high, 0.0 * high, abs(high - low) / (abs(scale) + _smallest(mean)))
        difference = xp.where(known & ~xp.isnan(difference), difference, 0.0 * error)
        error = xp.where(difference > error, difference, error)
    infinite = ~xp.isfinite(fine[1]) | ~xp.isfinite(fine[3])
    error = xp.where(infinite, error + float("inf"), error)
    return Integrals(fine, error)


def _smallest(array: Any) -> float:
    return {4: 1.2e-38, 8: 2.3e-308}[array.dtype.itemsize]


def _edges(activation: Activation, mean: Any, std: Any) -> Any:
    """Panel ends in t, shape (n, panels + 1), increasing."""
    xp = library(mean)
    reach = _REACH[mean.dtype.itemsize]
    panels = int(2 * reach / _PANEL) + 1
    fixed = [0.0 * mean + (reach * (2.0 * i / panels - 1.0)) for i in range(panels + 1)]
    offsets = [0.0, *_DISTANCES, *(-distance for distance in _DISTANCES)]
    points = sorted({centre + offset for centre in features(activation) for offset in offsets})
    fixed.append(0.0 * mean)
    moving = [xp.clip((point - mean) / std, -reach, reach) for point in points]
    return xp.sort(xp.stack([*fixed, *moving], -1), -1) if xp.__name__ == "numpy" else _torch_sorted(xp, fixed, moving)


def _torch_sorted(xp: Any, fixed: list[Any], moving: list[Any]) -> Any:
    return xp.sort(xp.stack([*fixed, *moving], -1), -1).values


def _rule(activation: Activation, logarithm: Any, mean: Any, std: Any, edges: Any, order: int) -> tuple[Any, ...]:
    xp = library(mean)
    t, weight, half = nodes_and_weights(edges, order)
    x = mean[:, None, None] + std[:, None, None] * t
    values, slopes = activation(x), activation.derivative(x)

    def total(integrand: Any) -> Any:
        return (weight * integrand).sum(-1).sum(-1)

    mean_of_f = total(values)
    # f(x) − f(mean): where that cancels, the sum of f' from the mean outwards, exact to the last digits
    increments = integrals_from(0.0 * mean, slopes, half * std[:, None], edges)
    for at, jump in jumps(activation, 0):
        increments = increments + jump * (1.0 * (x > at) - 1.0 * (mean > at)[:, None, None])
    there = activation(mean + std * _anchor(edges))[:, None, None]
    differences = values - there
    increments = xp.where(abs(differences) > 0.5 * abs(there), differences, increments)
    centre = total(increments)
    variance = total((increments - centre[:, None, None]) ** 2)
    return (
        mean_of_f,
        total(values * values),
        variance,
        total(slopes),
        total(slopes * slopes),
        total(logarithm(x)) if callable(logarithm) else mean_of_f * 0.0 + logarithm,
    )


def _anchor(edges: Any) -> Any:
    """The panel end at t = 0: zero, but torch follows it where a moving end coincides with the fixed one."""
    xp = library(edges)
    starts = edges[:, :-1]
    right = starts >= 0
    first = right & ~xp.concatenate([right[:, :1] & False, right[:, :-1]], -1)
    return xp.where(first, starts, 0.0 * starts).sum(-1)


@lru_cache(maxsize=256)
def log_slope(activation: Activation) -> Any:
    """ln f' as a function that does not underflow; −inf where a piece of f is constant; nan if unknown.

    Known are derivatives that are products of exponentials, logistic and normal distribution functions.
    """
    if any(sympy.diff(piece.expression, activation.symbol).is_zero for piece in activation.pieces):
        return float("-inf")
    logarithms = [
        _log_of_product(stable(sympy.diff(stable(piece.expression), activation.symbol))) for piece in activation.pieces
    ]
    if None in logarithms:
        return float("nan")
    pieces = tuple(
        Piece(piece.lower, piece.upper, logarithm, piece.lower_closed, piece.upper_closed)
        for piece, logarithm in zip(activation.pieces, logarithms, strict=True)
    )
    return NumericFunction(pieces, activation.symbol, 0)


def _base_and_exponent(factor: Any) -> tuple[Any, Any]:
    return (factor, sympy.Integer(1)) if isinstance(factor, sympy.exp) else factor.as_base_exp()


def _log_of_product(slope: Any) -> Any:
    total: Any = sympy.Integer(0)
    for factor in sympy.Mul.make_args(slope):
        base, exponent = _base_and_exponent(factor)
        if not factor.free_symbols and factor.is_positive:
            total += sympy.log(factor)
        elif isinstance(base, sympy.exp):
            total += base.args[0] * exponent
        elif isinstance(base, Logistic):
            total -= Softplus(-base.argument) * exponent
        elif isinstance(base, Gaussian):
            total -= base.argument**2 / 2 * exponent
        elif isinstance(base, NormalDistribution):
            total += sympy.log(base) * exponent
        else:
            return None
    return total
