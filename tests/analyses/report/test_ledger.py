"""The ledger: verdicts from made-up records whose tests are known, and from the repository's own records."""

import dataclasses
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest

from analyses.framework.claims import Claim, decide, without_learning
from analyses.report import commands
from analyses.report import ledger as claims_module
from analyses.report.abstract_claims import CLAIMS, AbstractClaim, DecidingTest, Others
from analyses.report.effects import Quantity, pairs_needed
from analyses.report.ledger import Row, ledger, size_in_words
from analyses.report.ledger_text import found, ledger_markdown, ledger_table, ledger_text, outcome
from elutheory.errors import InputError
from tests.analyses.report.committed import FIGURES, committed_ledger

PLACE = np.arange(1.0, 11.0)  # ten differences of one sign: p = 2/1024


def toy_decisions(table: pandas.DataFrame) -> list:
    """One claim a column, decided from the column's differences."""
    columns = {name: Claim(name, f"{name}.", "a − b", "nats", "greater", 0.05, 0.5) for name in table}
    return [decision for name, claim in columns.items() for decision in decide([claim], {name: table[name]})]


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record `toy` whose tests hold, are refuted on either ground, and stay open."""
    table = pandas.DataFrame({"up": PLACE, "down": -PLACE, "none": PLACE * 1e-3 * (-1) ** PLACE, "open": PLACE - 5})
    folder = tmp_path / "toy"
    folder.mkdir()
    text = table.to_csv(index=False).encode()
    (folder / "records.csv").write_bytes(text)
    checksum = hashlib.sha256(text).hexdigest()
    (folder / "provenance.json").write_text(json.dumps({"analysis": "toy", "records_sha256": checksum}))
    monkeypatch.setattr(
        claims_module, "find_analysis", lambda name: {"toy": SimpleNamespace(decisions=toy_decisions)}[name]
    )
    return tmp_path


QUANTITY = Quantity("units less", "units more")


def row_of(figures: Path, cases: dict[str, str], *others: Others, record: str = "toy") -> Row:
    deciding = DecidingTest(record, cases, "what is compared", QUANTITY)
    (row,) = ledger(figures, [AbstractClaim("claim", "A claim.", "v5", deciding, others)])
    return row


@pytest.mark.parametrize(
    ("cases", "verdict", "reason"),
    [
        ({"up": ""}, "replicated", ""),
        ({"down": ""}, "refuted", ""),
        ({"none": ""}, "refuted", ""),
        ({"up": "here", "down": "there"}, "replicated in part", "here, not there"),
        ({"up": "here", "open": "there"}, "replicated in part", "here, not decided there"),
        ({"down": "here", "open": "there"}, "refuted", "not decided there"),
        (
            {"up": "here", "down": "there", "open": "beyond"},
            "replicated in part",
            "here, not there, not decided beyond",
        ),
    ],
)
def test_verdict_follows_from_the_cases(figures: Path, cases: dict[str, str], verdict: str, reason: str) -> None:
    row = row_of(figures, cases)
    assert (row.verdict, row.reason) == (verdict, reason)
    assert [test.identifier for test in row.deciding] == list(cases)


def test_what_a_decision_would_take_is_computed(figures: Path) -> None:
    """PLACE − 5 has the estimate 0.5 and an interval of half length 4.5 or so: 81 times as many pairs."""
    row = row_of(figures, {"open": ""})
    (test,) = row.deciding
    needed = pairs_needed(10, test.effect, test.low, test.high)
    assert needed == round(10 * ((test.high - test.low) / 2 / 0.5) ** 2)
    assert row.verdict == "not decided"
    assert row.reason == f"an effect of this size would take about {needed:,} seeds instead of 10"
    assert pairs_needed(10, 0.0, -1.0, 1.0) is None
    assert pairs_needed(3, 1.0, -float("inf"), float("inf")) is None


def test_other_tests_decide_nothing_and_those_that_point_the_other_way_come_first(figures: Path) -> None:
    row = row_of(figures, {"up": ""}, Others("toy", ("up", "open", "none", "down")))
    assert row.verdict == "replicated"
    assert [test.identifier for test in row.others] == ["none", "down", "open", "up"]
    assert not any(test.deciding for test in row.others)


def test_networks_that_have_not_learned_decide_nothing(figures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def untrained(table: pandas.DataFrame) -> list:
        return [without_learning(one) if one.claim.identifier == "up" else one for one in toy_decisions(table)]

    monkeypatch.setattr(claims_module, "find_analysis", lambda _: SimpleNamespace(decisions=untrained))
    row = row_of(figures, {"up": ""}, Others("toy", ("down", "open")))
    assert (row.verdict, row.reason) == ("not decided", "its networks have not learned")
    row = row_of(figures, {"down": "here", "up": "there"}, Others("toy", ("open",)))
    assert (row.verdict, row.reason) == ("refuted", "not decided there")
    (*_, last) = row_of(figures, {"down": ""}, Others("toy", ("up", "open"))).others
    assert last.verdict == "not trained"
    assert outcome(last).startswith("– up.")


def test_numbers_are_those_of_the_decision(figures: Path) -> None:
    """The Hodges–Lehmann estimate of 1 … 10 is 5.5; the sign pattern of ten equal signs has p = 2/2¹⁰."""
    row = row_of(figures, {"up": ""})
    (test,) = row.deciding
    assert (test.effect, test.sample_size, test.agreeing, test.p) == (5.5, 10, 10, 2 / 1024)
    assert test.low < test.effect < test.high
    assert test.in_words == "5.5 units more"
    assert found(row) == "What is compared: 5.5 units more [3 to 8, 10 of 10 seeds]. †"  # chosen with the record seen
    assert found(dataclasses.replace(row, seen=False)) == "What is compared: 5.5 units more [3 to 8, 10 of 10 seeds]."
    assert "n = 10" in outcome(test)


@pytest.mark.parametrize(
    ("effect", "low", "high", "words", "interval"),
    [
        (np.log(0.5), np.log(0.4), np.log(0.75), "50 % fewer", "25 to 60 %"),
        (np.log(1.5), np.log(1.2), np.log(3.5), "50 % more", "20 to 250 %"),
        (np.log(0.95), np.log(0.5), np.log(1.25), "5 % fewer", "50 % fewer to 25 % more"),
        (-0.1, -float("inf"), float("inf"), "9.5 % fewer", "without bound: networks that diverged, or too few pairs"),
        (float("nan"), float("nan"), float("nan"), "", ""),
    ],
)
def test_effects_in_natural_units(effect: float, low: float, high: float, words: str, interval: str) -> None:
    quantity = Quantity("fewer", "more", of_ratio=True)
    assert (quantity.effect(effect), quantity.interval(low, high)) == (words, interval)


def test_numbers_in_natural_units() -> None:
    points = Quantity("points less", "points more", factor=100.0)
    assert points.effect(-0.294) == "29 points less"
    assert points.interval(-0.3, -0.284) == "28 to 30"
    assert points.interval(0.0054, 0.02) == "0.54 to 2"


def test_size_in_words() -> None:
    config = {"data": "mnist", "examples": 4000, "layers": 8, "units": 128, "epochs": 25, "seeds": 12}
    assert size_in_words(config) == "MNIST, 4,000 examples, 8 hidden layers of 128 units, 25 epochs"
    assert size_in_words({"data": "digits", "examples": 0, "units": 64}) == "digits, 64 units"
    assert size_in_words({}) == ""


def test_missing_record_is_named_and_decides_nothing(figures: Path) -> None:
    row = row_of(figures, {"opening: relu": ""}, record="depth")
    assert (row.verdict, row.tests) == ("not tested", ())
    assert row.reason == "it takes the record of `python -m analyses depth`"


def test_untested_claim_says_what_it_would_take(tmp_path: Path) -> None:
    (row,) = ledger(tmp_path, [AbstractClaim("old", "First in 2015.", "v5", untested="a time machine")])
    assert (row.verdict, row.reason, row.tests) == ("not tested", "it would take a time machine", ())


def test_record_without_the_test_is_refused(figures: Path) -> None:
    with pytest.raises(InputError, match='toy has no test "sideways"'):
        row_of(figures, {"sideways": ""})


def test_corrupt_record_is_refused(figures: Path) -> None:
    with (figures / "toy" / "records.csv").open("a") as file:
        file.write("1,2,3,4\n")
    with pytest.raises(InputError, match=r"records\.csv is not what provenance\.json"):
        row_of(figures, {"up": ""})


def test_ledger_of_the_repository_has_every_claim_decided_from_records() -> None:
    """Nothing is typed: rows without a deciding test say what it would take, and name the record that is missing."""
    rows = committed_ledger()
    assert [row.identifier for row in rows] == [claim.identifier for claim in CLAIMS]
    for row, claim in zip(rows, CLAIMS, strict=True):
        there = claim.deciding is not None and (FIGURES / claim.deciding.record / "records.csv").exists()
        assert bool(row.deciding) == there
        assert (row.verdict == "not tested") == (not there)
        assert not claim.deciding or len(row.deciding) in (0, len(claim.deciding.cases))
        for test in row.deciding:
            assert test.in_words
    deciding = {(test.analysis, test.identifier) for row in rows for test in row.deciding}
    assert all((test.analysis, test.identifier) not in deciding for row in rows for test in row.others)


def test_forms_of_the_ledger_hold_every_row(figures: Path) -> None:
    deciding = DecidingTest("toy", {"up": "here", "down": "there"}, "what is compared", QUANTITY)
    rows = ledger(
        figures,
        [
            AbstractClaim("a", "One.", "v5", deciding, (Others("toy", ("open",)),)),
            AbstractClaim("b", "Two.", "v5", untested="a day"),
        ],
    )
    table = ledger_table(rows)
    assert table["claim_identifier"].tolist() == ["a", "a", "a", "b"]
    assert table.loc[0, "effect"] == 5.5
    assert table["deciding"].tolist()[:3] == [True, True, False]
    for text in (ledger_text(rows, 100), ledger_text(rows, 60, tests=True), ledger_markdown(rows)):
        assert "One." in text
        assert "†: the record had been seen" in " ".join(text.split())
        assert "it would take a day" in " ".join(text.split())
        assert "replicated in part" in " ".join(text.split()).replace("**", "")
    assert max(map(len, ledger_text(rows, 60, tests=True).splitlines())) <= 60


def test_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without records nothing is decided."""
    assert commands.claims(["--figures", str(tmp_path)]) == 0
    assert "learning" in capsys.readouterr().out
    assert (
        commands.claims(["--figures", str(tmp_path), "--format", "json", "--output", str(tmp_path / "ledger.json")])
        == 0
    )
    read = json.loads((tmp_path / "ledger.json").read_text())
    assert {row["claim_identifier"] for row in read} == {claim.identifier for claim in CLAIMS}
    with pytest.raises(InputError, match="is no folder"):
        commands.claims(["--figures", str(tmp_path / "nowhere")])
