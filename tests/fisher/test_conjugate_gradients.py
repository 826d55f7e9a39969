"""Conjugate gradients beside a dense solve, and the optimizer's steps by both ways."""

import pytest
import torch
from torch import Tensor, nn

from elutheory.fisher import UnitNaturalGradient
from elutheory.fisher.training import running_fisher
from elutheory.fisher.training.conjugate_gradients import conjugate_gradients


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-10), (torch.float32, 3e-3)])
@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
def test_conjugate_gradients_solve_as_cholesky_does(dtype: torch.dtype, close: float, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(5, 40, 60, generator=generator, dtype=torch.float64) + 1.0
    vectors[1] *= 1e-3
    vectors[2] = 0.0  # a dead unit's
    matrix = (vectors @ vectors.mT + torch.tensor([1.0, 1e-6, 1.0, 1e-2, 30.0])[:, None, None] * torch.eye(40)).to(
        dtype
    )
    right = (scale * torch.randn(5, 40, generator=generator, dtype=torch.float64)).to(dtype)
    right[3] = 0.0
    found = conjugate_gradients(lambda some: torch.bmm(some[:, None], matrix)[:, 0], right, 200)
    assert found is not None
    wanted = torch.linalg.solve(matrix.double(), right.double())
    assert ((found - wanted).norm(dim=1) <= close * wanted.norm(dim=1)).all()
    assert conjugate_gradients(lambda some: torch.bmm(some[:, None], matrix)[:, 0], right, 3) is None


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_have_no_solution(broken: float) -> None:
    right = torch.tensor([[1.0, broken], [1.0, 2.0]])
    assert conjugate_gradients(lambda some: 2 * some, right, 10) is None


def steps(activation: nn.Module, bias: bool, damping: float) -> list[Tensor]:
    torch.manual_seed(0)
    layers = nn.Linear(300, 6, bias=bias), activation, nn.Linear(6, 3)
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        model[0].weight[2] = 0.0  # a unit whose weights are zero, dead where ReLUs have no bias
    optimizer = UnitNaturalGradient(model, lr=0.3, kind="exact", damping=damping)
    for _ in range(3):
        optimizer.zero_grad()
        inputs, targets = torch.rand(150, 300, dtype=torch.float64), torch.randint(3, (150,))
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("damping", [1e-2, 1e-9])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [nn.ELU(), nn.ReLU()])
def test_many_vectors_are_solved_by_conjugate_gradients_as_by_cholesky(
    activation: nn.Module, bias: bool, damping: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, calls = steps(activation, bias, damping), []

    def noted(*arguments: object) -> Tensor | None:
        calls.append(conjugate_gradients(*arguments))  # pyright: ignore[reportArgumentType]
        return calls[-1]

    monkeypatch.setattr(running_fisher, "conjugate_gradients", noted)
    again = steps(activation, bias, damping)
    assert len(calls) == 3
    assert all(call is not None for call in calls)
    monkeypatch.setattr(running_fisher, "_ITERATED", 10**9)
    wanted = steps(activation, bias, damping)
    assert len(calls) == 3
    for one, other, third in zip(found, again, wanted, strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, third, rtol=1e-9, atol=1e-11)


def test_vectors_that_conjugate_gradients_do_not_solve_are_factorised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_fisher, "conjugate_gradients", lambda *_: None)
    found = steps(nn.ELU(), True, 1e-2)
    monkeypatch.setattr(running_fisher, "_ITERATED", 10**9)
    assert all(torch.equal(one, other) for one, other in zip(found, steps(nn.ELU(), True, 1e-2), strict=True))
