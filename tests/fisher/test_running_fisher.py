"""Running means of wide layers as vectors, and factorisations that are kept, beside matrices formed plainly."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from elutheory.fisher import UnitNaturalGradient, unit_fisher
from elutheory.fisher.training import running_fisher

D = torch.float64
DAMPING, DECAY = 0.03, 0.7


class Sequences(nn.Module):
    """Weights shared over positions, in groups or not, summed before a head."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.functional.elu(self.layer(x))
        return self.head(hidden.mean(1) if isinstance(self.layer, nn.Linear) else hidden.flatten(2).mean(2))


def dead_unit() -> nn.Module:
    layer = nn.Linear(30, 6)
    nn.init.constant_(layer.bias[2:3], -1e3)
    return nn.Sequential(layer, nn.ReLU(), nn.Linear(6, 3))


WIDE: dict[str, tuple[Callable[[], nn.Module], str, tuple[int, ...], str]] = {
    "linear": (lambda: nn.Sequential(nn.Linear(30, 6), nn.ELU(), nn.Linear(6, 3)), "0", (30,), "exact"),
    "no bias": (lambda: nn.Sequential(nn.Linear(30, 6, bias=False), nn.ELU(), nn.Linear(6, 3)), "0", (30,), "exact"),
    "dead unit": (dead_unit, "0", (30,), "exact"),
    "convolution": (lambda: Sequences(nn.Conv1d(60, 6, 1)), "layer", (60, 2), "exact"),
    "groups": (lambda: Sequences(nn.Conv1d(60, 6, 1, groups=2)), "layer", (60, 2), "positionwise"),
    "sequences": (lambda: Sequences(nn.Linear(60, 6)), "layer", (4, 60), "exact"),
    "sequences, no bias": (lambda: Sequences(nn.Linear(60, 6, bias=False)), "layer", (4, 60), "exact"),
    "positionwise": (lambda: Sequences(nn.Linear(60, 6)), "layer", (4, 60), "positionwise"),
}


def batches(shape: tuple[int, ...], count: int = 4, examples: int = 5) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    return [
        (torch.rand(examples, *shape, generator=generator, dtype=D), torch.randint(3, (examples,), generator=generator))
        for _ in range(count)
    ]


def rows(layer: Any, tensors: Callable[[Any], Tensor]) -> Tensor:
    parts = [] if layer.bias is None else [tensors(layer.bias)[:, None]]
    return torch.cat([*parts, tensors(layer.weight).flatten(1)], dim=1)


@pytest.mark.parametrize(
    ("window", "damping", "parts"),
    [
        *((1, DAMPING, 1), (1, 0.0, 2), (2, DAMPING, 2), (2, 0.0, 1)),  # every two of the options' values meet
        *(
            pytest.param(*options, marks=pytest.mark.exhaustive)
            for options in ((1, DAMPING, 2), (1, 0.0, 1), (2, DAMPING, 1), (2, 0.0, 2))
        ),
    ],
)
@pytest.mark.parametrize("name", WIDE)
def test_a_wide_layers_step_is_that_of_its_last_updates(name: str, window: int, damping: float, parts: int) -> None:
    """(F + λI)⁻¹ g, or F⁺ g, with F = Σ decay^age F_age / Σ decay^age over the window; gradients accumulated or not."""
    make, layer, shape, sharing = WIDE[name]
    torch.manual_seed(0)
    model = make().to(D)
    module: Any = model.get_submodule(layer)
    options: dict[str, Any] = {"weight_sharing": sharing, "damping": damping, "decay": DECAY, "window": window}
    rate = 0.02 if damping else 1e-6  # undamped, a larger step leaves the range of what is well conditioned
    optimizer = UnitNaturalGradient(model, rate, kind="exact", max_kl=None, **options)
    matrices: list[Tensor] = []
    for inputs, targets in batches(shape):
        found = unit_fisher(model, inputs, layer, weight_sharing=sharing)
        matrices = [found.matrix, *matrices][:window]
        mean = sum(DECAY**age * matrix for age, matrix in enumerate(matrices)) / sum(
            DECAY**age for age in range(len(matrices))
        )
        optimizer.zero_grad()
        for part in range(parts):
            some = slice(part, None, parts)
            (cross_entropy(model(inputs[some]), targets[some], reduction="sum") / len(inputs)).backward()
        before, gradient = rows(module, torch.Tensor.detach), rows(module, lambda tensor: tensor.grad)
        size = mean.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
        damped = mean + damping * size * torch.eye(mean.shape[-1], dtype=D)
        step = torch.linalg.pinv(damped, hermitian=True, rtol=1e-10) @ gradient[:, :, None]
        optimizer.step()
        torch.testing.assert_close(optimizer.fisher(layer), mean, rtol=1e-12, atol=1e-14)
        moved = before - rows(module, torch.Tensor.detach)
        torch.testing.assert_close(moved, rate * step[:, :, 0], rtol=1e-7, atol=1e-8 * moved.abs().max().item())
    assert "fisher" not in optimizer.state[module.weight]


def test_without_a_window_wide_layers_forget_nothing() -> None:
    """Nor do those that are not wide."""
    torch.manual_seed(0)
    make, layer, shape, _ = WIDE["linear"]
    model = make().to(D)
    optimizer = UnitNaturalGradient(model, 0.0, kind="exact", decay=DECAY, window=None, max_kl=None)
    for inputs, targets in batches(shape):
        cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    matrices = [unit_fisher(model, inputs, layer).matrix for inputs, _ in batches(shape)]
    shares = [DECAY ** (3 - index) for index in range(4)]
    expected = sum(share * matrix for share, matrix in zip(shares, matrices, strict=True)) / sum(shares)
    torch.testing.assert_close(optimizer.fisher(layer), expected)


def test_vectors_become_matrices_when_an_update_has_more_of_them() -> None:
    torch.manual_seed(0)
    make, layer, shape, _ = WIDE["linear"]
    model = make().to(D)
    optimizer = UnitNaturalGradient(model, 0.0, kind="exact", decay=DECAY, max_kl=None)
    data = [batches(shape, 1, examples)[0] for examples in (5, 40, 6)]
    for inputs, targets in data:
        cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    shares = [DECAY**2, DECAY, 1.0]
    matrices = [unit_fisher(model, inputs, layer).matrix for inputs, _ in data]
    expected = sum(share * matrix for share, matrix in zip(shares, matrices, strict=True)) / sum(shares)
    torch.testing.assert_close(optimizer.fisher(layer), expected)


def test_the_memory_of_vectors_is_counted() -> None:
    """Five vectors of 31 coordinates that six units share, and their squares; as a matrix six of 31²."""
    make, _, shape, _ = WIDE["linear"]
    for needed, options in ((8 * 5 * 37, {}), (8 * (5 * 37 + 6 * 25), {"update_interval": 2})):
        for missing in (0, 1):
            model, (inputs, targets) = make().to(D), batches(shape)[0]
            optimizer = UnitNaturalGradient(model, kind="exact", max_bytes=needed - missing, **options)
            cross_entropy(model(inputs), targets).backward()
            if missing:
                with pytest.warns(UserWarning, match=f"needs {needed:,} bytes for its 5 vectors a unit; max_bytes is"):
                    optimizer.step()
            else:
                optimizer.step()
            assert ("0.weight" in optimizer.uncovered) == bool(missing)


@pytest.mark.parametrize("damping", [DAMPING, 0.0])
def test_an_interval_factorises_at_its_updates_alone(damping: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """And takes the steps of one that factorises anew at every step; so does a wide layer."""
    counted: list[str] = []
    for name in ("cholesky", "spectral"):
        own = getattr(running_fisher, name)
        monkeypatch.setattr(running_fisher, name, lambda *a, own=own, name=name: counted.append(name) or own(*a))
    found = []
    for forgetful in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(30, 6), nn.ELU(), nn.Linear(6, 3)).to(D)
        optimizer = UnitNaturalGradient(model, 0.01, kind="exact", damping=damping, update_interval=3, max_kl=None)
        for inputs, targets in batches((30,), 7, 20):
            optimizer.zero_grad()
            cross_entropy(model(inputs), targets).backward()
            if forgetful:
                optimizer._inverses.clear()
            optimizer.step()
        found.append([parameter.detach() for parameter in model.parameters()])
        assert len(counted) == 2 * (7 if forgetful else 3)
        counted.clear()
    for pair in zip(*found, strict=True):
        torch.testing.assert_close(*pair, rtol=1e-9, atol=1e-9)


def test_a_damping_changed_between_updates_counts_from_the_next_step_on() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 6), nn.ELU(), nn.Linear(6, 3)).to(D)
    optimizer = UnitNaturalGradient(model, 0.01, kind="exact", update_interval=9, max_kl=None, relative=False)
    inputs, targets = batches((30,))[0]
    for damping in (1e-2, 10.0):
        optimizer.param_groups[0]["damping"] = damping
        optimizer.zero_grad()
        cross_entropy(model(inputs), targets).backward()
        damped = optimizer.fisher("0") if damping == 10.0 else torch.zeros(6, 31, 31, dtype=D)
        damped = damped + damping * torch.eye(31, dtype=D)
        before, gradient = rows(model[0], torch.Tensor.detach), rows(model[0], lambda tensor: tensor.grad)
        optimizer.step()
    expected = before - 0.01 * torch.linalg.solve(damped, gradient)
    torch.testing.assert_close(rows(model[0], torch.Tensor.detach), expected)
