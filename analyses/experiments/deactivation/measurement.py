"""Single units over a grid of means, and what passes through the units of trained networks that are off."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from analyses.experiments.deactivation.off_units import (
    clamped_change,
    coded_degree,
    gain,
    hidden_layers,
    injected_change,
    state_share,
)
from analyses.experiments.deactivation.one_unit import unit_rows
from analyses.experiments.deactivation.settings import COLUMNS, OF_THE_PAPER, STATES, Config
from analyses.framework.settings import named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.classifiers import classification_data, train_classifiers
from analyses.networks.training import fabric_on
from analyses.networks.training_cost import classifier_shape, parameters, training_cost
from elutheory.activations import Activation
from elutheory.errors import InputError
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains

_DEEPEST = 0.1
"""Share of the off pairs of a layer, those of the lowest net inputs, that are deep."""


@dataclass(frozen=True)
class Cell:
    """One activation: single units, or all its networks. `negative_slope`: of leaky_relu, else 0."""

    part: str
    activation: str
    negative_slope: float


def cells(config: Config) -> list[Cell]:
    """Both parts of every activation. Raises InputError on repeated or other activations and sizes out of range."""
    check_domains(config)
    if unknown := set(config.activations) - {*OF_THE_PAPER}:
        raise InputError(f"activations hold {', '.join(sorted(unknown))}; give some of {', '.join(OF_THE_PAPER)}.")
    if max(config.stds) > 100 * config.channel_noise:
        raise InputError(f"channel_noise is {config.channel_noise}; a hundredth of the largest std or more is needed.")
    found = []
    for name in config.activations:
        for slope in config.negative_slopes if name == "leaky_relu" else (0.0,):
            named_activation(name, slope)
            found += [Cell(part, name, slope) for part in ("unit", "network")]
    return found


def cost(config: Config) -> Cost:
    """Of samples and quadratures of single units, of training, and of noise injected into every layer and state."""
    examples, sizes = classifier_shape(config.data, config.examples, [config.units] * config.layers)
    functions = len(config.activations) + len(config.negative_slopes)
    points = (2 * config.largest_mean / config.step + 1) * len(config.stds)
    one_unit = Cost(1e3 * config.samples + 2e6 * config.replicates, 10, 64.0 * config.samples) * points
    trained = training_cost(
        sizes,
        networks=config.seeds,
        examples=examples,
        epochs=config.epochs,
        batch_size=config.batch_size,
        evaluated=examples / 5,
    )
    passes = config.seeds * config.layers * len(STATES) * (config.draws * len(config.injected) + 10)
    held = 16.0 * config.measured * config.units * (config.layers + 10)
    noise = Cost(20.0 * parameters(sizes) * config.measured, 0.5, held) * passes
    return (one_unit + trained + noise) * functions


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
    data = classification_data(config.data, config.examples)
    trained = train_classifiers(
        config, function, data, fabric=fabric_on(device), evaluated=["test"], checkpoint=checkpoint
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
    """Of one network in float64: a row per layer and state, and a further row per size of injected noise."""
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
