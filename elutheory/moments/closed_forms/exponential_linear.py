"""M3, M4, M6 for f(x) = A x (x > 0), B (e^{k x} − 1) (x <= 0): ELU, CELU, SELU (arXiv 1511.07289), no cancellation.

Y = k X has mean m and standard deviation s, z = mean/std, U = the overshoot of −Z beyond z (`normal_tails`), so that
Y = −s U given Y < 0. All follows from D1 = E(1 − e^{−sU}), D2 = E(1 − e^{−sU})² and V = D2 − D1², the conditional
variance of e^Y. Var f = P₊P₋ (m₊ − m₋)² + P₊V₊ + P₋V₋ has positive terms only.
Notation of the derivatives: F = E f, Q = E f'², J = E[f f'; X < 0].
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy
from jaxtyping import Float

from elutheory.moments.closed_forms.form import SMALLEST_STD, Bend, PiecewiseForm, point_masses
from elutheory.numerics.arrays import Array, indices, library
from elutheory.numerics.normal_tails import (
    CONTINUED_FRACTION_FROM,
    SQRT_HALF,
    density_derivatives,
    erfcx,
    laplace_differences,
    mills_ratio,
    normal_density,
    normal_distribution,
    overshoot,
)
from elutheory.numerics.quadrature import gauss_legendre

# The switches between arrangements. Each was moved on purpose: "good" is where every moment of 17,715 points kept its
# bound in tests/moments/test_moments.py, whose tests named …switch… have points on both sides of each and notice more.

# |z| is cut off here: beyond, phi(z) is 0 in double precision. Good from 39 up; at 32 tails of 1e-300 are wrong.
Z_LIMIT = 64.0
# D1, D2 come from erfcx, with 1 − ratio, where the conditional mean of −Y is at least this, and below it from the
# series of s^n E U^n / n!, which need _TERMS terms. D1, good from 0.1 to 0.5: at 1 the series has not converged (2e-11
# in the mean of alpha = 10), at 0.01 the difference cancels (7e-12). D2, good from 0.125 to 0.25: at 0.5 an error of
# 2e-9, at 0.06 one of 2e-13. Three quarters of the terms leave 3e-13, half of them 2e-8.
SMALL_FIRST = 0.5
SMALL_SECOND = 0.25
_TERMS = {4: 14, 8: 30}
# V comes from the moments of Z itself, not of U, for z below Z_CENTRED and s below S_CENTRED: D2 − D1² would multiply
# its error by z². Good from −8 to 0: at −30 the variance is off by 2e-12, at 0.5 by its own size. S_CENTRED is good
# from 0.2 to 0.55: at 0.8 the series has not converged (2e-11), at 0.1 the difference cancels (3e-12).
Z_CENTRED = -1.0
S_CENTRED = 0.4
_TERMS_CENTRED = {4: 14, 8: 28}
# Where E f is within this share of the sum of its two pieces, it is integrated node by node: rounding averages out,
# where the pieces' sum leaves 5 times the bound. Good from 0.0005 to 0.5, for where it matters E f is all but 0.
NEAR_ZERO = 0.02
# The range of the node-by-node rule. E f is near its zero only for small |z|, hence good from 0.25 to 40; s is good
# from 8 to 32: at 2 the sum is off by 5e-12, for s in the hundreds the panels no longer resolve e^{−s u}.
NEAR_ZERO_Z = 4.0
NEAR_ZERO_S = 16.0
# Up to this t, e^{y + t²/2} Phi(−z − t) loses no digit as it stands: Phi(z) dominates where it is small. Beyond it the
# exponential would amplify the rounding of y + t²/2, but no pair of some hundreds was spoiled by 1 or by 20. Both forms
# are compared in tests/kernels (point set "conditional slope").
_SMALL_TILT = 2.0
# Short of overflow; the probability it is multiplied by is 0 there.
_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True)
class ConditionalMoments:
    """Probability, conditional mean and variance of f on its two pieces, and what else the moments are made of.

    `upper_sum` = E max(X, 0), `lower_sum` = E max(−X, 0); `lower_exponential` = B k E[e^Y; Y < 0],
    `lower_exponential_square` = (B k)² E[e^{2Y}; Y < 0]; `density` = that of X at the kink.
    """

    upper: Float[Array, " points"]
    lower: Float[Array, " points"]
    upper_mean: Float[Array, " points"]
    lower_mean: Float[Array, " points"]
    upper_variance: Float[Array, " points"]
    lower_variance: Float[Array, " points"]
    upper_sum: Float[Array, " points"]
    lower_sum: Float[Array, " points"]
    lower_exponential: Float[Array, " points"]
    lower_exponential_square: Float[Array, " points"]
    mean: Float[Array, " points"]
    second_moment: Float[Array, " points"]
    density: Float[Array, " points"]


@final
@dataclass(frozen=True)
class ExponentialLinear(PiecewiseForm):
    """A x above 0 and B (e^{k x} − 1) below: A = bend.upper_slope, B = `amplitude`, k = `rate`, B k = bend.lower_slope.

    `bend` is at 0, with value 0 and jump A − B k, which may be 0 (ELU with alpha = 1). A, B, k > 0.
    """

    amplitude: float
    rate: float
    bend: Bend

    @property
    def bends(self) -> tuple[Bend, ...]:
        """The one at 0."""
        return (self.bend,)

    @property
    def tilt(self) -> float:
        """The rate k."""
        return self.rate

    @property
    def is_piecewise_linear(self) -> bool:
        """No."""
        return False

    def value(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Both pieces added, each with its argument cut off at 0: neither overflows."""
        xp = library(x)
        lower = self.amplitude * xp.expm1(xp.clip(self.rate * x, None, 0.0))
        return lower + self.bend.upper_slope * xp.clip(x, 0.0, None)

    def slope(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """A above 0, B k e^{k x} below."""
        xp = library(x)
        lower = self.bend.lower_slope * xp.exp(xp.clip(self.rate * x, None, 0.0))
        return xp.where(x > 0, self.bend.upper_slope, lower)

    def moments(
        self, mean: Float[Array, " points"], std: Float[Array, " points"]
    ) -> tuple[Float[Array, " points"], ...]:
        """The six moments (M3, M4, M6)."""
        c = self.conditional_moments(mean, std)
        A, g = self.bend.upper_slope, self.bend.lower_slope
        log_slope = math.log(A) * c.upper + math.log(g) * c.lower - self.rate * c.lower_sum
        slope, slope_second = A * c.upper + c.lower_exponential, A * A * c.upper + c.lower_exponential_square
        return c.mean, c.second_moment, _variance(c), slope, slope_second, log_slope

    def derivative(
        self, quantity: str, order: int, mean: Float[Array, " points"], std: Float[Array, " points"]
    ) -> Float[Array, " points"]:
        """Derivatives by the mean; those of the variance for f + B from order 3, where the constant would cancel."""
        c = self.conditional_moments(mean, std)
        A, B, k = self.bend.upper_slope, self.amplitude, self.rate
        g, jump = self.bend.lower_slope, self.bend.jump
        d = density_derivatives(c.density, mean, std)
        e1 = [c.lower_exponential]  # B k E[e^Y; Y < 0] and its derivatives
        e2 = [c.lower_exponential_square]  # (B k)² E[e^{2Y}; Y < 0] and its derivatives
        for n in range(3):
            e1.append(k * e1[n] - g * d[n])
            e2.append(2.0 * k * e2[n] - g * g * d[n])

        def F(n: int) -> Any:
            return A * c.upper + e1[0] if n == 1 else jump * d[n - 2] + k * e1[n - 2]

        def Q(n: int) -> Any:
            return A * A * c.upper + e2[0] if n == 0 else jump * (A + g) * d[n - 1] + 2.0 * k * e2[n - 1]

        if quantity == "mean":
            return F(order)
        if quantity == "slope_mean":
            return F(order + 1)
        if quantity == "slope_second_moment":
            return Q(order)
        if quantity == "log_slope_mean":
            rise = math.log(A / g)
            return rise * d[0] + k * c.lower if order == 1 else rise * d[order - 1] - k * d[order - 2]
        if quantity == "second_moment":
            # J = E[f f'; X < 0] = k E[f²; X<0] + B k E[f; X<0] = e2/k − B e1
            shallow = c.lower_mean > -0.5 * B
            square = c.lower_mean * c.lower_mean + c.lower_variance
            xp = library(mean)
            J = xp.where(shallow, c.lower * (k * square + g * c.lower_mean), e2[0] / k - B * e1[0])
            if order == 1:
                return 2.0 * (A * (c.upper * c.upper_mean) + J)
            if order == 2:
                return 2.0 * (Q(0) + k * J)
            first = k * J + e2[0]
            return 2.0 * (Q(1) + k * first) if order == 3 else 2.0 * (Q(2) + k * (k * first + e2[1]))
        between = c.upper * c.lower
        gap = c.upper_mean - c.lower_mean
        slope_gap = jump - k * c.lower_mean  # A − E[f' | X < 0]
        within = c.lower * c.lower_variance
        if order == 1:
            return 2.0 * (between * gap * slope_gap + k * within)
        if order == 2:
            slopes = between * slope_gap * slope_gap + k * k * within
            curvature = k * (k * within - between * gap * (g + k * c.lower_mean)) - jump * d[0] * c.mean
            return 2.0 * (slopes + curvature)
        # orders 3 and 4 for f + B, which has no constant to cancel on the lower piece
        shifted = A * c.upper_sum + B * c.upper + e1[0] / k
        if order == 3:
            third = 2.0 * Q(1) + 4.0 * k * e2[0] - 2.0 * g * g * d[0] + 2.0 * B * jump * d[1]
            return third - 2.0 * (shifted * F(3) + 3.0 * F(1) * F(2))
        fourth = 2.0 * Q(2) + 4.0 * k * e2[1] - 2.0 * g * g * d[1] + 2.0 * B * jump * d[2]
        return fourth - 2.0 * (shifted * F(4) + 4.0 * F(1) * F(3) + 3.0 * F(2) ** 2)

    def conditional_slope(
        self, mean: Float[Array, "pairs panels nodes"], std: Float[Array, "pairs 1 1"]
    ) -> Float[Array, "pairs panels nodes"]:
        """A Phi(z) + B k e^{y + t²/2} Phi(−z − t) with z = mean/std, y = k mean, t = k std (M1, M3)."""
        spread = library(mean).clip(std, SMALLEST_STD, None)
        z = mean / spread
        return self.bend.upper_slope * normal_distribution(z) + self._lower_slope(mean, spread, z)

    def conditional_curvature(
        self, mean: Float[Array, "pairs panels nodes"], std: Float[Array, "pairs 1 1"]
    ) -> Float[Array, "pairs panels nodes"]:
        """The point mass of the bend, and k times the lower slope."""
        spread = library(mean).clip(std, SMALLEST_STD, None)
        return point_masses(self.bends, mean, std) + self.rate * self._lower_slope(mean, spread, mean / spread)

    def _lower_slope(self, mean: Any, std: Any, z: Any) -> Any:
        """B k E[e^{k X}; X < 0], z = mean/std, std > 0.

        Written phi(z) times Mills' ratio at z + k std where that is positive, so that nothing overflows.
        """
        xp = library(mean)
        t = self.rate * std
        shifted = z + t
        if bool((t <= _SMALL_TILT).all()):
            exponent = self.rate * mean + 0.5 * t * t
            # the largest is at one of the ends; the probability is 0 there
            if bool((exponent[:, -1, -1] > _LARGEST_EXPONENT).any() or (exponent[:, 0, 0] > _LARGEST_EXPONENT).any()):
                exponent = xp.clip(exponent, None, _LARGEST_EXPONENT)
            return (self.bend.lower_slope * xp.exp(exponent)) * normal_distribution(-shifted)
        below = shifted < 0
        tail = 0.5 * xp.exp(-0.5 * z * z) * erfcx(SQRT_HALF * xp.abs(shifted))
        whole = xp.exp(xp.where(below, self.rate * mean + 0.5 * t * t, xp.zeros_like(shifted) - float("inf")))
        return self.bend.lower_slope * xp.where(below, whole - tail, tail)

    def conditional_moments(self, mean: Float[Array, " points"], std: Float[Array, " points"]) -> ConditionalMoments:
        """All ingredients, for finite `mean` and `std` > 0."""
        xp = library(mean)
        A, B, k, g = self.bend.upper_slope, self.amplitude, self.rate, self.bend.lower_slope
        z = xp.clip(mean / std, -Z_LIMIT, Z_LIMIT)
        m, s = k * mean, k * std
        positive = z >= 0
        away = xp.abs(z)
        phi = normal_density(z)
        over = overshoot(away)
        tail = phi * over.mills
        lower = xp.where(positive, tail, 1.0 - tail)
        upper = xp.where(positive, 1.0 - tail, tail)
        tail_sum = tail * over.first * std  # E max(−X, 0) for z >= 0, E max(X, 0) for z < 0
        hazard = phi / (1.0 - tail)

        # the upper piece: X given X > 0
        upper_x = xp.where(positive, mean + std * hazard, std * over.first)
        unit_variance = xp.where(positive, 1.0 - hazard * (hazard + away), over.first * (over.second - over.first))
        upper_variance = A * A * std * std * unit_variance
        upper_sum = xp.where(positive, mean + tail_sum, tail_sum)
        lower_sum = xp.where(positive, tail_sum, tail_sum - mean)  # E max(−X, 0)

        # e_n = E[e^{nY}; Y < 0], e_1 scaled by B k and e_2 by its square
        shifted, twice_shifted = z + s, z + 2.0 * s
        mills_1, mills_2 = mills_ratio(xp.abs(shifted)), mills_ratio(xp.abs(twice_shifted))
        below_1, below_2 = shifted < 0, twice_shifted < 0
        tail_1, tail_2 = g * phi * mills_1, g * g * phi * mills_2
        whole_1 = g * xp.exp(xp.where(below_1, m + 0.5 * s * s, -math.inf))
        root_2 = g * xp.exp(xp.where(below_2, m + s * s, -math.inf))
        lower_exponential = xp.where(below_1, whole_1 - tail_1, tail_1)
        lower_exponential_square = xp.where(below_2, root_2 * root_2 - tail_2, tail_2)

        # D1, D2, V directly, where that is accurate
        ratio_1 = xp.where(positive, mills_1 / over.mills, lower_exponential / (g * lower))
        ratio_2 = xp.where(positive, mills_2 / over.mills, lower_exponential_square / (g * g * lower))
        first = 1.0 - ratio_1
        second = first - (ratio_1 - ratio_2)
        reach = xp.where(positive, s * over.first, s * hazard - m)  # s E U
        excess = reach - first  # E(sU − 1 + e^{−sU}) >= 0
        variance = ratio_2 - ratio_1 * ratio_1

        near = z < CONTINUED_FRACTION_FROM
        curved = reach < SMALL_FIRST
        small = indices(curved & near)
        if len(small):
            both = _series(m[small], s[small], reach[small])
            small_first = reach[small] - both[0]
            excess[small], first[small] = both[0], small_first
            tiny = reach[small] < SMALL_SECOND
            second[small] = xp.where(tiny, both[1], second[small])
            variance[small] = xp.where(tiny, both[1] - small_first * small_first, variance[small])
        far = indices(curved & ~near & (phi > 0.0))  # with no density left there is nothing to multiply
        if len(far):
            far_first, far_second = laplace_differences(z[far], s[far])
            first[far], second[far] = far_first, far_second
            excess[far] = reach[far] - far_first
            variance[far] = far_second - far_first * far_first
        lower_variance = B * B * variance
        second_lower = B * B * second
        centred = indices((z < Z_CENTRED) & (s < S_CENTRED))
        if len(centred):
            scaled = B * xp.exp(m[centred])
            kept = scaled * scaled * _centred_variance(-z[centred], s[centred], hazard[centred])
            lower_variance[centred] = kept
            second_lower[centred] = B * B * first[centred] * first[centred] + kept

        anchored = (
            xp.where(positive, A * mean, g * mean) + self.bend.jump * tail_sum + B * lower * excess
        )  # f = its tangent at the mean's side + kink + curvature
        mean_of_f = xp.where(curved, anchored, A * upper_sum - B * lower * first)
        crossing = (xp.abs(mean_of_f) < NEAR_ZERO * A * upper_sum) & (away < NEAR_ZERO_Z) & ~curved & (s < NEAR_ZERO_S)
        if crossing.any():
            mean_of_f[crossing] = _mean_near_zero(self, z[crossing], s[crossing], std[crossing])
        upper_second = A * A * upper_x * upper_x + upper_variance
        return ConditionalMoments(
            upper=upper,
            lower=lower,
            upper_mean=A * upper_x,
            lower_mean=-B * first,
            upper_variance=upper_variance,
            lower_variance=lower_variance,
            upper_sum=upper_sum,
            lower_sum=lower_sum,
            lower_exponential=lower_exponential,
            lower_exponential_square=lower_exponential_square,
            mean=mean_of_f,
            second_moment=upper * upper_second + lower * second_lower,
            density=phi / std,
        )


def _mean_near_zero(f: ExponentialLinear, z: Any, s: Any, std: Any) -> Any:
    """∫_0^13 (A std u phi(u − z) + B expm1(−s u) phi(u + z)) du, composite Gauss–Legendre; |z| < 4, s < 16."""
    xp = library(z)
    u, weight = (xp.asarray(values, dtype=z.dtype) for values in _panels())
    if xp.__name__ == "torch":
        u, weight = u.to(z.device), weight.to(z.device)
    z, s, std = z[:, None], s[:, None], std[:, None]
    upper = (f.bend.upper_slope * std) * (u * normal_density(u - z))
    lower = f.amplitude * (xp.expm1(-s * u) * normal_density(u + z))
    return ((upper + lower) * weight).sum(-1)


@lru_cache(maxsize=1)
def _panels() -> tuple[Any, Any]:
    """Twelve Gauss–Legendre nodes on each interval, shorter ones next to the kink."""
    nodes, weights = gauss_legendre(12)
    ends = numpy.array([0.0, 0.1, 0.25, 0.5, *range(1, 14)])
    half = 0.5 * numpy.diff(ends)[:, None]
    return (ends[:-1, None] + half * (nodes + 1.0)).ravel(), (half * weights).ravel()


def _series(m: Any, s: Any, reach: Any) -> tuple[Any, Any]:
    """E(sU − 1 + e^{−sU}) and E(1 − e^{−sU})² from T_n = s^n E U^n / n!, T_{n+1} = (s² T_{n−1} − m T_n) / (n + 1)."""
    square = s * s
    before, term = 1.0, reach
    excess, second = 0.0 * reach, 0.0 * reach
    sign, power = 1.0, 4.0
    for n in range(1, _TERMS[m.dtype.itemsize]):
        before, term = term, (square * before - m * term) / (n + 1)
        excess = excess + sign * term
        second = second + (sign * (power - 2.0)) * term
        sign, power = -sign, 2.0 * power
    return excess, second


def _centred_variance(tau: Any, s: Any, hazard: Any) -> Any:
    """Var(e^{sZ} | Z < tau) from T_n = s^n E[Z^n | Z < tau] / n!, tau >= 1, s small."""
    square = s * s
    before, term = 1.0, -s * hazard
    first, second = term, 0.0 * s
    weight = s * hazard
    power = 4.0
    for n in range(1, _TERMS_CENTRED[s.dtype.itemsize]):
        weight = weight * (s * tau / n)
        before, term = term, (square * before - weight) / (n + 1)
        first = first + term
        second = second + (power - 2.0) * term
        power = 2.0 * power
    return second - first * first


def _variance(c: ConditionalMoments) -> Any:
    """Var f: between the pieces plus within them, every term positive."""
    difference = c.upper_mean - c.lower_mean
    return c.upper * c.lower * difference * difference + (c.upper * c.upper_variance + c.lower * c.lower_variance)
