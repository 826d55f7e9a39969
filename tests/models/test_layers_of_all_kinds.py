"""Every kind of layer, against the gradients of single examples by plain autograd, label by label."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f
from torch.nn.utils import parametrize, prune

import elutheory as et
from elutheory.errors import InputError
from elutheory.models.layers import layers_of

D = torch.float64


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=D)


def words(*shape: int, count: int = 9) -> Tensor:
    return torch.randint(0, count, shape, generator=torch.Generator().manual_seed(2))


def rows(weight: Tensor) -> Tensor:
    return weight.flatten(1)


def columns(weight: Tensor) -> Tensor:
    return weight.T


class Conv1D(nn.Module):
    """GPT-2's layer: its weight is (fan_in, units), and it joins all axes but the last."""

    def __init__(self, units: int, fan_in: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(fan_in, units)), nn.Parameter(torch.randn(units))

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return joined.view(*x.shape[:-1], len(self.bias))


class Attention(nn.Module):
    def __init__(self, batch_first: bool = True, kdim: int | None = None, causal: bool = False, **options: Any) -> None:
        super().__init__()
        vdim = None if kdim is None else kdim + 1
        self.attention = nn.MultiheadAttention(4, 2, batch_first=batch_first, kdim=kdim, vdim=vdim, **options)
        self.head, self.causal = nn.Linear(4, 3), causal

    def forward(self, x: Tensor) -> Tensor:
        own = self.attention
        inputs = [x, x[..., : own.kdim], torch.cat([x, x], -1)[..., : own.vdim]]
        if not own.batch_first:
            inputs = [one.transpose(0, 1) for one in inputs]
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1) if self.causal else None
        out = own(*inputs, attn_mask=mask, need_weights=self.causal)[0]
        return self.head((out if own.batch_first else out.transpose(0, 1)).mean(1))


class Flattened(nn.Module):
    """A network, tanh and a head."""

    def __init__(self, network: nn.Module, inputs: Tensor) -> None:
        super().__init__()
        self.network, out = network.double(), network.double()(inputs)
        self.head = nn.Linear((out[0] if isinstance(out, tuple) else out)[0].numel(), 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.network(x)
        return self.head((out[0] if isinstance(out, tuple) else out).tanh().flatten(1))


class Pairs(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.pairs = nn.Bilinear(3, 2, 4, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.pairs(x[..., :3], x[..., 3:].tanh())


class Steps(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        state: Any = None
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return state[0] if isinstance(state, tuple) else state


class Tied(nn.Module):
    """Two layers of one weight, and, `biases`, of one bias."""

    def __init__(self, biases: bool, functional: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight, self.functional = self.first.weight, functional
        if biases:
            self.second.bias = self.first.bias

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x).tanh())
        return f.linear(x.tanh(), self.first.weight, self.first.bias) if self.functional else x


class Raw(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(4, 5))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix


class LoRA(nn.Linear):
    """A subclass with a low-rank correction of its own, as loralib's."""

    def __init__(self, merged: bool = False) -> None:
        super().__init__(4, 5)
        self.lora_A, self.lora_B = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.randn(5, 2))
        self.merged = merged

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            return f.linear(x, self.weight + 0.5 * (self.lora_B @ self.lora_A), self.bias)
        return f.linear(x, self.weight, self.bias) + x @ self.lora_A.T @ self.lora_B.T * 0.5


class Affine(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 1.0 - weight / 2


class Masked(nn.Module):
    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).T


def parametrised(parametrisation: nn.Module, layer: nn.Module | None = None) -> nn.Module:
    return parametrize.register_parametrization(layer or nn.Linear(4, 4), "weight", parametrisation)


@dataclass(frozen=True)
class Case:
    """A network under a head, what it is run on, and of the layer its parameters' names and weight's layout."""

    make: Callable[[], nn.Module]
    inputs: Tensor
    layer: str
    weight: str
    bias: str | None
    by_unit: Callable[[Tensor], Tensor] = rows
    of_bias: slice = field(default_factory=lambda: slice(None))


X, SEQUENCES = normal(4, 4), normal(4, 3, 4)


def attentions() -> Iterator[tuple[str, Case]]:
    for options in ({}, {"batch_first": False}, {"kdim": 3}, {"bias": False}, {"causal": True}, {"add_bias_kv": True}):
        for place, part in enumerate("qkv"):
            own = slice(4 * place, 4 * place + 4)
            apart = "kdim" in options
            yield (
                f"attention {options}, {part}",
                Case(
                    lambda options=options: Attention(**options),
                    SEQUENCES,
                    f"attention.{part}",
                    f"attention.{part}_proj_weight" if apart else "attention.in_proj_weight",
                    None if "bias" in options else "attention.in_proj_bias",
                    rows if apart else lambda weight, own=own: weight[own],
                    own,
                ),
            )
    out = ("attention.out_proj", "attention.out_proj.weight", "attention.out_proj.bias")
    yield "attention, out", Case(lambda: Attention(), SEQUENCES, *out)


def transposed_convolutions() -> Iterator[tuple[str, Case]]:
    kinds = ((nn.ConvTranspose1d, (5,)), (nn.ConvTranspose2d, (3, 4)), (nn.ConvTranspose3d, (2, 2, 2)))
    settings = (
        {},
        {"stride": 2, "padding": 1, "output_padding": 1},
        {"dilation": 2, "groups": 2, "bias": False},
        {"stride": 3, "padding": 2, "groups": 2},
    )
    for kind, space in kinds:
        for options in settings:
            groups = options.get("groups", 1)

            def by_unit(weight: Tensor, groups: int = groups) -> Tensor:
                return torch.cat([part.transpose(0, 1).flatten(1) for part in weight.chunk(groups)])

            inputs = normal(2, 2, *space)
            bias = "network.bias" if options.get("bias", True) else None
            yield (
                f"{kind.__name__} {options}",
                Case(
                    lambda kind=kind, options=options, inputs=inputs: Flattened(kind(2, 4, 3, **options), inputs),
                    inputs,
                    "network",
                    "network.weight",
                    bias,
                    by_unit,
                ),
            )


def recurrent() -> Iterator[tuple[str, Case]]:
    inputs = normal(3, 3, 2)
    settings: list[tuple[Any, dict[str, Any]]] = [
        (kind, options)
        for kind in (nn.LSTM, nn.GRU, nn.RNN)
        for options in ({}, {"num_layers": 2, "bidirectional": True}, {"bias": False})
    ]
    settings += [(nn.LSTM, {"proj_size": 2}), (nn.RNN, {"nonlinearity": "relu"})]
    for kind, options in settings:

        def make(kind: Any = kind, options: Any = options) -> nn.Module:
            return Flattened(kind(2, 3, batch_first=True, **options), inputs)

        for name in layers_of(make()):
            key = name.removeprefix("network.")
            if key != name:
                bias = None if "bias" in options or key.startswith("hr") else f"network.bias_{key}"
                yield f"{kind.__name__} {options}, {key}", Case(make, inputs, name, f"network.weight_{key}", bias)
    for cell in (nn.LSTMCell, nn.GRUCell, nn.RNNCell):
        for key in ("ih", "hh"):
            own = (f"network.cell.{key}", f"network.cell.weight_{key}", f"network.cell.bias_{key}")
            yield (
                f"{cell.__name__}, {key}",
                Case(lambda cell=cell: Flattened(Steps(cell(2, 3)), inputs), inputs, *own),
            )


def on(network: Callable[[], nn.Module], inputs: Tensor) -> Callable[[], nn.Module]:
    return lambda: Flattened(network(), inputs)


def embedded(**options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Embedding(9, 4, **options)


CASES: dict[str, Case] = {
    "Conv1D": Case(
        on(lambda: Conv1D(5, 4), SEQUENCES), SEQUENCES, "network", "network.weight", "network.bias", columns
    ),
    **dict(attentions()),
    **dict(transposed_convolutions()),
    **dict(recurrent()),
    "embedding": Case(on(embedded(), words(4, 3)), words(4, 3), "network", "network.weight", None, columns),
    "embedding, padded": Case(
        on(embedded(padding_idx=1), words(4, 3)), words(4, 3), "network", "network.weight", None, columns
    ),
    "embedding of one word": Case(on(embedded(), words(4)), words(4), "network", "network.weight", None, columns),
    "bilinear": Case(
        on(lambda: Pairs(True), normal(4, 5)),
        normal(4, 5),
        "network.pairs",
        "network.pairs.weight",
        "network.pairs.bias",
    ),
    "bilinear, sequences": Case(
        on(lambda: Pairs(False), normal(3, 2, 5)), normal(3, 2, 5), "network.pairs", "network.pairs.weight", None
    ),
    "tied": Case(on(lambda: Tied(True), X), X, "network.second", "network.first.weight", "network.first.bias"),
    "tied and functional": Case(
        on(lambda: Tied(True, True), X), X, "network.first", "network.first.weight", "network.first.bias"
    ),
    "tied, biases apart": Case(on(lambda: Tied(False), X), X, "network.first", "network.first.weight", None),
    "a matrix of its own": Case(on(Raw, X), X, "network.matrix", "network.matrix", None, columns),
    "LoRA, A": Case(on(LoRA, X), X, "network.lora_A", "network.lora_A", None),
    "LoRA, B": Case(on(LoRA, X), X, "network.lora_B", "network.lora_B", None),
    "LoRA, the weight": Case(on(LoRA, X), X, "network", "network.weight", "network.bias"),
    "LoRA, merged": Case(on(lambda: LoRA(True), X), X, "network", "network.weight", "network.bias"),
    "pruned": Case(
        on(lambda: prune.random_unstructured(nn.Linear(4, 5), "weight", 0.4), X),
        X,
        "network",
        "network.weight_orig",
        "network.bias",
    ),
    "pruned convolution": Case(
        on(lambda: prune.random_unstructured(nn.Conv2d(2, 4, 2, groups=2), "weight", 0.4), normal(2, 2, 3, 3)),
        normal(2, 2, 3, 3),
        "network",
        "network.weight_orig",
        "network.bias",
    ),
    "an affine parametrisation": Case(
        on(lambda: parametrised(Affine()), X), X, "network", "network.parametrizations.weight.original", "network.bias"
    ),
    "a masked parametrisation": Case(
        on(lambda: parametrised(Masked(normal(4, 4) > 0)), X),
        X,
        "network",
        "network.parametrizations.weight.original",
        "network.bias",
    ),
}


def by_autograd(model: nn.Module, case: Case) -> Tensor:
    """E_y[score scoreᵀ] of every example and unit: (examples, units, coordinates, coordinates)."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    own = [parameters[name] for name in (case.weight, case.bias) if name is not None]
    found = []
    for example in case.inputs.split(1):
        total: Any = 0.0
        for log_probability in model(example).log_softmax(-1)[0]:
            gradients = torch.autograd.grad(log_probability, own, retain_graph=True)
            score = case.by_unit(gradients[0])
            if case.bias is not None:
                score = torch.cat([gradients[1][case.of_bias, None], score], dim=1)
            total = total + log_probability.exp().detach() * score[:, :, None] * score[:, None, :]
        found.append(total)
    return torch.stack(found)


def made(case: Case) -> nn.Module:
    torch.manual_seed(3)
    model = case.make().double().eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data.copy_(torch.rand(parameter.shape))
    return model


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_autograd(name: str) -> None:
    case = CASES[name]
    model = made(case)
    expected = by_autograd(model, case).mean(0)
    found = et.unit_fisher(model, case.inputs, case.layer, batch_size=3)
    if found.words is not None:
        seen = torch.zeros(expected.shape[-1], dtype=torch.bool)
        seen[found.words] = True
        assert not expected[:, ~seen].any()
        expected = expected[:, seen][:, :, seen]
    torch.testing.assert_close(found.matrix, expected, rtol=1e-12, atol=1e-12 * float(expected.abs().max()))
    assert float(expected.abs().max()) > 0


def test_words_come_one_batch_after_the_other() -> None:
    """Batches, and matrices merged, that have words of their own: the same as all at once, in either form."""
    case = CASES["embedding"]
    model, inputs = made(case), words(12, 3)
    for sharing in ("exact", "positionwise"):
        whole = et.unit_fisher(model, inputs, "network", weight_sharing=sharing)
        parts = [et.unit_fisher(model, part, "network", weight_sharing=sharing) for part in inputs.split(2)]
        merged = parts[0]
        for part in parts[1:]:
            merged.merge(part)
        assert merged.words is not None
        assert whole.words is not None
        assert torch.equal(merged.words, whole.words)
        assert torch.equal(whole.words, inputs.unique())
        torch.testing.assert_close(merged.matrix, whole.matrix, rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(merged.mean_under_p, whole.mean_under_p, rtol=1e-12, atol=1e-15)
        back = et.UnitFisher.from_bytes(merged.to_bytes())
        assert back.words is not None
        assert torch.equal(back.words, merged.words)


def test_thirty_thousand_words() -> None:
    """Only the words that occur have coordinates, of which there are few."""
    model = nn.Sequential(nn.Embedding(30_000, 4), nn.Flatten(), nn.Linear(64, 3))
    found = et.unit_fisher(model, words(32, 16, count=30_000), "0")
    assert found.words is not None
    assert found.shape == (4, len(found.words))
    assert len(found.words) <= 512
    step = found.natural_gradient(torch.ones(found.shape), 0.1, relative=True)
    assert step.isfinite().all()


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.decoder = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        self.decoder.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.embedding(x).tanh())


class Standardised(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return f.linear(x, self.weight - self.weight.mean(1, keepdim=True), self.bias)


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.full((len(x),), 2), batch_first=True)
        return self.lstm(packed)[1][0][-1]


@pytest.mark.parametrize(
    ("make", "inputs", "layer", "message"),
    [
        (Decoder, words(3, 2, count=7), "decoder", "in two ways.*decoder tied to an embedding"),
        (Decoder, words(3, 2, count=7), "embedding", "in two ways.*decoder tied to an embedding"),
        (lambda: Standardised(4, 3), X, "", "in another way than as a linear map"),
        (lambda: parametrised(Symmetric()), X, "", "from other parameters .*not linearly in them"),
        (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), X, "", "not linearly in them; remove"),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), X, "", "not linearly in them; remove"),
        (lambda: LoRA(True), X, "lora_A", "in another way than as a linear map"),
        (Packed, SEQUENCES, "lstm.ih_l0", "in another way than as a linear map"),
    ],
)
def test_what_is_not_linear_in_its_weights_is_refused(
    make: Callable[[], nn.Module], inputs: Tensor, layer: str, message: str
) -> None:
    torch.manual_seed(0)
    model = make().double().eval()
    with pytest.raises(InputError, match=message) as caught:
        et.unit_fisher(model, inputs, layer)
    assert str(caught.value).endswith(".")


def test_everything_is_covered_or_named_once() -> None:
    model = nn.Sequential(nn.Embedding(7, 4), Flattened(nn.GRU(4, 3, batch_first=True), normal(2, 3, 4))).double()
    diagnosis = et.diagnose(model.eval(), words(20, 3, count=7), units=2)
    assert list(diagnosis.table["layer"]) == ["0", "1.network.ih_l0", "1.network.hh_l0", "1.head"]
    assert diagnosis.uncovered == {}
