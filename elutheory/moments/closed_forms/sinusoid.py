"""Moments of f(x) = C + p sin(k x) + r cos(k x): with complex rates c = ±ik, M1 covers it.

g = f − C and h = p cos(k x) − r sin(k x) turn into each other, g' = k h, h' = −k g, and E g(X) = e^{−k²s²/2} g(mean).
With E = e^{−k²s²}, Var f = ½ (1 − E)² g² + ½ (1 − E²) h²: positive terms. Pairs: `elutheory.kernels.sinusoids`.
"""

import math
from dataclasses import dataclass
from typing import final

from jaxtyping import Float

from elutheory.moments.closed_forms.form import ClosedForm
from elutheory.numerics.arrays import Array, library

Numbers = Float[Array, " points"]


@final
@dataclass(frozen=True)
class Sinusoid(ClosedForm):
    """`constant` = C, `rate` = k > 0, `sine` = p, `cosine` = r."""

    constant: float
    rate: float
    sine: float
    cosine: float

    def waves(self, x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        """g(x) and h(x)."""
        xp, at = library(x), self.rate * x
        sine, cosine = xp.sin(at), xp.cos(at)
        return self.sine * sine + self.cosine * cosine, self.sine * cosine - self.cosine * sine

    def moments(self, mean: Numbers, std: Numbers) -> tuple[Numbers, ...]:
        """The six moments; E ln f' is nan, for f falls somewhere."""
        xp, k = library(mean), self.rate
        g, h = self.waves(mean)
        spread = (k * std) ** 2
        damping, lost = xp.exp(-0.5 * spread), -xp.expm1(-spread)
        both = -xp.expm1(-2.0 * spread)
        expectation = self.constant + damping * g
        variance = 0.5 * (lost * lost * (g * g) + both * (h * h))
        slope_square = 0.5 * k * k * ((2.0 - both) * (h * h) + both * (g * g))
        nothing = mean * math.nan
        return expectation, variance + expectation**2, variance, k * (damping * h), slope_square, nothing

    def derivative(self, quantity: str, order: int, mean: Numbers, std: Numbers) -> Numbers:
        """Derivatives turn g and h into each other, and their squares into products."""
        xp, k = library(mean), self.rate
        g, h = self.waves(mean)
        spread = (k * std) ** 2
        damping = xp.exp(-0.5 * spread)
        if quantity == "log_slope_mean":
            return mean * math.nan
        turned = (g, k * h, -(k**2) * g, -(k**3) * h, k**4 * g, k**5 * h)
        if quantity in ("mean", "slope_mean"):
            return damping * turned[order + (quantity == "slope_mean")]
        product, difference = 2.0 * g * h, h * h - g * g
        square = (k * product, 2.0 * k**2 * difference, -4.0 * k**3 * product, -8.0 * k**4 * difference)[order - 1]
        if quantity == "slope_second_moment":
            return -(k**2) * xp.exp(-2.0 * spread) * square
        variance = xp.exp(-spread) * xp.expm1(-spread) * square
        if quantity == "variance":
            return variance
        means = [self.constant + damping * g, *(damping * term for term in turned[1:])]
        squared = sum(math.comb(order, n) * means[n] * means[order - n] for n in range(order + 1))
        return variance + squared
