"""A small analysis for tests: slow, failing or killed cells on request.

torch is imported by the one cell that needs it: workers that start with this module pay for what they import.
"""

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pandas
from matplotlib.figure import Figure

from analyses.framework.sweep import Sweep
from elutheory.errors import InputError
from elutheory.numerics.cost import Cost
from elutheory.output.figures import style


@dataclass(frozen=True)
class Config:
    numbers: int = 6
    seconds: float = 0.0
    broken: int = -1
    refused: int = -1
    killed: str = ""
    log: str = ""


PRESETS = {"quick": Config(), "paper": Config(numbers=12)}


@dataclass(frozen=True)
class Cell:
    x: int


def cells(config: Config) -> list[Cell]:
    if config.numbers < 1:
        raise InputError(f"numbers is {config.numbers}; give 1 or more.")
    return [Cell(x) for x in range(config.numbers)]


def cost(config: Config) -> Cost:
    return Cost(updates=config.numbers)


def measure_resumable(config: Config, cell: Cell, device: str, checkpoint: Path | None = None) -> pandas.DataFrame:
    """Counts to 3, keeping the count."""
    from analyses.networks import checkpoints

    begun = None if checkpoint is None else checkpoints.load(checkpoint, {"x": cell.x})
    count = 0 if begun is None else begun["count"]
    while count < 3:
        count += 1
        if checkpoint is not None:
            checkpoints.save(checkpoint, {"x": cell.x}, {"count": count})
        if cell.x == config.refused:
            raise InputError("this number is refused.")
    return pandas.DataFrame({"x": [cell.x], "count": [count]})


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    if config.log:
        with Path(config.log).open("a") as log:
            print(cell.x, os.getpid(), file=log)
    time.sleep(config.seconds)
    if cell.x == config.broken:
        raise ZeroDivisionError("broken")
    if cell.x == config.refused:
        raise InputError("this number is refused.")
    if config.killed and cell.x == 1 and not Path(config.killed).exists():
        Path(config.killed).touch()
        os.kill(os.getpid(), 9)
    columns = {"x": cell.x, "third": [cell.x / 3, float("nan")], "large": 1e300 * cell.x, "word": ["NA", "é, None"]}
    return pandas.DataFrame({**columns, "even": cell.x % 2 == 0, "device": device})


def measure_cell_from_checkpoint(
    config: Config, cell: Cell, device: str, checkpoint: Path | None = None
) -> pandas.DataFrame:
    """Fails halfway through the last cell the first time; goes on from there the second time."""
    begun = checkpoint is not None and checkpoint.exists()
    if cell.x == config.numbers - 1 and checkpoint is not None and not begun:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_bytes(b"halfway")
        raise ZeroDivisionError("broken")
    return pandas.DataFrame({"x": [cell.x], "checkpoint": checkpoint is not None, "begun": begun})


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    return sweep.table(measure_cell, config, cells(config))


def draw(table: pandas.DataFrame) -> Figure:
    with style():
        figure = Figure(figsize=(3.0, 2.0))
        figure.subplots().plot(table["x"], table["third"], "o", label="third")
    return figure


def summary(table: pandas.DataFrame) -> str:
    return f"{table['x'].nunique()} numbers"


def record(folder: Path, config: Config, jobs: int = 1, messages: Path | None = None) -> None:
    """Run this analysis as a command would: in a process group of its own, messages to a file."""
    from analyses.framework.run import run_analysis
    from tests.analyses.framework import toy_analysis

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background
    if messages is not None:
        with messages.open("w") as file:
            os.dup2(file.fileno(), 2)
    run_analysis(toy_analysis, folder, config=config, device="cpu", jobs=jobs, replace=True, progress=False)


def start_server() -> None:
    """Have the process that `start` forks from import everything: the first fork waits for that."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.analyses.framework.toy_analysis", "analyses.framework.run", "matplotlib.backends.backend_agg"]
    )
    process = context.Process(target=os.getpid)
    process.start()
    process.join()


def start(folder: Path, config: Config, jobs: int = 1, messages: Path | None = None) -> ForkServerProcess:
    """`record` in another process, forked from one that has imported everything (`start_server`)."""
    process = multiprocessing.get_context("forkserver").Process(target=record, args=(folder, config, jobs, messages))
    process.start()
    return process
