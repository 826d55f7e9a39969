"""M2 for continuous piecewise linear f: what such forms share, and those with no kink or one (ReLU, leaky ReLU, |x|).

Every moment is a sum over the pieces of probability × conditional moment, the variance
Σ p_i V_i + Σ_{i<j} p_i p_j (m_i − m_j)²: positive terms only. The pieces' own moments are those of a truncated normal.
Notation of the derivatives: F = E f, a subscript counts derivatives by the mean.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from jaxtyping import Float

from elutheory.moments.closed_forms.form import SMALLEST_STD, Bend, PiecewiseForm, point_masses
from elutheory.numerics.arrays import Array, library
from elutheory.numerics.normal_tails import (
    density_derivatives,
    normal_density,
    normal_distribution,
    overshoot,
)

# |z| is cut off here: beyond, phi(z) is 0 in double precision. Good from 39 up; at 32 tails of 1e-300 are wrong, which
# test_both_sides_of_every_switch… and test_certified_on_random_points (tests/moments/test_moments.py) notice.
Z_LIMIT = 64.0


@dataclass(frozen=True)
class StraightLine:
    """x ↦ intercept + slope x: f itself, or one piece of it; `zero`: where it vanishes, if that is a float exactly."""

    intercept: float
    slope: float
    zero: float | None = None

    def __call__(self, x: Any) -> Any:
        """The line's value at x, next to its zero too without cancellation."""
        return self.intercept + self.slope * x if self.zero is None else self.slope * (x - self.zero)

    def reflected(self) -> "StraightLine":
        """x ↦ the line's value at −x."""
        return StraightLine(self.intercept, -self.slope, None if self.zero is None else -self.zero)


@dataclass(frozen=True)
class PieceMoments:
    """Probability, conditional mean and variance of f on one piece, and its slope.

    `offset` is the mean less the decomposition's `reference`: where f is far from 0, differences of the pieces' means
    would lose their digits, those of their offsets do not.
    """

    probability: Float[Array, " points"]
    mean: Float[Array, " points"]
    offset: Float[Array, " points"]
    variance: Float[Array, " points"]
    slope: float


@dataclass(frozen=True)
class Decomposition:
    """The pieces from left to right, the mean of f, f at a bend close to X, and the density of X at each bend."""

    pieces: tuple[PieceMoments, ...]
    mean: Float[Array, " points"]
    reference: Float[Array, " points"]
    densities: tuple[Float[Array, " points"], ...]


class PiecewiseLinear(PiecewiseForm):
    """What the three forms share: all of it follows from the pieces' probabilities, means and variances."""

    @abstractmethod
    def decomposition(self, mean: Float[Array, " points"], std: Float[Array, " points"]) -> Decomposition:
        """All ingredients, for finite `mean` and `std` > 0."""

    @property
    def tilt(self) -> float:
        """There is no exponential."""
        return 0.0

    @property
    def is_piecewise_linear(self) -> bool:
        """Yes."""
        return True

    def moments(
        self, mean: Float[Array, " points"], std: Float[Array, " points"]
    ) -> tuple[Float[Array, " points"], ...]:
        """The six moments, each a sum over the pieces."""
        d = self.decomposition(mean, std)
        second: Any = 0.0
        slope: Any = 0.0
        slope_second: Any = 0.0
        log_slope: Any = 0.0
        for piece in d.pieces:
            second = second + piece.probability * (piece.mean * piece.mean + piece.variance)
            slope = slope + piece.probability * piece.slope
            slope_second = slope_second + piece.probability * (piece.slope * piece.slope)
            log_slope = log_slope + _weighted_logarithm(piece)
        return d.mean, second, _variance(d), slope, slope_second, log_slope

    def derivative(
        self, quantity: str, order: int, mean: Float[Array, " points"], std: Float[Array, " points"]
    ) -> Float[Array, " points"]:
        """Derivatives by the mean; beyond the first few they are point masses at the bends alone."""
        state, bends = self.decomposition(mean, std), self.bends
        squares = [bend.jump * (bend.lower_slope + bend.upper_slope) for bend in bends]
        densities = [
            density_derivatives(density, mean - bend.at, std)
            for density, bend in zip(state.densities, bends, strict=True)
        ]
        zero = 0.0 * mean

        def at_bends(weights: Sequence[Any], n: int) -> Any:
            return sum((weight * d[n] for weight, d in zip(weights, densities, strict=True)), zero)

        slope_mean = sum((piece.probability * piece.slope for piece in state.pieces), zero)

        def F(n: int) -> Any:
            return slope_mean if n == 1 else at_bends([bend.jump for bend in bends], n - 2)

        if quantity == "mean":
            return F(order)
        if quantity == "slope_mean":
            return F(order + 1)
        if quantity == "slope_second_moment":
            return at_bends(squares, order - 1)
        if quantity == "log_slope_mean":
            if min(piece.slope for piece in state.pieces) <= 0:
                return zero
            return at_bends([math.log(bend.upper_slope / bend.lower_slope) for bend in bends], order - 1)
        pairs = [(p, q) for i, p in enumerate(state.pieces) for q in state.pieces[i + 1 :]]
        if quantity == "second_moment":
            if order == 1:
                return 2.0 * sum((p.probability * p.mean * p.slope for p in state.pieces), zero)
            weighted = [bend.value * bend.jump for bend in bends]
            if order == 2:
                slope_second = sum((p.probability * (p.slope * p.slope) for p in state.pieces), zero)
                return 2.0 * (slope_second + at_bends(weighted, 0))
            return 2.0 * (at_bends(squares, order - 3) + at_bends(weighted, order - 2))
        if order == 1:
            return 2.0 * sum(
                (p.probability * q.probability * ((p.offset - q.offset) * (p.slope - q.slope)) for p, q in pairs), zero
            )
        mean_offset = sum((p.probability * p.offset for p in state.pieces), zero)
        offsets = [bend.jump * ((bend.value - state.reference) - mean_offset) for bend in bends]
        if order == 2:
            between = sum((p.probability * q.probability * (p.slope - q.slope) ** 2 for p, q in pairs), zero)
            return 2.0 * (between + at_bends(offsets, 0))
        if order == 3:
            return 2.0 * (at_bends(squares, 0) - 2.0 * F(1) * F(2) + at_bends(offsets, 1) - F(1) * F(2))
        return 2.0 * (
            at_bends(squares, 1)
            - 2.0 * (F(2) ** 2 + F(1) * F(3))
            + at_bends(offsets, 2)
            - 2.0 * F(1) * F(3)
            - F(2) ** 2
        )

    def conditional_curvature(
        self, mean: Float[Array, "pairs panels nodes"], std: Float[Array, "pairs 1 1"]
    ) -> Float[Array, "pairs panels nodes"]:
        """Between the bends f'' is 0; what is left are the point masses."""
        return point_masses(self.bends, mean, std)


@final
@dataclass(frozen=True)
class Line(PiecewiseLinear):
    """f(x) = intercept + slope x."""

    line: StraightLine

    @property
    def bends(self) -> tuple[Bend, ...]:
        """None."""
        return ()

    def value(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """intercept + slope x."""
        return self.line(x)

    def slope(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The slope, wherever x is."""
        return self.line.slope + 0.0 * x

    def decomposition(self, mean: Float[Array, " points"], std: Float[Array, " points"]) -> Decomposition:
        """One piece of probability 1."""
        value, slope = self.line(mean), self.line.slope
        one = 0.0 * mean + 1.0
        return Decomposition(
            (PieceMoments(one, value, 0.0 * mean, (slope * std) * (slope * std), slope),), value, value, ()
        )

    def conditional_slope(
        self, mean: Float[Array, "pairs panels nodes"], std: Float[Array, "pairs 1 1"]
    ) -> Float[Array, "pairs panels nodes"]:
        """The slope, whatever is given."""
        return self.line.slope + 0.0 * mean


@final
@dataclass(frozen=True)
class Kink(PiecewiseLinear):
    """Two half-lines that meet at `bend`."""

    bend: Bend
    lower: StraightLine
    upper: StraightLine

    @property
    def bends(self) -> tuple[Bend, ...]:
        """The one."""
        return (self.bend,)

    def reflected(self) -> "Kink":
        """x ↦ f(−x)."""
        return Kink(self.bend.reflected(), self.upper.reflected(), self.lower.reflected())

    def value(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The half-line that x is on."""
        return library(x).where(x > self.bend.at, self.upper(x), self.lower(x))

    def slope(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The slope of the half-line that x is on."""
        return library(x).where(x > self.bend.at, self.upper.slope + 0.0 * x, self.lower.slope + 0.0 * x)

    def conditional_slope(
        self, mean: Float[Array, "pairs panels nodes"], std: Float[Array, "pairs 1 1"]
    ) -> Float[Array, "pairs panels nodes"]:
        """Each slope times the probability of its side; a flat side costs nothing."""
        z = (mean - self.bend.at) / library(mean).clip(std, SMALLEST_STD, None)
        lower, upper = self.lower.slope, self.upper.slope
        if not lower:
            return upper * normal_distribution(z)
        if not upper:
            return lower * normal_distribution(-z)
        return upper * normal_distribution(z) + lower * normal_distribution(-z)

    def decomposition(self, mean: Float[Array, " points"], std: Float[Array, " points"]) -> Decomposition:
        """The side that holds the mean, seen from it, and the far side, seen from the bend."""
        xp, f = library(mean), self
        distance = mean - f.bend.at
        z = xp.clip(distance / std, -Z_LIMIT, Z_LIMIT)
        positive = z >= 0
        away = xp.abs(z)
        phi = normal_density(z)
        over = overshoot(away)
        tail = phi * over.mills
        hazard = phi / (1.0 - tail)
        # from the kink: the side that holds the mean, and the far side (the smaller tail); variances over std²
        near_shift, near_variance = std * hazard, 1.0 - hazard * (hazard + away)
        far_reach, far_variance = std * over.first, over.first * (over.second - over.first)
        upper_std, lower_std = f.upper.slope * std, f.lower.slope * std
        upper_mean = xp.where(
            positive, f.upper(mean) + f.upper.slope * near_shift, f.bend.value + f.upper.slope * far_reach
        )
        lower_mean = xp.where(
            positive, f.bend.value - f.lower.slope * far_reach, f.lower(mean) - f.lower.slope * near_shift
        )
        upper = PieceMoments(
            xp.where(positive, 1.0 - tail, tail),
            upper_mean,
            f.upper.slope * xp.where(positive, distance + near_shift, far_reach),
            upper_std * (upper_std * xp.where(positive, near_variance, far_variance)),
            f.upper.slope,
        )
        lower = PieceMoments(
            xp.where(positive, tail, 1.0 - tail),
            lower_mean,
            f.lower.slope * xp.where(positive, -far_reach, distance - near_shift),
            lower_std * (lower_std * xp.where(positive, far_variance, near_variance)),
            f.lower.slope,
        )
        # f is the line at the mean plus a multiple of max(0, distance beyond the kink)
        rise = f.bend.jump * (tail * far_reach)
        value = xp.where(positive, f.upper(mean), f.lower(mean)) + rise
        return Decomposition((lower, upper), value, f.bend.value + 0.0 * mean, (phi / std,))


def _variance(d: Decomposition) -> Any:
    """Between the pieces plus within them, every term positive."""
    total: Any = 0.0
    for i, piece in enumerate(d.pieces):
        total = total + piece.probability * piece.variance
        for other in d.pieces[i + 1 :]:
            difference = piece.offset - other.offset
            total = total + piece.probability * other.probability * difference * difference
    return total


def _weighted_logarithm(piece: PieceMoments) -> Any:
    """−inf for a flat piece of positive probability, nan for a falling one."""
    if piece.slope > 0:
        return math.log(piece.slope) * piece.probability
    if piece.slope < 0:
        return piece.probability * math.nan
    xp = library(piece.probability)
    return xp.where(piece.probability > 0, -math.inf + 0.0 * piece.probability, 0.0 * piece.probability)
