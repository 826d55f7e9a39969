"""How much f and its conditional mean rise, from the bends and the rate of a closed form: no cancellation.

f(m + d) − f(m), piece by piece; and E f(m + sZ) less the line that f is left of its bends, which every pair's G(x) is a
difference of. With H(z) = ∫_{−∞}^z Phi = phi(z) + z Phi(z), a piece of slope g from a to b adds
g ∫_a^b Phi((m − t)/s) dt = g s (H((m − a)/s) − H((m − b)/s)).
"""

from typing import Any

import numpy
from jaxtyping import Float

from elutheory.moments.closed_forms import PiecewiseForm
from elutheory.moments.closed_forms.form import SMALLEST_STD
from elutheory.numerics.arrays import Array, library
from elutheory.numerics.normal_tails import mills_ratio, normal_density, normal_distribution

_Nodes = Float[Array, "pairs panels nodes"]

# A piece narrower than this, in standard deviations, is expanded in its width; there the difference would cancel.
_NARROW = 0.4
_TERMS = 14


def left_slope(form: PiecewiseForm) -> float:
    """f' at −∞."""
    if not form.bends:
        return float(form.slope(numpy.zeros(1))[0])
    return 0.0 if form.tilt else form.bends[0].lower_slope


def rise(form: PiecewiseForm, mean: Float[Array, " pairs"], step: _Nodes) -> _Nodes:
    """f(mean + step) − f(mean): what of the step lies on each piece, times the slope there."""
    xp = library(step)
    if not form.bends:
        return form.slope(step) * step
    first = form.bends[0]
    ends = [(bend.at - mean)[:, None, None] for bend in form.bends]

    def part(low: Any, high: Any) -> Any:
        """How much of the way from 0 to the step lies between `low` and `high`."""
        return xp.minimum(xp.maximum(step, low), high) - xp.minimum(xp.clip(low, 0.0, None), high)

    never = 0.0 * ends[0] + float("inf")
    total = 0.0 * step
    for i, bend in enumerate(form.bends):
        if bend.upper_slope:
            total = total + bend.upper_slope * part(ends[i], ends[i + 1] if i + 1 < len(ends) else never)
    if first.lower_slope:
        below = part(-never, ends[0])
        if form.tilt:
            # e^{k x} at the higher of the two ends, times −expm1 of how far the other is below it
            k = form.tilt
            higher = xp.minimum(xp.clip(step, 0.0, None), ends[0])
            level = xp.exp(k * ((mean - first.at)[:, None, None] + higher)) * xp.sign(below)
            below = -level * xp.expm1(-k * abs(below)) / k
        total = total + first.lower_slope * below
    return total


def excess(form: PiecewiseForm, slope: _Nodes, mean: _Nodes, std: Float[Array, "pairs 1 1"]) -> _Nodes:
    """E f(mean + std Z) less the line left of the bends; `slope` is `form.conditional_slope` of the same."""
    xp = library(mean)
    spread = xp.clip(std, SMALLEST_STD, None)
    places = [(mean - bend.at) / spread for bend in form.bends]
    total = 0.0 * mean
    if form.tilt:
        (bend,) = form.bends
        probability = normal_distribution(places[0])
        total = (
            total + bend.lower_slope / form.tilt * probability + (slope - bend.upper_slope * probability) / form.tilt
        )
        return total + bend.upper_slope * _half_line(mean - bend.at, spread, places[0])
    base = left_slope(form)
    for i, bend in enumerate(form.bends):
        height = bend.upper_slope - base
        if not height:
            continue
        if i + 1 == len(form.bends):
            total = total + height * _half_line(mean - bend.at, spread, places[i])
            continue
        following = form.bends[i + 1]
        width = (following.at - bend.at) / spread
        between = _half_line(mean - bend.at, spread, places[i]) - _half_line(mean - following.at, spread, places[i + 1])
        if bool((width < _NARROW).any()):
            middle = (mean - 0.5 * (bend.at + following.at)) / spread
            between = xp.where(width < _NARROW, (following.at - bend.at) * _window(middle, width), between)
        total = total + height * between
    return total


def excess_of_constant(form: PiecewiseForm, x: _Nodes) -> _Nodes:
    """f(x) less the line left of the bends."""
    xp = library(x)
    if form.tilt:
        (bend,) = form.bends
        upper = bend.lower_slope / form.tilt + bend.upper_slope * (x - bend.at)
        return xp.where(x > bend.at, upper, form.slope(x) / form.tilt)
    total, slope = 0.0 * x, left_slope(form)
    ends = [bend.at for bend in form.bends[1:]] + [float("inf")]
    for bend, end in zip(form.bends, ends, strict=False):
        total = total + (bend.upper_slope - slope) * xp.clip(xp.clip(x, None, end) - bend.at, 0.0, None)
    return total


def _half_line(distance: Any, spread: Any, place: Any) -> Any:
    """∫_0^∞ P(X > t) dt of X ~ N(distance, spread²), place = distance/spread."""
    xp = library(place)
    tail = normal_density(place) * (1.0 - abs(place) * mills_ratio(abs(place)))
    return xp.where(place > 0, distance, 0.0 * distance) + spread * tail


def _window(middle: Any, width: Any) -> Any:
    """The mean of Phi over an interval of this middle and width: Phi(middle) and the odd derivatives of phi there."""
    half = 0.5 * width
    square = half * half
    # He_{n−1}(middle) (width/2)^n / (n + 1)!, each from the two before
    before, term = 0.0 * middle, half
    total = 0.0 * middle
    for n in range(1, 2 * _TERMS):
        # term = He_{n−1} half^n / n!
        if n % 2 == 0:
            total = total - term / (n + 1)
        before, term = term, (middle * half * term - (n - 1) / n * square * before) / (n + 1)
    return normal_distribution(middle) + normal_density(middle) * total
