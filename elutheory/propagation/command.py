"""What theory predicts for every layer of a deep network at initialisation: tables and a figure.

Run as `python -m elutheory.propagation` or `elutheory propagation`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from elutheory.errors import InputError
from elutheory.output.command_line import VERIFIED, parse_options, run
from elutheory.output.files import check_output, write_whole

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation
    from elutheory.propagation.report import Group, Report

LARGEST_DEPTH = 100_000


@dataclass(frozen=True)
class Options:
    """Mean activations, correlations and gradients, layer by layer, of random networks of infinite width.

    Exit code 0: done; 2: bad input.
    """

    activation: tuple[str, ...] = ("elu", "relu")
    """Names of the activation functions."""
    expression: str | None = None
    """Your own activation function of x beside them, such as "where(x > 0, x, exp(x) - 1)"."""
    alpha: float | None = None
    """Parameter alpha of those activation functions that have one (above 0)."""
    negative_slope: float | None = None
    """Parameter negative_slope of leaky_relu."""
    depth: int = 50
    """Number of hidden layers."""
    initialisation: tuple[Literal["he", "lecun", "variance_preserving", "critical"], ...] = ()
    """Variances of weights and biases, by name; he if none are given."""
    weight_variance: float | None = None
    """Your own fan_in × Var(weight), instead of --initialisation."""
    bias_variance: float | None = None
    """Your own variance of the biases, with --weight-variance."""
    second_moment: float = 1.0
    """Second moment |x|²/n of the network's input, and the q that variance_preserving and critical keep."""
    overlap: float = 0.0
    """Average x·x'/n over pairs of inputs."""
    width: int | None = None
    """Width of the layers: adds standard deviations over random networks."""
    batch_norm: bool = False
    """Normalise every unit over the data before the activation."""
    residual: bool = False
    """Add every layer's input to its output."""
    layers: tuple[int, ...] = ()
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
    for path in (options.output, options.table, options.figure):
        check_output(path)
    _check_options(options)
    functions = _functions(options)
    groups = tuple(_group(options, name, functions) for name in _initialisations(options))

    from elutheory.propagation.report import render

    report = _report(options, groups)
    text = render(report, options.format)
    drawing = _drawing(groups, options.figure) if options.figure is not None else b""
    if options.figure is not None:
        write_whole(options.figure, drawing)
    if options.table is not None:
        write_whole(options.table, _csv(groups))
    if options.output is not None:
        write_whole(options.output, text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
    return VERIFIED


# --- input ----------------------------------------------------------------------------------------------------------


def _check_options(options: Options) -> None:
    from elutheory.propagation.figure import KINDS

    if options.figure is not None and options.figure.suffix.lower() not in KINDS:
        raise InputError(f"--figure {options.figure} has no known ending; .svg, .pdf and .png can be drawn.")
    files = [path.absolute() for path in (options.output, options.table, options.figure) if path is not None]
    if len(set(files)) < len(files):
        raise InputError("--output, --table and --figure must be different files.")
    if not 1 <= options.depth <= LARGEST_DEPTH:
        raise InputError(f"--depth is {options.depth}; 1 to {LARGEST_DEPTH} are possible.")
    wrong = [layer for layer in options.layers if not 1 <= layer <= options.depth]
    if wrong:
        raise InputError(f"--layers names layer {wrong[0]}; there are layers 1 to {options.depth}.")
    if options.weight_variance is None and options.bias_variance is not None:
        raise InputError("--bias-variance needs --weight-variance beside it.")
    if options.weight_variance is not None and options.initialisation:
        raise InputError("give either --initialisation or --weight-variance, not both.")


def _functions(options: Options) -> "tuple[Activation, ...]":
    from elutheory.activations.activation_function import Activation, activation

    names = tuple(dict.fromkeys(options.activation))
    given = {
        key: value
        for key, value in (("alpha", options.alpha), ("negative_slope", options.negative_slope))
        if value is not None
    }
    takes = {name: activation(name).parameter_values for name in names}
    for key in given:
        if not any(key in parameters for parameters in takes.values()):
            option = f"--{key.replace('_', '-')}"
            raise InputError(f"{option} is given, but none of {', '.join(names) or 'no activation'} takes it.")
    functions = [activation(name, **{key: given[key] for key in given if key in takes[name]}) for name in names]
    if options.expression is not None:
        functions.append(Activation.from_text(options.expression))
    if not functions:
        raise InputError("--activation names nothing; name at least one activation function, such as elu.")
    return tuple(functions)


def _initialisations(options: Options) -> tuple[str, ...]:
    if options.weight_variance is not None:
        return ("given",)
    return tuple(dict.fromkeys(options.initialisation)) or ("he",)


def _group(options: Options, name: str, functions: "tuple[Activation, ...]") -> "Group":
    from elutheory.propagation.deep_network import propagate
    from elutheory.propagation.initialisations import Initialisation, initialisation
    from elutheory.propagation.report import Group

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


def _report(options: Options, groups: "tuple[Group, ...]") -> "Report":
    from elutheory.propagation.report import BANDS, Report, shown_layers

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
    remarks = [] if options.width is None else [BANDS]
    if options.figure is not None:
        remarks.append(f"figure: {options.figure}")
    if options.table is not None:
        remarks.append(f"all layers and columns: {options.table}")
    return Report(title, groups, shown_layers(options.depth, options.layers), tuple(remarks))


def _drawing(groups: "tuple[Group, ...]", figure: Path) -> bytes:
    from elutheory.propagation.figure import figure_bytes
    from elutheory.propagation.report import label

    rows = [(group.name, [(label(p.activation), p) for p in group.propagations]) for group in groups]
    return figure_bytes(rows, figure.suffix.lower()[1:])


def _csv(groups: "tuple[Group, ...]") -> str:
    import pandas

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
    return pandas.concat(parts).to_csv(index=False)
