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

from elutheory.activations import Activation
from elutheory.evaluation import NumericFunction, constant_value
from elutheory.pieces import Piece
from elutheory.stable_forms import Gaussian, Logistic, NormalDistribution, Softplus, stable
from elutheory.truncated_normal import library, normal_density

_ORDERS = (16, 24)
_REACH = {4: 13.5, 8: 38.5}  # phi is subnormal beyond
_PANEL = 1.5
# Below this the variance comes from slopes alone, if that series has converged; f(x) − E f would lose digits.
_SMALL_STD = 0.1
_HERMITE_TERMS = 9
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
    kinks = [constant_value(point) for point in activation.breakpoints]
    offsets = [0.0, *_DISTANCES, *(-distance for distance in _DISTANCES)]
    points = sorted({centre + offset for centre in {0.0, *kinks} for offset in offsets})
    moving = [xp.clip((point - mean) / std, -reach, reach) for point in points]
    return xp.sort(xp.stack([*fixed, *moving], -1), -1) if xp.__name__ == "numpy" else _torch_sorted(xp, fixed, moving)


def _torch_sorted(xp: Any, fixed: list[Any], moving: list[Any]) -> Any:
    return xp.sort(xp.stack([*fixed, *moving], -1), -1).values


@lru_cache(maxsize=4)
def _legendre(order: int) -> tuple[Any, Any]:
    import numpy

    return numpy.polynomial.legendre.leggauss(order)


def _rule(activation: Activation, logarithm: Any, mean: Any, std: Any, edges: Any, order: int) -> tuple[Any, ...]:
    xp = library(mean)
    nodes, weights = (xp.asarray(values, dtype=mean.dtype) for values in _legendre(order))
    if xp.__name__ == "torch":
        nodes, weights = nodes.to(mean.device), weights.to(mean.device)
    middle, half = 0.5 * (edges[:, 1:] + edges[:, :-1]), 0.5 * (edges[:, 1:] - edges[:, :-1])
    t = middle[:, :, None] + half[:, :, None] * nodes
    weight = (half[:, :, None] * weights) * normal_density(t)
    x = mean[:, None, None] + std[:, None, None] * t
    values, slopes = activation(x), activation.derivative(x)

    def total(integrand: Any) -> Any:
        return (weight * integrand).sum(-1).sum(-1)

    mean_of_f = total(values)
    centred = values - mean_of_f[:, None, None]
    variance = total(centred * centred)
    if (std < _SMALL_STD).any():
        series, last = _variance_from_slopes(t, slopes, std, total)
        variance = xp.where(last <= _resolution(mean) * series, series, variance)
    return (
        mean_of_f,
        total(values * values),
        variance,
        total(slopes),
        total(slopes * slopes),
        total(logarithm(x)) if callable(logarithm) else mean_of_f * 0.0 + logarithm,
    )


def _variance_from_slopes(t: Any, slopes: Any, std: Any, total: Any) -> tuple[Any, Any]:
    """Var f = std² Σ_n (E f' He_n(Z))² / (n+1)!, and its last two terms: no difference of nearby values of f."""
    previous, hermite = 0.0 * t, 0.0 * t + 1.0
    terms = []
    factorial = 1.0
    for n in range(_HERMITE_TERMS):
        factorial *= n + 1
        terms.append(total(slopes * hermite) ** 2 / factorial)
        previous, hermite = hermite, t * hermite - n * previous
    square = std * std
    return square * sum(terms[::-1]), square * (terms[-1] + terms[-2])


def _resolution(array: Any) -> float:
    return {4: 1e-8, 8: 1e-17}[array.dtype.itemsize]


@lru_cache(maxsize=256)
def log_slope(activation: Activation) -> Any:
    """ln f' as a function that does not underflow; −inf where f is constant on a piece; nan where f is not known to rise.

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


def _log_of_product(slope: Any) -> Any:
    total: Any = sympy.Integer(0)
    for factor in sympy.Mul.make_args(slope):
        base, exponent = factor.as_base_exp()
        if isinstance(factor, sympy.exp):
            base, exponent = factor, sympy.Integer(1)
        if not factor.free_symbols and factor.is_positive:
            total += sympy.log(factor)
        elif isinstance(base, sympy.exp):
            total += base.args[0] * exponent
        elif isinstance(base, Logistic):
            total -= Softplus(-base.args[0]) * exponent
        elif isinstance(base, Gaussian):
            total -= base.args[0] ** 2 / 2 * exponent
        elif isinstance(base, NormalDistribution):
            total += sympy.log(base) * exponent
        else:
            return None
    return total
