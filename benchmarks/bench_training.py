"""The training engine beside plain loops: `pytest benchmarks -o addopts= -s -k training`.

Networks of section 4.1.1 (eight hidden layers of 128 units, inputs of MNIST's size), batches of 64, SGD. The sides take
turns, on two threads, and count their best round. Set-up, among it the tracing of the stacked step, is outside: it is
done once a training.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from analyses.data.datasets import Split
from analyses.networks.architectures import LEARNING_BEHAVIOUR, fully_connected, hidden_activations, initialise
from analyses.networks.stacked import Networks, StackedNetworks
from analyses.networks.training import LOSSES, Training, batch_order, fabric_on, gathered, train
from benchmarks.interleaved_times import best_times

NETWORKS, BATCH, RATE = 20, 64, 0.01
UPDATES = 5
"""Of a round: short, to fit between other work on the machine."""
EPOCH_UPDATES = 60
EPOCH = 60_000 // BATCH
SUBSET = 1000
ROUNDS = 50
THROUGHPUT, OVERHEAD, MEASURING = 2.0, 1.05, 0.05

pytestmark = pytest.mark.usefixtures("two_threads")


class Data:
    """Random images and classes; the size of the training data matters to memory alone."""

    def __init__(self, examples: int) -> None:
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(examples, LEARNING_BEHAVIOUR[0], generator=generator)
        targets = torch.randint(LEARNING_BEHAVIOUR[-1], (examples,), generator=generator)
        self.train = Split(inputs, targets)
        self.validation = self.test = Split(inputs[:BATCH], targets[:BATCH])


def networks() -> list[nn.Module]:
    return [initialise(fully_connected(LEARNING_BEHAVIOUR, "elu"), seed) for seed in range(NETWORKS)]


def orders(examples: int) -> Tensor:
    return torch.stack([batch_order(seed, 0, examples) for seed in range(NETWORKS)])


def batches(order: Tensor, updates: int = UPDATES) -> list[Tensor]:
    return list(order[..., : updates * BATCH].split(BATCH, dim=-1))


def one_after_the_other(data: Data) -> Callable[[], None]:
    """Updates of each network in turn, as plain PyTorch does them."""
    lone = [(network, torch.optim.SGD(network.parameters(), RATE)) for network in networks()]
    taken = [batches(order) for order in orders(len(data.train))]

    def run() -> None:
        for (network, optimizer), indices in zip(lone, taken, strict=True):
            for index in indices:
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(data.train.inputs[index]), data.train.targets[index]).backward()
                optimizer.step()

    return run


def engine(data: Data, updates: int = UPDATES) -> Callable[[], None]:
    """The engine's step, batches gathered as the engine does."""
    stacked = StackedNetworks(networks(), (RATE,) * NETWORKS, LOSSES["cross_entropy"], fabric_on())
    taken = batches(orders(len(data.train)), updates)

    def run() -> None:
        for index in taken:
            stacked.step(*gathered(data.train, index))

    run()
    return run


def bare_loop(data: Data, updates: int = UPDATES) -> Callable[[], None]:
    """The same mathematics, stacked by hand with `torch.baddbmm`, and nothing recorded but the losses."""
    layers = [
        [torch.stack([part.detach() for part in parts]).requires_grad_() for parts in zip(*same_place, strict=True)]
        for same_place in zip(
            *([(m.weight, m.bias) for m in network.modules() if isinstance(m, nn.Linear)] for network in networks()),
            strict=True,
        )
    ]
    parameters = [tensor for layer in layers for tensor in layer]
    taken = batches(orders(len(data.train)), updates)

    def run() -> None:
        for index in taken:
            values, targets = data.train.inputs[index], data.train.targets[index]
            for place, (weight, bias) in enumerate(layers):
                values = torch.baddbmm(bias[:, None], values, weight.mT)
                values = nn.functional.elu(values) if place < len(layers) - 1 else values
            loss = nn.functional.cross_entropy(values.flatten(0, 1), targets.flatten(), reduction="sum") / BATCH
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.add_(gradient, alpha=-RATE)

    return run


def unit_means(trained: Networks, inputs: Tensor) -> Tensor:
    return trained.map(
        lambda network, given: torch.cat([h.mean(0) for h in hidden_activations(network, given)]), inputs
    )


def test_training_many_networks_at_once_beside_one_after_the_other(compare: Callable[..., None]) -> None:
    data = Data(60_000)
    lone, stacked = best_times(one_after_the_other(data), engine(data), rounds=ROUNDS)
    steps = UPDATES * NETWORKS
    print(
        f"\none update of one network: {1e3 * lone / steps:.2f} ms alone, {1e3 * stacked / steps:.2f} ms of {NETWORKS} "
        f"at once; throughput {lone / stacked:.2f} times"
    )
    hidden = LEARNING_BEHAVIOUR[1:-1]
    compare(
        name="training",
        what=f"update of one of {NETWORKS} networks, {len(hidden)} layers of {hidden[0]} units, trained at once",
        peer="one after the other",
        seconds=stacked / steps,
        peer_seconds=lone / steps,
    )
    assert lone / stacked >= THROUGHPUT


def test_training_engine_beside_bare_loops() -> None:
    """Two epochs of `train` and four: their difference is two epochs with records, evaluation left out. Beside them the
    engine's own step without records, and a loop that shares nothing with the engine."""
    data, updates = Data(EPOCH_UPDATES * BATCH), EPOCH_UPDATES

    def epochs(count: int) -> Callable[[], object]:
        training = Training(count, tuple(range(NETWORKS)), (RATE,), BATCH, evaluated=())
        return lambda: train(lambda: fully_connected(LEARNING_BEHAVIOUR, "elu"), data, training)

    sides = bare_loop(data, updates), engine(data, updates), epochs(2), epochs(4)
    by_hand, steps, two, four = best_times(*sides, rounds=ROUNDS // 5)
    ours = (four - two) / 2
    print(
        f"\n{updates} updates of {NETWORKS} networks: engine {1e3 * ours:.0f} ms, its steps alone {1e3 * steps:.0f} ms,"
        f" stacked by hand {1e3 * by_hand:.0f} ms"
    )
    assert ours / steps <= OVERHEAD
    assert ours / by_hand <= OVERHEAD


def test_training_with_unit_means_at_every_epoch() -> None:
    data = Data(60_000)
    stacked = StackedNetworks(networks(), (RATE,) * NETWORKS, LOSSES["cross_entropy"], fabric_on())
    subset = data.train.inputs[:SUBSET]
    updates, means = best_times(engine(data), lambda: unit_means(stacked, subset), rounds=ROUNDS // 5)
    share = means / (updates / UPDATES * EPOCH)
    print(
        f"\nunit means on {SUBSET} examples: {1e3 * means:.0f} ms, {100 * share:.2f} % of an epoch of {EPOCH} updates"
    )
    assert share <= MEASURING
