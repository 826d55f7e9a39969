"""What the paper reports beside the records: every experiment has its lines, computed; the page in docs/ is current."""

import shutil
from pathlib import Path

import numpy as np
import pandas
import pytest

from analyses.report import commands
from analyses.report.beside_the_paper import (
    HEADINGS,
    NO_RECORD,
    REPORTED,
    SETTINGS,
    Setting,
    beside_the_paper,
    cells_of,
    differences,
    paper_markdown,
)
from elutheory.errors import InputError

ROOT = Path(__file__).parents[3]
FIGURES = ROOT / "figures"


def test_without_records_every_line_says_so(tmp_path: Path) -> None:
    lines = beside_the_paper(tmp_path)
    assert {line.here for line in lines} == {NO_RECORD}
    assert {line.experiment for line in lines} == {"E2", "E3", "E4", "E5", "E8", "E9"} == set(SETTINGS)
    assert all(np.isnan(line.hours) for line in lines)
    assert all(len(cells_of(line)) == len(HEADINGS) for line in lines)


@pytest.mark.parametrize("record", sorted({reported.record for reported in REPORTED}))
def test_lines_of_a_record_are_computed_from_it(record: str, tmp_path: Path) -> None:
    if not (FIGURES / record / "records.csv").exists():
        pytest.skip(f"there is no record {record} yet")
    shutil.copytree(FIGURES / record, tmp_path / record)
    for line in beside_the_paper(tmp_path):
        assert (line.here == NO_RECORD) == (line.record != record)
        if line.record == record:
            assert line.size
            assert line.hours > 0
    with (tmp_path / record / "records.csv").open("a") as file:
        file.write("1,2,3")
    with pytest.raises(InputError, match=r"is not what provenance\.json beside it describes"):
        beside_the_paper(tmp_path)


def test_numbers_are_those_of_the_tables_by_another_route() -> None:
    """The crossing epoch and the last medians, by pandas alone."""
    table = pandas.read_csv(FIGURES / "learning_behaviour" / "records.csv")
    table = table[table["layer"] == 0] if "layer" in table else table
    here = {line.quantity: line.here for line in beside_the_paper(FIGURES) if line.experiment == "E2"}
    losses = table[table["epoch"] > 0].pivot(index="epoch", columns=["activation", "seed"], values="training_loss")
    since = [max([0, *losses.index[losses["elu"][seed] < losses["relu"][seed]]]) + 1 for seed in losses["elu"].columns]
    behind = [epoch for epoch in since if epoch <= losses.index.max()]
    said = here["epoch from which on ReLU's training loss is below ELU's"]
    if behind:
        assert said.startswith(f"epoch {np.median(behind):.0f} [{min(behind)} to {max(behind)}; {len(behind)} of ")
    else:
        assert said.startswith("not for any")
    last = table[table["epoch"] == table["epoch"].max()].groupby("activation")["unit_mean_median"].mean()
    medians = here[next(quantity for quantity in here if quantity.startswith("median over units"))]
    assert f"ELU {last['elu']:.2f} (" in medians
    assert f", ReLU {last['relu']:.2f} (" in medians


def test_what_differs_is_told_from_the_configuration() -> None:
    setting = Setting({"data": "mnist", "examples": 0, "rates": (0.1, 0.2), "seeds": 5}, ("and so on",))
    assert differences(setting, {"data": "mnist", "examples": 0, "rates": [0.1, 0.2], "seeds": 5}) == "and so on"
    assert differences(setting, {"data": "digits", "examples": 24000, "rates": [0.1], "seeds": 12}) == (
        "data digits for mnist; examples 24,000 for all; rates 0.1 for 0.1, 0.2; seeds 12 for 5; and so on"
    )


def test_the_page_is_current(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made again by `python -m analyses paper --output docs/beside_the_paper.md`."""
    text = paper_markdown(FIGURES)
    assert (ROOT / "docs" / "beside_the_paper.md").read_text(encoding="utf-8") == text
    assert commands.paper(["--figures", str(FIGURES), "--output", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == text
    (tmp_path / "none").mkdir()
    assert commands.paper(["--figures", str(tmp_path / "none")]) == 0
    assert NO_RECORD in capsys.readouterr().out
