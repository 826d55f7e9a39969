"""`python -m analyses claims`: the ledger on the terminal, or as a table in a file."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from elutheory.errors import InputError
from elutheory.output.command_line import VERIFIED, parse_options
from elutheory.output.files import check_output, write_whole


@dataclass(frozen=True)
class Options:
    """Every claim of the abstract, decided from the records in `figures`; exit code 2: a record is corrupt."""

    figures: Path = Path("figures")
    """Folder of the records."""
    tests: bool = False
    """Show every test behind a verdict: what is compared, effect, interval, sample size, p."""
    format: Literal["text", "markdown", "json", "csv"] = "text"
    """json and csv: one row a test, with all its numbers."""
    output: Path | None = None
    """Write to this file, whole or not at all, instead of printing."""


def command(arguments: Sequence[str]) -> int:
    """Print or write the ledger; returns the exit code."""
    options = parse_options(Options, "python -m analyses claims", arguments)
    check_output(options.output)
    if not options.figures.is_dir():
        raise InputError(f"{options.figures} is no folder; name the folder of the records.")

    from analyses.report.ledger import ledger
    from analyses.report.ledger_text import ledger_markdown, ledger_table, ledger_text

    rows = ledger(options.figures)
    width = 120 if options.output else max(60, shutil.get_terminal_size((120, 24)).columns)
    text = {
        "text": lambda: ledger_text(rows, width, tests=options.tests),
        "markdown": lambda: ledger_markdown(rows),
        "json": lambda: ledger_table(rows).to_json(orient="records", indent=2, force_ascii=False),
        "csv": lambda: ledger_table(rows).to_csv(index=False, lineterminator="\n").rstrip("\n"),
    }[options.format]()
    if options.output is not None:
        write_whole(options.output, f"{text}\n")
    else:
        sys.stdout.write(f"{text}\n")
    return VERIFIED
