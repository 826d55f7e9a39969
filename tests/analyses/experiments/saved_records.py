"""A table as its record keeps it, and the figure drawn from that alone."""

import io

import pandas

from analyses.framework.records import Draw
from elutheory.output.csv_text import csv_of, without_apostrophes
from elutheory.output.figures import figure_bytes


def saved_and_drawn(table: pandas.DataFrame, draw: Draw) -> pandas.DataFrame:
    """The table after records.csv, which keeps 7 digits; its figure, drawn twice, must have the same bytes.

    That a record's files are written and read whole is tested once for all analyses, in test_records.
    """
    text = csv_of(table, float_format="%.7g").encode()
    first, second = (
        without_apostrophes(pandas.read_csv(io.BytesIO(text), keep_default_na=False, na_values=[""])) for _ in range(2)
    )
    assert figure_bytes(draw(first), "svg") == figure_bytes(draw(second), "svg")
    return first
