"""Theorems 1 and 2 put to work: derive them, machine-check every step, and measure them on real digits.

Run as `python -m elutheory.bias_shift` or `elutheory bias-shift`.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console

from elutheory.activations.options import given_parameters, named_activations
from elutheory.bias_shift.report import Experiment, Report, render
from elutheory.derivations.catalogue import DERIVATIONS
from elutheory.derivations.proof.steps import UndecidedError, VerificationError
from elutheory.errors import InputError
from elutheory.numerics.cost import check_cost
from elutheory.output.command_line import FAILED, UNDECIDED, VERIFIED, parse_options, run, write_or_print
from elutheory.output.domains import SMALLEST, Real, Several, Whole
from elutheory.output.files import check_output
from elutheory.output.interruption import in_order

Statement = Literal[
    "lemma-1",
    "lemma-2",
    "fisher-information",
    "theorem-1",
    "bias-shift",
    "theorem-2",
    "centring",
    "gaussian-units",
    "all",
]


@dataclass(frozen=True)
class Options:
    """Derive Theorems 1 and 2 of arXiv 1511.07289, check them, measure them on digits."""

    activation: Annotated[tuple[str, ...], Several(None, repeated=True)] = ("elu", "relu")
    """Activation functions of the classifiers, by name."""
    alpha: Annotated[float, Real(SMALLEST)] | None = None
    """Parameter alpha of those activation functions that have one (above 0)."""
    hidden: Annotated[tuple[int, ...], Several(Whole(1, 10**5), most=100, repeated=True)] = (32, 32)
    """Widths of the hidden layers."""
    epochs: Annotated[int, Whole(0, 10**6)] = 15
    """Passes over the digits in training."""
    learning_rate: Annotated[float, Real(SMALLEST, 1e308)] = 0.05
    """Step size of stochastic gradient descent."""
    layer: Annotated[tuple[int, ...], Several(Whole(1, 101), repeated=True)] | None = None
    """Numbers of the layers to measure, 1 = first hidden layer; every hidden layer if not given."""
    damping: Annotated[float, Real(0.0)] | None = None
    """Solve with F + damping I; if not given, solve a singular F on its range."""
    seed: Annotated[int, Whole(0, 2**63 - 1)] = 0
    """Seed of the initial weights and of the order of the batches."""
    statement: tuple[Statement, ...] = ("theorem-1", "theorem-2")
    """Which derivations to print."""
    symbolic_only: bool = False
    """Derivations only: no training, no Fisher matrices."""
    format: Literal["text", "json", "markdown", "latex", "html"] = "text"
    """How to print the report."""
    output: Path | None = None
    """Write the report to this file, whole or not at all, instead of printing it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 all verified, 1 a check failed, 2 bad input, 3 not decided."""
    return run(_command, arguments)


def _command(arguments: Sequence[str] | None) -> int:
    options = parse_options(Options, "elutheory bias-shift", arguments)
    check_output(options.output)
    names = tuple(DERIVATIONS) if "all" in options.statement else tuple(dict.fromkeys(options.statement))
    if not names:
        raise InputError(f"--statement names nothing; choose from {', '.join([*DERIVATIONS, 'all'])}.")
    measure = None if options.symbolic_only else _prepare_measurement(options)
    try:
        derivations = tuple(DERIVATIONS[name]() for name in names)
        verified = tuple(derivation.verify() for derivation in derivations)
    except VerificationError as failure:
        print(f"elutheory: {failure}.", file=sys.stderr)
        return UNDECIDED if isinstance(failure, UndecidedError) else FAILED
    report = Report(derivations, verified, measure() if measure else None)
    write_or_print(render(report, options.format), options.output, coloured=options.format == "text")
    if not report.passed:
        print("elutheory: not every layer was verified; see what the report marks with ✗.", file=sys.stderr)
        return FAILED
    return VERIFIED


def _prepare_measurement(options: Options) -> Callable[[], Experiment]:
    """Validate everything that the measurement needs; the result trains and measures when called."""
    from elutheory.bias_shift.digits import (  # noqa: PLC0415  (torch, which derivations alone do without)
        DigitsExperiment,
        experiment_cost,
        measure_digits,
    )

    functions = named_activations(
        options.activation,
        given_parameters(alpha=options.alpha),
        "{option} is given, but {names} takes none; add elu or celu, or leave it out.",
    )
    settings = DigitsExperiment(
        hidden=options.hidden,
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        layers=options.layer,
        damping=options.damping,
        seed=options.seed,
    )

    check_cost(experiment_cost(settings) * len(functions))

    def measure() -> Experiment:
        with in_order(), Console(stderr=True).status("") as status:
            networks = []
            for function in functions:
                status.update(f"training and measuring {function} on 1,797 digits")
                networks.append(measure_digits(function, settings))
        return Experiment(settings, tuple(networks))

    return measure
