"""Training from random initial weights: many networks of one shape at once, resumable, recorded epoch by epoch.

    networks = train(lambda: fully_connected((784, 128, 10), "elu"), data, Training(epochs=10, seeds=(0, 1))).networks

The same seed gives the same initial weights (`networks.initialise`) and the same order of the training examples,
whatever the activation, learning rate and optimizer.
"""

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import pandas
import torch
from torch import Tensor, nn

from analyses.data.datasets import Split
from analyses.networks import checkpoints
from analyses.networks.architectures import initialise
from analyses.networks.stacked import Loss, MakeOptimizer, Networks, SeparateNetworks, StackedNetworks
from elutheory.dynamics.gradient_descent.minibatches import batch_order as batch_order
from elutheory.errors import InputError

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class Data(Protocol):
    """What is trained and evaluated on: a Dataset, or any three splits; an autoencoder's targets are its inputs."""

    @property
    def train(self) -> Split:
        """The examples that are trained on."""
        ...

    @property
    def validation(self) -> Split:
        """Examples to choose by, such as a learning rate."""
        ...

    @property
    def test(self) -> Split:
        """Examples that nothing is chosen by."""
        ...


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """½ |y − t|², mean over examples: −ln p of a Gaussian with variance 1, less a constant."""
    return (outputs - targets).square().flatten(1).sum(1).mean() / 2


def binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Σ −t ln y − (1 − t) ln(1 − y), y the logistic function of the outputs and t in [0, 1]; mean over examples."""
    each = nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
    return each.flatten(1).sum(1).mean()


LOSSES: Mapping[str, Loss] = {
    "cross_entropy": nn.functional.cross_entropy,
    "squared_error": squared_error,
    "mean_squared_error": nn.functional.mse_loss,
    "binary_cross_entropy": binary_cross_entropy,
}
DIVERGED = 1e6
"""A loss above this many times the one before training, or not finite, has diverged."""
_EVALUATED_AT_ONCE = 1000
Measure = Callable[[Networks], Mapping[str, Tensor]]
Initialise = Callable[[Any, int], nn.Module]
"""Draws a network's weights, in place, from a seed; returns the network."""
Augment = Callable[[Tensor, Sequence[int], int], Tensor]
"""Other inputs for a batch's (networks, examples, …), by the networks' seeds and the update, counted from 0."""
Adjust = Callable[[nn.Module, int], None]
"""Changes a network's settings, such as a rate of dropout, to those of an update, counted from 0."""


@dataclass(frozen=True)
class Training:
    """How networks are trained: one network per seed and learning rate, by SGD on the mean loss of a batch.

    - `batch_size`: the last batch of an epoch has the examples that are left;
    - `loss`: "cross_entropy" (targets: classes), "squared_error" (½ |y − t|²), "mean_squared_error" (over the output's
      coordinates too) or "binary_cross_entropy" (of logits, summed over coordinates), each the mean over examples;
    - `momentum`, `weight_decay`: as in torch.optim.SGD;
    - `schedule`: (update, factor) pairs in ascending order: from that update on, counted from 0, learning rates are the
      stated ones times the factor;
    - `evaluated`: splits whose loss (and accuracy, for classes) is measured at every epoch;
    - `stop_at`: training ends early, after the first epoch by which every network has had an epoch's `train_loss` of at
      most this, or has diverged; None: all epochs.

    Raises InputError for values out of range.
    """

    epochs: int
    seeds: tuple[int, ...] = (0,)
    learning_rates: tuple[float, ...] = (0.01,)
    batch_size: int = 64
    loss: Literal["cross_entropy", "squared_error", "mean_squared_error", "binary_cross_entropy"] = "cross_entropy"
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: tuple[tuple[int, float], ...] = ()
    evaluated: tuple[Literal["train", "validation", "test"], ...] = ("validation", "test")
    stop_at: float | None = None

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 1:
            raise InputError(f"epochs is {self.epochs} and batch_size {self.batch_size}; 0 and 1 are the least.")
        if not self.seeds or not self.learning_rates or min(self.seeds) < 0:
            raise InputError("seeds and learning_rates need one value at least, seeds of 0 or more.")
        if len(set(self.runs)) < len(self.seeds) * len(self.learning_rates):
            raise InputError("seeds and learning_rates must differ; two networks would be the same.")
        if self.loss not in LOSSES:
            raise InputError(f"loss is {self.loss!r}; {', '.join(LOSSES)} are available.")
        if [update for update, _ in self.schedule] != sorted({update for update, _ in self.schedule}):
            raise InputError("the schedule's updates must ascend.")
        if self.stop_at is not None and not self.stop_at > 0:
            raise InputError(f"stop_at is {self.stop_at}; give a loss above 0, or None.")

    @property
    def runs(self) -> list[tuple[int, float]]:
        """(seed, learning rate) of each network, in their order: all learning rates of the first seed first."""
        return list(product(self.seeds, self.learning_rates))

    def rate_factor(self, update: int) -> float:
        """What the learning rates are multiplied with at this update."""
        return next((factor for start, factor in reversed(self.schedule) if start <= update), 1.0)


@dataclass(frozen=True)
class Trained:
    """What training leaves.

    - `table`: one row per network (in the order of `Training.runs`) and epoch, 0 being before training. Columns `seed`,
      `learning_rate`, `epoch`; `train_loss`: mean over the epoch's batches, each before its update (epoch 0: over the
      training data); `SPLIT_loss` and, of classes, `SPLIT_accuracy`: after the epoch, for the splits evaluated, SPLIT
      being validation, test or whole_train; every measured number that is one per network;
      `diverged_update`: number of updates after which the loss had diverged (see DIVERGED), NaN if it never did. From
      that epoch on all other numbers of the network are NaN, and the other networks go on as if it were not there;
    - `measured`: the other measured tensors by name, (epochs trained + 1, networks, …), on the CPU;
    - `networks`: as they are after the last epoch trained.
    """

    table: pandas.DataFrame
    measured: dict[str, Tensor]
    networks: Networks


def fabric_on(device: str = "cpu", precision: Any = "32-true") -> "Fabric":
    """One process on this device; precision is one of Fabric's, such as "64-true" or "bf16-mixed"."""
    from lightning.fabric import Fabric  # noqa: PLC0415 (takes seconds, and who draws a figure needs none)

    chosen = torch.device(device)
    devices: Any = 1 if chosen.type == "cpu" else [chosen.index or 0]
    return Fabric(accelerator=chosen.type, devices=devices, precision=precision)


def gathered(split: Split, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and targets of these examples, in the shape of the indices; the same tensor where they are the same."""

    def rows(values: Tensor) -> Tensor:
        return values.index_select(0, indices.flatten()).unflatten(0, indices.shape)  # copies whole rows; [] does not

    inputs = rows(split.inputs)
    return inputs, inputs if split.targets is split.inputs else rows(split.targets)


def train(
    build: Callable[[], nn.Module],
    data: Data,
    training: Training,
    *,
    fabric: "Fabric | None" = None,
    make_optimizer: MakeOptimizer | None = None,
    initialise: Initialise = initialise,
    augment: Augment | None = None,
    adjust: Adjust | None = None,
    measure: Measure | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
) -> Trained:
    """Train one network per seed and learning rate; `build` makes it, `initialise(network, seed)` draws its weights.

    All networks are updated at once by SGD, each as it would be alone. With `make_optimizer(network, learning_rate)`
    each has that optimizer instead, and they take turns.

    `augment(inputs, seeds, update)`: what the networks see in place of a batch's inputs; only in training, and of the
    same shape. `adjust(network, update)`: before each update of each network; only with `make_optimizer`. Both must
    depend on their arguments alone, so that a training can go on.

    `measure(networks)`: tensors (networks, …) by name, taken before training and after each epoch. `fabric`: device,
    precision and processes; each process takes a part of every batch; None: this process on the CPU.

    `checkpoint`: the file the state is saved to, at the first update `checkpoint_seconds` after the last time and at
    the end, and resumed from: on the CPU, with the bits of an uninterrupted training. Whoever no longer needs it
    deletes it. Raises InputError for one that is damaged or of another training, for networks with dropout unless
    there is one, for dropout, batch normalisation and `augment` with several processes, and for `adjust` without
    `make_optimizer`.
    """
    fabric = fabric_on() if fabric is None else fabric
    with torch.random.fork_rng(_cuda_devices(fabric)):
        networks = _initialised(build, initialise, training, fabric)
        session = _Session(
            networks, data, training, fabric, make_optimizer, augment, adjust, measure, checkpoint, checkpoint_seconds
        )
        torch.manual_seed(training.seeds[0])  # for dropout
        return session.run()


class _Session:
    """A training with what it has recorded so far."""

    def __init__(
        self,
        built: list[nn.Module],
        data: Data,
        training: Training,
        fabric: "Fabric",
        make_optimizer: MakeOptimizer | None,
        augment: Augment | None,
        adjust: Adjust | None,
        measure: Measure | None,
        checkpoint: Path | None,
        checkpoint_seconds: float,
    ) -> None:
        self.training, self.fabric, self.measure = training, fabric, measure
        self.augment, self.adjust = augment, adjust
        self.path, self.seconds = checkpoint, checkpoint_seconds
        with fabric.init_module():
            dtype = torch.get_default_dtype()
        examples = len(data.train)
        self.batches = -(-examples // training.batch_size)
        self.last = examples - (self.batches - 1) * training.batch_size
        """Examples of the last batch."""
        _check(built, fabric, self.last)
        if augment is not None and fabric.world_size > 1:
            raise InputError("augmented batches need one process; use one.")
        if adjust is not None and make_optimizer is None:
            raise InputError("networks that are adjusted need an optimizer each; give make_optimizer.")
        self.data = {
            name: _on_device(split, fabric.device, dtype)
            for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
        }
        rates = [rate for _, rate in training.runs]
        self.loss = LOSSES[training.loss]
        if make_optimizer is None:
            momenta = {"momentum": training.momentum, "weight_decay": training.weight_decay}
            self.networks: Networks = StackedNetworks(built, rates, self.loss, fabric, **momenta)
            optimizer = "SGD"
        else:
            if training.momentum or training.weight_decay:
                raise InputError("momentum and weight_decay are those of SGD; give them to the optimizer made.")
            separate = SeparateNetworks(built, rates, self.loss, fabric, make_optimizer)
            self.networks, optimizer = separate, repr(separate.optimizers[0])
        self.identity = {} if checkpoint is None else self._identity(built, optimizer, dtype)

        self.epoch, self.batch = 0, 0
        self.losses = torch.zeros(self.batches, len(built), dtype=dtype, device=fabric.device)
        """Of the epoch's batches so far."""
        self.diverged = torch.full((len(built),), torch.nan, dtype=torch.float64)
        self.records: list[dict[str, Tensor]] = []

    def run(self) -> Trained:
        self._resume()
        saved = time.monotonic()
        if not self.records:
            self._record(self._evaluated("train")["whole_train_loss"])
        while self.epoch < self.training.epochs and not self._stopped():
            orders = self._orders()
            while self.batch < self.batches:
                self._step(orders)
                if self.path and time.monotonic() - saved >= self.seconds:
                    self._save()
                    saved = time.monotonic()
            self._end_epoch()
        self._save()
        return self._trained()

    # ---------------------------------------------------------------------------------------------------- training

    def _orders(self) -> Tensor:
        """Order of the examples for each network, (networks, examples)."""
        examples = len(self.data["train"])
        orders = {seed: batch_order(seed, self.epoch, examples) for seed in self.training.seeds}
        return torch.stack([orders[seed] for seed, _ in self.training.runs]).to(self.fabric.device)

    def _step(self, orders: Tensor) -> None:
        split, size = self.data["train"], self.training.batch_size
        batch = orders[:, self.batch * size : (self.batch + 1) * size]
        ours = batch[:, self.fabric.global_rank :: self.fabric.world_size]
        inputs, targets = gathered(split, ours)
        update = self.epoch * self.batches + self.batch
        if self.augment is not None:
            inputs = self.augment(inputs, [seed for seed, _ in self.training.runs], update)
        adjust = self.adjust
        if adjust is not None and isinstance(self.networks, SeparateNetworks):
            self.networks.adjust(lambda network: adjust(network, update))
        factor = self.training.rate_factor(update)
        self.losses[self.batch] = self.networks.step(inputs, targets, ours.shape[1] / batch.shape[1], factor)
        self.batch += 1

    def _end_epoch(self) -> None:
        first = self.epoch * self.batches
        losses = self.losses.cpu().double()
        limits = DIVERGED * self.records[0]["train_loss"]
        for network in range(len(self.networks)):
            wrong = (~(losses[:, network] <= limits[network])).nonzero()
            if len(wrong):
                self._give_up(network, first + int(wrong[0]))
        sizes = torch.full((self.batches,), self.training.batch_size, dtype=torch.float64)
        sizes[-1] = self.last
        self.epoch, self.batch = self.epoch + 1, 0
        self._record(sizes @ losses / sizes.sum())

    def _stopped(self) -> bool:
        wanted = self.training.stop_at
        if wanted is None:
            return False
        reached = torch.stack([row["train_loss"] for row in self.records]) <= wanted
        return bool((reached.any(0) | ~self.diverged.isnan()).all())

    def _give_up(self, network: int, update: int) -> None:
        if self.diverged[network].isnan():
            self.diverged[network] = update
            self.networks.discard(network)

    # ----------------------------------------------------------------------------------------------------- records

    def _record(self, train_loss: Tensor) -> None:
        row = {"train_loss": train_loss}
        for name in self.training.evaluated:
            row |= self._evaluated(name)
        for network in range(len(self.networks)):
            if not all(bool(row[key][network].isfinite()) for key in row):
                self._give_up(network, self.epoch * self.batches)
        if self.measure is not None:
            row |= {name: value.detach().cpu() for name, value in self.measure(self.networks).items()}
        for name, value in row.items():
            if value.shape[:1] != (len(self.networks),):
                raise InputError(f"{name!r} has shape {tuple(value.shape)}; the networks must be its first dimension.")
            row[name] = self._of_those_alive(value)
        self.records.append(row)

    def _of_those_alive(self, values: Tensor) -> Tensor:
        values = values if values.is_floating_point() else values.double()
        gone = ~self.diverged.isnan()
        return values.masked_fill(gone.view(-1, *[1] * (values.ndim - 1)), torch.nan)

    def _evaluated(self, name: str) -> dict[str, Tensor]:
        split, classes = self.data[name], self.training.loss == "cross_entropy"

        def sums(network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            outputs = network(inputs)
            right = (outputs.argmax(1) == targets).sum() if classes else outputs.new_zeros(())
            return self.loss(outputs, targets) * len(inputs), right

        loss, right = torch.zeros(2, len(self.networks), dtype=torch.float64)
        for start in range(0, len(split), _EVALUATED_AT_ONCE):
            part = slice(start, start + _EVALUATED_AT_ONCE)
            losses, rights = self.networks.map(sums, split.inputs[part], split.targets[part])
            loss += losses.cpu()
            right += rights.cpu()
        column = f"whole_{name}" if name == "train" else name
        found = {f"{column}_loss": loss / len(split)}
        return found | ({f"{column}_accuracy": right / len(split)} if classes else {})

    def _trained(self) -> Trained:
        columns = {name: torch.stack([row[name] for row in self.records]) for name in self.records[0]}
        epochs, networks = len(self.records), len(self.networks)
        seeds, rates = zip(*self.training.runs, strict=True)
        numbers = {name: held.T.reshape(-1).numpy() for name, held in columns.items() if held.ndim == 2}
        table = pandas.DataFrame(
            {
                "seed": np.repeat(seeds, epochs),
                "learning_rate": np.repeat(rates, epochs),
                "epoch": np.tile(np.arange(epochs), networks),
                **numbers,
                "diverged_update": np.repeat(self.diverged.numpy(), epochs),
            }
        )
        return Trained(table, {name: held for name, held in columns.items() if held.ndim > 2}, self.networks)

    # -------------------------------------------------------------------------------------------------- checkpoints

    def _identity(self, built: list[nn.Module], optimizer: str, dtype: torch.dtype) -> dict[str, Any]:
        hooks = {"measure": self.measure, "augment": self.augment, "adjust": self.adjust}
        return {
            **dataclasses.asdict(self.training),
            "network": str(built[0]),
            "optimizer": optimizer,
            **{name: hook and f"{hook.__module__}.{hook.__qualname__}" for name, hook in hooks.items()},
            "data": {name: _digest(split) for name, split in self.data.items()},
            "dtype": str(dtype),
            "device": self.fabric.device.type,
            "processes": self.fabric.world_size,
            "torch": torch.__version__,
            "weights_before_training": _digest_of(
                tensor for network in built for tensor in network.state_dict().values()
            ),
        }

    def _save(self) -> None:
        if self.path is None or not self.fabric.is_global_zero:
            return
        state = {
            "epoch": self.epoch,
            "batch": self.batch,
            "losses": self.losses,
            "diverged": self.diverged,
            "records": self.records,
            "networks": self.networks.state(),
            "random": torch.get_rng_state(),
            "cuda_random": [torch.cuda.get_rng_state(index) for index in _cuda_devices(self.fabric)],
        }
        checkpoints.save(self.path, self.identity, state)

    def _resume(self) -> None:
        state = None if self.path is None else checkpoints.load(self.path, self.identity)
        self.fabric.barrier()  # all have read before one writes
        if state is None:
            return
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.losses.copy_(state["losses"])
        self.diverged, self.records = state["diverged"], state["records"]
        self.networks.load(state["networks"])
        torch.set_rng_state(state["random"])
        for index, held in zip(_cuda_devices(self.fabric), state["cuda_random"], strict=True):
            torch.cuda.set_rng_state(held, index)


def _initialised(
    build: Callable[[], nn.Module], initialise: Initialise, training: Training, fabric: "Fabric"
) -> list[nn.Module]:
    with fabric.init_module():
        return [initialise(build(), seed) for seed, _ in training.runs]


def _check(networks: list[nn.Module], fabric: "Fabric", last_batch: int) -> None:
    dropout = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in networks[0].modules())
    coupled = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in networks[0].modules())
    if dropout and len(networks) > 1:
        raise InputError("networks with dropout are trained one at a time; give one seed and one learning rate.")
    if (dropout or coupled) and fabric.world_size > 1:
        raise InputError("dropout and batch normalisation need the whole batch in one process; use one.")
    if coupled and last_batch == 1:
        raise InputError("batch normalisation needs two examples, an epoch's last batch has one; change batch_size.")
    if last_batch < fabric.world_size:
        raise InputError(
            f"each of {fabric.world_size} processes needs an example, an epoch's last batch has {last_batch}; change "
            "batch_size."
        )


def _on_device(split: Split, device: torch.device, dtype: torch.dtype) -> Split:
    inputs = split.inputs.to(device, dtype)
    if split.targets is split.inputs:
        return Split(inputs, inputs)
    targets = split.targets.to(device, dtype) if split.targets.is_floating_point() else split.targets.to(device)
    return Split(inputs, targets)


def _digest(split: Split) -> str:
    return _digest_of((split.inputs, split.targets))


def _digest_of(tensors: Iterable[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(checkpoints.bytes_of(tensor))
    return digest.hexdigest()


def _cuda_devices(fabric: "Fabric") -> list[int]:
    return [fabric.device.index or 0] if fabric.device.type == "cuda" else []
