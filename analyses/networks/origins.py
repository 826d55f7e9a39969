"""The origin of the incoming activations as something an experiment moves: the same function, another gradient (B4).

A layer that receives a − o in place of a, its bias raised by W o, computes the same outputs; the gradient of W then
lacks, or has more of, the part that the mean activation makes. Nothing else is changed: no statistics follow the
training, o stays where it was put. The outputs' origin, too, can be moved, to their mean over each batch.
"""

from typing import Any

import torch
from torch import Tensor, nn


class Origin(nn.Module):
    """x ↦ x − offset, inputs (N, features); the offset, of shape (features,), is 0 until `move_origins`."""

    offset: Tensor

    def __init__(self, features: int, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.register_buffer("offset", torch.zeros(features, dtype=dtype))

    def forward(self, inputs: Tensor) -> Tensor:
        """The inputs (N, features) less the offset."""
        return inputs - self.offset

    def extra_repr(self) -> str:
        """The number of features, where the module is printed."""
        return str(self.offset.numel())


class CentredOutputs(nn.Module):
    """Outputs (N, units) less their mean over the batch, which gradients go through (Karakida, Akaho and Amari, arXiv
    1906.02926): it takes the constant direction from the kernel of the whole network. In evaluation mode the mean is
    that of the last batch trained on."""

    mean: Tensor

    def __init__(self, units: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(units))

    def forward(self, outputs: Tensor) -> Tensor:
        """The outputs (N, units), centred."""
        if not self.training:
            return outputs - self.mean
        mean = outputs.mean(0)
        self.mean.copy_(mean.detach())
        return outputs - mean


def with_origins(network: nn.Sequential) -> nn.Sequential:
    """The modules of the network, with an `Origin` before every linear layer but the first."""
    layers: list[nn.Module] = []
    for layer in network:
        if isinstance(layer, nn.Linear) and layers:
            layers.append(Origin(layer.in_features, layer.weight.dtype))
        layers.append(layer)
    return nn.Sequential(*layers)


@torch.no_grad()
def move_origins(network: nn.Sequential, inputs: Tensor, dose: float) -> nn.Sequential:
    """Put every origin at `dose` times the units' mean over these inputs (N, features), and raise the biases after it.

    The network, changed in place and returned, computes what it did. Dose 1 centres the activations as they are now,
    −1 doubles their mean.
    """
    layers: Any = list(network)
    activations = inputs
    for place, layer in enumerate(layers):
        if isinstance(layer, Origin):
            linear = layers[place + 1]
            layer.offset.copy_(dose * activations.mean(0))
            linear.bias += linear.weight @ layer.offset
        activations = layer(activations)
    return network


@torch.no_grad()
def mean_shares(network: nn.Sequential, inputs: Tensor) -> list[float]:
    """`|E a|²/E|a|²` (P2b) of what each layer above the first receives, over these inputs (N, features)."""
    shares = []
    for layer in network:
        inputs = layer(inputs)
        if isinstance(layer, Origin):
            shares.append(float(inputs.mean(0).square().sum() / inputs.square().sum(1).mean()))
    return shares
