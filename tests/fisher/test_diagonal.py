"""The diagonal of the Fisher matrix against autograd of one output of one example at a time, for every parameter."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import elutheory as et
from elutheory.errors import InputError
from elutheory.fisher import diagonal as module
from tests.models.test_situations import (
    IGNORED,
    IMAGES,
    PADDED,
    SEQUENCES,
    SITUATIONS,
    TOKENS,
    Situation,
    X,
    ids,
    mlp,
    normal,
    prepared,
)
from tests.references.users_models import D, Recurrent, information, one_of


def by_brute_force(model: nn.Module, run: Callable[[int], Tensor], examples: int, one: Situation) -> dict[str, Tensor]:
    """E_y[score²] of every parameter: Jᵀ (E_y[score scoreᵀ] of the outputs) J, position by position."""
    parameters = dict(model.named_parameters())
    total = {name: torch.zeros_like(value, requires_grad=False) for name, value in parameters.items()}
    for example in range(examples):
        for position, row in enumerate(run(example)):
            if one.counting is not None and not one.counting[example, position]:
                continue
            if not row.requires_grad:
                continue
            jacobian = [
                torch.autograd.grad(output, list(parameters.values()), retain_graph=True, allow_unused=True)
                for output in row
            ]
            matrix = information(row.detach(), one.options.get("likelihood", "categorical"))
            for name, parts in zip(parameters, zip(*jacobian, strict=True), strict=True):
                if parts[0] is not None:
                    columns = torch.stack(parts)
                    total[name] += torch.einsum("c...,cd,d...->...", columns, matrix, columns)
    return {name: value / examples for name, value in total.items()}


def norms(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.PReLU(4), nn.Flatten(), nn.Linear(16, 3))


MODELS = {
    **{
        name: SITUATIONS[name]
        for name in (
            "perceptron",
            "float32",
            "dead units",
            "several labels",
            "regression",
            "frozen layers",
            "batch normalisation",
            "a layer called twice",
            "a tied decoder",
            "a cosine head",
            "no influence",
            "LoRA",
            "siamese",
            "channels last",
            "ResNet",
            "ConvNeXt",
            "Vision Transformer",
            "segmentation",
            "segmentation in a dictionary",
            "an autoencoder of images",
            "audio, weight norm",
            "classes that are told",
            "LSTM",
            "LSTM, sequence first",
            "recurrent by hand",
            "torch's Transformer",
            "BERT, one label",
            "BERT, labels in the batch",
            "GPT-2",
            "Llama, padded",
            "T5",
        )
    },
    "group normalisation": Situation(lambda: norms(nn.GroupNorm(2, 4)), IMAGES, ()),
    "instance normalisation": Situation(lambda: norms(nn.InstanceNorm2d(4, affine=True)), IMAGES, ()),
    "grouped convolutions": Situation(
        lambda: nn.Sequential(nn.Conv1d(4, 4, 2, groups=2), nn.ELU(), nn.Conv1d(4, 2, 1, bias=False), nn.Flatten()),
        normal(3, 4, 3),
        (),
    ),
    "spectral norm": Situation(
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)), nn.ELU(), nn.Linear(3, 2)),
        X,
        (),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter(name: str) -> None:
    one = replace(MODELS[name], refused=None)
    read = one.read
    if name == "audio, weight norm":
        one, read = replace(one, read=lambda outputs: outputs.movedim(1, -1)), lambda outputs: outputs.movedim(1, -1)
    model, axis = prepared(one), one.options.get("batch_axis", 0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    required = [value.requires_grad for value in model.parameters()]
    found = et.fisher_diagonal(model, one.inputs, **one.options)
    assert [value.requires_grad for value in model.parameters()] == required
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    for value in model.parameters():
        value.requires_grad_(True)

    def run(example: int) -> Tensor:
        alone = one_of(one.inputs, example, axis)
        outputs = read(model(**alone) if isinstance(alone, dict) else model(alone))[0]
        return outputs.reshape(-1, outputs.shape[-1])

    first = next(iter(one.inputs.values())) if isinstance(one.inputs, dict) else one.inputs
    expected = by_brute_force(model, run, first.shape[axis], one)
    assert list(found) == [key for key, _ in model.named_parameters()]
    rounding = 1e-9 if one.dtype == D else 1e-4
    for key, value in expected.items():
        assert found[key].shape == value.shape
        torch.testing.assert_close(
            found[key],
            value,
            rtol=rounding,
            atol=rounding * float(value.abs().max()) + 1e-25,
            msg=lambda text, key=key: f"{key}: {text}",
        )
        assert not found[key].requires_grad


def test_it_is_the_diagonal_of_the_units_matrices() -> None:
    model, inputs = mlp().double(), normal(40, 3)
    found = et.fisher_diagonal(model, inputs)
    for layer in ("0", "2", "4"):
        matrix = et.unit_fisher(model, inputs, layer).matrix.diagonal(dim1=1, dim2=2)
        together = torch.cat([found[f"{layer}.bias"][:, None], found[f"{layer}.weight"]], dim=1)
        torch.testing.assert_close(together, matrix, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [mlp, lambda: Recurrent(True, False)])
def test_drawn_labels_make_it_within_their_error(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = make().double()
    inputs = X if isinstance(model, nn.Sequential) else SEQUENCES
    exact = et.fisher_diagonal(model, inputs)
    generator = torch.Generator().manual_seed(0)
    drawn = et.fisher_diagonal(model, inputs, "monte_carlo", samples=200, generator=generator)
    for name, value in exact.items():
        assert (drawn[name] - value).norm() <= 0.4 * value.norm()


@pytest.mark.parametrize("name", ["perceptron", "LSTM, last step", "GPT-2"])
def test_the_datas_own_targets(name: str) -> None:
    model, inputs = prepared(SITUATIONS[name]), SITUATIONS[name].inputs
    examples = len(inputs["input_ids"] if isinstance(inputs, dict) else inputs)
    targets = ids(examples, *((3,) if name == "GPT-2" else ()), most=2)
    found = et.fisher_diagonal(model, (inputs, targets), "empirical")
    total: dict[str, Any] = dict.fromkeys(found, 0.0)
    for example in range(examples):
        alone = one_of(inputs, example)
        outputs = model(**alone).logits if isinstance(alone, dict) else model(alone)
        loss = nn.functional.cross_entropy(outputs.flatten(0, -2), targets[example].flatten(), reduction="sum")
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        for key, gradient in zip(found, gradients, strict=True):
            total[key] += gradient.square() / examples
    for key, value in total.items():
        torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("limit", [1, 20_000])
def test_batches_are_cut_to_bounded_memory(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """However small the pieces: one example at a time, or a few; whatever the user's own batches are."""
    model = prepared(SITUATIONS["Vision Transformer"])
    images = normal(13, 1, 4, 4)
    expected = et.fisher_diagonal(model, {"pixel_values": images})
    sizes: list[int] = []
    scores = module.model_scores
    monkeypatch.setattr(
        module,
        "model_scores",
        lambda model, batch, *rest, **named: (
            sizes.append(len(batch["pixel_values"])) or scores(model, batch, *rest, **named)
        ),
    )
    monkeypatch.setattr(module, "BATCH_BYTES", limit)
    monkeypatch.setattr(module, "_GRADIENT_BYTES", limit)
    loader = [{"pixel_values": images[:3]}, {"pixel_values": images[3:]}]
    for data in ({"pixel_values": images}, loader):
        found = et.fisher_diagonal(model, data)
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-10, atol=1e-15)
    assert max(sizes) < 13 if limit > 1 else max(sizes) == 1


def test_masks_labels_and_names() -> None:
    model = prepared(SITUATIONS["BERT, a label each token"])
    whole = et.fisher_diagonal(model, TOKENS)
    same = {
        "a tensor": et.fisher_diagonal(model, TOKENS, mask=PADDED.bool()),
        "a callable": et.fisher_diagonal(model, TOKENS, mask=lambda batch: batch["attention_mask"]),
        "labels": et.fisher_diagonal(model, TOKENS | {"labels": IGNORED}),
        "numpy": et.fisher_diagonal(model, {key: value.numpy() for key, value in TOKENS.items()}),
    }
    for found in same.values():
        for name, value in whole.items():
            torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-15)
    assert (et.fisher_diagonal(model, TOKENS, mask=False)["classifier.bias"] > whole["classifier.bias"]).all()
    some = et.fisher_diagonal(model, TOKENS, parameters=["norm1.bias", "word.weight"])
    assert list(some) == ["norm1.bias", "word.weight"]
    for name, value in some.items():
        torch.testing.assert_close(value, whole[name])


def test_examples_that_have_nothing_are_left_out() -> None:
    """Padding alone, cut apart from the rest, too."""
    model = prepared(SITUATIONS["BERT, a label each token"])
    more = {key: torch.cat([0 * value[:1], value, 0 * value[:2]]) for key, value in TOKENS.items()}
    whole = et.fisher_diagonal(model, TOKENS)
    for size in (1, 2, 512):
        for name, value in et.fisher_diagonal(model, more, batch_size=size).items():
            torch.testing.assert_close(value, whole[name], rtol=1e-10, atol=1e-15)


def test_sentences() -> None:
    model = mlp().double()
    with pytest.raises(InputError, match=r"no parameter .first.; names of model"):
        et.fisher_diagonal(model, X, parameters=["first"])
    with pytest.raises(InputError, match="no parameters to take the diagonal of"):
        et.fisher_diagonal(nn.Flatten(), X)
    with pytest.raises(InputError, match="give targets"):
        et.fisher_diagonal(model, X, "empirical")
    with pytest.raises(InputError, match="training mode"):
        et.fisher_diagonal(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).double(), X)
    with pytest.raises(InputError, match="no example of a batch has a position that counts"):
        et.fisher_diagonal(model, (X, torch.full((3,), -100)))
