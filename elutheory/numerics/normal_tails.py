"""The overshoot U = Z − t of a standard normal Z given Z > t: Mills' ratio, moments, differences, to a few ulp.

With I_n(t) = ∫_0^∞ u^n exp(−u²/2 − t u) du, E U^n = I_n / I_0, and I_{n+1} = n I_{n−1} − t I_n. Written for the ratios
r_n = I_n / I_{n−1} this is the continued fraction r_n = n / (t + r_{n+1}): positive terms only, so relative accuracy
for every t > 0, where the textbook forms 1 − t M(t) and (1 + t²) M(t) − t cancel like t² and t⁴.
Arrays are one-dimensional, numpy or torch, float32 or float64; nothing is upcast.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy
from jaxtyping import Float
from scipy import special

from elutheory.numerics.arrays import Array, indices, library

SQRT_HALF = math.sqrt(0.5)
SQRT_HALF_PI = math.sqrt(0.5 * math.pi)
DENSITY_AT_ZERO = 1.0 / math.sqrt(2.0 * math.pi)


# Below: r_n by forward recurrence from Mills' ratio, which multiplies its error by t⁴/2, 40 at 3; above: the continued
# fraction. At 1.5 that has not converged and E f² of ELU is wrong; tests/numerics/test_normal_tails.py has both sides.
CONTINUED_FRACTION_FROM = 3.0
# (from, terms) by bytes per number: what leaves a few units in the last place, with a quarter to spare; half of the
# terms leave 1e-10. tests/numerics/test_normal_tails.py measures it at the start of each region.
_DEPTHS = {4: ((3.0, 12), (4.5, 9), (7.0, 7), (16.0, 4)), 8: ((3.0, 42), (4.5, 24), (7.0, 16), (16.0, 9))}


def erfcx(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """exp(x²) erfc(x), which neither over- nor underflows for x >= 0."""
    return special.erfcx(x) if isinstance(x, numpy.ndarray) else library(x).special.erfcx(x)


def erf(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The error function, next to 0 too to full relative accuracy."""
    return special.erf(x) if isinstance(x, numpy.ndarray) else library(x).special.erf(x)


def normal_distribution(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Phi(z), relative accuracy in the lower tail too: torch's own `ndtr` is (1 + erf)/2, which has none there."""
    return special.ndtr(z) if isinstance(z, numpy.ndarray) else 0.5 * library(z).special.erfc(-SQRT_HALF * z)


def mills_ratio(t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """M(t) = (1 − Phi(t)) / phi(t) = I_0(t), t >= 0."""
    return SQRT_HALF_PI * erfcx(SQRT_HALF * t)


def normal_density(t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """phi(t)."""
    return DENSITY_AT_ZERO * library(t).exp(-0.5 * t * t)


@dataclass(frozen=True)
class Overshoot:
    """M(t), r_1 = E U and r_2 = E U² / E U for t >= 0; the variance of U is r_1 (r_2 − r_1)."""

    mills: Float[Array, " points"]
    first: Float[Array, " points"]
    second: Float[Array, " points"]


def overshoot(t: Float[Array, " points"]) -> Overshoot:
    """Mills' ratio and the first two ratios r_1, r_2 at t >= 0, each to about 100 ulp (below 3) or a few (above)."""
    mills = mills_ratio(t)
    first = 1.0 / mills - t
    second = 1.0 / first - t
    for region, depth in _regions(t):
        far = t[region]
        ratio = _last_ratio(far, depth)
        for n in range(depth - 1, 1, -1):
            ratio = n / (far + ratio)
        second[region] = ratio
        first[region] = 1.0 / (far + ratio)
    return Overshoot(mills, first, second)


def _regions(t: Any) -> Iterator[tuple[Any, int]]:
    """Where t >= 3, by the depth that the continued fraction needs there."""
    if not (t >= CONTINUED_FRACTION_FROM).any():
        return
    depths = _DEPTHS[t.dtype.itemsize]
    starts = [start for start, _ in depths]
    for (start, depth), end in zip(depths, [*starts[1:], math.inf], strict=True):
        region = indices((t >= start) & (t < end))
        if len(region):
            yield region, depth


def _last_ratio(t: Any, depth: int) -> Any:
    """r_N = N / (t + r_{N+1}) with r_{N+1} ≈ r_N + dr_N/dN, in two steps from the fixed point."""
    root = (t * t + 4.0 * depth) ** 0.5
    return 0.5 * ((t * t + 4.0 * depth - 2.0 * (1.0 - t / root)) ** 0.5 - t)


def laplace_differences(
    t: Float[Array, " points"], s: Float[Array, " points"]
) -> tuple[Float[Array, " points"], Float[Array, " points"]]:
    """E(1 − e^{−sU}) and E(1 − e^{−sU})², t >= 3, s > 0: relative accuracy however small s is.

    First and second differences of M over t, t + s, t + 2s, carried through the continued fraction: with a, b, c the
    three values of r_n, e and e' their divided differences and w that of second order,
    e = a b (1 − e₊) / n and w = b ((e + e')(1 − e₊) − c w₊) / n, where ₊ marks level n + 1.
    """
    xp = library(t)
    first, second = xp.empty_like(t), xp.empty_like(t)
    for region, depth in _regions(t):
        first[region], second[region] = _differences(t[region], s[region], depth)
    return first, second


def _differences(t: Any, s: Any, depth: int) -> tuple[Any, Any]:
    points = (t, t + s, t + 2.0 * s)
    roots = [(u * u + 4.0 * depth) ** 0.5 for u in points]
    a, b, c = (_last_ratio(u, depth) for u in points)
    e = 0.5 * (1.0 - (points[0] + points[1]) / (roots[0] + roots[1]))
    e_next = 0.5 * (1.0 - (points[1] + points[2]) / (roots[1] + roots[2]))
    w = 2.0 * depth / roots[1] ** 3
    for n in range(depth - 1, -1, -1):
        numerator = max(n, 1)  # level 0 is Mills' ratio, 1 / (t + r_1)
        a, b, c = numerator / (points[0] + a), numerator / (points[1] + b), numerator / (points[2] + c)
        lower, lower_next = e, e_next
        e, e_next = a * b * (1.0 - lower) / numerator, b * c * (1.0 - lower_next) / numerator
        w = b * ((e + e_next) * (1.0 - lower) - c * w) / numerator
    return s * e / a, s * s * w / a


def density_derivatives(
    density: Float[Array, " points"], distance: Float[Array, " points"], std: Float[Array, " points"]
) -> list[Float[Array, " points"]]:
    """The density phi((mean − at)/std)/std and its first three derivatives by the mean.

    `density` is that value, `distance` is mean − at, std > 0.
    """
    # Written with w/std, so that a tiny std gives 0 · large, not nan; beyond |w| = 64 the density is 0 anyway.
    bound = 64.0
    w = (distance / std).clip(-bound, bound)
    inverse = 1.0 / std
    hermite = [1.0, w, w * w - 1.0, (w * w - 3.0) * w]
    derivatives = [density]
    scale = density
    for n in (1, 2, 3):
        scale = -scale * inverse
        derivatives.append(scale * hermite[n])
    return derivatives
