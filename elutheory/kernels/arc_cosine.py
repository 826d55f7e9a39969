"""Arc-cosine kernels (Cho and Saul 2009): K1–K3 in closed form for one kink that holds both means.

With l, u the slopes below and above and cos θ the correlation, W₊ = max(W, 0) of W = U − kink:
E W₊W'₊ = s₁s₂ J(θ)/2π, J(θ) = sin θ + (π − θ) cos θ, and Cov(W₊, W'₊) = s₁s₂ cos θ (π − θ − cos θ/(1 + sin θ))/2π.
"""

import math

from jaxtyping import Bool, Float

from elutheory.kernels.pairs import PairArguments
from elutheory.moments.closed_forms import PiecewiseForm
from elutheory.numerics.arrays import Array, library
from elutheory.numerics.normal_tails import DENSITY_AT_ZERO


def applies(form: PiecewiseForm, pair: PairArguments) -> Bool[Array, " pairs"]:
    """Where the formula holds: two half-lines, and both means at the kink where they meet."""
    if not form.is_piecewise_linear or len(form.bends) != 1:
        return library(pair.mean_u).zeros_like(pair.mean_u) > 0
    at = form.bends[0].at
    return (pair.mean_u == at) & (pair.mean_v == at) & (pair.std_u > 0) & (pair.std_v > 0)


def arc_cosine(form: PiecewiseForm, quantity: str, pair: PairArguments) -> Float[Array, " pairs"]:
    """value, slope or covariance of pairs for which `applies` says so."""
    (bend,) = form.bends
    s1, s2, cosine, sine = pair.std_u, pair.std_v, pair.cosine, pair.sine
    xp = library(s1)
    angle, supplement = xp.arctan2(sine, cosine), xp.arctan2(sine, -cosine)
    lower, upper = bend.lower_slope, bend.upper_slope
    same, mixed = lower * lower + upper * upper, 2.0 * lower * upper
    if quantity == "slope":
        return (same * supplement + mixed * angle) / (2.0 * math.pi)
    scale = s1 * s2 / (2.0 * math.pi)
    if quantity == "covariance":
        share = cosine / (1.0 + sine)
        return scale * cosine * (same * (supplement - share) + mixed * (angle + share))
    pairs = same * (sine + supplement * cosine) - mixed * (sine - angle * cosine)
    return scale * pairs + bend.value * (bend.value + bend.jump * DENSITY_AT_ZERO * (s1 + s2))
