"""Data, labels and sizes as users have them: what works, and what one sentence tells."""

import types
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn

import elutheory as et
from elutheory.errors import InputError
from elutheory.numerics import memory
from tests.fisher.test_stored_matrices import Laplace

D = torch.float64


class Scaled(nn.Module):
    """Takes keywords of which some are of every example and some are shared by all."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor, temperature: Any = 1.0, offset: Any = 0.0) -> Tensor:
        return self.head(nn.functional.elu(self.layer(x) + offset)) / temperature


def scaled() -> Scaled:
    torch.manual_seed(0)
    return Scaled().to(D)


def x(examples: int = 8) -> Tensor:
    return torch.randn(examples, 3, generator=torch.Generator().manual_seed(1), dtype=D)


@pytest.mark.parametrize(
    ("shared", "layer_alone"),
    [({"temperature": torch.tensor(2.0, dtype=D)}, 2.0), ({"offset": torch.full((1, 4), 0.3, dtype=D)}, None)],
)
def test_keywords_that_all_examples_share(shared: dict[str, Tensor], layer_alone: float | None) -> None:
    model, kept = scaled(), next(iter(shared))
    found = et.unit_fisher(model, {"x": x(), **shared}, "layer", batch_size=3)
    bound = types.MethodType(lambda self, x: Scaled.forward(self, x, **shared), model)
    model.forward = bound
    torch.testing.assert_close(found.matrix, et.unit_fisher(model, x(), "layer").matrix)
    assert found.examples == 8
    del model.forward
    assert et.diagnose(model, {"x": x(), **shared}).examples == 8
    with pytest.raises(InputError, match=rf"inputs have \[7, 8\] examples.*if '{kept}' are taken as shared by all"):
        et.unit_fisher(model, {"x": x(), kept: torch.ones(7, 4, dtype=D)}, "layer")
    with pytest.raises(InputError, match=r"when it is run alone|run on one of them alone the model fails"):
        et.unit_fisher(model, {"x": x(4), "offset": torch.arange(4, dtype=D)}, "layer")  # 4 of 4: no axis tells


@pytest.mark.parametrize("where", ["unit_fisher", "diagnose", "layer_statistics"])
def test_numpy_arrays_and_loaders(where: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ELU(), nn.Linear(4, 2))
    targets = torch.randint(0, 2, (8,))
    call: Callable[[Any], Any] = {
        "unit_fisher": lambda data: et.unit_fisher(model, data, "0", kind="empirical").matrix,
        "diagnose": lambda data: torch.tensor(et.diagnose(model, data).table.select_dtypes("number").to_numpy()),
        "layer_statistics": lambda data: et.layer_statistics(model, data).units("1").mean,
    }[where]
    expected = call([(x().float(), targets)])
    for data in (
        [(x().numpy(), targets.numpy())],
        [[x().numpy(), targets]],
        iter([(x().float().numpy().astype(">f4"), targets)]),
    ):
        torch.testing.assert_close(call(data), expected, equal_nan=True)
    assert call((x().numpy(), targets.numpy())).shape == expected.shape
    with pytest.raises(InputError, match=r"a batch has 3 parts; .*\(\(x, y\) for x, y, \*_ in loader\)"):
        call([(x().float(), targets, targets)])
    with pytest.raises(InputError, match="several arguments of the model by their names"):
        call(((x(), x()), targets))
    with pytest.raises(InputError, match="numbers are needed"):
        call(numpy.array([["a"]]))


def test_layers_without_values_are_told() -> None:
    model = nn.Sequential(nn.LazyLinear(4), nn.ELU(), nn.LazyLinear(2))
    for call in (lambda: et.unit_fisher(model, x(), "0"), lambda: et.diagnose(model, x())):
        with pytest.raises(InputError, match=r"'0\.weight' has no values yet; run the model once first"):
            call()


def test_what_does_not_fit_is_refused_before_it_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(300, 40), nn.ELU(), nn.Linear(40, 10))
    data = torch.randn(310, 300)
    free = 3_000_000
    monkeypatch.setattr(memory, "free_bytes", lambda _device: free)
    sentence = (
        r"of 40 units with 301 coordinates take 14\.5 MB, of which 3 MB are free on cpu; those of 8 units would fit"
    )
    with pytest.raises(InputError, match=sentence):
        et.unit_fisher(model, data, "0", batch_size=100)
    part = et.unit_fisher(model, data, "0", batch_size=100, units=range(8))
    monkeypatch.undo()
    torch.testing.assert_close(part.matrix, et.unit_fisher(model, data, "0", batch_size=100).matrix[:8])
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 100_000)
    with pytest.raises(
        InputError, match=r"scores of a batch of 100 examples \(10 columns\) take 280 kB.*batches of 35 ex"
    ):
        et.unit_fisher(model, data, "0", batch_size=100)
    assert et.unit_fisher(model, data[:35], "0", batch_size=35).form == "factors"
    assert memory.in_words(275_012_845_568) == "275 GB"
    assert memory.in_words(4 * 10**12) == "4 TB"
    assert memory.free_bytes(torch.device("cpu")) is None or memory.free_bytes(torch.device("cpu"))


# --- masks ----------------------------------------------------------------------------------------------------------


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.attention = nn.Embedding(9, 4), nn.MultiheadAttention(4, 2, batch_first=True)
        self.layer, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.embedding(input_ids)
        padding = attention_mask
        while padding.ndim > 2:
            padding = padding[:, -1]
        padding = padding == 0 if padding.dtype != D or (padding == 1).any() else padding < 0
        hidden = self.attention(hidden, hidden, hidden, key_padding_mask=padding)[0]
        return self.head(nn.functional.elu(self.layer(hidden)))


def additive(kept: Tensor) -> Tensor:
    return torch.zeros(kept.shape, dtype=D).masked_fill(kept == 0, -torch.inf)


MASKS: dict[str, Callable[[Tensor], Tensor]] = {
    "−inf": additive,
    "least number": lambda kept: additive(kept).clamp(min=torch.finfo(D).min),
    "−inf, by head": lambda kept: additive(kept)[:, None, None],
    "−inf, by query": lambda kept: additive(kept)[:, None, None].expand(-1, 1, kept.shape[1], -1),
    "zeros and ones": lambda kept: kept.to(D),
    "by query": lambda kept: kept[:, None].expand(-1, kept.shape[1], -1).bool(),
}


@pytest.mark.parametrize("form", MASKS)
def test_masks_as_attention_takes_them(form: str) -> None:
    torch.manual_seed(0)
    model = Attending().to(D).eval()
    ids = torch.randint(0, 9, (6, 5))
    kept = torch.ones_like(ids)
    kept[2:, 4:], kept[4:, 2:] = 0, 0
    expected = et.unit_fisher(model, {"input_ids": ids, "attention_mask": kept}, "layer")
    found = et.unit_fisher(model, {"input_ids": ids, "attention_mask": MASKS[form](kept)}, "layer", batch_size=2)
    torch.testing.assert_close(found.matrix, expected.matrix)
    torch.testing.assert_close(found.mean_under_p, expected.mean_under_p)


# --- labels ---------------------------------------------------------------------------------------------------------


def gradient_of(loss: Callable[[Tensor, Tensor], Tensor], model: nn.Sequential, targets: Tensor) -> Tensor:
    layer = model[0]
    weight, bias = torch.autograd.grad(loss(model(x()), targets), [layer.weight, layer.bias])
    return torch.cat([bias[:, None], weight], dim=1)


WEIGHTS = (0.5, 2.0, 1.0)
CROSS_ENTROPY = nn.functional.cross_entropy
LABELS: dict[str, tuple[et.Likelihood, Tensor, Callable[[Tensor, Tensor], Tensor]]] = {
    "soft": (et.Categorical(), torch.rand(8, 3, dtype=D).softmax(1), CROSS_ENTROPY),
    "one-hot": (
        et.Categorical(),
        torch.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1]].long(),
        lambda o, t: CROSS_ENTROPY(o, t.to(D)),
    ),
    "smoothed": (
        et.Categorical(label_smoothing=0.2),
        torch.arange(8) % 3,
        lambda o, t: CROSS_ENTROPY(o, t, label_smoothing=0.2),
    ),
    "weighted": (
        et.Categorical(class_weights=torch.tensor(WEIGHTS)),
        torch.arange(8) % 3,
        lambda o, t: CROSS_ENTROPY(o, t, weight=torch.tensor(WEIGHTS, dtype=D), reduction="sum") / 8,
    ),
    "weighted and smoothed": (
        et.Categorical(WEIGHTS, 0.1),
        torch.arange(8) % 3,
        lambda o, t: (
            CROSS_ENTROPY(o, t, weight=torch.tensor(WEIGHTS, dtype=D), label_smoothing=0.1, reduction="sum") / 8
        ),
    ),
    "grey levels": (
        et.Bernoulli(),
        torch.rand(8, 3, dtype=D),
        lambda o, t: nn.functional.binary_cross_entropy_with_logits(o, t, reduction="sum") / 8,
    ),
    "float32": (
        et.Gaussian(0.5),
        torch.rand(8, 3),
        lambda o, t: (o - t.to(D)).square().sum() / 8,
    ),
    "of one's own": (Laplace(), torch.rand(8, 3, dtype=D), lambda o, t: (o - t).abs().sum() / 8),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_that_practice_uses(name: str) -> None:
    torch.manual_seed(3)
    likelihood, targets, loss = LABELS[name]
    model = nn.Sequential(nn.Linear(3, 4), nn.ELU(), nn.Linear(4, 3)).to(D)
    scores = et.layer_scores(model, x(), "0", "empirical", likelihood, targets=targets)
    torch.testing.assert_close(scores.gradient(), gradient_of(loss, model, targets), rtol=1e-10, atol=1e-12)
    assert et.diagnose(model, (x(), targets), likelihood).gradient_labels == "targets"
    if likelihood.has_factors and not isinstance(likelihood, et.Gaussian | et.Bernoulli):
        # E_y[score scoreᵀ] by every label, each score by autograd of the loss.
        probabilities, expected = model(x()).softmax(1).detach(), 0.0
        for example in range(8):
            for label in range(3):
                one = (
                    loss(model(x()[example, None]), torch.tensor([label]))
                    if name not in ("soft", "one-hot")
                    else (CROSS_ENTROPY(model(x()[example, None]), torch.tensor([label])))
                )
                one = one * 8 if "weighted" in name else one
                weight, bias = torch.autograd.grad(one, [model[0].weight, model[0].bias])
                score = torch.cat([bias[:, None], weight], dim=1)
                expected = expected + probabilities[example, label] * score[:, :, None] * score[:, None, :] / 8
        torch.testing.assert_close(et.unit_fisher(model, x(), "0", likelihood=likelihood).matrix, expected)


def test_a_likelihood_of_ones_own_needs_public_methods_alone() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 4), nn.ELU(), nn.Linear(4, 3)).to(D)
    with pytest.raises(InputError, match="'laplace' has no score_factors, which kind 'exact' needs"):
        et.unit_fisher(model, x(), "0", likelihood=Laplace())
    drawn = et.unit_fisher(model, x(), "0", "monte_carlo", Laplace(), samples=400)
    unit = et.unit_fisher(model, x(), "0", likelihood=et.Gaussian(1.0))  # E score² is 1 for both
    assert float((drawn.matrix - unit.matrix).norm() / unit.matrix.norm()) < 0.3
    assert et.diagnose(model, x(), Laplace()).kind == "monte_carlo"


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_one_output_and_targets_without_its_axis(likelihood: str) -> None:
    torch.manual_seed(3)
    column = nn.Sequential(nn.Linear(3, 4), nn.ELU(), nn.Linear(4, 1)).to(D)
    flat = nn.Sequential(*column, nn.Flatten(0))
    targets = (torch.arange(8) % 2).to(D)
    expected = et.unit_fisher(column, (x(), targets[:, None]), "0", "empirical", likelihood).matrix
    for model, labels in ((column, targets), (flat, targets), (flat, targets[:, None]), (column, targets.long())):
        found = et.unit_fisher(model, (x(), labels), "0", "empirical", likelihood)
        torch.testing.assert_close(found.matrix, expected)
    with pytest.raises(InputError, match='for one logit of two classes it is likelihood="bernoulli"'):
        et.unit_fisher(column, x(), "0")
