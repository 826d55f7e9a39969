"""Arc-sine kernels (K5): K1–K3 in closed form for (d₀ + d₁y) Phi(y) + e₀ + e₁y, both means of y at 0: erf, GELU.

Williams (1997) has erf, Tsuchida et al. (arXiv 2002.08517) GELU. With s, t the standard deviations of y, c their
covariance, σ² = 1 + s², τ² = 1 + t², D = σ²τ² − c² and θ = arcsin(c/(στ)) = arctan(c/√D), o = Phi − ½ has

2π E o(U)o(V) = θ,   2π E U o(U) V o(V) = c θ + (s²t² − c² + c²/σ² + c²/τ²)/√D,   √(2π) E U o(V) = c/τ,

and derivatives of these by c and s (Price) are the rest. D = 1 + s² + t² + (s t sine)², and nothing cancels.
"""

import math

from jaxtyping import Bool, Float

from elutheory.kernels.pairs import PairArguments
from elutheory.moments.closed_forms.error_function import ErrorFunction
from elutheory.numerics.arrays import Array, library
from elutheory.numerics.normal_tails import DENSITY_AT_ZERO


def is_centred(form: ErrorFunction, pair: PairArguments) -> Bool[Array, " pairs"]:
    """Where the formulas hold: both means are where y = 0."""
    return (form.scale * pair.mean_u + form.offset == 0) & (form.scale * pair.mean_v + form.offset == 0)


def arc_sine(form: ErrorFunction, quantity: str, pair: PairArguments) -> Float[Array, " pairs"]:
    """value, slope or covariance of pairs for which `is_centred` says so."""
    (d0, d1), (e0, e1) = form.distribution, form.line
    level, rise = e0 + 0.5 * d0, e1 + 0.5 * d1
    xp = library(pair.std_u)
    s, t = form.scale * pair.std_u, form.scale * pair.std_v
    first, second = 1.0 + s * s, 1.0 + t * t
    product = s * t
    c = product * pair.cosine
    apart = product * pair.sine
    root = xp.hypot((first + t * t) ** 0.5, apart)  # √D
    inverses = 1.0 / first + 1.0 / second
    # d₁² θ/2π + rise², next to θ = −π/2 too to its last digit
    if d1 and abs(rise) == 0.5 * abs(d1):
        turn = (d1 * d1 / (2.0 * math.pi)) * xp.arctan2(root, -c)
    else:
        turn = (d1 * d1 / (2.0 * math.pi)) * xp.arctan2(c, root) + rise * rise
    if quantity == "slope":
        slope = turn
        if d1:
            slope = slope + (d1 * d1 / (2.0 * math.pi)) * (c / root) * (inverses + 1.0 / root / root)
        if d0:
            slope = slope + d0 * (d0 / (2.0 * math.pi) / root + rise * DENSITY_AT_ZERO * _sum_of_roots(first, second))
        return form.scale**2 * slope
    result = c * turn
    if d0:
        result = result + (d0 * d0 / (2.0 * math.pi)) * xp.arctan2(c, root)
        if rise:
            result = result + (d0 * rise * DENSITY_AT_ZERO) * c * _sum_of_roots(first, second)
    if quantity == "covariance":
        if d1:
            both = (first * second) ** 0.5
            share = (1.0 / both / root - (1.0 - inverses)) / (1.0 + root / both)
            result = result + (d1 * d1 / (2.0 * math.pi)) * c * (c / both) * share
        return result
    if d1:
        result = result + (d1 * d1 / (2.0 * math.pi)) * (apart * (apart / root) + c * ((c / root) * inverses))
    if level:
        means = s * (s / first**0.5) + t * (t / second**0.5)
        result = result + level * (level + d1 * DENSITY_AT_ZERO * means)
    return result


def _sum_of_roots(first: Float[Array, " pairs"], second: Float[Array, " pairs"]) -> Float[Array, " pairs"]:
    return 1.0 / first**0.5 + 1.0 / second**0.5
