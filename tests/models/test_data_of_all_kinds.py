"""Data and models that torch alone would fail on: one sentence each, whatever is asked of them, and never a number."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import elutheory as et
from elutheory.errors import InputError


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ELU(), nn.Linear(4, 2))


X = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))


def quantised() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(X, 0.1, 0, torch.quint8)


def nested() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([X[0], X[1]])


DATA: dict[str, tuple[Callable[[], Any], str]] = {
    **{
        f"{kind} numbers": (lambda kind=kind: (10 * X).to(kind), f"the model fails on inputs .* of {kind}: ")
        for kind in (torch.uint8, torch.int8, torch.int32, torch.int64, torch.uint16, torch.uint64, torch.bool)
    },
    "complex numbers": (lambda: X.to(torch.complex64), "the model fails on inputs .* of torch.complex64: "),
    "double precision": (lambda: X.double(), "convert one of them|the model fails on inputs .* of torch.float64: "),
    "half precision": (lambda: X.half(), "convert one of them|the model fails on inputs .* of torch.float16: "),
    "sparse": (lambda: X.to_sparse(), "are sparse .*; a dense tensor is needed"),
    "sparse by rows": (lambda: X.to_sparse_csr(), "are sparse .*; a dense tensor is needed"),
    "nested": (nested, "are nested; a dense tensor is needed"),
    "quantised": (quantised, "are quantised .*dequantize"),
    "on no device": (lambda: X.to("meta"), "are on the meta device, without values"),
    "no examples": (lambda: X[:0], "at least one example is needed"),
    "no features": (lambda: X[:, :0], "at least one example is needed"),
    "a number": (lambda: X[0, 0], "at least one example is needed"),
    "fewer features": (lambda: X[:, :2], "the model fails on inputs .*: mat1 and mat2"),
    "a keyword that is none": (lambda: {"images": X}, "the model fails on inputs images .* unexpected keyword"),
    "no examples by keyword": (lambda: {"input": X[:0]}, "at least one example is needed"),
    "sparse by keyword": (lambda: {"input": X.to_sparse()}, r"inputs\['input'\] are sparse"),
    "text": (lambda: "images", "needed"),
    "nothing": (lambda: None, "needed"),
    "a list of numbers": (lambda: [0.5, 0.25], "a tensor or a mapping of tensors is needed"),
    "strings in an array": (lambda: X.numpy().astype(str), "numbers are needed"),
}
pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR")
NOT_FINITE = {"NaN": torch.nan, "infinity": torch.inf}
ASKED: dict[str, Callable[[nn.Module, Any], Any]] = {
    "unit_fisher": lambda model, data: et.unit_fisher(model, data, "0"),
    "fisher_diagonal": et.fisher_diagonal,
    "layer_statistics": et.layer_statistics,
    "diagnose": et.diagnose,
    "empirical_training_kernel": et.empirical_training_kernel,
}


def refused(call: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        call()
    text = str(caught.value)
    assert len(text.splitlines()) == 1, text
    assert text.endswith("."), text


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("data", DATA)
def test_one_sentence(data: str, asked: str) -> None:
    make, sentence = DATA[data]
    if asked == "empirical_training_kernel" and data in ("a list of numbers", "strings in an array"):
        sentence = "a tensor or a mapping of tensors is needed"
    model = network()
    refused(lambda: ASKED[asked](model, make()), sentence)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("asked", ["unit_fisher", "fisher_diagonal", "diagnose", "empirical_training_kernel"])
@pytest.mark.parametrize("number", NOT_FINITE)
def test_numbers_that_are_none(number: str, asked: str) -> None:
    data = X.clone()
    data[2, 1] = NOT_FINITE[number]
    refused(lambda: ASKED[asked](network(), data), "contain NaN or infinity")


def test_statistics_mark_numbers_that_are_none() -> None:
    data = X.clone()
    data[2, 1] = torch.nan
    assert et.layer_statistics(network(), data).units("1").nonfinite.all()


MODELS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "no values yet": (lambda: nn.Sequential(nn.LazyLinear(4), nn.ELU(), nn.LazyLinear(2)), "run the model once first"),
    "no values": (lambda: network().to("meta"), "on the meta device, without values"),
}


@pytest.mark.parametrize("asked", [*ASKED, "UnitNaturalGradient"])
@pytest.mark.parametrize("model", MODELS)
def test_models_without_values(model: str, asked: str) -> None:
    make, sentence = MODELS[model]
    if (model, asked) == ("no values yet", "layer_statistics"):
        assert len(et.layer_statistics(make(), X).table) == 1  # a pass gives it values, as any does
        return
    calls = ASKED | {"UnitNaturalGradient": lambda model, _: et.UnitNaturalGradient(model)}
    refused(lambda: calls[asked](make(), X), sentence)


def test_what_a_model_says_is_passed_on() -> None:
    class Strict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.act = nn.Linear(3, 2), nn.ELU()

        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[1] == 4, "four features.\nAnd no fewer."
            return self.act(self.layer(x))

    for asked, call in ASKED.items():
        call = call if asked != "unit_fisher" else lambda model, data: et.unit_fisher(model, data, "layer")
        refused(lambda call=call: call(Strict(), X), "four features")
