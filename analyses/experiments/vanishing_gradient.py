"""Gradients by depth in deep random networks under every initialisation, beside P3; where float32 loses them (E12).

Does the identity for positive values keep the gradient from vanishing? Fully connected networks of random weights, one
training input each, standardised and scaled to mean square 1: of one input the law of such a network knows only the
length. A δ of independent N(0, 1) at the last hidden layer's net inputs goes backward
(`analyses.experiments.random_gradients`).

s is the mean over units of δ². Its logarithm, averaged over networks, stands beside ln Π chi (P3, infinite width), and
beside the same to order 1/width with the band of one network (P6, `analyses.experiments.finite_width_gradient`): what
a network has
is the typical s, and ln E s exceeds E ln s by half the variance of ln s, which grows like depth/width.

Glorot's variance 2/(fan_in + fan_out) is LeCun's where layers have one width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log, nan
from typing import Any

import numpy as np
import pandas
from matplotlib.figure import Figure

from analyses.data import datasets
from analyses.experiments.finite_width_gradient import log_gradient
from analyses.experiments.float32_losses import LOSSES, ZERO, lost_after
from analyses.experiments.random_gradients import random_gradients
from analyses.framework.claims import Claim, Decision, decide, hodges_lehmann
from analyses.framework.settings import named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.random import Start
from elutheory.errors import InputError
from elutheory.output.figures import label_of
from elutheory.propagation import initialisation, propagate
from elutheory.propagation.initialisations import INITIALISATIONS


@dataclass(frozen=True)
class Config:
    """Random networks of every activation under every initialisation that it has."""

    data: str = "digits"
    """digits, or the path of other data."""
    activations: tuple[str, ...] = ("logistic", "tanh", "relu", "leaky_relu", "elu", "selu")
    """Registry names."""
    negative_slope: float = 0.1
    """Of leaky_relu."""
    initialisations: tuple[str, ...] = INITIALISATIONS
    """Names, for elutheory.initialisation; critical is not defined for every activation."""
    width: int = 256
    """Units of every hidden layer."""
    depth: int = 200
    """Hidden layers."""
    seeds: int = 200
    """Networks of each kind, each with an input of its own; one seed's have the same standard normal numbers."""


PRESETS = {"quick": Config(depth=100, seeds=12), "paper": Config()}

MARGIN = log(100) / 200
"""Loss of ln s a layer that counts as none: after 200 layers δ is still a tenth of what it was."""
FLOAT32_MARGIN = 0.1
"""Relative error of a predicted depth of loss that counts as none."""
_LEVEL = 0.05
_POSITIVE_IDENTITY = ("elu", "relu", "leaky_relu", "selu")
_COMPARED, _SATURATING = ("elu", "relu", "leaky_relu"), ("tanh", "logistic")
INITIALISATION_NAMES = {
    "he": "He",
    "lecun": "LeCun",
    "variance_preserving": "variance-preserving",
    "critical": "critical",
}
_SMALLEST_WIDTH, _LARGEST_DEPTH = 32, 250

COLUMNS = {
    "kind": "layer: over all networks; network: one of them; refused: an initialisation that an activation has not",
    "activation": "the networks' activation function, a registry name",
    "initialisation": "name, for `elutheory.initialisation`",
    "weight_variance": "σ_w², fan_in times the variance of a weight",
    "bias_variance": "σ_b²",
    "layer": "of layer rows: number of the hidden layer, from 1",
    "log_gradient": "of layer rows: ln(s/s of the last layer), mean over networks; s: mean over units of δ², float64",
    "std": "of layer rows: standard deviation over networks of the same",
    "infinite_width": "of layer rows: Σ ln chi from this layer to the last but one (P3)",
    "finite_width": "of layer rows: the same to order 1/width, predicted mean of ln(s/s of the last layer) (P6)",
    "band": "of layer rows: predicted standard deviation of one network's (P6)",
    "seed": "of network rows: of the network's random numbers",
    "rate": "of network rows: ln(s of the first layer/s of the last) a layer, over depth − 1",
    **{
        f"lost_{name}": f"of network rows: layers below the last at which {what}; inf: none"
        for name, what in LOSSES.items()
    },
    "reason": "of refused rows: why",
    "data": "name of the data set",
    "width": "units of every hidden layer",
    "depth": "number of hidden layers",
    "networks": "of each kind",
}


@dataclass(frozen=True)
class Cell:
    """The networks of all activations under one initialisation."""

    initialisation: str


def cells(config: Config) -> list[Cell]:
    """Every initialisation. Raises InputError where there is nothing to measure, or no float32 network to."""
    for name in ("activations", "initialisations"):
        given = getattr(config, name)
        if len(set(given)) < len(given) or not given:
            raise InputError(f"{name} are {', '.join(given) or 'none'}; give each once, and one at least.")
    if not 2 <= config.depth <= _LARGEST_DEPTH:
        raise InputError(
            f"depth is {config.depth}; 2 to {_LARGEST_DEPTH} is needed: in deeper ReLU networks of LeCun's variance "
            "the activations themselves leave float32."
        )
    if config.width < _SMALLEST_WIDTH:
        raise InputError(
            f"width is {config.width}; {_SMALLEST_WIDTH} or more is needed: in narrower networks every unit may be off."
        )
    if config.seeds < 1:
        raise InputError(f"seeds is {config.seeds}; give 1 or more.")
    for name in config.initialisations:
        starts, refused = starts_of(config, name)
        if not starts:
            raise InputError(" ".join(refused.values()))
    return [Cell(name) for name in config.initialisations]


def starts_of(config: Config, name: str) -> tuple[dict[str, Start], dict[str, str]]:
    """By activation: the start of its networks, or why it has none. Raises InputError for unknown names."""
    if name not in INITIALISATIONS:
        raise InputError(f"unknown initialisation {name!r}; known are {', '.join(INITIALISATIONS)}.")
    starts, refused = {}, {}
    for activation in config.activations:
        function = named_activation(activation, config.negative_slope)
        try:
            starts[activation] = Start(function, initialisation(name, function))
        except InputError as refusal:
            refused[activation] = str(refusal)
    return starts, refused


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """COLUMNS says what a row holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one initialisation."""
    starts, refused = starts_of(config, cell.initialisation)
    data = datasets.load(config.data).flattened().standardised().subset(config.seeds)
    inputs = data.train.inputs.double()
    lengths = inputs.norm(dim=1, keepdim=True)
    if not lengths.all():
        raise InputError(f"an input of {data.name} is the mean of all; its direction is not defined.")
    inputs = (inputs / lengths * inputs.shape[1] ** 0.5).to(device)
    found = random_gradients(starts, inputs, config.width, config.depth, range(config.seeds))
    tables = []
    for place, (name, start) in enumerate(starts.items()):
        variances = {key: getattr(start.initialisation, key) for key in ("weight_variance", "bias_variance")}
        weight_std = (variances["weight_variance"] / config.width) ** 0.5
        logs = found.log_second_moment[:, place]
        lost = lost_after(found.single[:, place], weight_std)
        networks = pandas.DataFrame({"seed": range(config.seeds), "rate": logs[:, 0] / (config.depth - 1)})
        networks = networks.assign(kind="network", **{f"lost_{loss}": after for loss, after in lost.items()})
        layers = predictions(start, config.width, config.depth).assign(
            kind="layer", log_gradient=logs.mean(0), std=logs.std(0, ddof=1) if len(logs) > 1 else nan
        )
        tables += [part.assign(activation=name, **variances) for part in (layers, networks)]
    reasons = pandas.DataFrame({"kind": "refused", "activation": refused.keys(), "reason": refused.values()})
    return (
        pandas.concat([*tables, reasons], ignore_index=True)
        .assign(initialisation=cell.initialisation, data=data.name)
        .assign(width=config.width, depth=config.depth, networks=config.seeds)
        .reindex(columns=list(COLUMNS))
    )


def predictions(start: Start, width: int, depth: int) -> pandas.DataFrame:
    """Columns layer, infinite_width, finite_width and band of COLUMNS, for inputs of mean square 1."""
    variances = start.initialisation.weight_variance, start.initialisation.bias_variance
    theory = propagate(start.activation, depth, *variances, 1.0, 1.0).table
    q, chi = (theory[name].to_numpy() for name in ("q", "chi"))
    finite = log_gradient(start, q, chi, width)
    logs = np.append(np.cumsum(np.log(chi[:-1])[::-1])[::-1], 0.0)
    return pandas.DataFrame(
        {"layer": theory["layer"], "infinite_width": logs, "finite_width": finite.mean, "band": finite.std}
    )


# --- verdicts -------------------------------------------------------------------------------------------------------


def claims(kinds: Sequence[tuple[str, str]]) -> list[tuple[Claim, float]]:
    """Those about networks of these activations and initialisations, each with what its statistic is tested against.

    Fixed before any network was measured; what theory predicts of them was known.
    """
    starts = list(dict.fromkeys(start for _, start in kinds))
    identity = [
        (
            Claim(
                f"positive identity: {name} vs {rival}, {start}",
                f"Under {INITIALISATION_NAMES[start]} initialisation {label_of(name)}'s gradient vanishes less than "
                f"{label_of(rival)}'s.",
                f"{label_of(rival)} − {label_of(name)}",
                f"loss of ln s a layer, where it falls, tested against {MARGIN:.3f}",
                "greater",
                _LEVEL,
            ),
            MARGIN,
        )
        for start in starts
        for name in _COMPARED
        for rival in _SATURATING
        if {(name, start), (rival, start)} <= set(kinds)
    ]
    kept = [
        (
            Claim(
                f"not vanishing: {name}, {start}",
                f"Under {INITIALISATION_NAMES[start]} initialisation {label_of(name)}'s gradient does not vanish: 200 "
                "layers keep more than a hundredth of its second moment.",
                label_of(name),
                f"change of ln s a layer, tested against {-MARGIN:.3f}",
                "greater",
                _LEVEL,
            ),
            -MARGIN,
        )
        for start in starts
        for name in _POSITIVE_IDENTITY
        if (name, start) in kinds
    ]
    finite = Claim(
        "theory: finite width",
        "To order 1/width theory is nearer a network's gradient than at infinite width.",
        "|error of P3| − |error of P6|",
        "change of ln s a layer, mean over all kinds of networks",
        "greater",
        _LEVEL,
    )
    return [*identity, *kept, (finite, 0.0)]


CHI = Claim(
    "theory: chi",
    "The gradient of every kind of network changes by chi (P3) a layer.",
    "measured − predicted",
    f"change of ln s a layer, the largest error of all kinds; none is below {MARGIN:.3f}",
    "less",
    _LEVEL,
    MARGIN,
)
FLOAT32 = Claim(
    "theory: float32",
    "chi (P3) predicts after how many layers float32 loses the gradient.",
    "measured ÷ predicted − 1",
    f"layers below the last, the largest error of all kinds of networks and losses; none is below {FLOAT32_MARGIN:g}",
    "less",
    _LEVEL,
    FLOAT32_MARGIN,
)


def decisions(table: Any) -> list[Decision]:
    """The verdicts of the claims; of CHI and FLOAT32 see `within_margin`."""
    kinds = kinds_of(table)
    rates = {kind: rows.sort_values("seed")["rate"].to_numpy() for kind, rows in kinds.items()}
    predicted = {kind: layers_of(table, kind) for kind in kinds}
    depth = int(table["depth"].iloc[0])
    wide, finite = (
        {kind: float(layers[name].iloc[0]) / (depth - 1) for kind, layers in predicted.items()}
        for name in ("infinite_width", "finite_width")
    )
    nearer = [abs(rates[kind] - wide[kind]) - abs(rates[kind] - finite[kind]) for kind in kinds]
    values = {"theory: finite width": np.mean(nearer, axis=0)}
    for start in {start for _, start in kinds}:
        loss = {name: np.maximum(-rates[name, of], 0.0) for name, of in kinds if of == start}
        values |= {f"not vanishing: {name}, {start}": rates[name, start] for name in loss}
        values |= {
            f"positive identity: {name} vs {rival}, {start}": loss[rival] - loss[name]
            for name in loss
            for rival in loss
        }
    stated = claims(list(kinds))
    shifted = {claim.identifier: values[claim.identifier] - against for claim, against in stated}
    decided = [
        replace(found, effect=found.effect + against, low=found.low + against, high=found.high + against)
        for found, (_, against) in zip(decide([claim for claim, _ in stated], shifted), stated, strict=True)
    ]
    errors = {kind: rates[kind] - wide[kind] for kind in kinds}
    depths = {}
    for kind, rows in kinds.items():
        expected = predicted_losses(predicted[kind])
        for loss, after in expected.items():
            depths[kind, loss] = _relative_error(rows[f"lost_{loss}"].to_numpy(float), after, depth - 1)
    return [*decided, within_margin(CHI, errors), within_margin(FLOAT32, depths)]


def kinds_of(table: Any) -> dict[tuple[str, str], Any]:
    """The network rows by (activation, initialisation)."""
    networks = table[table["kind"] == "network"]
    return dict(iter(networks.groupby(["activation", "initialisation"], sort=False)))


def layers_of(table: Any, kind: tuple[str, str]) -> Any:
    """The layer rows of this (activation, initialisation)."""
    name, start = kind
    return table[(table["kind"] == "layer") & (table["activation"] == name) & (table["initialisation"] == start)]


def predicted_losses(layers: Any) -> dict[str, float]:
    """`lost_after` of the infinitely wide networks of these layer rows."""
    first = layers.iloc[0]
    sizes = np.exp(layers["infinite_width"].to_numpy() / 2)
    after = lost_after(sizes, (first["weight_variance"] / first["width"]) ** 0.5, zero=ZERO)
    return {loss: float(found) for loss, found in after.items()}


def within_margin(claim: Claim, errors: dict[Any, Any]) -> Decision:
    """Of a claim that no error, one a network in every case, exceeds `claim.margin`.

    "holds": all cases' intervals (Hodges–Lehmann), simultaneous at the claim's level, lie within; "does not hold": one
    lies outside. The effect is that of the case whose error is largest. There is no p.
    """
    margin = claim.margin or 0.0
    found = {case: hodges_lehmann(values, claim.level / len(errors)) for case, values in errors.items()}
    inside = all(-margin <= low and high <= margin for _, low, high in found.values())
    outside = any(low > margin or high < -margin for _, low, high in found.values())
    case, (effect, low, high) = max(found.items(), key=lambda item: abs(item[1][0]))
    verdict = "holds" if inside else "does not hold" if outside else "undecided"
    return Decision(claim, len(errors[case]), effect, low, high, nan, nan, verdict)


def _relative_error(measured: Any, predicted: float, last: int) -> Any:
    """measured/predicted − 1, no loss counted as one at the last place that there is."""
    return np.minimum(measured, last) / min(predicted, last) - 1


# --- what the command prints ----------------------------------------------------------------------------------------


def summary(table: Any) -> str:
    """Change of s, measured and predicted; where float32 loses the gradient; initialisations refused; verdicts."""
    kinds = kinds_of(table)
    row = table.iloc[0]
    rates, losses = [], []
    for (name, start), networks in kinds.items():
        layers = layers_of(table, (name, start))
        rates.append({"initialisation": start, "activation": name, **_agreement(layers, networks)})
        expected = predicted_losses(layers)
        for loss, predicted in expected.items():
            measured = networks[f"lost_{loss}"].to_numpy(float)
            if np.isfinite([predicted, measured.min()]).any():
                lowest, middle, highest = np.sort(measured)[[0, len(measured) // 2, -1]]
                losses.append(
                    {
                        "initialisation": start,
                        "activation": name,
                        "loss": loss,
                        "predicted": predicted,
                        "median": middle,
                        "lowest": lowest,
                        "highest": highest,
                    }
                )
    refused = table[table["kind"] == "refused"]
    parts = [
        setting(row),
        "",
        f"ln s after {row['depth'] - 1} layers, s the mean over units of δ²: measured (mean and std over networks); by "
        "P3; to order 1/width with\nits band (P6); errors over the standard error; factor a layer, measured and by P3:",
        pandas.DataFrame(rates).to_string(index=False, float_format="%.4g"),
        "",
        "layers below the last at which float32 has lost the gradient (inf: not within the network):",
        pandas.DataFrame(losses).to_string(index=False, float_format="%.4g") if losses else "nowhere",
        *(f"{loss}: {what}" for loss, what in LOSSES.items()),
        "",
        *(f"no {found.initialisation} initialisation: {found.reason}" for found in refused.itertuples()),
        *(str(decision) for decision in decisions(table)),
    ]
    return "\n".join(parts)


def _agreement(layers: Any, networks: Any) -> dict[str, float]:
    first, depth = layers.iloc[0], len(layers)
    error = first["std"] / len(networks) ** 0.5
    return {
        "measured": first["log_gradient"],
        "std": first["std"],
        "P3": first["infinite_width"],
        "P6": first["finite_width"],
        "band": first["band"],
        "z(P3)": (first["log_gradient"] - first["infinite_width"]) / error,
        "z(P6)": (first["log_gradient"] - first["finite_width"]) / error,
        "factor": np.exp(first["log_gradient"] / (depth - 1)),
        "chi": np.exp(first["infinite_width"] / (depth - 1)),
    }


def setting(row: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    return (
        f"random networks of {row['depth']} hidden layers of {row['width']} units, {row['networks']} of each kind, "
        f"each on one input of {row['data']}"
    )


def draw(table: Any) -> Figure:
    """See `analyses.experiments.vanishing_gradient_figure`."""
    from analyses.experiments.vanishing_gradient_figure import gradient_figure

    return gradient_figure(table)
