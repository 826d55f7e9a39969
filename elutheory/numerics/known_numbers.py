"""Numbers beside what rounding may have made of them: a sum of many terms says itself how many digits it has left.

Errors are in units of the last place of double precision, to first order: those of the operands, and one more for every
operation. Arrays, numpy or torch; complex ones, too.
"""

from typing import Any

from elutheory.numerics.arrays import library

UNIT = 2.0**-52
"""What `Known.rounding` counts in."""


class Known:
    """`value`, off by at most UNIT · `rounding`, two arrays or numbers."""

    __array_ufunc__ = None  # array · known is this class's
    __slots__ = ("rounding", "value")

    def __init__(self, value: Any, rounding: Any) -> None:
        self.value, self.rounding = value, rounding

    @classmethod
    def rounded(cls, value: Any, units: float = 1.0) -> "Known":
        """Known to so many of its own units."""
        return cls(value, units * abs(value))

    def __add__(self, other: "Known") -> "Known":
        return Known(self.value + other.value, self.rounding + other.rounding)

    def __sub__(self, other: "Known") -> "Known":
        return Known(self.value - other.value, self.rounding + other.rounding)

    def __mul__(self, factor: Any) -> "Known":
        """By a number that is known to a few rounding units."""
        return Known(factor * self.value, abs(factor) * (self.rounding + abs(self.value)))

    __rmul__ = __mul__

    def times(self, other: "Known") -> "Known":
        """By another number with a rounding of its own."""
        value = self.value * other.value
        return Known(value, abs(self.value) * other.rounding + self.rounding * abs(other.value) + abs(value))

    def over(self, other: "Known") -> "Known":
        """Divided by another."""
        value = self.value / other.value
        return Known(value, (self.rounding + abs(value) * other.rounding) / abs(other.value) + abs(value))

    def root(self) -> "Known":
        """The square root of a number >= 0."""
        value = self.value**0.5
        return Known(value, 0.5 * self.rounding / value + value)

    def exp(self) -> "Known":
        """The exponential."""
        value = library(self.value).exp(self.value)
        return Known(value, abs(value) * (1.0 + self.rounding))

    def expm1(self) -> "Known":
        """The exponential less 1."""
        value = library(self.value).expm1(self.value)
        return Known(value, abs(value) + (1.0 + abs(value)) * self.rounding)
