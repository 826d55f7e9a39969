"""Spectrum of the Fisher matrix of all parameters: what ELU, centring and batch normalisation do to it, and P5.

Small classifiers, exact Fisher matrices of a categorical likelihood over N training inputs, before and after some
training; and of the blocks of single units. "Centring" is the same network with other parameters, whose incoming
activations are less their mean over these inputs (B4). Batch normalisation takes the statistics of these N inputs, and
the derivatives go through them. Before training, the Fisher matrix of a Gaussian likelihood, JᵀJ/N, too: P5 predicts
its largest eigenvalue λ, for one output, from the kernel of wide networks; and full-batch gradient descent on the
squared error has the step-size limit 2/λ. That limit is of the linearised network, and of the network near a minimum;
whether the network obeys it from its initial weights on is another question. Each is trained at 0.9 and 1.1 times it.
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
from matplotlib.figure import Figure
from torch import Tensor

from analyses.data import datasets
from analyses.framework.claims import Claim, Decision, decide
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from elutheory.errors import InputError
from elutheory.output.figures import label_of


@dataclass(frozen=True)
class Config:
    """Classifiers of `layers` hidden layers of `units`, trained by SGD on data standardised feature by feature."""

    data: str = "digits"
    """digits, the path of a data set, or huggingface:NAME."""
    activations: tuple[str, ...] = ("elu", "relu", "leaky_relu", "shifted_relu", "tanh")
    """Registry names; the claims compare elu with relu and leaky_relu."""
    negative_slope: float = 0.1
    """Of leaky_relu."""
    layers: int = 3
    """Hidden layers."""
    units: int = 64
    """Of each hidden layer."""
    examples: int = 128
    """N, the training inputs over which Fisher matrices are taken and gradient descent runs."""
    epochs: int = 5
    """Of training on all training examples, before and after which is measured."""
    learning_rate: float = 0.05
    """Of that training, the same for all."""
    batch_size: int = 64
    """Examples an update of that training."""
    seeds: int = 12
    """Sets of initial weights and batch orders."""
    seeds_at_once: int = 4
    """Of those, how many are one cell of the sweep."""


PRESETS = {
    "quick": Config(
        activations=("elu", "relu", "tanh"), layers=2, units=24, examples=40, epochs=2, seeds=2, seeds_at_once=2
    ),
    "paper": Config(),
}

NONE, CENTRING, BATCH_NORM = METHODS = ("none", "centring", "batch normalisation")
LINEARISED, NEAR, NETWORK = MODELS = ("linearised", "near a minimum", "network")
FACTORS = (0.9, 1.1)
RANKS = (1, 2, 3, 5, 7, 10, 14, 20, 30, 50, 70, 100, 140, 200, 300, 500, 700, 1000)
"""Of the eigenvalues that are kept, the largest having rank 1."""
STEPS = (0, 1, 2, 3, 4, 5, 7, 10, 14, 20, 30, 50, 70, 100)
"""After which the loss is kept."""
FIRST = 5
"""The first steps, over which growth along the top eigenvector is looked at."""
SMALL = 0.01
"""Residuals near a minimum, as a share of those of the labels."""
_FIRST_SEED = 1000  # smaller ones were used while sizes were chosen

COLUMNS = {
    "part": "spectrum: of one Fisher matrix; descent: one run of full-batch gradient descent on the squared error",
    "activation": "the networks' activation function, a registry name",
    "seed": "of the initial weights and of the order of the batches",
    "epoch": "of training before the measurement",
    "method": "none; centring: parameters for incoming activations less their mean; or batch normalisation",
    "likelihood": "of the Fisher matrix: categorical, or gaussian of variance 1 (squared error)",
    "top": "largest eigenvalue λ of the Fisher matrix of all parameters",
    "trace": "its trace",
    "top_share": "top/trace",
    "outlier_share": "share of the trace in the largest classes − 1 eigenvalues",
    "second": "second largest eigenvalue",
    "bulk": "eigenvalue of rank classes: the largest behind the first classes − 1",
    "rank": "eigenvalues above 1e-10 × top",
    "condition": "top over the median of those",
    "unit_top_share": "largest eigenvalue over trace of a unit's block: median over units, mean over the hidden layers "
    "above the first",
    "one_output_top": "gaussian: largest eigenvalue of the Fisher matrix of one output, mean over the outputs",
    "one_output_share": "the same over its trace",
    "kernel_top": "its prediction by the kernel of wide networks: the largest eigenvalue of Θ/N",
    "kernel_share": "the same over its trace",
    "formula_top": "its prediction κ2 + (κ1 − κ2)/N from that kernel's means on and off the diagonal (P5)",
    "formula_share": "the same over its trace",
    "model": "of a descent: linearised: at the initial weights; network; near a minimum: the network with targets that "
    f"differ from its initial outputs by {SMALL:g} of what the labels do",
    "factor": "step size over 2/λ, λ the largest eigenvalue of the gaussian Fisher matrix before the descent",
    "end_factor": "the same with λ after the descent; nan if it diverged, and for the linearised network",
    **{f"eigenvalue_{rank}": f"eigenvalue of rank {rank}; nan where there are fewer" for rank in RANKS},
    **{f"loss_{step}": f"squared error ½|f − y|², mean over the inputs, after {step} steps" for step in STEPS},
    **{f"along_{step}": "part of it along the top eigenvector of JJᵀ" for step in STEPS},
}
"""Columns of the table and what they hold; those of Config that describe the setting follow."""
_SETTING = ("data", "layers", "units", "examples", "epochs", "learning_rate", "batch_size", "seeds")

# --- claims ---------------------------------------------------------------------------------------------------------

_LEVEL = 0.05
TOLERANCE = 1.25
"""A predicted eigenvalue agrees with the measured one within this factor."""
STAGES = {"initial": "before training", "trained": "after training"}


def claims(activations: tuple[str, ...]) -> list[Claim]:
    """Of networks with these activations; fixed before measuring, but for "near a minimum": that the network leaves the
    region of its linearisation within a step from its initial weights was seen on another seed, and then added."""
    there = set(activations)
    found = []
    for stage, when in STAGES.items():
        if {"elu", "relu"} <= there:
            found += _comparisons(stage, when, there)
    for name in activations:
        compared = f"ln {TOLERANCE:g} − |deviation| of {label_of(name)}"
        for identifier, how in (("P5", "κ2 + (κ1 − κ2)/N (P5)"), ("kernel", "the largest eigenvalue of the kernel")):
            found.append(
                Claim(
                    f"{identifier}: {name}",
                    f"{label_of(name)}: {how} predicts the largest eigenvalue of one output's Fisher matrix within a "
                    f"factor {TOLERANCE:g}.",
                    compared,
                    "deviation: ln of predicted over measured, gaussian, before training, mean over outputs",
                    "greater",
                    _LEVEL,
                )
            )
    return found + _limits(activations)


def _comparisons(stage: str, when: str, there: set[str]) -> list[Claim]:
    def claim(identifier: str, sentence: str, compared: str, statistic: str) -> Claim:
        return Claim(f"{identifier}: {stage}", f"{sentence} {when}.", compared, f"{statistic}, {when}", "less", _LEVEL)

    share, top = "ln of the top eigenvalue's share of the trace", "ln of the top eigenvalue"
    unit = "ln of the top eigenvalue's share in a unit's block, median over units"
    found = []
    for rival in ("relu", "leaky_relu"):
        if rival in there:
            name = label_of(rival)
            sides = f"ELU − {name}"
            found += [
                claim(f"top share: elu vs {rival}", f"The top eigenvalue's share is smaller for ELU than for {name}",
                      sides, share),
                claim(f"top eigenvalue: elu vs {rival}", f"The top eigenvalue is smaller for ELU than for {name}",
                      sides, top),
                claim(f"unit share: elu vs {rival}", f"The top eigenvalue's share in a unit's block is smaller for ELU "
                      f"than for {name}", sides, unit),
            ]  # fmt: skip
    for method in METHODS[1:]:
        for name in ("relu", "elu"):
            found.append(
                claim(f"{method} lowers {name}", f"{method.capitalize()} lowers the top eigenvalue's share of "
                      f"{label_of(name)}", f"{label_of(name)} with {method} − without", share)
            )  # fmt: skip
        found.append(
            claim(f"{method} helps relu more than elu", f"{method.capitalize()} lowers the share more for ReLU than "
                  "for ELU", "ReLU − ELU, of the difference with − without", share)
        )  # fmt: skip
    return found


def _limits(activations: tuple[str, ...]) -> list[Claim]:
    first = f"ln of the loss along the top eigenvector after {FIRST} steps over that before"
    last = f"ln of the loss after {STEPS[-1]} steps over that before"

    def claim(identifier: str, sentence: str, which: str, statistic: str, alternative: Any) -> Claim:
        return Claim(identifier, sentence, f"{which} − 0", statistic, alternative, _LEVEL)

    largest, smallest = "the activation with the largest", "the activation with the smallest"
    return [
        claim("limit 0.9: linearised", "The linearised network converges at 0.9 times 2/λ.", largest, last, "less"),
        claim("limit 1.1: linearised", "The linearised network diverges at 1.1 times 2/λ.", smallest, last, "greater"),
        claim("limit 0.9: near a minimum", "A network near a minimum approaches it at 0.9 times 2/λ.", largest, first,
              "less"),
        claim("limit 1.1: near a minimum", "A network near a minimum leaves it at 1.1 times 2/λ.", smallest, first,
              "greater"),
        claim("limit 0.9: network", "From its initial weights on a network learns at 0.9 times 2/λ.", largest, last,
              "less"),
        claim("limit 1.1: network", "From its initial weights on a network's loss grows along the top eigenvector at "
              "1.1 times 2/λ.", smallest, first, "greater"),
        *(
            claim(f"limit 1.1: network: {name}", f"From its initial weights on a network with {label_of(name)} "
                  "diverges at 1.1 times 2/λ.", label_of(name), last, "greater")
            for name in activations
        ),
    ]  # fmt: skip


# --- measuring ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """Networks of one activation."""

    activation: str
    seeds: tuple[int, ...]


def cells(config: Config) -> list[Cell]:
    """Activations and groups of seeds. Raises InputError where nothing would be measured."""
    for name in ("units", "epochs", "batch_size", "seeds", "seeds_at_once"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}; give 1 or more.")
    if config.layers < 2:
        raise InputError(f"layers is {config.layers}; units above the first hidden layer need 2 or more.")
    if config.examples < 2 or config.learning_rate <= 0:
        raise InputError("examples are 2 or more, the learning rate is positive.")
    check_activations(config.activations, config.negative_slope)
    end = _FIRST_SEED + config.seeds
    groups = [
        tuple(range(start, min(start + config.seeds_at_once, end)))
        for start in range(_FIRST_SEED, end, config.seeds_at_once)
    ]
    return [Cell(name, seeds) for name in config.activations for seeds in groups]


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row a Fisher matrix or a descent; COLUMNS says what it holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one activation and some seeds; no numbers for a network that diverged in training."""
    import torch

    from analyses.experiments.full_fisher import centred, wide_tangent_kernel
    from analyses.networks.architectures import fully_connected, initialise
    from analyses.networks.training import Training, fabric_on, train  # Lightning takes seconds to import

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
    setting = {name: getattr(config, name) for name in _SETTING} | {"data": data.name}
    return pandas.DataFrame(rows).assign(activation=cell.activation, **setting).reindex(columns=[*COLUMNS, *_SETTING])


def categorical_numbers(network: Any, inputs: Tensor) -> dict[str, Any]:
    """Those of a spectrum's COLUMNS; of a network that diverged only the likelihood."""
    from analyses.experiments.full_fisher import (
        eigenvalues_of,
        eigenvalues_of_rows,
        fisher_gram,
        flat,
        has_batch_statistics,
        linear_names,
        score_rows,
        unit_eigenvalues,
    )
    from elutheory.fisher import unit_fisher

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
    from elutheory.fisher.unit_fisher_matrix import RANK_THRESHOLD

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
    import torch

    from analyses.experiments import step_size_limit
    from analyses.experiments.full_fisher import eigenvalues_of, fisher_gram
    from elutheory.gram import fisher_top_eigenvalue

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
    function, start = step_size_limit.function_of(network, inputs)
    outputs = function(start).detach()
    whole = step_size_limit.network_model(function)
    models = {
        LINEARISED: (step_size_limit.linearised_model(function, start), labels),
        NEAR: (whole, outputs + SMALL * (labels - outputs)),
        NETWORK: (whole, labels),
    }
    direction = vectors[:, -1].view(classes, examples).mT
    rows: list[dict[str, Any]] = [spectrum]
    for name, (model, targets) in models.items():
        for factor in FACTORS:
            rate = factor * 2 / eigenvalues[-1].item()
            descent = step_size_limit.descend(model, start, targets, rate, STEPS[-1], direction)
            end = np.nan
            if name != LINEARISED and bool(descent.losses[-1].isfinite()):
                moved = copy.deepcopy(network)
                moved.load_state_dict(descent.parameters)
                end = rate / 2 * eigenvalues_of(fisher_gram(moved, inputs, "gaussian"))[0].item()
            row = {"part": "descent", "likelihood": "gaussian", "model": name, "factor": factor, "end_factor": end}
            row |= {f"loss_{step}": descent.losses[step].item() for step in STEPS}
            rows.append(row | {f"along_{step}": descent.along[step].item() for step in STEPS})
    return rows


# --- verdicts -------------------------------------------------------------------------------------------------------


def decisions(table: Any) -> list[Decision]:
    """The verdicts of the claims that are about activations that were run."""
    about = claims(tuple(table["activation"].unique()))
    differences = {
        **_compared(table),
        **_predicted(table),
        **_descended(table),
    }
    return decide(about, differences)


def _compared(table: Any) -> dict[str, Any]:
    """By identifier one difference a seed. A network that diverged has inf, the worst; two of them differ by 0."""
    spectra = of_likelihood(table, "categorical")
    stage = np.where(spectra["epoch"] > 0, "trained", "initial")
    keys = [pandas.Series(stage, index=spectra.index, name="stage"), spectra["activation"], spectra["method"]]

    def logarithms(column: str) -> Any:
        values = np.log(spectra[column]).fillna(np.inf)
        return values.groupby([spectra["seed"], *keys]).first().unstack([1, 2, 3])

    share, top, unit = (logarithms(column) for column in ("top_share", "top", "unit_top_share"))
    there = set(spectra["activation"])
    found = {}
    for when in STAGES:
        for rival in {"relu", "leaky_relu"} & there if {"elu", "relu"} <= there else set():
            for name, values in (("top share", share), ("top eigenvalue", top), ("unit share", unit)):
                difference = _minus(values[when, "elu", NONE], values[when, rival, NONE])
                found[f"{name}: elu vs {rival}: {when}"] = difference
        for method in METHODS[1:] if {"elu", "relu"} <= there else ():
            effect = {name: _minus(share[when, name, method], share[when, name, NONE]) for name in ("relu", "elu")}
            found |= {f"{method} lowers {name}: {when}": difference for name, difference in effect.items()}
            found[f"{method} helps relu more than elu: {when}"] = _minus(effect["relu"], effect["elu"])
    return found


def _minus(first: Any, second: Any) -> Any:
    left, right = np.asarray(first, float), np.asarray(second, float)
    with np.errstate(invalid="ignore"):
        return np.where((left == right) & np.isinf(left), 0.0, left - right)


def _predicted(table: Any) -> dict[str, Any]:
    found = {}
    for name, spectra in of_likelihood(table, "gaussian").groupby("activation", sort=False):
        for identifier, column in (("P5", "formula_top"), ("kernel", "kernel_top")):
            deviation = np.log(spectra[column] / spectra["one_output_top"]).abs()
            found[f"{identifier}: {name}"] = np.log(TOLERANCE) - deviation.to_numpy()
    return found


def growth(table: Any) -> Any:
    """The descents with `first`, ln growth along the top eigenvector in FIRST steps, and `last`, of the loss in all."""
    descents = table[table["part"] == "descent"]
    return descents.assign(
        first=np.log(descents[f"along_{FIRST}"] / descents["along_0"]),
        last=np.log(descents[f"loss_{STEPS[-1]}"] / descents["loss_0"]),
    )


def _descended(table: Any) -> dict[str, Any]:
    found = {}
    for (model, factor), runs in growth(table).groupby(["model", "factor"]):
        by_seed = runs.groupby("seed")
        column = "last" if model == LINEARISED or (model, factor) == (NETWORK, min(FACTORS)) else "first"
        worst = by_seed[column].max() if factor < 1 else by_seed[column].min()
        found[f"limit {factor:g}: {model}"] = worst.to_numpy()
        if model == NETWORK and factor > 1:
            for name, own in runs.groupby("activation"):
                found[f"limit {factor:g}: {model}: {name}"] = own.sort_values("seed")["last"].to_numpy()
    return found


def of_likelihood(table: Any, likelihood: str) -> Any:
    """The spectra of Fisher matrices of this likelihood."""
    return table[(table["part"] == "spectrum") & (table["likelihood"] == likelihood)]


# --- reports --------------------------------------------------------------------------------------------------------


def summary(table: Any) -> str:
    """Spectra, predictions, what became of the descents, and the verdicts."""
    spectra = of_likelihood(table, "categorical")
    columns = ["top", "top_share", "outlier_share", "second", "bulk", "condition", "rank", "unit_top_share"]
    means = spectra.groupby(["epoch", "activation", "method"], sort=False)[columns].mean()
    gaussian = of_likelihood(table, "gaussian").groupby("activation", sort=False)
    predictions = ["one_output_top", "kernel_top", "formula_top", "one_output_share", "kernel_share", "formula_share"]
    lines = [setting(table), "", "categorical likelihood, means over seeds", means.to_string(float_format="%.3g"), ""]
    lines += ["gaussian likelihood, one output, before training: measured and predicted"]
    lines += [gaussian[predictions].mean().to_string(float_format="%.3g"), "", "gradient descent: runs", ""]
    lines += [fates(table).to_string(float_format="%.3g"), ""]
    lost = spectra[spectra["top"].isna()].groupby(["activation", "method"]).size()
    lines += [f"{label_of(name)}, {method}: {count} diverged in training" for (name, method), count in lost.items()]
    return "\n".join([*lines, *map(str, decisions(table))])


def fates(table: Any) -> Any:
    """Of the descents by model, factor and activation: how many grew, ended above the start, were lost to infinity."""
    runs = growth(table)
    runs = runs.assign(grew=runs["first"] > 0, above=runs["last"] > 0, lost=np.isinf(runs[f"loss_{STEPS[-1]}"]), runs=1)
    return runs.groupby(["model", "factor", "activation"], sort=False).agg(
        runs=("runs", "sum"),
        grew_at_first=("grew", "sum"),
        ended_above_start=("above", "sum"),
        not_finite=("lost", "sum"),
        median_end_factor=("end_factor", "median"),
    )


def setting(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    return (
        f"{row['data']}; {row['layers']} hidden layers × {row['units']}; Fisher matrices over {row['examples']} "
        f"inputs;\n{row['epochs']} epochs of SGD, learning rate {row['learning_rate']:g}, batches of "
        f"{row['batch_size']}; {table['seed'].nunique()} seeds"
    )


def draw(table: Any) -> Figure:
    """See `analyses.experiments.fisher_spectrum_figure`."""
    from analyses.experiments.fisher_spectrum_figure import draw_spectra

    return draw_spectra(table)
