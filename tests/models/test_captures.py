"""The one layout of what goes in and out of layers: the worked cases of the module's page, and torch's convolutions."""

import pytest
import torch
from torch import Tensor, nn

from elutheory.models.captures import capturing, is_captured
from elutheory.models.layers import Convolution, find_layer
from elutheory.models.linear_maps import map_of_module


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(self.layer(inputs).tanh())


CASES = {
    "a Linear": (nn.Sequential(nn.Linear(3, 4)), "0", (8, 3), (8, 1, 1, 3), (8, 1, 4)),
    "a sequence": (nn.Sequential(nn.Linear(3, 4)), "0", (8, 5, 3), (8, 1, 5, 3), (8, 5, 4)),
    "two calls": (Twice(), "layer", (8, 3), (8, 1, 2, 3), (8, 2, 3)),
    "a convolution": (nn.Sequential(nn.Conv2d(2, 4, 3)), "0", (8, 2, 6, 6), (8, 1, 16, 18), (8, 16, 4)),
    "groups": (nn.Sequential(nn.Conv2d(2, 4, 3, groups=2)), "0", (8, 2, 6, 6), (8, 2, 16, 9), (8, 16, 4)),
}


@pytest.mark.parametrize("case", CASES)
def test_worked_cases(case: str) -> None:
    """Activations and nets in that layout give the net inputs: nets = weight · a + bias at every position."""
    model, name, shape, of_activations, of_nets = CASES[case]
    layer = find_layer(model, name)
    with capturing(model, {name: layer}) as recorder:
        assert is_captured(model)
        _, captures = recorder.record(lambda: model(torch.randn(shape)))
    assert not is_captured(model)
    capture = captures[name]
    activations = capture.activations()
    nets = torch.cat([capture.by_position(net) for net in capture.nets], dim=1)
    assert activations.shape == of_activations
    assert nets.shape == of_nets
    weight = layer.weight.flatten(1).unflatten(0, (of_activations[1], -1))
    expected = torch.einsum("ngpi,gui->npgu", activations, weight).flatten(2) + layer.bias
    torch.testing.assert_close(nets, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("convolution", "shape"),
    [
        (nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2), (3, 4, 11)),
        (nn.Conv2d(4, 6, (3, 2), padding="same", dilation=(1, 2), padding_mode="circular"), (3, 4, 7, 8)),
        (nn.Conv2d(4, 6, 3, stride=(2, 1), padding=(1, 2), padding_mode="reflect"), (3, 4, 7, 8)),
        (nn.Conv3d(4, 6, (1, 2, 3), stride=2, padding="valid"), (2, 4, 5, 6, 7)),
        (nn.Conv3d(4, 4, 2, padding=1, groups=4, padding_mode="replicate"), (2, 4, 3, 4, 5)),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
def test_patches_times_weights_are_the_convolution(convolution: Convolution, shape: tuple[int, ...]) -> None:
    inputs = torch.randn(shape, dtype=torch.float64)
    patches = map_of_module(convolution.double()).activations(inputs, torch.Size())
    weight = convolution.weight.flatten(1).unflatten(0, (convolution.groups, -1))
    outputs = torch.einsum("ngpi,gui->ngup", patches, weight).flatten(1, 2)
    expected = convolution(inputs).flatten(2)
    torch.testing.assert_close(outputs + convolution.bias[:, None], expected, rtol=1e-12, atol=1e-12)


def test_a_failing_pass_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[1].requires_grad_(False)
    weight = model[0].weight
    with pytest.raises(RuntimeError), capturing(model, {"0": find_layer(model, "0")}) as recorder:
        recorder.record(lambda: model(torch.zeros(2, 9)))
    assert model[0].weight is weight
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, True, False, False]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
