"""`python -m analyses`: list the analyses, run one, draw its figure again; the ledger and the report on all of them."""

import argparse
import dataclasses
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from analyses.framework import records
from analyses.framework.catalogue import catalogue, find_analysis
from analyses.framework.sweep import Interrupted
from elutheory.errors import InputError
from elutheory.output.command_line import INTERRUPTED, VERIFIED, parse_options, run

_PROGRAM = "python -m analyses"
_ON_ALL_RECORDS = {
    "claims": ("analyses.report.claims_command", "The ledger: every claim of the abstract, decided from the records."),
    "report": (
        "analyses.report.report_command",
        "Ledger, derivations, figures and tables in one self-contained HTML file.",
    ),
    "readme": ("analyses.report.readme", "The README's tables, written anew from the records."),
}
"""By name: the module with its `command`, and what it makes."""


@dataclass(frozen=True)
class RunOptions:
    """What every analysis is asked."""

    device: str = "auto"
    """auto (CUDA where there is one), cpu, cuda, cuda:1, …"""
    jobs: int = 1
    """Processes that share the cells; the record is the same."""
    cluster: str | None = None
    """Address of a Dask scheduler whose workers measure, such as tcp://host:8786."""
    output: Path | None = None
    """Folder for records.csv, provenance.json, figure.svg and figure.png; None: figures/NAME."""
    redraw: bool = False
    """Draw the figure again from the saved records."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the command."""
    return run(_command, arguments)


def _command(arguments: Sequence[str] | None) -> int:
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(_listing())
        return VERIFIED
    if name in _ON_ALL_RECORDS:
        return importlib.import_module(_ON_ALL_RECORDS[name][0]).command(rest)
    analysis = find_analysis(name)
    options: Any = parse_options(_options(analysis, _preset(rest)), f"{_PROGRAM} {name}", rest)
    folder = options.output or Path("figures") / name
    if options.redraw:
        table = records.redraw(folder, analysis.draw, analysis=name)
    else:
        from analyses.framework.run import run_analysis

        try:
            table = run_analysis(
                analysis,
                folder,
                preset=options.preset,
                config=options.config,
                device=options.device,
                jobs=options.jobs,
                cluster=options.cluster,
            )
        except Interrupted as stop:
            print(f"elutheory: interrupted; {stop}", file=sys.stderr)
            return INTERRUPTED
    print(analysis.summary(table))
    return VERIFIED


def _listing() -> str:
    known = catalogue()
    others = {name: described for name, (_, described) in _ON_ALL_RECORDS.items()}
    width = max(map(len, [*known, *others]))
    usage = f"usage: {_PROGRAM} NAME [--preset quick|paper] [options]; options: {_PROGRAM} NAME --help"
    lines = [usage]
    for heading, listed in (("analyses:", known), ("on all records:", others)):
        lines += ["", heading, *(f"  {name:{width}}  {described}" for name, described in listed.items())]
    return "\n".join(lines)


def _preset(arguments: Sequence[str]) -> str:
    """The preset's name as given, which decides the other options' defaults."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset", default="quick")
    try:
        return parser.parse_known_args(arguments)[0].preset
    except argparse.ArgumentError:
        raise InputError("--preset needs a name: quick or paper.") from None


def _options(analysis: ModuleType, preset: str) -> type:
    """RunOptions with the preset and every field of the analysis' Config, at the preset's value."""
    import tyro

    if preset not in analysis.PRESETS:
        raise InputError(f'there is no preset "{preset}"; there are {", ".join(analysis.PRESETS)}.')
    config: Any = tyro.conf.OmitArgPrefixes[analysis.Config]
    chosen: Any = Annotated[Literal[*analysis.PRESETS], tyro.conf.arg(help="Sets the defaults of the options below.")]
    fields: list[tuple[str, Any, Any]] = [
        ("preset", chosen, dataclasses.field(default=preset)),
        ("config", config, dataclasses.field(default=analysis.PRESETS[preset])),
    ]
    options = dataclasses.make_dataclass("Options", fields, bases=(RunOptions,), frozen=True)
    options.__doc__ = analysis.__doc__
    return options


if __name__ == "__main__":
    sys.exit(main())
