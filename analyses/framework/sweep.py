"""A sweep: one table from many independent cells, measured in turn or side by side, each kept as soon as it is done."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import pandas

from analyses.framework import kept_cells
from analyses.framework.sweep_progress import sweep_progress
from analyses.framework.workers import Cells, MeasureCell, Measuring, in_turn, on_cluster, side_by_side
from elutheory.errors import InputError


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
        with sweep_progress(len(cells), len(tables), shown=self.progress) as report, closing(measured):
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
