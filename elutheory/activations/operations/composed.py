"""Functions that no library has to the last digit, composed of its own exp, floor, where and erfcx."""

import math
from collections.abc import Callable
from typing import Any

Function = Callable[[Any], Any]
_SQRT_HALF = math.sqrt(0.5)
_LOG_2 = math.log(2.0)


def composed_gaussian(exp: Function, floor: Function, clip: Function) -> Function:
    """exp(−u²/2) to a few units in the last place: u = h + l with h² exact (16 h is an integer).

    `clip` keeps |u| at most 64, where exp(−u²/2) is 0 in double precision.
    """

    def gaussian(u: Any) -> Any:
        u = clip(u)
        h = floor(u * 16.0 + 0.5) / 16.0
        return exp(h * h * -0.5) * exp((u - h) * (u + h) * -0.5)

    return gaussian


def composed_normal_distribution(where: Callable[..., Any], erfcx: Function, gaussian: Function) -> Function:
    """The standard normal distribution function, its lower tail to full relative accuracy."""

    def normal_distribution(u: Any) -> Any:
        magnitude = where(u < 0, -u, u)
        tail = gaussian(magnitude) * erfcx(magnitude * _SQRT_HALF) * 0.5
        return where(u < 0, tail, 1.0 - tail)

    return normal_distribution


def log_cosh_far(u: Any, library: Any) -> Any:
    """log(cosh(u)) away from its zero at u = 0, by the `log1p` and `exp` of `library`."""
    magnitude = abs(u)
    return magnitude - _LOG_2 + library.log1p(library.exp(-2.0 * magnitude))
