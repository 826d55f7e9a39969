"""Inputs of equal norm: every layer maps the angle between two net inputs to the next, and a deep net is one such map.

With q = E U² = E V² and cos θ the correlation, v = q (1 − cos θ) = E (U − V)²/2 is carried instead of the overlap: by
Price's theorem (K3) E (f(U) − f(V))²/2 = q ∫_0^θ E[f'f'](t) sin t dt, positive terms for increasing f, hence relative
accuracy however close two inputs are, at any depth. D(θ) = E[f'f'] is analytic in θ where f has no kink or one at 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

from elutheory.gram.arguments import SAME_CORRELATION, highest_apart, limits_over_tiles
from elutheory.gram.pairs import EQUAL, Extent, LayerRule, Pairs, Tile, affine, angles_of, refuse_overflow
from elutheory.kernels.expectations import centred_pair_expectation
from elutheory.moments.floating_point import gaussian_moments
from elutheory.numerics.arrays import library
from elutheory.numerics.chebyshev import ChebyshevPieces, interpolate
from elutheory.numerics.quadrature import gauss_legendre
from elutheory.numerics.tiles import is_diagonal, over_tiles

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation


ONE_MAP = "one Chebyshev interpolant in the angle for all layers (equal norms)"

_QUADRATURE_ORDER = 40
_COMPOSED_ROUNDING = 1e-14  # of many layers, relative to q
_TOLERANCE = 1e-13
_MARGIN = 1e-9  # on the interval of angles, for what rounding does to them


@dataclass(frozen=True, eq=False)
class EqualNormLayer:
    """One layer at net-input second moment q: E f², D(θ) and G(θ) = ∫_0^θ D(t) sin t dt / (1 − cos θ)."""

    second_moment: float
    activation_second_moment: float
    slopes: ChebyshevPieces
    mean_slopes: ChebyshevPieces

    @property
    def error(self) -> float:
        """Largest deviation of the two interpolants at the points checked, relative to their scale."""
        return max(self.slopes.error, self.mean_slopes.error)


def equal_norm_layer(activation: "Activation", second_moment: float) -> EqualNormLayer:
    """The layer's maps of the angle at net-input second moment q >= 0, for continuous f."""
    std = numpy.sqrt(second_moment)
    moments = gaussian_moments(activation, 0.0, std)

    def slopes(theta: Any) -> Any:
        if std == 0.0:
            return numpy.full_like(theta, float(moments.slope_second_moment))
        same = numpy.full_like(theta, std)
        return centred_pair_expectation(activation, 1, same, same, numpy.cos(theta), numpy.sin(theta))

    D = interpolate(slopes, 0.0, numpy.pi)
    G = interpolate(lambda theta: _weighted_mean(D, theta), 0.0, numpy.pi)
    return EqualNormLayer(float(second_moment), float(moments.second_moment), D, G)


def _weighted_mean(D: ChebyshevPieces, theta: Any) -> Any:
    """∫_0^θ D sin / (1 − cos θ) = ∫_0^θ D sin / (2 sin²(θ/2)): Gauss–Legendre, piece by piece."""
    start, end = D.edges[:-1], D.edges[1:]
    whole = numpy.concatenate([[0.0], numpy.cumsum(_integral(D, start, end))])
    piece = numpy.clip(numpy.searchsorted(D.edges, theta, side="right") - 1, 0, len(start) - 1)
    safe = numpy.where(theta > 0.0, theta, 1.0)
    total = whole[piece] + _integral(D, start[piece], theta)
    return numpy.where(theta > 0.0, total / (2.0 * numpy.sin(0.5 * safe) ** 2), D(numpy.zeros_like(theta)))


def _integral(D: ChebyshevPieces, lower: Any, upper: Any) -> Any:
    points, weights = gauss_legendre(_QUADRATURE_ORDER)
    centre, half = 0.5 * (upper + lower), 0.5 * (upper - lower)
    t = centre[:, None] + half[:, None] * points
    return half * ((D(t) * numpy.sin(t)) @ weights)


def layers_of_equal_norm(
    activation: "Activation", second_moment: float, rule: LayerRule, count: int
) -> tuple[EqualNormLayer, ...]:
    """`count` layers, the first at net-input second moment `second_moment`; one object where q does not change."""
    known: dict[float, EqualNormLayer] = {}
    layers = []
    q = second_moment
    for _ in range(count):
        refuse_overflow(numpy.array(q))
        if q not in known:
            known[q] = equal_norm_layer(activation, q)
        layers.append(known[q])
        q = rule.next(q, known[q].activation_second_moment)
    return tuple(layers)


@dataclass(frozen=True, eq=False)
class _Behind:
    """Behind some layers: q, v = q − c, and the tangent kernel as gain · (that in front) + offset."""

    second_moment: float
    distance: Any
    gain: Any
    offset: Any


def _propagated(layers: Sequence[EqualNormLayer], rule: LayerRule, theta: Any, with_tangent: bool) -> _Behind:
    """For angles θ in front of the first layer, a one-dimensional float64 array."""
    q = layers[0].second_moment
    v = 2.0 * q * numpy.sin(0.5 * theta) ** 2
    gain, offset = numpy.ones_like(theta), numpy.zeros_like(theta)
    for layer in layers:
        distance = v * layer.mean_slopes(theta)
        if with_tangent:
            own = rule.own_part(layer.activation_second_moment - distance)
            slope = rule.weight_variance * layer.slopes(theta) + float(rule.residual)
            gain, offset = slope * gain, slope * offset + own
        v = rule.weight_variance * distance + (v if rule.residual else 0.0)
        q = rule.next(q, layer.activation_second_moment)
        ratio = numpy.clip(v / (2.0 * q), 0.0, 1.0) if q > 0.0 else numpy.zeros_like(v)
        theta = 2.0 * numpy.arcsin(numpy.sqrt(ratio))
    return _Behind(q, v, gain, offset)


@dataclass(frozen=True, eq=False)
class DeepMap:
    """Many layers as functions of the first angle: net-input second moment behind them, and the tangent kernel's map.

    `gram`(θ) is c behind the layers; `gain`(θ) and `offset`(θ) are divided by their values at θ = 0.
    """

    second_moment: float
    gram: ChebyshevPieces
    gain_scale: float
    gain: ChebyshevPieces
    offset_scale: float
    offset: ChebyshevPieces
    error: float


def deep_map(
    activation: "Activation",
    second_moment: float,
    rule: LayerRule,
    count: int,
    angles: tuple[float, float],
    with_tangent: bool,
) -> DeepMap:
    """The composition of `count` layers of a continuous f, for first angles in the interval `angles`.

    Without the tangent kernel `gain` and `offset` are those of no layer, 1 and 0. Raises InputError on overflow.
    """
    layers = layers_of_equal_norm(activation, second_moment, rule, count)
    with numpy.errstate(over="ignore", invalid="ignore"):
        at_zero = _propagated(layers, rule, numpy.zeros(1), with_tangent)
    gain_scale, offset_scale, q = float(at_zero.gain[0]), float(at_zero.offset[0]), at_zero.second_moment
    refuse_overflow(numpy.array([q, gain_scale, offset_scale]))

    def interpolant(quantity: Callable[[_Behind], Any]) -> ChebyshevPieces:
        return interpolate(
            lambda theta: quantity(_propagated(layers, rule, theta, with_tangent)), *angles, rounding=_COMPOSED_ROUNDING
        )

    gram = interpolant(lambda behind: q - behind.distance)
    gain = interpolant(lambda behind: behind.gain / (gain_scale or 1.0))
    offset = interpolant(lambda behind: behind.offset / (offset_scale or 1.0))
    error = max(gram.error, gain.error, offset.error, *(layer.error for layer in layers))
    return DeepMap(q, gram, gain_scale, gain, offset_scale, offset, error)


# --- all pairs ------------------------------------------------------------------------------------------------------


def all_layers_at_once(activation: "Activation", pairs: Pairs, rule: LayerRule, count: int) -> bool:
    """Takes pairs of equal norms through `count` layers by one map, if that is accurate; whether it was, and has been.

    The map is built for the angles that occur between inputs that differ. From INPUTS it takes layer one along.
    """
    q = float(pairs.left[0])
    inverse = 1.0 / q if q > 0.0 else 0.0
    if pairs.limits is None:
        pairs.settle()
    lowest, highest = pairs.limits or _correlation_limits(pairs, inverse)
    ends = numpy.clip([highest + 2.0 * EQUAL, lowest - 2.0 * EQUAL], -1.0, 1.0)
    nearest, farthest = (float(angle) for angle in numpy.arccos(ends))
    interval = max(nearest - _MARGIN, 0.0), min(farthest + _MARGIN, numpy.pi)
    deep = deep_map(activation, q, rule, count, interval, pairs.with_tangent)
    if not deep.error <= _TOLERANCE:
        return False

    # No inputs that differ have a correlation above the limit; the same input's, over a rounded norm, may be below 1.
    threshold = min(SAME_CORRELATION, float(numpy.cos(interval[0])))
    gram, tangent, (weight, bias), own = pairs.gram, pairs.tangent, (1.0, 0.0), (1.0, 0.0)
    if pairs.extent is Extent.INPUTS:
        gram = tangent = pairs.gram
        weight, bias, own = pairs.first.weight_variance, pairs.first.bias_variance, pairs.first.own_factors
        pairs.gram = library(gram).empty_like(gram)
        pairs.tangent = library(gram).empty_like(gram) if pairs.with_tangent else None

    def work(rows: slice, columns: slice) -> None:
        theta, same = angles_of(affine(gram[rows, columns], weight * inverse, bias * inverse), threshold)
        xp = library(theta)
        if is_diagonal(rows, columns, pairs.symmetric):
            diagonal = xp.diag(xp.ones_like(theta[0])) > 0.0
            same = diagonal if same is None else same | diagonal

        def of_angle(function: ChebyshevPieces, at_zero: float) -> Tile:
            values = function(theta)
            return values if same is None else xp.where(same, at_zero, values)

        pairs.store(pairs.gram, rows, columns, of_angle(deep.gram, deep.second_moment))
        if tangent is None or pairs.tangent is None:
            return
        gain, offset = of_angle(deep.gain, 1.0), of_angle(deep.offset, 1.0)
        gain *= deep.gain_scale
        gain *= affine(tangent[rows, columns], *own)
        offset *= deep.offset_scale
        gain += offset
        pairs.store(pairs.tangent, rows, columns, gain)

    over_tiles(pairs.gram, pairs.symmetric, work, pairs.ticks)
    pairs.left, pairs.right = (numpy.full_like(values, deep.second_moment) for values in (pairs.left, pairs.right))
    pairs.note(ONE_MAP, deep.error)
    pairs.limits, pairs.extent = None, Extent.WHOLE
    return True


def _correlation_limits(pairs: Pairs, inverse: float) -> tuple[float, float]:
    """The lowest and the highest correlation of inputs of equal norm q = 1/inverse that differ, (1, 1) if none do."""

    def limits(rows: slice, columns: slice) -> tuple[float, float]:
        correlations = pairs.gram[rows, columns] * inverse
        low, high = float(correlations.min()), float(correlations.max())
        return low, high if high < SAME_CORRELATION else highest_apart(correlations)

    return limits_over_tiles(over_tiles(pairs.gram, pairs.symmetric, limits))
