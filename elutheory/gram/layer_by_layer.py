"""P4, P5: all pairs of a data set through the layers, by interpolants in the angle that are checked, or pair by pair.

Three routes, in the order in which they are tried:
- inputs of equal norm: all layers together are one function of the angle (`equal_norms`);
- else layers of similar norms are one function of two norms and an angle (`interpolation`);
- else, or where that costs more than it saves, the dual kernel of every pair.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy
from jaxtyping import Bool, Float

from elutheory.activations.kinks import is_continuous
from elutheory.errors import InputError
from elutheory.gram.arguments import inverse_root
from elutheory.gram.equal_norms import all_layers_at_once
from elutheory.gram.interpolation import KernelInterpolant, kernel_interpolant
from elutheory.gram.pairs import Extent, LayerRule, Pairs, Tile, angles_of, equal_norms, refuse_overflow
from elutheory.kernels.expectations import centred_pair_expectation
from elutheory.moments.floating_point import gaussian_moments
from elutheory.numerics.arrays import Array, library, on_host, place_like
from elutheory.numerics.tiles import is_diagonal, over_tiles

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

LAYER_BY_LAYER = "Chebyshev interpolants in the angle and both norms"
DIRECT = "dual kernel of every pair"

# Layers share an interpolant while their norms together span little more, in logarithms, than one layer's do.
_WIDER, _WIDER_BY = 1.5, 0.2
_LARGEST_BUILD = 400_000  # evaluations of the kernel, seconds' worth
_DEARER = 3  # an evaluation for the interpolant costs about three of the pairs' own


def advance(activation: "Activation", pairs: Pairs, rule: LayerRule, count: int) -> None:
    """Takes pairs through `count` layers, in place. Raises InputError where second moments leave float64's range."""
    together = is_continuous(activation)
    position = 0
    while position < count:
        if together and pairs.has_equal_norms:
            if all_layers_at_once(activation, pairs, rule, count - position):
                return
            together = False
        pairs.settle()
        group = _group(activation, pairs, rule, count - position, together)
        _layer_by_layer(activation, pairs, rule, group)
        position += len(group)


def advance_normalised(activation: "Activation", pairs: Pairs, rule: LayerRule) -> None:
    """One layer W f(BN(h)) + b, in place: the Gram matrix centred over the data and divided by its mean diagonal."""
    pairs.complete()
    gram = pairs.gram - pairs.gram.mean(0)
    gram -= gram.mean(1)[:, None]
    gram = 0.5 * (gram + gram.T)
    variance = float(gram.diagonal().mean())
    if not variance > 0.0:
        raise InputError("batch normalisation needs inputs that differ; these have no variance over the data.")
    gram /= variance
    norms = on_host(gram.diagonal()).clip(0.0, None)
    block = Pairs(gram, norms, norms, True, Extent.UPPER)
    advance(activation, block, replace(rule, residual=False), 1)
    block.complete()
    pairs.gram = pairs.gram + block.gram if rule.residual else block.gram
    pairs.left = pairs.right = pairs.left + block.left if rule.residual else block.left
    pairs.limits = None
    for method in block.methods:
        pairs.note(method, block.error)


# --- layer by layer -------------------------------------------------------------------------------------------------

_Vector = Float[Array, " inputs"]


@dataclass(frozen=True, eq=False)
class _Side:
    """The inputs on one side of the matrix at one layer: net-input q = E U², and by order 0, 1 the moments of f and f'.

    `mean` is (E f, E f'), `square` (E f², E f'²).
    """

    q: _Vector
    mean: tuple[_Vector, _Vector]
    square: tuple[_Vector, _Vector]

    def placed(self, like: Float[Array, "rows columns"]) -> "_Side":
        """As arrays of the library and place of `like`."""
        mean, square = ((place_like(f, like), place_like(slope, like)) for f, slope in (self.mean, self.square))
        return _Side(place_like(self.q, like), mean, square)


def _sides(
    activation: "Activation", left: Float[numpy.ndarray, " rows"], right: Float[numpy.ndarray, " columns"]
) -> tuple[_Side, _Side]:
    """Both sides, in numpy, from their second moments; each distinct second moment is evaluated once."""
    distinct, place = numpy.unique(numpy.concatenate([left, right]), return_inverse=True)
    std = numpy.sqrt(distinct)
    found = gaussian_moments(activation, numpy.zeros_like(std), std)

    def side(q: Any, at: Any) -> _Side:
        mean = (found.mean[at], found.slope_mean[at])
        return _Side(q, mean, (found.second_moment[at], found.slope_second_moment[at]))

    return side(left, place[: len(left)]), side(right, place[len(left) :])


def _group(
    activation: "Activation", pairs: Pairs, rule: LayerRule, count: int, until_equal: bool
) -> list[tuple[_Side, _Side]]:
    """Rows and columns at the next layers, as many as have norms in about the same range."""
    left, right = pairs.left, pairs.right
    group: list[tuple[_Side, _Side]] = []
    lowest, highest, widest = numpy.inf, -numpy.inf, 0.0
    while len(group) < count and not (group and until_equal and equal_norms(left, right)):
        lower, upper = _log_std_limits(left, right)
        lowest, highest, widest = min(lowest, lower), max(highest, upper), max(widest, upper - lower)
        if group and highest - lowest > _WIDER * widest + _WIDER_BY:
            break
        sides = _sides(activation, left, right)
        group.append(sides)
        with numpy.errstate(over="ignore"):
            left, right = (rule.next(side.q, side.square[0]) for side in sides)
        refuse_overflow(left, right)
    return group


def _log_std_limits(
    left: Float[numpy.ndarray, " rows"], right: Float[numpy.ndarray, " columns"]
) -> tuple[float, float]:
    """The least and the largest logarithm of a standard deviation, from second moments; (0, 0) if all are zero."""
    q = numpy.concatenate([left, right])
    q = q[q > 0.0]
    return (0.5 * float(numpy.log(q.min())), 0.5 * float(numpy.log(q.max()))) if q.size else (0.0, 0.0)


def _layer_by_layer(activation: "Activation", pairs: Pairs, rule: LayerRule, group: list[tuple[_Side, _Side]]) -> None:
    """Takes pairs, in UPPER or WHOLE, through the layers whose sides these are."""
    pairs.limits, pairs.extent = None, Extent.UPPER
    limits = [_log_std_limits(rows.q, columns.q) for rows, columns in group]
    lower, upper = min(low for low, _ in limits), max(high for _, high in limits)
    entries = len(pairs.left) * len(pairs.right) / (2 if pairs.symmetric else 1)
    cost = int(min(entries * len(group) / _DEARER, _LARGEST_BUILD))
    orders = (0, 1) if pairs.with_tangent else (0,)
    interpolants = [kernel_interpolant(activation, order, lower, upper, cost) for order in orders]
    for sides in group:
        kernels = [
            _direct(activation, order, *sides, pairs)
            if interpolant is None
            else _interpolated(interpolant, *sides, pairs)
            for order, interpolant in zip(orders, interpolants, strict=True)
        ]
        _one_layer(activation, pairs, rule, *sides, kernels)
        pairs.left, pairs.right = (rule.next(side.q, side.square[0]) for side in sides)
    for interpolant in interpolants:
        pairs.note(*((DIRECT, 0.0) if interpolant is None else (LAYER_BY_LAYER, interpolant.error)))


TileKernel = Callable[[slice, slice, Tile], Tile]
"""E[f^(order) f^(order)] over the root mean squares, for the tile of these rows and columns, from its angles."""


def _interpolated(interpolant: KernelInterpolant, rows: _Side, columns: _Side, pairs: Pairs) -> TileKernel:
    """By series in the angle; an input of norm 0, which has none, takes the lowest norm's place."""
    stds = (numpy.sqrt(side.q) for side in (rows, columns))
    left, right = (numpy.log(numpy.where(std > 0.0, std, numpy.exp(interpolant.lower))) for std in stds)
    return interpolant.on(left, right, pairs.gram)


def _direct(activation: "Activation", order: int, rows: _Side, columns: _Side, pairs: Pairs) -> TileKernel:
    """By the dual kernel of every pair; 0 below and on the diagonal of a symmetric matrix."""
    std_left, std_right = (place_like(numpy.sqrt(side.q), pairs.gram) for side in (rows, columns))
    inverse_left, inverse_right = (place_like(inverse_root(side.square[order]), pairs.gram) for side in (rows, columns))

    def kernel(i: slice, j: slice, theta: Tile) -> Tile:
        xp = library(theta)
        u, v = std_left[i, None] + 0.0 * theta, std_right[j] + 0.0 * theta
        chosen = xp.ones_like(theta)
        if is_diagonal(i, j, pairs.symmetric):
            chosen = xp.triu(chosen, 1)
        chosen = chosen > 0.0
        angle = theta[chosen]
        values = xp.zeros_like(theta)
        values[chosen] = centred_pair_expectation(activation, order, u[chosen], v[chosen], xp.cos(angle), xp.sin(angle))
        values *= inverse_left[i, None]
        values *= inverse_right[j]
        return values

    return kernel


def _one_layer(
    activation: "Activation",
    pairs: Pairs,
    rule: LayerRule,
    rows: _Side,
    columns: _Side,
    kernels: list[TileKernel],
) -> None:
    """P4, P5 in place, but for the second moments of rows and columns; `kernels` by order."""
    xp = library(pairs.gram)
    inverse_left, inverse_right = (place_like(inverse_root(side.q), pairs.gram) for side in (rows, columns))
    root_left, root_right = (
        [place_like(numpy.sqrt(square), pairs.gram) for square in side.square] for side in (rows, columns)
    )
    left, right = (side.placed(pairs.gram) for side in (rows, columns))
    at_zero = (float(activation(0.0)), float(activation.derivative(0.0)))
    any_zero = bool((rows.q == 0.0).any() or (columns.q == 0.0).any())

    def expectation(i: slice, j: slice, order: int, theta: Tile, same: Bool[Array, "rows columns"] | None) -> Tile:
        tile = kernels[order](i, j, theta)
        tile *= root_left[order][i, None]
        tile *= root_right[order][j]
        if same is not None:
            identical = same & (left.q[i, None] == right.q[j])
            tile = xp.where(identical, left.square[order][i, None], tile)
        if any_zero:
            tile = xp.where((left.q == 0.0)[i, None], at_zero[order] * right.mean[order][j], tile)
            tile = xp.where((right.q == 0.0)[j], at_zero[order] * left.mean[order][i, None], tile)
        return tile

    def work(i: slice, j: slice) -> None:
        gram = pairs.gram[i, j]
        theta, same = angles_of(gram * inverse_left[i, None] * inverse_right[j])
        products = expectation(i, j, 0, theta, same)
        block = rule.block(products)
        if pairs.tangent is not None:
            slopes = expectation(i, j, 1, theta, same)
            with numpy.errstate(over="ignore", invalid="ignore"):
                tangent = rule.next_tangent(pairs.tangent[i, j], slopes, products)
            refuse_overflow(tangent)
            pairs.tangent[i, j] = tangent
        if rule.residual:
            block += gram
        pairs.gram[i, j] = block

    over_tiles(pairs.gram, pairs.symmetric, work, pairs.ticks, max(1, pairs.layers))
    pairs.layers -= 1
