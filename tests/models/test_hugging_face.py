"""Hugging Face's own models from tiny random configurations, against brute force; skipped without transformers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import elutheory as et
from elutheory.errors import InputError
from tests.references.users_models import D, brute_force, one_of

transformers: Any = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")


def ids(*shape: int, most: int = 11) -> Tensor:
    return torch.randint(3, most, shape, generator=torch.Generator().manual_seed(2))


MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
TOKENS = {"input_ids": ids(2, 4), "attention_mask": MASK}
IMAGES = {"pixel_values": torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=D)}
SMALL: dict[str, Any] = {"vocab_size": 12, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 5, "num_labels": 3, "attn_implementation": "eager"}

Case = tuple[Callable[[], Any], dict[str, Tensor], str, Tensor | None, dict[str, Any]]
CASES: dict[str, Case] = {
    "BERT, one label": (
        lambda: transformers.BertForSequenceClassification(transformers.BertConfig(**SMALL)),
        TOKENS,
        "bert.encoder.layer.0.intermediate.dense",
        None,
        {},
    ),
    "BERT, a label each token": (
        lambda: transformers.BertForTokenClassification(transformers.BertConfig(**SMALL)),
        TOKENS,
        "bert.encoder.layer.0.attention.self.query",
        MASK,
        {},
    ),
    "BERT, labels in the batch": (
        lambda: transformers.BertForTokenClassification(transformers.BertConfig(**SMALL)),
        TOKENS | {"labels": torch.where(MASK == 1, ids(2, 4) % 3, -100)},
        "classifier",
        MASK,
        {},
    ),
    "GPT-2, one label": (
        lambda: transformers.GPT2ForSequenceClassification(
            transformers.GPT2Config(
                vocab_size=12, n_embd=4, n_layer=1, n_head=2, n_positions=8, num_labels=3, pad_token_id=0
            )
        ),
        {"input_ids": ids(2, 4)},
        "score",
        None,
        {},
    ),
    "Llama": (
        lambda: transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**SMALL | {"num_key_value_heads": 1}, tie_word_embeddings=False)
        ),
        TOKENS,
        "model.layers.0.mlp.gate_proj",
        MASK,
        {},
    ),
    "T5": (
        lambda: transformers.T5ForConditionalGeneration(
            transformers.T5Config(
                vocab_size=12, d_model=4, d_kv=2, d_ff=5, num_layers=1, num_heads=2, tie_word_embeddings=False
            )
        ),
        TOKENS | {"decoder_input_ids": ids(2, 3)},
        "decoder.block.0.layer.2.DenseReluDense.wi",
        None,
        {"mask": False},
    ),
    "ViT": (
        lambda: transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL, image_size=8, patch_size=4)),
        IMAGES,
        "vit.embeddings.patch_embeddings.projection",
        None,
        {},
    ),
    "ConvNeXt": (
        lambda: transformers.ConvNextForImageClassification(
            transformers.ConvNextConfig(
                hidden_sizes=[4, 4], depths=[1, 1], num_stages=2, patch_size=2, num_labels=3, layer_scale_init_value=0.5
            )
        ),
        IMAGES,
        "classifier",
        None,
        {},
    ),
    "ResNet": (
        lambda: transformers.ResNetForImageClassification(
            transformers.ResNetConfig(
                embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], num_labels=3, layer_type="basic"
            )
        ),
        IMAGES,
        "resnet.embedder.embedder.convolution",
        None,
        {},
    ),
}


def model_of(make: Callable[[], Any]) -> Any:
    torch.manual_seed(0)
    model = make().to(D).eval()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("name", CASES)
def test_right(name: str) -> None:
    make, inputs, layer, counting, options = CASES[name]
    model = model_of(make)

    def run(example: int) -> Tensor:
        alone = {key: value for key, value in one_of(inputs, example).items() if key != "labels"}
        return model(**alone).logits.reshape(-1, model(**alone).logits.shape[-1])

    expected = brute_force(model.get_submodule(layer), run, 2, "categorical", counting)
    found = et.unit_fisher(model, inputs, layer, **options)
    assert float(expected.abs().max()) > 0
    torch.testing.assert_close(found.matrix, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_every_layer_is_covered_or_refused_with_a_reason() -> None:
    for name in ("BERT, a label each token", "GPT-2, one label", "Llama"):
        make, inputs, _, _, options = CASES[name]
        model = model_of(make)
        found = et.diagnose(model, inputs, units=2, **options)
        covered = {f"{layer}." for layer in found.table["layer"]}
        for parameter, _ in model.named_parameters():
            assert (parameter in found.uncovered) != any(parameter.startswith(layer) for layer in covered)
        assert all(reason.endswith(".") for reason in found.uncovered.values())


def test_what_is_tied_is_told_and_what_is_transposed_is_covered() -> None:
    config = transformers.GPT2Config(vocab_size=12, n_embd=4, n_layer=1, n_head=2, n_positions=8)
    model = model_of(lambda: transformers.GPT2LMHeadModel(config))
    with pytest.raises(InputError, match="tied to an embedding"):
        et.unit_fisher(model, {"input_ids": ids(2, 4)}, "lm_head")
    assert et.unit_fisher(model, {"input_ids": ids(2, 4)}, "transformer.h.0.mlp.c_fc").shape == (16, 5)
