"""Classifiers before and after training: spectra of their Fisher matrices, and descents about the step-size limit."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
import torch
from torch import Tensor

from analyses.data import datasets
from analyses.experiments.fisher_spectrum.full_fisher import (
    centred,
    eigenvalues_of,
    eigenvalues_of_rows,
    fisher_gram,
    flat,
    has_batch_statistics,
    linear_names,
    score_rows,
    unit_eigenvalues,
    wide_tangent_kernel,
)
from analyses.experiments.fisher_spectrum.settings import (
    BATCH_NORM,
    CENTRING,
    COLUMNS,
    FACTORS,
    LINEARISED,
    METHODS,
    NEAR,
    NETWORK,
    NONE,
    RANKS,
    SETTING,
    SMALL,
    STEPS,
    Config,
)
from analyses.experiments.fisher_spectrum.step_size_limit import descend, function_of, linearised_model, network_model
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.training import Training, fabric_on, train
from analyses.networks.training_cost import classifier_shape, fisher_cost, parameters, training_cost
from elutheory.errors import InputError
from elutheory.fisher import unit_fisher
from elutheory.fisher.unit_fisher_matrix import RANK_THRESHOLD
from elutheory.gram import fisher_top_eigenvalue
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains

_FIRST_SEED = 1000  # smaller ones were used while sizes were chosen


@dataclass(frozen=True)
class Cell:
    """Networks of one activation."""

    activation: str
    seeds: tuple[int, ...]


def cells(config: Config) -> list[Cell]:
    """Activations and groups of seeds. Raises InputError where nothing would be measured."""
    check_domains(config)
    check_activations(config.activations, config.negative_slope)
    end = _FIRST_SEED + config.seeds
    groups = [
        tuple(range(start, min(start + config.seeds_at_once, end)))
        for start in range(_FIRST_SEED, end, config.seeds_at_once)
    ]
    return [Cell(name, seeds) for name in config.activations for seeds in groups]


def cost(config: Config) -> Cost:
    """Of training, and of ten spectra a network: matrices of examples × classes, and of every unit."""
    examples, sizes = classifier_shape(config.data, 0, [config.units] * config.layers)
    at_once = min(config.seeds, config.seeds_at_once)
    trained = training_cost(
        sizes, networks=at_once, examples=examples, epochs=config.epochs, batch_size=config.batch_size, itemsize=8
    )
    outputs = float(config.examples * sizes[-1])
    spectrum = Cost(25 * outputs**3 + 4 * outputs**2 * sum(sizes), 20, 8 * outputs * (6 * outputs + parameters(sizes)))
    descent = Cost(600.0 * parameters(sizes) * config.examples, 400)
    each = spectrum * 10 + fisher_cost(sizes[1:], config.examples) * 6 + descent * 4
    return (trained * (2 * config.seeds / at_once) + each * config.seeds) * len(config.activations)


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row a Fisher matrix or a descent; COLUMNS says what it holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one activation and some seeds; no numbers for a network that diverged in training."""
    function = named_activation(cell.activation, config.negative_slope)
    data = datasets.load(config.data).standardised().flattened()
    if config.examples > len(data.train):
        raise InputError(f"examples is {config.examples}; {data.name} has {len(data.train)} for training.")
    widths = (config.units,) * config.layers
    sizes = (*data.shape, *widths, data.classes)
    fabric = fabric_on(device, "64-true")
    training = Training(config.epochs, cell.seeds, (config.learning_rate,), config.batch_size, evaluated=())
    after = {
        method: train(
            lambda batch_norm=method == BATCH_NORM: fully_connected(sizes, function, batch_norm=batch_norm),
            data,
            training,
            fabric=fabric,
        ).networks
        for method in (NONE, BATCH_NORM)
    }
    inputs = data.train.inputs[: config.examples].double()
    kernel = wide_tangent_kernel(function, inputs.numpy(), widths)
    inputs = inputs.to(fabric.device)
    labels = torch.nn.functional.one_hot(data.train.targets[: config.examples], data.classes).to(inputs)
    rows: list[dict[str, Any]] = []
    for place, seed in enumerate(cell.seeds):
        before: dict[str, Any] = {
            method: initialise(
                fully_connected(sizes, function, batch_norm=method == BATCH_NORM, dtype=torch.float64), seed
            ).to(fabric.device)
            for method in after
        }
        for epoch in (0, config.epochs):
            networks: dict[str, Any] = {
                method: before[method] if epoch == 0 else after[method].network(place) for method in after
            }
            networks[CENTRING] = centred(networks[NONE], inputs)
            for method in METHODS:
                found = {"seed": seed, "epoch": epoch, "method": method, "part": "spectrum"}
                rows.append({**found, **categorical_numbers(networks[method], inputs)})
        found = {"seed": seed, "epoch": 0, "method": NONE}
        rows += [{**found, **numbers} for numbers in gaussian_numbers(before[NONE], inputs, labels, kernel)]
    setting = {name: getattr(config, name) for name in SETTING} | {"data": data.name}
    return pandas.DataFrame(rows).assign(activation=cell.activation, **setting).reindex(columns=[*COLUMNS, *SETTING])


def categorical_numbers(network: Any, inputs: Tensor) -> dict[str, Any]:
    """Those of a spectrum's COLUMNS; of a network that diverged only the likelihood."""
    likelihood = "categorical"
    if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
        return {"likelihood": likelihood}
    above_first = linear_names(network)[1:-1]
    if has_batch_statistics(network):
        rows = score_rows(network, inputs, likelihood)
        spectrum = eigenvalues_of_rows(flat(rows), len(inputs))
        units = [unit_eigenvalues(rows[f"{name}.weight"], rows[f"{name}.bias"]) for name in above_first]
    else:
        spectrum = eigenvalues_of(fisher_gram(network, inputs, likelihood))
        units = [unit_fisher(network, inputs, name, "exact", likelihood).eigenvalues for name in above_first]
    classes = network[-1].out_features
    shares = [(values[:, -1] / values.sum(1)).nanmedian().item() for values in units]
    return {"likelihood": likelihood, **spectrum_numbers(spectrum, classes), "unit_top_share": float(np.mean(shares))}


def spectrum_numbers(eigenvalues: Tensor, classes: int) -> dict[str, float]:
    """Of all eigenvalues, descending."""
    values = eigenvalues.cpu().numpy()
    nonzero = values[values > RANK_THRESHOLD * values[0]]
    numbers = {
        "top": values[0],
        "trace": values.sum(),
        "top_share": values[0] / values.sum(),
        "outlier_share": values[: classes - 1].sum() / values.sum(),
        "second": values[1],
        "bulk": values[classes - 1],
        "rank": len(nonzero),
        "condition": values[0] / np.median(nonzero),
    }
    return numbers | {f"eigenvalue_{rank}": values[rank - 1] for rank in RANKS if rank <= len(values)}


def gaussian_numbers(network: Any, inputs: Tensor, labels: Tensor, kernel: Any) -> list[dict[str, Any]]:
    """Of the initial network: its Gaussian Fisher matrix with P5, and the descents."""
    examples, classes = labels.shape
    gram = fisher_gram(network, inputs, "gaussian")
    eigenvalues, vectors = torch.linalg.eigh(gram)
    blocks = gram.view(classes, examples, classes, examples)
    measured = [fisher_top_eigenvalue(examples * blocks[output, :, output]) for output in range(classes)]
    predicted = fisher_top_eigenvalue(kernel)
    spectrum = {
        "part": "spectrum",
        "likelihood": "gaussian",
        **spectrum_numbers(eigenvalues.flip(0).clamp(min=0), classes),
        "one_output_top": float(np.mean([output.exact for output in measured])),
        "one_output_share": float(np.mean([output.trace_share for output in measured])),
        "kernel_top": predicted.exact,
        "kernel_share": predicted.trace_share,
        "formula_top": predicted.estimate,
        "formula_share": predicted.estimated_share,
    }
    function, start = function_of(network, inputs)
    outputs = function(start).detach()
    whole = network_model(function)
    models = {
        LINEARISED: (linearised_model(function, start), labels),
        NEAR: (whole, outputs + SMALL * (labels - outputs)),
        NETWORK: (whole, labels),
    }
    direction = vectors[:, -1].view(classes, examples).mT
    rows: list[dict[str, Any]] = [spectrum]
    for name, (model, targets) in models.items():
        for factor in FACTORS:
            rate = factor * 2 / eigenvalues[-1].item()
            descent = descend(model, start, targets, rate, STEPS[-1], direction)
            end = np.nan
            if name != LINEARISED and bool(descent.losses[-1].isfinite()):
                moved = copy.deepcopy(network)
                moved.load_state_dict(descent.parameters)
                end = rate / 2 * eigenvalues_of(fisher_gram(moved, inputs, "gaussian"))[0].item()
            row = {"part": "descent", "likelihood": "gaussian", "model": name, "factor": factor, "end_factor": end}
            row |= {f"loss_{step}": descent.losses[step].item() for step in STEPS}
            rows.append(row | {f"along_{step}": descent.along[step].item() for step in STEPS})
    return rows
