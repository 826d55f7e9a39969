"""One layer's row of a diagnosis: sums over the data, then the numbers of sections F, B and M (arXiv 1511.07289)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor

from elutheory.activations.activation_function import Activation
from elutheory.fisher.correction import bias_shift_correction
from elutheory.fisher.factors import placed, with_bias
from elutheory.fisher.scores import LayerScores
from elutheory.fisher.unit_fisher_matrix import UnitFisher
from elutheory.models.observers import ActivationRecord, SlopePerUnit
from elutheory.moments.floating_point import gaussian_moments
from elutheory.numerics.running_moments import RunningMoments

STRENGTH_POINTS = 1024
"""The strength of the correction (B5) is that over at most so many points, a point being an example and position."""

GROUPS = 5
"""The examples of the Fisher matrices lie in so many groups, one of which at a time is left out to find an error.

The error of that error is 1/√(2 (GROUPS − 1)) of it, 35 %; twice the groups would take twice the memory and the time of
the solves for 24 %. Guarded by `test_errors_cover_the_truth`.
"""

_RESAMPLES = 200  # of the units, for the error of their median: its own error is 5 %
_POWER_ITERATIONS = 20

ERROR = "_error"
"""What the column of a column's standard error is called after it."""

COLUMNS = {
    "layer": "the layer's name in the model",
    "kind": "the class of the module that the layer belongs to",
    "units": "units, for a convolution its output channels",
    "fan_in": "incoming activations of a unit",
    "bias": "own; virtual: the layer has none, and s_times_c, k and the shifts are those with one that is 0, which a "
    "batch normalisation's shift plays the part of",
    "mean_under_p": "mean over the incoming units of E_p[a], p the data (inputs and positions)",
    "mean_under_q": "the same of E_q[a], q the data (inputs and positions) weighted by the unit's delta² there (F2)",
    "mean_size": "|E_p a|",
    "mean_share": "|E_p a|² / E_p|a|², between 0 and 1 (P2b)",
    "mean_share_predicted": "what P4 predicts for mean_share, for random weights of these variances and these inputs; "
    "of hidden layers of a sequence of Linear layers and activation functions",
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
    "measured_units": "units that all columns about F, q and the corrections are medians over, drawn among live ones",
    "dead_units": "units (of all) whose delta is zero at every input",
    "cut": "units measured of those asked for, where memory was not enough for all",
    "activation": "activation function, a module or a function, that receives the outputs, as they are or after "
    "normalisation or dropout; the gated unit, as SwiGLU, that multiplies them",
    "outgoing_mean": "mean over the units and the data of what that function returns",
    "outgoing_mean_gaussian": "what M3 predicts for it from the mean and variance of every unit's net input",
    "outgoing_mean_deviation": "root mean square over the units of measured minus predicted mean",
}
"""Columns of the table and what they hold."""

SAMPLED = (
    "mean_under_q",
    "mean_over_spread_under_q",
    "strength",
    "s_times_c",
    "k",
    "shift_without",
    "shift_with",
    "cosine",
    "rank",
    "condition_number",
    "top_eigenvalue_share",
)
"""Columns found from the Fisher examples and the units drawn; after each of them comes that of its standard error.

It is 0 where nothing was drawn: the Fisher matrices are exact, of all examples and of all live units. Else it is the
root of two variances and the square of a bias: of the median over the units drawn (by resampling), and of what the
examples and labels drawn do (delete-a-group jackknife, which shows both). Rank and condition number have only the
former: those are of the matrices as measured.
"""


@dataclass(frozen=True)
class Drawing:
    """What of a diagnosis is drawn: `labels` of the Fisher matrices, `gradient_labels`; `share` of the examples that
    the Fisher matrices are of; the `damping`."""

    labels: bool
    gradient_labels: bool
    share: float
    damping: float


class LayerSums:
    """What one pass over the data adds up for one layer."""

    def __init__(self, name: str, kind: str, first: LayerScores, seed: int) -> None:
        """`first`: scores of any batch."""
        self.name = name
        self.kind = kind
        self.units = first.deltas.shape[-1]
        self.groups, self.fan_in = first.incoming.shape[1::2]
        self.has_bias = first.has_bias
        self.asked = 0
        self.chosen: list[int] = []
        self._generator = torch.Generator().manual_seed(seed)
        self._incoming = RunningMoments()
        self._alive = torch.zeros(self.units, dtype=torch.bool, device=first.deltas.device)
        self._gradients: list[Tensor] = []
        self._counts = [0] * GROUPS
        self._fishers: list[UnitFisher | None] = [None] * GROUPS
        self._under_q: list[list[Tensor]] = []
        self._origin: Tensor = torch.empty(0)
        self._points: list[Tensor] = []
        self._words = first.words

    def in_words(self, scores: LayerScores) -> LayerScores:
        """Scores of an embedding with a coordinate for every word so far, which get room; others as they are."""
        if self._words is None or scores.words is None:
            return scores
        together = torch.cat([self._words, scores.words]).unique()
        self.fan_in = len(together)
        if len(together) > len(self._words):
            index = torch.searchsorted(together, self._words)
            self._incoming.place(index, self.fan_in)
            coordinates = with_bias(index)
            self._gradients = [placed(one, coordinates, self.fan_in + 1) for one in self._gradients]
            self._under_q = [
                [one if one.ndim == 1 else placed(one, index, self.fan_in) for one in sums] for sums in self._under_q
            ]
            self._origin = placed(self._origin, index, self.fan_in) if self._origin.numel() else self._origin
            self._points = [placed(one, index, self.fan_in) for one in self._points]
            self._words = together
        if len(together) == len(scores.words):
            return scores
        index = torch.searchsorted(together, scores.words)
        return replace(scores, incoming=placed(scores.incoming, index, self.fan_in), words=together)

    def add(self, scores: LayerScores) -> None:
        """A batch's incoming activations, and which units live, from one column of scores, the loss's labels'."""
        scores = self.in_words(scores)
        self._incoming.add(scores.points().flatten(1))
        self._alive |= (scores.deltas != 0).flatten(0, 2).any(0)

    def choose(self, asked: int, affordable: int) -> None:
        """Draw the units to measure among those that live so far; all of them dead: any."""
        order = torch.randperm(self.units, generator=self._generator)
        live = order[self._alive.cpu()[order]]
        self.asked = min(asked, len(live)) if len(live) else 1
        self.chosen = (live if len(live) else order)[: min(self.asked, affordable)].sort().values.tolist()

    def add_gradient(self, scores: LayerScores) -> None:
        """A batch of the loss's scores, as for `add`, to the gradient of the units chosen."""
        scores = self.in_words(scores)
        part = replace(scores.of_units(self.chosen), has_bias=True, kind="empirical")  # drawn labels as targets
        for group in range(GROUPS):
            some = part.of_examples(slice(group, None, GROUPS))
            if not some.examples:
                continue
            gradient = some.gradient().double() * some.examples
            if not self._gradients:
                self._gradients = [torch.zeros_like(gradient) for _ in range(GROUPS)]
            self._gradients[group] += gradient
            self._counts[group] += some.examples

    def add_fisher(self, scores: LayerScores, share: float) -> None:
        """A batch of the examples that the Fisher matrices are of, and the `share` of them that it is; in float64."""
        scores = self.in_words(scores)
        chosen = scores.of_units(self.chosen)
        incoming, deltas = chosen.incoming.double(), chosen.deltas.double()
        part = replace(chosen, incoming=incoming, deltas=deltas, has_bias=True)
        if not self._under_q:
            self._origin = part.points().mean(0)
            self._under_q = [[] for _ in range(GROUPS)]
        for group in range(GROUPS):
            some = part.of_examples(slice(group, None, GROUPS))
            if not some.examples:
                continue
            sums = _sums_under_q(some, self._origin)
            before = self._under_q[group] or [torch.zeros_like(one) for one in sums]
            self._under_q[group] = [a + b for a, b in zip(before, sums, strict=True)]
            fisher = self._fishers[group]
            self._fishers[group] = UnitFisher.from_scores(some) if fisher is None else fisher.add_scores(some)
        points = scores.points()
        few = math.ceil(share * STRENGTH_POINTS)
        if len(points) > few:
            points = points[torch.randperm(len(points), generator=self._generator)[:few].to(points.device)]
        width = self.units // self.groups
        groups = sorted({unit // width for unit in self.chosen})
        self._points.append(points[:, groups].double())

    def row(
        self,
        drawing: Drawing,
        record: ActivationRecord | None,
        gate: str | None = None,
        predicted_share: float | None = None,
    ) -> dict[str, str | int | float | None]:
        """The row; None where there is no such number. `gate`: what the gated unit that its outputs enter is called."""
        mean, variance = self._incoming.mean, self._incoming.variance
        size, spread = _norm(mean), float(variance.sum().sqrt())
        second = size**2 + spread**2
        whole = self._numbers(drawing, None)
        values, errors = self._values_and_errors(whole, drawing)
        measured = int((~whole["rank"].isnan()).sum())
        return {
            "layer": self.name,
            "kind": self.kind,
            "units": self.units,
            "fan_in": self.fan_in,
            "bias": "own" if self.has_bias else "virtual",
            "mean_under_p": float(mean.mean()),
            "mean_size": size / math.sqrt(self.groups),
            "mean_share": size**2 / second if second else None,
            "mean_share_predicted": predicted_share,
            "mean_over_spread": _ratio(size, spread),
            **values,
            **errors,
            "measured_units": measured,
            "dead_units": int((~self._alive).sum()),
            "cut": f"{len(self.chosen)} of {self.asked} units" if len(self.chosen) < self.asked else "none",
            **_outgoing(record, gate),
        }

    # --- the numbers of the units, of all examples or without a group of them ---------------------------------------

    def _numbers(self, drawing: Drawing, without: int | None) -> dict[str, Float[Tensor, " units"]]:
        """Every sampled column by unit, NaN for dead ones; without a group of examples, those that depend on them."""
        kept = [group for group in range(GROUPS) if group != without]
        fishers = [fisher for group in kept if (fisher := self._fishers[group]) is not None]
        fisher = fishers[0].of_units(slice(None))
        for other in fishers[1:]:
            fisher.merge(other)
        if self._words is not None:
            fisher.with_words(self._words)
        drawn = kept if drawing.gradient_labels else range(GROUPS)
        gradient = torch.stack([self._gradients[group] for group in drawn]).sum(0)
        gradient = gradient / sum(self._counts[group] for group in drawn)
        numbers = _correction(fisher, gradient, drawing.damping)
        own, of_own = (fisher, gradient) if self.has_bias else (fisher.without_bias(), gradient[:, 1:])
        natural = own.natural_gradient(of_own, drawing.damping, relative=True, singular="range")
        numbers["cosine"] = (of_own * natural).sum(1) / (of_own.norm(dim=1) * natural.norm(dim=1))
        numbers |= _spectrum(own) if without is None else {"top_eigenvalue_share": _top_share(own)}
        under_q = [self._under_q[group] for group in kept if self._under_q[group]]
        numbers |= _under_q(self._origin, *(torch.stack(parts).sum(0) for parts in zip(*under_q, strict=True)))
        numbers = {key: value.where(~own.dead, math.nan) for key, value in numbers.items()}
        points = torch.cat(self._points)
        if without is not None:
            points = points[torch.arange(len(points), device=points.device) % GROUPS != without]
        strengths = [correction_strength(points[:, index], drawing.damping) for index in range(points.shape[1])]
        return numbers | {"strength": torch.tensor(strengths, dtype=torch.float64)}

    def _values_and_errors(
        self, whole: dict[str, Tensor], drawing: Drawing
    ) -> tuple[dict[str, float | None], dict[str, float | None]]:
        values = {key: _median(whole[key].tolist()) for key in SAMPLED}
        live = int(self._alive.sum())
        by_units = dict.fromkeys(SAMPLED, 0.0)
        if len(self.chosen) < live:
            unseen = 1 - len(self.chosen) / live
            for key in SAMPLED:
                if key != "strength":
                    by_units[key] = unseen * _variance_of_median(whole[key], self._generator)
        by_examples = dict.fromkeys(SAMPLED, 0.0)
        if drawing.labels or drawing.share < 1 or drawing.gradient_labels:
            unseen = 1.0 if drawing.labels or drawing.gradient_labels else 1 - drawing.share
            if any(fisher is None for fisher in self._fishers):
                by_examples = dict.fromkeys(SAMPLED, math.nan)
            else:
                without = [self._numbers(drawing, group) for group in range(GROUPS)]
                for key in SAMPLED:
                    if key not in ("rank", "condition_number"):
                        left = [_median(numbers[key].tolist()) for numbers in without]
                        by_examples[key] = _jackknife(values[key], left, unseen)
        errors = {}
        for key in SAMPLED:
            error = math.sqrt(by_units[key] + by_examples[key])
            errors[key + ERROR] = None if values[key] is None or math.isnan(error) else error
        return values, errors


def _jackknife(value: float | None, left: Sequence[float | None], unseen: float) -> float:
    """Variance and squared bias of a number from its values without one group of examples each; NaN if one has none.

    `unseen`: the share of the examples that the number is not of.
    """
    present = [number for number in left if number is not None]
    if value is None or len(present) < len(left):
        return math.nan
    count, mean = len(present), sum(present) / len(present)
    variance = (count - 1) / count * sum((number - mean) ** 2 for number in present)
    return unseen * variance + (unseen * (count - 1) * (mean - value)) ** 2


def _variance_of_median(values: Tensor, generator: torch.Generator) -> float:
    """Variance of the median over units drawn, by resampling them; NaN for one unit, which tells nothing of others."""
    present = values[~values.isnan()].cpu()
    if len(present) < 2:
        return math.nan
    drawn = torch.randint(len(present), (_RESAMPLES, len(present)), generator=generator)
    return float(present[drawn].quantile(0.5, dim=1).var(correction=0))


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


def _spectrum(fisher: UnitFisher) -> dict[str, Float[Tensor, " units"]]:
    eigenvalues = fisher.eigenvalues
    top = eigenvalues[:, -1]
    nonzero = eigenvalues > fisher.rank_threshold * top[:, None]
    smallest = eigenvalues.where(nonzero, math.inf).amin(1)
    return {
        "rank": nonzero.sum(1).double(),
        "condition_number": top / smallest,
        "top_eigenvalue_share": top / eigenvalues.sum(1),
    }


def _top_share(fisher: UnitFisher) -> Float[Tensor, " units"]:
    """Largest eigenvalue over trace by power iteration."""
    shares = []
    for units in fisher.unit_chunks():
        matrix = fisher.matrix_of(units)
        vector = matrix.sum(2, keepdim=True)
        for _ in range(_POWER_ITERATIONS):
            vector = matrix @ (vector / vector.norm(dim=1, keepdim=True))
        vector = (vector / vector.norm(dim=1, keepdim=True))[:, :, 0]
        top = torch.einsum("ui,uij,uj->u", vector, matrix, vector)
        shares.append(top / matrix.diagonal(dim1=1, dim2=2).sum(1))
    return torch.cat(shares)


def _correction(fisher: UnitFisher, gradient: Tensor, damping: float) -> dict[str, Tensor]:
    """B1-B3 of F + λI, λ = `damping` × the mean diagonal, absolute values of the shifts; NaN for dead units."""
    correction = bias_shift_correction(fisher, gradient, damping, relative=True)
    c = fisher.damped(damping, relative=True).c
    return {
        "s_times_c": correction.s * c,
        "k": correction.k,
        "shift_without": correction.shift_without.abs(),
        "shift_with": correction.shift_with.abs(),
    }


def _sums_under_q(scores: LayerScores, origin: Float[Tensor, "groups fan_in"]) -> list[Tensor]:
    """Σ δ², Σ δ² a and Σ δ² |a|² of every unit over examples and positions, a about `origin`, each position by itself.

    Where weights are shared the score sums over positions, and b/c is a ratio of sums that may cancel, no mean.
    """
    weights = scores.squared_deltas().flatten(0, 1).T
    points = scores.incoming.transpose(1, 2).flatten(0, 1) - origin
    if points.shape[1] == 1:
        return [weights.sum(1), weights @ points[:, 0], weights @ points[:, 0].square().sum(1)]
    first = torch.einsum("un,nui->ui", weights, points)
    return [weights.sum(1), first, (weights * points.square().sum(2).T).sum(1)]


def _under_q(origin: Tensor, total: Tensor, first: Tensor, second: Tensor) -> dict[str, Float[Tensor, " units"]]:
    """Mean over the incoming units of E_q[a], and |E_q a| / √tr Var_q(a), q the points weighted by δ²; NaN if dead."""
    offset = first / total[:, None]
    mean = origin + offset
    spread = (second / total - offset.square().sum(1)).clamp(min=0).sqrt()
    return {"mean_under_q": mean.mean(1), "mean_over_spread_under_q": mean.norm(dim=1) / spread}


def _outgoing(record: ActivationRecord | None, gate: str | None) -> dict[str, str | float | None]:
    names = ("activation", "outgoing_mean", "outgoing_mean_gaussian", "outgoing_mean_deviation")
    if record is None:
        return dict.fromkeys(names) | {"activation": gate}
    measured = record.outputs.mean
    predicted = gaussian_closure(record.function, record.nets)
    deviation = float((measured - predicted).square().mean().sqrt())
    called = str(record.function) if gate is None else f"{record.function}, in {gate}"
    return dict(zip(names, (called, float(measured.mean()), float(predicted.mean()), deviation), strict=True))


def gaussian_closure(function: Activation | SlopePerUnit, nets: RunningMoments) -> Float[Tensor, " units"]:
    """E f(X) of every unit, X ~ N(mean, variance) of its net input (M3)."""
    mean, std = nets.mean.cpu().numpy(), nets.variance.sqrt().cpu().numpy()
    if isinstance(function, SlopePerUnit):  # slope·x + (1 − slope)·relu(x)
        rectified = torch.as_tensor(gaussian_moments("relu", mean, std).mean).to(nets.mean.device)
        slopes = function.slopes.to(nets.mean.device)
        return slopes * nets.mean + (1 - slopes) * rectified
    return torch.as_tensor(gaussian_moments(function, mean, std).mean).to(nets.mean.device)


def _norm(vector: Tensor) -> float:
    return float(vector.norm())


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _median(values: Sequence[float]) -> float | None:
    present = [value for value in values if not math.isnan(value)]
    return median(present) if present else None
