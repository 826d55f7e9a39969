"""Operations and bytes of a network's layers, counted by formulas: forward and backward in training, and evaluation.

An addition, subtraction, multiplication, division, square root or comparison is one operation, a multiply-add two, a
sum of n numbers n. Exponentials are counted apart: what one costs depends on the machine. Bytes are those that kernels
read and write which are not fused with their neighbours: each reads its operands once and writes its results once, in
float32. Batch normalisation reads its inputs twice, as the statistics must be known before anything is normalised; so
does its backward pass with the incoming gradients. Windows of maxima that the image's edge cuts count as whole. An ELU
takes the exponential of every number, whatever its sign, as vectorised kernels do, and its backward pass takes it
again, as torch's does; from the kept outputs, f' = f + α, it would not need to.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import nn

from elutheory.errors import InputError

PARTS = ("forward", "backward", "evaluation")
_FLOAT, _INDEX, _MASK = 4, 8, 1  # bytes of a number, of a place of a maximum, of whether a unit is dropped


@dataclass(frozen=True)
class Work:
    """Operations without exponentials, exponentials, and bytes read and written."""

    operations: int = 0
    exponentials: int = 0
    bytes: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.operations + other.operations, self.exponentials + other.exponentials, self.bytes + other.bytes
        )


def layer_work(layer: nn.Module, inputs: torch.Size, outputs: torch.Size, *, first: bool = False) -> dict[str, Work]:
    """By PARTS, for these shapes, examples first; `first`: the inputs need no gradient.

    Raises InputError for a layer whose work is not known here.
    """
    n, into = outputs.numel(), inputs.numel()
    if isinstance(layer, nn.Linear | nn.Conv2d):
        return _products(layer, into, n, outputs[1], first=first)
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return _batch_norm(n, inputs[1])
    if isinstance(layer, nn.ReLU):
        forward = _elementwise(n, operations=1)
        return _parts(forward, _elementwise(n, operations=1, operands=2), forward)
    if isinstance(layer, nn.ELU):  # x > 0, exp, − 1, · α; backward: x > 0, exp, · α, · gradient
        forward = _elementwise(n, operations=3, exponentials=1)
        return _parts(forward, _elementwise(n, operations=3, exponentials=1, operands=2), forward)
    if isinstance(layer, nn.MaxPool2d):
        compared = (_area(layer.kernel_size) - 1) * n
        forward = Work(compared, 0, _FLOAT * (into + n) + _INDEX * n)
        return _parts(forward, Work(n, 0, forward.bytes), forward)
    if isinstance(layer, nn.Dropout):  # the random numbers are not counted
        masked = Work(2 * n, 0, 2 * _FLOAT * n + _MASK * n)
        return _parts(masked, masked, Work())
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        averaged = Work(into + n, 0, _FLOAT * (into + n))
        return _parts(averaged, Work(n, 0, averaged.bytes), averaged)
    if isinstance(layer, nn.ZeroPad2d):
        copied = Work(0, 0, _FLOAT * (into + n))
        return _parts(copied, copied, copied)
    if isinstance(layer, nn.Flatten):
        return _parts(Work(), Work(), Work())
    raise InputError(f"the work of a layer {type(layer).__name__} is not known.")


def network_work(network: nn.Sequential, inputs: torch.Size) -> Iterator[tuple[nn.Module, dict[str, Work]]]:
    """Each layer with its `layer_work`; the network is on the device "meta"."""
    values = torch.empty(inputs, device="meta")
    for place, layer in enumerate(network):
        before, values = values.shape, layer(values)
        yield layer, layer_work(layer, before, values.shape, first=place == 0)


def update_work(parameters: int, *, momentum: bool) -> Work:
    """Stochastic gradient descent; `momentum`: with it and a penalty on the weights (L2)."""
    return Work(6 * parameters, 0, 5 * _FLOAT * parameters) if momentum else Work(2 * parameters, 0, 12 * parameters)


def _products(layer: nn.Linear | nn.Conv2d, into: int, n: int, units: int, *, first: bool) -> dict[str, Work]:
    """Gradients of weights, biases and inputs are three kernels; padded zeros are multiplied as well."""
    biased = int(layer.bias is not None)
    weights, fan_in = layer.weight.numel(), layer.weight[0].numel()
    multiplied = Work(2 * fan_in * n, 0, _FLOAT * (into + weights + n))
    bias = Work(biased * n, 0, biased * _FLOAT * units)
    summed = Work(biased * n, 0, biased * _FLOAT * (n + units))
    backward = multiplied + summed if first else multiplied + multiplied + summed
    return _parts(multiplied + bias, backward, multiplied + bias)


def _batch_norm(n: int, units: int) -> dict[str, Work]:
    """Of n numbers, m = n/units a unit; operations a unit:

    forward 6m + 15: mean m + 1, variance 3m + 1, 1/√(variance + ε) 3, scale γ/√… 1, shift β − mean · scale 2,
    x · scale + shift 2m, running mean 3 and variance (unbiased) 4; evaluation: without the statistics;
    backward 9m + 6: Σg m, Σg(x − mean) 3m, dγ 1, its share k = Σg(x − mean)/(m (variance + ε)) 3, mean of g 1, scale 1,
    (g − mean of g − (x − mean) k) · scale 5m.
    """
    forward = Work(6 * n + 15 * units, 0, _FLOAT * (3 * n + 8 * units))
    backward = Work(9 * n + 6 * units, 0, _FLOAT * (5 * n + 5 * units))
    return _parts(forward, backward, Work(2 * n + 6 * units, 0, _FLOAT * (2 * n + 4 * units)))


def _elementwise(n: int, *, operations: int, exponentials: int = 0, operands: int = 1) -> Work:
    return Work(operations * n, exponentials * n, _FLOAT * (operands + 1) * n)


def _parts(forward: Work, backward: Work, evaluation: Work) -> dict[str, Work]:
    return dict(zip(PARTS, (forward, backward, evaluation), strict=True))


def _area(kernel: int | tuple[int, ...]) -> int:
    return kernel**2 if isinstance(kernel, int) else prod(kernel)
