"""Quantiles of every unit over points that come in batches: exact from kept values, or by KLL sketches."""

from typing import Any, Literal

import torch
from datasketches import vector_of_kll_floats_sketches  # pyright: ignore[reportAttributeAccessIssue]
from jaxtyping import Float
from torch import Tensor

from elutheory.errors import InputError

SKETCH_SIZE = 400
"""The parameter k of the KLL sketches (Karnin, Lang, Liberty, arXiv 1603.05346): a rank error of about 0.7 %."""

_CHUNK_BYTES = 2**26

Method = Literal["exact", "sketch"]


class UnitQuantiles:
    """Quantiles of every unit. Values are kept as they come until `to_sketches`; from then on sketches take them."""

    def __init__(self) -> None:
        self._kept: list[Float[Tensor, "points units"]] = []
        self._sketches: Any | None = None  # datasketches.vector_of_kll_floats_sketches

    @property
    def method(self) -> Method:
        """ "exact" (from all values, linear between neighbours as numpy.quantile) or "sketch"."""
        return "exact" if self._sketches is None else "sketch"

    @property
    def rank_error(self) -> float:
        """A quantile of rank p by a sketch has a true rank within p ± this, with 99 % confidence; 0 for exact ones."""
        return 0.0 if self._sketches is None else self._sketches.get_normalized_rank_error(SKETCH_SIZE, False)

    @property
    def nbytes(self) -> int:
        """Bytes of the kept values."""
        return sum(kept.nbytes for kept in self._kept)

    def add(self, values: Tensor, axis: int) -> None:
        """Further points: every axis but that of the units."""
        points = values.movedim(axis, -1).reshape(-1, values.shape[axis])
        if self._sketches is not None:
            self._sketches.update(_host(points))
        else:
            self._kept.append(points.clone())

    def to_sketches(self) -> None:
        """Give the kept values to sketches, which take less memory."""
        if self._sketches is None and self._kept:
            sketches = vector_of_kll_floats_sketches(SKETCH_SIZE, self._kept[0].shape[1])
            for kept in self._kept:
                sketches.update(_host(kept))
            self._sketches, self._kept = sketches, []

    def merge(self, other: "UnitQuantiles") -> None:
        """Adds the other's points; sketches take them if either has sketches."""
        if other._sketches is None:
            for kept in other._kept:
                self.add(kept.to(self._kept[0].device) if self._kept else kept, -1)
        elif self._sketches is None:
            sketches = _from_bytes(other._sketches.serialize())
            for kept in self._kept:
                sketches.update(_host(kept))
            self._sketches, self._kept = sketches, []
        else:
            self._sketches.merge(other._sketches)

    def at(self, probabilities: tuple[float, ...]) -> Float[Tensor, "probabilities units"]:
        """Quantiles in float64; exact ones NaN where a value is, while sketches leave NaN out."""
        if self._sketches is not None:
            found = self._sketches.get_quantiles(list(probabilities))
            return torch.as_tensor(found, dtype=torch.float64).T
        values = torch.cat(self._kept)
        width = max(1, _CHUNK_BYTES // (8 * len(values)))
        return torch.cat([_quantiles(part, probabilities) for part in values.split(width, dim=1)], dim=1)

    def parts(self) -> dict[str, Tensor]:
        """Tensors to be written to a file."""
        if self._sketches is None:
            return {"values": torch.cat(self._kept)}
        written = self._sketches.serialize()
        return {
            "sketches": torch.frombuffer(bytearray(b"".join(written)), dtype=torch.uint8),
            "sketch_lengths": torch.tensor([len(sketch) for sketch in written]),
        }

    @classmethod
    def from_parts(cls, parts: dict[str, Tensor]) -> "UnitQuantiles":
        """The inverse of `parts`."""
        quantiles = cls()
        if "values" in parts:
            quantiles._kept = [parts["values"]]
            return quantiles
        whole = parts["sketches"].numpy().tobytes()
        lengths = parts["sketch_lengths"].tolist()
        if min(lengths, default=0) < 1 or sum(lengths) != len(whole):
            raise InputError("the sketches are not as long as the file says.")
        starts = [sum(lengths[:index]) for index in range(len(lengths))]
        quantiles._sketches = _from_bytes(
            [whole[start : start + length] for start, length in zip(starts, lengths, strict=True)]
        )
        return quantiles


def _quantiles(values: Float[Tensor, "points units"], probabilities: tuple[float, ...]) -> Tensor:
    ordered = values.double().sort(0).values  # NaN last
    found = []
    for probability in probabilities:
        place = probability * (len(ordered) - 1)
        low = int(place)
        lower, upper = ordered[low], ordered[min(low + 1, len(ordered) - 1)]
        found.append(torch.where(lower == upper, lower, torch.lerp(lower, upper, place - low)))
    return torch.stack(found).masked_fill(ordered[-1].isnan(), torch.nan)


def _host(points: Tensor) -> Any:
    return points.float().cpu().contiguous().numpy()


def _from_bytes(written: list[bytes]) -> Any:
    sketches = vector_of_kll_floats_sketches(SKETCH_SIZE, len(written))
    for unit, sketch in enumerate(written):
        sketches.deserialize(sketch, unit)
    return sketches
