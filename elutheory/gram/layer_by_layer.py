"""P4, P5: all pairs of a data set through the layers, by interpolants in the angle that are checked, or pair by pair.

Three routes, in the order in which they are tried:
- inputs of equal norm: all layers together are one function of the angle (`equal_norm_layers`);
- else layers of similar norms are one function of two norms and an angle (`kernel_interpolation`);
- else, or where that costs more than it saves, the dual kernel of every pair.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy

from elutheory.activations.kinks import is_continuous
from elutheory.errors import InputError
from elutheory.gram.arguments import SAME_CORRELATION, GramArguments, inverse_root
from elutheory.gram.equal_norms import deep_map
from elutheory.gram.interpolation import KernelInterpolant, kernel_interpolant
from elutheory.gram.pairs import OVERFLOW, LayerRule
from elutheory.kernels.expectations import centred_pair_expectation
from elutheory.moments.floating_point import gaussian_moments
from elutheory.numerics.arrays import is_torch, library, place_like
from elutheory.numerics.tiles import is_diagonal, mirror, over_tiles

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

ONE_MAP = "one Chebyshev interpolant in the angle for all layers (equal norms)"
LAYER_BY_LAYER = "Chebyshev interpolants in the angle and both norms"
DIRECT = "dual kernel of every pair"

_TOLERANCE = 1e-13
_EQUAL = 32 * 2.0**-52  # relative spread of the second moments that is rounding
_MARGIN = 1e-9  # on the interval of angles, for what rounding does to them
# Layers share an interpolant while their norms together span little more, in logarithms, than one layer's do.
_WIDER, _WIDER_BY = 1.5, 0.2
_LARGEST_BUILD = 400_000  # evaluations of the kernel, seconds' worth
_DEARER = 3  # an evaluation for the interpolant costs about three of the pairs' own


@dataclass
class Pairs:
    """Net-input second moments of pairs: `gram`, changed in place, with those of its rows and columns (numpy).

    Of a symmetric matrix only the tiles on and above the diagonal count until `complete`. Until `settle`, where `first`
    is left, `gram` is the inputs' own, the caller's, and layer one's is first.block(gram), its tangent kernel too.
    """

    gram: Any
    left: Any
    right: Any
    symmetric: bool
    tangent: Any | None = None
    limits: tuple[float, float] | None = None
    methods: list[str] = field(default_factory=list)
    error: float = 0.0
    is_complete: bool = False

    first: LayerRule | None = None
    with_tangent: bool = False

    @classmethod
    def of_layer_one(cls, arguments: GramArguments, rule: LayerRule, with_tangent: bool) -> "Pairs":
        """σ_w² gram + σ_b²; the tangent kernel is the same there."""
        left, right = (rule.block(values) for values in (arguments.left, arguments.right))
        limits = None
        if _equal_norms(left, right) and left[0] > 0.0 and _equal_norms(arguments.left, arguments.right):
            lowest, highest = (rule.block(arguments.left[0] * end) / left[0] for end in arguments.correlations)
            limits = float(lowest), float(highest)
        return cls(
            arguments.gram, left, right, arguments.symmetric, limits=limits, first=rule, with_tangent=with_tangent
        )

    def settle(self) -> None:
        """Layer one, in matrices of its own."""
        rule = self.first
        if rule is None:
            return
        inputs, self.gram, self.first = self.gram, library(self.gram).empty_like(self.gram), None

        def work(rows: slice, columns: slice) -> None:
            self.gram[rows, columns] = _affine(inputs[rows, columns], rule.weight_variance, rule.bias_variance)

        over_tiles(self.gram, self.symmetric, work)
        self.tangent = 1.0 * self.gram if self.with_tangent else None

    def note(self, method: str, error: float) -> None:
        """What the last layers were computed by, and its largest deviation found."""
        if method not in self.methods:
            self.methods.append(method)
        self.error = max(self.error, error)

    def complete(self) -> None:
        """The lower halves, and the diagonal exactly the second moments."""
        self.settle()
        if self.symmetric and not self.is_complete:
            for matrix in (self.gram, self.tangent):
                if matrix is not None:
                    mirror(matrix)
            diagonal = library(self.gram).arange(len(self.left))
            self.gram[diagonal, diagonal] = place_like(self.left, self.gram)
        self.is_complete = True


def advance(activation: "Activation", pairs: Pairs, rule: LayerRule, count: int) -> None:
    """`count` layers, in place. Raises InputError where second moments leave float64's range."""
    together = is_continuous(activation)
    position = 0
    while position < count:
        if together and _equal_norms(pairs.left, pairs.right):
            if _all_layers_at_once(activation, pairs, rule, count - position):
                return
            together = False
        pairs.settle()
        norms = _group(activation, pairs, rule, count - position, together)
        _layer_by_layer(activation, pairs, rule, norms)
        position += len(norms)


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
    norms = numpy.array(gram.diagonal().cpu().numpy() if is_torch(gram) else gram.diagonal()).clip(0.0, None)
    block = Pairs(gram, norms, norms, True)
    advance(activation, block, replace(rule, residual=False), 1)
    block.complete()
    pairs.gram = pairs.gram + block.gram if rule.residual else block.gram
    pairs.left = pairs.right = pairs.left + block.left if rule.residual else block.left
    pairs.limits = None
    for method in block.methods:
        pairs.note(method, block.error)


def _equal_norms(left: Any, right: Any) -> bool:
    smallest, largest = min(left.min(), right.min()), max(left.max(), right.max())
    return bool(largest <= smallest * (1.0 + _EQUAL))


def _refuse_overflow(*values: Any) -> None:
    if not all(library(value).isfinite(value).all() for value in values):
        raise InputError(OVERFLOW)


# --- equal norms ----------------------------------------------------------------------------------------------------


def _all_layers_at_once(activation: "Activation", pairs: Pairs, rule: LayerRule, count: int) -> bool:
    """Whether the composition of all layers could be interpolated; if so, it has been applied."""
    q = float(pairs.left[0])
    inverse = 1.0 / q if q > 0.0 else 0.0
    if pairs.limits is None:
        pairs.settle()
    lowest, highest = pairs.limits or _correlation_limits(pairs, inverse)
    ends = numpy.clip([highest + 2.0 * _EQUAL, lowest - 2.0 * _EQUAL], -1.0, 1.0)
    nearest, farthest = numpy.arccos(ends)
    angles = (max(float(nearest) - _MARGIN, 0.0), min(float(farthest) + _MARGIN, float(numpy.pi)))
    inputs, first = pairs.gram, pairs.first
    with_tangent = pairs.with_tangent if first else pairs.tangent is not None
    deep = deep_map(activation, q, rule, count, angles, with_tangent)
    if not deep.error <= _TOLERANCE:
        return False

    # No inputs that differ have a correlation above the limit; the same input's, over a rounded norm, may be below 1.
    threshold = min(SAME_CORRELATION, float(numpy.cos(angles[0])))
    weight, bias = (first.weight_variance, first.bias_variance) if first else (1.0, 0.0)
    front: Any = inputs if first else pairs.tangent
    if first:
        pairs.gram = library(inputs).empty_like(inputs)
        pairs.tangent = library(inputs).empty_like(inputs) if with_tangent else None
        pairs.first = None

    def work(rows: slice, columns: slice) -> None:
        theta, same = _angles(_affine(inputs[rows, columns], weight * inverse, bias * inverse), threshold)
        if is_diagonal(rows, columns, pairs.symmetric):
            diagonal = library(theta).diag(library(theta).ones_like(theta[0])) > 0.0
            same = diagonal if same is None else same | diagonal
        gram = deep.gram(theta)
        _store(pairs, pairs.gram, rows, columns, gram if same is None else _put(gram, same, deep.second_moment))
        if not with_tangent:
            return
        gain, offset = deep.gain(theta), deep.offset(theta)
        if same is not None:
            gain, offset = _put(gain, same, 1.0), _put(offset, same, 1.0)
        gain *= deep.gain_scale
        gain *= _affine(front[rows, columns], weight, bias)
        offset *= deep.offset_scale
        gain += offset
        _store(pairs, pairs.tangent, rows, columns, gain)

    over_tiles(pairs.gram, pairs.symmetric, work)
    pairs.left, pairs.right = (numpy.full_like(values, deep.second_moment) for values in (pairs.left, pairs.right))
    pairs.note(ONE_MAP, deep.error)
    pairs.limits, pairs.is_complete = None, True
    return True


def _correlation_limits(pairs: Pairs, inverse: float) -> tuple[float, float]:
    """The lowest and the highest of inputs of equal norm that differ, (1, 1) if none do."""

    def limits(rows: slice, columns: slice) -> tuple[float, float]:
        correlation = pairs.gram[rows, columns] * inverse
        low, high = float(correlation.min()), float(correlation.max())
        if high >= SAME_CORRELATION:
            correlation = correlation[correlation < SAME_CORRELATION]
            high = float(correlation.max()) if len(correlation) else -1.0
        return low, high

    found = over_tiles(pairs.gram, pairs.symmetric, limits)
    lowest, highest = min(low for low, _ in found), max(high for _, high in found)
    return (lowest, highest) if lowest <= highest else (1.0, 1.0)


def _store(pairs: Pairs, matrix: Any, rows: slice, columns: slice, tile: Any) -> None:
    """The tile and, in a symmetric matrix, its mirror image; a tile on the diagonal is made symmetric."""
    if is_diagonal(rows, columns, pairs.symmetric):
        tile = library(tile).triu(tile) + library(tile).triu(tile, 1).T
    elif pairs.symmetric:
        matrix[columns, rows] = tile.T
    matrix[rows, columns] = tile


def _affine(tile: Any, scale: float, offset: float) -> Any:
    tile = tile * scale
    if offset:
        tile += offset
    return tile


def _angles(cosine: Any, threshold: float = SAME_CORRELATION) -> tuple[Any, Any | None]:
    """The angles of a tile of cosines, in its place, and where those are `threshold` or more (None: nowhere)."""
    xp = library(cosine)
    lowest, highest = float(cosine.min()), float(cosine.max())
    same = cosine >= threshold if highest >= threshold else None
    if lowest < -1.0 or highest > 1.0:
        xp.clip(cosine, -1.0, 1.0, out=cosine)
    return xp.arccos(cosine, out=cosine), same


def _put(tile: Any, where: Any, values: Any) -> Any:
    return library(tile).where(where, values, tile)


# --- layer by layer -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Moments:
    """Of the inputs on one side at one layer: q and E f, E f², E f', E f'² (numpy vectors)."""

    q: Any
    mean: Any
    second_moment: Any
    slope_mean: Any
    slope_second_moment: Any


def _moments(activation: "Activation", *sides: Any) -> tuple[_Moments, ...]:
    """Of the second moments of each side."""
    distinct, place = numpy.unique(numpy.concatenate(sides), return_inverse=True)
    std = numpy.sqrt(distinct)
    found = gaussian_moments(activation, numpy.zeros_like(std), std)
    quantities = (found.mean, found.second_moment, found.slope_mean, found.slope_second_moment)
    places = numpy.split(place, numpy.cumsum([len(side) for side in sides])[:-1])
    return tuple(_Moments(q, *(quantity[at] for quantity in quantities)) for q, at in zip(sides, places, strict=True))


def _group(
    activation: "Activation", pairs: Pairs, rule: LayerRule, count: int, until_equal: bool
) -> list[tuple[_Moments, _Moments]]:
    """The moments of rows and columns at the next layers, as many as have norms in about the same range."""
    left, right = pairs.left, pairs.right
    group: list[tuple[_Moments, _Moments]] = []
    lowest, highest, widest = numpy.inf, -numpy.inf, 0.0
    while len(group) < count and not (group and until_equal and _equal_norms(left, right)):
        lower, upper = _log_std_limits(left, right)
        lowest, highest, widest = min(lowest, lower), max(highest, upper), max(widest, upper - lower)
        if group and highest - lowest > _WIDER * widest + _WIDER_BY:
            break
        rows, columns = _moments(activation, left, right)
        group.append((rows, columns))
        with numpy.errstate(over="ignore"):
            left, right = (rule.next(side.q, side.second_moment) for side in (rows, columns))
        _refuse_overflow(left, right)
    return group


def _log_std_limits(left: Any, right: Any) -> tuple[float, float]:
    """Of the positive second moments; (0, 0) if there are none."""
    q = numpy.concatenate([left, right])
    q = q[q > 0.0]
    return (0.5 * float(numpy.log(q.min())), 0.5 * float(numpy.log(q.max()))) if q.size else (0.0, 0.0)


def _layer_by_layer(
    activation: "Activation", pairs: Pairs, rule: LayerRule, norms: list[tuple[_Moments, _Moments]]
) -> None:
    pairs.limits, pairs.is_complete = None, False
    limits = [_log_std_limits(rows.q, columns.q) for rows, columns in norms]
    lower, upper = min(low for low, _ in limits), max(high for _, high in limits)
    entries = len(pairs.left) * len(pairs.right) / (2 if pairs.symmetric else 1)
    cost = int(min(entries * len(norms) / _DEARER, _LARGEST_BUILD))
    orders = (0,) if pairs.tangent is None else (0, 1)
    interpolants = {order: kernel_interpolant(activation, order, lower, upper, cost) for order in orders}
    for rows, columns in norms:
        kernels = [_normalised(activation, order, interpolants[order], rows, columns, pairs) for order in orders]
        _one_layer(activation, pairs, rule, rows, columns, kernels)
        pairs.left, pairs.right = (rule.next(side.q, side.second_moment) for side in (rows, columns))
    for interpolant in interpolants.values():
        pairs.note(*((DIRECT, 0.0) if interpolant is None else (LAYER_BY_LAYER, interpolant.error)))


TileKernel = Callable[[slice, slice, Any], Any]


def _normalised(
    activation: "Activation",
    order: int,
    interpolant: KernelInterpolant | None,
    rows: _Moments,
    columns: _Moments,
    pairs: Pairs,
) -> TileKernel:
    """E[f^(order) f^(order)] of a tile of angles, over the root mean squares."""
    std_left, std_right = numpy.sqrt(rows.q), numpy.sqrt(columns.q)
    if interpolant is not None:
        left, right = (
            numpy.log(numpy.where(std > 0.0, std, numpy.exp(interpolant.lower))) for std in (std_left, std_right)
        )
        return interpolant.on(left, right, pairs.gram)
    inverse_left, inverse_right = (
        place_like(inverse_root(side.slope_second_moment if order else side.second_moment), pairs.gram)
        for side in (rows, columns)
    )
    std_left, std_right = (place_like(std, pairs.gram) for std in (std_left, std_right))

    def direct(i: slice, j: slice, theta: Any) -> Any:
        xp = library(theta)
        u, v = std_left[i, None] + 0.0 * theta, std_right[j] + 0.0 * theta
        if is_diagonal(i, j, pairs.symmetric):
            chosen = xp.triu(xp.ones_like(theta), 1) > 0.0
        else:
            chosen = xp.ones_like(theta) > 0.0
        angle = theta[chosen]
        values = xp.zeros_like(theta)
        values[chosen] = centred_pair_expectation(activation, order, u[chosen], v[chosen], xp.cos(angle), xp.sin(angle))
        values *= inverse_left[i, None]
        values *= inverse_right[j]
        return values

    return direct


def _one_layer(
    activation: "Activation",
    pairs: Pairs,
    rule: LayerRule,
    rows: _Moments,
    columns: _Moments,
    kernels: list[TileKernel],
) -> None:
    sides = [_Side.of(activation, side, pairs.gram) for side in (rows, columns)]
    left, right = sides

    def expectation(i: slice, j: slice, order: int, theta: Any, same: Any | None) -> Any:
        tile = kernels[order](i, j, theta)
        tile *= left.root[order][i, None]
        tile *= right.root[order][j]
        if same is not None:
            identical = same & (left.q[i, None] == right.q[j])
            tile = _put(tile, identical, left.square[order][i, None])
        if left.any_zero or right.any_zero:
            tile = _put(tile, left.is_zero[i, None], left.at_zero[order] * right.mean[order][j])
            tile = _put(tile, right.is_zero[j], right.at_zero[order] * left.mean[order][i, None])
        return tile

    def work(i: slice, j: slice) -> None:
        gram = pairs.gram[i, j]
        theta, same = _angles(gram * left.inverse_std[i, None] * right.inverse_std[j])
        block = rule.block(expectation(i, j, 0, theta, same))
        if pairs.tangent is not None:
            slopes = expectation(i, j, 1, theta, same)
            with numpy.errstate(over="ignore", invalid="ignore"):
                tangent = rule.next_tangent(pairs.tangent[i, j], slopes, block)
            _refuse_overflow(tangent)
            pairs.tangent[i, j] = tangent
        if rule.residual:
            block += gram
        pairs.gram[i, j] = block

    over_tiles(pairs.gram, pairs.symmetric, work)


@dataclass(frozen=True, eq=False)
class _Side:
    """What a tile needs of the inputs on one side, in the matrix's library and place; pairs by order (f, f')."""

    q: Any
    inverse_std: Any
    root: tuple[Any, Any]
    square: tuple[Any, Any]
    mean: tuple[Any, Any]
    at_zero: tuple[float, float]
    is_zero: Any
    any_zero: bool

    @classmethod
    def of(cls, activation: "Activation", moments: _Moments, like: Any) -> "_Side":
        """At one layer."""
        is_zero = moments.q == 0.0
        squares = (moments.second_moment, moments.slope_second_moment)
        return cls(
            place_like(moments.q, like),
            place_like(inverse_root(moments.q), like),
            tuple(place_like(numpy.sqrt(square), like) for square in squares),
            tuple(place_like(square, like) for square in squares),
            tuple(place_like(mean, like) for mean in (moments.mean, moments.slope_mean)),
            (float(activation(0.0)), float(activation.derivative(0.0))),
            place_like(1.0 * is_zero, like) > 0.0,
            bool(is_zero.any()),
        )
