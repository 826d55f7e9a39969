"""The diagnosis of your own model, from the command line.

Run as `python -m elutheory.diagnosis package.module:factory --data digits`.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from torch import Tensor, nn

from elutheory.diagnosis.model_diagnosis import diagnose
from elutheory.diagnosis.results import Diagnosis
from elutheory.errors import InputError
from elutheory.models.data import load_digits, read_data
from elutheory.output.command_line import VERIFIED, parse_options, run, write_or_print
from elutheory.output.csv_text import csv_of
from elutheory.output.domains import Real, Whole
from elutheory.output.files import check_output_files, write_whole


@dataclass(frozen=True)
class Options:
    """Bias shift, its correction and the unit Fisher matrices of every layer of a torch model."""

    factory: Annotated[str, tyro.conf.Positional]
    """package.module:factory, a function without arguments that returns the model, or a model itself; modules in the
    current folder are found too. Importing it runs its code. The model is put into evaluation mode."""
    data: str
    """digits (scikit-learn's, 1797 × 64), or a .npz or .safetensors file with the array inputs and, optionally,
    targets. Inputs that are real numbers are converted to the model's dtype."""
    likelihood: Literal["categorical", "bernoulli", "gaussian"] = "categorical"
    """p(y | outputs); gaussian has variance 1."""
    kind: Literal["exact", "monte_carlo", "empirical"] | None = None
    """Kind of Fisher matrix; None: exact where an estimate of the cost allows it, else monte_carlo."""
    units: Annotated[int, Whole(1, 10**6)] = 16
    """Units per layer that the Fisher matrices are of, drawn at random among the live ones."""
    fisher_examples: Annotated[int, Whole(1, 10**8)] = 512
    """Examples that they are of."""
    max_examples: Annotated[int, Whole(1, 10**9)] | None = None
    """Use so many examples at most, drawn at random."""
    damping: Annotated[float, Real(0.0)] = 1e-2
    """Relative to the mean diagonal of each matrix."""
    seed: Annotated[int, Whole(0, 2**63 - 1)] = 0
    """Of everything that is drawn."""
    html: Path | None = None
    """Write a self-contained page with figure and tables to this file."""
    figure: Path | None = None
    """Draw the layers to this file (.svg, .pdf or .png)."""
    csv: Path | None = None
    """Write the table to this file."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 2 bad input."""
    return run(_command, arguments)


def _command(arguments: Sequence[str] | None) -> int:
    options = parse_options(Options, "elutheory diagnosis", arguments)
    check_output_files(html=options.html, figure=options.figure, csv=options.csv)
    diagnosis = _diagnose(options)
    if options.html is not None:
        write_whole(options.html, diagnosis.to_html())
    if options.figure is not None:
        _draw(diagnosis, options.figure)
    if options.csv is not None:
        write_whole(options.csv, csv_of(diagnosis.table))
    write_or_print(diagnosis.to_text(), None)
    return VERIFIED


def _draw(diagnosis: Diagnosis, path: Path) -> None:
    from elutheory.output.figures import write_figure  # noqa: PLC0415  (matplotlib, only where a figure is drawn)

    write_figure(diagnosis.plot(), path)


def _diagnose(options: Options) -> Diagnosis:
    model = load_model(options.factory)
    inputs, targets = _data(options.data)
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), inputs.dtype)
    if inputs.is_floating_point():
        inputs = inputs.to(dtype)
    if options.likelihood == "gaussian" and targets is not None:
        targets = targets.to(dtype)
    model.eval()
    try:
        return diagnose(
            model,
            inputs,
            options.likelihood,
            targets=targets,
            kind=options.kind,
            units=options.units,
            fisher_examples=options.fisher_examples,
            max_examples=options.max_examples,
            damping=options.damping,
            seed=options.seed,
        )
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # whatever other people's code does
        shape = tuple(inputs.shape[1:])
        raise InputError(f"the model fails on inputs of shape {shape}, {inputs.dtype}: {_one_line(error)}.") from error


def load_model(name: str) -> nn.Module:
    """The model that `package.module:factory` returns, or is. Raises InputError with the reason if there is none."""
    module_name, colon, attribute = name.partition(":")
    if not (colon and module_name and attribute):
        raise InputError(f"{name!r} names no factory; write package.module:factory.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(f"there is no module {error.name!r}, needed to import {module_name!r}.") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"importing {module_name!r} fails: {_one_line(error)}.") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise InputError(f"module {module_name!r} has no {attribute!r}; name a function that returns the model.")
        found = getattr(found, part)
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise InputError(f"{name} is a {type(found).__name__}; a function that returns the model is needed.")
    try:
        model = found()
    except (Exception, SystemExit) as error:
        raise InputError(f"{name}() fails: {_one_line(error)}.") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"{name}() returns a {type(model).__name__}; a torch.nn.Module is needed.")
    return model


def _data(name: str) -> tuple[Tensor, Tensor | None]:
    return load_digits() if name == "digits" else read_data(Path(name))


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
