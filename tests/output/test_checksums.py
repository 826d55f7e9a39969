"""Every flipped bit of a file that vouches for itself is noticed; tables hold no formula for a spreadsheet."""

import csv
import io
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from torch import nn

import elutheory as et
from elutheory.errors import InputError
from elutheory.output.checksums import EMPTY, is_unchanged, with_checksum
from elutheory.output.csv_text import csv_of, without_apostrophes


def test_every_flipped_bit_is_noticed() -> None:
    content = with_checksum(f'{{"sha256": "{EMPTY}", "more": [1, "é"]}}\n'.encode())
    assert is_unchanged(content)
    for place in range(8 * len(content)):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        assert not is_unchanged(bytes(changed)), place
    assert not is_unchanged(b"")
    with pytest.raises(ValueError, match="no place"):
        with_checksum(content)


def results() -> list[Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ELU(), nn.Linear(4, 2))
    inputs = torch.randn(20, 3)
    statistics = et.layer_statistics(model, inputs, quantiles=(0.5,))
    return [statistics, et.unit_fisher(model, inputs, layer="0"), et.diagnose(model, inputs)]


def test_flipped_bits_of_saved_results_are_refused(tmp_path: Path) -> None:
    for result in results():
        path = tmp_path / "saved"
        result.save(path)
        content = path.read_bytes()
        type(result).load(path)
        for place in range(0, 8 * len(content), 8 * len(content) // 60):
            changed = bytearray(content)
            changed[place // 8] ^= 1 << place % 8
            path.write_bytes(changed)
            with pytest.raises(InputError, match=r"^[^\n]*\.$"):
                type(result).load(path)


CELLS = [
    "=1+1",
    "+x",
    "-x",
    "@A1",
    "\t=1",
    "'=1",
    "''-x",
    "'words'",
    "words = 1",
    "-1.5",
    "+2",
    "-inf",
    "",
    "-",
    "a\n=1",
]


def test_no_cell_is_a_formula_and_the_table_comes_back() -> None:
    table = pandas.DataFrame({"=text": CELLS, "number": [-float(place) for place in range(len(CELLS))]})
    text = csv_of(table)
    header, *rows = csv.reader(io.StringIO(text))
    assert header == ["'=text", "number"]
    starts = {cell[:1] for cell, _ in rows if cell not in ("-1.5", "+2", "-inf")}
    assert starts.isdisjoint("=+-@\t")
    assert rows[1][1] == "-1.0"
    read = pandas.read_csv(io.StringIO(text), keep_default_na=False)
    pandas.testing.assert_frame_equal(without_apostrophes(read), table)
