"""What theory predicts for every layer of a deep network at initialisation: tables and a figure.

Run as `python -m elutheory.propagation` or `elutheory propagation`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pandas

from elutheory.activations.activation_function import Activation
from elutheory.activations.options import given_parameters, named_activations
from elutheory.errors import InputError
from elutheory.kernels.expectations import pair_cost
from elutheory.numerics.cost import Cost, check_cost
from elutheory.output.command_line import VERIFIED, parse_options, run, write_or_print
from elutheory.output.csv_text import csv_of
from elutheory.output.domains import SMALLEST, Real, Several, Whole
from elutheory.output.files import check_output_files, write_whole
from elutheory.propagation.deep_network import propagate
from elutheory.propagation.finite_width import reach
from elutheory.propagation.initialisations import Initialisation, initialisation
from elutheory.propagation.report import BANDS, Group, Report, label, render, shown_layers

LARGEST_DEPTH = 100_000
_PAIRS = 150
"""Expectations by which a layer is taken to the next: a rule of 14, then some of 24 nodes in the angle."""


@dataclass(frozen=True)
class Options:
    """Mean activations, correlations and gradients, layer by layer, of random networks of infinite width."""

    activation: Annotated[tuple[str, ...], Several(None, least=0, repeated=True)] = ("elu", "relu")
    """Names of the activation functions."""
    expression: str | None = None
    """Your own activation function of x beside them, such as "where(x > 0, x, exp(x) - 1)"."""
    alpha: Annotated[float, Real(SMALLEST)] | None = None
    """Parameter alpha of those activation functions that have one (above 0)."""
    negative_slope: Annotated[float, Real(0.0)] | None = None
    """Parameter negative_slope of leaky_relu."""
    depth: Annotated[int, Whole(1, LARGEST_DEPTH)] = 50
    """Number of hidden layers."""
    initialisation: tuple[Literal["he", "lecun", "variance_preserving", "critical"], ...] = ()
    """Variances of weights and biases, by name; he if none are given."""
    weight_variance: Annotated[float, Real(SMALLEST)] | None = None
    """Your own fan_in × Var(weight), instead of --initialisation."""
    bias_variance: Annotated[float, Real(0.0)] | None = None
    """Your own variance of the biases, with --weight-variance."""
    second_moment: Annotated[float, Real(SMALLEST)] = 1.0
    """Second moment |x|²/n of the network's input, and the q that variance_preserving and critical keep."""
    overlap: Annotated[float, Real()] = 0.0
    """Average x·x'/n over pairs of inputs."""
    width: Annotated[int, Whole(1, 10**9)] | None = None
    """Width of the layers: adds standard deviations over random networks."""
    batch_norm: bool = False
    """Normalise every unit over the data before the activation."""
    residual: bool = False
    """Add every layer's input to its output."""
    layers: Annotated[tuple[int, ...], Several(Whole(1, LARGEST_DEPTH), least=0, repeated=True)] = ()
    """Layers to print; a spread of them if not given. JSON and --table have all."""
    format: Literal["text", "json", "markdown", "latex", "html"] = "text"
    """How to print the report."""
    output: Path | None = None
    """Write the report to this file, whole or not at all, instead of printing it."""
    table: Path | None = None
    """Write all columns of all layers to this file, as CSV."""
    figure: Path | None = Path("propagation.svg")
    """Draw the layers to this file (.svg, .pdf or .png); None draws nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 2 bad input."""
    return run(_command, arguments)


def _command(arguments: Sequence[str] | None) -> int:
    options = parse_options(Options, "elutheory propagation", arguments)
    check_output_files(output=options.output, table=options.table, figure=options.figure)
    _check_options(options)
    functions = _functions(options)
    check_cost(_cost(options, functions))
    groups = tuple(_group(options, name, functions) for name in _initialisations(options))
    text = render(_report(options, groups), options.format)
    if options.figure is not None:
        _draw(groups, options.figure)
    if options.table is not None:
        write_whole(options.table, _csv(groups))
    write_or_print(text, options.output)
    return VERIFIED


# --- input ----------------------------------------------------------------------------------------------------------


def _check_options(options: Options) -> None:
    wrong = [layer for layer in options.layers if not 1 <= layer <= options.depth]
    if wrong:
        raise InputError(f"--layers names layer {wrong[0]}; there are layers 1 to {options.depth}.")
    if options.weight_variance is None and options.bias_variance is not None:
        raise InputError("--bias-variance needs --weight-variance beside it.")
    if options.weight_variance is not None and options.initialisation:
        raise InputError("give either --initialisation or --weight-variance, not both.")


def _cost(options: Options, functions: tuple[Activation, ...]) -> Cost:
    """Of all layers: of a pair's moments in each, by up to so many expectations where they are integrals of pairs."""
    layers = options.depth * len(_initialisations(options))
    nested = Cost(operations=sum(pair_cost(function).operations for function in functions)) * (_PAIRS * layers)
    return Cost(updates=0.2 * layers * len(functions), bytes=400.0 * layers * len(functions)) + nested


def _functions(options: Options) -> tuple[Activation, ...]:
    given = given_parameters(alpha=options.alpha, negative_slope=options.negative_slope)
    refusal = "{option} is given, but none of {names} takes it."
    functions = named_activations(options.activation, given, refusal)
    if options.expression is not None:
        functions.append(Activation.from_text(options.expression))
    if not functions:
        raise InputError("--activation names nothing; name at least one activation function, such as elu.")
    return tuple(functions)


def _initialisations(options: Options) -> tuple[str, ...]:
    if options.weight_variance is not None:
        return ("given",)
    return tuple(dict.fromkeys(options.initialisation)) or ("he",)


def _group(options: Options, name: str, functions: tuple[Activation, ...]) -> Group:
    propagations = []
    for function in functions:
        if options.weight_variance is not None:
            variances = Initialisation(name, options.weight_variance, options.bias_variance or 0.0)
        else:
            variances = initialisation(name, function, options.second_moment)
        propagations.append(
            propagate(
                function,
                options.depth,
                variances.weight_variance,
                variances.bias_variance,
                options.second_moment,
                options.overlap,
                width=options.width,
                batch_norm=options.batch_norm,
                residual=options.residual,
            )
        )
    return Group(name, tuple(propagations))


# --- output ---------------------------------------------------------------------------------------------------------


def _report(options: Options, groups: tuple[Group, ...]) -> Report:
    kind = [
        *(["batch-normalised"] if options.batch_norm else []),
        *(["residual"] if options.residual else []),
        "layers" if options.depth > 1 else "layer",
    ]
    width = "infinite width" if options.width is None else f"width {options.width}"
    title = (
        f"{options.depth} {' '.join(kind)} of {width}: inputs of second moment {options.second_moment:g}, "
        f"overlap {options.overlap:g}"
    )
    remarks = [] if options.width is None else [f"{BANDS}; {reach(options.depth / options.width)}"]
    if options.figure is not None:
        remarks.append(f"figure: {options.figure}")
    if options.table is not None:
        remarks.append(f"all layers and columns: {options.table}")
    return Report(title, groups, shown_layers(options.depth, options.layers), tuple(remarks))


def _draw(groups: tuple[Group, ...], path: Path) -> None:
    from elutheory.output.figures import write_figure  # noqa: PLC0415  (matplotlib, only where a figure is drawn)
    from elutheory.propagation.figure import figure_of  # noqa: PLC0415

    rows = [(group.name, [(label(p.activation), p) for p in group.propagations]) for group in groups]
    write_figure(figure_of(rows), path)


def _csv(groups: tuple[Group, ...]) -> str:
    parts = []
    for group in groups:
        for p in group.propagations:
            part = p.table.copy()
            for name, value in (
                ("bias_variance", p.bias_variance),
                ("weight_variance", p.weight_variance),
                ("activation", str(p.activation)),
                ("initialisation", group.name),
            ):
                part.insert(0, name, value)
            parts.append(part)
    return csv_of(pandas.concat(parts))
