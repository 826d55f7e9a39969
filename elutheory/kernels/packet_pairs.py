"""K1–K3 in closed form for sums of polynomials times exponentials, waves and Gaussian bumps, whatever the means.

x², exp(−x²), (1 − x²) exp(−x²/2), x + sin²x, cos(5x) exp(−x²), sinh: `elutheory.moments.closed_forms.packets` has the
formula, and what its rounding leaves: where that is too much, other rules have the pair.
"""

import math
from typing import TYPE_CHECKING, Any

from elutheory.kernels.pairs import PairArguments
from elutheory.moments.closed_forms.packets import Columns, covariance, packets_of, product, root_mean_square
from elutheory.numerics.arrays import library
from elutheory.numerics.known_numbers import UNIT

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation


def packet_expectation(
    activation: "Activation",
    quantity: str,
    m1: Any,
    m2: Any,
    s1: Any,
    s2: Any,
    cosine: Any,
    sine: Any,
    of_roots: bool = False,
) -> tuple[Any, Any]:
    """value, slope or covariance, and its error, inf where f is no such sum.

    One-dimensional float64 arrays, numpy or torch. The error is relative to the root mean squares, of the covariance to
    itself, or with `of_roots` to the root mean squares, too: a covariance of functions that rise and fall may be next
    to 0.
    """
    xp = library(m1)
    f = packets_of(activation, 1 if quantity == "slope" else 0)
    if f is None:
        return xp.zeros_like(m1), xp.zeros_like(m1) + math.inf
    at = Columns(*PairArguments(m1, m2, s1, s2, cosine, sine).ordered().columns)
    found = covariance(f, f, at) if quantity == "covariance" else product(f, f, at)
    size = abs(found.value)
    if quantity != "covariance" or of_roots:
        size = root_mean_square(f, at.mean_u, at.std_u) * root_mean_square(f, at.mean_v, at.std_v)
    none = found.rounding == 0.0
    error = UNIT * found.rounding / xp.where(none, xp.ones_like(size), size)
    return found.value, xp.where(error == error, error, xp.zeros_like(error) + math.inf)


def packet_mixed(activation: "Activation", orders: tuple[int, int], pair: PairArguments) -> tuple[Any, Any]:
    """E f^(i)(U) f^(j)(V), and its error relative to the root mean squares, inf where f is no such sum."""
    f, g = (packets_of(activation, order) for order in orders)
    xp = library(pair.mean_u)
    if f is None or g is None:
        return xp.zeros_like(pair.mean_u), xp.zeros_like(pair.mean_u) + math.inf
    found = product(f, g, Columns(*pair.columns))
    size = root_mean_square(f, pair.mean_u, pair.std_u) * root_mean_square(g, pair.mean_v, pair.std_v)
    none = found.rounding == 0.0
    return found.value, UNIT * found.rounding / xp.where(none, xp.ones_like(size), size)
