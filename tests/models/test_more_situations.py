"""More of the table in `test_situations.py`: models of other families, and data as they come."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f

import elutheory as et
from tests.models.test_situations import (
    IMAGES,
    PADDED,
    SEQUENCES,
    TOKENS,
    Situation,
    X,
    classes_last,
    ids,
    mlp,
    normal,
    one_sentence,
    prepared,
)
from tests.references.more_users_models import (
    Blocks,
    BothWays,
    Dense,
    Function,
    Graph,
    Headed,
    Packed,
    Paired,
    Pooled,
    SelfAttention,
    Squeezed,
    as_object,
)
from tests.references.users_models import Bert, D, brute_force, one_of

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")
LENGTHS = torch.tensor([4, 2, 3])
STEPS = torch.arange(4) < LENGTHS[:, None]
LEFT = PADDED.flip(1)


def convolution(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, nn.ELU(), nn.Flatten(), nn.LazyLinear(2, dtype=D))


def initialised(make: partial[nn.Module], inputs: Tensor) -> nn.Module:
    model = make()
    model(inputs)
    return model


def only_biases() -> nn.Sequential:
    model = mlp()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    return model


SIGNALS, PLANES = normal(2, 2, 6), normal(2, 2, 3, 3)

SITUATIONS: dict[str, Situation] = {
    # convolutions
    **{
        name: Situation(partial(initialised, partial(convolution, layer), inputs), inputs, ("0", "3"))
        for name, layer, inputs in (
            (
                "dilated, padded in a circle",
                nn.Conv1d(2, 2, 3, dilation=2, padding=2, padding_mode="circular", dtype=D),
                SIGNALS,
            ),
            ("reflected, strided", nn.Conv2d(2, 2, 2, stride=2, padding=1, padding_mode="reflect", dtype=D), PLANES),
            ("as wide as before, even kernel", nn.Conv1d(2, 2, 4, padding="same", dtype=D), SIGNALS),
            ("depthwise", nn.Conv2d(2, 4, 2, groups=2, bias=False, dtype=D), PLANES),
            ("depthwise, videos", nn.Conv3d(2, 2, 2, groups=2, dtype=D), normal(2, 2, 2, 3, 2)),
        )
    },
    "squeeze and excitation": Situation(
        Squeezed, PLANES, ("depthwise", "pointwise", "squeeze", "excite", "classifier")
    ),
    "pixels shuffled, a label for each": Situation(
        lambda: nn.Sequential(nn.Conv2d(1, 4, 2), nn.PixelShuffle(2), nn.ELU(), nn.Conv2d(1, 2, 2, 2)),
        IMAGES[:2],
        ("0", "3"),
        read=classes_last,
    ),
    "logits averaged over the image": Situation(
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 2), nn.Hardswish(), nn.Conv2d(3, 2, 1), Function(lambda x: x.mean((2, 3)))
        ),
        PLANES,
        ("0", "2"),
    ),
    "batch normalisation of signals": Situation(
        lambda: nn.Sequential(
            nn.Conv1d(2, 3, 2), nn.BatchNorm1d(3), nn.ReLU(True), nn.AdaptiveMaxPool1d(1), nn.Flatten()
        ),
        SIGNALS,
        ("0",),
    ),
    # nets of vectors
    "gated units": Situation(lambda: nn.Sequential(nn.Linear(3, 8), nn.GLU(), nn.Linear(4, 2)), X, ("0", "2")),
    "largest of several": Situation(
        lambda: nn.Sequential(nn.Linear(3, 8), Function(lambda x: x.unflatten(1, (4, 2)).amax(2)), nn.Linear(4, 2)),
        X,
        ("0", "2"),
    ),
    "all that came before": Situation(Dense, X, ("first", "second", "third", "head")),
    "blocks in a list": Situation(Blocks, X, ("blocks.0.up", "blocks.1.down", "head")),
    "only biases are trained": Situation(only_biases, X, ("0", "4")),
    "dropout of nothing, while training": Situation(
        lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.0), nn.Tanh(), nn.Linear(4, 2)),
        X,
        ("0",),
        prepare=lambda model: model.train(),
    ),
    "a spectrum in between": Situation(
        lambda: nn.Sequential(nn.Linear(3, 4), Function(lambda x: torch.fft.rfft(x).abs()), nn.Linear(3, 2)),
        X,
        ("0", "2"),
    ),
    "behind spectral norm": Situation(
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)), nn.ELU(), nn.Linear(3, 2)),
        X,
        ("2",),
    ),
    "one logit of two classes": Situation(lambda: mlp(last=1), X, ("0", "4"), options={"likelihood": "bernoulli"}),
    "positions along two axes": Situation(
        lambda: nn.Sequential(nn.Linear(2, 3), nn.ELU(), Function(lambda x: x.flatten(1)), nn.Linear(12, 2)),
        normal(2, 2, 2, 2),
        ("0",),
    ),
    "axes exchanged and back": Situation(
        lambda: nn.Sequential(
            Function(lambda x: x.transpose(1, 2)),
            nn.Linear(4, 3),
            nn.GELU(),
            Function(lambda x: x.permute(0, 2, 1)),
            nn.Linear(3, 2),
        ),
        SEQUENCES[:2],
        ("1", "4"),
    ),
    # several inputs and outputs
    "a bilinear form": Situation(Paired, {"left": X, "right": normal(3, 3) ** 2}, ("left", "right")),
    "arguments that are no tensors": Situation(
        Paired, {"left": X, "right": X, "scale": 0.5, "unused": None}, ("right",)
    ),
    "graphs": Situation(
        Graph, {"nodes": normal(2, 4, 3), "adjacency": ids(2, 4, 4, most=2).to(D)}, ("first", "second", "head")
    ),
    "a graph that all share": Situation(
        Graph, {"nodes": normal(2, 4, 3), "adjacency": ids(4, 4, most=2).to(D)}, ("first", "second")
    ),
    "outputs in a tuple": Situation(
        lambda: Headed(lambda *both: both), X, ("body", "classes"), read=lambda found: found[0], options={"output": 0}
    ),
    "outputs of an object": Situation(
        lambda: Headed(as_object), X, ("body",), read=lambda found: found.scores, options={"output": "scores"}
    ),
    "outputs by a function": Situation(
        lambda: Headed(lambda classes, value: {"all": [value, classes]}),
        X,
        ("body",),
        read=lambda found: found["all"][1],
        options={"output": lambda found: found["all"][1]},
    ),
    "another head": Situation(
        lambda: Headed(lambda *both: both),
        X,
        ("classes",),
        "do not depend on layer 'classes'",
        options={"output": 1, "likelihood": "gaussian"},
    ),
    # sequences
    "attention of torch, sequence first": Situation(
        SelfAttention,
        normal(4, 2, 3),
        ("before", "head"),
        read=lambda found: found.transpose(0, 1),
        options={"batch_axis": 1},
    ),
    "attention of torch, sequence first, not told": Situation(
        SelfAttention, normal(4, 2, 3), ("head",), "give batch_axis="
    ),
    "both ways, GRU": Situation(BothWays, SEQUENCES[:2], ("before", "head")),
    "both ways, LSTM": Situation(lambda: BothWays(nn.LSTM), SEQUENCES[:2], ("before", "head")),
    "packed": Situation(
        lambda: Packed(False), {"sequences": SEQUENCES, "lengths": LENGTHS}, ("before", "head"), counting=None
    ),
    "packed, a label each step": Situation(
        lambda: Packed(True),
        {"sequences": SEQUENCES, "lengths": LENGTHS, "mask": STEPS},
        ("before", "head"),
        counting=STEPS,
        options={"mask": "mask"},
    ),
    "padded on the left": Situation(
        lambda: Bert(True), TOKENS | {"attention_mask": LEFT}, ("intermediate", "classifier"), counting=LEFT
    ),
    "a mask of real numbers": Situation(
        lambda: Bert(True), TOKENS | {"attention_mask": PADDED.to(D)}, ("attention.value",), counting=PADDED
    ),
    **{
        f"a mask that is added, {least}": Situation(
            Pooled,
            {"x": SEQUENCES, "attention_mask": torch.zeros(3, 4, dtype=D).masked_fill(PADDED == 0, least)},
            ("value", "score"),
        )
        for least in (-torch.inf, -1e9)
    },
    # data as they come
    "an axis that is repeated": Situation(mlp, X[:1].expand(3, 3), ("0",)),
    "every other number": Situation(mlp, normal(3, 6)[:, ::2], ("0",)),
    "inputs that take gradients": Situation(mlp, X.clone().requires_grad_(), ("0",)),
}
RIGHT = [(name, layer) for name, one in SITUATIONS.items() if one.refused is None for layer in one.layers]


@pytest.mark.parametrize(("name", "layer"), RIGHT)
def test_right(name: str, layer: str) -> None:
    one = SITUATIONS[name]
    model, axis = prepared(one), one.options.get("batch_axis", 0)
    found = et.unit_fisher(model, one.inputs, layer, **one.options)

    def run(example: int) -> Tensor:
        alone = one_of(one.inputs, example, axis)
        outputs = one.read(model(**alone) if isinstance(alone, dict) else model(alone))[0]
        return outputs.reshape(-1, outputs.shape[-1])

    likelihood = one.options.get("likelihood", "categorical")
    expected = brute_force(model.get_submodule(layer), run, found.examples, likelihood, one.counting)
    assert float(expected.abs().max()) > 0
    torch.testing.assert_close(found.matrix, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("name", [name for name, one in SITUATIONS.items() if one.refused is not None])
def test_refused(name: str) -> None:
    one = SITUATIONS[name]
    with one_sentence(str(one.refused)):
        et.unit_fisher(prepared(one), one.inputs, one.layers[0], **one.options)


@pytest.mark.parametrize(
    ("likelihood", "loss"),
    [
        (et.Categorical(label_smoothing=0.1), partial(f.cross_entropy, label_smoothing=0.1, reduction="sum")),
        (
            et.Categorical((0.5, 2.0, 1.0)),
            partial(f.cross_entropy, weight=torch.tensor([0.5, 2.0, 1.0], dtype=D), reduction="sum"),
        ),
    ],
)
def test_losses_of_practice(likelihood: et.Likelihood, loss: partial[Tensor]) -> None:
    """E_y[score scoreᵀ] label by label, of the loss that is minimised."""
    torch.manual_seed(0)
    model = mlp().double()
    of = list(model[2].parameters())[::-1]
    found = et.unit_fisher(model, X, "2", likelihood=likelihood)
    expected = torch.zeros_like(found.matrix)
    for example in X:
        outputs = model(example[None])
        for label, probability in enumerate(outputs.detach().softmax(1)[0]):
            gradients = torch.autograd.grad(loss(outputs, torch.tensor([label])), of, retain_graph=True)
            score = torch.cat([gradients[0][:, None], gradients[1]], dim=1)
            expected += probability * score[:, :, None] * score[:, None, :] / len(X)
    torch.testing.assert_close(found.matrix, expected, rtol=1e-10, atol=1e-15)
