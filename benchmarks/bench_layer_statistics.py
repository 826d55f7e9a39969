"""What it costs to observe a forward pass, in units of the bare one: `pytest benchmarks -o addopts= -s -k statistics`.

An ELU net of 20 layers of 512 units, batch 256, float32, on the process's threads. Beside it hooks as fastai's
`ActivationStats` has them, written out here: mean, standard deviation and share near zero by `.item()`, and a histogram
of 40 bins, of a layer as a whole and not of its units. The functions take turns and count their best round.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from benchmarks.interleaved_times import best_times
from elutheory.numerics.running_moments import FOLD_AFTER
from elutheory.statistics import observe_layers

DEPTH, WIDTH, BATCH = 20, 512, 256
LIMIT = 1.10
PASSES, ROUNDS = FOLD_AFTER, 12


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [layer for _ in range(DEPTH) for layer in (nn.Linear(WIDTH, WIDTH), nn.ELU())]
    return nn.Sequential(*layers)


@contextmanager
def summary_hooks(model: nn.Module) -> Iterator[list[Any]]:
    """Mean, standard deviation, share near zero and histogram of every activation module's output, a batch."""
    rows = []

    def hook(_module: nn.Module, _arguments: Any, output: torch.Tensor) -> None:
        values = output.detach().cpu()
        near_zero = (values <= 0.05).long().sum().item() / values.numel()
        rows.append((values.mean().item(), values.std().item(), near_zero, values.histc(40, 0, 10)))

    handles = [module.register_forward_hook(hook) for module in model.modules() if isinstance(module, nn.ELU)]
    yield rows
    for handle in handles:
        handle.remove()


def test_statistics_beside_the_bare_forward_pass(compare: Callable[..., None]) -> None:
    model, inputs = network(), torch.randn(BATCH, WIDTH)
    shared = {id(parameter): parameter for parameter in model.parameters()}
    moments, extremes, summary = (copy.deepcopy(model, dict(shared)) for _ in range(3))

    def passes(observed: nn.Module) -> Callable[[], None]:
        def run() -> None:
            with torch.no_grad():
                for _ in range(PASSES):
                    observed(inputs)

        return run

    with observe_layers(moments), observe_layers(extremes, extremes=True), summary_hooks(summary):
        bare, *times = best_times(*map(passes, (model, moments, extremes, summary)), rounds=ROUNDS)
    with_moments, with_extremes, with_peer = (time / bare for time in times)
    print(
        f"\nbare forward pass {1e3 * bare / PASSES:.2f} ms on {torch.get_num_threads()} threads; with counts, means and"
        f" variances x{with_moments:.3f}, with extremes too x{with_extremes:.3f}; fastai-style hooks x{with_peer:.3f}"
    )
    for peer, seconds in (("bare forward pass", bare), ("fastai-style hooks", times[-1])):
        compare(
            name="layer_statistics",
            what=f"forward pass with every unit's mean and variance: {DEPTH} layers of {WIDTH} units",
            peer=peer,
            is_floor=peer == "bare forward pass",
            seconds=times[0] / PASSES,
            peer_seconds=seconds / PASSES,
        )
    assert with_moments <= LIMIT
