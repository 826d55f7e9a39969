"""Approximations of wide layers' unit Fisher matrices, and their errors, against the matrices themselves."""

from typing import Any

import pytest
import torch
from torch import nn

import elutheory as et
from elutheory.errors import InputError
from elutheory.fisher.wide_layers import ProjectedUnitFisher, SharedUnitFisher


def model(*modules: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(modules or (nn.Linear(6, 5), nn.ELU(), nn.Linear(5, 3)))).double().eval()


X = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.5
CASES: dict[str, tuple[tuple[nn.Module, ...], torch.Tensor]] = {
    "with a bias": ((nn.Linear(6, 5), nn.ELU(), nn.Linear(5, 3)), X),
    "without": ((nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 3)), X),
    "convolution": ((nn.Conv1d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)), X[:, None]),
}


def both(case: str, approximation: str, **options: Any) -> tuple[Any, et.UnitFisher]:
    modules, inputs = CASES[case]
    made = model(*modules)
    found = et.approximate_unit_fisher(made, inputs, "0", approximation, batch_size=17, **options)  # pyright: ignore
    return found, et.unit_fisher(made, inputs, layer="0", weight_sharing="positionwise")


@pytest.mark.parametrize("case", CASES)
def test_the_error_of_the_shared_matrix_is_measured(case: str) -> None:
    found, exact = both(case, "shared")
    assert isinstance(found, SharedUnitFisher)
    difference = exact.matrix - torch.stack([found.matrix_of(unit) for unit in range(exact.shape[0])])
    expected = difference.flatten(1).norm(dim=1) / exact.matrix.flatten(1).norm(dim=1)
    torch.testing.assert_close(found.errors, expected, rtol=1e-9, atol=1e-12)
    gradient = torch.randn(exact.shape, dtype=torch.float64)
    step = found.natural_gradient(gradient, damping=0.1)
    for unit in range(exact.shape[0]):
        matrix = found.matrix_of(unit)
        damped = matrix + 0.1 * matrix.diagonal().mean() * torch.eye(len(matrix), dtype=torch.float64)
        torch.testing.assert_close(step[unit], torch.linalg.solve(damped, gradient[unit]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rank", [1, 2, 6])
def test_the_bound_of_projected_matrices_holds(case: str, rank: int) -> None:
    found, exact = both(case, "projected", rank=rank)
    assert isinstance(found, ProjectedUnitFisher)
    bias = int(found.has_bias)
    lift = torch.block_diag(torch.eye(bias, dtype=torch.float64), found.basis) if bias else found.basis
    projected = lift @ found.matrices @ lift.T
    projector = lift @ lift.T
    torch.testing.assert_close(projected, projector @ exact.matrix @ projector, rtol=1e-9, atol=1e-12)
    error = (exact.matrix - projected).flatten(1).norm(dim=1) / exact.matrix.diagonal(dim1=1, dim2=2).sum(1)
    assert (error <= found.bounds + 1e-7).all()
    gradient = torch.randn(exact.shape, dtype=torch.float64)
    step = found.natural_gradient(gradient, damping=0.1)
    for unit in range(exact.shape[0]):
        shift = 0.1 * exact.matrix[unit].diagonal().mean() * torch.eye(exact.shape[1], dtype=torch.float64)
        expected = torch.linalg.solve(projected[unit] + shift, gradient[unit])
        torch.testing.assert_close(step[unit], expected, rtol=1e-7, atol=1e-10)
    if rank >= found.basis.shape[0]:
        assert float(found.bounds.max()) < 1e-6


def test_dead_units_have_no_step() -> None:
    made = model(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    with torch.no_grad():
        made[0].bias[0] = -100.0
    for approximation in ("shared", "projected"):
        found = et.approximate_unit_fisher(made, X, "0", approximation, rank=3)
        step = found.natural_gradient(torch.ones(5, 7, dtype=torch.float64), damping=0.1)
        assert (step[0] == 0).all()
        assert step[1:].isfinite().all()


def test_bad_input_is_refused() -> None:
    made = model()
    for arguments, sentence in [
        ((made, X, "0", "other"), "approximation is 'other'; 'shared' and 'projected' are known"),
        ((made, iter([X]), "0", "projected"), "the data are an iterator, and are read twice"),
        ((made, X, "9", "shared"), "the model has no layer '9'"),
        ((model(nn.Conv1d(6, 6, 1, groups=2), nn.Flatten()), X[..., None], "0", "shared"), "has groups or words"),
    ]:
        with pytest.raises(InputError, match=sentence):
            et.approximate_unit_fisher(*arguments)
    found = et.approximate_unit_fisher(made, X, "0", "projected", rank=2)
    with pytest.raises(InputError, match=r"has shape \(2, 2\); \(5, 7\) is needed"):
        found.natural_gradient(torch.ones(2, 2), 0.1)
    with pytest.raises(InputError, match="damping is 0"):
        found.natural_gradient(torch.ones(5, 7), 0.0)


@pytest.mark.exhaustive  # a minute: 4,096 units of fan-in 4,096
def test_a_layer_of_4096_units_fits() -> None:
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 3)).eval()
    found = et.approximate_unit_fisher(wide, torch.randn(64, 4096), "0", "shared", batch_size=32)
    assert found.natural_gradient(torch.ones(4096, 4097), 1e-2).isfinite().all()
