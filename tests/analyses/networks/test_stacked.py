"""Traced programs without views that do nothing: what goes, what stays, and the numbers."""

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from analyses.networks.stacked import without_idle_views

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
