"""Origins moved: the same function before training, the mean as asked, and only the gradient of the weights changed."""

import pytest
import torch

from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.origins import Origin, mean_shares, move_origins, with_origins
from analyses.networks.training import Training, train
from tests.analyses.networks.interrupted_training import Data

SIZES = (7, 9, 8, 3)


def networks(dose: float, name: str = "relu"):
    inputs = torch.randn(40, SIZES[0], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plain = initialise(fully_connected(SIZES, name, dtype=torch.float64), 5)
    moved = move_origins(
        initialise(with_origins(fully_connected(SIZES, name, dtype=torch.float64)), 5),  # pyright: ignore
        inputs,
        dose,
    )
    return inputs, plain, moved


@pytest.mark.parametrize("name", ["relu", "elu"])
@pytest.mark.parametrize("dose", [-1.0, 0.0, 0.5, 1.0])
def test_the_function_is_the_same_and_the_mean_is_as_asked(dose: float, name: str) -> None:
    inputs, plain, moved = networks(dose, name)
    assert torch.allclose(moved(inputs), plain(inputs), rtol=1e-12, atol=1e-13)
    received, activations = inputs, inputs
    for layer in moved:
        activations = received
        received = layer(received)
        if isinstance(layer, Origin):
            assert torch.allclose(received.mean(0), (1 - dose) * activations.mean(0), atol=1e-14)
    shares = mean_shares(moved, inputs)
    assert len(shares) == 2
    assert (max(shares) < 1e-25) == (dose == 1.0)


def test_the_gradient_loses_the_part_of_the_mean() -> None:
    """∂/∂W of a layer that receives a − o is E δ (a − o)ᵀ: less E[δ] oᵀ than the plain one; biases agree."""
    inputs, plain, moved = networks(0.5)
    gradients = []
    for network in (plain, moved):
        parameters = list(network.parameters())
        gradients.append(torch.autograd.grad(network(inputs).square().sum(1).mean(), parameters))
    offsets = [layer.offset for layer in moved if isinstance(layer, Origin)]
    for place, offset in zip((2, 4), offsets, strict=True):
        of_plain, of_moved, of_bias = gradients[0][place], gradients[1][place], gradients[0][place + 1]
        assert torch.allclose(of_moved, of_plain - torch.outer(of_bias, offset), rtol=1e-10, atol=1e-13)
        assert torch.allclose(gradients[1][place + 1], of_bias, rtol=1e-10, atol=1e-13)


def test_networks_of_a_stack_keep_their_own_origins() -> None:
    """Trained together as alone; the origins stay where they were put."""
    data = Data()
    sizes = (12, 6, 5, 4)

    def trained(seeds: tuple[int, ...]):
        return train(
            lambda: with_origins(fully_connected(sizes, "elu")),
            data,
            Training(2, seeds, (0.1,), batch_size=16, evaluated=()),
            initialise=lambda network, seed: move_origins(initialise(network, seed), data.train.inputs, 1.0),  # pyright: ignore
        )

    both, alone = trained((3, 4)), trained((4,))
    for name, tensor in both.networks.network(1).state_dict().items():
        assert torch.allclose(tensor, alone.networks.network(0).state_dict()[name], atol=1e-6), name
    fresh = move_origins(initialise(with_origins(fully_connected(sizes, "elu")), 4), data.train.inputs, 1.0)  # pyright: ignore
    before, after = fresh.state_dict(), both.networks.network(1).state_dict()
    assert torch.equal(before["2.offset"], after["2.offset"])
    assert not torch.equal(before["3.weight"], after["3.weight"])
