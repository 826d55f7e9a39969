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

import torch
import tyro
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from elutheory.diagnosis.model_diagnosis import diagnose
from elutheory.diagnosis.results import Diagnosis
from elutheory.errors import InputError
from elutheory.fisher.likelihoods import Gaussian, Likelihood
from elutheory.models.data import BATCH_SIZE, load_digits, read_batch
from elutheory.output.command_line import VERIFIED, parse_options, run, write_or_print
from elutheory.output.csv_text import csv_of
from elutheory.output.domains import OneOfWithNumber, Real, Several, Whole
from elutheory.output.files import check_output_files, write_whole

LIKELIHOODS = OneOfWithNumber("categorical", "bernoulli", "gaussian", number=Real(above=0))


@dataclass(frozen=True)
class Options:
    """Bias shift, its correction and the unit Fisher matrices of every layer of a torch model."""

    factory: Annotated[str, tyro.conf.Positional]
    """package.module:factory, a function without arguments that returns the model, or a model itself; modules in the
    current folder are found too. Importing it runs its code. The model is put into evaluation mode."""
    data: str
    """digits (scikit-learn's, 1797 × 64), or a .npz, .safetensors or .parquet file with the array inputs and,
    optionally, targets, or with arrays called as the model's arguments are: input_ids, attention_mask, labels, … Inputs
    that are real numbers are converted to the model's dtype."""
    checkpoint: Path | None = None
    """The model's weights, a .safetensors file as safetensors.torch.save_file(model.state_dict(), …) writes it."""
    layers: Annotated[tuple[str, ...], Several(None)] | None = None
    """Names of layers; None: every layer that runs."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps, …; None: where the factory puts the model."""
    batch_size: Annotated[int, Whole(1, 10**6)] | None = None
    """Examples at a time at most; None: as many as fit into a bounded memory."""
    likelihood: Annotated[str, LIKELIHOODS] = "categorical"
    """p(y | outputs); gaussian has variance 1, gaussian:0.5 variance 0.5."""
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
    json: Path | None = None
    """Write the diagnosis to this file, which Diagnosis.load reads."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 2 bad input."""
    return run(_command, arguments)


def _command(arguments: Sequence[str] | None) -> int:
    options = parse_options(Options, "elutheory diagnosis", arguments)
    check_output_files(html=options.html, figure=options.figure, csv=options.csv, json=options.json)
    diagnosis = _diagnose(options)
    if options.html is not None:
        write_whole(options.html, diagnosis.to_html())
    if options.figure is not None:
        _draw(diagnosis, options.figure)
    if options.csv is not None:
        write_whole(options.csv, csv_of(diagnosis.table))
    if options.json is not None:
        diagnosis.save(options.json)
    write_or_print(diagnosis.to_text(), None)
    return VERIFIED


def _draw(diagnosis: Diagnosis, path: Path) -> None:
    from elutheory.output.figures import write_figure  # noqa: PLC0415  (matplotlib, only where a figure is drawn)

    write_figure(diagnosis.plot(), path)


def _diagnose(options: Options) -> Diagnosis:
    model = load_model(options.factory)
    if options.checkpoint is not None:
        load_weights(model, options.checkpoint)
    if options.device is not None:
        model = _moved(model, options.device)
    inputs, targets = load_digits() if options.data == "digits" else read_batch(Path(options.data), model)
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())
    inputs = (
        {key: _as(dtype, value) for key, value in inputs.items()} if isinstance(inputs, dict) else _as(dtype, inputs)
    )
    likelihood = _likelihood(options.likelihood)
    if isinstance(likelihood, Gaussian) and targets is not None:
        targets = targets.to(dtype)
    model.eval()
    try:
        return diagnose(
            model,
            inputs,
            likelihood,
            targets=targets,
            layers=options.layers,
            batch_size=BATCH_SIZE if options.batch_size is None else options.batch_size,
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
        raise InputError(f"the model fails on its inputs: {_one_line(error)}.") from error


def _as(dtype: torch.dtype, values: Tensor) -> Tensor:
    return values.to(dtype) if values.is_floating_point() else values


def _likelihood(text: str) -> Likelihood | str:
    word, number = LIKELIHOODS.parts(text)
    return word if number is None else Gaussian(number)


def _moved(model: nn.Module, device: str) -> nn.Module:
    try:
        return model.to(torch.device(device))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"the model cannot be moved to device {device!r}: {_one_line(error)}.") from error


def load_weights(model: nn.Module, path: Path) -> None:
    """Loads a model's weights from a .safetensors file, all of them and no others.

    Raises InputError for a file that is missing or of another kind, and for weights of other names or shapes.
    """
    if path.suffix.lower() != ".safetensors":
        raise InputError(f"--checkpoint {path} is no .safetensors file; no other kind is read, as they can run code.")
    if not path.is_file():
        raise InputError(f"there is no file {path}; name a .safetensors file.")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read as .safetensors: {_one_line(error)}.") from error
    own = model.state_dict()
    shared = _tied(model)
    for name in shared:
        if name not in weights and shared[name] in weights:
            weights[name] = weights[shared[name]]
    for kind, names in (("lacks", own.keys() - weights.keys()), ("has the further", weights.keys() - own.keys())):
        if names:
            first, *others = sorted(names)
            more = f" and {len(others)} more" if others else ""
            raise InputError(f"{path} {kind} {first!r}{more}; the weights of this very model are needed.")
    for name, value in own.items():
        if weights[name].shape != value.shape:
            raise InputError(
                f"{name!r} has shape {tuple(weights[name].shape)} in {path} and {tuple(value.shape)} in the model."
            )
    model.load_state_dict(weights)


def _tied(model: nn.Module) -> dict[str, str]:
    """Names of tensors that a model has under several names, which .safetensors files hold once: each other's."""
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    found = {}
    for same in names.values():
        for name in same:
            others = [other for other in same if other != name]
            if others:
                found[name] = others[0]
    return found


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


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
