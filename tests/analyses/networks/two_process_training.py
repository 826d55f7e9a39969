"""Trains in one process, then in two, and prints "the same" if their tables agree within rounding."""

import warnings

import pandas
import torch

from analyses.data.datasets import Split
from analyses.networks.architectures import fully_connected
from analyses.networks.training import Training, fabric_on, train
from elutheory.errors import InputError

SIZES = (12, 9, 4)
LAUNCHER = {"accelerator": "cpu", "devices": 2, "strategy": "ddp_fork", "precision": "64-true"}
TRAINING = Training(epochs=3, seeds=(0, 1), learning_rates=(0.01, 0.1), batch_size=9, momentum=0.9, weight_decay=1e-3)


class Data:
    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(60, SIZES[0], generator=generator, dtype=torch.float64)
        self.train = Split(inputs, torch.randint(SIZES[-1], (60,), generator=generator))
        self.validation = self.test = self.train


def trained(fabric, separate: bool) -> pandas.DataFrame:
    torch.set_num_threads(1)
    make = (lambda network, rate: torch.optim.SGD(network.parameters(), rate, momentum=0.9)) if separate else None
    training = Training(epochs=2, batch_size=9) if separate else TRAINING
    return train(lambda: fully_connected(SIZES, "elu"), Data(), training, fabric=fabric, make_optimizer=make).table


def refused(fabric) -> str:
    try:
        train(lambda: fully_connected(SIZES, "elu", batch_norm=True), Data(), TRAINING, fabric=fabric)
    except InputError as error:
        return str(error)
    return "not refused"


def in_two_processes(fabric) -> tuple[int, list[pandas.DataFrame], str]:
    return fabric.world_size, [trained(fabric, separate) for separate in (False, True)], refused(fabric)


if __name__ == "__main__":
    warnings.simplefilter("error")
    from lightning.fabric import Fabric

    processes, tables, refusal = Fabric(**LAUNCHER).launch(in_two_processes)
    assert processes == 2
    assert "need the whole batch in one process" in refusal, refusal
    for table, separate in zip(tables, (False, True), strict=True):
        pandas.testing.assert_frame_equal(table, trained(fabric_on("cpu", "64-true"), separate), rtol=1e-12)
    print("the same")
