"""The README's tables, written from the records and from the benchmarks' record.

A block of the README stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; what is between is replaced.
"""

from collections.abc import Callable
from pathlib import Path

from analyses.report.answer import answer
from analyses.report.benchmark_table import benchmark_table
from analyses.report.ledger import ledger
from analyses.report.ledger_text import ledger_markdown
from elutheory.errors import InputError

_DRAWN = "Updates to a training loss over the mean share of what layers receive; measured over predicted updates"


def with_tables(text: str, figures: Path, benchmarks: Path) -> str:
    """The README's text with its blocks "answer", "ledger" and "benchmarks" made anew; all other text stays.

    Raises InputError if a block is not there exactly once, if a record is corrupt, or if there is none of benchmarks.
    """
    text = _replaced(text, "benchmarks", lambda: benchmark_table(benchmarks))
    text = _replaced(text, "answer", lambda: _answer(figures))
    return _replaced(text, "ledger", lambda: ledger_markdown(ledger(figures)))


def _answer(figures: Path) -> str:
    """The figure, where there is something to draw, what it shows, and the answer, question by question."""
    found = answer(figures)
    drawn = [f"![{_DRAWN}](figures/answer/figure.png)", f"*{found.caption}*"] if found.has_figure else []
    points = [f"- **{point.question}** {point.words}" for point in found.short] + [
        f"- {one}" for one in found.unmeasured
    ]
    return "\n\n".join([*drawn, "\n".join(points)])


def _replaced(text: str, name: str, block: Callable[[], str]) -> str:
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise InputError(f'the README needs one "{begin}" and, after it, one "{end}".')
    before, after = text.partition(begin)[0], text.partition(end)[2]
    return f"{before}{begin}\n\n{block()}\n\n{end}{after}"
