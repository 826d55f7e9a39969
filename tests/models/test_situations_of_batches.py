"""More of the table in `test_situations.py`: models that lay out, join, divide or mix what is in a batch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f
from torch.utils.checkpoint import checkpoint

import elutheory as et
from tests.models.test_situations import SEQUENCES, Situation, X, normal, one_sentence, prepared
from tests.references.users_models import brute_force


class Written(nn.Module):
    """A forward pass written as a function of the module, and what it has."""

    def __init__(self, function: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        return self.function(self, *arguments, **keywords)


def written(function: Callable[..., Any], inputs: int = 3, hidden: int = 4, last: int = 2) -> Callable[[], nn.Module]:
    """A layer `a` and a head `h`."""
    return lambda: Written(function, a=nn.Linear(inputs, hidden), h=nn.Linear(hidden, last))


def merged(m: Any, x: Tensor) -> Tensor:
    return m.h(f.elu(m.a(x.flatten(0, 1))).unflatten(0, x.shape[:2]).mean(1))


def merged_sequence_first(m: Any, x: Tensor) -> Tensor:
    return m.h(f.elu(m.a(x.transpose(0, 1).flatten(0, 1))).unflatten(0, (x.shape[1], -1)).mean(0))


def both_signs(m: Any, x: Tensor) -> Tensor:
    return sum(m.h(f.elu(m.a(torch.cat([x, -x])))).chunk(2))  # pyright: ignore[reportReturnType]


def pairs_in_one_batch(m: Any, left: Tensor, right: Tensor) -> Tensor:
    first, second = f.elu(m.a(torch.cat([left, right]))).chunk(2)
    return m.h((first - second).abs())


def reversed_and_back(m: Any, x: Tensor) -> Tensor:
    return m.h(f.elu(m.a(x.flip(0))).flip(0))


def of_another(m: Any, x: Tensor) -> Tensor:
    hidden = f.elu(m.a(x))
    return m.h(hidden + 0.1 * hidden.roll(1, 0))


def by_the_batch(m: Any, x: Tensor) -> Tensor:
    return m.h(f.elu(m.a(x))) / x.norm()


def weights_by_a_network(m: Any, x: Tensor, z: Tensor) -> Tensor:
    return m.h(f.elu(torch.einsum("noi,ni->no", m.a(z).unflatten(1, (4, 3)), x)))


def former_weight_norm() -> nn.Module:
    with pytest.warns(FutureWarning):
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 4)), nn.ELU(), nn.Linear(4, 2))


def one_bias() -> nn.Module:
    model = Written(
        lambda m, x: m.h(f.elu(m.b(f.elu(m.a(x))))), a=nn.Linear(3, 4), b=nn.Linear(4, 4), h=nn.Linear(4, 2)
    )
    model.b.bias = model.a.bias
    return model


def checkpointed(m: Any, x: Tensor) -> Tensor:
    return m.h(checkpoint(nn.ELU(), m.a(x), use_reentrant=True))


def stopped(m: Any, x: Tensor) -> Tensor:
    return m.h(f.elu(m.a(x)).detach())


PAIR = {"left": X, "right": normal(3, 3) ** 2}
SITUATIONS: dict[str, Situation] = {
    "Fourier mixing": Situation(
        written(lambda m, x: m.h(f.elu(m.a(torch.fft.fft(x, dim=1).real)).mean(1))), SEQUENCES, ("a", "h")
    ),
    "unfolded patches": Situation(
        written(lambda m, x: m.h(f.elu(m.a(f.unfold(x, 2).transpose(1, 2))).mean(1)), inputs=8),
        normal(3, 2, 4, 4),
        ("a", "h"),
    ),
    "pixels last": Situation(
        lambda: Written(
            lambda m, x: m.h(f.elu(m.a(x)).permute(0, 2, 3, 1).flatten(1)), a=nn.Conv2d(1, 3, 3), h=nn.Linear(12, 2)
        ),
        normal(3, 1, 4, 4),
        ("a", "h"),
    ),
    "instance normalisation": Situation(
        lambda: nn.Sequential(
            nn.Conv1d(2, 4, 3), nn.InstanceNorm1d(4, affine=True), nn.ELU(), nn.Flatten(), nn.Linear(16, 3)
        ),
        normal(3, 2, 6),
        ("0", "4"),
    ),
    "dicts in dicts": Situation(
        written(lambda m, tokens, more: m.h(f.elu(m.a(tokens["x"]) * tokens["scale"]).sum(1) + more)),
        {"tokens": {"x": SEQUENCES, "scale": normal(3, 4, 1)}, "more": normal(3, 4)},
        ("a", "h"),
    ),
    "outputs in a list in dicts": Situation(
        written(lambda m, x: {"found": {"classes": [m.h(f.elu(m.a(x)))]}}),
        X,
        ("a", "h"),
        read=lambda returned: returned["found"]["classes"][0],
        options={"output": lambda returned: returned["found"]["classes"][0]},
    ),
    "cumulative sums": Situation(written(lambda m, x: m.h(f.elu(m.a(x)).cumsum(1))), SEQUENCES, ("a", "h")),
    "weights by a network": Situation(
        lambda: Written(weights_by_a_network, a=nn.Linear(2, 12), h=nn.Linear(4, 2)),
        {"x": X, "z": normal(3, 2)},
        ("a", "h"),
    ),
    "positions joined to the examples": Situation(written(merged), SEQUENCES, ("a", "h")),
    "positions joined, sequence first": Situation(written(merged_sequence_first), SEQUENCES, ("a", "h")),
    "a pair's examples one after the other": Situation(
        written(pairs_in_one_batch), PAIR, ("a",), "receives activations of shape .6, 3. for 3 examples"
    ),
    "a head behind pairs": Situation(written(pairs_in_one_batch), PAIR, ("h",)),
    "both signs in one batch": Situation(
        written(both_signs), X, ("a",), "receives activations of shape .6, 3. for 3 examples"
    ),
    "one bias of two layers": Situation(one_bias, X, ("b",), "bias used in another way"),
    "a head behind one bias": Situation(one_bias, X, ("h",)),
    "a reentrant checkpoint": Situation(written(checkpointed), X, ("a",), "give that checkpoint use_reentrant=False"),
    "reversed and back": Situation(written(reversed_and_back), X, ("h",)),
    "heads of positions": Situation(
        written(lambda m, x: m.h(f.elu(m.a(x))).unflatten(1, (3, 2)), last=6),
        X,
        ("a",),
        "which axis of the outputs, of shape .3, 3, 2., counts the classes is not known .*give class_axis=",
    ),
    "the former weight norm": Situation(
        former_weight_norm, X, ("0",), "computes its weight or bias from other parameters .*remove it first"
    ),
    "detached": Situation(written(stopped), X, ("a",), "do not depend on layer 'a' .*detach"),
    "of another example": Situation(written(of_another), X, ("a",), "not depending on its batch"),
    "by the batch's norm": Situation(written(by_the_batch), X, ("h",), "not depending on its batch"),
}


def example_of(inputs: Any, example: int) -> Any:
    if isinstance(inputs, dict):
        return {key: example_of(value, example) for key, value in inputs.items()}
    return inputs[example : example + 1]


RIGHT = [(name, layer) for name, one in SITUATIONS.items() if one.refused is None for layer in one.layers]


@pytest.mark.parametrize(("name", "layer"), RIGHT)
def test_right(name: str, layer: str) -> None:
    one = SITUATIONS[name]
    model = prepared(one)
    found = et.unit_fisher(model, one.inputs, layer, **one.options)

    def run(example: int) -> Tensor:
        alone = example_of(one.inputs, example)
        outputs = one.read(model(**alone) if isinstance(alone, dict) else model(alone))[0]
        return outputs.reshape(-1, outputs.shape[-1])

    expected = brute_force(model.get_submodule(layer), run, found.examples, "categorical", None)
    assert float(expected.abs().max()) > 0
    torch.testing.assert_close(found.matrix, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("name", [name for name, one in SITUATIONS.items() if one.refused is not None])
def test_refused(name: str) -> None:
    one = SITUATIONS[name]
    with one_sentence(str(one.refused)):
        et.unit_fisher(prepared(one), one.inputs, one.layers[0], **one.options)


def test_the_diagonal_of_a_bias_of_two_layers_is_that_of_both_uses() -> None:
    model = prepared(SITUATIONS["one bias of two layers"])
    found = et.fisher_diagonal(model, X)
    names, expected = dict(model.named_parameters()), {name: torch.zeros_like(value) for name, value in found.items()}
    for example in X:
        outputs = model(example[None])
        for label, probability in enumerate(outputs.detach().softmax(1)[0]):
            scores = torch.autograd.grad(outputs.log_softmax(1)[0, label], list(names.values()), retain_graph=True)
            for name, score in zip(names, scores, strict=True):
                expected[name] += probability * score.square() / len(X)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-15)
    table = et.diagnose(model, X, progress=False)
    assert table.table["layer"].tolist() == ["h"]
    assert "have one bias" in table.uncovered["a.weight"]


def trained(model: nn.Module) -> None:
    with et.UnitNaturalGradient(model):
        model.train()(X)


@pytest.mark.parametrize(
    "call",
    [
        lambda model: et.fisher_diagonal(model, X),
        lambda model: et.diagnose(model, X, progress=False),
        trained,
    ],
)
def test_every_call_refuses_reentrant_checkpoints_in_a_sentence(call: Callable[[nn.Module], Any]) -> None:
    with one_sentence("give that checkpoint use_reentrant=False"):
        call(prepared(SITUATIONS["a reentrant checkpoint"]))
