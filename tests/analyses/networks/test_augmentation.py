"""Crops and flips by a second route, their law, and that they depend on seed and update alone."""

import numpy as np
import pytest
import torch

from analyses.data.datasets import Split
from analyses.networks import architectures
from analyses.networks.augmentation import cropped, crops_and_flips, draws
from analyses.networks.training import Training, train
from analyses.networks.training_cost import convolutional_cost, size_of
from elutheory.errors import InputError


@pytest.mark.parametrize(("padding", "shape"), [(4, (3, 32, 32)), (2, (1, 5, 8)), (0, (3, 4, 4))])
def test_crops_are_parts_of_the_padded_image(padding: int, shape: tuple[int, ...]) -> None:
    images = torch.randn(6, *shape, generator=torch.Generator().manual_seed(0))
    places, mirrored = draws(3, 17, 6, 2 * padding)
    found = cropped(images, padding, places, mirrored).numpy()
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    for image, crop, (row, column), mirror in zip(padded, found, places.tolist(), mirrored.tolist(), strict=True):
        expected = image[:, row : row + shape[1], column : column + shape[2]]
        np.testing.assert_array_equal(crop, expected[:, :, ::-1] if mirror else expected)


def test_places_are_uniform_and_half_of_the_images_are_mirrored() -> None:
    places, mirrored = draws(0, 0, 90_000, 2)
    counts = np.bincount((3 * places[:, 0] + places[:, 1]).numpy(), minlength=9)
    assert np.abs(counts - 10_000).max() < 5 * 10_000**0.5
    assert abs(int(mirrored.sum()) - 45_000) < 5 * 22_500**0.5


def test_draws_depend_on_seed_and_update_alone() -> None:
    """A network's crops are the same whatever is trained beside it, and others at every update and seed."""
    images = torch.randn(2, 4, 3, 8, 8)
    augment = crops_and_flips(2)
    both = augment(images, [5, 6], 9)
    torch.testing.assert_close(both[1:], augment(images[1:], [6], 9), rtol=0, atol=0)
    assert not torch.equal(both[:1], augment(images[:1], [6], 9))
    assert not torch.equal(both, augment(images, [5, 6], 10))


def images(examples: int) -> Split:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(examples, 1, 6, 6, generator=generator)
    return Split(inputs, torch.randint(0, 3, (examples,), generator=generator))


class Images:
    """Training images, and others."""

    train, validation, test = images(30), images(3), images(7)


def small(**options: bool) -> torch.nn.Sequential:
    stacks = (((1, 4, 3), (1, 4, 1)), ((1, 5, 2),), ((1, 3, 1),))
    return architectures.convolutional(stacks, (0.2, 0.5, 0.0), "elu", channels=1, **options)


def test_training_augments_and_adjusts_as_a_plain_loop_does() -> None:
    """torch.nn and torch.optim.SGD over the same batches, with the same dropout, raised after three updates."""
    from torch.nn import Dropout, functional

    from analyses.networks.training import batch_order

    def adjust(network: torch.nn.Module, update: int) -> None:
        for module in network.modules():
            if isinstance(module, Dropout):
                module.p = 0.1 if update < 3 else 0.4

    def make(network: torch.nn.Module, rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(network.parameters(), rate, momentum=0.9)

    training = Training(2, (4,), (0.05,), batch_size=8, schedule=((5, 0.1),), evaluated=("test",))
    hooks = {"augment": crops_and_flips(1), "adjust": adjust}
    found = train(small, Images(), training, make_optimizer=make, **hooks)
    network = architectures.initialise(small(), 4)
    optimizer = make(network, 0.05)
    losses: list[float] = []
    with torch.random.fork_rng():
        torch.manual_seed(4)
        for update in range(8):
            batch = batch_order(4, update // 4, 30).split(8)[update % 4]
            inputs = cropped(Images.train.inputs[batch], 1, *draws(4, update, len(batch), 2))
            adjust(network, update)
            for group in optimizer.param_groups:
                group["lr"] = 0.05 if update < 5 else 0.005
            optimizer.zero_grad()
            loss = functional.cross_entropy(network.train()(inputs), Images.train.targets[batch])
            loss.backward()
            optimizer.step()
            losses += [loss.item()] * len(batch)
    expected = [np.mean(losses[:30]), np.mean(losses[30:])]
    np.testing.assert_allclose(found.table["train_loss"][1:], expected, rtol=1e-5)
    with torch.no_grad():
        error = functional.cross_entropy(network.eval()(Images.test.inputs), Images.test.targets)
    assert found.table["test_loss"].iloc[-1] == pytest.approx(error.item(), rel=1e-5)


def test_adjusting_needs_an_optimizer_each() -> None:
    with pytest.raises(InputError, match="give make_optimizer"):
        train(small, Images(), Training(1), adjust=lambda *_: None)


def test_dropout_everywhere_has_a_rate_behind_every_hidden_layer() -> None:
    rates = [module.p for module in small(everywhere=True) if isinstance(module, torch.nn.Dropout)]
    assert rates == [0.2, 0.2, 0.5]
    assert [module.p for module in small() if isinstance(module, torch.nn.Dropout)] == [0.2, 0.5]


@pytest.mark.parametrize(("width", "units"), [(1.0, [192, 192, 240]), (0.25, [48, 48, 60]), (1e-9, [1, 1, 1])])
def test_scaled_stacks(width: float, units: list[int]) -> None:
    stacks = architectures.scaled(architectures.CIFAR_11_STACKS, width, 10)
    assert [count for stack in stacks for _, count, _ in stack][:3] == units
    assert stacks[-1] == ((1, 10, 1),)
    assert [field for stack in stacks for *_, field in stack] == [5, 1, 3, 1, 2, 1, 2, 1, 2, 1, 1]


def test_size_of_a_network_by_hand() -> None:
    """Images of 6 × 6, then 3 × 3, 2 × 2 and 1: products of each convolution; torch's own count agrees."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        size = size_of(small(), (1, 6, 6))
    products = [36 * 4 * 9, 36 * 4 * 4, 9 * 5 * 16, 4 * 3 * 5]
    assert size.forward == 2 * sum(products)
    assert size.training == 3 * size.forward - 2 * products[0]
    assert size.parameters == 4 * 10 + 4 * 5 + 5 * 17 + 3 * 6
    network, inputs = small(), torch.randn(1, 1, 6, 6)
    with FlopCounterMode(display=False) as counted:
        network(inputs).sum().backward()
    assert counted.get_total_flops() == size.training
    cost = convolutional_cost(size, examples=30, epochs=4, batch_size=8)
    assert cost.updates == 16
    assert cost.operations > 120 * size.training
    assert cost.bytes > 4 * 4 * size.parameters
