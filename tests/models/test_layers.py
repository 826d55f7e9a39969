"""Which models are refused, in one wording whoever refuses them, and where a layer's units lie."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import elutheory as et
from elutheory.errors import InputError
from elutheory.models.layers import unit_axis

INPUTS = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.ELU(), nn.Linear(4, 3))


def compiled_in_place() -> nn.Module:
    model = network()
    model.compile(backend="eager")
    return model


def compiled_inside() -> nn.Module:
    model = network()
    model[2].compile(backend="eager")
    return model


def with_a_compiled_part() -> nn.Module:
    model = network()
    return nn.Sequential(model[0], torch.compile(model[1], backend="eager"), model[2])


HIDDEN: dict[str, tuple[Callable[[], Any], str]] = {
    "compiled": (
        lambda: torch.compile(network(), backend="eager"),
        "the OptimizedModule is compiled by torch.compile, where hooks see nothing; pass its ._orig_mod.",
    ),
    "a part compiled": (
        with_a_compiled_part,
        "OptimizedModule '1' is compiled by torch.compile, where hooks see nothing; pass its ._orig_mod.",
    ),
    "compiled in place": (
        compiled_in_place,
        "the Sequential is compiled in place, where hooks see nothing; do not call its compile().",
    ),
    "a part compiled in place": (
        compiled_inside,
        "Linear '2' is compiled in place, where hooks see nothing; do not call its compile().",
    ),
    "scripted": (
        lambda: torch.jit.script(network()),
        "the RecursiveScriptModule is a TorchScript module; pass the model as it was before.",
    ),
    "traced": (
        lambda: torch.jit.trace(network(), INPUTS),
        "the TopLevelTracedModule is a TorchScript module; pass the model as it was before.",
    ),
    "parallel": (
        lambda: nn.DataParallel(network()),
        "the DataParallel spreads a model over devices or processes; pass its .module.",
    ),
}
CALLERS: dict[str, Callable[[nn.Module], Any]] = {
    "layer_statistics": lambda model: et.layer_statistics(model, INPUTS),
    "observe_layers": lambda model: et.observe_layers(model).__enter__(),
    "model_scores": lambda model: et.model_scores(model, INPUTS),
    "diagnose": lambda model: et.diagnose(model, INPUTS),
    "UnitNaturalGradient": lambda model: et.UnitNaturalGradient(model, 0.1),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit's own
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("kind", HIDDEN)
def test_models_that_hooks_cannot_see_are_refused_in_one_sentence(kind: str, caller: str) -> None:
    make, sentence = HIDDEN[kind]
    with pytest.raises(InputError) as caught:
        CALLERS[caller](make())
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("layer", "shape", "units"),
    [
        (nn.Linear(3, 7), (2, 3), 7),
        (nn.Linear(3, 7), (2, 5, 3), 7),
        (nn.Conv1d(3, 7, 2), (2, 3, 5), 7),
        (nn.Conv1d(3, 7, 2), (3, 5), 7),
        (nn.Conv2d(3, 7, 2), (2, 3, 5, 6), 7),
        (nn.Conv3d(3, 7, 2), (2, 3, 5, 6, 4), 7),
        (nn.ConvTranspose1d(3, 7, 2), (2, 3, 5), 7),
        (nn.ConvTranspose2d(3, 7, 2), (3, 5, 6), 7),
        (nn.ConvTranspose3d(3, 7, 2), (2, 3, 5, 6, 4), 7),
    ],
)
def test_units_lie_along_the_axis_of_the_outputs(layer: nn.Module, shape: tuple[int, ...], units: int) -> None:
    axis = unit_axis(layer)
    assert axis is not None
    assert layer(torch.zeros(shape)).shape[axis] == units
    assert unit_axis(nn.ELU()) is None
