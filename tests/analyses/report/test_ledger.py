"""The ledger: verdicts from made-up records whose tests are known, and from the repository's own records."""

import hashlib
import json
from math import isnan
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest

from analyses.framework.claims import Claim, decide
from analyses.report import commands
from analyses.report import ledger as claims_module
from analyses.report.ledger import CLAIMS, AbstractClaim, Row, Setting, combined, ledger
from analyses.report.ledger_text import ledger_markdown, ledger_table, ledger_text, outcome
from elutheory.errors import InputError

FIGURES = Path(__file__).parents[3] / "figures"
NOT_YET_MEASURED = {"causal_claim", "dose_response", "initialisation_and_rate"}
"""Analyses whose design is newer than the repository's records."""
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


def row_of(figures: Path, *settings: Setting) -> Row:
    (row,) = ledger(figures, [AbstractClaim("claim", "A claim.", settings)])
    return row


@pytest.mark.parametrize(
    ("settings", "verdict", "explanation"),
    [
        ([("up",)], "holds", "Holds: here."),
        ([("down",)], "does not hold", "Does not hold: here."),
        ([("none",)], "does not hold", "Does not hold: here."),
        ([("open",)], "undecided", "Undecided: here."),
        ([("up", "down")], "does not hold", "Does not hold: here."),
        ([("up", "open")], "undecided", "Undecided: here."),
        ([("open", "down")], "does not hold", "Does not hold: here."),
        ([("up",), ("down",)], "holds under conditions", "Holds: here. Does not hold: there."),
        ([("up",), ("open",)], "holds under conditions", "Holds: here. Undecided: there."),
        ([("down",), ("open",)], "does not hold", "Does not hold: here. Undecided: there."),
        ([("open",), ("open",)], "undecided", "Undecided: here; there."),
        ([("up",), ("u*",)], "holds", "Holds: here; there."),
    ],
)
def test_verdict_follows_from_the_settings(
    figures: Path, settings: list[tuple[str, ...]], verdict: str, explanation: str
) -> None:
    places = ("here", "there")
    row = row_of(figures, *(Setting("toy", tests, place) for tests, place in zip(settings, places, strict=False)))
    assert (row.verdict, row.explanation) == (verdict, explanation)
    assert len(row.tests) == sum(map(len, settings))


def test_every_test_is_a_setting_where_no_condition_is_named(figures: Path) -> None:
    row = row_of(figures, Setting("toy", ("*",)))
    assert row.verdict == "holds under conditions"
    assert row.explanation == "Holds: up. Does not hold: down; none. Undecided: open."


def test_cases_of_one_condition_are_named_together(figures: Path) -> None:
    """The report shows tests by condition: each case keeps its own."""
    cases = [("up", "first"), ("down", "second"), ("up", "third"), ("up", "")]
    row = row_of(figures, *(Setting("toy", (test,), "slope" if case else "alone", case) for test, case in cases))
    assert row.explanation == "Holds: slope (first, third); alone. Does not hold: slope (second)."
    assert [test.condition for test in row.tests] == ["slope (first)", "slope (second)", "slope (third)", "alone"]


def test_numbers_are_those_of_the_decision(figures: Path) -> None:
    """The Hodges–Lehmann estimate of 1 … 10 is 5.5; the sign pattern of ten equal signs has p = 2/2¹⁰."""
    (test,) = row_of(figures, Setting("toy", ("up",), "here")).tests
    assert (test.effect, test.sample_size, test.p) == (5.5, 10, 2 / 1024)
    assert test.low < test.effect < test.high
    assert "+5.5" in outcome(test)
    assert "n = 10" in outcome(test)


def test_missing_record_is_named_and_decides_nothing(figures: Path) -> None:
    row = row_of(figures, Setting("depth", ("opening: relu",), "with depth"))
    assert row.verdict == "not tested here"
    assert row.explanation == "Not measured: depth (python -m analyses depth)."
    both = row_of(figures, Setting("depth", ("opening: relu",), "with depth"), Setting("toy", ("up",), "here"))
    assert both.verdict == "holds"
    assert "Not measured: depth" in both.explanation


def test_untested_claim_says_why(tmp_path: Path) -> None:
    (row,) = ledger(tmp_path, [AbstractClaim("old", "First in 2015.", untested="A ranking of 2015.")])
    assert (row.verdict, row.explanation, row.tests) == ("not tested here", "A ranking of 2015.", ())


def test_record_without_the_test_is_refused(figures: Path) -> None:
    with pytest.raises(InputError, match='toy has no test "sideways"'):
        row_of(figures, Setting("toy", ("sideways",), "here"))


def test_corrupt_record_is_refused(figures: Path) -> None:
    with (figures / "toy" / "records.csv").open("a") as file:
        file.write("1,2,3,4\n")
    with pytest.raises(InputError, match=r"records\.csv is not what provenance\.json"):
        row_of(figures, Setting("toy", ("up",), "here"))


def test_proof_is_verified_and_a_failing_one_refutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of Lemma 1 is replaced by a false one: the derivation must fail, and the claim with it."""
    import dataclasses

    import sympy

    from elutheory.derivations.bias_shift.partitioned_inverse import lemma_1
    from elutheory.derivations.catalogue import PROOFS

    setting = Setting(claims_module.DERIVATIONS, ("lemma-1",), "derived")
    row = row_of(tmp_path, setting)
    assert row.verdict == "holds"
    assert row.tests[0].sample_size == len(lemma_1().steps)
    assert isnan(row.tests[0].effect)

    proof = lemma_1()
    statement = proof.steps[0].statement
    broken = dataclasses.replace(proof.steps[0], statement=sympy.Eq(statement.lhs, 2 * statement.rhs, evaluate=False))
    monkeypatch.setitem(
        PROOFS["Lemmas and theorems"], "lemma-1", lambda: dataclasses.replace(proof, steps=(broken, *proof.steps[1:]))
    )
    assert row_of(tmp_path, setting).verdict == "does not hold"


def test_combined_needs_all() -> None:
    assert combined(["holds", "holds"]) == "holds"
    assert combined(["holds", "cannot be decided"]) == "undecided"
    assert combined(["undecided", "does not hold"]) == "does not hold"


def test_ledger_of_the_repository_has_every_claim_decided_from_records() -> None:
    """Nothing is typed: rows without tests are those whose data or records are not here, all others name theirs."""
    rows = ledger(FIGURES)
    assert [row.identifier for row in rows] == [claim.identifier for claim in CLAIMS]
    for row, claim in zip(rows, CLAIMS, strict=True):
        assert bool(row.tests) == (row.verdict != "not tested here")
        missing = {setting.record for setting in claim.settings if not _is_measured(setting.record)}
        assert missing <= NOT_YET_MEASURED
        assert bool(row.tests) == any(_is_measured(setting.record) for setting in claim.settings)
        for record in NOT_YET_MEASURED:
            assert (f"Not measured: {record} " in row.explanation) == (record in missing)
    assert [claim.identifier for claim in CLAIMS if not claim.settings] == ["CIFAR", "ImageNet"]


def _is_measured(record: str) -> bool:
    return record == claims_module.DERIVATIONS or (FIGURES / record / "records.csv").exists()


def test_forms_of_the_ledger_hold_every_row(figures: Path) -> None:
    rows = ledger(figures, [AbstractClaim("a", "One.", (Setting("toy", ("u*", "d*")),)), AbstractClaim("b", "Two.")])
    table = ledger_table(rows)
    assert table["claim"].tolist() == ["a", "a", "b"]
    assert table.loc[0, "effect"] == 5.5
    for text in (ledger_text(rows, 100), ledger_text(rows, 60, tests=True), ledger_markdown(rows)):
        assert "One." in text
        assert "not tested here" in " ".join(text.split())
    assert max(map(len, ledger_text(rows, 60, tests=True).splitlines())) <= 60


def test_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without records only the proofs are left to decide."""
    assert commands.claims(["--figures", str(tmp_path)]) == 0
    assert "learning" in capsys.readouterr().out
    assert (
        commands.claims(["--figures", str(tmp_path), "--format", "json", "--output", str(tmp_path / "ledger.json")])
        == 0
    )
    read = json.loads((tmp_path / "ledger.json").read_text())
    assert {row["claim"] for row in read} == {claim.identifier for claim in CLAIMS}
    with pytest.raises(InputError, match="is no folder"):
        commands.claims(["--figures", str(tmp_path / "nowhere")])
