"""What the unit natural gradient would change for the hidden units of a network, at one moment of its training.

Sections F and B with the exact unit Fisher matrix. A unit with batch normalisation, its statistics held fixed, is the
linear unit γ(w·a − μ)/σ + β = w̃·(a − E_p[a]) + β of the centred incoming activations (B4): its Fisher matrix and
gradient are those of (β, w̃).
"""

import copy
import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from analyses.data.datasets import Split
from elutheory.fisher import LayerScores, UnitFisher, model_scores
from elutheory.fisher.correction import damped_for_every_unit, uncoupled_natural_gradient


@dataclass(frozen=True, eq=False)
class UnitCorrections:
    """Of one hidden layer; NaN for dead units.

    - `mean_share`: |E_p a|²/E_p|a|² of the incoming activations (P2b), before any normalisation takes their mean;
    - `cosine`: between the unit's gradient and its natural gradient (F + λI)⁻¹ gradient;
    - `shift_without`, `shift_with`: the unit's bias shift by the natural gradient without and with the coupling of
      bias and weights, E_p[a]·Δw + Δw0 (B2, B3, damped), in net-input units for a step of size 1;
    - `gradient_share`, `share_without`, `share_with`: of a step (Δw0, Δw) along the gradient and along these two, the
      share (E_p Δ)²/E_p Δ² of its effect Δ = Δw·a + Δw0 that is bias shift, whatever the step's size.
    """

    mean_share: float
    cosine: Float[Tensor, " units"]
    shift_without: Float[Tensor, " units"]
    shift_with: Float[Tensor, " units"]
    gradient_share: Float[Tensor, " units"]
    share_without: Float[Tensor, " units"]
    share_with: Float[Tensor, " units"]

    @property
    def removed(self) -> Float[Tensor, " units"]:
        """Part of the bias shift that B3's correction removes, 1 − |with|/|without|; negative where it adds."""
        return 1 - self.shift_with.abs() / self.shift_without.abs()


def unit_corrections(
    network: nn.Sequential, examples: Split, fisher_examples: int, damping: float, *, centred: bool = False
) -> list[UnitCorrections]:
    """The corrections of each hidden layer of a fully connected network, in order.

    Gradients are those of the mean cross-entropy over `examples`, Fisher matrices over the first `fisher_examples` of
    them; λ = `damping` × the mean diagonal of the unit's F. Networks with batch normalisation take its statistics over
    `examples`. `centred`: gradients and Fisher matrices are those for a − E_p[a] in place of a (B4), as they always are
    with batch normalisation. Float64 is needed for small dampings.
    """
    normalised = centred or any(isinstance(layer, nn.BatchNorm1d) for layer in network)
    plain = folded(network, examples.inputs)
    names = [str(place) for place, layer in enumerate(plain) if isinstance(layer, nn.Linear)][:-1]
    at_targets = model_scores(plain, examples.inputs, names, "empirical", targets=examples.targets).layers
    at_model = model_scores(plain, examples.inputs[:fisher_examples], names, "exact").layers
    return [_corrections(at_targets[name], at_model[name], normalised, damping) for name in names]


def folded(network: nn.Sequential, inputs: Tensor) -> nn.Sequential:
    """A copy without batch normalisation and the same outputs for `inputs` as in training mode.

    Normalisation by the statistics of all `inputs` together becomes part of the linear layers.
    """
    network = copy.deepcopy(network)
    norms = [layer for layer in network if isinstance(layer, nn.BatchNorm1d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        network.train()(inputs)
    network.eval()
    layers: list[nn.Module] = []
    for layer in network:
        if isinstance(layer, nn.BatchNorm1d) and isinstance(layers[-1], nn.Linear) and layer.running_var is not None:
            layer.running_var *= (len(inputs) - 1) / len(inputs)  # normalisation is by the mean square, biased
            layers[-1] = fuse_linear_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def _corrections(at_targets: LayerScores, at_model: LayerScores, centred: bool, damping: float) -> UnitCorrections:
    mean = at_targets.incoming.mean(0, keepdim=True)
    share = float(mean.square().sum() / at_targets.incoming.square().mean(0).sum())
    if centred:
        at_targets = replace(at_targets, incoming=at_targets.incoming - mean)
        at_model = replace(at_model, incoming=at_model.incoming - mean)
    fisher, gradient = UnitFisher.from_scores(at_model), at_targets.gradient()
    diagonal = fisher.mean_diagonal
    alive = diagonal > 0
    dead = torch.full_like(diagonal, math.nan)
    if not alive.any():
        return UnitCorrections(share, *[dead] * 6)
    damped = damped_for_every_unit(fisher, damping)
    natural = damped.natural_gradient(gradient)
    uncoupled = uncoupled_natural_gradient(damped, gradient)
    incoming = at_targets.incoming[:, 0, 0]
    of_gradient, without, coupled = (incoming @ step[:, 1:].mT + step[:, 0] for step in (gradient, uncoupled, natural))
    values = (
        nn.functional.cosine_similarity(gradient, natural, eps=0.0),
        without.mean(0),
        coupled.mean(0),
        *(effect.mean(0).square() / effect.square().mean(0) for effect in (of_gradient, without, coupled)),
    )
    return UnitCorrections(share, *(value.where(alive, math.nan) for value in values))
