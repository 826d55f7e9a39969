"""A table of models as users bring them: Fisher matrices right by brute-force autograd, or refused in one sentence.

Never a wrong number without a word. Every row of SITUATIONS says how the model is made, on which data, and what is so.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import elutheory as et
from elutheory.errors import InputError
from tests.references.users_models import (
    T5,
    Bert,
    Checkpointed,
    ConvNeXtBlock,
    D,
    Experts,
    FunctionalWeights,
    Gpt2,
    ImageAutoencoder,
    Llama,
    Loop,
    LoRA,
    Mixer,
    Recurrent,
    ResidualBlock,
    Siamese,
    TemporalConvolutions,
    UNet,
    VisionTransformer,
    Wrapped,
    brute_force,
    one_of,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*(TorchScript|torch.jit|deprecated|nested)")


@dataclass(frozen=True)
class Situation:
    """`make` a model; `inputs`; `layers` that are right, each; or the sentence with which the first is `refused`.

    - `read`: what the model returns to outputs (examples, positions..., classes);
    - `counting`: which positions have labels; `options`: of `unit_fisher`; `prepare`: the model before use.
    """

    make: Callable[[], nn.Module]
    inputs: Any
    layers: tuple[str, ...]
    refused: str | None = None
    read: Callable[[Any], Tensor] = lambda returned: getattr(returned, "logits", returned)
    counting: Tensor | None = None
    options: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[nn.Module], Any] = lambda model: model.eval()
    dtype: torch.dtype = D
    around: Callable[[], Any] = contextlib.nullcontext


def normal(*shape: int, dtype: torch.dtype = D) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def ids(*shape: int, most: int = 5) -> Tensor:
    return torch.randint(0, most, shape, generator=torch.Generator().manual_seed(2))


def mlp(activation: Callable[[], nn.Module] = nn.ELU, last: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), activation(), nn.Linear(4, 4), activation(), nn.Linear(4, last))


def dying() -> nn.Sequential:
    model = mlp(nn.ReLU)
    model[0].bias.data[1] = -1e3
    return model


def first_frozen() -> nn.Sequential:
    model = mlp()
    model[0].requires_grad_(False)
    return model


def twice() -> nn.Sequential:
    shared = nn.Linear(4, 4)
    return nn.Sequential(nn.Linear(3, 4), nn.ELU(), shared, nn.ELU(), shared, nn.Linear(4, 2))


def classes_last(outputs: Tensor) -> Tensor:
    return outputs.movedim(1, -1)


PADDED = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])
IGNORED = torch.where(PADDED == 1, ids(3, 4, most=3), -100)
TOKENS = {"input_ids": ids(3, 4, most=9), "attention_mask": PADDED}
TRANSLATION = {"input_ids": ids(3, 4), "attention_mask": PADDED, "decoder_input_ids": ids(3, 3)}
LONGER = {"input_ids": ids(3, 4), "attention_mask": PADDED}
X, IMAGES, SEQUENCES = normal(3, 3), normal(3, 1, 4, 4), normal(3, 4, 3)
AUTOCAST = lambda: torch.autocast("cpu", torch.bfloat16)  # noqa: E731

SITUATIONS: dict[str, Situation] = {
    # perceptrons, dtypes, labels
    "perceptron": Situation(mlp, X, ("0", "2", "4")),
    "float32": Situation(mlp, X.float(), ("0", "4"), dtype=torch.float32),
    "SELU, one example": Situation(lambda: mlp(nn.SELU), X[:1], ("0",)),
    "dead units": Situation(dying, X, ("0", "2")),
    "bfloat16": Situation(
        mlp, X.bfloat16(), ("0",), "weights of torch.bfloat16; torch.float32 or torch.float64 is", dtype=torch.bfloat16
    ),
    "half": Situation(mlp, X.half(), ("0",), "weights of torch.float16", dtype=torch.float16),
    "autocast": Situation(mlp, X.float(), ("0",), "leave the autocast context", dtype=torch.float32, around=AUTOCAST),
    "inputs of another dtype": Situation(mlp, X.float(), ("0",), "convert one of them"),
    "several labels": Situation(mlp, X, ("0", "4"), options={"likelihood": "bernoulli"}),
    "regression": Situation(mlp, X, ("2",), options={"likelihood": "gaussian"}),
    "regression of one number, flat": Situation(
        lambda: nn.Sequential(*mlp(last=1), nn.Flatten(0)),
        X,
        ("0",),
        read=lambda outputs: outputs[:, None],
        options={"likelihood": "gaussian"},
    ),
    "one logit": Situation(lambda: mlp(last=1), X, ("0",), 'two classes it is likelihood="bernoulli"'),
    "softmax at the end": Situation(
        lambda: nn.Sequential(*mlp(), nn.Softmax(1)), X, ("0",), "takes logits; leave that"
    ),
    "log-softmax at the end": Situation(lambda: nn.Sequential(*mlp(), nn.LogSoftmax(1)), X, ("0", "4")),
    "NaN in the data": Situation(mlp, X / 0 * 0, ("0",), "contain NaN or infinity"),
    "NaN in the weights": Situation(
        mlp, X, ("0",), "outputs contain NaN", prepare=lambda model: model[2].weight.data.fill_(torch.nan)
    ),
    # modes and modules
    "batch normalisation": Situation(
        lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)), X, ("0", "3")
    ),
    "batch normalisation while training": Situation(
        lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)),
        X,
        ("0",),
        r"training mode, .*call model\.eval\(\)",
        prepare=lambda model: model.train(),
    ),
    "dropout while training": Situation(
        lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 3)),
        X,
        ("0",),
        r"call model\.eval\(\)",
        prepare=lambda model: model.train(),
    ),
    "frozen layers": Situation(first_frozen, X, ("0", "2")),
    "a checkpointed block": Situation(Checkpointed, X, ("block.0", "block.2")),
    "a layer called twice": Situation(twice, X, ("0", "2")),
    "weight norm": Situation(
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)), nn.ELU(), nn.Linear(3, 2)),
        X,
        ("0",),
        "computes its weight or bias from other parameters .*remove it first",
    ),
    "an embedding's bag by name": Situation(
        lambda: nn.Sequential(nn.EmbeddingBag(5, 3), nn.Linear(3, 2)), ids(3, 2), ("0",), "is a EmbeddingBag, not a"
    ),
    "a name that is not there": Situation(mlp, X, ("9",), "no layer '9'; the layers are '0'"),
    "compiled": Situation(lambda: mlp(), X, ("0",), "compiled", prepare=lambda model: model.compile()),
    "data parallel": Situation(lambda: nn.DataParallel(mlp()), X, ("module.0",), r"pass its \.module"),
    "no values yet": Situation(lambda: nn.Sequential(nn.LazyLinear(3)), X, ("0",), "run the model once first"),
    "meta device": Situation(mlp, X, ("0",), "without values", prepare=lambda model: model.to("meta")),
    "a tied decoder": Situation(lambda: FunctionalWeights("tied"), X, ("layer",), "has its weight used in two ways"),
    "a cosine head": Situation(lambda: FunctionalWeights("cosine"), X, ("layer",), "used in another way"),
    "layers before a cosine head": Situation(lambda: FunctionalWeights("cosine"), X, ("head",)),
    "no influence": Situation(
        lambda: Wrapped(mlp(), lambda outputs: outputs.detach() * 1.0), X, ("network.0",), "do not depend on layer"
    ),
    "LoRA": Situation(
        lambda: nn.Sequential(LoRA(nn.Linear(3, 4)), nn.ELU(), LoRA(nn.Linear(4, 2))), X, ("0.base", "0.A", "2.B")
    ),
    "siamese": Situation(Siamese, {"left": X, "right": normal(3, 3) ** 2}, ("encoder", "head")),
    "siamese, inputs in a tuple": Situation(
        Siamese, ((X, X), ids(3, most=2)), ("encoder",), "several arguments of the model by their names"
    ),
    "experts": Situation(Experts, normal(6, 3), ("experts.0",), "examples must be the first of|called"),
    "a head behind experts": Situation(Experts, normal(6, 3), ("head",)),
    "examples coupled in the batch": Situation(
        lambda: Wrapped(mlp(), lambda outputs: outputs - outputs.mean(0)), X, ("network.0",), "when it is run alone"
    ),
    "random in evaluation mode": Situation(
        lambda: Wrapped(mlp(), lambda outputs: outputs + torch.randn_like(outputs)), X, ("network.0",), "random numbers"
    ),
    # images
    "convolutions": Situation(
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ELU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3, 3)),
        IMAGES,
        ("0",),
    ),
    "channels last": Situation(
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ELU(), nn.Conv2d(3, 2, 2), nn.Flatten()).to(
            memory_format=torch.channels_last
        ),
        IMAGES.to(memory_format=torch.channels_last),
        ("0", "2"),
    ),
    "ResNet": Situation(ResidualBlock, normal(3, 2, 4, 4), ("conv1", "conv2", "downsample.0", "fc")),
    "ConvNeXt": Situation(ConvNeXtBlock, normal(2, 4, 3, 3), ("dwconv", "pwconv1", "head")),
    "Vision Transformer": Situation(
        VisionTransformer, {"pixel_values": IMAGES}, ("patches", "attention.value", "fc1", "head")
    ),
    "Mixer": Situation(Mixer, normal(3, 5, 3), ("across_positions", "across_channels")),
    "segmentation": Situation(UNet, IMAGES[:2], ("down", "middle", "head"), read=classes_last),
    "segmentation in a dictionary": Situation(
        lambda: UNet("out"),
        IMAGES[:2],
        ("middle",),
        read=lambda returned: classes_last(returned["out"]),
        options={"output": "out"},
    ),
    "segmentation in a dictionary, no key": Situation(
        lambda: UNet("out"), IMAGES[:2], ("middle",), "output= to say which of it they are"
    ),
    "an autoencoder of images": Situation(
        ImageAutoencoder,
        IMAGES[:2],
        ("encoder",),
        read=lambda outputs: outputs.flatten(1)[:, None],
        options={"likelihood": "bernoulli"},
    ),
    "a normalisation by name": Situation(
        lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)), X, ("1",), "is a LayerNorm, not a layer"
    ),
    "videos": Situation(
        lambda: nn.Sequential(nn.Conv3d(1, 2, 2), nn.ELU(), nn.Flatten(), nn.Linear(16, 2)),
        normal(2, 1, 3, 3, 3),
        ("0",),
    ),
    # sequences
    "audio, dilated and causal": Situation(
        TemporalConvolutions, normal(2, 2, 4), ("first", "second", "head"), read=classes_last
    ),
    "audio, weight norm": Situation(
        lambda: TemporalConvolutions(nn.utils.parametrizations.weight_norm),
        normal(2, 2, 4),
        ("first",),
        "remove it first",
    ),
    "classes that nothing tells": Situation(
        lambda: Wrapped(nn.Linear(3, 2), lambda outputs: torch.einsum("npc->ncp", outputs)),
        SEQUENCES,
        ("network",),
        "give class_axis=",
    ),
    "classes that are told": Situation(
        lambda: Wrapped(nn.Linear(3, 2), lambda outputs: torch.einsum("npc->ncp", outputs)),
        SEQUENCES,
        ("network",),
        read=classes_last,
        options={"class_axis": 1},
    ),
    "LSTM": Situation(lambda: Recurrent(True, False), SEQUENCES, ("hidden", "head")),
    "LSTM, last step": Situation(lambda: Recurrent(True, True), SEQUENCES, ("hidden",)),
    "LSTM, sequence first": Situation(
        lambda: Recurrent(False, False),
        normal(4, 3, 3),
        ("hidden",),
        read=lambda outputs: outputs.transpose(0, 1),
        options={"batch_axis": 1},
    ),
    "LSTM, sequence first, not told": Situation(
        lambda: Recurrent(False, False), normal(4, 3, 3), ("hidden",), "give batch_axis="
    ),
    "recurrent by hand": Situation(Loop, SEQUENCES, ("cell", "head")),
    "torch's Transformer": Situation(
        lambda: nn.Sequential(nn.TransformerEncoderLayer(4, 2, 5, 0.0, batch_first=True), nn.Linear(4, 2)),
        normal(2, 3, 4),
        ("0.linear1", "1"),
    ),
    "torch's attention output": Situation(
        lambda: nn.Sequential(nn.TransformerEncoderLayer(4, 2, 5, 0.0, batch_first=True), nn.Linear(4, 2)),
        normal(2, 3, 4),
        ("0.self_attn.out_proj",),
    ),
    "torch's Transformer, sequence first": Situation(
        lambda: nn.Sequential(nn.TransformerEncoderLayer(4, 2, 5, 0.0), nn.Linear(4, 2)),
        normal(3, 2, 4),
        ("1",),
        "give batch_axis=",
    ),
    "BERT, one label": Situation(
        lambda: Bert(False), TOKENS, ("attention.query", "attention.key", "intermediate", "pooler", "classifier")
    ),
    "BERT, a label each token": Situation(
        lambda: Bert(True), TOKENS, ("attention.value", "output", "classifier"), counting=PADDED
    ),
    "BERT, labels in the batch": Situation(
        lambda: Bert(True), TOKENS | {"labels": IGNORED}, ("intermediate",), counting=PADDED
    ),
    "BERT, mask of other positions": Situation(
        lambda: Bert(True),
        TOKENS,
        ("intermediate",),
        "of which a mask of shape .*give mask=",
        options={"mask": torch.ones(3, 7, dtype=torch.bool)},
    ),
    "GPT-2": Situation(Gpt2, {"input_ids": ids(3, 3)}, ("attention.query", "attention.out")),
    "GPT-2, its tied head": Situation(
        Gpt2, {"input_ids": ids(3, 3)}, ("lm_head",), "its weight used in two ways.*tied to an embedding"
    ),
    "GPT-2, untied": Situation(lambda: Gpt2(False), {"input_ids": ids(2, 3)}, ("lm_head",)),
    "Llama": Situation(Llama, {"input_ids": ids(2, 3)}, ("attention.key", "gate_proj", "down_proj", "lm_head")),
    "Llama, padded": Situation(Llama, LONGER, ("up_proj",), counting=PADDED),
    "T5, a mask of the encoder alone": Situation(
        T5, TRANSLATION, ("wi",), "model's output has positions of shape .*give mask="
    ),
    "T5": Situation(
        T5,
        TRANSLATION,
        ("encoder_wi", "cross.key", "decoder.query", "wi", "lm_head"),
        counting=None,
        options={"mask": False},
    ),
}


def prepared(situation: Situation) -> nn.Module:
    """With numbers everywhere that are nothing special: normalisations and biases start as 1 and 0."""
    torch.manual_seed(3)
    model = situation.make()
    if not any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
        model = model.to(situation.dtype)
        generator = torch.Generator().manual_seed(4)
        for tensor in (*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())):
            if tensor.ndim == 1 and tensor.abs().max() < 10:
                tensor.data.add_(0.3 * torch.rand(tensor.shape, generator=generator, dtype=D).to(tensor.dtype))
    model.eval()
    situation.prepare(model)
    return model


RIGHT = [(name, layer) for name, one in SITUATIONS.items() if one.refused is None for layer in one.layers]
REFUSED = [name for name, one in SITUATIONS.items() if one.refused is not None]


def test_the_table_is_long_enough() -> None:
    assert len(SITUATIONS) >= 70
    assert min(len({name for name, _ in RIGHT}), len(REFUSED)) >= 30


@pytest.mark.parametrize(("name", "layer"), RIGHT)
def test_right(name: str, layer: str) -> None:
    one = SITUATIONS[name]
    model, axis = prepared(one), one.options.get("batch_axis", 0)
    found = et.unit_fisher(model, one.inputs, layer, **one.options)

    def run(example: int) -> Tensor:
        alone = one_of(one.inputs, example, axis)
        outputs = one.read(model(**alone) if isinstance(alone, dict) else model(alone))[0]
        return outputs.reshape(-1, outputs.shape[-1])

    module = model.get_submodule(layer)
    examples = found.examples
    expected = brute_force(module, run, examples, one.options.get("likelihood", "categorical"), one.counting)
    rounding = 1e-9 if one.dtype == D else 1e-4
    torch.testing.assert_close(found.matrix, expected, rtol=rounding, atol=rounding * float(expected.abs().max()))
    assert float(expected.abs().max()) > 0
    dead = expected.abs().flatten(1).amax(1) == 0
    assert torch.equal(found.dead, dead)
    step = found.natural_gradient(torch.ones_like(found.matrix[:, 0]), 0.1, relative=True)
    assert torch.equal(step.isnan().any(1), dead)


@contextlib.contextmanager
def one_sentence(of: str) -> Iterator[None]:
    with pytest.raises(InputError, match=of) as refused:
        yield
    text = str(refused.value)
    assert text.endswith(".") or "fails:" in text, text
    assert len(text.splitlines()) == 1, text


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    one = SITUATIONS[name]
    model = prepared(one)
    with one.around(), one_sentence(str(one.refused)):
        et.unit_fisher(model, one.inputs, one.layers[0], **one.options)


def test_padding_means_nothing_to_attention() -> None:
    """What the table's masked models must hold: with padding cut off the same F comes out, example by example."""
    model = prepared(SITUATIONS["BERT, a label each token"])
    padded = et.unit_fisher(model, TOKENS, "intermediate").matrix * 3
    alone = [
        et.unit_fisher(
            model, {key: value[n : n + 1, : int(PADDED[n].sum())] for key, value in TOKENS.items()}, "intermediate"
        ).matrix
        for n in range(3)
    ]
    torch.testing.assert_close(padded, torch.stack(alone).sum(0))
