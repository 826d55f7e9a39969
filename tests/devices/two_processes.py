"""What two processes of a `torch.distributed` group compute together: Fisher matrices and statistics, all-reduced."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, distributed, nn

from elutheory.errors import InputError
from elutheory.fisher import LayerScores, UnitFisher
from elutheory.statistics import layer_statistics


def random_scores(
    examples: int = 50, fan_in: int = 6, units: int = 3, columns: int = 4, positions: int = 1
) -> LayerScores:
    """Scores of one layer over so many examples."""
    generator = torch.Generator().manual_seed(0)
    deltas = torch.randn(columns, examples, positions, units, generator=generator, dtype=torch.float64)
    incoming = 1 + torch.randn(examples, 1, positions, fan_in, generator=generator, dtype=torch.float64)
    return LayerScores(incoming, deltas)


def split(scores: LayerScores, place: int) -> list[LayerScores]:
    """The examples before `place`, and the others."""
    pieces = zip(scores.incoming.tensor_split([place]), scores.deltas.tensor_split([place], dim=1), strict=True)
    return [replace(scores, incoming=incoming, deltas=deltas) for incoming, deltas in pieces]


def scores_of_both() -> dict[str, list[LayerScores]]:
    """For every case the scores that the first and the second process have."""
    far = random_scores(60)
    return {
        "matrix": split(random_scores(60, 10), 13),
        "factors": split(random_scores(9, 20), 3),
        "factors to matrix": split(random_scores(30, 20), 15),
        "one of each form": split(random_scores(60, 20), 3),
        "far from the origin": split(replace(far, incoming=far.incoming + 2.0**20), 20),
        "positions": split(random_scores(9, 20, positions=3), 3),
    }


def network() -> nn.Module:
    """A small perceptron in float64."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 6), nn.ELU(), nn.Linear(6, 5), nn.ReLU(inplace=True)).double()


def inputs() -> Tensor:
    """90 examples, of which the first process has 30."""
    return torch.randn(90, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def reduce_in_process(rank: int, folder: str) -> None:
    """Writes what this process has after the reductions, and the refusals it met, into `folder`."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    reduced = {}
    for name, parts in scores_of_both().items():
        fisher = UnitFisher.from_scores(parts[rank]).all_reduce()
        means = fisher.mean_under_p, fisher.mean_under_q
        reduced[name] = [fisher.matrix, fisher.complement_of(slice(None)), *means, fisher.examples, fisher.form]
    part = inputs()[:30] if rank == 0 else inputs()[30:]
    layer_statistics(network(), part, quantiles=(0.5,)).all_reduce().save(f"{folder}/{rank}.safetensors")
    try:
        UnitFisher.from_scores(random_scores(units=3 + rank)).all_reduce()
    except InputError as error:
        reduced["refusal"] = str(error)
    try:
        layer_statistics(network(), part, extremes=rank == 0).all_reduce()
    except InputError as error:
        Path(f"{folder}/{rank}.txt").write_text(str(error))
    torch.save(reduced, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()
