"""Count, mean and variance of every unit over points that come in batches, with float64 accumulators.

`RunningMoments` sums every batch about its own mean; `UnitSums` never makes an accelerator wait, so that it can watch a
training loop. Both merge the parts by one formula, `Moments.merged`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

FOLD_AFTER = 32
"""So many batches' sums are kept before they are folded into the float64 accumulators, all at once.

Folding takes some fifteen small operations per layer, which are thus spread over 32 forward passes, for the memory of
3 to 6 numbers per unit and pass. Any number gives the same moments (`test_many_batches_are_folded`); what observing
costs is guarded by bench_layer_statistics.py.
"""


SHIFT_SHARE = 16
"""A batch is summed about the mean of its leading 1/16 of the examples (one at least).

For any order of the points the variance loses at most the factor 16 of float32's rounding. Measured on sorted points,
the worst order: relative errors of 1e-8 with all examples (a second reading of the batch), 5e-8 with 1/16, 9e-8 with
one example. Guarded by `test_variance_of_float32_far_from_zero`.
"""


_MOST_EXACT = 2**24  # whole numbers that float32 holds


@dataclass(frozen=True, eq=False)
class Moments:
    """Of some points: how many they are, every unit's mean, and Σ(x − mean)², both in float64."""

    count: int
    mean: Float[Tensor, " units"]
    squares: Float[Tensor, " units"]

    def merged(self, other: "Moments") -> "Moments":
        """Those of both parts' points together (Chan, Golub, LeVeque 1979): nothing cancels far from zero."""
        if not self.count:
            return other
        total = self.count + other.count
        offset = other.mean - self.mean
        return Moments(
            total,
            self.mean + offset * (other.count / total),
            self.squares + other.squares + offset.square() * (self.count * other.count / total),
        )


class RunningMoments:
    """Mean and variance of every unit over points that come in batches, no digit lost far from zero."""

    def __init__(self) -> None:
        self._moments = Moments(0, torch.empty(0), torch.empty(0))

    @property
    def count(self) -> int:
        """The number of points so far."""
        return self._moments.count

    @property
    def mean(self) -> Float[Tensor, " units"]:
        """The mean over the points, in float64; empty before the first."""
        return self._moments.mean

    @property
    def variance(self) -> Float[Tensor, " units"]:
        """The mean squared distance from the mean, in float64."""
        return self._moments.squares / self._moments.count

    def add(self, values: Float[Tensor, "points units"]) -> None:
        """Merges further points."""
        mean = values.mean(0)
        squares = (values - mean).square_().sum(0)
        self._moments = self._moments.merged(Moments(len(values), mean.double(), squares.double()))

    def place(self, index: Int[Tensor, " units"], units: int) -> None:
        """Makes room for more units: these are those of `index`, the others were 0 at every point so far."""
        if self._moments.count:
            longer = [values.new_zeros(units) for values in (self._moments.mean, self._moments.squares)]
            mean, squares = longer
            mean[index], squares[index] = self._moments.mean, self._moments.squares
            self._moments = Moments(self._moments.count, mean, squares)


class Scratch:
    """Memory for one intermediate tensor at a time, used again and again: a fresh one costs the CPU page faults."""

    def __init__(self) -> None:
        self._memory: Tensor = torch.empty(0)

    def like(self, values: Tensor) -> Tensor:
        """A tensor of the values' shape, dtype and device, and of any content."""
        memory = self._memory
        if memory.numel() < values.numel() or memory.dtype != values.dtype or memory.device != values.device:
            with torch.inference_mode(False):
                self._memory = memory = values.new_empty(values.numel())
        return memory[: values.numel()].view(values.shape)


class UnitSums:
    """Sums over points, a point being an example at one position; every unit has the same number of points.

    A batch x is summed about a shift s, the mean of its leading 1/SHIFT_SHARE: Σ(x − s) and Σ(x − s)² in the data's
    dtype (float32 at least), so that Σ(x − mean)² = Σ(x − s)² − (Σ(x − s))²/n loses little: for any data
    (mean − s)² ≤ (n/k − 1) variance, k the leading points, whatever their order. Batches are merged in float64 (Chan et
    al.): mean and Σ(x − mean)² of the union from those of the parts. Nothing waits for an accelerator.

    With `extremes` also minimum, maximum, the number of points ≤ 0, and of those that are one of the `flat` values,
    which an activation function takes where its slope is 0.
    """

    def __init__(self, extremes: bool, scratch: Scratch | None = None) -> None:
        self.extremes = extremes
        self._scratch = scratch or Scratch()
        self._count = 0
        self._folded: dict[str, Float[Tensor, " units"]] = {}
        self._waiting: list[tuple[Tensor, ...]] = []
        self._waiting_count = 0  # points of each of them

    @property
    def count(self) -> int:
        """The number of points so far."""
        return self._count + len(self._waiting) * self._waiting_count

    def add(self, values: Tensor, axis: int, flat: tuple[float, ...] | None = None) -> None:
        """Further points: every axis but that of the units. `flat` None: where the slope is 0 is not known."""
        if values.dtype not in (torch.float32, torch.float64):
            values = values.float()
        others = [other for other in range(values.ndim) if other != axis % values.ndim]
        count = values.numel() // values.shape[axis]
        if count != self._waiting_count:
            self._fold()
            self._waiting_count = count
        scratch = self._scratch.like(values)
        extremes = _extremes(values, others, count, scratch, flat) if self.extremes else ()
        self._waiting.append((*_sums(values, others, scratch), *extremes))
        if len(self._waiting) == FOLD_AFTER:
            self._fold()

    def merge(self, other: "UnitSums") -> None:
        """Adds the other's points; the other is left as it is."""
        parts = other.parts()
        if parts:
            self._merge(other.count, parts)

    def parts(self) -> dict[str, Float[Tensor, " units"]]:
        """`mean`, `squares` = Σ(x − mean)² and, with `extremes`, `minimum`, `maximum`, `nonpositive` and, if known,
        `flat`, all float64."""
        self._fold()
        return self._folded

    @classmethod
    def from_parts(cls, count: int, parts: dict[str, Tensor]) -> "UnitSums":
        """The inverse of `parts`."""
        sums = cls("minimum" in parts)
        sums._count, sums._folded = count, parts
        return sums

    def _fold(self) -> None:
        if not self._waiting:
            return
        stacked = [_accumulator(columns) for columns in zip(*self._waiting, strict=True)]
        count, waiting = self._waiting_count, len(self._waiting)
        self._waiting = []
        shift, offset, squares = stacked[0], stacked[1] / count, stacked[2]
        means = shift + offset
        mean = means.mean(0)
        within = (squares - count * offset.square()).clamp(min=0).sum(0)
        parts = {"mean": mean, "squares": within + count * (means - mean).square().sum(0)}
        if self.extremes:
            parts |= {"minimum": stacked[3].amin(0), "maximum": stacked[4].amax(0)}
            parts |= {name: number.sum(0) for name, number in zip(("nonpositive", "flat"), stacked[5:], strict=False)}
        self._merge(count * waiting, parts)

    def _merge(self, count: int, parts: dict[str, Tensor]) -> None:
        if not self._count:
            self._count, self._folded = count, parts
            return
        old = {name: part.to(parts["mean"].device) for name, part in self._folded.items()}
        own = Moments(self._count, old["mean"], old["squares"])
        both = own.merged(Moments(count, parts["mean"], parts["squares"]))
        self._count, self._folded = both.count, {"mean": both.mean, "squares": both.squares}
        if self.extremes:
            self._folded["minimum"] = torch.minimum(old["minimum"], parts["minimum"])
            self._folded["maximum"] = torch.maximum(old["maximum"], parts["maximum"])
            for counted in {"nonpositive", "flat"} & old.keys() & parts.keys():
                self._folded[counted] = old[counted] + parts[counted]


def _sums(values: Tensor, others: list[int], scratch: Tensor) -> tuple[Tensor, ...]:
    if not others:
        return values.clone(), torch.zeros_like(values), torch.zeros_like(values)
    leading = values.narrow(others[0], 0, -(-values.shape[others[0]] // SHIFT_SHARE))
    shift = leading.mean(others, keepdim=True)
    offsets = torch.sub(values, shift, out=scratch)
    return shift.flatten(), offsets.sum(others), offsets.square_().sum(others)


def _extremes(
    values: Tensor, others: list[int], count: int, scratch: Tensor, flat: tuple[float, ...] | None
) -> tuple[Tensor, ...]:
    exact = values.dtype if count <= _MOST_EXACT else torch.float64
    if not others:
        return values.clone(), values.clone(), (values <= 0).to(exact), *_number_flat(values, others, flat, exact)
    nonpositive = torch.le(values, 0, out=scratch).sum(others, dtype=exact)
    return values.amin(others), values.amax(others), nonpositive, *_number_flat(values, others, flat, exact)


def _number_flat(
    values: Tensor, others: list[int], flat: tuple[float, ...] | None, exact: torch.dtype
) -> tuple[Tensor, ...]:
    """Points at one of the flat values, by unit; nothing if these are not known."""
    if flat is None:
        return ()
    found = values.new_zeros([length for axis, length in enumerate(values.shape) if axis not in others], dtype=exact)
    for value in flat:
        equal = values == value
        found = found + (equal.sum(others, dtype=exact) if others else equal.to(exact))
    return (found,)


def _accumulator(columns: Sequence[Tensor]) -> Float[Tensor, "batches units"]:
    """In float64, on the batches' device if it has that (Apple's has not)."""
    stacked = torch.stack(list(columns))
    return stacked.to("cpu" if stacked.device.type == "mps" else stacked.device, torch.float64)
