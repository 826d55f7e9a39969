"""The ledger as text, as Markdown and as a tidy table."""

import dataclasses
import re
import textwrap
from collections.abc import Sequence
from io import StringIO
from math import isnan

import pandas
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from analyses.report.ledger import Row, Test

SIGNS = {
    "replicated": "✓",
    "replicated in part": "◐",
    "refuted": "✗",
    "not decided": "?",
    "not tested": "–",
}
"""A verdict's sign: told apart without colour."""
TEST_SIGNS = {"holds": "✓", "does not hold": "✗", "not trained": "–"}
"""Of a single test's verdict; "?": any other."""
SEEN = "†: the record had been seen when, of its tests, the one that decides was chosen."
_CITED = re.compile(r"\b[BEFKLMPT]\d+b?\b")
_PAGE = "docs/statements.md"


def ledger_text(rows: Sequence[Row], width: int, *, tests: bool = False) -> str:
    """Claim, verdict and what was found in a table of `width` columns; with `tests`, each claim's other tests below."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False, leading=1)
    table.add_column("claim", ratio=2)
    table.add_column("verdict", ratio=2)
    table.add_column("found", ratio=4)
    for row in rows:
        lines = [found(row)]
        if tests:
            lines += [f"deciding: {outcome(test)}" for test in row.deciding]
            lines += [f"other: {outcome(test)}" for test in row.others]
        table.add_row(f"{row.sentence} ({row.versions})", verdict(row), "\n".join(filter(None, lines)))
    target = StringIO()
    Console(file=target, width=width, color_system=None, markup=False, emoji=False, highlight=False).print(table)
    lines = [line.rstrip() for line in target.getvalue().splitlines()]
    return "\n".join([*lines, "", *textwrap.wrap(SEEN, width)] if any(row.seen for row in rows) else lines)


def ledger_markdown(rows: Sequence[Row]) -> str:
    """A pipe table: claim, verdict, what was found; the numbers of statements and experiments link to their page."""
    lines = ["| the abstract's claim | verdict | what was found |", "|---|---|---|"]
    for row in rows:
        sign, _, rest = verdict(row).partition(" ")
        said = f"{sign} **{row.verdict}**{rest.removeprefix(row.verdict)}"
        cells = (f"{row.sentence} ({row.versions})", said, found(row))
        lines.append(f"| {' | '.join(_CITED.sub(_link, cell) for cell in cells)} |")
    return "\n".join([*lines, "", SEEN] if any(row.seen for row in rows) else lines)


def _link(cited: re.Match[str]) -> str:
    return f"[{cited[0]}]({_PAGE}#{cited[0].lower()})"


def verdict(row: Row) -> str:
    """Sign, verdict and what it is about: "◐ replicated in part: against ReLU, not against leaky ReLU"."""
    return f"{SIGNS[row.verdict]} {row.verdict}{f': {row.reason}' if row.reason else ''}"


def found(row: Row) -> str:
    """The deciding test's effects in natural units, intervals, how many networks agree, and what they were trained on.

    Empty where there is none; with a † where the test was chosen with the record seen.
    """
    if not row.deciding:
        return ""
    effects = "; ".join(effect(test) for test in row.deciding)
    data = f" ({row.data})" if row.data else ""
    question = row.question[:1].upper() + row.question[1:]
    return f"{question}: {effects}{data}.{' †' if row.seen else ''}"


def effect(test: Test) -> str:
    """Effect, interval and how many networks agree, of a case of a deciding test."""
    agreeing = "" if test.agreeing is None else f"{test.agreeing} of {test.sample_size} {test.counted}"
    inside = ", ".join(filter(None, (test.interval_in_words, agreeing)))
    said = f"{test.in_words} [{inside}]" if inside else test.in_words
    return f"{test.case}, {said}" if test.case else said


def ledger_table(rows: Sequence[Row]) -> pandas.DataFrame:
    """One row per test, the claim's verdict repeated; a claim without tests has one row with empty fields."""
    fields = [field.name for field in dataclasses.fields(Test)]
    claims = ("identifier", "sentence", "versions", "verdict", "reason", "question", "data", "seen")
    records = []
    for row in rows:
        claim = {f"claim_{name}": getattr(row, name) for name in claims}
        records += [claim | dataclasses.asdict(test) for test in row.tests] or [claim]
    return pandas.DataFrame(records).reindex(columns=[*(f"claim_{name}" for name in claims), *fields])


def outcome(test: Test) -> str:
    """A test's verdict, statistic, effect with interval, sample size and p, in a line."""
    numbers = [] if isnan(test.effect) else [f"{test.effect:+.3g} {interval(test)}".rstrip()]
    numbers += [f"n = {test.sample_size:,}"]
    numbers += [] if isnan(test.p) else [f"p = {test.p:.2g}"]
    sign = TEST_SIGNS.get(test.verdict, "?")
    return f"{sign} {test.sentence} {test.compared}, {test.statistic}: {', '.join(numbers)}"


def interval(test: Test) -> str:
    """[low, high]; empty where there is none."""
    return "" if isnan(test.low) and isnan(test.high) else f"[{test.low:+.3g}, {test.high:+.3g}]"
