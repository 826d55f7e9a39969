"""The networks of E2 and E4 with ReLUs and ELUs, each without and with batch normalisation before the activation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from analyses.data import datasets
from analyses.networks.architectures import LEARNING_BEHAVIOUR, cifar_11, fully_connected, initialise

VARIANTS = {
    "relu": ("relu", False),
    "elu": ("elu", False),
    "relu_batch_norm": ("relu", True),
    "elu_batch_norm": ("elu", True),
}
"""Activation, and whether there is batch normalisation."""


@dataclass(frozen=True)
class Architecture:
    """`build(activation, batch_norm=…)` for images of shape `image`; `momentum`: its training has it, and L2."""

    identifier: str
    build: Callable[..., nn.Sequential]
    image: tuple[int, ...]
    momentum: bool

    @property
    def convolutional(self) -> bool:
        """Whether images keep their channels and places, rather than being flat."""
        return len(self.image) == 3

    def network(self, variant: str, seed: int) -> nn.Sequential:
        """Initialised by `initialise`."""
        network = self._built(variant)
        initialise(network, seed)
        return network

    def shapes(self, variant: str) -> nn.Sequential:
        """The network on the device "meta", without numbers."""
        with torch.device("meta"):
            return self._built(variant)

    def images(self, data: str, examples: int) -> Tensor:
        """Training images enlarged bilinearly, standardised; channels averaged, repeated, or flat without them."""
        images = datasets.load(data).subset(examples).train.inputs
        images = images if images.ndim == 4 else images[:, None]
        images = nn.functional.interpolate(images, self.image[-2:], mode="bilinear", align_corners=False)
        images = (images - images.mean()) / images.std()
        if not self.convolutional:
            return images.mean(1).flatten(1)
        if images.shape[1] == self.image[0]:
            return images
        return images.mean(1, keepdim=True).expand(-1, *self.image).contiguous()

    def _built(self, variant: str) -> nn.Sequential:
        activation, batch_norm = VARIANTS[variant]
        return self.build(activation, batch_norm=batch_norm)


ARCHITECTURES = {
    "fully_connected": Architecture(
        "E2",
        lambda activation, batch_norm: fully_connected(LEARNING_BEHAVIOUR, activation, batch_norm=batch_norm),
        (28, 28),
        momentum=False,
    ),
    "convolutional": Architecture("E4", cifar_11, (3, 32, 32), momentum=True),
}


@dataclass(frozen=True)
class HiddenLayer:
    """Normalisation and activation of hidden layer `number`: where they stand in the network, and their inputs' shape.

    `layers`: hidden layers of this shape, of which it is the first.
    """

    number: int
    layers: int
    place: slice
    shape: torch.Size


def hidden_layers(network: nn.Sequential, shape: Sequence[int]) -> list[HiddenLayer]:
    """One layer per shape; the network is on the device "meta", `shape` its inputs'."""
    found: list[HiddenLayer] = []
    values, start = torch.empty(*shape, device="meta"), None
    for place, layer in enumerate(network):
        if isinstance(layer, _OF_HIDDEN_LAYERS):
            start = place if start is None else start
        values = layer(values)
        if start is not None and isinstance(layer, _ACTIVATIONS):
            found.append(HiddenLayer(len(found) + 1, 1, slice(start, place + 1), values.shape))
            start = None
    shapes = [layer.shape for layer in found]
    first = [layer for layer in found if shapes.index(layer.shape) == layer.number - 1]
    return [replace(layer, layers=shapes.count(layer.shape)) for layer in first]


_ACTIVATIONS = (nn.ReLU, nn.ELU)
_OF_HIDDEN_LAYERS = (*_ACTIVATIONS, nn.BatchNorm1d, nn.BatchNorm2d)
