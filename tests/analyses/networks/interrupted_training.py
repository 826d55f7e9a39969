"""Kills trainings of both kinds by SIGKILL and resumes them; arguments: a folder, how many kills of each.

Every attempt is a forked process. Half of them kill themselves, at a random update, or in the middle of writing the
checkpoint; half are killed by their parent after a random time. Prints how many of each kind's had been killed.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from analyses.data.datasets import Split
from analyses.networks import checkpoints
from analyses.networks.architectures import fully_connected, hidden_activations
from analyses.networks.stacked import Networks, SeparateNetworks, StackedNetworks
from analyses.networks.training import Training, fabric_on, train
from elutheory.fisher import UnitNaturalGradient

EPOCHS = 3
Run = Callable[[Path | None], Any]


class Data:
    """Random inputs and classes."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(100, 12, generator=generator)
        self.train = self.validation = self.test = Split(inputs, torch.randint(4, (100,), generator=generator))


def measure(networks: Networks) -> dict[str, Tensor]:
    inputs = Data().test.inputs[:30]
    return {"means": networks.map(lambda network, given: hidden_activations(network, given)[0].mean(0), inputs)}


def stacked(checkpoint: Path | None):
    """Momentum, batch normalisation and a network that diverges."""
    training = Training(epochs=EPOCHS, seeds=(0, 1), learning_rates=(0.05, 1e25), batch_size=8, momentum=0.9)
    return train(
        lambda: fully_connected((12, 9, 7, 4), "elu", batch_norm=True),
        Data(),
        training,
        measure=measure,
        checkpoint=checkpoint,
        checkpoint_seconds=0.0,
    )


def separate(checkpoint: Path | None):
    """Dropout, and an optimizer with matrices and random labels."""
    return train(
        lambda: nn.Sequential(nn.Linear(12, 9), nn.ELU(), nn.Dropout(0.5), nn.Linear(9, 4)),
        Data(),
        Training(epochs=EPOCHS, batch_size=8),
        make_optimizer=lambda network, rate: UnitNaturalGradient(network, rate, seed=3, momentum=0.5),
        checkpoint=checkpoint,
        checkpoint_seconds=0.0,
    )


def die_at(update: int, *, writing: bool) -> None:
    """Make this process kill itself at one of its updates or, `writing`, inside a checkpoint's replacement."""

    def kill_in(owner, name: str) -> None:
        original, calls = getattr(owner, name), []

        def counted(*arguments, **options):
            calls.append(None)
            if len(calls) > update:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        setattr(owner, name, counted)

    for owner, name in [(os, "replace")] if writing else [(StackedNetworks, "step"), (SeparateNetworks, "step")]:
        kill_in(owner, name)


def result(trained) -> dict[str, str | list[str]]:
    """The records and the final state, byte for byte."""
    tensors: dict[str, Tensor] = {}
    checkpoints._pack(trained.networks.state(), tensors)
    measured = {name: bytes(checkpoints.bytes_of(held)).hex() for name, held in trained.measured.items()}
    table = trained.table.to_csv(float_format="%.17g") + json.dumps(trained.table.values.tolist())
    return {"table": table, "state": [bytes(checkpoints.bytes_of(held)).hex() for held in tensors.values()], **measured}


def main(folder: Path, wanted: int) -> None:
    torch.set_num_threads(1)
    fabric_on()  # imported once, before forking
    for kind, run in (("stacked", stacked), ("separate", separate)):
        print(kind, kills_of(run, folder / f"{kind}.safetensors", wanted))


def kills_of(run: Run, checkpoint: Path, wanted: int) -> int:
    """How many attempts had been killed by the time there were enough; what remains must be what nobody killed."""
    chosen, kills, attempts = random.Random(7), 0, 0
    while kills < wanted and attempts < 3 * wanted:
        attempts += 1
        outside, update, writing = attempts % 2 == 0, chosen.randrange(1, 6), chosen.random() < 0.5
        pause = chosen.uniform(0.0, 0.15)
        if not (child := os.fork()):
            if not outside:
                die_at(update, writing=writing)
            run(checkpoint)
            os._exit(0)
        if outside:
            time.sleep(pause)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert killed or os.WEXITSTATUS(status) == 0, status
        if not killed or (checkpoint.exists() and finished(checkpoint)):
            checkpoint.unlink()  # from the start again
        kills += killed
    resumed = result(run(checkpoint))
    assert resumed == result(run(None))
    return kills


def finished(checkpoint: Path) -> bool:
    from safetensors import safe_open

    with safe_open(checkpoint, framework="pt") as file:
        state = json.loads(file.metadata()["state"])
    return dict(state["pairs"])["epoch"] == EPOCHS


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
