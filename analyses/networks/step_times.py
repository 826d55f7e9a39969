"""Times to compare within one run: the candidates take turns, in an order drawn anew each time.

An accelerator is waited for after each part of a training step.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import ceil

import numpy as np
import pandas
import torch
from torch import Tensor, nn

Timed = Callable[[int], dict[str, float]]
"""Seconds by part, each the sum over that many calls."""


def interleaved_seconds(timed: Mapping[str, Timed], repetitions: int, shortest: float) -> pandas.DataFrame:
    """Columns variant, part, seed (the repetition) and value, seconds per call; after a call that does not count.

    Every candidate is called as often in a row as one that takes `shortest` seconds has to be.
    """
    for function in timed.values():
        function(1)
    quickest = min(sum(function(1).values()) for function in timed.values())
    calls = max(1, ceil(shortest / quickest))
    generator = np.random.default_rng(0)
    names = list(timed)
    rows = [
        {"variant": name, "part": part, "seed": repetition, "value": seconds / calls}
        for repetition in range(repetitions)
        for name in generator.permutation(names).tolist()
        for part, seconds in timed[name](calls).items()
    ]
    return pandas.DataFrame(rows)


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """So many for torch's kernels on the CPU; as before on leaving."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def step_seconds(network: nn.Module, optimiser: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> Timed:
    """Training steps, their parts forward (with the loss), backward and update, and forward passes in evaluation."""

    def seconds(calls: int) -> dict[str, float]:
        parts = np.zeros(3)
        network.train()
        for _ in range(calls):
            optimiser.zero_grad()
            start = _now(inputs)
            loss = nn.functional.cross_entropy(network(inputs), targets)
            forward = _now(inputs)
            loss.backward()
            backward = _now(inputs)
            optimiser.step()
            parts += np.diff([start, forward, backward, _now(inputs)])
        evaluation = _evaluation_seconds(network, inputs, calls)
        return dict(zip(("forward", "backward", "update"), parts.tolist(), strict=True)) | {"evaluation": evaluation}

    return seconds


def layer_seconds(layer: nn.Module, inputs: Tensor) -> Timed:
    """Forward and backward passes, in training, and forward passes in evaluation, of a layer that keeps the shape."""
    inputs = inputs.clone().requires_grad_()
    gradient = torch.randn_like(inputs)
    wanted = [inputs, *layer.parameters()]

    def seconds(calls: int) -> dict[str, float]:
        layer.train()
        outputs = inputs
        start = _now(inputs)
        for _ in range(calls):
            outputs = layer(inputs)
        forward = _now(inputs)
        for _ in range(calls):
            torch.autograd.grad(outputs, wanted, gradient, retain_graph=True)
        backward = _now(inputs)
        evaluation = _evaluation_seconds(layer, inputs, calls)
        return {"forward": forward - start, "backward": backward - forward, "evaluation": evaluation}

    return seconds


@torch.no_grad()
def _evaluation_seconds(network: nn.Module, inputs: Tensor, calls: int) -> float:
    network.eval()
    start = _now(inputs)
    for _ in range(calls):
        network(inputs)
    return _now(inputs) - start


def _now(inputs: Tensor) -> float:
    """Once the device has done what it was given."""
    if inputs.device.type != "cpu":
        torch.accelerator.synchronize(inputs.device)
    return time.perf_counter()
