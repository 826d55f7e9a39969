"""What describes a Gaussian pair: variances, covariance, means; checked, broadcast, turned into an angle."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float

from elutheory.errors import InputError
from elutheory.numerics.arguments import real_arrays
from elutheory.numerics.arrays import Array, indices, library
from elutheory.numerics.twofold import Twofold

# |correlation| up to 1 + this many units in the last place is rounding (a Gram matrix is a sum) and taken as ±1.
_ROUNDING = 64.0
_NAMES = ("variance_u", "variance_v", "covariance", "mean_u", "mean_v")


@dataclass(frozen=True)
class PairArguments:
    """Pairs as every rule takes them: means, standard deviations >= 0, the correlation as cosine and sine of an angle.

    float64 arrays of one shape and library. `sine` >= 0 is taken as it is: it may be below the rounding of the cosine.
    """

    mean_u: Float[Array, "*pairs"]
    mean_v: Float[Array, "*pairs"]
    std_u: Float[Array, "*pairs"]
    std_v: Float[Array, "*pairs"]
    cosine: Float[Array, "*pairs"]
    sine: Float[Array, "*pairs"]

    @property
    def columns(self) -> tuple[Float[Array, "*pairs"], ...]:
        """The six arrays, in the order of the fields."""
        return self.mean_u, self.mean_v, self.std_u, self.std_v, self.cosine, self.sine

    def __len__(self) -> int:
        return len(self.mean_u)

    def __getitem__(self, members: Any) -> "PairArguments":
        """The pairs with these indices, or in this slice."""
        return PairArguments(*(column[members] for column in self.columns))

    def swapped(self) -> "PairArguments":
        """U and V exchanged."""
        return PairArguments(self.mean_v, self.mean_u, self.std_v, self.std_u, self.cosine, self.sine)

    def ordered(self) -> "PairArguments":
        """The variable of the larger standard deviation, or mean, first: what is computed is symmetric to the bit."""
        xp = library(self.std_u)
        swap = (self.std_u < self.std_v) | ((self.std_u == self.std_v) & (self.mean_u < self.mean_v))
        mean_u, std_u = xp.where(swap, self.mean_v, self.mean_u), xp.where(swap, self.std_v, self.std_u)
        mean_v, std_v = xp.where(swap, self.mean_u, self.mean_v), xp.where(swap, self.std_u, self.std_v)
        return PairArguments(mean_u, mean_v, std_u, std_v, self.cosine, self.sine)

    def rising(self) -> "PairArguments":
        """Of cosine >= 0, where the conditional mean of V rises with x, and U = mean_u + std_u x falls: std_u < 0."""
        std_u = library(self.std_u).where(self.cosine < 0, -self.std_u, self.std_u)
        return PairArguments(self.mean_u, self.mean_v, std_u, self.std_v, abs(self.cosine), self.sine)


def broadcast(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    """The five arguments as float64 arrays of one shape, numpy or torch, and the dtype that the result must have."""
    return real_arrays(_NAMES, values, in_float64=True)


def pair_arguments(arrays: tuple[Float[Array, "*shape"], ...], unit: float) -> PairArguments:
    """One-dimensional, from `broadcast`'s float64 arrays; `unit` is the rounding unit of the numbers as given.

    sine² = (variance_u variance_v − covariance²) / (variance_u variance_v), both products with their rounding errors.
    Raises InputError naming the first pair that is no pair: nan or infinite, negative variance, |correlation| > 1.
    """
    xp = library(arrays[0])
    shape = tuple(arrays[0].shape)
    arguments = tuple(array.reshape(-1) for array in arrays)
    variance_u, variance_v, covariance, mean_u, mean_v = arguments
    usual = xp.isfinite(variance_u + variance_v + covariance + mean_u + mean_v) & (variance_u >= 0) & (variance_v >= 0)
    if not bool(usual.all()):
        for name, value in zip(_NAMES, arguments, strict=True):
            _refuse(~xp.isfinite(value), arguments, shape, f"{name} must be finite")
        for name, value in zip(_NAMES[:2], arguments[:2], strict=True):
            _refuse(value < 0, arguments, shape, f"{name} must be >= 0")
    u, v = _scale(variance_u), _scale(variance_v)
    scaled_u, scaled_v = _times_power(variance_u, -2 * u), _times_power(variance_v, -2 * v)
    scaled = _times_power(_times_power(covariance, -u), -v)
    found, crossed = Twofold.product(scaled_u, scaled_v), Twofold.product(scaled, scaled)
    square, cross = found.high, crossed.high
    degenerate = square == 0
    excess = (cross - square) + (crossed.low - found.low)
    _refuse(
        ~(excess <= 2.0 * _ROUNDING * unit * square) | (degenerate & (covariance != 0)),  # ~: nan where it overflows
        arguments,
        shape,
        "|covariance| must not exceed the square root of variance_u times variance_v",
    )
    safe = xp.where(degenerate, xp.ones_like(square), square)
    sine = (xp.clip(-excess, 0.0, None) / safe) ** 0.5
    sine = xp.where(degenerate, xp.ones_like(sine), sine)
    cosine = xp.clip(scaled / safe**0.5, -1.0, 1.0)
    cosine = xp.where((sine == 0) & ~degenerate, xp.sign(scaled), cosine)
    return PairArguments(mean_u, mean_v, variance_u**0.5, variance_v**0.5, cosine, sine)


def _refuse(wrong: Any, arguments: tuple[Any, ...], shape: tuple[int, ...], what: str) -> None:
    if not wrong.any():
        return

    flat = int(indices(wrong)[0])
    index: list[int] = []
    rest = flat
    for length in reversed(shape):
        rest, place = divmod(rest, length)
        index.insert(0, place)
    where = f"pair {tuple(index) if len(index) != 1 else index[0]}" if index else "the pair"
    numbers = ", ".join(f"{name} = {float(value[flat])!r}" for name, value in zip(_NAMES, arguments, strict=True))
    raise InputError(f"{what}; {where} has {numbers}.")


def _scale(value: Any) -> Any:
    """Half the binary exponent."""
    return library(value).frexp(value)[1] // 2


def _times_power(value: Any, exponent: Any) -> Any:
    return library(value).ldexp(value, exponent)
