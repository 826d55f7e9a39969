"""The plain route to a fully connected layer's scores and exact unit Fisher matrices: one autograd pass a label.

The tests' reference: a categorical likelihood, a `torch.nn.Linear` on (inputs, fan_in), everything formed in full.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class PlainScores:
    """`deltas` (inputs, classes, units): d ln p(y | x) / d net; `probabilities` (inputs, classes): p(y | x)."""

    incoming: Tensor
    deltas: Tensor
    probabilities: Tensor
    has_bias: bool

    def squared_deltas(self) -> Tensor:
        """E_y[delta²] over the model's own labels (F1): (inputs, units)."""
        return torch.einsum("nyu,ny->nu", self.deltas.square(), self.probabilities)

    def gradient(self, labels: Tensor) -> Tensor:
        """Gradient of the mean cross-entropy, per unit; the bias coordinate first."""
        deltas = self.deltas[torch.arange(len(labels)), labels]
        weights = -deltas.T @ self.incoming / len(labels)
        return torch.cat([-deltas.mean(0)[:, None], weights], dim=1) if self.has_bias else weights


def plain_scores(model: nn.Module, inputs: Tensor, layer: str) -> PlainScores:
    """Scores of the `torch.nn.Linear` named `layer`, which runs exactly once on (inputs, fan_in)."""
    linear = model.get_submodule(layer)
    assert isinstance(linear, nn.Linear)
    calls: list[tuple[Tensor, Tensor]] = []

    def record(_module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        net = output.detach().requires_grad_()
        calls.append((arguments[0].detach(), net))
        return net.clone()

    with linear.register_forward_hook(record):
        log_probabilities = model(inputs).log_softmax(dim=1)
    ((incoming, net),) = calls
    assert incoming.shape == (len(inputs), linear.in_features)
    deltas = [
        torch.autograd.grad(log_probability.sum(), net, retain_graph=True)[0]
        for log_probability in log_probabilities.unbind(dim=1)
    ]
    return PlainScores(
        incoming, torch.stack(deltas, dim=1), log_probabilities.detach().exp(), has_bias=linear.bias is not None
    )


@dataclass(frozen=True, eq=False)
class PlainFisher:
    """F = E[delta² (1,a)(1,a)ᵀ] and the moments under p and q (F1, F2), every sum formed in full."""

    matrix: Tensor
    mean_under_p: Tensor
    mean_under_q: Tensor
    covariance_under_q: Tensor


def plain_fisher(model: nn.Module, inputs: Tensor, layer: str) -> PlainFisher:
    """Exact unit Fisher matrices of the `torch.nn.Linear` named `layer`."""
    scores = plain_scores(model, inputs, layer)
    incoming = scores.incoming
    coordinates = torch.cat([torch.ones_like(incoming[:, :1]), incoming], dim=1) if scores.has_bias else incoming
    matrices, means, covariances = [], [], []
    for squared_deltas in scores.squared_deltas().unbind(dim=1):
        root = squared_deltas.sqrt()[:, None]
        mean = squared_deltas @ incoming / squared_deltas.sum()
        weighted, centred = root * coordinates, root * (incoming - mean)
        matrices.append(weighted.T @ weighted / len(incoming))
        means.append(mean)
        covariances.append(centred.T @ centred / squared_deltas.sum())
    return PlainFisher(torch.stack(matrices), incoming.mean(0), torch.stack(means), torch.stack(covariances))
