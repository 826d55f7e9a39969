"""The pairs of a data set at one layer, the law that takes them to the next, and the arithmetic on tiles of them."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy
from jaxtyping import Bool, Float

from elutheory.errors import InputError
from elutheory.gram.arguments import SAME_CORRELATION, GramArguments
from elutheory.numerics.arrays import Array, library, place_like
from elutheory.numerics.tiles import Ticks, is_diagonal, mirror, over_tiles

_OVERFLOW = "the second moments or the tangent kernel exceed float64's range within this depth."
# Relative spread of the second moments that is rounding: norms are sums of products, and pass through layers. With 0
# `test_equal_norms_to_rounding_and_no_close_pairs` fails.
EQUAL = 32 * 2.0**-52


@dataclass(frozen=True)
class LayerRule:
    """From E f f to the next net input's second moments: σ_w² E f f + σ_b² (P1), plus the present ones if residual.

    `own`: what the layer's own weights and biases add to the tangent kernel, factors (weight, bias) in
    weight · E f f + bias. None: (σ_w², σ_b²), P5's parametrisation; (n, 1) above n units is that of training (T1).
    """

    weight_variance: float
    bias_variance: float
    residual: bool = False
    own: tuple[float, float] | None = None

    def block(self, expectation: Any) -> Any:
        """Second moments of W f(h) + b from E f f (numbers or arrays)."""
        return self.weight_variance * expectation + self.bias_variance

    def next(self, present: Any, expectation: Any) -> Any:
        """Second moments of the next net input from those of the present one and E f f."""
        return self.block(expectation) + present if self.residual else self.block(expectation)

    @property
    def own_factors(self) -> tuple[float, float]:
        """The factor of E f f and the constant in the layer's own part of the tangent kernel."""
        return (self.weight_variance, self.bias_variance) if self.own is None else self.own

    def own_part(self, expectation: Any) -> Any:
        """The layer's own part of the tangent kernel from E f f."""
        weight, bias = self.own_factors
        return weight * expectation + bias

    def next_tangent(self, present: Any, slopes: Any, expectation: Any) -> Any:
        """P5, T1: the next tangent kernel from the present one, E f'f' and E f f."""
        following = self.own_part(expectation) + self.weight_variance * slopes * present
        return following + present if self.residual else following


class Extent(Enum):
    """How much of the matrices is there.

    - INPUTS: `gram` is the caller's, of the inputs, and is not written to; layer one is `first.block` of it, and
      `first.own_part` in the tangent kernel, but is not formed: one pass over the matrix less where all layers are one
      map.
    - UPPER: the matrices are our own; of symmetric ones only the tiles on and above the diagonal count.
    - WHOLE: all entries count, and the diagonal is exactly the second moments.
    """

    INPUTS = "inputs"
    UPPER = "upper half"
    WHOLE = "whole"


@dataclass
class Pairs:
    """Net-input second moments of all pairs at one layer, with those of rows and columns, changed in place.

        of_layer_one        settle            complete
          ──────▶  INPUTS ─────────▶ UPPER ─────────────▶ WHOLE
                      │                ▲  layer by layer    │  ▲
                      │                └────────────────────┘  │
                      └──── one map for all layers ────────────┘   (from each of the three)

    - `gram` and, if `with_tangent`, from UPPER on `tangent` (P5): numpy or torch, (rows, columns), float64;
    - `left`, `right`: the second moments of the rows' and the columns' inputs, always numpy;
    - `limits`: the lowest and the highest correlation of inputs that differ, where they are known and norms are equal;
    - `methods` and the largest `error` of what the layers so far were computed by;
    - `ticks` is told of the tiles that are done, `layers` being still to come.
    """

    gram: Float[Array, "rows columns"]
    left: Float[numpy.ndarray, " rows"]
    right: Float[numpy.ndarray, " columns"]
    symmetric: bool
    extent: Extent
    first: LayerRule = LayerRule(1.0, 0.0)
    with_tangent: bool = False
    tangent: Float[Array, "rows columns"] | None = None
    limits: tuple[float, float] | None = None
    methods: list[str] = field(default_factory=list)
    error: float = 0.0
    ticks: Ticks | None = None
    layers: int = 1

    @classmethod
    def of_layer_one(cls, arguments: GramArguments, rule: LayerRule, with_tangent: bool) -> "Pairs":
        """Layer one, σ_w² gram + σ_b², and its own part as the tangent kernel, in P5 the same."""
        left, right = (rule.block(values) for values in (arguments.left, arguments.right))
        limits = None
        if equal_norms(left, right) and left[0] > 0.0 and equal_norms(arguments.left, arguments.right):
            lowest, highest = (rule.block(arguments.left[0] * end) / left[0] for end in arguments.correlations)
            limits = float(lowest), float(highest)
        return cls(arguments.gram, left, right, arguments.symmetric, Extent.INPUTS, rule, with_tangent, limits=limits)

    @property
    def has_equal_norms(self) -> bool:
        """Whether all rows and columns have one second moment, up to rounding."""
        return equal_norms(self.left, self.right)

    @property
    def method(self) -> str:
        """All that the layers so far were computed by, in order."""
        return "; ".join(self.methods) or "no activation"

    def settle(self) -> None:
        """From INPUTS to UPPER: layer one is formed, in matrices of its own."""
        if self.extent is not Extent.INPUTS:
            return
        inputs, self.gram = self.gram, library(self.gram).empty_like(self.gram)
        tangent = self.tangent = library(self.gram).empty_like(self.gram) if self.with_tangent else None

        def work(rows: slice, columns: slice) -> None:
            weight, bias = self.first.weight_variance, self.first.bias_variance
            self.gram[rows, columns] = affine(inputs[rows, columns], weight, bias)
            if tangent is not None:
                tangent[rows, columns] = affine(inputs[rows, columns], *self.first.own_factors)

        over_tiles(self.gram, self.symmetric, work)
        self.extent = Extent.UPPER

    def complete(self) -> None:
        """From UPPER to WHOLE: the lower halves, and the diagonal exactly the second moments."""
        self.settle()
        if self.symmetric and self.extent is Extent.UPPER:
            for matrix in (self.gram, self.tangent):
                if matrix is not None:
                    mirror(matrix)
            diagonal = library(self.gram).arange(len(self.left))
            self.gram[diagonal, diagonal] = place_like(self.left, self.gram)
        self.extent = Extent.WHOLE

    def note(self, method: str, error: float) -> None:
        """What the last layers were computed by, and its largest deviation found."""
        if method not in self.methods:
            self.methods.append(method)
        self.error = max(self.error, error)

    def store(self, matrix: Float[Array, "rows columns"], rows: slice, columns: slice, tile: Any) -> None:
        """Writes a tile and, in a symmetric matrix, its mirror image; a tile on the diagonal is made symmetric."""
        if is_diagonal(rows, columns, self.symmetric):
            tile = library(tile).triu(tile) + library(tile).triu(tile, 1).T
        elif self.symmetric:
            matrix[columns, rows] = tile.T
        matrix[rows, columns] = tile


def equal_norms(left: Float[numpy.ndarray, " rows"], right: Float[numpy.ndarray, " columns"]) -> bool:
    """Whether all these second moments are one, up to rounding."""
    smallest, largest = min(left.min(), right.min()), max(left.max(), right.max())
    return bool(largest <= smallest * (1.0 + EQUAL))


def refuse_overflow(*values: Any) -> None:
    """Raises InputError unless all these arrays are finite."""
    if not all(library(value).isfinite(value).all() for value in values):
        raise InputError(_OVERFLOW)


# --- tiles ----------------------------------------------------------------------------------------------------------

Tile = Float[Array, "rows columns"]


def affine(tile: Tile, scale: float, offset: float) -> Tile:
    """tile · scale + offset, in a new array."""
    tile = tile * scale
    if offset:
        tile += offset
    return tile


def angles_of(cosine: Tile, threshold: float = SAME_CORRELATION) -> tuple[Tile, Bool[Array, "rows columns"] | None]:
    """The angles of a tile of cosines, in its place, and where those are `threshold` or more (None: nowhere)."""
    xp = library(cosine)
    lowest, highest = float(cosine.min()), float(cosine.max())
    same = cosine >= threshold if highest >= threshold else None
    if lowest < -1.0 or highest > 1.0:
        xp.clip(cosine, -1.0, 1.0, out=cosine)
    return xp.arccos(cosine, out=cosine), same
