"""Where float32 loses a gradient on its way down: too small to change weights, subnormal, zero, or overflown."""

from typing import Any

import numpy as np
from jaxtyping import Float

PRECISION, SMALLEST_NORMAL, ZERO, OVERFLOW = 2.0**-24, 2.0**-126, 2.0**-150, 2.0**128
"""Relative change below which a number may stay; least number of full precision; what rounds to 0; too large."""

LOSSES = {
    "precision": "δ below 2⁻²⁴ of the weights' standard deviation: a weight whose incoming activation is 1 keeps its "
    "value, at learning rate 1",
    "subnormal": "δ below 2⁻¹²⁶, where precision fades",
    "zero": "every δ is 0",
    "overflow": "a δ is infinite or nan",
}
"""In what sense a gradient is lost, by the root mean square δ of a layer's units."""


def lost_after(
    sizes: Float[np.ndarray, "*networks layers"], weight_std: float, *, zero: float = 0.0
) -> dict[str, Float[Any, "*networks"]]:
    """By loss: how many layers below the last one a gradient of these root mean squares is lost first; inf: nowhere.

    `zero`: a size taken for 0: 0 itself where float32 computed the sizes, ZERO where they are those of exact numbers.
    """
    with np.errstate(invalid="ignore"):
        found = {
            "precision": sizes < PRECISION * weight_std,
            "subnormal": sizes < SMALLEST_NORMAL,
            "zero": sizes <= zero,
            "overflow": ~(sizes < OVERFLOW),
        }
    downward = {name: lost[..., ::-1] for name, lost in found.items()}
    return {name: np.where(lost.any(-1), lost.argmax(-1), np.inf) for name, lost in downward.items()}
