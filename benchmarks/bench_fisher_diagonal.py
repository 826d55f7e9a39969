"""The exact diagonal of the Fisher matrix beside a plain backward pass per class: `pytest benchmarks -o addopts= -s -k
diagonal`. The sides take turns, on one thread; the plain passes make the gradients of every parameter, no diagonal."""

import pytest
import torch
from torch import Tensor, nn

import elutheory as et
from benchmarks.interleaved_times import best_times

CLASSES, ROUNDS, LIMIT = 10, 5, 2.0

pytestmark = pytest.mark.usefixtures("one_thread")


def perceptron() -> tuple[nn.Module, Tensor]:
    return nn.Sequential(nn.Linear(784, 512), nn.ELU(), nn.Linear(512, 512), nn.ELU(), nn.Linear(512, CLASSES)), (
        torch.rand(512, 784)
    )


def convolutional() -> tuple[nn.Module, Tensor]:
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        *(nn.Flatten(), nn.Linear(32, CLASSES)),
    ).eval(), torch.rand(64, 3, 32, 32)


@pytest.mark.parametrize("make", [perceptron, convolutional])
def test_twice_a_backward_pass_per_class(make) -> None:
    torch.manual_seed(0)
    model, inputs = make()
    parameters = list(model.parameters())

    def plain() -> None:
        outputs = model(inputs)
        for label in range(CLASSES):
            torch.autograd.grad(outputs[:, label].sum(), parameters, retain_graph=True)

    ours, passes = best_times(lambda: et.fisher_diagonal(model, inputs), plain, rounds=ROUNDS)
    print(f"\n{make.__name__}: {1e3 * ours:.0f} ms, {ours / passes:.2f} × {CLASSES} backward passes")
    assert ours <= LIMIT * passes
