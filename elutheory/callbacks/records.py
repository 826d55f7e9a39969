"""Where measurements go: a file of rows, TensorBoard, or a function of one's own."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pandas

from elutheory.callbacks.measured_layers import COLUMNS, NUMBERS, MeasuredLayer
from elutheory.errors import InputError
from elutheory.output.csv_text import csv_of, without_apostrophes
from elutheory.output.files import check_output, write_whole

Log = Callable[[Mapping[str, float], int], Any]
"""Takes numbers by name, as `0/mean_share`, and the step."""

ENDINGS = (".parquet", ".csv")


@runtime_checkable
class SummaryWriter(Protocol):
    """TensorBoard's writer, or what behaves like it."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """A number."""

    def add_histogram(self, tag: str, values: Any, global_step: int) -> None:
        """Many numbers."""


class FileRecord:
    """Rows in a .parquet or .csv file, written whole after every measurement."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in ENDINGS:
            raise InputError(f"{path} has no known ending; {' and '.join(ENDINGS)} files can be written.")
        if self.path.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
            raise InputError(
                f"{path} needs pyarrow, which is not installed; pip install 'elutheory[data]' does it, or name a .csv."
            )
        check_output(self.path)
        self._table: pandas.DataFrame | None = None

    def begin(self, step: int) -> None:
        """Keeps what the file has up to this step. Raises InputError for a file that is there at step 0."""
        if not self.path.exists():
            return
        if step == 0:
            raise InputError(
                f"{self.path} is there already; load the state of the training that wrote it, or name another file."
            )
        try:
            if self.path.suffix.lower() == ".csv":
                found = without_apostrophes(pandas.read_csv(self.path, dtype={"layer": str}))
            else:
                found = pandas.read_parquet(self.path)
            self._table = found.loc[found["step"] <= step, [*COLUMNS]]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{self.path} is no file that a watch of training wrote; name another file.") from error

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows."""
        new = pandas.DataFrame(rows, columns=[*COLUMNS])
        new = new.astype(dict.fromkeys((*NUMBERS[:-1], "epoch"), float))
        self._table = new if self._table is None else pandas.concat([self._table.astype(new.dtypes), new])
        if self.path.suffix.lower() == ".csv":
            write_whole(self.path, csv_of(self._table))
        else:
            buffer = BytesIO()
            self._table.to_parquet(buffer, index=False)
            write_whole(self.path, buffer.getvalue())


class Records:
    """Where measurements go: any of a file's path, a `SummaryWriter`, a function, or several of these."""

    def __init__(self, given: Any) -> None:
        parts = list(given) if isinstance(given, list | tuple) else [] if given is None else [given]
        self._files = [FileRecord(one) for one in parts if isinstance(one, str | Path)]
        self._writers = [one for one in parts if isinstance(one, SummaryWriter)]
        self._functions: list[Log] = [
            one for one in parts if callable(one) and not isinstance(one, SummaryWriter) and not isinstance(one, type)
        ]
        if len(self._files) + len(self._writers) + len(self._functions) < len(parts):
            raise InputError(
                "a record is the path of a .parquet or .csv file, a SummaryWriter, a function of (numbers, step), or "
                "several of these."
            )

    def begin(self, step: int) -> None:
        """The training goes on after this step."""
        for file in self._files:
            file.begin(step)

    def write(self, layers: Sequence[MeasuredLayer], step: int) -> None:
        """One measurement of every layer."""
        for file in self._files:
            file.write([layer.row for layer in layers])
        if self._functions:
            numbers = numbers_of(layers)
            for function in self._functions:
                function(numbers, step)
        for writer in self._writers:
            write_summary(writer, layers, step)


def numbers_of(layers: Sequence[MeasuredLayer]) -> dict[str, float]:
    """All numbers of all layers, as `0/mean_share`, without those that there are none of."""
    found = {}
    for layer in layers:
        for name in NUMBERS:
            value = layer.row[name]
            if isinstance(value, int | float):
                found[f"{layer.row['layer'] or 'model'}/{name}"] = float(value)
    return found


def write_summary(writer: SummaryWriter, layers: Sequence[MeasuredLayer], step: int) -> None:
    """Scalars of the layers and histograms of their units."""
    for name, value in numbers_of(layers).items():
        writer.add_scalar(name, value, step)
    for layer in layers:
        for name, values in layer.by_unit.items():
            present = values[~values.isnan()]
            if len(present):
                writer.add_histogram(f"{layer.row['layer'] or 'model'}/{name} by unit", present, step)
