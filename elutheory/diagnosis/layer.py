"""One layer's row of a diagnosis: sums over the data, then the numbers of sections F, B and M (arXiv 1511.07289)."""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor, nn

from elutheory.activations.activation_function import Activation
from elutheory.fisher.correction import bias_shift_correction, damped_for_every_unit
from elutheory.fisher.scores import LayerScores
from elutheory.fisher.unit_fisher_matrix import UnitFisher
from elutheory.models.observers import ActivationRecord
from elutheory.models.running_moments import RunningMoments
from elutheory.moments.floating_point import gaussian_moments

STRENGTH_POINTS = 1024
"""The strength of the correction (B5) is that over at most so many points, a point being an example and position."""

FISHER_BYTES = 2**25
"""Fewer units per layer are measured where their Fisher matrices, or the vectors they are sums of, would take more."""

COLUMNS = {
    "layer": "the layer's name in the model",
    "kind": "Linear, Conv1d, Conv2d or Conv3d",
    "units": "units, for a convolution its output channels",
    "fan_in": "incoming activations of a unit",
    "mean_under_p": "mean over the incoming units of E_p[a], p the data (inputs and positions)",
    "mean_under_q": "the same of E_q[a], q the data (inputs and positions) weighted by the unit's delta² there (F2)",
    "mean_size": "|E_p a|",
    "mean_share": "|E_p a|² / E_p|a|², between 0 and 1 (P2b)",
    "mean_over_spread": "|E_p a| / √tr Var_p(a)",
    "mean_over_spread_under_q": "|E_q a| / √tr Var_q(a)",
    "strength": "m·(S + λI)⁻¹m with m = E_p a, S = E_p[a aᵀ] (B5); between 0 and 1; for a uniform weighting",
    "s_times_c": "s·c = 1 + E_q[a]·Var_q(a)⁻¹E_q[a] (B1, damped): 1 means no correction",
    "k": "multiplicative correction of the bias (B3, damped): 1 means no correction",
    "shift_without": "|change of the mean net input| by a step of size 1 without the correction (B2, damped)",
    "shift_with": "the same by the unit natural gradient (B3, damped)",
    "cosine": "cosine between gradient and unit natural gradient (F + λI)⁻¹ gradient",
    "rank": "number of eigenvalues of F that are not zero, by the rule of UnitFisher.rank_threshold",
    "condition_number": "largest eigenvalue of F over the smallest that is not zero",
    "top_eigenvalue_share": "largest eigenvalue of F over tr F",
    "measured_units": "units that all columns about F, q and the corrections are medians over; dead ones are left out",
    "dead_units": "units (of all) whose delta is zero at every input",
    "activation": "activation module that receives the outputs, as they are or after normalisation or dropout",
    "outgoing_mean": "mean over the units and the data of what that module returns",
    "outgoing_mean_gaussian": "what M3 predicts for it from the mean and variance of every unit's net input",
    "outgoing_mean_deviation": "root mean square over the units of measured minus predicted mean",
}
"""Columns of the table and what they hold."""


class LayerSums:
    """What one pass over the data adds up for one layer."""

    def __init__(self, name: str, layer: nn.Module, first: LayerScores, units: int, vectors: int, seed: int) -> None:
        """`first`: scores of any batch; `units`: how many to measure, fewer by FISHER_BYTES; `vectors` per unit."""
        self.name = name
        self.kind = next(kind for kind in type(layer).__mro__ if kind.__module__.startswith("torch.nn")).__name__
        self.units = first.deltas.shape[-1]
        self.groups, self.fan_in = first.incoming.shape[1::2]
        bytes_a_unit = min(vectors, self.fan_in + 1) * (self.fan_in + 1) * 8
        affordable = max(1, FISHER_BYTES // bytes_a_unit)
        self._generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(self.units, generator=self._generator)
        self.chosen: list[int] = order[: min(units, affordable)].sort().values.tolist()
        width = self.units // self.groups
        of_group = {group: [unit for unit in self.chosen if unit // width == group] for group in range(self.groups)}
        self._of_group = {group: units for group, units in of_group.items() if units}
        self._incoming = RunningMoments()
        self._alive = torch.zeros(self.units, dtype=torch.bool, device=first.deltas.device)
        self._gradient: Tensor = torch.empty(0)
        self._examples = 0
        self._fishers: dict[int, UnitFisher] = {}
        self._under_q: dict[int, list[Tensor]] = {}
        self._origins: dict[int, Tensor] = {}
        self._points: list[Tensor] = []

    def add(self, scores: LayerScores) -> None:
        """A batch's incoming activations, and its gradient from one column of scores, those of the loss's labels."""
        self._incoming.add(scores.points().flatten(1))
        self._alive |= (scores.deltas != 0).flatten(0, 2).any(0)
        # Sampled labels take the targets' place.
        gradient = replace(scores, kind="empirical").gradient() * scores.examples
        self._gradient = self._gradient + gradient if self._examples else gradient
        self._examples += scores.examples

    def add_fisher(self, scores: LayerScores, share: float) -> None:
        """A batch of the examples that the Fisher matrices are of, and the `share` of them that it is; in float64."""
        for group, units in self._of_group.items():
            incoming, deltas = scores.incoming[:, group, None].double(), scores.deltas[..., units].double()
            part = replace(scores, incoming=incoming, deltas=deltas)
            if group not in self._origins:
                self._origins[group] = part.points()[:, 0].mean(0)
            sums = _sums_under_q(part, self._origins[group])
            self._under_q[group] = [a + b for a, b in zip(self._under_q.get(group, [0.0] * 3), sums, strict=True)]
            if group in self._fishers:
                self._fishers[group].add_scores(part)
            else:
                self._fishers[group] = UnitFisher.from_scores(part)
        points = scores.points()
        few = math.ceil(share * STRENGTH_POINTS)
        if len(points) > few:
            points = points[torch.randperm(len(points), generator=self._generator)[:few].to(points.device)]
        self._points.append(points[:, list(self._of_group)].double())

    def row(self, damping: float, record: ActivationRecord | None) -> dict[str, str | int | float | None]:
        """The row; None where there is no such number. `damping` is relative to the mean diagonal."""
        gradient = self._gradient.double() / self._examples
        parts = [
            _unit_numbers(fisher, gradient[self._of_group[group]], damping)
            | _under_q(self._origins[group], *self._under_q[group])
            for group, fisher in self._fishers.items()
        ]
        measured = {key: _median([value for part in parts for value in part[key].tolist()]) for key in _MEASURED}
        points = torch.cat(self._points)
        strengths = [correction_strength(points[:, index], damping) for index in range(points.shape[1])]
        mean, variance = self._incoming.mean, self._incoming.variance
        size, spread = _norm(mean), float(variance.sum().sqrt())
        second = size**2 + spread**2
        return {
            "layer": self.name,
            "kind": self.kind,
            "units": self.units,
            "fan_in": self.fan_in,
            "mean_under_p": float(mean.mean()),
            "mean_under_q": measured["mean_under_q"],
            "mean_size": size / math.sqrt(self.groups),
            "mean_share": size**2 / second if second else None,
            "mean_over_spread": _ratio(size, spread),
            "mean_over_spread_under_q": measured["mean_over_spread_under_q"],
            "strength": _median(strengths),
            **{key: measured[key] for key in _MEASURED[2:]},
            "measured_units": sum(int((fisher.mean_diagonal > 0).sum()) for fisher in self._fishers.values()),
            "dead_units": int((~self._alive).sum()),
            **_outgoing(record),
        }


_MEASURED = (
    "mean_under_q",
    "mean_over_spread_under_q",
    "s_times_c",
    "k",
    "shift_without",
    "shift_with",
    "cosine",
    "rank",
    "condition_number",
    "top_eigenvalue_share",
)


def correction_strength(points: Float[Tensor, "points fan_in"], damping: float) -> float:
    """m·(S + λI)⁻¹m with m = E a, S = E[a aᵀ], λ = damping × tr S / fan_in (B5), by the smaller of the two systems.

    NaN if all activations are zero.
    """
    count, fan_in = points.shape
    shift = damping * float(points.square().sum()) / (count * fan_in)
    if shift == 0:
        return math.nan
    if fan_in <= count:
        mean, system = points.mean(0), points.mT @ points / count
        system.diagonal().add_(shift)
        return float(mean @ torch.linalg.solve(system, mean))
    gram = points @ points.mT
    ones = gram.new_ones(count)
    system = gram.clone()
    system.diagonal().add_(shift * count)
    return float(ones @ gram @ torch.linalg.solve(system, ones)) / count


def _unit_numbers(
    fisher: UnitFisher, gradient: Float[Tensor, "units coordinates"], damping: float
) -> dict[str, Float[Tensor, " units"]]:
    """The numbers of every unit's Fisher matrix; NaN for dead units, and for what a layer without bias lacks."""
    eigenvalues = fisher.eigenvalues
    top = eigenvalues[:, -1]
    nonzero = eigenvalues > fisher.rank_threshold * top[:, None]
    smallest = eigenvalues.where(nonzero, math.inf).amin(1)
    natural = fisher.natural_gradient(gradient, damping, relative=True, singular="range")
    numbers = {
        "cosine": (gradient * natural).sum(1) / (gradient.norm(dim=1) * natural.norm(dim=1)),
        "rank": nonzero.sum(1).double(),
        "condition_number": top / smallest,
        "top_eigenvalue_share": top / eigenvalues.sum(1),
    }
    alive = fisher.mean_diagonal > 0
    undefined = dict.fromkeys(_CORRECTION, torch.full_like(top, math.nan))
    numbers |= _correction(fisher, gradient, damping) if fisher.has_bias and alive.any() else undefined
    return {key: value.where(alive, math.nan) for key, value in numbers.items()}


_CORRECTION = ("s_times_c", "k", "shift_without", "shift_with")


def _correction(fisher: UnitFisher, gradient: Tensor, damping: float) -> dict[str, Tensor]:
    """B1-B3 of F + λI, λ = `damping` × the mean diagonal, absolute values of the shifts."""
    damped = damped_for_every_unit(fisher, damping)
    correction = bias_shift_correction(damped, gradient)
    values = (correction.s * damped.c, correction.k, correction.shift_without.abs(), correction.shift_with.abs())
    return dict(zip(_CORRECTION, values, strict=True))


def _sums_under_q(scores: LayerScores, origin: Float[Tensor, " fan_in"]) -> list[Tensor]:
    """Σ δ², Σ δ² a and Σ δ² |a|² of every unit over examples and positions, a about `origin`, each position by itself.

    Where weights are shared the score sums over positions, and b/c is a ratio of sums that may cancel, no mean.
    """
    weights = scores.squared_deltas().flatten(0, 1).T
    points = scores.incoming[:, 0].flatten(0, 1) - origin
    return [weights.sum(1), weights @ points, weights @ points.square().sum(1)]


def _under_q(origin: Tensor, total: Tensor, first: Tensor, second: Tensor) -> dict[str, Float[Tensor, " units"]]:
    """Mean over the incoming units of E_q[a], and |E_q a| / √tr Var_q(a), q the points weighted by δ²; NaN if dead."""
    offset = first / total[:, None]
    mean = origin + offset
    spread = (second / total - offset.square().sum(1)).clamp(min=0).sqrt()
    return {"mean_under_q": mean.mean(1), "mean_over_spread_under_q": mean.norm(dim=1) / spread}


def _outgoing(record: ActivationRecord | None) -> dict[str, str | float | None]:
    names = ("activation", "outgoing_mean", "outgoing_mean_gaussian", "outgoing_mean_deviation")
    if record is None:
        return dict.fromkeys(names)
    measured = record.outputs.mean
    predicted = gaussian_closure(record.function, record.nets)
    deviation = float((measured - predicted).square().mean().sqrt())
    return dict(
        zip(names, (str(record.function), float(measured.mean()), float(predicted.mean()), deviation), strict=True)
    )


def gaussian_closure(function: Activation, nets: RunningMoments) -> Float[Tensor, " units"]:
    """E f(X) of every unit, X ~ N(mean, variance) of its net input (M3)."""
    mean, std = nets.mean.cpu().numpy(), nets.variance.sqrt().cpu().numpy()
    return torch.as_tensor(gaussian_moments(function, mean, std).mean).to(nets.mean.device)


def _norm(vector: Tensor) -> float:
    return float(vector.norm())


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _median(values: Sequence[float]) -> float | None:
    present = [value for value in values if not math.isnan(value)]
    return median(present) if present else None
