"""Exact unit Fisher blocks by other packages: a process for an environment of their own, see bench_fisher_peers.py.

Reads `task.pt` from the folder given: a model's state, inputs, widths, threads. Then answers each line of standard
input: a peer's name with its seconds, after saving its blocks (units, 1 + fan_in, 1 + fan_in; index 0 the bias) as
`<name>.pt`; `versions` with the peers that are installed.
"""

import importlib.metadata
import json
import sys
import time
import warnings
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

LAYER = 2
DISTRIBUTIONS = {
    "asdl": "asdfghjkl",
    "backpack": "backpack-for-pytorch",
    "nngeometry": "nngeometry",
    "curvlinops": "curvlinops-for-pytorch",
}
CURVLINOPS_UNITS = 2
"""curvlinops multiplies by the whole layer's matrix, a unit's columns after the other's: for so many units only."""


def blocks_of_columns(columns: Tensor) -> Tensor:
    """Σ s sᵀ of every unit, of (columns, units, coordinates): a matrix product a unit, faster here than one einsum."""
    return torch.stack([unit.T @ unit for unit in columns.unbind(1)])


def asdl(model: nn.Sequential, inputs: Tensor) -> Tensor:
    """Its own unit-wise Fisher matrix, of the one layer alone; its bias coordinate is the last."""
    from asdl import FISHER_EXACT, LOSS_CROSS_ENTROPY, SHAPE_UNIT_WISE, FisherConfig, get_fisher_maker

    others = [module for module in model if module is not model[LAYER]]
    maker = get_fisher_maker(
        model,
        FisherConfig(
            fisher_type=FISHER_EXACT,
            loss_type=LOSS_CROSS_ENTROPY,
            fisher_shapes=[SHAPE_UNIT_WISE],
            data_size=len(inputs),
            ignore_modules=others,
        ),
    )
    maker.setup_model_call(model, inputs)
    maker.forward_and_backward()
    return model[LAYER].fisher.unit.data.roll((1, 1), (1, 2))


def backpack(model: nn.Sequential, inputs: Tensor) -> Tensor:
    """From its root (classes, examples, *parameter) of the one layer's generalised Gauss-Newton matrix."""
    from backpack import backpack, extend
    from backpack.extensions import SqrtGGNExact

    for module in model:
        module.requires_grad_(module is model[LAYER])
    extend(model)
    loss = extend(nn.CrossEntropyLoss())
    labels = torch.zeros(len(inputs), dtype=torch.long)  # of no effect on the root
    with backpack(SqrtGGNExact()):
        loss(model(inputs), labels).backward()
    weight, bias = model[LAYER].weight.sqrt_ggn_exact, model[LAYER].bias.sqrt_ggn_exact
    return blocks_of_columns(torch.cat([bias[..., None], weight], -1).flatten(0, 1))


def nngeometry(model: nn.Sequential, inputs: Tensor) -> Tensor:
    """From its low-rank Fisher matrix of the one layer: classes − 1 columns an example, weights before biases."""
    from nngeometry.layercollection import LayerCollection
    from nngeometry.metrics import FIM
    from nngeometry.object import PMatLowRank
    from torch.utils.data import DataLoader, TensorDataset

    layer = LayerCollection()
    layer.add_layer_from_model(model, model[LAYER])
    loader = DataLoader(TensorDataset(inputs), batch_size=len(inputs))
    columns = FIM(model, loader, PMatLowRank, layer_collection=layer).data.flatten(0, -2)
    units, fan_in = model[LAYER].weight.shape
    weight, bias = columns[:, : units * fan_in].unflatten(1, (units, fan_in)), columns[:, units * fan_in :, None]
    return blocks_of_columns(torch.cat([bias, weight], -1))


def curvlinops(model: nn.Sequential, inputs: Tensor) -> Tensor:
    """The layer's Gauss-Newton operator, times the unit vectors of one unit after the other; the first units only."""
    from curvlinops import GGNLinearOperator

    bias, weight = model[LAYER].bias, model[LAYER].weight
    units, fan_in = weight.shape
    labels = torch.zeros(len(inputs), dtype=torch.long)  # of no effect on the matrix
    operator = GGNLinearOperator(
        model, nn.CrossEntropyLoss(), [bias, weight], [(inputs, labels)], check_deterministic=False
    )
    blocks = []
    for unit in range(CURVLINOPS_UNITS):
        coordinates = torch.cat([torch.tensor([unit]), units + unit * fan_in + torch.arange(fan_in)])
        columns = torch.zeros(units * (fan_in + 1), fan_in + 1)
        columns[coordinates, torch.arange(fan_in + 1)] = 1.0
        blocks.append((operator @ columns)[coordinates])
    return torch.stack(blocks).detach()


PEERS = {"asdl": asdl, "backpack": backpack, "nngeometry": nngeometry, "curvlinops": curvlinops}


def installed() -> dict[str, str]:
    """Versions by the peer's name."""
    versions = {}
    for name, distribution in DISTRIBUTIONS.items():
        try:
            versions[name] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    torch.set_default_dtype(torch.float64)  # nngeometry mixes in tensors of the default dtype
    task = torch.load(folder / "task.pt", weights_only=True)
    torch.set_num_threads(task["threads"])
    for line in sys.stdin:
        name = line.strip()
        if name == "versions":
            print(json.dumps(installed()), flush=True)
            continue
        layers: list[nn.Module] = []  # a model a round: two of the peers leave their hooks in it
        for fan_in, units in pairwise(task["widths"]):
            layers += [nn.Linear(fan_in, units), nn.ELU()]
        model = nn.Sequential(*layers[:-1])
        model.load_state_dict(task["state"])
        start = time.perf_counter()
        blocks = PEERS[name](model, task["inputs"])
        seconds = time.perf_counter() - start
        torch.save(blocks.contiguous(), folder / f"{name}.pt")
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
