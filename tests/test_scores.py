"""Scores against brute force: one example and one label at a time, gradients with respect to the weights themselves."""

import pytest
import torch
from torch import nn

from elutheory.errors import InputError
from elutheory.scores import layer_scores


def network(
    *, bias: bool = True, activation: nn.Module | None = None, dtype: torch.dtype = torch.float64
) -> nn.Sequential:
    torch.manual_seed(3)
    middle = nn.Linear(4, 3, bias=bias)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), middle, activation or nn.ELU(), nn.Linear(3, 4)).to(dtype)


def data(examples: int = 6, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(examples, 5, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("layer", ["0", "2", "4"])
def test_score_is_delta_times_incoming(layer: str) -> None:
    model, inputs = network(), data()
    scores = layer_scores(model, inputs, layer)
    linear = model.get_submodule(layer)
    for n, example in enumerate(inputs):
        for label in range(4):
            # Reference: gradient of ln p(label | example) with respect to weights and biases.
            log_probability = model(example[None]).log_softmax(1)[0, label]
            weight, bias = torch.autograd.grad(log_probability, [linear.weight, linear.bias])
            torch.testing.assert_close(torch.outer(scores.deltas[n, label], scores.incoming[n]), weight)
            torch.testing.assert_close(scores.deltas[n, label], bias)
            torch.testing.assert_close(scores.probabilities[n, label], log_probability.exp().detach())


def test_scores_have_zero_mean_under_the_model() -> None:
    scores = layer_scores(network(), data(), "2")
    mean = torch.einsum("nyu,ny->nu", scores.deltas, scores.probabilities)  # E_y[d ln p / d net] = 0, always
    assert mean.abs().max() < 1e-15 < scores.deltas.abs().max()


@pytest.mark.parametrize("bias", [True, False])
def test_gradient_is_that_of_the_mean_cross_entropy(bias: bool) -> None:
    model, inputs, labels = network(bias=bias), data(), torch.tensor([0, 3, 1, 1, 2, 0])
    loss = nn.functional.cross_entropy(model(inputs), labels)  # reference: torch's own loss and backward pass
    expected = torch.autograd.grad(loss, model[2].weight)[0]
    if bias:
        loss = nn.functional.cross_entropy(model(inputs), labels)
        expected = torch.cat([torch.autograd.grad(loss, model[2].bias)[0][:, None], expected], dim=1)
    torch.testing.assert_close(layer_scores(model, inputs, "2").gradient(labels), expected)


def test_labels_outside_the_classes_are_refused() -> None:
    scores = layer_scores(network(), data(2), "2")
    with pytest.raises(InputError, match="labels run from 0 to 4; they must lie in 0 to 3"):
        scores.gradient(torch.tensor([0, 4]))


def test_model_is_left_as_it_was() -> None:
    model = network(activation=nn.ELU(inplace=True))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        scores = layer_scores(model, data(), "2")
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())
    assert not model[2]._forward_hooks
    assert not scores.deltas.requires_grad
    torch.testing.assert_close(scores.deltas, layer_scores(network(), data(), "2").deltas)


def test_works_in_inference_mode() -> None:
    expected = layer_scores(network(), data(), "2").deltas
    model, inputs = network(), data()
    with torch.inference_mode():
        torch.testing.assert_close(layer_scores(model, inputs, "2").deltas, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_the_models(dtype: torch.dtype) -> None:
    scores = layer_scores(network(dtype=dtype), data(dtype=dtype), "2")
    assert scores.incoming.dtype == scores.deltas.dtype == scores.probabilities.dtype == dtype
    assert scores.squared_deltas().dtype == dtype


class Twice(nn.Module):
    def __init__(self, runs: int) -> None:
        super().__init__()
        self.first, self.last, self.runs = nn.Linear(5, 5), nn.Linear(5, 3), runs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(self.runs):
            x = self.first(x)
        return self.last(x)


class Sidetrack(Twice):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.first(x)
        return self.last(x)


REFUSED = {
    "unknown": (network(), data(), "7", r"no layer '7'; the fully connected layers are '0', '2', '4'"),
    "not linear": (network(), data(), "1", r"layer '1' is a Tanh, not a torch.nn.Linear"),
    "dropout": (network(activation=nn.Dropout()), data(), "2", r"Dropout '3' is in training mode"),
    "batch norm": (network(activation=nn.BatchNorm1d(3)), data(), "2", r"BatchNorm1d '3' is in training mode"),
    "runs twice": (Twice(2).double(), data(), "first", r"layer 'first' ran 2 times"),
    "never runs": (Twice(0).double(), data(), "first", r"layer 'first' ran 0 times"),
    "no influence": (Sidetrack(1).double(), data(), "first", r"logits do not depend on layer 'first'"),
    "integers": (network(), data().long(), "2", r"inputs are torch.int64; a floating-point dtype is needed"),
    "NaN": (network(), data() * float("nan"), "2", r"inputs contain NaN or infinity"),
    "empty": (network(), data(0), "2", r"inputs have shape \(0, 5\)"),
    "vector": (network(), data()[0], "2", r"inputs have shape \(5,\)"),
    "sequence": (network(), data()[:, None], "2", r"receives activations of shape \(6, 1, 4\)"),
    "one logit": (nn.Sequential(nn.Linear(5, 1)).double(), data(), "0", r"returned \(6, 1\); logits \(6, classes\)"),
    "infinite logits": (network(), data(), "0", r"logits contain NaN or infinity"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    model, inputs, layer, message = REFUSED[case]
    if case == "infinite logits":
        model[4].weight.data.fill_(float("inf"))
    with pytest.raises(InputError, match=message):
        layer_scores(model, inputs, layer)
    assert not any(module._forward_hooks for module in model.modules())


def test_evaluation_mode_lifts_the_refusal_of_dropout() -> None:
    model = network(activation=nn.Dropout()).eval()
    assert layer_scores(model, data(), "2").deltas.shape == (6, 4, 3)
