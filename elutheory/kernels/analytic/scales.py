"""Over what lengths an analytic function varies: found from its values, once per activation.

At many places the largest interval on which polynomials of degree 20 resolve f and f' to 1e-12 of their size; 1.9 times
its half length is about the distance of the next singularity, or what acts like one: its width.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy

from elutheory.activations.kinks import second_derivative
from elutheory.moments.quadrature.features import features as transitions

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

_DEGREE, _RESOLVED = 20, 1e-12
_WIDTH = 1.9  # half lengths: the ellipse in which degree 20 gives 1e-12 is that wide
_PLACES = tuple(sorted({sign * 2.0 ** (k / 4) / 16 for k in range(96) for sign in (-1.0, 1.0)} | {0.0}))
_SIZES = tuple(2.0 ** (k / 2) / 1024 for k in range(70))
_MOST_FEATURES = 5
_ENOUGH = 0.45  # of the width that the model claims


@dataclass(frozen=True)
class Feature:
    """f is resolved by steps in proportion to √((x − at)² + width²)."""

    at: float
    width: float


@lru_cache(maxsize=1)
def _chebyshev() -> tuple[Any, Any]:
    points = numpy.cos(numpy.pi * (numpy.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1))
    return points, numpy.linalg.inv(numpy.polynomial.chebyshev.chebvander(points, _DEGREE))


@lru_cache(maxsize=256)
def widths(activation: "Activation") -> tuple[Any, Any]:
    """Places, and the width of f and f' at each (0: not even the smallest interval resolves them).

    Where f overflows nothing is asked of a rule, which will find out.
    """
    points, transform = _chebyshev()
    # where f is known to change fast, intervals beside these places might miss it
    known = [place for place, length in transitions(activation) if length > 0.0]
    places, sizes = numpy.array(sorted({*_PLACES, *known})), numpy.array(_SIZES)
    allowed = numpy.ones((len(places), len(sizes)), dtype=bool)
    with numpy.errstate(all="ignore"):
        x = places[:, None, None] + sizes[:, None] * points
        values = activation(x), activation.derivative(x), second_derivative(activation)(x)
        for of, slope in pairwise(values):
            # a rounded x moves the values by this much: far out nothing is known more closely
            rounding = 1e-15 * numpy.abs(x * slope).max(-1)
            tail = numpy.abs(of @ transform.T)[..., -3:].max(-1)
            size = numpy.abs(of).max(-1)
            floor = size[numpy.abs(places) <= 4.0, 20].max()  # half length 1
            allowed &= (tail <= _RESOLVED * numpy.maximum(size, 1e-2 * floor) + rounding) | ~numpy.isfinite(size)
    return places, numpy.where(numpy.logical_and.accumulate(allowed, 1), sizes, 0.0).max(1) * _WIDTH


@lru_cache(maxsize=256)
def features(activation: "Activation") -> tuple[Feature, ...] | None:
    """A few places with widths that bound those everywhere, None where a few do not (sin x)."""
    places, found = widths(activation)
    if not found.min() > 0.0:
        return None
    narrowest = numpy.flatnonzero(found <= found.min() * 1.0001)
    at = int(narrowest[numpy.argmin(numpy.abs(places[narrowest]))])
    chosen: list[Feature] = []
    for _ in range(_MOST_FEATURES):
        chosen.append(Feature(float(places[at]), float(found[at])))
        models = [numpy.hypot(places - feature.at, feature.width) for feature in chosen]
        share = found / numpy.minimum.reduce(models)
        at = int(numpy.argmin(share))
        if share[at] >= _ENOUGH:
            return tuple(chosen)
    return None


SEEN = 28.0
"""−ln of what a step may leave of a feature: `widths` are underestimates, so that less is left (test_analytic.py)."""


def largest_steps(activation: "Activation", mean: Any, std: Any) -> Any:
    """The largest step, in standard deviations, that can see every feature of f within reach of N(mean, std²).

    One-dimensional float64 numpy arrays. A singularity at distance w from a place x standard deviations off the mean
    leaves exp(−2π w/(std step) − x²/2) of the size. Sums over two lattices agree, too, where neither sees a narrow
    feature: this is what they cannot tell.
    """
    places, found = widths(activation)
    if not mean.any():  # no place asks for more than a narrower one nearer to 0
        order = numpy.argsort(abs(places), kind="stable")
        places, found = places[order], found[order]
        narrower = numpy.concatenate([[True], found[1:] < numpy.minimum.accumulate(found)[:-1]])
        places, found = places[narrower], found[narrower]
    x = (places - mean[:, None]) / numpy.where(std > 0.0, std, 1.0)[:, None]
    needed = numpy.clip(SEEN - 0.5 * x * x, 1e-3, None)
    with numpy.errstate(divide="ignore", over="ignore"):
        return (2.0 * numpy.pi / needed * (found / numpy.where(std > 0.0, std, 1e-300)[:, None])).min(1)
