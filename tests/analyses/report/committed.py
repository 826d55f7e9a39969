"""What the repository's own records decide, computed once for all tests of it."""

from functools import cache
from pathlib import Path

from analyses.report.ledger import Row, ledger

FIGURES = Path(__file__).parents[3] / "figures"


@cache
def committed_ledger() -> tuple[Row, ...]:
    return ledger(FIGURES)
