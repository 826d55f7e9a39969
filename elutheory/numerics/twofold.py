"""Numbers of twice the digits of double precision, as the unevaluated sum of two doubles (Dekker; Knuth).

For the few quantities whose rounding an exponential would magnify. Arrays, numpy or torch, up to 1e150 in size.
"""

from typing import Any

_SPLIT = 134217729.0  # 2^27 + 1


class Twofold:
    """`high` + `low`, |low| at most half a unit in the last place of `high`."""

    __array_ufunc__ = None
    __slots__ = ("high", "low")

    def __init__(self, high: Any, low: Any = 0.0) -> None:
        self.high, self.low = high, low

    @classmethod
    def sum(cls, a: Any, b: Any) -> "Twofold":
        """a + b of two doubles, exactly."""
        total = a + b
        of_b = total - a
        return cls(total, (a - (total - of_b)) + (b - of_b))

    @classmethod
    def product(cls, a: Any, b: Any) -> "Twofold":
        """a b of two doubles, exactly."""
        a_high, b_high = _high(a), _high(b)
        a_low, b_low = a - a_high, b - b_high
        total = a * b
        return cls(total, ((a_high * b_high - total) + a_high * b_low + a_low * b_high) + a_low * b_low)

    def __add__(self, other: "Twofold") -> "Twofold":
        found = Twofold.sum(self.high, other.high)
        return _normal(found.high, found.low + (self.low + other.low))

    def __neg__(self) -> "Twofold":
        return Twofold(-self.high, -self.low)

    def __sub__(self, other: "Twofold") -> "Twofold":
        return self + -other

    def __mul__(self, other: "Twofold") -> "Twofold":
        found = Twofold.product(self.high, other.high)
        return _normal(found.high, found.low + (self.high * other.low + self.low * other.high))

    def __truediv__(self, other: "Twofold") -> "Twofold":
        first = self.high / other.high
        rest = self - other * Twofold(first)
        return _normal(first, rest.high / other.high)


def _normal(high: Any, low: Any) -> Twofold:
    total = high + low
    return Twofold(total, low - (total - high))


def _high(a: Any) -> Any:
    shifted = _SPLIT * a
    return shifted - (shifted - a)
