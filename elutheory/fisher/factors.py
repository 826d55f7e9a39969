"""The vectors whose outer products sum up to a layer's unit Fisher matrices, and their small Gram matrices."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from elutheory.fisher.outer_products import add_outer_products, add_weighted_outer_products
from elutheory.fisher.scores import LayerScores

_SCORE_BYTES = 2**25
"""Summed scores are formed in chunks of at most so many bytes, or of one example and unit."""


class UnitFactors(ABC):
    """Vectors v of every unit, the bias coordinate first; v vᵀ summed is F times the number of examples."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Vectors per unit."""

    @abstractmethod
    def rows(self, units: slice) -> Float[Tensor, "units count coordinates"]:
        """The vectors of some units, the bias coordinate first."""

    @abstractmethod
    def first_row(self) -> Float[Tensor, "units coordinates"]:
        """sum_n v[n, 0] v[n] of every unit: the bias coordinate's row of the summed outer products."""

    @abstractmethod
    def gram(self, units: slice, has_bias: bool) -> Float[Tensor, "units count count"]:
        """Inner products of some units' vectors, without bias those of the other coordinates."""

    @abstractmethod
    def inner_products(self, rows: Float[Tensor, "units n"], has_bias: bool) -> Float[Tensor, "units count"]:
        """Inner products of every unit's vectors with its row, without bias of the other coordinates."""

    @abstractmethod
    def combination(self, weights: Float[Tensor, "units count"], has_bias: bool) -> Float[Tensor, "units n"]:
        """Sum of every unit's vectors times their weights, without bias of the other coordinates."""

    @abstractmethod
    def extended(self, other: "UnitFactors") -> "UnitFactors":
        """These vectors and the other's."""

    @abstractmethod
    def add_to(
        self,
        total: Float[Tensor, "units coordinates coordinates"],
        reference: Float[Tensor, "groups fan_in"],
        scale: float,
    ) -> None:
        """total += scale × sum of outer products with activations about `reference`, on and above the diagonal."""

    @abstractmethod
    def of_units(self, units: Int[Tensor, " chosen"] | slice) -> "UnitFactors":
        """The vectors of some units alone; they share memory with these where that is possible."""

    @abstractmethod
    def to(self, like: torch.device | torch.dtype) -> "UnitFactors":
        """A copy on another device, or of another dtype."""

    @abstractmethod
    def placed(self, index: Int[Tensor, " fan_in"], fan_in: int) -> "UnitFactors":
        """The same in a space of more incoming activations, of which these are those of `index`, the others 0."""


@dataclass(frozen=True, eq=False)
class WeightedActivations(UnitFactors):
    """Activations that all units of a group share: unit u's vectors are √weights[n, u] (1, activations[n, group of u]).

    - `activations` (points, groups, fan_in); `weights` (points, units): delta² summed over the score's columns.
    """

    activations: Float[Tensor, "points groups fan_in"]
    weights: Float[Tensor, "points units"]

    @property
    def count(self) -> int:
        """Vectors per unit: one per point."""
        return len(self.weights)

    def rows(self, units: slice) -> Float[Tensor, "units count coordinates"]:
        """√weights[n, u] (1, activations[n, group of u]) of some units."""
        weights = self.weights[:, units]
        groups = group_of_units(self.weights.shape[1], self.activations.shape[1], weights.device)
        chosen = self.activations[:, groups[units]]
        ones = chosen.new_ones(*chosen.shape[:2], 1)
        return (weights.sqrt()[:, :, None] * torch.cat([ones, chosen], dim=2)).transpose(0, 1)

    def first_row(self) -> Float[Tensor, "units coordinates"]:
        """Σ_n weights[n, u] (1, activations[n, group of u]) of every unit."""
        groups = self.activations.shape[1]
        weights = self.weights.unflatten(1, (groups, -1))
        products = torch.einsum("ngu,ngi->gui", weights, self.activations).flatten(0, 1)
        return torch.cat([self.weights.sum(0)[:, None], products], dim=1)

    def gram(self, units: slice, has_bias: bool) -> Float[Tensor, "units count count"]:
        """√w √wᵀ times the activations' Gram matrix, which all units of a group share."""
        points = self.activations.transpose(0, 1)
        shared = points @ points.mT
        if has_bias:
            shared += 1.0
        roots = self.weights[:, units].sqrt().T
        groups = group_of_units(self.weights.shape[1], len(points), points.device)
        gram = roots[:, :, None] * roots[:, None, :]
        return gram.mul_(shared if len(shared) == 1 else shared[groups[units]])

    def inner_products(self, rows: Float[Tensor, "units n"], has_bias: bool) -> Float[Tensor, "units count"]:
        """√weights times what all units of a group get by one matrix product."""
        by_group = rows[:, 1 if has_bias else 0 :].unflatten(0, (self.activations.shape[1], -1))
        products = (by_group @ self.activations.permute(1, 2, 0)).flatten(0, 1)
        if has_bias:
            products += rows[:, :1]
        return products.mul_(self.weights.sqrt().T)

    def combination(self, weights: Float[Tensor, "units count"], has_bias: bool) -> Float[Tensor, "units n"]:
        """Σ_n √weights[n, u] weights[u, n] (1, activations[n, group of u]) of every unit."""
        together = weights * self.weights.sqrt().T
        by_group = together.unflatten(0, (self.activations.shape[1], -1))
        sums = (by_group @ self.activations.transpose(0, 1)).flatten(0, 1)
        return torch.cat([together.sum(1, keepdim=True), sums], dim=1) if has_bias else sums

    def extended(self, other: "UnitFactors") -> "UnitFactors":
        """Shared activations while both have them, else vectors of every unit's own."""
        if isinstance(other, WeightedActivations):
            activations = torch.cat([self.activations, other.activations])
            return WeightedActivations(activations, torch.cat([self.weights, other.weights]))
        return SummedScores(self.rows(slice(None)).transpose(0, 1)).extended(other)

    def add_to(
        self,
        total: Float[Tensor, "units coordinates coordinates"],
        reference: Float[Tensor, "groups fan_in"],
        scale: float,
    ) -> None:
        """Adds to `total` by one matrix product for all units of a group."""
        units = len(total) // len(reference)
        for group, origin in enumerate(reference):
            of_group = slice(group * units, (group + 1) * units)
            activations = self.activations[:, group] - origin
            points = torch.cat([activations.new_ones(len(activations), 1), activations], dim=1)
            add_weighted_outer_products(total[of_group], self.weights[:, of_group] * scale, points)

    def of_units(self, units: Int[Tensor, " chosen"] | slice) -> "WeightedActivations":
        """The weights of some units, which are groups of their own where there are several groups."""
        groups = self.activations.shape[1]
        if groups == 1:
            return WeightedActivations(self.activations, self.weights[:, units])
        of_unit = group_of_units(self.weights.shape[1], groups, self.weights.device)[units]
        return WeightedActivations(self.activations[:, of_unit], self.weights[:, units])

    def to(self, like: torch.device | torch.dtype) -> "WeightedActivations":
        """A copy on another device, or of another dtype."""
        return WeightedActivations(self.activations.to(like), self.weights.to(like))

    def placed(self, index: Int[Tensor, " fan_in"], fan_in: int) -> "WeightedActivations":
        """The activations in a space of more of them."""
        return WeightedActivations(placed(self.activations, index, fan_in), self.weights)


@dataclass(frozen=True, eq=False)
class SummedScores(UnitFactors):
    """Vectors of every unit's own: `scores` (count, units, coordinates), the bias coordinate first."""

    scores: Float[Tensor, "count units coordinates"]

    @property
    def count(self) -> int:
        """Vectors per unit: one per example and column."""
        return len(self.scores)

    def rows(self, units: slice) -> Float[Tensor, "units count coordinates"]:
        """The scores of some units."""
        return self.scores[:, units].transpose(0, 1)

    def first_row(self) -> Float[Tensor, "units coordinates"]:
        """Σ_n scores[n, u, 0] scores[n, u] of every unit."""
        return torch.einsum("nu,nui->ui", self.scores[:, :, 0], self.scores)

    def gram(self, units: slice, has_bias: bool) -> Float[Tensor, "units count count"]:
        """Inner products of some units' scores."""
        rows = self.rows(units)[:, :, 0 if has_bias else 1 :]
        return rows @ rows.mT

    def inner_products(self, rows: Float[Tensor, "units n"], has_bias: bool) -> Float[Tensor, "units count"]:
        """Inner products of every unit's scores with its row."""
        return torch.einsum("mui,ui->um", self.scores[:, :, 0 if has_bias else 1 :], rows)

    def combination(self, weights: Float[Tensor, "units count"], has_bias: bool) -> Float[Tensor, "units n"]:
        """Σ_m weights[u, m] scores[m, u]."""
        return torch.einsum("um,mui->ui", weights, self.scores[:, :, 0 if has_bias else 1 :])

    def extended(self, other: "UnitFactors") -> "UnitFactors":
        """These scores and, as scores, the other's vectors."""
        return SummedScores(torch.cat([self.scores, other.rows(slice(None)).transpose(0, 1)]))

    def add_to(
        self,
        total: Float[Tensor, "units coordinates coordinates"],
        reference: Float[Tensor, "groups fan_in"],
        scale: float,
    ) -> None:
        """Adds to `total` by one matrix product per unit."""
        scores = self.scores.clone()
        scores[:, :, 1:] -= scores[:, :, :1] * reference[group_of_units(len(total), len(reference), total.device)]
        add_outer_products(total, scores.mul_(scale**0.5))

    def of_units(self, units: Int[Tensor, " chosen"] | slice) -> "SummedScores":
        """The scores of some units."""
        return SummedScores(self.scores[:, units])

    def to(self, like: torch.device | torch.dtype) -> "SummedScores":
        """A copy on another device, or of another dtype."""
        return SummedScores(self.scores.to(like))

    def placed(self, index: Int[Tensor, " fan_in"], fan_in: int) -> "SummedScores":
        """The scores in a space of more incoming activations."""
        return SummedScores(placed(self.scores, with_bias(index), fan_in + 1))


def placed(values: Tensor, index: Int[Tensor, " n"], size: int) -> Tensor:
    """Values whose last axis goes to the places `index` of a longer one, of `size`; elsewhere 0."""
    longer = values.new_zeros(*values.shape[:-1], size)
    return longer.index_copy_(-1, index, values)


def with_bias(index: Int[Tensor, " fan_in"]) -> Int[Tensor, " coordinates"]:
    """The places of coordinates, the bias's first, from those of incoming activations."""
    return torch.cat([index.new_zeros(1), index + 1])


def group_of_units(units: int, groups: int, device: torch.device) -> Int[Tensor, " units"]:
    """Group of every unit: u // (units / groups)."""
    return torch.arange(units, device=device) // (units // groups)


def number_of_factors(scores: LayerScores) -> int:
    """Vectors per unit: one per column and example, or, without a sum over positions, one per example and position."""
    columns, examples, positions, _ = scores.deltas.shape
    return examples * positions if _is_unsummed(scores) else columns * examples


def factors_of(scores: LayerScores) -> UnitFactors:
    """All vectors of one batch, at once."""
    if _is_unsummed(scores):
        return _weighted_activations(scores)
    none = scores.incoming.new_zeros(scores.incoming.shape[1], scores.incoming.shape[3])
    columns, examples, _, units = scores.deltas.shape
    summed = scores.incoming.new_empty(columns * examples, units, scores.incoming.shape[3] + 1)
    for part in range(examples):
        for chunk in _group_chunks(scores, units):
            rows = slice(part * columns, (part + 1) * columns)
            summed[rows, chunk] = _summed_scores(scores, slice(part, part + 1), chunk, none)
    return SummedScores(summed)


def add_scores_to(
    total: Float[Tensor, "units coordinates coordinates"],
    scores: LayerScores,
    reference: Float[Tensor, "groups fan_in"],
    scale: float,
) -> None:
    """total += scale × the batch's sum of outer products with activations about `reference`, in bounded memory."""
    if _is_unsummed(scores):
        _weighted_activations(scores).add_to(total, reference, scale)
        return
    columns, examples, _, units = scores.deltas.shape
    one_unit = columns * total.shape[-1] * total.element_size()
    unit_count = max(1, min(units, _SCORE_BYTES // one_unit))
    example_count = max(1, _SCORE_BYTES // (one_unit * unit_count))
    for chunk in _group_chunks(scores, unit_count):
        for start in range(0, examples, example_count):
            summed = _summed_scores(scores, slice(start, start + example_count), chunk, reference)
            add_outer_products(total[chunk], summed.mul_(scale**0.5))


def _is_unsummed(scores: LayerScores) -> bool:
    return scores.weight_sharing == "positionwise" or scores.deltas.shape[2] == 1


def _weighted_activations(scores: LayerScores) -> WeightedActivations:
    weights = scores.deltas[0].square()
    for column in scores.deltas[1:]:  # one at a time: memory for one column's squares, not for all
        weights.addcmul_(column, column)
    return WeightedActivations(scores.incoming.transpose(1, 2).flatten(0, 1), weights.flatten(0, 1))


def _summed_scores(
    scores: LayerScores, examples: slice, units: slice, reference: Float[Tensor, "groups fan_in"]
) -> Float[Tensor, "scores units coordinates"]:
    """sum over positions of deltas · (1, incoming − reference) for some units of one group."""
    group = units.start // scores.units_per_group
    deltas = scores.deltas[:, examples, :, units]
    incoming = scores.incoming[examples, group] - reference[group]
    sums = torch.einsum("cnpu,npi->ncui", deltas, incoming)
    return torch.cat([deltas.sum(2).transpose(0, 1)[..., None], sums], dim=3).flatten(0, 1)


def _group_chunks(scores: LayerScores, most: int) -> Iterator[slice]:
    """Slices of at most `most` units, each within one group."""
    width, units = scores.units_per_group, scores.deltas.shape[-1]
    for first in range(0, units, width):
        for start in range(first, first + width, min(most, width)):
            yield slice(start, min(start + most, first + width))
