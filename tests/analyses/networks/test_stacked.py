"""Traced programs: the bits of the plain pass; without views that do nothing: what goes, what stays, the numbers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from analyses.networks import stacked
from analyses.networks.architectures import fully_connected
from analyses.networks.stacked import StackedNetworks, without_idle_views
from analyses.networks.training import LOSSES, fabric_on

_VALUES = torch.arange(24.0).reshape(2, 3, 4)


def _program(values: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    idle = values.detach().permute(0, 1, 2).expand(2, 3, 4).view(2, 3, 4)
    idle.add_(1)  # through the views, to the argument
    return idle.permute(0, 2, 1).reshape(2, 12) + bias.expand(2, 12), idle.exp()


def _names(traced: torch.fx.GraphModule) -> list[str]:
    return [node.name for node in traced.graph.nodes if node.op == "call_function"]


def test_only_views_with_the_shape_and_strides_of_their_source_go() -> None:
    arguments = (_VALUES.clone(), torch.ones(12))
    traced = make_fx(_program)(*arguments)
    before = _names(traced)
    after = _names(without_idle_views(traced))
    assert [name for name in before if name not in after] == ["detach", "permute", "expand", "view"]
    assert {"permute_1", "expand_1", "add_"} <= set(after)


def test_a_transposed_square_stays_transposed() -> None:
    square = torch.arange(9.0).reshape(3, 3)
    traced = without_idle_views(make_fx(lambda values: values.permute(1, 0) + 1)(square))
    assert torch.equal(traced(square), square.T + 1)


def test_the_program_and_its_effects_stay() -> None:
    traced = without_idle_views(make_fx(_program)(_VALUES.clone(), torch.ones(12)))
    ours, by_torch = _VALUES.clone(), _VALUES.clone()
    for one, other in zip(traced(ours, torch.ones(12)), _program(by_torch, torch.ones(12)), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(ours, by_torch)
    assert torch.equal(ours, _VALUES + 1)


def _convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 2, 2, padding=1), nn.ELU(), nn.Flatten(), nn.Linear(24, 4)
    )


BUILT: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: fully_connected((6, 5, 5, 4), "elu"),
    "batch normalisation": lambda: fully_connected((6, 5, 5, 4), "relu", batch_norm=True),
    "dropout": lambda: nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.3), nn.Tanh(), nn.Linear(5, 4)),
    "convolution": _convolutional,
}


@pytest.mark.parametrize(
    ("precision", "name"),
    [
        *(("32-true", name) for name in BUILT),
        ("bf16-mixed", "linear"),
        *(pytest.param("bf16-mixed", name, marks=pytest.mark.exhaustive) for name in [*BUILT][1:]),
    ],
)
def test_a_replayed_step_has_the_bits_of_a_plain_one(
    precision: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is resumed counts its steps anew, and yet is the run that was not interrupted."""

    def trained(first_traced: int) -> dict[str, Tensor]:
        monkeypatch.setattr(stacked, "TRACED_FROM", first_traced)
        torch.manual_seed(3)
        networks = [BUILT[name]() for _ in range(2)]
        together = StackedNetworks(
            networks, (0.1, 0.2), LOSSES["cross_entropy"], fabric_on("cpu", precision), momentum=0.9, weight_decay=1e-3
        )
        generator = torch.Generator().manual_seed(7)
        for examples in (8, 8, 8, 3, 3, 3):  # of each, `mixed` takes the first step plainly and replays the others
            inputs = torch.randn(2, examples, 6, generator=generator)
            together.step(inputs, torch.randint(4, (2, examples), generator=generator))
        return together.parameters()

    plain, mixed = trained(6), trained(1)
    for parameter, expected in plain.items():
        assert torch.equal(mixed[parameter], expected)
