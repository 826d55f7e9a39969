"""Moments of an activation function of a Gaussian: closed form, value, certified digits, tables and figures.

Run as `python -m elutheory.moments` or `elutheory moments`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from elutheory.activations.activation_function import Activation, activation
from elutheory.activations.options import given_parameters, option_of
from elutheory.derivations.proof.steps import VerificationError
from elutheory.errors import InputError
from elutheory.moments.report import Report, render
from elutheory.moments.typed_numbers import Number, typed_numbers
from elutheory.moments.verification import Proof, Row, measured_rows
from elutheory.numerics.cost import Cost, check_cost
from elutheory.output.command_line import FAILED, UNDECIDED, VERIFIED, parse_options, run, write_or_print
from elutheory.output.domains import Real, Several, Whole
from elutheory.output.files import check_output_files

LARGEST_TABLE = 100_000


@dataclass(frozen=True)
class Options:
    """Moments of f(X), X ~ N(mean, std²): closed form, value, verification."""

    activation: Annotated[str | None, tyro.conf.Positional] = None
    """Name of the activation function; elu if neither it nor --expression is given."""
    expression: str | None = None
    """Your own activation function of x, such as "where(x > 0, x, exp(x) - 1)"."""
    alpha: Annotated[float, Real(1e-100, 1e100)] | None = None
    """Parameter alpha of elu and celu (above 0)."""
    negative_slope: Annotated[float, Real(0.0, 1e100)] | None = None
    """Parameter negative_slope of leaky_relu."""
    mean: Annotated[tuple[str, ...], Several(None, repeated=True)] = ("0",)
    """Means of X: numbers, or start:stop:count."""
    std: Annotated[tuple[str, ...], Several(None, repeated=True)] = ("1",)
    """Standard deviations of X: numbers, or start:stop:count."""
    digits: Annotated[int, Whole(1, 1000)] | None = None
    """Print every moment to this many certified digits."""
    format: Literal["text", "json", "markdown", "latex", "html"] = "text"
    """How to print the report."""
    output: Path | None = None
    """Write the report to this file, whole or not at all, instead of printing it."""
    figure: Path | None = None
    """Draw the moments over the range of mean or std to this file (.svg, .pdf or .png)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 all verified, 1 a check failed, 2 bad input, 3 not decided."""
    return run(_command, arguments)


def _command(arguments: Sequence[str] | None) -> int:
    options = parse_options(Options, "elutheory moments", arguments)
    check_output_files(output=options.output, figure=options.figure)
    function = _function(options)
    means, stds = typed_numbers("mean", options.mean), typed_numbers("std", options.std)
    if len(means) * len(stds) > LARGEST_TABLE:
        raise InputError(f"{len(means)} means × {len(stds)} stds make more than {LARGEST_TABLE} rows; ask for fewer.")
    if options.figure is not None:
        _check_points(means, stds)
    check_cost(
        Cost(updates=len(means) * len(stds) * (4.0 * (1 + options.digits / 100) ** 2 if options.digits else 0.01))
    )

    rows, method = measured_rows(function, means, stds, options.digits)
    try:
        proof = Proof.of(function, rows[0] if len(rows) == 1 else None)
    except VerificationError as failure:
        print(f"elutheory: {failure}.", file=sys.stderr)
        return FAILED
    text = render(Report(function, rows, method, proof, options.digits), options.format)
    if options.figure is not None:
        _draw(function, rows, options.figure)
    write_or_print(text, options.output)
    if proof.outcome == "failed":
        print(
            "elutheory: a value differs from its certified enclosure; see what the report marks with ✗.",
            file=sys.stderr,
        )
        return FAILED
    if proof.outcome == "not decided":
        print(f"elutheory: not decided: {proof.undecided[0]}", file=sys.stderr)
        return UNDECIDED
    return VERIFIED


def _function(options: Options) -> Activation:
    given = given_parameters(alpha=options.alpha, negative_slope=options.negative_slope)
    if options.expression is None:
        return activation(options.activation or "elu", **given)
    if options.activation is not None:
        raise InputError(f"give either the name {options.activation!r} or --expression, not both.")
    if given:
        raise InputError(f"{option_of(next(iter(given)))} belongs to a named activation, not --expression.")
    return Activation.from_text(options.expression)


def _check_points(means: list[Number], stds: list[Number]) -> None:
    """Refuse points that cannot be drawn: a single one, and one that is not finite."""
    if len(means) < 2 and len(stds) < 2:
        raise InputError("--figure needs several means or stds; give a range such as --mean -4:4:161.")
    if any(number.exact is None for number in (*means, *stds)):
        raise InputError("--figure needs finite means and stds.")


def _draw(function: Activation, rows: list[Row], path: Path) -> None:
    from elutheory.moments.figure import figure_of  # noqa: PLC0415  (matplotlib, only where a figure is drawn)
    from elutheory.output.figures import write_figure  # noqa: PLC0415

    write_figure(figure_of(function, rows), path)
