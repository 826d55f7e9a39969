"""The ledger as text, as Markdown and as a tidy table."""

import dataclasses
import re
from collections.abc import Sequence
from io import StringIO
from math import isnan

import pandas
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from analyses.report.ledger import Row, Test

SIGNS = {
    "holds": "✓",
    "holds under conditions": "◐",
    "does not hold": "✗",
    "undecided": "?",
    "not tested here": "–",
}
"""A verdict's sign: told apart without colour."""
_CITED = re.compile(r"\b[BEFKLMP]\d+b?\b")
_PAGE = "docs/statements.md"


def ledger_text(rows: Sequence[Row], width: int, *, tests: bool = False) -> str:
    """Claim, verdict and explanation in a table of `width` columns; with `tests`, each claim's tests below it."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False, leading=1)
    table.add_column("claim", ratio=2)
    table.add_column("verdict", ratio=1)
    table.add_column("why" if not tests else "tests", ratio=4)
    for row in rows:
        lines = [row.explanation, *map(outcome, row.tests)] if tests else [row.explanation]
        table.add_row(row.sentence, f"{SIGNS[row.verdict]} {row.verdict}", "\n".join(lines))
    target = StringIO()
    Console(file=target, width=width, color_system=None, markup=False, emoji=False, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in target.getvalue().splitlines())


def ledger_markdown(rows: Sequence[Row]) -> str:
    """A pipe table: claim, verdict, explanation; the numbers of statements and experiments link to their page."""
    lines = ["| the abstract's claim | verdict | where |", "|---|---|---|"]
    for row in rows:
        explanation = _CITED.sub(lambda found: f"[{found[0]}]({_PAGE}#{found[0].lower()})", row.explanation)
        lines.append(f"| {row.sentence} | {SIGNS[row.verdict]} **{row.verdict}** | {explanation} |")
    return "\n".join(lines)


def ledger_table(rows: Sequence[Row]) -> pandas.DataFrame:
    """One row per test, the claim's verdict repeated; a claim without tests has one row with empty fields."""
    fields = [field.name for field in dataclasses.fields(Test)]
    records = []
    for row in rows:
        claim = {"claim": row.identifier, "claim_sentence": row.sentence, "claim_verdict": row.verdict}
        claim["explanation"] = row.explanation
        records += [claim | dataclasses.asdict(test) for test in row.tests] or [claim]
    return pandas.DataFrame(records).reindex(
        columns=["claim", "claim_sentence", "claim_verdict", "explanation", *fields]
    )


def outcome(test: Test) -> str:
    """A test's verdict, statistic, effect with interval, sample size and p, in a line."""
    numbers = [] if isnan(test.effect) else [f"{test.effect:+.3g} {interval(test)}".rstrip()]
    numbers += [f"n = {test.sample_size:,}"]
    numbers += [] if isnan(test.p) else [f"p = {test.p:.2g}"]
    return f"{SIGNS.get(test.verdict, '?')} {test.sentence} {test.compared}, {test.statistic}: {', '.join(numbers)}"


def interval(test: Test) -> str:
    """[low, high]; empty where there is none."""
    return "" if isnan(test.low) and isnan(test.high) else f"[{test.low:+.3g}, {test.high:+.3g}]"
