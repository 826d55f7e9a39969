"""What one update of training does in a layer: mean share, bias shift, its correction, the gradient, dead units."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from elutheory.fisher.correction import bias_shift_correction
from elutheory.fisher.scores import LayerScores
from elutheory.fisher.unit_fisher_matrix import UnitFisher
from elutheory.models.layers import UnitWeights

COLUMNS = {
    "step": "updates made so far",
    "epoch": "as told by the loop",
    "layer": "the layer's name in the model",
    "units": "its units",
    "mean_share": "|E a|² / E|a|² of the incoming activations over the batch, between 0 and 1 (P2b)",
    "bias_shift_share": "(E Δ)² / E Δ², Δ the change of a unit's net input over the batch by this layer's own last "
    "update (B2): the share of its effect that is a shift; median over the units; between 0 and 1",
    "s_times_c": "s·c = 1 + E_q[a]·Var_q(a)⁻¹E_q[a] (B1, damped), median over the measured units; 1: no correction",
    "cosine": "cosine between gradient and unit natural gradient, median over the measured units",
    "dead_units": "units (of all) whose delta is zero at every example of the batch",
    "measured_units": "units that s_times_c and cosine are medians over",
}
"""Columns of the rows that are recorded and what they hold."""

NUMBERS = ("mean_share", "bias_shift_share", "s_times_c", "cosine", "dead_units")


@dataclass(frozen=True, eq=False)
class MeasuredLayer:
    """A layer's numbers as in COLUMNS; `by_unit`: those that are medians, unit by unit, for histograms."""

    row: dict[str, float | int | str | None]
    by_unit: Mapping[str, Float[Tensor, " units"]]


def measured_layer(
    fisher_scores: LayerScores,
    loss_scores: LayerScores,
    change: Float[Tensor, "units coordinates"] | None,
    units: list[int],
    damping: float,
) -> MeasuredLayer:
    """The numbers of one layer; `fisher_scores` of `units`, `loss_scores` of the same batch and of kind "empirical".

    `change`: by the last update, the bias first; None: not known for this kind of layer.
    """
    points = loss_scores.points()
    mean = points.mean(0)
    second = float(points.square().sum())
    share = float(mean.square().sum()) * len(points) / second if second else None
    alive = (loss_scores.deltas != 0).flatten(0, 2).any(0)
    found: dict[str, Tensor] = {}
    if change is not None:
        found["bias_shift_share"] = bias_shift_shares(points, change)
    live = [unit for unit in units if alive[unit]]
    if live:
        found |= _of_the_fisher_matrices(fisher_scores.of_units(live), loss_scores.of_units(live), damping)
    row: dict[str, float | int | str | None] = {
        "units": loss_scores.deltas.shape[-1],
        "mean_share": share,
        **{name: _median(found.get(name)) for name in ("bias_shift_share", "s_times_c", "cosine")},
        "dead_units": int((~alive).sum()),
        "measured_units": len(live),
    }
    return MeasuredLayer(row, {name: values.detach().cpu() for name, values in found.items()})


def bias_shift_shares(
    points: Float[Tensor, "points groups fan_in"], change: Float[Tensor, "units coordinates"]
) -> Float[Tensor, " units"]:
    """(E Δ)² / E Δ² over the points, Δ = Δw·a + Δw0; NaN for units that did not change."""
    groups = points.shape[1]
    weights = change[:, 1:].to(points).unflatten(0, (groups, -1))
    effect = torch.einsum("pgi,gui->pgu", points, weights).flatten(1) + change[:, 0].to(points)
    return effect.mean(0).square() / effect.square().mean(0)


def _of_the_fisher_matrices(scores: LayerScores, loss: LayerScores, damping: float) -> dict[str, Tensor]:
    own_bias = loss.has_bias
    fisher = UnitFisher.from_scores(_with_bias(scores))
    gradient = _with_bias(loss).gradient().double()
    correction = bias_shift_correction(fisher, gradient, damping, relative=True)
    own, of_own = (fisher, gradient) if own_bias else (fisher.without_bias(), gradient[:, 1:])
    natural = own.natural_gradient(of_own, damping, relative=True, singular="range")
    return {
        "s_times_c": correction.s * fisher.damped(damping, relative=True).c,
        "cosine": (of_own * natural).sum(1) / (of_own.norm(dim=1) * natural.norm(dim=1)),
    }


def _with_bias(scores: LayerScores) -> LayerScores:
    """In float64, with the coordinate of a bias that is 0 where there is none (a virtual bias)."""
    numbers = {"incoming": scores.incoming.double(), "deltas": scores.deltas.double(), "has_bias": True}
    return LayerScores(**{**vars(scores), **numbers})


# --- weights as the layer's scores have them ------------------------------------------------------------------------


def weights_by_unit(layer: UnitWeights) -> Float[Tensor, "units coordinates"] | None:
    """The layer's weights and biases as (units, 1 + fan_in), the bias (0 where there is none) first; None: of no known
    layout."""
    weight = layer.weight.detach()
    if layer.rows is not None:
        weight = weight[slice(*layer.rows)]
    module: Any = layer.module
    if layer.kind.startswith("ConvTranspose"):
        rows = weight.unflatten(0, (module.groups, -1)).transpose(1, 2).flatten(0, 1).flatten(1)
    elif layer.kind == "Conv1D":  # transformers', inputs · weight
        rows = weight.T
    elif layer.kind in ("Linear", "Bilinear", "Conv1d", "Conv2d", "Conv3d") or isinstance(
        module, nn.MultiheadAttention | nn.RNNBase | nn.RNNCellBase
    ):
        rows = weight.flatten(1)
    else:
        return None
    bias = rows.new_zeros(len(rows)) if layer.bias is None else layer.bias.detach()
    if layer.rows is not None and layer.bias is not None:
        bias = bias[slice(*layer.rows)]
    return torch.cat([bias[:, None], rows], 1)


def _median(values: Tensor | None) -> float | None:
    if values is None:
        return None
    present = values[~values.isnan()]
    return float(present.quantile(0.5)) if len(present) else None
