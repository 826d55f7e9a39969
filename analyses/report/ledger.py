"""The ledger: every claim of the abstract of arXiv 1511.07289, decided from the records, never by hand.

A claim has one deciding test (`abstract_claims`), in one or more cases, from one record. All cases hold: "replicated";
some: "replicated in part", which are named; none does and one is refuted: "refuted"; otherwise "not decided", with how
many pairs of networks could. Where there is no such record, or no test at all: "not tested", with what it would take.
Every other test of the claim stands below, those that point the other way first; it decides nothing. A derivation
alone never replicates a claim.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from analyses.framework import records
from analyses.framework.catalogue import find_analysis
from analyses.framework.claims import Decision
from analyses.framework.settings import data_in_words
from analyses.report.abstract_claims import CLAIMS, AbstractClaim, DecidingTest, Others
from analyses.report.effects import pairs_needed
from elutheory.errors import InputError

Verdict = Literal["replicated", "replicated in part", "refuted", "not decided", "not tested"]
NOT_TRAINED = "not trained"
"""In place of a test's verdict: the networks that it compares have not learned."""
_LARGEST_NUMBER = 10_000
"""Pairs of networks beyond which their number is not said: the effect is then as good as 0."""


@dataclass(frozen=True)
class Test:
    """One test and its outcome. `analysis`: the folder of the record; NaN: there is no such number.

    `case`: of a deciding test, in words; `in_words` and `interval_in_words`: of a deciding test, effect and interval in
    natural units; `agreeing`: how many of the `sample_size` differences have the sign of the effect, None: not known.
    """

    __test__ = False  # not one of pytest's

    analysis: str
    identifier: str
    sentence: str
    compared: str
    statistic: str
    effect: float
    low: float
    high: float
    sample_size: int
    counted: str
    agreeing: int | None
    p: float
    verdict: str
    deciding: bool = False
    case: str = ""
    in_words: str = ""
    interval_in_words: str = ""


@dataclass(frozen=True)
class Row:
    """A claim with its verdict.

    `reason`: what the verdict is about: which cases hold and which do not, or what a decision would take. `question`:
    what the deciding test compares; `data`: what it was measured on. `tests`: the deciding ones first, then those that
    point the other way. `seen`: the record had been seen when the deciding test was chosen among its tests.
    """

    identifier: str
    sentence: str
    versions: str
    verdict: Verdict
    reason: str
    question: str
    data: str
    tests: tuple[Test, ...]
    seen: bool = False

    @property
    def deciding(self) -> tuple[Test, ...]:
        """The cases of the deciding test."""
        return tuple(test for test in self.tests if test.deciding)

    @property
    def others(self) -> tuple[Test, ...]:
        """The other tests of the claim, those that point the other way first."""
        return tuple(test for test in self.tests if not test.deciding)


@dataclass(frozen=True)
class _Record:
    decisions: Sequence[Decision]
    data: str


def ledger(figures: Path, claims: Sequence[AbstractClaim] | None = None) -> tuple[Row, ...]:
    """A row per claim (all of CLAIMS), decided from the records in the folders of `figures`.

    Raises InputError on a corrupt record, and on one without a test that it should have.
    """
    chosen = CLAIMS if claims is None else claims
    named = {source.record for claim in chosen for source in (claim.deciding, *claim.others) if source is not None}
    found = {name: _record(figures / name) for name in sorted(named) if (figures / name / "records.csv").exists()}
    return tuple(_row(claim, found) for claim in chosen)


def _record(folder: Path) -> _Record:
    described = records.provenance_of(folder)
    if "analysis" not in described:
        raise InputError(f"{folder / 'provenance.json'} does not say the analysis; measure again.")
    table = records.load(folder)
    with records.columns_of(folder, table):
        decided = find_analysis(described["analysis"]).decisions(table)
    return _Record(decided, size_in_words(described.get("config", {})))


def size_in_words(config: Mapping[str, Any]) -> str:
    """Data and size of a record from its configuration: "MNIST, 4,000 examples, 8 hidden layers of 128 units"."""
    parts = [data_in_words(str(config["data"]))] if config.get("data") else []
    if "network" in config and "width" in config:
        parts.append(f"{config['network'].replace('_', ' ')} of {config['width']:g} times the paper's units")
    for name, words in (
        ("examples", "{:,} examples"),
        ("layers", "{} hidden layers"),
        ("units", "{} units"),
        ("epochs", "{} epochs"),
    ):
        value = config.get(name)
        if isinstance(value, int) and value > 0:
            text = words.format(value)
            joined = name == "units" and bool(parts) and parts[-1].endswith("layers")
            parts = [*parts[:-1], f"{parts[-1]} of {text}"] if joined else [*parts, text]
    return ", ".join(parts)


def _row(claim: AbstractClaim, found: Mapping[str, _Record]) -> Row:
    others = _others(claim, found)
    said = claim.identifier, claim.sentence, claim.versions
    if claim.deciding is None:
        return Row(*said, "not tested", f"it would take {claim.untested}", "", "", others)
    record = found.get(claim.deciding.record)
    if record is None:
        reason = f"it takes the record of `python -m analyses {claim.deciding.record}`"
        return Row(*said, "not tested", reason, claim.deciding.question, "", others)
    tests = [_deciding(claim.deciding, identifier, record) for identifier in claim.deciding.cases]
    verdict, reason = _verdict(tests)
    return Row(*said, verdict, reason, claim.deciding.question, record.data, (*tests, *others), claim.deciding.seen)


def _deciding(stated: DecidingTest, identifier: str, record: _Record) -> Test:
    (decision,) = _named(stated.record, (identifier,), record)
    quantity = stated.quantities.get(identifier, stated.quantity)
    return _test(
        stated.record,
        decision,
        deciding=True,
        case=stated.cases[identifier],
        in_words=quantity.effect(decision.effect),
        interval_in_words="" if decision.pairs == 1 else quantity.interval(decision.low, decision.high),
    )


def _others(claim: AbstractClaim, found: Mapping[str, _Record]) -> tuple[Test, ...]:
    """The tests that decide nothing, the refuted first, then those that decide neither way."""
    tests = [
        test for others in claim.others if others.record in found for test in _of_others(others, found[others.record])
    ]
    order = ("does not hold", "undecided", "cannot be decided", "holds", NOT_TRAINED)
    return tuple(sorted(tests, key=lambda test: order.index(test.verdict)))


def _of_others(others: Others, record: _Record) -> list[Test]:
    there = [pattern for pattern in others.later if _matching(pattern, record)]
    named = _named(others.record, (*others.tests, *there), record)
    return [_test(others.record, decision) for decision in named]


def _matching(pattern: str, record: _Record) -> list[Decision]:
    return [found for found in record.decisions if fnmatchcase(found.claim.identifier, pattern)]


def _named(name: str, patterns: Sequence[str], record: _Record) -> list[Decision]:
    named = []
    for pattern in patterns:
        matching = _matching(pattern, record)
        if not matching:
            raise InputError(f'the record {name} has no test "{pattern}"; measure it again with its preset.')
        named += matching
    return named


def _test(record: str, decision: Decision, **more: Any) -> Test:
    claim = decision.claim
    return Test(
        record,
        claim.identifier,
        claim.sentence,
        claim.compared,
        claim.statistic,
        decision.effect,
        decision.low,
        decision.high,
        decision.pairs,
        claim.counted,
        decision.agreeing,
        decision.p,
        decision.verdict,
        **more,
    )


def _verdict(tests: Sequence[Test]) -> tuple[Verdict, str]:
    """The verdict that the cases of a deciding test lead to, and what it is about."""
    cases = {
        words: [test.case for test in tests if test.verdict in outcomes]
        for words, outcomes in (
            ("holds", ("holds",)),
            ("does not hold", ("does not hold",)),
            ("not decided", ("undecided", "cannot be decided", NOT_TRAINED)),
        )
    }
    if len(cases["holds"]) == len(tests):
        return "replicated", ""
    open_ones = [test for test in tests if test.verdict not in ("holds", "does not hold")]
    if cases["holds"]:
        parts = [f"{'; '.join(cases['holds'])}"]
        parts += [f"not {case}" for case in cases["does not hold"]]
        parts += [f"not decided {case}" for case in cases["not decided"]]
        return "replicated in part", ", ".join(parts)
    if cases["does not hold"]:
        undecided = f"not decided {', '.join(cases['not decided'])}" if cases["not decided"] else ""
        return "refuted", undecided
    return "not decided", "; ".join(_what_it_takes(test) for test in open_ones)


def _what_it_takes(test: Test) -> str:
    of_case = f"{test.case}: " if test.case else ""
    if test.verdict == NOT_TRAINED:
        return f"{of_case}its networks have not learned"
    if not (isfinite(test.low) and isfinite(test.high)):
        return f"{of_case}more networks, or a rate at which none of them diverges"
    needed = pairs_needed(test.sample_size, test.effect, test.low, test.high)
    if needed is None or needed > _LARGEST_NUMBER:
        return f"{of_case}the effect is too near 0 for any number of networks that can be trained"
    return f"{of_case}an effect of this size would take about {needed:,} {test.counted} instead of {test.sample_size}"
