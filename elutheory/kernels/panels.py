"""Where the panels of a pair's rule end: few where f(U) M(x) phi(x) is smooth, more at narrow transitions and in tails.

In x, U = mean_u + std_u x: the kinks of f at (kink − mean_u)/std_u; transitions of M' at
(kink − mean_v)/(std_v cosine), of width sine/cosine; the mass within 9 of 0, or of where e^{rate U} moves it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float, Int

from elutheory.kernels.pairs import PairArguments
from elutheory.moments.closed_forms import ClosedForm
from elutheory.numerics.arrays import Array, indices, library
from elutheory.numerics.quadrature import increasing

# The constants were moved on purpose, one at a time, and the rule compared with one of 32 nodes on 400 panels on some
# 24,000 pairs of fourteen activations. As they stand all are within the bounds of `dual_kernel`, but for covariances
# below 1e-140, off by up to 4e-9. For moves called bad tests/kernels/test_kernels.py has pairs that they spoil
# (test_certified, point set "worst"); test_switches_lie_between… notices every move of a switch, bad or not.

# In standard deviations: phi is subnormal beyond. At 30 the slopes of ReLU far below its kink lose their mass.
_REACH = 38.5
# The general rule's ends, closer where phi is large. Every second one, or 1.5 left out: 2e-8 for CELU with alpha 0.5.
_FIXED = (0.0, 1.5, 3.0, 4.5, 6.0, 9.0, 12.0, 16.0, 24.0, _REACH)
# The same where f is flat, several standard deviations wide, around a mean: what is not 0 is a spike in phi's tail,
# anywhere. With steps twice as long covariances are off by 5e-5.
_FINE = tuple(0.25 * n for n in range(48)) + tuple(12.0 + 0.5 * n for n in range(54))
# Panel ends next to a transition, in its own width: Phi turns within 8.5 of them. Half as far, or without the
# outermost: 2e-6. Good when twice as far apart.
_WIDTHS = (0.0, 1.0, -1.0, 3.0, -3.0, 8.0, -8.0)
# Further ones for piecewise linear f, where what lies beyond the transition is 0 and its tail is all there is. Without
# them 1.3e-13; no worse when halved or doubled.
_FAR_WIDTHS = (5.0, -5.0, 11.5, -11.5, 16.0, -16.0, 21.0, -21.0, 26.0, -26.0, 32.0, -32.0)
# Ends below the kink where e^{kU} has decayed, in its own length, for standard deviations of many lengths. Without them
# 4e-11 in slopes of CELU with alpha 0.5; good when halved or doubled.
_DECAYS = (6.0, 16.0, 48.0)
# Ends next to the kink in U, in units of sine: where both kinks meet M' turns there. Without them 4e-3 in slopes;
# good when halved or doubled.
_SINES = (-4.0, -1.0, -0.25, 0.25, 1.0, 4.0)
# Ends beyond a kink or a transition far out, at so many of the lengths over which phi falls there. No pair was found
# that needs them, nor one that is worse for them halved or doubled.
_TAILS = (12.0, 36.0)
# The near layouts resolve a transition within this many of its widths, where Phi is 0 or 1 to rounding, in four panels.
# Half: 1e-6; at 6.5, 2e-11; twice, with panels too long for 16 nodes: 4e-11.
_SPREAD = 8.5
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
# The near rule's reach: phi(9) is 1e-18. At 8 values lack 1e-11 of their scale; at 10.5 the panels are too long for
# their nodes (2e-13), at 18 by far (3e-7).
_NEAR_REACH = 9.0
# Near pairs, by how far e^{kU}, e^{kV} may move the mass, and by the standard deviations times k. Good until both are
# doubled; with 6 and any tilt the error is 5e-13, with no limits 4e-6.
_LARGEST_TILT = 1.6
_LARGEST_STD = 2.0
# Near pairs of piecewise linear f, by the kink's distance from the means in standard deviations. At 6 covariances of
# slopes in the ratio 1 : 800 are off by 1.4e-12.
_LARGEST_PLACE = 3.0
# The flatter slope over the steeper one, above which nothing is hidden in the tails. Good down to 5e-4 at least; 0, a
# flat side, belongs to the general and the deep layouts.
_SMALLEST_RATIO = 1e-3
# In standard deviations, how far from a kink f counts as flat around a mean. Good at 6; at 12 covariances are off by
# 3e-9, without the deep layout they are noise.
_DEEP = 3.0


@dataclass(frozen=True)
class Layout:
    """Panel ends at the `fixed` places (ninths of the reach), and what kind of further ones; `degree` nodes per panel.

    `kink`: whether the kink is an end of its own; it is none where it coincides with the fixed one at x = 0.
    """

    kind: str
    fixed: tuple[float, ...]
    degree: int
    kink: bool = True

    @property
    def nodes(self) -> int:
        """About how many nodes a pair gets."""
        return {"smooth": len(self.fixed) + 1, "transition": len(self.fixed) + 7}.get(self.kind, 48) * self.degree

    def edges(self, form: ClosedForm, rising: PairArguments) -> Float[Array, "pairs ends"]:
        """Panel ends in x, increasing, 0 among them, for pairs as `PairArguments.rising` has them."""
        if self.kind in ("general", "deep"):
            return _general_edges(form, self.fixed, rising)
        low, high = _near_reach(form, rising)
        points = [
            (high if place > 0 else low) * (abs(place) / _NEAR_REACH)
            for place in (-_NEAR_REACH, *self.fixed, _NEAR_REACH)
        ]
        (bend,) = form.bends
        if self.kink:
            points.append((bend.at - rising.mean_u) / rising.std_u)
        if self.kind == "transition":
            width = rising.sine / rising.cosine
            centre = (bend.at - rising.mean_v) / (rising.std_v * rising.cosine)
            shift = form.tilt * rising.std_v * rising.sine
            points += [centre + width * (_SPREAD - part * (2.0 * _SPREAD + shift)) for part in _QUARTERS]
        return increasing(points, low, high)


GENERAL = Layout("general", _FIXED, 16)
_DEEP_LAYOUT = Layout("deep", _FINE, 16)
# The smallest width of the transition, sine/cosine, at which a layout resolves M' without panels for it. Halved: 1.05,
# 4e-11; 0.62, 1e-9; 0.33, 1e-7. Four nodes fewer per panel: 3e-11 in the first, 4e-11 in the second, 3e-10 in the
# third, 8e-11 in the last. With ends at ±2 in place of ±4: 2e-10.
_NEAR = (
    (1.05, Layout("smooth", (-4.0, 0.0, 4.0), 16)),
    (0.62, Layout("smooth", (-4.0, 0.0, 4.0), 20)),
    (0.33, Layout("smooth", (-5.0, -2.5, 0.0, 2.5, 5.0), 20)),
    (0.0, Layout("transition", (-4.0, 0.0, 4.0), 16)),
)


def layouts(form: ClosedForm, pair: PairArguments) -> Iterator[tuple[Layout, Int[Array, " members"]]]:
    """The layouts in use, each with the indices of its pairs."""
    xp = library(pair.mean_u)
    rising = pair.rising()
    near = _is_near(form, rising)
    deep = _is_deep(form, pair) & ~near
    rest = indices(~near & ~deep)
    if len(rest):
        yield GENERAL, rest
    if deep.any():
        yield _DEEP_LAYOUT, indices(deep)
    width = rising.sine / rising.cosine
    above = xp.zeros_like(width) + float("inf")
    for smallest, layout in _NEAR:
        own = near & (width >= smallest) & (width < above) if smallest else near & (width < above)
        if smallest == _NEAR[0][0]:
            own = near & ~(width < smallest)
        above = xp.zeros_like(width) + smallest
        for kink in (False, True):
            at_zero = pair.mean_u == 0 if form.tilt else xp.zeros_like(own)
            members = indices(own & (~at_zero if kink else at_zero))
            if len(members):
                yield Layout(layout.kind, layout.fixed, layout.degree, kink), members


def _is_near(form: ClosedForm, rising: PairArguments) -> Bool[Array, " pairs"]:
    """Whether all that matters lies within the near reach: f has one bend and is not flat beside it."""
    m1, m2, s1, s2 = rising.columns[:4]
    if len(form.bends) == 1 and form.tilt:
        k = form.tilt
        low, high = _near_reach(form, rising)
        largest = _NEAR_REACH + _LARGEST_TILT
        return (k * abs(s1) <= _LARGEST_STD) & (k * s2 <= _LARGEST_STD) & (high <= largest) & (low >= -largest)
    if len(form.bends) == 1 and form.is_piecewise_linear:
        (bend,) = form.bends
        slopes = sorted((abs(bend.lower_slope), abs(bend.upper_slope)))
        if slopes[0] > 0.0 and slopes[0] >= _SMALLEST_RATIO * slopes[1]:
            return (abs(m1 - bend.at) <= _LARGEST_PLACE * abs(s1)) & (abs(m2 - bend.at) <= _LARGEST_PLACE * s2)
    return library(m1).zeros_like(m1) > 0


def _is_deep(form: ClosedForm, pair: PairArguments) -> Bool[Array, " pairs"]:
    """Whether f is flat around the mean of U or of V, several standard deviations wide."""
    m1, m2, s1, s2 = pair.columns[:4]
    deep = library(m1).zeros_like(m1) > 0
    for bend in form.bends if form.is_piecewise_linear else ():
        deep = deep | (abs(bend.at - m1) > _DEEP * s1) | (abs(bend.at - m2) > _DEEP * s2)
    return deep


def _near_reach(form: ClosedForm, rising: PairArguments) -> tuple[Float[Array, " pairs"], Float[Array, " pairs"]]:
    """Where the mass ends: e^{k U}, e^{k V} move it, but not beyond where they set in."""
    m1, m2, s1, s2, cosine, _ = rising.columns
    xp = library(m1)
    tilt = form.tilt
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
    """The smaller of two, elementwise."""
    return library(a).where(a < b, a, b)


def _general_edges(form: ClosedForm, fixed: tuple[float, ...], rising: PairArguments) -> Float[Array, "pairs ends"]:
    """The fixed ends, and for every bend those around its kink in U and its transition in M', by geometric steps."""
    m1, m2, s1, s2, cosine, sine = rising.columns
    points = [0.0 * m1 + sign * end for end in fixed for sign in ((1.0, -1.0) if end else (1.0,))]
    width = sine / cosine
    tilt = form.tilt
    for bend in form.bends:
        kink, centre = (bend.at - m1) / s1, (bend.at - m2) / (s2 * cosine)
        points.append(kink)
        points += [centre + width * multiple for multiple in _WIDTHS]
        if tilt:
            shifted = centre - tilt * s2 * sine * width
            points += [shifted + width * multiple for multiple in _WIDTHS]
            points += [kink - far / (tilt * s1) for far in _DECAYS]
        if form.is_piecewise_linear:
            points += [centre + width * multiple for multiple in _FAR_WIDTHS]
            points += [kink + sine * multiple for multiple in _SINES]
            for point in (kink, centre):
                points += [point + far / point for far in _TAILS]
    return increasing(points, -_REACH, _REACH)
