"""The paper's architectures (arXiv 1511.07289, section 4) and their initial weights.

Every `activation` is an Activation or a registry name. Networks are built on the current torch device ("meta" for
shapes alone) and then initialised: `initialise(fully_connected(LEARNING_BEHAVIOUR, "elu"), seed)`.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from elutheory.activations import Activation, as_activation
from elutheory.errors import InputError

LEARNING_BEHAVIOUR = (784, *[128] * 8, 10)
"""Widths of section 4.1.1 (figure 2): inputs, hidden layers, classes."""
MEDIAN_VARIANCE = (784, *[256] * 5, 10)
"""Widths of appendix C (figure 7)."""
AUTOENCODER = (784, 1000, 500, 250, 30, 250, 500, 1000, 784)
"""Widths of section 4.1.2 (figure 3); every hidden layer is activated, the code of 30 units too, the output is not."""

_BIASES = 1 << 40  # added to a seed: no other seed's weights

Stack = tuple[tuple[int, int, int], ...]
"""Convolutions of a stack as the paper writes them: (layers, units, receptive field)."""

CIFAR_11_STACKS: tuple[Stack, ...] = (
    ((1, 192, 5),),
    ((1, 192, 1), (1, 240, 3)),
    ((1, 240, 1), (1, 260, 2)),
    ((1, 260, 1), (1, 280, 2)),
    ((1, 280, 1), (1, 300, 2)),
    ((1, 300, 1),),
    ((1, 100, 1),),
)
CIFAR_11_DROPOUT = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.0)
CIFAR_18_STACKS: tuple[Stack, ...] = (
    ((1, 384, 3),),
    ((1, 384, 1), (1, 384, 2), (2, 640, 2)),
    ((1, 640, 1), (3, 768, 2)),
    ((1, 768, 1), (2, 896, 2)),
    ((1, 896, 3), (2, 1024, 2)),
    ((1, 1024, 1), (1, 1152, 2)),
    ((1, 1152, 1),),
    ((1, 100, 1),),
)
CIFAR_18_DROPOUT = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.0)
IMAGENET_STACKS: tuple[Stack, ...] = (((1, 96, 6),), ((3, 512, 3),), ((5, 768, 3),), ((3, 1024, 3),))


def fully_connected(
    sizes: Sequence[int], activation: Activation | str, *, batch_norm: bool = False, dtype: torch.dtype | None = None
) -> nn.Sequential:
    """Linear layers of these widths, inputs first; each but the last one activated, the last one's output linear.

    `batch_norm`: normalisation between each hidden layer and its activation. The activations are modules 1, 3, … (2, 5,
    … with batch normalisation). Raises InputError for fewer than two widths or one below 1.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise InputError(f"the widths are {tuple(sizes)}; at least two are needed, each 1 or larger.")
    layers: list[nn.Module] = []
    for fan_in, units in pairwise(sizes):
        layers += [
            nn.Linear(fan_in, units, dtype=dtype),
            *([nn.BatchNorm1d(units, dtype=dtype)] if batch_norm else []),
            as_activation(activation).torch_module(),
        ]
    return nn.Sequential(*layers[: -3 if batch_norm else -2], layers[-3 if batch_norm else -2])


def cifar_11(activation: Activation | str, *, classes: int = 100, batch_norm: bool = False) -> nn.Sequential:
    """The 11 convolutions of section 4.2 (figures 4 and 5) for inputs (N, 3, 32, 32); see `convolutional`."""
    return convolutional(_with_classes(CIFAR_11_STACKS, classes), CIFAR_11_DROPOUT, activation, batch_norm=batch_norm)


def cifar_18(
    activation: Activation | str, *, classes: int = 100, dropout: Sequence[float] = (0.0,) * len(CIFAR_18_STACKS)
) -> nn.Sequential:
    """The 18 hidden convolutions of section 4.3 (table 1) and the output's, for inputs (N, 3, 32, 32).

    `dropout`: a rate per stack, as in `convolutional`; the paper raises the rates in two phases.
    """
    return convolutional(_with_classes(CIFAR_18_STACKS, classes), dropout, activation)


def imagenet_15(activation: Activation | str, *, classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """The 12 convolutions and 3 linear layers of section 4.4 (figure 6) for inputs (N, 3, 224, 224).

    After the last stack's pooling, maxima over 1, 4 and 16 regions of the image (spatial pyramid pooling) make
    1024 × 21 inputs, whatever the image's size; dropout of one half after both hidden linear layers. `width`: of the
    paper's units of every hidden layer, rounded, at least one.
    """
    layers: list[nn.Module] = []
    channels = 3
    for stack in IMAGENET_STACKS:
        for count, of_paper, field in stack:
            units = _units(of_paper, width)
            for _ in range(count):
                layers += [*_convolution(channels, units, field), as_activation(activation).torch_module()]
                channels = units
        layers.append(_pooling())
    pyramid = SpatialPyramidPooling((1, 2, 4))
    layers.append(pyramid)
    features = channels * pyramid.regions
    for units in [_units(4096, width)] * 2:
        layers += [nn.Linear(features, units), as_activation(activation).torch_module(), nn.Dropout(0.5)]
        features = units
    return nn.Sequential(*layers, nn.Linear(features, classes))


def scaled(stacks: Sequence[Stack], width: float, classes: int) -> tuple[Stack, ...]:
    """The stacks with `width` times their units, rounded, at least one; the last stack is the output of `classes`."""
    hidden = tuple(
        tuple((count, _units(units, width), field) for count, units, field in stack) for stack in stacks[:-1]
    )
    return _with_classes((*hidden, ()), classes)


def convolutional(
    stacks: Sequence[Stack],
    dropout: Sequence[float],
    activation: Activation | str,
    *,
    batch_norm: bool = False,
    channels: int = 3,
    everywhere: bool = False,
) -> nn.Sequential:
    """Stacks of convolutions on images of so many channels; outputs (N, units of the last layer).

    What the paper leaves open: convolutions have stride 1 and keep the image's size (zeros around it); after each stack
    the maximum of 2 × 2 pixels, stride 2, sizes rounded up, so that one pixel is left alone. Dropout comes after the
    activation of each stack's last layer, batch normalisation before the activation. The last layer is the linear
    output, averaged over the pixels left, which is one for images of up to 2^(number of stacks) pixels a side.

    `everywhere`: dropout with the stack's rate, be it 0, after every hidden activation, to be changed in training.
    """
    if len(stacks) != len(dropout):
        raise InputError(f"{len(dropout)} dropout rates are given for {len(stacks)} stacks; one a stack is needed.")
    layers: list[nn.Module] = []
    left = sum(count for stack in stacks for count, _, _ in stack)
    for stack, rate in zip(stacks, dropout, strict=True):
        of_stack = [(units, field) for count, units, field in stack for _ in range(count)]
        for place, (units, field) in enumerate(of_stack, start=1):
            layers += _convolution(channels, units, field)
            channels, left = units, left - 1
            hidden = left > 0  # the last one of all is the output
            if hidden:
                layers += [nn.BatchNorm2d(units)] if batch_norm else []
                layers.append(as_activation(activation).torch_module())
            if (everywhere and hidden) or (rate and place == len(of_stack)):
                layers.append(nn.Dropout(rate))
        layers.append(_pooling())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class SpatialPyramidPooling(nn.Module):
    """Maxima over the cells of square grids, (N, C, H, W) → (N, C · regions): arXiv 1406.4729.

    `levels`: cells a side of each grid; `regions`: cells of all of them.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(levels)

    @property
    def regions(self) -> int:
        """Cells of all grids together."""
        return sum(level**2 for level in self.levels)

    def forward(self, inputs: Tensor) -> Tensor:
        """Images (N, C, H, W) to maxima (N, C · regions), grid after grid."""
        return torch.cat([nn.functional.adaptive_max_pool2d(inputs, level).flatten(1) for level in self.levels], dim=1)

    def extra_repr(self) -> str:
        """The levels, where the module is printed."""
        return f"levels={self.levels}"


def initialise(network: nn.Module, seed: int, weight_variance: float = 2.0, bias_variance: float = 0.0) -> nn.Module:
    """Weights ~ N(0, weight_variance/fan_in), by default as He et al. (arXiv 1502.01852); returns the network.

    Biases ~ N(0, bias_variance), by default 0. One generator draws the weights in float32 on the CPU, layer after
    layer, and another one the biases, so that a seed gives the same ones whatever the activation, the normalisation,
    the device and the dtype. Batch normalisation starts as the identity.
    """
    generator = torch.Generator().manual_seed(seed)
    of_biases = torch.Generator().manual_seed(seed + _BIASES)
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            standard = torch.empty(module.weight.shape, dtype=torch.float32).normal_(generator=generator)
            with torch.no_grad():
                module.weight.copy_(standard * (weight_variance / module.weight[0].numel()) ** 0.5)
                if module.bias is not None:
                    standard = torch.empty(module.bias.shape, dtype=torch.float32).normal_(generator=of_biases)
                    module.bias.copy_(standard * bias_variance**0.5)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_parameters()
    return network


def hidden_activations(network: nn.Sequential, inputs: Tensor) -> list[Tensor]:
    """Outputs of the activation that follows each hidden layer, from the first layer on, each (N, units)."""
    found: list[Tensor] = []
    layers = list(network)
    for place, layer in enumerate(layers):
        inputs = layer(inputs)
        if place and not isinstance(layer, _NO_ACTIVATION) and isinstance(layers[place - 1], _BEFORE_ACTIVATION):
            found.append(inputs)
    return found


_BEFORE_ACTIVATION = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)
_NO_ACTIVATION = (*_BEFORE_ACTIVATION, nn.Dropout, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.ZeroPad2d)


def _units(of_paper: int, width: float) -> int:
    return max(1, round(of_paper * width))


def _with_classes(stacks: Sequence[Stack], classes: int) -> tuple[Stack, ...]:
    return (*stacks[:-1], ((1, classes, 1),))


def _convolution(channels: int, units: int, field: int) -> list[nn.Module]:
    """Of stride 1, zeros around the image keeping its size: of an even field one more on the right and below."""
    less = (field - 1) // 2
    if field % 2:
        return [nn.Conv2d(channels, units, field, padding=less)]
    return [nn.ZeroPad2d((less, less + 1, less, less + 1)), nn.Conv2d(channels, units, field)]


def _pooling() -> nn.MaxPool2d:
    return nn.MaxPool2d(2, stride=2, ceil_mode=True)
