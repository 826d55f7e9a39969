"""What training networks will take, from their sizes: see `elutheory.numerics.cost`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn

from analyses.data import datasets
from elutheory.numerics.cost import Cost

_OF_A_NUMBER = 70.0
"""Operations of products that take as long as one number's way through activation, dropout and pooling and back: 22 of
OPERATIONS_PER_SECOND are a nanosecond, and a step takes 1.5 to 3 of them for each number that a module puts out."""
_EVALUATED_AT_ONCE = 1000


class DataShape(NamedTuple):
    """Of a data set: training examples, numbers of an input, classes."""

    examples: int
    features: int
    classes: int


@cache
def shape_of(data: str) -> DataShape:
    """The shape of the data set of that name. Raises InputError as `analyses.data.datasets.load` does."""
    loaded = datasets.load(data)
    return DataShape(len(loaded.train), loaded.train.inputs[0].numel(), loaded.classes)


def classifier_shape(data: str, examples: int, hidden: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """Training examples (all where `examples` is 0) and layer sizes of a classifier with these hidden layers."""
    shape = shape_of(data)
    return min(examples or shape.examples, shape.examples), (shape.features, *hidden, shape.classes)


def training_cost(
    sizes: Sequence[int],
    *,
    networks: int,
    examples: int,
    epochs: float,
    batch_size: int,
    evaluated: float = 0.0,
    itemsize: int = 4,
) -> Cost:
    """Of fully connected networks of these sizes, all trained at once, with `evaluated` examples after each epoch.

    An update takes three products per layer: forward, and backward by inputs and by weights. A network holds its
    weights, their gradients and a copy; a batch its inputs and outputs of every layer, and their gradients.
    """
    batch = min(batch_size, examples)
    held = networks * (3 * parameters(sizes) + 2 * max(batch, min(evaluated, 1000)) * sum(sizes))
    operations = parameters(sizes) * networks * epochs * (6 * examples + 2 * evaluated)
    return Cost(
        operations=operations,
        updates=epochs * -(-examples // batch),
        bytes=itemsize * (held + 2 * (examples + evaluated) * sizes[0]),
    )


def parameters(sizes: Sequence[int]) -> int:
    """Weights and biases of a fully connected network."""
    return sum((fan_in + 1) * units for fan_in, units in pairwise(sizes))


def fisher_cost(sizes: Sequence[int], examples: int) -> Cost:
    """Of the exact unit Fisher matrices of the hidden layers and their solutions, in float64.

    Of each unit a matrix of products over examples, and six times its cube for its solutions.
    """
    layers = [(fan_in + 1, units) for fan_in, units in pairwise(sizes[:-1])]
    operations = sum(units * (2 * examples * rows**2 + 6 * rows**3) for rows, units in layers)
    held = max(units * rows**2 for rows, units in layers)
    return Cost(float(operations), len(layers), 8 * (4.0 * held + examples * sum(sizes)))


def prediction_cost(examples: int, depth: int, classes: int, steps: float, draws: int, batch_size: int) -> Cost:
    """Of a tangent kernel of all pairs of examples, and of predicting so many steps of training with it."""
    pairs, batch = float(examples) ** 2, min(batch_size, examples)
    kernel = Cost(2e3 * pairs * depth, depth, 8 * pairs * (2 * depth + 8))
    return kernel + Cost(4.0 * examples * batch * classes * draws, 0.2) * steps


# --- convolutional networks -----------------------------------------------------------------------------------------


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
