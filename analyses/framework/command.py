"""`python -m analyses NAME`: measure an analysis as its options say or draw its figure again; print its summary."""

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import tyro

from analyses.framework import records
from analyses.framework.run import run_analysis
from analyses.framework.time_limit import at_most
from elutheory.errors import InputError
from elutheory.output.command_line import VERIFIED, parse_options
from elutheory.output.domains import Real, Whole


@dataclass(frozen=True)
class RunOptions:
    """What every analysis is asked."""

    device: str = "auto"
    """auto (CUDA where there is one), cpu, cuda, cuda:1, …"""
    jobs: Annotated[int, Whole(1, 256)] = 1
    """Processes that share the cells; the record is the same."""
    cluster: str | None = None
    """Address of a Dask scheduler whose workers measure, such as tcp://host:8786."""
    output: Path | None = None
    """Folder for records.csv, provenance.json, figure.svg and figure.png; None: figures/NAME."""
    max_minutes: Annotated[float, Real(above=0, most=1e6)] | None = None
    """Stop after so many, as Ctrl-C does; the same command goes on. None: no limit."""
    replace: bool = False
    """Replace a record in that folder that was measured with other settings."""
    redraw: bool = False
    """Draw the figure again from the saved records."""


def command(analysis: ModuleType, arguments: Sequence[str]) -> int:
    """Measure the analysis, or draw its figure again; returns the exit code."""
    name = analysis.__name__.rpartition(".")[2]
    options: Any = parse_options(options_of(analysis, preset_of(arguments)), f"python -m analyses {name}", arguments)
    folder = options.output or Path("figures") / name
    if options.redraw:
        table = records.redraw(folder, analysis.draw, analysis=name)
    else:
        with at_most(options.max_minutes):
            table = run_analysis(
                analysis,
                folder,
                preset=options.preset,
                config=options.config,
                device=options.device,
                jobs=options.jobs,
                cluster=options.cluster,
                replace=options.replace,
            )
    with records.columns_of(folder, table):
        print(analysis.summary(table))
    return VERIFIED


def preset_of(arguments: Sequence[str]) -> str:
    """The preset's name as given, which decides the other options' defaults."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset", default="quick")
    try:
        return parser.parse_known_args(arguments)[0].preset
    except argparse.ArgumentError:
        raise InputError("--preset needs a name, such as quick or paper.") from None


def options_of(analysis: ModuleType, preset: str) -> type:
    """RunOptions with the preset and every field of the analysis' Config, at the preset's value."""
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
