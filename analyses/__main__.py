"""`python -m analyses`: list the analyses, run one, draw its figure again; the ledger and the report on all of them."""

import sys
import textwrap
from collections.abc import Sequence

from analyses.framework.catalogue import catalogue, find_analysis
from elutheory.errors import InputError
from elutheory.output.command_line import EXIT_CODES, VERIFIED, run

_PROGRAM = "python -m analyses"
_EXTRAS = {"jinja2": "analyses", "lightning": "analyses", "distributed": "cluster", "datasets": "data", "PIL": "data"}
"""The extra that brings a package, by the package's module."""
_ON_ALL_RECORDS = {
    "answer": "Why ELUs learn fast: a paragraph and a figure, computed from the records.",
    "claims": "The ledger: every claim of the abstract, decided from the records.",
    "paper": "What the paper reports beside what the records say: a page of docs/, or printed.",
    "report": "Ledger, derivations, figures and tables in one self-contained HTML file.",
    "readme": "The README's tables, written anew from the records.",
}
"""The commands of `analyses.report.commands` and what they make."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the command."""
    return run(_with_extras, arguments)


def _with_extras(arguments: Sequence[str] | None) -> int:
    """The command; a package of an extra that is not installed is bad input, in one sentence."""
    try:
        return _command(arguments)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        raise InputError(
            f"this needs {package}, which is not installed; install it with "
            f"`pip install -c constraints.txt -e '.[{_EXTRAS[package]}]'`."
        ) from None


def _command(arguments: Sequence[str] | None) -> int:
    """The listing loads neither torch nor pandas; whatever measures or reads a record does."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(_listing())
        return VERIFIED
    if name in _ON_ALL_RECORDS:
        from analyses.report import commands  # noqa: PLC0415 (see above)

        return getattr(commands, name)(rest)
    analysis = find_analysis(name)

    from analyses.framework.command import command  # noqa: PLC0415 (see above)

    return command(analysis, rest)


def _listing() -> str:
    known = catalogue()
    width = max(map(len, [*known, *_ON_ALL_RECORDS]))
    usage = f"usage: {_PROGRAM} NAME [--preset quick|paper] [options]; options: {_PROGRAM} NAME --help"
    lines = [usage]
    for heading, listed in (("analyses:", known), ("on all records:", _ON_ALL_RECORDS)):
        lines += ["", heading, *(f"  {name:{width}}  {described}" for name, described in listed.items())]
    return "\n".join([*lines, "", textwrap.fill(EXIT_CODES, 100)])


if __name__ == "__main__":
    sys.exit(main())
