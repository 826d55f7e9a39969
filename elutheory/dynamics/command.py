"""Which activation function learns faster, by what factor, and why: predicted for your data before any training.

Run as `python -m elutheory.dynamics` or `elutheory dynamics`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy
import pandas

from elutheory.activations.activation_function import Activation
from elutheory.activations.options import given_parameters, named_activations
from elutheory.dynamics.comparison import Run
from elutheory.dynamics.infinite_width import training_kernel
from elutheory.dynamics.prediction import predict_training
from elutheory.dynamics.report import Report, render
from elutheory.errors import InputError
from elutheory.kernels.expectations import pair_cost
from elutheory.numerics.cost import Cost, check_cost
from elutheory.output.command_line import VERIFIED, parse_options, run, write_or_print
from elutheory.output.csv_text import csv_of
from elutheory.output.domains import SMALLEST, Real, Several, Whole
from elutheory.output.files import check_output_files, write_whole
from elutheory.propagation.initialisations import Initialisation, initialisation
from elutheory.propagation.report import label

LARGEST_DEPTH = 1000


@dataclass(frozen=True)
class Options:
    """The training loss of wide networks, predicted from their tangent kernels, nothing fitted."""

    activation: Annotated[tuple[str, ...], Several(None, least=0, repeated=True)] = ("elu", "relu")
    """Names of the activation functions; the first is compared with each of the others."""
    expression: str | None = None
    """Your own activation function of x beside them, such as "where(x > 0, x, exp(x) - 1)"."""
    alpha: Annotated[float, Real(SMALLEST)] | None = None
    """Parameter alpha of those activation functions that have one (above 0)."""
    negative_slope: Annotated[float, Real(0.0)] | None = None
    """Parameter negative_slope of leaky_relu."""
    depth: Annotated[int, Whole(1, LARGEST_DEPTH)] = 8
    """Number of hidden layers."""
    width: Annotated[tuple[int, ...], Several(Whole(1, 10**6), repeated=True)] = (128,)
    """Units of a hidden layer: one number for all, or one per layer."""
    initialisation: Literal["he", "lecun", "variance_preserving", "critical"] = "he"
    """Variances of weights and biases at initialisation, by name."""
    weight_variance: Annotated[float, Real(SMALLEST)] | None = None
    """Your own fan_in × Var(weight), instead of --initialisation."""
    bias_variance: Annotated[float, Real(0.0)] | None = None
    """Your own variance of the biases, with --weight-variance."""
    data: str = "digits"
    """digits (scikit-learn's, 1797 × 64), or a .npz or .safetensors file with the arrays inputs and targets; targets
    are integers, the classes. Inputs of more axes are flattened."""
    examples: Annotated[int, Whole(1, 10**6)] = 500
    """Train on so many of the data, drawn at random; all if there are fewer."""
    test_examples: Annotated[int, Whole(0, 10**6)] = 0
    """Predict the loss of so many others."""
    standardise: bool = False
    """Subtract the mean of all numbers of the inputs and divide by their standard deviation."""
    learning_rate: Annotated[float, Real(SMALLEST)] = 0.01
    """Of all weights and biases."""
    steps: Annotated[int, Whole(1, 10**7)] = 1000
    """Updates to predict."""
    loss: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    """The mean over the examples; squared_error is ½ |outputs − one-hot classes|²."""
    batch_size: Annotated[int, Whole(1, 10**7)] | None = None
    """Examples of a batch; None: all."""
    momentum: Annotated[float, Real(0.0, below=1.0)] = 0.0
    """Of stochastic gradient descent."""
    levels: Annotated[tuple[float, ...], Several(Real(SMALLEST), repeated=True)] = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1)
    """Losses that the steps are counted to."""
    centred: bool = False
    """Beside each activation, the same with the activations of all layers centred."""
    draws: Annotated[int, Whole(1, 10**4)] = 8
    """Initial functions of which medians and bands are taken."""
    finite_networks: Annotated[int, Whole(0, 10**4)] = 0
    """Beside the prediction of wide networks, that of so many finite ones, each with its own kernel."""
    seed: Annotated[int, Whole(0, 2**63 - 1)] = 0
    """Of everything that is drawn."""
    format: Literal["text", "json", "markdown", "latex", "html"] = "text"
    """How to print the report."""
    output: Path | None = None
    """Write the report to this file, whole or not at all, instead of printing it."""
    table: Path | None = None
    """Write the predicted losses of all steps to this file, as CSV."""
    figure: Path | None = None
    """Draw loss curves and spectra to this file (.svg, .pdf or .png)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 2 bad input."""
    return run(_command, arguments)


def _command(arguments: Sequence[str] | None) -> int:
    options = parse_options(Options, "elutheory dynamics", arguments)
    check_output_files(output=options.output, table=options.table, figure=options.figure)
    _check_options(options)
    functions = _functions(options)
    inputs, targets = _data(options)
    nested = Cost(operations=sum(pair_cost(function).operations for function in functions))  # of a pair at a layer
    pairs = 0.5 * len(inputs) ** 2 * options.depth * (1 + options.centred)
    check_cost(_cost(options, len(functions), inputs, targets) + nested * pairs)
    runs = tuple(one for function in functions for one in _runs(options, function, inputs, targets))
    text = render(_report(options, runs, inputs), options.format)
    if options.figure is not None:
        _draw(runs, options.figure)
    if options.table is not None:
        write_whole(options.table, _csv(runs))
    write_or_print(text, options.output)
    return VERIFIED


# --- input ----------------------------------------------------------------------------------------------------------


def _check_options(options: Options) -> None:
    if len(options.width) not in (1, options.depth):
        raise InputError(
            f"--width has {len(options.width)} numbers; one, or one per layer ({options.depth}), is needed."
        )
    if options.weight_variance is None and options.bias_variance is not None:
        raise InputError("--bias-variance needs --weight-variance beside it.")


def _functions(options: Options) -> tuple[Activation, ...]:
    given = given_parameters(alpha=options.alpha, negative_slope=options.negative_slope)
    refusal = "{option} is given, but none of {names} takes it."
    functions = named_activations(options.activation, given, refusal)
    if options.expression is not None:
        functions.append(Activation.from_text(options.expression))
    if not functions:
        raise InputError("--activation names nothing; name at least one activation function, such as elu.")
    return tuple(functions)


def _data(options: Options) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Inputs (examples, features) and classes: those to train on first, then those to test on."""
    from elutheory.models.data import load_digits, read_data  # noqa: PLC0415 (torch, after the options are right)

    inputs, targets = load_digits() if options.data == "digits" else read_data(Path(options.data))
    if targets is None:
        raise InputError(f"{options.data} has no targets; the classes of the inputs are needed.")
    if targets.ndim != 1 or targets.is_floating_point() or targets.is_complex():
        shape = tuple(targets.shape)
        raise InputError(f"targets in {options.data} must be integers (examples,), not {targets.dtype} {shape}.")
    if inputs.is_complex():
        raise InputError(f"inputs in {options.data} must be real numbers.")
    pixels, classes = inputs.reshape(len(inputs), -1).double().numpy(), targets.numpy()
    order = numpy.random.default_rng(options.seed).permutation(len(pixels))
    trained = min(options.examples, len(pixels))
    if trained + options.test_examples > len(pixels):
        raise InputError(
            f"{options.data} has {len(pixels)} examples; {trained} to train on leave {len(pixels) - trained} to test "
            "on, so lower --examples or --test-examples."
        )
    chosen = order[: trained + options.test_examples]
    pixels = pixels[chosen]
    if options.standardise:
        spread = pixels[:trained].std()
        if not spread > 0:
            raise InputError(f"the inputs in {options.data} are all the same; they cannot be standardised.")
        pixels = (pixels - pixels[:trained].mean()) / spread
    return pixels, classes[chosen]


def _cost(options: Options, functions: int, inputs: numpy.ndarray, targets: numpy.ndarray) -> Cost:
    """Of kernels of all pairs of inputs, all of them kept, of the steps predicted and of finite networks' kernels."""
    pairs, classes = float(len(inputs)) ** 2, int(targets.max()) + 1
    kernels = functions * (1 + options.centred) * (1 + options.finite_networks)
    batch = min(options.batch_size or options.examples, options.examples)
    step = Cost(4.0 * len(inputs) * batch * classes * options.draws, 0.2)
    widest = float(max(options.width))
    finite = 8 * options.depth * widest * (2 * widest + 4 * len(inputs) * classes) if options.finite_networks else 0.0
    held = 8 * pairs * (2 * options.depth + 8) * functions * (1 + options.centred) + 400.0 * options.steps * kernels
    return (Cost(2e3 * pairs * options.depth, options.depth) + step * options.steps) * kernels + Cost(
        bytes=held + finite
    )


# --- what is predicted ----------------------------------------------------------------------------------------------


def _runs(options: Options, function: Activation, inputs: numpy.ndarray, targets: numpy.ndarray) -> list[Run]:
    features, trained = inputs.shape[1], len(inputs) - options.test_examples
    gram = inputs @ inputs.T / features
    moment = float(gram.diagonal()[:trained].mean())
    if options.weight_variance is not None:
        variances = Initialisation("given", options.weight_variance, options.bias_variance or 0.0)
    else:
        variances = initialisation(options.initialisation, function, moment)
    arguments: dict[str, Any] = {
        "depth": options.depth,
        "width": options.width[0] if len(options.width) == 1 else options.width,
        "features": features,
        "weight_variance": variances.weight_variance,
        "bias_variance": variances.bias_variance,
    }
    theta = training_kernel(function, gram, **arguments)
    kernels = [(label(function), theta)]
    if options.centred:
        kernels.append((f"{label(function)}, centred", theta.centred(slice(0, trained))))
    return [
        Run(
            name,
            kernel,
            predict_training(
                kernel,
                targets,
                learning_rate=options.learning_rate,
                steps=options.steps,
                loss=options.loss,
                batch_size=options.batch_size,
                momentum=options.momentum,
                trained=slice(0, trained),
                draws=options.draws,
                seed=options.seed,
                batch_seed=options.seed,
                finite_networks=options.finite_networks,
            ),
        )
        for name, kernel in kernels
    ]


# --- output ---------------------------------------------------------------------------------------------------------


def _report(options: Options, runs: tuple[Run, ...], inputs: numpy.ndarray) -> Report:
    trained = len(inputs) - options.test_examples
    overlaps = inputs[:trained] @ inputs[:trained].T / inputs.shape[1]
    width = str(options.width[0]) if len(options.width) == 1 else "–".join(map(str, options.width))
    batches = "full batches" if options.batch_size is None else f"batches of {options.batch_size}"
    title = (
        f"{options.depth} hidden layer{'s' * (options.depth > 1)} of {width}, {trained} of {options.data}, "
        f"{options.loss.replace('_', '-')}, {batches}, learning rate {options.learning_rate:g}"
    )
    ratio = runs[0].prediction.depth_over_width
    remarks = [
        f"inputs: second moment {overlaps.diagonal().mean():.4g}, mean overlap {overlaps.mean():.4g}"
        f"{', standardised' if options.standardise else ''}",
        f"depth over width {ratio:.3g}: the relative size of what finite width adds (T6)",
        f"losses: {runs[0].prediction.method}",
    ]
    if options.figure is not None:
        remarks.append(f"figure: {options.figure}")
    if options.table is not None:
        remarks.append(f"all steps: {options.table}")
    return Report(title, runs, tuple(dict.fromkeys(options.levels)), options.steps, tuple(remarks))


def _draw(runs: tuple[Run, ...], path: Path) -> None:
    from elutheory.dynamics.figure import figure_of  # noqa: PLC0415  (matplotlib, only where a figure is drawn)
    from elutheory.output.figures import write_figure  # noqa: PLC0415

    write_figure(figure_of(runs), path)


def _csv(runs: tuple[Run, ...]) -> str:
    parts = []
    for one in runs:
        part = one.prediction.table.copy()
        part.insert(0, "activation", one.name)
        parts.append(part)
    return csv_of(pandas.concat(parts))
