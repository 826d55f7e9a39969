"""K1–K3 in closed form for C + p sin(k x) + r cos(k x), whatever the means: E e^{i k (U ± V)} is elementary.

With g and h as in `elutheory.moments.closed_forms.sinusoid`, s, t = k times the standard deviations, c = s t cosine:
E g(U)g(V) = e^{−(s²+t²)/2} (cosh c g g + sinh c h h), and Cov has cosh c − 1 in place of cosh c.
"""

from typing import Any

from jaxtyping import Float

from elutheory.kernels.pairs import PairArguments
from elutheory.moments.closed_forms.sinusoid import Sinusoid
from elutheory.numerics.arrays import Array, library


def sinusoid_pairs(form: Sinusoid, quantity: str, pair: PairArguments) -> Float[Array, " pairs"]:
    """value, slope or covariance of any pairs."""
    even, odd, excess = _hyperbolic(form.rate, pair)
    (g, h), (other_g, other_h) = form.waves(pair.mean_u), form.waves(pair.mean_v)
    if quantity == "slope":
        return form.rate**2 * (even * (h * other_h) + odd * (g * other_g))
    if quantity == "covariance":
        return excess * (g * other_g) + odd * (h * other_h)
    value = even * (g * other_g) + odd * (h * other_h)
    if form.constant:
        xp = library(g)
        damped = (
            xp.exp(-0.5 * (form.rate * std) ** 2) * wave for std, wave in ((pair.std_u, g), (pair.std_v, other_g))
        )
        value = value + form.constant * (form.constant + sum(damped))
    return value


def _hyperbolic(rate: float, pair: PairArguments) -> tuple[Any, Any, Any]:
    """e^{−(s²+t²)/2} times cosh c, sinh c and cosh c − 1: nothing overflows, nothing cancels."""
    xp = library(pair.std_u)
    s, t = rate * pair.std_u, rate * pair.std_v
    c = s * t * abs(pair.cosine)
    apart = s * t * (pair.sine * pair.sine / (1.0 + abs(pair.cosine)))  # s t (1 − |cosine|)
    larger = 0.5 * xp.exp(-0.5 * (s - t) ** 2 - apart)
    odd = -xp.sign(pair.cosine) * larger * xp.expm1(-2.0 * c)
    return larger * (1.0 + xp.exp(-2.0 * c)), odd, larger * xp.expm1(-c) ** 2
