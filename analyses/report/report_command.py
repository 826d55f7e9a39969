"""`python -m analyses report`: ledger, derivations, figures and tables in one self-contained HTML file."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elutheory.derivations.proof.steps import VerificationError
from elutheory.errors import InputError
from elutheory.output.command_line import FAILED, VERIFIED, parse_options
from elutheory.output.files import check_output, write_whole


@dataclass(frozen=True)
class Options:
    """Write the report on all records; exit code 1: a derivation failed, 2: a record is missing or corrupt."""

    figures: Path = Path("figures")
    """Folder of the records."""
    output: Path = Path("figures/report.html")
    """The file to write, whole or not at all."""


def command(arguments: Sequence[str]) -> int:
    """Write the page; returns the exit code."""
    options = parse_options(Options, "python -m analyses report", arguments)
    check_output(options.output)
    if not options.figures.is_dir():
        raise InputError(f"{options.figures} is no folder; name the folder of the records.")

    from analyses.report.page import report

    try:
        page = report(options.figures)
    except VerificationError as failure:
        print(f"elutheory: {failure}.", file=sys.stderr)
        return FAILED
    write_whole(options.output, page)
    print(f"{options.output}: {len(page.encode()) / 1e6:.1f} MB; open it in a browser.")
    return VERIFIED
