"""`diagnose` in units of one plain pass over the same data: `pytest benchmarks -o addopts= -s -k diagnosis`.

A net of 8 layers of 128 units and a read-out of ten classes, 10,000 inputs. The plain pass is a forward and a backward
pass of the cross-entropy over all inputs, in batches of the size that is fastest here; beside it stand forward passes
alone, without gradients, of which it takes about three. All sides take turns, on the process's threads, and count their
best round.
"""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from benchmarks.interleaved_times import best_times
from elutheory.diagnosis import diagnose

DEPTH, WIDTH, CLASSES, EXAMPLES = 8, 128, 10, 10_000
BATCH_SIZES = (256, 1024, EXAMPLES)
LIMIT = 10
ROUNDS = 7


def network(dtype: torch.dtype) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(DEPTH):
        layers += [nn.Linear(WIDTH, WIDTH), nn.ELU()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, CLASSES)).to(dtype)


def plain_pass(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, batch_size: int) -> None:
    for batch, labels in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
        model.zero_grad()
        nn.functional.cross_entropy(model(batch), labels).backward()


@torch.no_grad()
def forward_pass(model: nn.Module, inputs: torch.Tensor, batch_size: int) -> None:
    for batch in inputs.split(batch_size):
        model(batch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("labelled", [True, False])
def test_diagnosis_beside_a_plain_pass(dtype: torch.dtype, labelled: bool, compare: Callable[..., None]) -> None:
    model = network(dtype)
    inputs, targets = torch.randn(EXAMPLES, WIDTH, dtype=dtype), torch.randint(CLASSES, (EXAMPLES,))
    data = (inputs, targets) if labelled else inputs
    found = diagnose(model, data)
    assert found.examples == EXAMPLES
    assert len(found.table) == DEPTH + 1
    passes = [lambda size=size: plain_pass(model, inputs, targets, size) for size in BATCH_SIZES]
    forwards = [lambda size=size: forward_pass(model, inputs, size) for size in BATCH_SIZES]
    ours, *times = best_times(lambda: diagnose(model, data), *passes, *forwards, rounds=ROUNDS)
    plain, forward = times[: len(passes)], times[len(passes) :]
    ratio = ours / min(plain)
    print(
        f"\n{dtype}, {'labels given' if labelled else 'labels drawn'}: {1e3 * ours:.0f} ms; one plain pass"
        f" {1e3 * min(plain):.0f} ms; ratio {ratio:.1f}; {ours / min(forward):.1f} forward passes"
    )
    for peer, seconds in (("plain pass", min(plain)), ("forward pass", min(forward))):
        compare(
            name="diagnosis",
            what=f"`diagnose`: {DEPTH} layers of {WIDTH} units, {EXAMPLES:,} inputs",
            peer=peer,
            is_floor=True,
            seconds=ours,
            peer_seconds=seconds,
        )
    assert ratio <= LIMIT
