"""Tables as comma-separated text, in which a spreadsheet finds no formula.

A cell of text that begins with = + - @ or a control character is taken for a formula by spreadsheets, quotation marks
or not. It is written with an apostrophe before it, which says that it is text; numbers, of text columns too, are not.
"""

import contextlib
import re
from typing import Any

import pandas

_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def csv_of(table: pandas.DataFrame, **options: Any) -> str:
    """The table without its index, lines ended by \\n; `options` are those of `DataFrame.to_csv`."""
    written = table.rename(columns=_as_text)
    for place, dtype in enumerate(written.dtypes):
        if not pandas.api.types.is_numeric_dtype(dtype):
            written.isetitem(place, written.iloc[:, place].astype(object).map(_as_text))
    return written.to_csv(index=False, lineterminator="\n", **options)


def without_apostrophes(table: pandas.DataFrame) -> pandas.DataFrame:
    """A table that was read from what `csv_of` wrote, its text as it was before."""
    read = table.rename(columns=_as_it_was)
    for place, dtype in enumerate(read.dtypes):
        if not pandas.api.types.is_numeric_dtype(dtype):
            read.isetitem(place, read.iloc[:, place].map(_as_it_was))
    return read


def _as_text(cell: Any) -> Any:
    if not isinstance(cell, str) or not _FORMULA.match(cell):
        return cell
    with contextlib.suppress(ValueError):
        float(cell)
        return cell
    return f"'{cell}"


def _as_it_was(cell: Any) -> Any:
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _FORMULA.match(cell) else cell
