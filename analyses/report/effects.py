"""A test's effect in natural units and in words: "33 % fewer updates", "26 to 37 % fewer updates"."""

from dataclasses import dataclass
from math import exp, isfinite, isnan


@dataclass(frozen=True)
class Quantity:
    """What an effect is a number of.

    `less` and `more`: the words after its size where it is negative and where it is positive. `of_ratio`: the effect is
    the logarithm of a ratio, said as a percentage of change; otherwise it is a number, times `factor`, of the unit that
    the words name.
    """

    less: str
    more: str
    of_ratio: bool = False
    factor: float = 1.0

    def effect(self, value: float) -> str:
        """The effect in words; empty for NaN."""
        if isnan(value):
            return ""
        number, words = self._said(value)
        return f"{number} {words}"

    def interval(self, low: float, high: float) -> str:
        """The interval, the smaller change first, in words where it has both directions; empty where there is none."""
        if isnan(low) or isnan(high):
            return ""
        if not (isfinite(low) and isfinite(high)):
            return "without bound: networks that diverged, or too few pairs"
        (first, less), (second, more) = self._said(low), self._said(high)
        if low < 0 < high:
            return f"{first} {less} to {second} {more}"
        small, large = (second, first) if high <= 0 else (first, second)
        return f"{small.removesuffix(' %')} to {large}"

    def _said(self, value: float) -> tuple[str, str]:
        size = abs(100 * (exp(value) - 1)) if self.of_ratio else abs(self.factor * value)
        number = f"{size:.0f}" if size >= 10 else f"{size:.2g}"
        return f"{number} %" if self.of_ratio else number, self.less if value < 0 else self.more


def pairs_needed(pairs: int, effect: float, low: float, high: float) -> int | None:
    """How many pairs would make an interval of this spread as long on either side as the effect is; None: no number.

    The length of an interval is taken to fall with the root of the number of pairs.
    """
    if not effect or not all(map(isfinite, (effect, low, high))):
        return None
    return max(pairs, round(pairs * ((high - low) / 2 / abs(effect)) ** 2))
