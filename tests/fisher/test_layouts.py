"""Examples, classes, positions, padding and labels where users' models have them, against one example at a time."""

import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import elutheory as et
from elutheory.errors import InputError

D = torch.float64
pytestmark = pytest.mark.filterwarnings("ignore:.*take plain SGD steps:UserWarning")


def exact_fisher(
    layer: nn.Module, run: Callable[[int], Tensor], examples: int, counting: Tensor | None = None
) -> Tensor:
    """F of every unit, bias first, by autograd of one example's logits (positions, classes) after the other."""
    total: Any = 0
    for example in range(examples):
        logits = run(example)
        for position, row in enumerate(logits):
            if counting is not None and not counting[example, position]:
                continue
            probabilities = row.softmax(0).detach()
            for label, probability in enumerate(probabilities):
                cotangent = -probabilities.clone()
                cotangent[label] += 1
                weight, bias = torch.autograd.grad(row, [layer.weight, layer.bias], cotangent, retain_graph=True)
                score = torch.cat([bias[:, None], weight.flatten(1)], dim=1)
                total = total + probability * score[:, :, None] * score[:, None, :]
    return total / examples


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12 * float(expected.abs().max()))


class Decoder(nn.Module):
    """Sequence first, as torch's recurrent and Transformer modules are by default."""

    def __init__(self, inside: str) -> None:
        super().__init__()
        self.inside = inside
        self.recurrent = nn.LSTM(4, 4)
        self.block = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0)
        self.hidden, self.act, self.head = nn.Linear(4, 5), nn.ELU(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.inside == "lstm":
            x = self.recurrent(x)[0]
        else:
            x = self.block(x, src_mask=nn.Transformer.generate_square_subsequent_mask(len(x), dtype=x.dtype))
        return self.head(self.act(self.hidden(x)))


@pytest.mark.parametrize("inside", ["lstm", "causal"])
def test_sequence_first_models_are_asked_where_their_examples_are(inside: str) -> None:
    torch.manual_seed(0)
    model, x = Decoder(inside).to(D).eval(), torch.randn(6, 3, 4, dtype=D)
    with pytest.raises(InputError, match=r"change by .* when it is run alone .*give batch_axis="):
        et.unit_fisher(model, x, "hidden")
    F = et.unit_fisher(model, x, "hidden", batch_axis=1, batch_size=2)
    assert F.examples == 3
    close(F.matrix, exact_fisher(model.hidden, lambda n: model(x[:, n : n + 1])[:, 0], 3))
    hidden_inputs = [model.recurrent(x)[0] if inside == "lstm" else None]
    if hidden_inputs[0] is not None:
        close(F.mean_under_p, hidden_inputs[0].flatten(0, 1).mean(0).detach())
    optimizer = et.UnitNaturalGradient(model.train(), lr=0.1, kind="exact", decay=0.0, batch_axis=1)
    nn.functional.cross_entropy(model(x).flatten(0, 1), torch.zeros(18, dtype=torch.long)).backward()
    optimizer.step()
    fisher = optimizer.state[model.hidden.weight]["fisher"]
    close(fisher.triu() + fisher.triu(1).mT, F.matrix)
    optimizer.close()
    wrong = et.UnitNaturalGradient(model, lr=0.1)
    with pytest.raises(InputError, match="need batch_axis="):
        model(x)
    wrong.close()


CLASSES_FIRST = {
    "convolution": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ELU(), nn.Conv1d(4, 3, 1)), (4, 2, 5)),
    "segmentation": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ELU(), nn.Conv2d(4, 3, 1), nn.Upsample(5)),
        (3, 2, 4, 4),
    ),
}


@pytest.mark.parametrize("name", CLASSES_FIRST)
def test_classes_are_where_the_last_layer_has_its_units(name: str) -> None:
    torch.manual_seed(1)
    make, shape = CLASSES_FIRST[name]
    model, x = make().to(D), torch.randn(shape, dtype=D)
    expected = exact_fisher(model[0], lambda n: model(x[n : n + 1])[0].flatten(1).T, len(x))
    close(et.unit_fisher(model, x, "0").matrix, expected)
    optimizer = et.UnitNaturalGradient(model, lr=0.1, kind="exact", decay=0.0)
    model(x).sum().backward()
    optimizer.step()
    fisher = optimizer.state[model[0].weight]["fisher"]
    close(fisher.triu() + fisher.triu(1).mT, expected)
    optimizer.close()


class Hidden(nn.Module):
    """Outputs of which no layer that can be followed says where the classes are."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.wrap = nn.Linear(4, 3), wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(torch.einsum("npc->ncp", self.layer(x)))


def test_classes_that_are_not_known_are_asked_for() -> None:
    torch.manual_seed(2)
    model, x = Hidden(lambda outputs: outputs).to(D), torch.randn(4, 5, 4, dtype=D)
    expected = exact_fisher(model.layer, lambda n: model.layer(x[n]), 4)
    with pytest.raises(InputError, match=r"which axis of the outputs, of shape \(4, 3, 5\), .* give class_axis="):
        et.unit_fisher(model, x, "layer")
    close(et.unit_fisher(model, x, "layer", class_axis=1).matrix, expected)
    targets = torch.randint(0, 3, (4, 5))
    close(et.unit_fisher(model, (x, targets), "layer").matrix, expected)  # their shape says it
    sequence = nn.Sequential(nn.Linear(4, 3)).to(D)
    with pytest.raises(InputError, match="the layer that made them and the targets disagree"):
        et.unit_fisher(sequence, (x, torch.zeros(4, 3, dtype=torch.long)), "0")
    with pytest.raises(InputError, match="class_axis is 0, no axis of classes"):
        et.unit_fisher(model, x, "layer", class_axis=0)


@pytest.mark.parametrize(
    ("wrap", "output"),
    [
        (lambda outputs: (outputs.sum(), outputs), 1),
        (lambda outputs: {"loss": None, "scores": outputs}, "scores"),
        (lambda outputs: types.SimpleNamespace(scores=outputs), "scores"),
        (lambda outputs: [{"deep": outputs}], lambda returned: returned[0]["deep"]),
    ],
)
def test_the_outputs_are_named(wrap: Callable[[Tensor], Any], output: Any) -> None:
    torch.manual_seed(3)
    model, x = Hidden(wrap).to(D), torch.randn(4, 5, 4, dtype=D)
    with pytest.raises(InputError, match="output= to say which of it they are"):
        et.unit_fisher(model, x, "layer", class_axis=1)
    F = et.unit_fisher(model, x, "layer", class_axis=1, output=output)
    close(F.matrix, exact_fisher(model.layer, lambda n: model.layer(x[n]), 4))
    with pytest.raises(InputError, match="is no tensor of what the model returned"):
        et.unit_fisher(model, x, "layer", output="absent")


class Tagger(nn.Module):
    """Token classification as in Hugging Face's models; `causal`: the loss is one position later."""

    def __init__(self, causal: bool = False) -> None:
        super().__init__()
        block = nn.TransformerEncoderLayer(8, 2, 12, 0.0, nn.GELU(), batch_first=True)
        self.causal = causal
        self.embedding, self.blocks = nn.Embedding(11, 8), nn.TransformerEncoder(block, 1, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> Any:
        hidden = self.blocks(self.embedding(input_ids), src_key_padding_mask=attention_mask == 0)
        logits, loss = self.head(hidden), None
        if labels is not None:
            ends = (logits[:, :-1], labels[:, 1:]) if self.causal else (logits, labels)
            loss = nn.functional.cross_entropy(ends[0].flatten(0, 1), ends[1].flatten())
        return types.SimpleNamespace(logits=logits, loss=loss)


def sequences(padding: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(4)
    ids, labels = (torch.randint(0, most, (5, 4), generator=generator) for most in (11, 3))
    nothing = torch.zeros(5, padding, dtype=torch.long)
    return {
        "input_ids": torch.cat([ids, nothing], 1),
        "attention_mask": torch.cat([torch.ones_like(ids), nothing], 1),
        "labels": torch.cat([labels, nothing - 100], 1),
    }


@pytest.mark.parametrize("kind", ["exact", "empirical"])
@pytest.mark.parametrize("layer", ["blocks.layers.0.linear1", "head"])
def test_padding_is_no_data(kind: str, layer: str) -> None:
    torch.manual_seed(5)
    model = Tagger().to(D).eval()
    plain, padded = (et.unit_fisher(model, sequences(padding), layer, kind=kind) for padding in (0, 9))
    close(padded.matrix, plain.matrix)
    close(padded.mean_under_p, plain.mean_under_p)
    batch = sequences(9)
    given = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    mask = given["attention_mask"].bool()
    for own in (mask, "attention_mask", lambda inputs: inputs["attention_mask"] == 1):
        found = et.unit_fisher(model, given, layer, mask=own, batch_size=2)
        close(found.matrix, et.unit_fisher(model, sequences(0), layer).matrix)
    assert et.unit_fisher(model, given, layer, mask=False).matrix.diagonal(dim1=1, dim2=2).sum() > 1.5 * (
        found.matrix.diagonal(dim1=1, dim2=2).sum()
    )


def test_padding_reaches_no_statistic_diagnosis_or_optimizer() -> None:
    torch.manual_seed(6)
    model = Tagger().to(D).eval()
    plain, padded = (
        et.layer_statistics(model, sequences(padding)).units("blocks.layers.0.activation") for padding in (0, 9)
    )
    assert padded.count == plain.count == 20
    close(padded.mean, plain.mean)
    mask = sequences(9)["attention_mask"].bool()
    found = et.layer_statistics(model, sequences(9), mask=mask, batch_size=2)
    close(found.units("blocks.layers.0.activation").variance, plain.variance)
    tables = [et.diagnose(model, sequences(padding), kind="exact") for padding in (0, 9)]
    assert {table.gradient_labels for table in tables} == {"targets"}  # those in the batch
    assert tables[0].table["layer"].tolist() == ["embedding", *tables[1].table["layer"]]
    numbers = [table.table.query("layer != 'embedding'").select_dtypes("number").to_numpy() for table in tables]
    torch.testing.assert_close(torch.tensor(numbers[1]), torch.tensor(numbers[0]), rtol=1e-6, atol=1e-8, equal_nan=True)
    assert "embedding.weight" in tables[1].uncovered
    with pytest.raises(InputError, match="'embedding' is an embedding of masked positions"):
        et.unit_fisher(model, sequences(9), "embedding")
    states = []
    for padding in (0, 9):
        copy = Tagger().to(D)
        copy.load_state_dict(model.state_dict())
        optimizer = et.UnitNaturalGradient(copy, lr=0.0, kind="exact", decay=0.0)
        copy(**sequences(padding)).loss.backward()
        optimizer.step()
        states.append(optimizer.state[copy.head.weight]["fisher"])
        optimizer.close()
    close(states[1], states[0])


def test_a_causal_models_labels_are_those_of_the_next_position() -> None:
    torch.manual_seed(7)
    model, batch = Tagger(causal=True).to(D).eval(), sequences(3)
    shifted = torch.full_like(batch["labels"], -100)
    shifted[:, :-1] = batch["labels"][:, 1:]
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
    found = et.unit_fisher(model, batch, "head", kind="empirical")
    close(found.matrix, et.unit_fisher(model, inputs, "head", kind="empirical", targets=shifted).matrix)
    odd = Tagger().to(D).eval()
    odd.forward = lambda **batch: types.SimpleNamespace(
        logits=Tagger.forward(odd, **batch).logits, loss=torch.tensor(9.0)
    )
    with pytest.raises(
        InputError, match="the model's own loss on the batch's labels, 9, is not the mean cross-entropy"
    ):
        et.unit_fisher(odd, batch, "head", kind="empirical")


def test_targets_of_minus_one_hundred_are_left_out() -> None:
    torch.manual_seed(8)
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ELU(), nn.Linear(4, 3)).to(D), torch.randn(6, 3, dtype=D)
    targets = torch.tensor([0, -100, 2, 1, -100, 0])
    kept = targets != -100
    for kind in ("exact", "empirical"):
        found = et.unit_fisher(model, (x, targets), "0", kind=kind)
        assert found.examples == 4
        close(found.matrix, et.unit_fisher(model, (x[kept], targets[kept]), "0", kind=kind).matrix)
    with pytest.raises(InputError, match="no example of a batch has a position that counts"):
        et.unit_fisher(model, (x, torch.full((6,), -100)), "0")


@pytest.mark.parametrize(
    ("last", "likelihood", "word"),
    [
        (nn.Softmax(-1), "categorical", "softmax"),
        (nn.Sigmoid(), "bernoulli", "sigmoid"),
        (nn.Softmax(-1), "bernoulli", "softmax"),
    ],
)
def test_probabilities_are_no_logits(last: nn.Module, likelihood: str, word: str) -> None:
    model, x = nn.Sequential(nn.Linear(3, 4), last), torch.randn(6, 3)
    with pytest.raises(InputError, match=f"its last function is a {word}.* takes logits; leave that function out"):
        et.unit_fisher(model, x, "0", likelihood=likelihood)
    optimizer = et.UnitNaturalGradient(model, lr=0.1, likelihood=likelihood)
    with pytest.raises(InputError, match="takes logits"):
        model(x)
    optimizer.close()


def test_masks_that_say_nothing_of_a_layer_are_told() -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 3, stride=2), nn.ELU(), nn.Flatten(), nn.Linear(9, 3)).to(D)
    x, mask = torch.randn(4, 2, 7, dtype=D), torch.ones(4, 7, dtype=torch.bool)
    with pytest.raises(InputError, match=r"layer '0' has positions of shape \(3,\), of which a mask of shape \(7,\)"):
        et.unit_fisher(model, x, "0", mask=mask)
    for mask in (torch.randn(4, 7), "absent"):
        with pytest.raises(InputError, match="mask"):
            et.unit_fisher(model, x, "0", mask=mask)
