"""Moments of every hidden layer of a sequential network on images, and what M3 says of them before training.

Given what a layer receives, its net input at a position of an image is over the layer's random weights Gaussian with
mean 0 and variance v = σ_w² Σ a²/fan-in, the sum over the a that the position sees. So the mean over channels,
positions and images of the activation, or of its square, has the expectation E M(0, v), M(0, v) = E f(√v Z) or
E f(√v Z)² (M3), the mean over positions and images, exactly and at any width; pooling and padding are in what the layer
receives. Behind batch normalisation net inputs have mean 0 and variance 1 over positions and images: M(0, 1), so far as
they are Gaussian.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from analyses.networks.architectures import SpatialPyramidPooling
from elutheory.activations import Activation
from elutheory.moments import gaussian_moments

_UNCOUNTED = (nn.Dropout, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.ZeroPad2d, SpatialPyramidPooling)


class HiddenLayer(NamedTuple):
    """What a layer receives, padded; the layer; whether it is normalised; activations (N, C, H, W) or (N, C)."""

    inputs: Tensor
    layer: nn.Conv2d | nn.Linear
    normalised: bool
    activations: Tensor

    @property
    def channel_means(self) -> Tensor:
        """Of the activations, over images and positions, (C,)."""
        return _of_channels(self.activations)

    @property
    def channel_second_moments(self) -> Tensor:
        """Of the activations' squares, over images and positions, (C,)."""
        return _of_channels(self.activations.square())

    def net_input_variances(self, weight_variance: float) -> Tensor:
        """v at every image and position, flat, float64."""
        squares, fan_in = self.inputs.double().square().sum(1, keepdim=True), self.layer.weight[0].numel()
        if isinstance(self.layer, nn.Linear):
            return weight_variance * squares.flatten() / fan_in
        ones = torch.ones(1, 1, *self.layer.kernel_size, dtype=squares.dtype, device=squares.device)
        sums = nn.functional.conv2d(squares, ones, padding=self.layer.padding, stride=self.layer.stride)
        return weight_variance * sums.flatten() / fan_in


def hidden_layers(network: nn.Sequential, images: Tensor) -> Iterator[HiddenLayer]:
    """The hidden layers on these images, without dropout, batch normalisation by the images' own statistics."""
    values, received, layer, normalised = images, images, None, False
    for module in network:
        if isinstance(module, nn.Conv2d | nn.Linear):
            received, layer, normalised = values, module, False
            values = module(values)
        elif isinstance(module, nn.BatchNorm2d):
            normalised = True
            values = nn.functional.batch_norm(values, None, None, module.weight, module.bias, True, 0.0, module.eps)
        elif isinstance(module, _UNCOUNTED):
            values = values if isinstance(module, nn.Dropout) else module(values)
        elif layer is not None:
            values = module(values)
            yield HiddenLayer(received, layer, normalised, values)


def layer_means(network: nn.Sequential, images: Tensor) -> dict[str, Tensor]:
    """Over channels, positions and images: `mean` (layers,), `mean_share` |E a|²/E|a|² (layers,), and
    `unit_mean_median` (), the lower middle one of the means of all channels of all layers."""
    of_channels, shares = [], []
    for layer in hidden_layers(network, images):
        means = layer.channel_means
        of_channels.append(means)
        shares.append(means.square().sum() / layer.channel_second_moments.sum())
    return {
        "mean": torch.stack([means.mean() for means in of_channels]),
        "mean_share": torch.stack(shares),
        "unit_mean_median": torch.cat(of_channels).median(),
    }


class Moment(NamedTuple):
    """Measured; M3's; the standard deviation of the measured one over the layer's weights (nan: not known)."""

    measured: float
    predicted: float
    band: float


@dataclass(frozen=True)
class LayerMoments:
    """Mean and second moment of a hidden layer over channels, positions and images."""

    convolutional: bool
    mean: Moment
    second_moment: Moment


@torch.no_grad()
def layer_moments(
    network: nn.Sequential, batches: Sequence[Tensor], activation: Activation, weight_variance: float = 2.0
) -> list[LayerMoments]:
    """Of every hidden layer of a network with weights N(0, weight_variance/fan-in) and biases 0, over batches of one
    size; with batch normalisation there is to be one batch.

    The channels' moments are independent and of one law over the weights: the standard deviation of their mean is
    theirs over the root of their number.
    """
    kinds: dict[int, tuple[bool, bool]] = {}
    parts: dict[int, list[tuple[Tensor, float, Tensor, float]]] = {}
    for batch in batches:
        for number, layer in enumerate(hidden_layers(network, batch)):
            v = np.ones(1) if layer.normalised else layer.net_input_variances(weight_variance).cpu().numpy()
            said = gaussian_moments(activation, 0.0, np.sqrt(v))
            mean, square = (float(np.mean(values)) for values in (said.mean, said.second_moment))
            measured = layer.channel_means.double(), layer.channel_second_moments.double()
            parts.setdefault(number, []).append((measured[0], mean, measured[1], square))
            kinds[number] = isinstance(layer.layer, nn.Conv2d), layer.normalised
    found = []
    for number, of_batches in parts.items():
        means, mean, squares, square = zip(*of_batches, strict=True)
        convolutional, normalised = kinds[number]
        moments = (
            _moment(torch.stack(channels).mean(0), float(np.mean(predicted)), known=not normalised)
            for channels, predicted in ((means, mean), (squares, square))
        )
        found.append(LayerMoments(convolutional, *moments))
    return found


def _moment(channels: Tensor, predicted: float, *, known: bool) -> Moment:
    band = float(channels.std() / len(channels) ** 0.5) if known and len(channels) > 1 else float("nan")
    return Moment(float(channels.mean()), predicted, band)


def _of_channels(values: Tensor) -> Tensor:
    return values.float().mean((0, *range(2, values.ndim)))
