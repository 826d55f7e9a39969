"""Networks trained together against plain torch loops, one network at a time; divergence; records; two processes."""

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from torch import Tensor, nn

from analyses.data.datasets import Split
from analyses.networks.architectures import fully_connected, hidden_activations, initialise
from analyses.networks.stacked import Networks, SeparateNetworks
from analyses.networks.training import LOSSES, Training, batch_order, fabric_on, train
from elutheory.errors import InputError
from elutheory.fisher import UnitNaturalGradient

SIZES = (12, 9, 7, 4)
EXAMPLES = 70  # of batches of 16, the last has 6


class Problem:
    """Classes that a random linear map of the inputs, whose means are not zero, decides."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(0)
        directions = torch.randn(SIZES[0], SIZES[-1], generator=generator, dtype=dtype)
        splits = []
        for examples in (EXAMPLES, 30, 40):
            inputs = torch.randn(examples, SIZES[0], generator=generator, dtype=dtype) + 0.5
            splits.append(Split(inputs, (inputs @ directions).argmax(1)))
        self.train, self.validation, self.test = splits


class Reconstruction:
    """Inputs that are their own targets."""

    def __init__(self) -> None:
        inputs = Problem().train.inputs
        self.train = self.validation = self.test = Split(inputs, inputs)


def lone_run(
    network: nn.Module, data: Any, training: Training, seed: int, optimizer: torch.optim.Optimizer
) -> dict[str, list[float]]:
    """The same records from a loop as the torch tutorials write it."""
    loss_of = LOSSES[training.loss]
    rates = [group["lr"] for group in optimizer.param_groups]

    def evaluated(split: Split) -> float:
        with torch.no_grad():
            return loss_of(network.eval()(split.inputs), split.targets).item()

    records = {"train_loss": [evaluated(data.train)], "test_loss": [evaluated(data.test)]}
    update = 0
    for epoch in range(training.epochs):
        order, total = batch_order(seed, epoch, len(data.train)), 0.0
        network.train()
        for batch in order.split(training.batch_size):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * training.rate_factor(update)
            optimizer.zero_grad()
            loss = loss_of(network(data.train.inputs[batch]), data.train.targets[batch])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
            update += 1
        records["train_loss"].append(total / len(order))
        records["test_loss"].append(evaluated(data.test))
    return records


def largest_difference(table: pandas.DataFrame, expected: dict[tuple[int, float], dict[str, list[float]]]) -> float:
    """Relative, over all networks, epochs and losses."""
    worst = 0.0
    for (seed, rate), records in expected.items():
        rows = table[(table["seed"] == seed) & (table["learning_rate"] == rate)]
        for name, values in records.items():
            worst = max(worst, np.abs(rows[name].to_numpy() / np.array(values) - 1).max())
    return worst


@pytest.mark.parametrize("activation", ["elu", "shifted_relu"])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("precision", ["64-true", "32-true"])
def test_networks_trained_at_once_are_their_lone_runs(activation: str, batch_norm: bool, precision: str) -> None:
    """Within rounding, which 25 updates multiply: 100 or so units of it."""
    dtype = torch.float64 if precision == "64-true" else torch.float32
    data = Problem(dtype)
    options = {"momentum": 0.9, "weight_decay": 1e-3, "schedule": ((7, 0.5), (12, 0.1))}
    training = Training(epochs=5, seeds=(3, 1), learning_rates=(0.01, 0.05), batch_size=16, **options)

    def build() -> nn.Module:
        return fully_connected(SIZES, activation, batch_norm=batch_norm)

    trained = train(build, data, training, fabric=fabric_on("cpu", precision))
    expected = {}
    for index, (seed, rate) in enumerate(training.runs):
        network = initialise(build().to(dtype), seed)
        sgd = torch.optim.SGD(network.parameters(), rate, momentum=0.9, weight_decay=1e-3)
        expected[seed, rate] = lone_run(network, data, training, seed, sgd)
        for name, tensor in trained.networks.network(index).state_dict().items():
            torch.testing.assert_close(tensor, network.state_dict()[name], rtol=1e-3, atol=4e3 * torch.finfo(dtype).eps)
    assert len(expected) == 4
    assert largest_difference(trained.table, expected) < (1e-12 if precision == "64-true" else 1e-4)
    last = trained.table[trained.table["epoch"] == 5]
    assert (last["train_loss"].to_numpy() < trained.table[trained.table["epoch"] == 0]["train_loss"].to_numpy()).all()


@pytest.mark.parametrize("loss", ["squared_error", "mean_squared_error"])
def test_autoencoders_at_once_are_their_lone_runs(loss: Any) -> None:
    data, sizes = Reconstruction(), (12, 5, 12)
    training = Training(epochs=3, seeds=(0, 1), learning_rates=(0.01,), batch_size=16, loss=loss)
    trained = train(lambda: fully_connected(sizes, "elu"), data, training, fabric=fabric_on("cpu", "64-true"))
    expected = {}
    for seed, rate in training.runs:
        network = initialise(fully_connected(sizes, "elu", dtype=torch.float64), seed)
        sgd = torch.optim.SGD(network.parameters(), rate)
        expected[seed, rate] = lone_run(network, data, training, seed, sgd)
    assert largest_difference(trained.table, expected) < 1e-12
    assert "test_accuracy" not in trained.table


def test_losses_by_hand() -> None:
    outputs, targets = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    assert LOSSES["squared_error"](outputs, targets).item() == (5 / 2 + 9 / 2) / 2
    assert LOSSES["mean_squared_error"](outputs, targets).item() == (5 + 9) / 4


@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda network, rate: torch.optim.Adam(network.parameters(), rate),
        lambda network, rate: UnitNaturalGradient(network, rate, max_kl=None, seed=5),
    ],
)
def test_networks_with_optimizers_of_their_own_are_their_lone_runs(make_optimizer: Callable[..., Any]) -> None:
    """With the same bits, as the operations are the same; training has not touched torch's random numbers."""
    data = Problem()
    training = Training(epochs=3, seeds=(0, 1), learning_rates=(0.003, 0.01), batch_size=16, schedule=((4, 0.5),))
    before = torch.get_rng_state()
    trained = train(
        lambda: fully_connected(SIZES, "elu"),
        data,
        training,
        fabric=fabric_on("cpu", "64-true"),
        make_optimizer=make_optimizer,
    )
    assert torch.equal(torch.get_rng_state(), before)
    expected = {}
    for seed, rate in training.runs:
        network = initialise(fully_connected(SIZES, "elu", dtype=torch.float64), seed)
        expected[seed, rate] = lone_run(network, data, training, seed, make_optimizer(network, rate))
    assert largest_difference(trained.table, expected) < 1e-14
    for index, (seed, _) in enumerate(training.runs):
        assert not trained.networks.network(index)._forward_hooks, seed


def test_batches_do_not_depend_on_activation_and_learning_rate() -> None:
    """Seen through a network that only passes its inputs on: its loss is that of the batch."""
    orders = [batch_order(seed, epoch, 100) for seed in range(3) for epoch in range(3)]
    assert all(sorted(order.tolist()) == list(range(100)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 9
    assert torch.equal(batch_order(1, 2, 100), orders[5])
    data = Problem()
    seen: dict[str, list[Tensor]] = {"elu": [], "relu": []}
    for name, batches in seen.items():

        def make_optimizer(network: nn.Module, rate: float, batches: list[Tensor] = batches) -> torch.optim.Optimizer:
            network.register_forward_pre_hook(
                lambda module, args: batches.append(args[0].clone()) if module.training else None
            )
            return torch.optim.SGD(network.parameters(), rate)

        training = Training(epochs=2, learning_rates=(0.01,) if name == "elu" else (0.1,), batch_size=16)
        train(lambda name=name: fully_connected(SIZES, name), data, training, make_optimizer=make_optimizer)
    assert len(seen["elu"]) == len(seen["relu"]) == 10
    assert all(torch.equal(one, other) for one, other in zip(seen["elu"], seen["relu"], strict=True))
    first = batch_order(0, 0, EXAMPLES)[:16]
    assert torch.equal(seen["elu"][0], data.train.inputs[first].float())


@pytest.mark.parametrize("separate", [False, True])
def test_a_diverged_network_is_recorded_as_such_and_the_others_go_on(separate: bool) -> None:
    """The update is that of a plain loop; from its epoch on there are no numbers, also no measured ones."""
    data, limit = Problem(), 1e6
    training = Training(epochs=6, seeds=(0,), learning_rates=(0.01, 60.0, 1e200), batch_size=16)

    def sgd(network: nn.Module, rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(network.parameters(), rate)

    def measure(networks: Networks) -> dict[str, Tensor]:
        means = networks.map(lambda network, inputs: hidden_activations(network, inputs)[0].mean(0), data.train.inputs)
        return {"means": means, "first": means[:, 0], "count": torch.ones(len(networks), dtype=torch.int64)}

    trained = train(
        lambda: fully_connected(SIZES, "identity"),
        data,
        training,
        fabric=fabric_on("cpu", "64-true"),
        make_optimizer=sgd if separate else None,
        measure=measure,
    )
    table = trained.table
    for index, (_, rate) in enumerate(training.runs):
        network = initialise(fully_connected(SIZES, "identity", dtype=torch.float64), 0)
        optimizer = sgd(network, rate)
        first = LOSSES["cross_entropy"](network(data.train.inputs), data.train.targets).item()
        diverged, update = math.nan, 0
        for epoch in range(training.epochs):
            for batch in batch_order(0, epoch, EXAMPLES).split(16):
                optimizer.zero_grad()
                loss = LOSSES["cross_entropy"](network(data.train.inputs[batch]), data.train.targets[batch])
                if math.isnan(diverged) and not loss.item() <= limit * first:
                    diverged = update
                loss.backward()
                optimizer.step()
                update += 1
        rows = table[table["learning_rate"] == rate]
        assert math.isnan(diverged) == (index == 0)
        np.testing.assert_array_equal(rows["diverged_update"], [diverged] * 7)
        numbers = [name for name in table if name not in ("seed", "learning_rate", "epoch", "diverged_update")]
        gone = np.full(7, False) if math.isnan(diverged) else np.arange(7) > diverged // 5
        for name in numbers:
            np.testing.assert_array_equal(rows[name].isna(), gone, err_msg=name)
        np.testing.assert_array_equal(trained.measured["means"][:, index].isnan().all(1), gone)
    alone = train(
        lambda: fully_connected(SIZES, "identity"),
        data,
        Training(epochs=6, seeds=(0,), learning_rates=(0.01,), batch_size=16),
        fabric=fabric_on("cpu", "64-true"),
        measure=measure,
    )
    ours = table[table["learning_rate"] == 0.01].reset_index(drop=True)
    pandas.testing.assert_frame_equal(ours, alone.table, rtol=1e-12)


def test_measured_numbers_are_those_of_each_network() -> None:
    data = Problem()
    training = Training(epochs=2, seeds=(0, 1), learning_rates=(0.1,), batch_size=16, evaluated=("train", "test"))

    def measure(networks: Networks) -> dict[str, Tensor]:
        hidden = networks.map(hidden_activations, data.train.inputs[:20])
        return {"means": hidden[1].mean(1), "norm": networks.parameters()["0.weight"].flatten(1).norm(dim=1)}

    trained = train(
        lambda: fully_connected(SIZES, "elu"), data, training, fabric=fabric_on("cpu", "64-true"), measure=measure
    )
    last = trained.table[trained.table["epoch"] == 2].reset_index()
    assert trained.measured["means"].shape == (3, 2, SIZES[2])
    for index in range(2):
        network = trained.networks.network(index)
        assert isinstance(network, nn.Sequential)
        means = hidden_activations(network, data.train.inputs[:20])[1].mean(0).detach()
        torch.testing.assert_close(trained.measured["means"][2, index], means)
        assert last["norm"][index] == pytest.approx(network[0].weight.norm().item())  # pyright: ignore
        outputs = network(data.test.inputs)
        assert last["test_accuracy"][index] == pytest.approx((outputs.argmax(1) == data.test.targets).double().mean())
        loss = nn.functional.cross_entropy(network(data.train.inputs), data.train.targets).item()
        assert last["whole_train_loss"][index] == pytest.approx(loss)
        assert last["train_loss"][index] != pytest.approx(loss)  # the mean over the epoch


def test_dropout_is_that_of_the_lone_run_and_alone() -> None:
    """The masks come from torch's generator, seeded with the seed."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(12, 9), nn.ELU(), nn.Dropout(0.5), nn.Linear(9, 4))

    data, training = Problem(), Training(epochs=2, seeds=(3,), batch_size=16)
    table = train(build, data, training, fabric=fabric_on("cpu", "64-true")).table
    network = initialise(build().double(), 3)
    torch.manual_seed(3)
    expected = lone_run(network, data, training, 3, torch.optim.SGD(network.parameters(), 0.01))
    assert largest_difference(table, {(3, 0.01): expected}) < 1e-12
    with pytest.raises(InputError, match="networks with dropout are trained one at a time"):
        train(build, data, Training(epochs=1, seeds=(0, 1)))


def test_half_precision_products_train() -> None:
    """bfloat16 keeps 8 bits: losses within a few per cent of float32's."""
    data, training = Problem(torch.float32), Training(epochs=3, seeds=(0, 1), batch_size=16)
    tables = [
        train(lambda: fully_connected(SIZES, "elu"), data, training, fabric=fabric_on("cpu", precision)).table
        for precision in ("32-true", "bf16-mixed")
    ]
    difference = np.abs(tables[1]["train_loss"] / tables[0]["train_loss"] - 1).max()
    assert 0 < difference < 0.05


@pytest.mark.exhaustive
def test_two_processes_are_one() -> None:
    """Fabric's launcher and gloo, in an interpreter of its own; every batch is split unevenly, 16 = 8 + 8, 6 = 3 + 3,
    9 = 5 + 4."""
    command = [sys.executable, "-m", "tests.analyses.networks.two_process_training"]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "the same"


def test_a_diverged_optimizer_that_solves_equations_stops_alone() -> None:
    """It would refuse outputs and gradients that are not finite; its own refusals of good ones pass through."""
    networks = SeparateNetworks(
        [initialise(fully_connected(SIZES, "relu"), 0) for _ in range(2)],
        (1e30, 0.01),
        LOSSES["cross_entropy"],
        fabric_on(),
        lambda network, rate: UnitNaturalGradient(network, rate, max_kl=None),
    )
    data = Problem(torch.float32)
    batch = [tensor.expand(2, *tensor.shape) for tensor in (data.train.inputs, data.train.targets)]
    losses = torch.stack([networks.step(*batch) for _ in range(4)])
    assert losses[0].isfinite().all()
    assert losses[-1, 0].isnan()
    assert losses[:, 1].isfinite().all()
    assert (losses[1:, 1] < losses[:-1, 1]).all()

    class Refusing(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            raise InputError("no")

    refusing = SeparateNetworks(
        [initialise(fully_connected(SIZES, "relu"), 0)],
        (0.1,),
        LOSSES["cross_entropy"],
        fabric_on(),
        lambda network, rate: Refusing(network.parameters(), rate),
    )
    with pytest.raises(InputError, match="no"):
        refusing.step(data.train.inputs[None], data.train.targets[None])


def test_bad_input() -> None:
    with pytest.raises(InputError, match="epochs is -1 and batch_size 64"):
        Training(epochs=-1)
    with pytest.raises(InputError, match="one value at least"):
        Training(epochs=1, seeds=())
    with pytest.raises(InputError, match="must differ"):
        Training(epochs=1, seeds=(1, 1))
    with pytest.raises(InputError, match="loss is 'hinge'"):
        Training(epochs=1, loss="hinge")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="above 0"):
        Training(epochs=1, stop_at=0.0)
    with pytest.raises(InputError, match="must ascend"):
        Training(epochs=1, schedule=((5, 0.1), (2, 0.1)))
    data, build = Problem(torch.float32), lambda: fully_connected(SIZES, "elu")
    with pytest.raises(InputError, match="'mean' has shape \\(\\); the networks must be its first dimension"):
        train(build, data, Training(epochs=1), measure=lambda networks: {"mean": torch.tensor(0.0)})
    with pytest.raises(InputError, match="batch normalisation needs two examples, an epoch's last batch has one"):
        train(lambda: fully_connected(SIZES, "elu", batch_norm=True), data, Training(epochs=1, batch_size=23))
    adam = lambda network, rate: torch.optim.Adam(network.parameters(), rate)  # noqa: E731
    with pytest.raises(InputError, match="give them to the optimizer made"):
        train(build, data, Training(epochs=1, momentum=0.9), make_optimizer=adam)


def test_training_ends_when_every_network_is_there_or_has_diverged() -> None:
    def trained(stop_at: float | None) -> pandas.DataFrame:
        rates = (0.03, 1.0, 1e9)
        training = Training(30, (3,), rates, batch_size=16, evaluated=(), stop_at=stop_at)
        fabric = fabric_on(precision="64-true")
        return train(lambda: fully_connected(SIZES, "elu"), Problem(), training, fabric=fabric).table

    whole = trained(None)
    losses = whole.pivot(index="epoch", columns="learning_rate", values="train_loss")
    wanted = losses[1.0][4]
    first = [int((losses[rate] <= wanted).idxmax()) for rate in (0.03, 1.0)]
    last = max(first)
    assert 0 < min(first) < last < 30
    assert losses[1e9][1:].isna().all()
    pandas.testing.assert_frame_equal(trained(wanted), whole[whole["epoch"] <= last].reset_index(drop=True))
