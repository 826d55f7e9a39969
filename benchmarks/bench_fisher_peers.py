"""Exact unit Fisher blocks beside other packages and the formula everyone would write, in one run.

The 128 blocks of the middle layer of a 64-128-128-10 ELU net, 512 inputs, ten classes, float64. The peers (ASDL,
BackPACK, nngeometry, curvlinops) need not share elutheory's environment: `python -m venv PEER && PEER/bin/pip install
-c constraints.txt torch asdfghjkl==0.1a5 backpack-for-pytorch==1.7.1 nngeometry==0.4 curvlinops-for-pytorch==3.0.1`.
Run as `FISHER_PEERS_PYTHON=PEER/bin/python pytest benchmarks -o addopts= -s -k peers`; without the variable the
comparison with them is skipped and says so. Both sides use as many threads and count their best round; ours is called
once after each peer. How each peer comes by the blocks is written in fisher_peers.py.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.interleaved_times import best_times
from elutheory.fisher import unit_fisher

WIDTHS = (64, 128, 128, 10)
EXAMPLES = 512
LAYER = "2"
ROUNDS = 15
PEER_ROUNDS = 5
AGREEMENT = 1e-12
FASTER = 10
VARIABLE = "FISHER_PEERS_PYTHON"
WHAT = f"exact unit Fisher matrix: fan-in {WIDTHS[1]}, {EXAMPLES} inputs, {WIDTHS[-1]} classes"
TITLES = {"asdl": "ASDL", "backpack": "BackPACK", "nngeometry": "nngeometry", "curvlinops": "curvlinops"}


def network_and_inputs() -> tuple[nn.Sequential, torch.Tensor]:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for fan_in, units in pairwise(WIDTHS):
        layers += [nn.Linear(fan_in, units), nn.ELU()]
    return nn.Sequential(*layers[:-1]).double(), torch.randn(EXAMPLES, WIDTHS[0], dtype=torch.float64)


def squared_deltas_and_points(model: nn.Sequential, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """E_y[delta²] (examples, units) by a backward pass a class, and (1, a)."""
    incoming = model[:2](inputs).detach()
    net = model[2](incoming).detach().requires_grad_()
    log_probabilities = model[3:](net).log_softmax(1)
    squared = torch.zeros_like(net)
    for column in log_probabilities.unbind(1):
        (delta,) = torch.autograd.grad(column.sum(), net, retain_graph=True)
        squared = squared + column.detach().exp()[:, None] * delta.square()
    return squared.detach(), torch.cat([incoming.new_ones(len(incoming), 1), incoming], 1)


def by_products(model: nn.Sequential, inputs: torch.Tensor) -> torch.Tensor:
    """A matrix product a unit."""
    squared, points = squared_deltas_and_points(model, inputs)
    return torch.stack([(points * weight[:, None]).T @ points / len(inputs) for weight in squared.T])


def by_einsum(model: nn.Sequential, inputs: torch.Tensor) -> torch.Tensor:
    squared, points = squared_deltas_and_points(model, inputs)
    return torch.einsum("nu,ni,nj->uij", squared, points, points) / len(inputs)


def largest_difference(blocks: torch.Tensor, reference: torch.Tensor) -> float:
    return float((blocks - reference[: len(blocks)]).abs().max() / reference.abs().max())


@contextmanager
def peers(folder: Path) -> Iterator[Callable[[str], Any]]:
    """What the process of the peers answers to a line."""
    command = [os.environ[VARIABLE], str(Path(__file__).with_name("fisher_peers.py")), str(folder)]
    with (
        (folder / "errors").open("w") as errors,
        subprocess.Popen(  # noqa: S603  the interpreter is the user's own
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        sent, received = process.stdin, process.stdout
        assert sent is not None
        assert received is not None

        def ask(line: str) -> Any:
            sent.write(line + "\n")
            sent.flush()
            answer = received.readline()
            assert answer, f"{line}: {(folder / 'errors').read_text()}"
            return json.loads(answer)

        try:
            yield ask
        finally:
            sent.close()


def test_exact_blocks_beside_the_straightforward_formula(compare: Callable[..., None]) -> None:
    model, inputs = network_and_inputs()
    matrix = unit_fisher(model, inputs, LAYER).matrix
    difference = max(largest_difference(formula(model, inputs), matrix) for formula in (by_products, by_einsum))
    assert difference <= AGREEMENT
    ours, products, einsum = best_times(
        lambda: unit_fisher(model, inputs, LAYER).matrix,
        lambda: by_products(model, inputs),
        lambda: by_einsum(model, inputs),
        rounds=ROUNDS,
    )
    print(f"\nours {1e3 * ours:.1f} ms; straightforward {1e3 * products:.1f} ms, by one einsum {1e3 * einsum:.1f} ms")
    compare(
        name="unit_fisher",
        what=WHAT,
        peer="straightforward formula",
        seconds=ours / len(matrix),
        peer_seconds=min(products, einsum) / len(matrix),
        difference=difference,
    )
    assert ours < min(products, einsum)


def test_exact_blocks_beside_peers(tmp_path: Path, compare: Callable[..., None]) -> None:
    model, inputs = network_and_inputs()
    matrix = unit_fisher(model, inputs, LAYER).matrix

    def keep(name: str, ours: float, **fields: Any) -> None:
        compare(name="unit_fisher", what=WHAT, peer=TITLES[name], seconds=ours / len(matrix), **fields)

    if not os.environ.get(VARIABLE):
        (ours,) = best_times(lambda: unit_fisher(model, inputs, LAYER).matrix, rounds=PEER_ROUNDS)
        for name in TITLES:
            keep(name, ours, peer_seconds=None)
        pytest.skip(f"{VARIABLE} names no interpreter with the peers: no comparison with them")
    task = {"state": model.state_dict(), "inputs": inputs, "widths": WIDTHS, "threads": torch.get_num_threads()}
    torch.save(task, tmp_path / "task.pt")
    ours, seconds = float("inf"), {}
    with peers(tmp_path) as ask:
        versions = ask("versions")
        assert versions, f"{os.environ[VARIABLE]} has none of the peers"
        for _ in range(PEER_ROUNDS):
            for name in versions:
                seconds[name] = min(seconds.get(name, float("inf")), ask(name))
                ours = min(ours, *best_times(lambda: unit_fisher(model, inputs, LAYER).matrix, rounds=1))
    print(f"\n{task['threads']} threads; ours {1e3 * ours:.1f} ms for {len(matrix)} blocks")
    for name in TITLES.keys() - versions:
        keep(name, ours, peer_seconds=None)
    times_ours = {}
    for name, version in versions.items():
        blocks = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        difference = largest_difference(blocks, matrix)
        times_ours[name] = seconds[name] / len(blocks) / (ours / len(matrix))
        print(
            f"{name} {version}: {1e3 * seconds[name]:.0f} ms for {len(blocks)} blocks, {times_ours[name]:.0f} times"
            f" ours a block; largest difference {difference:.1e}"
        )
        keep(name, ours, peer_version=version, peer_seconds=seconds[name] / len(blocks), difference=difference)
        assert blocks.dtype == torch.float64
        assert difference <= AGREEMENT
        assert len(blocks) == len(matrix) or name == "curvlinops"
    assert min(times_ours.values()) >= FASTER
