"""The paper's architectures: every layer's shape and parameter count, what the initial weights are drawn from."""

import itertools

import pytest
import torch
from torch import nn

from analyses.networks import architectures as networks
from elutheory.activations import activation
from elutheory.errors import InputError


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def weight_shapes(network: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(m.weight.shape) for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]


def output_shapes(network: nn.Sequential, *shape: int, of: type | tuple[type, ...]) -> list[tuple[int, ...]]:
    """Of the modules of these kinds, without the first dimension."""
    values, found = torch.empty(2, *shape, device="meta"), []
    for module in network:
        values = module(values)
        if isinstance(module, of):
            found.append(tuple(values.shape[1:]))
    return found


def on_meta(build) -> nn.Sequential:
    with torch.device("meta"):
        return build()


def test_network_of_figure_2() -> None:
    network = networks.fully_connected(networks.LEARNING_BEHAVIOUR, "elu")
    assert weight_shapes(network) == [(128, 784), *[(128, 128)] * 7, (10, 128)]
    assert parameters(network) == (784 + 1) * 128 + 7 * (128 + 1) * 128 + (128 + 1) * 10 == 217_354
    assert [type(module) for module in network] == [nn.Linear, nn.ELU] * 8 + [nn.Linear]


def test_network_of_figure_7() -> None:
    network = networks.fully_connected(networks.MEDIAN_VARIANCE, "relu")
    assert weight_shapes(network) == [(256, 784), *[(256, 256)] * 4, (10, 256)]
    assert parameters(network) == 785 * 256 + 4 * 257 * 256 + 257 * 10 == 466_698


def test_autoencoder_of_figure_3() -> None:
    network = networks.fully_connected(networks.AUTOENCODER, "elu")
    sizes = [784, 1000, 500, 250, 30, 250, 500, 1000, 784]
    assert weight_shapes(network) == [(units, fan_in) for fan_in, units in itertools.pairwise(sizes)]
    assert parameters(network) == 785_000 + 500_500 + 125_250 + 7_530 + 7_750 + 125_500 + 501_000 + 784_784
    assert isinstance(network[-1], nn.Linear)


def test_batch_normalisation_stands_between_hidden_layers_and_their_activations() -> None:
    network = networks.fully_connected((7, 5, 4, 3), "tanh", batch_norm=True)
    assert [type(module) for module in network] == [nn.Linear, nn.BatchNorm1d, nn.Tanh] * 2 + [nn.Linear]
    assert parameters(network) == 8 * 5 + 10 + 6 * 4 + 8 + 5 * 3


def test_eleven_convolutions_of_figure_4() -> None:
    network = on_meta(lambda: networks.cifar_11("elu"))
    fields = [(192, 3, 5), (192, 192, 1), (240, 192, 3), (240, 240, 1), (260, 240, 2), (260, 260, 1), (280, 260, 2)]
    fields += [(280, 280, 1), (300, 280, 2), (300, 300, 1), (100, 300, 1)]
    assert weight_shapes(network) == [(units, channels, field, field) for units, channels, field in fields]
    assert parameters(network) == sum(units * channels * field**2 + units for units, channels, field in fields)
    assert parameters(network) == 1_669_028
    sides = [(192, 16), (240, 8), (260, 4), (280, 2), (300, 1), (300, 1), (100, 1)]
    assert output_shapes(network, 3, 32, 32, of=nn.MaxPool2d) == [(units, side, side) for units, side in sides]
    assert output_shapes(network, 3, 32, 32, of=nn.Flatten) == [(100,)]
    assert [module.p for module in network if isinstance(module, nn.Dropout)] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert sum(isinstance(module, nn.ELU) for module in network) == 10
    normalised = on_meta(lambda: networks.cifar_11("elu", classes=10, batch_norm=True))
    assert sum(isinstance(module, nn.BatchNorm2d) for module in normalised) == 10
    assert output_shapes(normalised.eval(), 3, 32, 32, of=nn.Flatten) == [(10,)]


def test_dropout_follows_the_activation_of_each_stacks_last_layer() -> None:
    kinds = [type(module) for module in on_meta(lambda: networks.cifar_11("elu"))]
    places = [place for place, kind in enumerate(kinds) if kind is nn.Dropout]
    assert [kinds[place - 2 : place + 2] for place in places] == [[nn.Conv2d, nn.ELU, nn.Dropout, nn.MaxPool2d]] * 5


def test_eighteen_convolutions_of_table_1_and_the_output() -> None:
    network = on_meta(lambda: networks.cifar_18("elu", dropout=(0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0)))
    units = [384, 384, 384, 640, 640, 640, 768, 768, 768, 768, 896, 896, 896, 1024, 1024, 1024, 1152, 1152, 100]
    fields = [3, 1, 2, 2, 2, 1, 2, 2, 2, 1, 2, 2, 3, 2, 2, 1, 2, 1, 1]
    layers = list(zip(units, [3, *units[:-1]], fields, strict=True))
    assert weight_shapes(network) == [(count, channels, field, field) for count, channels, field in layers]
    assert parameters(network) == sum(count * (channels * field**2 + 1) for count, channels, field in layers)
    assert [module.p for module in network if isinstance(module, nn.Dropout)] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.5]
    assert output_shapes(network, 3, 32, 32, of=nn.Flatten) == [(100,)]


def test_fifteen_layers_of_figure_6() -> None:
    network = on_meta(lambda: networks.imagenet_15("elu"))
    units = [96, *[512] * 3, *[768] * 5, *[1024] * 3]
    convolutions = list(zip(units, [3, *units[:-1]], [6] + [3] * 11, strict=True))
    shapes = [(count, channels, field, field) for count, channels, field in convolutions]
    pooled = 1024 * (1 + 4 + 16)
    assert weight_shapes(network) == [*shapes, (4096, pooled), (4096, 4096), (1000, 4096)]
    assert len(weight_shapes(network)) == 15
    linear = (pooled + 1) * 4096 + 4097 * 4096 + 4097 * 1000
    assert parameters(network) == linear + sum(c * (channels * f**2 + 1) for c, channels, f in convolutions)
    sides = [(96, 112), (512, 56), (768, 28), (1024, 14)]
    assert output_shapes(network, 3, 224, 224, of=nn.MaxPool2d) == [(count, side, side) for count, side in sides]
    assert output_shapes(network, 3, 224, 224, of=nn.Linear)[-1] == (1000,)
    assert output_shapes(network, 3, 256, 192, of=networks.SpatialPyramidPooling) == [(pooled,)]
    assert [type(module) for module in network][-7:] == [nn.Linear, nn.ELU, nn.Dropout] * 2 + [nn.Linear]
    assert [module.p for module in network if isinstance(module, nn.Dropout)] == [0.5, 0.5]


def test_spatial_pyramid_by_hand() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert networks.SpatialPyramidPooling((1, 2))(image).tolist() == [[15.0, 5.0, 7.0, 13.0, 15.0]]


def test_initial_weights_are_those_of_the_seed_whatever_the_activation() -> None:
    sizes = (300, 200, 100)
    first = networks.initialise(networks.fully_connected(sizes, "elu"), 3)
    others = [
        networks.fully_connected(sizes, activation("leaky_relu", negative_slope=0.1)),
        networks.fully_connected(sizes, "shifted_relu", batch_norm=True),
        networks.fully_connected(sizes, "relu", dtype=torch.float64),
    ]
    weights = [m.weight for m in first if isinstance(m, nn.Linear)]
    for other in others:
        drawn = [m for m in networks.initialise(other, 3) if isinstance(m, nn.Linear)]
        assert all(torch.equal(layer.weight.float(), weight) for layer, weight in zip(drawn, weights, strict=True))
        assert not any(layer.bias.any() for layer in drawn)
    again = networks.initialise(networks.fully_connected(sizes, "elu"), 4)
    assert not torch.equal(again[0].weight, weights[0])  # pyright: ignore[reportArgumentType]


def test_initial_weights_have_hes_variance() -> None:
    """Within 5 standard errors of 2/fan_in, √(2/n) relative; the mean within 5 of 0."""
    network = networks.initialise(networks.convolutional((((1, 50, 3),), ((1, 80, 2),)), (0, 0), "elu"), 0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weight, fan_in = module.weight.detach().double(), module.in_channels * module.kernel_size[0] ** 2
            assert abs(weight.var().item() * fan_in / 2 - 1) < 5 * (2 / weight.numel()) ** 0.5
            assert abs(weight.mean().item()) < 5 * (2 / fan_in / weight.numel()) ** 0.5


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("name", ["identity", "elu"])
def test_hidden_activations_are_what_follows_each_hidden_layer(name: str, batch_norm: bool) -> None:
    network = networks.initialise(networks.fully_connected((6, 5, 4, 3), name, batch_norm=batch_norm), 0).eval()
    inputs = torch.randn(7, 6)
    first, second = networks.hidden_activations(network, inputs)
    scale = (1 + 1e-5) ** -0.5 if batch_norm else 1.0
    function = activation(name)
    weights = [m.weight.detach() for m in network if isinstance(m, nn.Linear)]
    expected = function(scale * inputs @ weights[0].T)
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(second, function(scale * expected @ weights[1].T))
    torch.testing.assert_close(network(inputs), second @ weights[2].T)


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"the widths are \(3,\); at least two are needed"):
        networks.fully_connected((3,), "elu")
    with pytest.raises(InputError, match="2 dropout rates are given for 8 stacks"):
        on_meta(lambda: networks.cifar_18("elu", dropout=(0.1, 0.2)))
