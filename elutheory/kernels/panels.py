"""Where the panels of a pair's rule end: few where f(U) M(x) phi(x) is smooth, more at narrow transitions and in tails.

In x, U = mean_u + std_u x: the kinks of f at (kink − mean_u)/std_u; transitions of M' at
(kink − mean_v)/(std_v cosine), of width sine/cosine; the mass within 9 of 0, or of where e^{rate U} moves it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from elutheory.moments.closed_forms import ClosedForm
from elutheory.moments.conditional_slopes import bends, rate
from elutheory.moments.exponential_linear import ExponentialLinear
from elutheory.moments.piecewise_linear import Kink, Ramp
from elutheory.numerics.arrays import indices, library
from elutheory.numerics.quadrature import increasing

_REACH = 38.5  # phi is subnormal beyond
_FIXED = (0.0, 1.5, 3.0, 4.5, 6.0, 9.0, 12.0, 16.0, 24.0, _REACH)
_FINE = tuple(0.25 * n for n in range(48)) + tuple(12.0 + 0.5 * n for n in range(54))
# Panel ends next to a transition, in its own width; further ones for what may be zero on one side.
_WIDTHS = (0.0, 1.0, -1.0, 3.0, -3.0, 8.0, -8.0)
_FAR_WIDTHS = (5.0, -5.0, 11.5, -11.5, 16.0, -16.0, 21.0, -21.0, 26.0, -26.0, 32.0, -32.0)
_NEAR_REACH = 9.0
_LARGEST_TILT = 1.6
_LARGEST_STD = 2.0  # times rate
_LARGEST_PLACE = 3.0
_SMALLEST_RATIO = 1e-3
_DEEP = 3.0


@dataclass(frozen=True)
class Layout:
    """Panel ends at the `fixed` places (in ninths of the reach), and what kind of further ones; nodes a panel."""

    kind: str
    fixed: tuple[float, ...]
    degree: int
    kink: bool = True

    @property
    def nodes(self) -> int:
        """About, a pair."""
        return {"smooth": len(self.fixed) + 1, "transition": len(self.fixed) + 7}.get(self.kind, 48) * self.degree

    def edges(self, form: ClosedForm, m1: Any, m2: Any, s1: Any, s2: Any, cosine: Any, sine: Any) -> Any:
        """Panel ends in x, shape (n, panels + 1), increasing, 0 among them; cosine >= 0, s1 of either sign."""
        if self.kind in ("general", "deep"):
            return _general_edges(form, self.fixed, m1, m2, s1, s2, cosine, sine)
        low, high = _near_reach(form, m1, m2, s1, s2, cosine)
        points = [
            (high if place > 0 else low) * (abs(place) / _NEAR_REACH)
            for place in (-_NEAR_REACH, *self.fixed, _NEAR_REACH)
        ]
        for at, _ in bends(form) if self.kink else ():
            points.append((at - m1) / s1)
        if self.kind == "transition":
            ((at, _),) = bends(form)
            width = sine / cosine
            centre = (at - m2) / (s2 * cosine)
            shift = rate(form) * s2 * sine
            points += [centre + width * (8.5 - part * (17.0 + shift)) for part in (0.0, 0.25, 0.5, 0.75, 1.0)]
        return increasing(points, low, high)


GENERAL = Layout("general", _FIXED, 16)
_DEEP_LAYOUT = Layout("deep", _FINE, 16)
# (smallest width of the transition, layout)
_NEAR = (
    (1.05, Layout("smooth", (-4.0, 0.0, 4.0), 16)),
    (0.62, Layout("smooth", (-4.0, 0.0, 4.0), 20)),
    (0.33, Layout("smooth", (-5.0, -2.5, 0.0, 2.5, 5.0), 20)),
    (0.0, Layout("transition", (-4.0, 0.0, 4.0), 16)),
)


def layouts(form: ClosedForm, *columns: Any) -> Iterator[tuple[Layout, Any]]:
    """The layouts in use, each with the indices of its pairs."""
    m1, m2, s1, s2, cosine, sine = columns
    xp = library(m1)
    signed, cosine = xp.where(cosine < 0, -s1, s1), abs(cosine)
    near = _is_near(form, m1, m2, signed, s2, cosine)
    deep = _is_deep(form, m1, m2, s1, s2) & ~near
    rest = indices(~near & ~deep)
    if len(rest):
        yield GENERAL, rest
    if deep.any():
        yield _DEEP_LAYOUT, indices(deep)
    width = sine / cosine
    above = xp.zeros_like(width) + float("inf")
    for smallest, layout in _NEAR:
        own = near & (width >= smallest) & (width < above) if smallest else near & (width < above)
        if smallest == _NEAR[0][0]:
            own = near & ~(width < smallest)
        above = xp.zeros_like(width) + smallest
        for kink in (False, True):
            at_zero = m1 == 0 if isinstance(form, ExponentialLinear) else xp.zeros_like(own)
            members = indices(own & (~at_zero if kink else at_zero))
            if len(members):
                yield Layout(layout.kind, layout.fixed, layout.degree, kink), members


def _is_near(form: ClosedForm, m1: Any, m2: Any, s1: Any, s2: Any, cosine: Any) -> Any:
    """Whether all that matters lies within the near reach."""
    xp = library(m1)
    if isinstance(form, ExponentialLinear):
        k = form.rate
        low, high = _near_reach(form, m1, m2, s1, s2, cosine)
        largest = _NEAR_REACH + _LARGEST_TILT
        return (k * abs(s1) <= _LARGEST_STD) & (k * s2 <= _LARGEST_STD) & (high <= largest) & (low >= -largest)
    if isinstance(form, Kink) and form.lower.slope * form.upper.slope != 0.0:
        slopes = sorted((abs(form.lower.slope), abs(form.upper.slope)))
        if slopes[0] >= _SMALLEST_RATIO * slopes[1]:
            return (abs(m1 - form.at) <= _LARGEST_PLACE * abs(s1)) & (abs(m2 - form.at) <= _LARGEST_PLACE * s2)
    return xp.zeros_like(m1) > 0


def _is_deep(form: ClosedForm, m1: Any, m2: Any, s1: Any, s2: Any) -> Any:
    """Whether f is flat around the mean of U or of V, several standard deviations wide."""
    xp = library(m1)
    deep = xp.zeros_like(m1) > 0
    for at, _ in bends(form) if isinstance(form, Kink | Ramp) else ():
        deep = deep | (abs(at - m1) > _DEEP * s1) | (abs(at - m2) > _DEEP * s2)
    return deep


def _near_reach(form: ClosedForm, m1: Any, m2: Any, s1: Any, s2: Any, cosine: Any) -> tuple[Any, Any]:
    """Where the mass ends: e^{rate U}, e^{rate V} move it, but not beyond where they set in."""
    xp = library(m1)
    tilt = rate(form)
    if not tilt:
        return 0.0 * m1 - _NEAR_REACH, 0.0 * m1 + _NEAR_REACH
    none = xp.zeros_like(m1)
    kink, centre = -m1 / s1, -m2 / (s2 * cosine)
    # the slopes of ln f'(U) and ln M'(x), for x below `kink` (above it where U falls) and below `centre`
    own, other = tilt * s1, tilt * s2 * cosine
    below = xp.where(s1 > 0, kink, none)
    both = xp.clip(own, 0.0, None) + other
    nearer, further = _smaller(below, centre), -_smaller(-below, -centre)
    alone = xp.where(below > centre, xp.clip(own, 0.0, None), other)
    highest = -_smaller(-_smaller(nearer, both), -_smaller(further, alone))
    lowest = _smaller(xp.where(s1 > 0, none, -kink), -own)
    return -_NEAR_REACH - xp.clip(lowest, 0.0, None), _NEAR_REACH + xp.clip(highest, 0.0, None)


def _smaller(a: Any, b: Any) -> Any:
    return library(a).where(a < b, a, b)


def _general_edges(
    form: ClosedForm, fixed: tuple[float, ...], m1: Any, m2: Any, s1: Any, s2: Any, cosine: Any, sine: Any
) -> Any:
    points = [0.0 * m1 + sign * end for end in fixed for sign in ((1.0, -1.0) if end else (1.0,))]
    one_sided = isinstance(form, Kink | Ramp)
    width = sine / cosine
    tilt = rate(form)
    for at, _ in bends(form):
        kink, centre = (at - m1) / s1, (at - m2) / (s2 * cosine)
        points.append(kink)
        points += [centre + width * multiple for multiple in _WIDTHS]
        if tilt:
            shifted = centre - tilt * s2 * sine * width
            points += [shifted + width * multiple for multiple in _WIDTHS]
            points += [kink - far / (tilt * s1) for far in (6.0, 16.0, 48.0)]
        if one_sided:
            points += [centre + width * multiple for multiple in _FAR_WIDTHS]
            points += [kink + sine * multiple for multiple in (-4.0, -1.0, -0.25, 0.25, 1.0, 4.0)]
            for point in (kink, centre):
                points += [point + far / point for far in (12.0, 36.0)]
    return increasing(points, -_REACH, _REACH)
