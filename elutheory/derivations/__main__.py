"""`python -m elutheory.derivations`: every derivation verified, and the page of numbered statements printed."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elutheory.derivations.proof.steps import UndecidedError, VerificationError
from elutheory.output.command_line import FAILED, UNDECIDED, VERIFIED, parse_options, run
from elutheory.output.files import check_output, write_whole


@dataclass(frozen=True)
class Options:
    """Verify every derivation and print the page of numbered statements, docs/statements.md.

    Nothing is printed unless all is verified.
    """

    output: Path | None = None
    """Write the page to this file, whole or not at all, instead of printing it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 all verified, 1 a check failed, 2 bad input, 3 not decided."""
    return run(_command, arguments)


def _command(arguments: Sequence[str] | None) -> int:
    options = parse_options(Options, "python -m elutheory.derivations", arguments)
    check_output(options.output)

    from elutheory.derivations.catalogue.page import derivations, statements_page  # noqa: PLC0415 (after --help)

    try:
        for derivation in derivations().values():
            derivation.verify()
    except VerificationError as failure:
        print(f"elutheory: {failure}.", file=sys.stderr)
        return UNDECIDED if isinstance(failure, UndecidedError) else FAILED
    page = statements_page()
    if options.output is not None:
        write_whole(options.output, page)
    else:
        sys.stdout.write(page)
    return VERIFIED


if __name__ == "__main__":
    sys.exit(main())
