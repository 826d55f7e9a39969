"""The optimizer's limit: the divergence that a step makes, measured plainly, of any kind of model."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from elutheory.errors import InputError
from elutheory.fisher import Gaussian, Likelihood, UnitNaturalGradient
from elutheory.fisher.training.limited_step import AIM

LIMIT = 1e-3


class Attention(nn.Module):
    """A small BERT without its table: queries, keys and values of layers of their own, drawn as BERT's are."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.norm, self.dense, self.head = nn.LayerNorm(width), nn.Linear(width, 16), nn.Linear(16, 3)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.query(x) @ self.key(x).mT / x.shape[-1] ** 0.5
        x = self.norm(x + scores.softmax(-1) @ self.value(x))
        return self.head(nn.functional.gelu(self.dense(x)))


class Recurrent(nn.Module):
    """An LSTM, which has no unit blocks, and a head of the same weights at every position."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.head = nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0])


class Tied(nn.Module):
    """All of it uncovered: a layer that shares its weight, and one of another library's kind."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 3, bias=False), nn.Linear(8, 3, bias=False)
        self.last.weight = self.first.weight
        self.between = nn.Parameter(0.3 * torch.randn(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.gelu(x @ self.between)) + self.first(x)


class Adapted(nn.Module):
    """A frozen layer and a product of two small ones beside it, of which the last starts at zero."""

    def __init__(self, fan_in: int, units: int) -> None:
        super().__init__()
        self.frozen = nn.Linear(fan_in, units).requires_grad_(False)
        self.down, self.up = nn.Linear(fan_in, 2, bias=False), nn.Linear(2, units, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(x) + self.up(self.down(x))


def adapted() -> nn.Module:
    return nn.Sequential(Adapted(8, 16), nn.ReLU(), Adapted(16, 3))


def flat(*between: nn.Module, width: int = 8, bias: bool = True) -> nn.Module:
    first, second = nn.Linear(width, 16, bias=bias), nn.Linear(16, 16, bias=bias)
    return nn.Sequential(first, nn.ELU(), second, *between, nn.ELU(inplace=True), nn.Linear(16, 3))


def wide() -> nn.Module:
    return flat(width=100)


def frozen() -> nn.Module:
    model = flat()
    model[2].requires_grad_(False)
    model[0].bias.requires_grad_(False)
    return model


def dead() -> nn.Module:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    nn.init.constant_(model[0].bias[:5], -100.0)
    return model


def convolution() -> nn.Module:
    return nn.Sequential(nn.Conv1d(8, 6, 3, padding=1, groups=2), nn.ELU(), nn.Conv1d(6, 3, 1))


SITUATIONS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], dict[str, Any]]] = {
    "perceptron": (flat, (20, 8), {}),
    "no bias, exact": (lambda: flat(bias=False), (20, 8), {"kind": "exact"}),
    "empirical, momentum, decay": (flat, (20, 8), {"kind": "empirical", "momentum": 0.9, "weight_decay": 0.1}),
    "undamped": (flat, (60, 8), {"kind": "exact", "damping": 0.0}),
    "absolute": (flat, (20, 8), {"damping": 1e-6, "relative": False}),
    "wide": (wide, (20, 100), {}),
    "frozen": (frozen, (20, 8), {}),
    "dead units": (dead, (20, 8), {}),
    "batch normalisation": (lambda: flat(nn.BatchNorm1d(16)), (20, 8), {}),
    "dropout": (lambda: flat(nn.Dropout(0.5)), (20, 8), {"update_interval": 3}),
    "convolution": (convolution, (10, 8, 6), {}),
    "attention": (Attention, (10, 6, 8), {}),
    "attention, positionwise": (Attention, (10, 6, 8), {"weight_sharing": "positionwise", "update_interval": 2}),
    "recurrent": (Recurrent, (10, 6, 8), {}),
    "tied": (Tied, (20, 8), {}),
    "adapted": (adapted, (20, 8), {}),
    "centred": (flat, (20, 8), {"centred": "q"}),
}


def predictions(model: nn.Module, inputs: Tensor, seed: int) -> Tensor:
    torch.manual_seed(seed)
    with torch.no_grad():
        outputs = model(inputs)
    return outputs if outputs.ndim == 2 or outputs.shape[-1] == 3 else outputs.mT


def divergence(before: Tensor, after: Tensor) -> float:
    """In nats per example, in double precision."""
    logarithms = before.double().log_softmax(-1)
    of_labels = (logarithms.exp() * (logarithms - after.double().log_softmax(-1))).sum(-1)
    return of_labels.flatten(1).sum(1).mean().item() if of_labels.ndim > 1 else of_labels.mean().item()


@pytest.mark.filterwarnings("ignore:.*take plain SGD steps:UserWarning")
@pytest.mark.parametrize("name", SITUATIONS)
def test_the_divergence_measured_keeps_the_limit(name: str) -> None:
    """At a rate far too high, so that the limit is what makes the step: most of what it allows is used."""
    make, shape, options = SITUATIONS[name]
    torch.manual_seed(1)
    model = make()
    optimizer = UnitNaturalGradient(model, 3.0, max_kl=LIMIT, **options)
    found = []
    for step in range(4):
        torch.manual_seed(10 + step)
        inputs = torch.rand(shape)
        before = predictions(model, inputs, step)
        torch.manual_seed(step)
        optimizer.zero_grad()
        outputs = model(inputs)
        state = {name: buffer.clone() for name, buffer in model.named_buffers()}
        outputs = outputs if outputs.ndim == 2 or outputs.shape[-1] == 3 else outputs.mT
        targets = torch.randint(3, outputs.shape[:-1])
        (cross_entropy(outputs.flatten(0, -2), targets.flatten()) * outputs[0, ..., 0].numel()).backward()
        random_numbers = torch.get_rng_state()
        optimizer.step()
        assert torch.equal(torch.get_rng_state(), random_numbers)
        assert all(torch.equal(buffer, state[name]) for name, buffer in model.named_buffers())
        found.append(divergence(before, predictions(model, inputs, step)))
    assert max(found) <= LIMIT
    assert max(found) >= 0.5 * AIM * LIMIT


@pytest.mark.parametrize("likelihood", ["bernoulli", Gaussian(0.3)])
def test_the_limit_of_other_likelihoods_and_accumulated_gradients(likelihood: Any) -> None:
    """Of several passes the examples count alike; passes without a backward pass, as for a look at the loss, do not."""
    torch.manual_seed(0)
    model, inputs = flat(), torch.rand(30, 8)
    optimizer = UnitNaturalGradient(model, 3.0, likelihood, max_kl=LIMIT)
    before = model(inputs).detach()
    loss = nn.functional.binary_cross_entropy_with_logits if likelihood == "bernoulli" else nn.functional.mse_loss
    for part in (slice(0, 5), slice(5, 30)):
        loss(model(inputs[part]), torch.ones(1).expand(len(inputs[part]), 3), reduction="sum").div(30).backward()
    model(100 * inputs)
    optimizer.step()
    after = model(inputs).detach()
    if likelihood == "bernoulli":
        pair = (torch.distributions.Bernoulli(logits=outputs.double()) for outputs in (before, after))
    else:
        pair = (torch.distributions.Normal(outputs.double(), 0.3**0.5) for outputs in (before, after))
    found = torch.distributions.kl_divergence(*pair).sum(1).mean().item()
    assert 0.5 * AIM * LIMIT <= found <= LIMIT


def test_no_layer_moves_by_more_than_its_own_scale() -> None:
    """Predictions hardly depend on attention's keys: damped relative to their own F they would move without bound.

    Nor does a layer that starts at zero stay there.
    """
    torch.manual_seed(0)
    model = Attention(32)
    nn.init.zeros_(model.value.weight)
    inputs, targets = torch.randn(8, 10, 32), torch.randint(3, (8, 10))
    optimizer = UnitNaturalGradient(model, 1.0, max_kl=LIMIT)
    scales = {name: max(layer.weight.norm().item(), (len(layer.weight) / 3) ** 0.5) for name, layer in layers(model)}
    for _ in range(3):
        before = {name: layer.weight.detach().clone() for name, layer in layers(model)}
        optimizer.zero_grad()
        (10 * cross_entropy(model(inputs).flatten(0, 1), targets.flatten())).backward()
        optimizer.step()
        moved = {name: (layer.weight - before[name]).norm().item() for name, layer in layers(model)}
        assert all(moved[name] <= scales[name] for name in moved)
    assert model.key.weight.norm() < 2 * before["key"].norm()
    assert moved["value"] > 0


def layers(model: nn.Module) -> list[tuple[str, nn.Linear]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]


def test_a_likelihood_of_a_users_own_is_limited_by_its_columns() -> None:
    class Own(Gaussian):
        divergence = Likelihood.divergence

    torch.manual_seed(0)
    outputs, others = torch.randn(5, 2, 3, dtype=torch.float64), torch.randn(5, 2, 3, dtype=torch.float64)
    expected = Gaussian(0.3).divergence(outputs, others)
    torch.testing.assert_close(Own(0.3).divergence(outputs, others), expected)
    Own.score_factors = Likelihood.score_factors
    own = Own(0.3)
    assert not own.has_factors
    drawn = own.divergence(outputs, others)
    assert (drawn / expected).log().abs().max() < 0.5
    torch.testing.assert_close(drawn.sum(), expected.sum(), rtol=0.1, atol=0.0)


# --- what cannot be limited -------------------------------------------------------------------------------------------


class Clocked(nn.Module):
    """Random in a way that torch does not know of."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls = flat(), 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(inputs) + self.calls * torch.tensor([0.0, 1.0, 2.0])


def doubled(model: nn.Module, outputs: Tensor) -> None:
    outputs.detach().mul_(2.0)


def not_a_number(model: nn.Module, outputs: Tensor) -> None:
    next(model.parameters()).grad.fill_(float("nan"))


@pytest.mark.parametrize(
    ("make", "change", "why"),
    [
        (Clocked, lambda *_: None, r"change by .* nats per example when its forward pass is run again"),
        (flat, doubled, "was changed in place after its forward pass"),
        (flat, not_a_number, "the step is not finite"),
    ],
)
def test_what_cannot_be_limited_is_refused_and_the_parameters_stay(make: Any, change: Any, why: str) -> None:
    torch.manual_seed(0)
    model = make()
    optimizer = UnitNaturalGradient(model, 0.1, max_kl=LIMIT)
    outputs = model(torch.rand(20, 8))
    cross_entropy(outputs, torch.arange(20) % 3).backward()
    change(model, outputs)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(InputError, match=why):
        optimizer.step()
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


def test_a_step_without_a_forward_pass_is_refused() -> None:
    model = flat()
    one = UnitNaturalGradient(model, 0.1, update_interval=5)
    for _ in range(2):
        cross_entropy(model(torch.rand(20, 8)), torch.arange(20) % 3).backward()
        one.step()
    with pytest.raises(InputError, match="no forward pass counted since the last step"):
        one.step()
