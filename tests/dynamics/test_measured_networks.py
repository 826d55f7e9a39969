"""T1, T6: the kernel of torch models against brute force, and of many networks against the wide limit."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import elutheory as et
from elutheory.dynamics.measured_networks import inputs_at_once

LIMIT = 1e-12


def brute_force(model: nn.Module, inputs: Any, outputs: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Gradients by plain autograd, one output of one example at a time: (inputs, outputs, inputs, outputs), outputs."""
    trained = [p for p in model.parameters() if p.requires_grad]
    rows, values = [], []
    count = len(next(iter(inputs.values()))) if isinstance(inputs, dict) else len(inputs)
    for index in range(count):
        part = slice(index, index + 1)
        given = {k: v[part] for k, v in inputs.items()} if isinstance(inputs, dict) else inputs[part]
        returned = model(**given) if isinstance(given, dict) else model(given)
        found = (returned if outputs is None else returned[outputs]).flatten()
        values.append(found.detach().numpy())
        for number in range(len(found)):
            gradients = torch.autograd.grad(
                found[number], trained, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            rows.append(torch.cat([g.flatten() for g in gradients]).numpy())
    jacobian = np.stack(rows).reshape(count, len(found), -1)
    return np.einsum("icp,jdp->icjd", jacobian, jacobian), np.stack(values)


class Tied(nn.Module):
    """A weight used twice, a scale of its own, and a layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.unused = nn.Linear(6, 6), nn.Linear(6, 3), nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.tensor(1.3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = nn.functional.elu(self.first(x))
        h = torch.tanh(h @ self.first.weight) * self.scale
        return self.second(h)


class Keywords(nn.Module):
    """Called with keywords, returns two things."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def forward(self, pixels: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return pixels, self.layer(pixels) * weight[:, None]


def models() -> dict[str, tuple[nn.Module, Any]]:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    frozen = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3, bias=False))
    frozen[0].weight.requires_grad_(False)
    flat = torch.randn(7, 6, generator=generator, dtype=torch.float64)
    return {
        "linear": (nn.Sequential(nn.Linear(6, 9), nn.ELU(), nn.Linear(9, 4), nn.ELU(), nn.Linear(4, 3)), flat),
        "frozen weight, no bias": (frozen, flat),
        "layer norm, PReLU": (nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.PReLU(), nn.Linear(5, 2)), flat),
        "tied": (Tied(), flat),
        "one output without axis": (nn.Sequential(nn.Linear(6, 4), nn.ELU(), nn.Linear(4, 1), nn.Flatten(0)), flat),
        "convolution": (
            nn.Sequential(
                nn.Conv2d(2, 4, 3, groups=2, padding=1), nn.ELU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 2)
            ),
            torch.randn(5, 2, 4, 4, generator=generator, dtype=torch.float64),
        ),
        "sequence": (
            nn.Sequential(nn.Linear(3, 4), nn.ELU(), nn.Flatten(), nn.Linear(20, 2)),
            torch.randn(5, 5, 3, generator=generator, dtype=torch.float64),
        ),
        "batch normalisation in evaluation": (
            nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ELU(), nn.Linear(5, 2)).eval(),
            flat,
        ),
    }


CASES = [(name, False) for name in models()] + [(name, True) for name in ("linear", "tied", "convolution")]


@pytest.mark.parametrize(("name", "in_batches"), CASES)
def test_the_kernel_is_that_of_gradients_one_by_one(name: str, in_batches: bool) -> None:
    """In batches: of four inputs, so that a pair of batches is of gradients had twice."""
    model, inputs = models()[name]
    model = model.double()
    expected, outputs = brute_force(model, inputs)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    most_bytes = -(-4 * 2**28 // inputs_at_once(model, inputs)) if in_batches else 2**28
    assert inputs_at_once(model, inputs, most_bytes=most_bytes) == 4 or not in_batches
    blocks = outputs.shape[1] > 1
    kernel = et.empirical_training_kernel(model, inputs, most_bytes=most_bytes, blocks=blocks)
    mean = np.einsum("icjc->ij", expected) / outputs.shape[1]
    scale = np.abs(mean).max()
    assert np.abs(kernel.matrix.numpy() - mean).max() <= LIMIT * scale
    assert kernel.outputs.numpy() == pytest.approx(outputs, abs=1e-13)
    assert torch.equal(kernel.matrix, kernel.matrix.T)
    assert (kernel.blocks is not None) == blocks
    assert kernel.blocks is None or np.abs(kernel.blocks.numpy() - expected).max() <= LIMIT * scale
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_keywords_and_which_of_several_outputs() -> None:
    generator = torch.Generator().manual_seed(2)
    model = Keywords().double()
    inputs = {
        "pixels": torch.randn(4, 6, generator=generator, dtype=torch.float64),
        "weight": torch.rand(4, generator=generator, dtype=torch.float64),
    }
    expected, _ = brute_force(model, inputs, outputs=1)
    kernel = et.empirical_training_kernel(model, inputs, output=1, blocks=True)
    assert kernel.blocks is not None
    assert np.abs(kernel.blocks.numpy() - expected).max() <= LIMIT * np.abs(expected).max()


def networks(count: int, widths: tuple[int, ...], name: str, variance: float, inputs: torch.Tensor) -> np.ndarray:
    """Kernels of random networks (networks, inputs, inputs), ten outputs each."""
    found = []
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        layers: list[nn.Module] = []
        for fan_in, units in zip((inputs.shape[1], *widths), (*widths, 10), strict=True):
            linear = nn.Linear(fan_in, units, dtype=torch.float64)
            nn.init.normal_(linear.weight, 0.0, (variance / fan_in) ** 0.5, generator)
            nn.init.zeros_(linear.bias)
            layers += [linear, et.activation(name).torch_module()]
        found.append(et.empirical_training_kernel(nn.Sequential(*layers[:-1]), inputs).matrix.numpy())
    return np.stack(found)


@pytest.mark.parametrize(
    ("name", "variance", "widths", "count"),
    [
        ("elu", 1.55, (128, 128), 16),
        pytest.param("elu", 1.55, (1024,) * 3, 200, marks=pytest.mark.exhaustive),
        pytest.param("relu", 2.0, (1024,) * 3, 200, marks=pytest.mark.exhaustive),
    ],
)
def test_the_mean_over_networks_is_the_wide_limit(name: str, variance: float, widths: tuple, count: int) -> None:
    """Within four standard errors for every pair, and the squares of the deviations add up to what they should."""
    inputs = torch.randn(5, 20, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    gram = (inputs @ inputs.T / 20).numpy()
    theta = et.training_kernel(name, gram, depth=len(widths), width=widths, features=20, weight_variance=variance)
    kernels = networks(count, widths, name, variance, inputs)
    error = kernels.std(0, ddof=1) / np.sqrt(count)
    assert (np.abs(kernels.mean(0) - theta.matrix) <= 4 * error).all()
    relative = kernels.std(0) / theta.matrix.diagonal().mean()
    assert 0 < relative.max() ** 2 <= 10 * sum(1 / width for width in widths)  # T6: of the order of depth over width


def test_sizes_are_those_of_the_matrix() -> None:
    model, inputs = models()["linear"]
    kernel = et.empirical_training_kernel(model.double(), inputs)
    values = np.linalg.eigvalsh(kernel.matrix.numpy())
    assert kernel.trace == pytest.approx(values.sum())
    assert kernel.top_share == pytest.approx(values[-1] / values.sum())
    assert kernel.constant_share == pytest.approx(kernel.matrix.numpy().sum() / 7 / values.sum())


def test_bad_models_and_inputs_are_refused() -> None:
    inputs = torch.zeros(3, 6)
    with pytest.raises(et.InputError, match="nothing to train"):
        et.empirical_training_kernel(nn.Linear(6, 2).requires_grad_(False), inputs)
    with pytest.raises(et.InputError, match=r"call model.eval\(\)"):
        et.empirical_training_kernel(nn.Sequential(nn.Linear(6, 2), nn.Dropout()), inputs)
    with pytest.raises(et.InputError, match="most_bytes is 0"):
        et.empirical_training_kernel(nn.Linear(6, 2), inputs, most_bytes=0)
    with pytest.raises(et.InputError, match="at least one example"):
        et.empirical_training_kernel(nn.Linear(6, 2), inputs[:0])
    with pytest.raises(et.InputError, match=r"blocks are of outputs \(inputs, outputs\)"):
        et.empirical_training_kernel(nn.Linear(6, 2), torch.zeros(3, 4, 6), blocks=True)
