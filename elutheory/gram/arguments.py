"""A Gram matrix of inputs as an argument: checked, in float64, with the second moments of its rows and columns."""

import math
from dataclasses import dataclass
from typing import Any

import numpy
from jaxtyping import Float

from elutheory.errors import InputError
from elutheory.numerics.arguments import real_array
from elutheory.numerics.arrays import Array, is_torch, library, on_host, place_like
from elutheory.numerics.tiles import over_tiles

# |correlation| up to 1 + this many units in the last place is rounding: a Gram matrix is a sum of many products.
_ROUNDING = 256.0
SAME_CORRELATION = 1.0 - 4 * 2.0**-52
"""From here on a correlation is 1 to rounding, and inputs of equal norm are the same input."""


@dataclass(frozen=True, eq=False)
class GramArguments:
    """A Gram matrix as it was given, in float64, and what the checks found out about it.

    - `left` and `right`: the second moments of its rows' and columns' inputs, always numpy;
    - `symmetric`: rows and columns are the same inputs;
    - `dtype`: what the caller gave and gets back; `unit`: the rounding unit of the numbers as given;
    - `correlations`: the lowest and the highest among inputs that differ, (1, 1) if none do.
    """

    gram: Float[Array, "rows columns"]
    left: Float[numpy.ndarray, " rows"]
    right: Float[numpy.ndarray, " columns"]
    symmetric: bool
    dtype: Any
    unit: float
    correlations: tuple[float, float]

    def returned(self, values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Results as the caller gets them: in the library, the place and the dtype of what was given."""
        if is_torch(self.gram):
            return library(self.gram).as_tensor(values, dtype=self.dtype, device=self.gram.device)
        return values.astype(self.dtype, copy=False)


def gram_arguments(gram: Any, second_moments: Any) -> GramArguments:
    """A square and symmetric Gram matrix, or one of any shape with (left, right) `second_moments`, checked.

    Raises InputError naming the first entry that cannot be: nan or infinite, a negative second moment, asymmetry or
    |correlation| > 1 beyond rounding.
    """
    matrix, dtype, unit = real_array("gram", gram)
    xp = library(matrix)
    if matrix.ndim != 2:
        raise InputError(f"gram must be a matrix, not of shape {tuple(matrix.shape)}.")
    if 0 in matrix.shape:
        raise InputError(f"gram must hold at least one pair of inputs, not shape {tuple(matrix.shape)}.")
    symmetric = second_moments is None
    if symmetric:
        if matrix.shape[0] != matrix.shape[1]:
            raise InputError(
                f"gram of shape {tuple(matrix.shape)} is not square; give second_moments=(left, right) of its rows and "
                "columns."
            )
        diagonal = xp.diagonal(matrix)
        left = right = on_host(diagonal)
    else:
        if not isinstance(second_moments, tuple) or len(second_moments) != 2:
            raise InputError("second_moments must be a pair (left, right), those of gram's rows and columns.")
        if any(is_torch(values) and values.requires_grad for values in second_moments):
            raise InputError("second_moments must not require gradients: derivatives are by gram only.")
        left, right = (on_host(real_array("second_moments", values)[0]) for values in second_moments)
        if (left.shape, right.shape) != ((matrix.shape[0],), (matrix.shape[1],)):
            raise InputError(
                f"second_moments of shapes {left.shape} and {right.shape} do not fit gram of shape "
                f"{tuple(matrix.shape)}."
            )
    for values in (left, right):
        if not (numpy.isfinite(values) & (values >= 0.0)).all():
            place = int(numpy.argmin(numpy.isfinite(values) & (values >= 0.0)))
            if symmetric and not numpy.isfinite(values).all():
                _refuse_entry(matrix, left, right, symmetric, 0.0)
            raise InputError(f"the second moment of input {place} must be finite and >= 0, not {float(values[place])}.")
    inverse_left, inverse_right = (place_like(inverse_root(values), matrix) for values in (left, right))
    allowed = _ROUNDING * unit
    detached = matrix.detach() if is_torch(matrix) else matrix
    one_norm = bool((left == left[0]).all() and (right == left[0]).all())
    inverse = float(inverse_left[0]) * float(inverse_right[0])

    def correlations(rows: slice, columns: slice) -> Any:
        tile = detached[rows, columns] * inverse_left[rows, None]
        tile *= inverse_right[columns]
        return tile

    def limits(rows: slice, columns: slice) -> tuple[bool, tuple[float, float]]:
        tile = detached[rows, columns]
        correlation = tile if one_norm else correlations(rows, columns)
        low, high = float(correlation.min()), float(correlation.max())
        if one_norm:
            low, high = low * inverse, high * inverse
        sound = -1.0 - allowed <= low and high <= 1.0 + allowed
        if symmetric:
            other = detached[columns, rows].T
            if bool((tile != other).any()):
                difference = xp.abs(tile - other) * inverse_left[rows, None] * inverse_right[columns]
                sound = sound and float(difference.max()) <= allowed
        if high >= SAME_CORRELATION:
            high = highest_apart(correlations(rows, columns))
        return sound, (low, high)

    found = over_tiles(matrix, symmetric, limits)
    no_norm = (
        _nonzero(detached[place_like(left == 0.0, matrix) > 0]),
        _nonzero(detached[:, place_like(right == 0.0, matrix) > 0]),
    )
    if not all(sound for sound, _ in found) or any(no_norm):
        _refuse_entry(detached, left, right, symmetric, allowed)
    between = limits_over_tiles([ends for _, ends in found])
    return GramArguments(matrix, left, right, symmetric, dtype, unit, between)


def highest_apart(correlations: Float[Array, "rows columns"]) -> float:
    """The highest of a tile's correlations that is below 1 by more than rounding, −inf if none is."""
    apart = correlations[correlations < SAME_CORRELATION]
    return float(apart.max()) if len(apart) else -math.inf


def limits_over_tiles(found: list[tuple[float, float]]) -> tuple[float, float]:
    """The lowest and the highest of all tiles from those of each, (1, 1) if no inputs differ."""
    lowest, highest = min(low for low, _ in found), max(high for _, high in found)
    # The two may be rounded differently: of equal overlaps, the lowest may come out above the highest.
    return (min(lowest, highest), max(lowest, highest)) if highest > -math.inf else (1.0, 1.0)


def inverse_root(second_moments: Float[numpy.ndarray, " inputs"]) -> Float[numpy.ndarray, " inputs"]:
    """1 / √q of a float64 numpy array, 0 where q = 0."""
    root = numpy.sqrt(second_moments)
    return numpy.divide(1.0, root, out=numpy.zeros_like(root), where=root > 0.0)


def _nonzero(values: Any) -> bool:
    """Whether any entry is not 0."""
    return bool((values != 0).any())


def _refuse_entry(matrix: Any, left: Any, right: Any, symmetric: bool, allowed: float) -> None:
    """Raises InputError that names the first entry that is wrong."""
    entries = on_host(matrix)
    bound = numpy.sqrt(left)[:, None] * numpy.sqrt(right)
    _refuse(~numpy.isfinite(entries), entries, "gram must be finite")
    if symmetric:
        _refuse(numpy.abs(entries - entries.T) > allowed * bound, entries, "gram must be symmetric")
    _refuse(
        numpy.abs(entries) > (1.0 + allowed) * bound,
        entries,
        "|gram| must be at most the root of the two second moments' product",
    )


def _refuse(wrong: Any, entries: Any, requirement: str) -> None:
    """Raises InputError that names the first entry where `wrong` is true, if there is one."""
    if wrong.any():
        row, column = (int(place) for place in numpy.argwhere(wrong)[0])
        raise InputError(f"{requirement}; entry ({row}, {column}) is {float(entries[row, column])}.")
