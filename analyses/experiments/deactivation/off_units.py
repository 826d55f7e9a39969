"""Units that are off (net input < 0) and on in a classifier: what passes through them, example by example.

Of a hidden layer with net inputs `net`, values f(net) and outgoing weights W, over N examples; a state is a mask (N,
units), off or on, and a pair is a unit and an example.

- gain: Σ over the pairs in the state of |∂logits/∂net|², over N: the mean square change of the logits for noise of
  variance 1 at the net inputs of the units in that state, to first order;
- state share: of the variance of the next layer's net inputs, each unit for itself, Σ_j |w_j|² p_j Var(f_j | state) /
  Σ_j |w_j|² Var f_j, p_j how often unit j is in the state. Shares of off and on and the rest, between the two, add up
  to 1 (law of total variance);
- clamped change: mean square change of the next layer's net inputs, over their variance, if every unit in the state
  had its mean value there: f says then whether, not how much.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from analyses.experiments.deactivation.noisy_channel import information


@dataclass(frozen=True)
class HiddenLayer:
    """Net inputs and values, (N, units); squared slopes of the logits, Σ_c (∂logit_c/∂net)², (N, units).

    `place`: the index of the layer's activation in the network; `outgoing`: weights of the next layer (its units,
    units).
    """

    place: int
    net: Tensor
    value: Tensor
    squared_slopes: Tensor
    outgoing: Tensor


def hidden_layers(network: nn.Sequential, inputs: Tensor) -> tuple[list[HiddenLayer], Tensor]:
    """The hidden layers of a fully connected network, and its logits (N, classes); a backward pass per class."""
    nets, values, stream = [], [], inputs
    for layer in network:
        stream = layer(stream)
        if isinstance(layer, nn.Linear):
            nets.append(stream if stream.requires_grad else stream.requires_grad_())
        else:
            values.append(stream)
    logits, nets = nets[-1], nets[:-1]
    squared = [torch.zeros_like(net) for net in nets]
    for total in logits.sum(0):
        for square, slope in zip(squared, torch.autograd.grad(total, nets, retain_graph=True), strict=True):
            square += slope.square()
    outgoing = [layer.weight.detach() for layer in network if isinstance(layer, nn.Linear)][1:]
    layers = [
        HiddenLayer(2 * index + 1, net.detach(), value.detach(), square, weights)
        for index, (net, value, square, weights) in enumerate(zip(nets, values, squared, outgoing, strict=True))
    ]
    return layers, logits.detach()


def gain(layer: HiddenLayer, state: Tensor) -> float:
    """Mean square change of the logits (summed over classes) per unit of noise variance, to first order."""
    return float((layer.squared_slopes * state).sum(1).mean())


def injected_change(
    network: nn.Sequential, layer: HiddenLayer, logits: Tensor, state: Tensor, std: float, draws: int, seed: int
) -> tuple[float, float]:
    """Mean square change of the logits by noise N(0, std²) at the net inputs in `state`, and its standard error.

    The error is that of the mean over draws: the examples are as they are.
    """
    generator = torch.Generator().manual_seed(seed)
    changes = torch.empty(draws, dtype=torch.float64)
    with torch.no_grad():
        for draw in range(draws):
            noise = torch.randn(layer.net.shape, generator=generator, dtype=torch.float64).to(layer.net)
            changed = network[layer.place :](layer.net + std * noise * state)
            changes[draw] = (changed - logits).square().sum(1).mean()
    return float(changes.mean()), float(changes.std() / draws**0.5)


def state_share(layer: HiddenLayer, state: Tensor) -> float:
    """Share of the variance of the next layer's net inputs, unit by unit, that is variation within the state."""
    weight = layer.outgoing.square().sum(0)
    within = _within(layer.value, state).square().mean(0)
    return float((weight * within).sum() / (weight * layer.value.var(0, correction=0)).sum())


def clamped_change(layer: HiddenLayer, state: Tensor) -> float:
    """Mean square change of the next layer's net inputs, over their variance, when the state has but one value."""
    change = _within(layer.value, state) @ layer.outgoing.T
    return float(change.square().mean(0).sum() / (layer.value @ layer.outgoing.T).var(0, correction=0).sum())


def coded_degree(layer: HiddenLayer, state: Tensor, noise: float) -> float:
    """I(V; V + N) in nats, V a unit's value over the examples at which it is in the state; mean over pairs.

    N is normal, of standard deviation `noise` times that of the unit's values over all examples; a unit of one value
    codes nothing.
    """
    values, states = layer.value.cpu().numpy(), state.cpu().numpy()
    deviations = values.std(0)
    total = 0.0
    for unit in np.flatnonzero((deviations > 0) & states.any(0)):
        chosen = values[states[:, unit], unit]
        total += len(chosen) * information(chosen, np.full(len(chosen), 1 / len(chosen)), noise * deviations[unit])
    return total / states.sum() if states.any() else np.nan


def _within(values: Tensor, state: Tensor) -> Any:
    """f − E[f | state] in the state, 0 elsewhere."""
    means = (values * state).sum(0) / state.sum(0).clamp(min=1)
    return (values - means) * state
