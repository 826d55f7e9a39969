"""The commands on all records: `python -m analyses answer`, `claims`, `paper`, `report` and `readme`.

Each checks its options before it loads what it needs: the ledger imports every experiment, which takes seconds.
"""

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from elutheory.derivations.proof.steps import UndecidedError, VerificationError
from elutheory.errors import InputError
from elutheory.output.command_line import FAILED, UNDECIDED, VERIFIED, parse_options
from elutheory.output.csv_text import csv_of
from elutheory.output.document import STATEMENTS
from elutheory.output.files import check_output, write_whole


@dataclass(frozen=True)
class AnswerOptions:
    """Why ELUs learn fast: a paragraph in plain words and a figure, computed from the records in `figures`; what is not
    measured is named. Exit code 2: a record is corrupt."""

    figures: Path = Path("figures")
    """Folder of the records."""
    output: Path | None = None
    """Folder for figure.svg and figure.png; None: figures/answer."""


def answer(arguments: Sequence[str]) -> int:
    """Print the paragraph and draw the figure; returns the exit code."""
    options = parse_options(AnswerOptions, "python -m analyses answer", arguments)
    _check_figures(options.figures)
    folder = options.output or options.figures / "answer"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder.")

    from analyses.framework.records import replace_together  # noqa: PLC0415 (see the module)
    from analyses.report.answer import answer as answer_from  # noqa: PLC0415
    from analyses.report.answer import draw  # noqa: PLC0415
    from elutheory.output.figures import figure_bytes  # noqa: PLC0415

    found = answer_from(options.figures)
    drawn = {f"figure.{kind}": figure_bytes(draw(found), kind) for kind in ("svg", "png")}
    replace_together(folder, drawn)
    print(textwrap.fill(found.text, max(60, shutil.get_terminal_size((120, 24)).columns)))
    return VERIFIED


@dataclass(frozen=True)
class ClaimsOptions:
    """Every claim of the abstract, decided from the records in `figures`."""

    figures: Path = Path("figures")
    """Folder of the records."""
    tests: bool = False
    """Show every test behind a verdict: what is compared, effect, interval, sample size, p."""
    format: Literal["text", "markdown", "json", "csv"] = "text"
    """json and csv: one row a test, with all its numbers."""
    output: Path | None = None
    """Write to this file, whole or not at all, instead of printing."""


def claims(arguments: Sequence[str]) -> int:
    """Print or write the ledger; returns the exit code."""
    options = parse_options(ClaimsOptions, "python -m analyses claims", arguments)
    check_output(options.output)
    _check_figures(options.figures)

    from analyses.report.ledger import ledger  # noqa: PLC0415 (see the module)
    from analyses.report.ledger_text import ledger_markdown, ledger_table, ledger_text  # noqa: PLC0415

    rows = ledger(options.figures)
    width = 120 if options.output else max(60, shutil.get_terminal_size((120, 24)).columns)
    text = {
        "text": lambda: f"{ledger_text(rows, width, tests=options.tests)}\n\n{textwrap.fill(STATEMENTS, width)}",
        "markdown": lambda: ledger_markdown(rows),
        "json": lambda: ledger_table(rows).to_json(orient="records", indent=2, force_ascii=False),
        "csv": lambda: csv_of(ledger_table(rows)).rstrip("\n"),
    }[options.format]()
    if options.output is not None:
        write_whole(options.output, f"{text}\n")
    else:
        sys.stdout.write(f"{text}\n")
    return VERIFIED


@dataclass(frozen=True)
class PaperOptions:
    """What the paper reports beside what the records in `figures` say, in Markdown."""

    figures: Path = Path("figures")
    """Folder of the records."""
    output: Path | None = None
    """Write to this file, whole or not at all, instead of printing; docs/beside_the_paper.md is the page's place."""


def paper(arguments: Sequence[str]) -> int:
    """Print or write the page; returns the exit code."""
    options = parse_options(PaperOptions, "python -m analyses paper", arguments)
    check_output(options.output)
    _check_figures(options.figures)

    from analyses.report.beside_the_paper import paper_markdown  # noqa: PLC0415 (see the module)

    text = paper_markdown(options.figures)
    if options.output is not None:
        write_whole(options.output, text)
    else:
        sys.stdout.write(text)
    return VERIFIED


@dataclass(frozen=True)
class ReportOptions:
    """Write the report on all records."""

    figures: Path = Path("figures")
    """Folder of the records."""
    output: Path = Path("figures/report.html")
    """The file to write, whole or not at all."""


def report(arguments: Sequence[str]) -> int:
    """Write the page; returns the exit code."""
    options = parse_options(ReportOptions, "python -m analyses report", arguments)
    check_output(options.output)
    _check_figures(options.figures)

    from analyses.report.page import report_page  # noqa: PLC0415 (see the module)

    try:
        page = report_page(options.figures)
    except VerificationError as failure:
        print(f"elutheory: {failure}.", file=sys.stderr)
        return UNDECIDED if isinstance(failure, UndecidedError) else FAILED
    write_whole(options.output, page)
    print(f"{options.output}: {len(page.encode()) / 1e6:.1f} MB; open it in a browser.")
    return VERIFIED


@dataclass(frozen=True)
class ReadmeOptions:
    """Write the README's tables anew."""

    readme: Path = Path("README.md")
    """The file with the blocks."""
    figures: Path = Path("figures")
    """Folder of the records."""
    benchmarks: Path = Path("benchmarks/records.json")
    """The benchmarks' record."""


def readme(arguments: Sequence[str]) -> int:
    """Replace the blocks of the README; returns the exit code."""
    options = parse_options(ReadmeOptions, "python -m analyses readme", arguments)
    check_output(options.readme)
    _check_figures(options.figures)
    try:
        text = options.readme.read_bytes().decode()  # bytes: line endings stay as they are
    except OSError as error:
        raise InputError(f"{options.readme} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InputError(f"{options.readme} is not UTF-8 text.") from None

    from analyses.report.readme import with_tables  # noqa: PLC0415 (see the module)

    write_whole(options.readme, with_tables(text, options.figures, options.benchmarks))
    return VERIFIED


def _check_figures(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; name the folder of the records.")
