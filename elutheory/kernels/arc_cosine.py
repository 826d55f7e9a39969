"""Arc-cosine kernels (Cho and Saul 2009): K1–K3 in closed form for one kink that holds both means.

With l, u the slopes below and above and cos θ the correlation, W₊ = max(W, 0) of W = U − kink:
E W₊W'₊ = s₁s₂ J(θ)/2π, J(θ) = sin θ + (π − θ) cos θ, and Cov(W₊, W'₊) = s₁s₂ cos θ (π − θ − cos θ/(1 + sin θ))/2π.
"""

import math
from typing import Any

from elutheory.moments.piecewise_linear import Kink
from elutheory.numerics.arrays import library
from elutheory.numerics.normal_tails import DENSITY_AT_ZERO


def applies(form: Any, m1: Any, m2: Any, s1: Any, s2: Any) -> Any:
    """Where the closed form holds."""
    if not isinstance(form, Kink):
        return library(m1).zeros_like(m1) > 0
    return (m1 == form.at) & (m2 == form.at) & (s1 > 0) & (s2 > 0)


def arc_cosine(f: Kink, quantity: str, s1: Any, s2: Any, cosine: Any, sine: Any) -> Any:
    """value, slope or covariance."""
    xp = library(s1)
    angle, supplement = xp.arctan2(sine, cosine), xp.arctan2(sine, -cosine)
    lower, upper = f.lower.slope, f.upper.slope
    same, mixed = lower * lower + upper * upper, 2.0 * lower * upper
    if quantity == "slope":
        return (same * supplement + mixed * angle) / (2.0 * math.pi)
    scale = s1 * s2 / (2.0 * math.pi)
    if quantity == "covariance":
        share = cosine / (1.0 + sine)
        return scale * cosine * (same * (supplement - share) + mixed * (angle + share))
    pairs = same * (sine + supplement * cosine) - mixed * (sine - angle * cosine)
    return scale * pairs + f.value * (f.value + f.bend * DENSITY_AT_ZERO * (s1 + s2))
