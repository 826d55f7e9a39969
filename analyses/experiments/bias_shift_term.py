"""Is the bias-shift term of the unit natural gradient proportional to the mean of the incoming activations?

The abstract of arXiv 1511.07289 says that the unit natural gradient differs from the gradient by such a term. Hidden
units of networks at initialisation and after some training, each with its exact Fisher matrix; then the incoming
activations are translated so that their mean E_q[a] is t times what it is and nothing else changes
(`analyses.experiments.translated_units`): t = 1 is the network as it is, t = 0 the centred one. The term is the unit
natural
gradient less the block-diagonal gradient (A⁻¹g, g0/c), by direct solves; "the bias-shift term" can be its effect on the
mean net input (Theorem 2), its parts, or what the two theorems take from g and E_p[a]: each is measured. Proportional
is what has the exponent d ln|term|/d ln t = 1.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas
import torch
from matplotlib.figure import Figure

from analyses.data import datasets
from analyses.experiments.bias_shift_exponents import SMALL, TOLERANCE, across_layers, measure_network
from analyses.experiments.bias_shift_term_figure import bias_shift_term_figure
from analyses.experiments.translated_units import PARTS
from analyses.framework.claims import Claim, Decision, decide
from analyses.framework.settings import named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.training import Training, fabric_on, train
from elutheory.errors import InputError
from elutheory.output.figures import label_of


@dataclass(frozen=True)
class Config:
    """Networks of `layers` hidden layers of `units`, trained by plain SGD on data standardised feature by feature."""

    data: str = "digits"
    """digits, the path of a data set, or huggingface:NAME."""
    activations: tuple[str, ...] = ("elu", "relu", "leaky_relu", "shifted_relu", "tanh")
    """Registry names."""
    negative_slope: float = 0.1
    """Of leaky_relu."""
    layers: int = 4
    """Hidden layers; the first, whose incoming activations are the data, is not measured."""
    units: int = 64
    """Of each hidden layer."""
    epochs: int = 10
    """Of training, before and after which is measured."""
    learning_rate: float = 0.05
    """The same for all."""
    batch_size: int = 64
    """Examples an update."""
    examples: int = 1000
    """Training examples over which Fisher matrices, gradients and means are taken."""
    dampings: tuple[float, ...] = (0.0, 1e-2)
    """Added to Var_q(a), as multiples of the unit's mean variance of the incoming activations; claims: 0."""
    seeds: int = 12
    """Sets of initial weights and batch orders."""


PRESETS = {"quick": Config(layers=3, units=24, epochs=3, examples=256, dampings=(0.0,)), "paper": Config()}

COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "seed": "of the initial weights and of the order of the batches",
    "epoch": "of training before the measurement",
    "layer": "hidden layer, the first being 1",
    "damping": "added to Var_q(a), as a multiple of its mean diagonal; 0: solved on the range of Var_q(a)",
    "t": "E_q of the incoming activations, as a multiple of what it is; medians below are over the layer's units",
    "mean_activation": "root mean square of E_q[a] over incoming units in the network as it is (t = 1); median",
    "mean_share": "|E_q a|²/E_q|a|² at t = 1; median",
    "strength": "1 + E_q[a]·Var_q(a)⁻¹E_q[a] (B1's s c) at t = 1; median",
    "length": "|term|/|unit natural gradient|, both in the metric F_t; median",
    "largest_length": "the same, largest of the units",
    "shift": "|term's change of the mean net input (Theorem 2)|, relative to the root mean square (E_q) change of the "
    "net input by the unit natural gradient; median",
    "cosine": "between gradient and unit natural gradient; median",
    **{f"exponent_{part}": f"d ln|term|/d ln t of the part {part}; median" for part in PARTS},
    **{f"near_{part}": f"share of units whose exponent is within 1 ± {TOLERANCE:g}" for part in PARTS},
    "predicted_exponent": "exponent_shift by the closed form",
    "deviation": "largest deviation of a direct solve from the closed forms of Theorems 1 and 2, as a share of "
    "what the condition number allows",
    "rank": "of Var_q(a) on which the unit is solved; median",
    "dead_units": "units of the layer without gradient at every example",
}
"""Columns of the table and what they hold; those of Config that describe the setting follow. Parts: see `PART_NAMES`"""
PART_NAMES = {
    "shift": "shift of the mean net input (Theorem 2)",
    "bias": "bias step, Δw0 − g0/c",
    "weights": "weight step, Δw − A⁻¹g",
    "gradient": "Δw0 b, taken from g (Theorem 1)",
    "incoming": "k E_q[a], taken from E_p[a] (Theorem 2)",
}
_SETTING = ("data", "layers", "units", "epochs", "learning_rate", "batch_size", "examples")

# --- claims ---------------------------------------------------------------------------------------------------------

_LEVEL = 0.05
_LEAST_LENGTH, _LEAST_COSINE, _SMALL_TOLERANCE = 0.1, 0.9, 0.01
ROUNDING = 1e-8
"""The term counts as none at a smaller share of the unit natural gradient: `deviation_bound` of F_0 (condition 1)."""
_WHERE = "mean over hidden layers above the first, before and after training"


def claims(activations: tuple[str, ...]) -> list[Claim]:
    """Of networks with these activations; fixed before measuring. Undamped; one number a seed."""

    def claim(identifier: str, sentence: str, compared: str, statistic: str, alternative: Any = "greater") -> Claim:
        return Claim(identifier, sentence, compared, statistic, alternative, _LEVEL)

    length = "length of the bias-shift term over the unit natural gradient's, metric F, median over units"
    differs = [
        claim(
            f"differs: {name}",
            f"{label_of(name)}: the unit natural gradient differs from the block-diagonal gradient by more than "
            f"{_LEAST_LENGTH:.0%} of its length.",
            f"{label_of(name)} − {_LEAST_LENGTH:g}",
            f"{length}; {_WHERE}",
        )
        for name in activations
    ]
    exact = [
        claim(
            "zero mean",
            "With zero mean the term vanishes, to rounding.",
            f"all activations − {ROUNDING:g}",
            "log10 of the term's length over the unit natural gradient's, t = 0, largest of all units",
            "less",
        ),
        claim(
            "identity",
            "The term is that of Theorems 1 and 2, to rounding.",
            "direct solve − closed form",
            "log10 of the largest deviation over what the condition number allows, of all units and t",
            "less",
        ),
    ]
    only = [
        claim(
            "only",
            "Without the term (zero mean) the gradient points along the unit natural gradient.",
            f"the activation with the smallest − {_LEAST_COSINE:g}",
            f"cosine of the two at t = 0, median over units; {_WHERE}",
        ),
        claim(
            "closer",
            "Zero mean brings the gradient closer to the unit natural gradient.",
            "t = 0 − t = 1, of the activation with the smallest difference",
            f"cosine of the two, median over units; {_WHERE}",
        ),
    ]
    slogan = [claim("elu below relu", "The term is smaller for ELU.", "ELU − ReLU", f"{length}; {_WHERE}", "less")]
    small = [
        claim(
            f"small: {part}",
            f"For small means the term is proportional to the mean: {PART_NAMES[part]}.",
            f"{_SMALL_TOLERANCE:g} − the largest of all activations",
            f"|exponent − 1| at {SMALL:g} of the mean, of the median over units; largest of the layers above the "
            "first, before and after training",
        )
        for part in PARTS
    ]
    share = f"share of units with exponent within 1 ± {TOLERANCE:g} at the mean as it is"
    as_it_is = [
        claim(
            f"as it is: shift: {name}",
            f"{label_of(name)}: at the mean as it is the term is proportional to it for most units: "
            f"{PART_NAMES['shift']}.",
            f"{label_of(name)} − 0.5",
            f"{share}; {_WHERE}",
        )
        for name in activations
    ]
    as_it_is += [
        claim(
            f"as it is: {part}",
            f"At the mean as it is the term is proportional to it for most units: {PART_NAMES[part]}.",
            "the activation with the smallest − 0.5",
            f"{share}; {_WHERE}",
        )
        for part in PARTS[1:]
    ]
    return differs + exact + only + slogan * ({"elu", "relu"} <= set(activations)) + small + as_it_is


# --- measuring ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """All networks of one activation."""

    activation: str


def cells(config: Config) -> list[Cell]:
    """One an activation. Raises InputError where nothing would be measured."""
    for name in ("units", "epochs", "batch_size", "seeds"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}; give 1 or more.")
    if config.layers < 2:
        raise InputError(f"layers is {config.layers}; units above the first hidden layer need 2 or more.")
    if config.examples < 2 or config.learning_rate <= 0:
        raise InputError("examples are 2 or more, the learning rate is positive.")
    for name in ("activations", "dampings"):
        given = getattr(config, name)
        if not given or len(set(given)) < len(given):
            raise InputError(f"{name} are {', '.join(map(str, given)) or 'none'}; give each once, and one at least.")
    if min(config.dampings) < 0 or 0.0 not in config.dampings:
        raise InputError("dampings are 0, about which the claims are, and positive numbers.")
    for name in config.activations:
        named_activation(name, config.negative_slope)
    return [Cell(name) for name in config.activations]


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row an activation, seed, epoch (before and after training), layer above the first, damping and t."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one activation; no numbers for a network that diverged."""
    function = named_activation(cell.activation, config.negative_slope)
    data = datasets.load(config.data).standardised().flattened()
    if config.examples > len(data.train):
        raise InputError(f"examples is {config.examples}; {data.name} has {len(data.train)} for training.")
    sizes = (*data.shape, *[config.units] * config.layers, data.classes)
    fabric = fabric_on(device, "64-true")
    training = Training(
        epochs=config.epochs,
        seeds=tuple(range(config.seeds)),
        learning_rates=(config.learning_rate,),
        batch_size=config.batch_size,
        evaluated=(),
    )
    trained = train(lambda: fully_connected(sizes, function), data, training, fabric=fabric)
    examples = datasets.Split(
        data.train.inputs[: config.examples].double().to(fabric.device),
        data.train.targets[: config.examples].to(fabric.device),
    )
    rows: list[dict[str, Any]] = []
    for place, seed in enumerate(training.seeds):
        blank = fully_connected(sizes, function, dtype=torch.float64)
        networks: dict[int, Any] = {
            0: initialise(blank, seed).to(fabric.device),
            config.epochs: trained.networks.network(place),
        }
        for epoch, network in networks.items():
            found = {"seed": seed, "epoch": epoch}
            rows += [{**found, **row} for row in measure_network(network, examples, config.dampings)]
    setting = {name: getattr(config, name) for name in _SETTING} | {"data": data.name}
    return pandas.DataFrame(rows).assign(**asdict(cell), **setting).reindex(columns=[*COLUMNS, *_SETTING])


# --- verdicts -------------------------------------------------------------------------------------------------------


def run_statistics(table: Any) -> Any:
    """One row an activation and seed with the numbers that the claims compare, undamped; NaN where a run diverged.

    `length`, `cosine` and the shares `near_PART` at t = 1 and `centred_cosine` at t = 0: means over layers, before and
    after training; `largest_length` at t = 0, `deviation` at all t and `off_PART` = |exponent − 1| at SMALL: largest.
    """
    keys = ["activation", "seed"]
    exact = table[table["damping"] == 0]

    def over(rows: Any, statistic: str) -> Any:
        return rows.groupby(keys, sort=False).agg(lambda values: getattr(values, statistic)(skipna=False))

    def at(t: float, columns: list[str]) -> Any:
        return exact.loc[exact["t"] == t, keys + columns]

    off = [f"exponent_{part}" for part in PARTS]
    small = at(SMALL, off)
    small[off] = (small[off] - 1).abs()
    columns = [
        over(at(1.0, ["length", "cosine", *[f"near_{part}" for part in PARTS]]), "mean"),
        over(at(0.0, ["cosine"]), "mean").rename(columns={"cosine": "centred_cosine"}),
        over(at(0.0, ["largest_length"]), "max"),
        over(exact[[*keys, "deviation"]], "max"),
        over(small, "max").rename(columns={f"exponent_{part}": f"off_{part}" for part in PARTS}),
    ]
    return pandas.concat(columns, axis=1).reset_index()


def decisions(table: Any) -> list[Decision]:
    """The verdicts of `claims` on the table's activations. A run that diverged or has a dead layer counts as worst."""
    stated = claims(tuple(table["activation"].unique()))
    differences = _differences(run_statistics(table), stated)
    worst = {claim.identifier: np.inf if claim.alternative == "less" else -np.inf for claim in stated}
    return decide(stated, {name: found.fillna(worst[name]).to_numpy() for name, found in differences.items()})


def _differences(runs: Any, stated: list[Claim]) -> dict[str, Any]:
    """By claim, one number a seed."""

    def by_seed(column: str) -> Any:
        return runs.pivot(index="seed", columns="activation", values=column)

    def of_all(values: Any, statistic: str) -> Any:
        return getattr(values, statistic)(axis=1, skipna=False)

    length, centred = by_seed("length"), by_seed("centred_cosine")
    with np.errstate(divide="ignore"):
        found = {
            "zero mean": np.log10(of_all(by_seed("largest_length"), "max") / ROUNDING),
            "identity": np.log10(of_all(by_seed("deviation"), "max")),
        }
    found["only"] = of_all(centred, "min") - _LEAST_COSINE
    found["closer"] = of_all(centred - by_seed("cosine"), "min")
    for name in length:
        found[f"differs: {name}"] = length[name] - _LEAST_LENGTH
        found[f"as it is: shift: {name}"] = by_seed("near_shift")[name] - 0.5
    for part in PARTS:
        found[f"small: {part}"] = _SMALL_TOLERANCE - of_all(by_seed(f"off_{part}"), "max")
        found[f"as it is: {part}"] = of_all(by_seed(f"near_{part}"), "min") - 0.5
    if {"elu", "relu"} <= set(length):
        found["elu below relu"] = length["elu"] - length["relu"]
    return {claim.identifier: found[claim.identifier] for claim in stated}


def summary(table: Any) -> str:
    """Sizes, exponents and shares by activation, how the term goes with the mean across layers, and the verdicts."""
    at_small, as_it_is = (table[table["t"] == t] for t in (SMALL, 1.0))
    keys = ["damping", "activation"]
    sizes = as_it_is.groupby(keys, sort=False)[["mean_activation", "mean_share", "strength", "length", "shift"]].mean()
    centred = table[table["t"] == 0].groupby(keys, sort=False)["cosine"].mean()
    cosines = pandas.DataFrame({"cosine": as_it_is.groupby(keys, sort=False)["cosine"].mean(), "centred": centred})
    columns = [f"exponent_{part}" for part in PARTS]
    exponents = [rows.groupby(keys, sort=False)[columns].mean() for rows in (at_small, as_it_is)]
    shares = as_it_is.groupby(keys, sort=False)[[f"near_{part}" for part in PARTS]].mean()
    correlation, slope = across_layers(table)
    diverged = table[table["length"].isna()].groupby("activation")["seed"].nunique()
    return "\n".join(
        [
            _setting(table),
            "the parts of the term: " + "; ".join(f"{part}: {PART_NAMES[part]}" for part in PARTS),
            "",
            f"{_WHERE}, of medians over units, then over seeds; at the mean as it is (t = 1), centred: t = 0",
            sizes.join(cosines).to_string(float_format="%.3g"),
            "",
            f"exponent d ln|term|/d ln t at t = {SMALL:g}",
            exponents[0].to_string(float_format="%.3f"),
            "",
            "exponent at t = 1",
            exponents[1].to_string(float_format="%.3f"),
            "",
            f"share of units with exponent within 1 ± {TOLERANCE:g} at t = 1",
            shares.to_string(float_format="%.3f"),
            "",
            "Across activations, layers, before and after training, size of the term against |E_q[a]|, undamped: rank "
            f"correlation {_between(correlation)}, log-log slope {_between(slope)} (1 would be proportional).",
            "",
            *[
                f"{count} networks of {label_of(str(name))} diverged or had a dead layer"
                for name, count in diverged.items()
            ],
            *[str(decision) for decision in decisions(table)],
        ]
    )


def _between(values: Any) -> str:
    return f"{values.mean():.2f} ({values.min():.2f} to {values.max():.2f} over seeds)"


def _setting(table: Any) -> str:
    row = table.iloc[0]
    return (
        f"{row['data']}; {row['layers']} hidden layers × {row['units']}, before and after {row['epochs']} epochs "
        f"(learning rate {row['learning_rate']:g}, batches of {row['batch_size']}); exact unit Fisher matrices and "
        f"gradients over {row['examples']} examples, undamped unless stated; {table['seed'].nunique()} seeds"
    )


def draw(table: Any) -> Figure:
    """Undamped; means over layers, before and after training, as median over seeds and range."""
    return bias_shift_term_figure(table, _setting(table).replace("; exact", ";\nexact"))
