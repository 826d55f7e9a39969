"""Noise, information and interference through units that are off: is ELU's deactivation robust to noise (E11)?

arXiv 1511.07289 claims that leaky ReLUs (parametric ones too: of learned slope, 0.25 at first) have no deactivation
state that is robust to noise; that saturation decreases the variation and the information passed on; that ELUs code how
much a phenomenon is present, not how much it is absent; and that concepts therefore interfere less.

One unit, X ~ N(mean, std²): variance of f(X) in closed form, simulated, and beside its limit for mean → −∞ (M7);
E ln f' (M6), −∞ where f is constant somewhere: the output has an atom there; and the information through a noisy
channel (`analyses.experiments.noisy_channel`). Two independent concepts, one present (mean m) and one absent (−m),
added by a
reader: the absent one's share of the reader's variance is Var f at −m over the sum of both; and by its degree the
reader's code of the present one, through the noisy channel, loses information.

Trained classifiers, one learning rate for all, test examples: what passes through the units that are off and through
those that are on (`analyses.experiments.off_units`), in every hidden layer. Off is net input < 0 whatever the
activation: near 0
ELU's slope e^net is near 1, and a leaky ReLU of slope s passes less where ln s < net < 0. Hence also the deep state:
the tenth of those off with the lowest net inputs.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from matplotlib.figure import Figure

from analyses.data import datasets
from analyses.experiments.deactivated_unit import unit_rows
from analyses.experiments.deactivation_claims import STATISTICS, decisions, run_statistics
from analyses.experiments.deactivation_figure import STATES, deactivation_figure, labelled, widest_units
from analyses.experiments.off_units import (
    clamped_change,
    coded_degree,
    gain,
    hidden_layers,
    injected_change,
    state_share,
)
from analyses.framework.settings import named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected
from analyses.networks.training import Training, fabric_on, train
from elutheory.activations import Activation
from elutheory.errors import InputError


@dataclass(frozen=True)
class Config:
    """Single units over a grid of means, and networks trained on data standardised by one mean and one deviation."""

    data: str = "digits"
    """digits, the path of a data set, or huggingface:NAME."""
    activations: tuple[str, ...] = ("elu", "leaky_relu", "relu", "shifted_relu", "tanh")
    """Registry names out of these."""
    negative_slopes: tuple[float, ...] = (0.01, 0.1, 0.25)
    """Of leaky_relu, an activation each; the claims are about these."""
    largest_mean: float = 8.0
    """One unit: the grid of means goes from minus this to this."""
    step: float = 0.5
    """Of that grid."""
    stds: tuple[float, ...] = (0.1, 0.3, 1.0)
    """Standard deviations of a unit's net input."""
    channel_noise: float = 0.1
    """One unit: standard deviation of the noise of the channel; networks: relative to that of the unit's values."""
    samples: int = 200_000
    """Of the simulated variance."""
    replicates: int = 80
    """Of the sampled information, at every fourth mean."""
    layers: int = 4
    """Hidden layers."""
    units: int = 64
    """Of each hidden layer."""
    epochs: int = 100
    """Passes over the training examples."""
    learning_rate: float = 0.03
    """Of plain stochastic gradient descent, the same for every activation."""
    batch_size: int = 64
    """Examples an update."""
    examples: int = 0
    """Training examples, classes in their shares; 0: all."""
    measured: int = 300
    """Test examples at which the networks are measured; at most all."""
    injected: tuple[float, ...] = (0.1, 1.0)
    """Standard deviations of the injected noise, relative to that of the layer's net inputs."""
    draws: int = 20
    """Of the injected noise."""
    seeds: int = 12
    """Networks of each activation: initial weights and batch orders."""


PRESETS = {
    "quick": Config(step=1.0, samples=20_000, replicates=20, layers=3, units=32, epochs=20, measured=150, draws=5),
    "paper": Config(),
}

_OF_THE_PAPER = ("elu", "leaky_relu", "relu", "shifted_relu", "tanh")
_DEEPEST = 0.1
"""Share of the off pairs of a layer, those of the lowest net inputs, that are deep."""

# --- measuring ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One activation: single units, or all its networks. `negative_slope`: of leaky_relu, else 0."""

    part: str
    activation: str
    negative_slope: float


def cells(config: Config) -> list[Cell]:
    """Both parts of every activation. Raises InputError on repeated or other activations and sizes out of range."""
    for name in ("activations", "negative_slopes", "stds", "injected"):
        given = getattr(config, name)
        if len(set(given)) < len(given) or not given:
            raise InputError(f"{name} are {', '.join(map(str, given)) or 'none'}; give each once, and one at least.")
    if unknown := set(config.activations) - {*_OF_THE_PAPER}:
        raise InputError(f"activations hold {', '.join(sorted(unknown))}; give some of {', '.join(_OF_THE_PAPER)}.")
    for name, least in (("samples", 2), ("replicates", 2), ("draws", 2), ("layers", 1), ("units", 1), ("epochs", 1),
                        ("measured", 2), ("seeds", 1)):  # fmt: skip
        if getattr(config, name) < least:
            raise InputError(f"{name} is {getattr(config, name)}; give {least} or more.")
    for name in ("largest_mean", "step", "channel_noise", "learning_rate"):
        if not 0 < getattr(config, name) < np.inf:
            raise InputError(f"{name} is {getattr(config, name)}; a positive number is needed.")
    if not 0 < min(config.stds + config.injected) <= max(config.stds + config.injected) < np.inf:
        raise InputError("stds and injected are positive numbers.")
    if max(config.stds) > 100 * config.channel_noise:
        raise InputError(f"channel_noise is {config.channel_noise}; a hundredth of the largest std or more is needed.")
    found = []
    for name in config.activations:
        for slope in config.negative_slopes if name == "leaky_relu" else (0.0,):
            named_activation(name, slope)
            found += [Cell(part, name, slope) for part in ("unit", "network")]
    return found


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """Rows of three parts; COLUMNS says what they hold."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str, checkpoint: Path | None = None) -> pandas.DataFrame:
    """The rows of one activation: unit, or layer and injection."""
    function = named_activation(cell.activation, cell.negative_slope)
    name = f"leaky_relu({cell.negative_slope:g})" if cell.activation == "leaky_relu" else cell.activation
    if cell.part == "unit":
        table = pandas.DataFrame(_units(config, function)).assign(part="unit")
    else:
        table = _networks(config, function, device, checkpoint)
    settings = {key: value for key, value in asdict(config).items() if key in COLUMNS and key not in table}
    return table.assign(activation=name, **settings).reindex(columns=list(COLUMNS))


def _units(config: Config, function: Activation) -> list[dict[str, Any]]:
    count = round(config.largest_mean / config.step)
    means = config.step * np.arange(-count, count + 1)
    return unit_rows(function, means, config.stds, config.channel_noise, config.samples, config.replicates)


def _networks(config: Config, function: Activation, device: str, checkpoint: Path | None) -> pandas.DataFrame:
    data = datasets.load(config.data).standardised("dataset").flattened()
    data = data.subset(config.examples) if config.examples else data
    sizes = (*data.shape, *[config.units] * config.layers, data.classes)
    training = Training(
        epochs=config.epochs,
        seeds=tuple(range(config.seeds)),
        learning_rates=(config.learning_rate,),
        batch_size=config.batch_size,
        evaluated=("test",),
    )
    trained = train(
        lambda: fully_connected(sizes, function), data, training, fabric=fabric_on(device), checkpoint=checkpoint
    )
    last = trained.table[trained.table["epoch"] == config.epochs]
    inputs = data.test.inputs[: config.measured].double()
    rows: list[dict[str, Any]] = []
    for place in range(len(last)):
        run: Any = last.iloc[place]
        network = trained.networks.network(place).cpu().double()
        described = {"seed": run["seed"], "test_error": 1 - run["test_accuracy"], "diverged": run["diverged_update"]}
        if np.isnan(run["diverged_update"]):
            found = network_rows(config, function, network, inputs, int(run["seed"]))
        else:
            found = [
                {"part": "layer", "layer": layer, "state": state}
                for layer in range(1, config.layers + 1)
                for state in STATES
            ]
        rows += [{**described, **row} for row in found]
    return pandas.DataFrame(rows).assign(data=data.name, examples=len(data.train))


def states_of(net: Any) -> dict[str, Any]:
    """By state, which of the net inputs (N, units) of a layer are in it; deep is part of off."""
    off = net < 0
    limit = net[off].quantile(_DEEPEST) if off.any() else 0.0
    return dict(zip(STATES, (off, net >= 0, off & (net <= limit)), strict=True))


def network_rows(config: Config, function: Activation, network: Any, inputs: Any, seed: int) -> list[dict[str, Any]]:
    """Of one network in float64: a row a layer and state, and a row more a size of injected noise."""
    rows: list[dict[str, Any]] = []
    layers, logits = hidden_layers(network, inputs)
    logit_variance = float(logits.var(0, correction=0).sum())
    for number, layer in enumerate(layers, start=1):
        net_variance = float(layer.net.var(0, correction=0).mean())
        for state, mask in states_of(layer.net).items():
            slopes = function.derivative(layer.net[mask].numpy())
            of_state = gain(layer, mask) * net_variance / logit_variance
            described = {"layer": number, "state": state}
            with np.errstate(divide="ignore"):
                log_slope = float(np.log(slopes).mean()) if slopes.size else np.nan
            pairs = float(mask.double().mean())
            rows.append(
                {
                    "part": "layer",
                    **described,
                    "pairs": pairs,
                    "net_input": float(layer.net[mask].mean()),
                    "net_variance": net_variance,
                    "gain": of_state,
                    "unit_gain": of_state / (pairs * config.units) if pairs else np.nan,
                    "squared_slope": float((slopes**2).mean()) if slopes.size else np.nan,
                    "log_slope": log_slope,
                    "information": coded_degree(layer, mask, config.channel_noise),
                    "next_share": state_share(layer, mask),
                    "clamped_change": clamped_change(layer, mask),
                }
            )
            for noise in config.injected:
                change, error = injected_change(
                    network, layer, logits, mask, noise * net_variance**0.5, config.draws, seed
                )
                rows.append(
                    {
                        "part": "injection",
                        **described,
                        "noise": noise,
                        "linear": noise**2 * of_state,
                        "change": change / logit_variance,
                        "change_error": error / logit_variance,
                    }
                )
    return rows


COLUMNS = {
    "part": "unit: one unit, net input N(mean, std²); layer: trained networks; injection: noise put into them",
    "activation": "a registry name, leaky_relu with its slope in brackets",
    "mean": "unit: of the net input",
    "std": "unit: standard deviation of the net input",
    "variance": "unit: Var f(X), elutheory.gaussian_moments",
    "limit": "unit: leading term of the same for mean → −∞ (M7)",
    "simulated": "unit: the same, sample variance",
    "simulated_error": "unit: its standard error, from the fourth central moment by quadrature",
    "log_slope": "unit: E ln f' (M6), nats; layer: mean over pairs; -inf: constant somewhere, an atom of the output",
    "information": "unit: I(X; f(X) + N(0, channel_noise²)), nats; layer: `off_units.coded_degree`",
    "sampled": "unit: the same by nested Monte Carlo, at every fourth mean",
    "sampled_error": "unit: its standard error",
    "interference": "unit, mean m > 0: nats about X that f(X) + f(X') + noise tells less than f(X) + noise; X' at −m",
    "seed": "layer, injection: of the initial weights and of the order of the batches",
    "layer": "layer, injection: number of the hidden layer, from 1",
    "state": "layer, injection: off: pairs of a unit and a test example, net input < 0; on: others; deep: `states_of`",
    "pairs": "layer: share of the pairs in the state",
    "net_input": "layer: mean over the pairs in the state",
    "net_variance": "layer: variance of the net inputs over the examples, mean over units",
    "gain": "layer: mean square change of the logits over their variance, noise of net_variance at all pairs, linear",
    "unit_gain": "layer: the same a unit in the state",
    "squared_slope": "layer: mean of f'² over the pairs in the state",
    "next_share": "layer: share of the variance of the next layer's net inputs from variation within the state",
    "clamped_change": "layer: mean square change of those over their variance, units in the state at their means there",
    "noise": "injection: standard deviation of the noise over the root of net_variance",
    "linear": "injection: mean square change of the logits over their variance, to first order",
    "change": "injection: the same as it was",
    "change_error": "injection: its standard error over draws",
    "test_error": "layer, injection: share of the test examples that the network misclassifies",
    "diverged": "layer: updates after which the loss had diverged: no numbers; nan: never",
    "data": "name of the data set",
    "examples": "training examples",
    "channel_noise": "see information",
    "samples": "unit: of the simulated variance",
    "layers": "hidden layers",
    "units": "of each hidden layer",
    "epochs": "of training",
    "learning_rate": "of plain stochastic gradient descent",
    "batch_size": "examples an update",
    "measured": "test examples at which the networks are measured",
}


# --- summary and figure -----------------------------------------------------------------------------------------------


def summary(table: Any) -> str:
    """Theory beside simulation, where ELU passes less than a leaky ReLU, what the networks do, and the verdicts."""
    parts = [_unit_summary(table[table["part"] == "unit"]), _network_summary(table)]
    return "\n".join([setting(table), *parts, *[str(decision) for decision in decisions(table)]])


def _unit_summary(units: Any) -> str:
    simulated = _deviations(units, "variance", "simulated", "simulated_error")
    told = units[units["information"] > _LEAST_TOLD]
    sampled = _deviations(told, "information", "sampled", "sampled_error")
    off = units[units["mean"].isin([units["mean"].min(), -2.0, 0.0]) & (units["limit"] > 0)]
    ratios = (off["variance"] / off["limit"]).groupby([off["activation"], off["std"], off["mean"]], sort=False).first()
    degrees = widest_units(units)
    sides = degrees[degrees["mean"].abs().isin([1.0, 2.0, 4.0])]
    degree = sides.pivot(index="activation", columns="mean", values="information").reindex(
        degrees["activation"].unique()
    )
    shares = pandas.DataFrame(
        {name: absent_share(rows) for name, rows in degrees.groupby("activation", sort=False)}
    ).loc[lambda found: found.index.isin([1.0, 2.0, 4.0])]
    lost = degrees[degrees["mean"].isin([1.0, 2.0, 4.0])].pivot(
        index="activation", columns="mean", values="interference"
    )
    lost = lost.reindex(degrees["activation"].unique())
    std = degrees["std"].iloc[0]
    return "\n".join(
        [
            "",
            f"Simulated variance, {simulated}",
            f"Sampled information (where above {_LEAST_TOLD:g} nats), {sampled}",
            "",
            "variance over its limit for mean → −∞ (M7), by mean (down: standard deviation)",
            ratios.unstack("mean").to_string(float_format="%.4g"),
            "",
            *_crossings(units, "variance"),
            *_crossings(units, "information"),
            "",
            f"information about the degree, nats, by mean, std {std:g}: presence right, absence left",
            degree.to_string(float_format="%.3g"),
            "",
            f"share of a reader's variance due to an absent concept, by mean ∓m of absent and present, std {std:g}",
            shares.T.to_string(float_format="%.3g"),
            "",
            f"nats about the present concept that the reader loses by the absent one, by mean ∓m, std {std:g}",
            lost.to_string(float_format="%.3g"),
            "",
        ]
    )


def absent_share(rows: Any) -> Any:
    """Of one activation and standard deviation, by m > 0: Var f at −m over the sum of those at −m and m."""
    variance = rows.set_index("mean")["variance"].sort_index()
    present = variance[variance.index > 0]
    absent = variance.reindex(-present.index).to_numpy()
    return absent / (absent + present)


def _deviations(rows: Any, expected: str, found: str, error: str) -> str:
    known = rows[rows[error] > 0]
    deviations = ((known[found] - known[expected]) / known[error]).abs()
    return (
        f"in standard errors from theory: largest {deviations.max():.1f}, above 2 at {(deviations > 2).mean():.1%} "
        f"of {len(known)} points."
    )


def _crossings(units: Any, column: str) -> list[str]:
    """A line a leaky ReLU: up to which mean of the grid ELU's value is below, at that mean and all below it."""
    lines = []
    names = [name for name in units["activation"].unique() if name.startswith("leaky_relu")]
    for name in names if "elu" in set(units["activation"]) else []:
        limits = []
        for std, rows in units.groupby("std"):
            by_mean = rows.pivot(index="mean", columns="activation", values=column)
            below = (by_mean["elu"] < by_mean[name]).cummin()
            limits.append(f"{below[below].index.max():g} (std {std:g})" if below.any() else f"none (std {std:g})")
        lines.append(f"ELU passes less {column} than {labelled(name)} at means up to {', '.join(limits)}")
    return lines


def _network_summary(table: Any) -> str:
    layers = table[table["part"] == "layer"]
    names = layers["activation"].unique()
    runs = run_statistics(table).groupby("activation")[_REPORTED].mean().loc[names]
    off = layers[layers["state"] == "off"].groupby("activation")
    described = off[["test_error", "pairs", "net_input", "net_variance", "clamped_change"]].mean().loc[names]
    injections = table[table["part"] == "injection"]
    injections = injections.assign(ratio=injections["change"] / injections["linear"].where(injections["linear"] > 0))
    by_noise = injections.groupby(["activation", "state", "noise"], sort=False)[["change", "ratio"]].mean()
    found = {column: by_noise[column].unstack(["state", "noise"]) for column in by_noise}
    diverged = layers[layers["diverged"].notna()].groupby("activation")["seed"].nunique()
    return "\n".join(
        [
            "networks, means over hidden layers and seeds: test error; off: share of the pairs, net input, its "
            "variance a unit, change of the next layer if clamped",
            described.to_string(float_format="%.3g"),
            "",
            "the claims' statistics (presence: information about the degree, on)",
            runs.to_string(float_format="%.3g"),
            "",
            "change of the logits over their variance, by injected noise over the net inputs' deviation",
            found["change"].to_string(float_format="%.3g"),
            "",
            "the same over the linear prediction",
            found["ratio"].to_string(float_format="%.3g"),
            "",
            *[f"{count} networks of {labelled(str(name))} diverged" for name, count in diverged.items()],
        ]
    )


_REPORTED = [*STATISTICS, "presence"]
_LEAST_TOLD = 0.01


def setting(table: Any) -> str:
    """Data and sizes in words, for the figure and the summary."""
    unit = table[table["part"] == "unit"].iloc[0]
    row = table[table["part"] == "layer"].iloc[0]
    return (
        f"one unit: {unit['samples']:,} samples, channel noise {unit['channel_noise']:g}; networks: {row['data']}, "
        f"{row['examples']:,.0f} training examples, {row['layers']} hidden layers × {row['units']}, learning rate "
        f"{row['learning_rate']:g}, {row['epochs']} epochs, at {row['measured']} test examples; "
        f"{table['seed'].nunique()} seeds"
    )


def draw(table: Any) -> Figure:
    """One unit: variance, information and interference over the mean. Networks: median over seeds and range."""
    return deactivation_figure(table, setting(table).replace("examples, ", "examples,\n"))
