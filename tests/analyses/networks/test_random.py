"""Many random networks at once: every statistic against one network at a time, by torch.nn, autograd and loops."""

from itertools import combinations, pairwise
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn

from analyses.networks.random import (
    STATISTICS,
    Architecture,
    Start,
    layer_statistics,
    measure_networks,
    seed_groups,
    standard_normals,
    top_fisher_share,
)
from elutheory.activations import activation
from elutheory.errors import InputError
from elutheory.gram import bias_shift_strength
from elutheory.propagation import Initialisation

EXAMPLES, FEATURES, DAMPING, MEMORY = 7, 5, 0.02, 1e9
STARTS = {
    "elu": Start(activation("elu"), Initialisation("own", 1.6, 0.05)),
    "relu": Start(activation("relu"), Initialisation("own", 2.0, 0.0)),
    "tanh": Start(activation("tanh"), Initialisation("own", 1.5, 0.1)),
}
MODULES: dict[str, type[nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": nn.Tanh}


def inputs(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(EXAMPLES, FEATURES, generator=torch.Generator().manual_seed(3), dtype=dtype)


class Network(nn.Module):
    """One network, layer by layer; `nets` and `incoming` keep what the layers produced and received."""

    def __init__(self, name: str, architecture: Architecture, seed: int) -> None:
        super().__init__()
        start, self.architecture = STARTS[name].initialisation, architecture
        widths = [FEATURES, *[architecture.width] * architecture.depth]
        self.layers = nn.ModuleList(nn.Linear(*sizes, dtype=torch.float64) for sizes in pairwise(widths))
        self.f = MODULES[name]()
        for index, layer in enumerate(self.layers):
            normals = standard_normals(seed, index + 1, (widths[index] + 1, architecture.width)).double()
            with torch.no_grad():
                layer.weight.copy_((start.weight_variance / widths[index]) ** 0.5 * normals[:-1].T)
                layer.bias.copy_(start.bias_variance**0.5 * normals[-1])
        depth, width = architecture.depth, architecture.width
        self.read_out = standard_normals(seed, depth + 1, (1, width)).double()[0] / width**0.5
        self.nets: list[Tensor] = []
        self.activations: list[Tensor] = []

    def forward(self, values: Tensor) -> Tensor:
        stream: Any = 0.0
        for index, layer in enumerate(self.layers):
            stream = layer(values) + (stream if self.architecture.residual and index else 0.0)
            self.nets.append(stream)
            values = stream
            if self.architecture.batch_norm:
                norm = nn.BatchNorm1d(self.architecture.width, eps=1e-14, affine=False, dtype=torch.float64).train()
                values = norm(values)
            values = self.f(values)
            self.activations.append(values)
        return values @ self.read_out


def plain_statistics(network: Network, seed: int) -> list[dict[str, float]]:
    """By loops over units and pairs of inputs, autograd, and dense Fisher matrices."""
    outputs = network(inputs())
    if network.architecture.batch_norm:
        outputs = outputs * standard_normals(seed, network.architecture.depth + 2, (EXAMPLES, 1)).double()[:, 0]
    deltas = torch.autograd.grad(outputs.sum(), network.nets, retain_graph=True)
    rows = []
    for index, layer in enumerate(network.layers):
        net, values = network.nets[index].detach().numpy(), network.activations[index].detach().numpy()
        means = [numpy.mean(values[:, unit]) for unit in range(values.shape[1])]
        pairs = [numpy.mean(net[i] * net[j]) for i, j in combinations(range(EXAMPLES), 2)]
        damping = DAMPING * numpy.mean(values**2)
        value = bias_shift_strength(values @ values.T, damping).value
        rows.append(
            {
                "mean": float(numpy.mean(values)),
                "unit_mean_median": float(numpy.median(means)),
                "unit_mean_std": float(numpy.std(means, ddof=1)),
                "q": float(numpy.mean(net**2)),
                "c": float(numpy.mean(pairs)),
                "mean_share": float(numpy.mean(numpy.square(means)) / numpy.mean(values**2)),
                "gradient_variance": float((deltas[index] ** 2).mean() / (deltas[-1] ** 2).mean()),
                "top_fisher_share": numpy.nan if network.architecture.batch_norm else dense_share(outputs, layer),
                "bias_shift_strength": 1 / (1 - value) - 1,
            }
        )
    return rows


def dense_share(outputs: Tensor, layer: Any) -> float:
    scores = []
    for output in outputs:
        weight, bias = torch.autograd.grad(output, (layer.weight, layer.bias), retain_graph=True)
        scores.append(torch.cat([weight.reshape(-1), bias]))
    fisher = torch.stack(scores).T @ torch.stack(scores) / EXAMPLES
    return float(torch.linalg.eigvalsh(fisher)[-1] / fisher.trace())


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(6, 3),
        Architecture(9, 2),
        Architecture(6, 3, residual=True),
        Architecture(6, 3, batch_norm=True),
        Architecture(6, 3, batch_norm=True, residual=True),
    ],
)
def test_stacked_networks_are_the_lone_ones(architecture: Architecture) -> None:
    seeds = (0, 1, 5)
    found = measure_networks(STARTS, architecture, inputs(), seeds, damping=DAMPING, memory=MEMORY)
    for name in STARTS:
        for place, seed in enumerate(seeds):
            expected = plain_statistics(Network(name, architecture, seed), seed)
            for statistic in STATISTICS:
                numpy.testing.assert_allclose(
                    found[name][statistic][place],
                    [row[statistic] for row in expected],
                    rtol=1e-9,
                    atol=1e-13,
                    err_msg=f"{name} {statistic}",
                )


def test_results_do_not_depend_on_the_groups_and_hardly_on_the_precision() -> None:
    architecture, seeds = Architecture(8, 4), range(5)
    together = measure_networks(STARTS, architecture, inputs(), seeds, damping=DAMPING, memory=MEMORY)
    one = next(size for size in (2.0**k for k in range(10, 40)) if _fits(architecture, size))
    assert len(seed_groups(len(STARTS), architecture, inputs(), seeds, one)) > 1
    apart = measure_networks(STARTS, architecture, inputs(), seeds, damping=DAMPING, memory=one)
    single = measure_networks(STARTS, architecture, inputs(torch.float32), seeds, damping=DAMPING, memory=MEMORY)
    narrow = inputs(torch.float32).double()
    double = measure_networks(STARTS, architecture, narrow, seeds, damping=DAMPING, memory=MEMORY)
    for name in STARTS:
        for statistic in STATISTICS:
            numpy.testing.assert_allclose(together[name][statistic], apart[name][statistic], rtol=1e-10)
            numpy.testing.assert_allclose(single[name][statistic], double[name][statistic], rtol=1e-3, atol=1e-5)


def _fits(architecture: Architecture, memory: float) -> bool:
    try:
        seed_groups(len(STARTS), architecture, inputs(), [0], memory)
    except InputError:
        return False
    return True


def test_seeds_and_layers_have_numbers_of_their_own() -> None:
    drawn = [standard_normals(seed, layer, (50,)) for seed in range(3) for layer in range(3)]
    assert all(not torch.equal(a, b) for a, b in combinations(drawn, 2))
    assert torch.equal(standard_normals(2, 2, (50,)), drawn[-1])


def test_both_sides_of_the_bias_shift_agree() -> None:
    # one unit more or fewer than inputs changes the matrix that is solved, hardly the number
    net = torch.randn(2, 9, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
    silent = torch.cat([net, torch.zeros(2, 9, 1, dtype=torch.float64)], dim=2)
    few = layer_statistics(net, net, 0.1)["bias_shift_strength"]
    # a silent unit: the mean second moment is 8/9 of what it was
    many = layer_statistics(silent, silent, 0.1 * 9 / 8)["bias_shift_strength"]
    torch.testing.assert_close(few, many, rtol=1e-10, atol=0.0)


def test_one_input_alone_has_the_whole_fisher_matrix() -> None:
    ones = torch.ones(3, 1, 4)
    torch.testing.assert_close(top_fisher_share(ones, ones), torch.ones(3, dtype=torch.float64))


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"one seed's networks of width 4096 and depth 50 take .* GB and 0.1 GB"):
        measure_networks(STARTS, Architecture(4096, 50), inputs(), [0], damping=DAMPING, memory=1e8)
    growing = {"identity": Start(activation("identity"), Initialisation("own", 1e12, 0.0))}
    with pytest.raises(InputError, match=r"identity networks of depth 9 leave the range of torch.float32"):
        measure_networks(growing, Architecture(4, 9), inputs(torch.float32), [0], damping=DAMPING, memory=MEMORY)
