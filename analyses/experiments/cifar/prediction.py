"""Means of every hidden layer of a convolutional network, and what M3 says of them before training.

Given what a layer receives, its net input at a position of an image is over the layer's random weights Gaussian with
mean 0 and variance v = σ_w² Σ a²/fan-in, the sum over the a that the position sees. So the mean activation over
channels, positions and images has the expectation E M(0, v), M(0, v) = E f(√v Z) (M3), the mean over positions and
images, exactly and at any width; pooling and padding are in what the layer receives. Behind batch normalisation net
inputs have mean 0 and variance 1 over positions and images: M(0, 1), so far as they are Gaussian there.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from elutheory.activations import Activation
from elutheory.moments import gaussian_moments


class HiddenLayer(NamedTuple):
    """What a convolution receives, padded; the convolution; whether it is normalised; activations (N, C, H, W)."""

    inputs: Tensor
    convolution: nn.Conv2d
    normalised: bool
    activations: Tensor


def hidden_layers(network: nn.Sequential, images: Tensor) -> Iterator[HiddenLayer]:
    """The hidden layers on these images, without dropout, batch normalisation by the images' own statistics."""
    values, received, convolution, normalised = images, images, None, False
    for module in network:
        if isinstance(module, nn.Conv2d):
            received, convolution, normalised = values, module, False
            values = module(values)
        elif isinstance(module, nn.BatchNorm2d):
            normalised = True
            values = nn.functional.batch_norm(values, None, None, module.weight, module.bias, True, 0.0, module.eps)
        elif isinstance(module, _UNCOUNTED):
            values = values if isinstance(module, nn.Dropout) else module(values)
        elif convolution is not None:
            values = module(values)
            yield HiddenLayer(received, convolution, normalised, values)


_UNCOUNTED = (nn.Dropout, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.ZeroPad2d)


def layer_means(network: nn.Sequential, images: Tensor) -> dict[str, Tensor]:
    """`mean` and `mean_share` (layers,), and `unit_mean_median`, the lower middle one over all channels, ()."""
    of_channels, shares = [], []
    for layer in hidden_layers(network, images):
        activations = layer.activations.float()
        means = activations.mean((0, 2, 3))
        of_channels.append(means)
        shares.append(means.square().sum() / activations.square().mean((0, 2, 3)).sum())
    means = torch.stack([channels.mean() for channels in of_channels])
    return {
        "mean": means,
        "mean_share": torch.stack(shares),
        "unit_mean_median": torch.cat(of_channels).median(),
    }


class PredictedMean(NamedTuple):
    """M3's mean, and the standard deviation of the layer's mean over its weights (nan behind batch normalisation)."""

    mean: float
    band: float


@torch.no_grad()
def predicted_means(
    network: nn.Sequential, images: Tensor, activation: Activation, weight_variance: float = 2.0
) -> list[PredictedMean]:
    """Of every hidden layer of a network with weights N(0, weight_variance/fan-in) and biases 0.

    The channels' means are independent and of one law over the weights: the standard deviation of their mean is theirs
    over the root of their number.
    """
    found = []
    for layer in hidden_layers(network, images):
        if layer.normalised:
            found.append(PredictedMean(float(gaussian_moments(activation, 0.0, 1.0).mean), float("nan")))
            continue
        convolution, seen = layer.convolution, layer.inputs.double().square().sum(1, keepdim=True)
        ones = torch.ones(1, 1, *convolution.kernel_size, dtype=seen.dtype, device=seen.device)
        sums = nn.functional.conv2d(seen, ones, padding=convolution.padding)
        deviations = (weight_variance * sums / convolution.weight[0].numel()).sqrt().flatten()
        moments = gaussian_moments(activation, 0.0, deviations.cpu().numpy())
        channels = layer.activations.double().mean((0, 2, 3))
        band = float(channels.std() / len(channels) ** 0.5) if len(channels) > 1 else float("nan")
        found.append(PredictedMean(float(np.mean(moments.mean)), band))
    return found
