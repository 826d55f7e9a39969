"""A sweep: one table from many independent cells, measured in turn or side by side, each kept as soon as it is done.

How far a sweep is, it says on standard error: on a terminal by a bar with the time left, elsewhere by a line now and
then.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import pandas
from rich import progress
from rich.console import Console

from analyses.framework import kept_cells
from analyses.framework.workers import Cells, MeasureCell, Measuring, in_turn, on_cluster, side_by_side
from elutheory.errors import InputError
from elutheory.output.interruption import in_order

_SECONDS_BETWEEN_LINES = 30.0


@dataclass(frozen=True)
class Sweep:
    """Where and how the cells of an analysis are measured."""

    device: str = "cpu"
    """Passed to every cell."""
    jobs: int = 1
    """Processes on this machine, each with its share of the cores; 1: this process."""
    cluster: str | None = None
    """Address of a Dask scheduler, whose workers measure instead."""
    folder: Path | None = None
    """Where finished cells are kept until the record is written; None: nowhere."""
    progress: bool = False
    """Report on standard error."""

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise InputError(f"jobs is {self.jobs}; give 1 or more.")

    def table(self, measure_cell: MeasureCell, config: Any, cells: Sequence[Any]) -> pandas.DataFrame:
        """The tables of `measure_cell(config, cell, device)` in the order of the cells, whichever finishes first.

        `measure_cell` stands at a module's top level and depends on its arguments alone; `config` and cells are plain
        values or frozen dataclasses of them. With a `folder`, an interrupted sweep goes on where it stopped; a
        `measure_cell` with a parameter `checkpoint` gets a path there, by which an unfinished cell can go on too (None
        on a cluster). The folder is made by who first writes into it.
        """
        files = [kept_cells.file_name(measure_cell, config, cell, self.device) for cell in cells]
        tables: dict[int, pandas.DataFrame] = {}
        for index, file in enumerate(files):
            kept = None if self.folder is None else kept_cells.load(self.folder / file)
            if kept is not None:
                tables[index] = kept
        missing = [index for index in range(len(cells)) if index not in tables]
        checkpoints = self._checkpoints(measure_cell, files)
        measured = self._measured(measure_cell, config, [(cells[index], checkpoints[index]) for index in missing])
        with in_order(), _reported(len(cells), len(tables), shown=self.progress) as report, closing(measured):
            try:
                for position, table in measured:
                    index = missing[position]
                    tables[index] = table if self.folder is None else kept_cells.save(self.folder / files[index], table)
                    report(len(tables))
            except KeyboardInterrupt:
                raise Interrupted(len(tables) if self.folder else 0, len(cells)) from None
        return pandas.concat([tables[index] for index in range(len(cells))], ignore_index=True)

    def _checkpoints(self, measure_cell: MeasureCell, files: Sequence[str]) -> list[Path | None]:
        if self.folder is None or self.cluster is not None or "checkpoint" not in signature(measure_cell).parameters:
            return [None] * len(files)
        return [self.folder / Path(file).with_suffix(".safetensors") for file in files]

    def _measured(self, measure_cell: MeasureCell, config: Any, cells: Cells) -> Measuring:
        if cells and self.cluster is not None:
            return on_cluster(measure_cell, config, cells, self.device, address=self.cluster)
        if cells and self.jobs > 1:
            return side_by_side(measure_cell, config, cells, self.device, jobs=self.jobs)
        return in_turn(measure_cell, config, cells, self.device)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a sweep: how many of its cells are kept."""

    def __init__(self, kept: int, cells: int) -> None:
        super().__init__(f"{kept} of {cells} cells are kept; the same command goes on from there.")


@contextmanager
def _reported(cells: int, done: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of finished cells; `done` of them were kept from an earlier run."""
    if not shown:
        yield lambda _: None
    elif sys.stderr.isatty():
        yield from _bar(cells, done)
    else:
        yield from _lines(cells)


def _bar(cells: int, done: int) -> Iterator[Callable[[int], None]]:
    columns = (
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("cells,"),
        progress.TimeElapsedColumn(),
        progress.TextColumn("elapsed,"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("left"),
    )
    with progress.Progress(*columns, console=Console(stderr=True), speed_estimate_period=3600, transient=True) as bar:
        task = bar.add_task("", total=cells, completed=done)
        yield lambda finished: bar.update(task, completed=finished)


def _lines(cells: int) -> Iterator[Callable[[int], None]]:
    start = last = time.monotonic()

    def report(finished: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            print(f"elutheory: {finished} of {cells} cells after {now - start:.0f} s.", file=sys.stderr, flush=True)

    yield report
