"""How much of the tangent kernel of a user's model one direction takes, against Jacobians by plain autograd."""

import numpy as np
import pytest
import torch
from torch import nn

import elutheory as et
from elutheory.diagnosis import training_kernel_shares
from elutheory.diagnosis.training_kernel_shares import EXAMPLES


def data(examples: int) -> torch.Tensor:
    return torch.randn(examples, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.5


def model_of(outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, outputs)).double()


@pytest.mark.parametrize("examples", [20, 200])
def test_shares_of_the_training_kernel(examples: int) -> None:
    model, inputs = model_of(), data(examples)
    report = et.diagnose(model, inputs, units=2, seed=3)
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(3))[:EXAMPLES]
    rows = []
    for x in inputs[order]:
        for output in model(x[None])[0]:
            gradients = torch.autograd.grad(output, tuple(model.parameters()), retain_graph=True)
            rows.append(torch.cat([g.flatten() for g in gradients]))
    jacobian = torch.stack(rows).reshape(len(order), -1).numpy()
    kernel = jacobian @ jacobian.T
    assert report.kernel_examples == len(order)
    assert report.kernel_top_share == pytest.approx(np.linalg.eigvalsh(kernel)[-1] / np.trace(kernel), rel=1e-10)
    assert report.kernel_constant_share == pytest.approx(kernel.sum() / len(order) / np.trace(kernel), rel=1e-10)
    assert f"Tangent kernel over {len(order)} examples: the top eigenvector takes" in report.to_text()
    assert et.Diagnosis.from_json(report.to_json()).kernel_top_share == report.kernel_top_share


class Positions(nn.Module):
    """A sequence of classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3, dtype=torch.float64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def test_what_is_not_measured_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    few = et.diagnose(model_of(), data(5), units=2)
    assert (few.kernel_top_share, few.kernel_examples) == (None, 0)
    assert "Tangent kernel: not measured; gradients of 8 examples are needed, and of 5 there are" in few.to_text(500)
    frozen = et.diagnose(model_of().requires_grad_(False), data(20), units=2)
    assert frozen.kernel_missing == "no parameter of the model requires gradients; there is nothing to train"
    many = et.diagnose(model_of(101), data(20), units=2, kind="monte_carlo")
    assert many.kernel_missing == "the model has 101 outputs, more than 100"
    sequence = et.diagnose(Positions(), data(20).reshape(10, 2, 5), units=2)
    assert sequence.kernel_missing == "the kernel is measured of outputs (examples, classes)"
    monkeypatch.setattr(training_kernel_shares, "inputs_at_once", lambda *_, **__: 2)
    large = et.diagnose(model_of(), data(20), units=2)
    assert "and of 2 there are or fit into memory" in large.kernel_missing
