"""What training a convolutional network will take, from its modules' shapes: see `elutheory.numerics.cost`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from elutheory.numerics.cost import Cost

_OF_A_NUMBER = 70.0
"""Operations of products that take as long as one number's way through activation, dropout and pooling and back: 22 of
OPERATIONS_PER_SECOND are a nanosecond, and a step takes 1.5 to 3 of them for each number that a module puts out."""
_EVALUATED_AT_ONCE = 1000


@dataclass(frozen=True)
class ConvolutionalSize:
    """Of a network for one image: operations of the products forward and in training (a multiplication and an addition
    each), numbers that its modules put out, the most of two modules in a row, and parameters."""

    forward: float
    training: float
    outputs: int
    largest: int
    parameters: int


def size_of(network: nn.Sequential, image: Sequence[int]) -> ConvolutionalSize:
    """`network` on the device "meta"; `image`: channels, height, width.

    Training takes the products forward, backward by the weights and, but for the first layer, by the inputs.
    """
    values = torch.empty(2, *image, device="meta")
    products: list[float] = []
    outputs = [math.prod(image)]
    for module in network.eval():
        values = module(values)
        outputs.append(values[0].numel())
        if isinstance(module, nn.Conv2d | nn.Linear):
            products.append(2.0 * module.weight[0].numel() * values[0].numel())
    forward = sum(products)
    return ConvolutionalSize(
        forward=forward,
        training=3 * forward - products[0],
        outputs=sum(outputs),
        largest=max(before + after for before, after in pairwise(outputs)),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
    )


def convolutional_cost(
    size: ConvolutionalSize,
    *,
    examples: float,
    epochs: float,
    batch_size: int,
    evaluated: float = 0.0,
    itemsize: int = 4,
) -> Cost:
    """Of one network, with `evaluated` further images after each epoch; images are held apart (`Cost.bytes`).

    A network holds its weights, gradients and momenta; a batch what modules put out, and its gradients.
    """
    batch = min(batch_size, examples)
    trained = examples * (size.training + _OF_A_NUMBER * size.outputs)
    held = itemsize * (4.0 * size.parameters + 2 * batch * size.outputs)
    looked_at = passes_cost(size, images=evaluated, at_once=_EVALUATED_AT_ONCE, itemsize=itemsize)
    return (Cost(trained, -(-examples // batch), held) + looked_at) * epochs


def passes_cost(size: ConvolutionalSize, *, images: float, at_once: int, itemsize: int = 4) -> Cost:
    """Of one network forward on so many images."""
    held = itemsize * (size.parameters + min(images, at_once) * size.largest)
    return Cost(images * (size.forward + _OF_A_NUMBER / 3 * size.outputs), bytes=float(held))
