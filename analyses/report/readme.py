"""`python -m analyses readme`: the README's tables, written from the records and from the benchmarks' record.

A block of the README stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; what is between is replaced.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.summary import benchmark_table
from elutheory.errors import InputError
from elutheory.output.command_line import VERIFIED, parse_options
from elutheory.output.files import check_output, write_whole


@dataclass(frozen=True)
class Options:
    """Write the README's tables anew; exit code 2: a block or a record is missing."""

    readme: Path = Path("README.md")
    """The file with the blocks."""
    figures: Path = Path("figures")
    """Folder of the records."""
    benchmarks: Path = Path("benchmarks/records.json")
    """The benchmarks' record."""


def command(arguments: Sequence[str]) -> int:
    """Replace the blocks of the README; returns the exit code."""
    options = parse_options(Options, "python -m analyses readme", arguments)
    check_output(options.readme)
    if not options.figures.is_dir():
        raise InputError(f"{options.figures} is no folder; name the folder of the records.")
    try:
        text = options.readme.read_bytes().decode()  # bytes: line endings stay as they are
    except OSError as error:
        raise InputError(f"{options.readme} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InputError(f"{options.readme} is not UTF-8 text.") from None
    write_whole(options.readme, with_tables(text, options.figures, options.benchmarks))
    return VERIFIED


def with_tables(text: str, figures: Path, benchmarks: Path) -> str:
    """The README's text with its blocks "ledger" and "benchmarks" made anew; all other text stays.

    Raises InputError if a block is not there exactly once, if a record is corrupt, or if there is none of benchmarks.
    """

    def ledger_block() -> str:
        from analyses.report.ledger import ledger
        from analyses.report.ledger_text import ledger_markdown

        return ledger_markdown(ledger(figures))

    def benchmark_block() -> str:
        return benchmark_table(benchmarks)

    return _replaced(_replaced(text, "benchmarks", benchmark_block), "ledger", ledger_block)


def _replaced(text: str, name: str, block: Callable[[], str]) -> str:
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise InputError(f'the README needs one "{begin}" and, after it, one "{end}".')
    before, after = text.partition(begin)[0], text.partition(end)[2]
    return f"{before}{begin}\n\n{block()}\n\n{end}{after}"
