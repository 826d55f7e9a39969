"""Where the panels of a pair's rule end: where the integrand is, and where it bends within that.

In x, U = mean_u + std_u x: f' is constant or e^{k U} on either side of its kinks, at (kink − mean_u)/std_u, and
M'(x) = E[f'(V) | x] turns at (kink − mean_v)/(std_v cosine), over a width of sine/cosine, below which it falls off as a
Gaussian and then as e^{k V}. So the logarithm of f'(U) M'(x) phi(x) is to a few units a concave parabola between places
that are known: its peak and where it has fallen by `_DROP` are known too, and all panels lie between these. Nothing is
cut off at fixed places, and no standard deviation or correlation is small or large.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Bool, Float

from elutheory.kernels.pairs import PairArguments
from elutheory.moments.closed_forms import PiecewiseForm
from elutheory.numerics.arrays import Array, library
from elutheory.numerics.quadrature import increasing

# The constants come from the bounds that they stand for; test_certified, with the set "twelve decades", and the
# exhaustive test_certified_on_other_random_pairs hold the rule to its bounds.

# In standard deviations: phi is subnormal beyond.
_REACH = 38.5
# What is left out: e^-44 is 8e-20 of the peak, of which Mills' ratio may make 8e-18.
_DROP = 44.0
# The same of f and of rises, which grow by powers where f' M' is level.
_DROP_OF_RISES = 52.0
# The bulk of phi, where f is 0 nowhere: phi(9.2) is 2e-19, and 16 nodes integrate it on panels of 4.6 to rounding.
_BULK = (-9.2, -4.6, 0.0, 4.6, 9.2)
# E f² may have its mass beyond a kink far out, but for phi(kink) below e^-69 over the square of what f is before it.
_RARE = 69.0
# Twice the length of a panel on which 16 nodes resolve phi.
_WIDE = 9.5
# Phi turns within 8.5 of its widths; 16 nodes integrate it on a quarter of that way there and back.
_SPREAD = 8.5
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
# A transition as wide as phi needs no panels of its own.
_SMOOTH = 1.0
# An exponential falls by e^14 and then e^26 on panels of its own, which 16 nodes integrate to rounding.
_DECAYS = (14.0, 40.0)
# Beyond so many standard deviations a kink is far out: the logarithm at x = 0 is kept in its place.
_FAR = 1e8
_ROUNDING = 1e-14
# Divisors of 0 are raised to these.
_SMALLEST_SINE = 1e-150
_SMALLEST_COSINE = 1e-300


@dataclass(frozen=True)
class Panels:
    """Panels in y = x − anchor, of pairs as `PairArguments.rising` has them: U = base_u + std_u y.

    The conditional mean of V is base_v + slope_v y. The anchor is the nearest place where f' or M' turns: distances
    from it are exact, however steep f is in standard deviations.
    """

    anchor: Float[Array, " pairs"]
    base_u: Float[Array, " pairs"]
    base_v: Float[Array, " pairs"]
    slope_v: Float[Array, " pairs"]
    edges: Float[Array, "pairs ends"]
    extents: list[tuple[Float[Array, " pairs"], Float[Array, " pairs"]]]

    @property
    def origin(self) -> Float[Array, " pairs"]:
        """x = 0."""
        return -self.anchor

    def counts(self) -> Any:
        """Panels of each pair that are longer than 0."""
        return (self.edges[:, 1:] > self.edges[:, :-1]).sum(-1)

    def chosen(self, members: Any, count: int) -> "Panels":
        """Those of some pairs, the first `count` panels of each."""
        return Panels(
            self.anchor[members],
            self.base_u[members],
            self.base_v[members],
            self.slope_v[members],
            self.edges[members][:, : count + 1],
            [(low[members], high[members]) for low, high in self.extents],
        )

    def inside(self, part: int) -> Bool[Array, "pairs panels"]:
        """Which panels are within the `part`-th of the extents."""
        low, high = self.extents[part]
        return (self.edges[:, :-1] >= low[:, None]) & (self.edges[:, 1:] <= high[:, None])


@dataclass(frozen=True)
class _Extent:
    """Where a concave logarithm has its peak, and where it has fallen by so much on either side."""

    low: Float[Array, " pairs"]
    peak: Float[Array, " pairs"]
    high: Float[Array, " pairs"]

    def ends(self) -> list[Float[Array, " pairs"]]:
        """Five, or eleven where it is wide."""
        points = [self.peak]
        for end in (self.low, self.high):
            length = end - self.peak
            wide = abs(length) > _WIDE
            xp = library(length)
            points += [end, self.peak + 0.5 * length]
            if bool(wide.any()):
                points += [self.peak + xp.where(wide, part, 0.5) * length for part in (0.25, 0.75)]
        return points


def panels(form: PiecewiseForm, orders: tuple[int, int], quantity: str, rising: PairArguments) -> Panels:
    """For `quantity` slope, value or covariance; or slope, of the orders of differentiation of f(U) and f(V)."""
    xp = library(rising.mean_u)
    slope_v = rising.std_v * rising.cosine
    rising = _positive(rising)
    m1, m2, s1, s2, cosine, sine = rising.columns
    safe_slope = xp.where(slope_v > 0, slope_v, _SMALLEST_COSINE)
    points: list[Any] = []
    if quantity == "covariance":
        peak = _extent(form, (1, 1), rising, _DROP_OF_RISES, True)
        parts = [peak, *(_extent(form, own, rising, _DROP_OF_RISES, True) for own in ((1, None), (None, 1)))]
        low, high = peak.low, peak.high
        for part in parts:
            points += part.ends()
            low, high = xp.minimum(low, part.low), xp.maximum(high, part.high)
    elif quantity == "slope" or vanishes(form):
        peak = _extent(
            form, orders if quantity == "slope" else (0, 0), rising, _DROP if orders == (1, 1) else _DROP_OF_RISES
        )
        parts = [peak]
        points += peak.ends()
        low, high = peak.low, peak.high
    else:
        low, high = _rare(form, rising)
        peak = _Extent(low, 0.0 * m1, high)
        parts = [peak]
        points += [0.0 * m1 + end for end in _BULK]
    if quantity != "slope":
        rate = _rate(form, rising, 0.0 * m1)
        points += [far / rate for far in (*(-decay for decay in _DECAYS), 0.0, 2.0)]
        low, high = xp.clip(low, None, 0.0), xp.clip(high, 0.0, None)
    # the anchor
    anchor, base_u, base_v = 0.0 * m1, m1, m2
    distance = 0.0 * m1 + _REACH
    for bend in form.bends:
        for place, on_u in (((bend.at - m1) / s1, True), ((bend.at - m2) / safe_slope, False)):
            nearer = abs(place - peak.peak) < distance
            nearer = nearer & (abs(place) < _REACH)
            distance = xp.where(nearer, abs(place - peak.peak), distance)
            anchor = xp.where(nearer, place, anchor)
            base_u = xp.where(nearer, bend.at if on_u else m1 + s1 * place, base_u)
            base_v = xp.where(nearer, m2 + slope_v * place if on_u else bend.at, base_v)
    points = [point - anchor for point in points]
    width = sine / xp.clip(cosine, _SMALLEST_COSINE, None)
    narrow = width < _SMOOTH
    tilt = form.tilt
    for bend in form.bends:
        kink, centre = (bend.at - base_u) / s1, (bend.at - base_v) / safe_slope
        points.append(kink)
        shift = tilt * s2 * sine
        near_shift = xp.clip(shift, None, 2.0) if tilt else 0.0
        places = [_SPREAD - part * (2.0 * _SPREAD + near_shift) for part in _QUARTERS]
        if tilt:
            apart = shift > 2.0
            if bool(apart.any()):
                places += [
                    xp.where(apart, place - shift, -_SPREAD) for place in (0.5 * _SPREAD, 0.0, -0.5 * _SPREAD, -_SPREAD)
                ]
            points += [kink - far / (tilt * s1) for far in _DECAYS]
            points += [centre - width * (shift + _SPREAD) * narrow - far / (tilt * safe_slope) for far in _DECAYS]
        points += [xp.where(narrow, centre + width * place, kink) for place in places]
    edges = increasing(points, low - anchor, high - anchor)
    # those that coincide go last
    last = edges[:, -1:]
    again = edges[:, 1:] == edges[:, :-1]
    edges = xp.concatenate([edges[:, :1], xp.where(again, last, edges[:, 1:])], -1)
    edges = increasing([edges[:, i] for i in range(edges.shape[1])], low - anchor, high - anchor)
    return Panels(anchor, base_u, base_v, slope_v, edges, [(part.low - anchor, part.high - anchor) for part in parts])


def _positive(rising: PairArguments) -> PairArguments:
    """Standard deviations of 0 raised to the smallest number: what they are divided into is 0 or far out."""
    xp = library(rising.mean_u)
    s1, s2 = (xp.where(std == 0, _SMALLEST_COSINE, std) for std in (rising.std_u, rising.std_v))
    return replace(rising, std_u=s1, std_v=s2)


def vanishes(form: PiecewiseForm) -> bool:
    """Whether f is 0 left of its bends, so that its root mean square may lie far out."""
    if not form.bends or form.tilt:
        return False
    first = form.bends[0]
    return not first.lower_slope and not first.value


def _rare(form: PiecewiseForm, rising: PairArguments) -> list[Any]:
    """How far out values matter: beyond the bulk where f grows from there on."""
    m1, m2, s1, s2, cosine, _ = rising.columns
    xp = library(m1)
    high = 0.0 * m1
    low = 0.0 * m1
    if form.bends:
        slopes = [abs(slope) for bend in form.bends for slope in (bend.lower_slope, bend.upper_slope)]
        size = max(*(abs(bend.value) for bend in form.bends), form.bends[0].lower_slope / form.tilt if form.tilt else 0)
        largest = max(abs(s1).max(), s2.max()) * max(slopes) / size if size else max(slopes) / min(filter(None, slopes))
        limit = math.sqrt(2.0 * (_RARE + 2.0 * math.log1p(float(largest))))
        limit = min(limit, _REACH)
        for bend in form.bends:
            for place in ((bend.at - m1) / s1, (bend.at - m2) / xp.clip(s2 * cosine, _SMALLEST_COSINE, None)):
                high = xp.maximum(high, xp.clip(place, 0.0, limit))
                low = xp.minimum(low, xp.clip(place, -limit, 0.0))
    return [-((low * low + _BULK[-1] ** 2) ** 0.5), (high * high + _BULK[-1] ** 2) ** 0.5]


def _rate(form: PiecewiseForm, rising: PairArguments, x: Any) -> Any:
    """The steepest that ln M' rises at x."""
    _, m2, _, s2, cosine, sine = rising.columns
    xp = library(x)
    place = [bend.at for bend in form.bends][:1] or [0.0]
    offset = (place[0] - m2) / s2
    rate = cosine * xp.clip(offset - x * cosine, 0.0, None) / xp.clip(sine, _SMALLEST_SINE, None) ** 2
    if form.tilt:
        rate = xp.minimum(rate, form.tilt * s2 * cosine)
    return xp.clip(rate, 1e-6, None)


def _extent(
    form: PiecewiseForm,
    orders: tuple[int | None, int | None],
    rising: PairArguments,
    drop: float,
    risen: bool = False,
) -> _Extent:
    """Of phi(x) times |f^(i)(U)| and |E[f^(j)(V) | x]|, or without one of the two (None): the pieces' envelopes.

    With `risen` of their integrals from x = 0.
    """
    m1, _, _, _, cosine, sine = rising.columns
    xp = library(m1)
    sine = xp.clip(sine, _SMALLEST_SINE, None)
    none = 0.0 * m1
    segments = []
    outer, inner = _outer(form, orders[0], rising), _inner(form, orders[1], rising)
    if risen:
        outer = [part for factor in outer for part in factor.risen(cosine, sine)]
        inner = [part for factor in inner for part in factor.risen(cosine, sine)]
    for u in outer:
        for v in inner:
            low, high = xp.maximum(u.low, v.low), xp.minimum(u.high, v.high)
            rate = u.rate + v.rate
            root = rate * sine**2 + v.offset * cosine if v.gaussian else rate + none
            place = xp.minimum(xp.maximum(root, low), high)
            top = u.logarithm(place, cosine, sine) + v.logarithm(place, cosine, sine) - 0.5 * place * place
            slope = rate - place
            bend = 1.0
            if v.gaussian:
                slope, bend = slope - cosine * (place * cosine - v.offset) / sine**2, 1.0 / sine**2
            slope = xp.where(place == root, 0.0, slope)
            top = xp.where((low < high) & (top == top), top, -math.inf)
            segments.append((low, high, place, top, slope, bend))
    highest = segments[0][3]
    peak = segments[0][2]
    for _, _, place, top, _, _ in segments[1:]:
        peak = xp.where(top > highest, place, peak)
        highest = xp.maximum(highest, top)
    # underflow is no reason to have no panels
    left, right = peak, peak
    for low, high, place, top, slope, bend in segments:
        rest = xp.clip(top - highest + drop, 0.0, None)
        inside = top >= highest - drop
        for sign in (1.0, -1.0):
            falling = xp.clip(-sign * slope, 0.0, None)
            length = 2.0 * rest / (falling + (falling * falling + 2.0 * bend * rest) ** 0.5)
            length = xp.where(rest > 0, length, 0.0)
            if sign > 0:
                right = xp.where(inside, xp.maximum(right, xp.minimum(place + length, high)), right)
            else:
                left = xp.where(inside, xp.minimum(left, xp.maximum(place - length, low)), left)
    # a kink that ends it is rounded here, and exact only as a distance from the anchor: it must lie within
    return _Extent(left - _ROUNDING * (1.0 + abs(left)), peak, right + _ROUNDING * (1.0 + abs(right)))


@dataclass(frozen=True)
class _Factor:
    """On low < x < high the logarithm is at most top + rate (x − at) + constant, or top less half a square.

    The square is that of (x cosine − offset)/sine.
    """

    low: Any
    high: Any
    top: Any
    rate: Any = 0.0
    at: Any = 0.0
    constant: Any = 0.0
    gaussian: bool = False
    offset: Any = 0.0

    def logarithm(self, x: Any, cosine: Any, sine: Any) -> Any:
        """At x."""
        if self.gaussian:
            return self.top - 0.5 * ((x * cosine - self.offset) / sine) ** 2
        return self.top + (self.rate * (x - self.at) + self.constant)

    def risen(self, cosine: Any, sine: Any) -> list["_Factor"]:
        """The envelopes of what the factor adds up to outwards from x = 0: it stays where its peak has brought it."""
        xp = library(self.low)
        end = 0.0 * self.low + _REACH
        factors = []
        for sign in (1.0, -1.0):
            low, high = (xp.clip(x, 0.0, None) if sign > 0 else xp.clip(x, None, 0.0) for x in (self.low, self.high))
            summit = (
                self.offset / xp.clip(cosine, _SMALLEST_COSINE, None)
                if self.gaussian
                else (self.rate + 0.0 * self.low) * math.inf
            )
            summit = xp.where(summit == summit, summit, low if sign > 0 else high)
            summit = xp.minimum(xp.maximum(summit, low), high)
            top = xp.where(low < high, self.logarithm(summit, cosine, sine), -math.inf)
            if sign > 0:
                factors += [replace(self, low=low, high=summit), _Factor(summit, end, top)]
            else:
                factors += [replace(self, low=summit, high=high), _Factor(-end, summit, top)]
        return factors


def _line(zero: Any, at_origin: Any) -> tuple[Any, Any]:
    """Where rate (x − at) + constant has its zero, and the constant; far out the value at x = 0 says as much."""
    xp = library(zero)
    near = abs(zero) < _FAR
    return xp.where(near, zero, 0.0 * at_origin), xp.where(near, 0.0 * at_origin, at_origin)


def _sizes(form: PiecewiseForm, order: int) -> list[float]:
    """Of f' or f'' on each piece; of f 1, or 0 where it vanishes."""
    slopes = [form.bends[0].lower_slope, *(bend.upper_slope for bend in form.bends)]
    if order:
        return slopes
    values = [form.bends[0].value, *(bend.value for bend in form.bends)]
    return [float(bool(slope or value)) for slope, value in zip(slopes, values, strict=True)]


def _outer(form: PiecewiseForm, order: int | None, rising: PairArguments) -> list[_Factor]:
    """|f^(order)(U)|."""
    m1, _, s1, _, _, _ = rising.columns
    xp = library(m1)
    everywhere = (0.0 * m1 - _REACH, 0.0 * m1 + _REACH)
    if order is None or not form.bends:
        return [_Factor(*everywhere, 0.0)]
    places = [xp.clip((bend.at - m1) / s1, -_REACH, _REACH) for bend in form.bends]
    slopes = _sizes(form, order)
    rises = s1 > 0
    factors = []
    for i, slope in enumerate(slopes):
        if not slope or (order == 2 and not (form.tilt and i == 0)):
            continue
        below = places[i - 1] if i else xp.where(rises, *everywhere)
        above = places[i] if i < len(places) else xp.where(rises, everywhere[1], everywhere[0])
        ends = xp.minimum(below, above), xp.maximum(below, above)
        if form.tilt and i == 0 and order:
            at, constant = _line((form.bends[0].at - m1) / s1, form.tilt * (m1 - form.bends[0].at))
            factors.append(_Factor(*ends, math.log(abs(slope)), form.tilt * s1, at, constant))
        else:
            factors.append(_Factor(*ends, math.log(abs(slope))))
    return factors or [_Factor(*everywhere, 0.0)]


def _inner(form: PiecewiseForm, order: int | None, rising: PairArguments) -> list[_Factor]:
    """|E[f^(order)(V) | x]|."""
    m1, m2, _, s2, cosine, sine = rising.columns
    xp = library(m1)
    low, high = 0.0 * m1 - _REACH, 0.0 * m1 + _REACH
    if order is None or not form.bends:
        return [_Factor(low, high, 0.0)]
    safe = xp.clip(cosine, _SMALLEST_COSINE, None)
    offsets = [(bend.at - m2) / s2 for bend in form.bends]
    places = [xp.clip(offset / safe, -_REACH, _REACH) for offset in offsets]
    slopes = _sizes(form, order)
    factors = []
    for i, slope in enumerate(slopes):
        if not slope or (order == 2 and not (form.tilt and i == 0)):
            continue
        top = math.log(abs(slope)) + (math.log(form.tilt) if order == 2 else 0.0)
        if form.tilt and i == 0 and order:
            shift = form.tilt * s2 * sine
            turn = xp.clip((offsets[0] - shift * sine) / safe, -_REACH, _REACH)
            rate = form.tilt * s2 * cosine
            at, constant = _line(offsets[0] / safe, form.tilt * (m2 - form.bends[0].at))
            factors.append(_Factor(low, turn, top, rate, at, constant + 0.5 * shift * shift))
            factors.append(_Factor(turn, high, top, gaussian=True, offset=offsets[0]))
            continue
        start, end = (places[i - 1] if i else low), (places[i] if i < len(places) else high)
        factors.append(_Factor(start, end, top))
        if i:
            factors.append(_Factor(low, start, top, gaussian=True, offset=offsets[i - 1]))
        if i < len(places):
            factors.append(_Factor(end, high, top, gaussian=True, offset=offsets[i]))
    if order == 2:
        for bend, offset in zip(form.bends, offsets, strict=True):
            if bend.jump:
                top = math.log(abs(bend.jump)) - xp.log(s2 * xp.clip(sine, _SMALLEST_SINE, None))
                factors.append(_Factor(low, high, top, gaussian=True, offset=offset))
    return factors or [_Factor(low, high, 0.0)]
