"""The trapezoidal rule in w, x = place + length sinh(w): for whole batches, where f has one transition in reach of X.

Analytic integrands that vanish at both ends leave an error that falls exponentially in the number of nodes. The step
follows from where they have singularities: f at about ± i π/2 in w, and the density from how fast t = (x − mean)/std
moves with w. Every second node gives the same rule at twice the step, whose distance is about the root of the error
left: rows where it is too large, where the ends still count, or that have kinks or several transitions, are left to
`panels`. float64 numpy arrays; (n, nodes) inside.
"""

import math
from typing import Any

import numpy

from elutheory.moments.quadrature.features import highest_frequency, parity
from elutheory.numerics.normal_tails import DENSITY_AT_ZERO

_CORE = 9.6  # standard deviations, where the density times x² is 1e-19
_REACH = 10.0  # closer transitions and kinks count
_SMOOTH = 4.0  # standard deviations over which a transition is none
_EXPONENT = 29.0  # the rule of twice the step errs by e^-29 = 3e-13, times what poles of f and its powers weigh
_WIDEST_STEP = math.pi**2 / (2.0 * _EXPONENT) * 0.9
_AT = numpy.arange(0.0, 7.3, 0.5)  # standard deviations from the mean where the density's own error is bounded
_NODES_AT_ONCE = 16_000
_CLASS = 16  # counts of nodes are multiples of it
_MOST_NODES = 320
_SETTLED = 3e-8  # distance of the rule from that of twice the step, relative
_SQUARED = 20.0  # times its square is left
_ACCEPTED = 1e-13  # relative; what loses more digits is left to panels, which lose fewer
_LEANING = 0.25  # |mean|/std up to which an odd function's halves are added before
_SHORT = 1e-2
_EPS = 2.0**-52


def by_trapezoidal_rule(integrand: Any, mean: Any, std: Any) -> tuple[Any, Any, Any]:
    """The six moments and their relative errors (6, n), and for which of the n points they are right."""
    found, errors = numpy.empty((6, mean.size)), numpy.empty((6, mean.size))
    right = numpy.zeros(mean.size, dtype=bool)
    rows, place, length = _eligible(integrand, mean, std)
    if not rows.size:
        return found, errors, right
    with numpy.errstate(all="ignore"):
        low, high, count = _grid(mean[rows], std[rows], place, length)
        order = numpy.argsort(count, kind="stable")
        order = order[: numpy.searchsorted(count[order], _MOST_NODES, side="right")]
        start = 0
        while start < order.size:
            nodes = int(count[order[start]])
            stop = min(
                int(numpy.searchsorted(count[order], nodes, side="right")), start + max(1, _NODES_AT_ONCE // nodes)
            )
            part = order[start:stop]
            at = rows[part]
            found[:, at], errors[:, at], right[at] = _moments(
                integrand, mean[at], std[at], place[part], length[part], low[part], high[part], nodes
            )
            start = stop
    return found, errors, right


def _eligible(integrand: Any, mean: Any, std: Any) -> tuple[Any, Any, Any]:
    """The rows with at most one transition in reach and no kink, and the centre and length that x is measured by."""
    places, lengths = integrand.places
    if highest_frequency(integrand.activation) > 0:
        return numpy.empty(0, dtype=int), places, lengths
    near = numpy.abs(places - mean[:, None]) <= _REACH * std[:, None]
    kink = (near & (lengths == 0)).any(1)
    steep = near & (lengths > 0) & (lengths < _SMOOTH * std[:, None])
    # where x has few digits left beside std or a length, panels say what its rounding does
    rounded = std < _SHORT * numpy.abs(mean)
    rounded |= (steep & (lengths < _SHORT * numpy.abs(places))).any(1)
    rows = numpy.flatnonzero(~kink & (steep.sum(1) <= 1) & ~rounded)
    if not places.size:
        return rows, mean[rows], 3.0 * std[rows]
    which = steep[rows].argmax(1)
    has_one = steep[rows].any(1)
    place = numpy.where(has_one, places[which], mean[rows])
    length = numpy.where(has_one, lengths[which], 3.0 * std[rows])
    return rows, place, length


def _grid(mean: Any, std: Any, place: Any, length: Any) -> tuple[Any, Any, Any]:
    """Both ends in w, and the number of nodes."""
    away, unit = (mean - place) / std, length / std
    low, high = numpy.arcsinh((away - _CORE) / unit), numpy.arcsinh((away + _CORE) / unit)
    speed = numpy.sqrt((numpy.abs(away)[:, None] + _AT) ** 2 + unit[:, None] ** 2)  # dt/dw
    # e^{−t²/2} times e^{−2 π²/(2 step · speed)²}
    step = (math.pi / (speed * numpy.sqrt(2.0 * (_EXPONENT - 0.5 * _AT * _AT)))).min(1)
    count = (high - low) / numpy.minimum(step, _WIDEST_STEP)
    classes = numpy.ceil((numpy.minimum(count, 1e6) + 1.0) / _CLASS)
    return low, high, (_CLASS * classes).astype(int)


def _moments(
    integrand: Any, mean: Any, std: Any, place: Any, length: Any, low: Any, high: Any, nodes: int
) -> tuple[Any, Any, Any]:
    step = (high - low) / (nodes - 1)
    growing = numpy.exp(low[:, None] + step[:, None] * numpy.arange(nodes))
    falling = 1.0 / growing
    shift = (0.5 * length)[:, None] * (growing - falling)  # length sinh(w)
    x = place[:, None] + shift
    t = (shift - (mean - place)[:, None]) / std[:, None]
    weight = numpy.exp(-0.5 * t * t) * (growing + falling)
    weight *= (0.5 * DENSITY_AT_ZERO * length / std * step)[:, None]
    value, slope, logarithm = integrand(x)
    values = [(value, None), (value, value), (slope, None), (slope, slope)]
    values += [] if logarithm is None else [(logarithm, None)]
    symmetry = parity(integrand.activation)
    odd = None if symmetry == 0 else 0 if symmetry < 0 else 2
    leaning = (numpy.abs(mean) <= _LEANING * std) & (odd is not None)
    sums, errors = [], []
    settled, at_ends = numpy.zeros(mean.size), numpy.zeros(mean.size)
    for index, (g, factor) in enumerate(values):
        total, distance, size, ends = _sum(weight, g, factor)
        if index == odd and leaning.any():
            # E g = ½ E[g(X) (1 − e^{−2 mean X/std²})] for odd g, 0 at mean 0
            total[leaning], distance[leaning], size[leaning] = 0.0, 0.0, 0.0
            rows = numpy.flatnonzero(leaning & (mean != 0.0))
            if rows.size:
                tilt = -2.0 * (mean[rows] / std[rows] / std[rows])[:, None]
                halves = weight[rows] * (-0.5 * numpy.expm1(tilt * x[rows]))
                total[rows], distance[rows], _, _ = _sum(halves, g[rows])
                size[rows] = numpy.abs(total[rows])
        settled = numpy.fmax(settled, numpy.where(size > 0, distance / size, 0.0))
        at_ends = numpy.fmax(at_ends, numpy.where(size > 0, ends / size, 0.0))
        sums.append(total)
        errors.append(numpy.where(size > 0, size / numpy.abs(total), 0.0))
    deviations = value - sums[0][:, None]
    variance = numpy.einsum("nk,nk->n", weight * deviations, deviations)
    # t is rounded like (mean − place)/std, which moves the density by t times that
    away = numpy.minimum(numpy.abs(mean - place) / std, _CORE)
    left = _SQUARED * settled * settled + _EPS * away * (1.0 + away)
    errors = [(left + 2.0 * _EPS) * share for share in errors]
    sums.insert(2, variance)
    errors.insert(2, left + 4.0 * _EPS * numpy.sqrt(sums[1] / variance))
    if logarithm is None:
        sums.append(numpy.full_like(variance, integrand.logarithm))
        errors.append(numpy.zeros_like(variance))
    found, relative = numpy.stack(sums), numpy.stack(errors)
    right = numpy.isfinite(found[:5]).all(0) & (settled <= _SETTLED) & (at_ends <= _EPS) & (variance > 0)
    return found, relative, right & (relative <= _ACCEPTED).all(0)


def _sum(weight: Any, g: Any, factor: Any = None) -> tuple[Any, Any, Any, Any]:
    """Σ w g, or Σ w g² for `factor` g; how far the rule of twice the step is; Σ w |g|; the terms at both ends."""
    terms = weight * g
    if factor is not None:
        terms *= factor
    total = terms.sum(1)
    distance = numpy.abs(total - 2.0 * terms[:, ::2].sum(1))
    ends = numpy.abs(terms[:, 0]) + numpy.abs(terms[:, -1])
    size = total if factor is not None else numpy.abs(terms, out=terms).sum(1)
    return total, distance, size.copy(), ends
