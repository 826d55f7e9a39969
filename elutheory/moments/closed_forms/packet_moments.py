"""The moments of one Gaussian X, and their derivatives, of sums of polynomials times exponentials, waves and bumps.

They are expectations of pairs that are one: E f² = E f(X)f(X), the variance their covariance. What rounding leaves of
the sums is known beside them, and where that is too much, quadrature has the point.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy

from elutheory.moments.closed_forms.packets import ONE, Columns, Packets, covariance, packets_of, product
from elutheory.numerics.known_numbers import UNIT, Known

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

# Of the root mean square of what is averaged; of derivatives, which are of no promised accuracy, more.
_ACCEPTED, _ACCEPTED_DERIVATIVE = 1e-13, 1e-10
_EPS = 2.0**-52


def packet_moments(activation: "Activation", mean: Any, std: Any) -> tuple[Any, Any, Any]:
    """The moments (6, n), E ln f' left 0; their errors relative to themselves; and for which points they are right.

    float64 numpy arrays (n,).
    """
    found, errors = numpy.zeros((6, mean.size)), numpy.zeros((6, mean.size))
    f, slope = packets_of(activation), packets_of(activation, 1)
    if f is None or slope is None:
        return found, errors, numpy.zeros(mean.size, dtype=bool)
    at = _alike(mean, std)
    with numpy.errstate(all="ignore"):
        known = [product(f, ONE, at), product(f, f, at), covariance(f, f, at), product(slope, ONE, at)]
        known.append(product(slope, slope, at))
        sizes = [known[1].value ** 0.5, known[1].value, known[2].value, known[4].value ** 0.5, known[4].value]
        right = numpy.ones(mean.size, dtype=bool)
        for index, (number, size) in enumerate(zip(known, sizes, strict=True)):
            off = UNIT * number.rounding
            found[index] = number.value
            # of an odd f about 0 the terms are each other's opposites to the bit
            errors[index] = _EPS + numpy.where((off > 0.0) & (number.value != 0.0), off / numpy.abs(number.value), 0.0)
            right &= (off <= _ACCEPTED * size) & numpy.isfinite(number.value)
    return found, errors, right


def packet_derivative(activation: "Activation", quantity: str, order: int, mean: Any, std: Any) -> tuple[Any, Any]:
    """The derivative of an order from 1 to 4 of a moment by the mean, and for which points it is right.

    ∂ⁿ E g = E g⁽ⁿ⁾, and of products by Leibniz' rule: ∂ⁿ Var f = Σ (n over k) Cov(f⁽ᵏ⁾, f⁽ⁿ⁻ᵏ⁾).
    """
    own = 1 if quantity.startswith("slope") else 0
    orders = [packets_of(activation, own + k) for k in range(order + 1)]
    if quantity == "log_slope_mean" or None in orders:
        return numpy.empty(mean.size), numpy.zeros(mean.size, dtype=bool)
    packets: list[Packets] = [one for one in orders if one is not None]
    at = _alike(mean, std)
    with numpy.errstate(all="ignore"):
        if quantity in ("mean", "slope_mean"):
            total, square = product(packets[order], ONE, at), product(packets[order], packets[order], at)
            size = square.value**0.5
        else:
            pair = covariance if quantity == "variance" else product
            terms = [
                math.comb(order, k) * pair(packets[k], packets[order - k], at)
                for k in range(order + 1)
                if packets[k] and packets[order - k]
            ]
            total = Known(sum(term.value for term in terms), sum(term.rounding for term in terms))
            size = sum(abs(term.value) for term in terms)
        right = (UNIT * total.rounding <= _ACCEPTED_DERIVATIVE * size) & numpy.isfinite(total.value)
    return total.value, right


def _alike(mean: Any, std: Any) -> Columns:
    """Of correlation 1."""
    one = numpy.ones_like(mean)
    return Columns(mean, mean, std, std, one, 0.0 * one)
