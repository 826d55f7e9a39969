"""Do units' median activations move more in training with ReLUs than with ELUs? Figure 7 of arXiv 1511.07289 (E8).

Appendix C: after each epoch the median activation of every hidden unit over the whole training set, then its variance
over the epochs, and that of its changes from epoch to epoch. ELUs and ReLUs have different scales, so the same is
reported relative to the unit's variance over the examples, and for the net inputs, which no activation has bent; the
median of an activation that does not fall is the activation of the median net input.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from analyses.data import datasets
from analyses.framework.claims import Claim, Decision, decide, paired_differences
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected
from analyses.networks.training import Training, fabric_on, train
from elutheory.activations import activation
from elutheory.errors import InputError
from elutheory.output.figures import label_of, look_of, style


@dataclass(frozen=True)
class Config:
    """Networks of `layers` hidden layers of `units`, trained on data standardised by one mean and one deviation."""

    data: str = "digits"
    """digits, the path of a data set, or huggingface:NAME."""
    layers: int = 5
    """Hidden layers."""
    units: int = 256
    """Of each hidden layer."""
    epochs: int = 12
    """Passes over the training examples, 3 or more."""
    learning_rate: float = 0.01
    """Of plain stochastic gradient descent."""
    batch_size: int = 64
    """Examples an update."""
    examples: int = 0
    """Training examples, classes in their shares; 0: all. The medians are over all that are trained on."""
    seeds: int = 10
    """Sets of initial weights and batch orders."""


PRESETS = {"quick": Config(), "paper": Config(epochs=200, seeds=5)}

_LEVEL = 0.01
_DIFFERENCE = "ReLU − ELU"
CLAIMS = (
    Claim(
        "variance",
        "The median activations of ReLUs vary more over the epochs than those of ELUs.",
        _DIFFERENCE,
        "ln of the mean over units of the variance",
        "greater",
        _LEVEL,
    ),
    Claim(
        "change_variance",
        "The changes of ReLUs' median activations vary more over the epochs than those of ELUs'.",
        _DIFFERENCE,
        "ln of the mean over units of the variance",
        "greater",
        _LEVEL,
    ),
    Claim(
        "relative_variance",
        "So do ReLUs' median activations relative to the units' variance over examples.",
        _DIFFERENCE,
        "ln of the mean variance over epochs / the mean variance over examples",
        "greater",
        _LEVEL,
    ),
    Claim(
        "relative_net_variance",
        "So do the median net inputs, relative to their variance over examples.",
        _DIFFERENCE,
        "ln of the mean variance over epochs / the mean variance over examples",
        "greater",
        _LEVEL,
    ),
    Claim(
        "typical_variance",
        "So does the median activation of the typical ReLU, the layer's median unit.",
        _DIFFERENCE,
        "median over a layer's units of the variance, averaged over the layers",
        "greater",
        _LEVEL,
    ),
)
"""Fixed before the records. The first two are the paper's, of its caption and its text; the others vary the measure."""


@dataclass(frozen=True)
class Cell:
    """All seeds of one activation, trained at once."""

    activation: str


def cells(config: Config) -> list[Cell]:
    """ELU and ReLU. Raises InputError on sizes that are too small."""
    for name, least in (("layers", 1), ("units", 1), ("epochs", 3), ("seeds", 1)):
        if getattr(config, name) < least:
            raise InputError(f"{name} is {getattr(config, name)}; give {least} or more.")
    return [Cell("elu"), Cell("relu")]


COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "seed": "of the initial weights and of the order of the batches",
    "layer": "number of the hidden layer, from 1",
    "quantity": "what the distribution over the layer's units is of: one of QUANTITIES",
    "mean": "over units",
    **{f"q{percent:02d}": f"{percent} % quantile over units" for percent in (5, 25, 50, 75, 95)},
    "still": "share of units whose quantity is exactly 0",
    "diverged": "updates after which the loss had diverged: the run has no numbers; nan: never",
    "data": "name of the data set",
    "examples": "training examples",
    "epochs": "of training, after each of which the medians are taken",
    "units": "of each hidden layer",
    "learning_rate": "of stochastic gradient descent",
    "batch_size": "examples an update",
}
QUANTITIES = {
    "variance": "variance over epochs of the unit's median activation",
    "change_variance": "variance over epochs of the change of that median from one epoch to the next",
    "net_variance": "variance over epochs of the unit's median net input",
    "activation_variance": "variance over examples of the unit's activation, mean over epochs",
    "net_input_variance": "variance over examples of the unit's net input, mean over epochs",
    "relative_variance": "variance / activation_variance; 0 where both are 0, for a unit that is 0 throughout",
    "relative_net_variance": "net_variance / net_input_variance",
}
_QUANTILES = {name: int(name[1:]) / 100 for name in COLUMNS if name.startswith("q") and name[1:].isdigit()}


# --- measuring ------------------------------------------------------------------------------------------------------


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row an activation, seed, hidden layer and quantity; COLUMNS says what it holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str, checkpoint: Path | None = None) -> pandas.DataFrame:
    """The rows of one activation."""
    function = activation(cell.activation)
    data = datasets.load(config.data).standardised("dataset").flattened()
    data = data.subset(config.examples) if config.examples else data
    fabric = fabric_on(device)
    inputs = data.train.inputs.to(fabric.device)
    sizes = (*data.shape, *[config.units] * config.layers, data.classes)
    trained = train(
        lambda: fully_connected(sizes, function),
        data,
        Training(
            epochs=config.epochs,
            seeds=tuple(range(config.seeds)),
            learning_rates=(config.learning_rate,),
            batch_size=config.batch_size,
            evaluated=("validation",),
        ),
        fabric=fabric,
        measure=lambda networks: _stacked([unit_statistics(networks.network(i), inputs) for i in range(len(networks))]),
        checkpoint=checkpoint,
    )
    after_epochs = {name: values[1:].double().numpy() for name, values in trained.measured.items()}
    diverged = trained.table.groupby("seed")["diverged_update"].first()
    rows = []
    for network in range(config.seeds):
        for layer in range(config.layers):
            found = movement({name: values[:, network, layer] for name, values in after_epochs.items()})
            place = {"seed": network, "layer": layer + 1, "diverged": diverged[network]}
            rows += [{**place, "quantity": name, **_over_units(values)} for name, values in found.items()]
    described = {"activation": cell.activation, "data": data.name, "examples": len(data.train)}
    settings = {name: getattr(config, name) for name in ("epochs", "units", "learning_rate", "batch_size")}
    return pandas.DataFrame(rows).assign(**described, **settings).reindex(columns=list(COLUMNS))


@torch.no_grad()
def unit_statistics(
    network: Any, inputs: Float[Tensor, "examples features"]
) -> dict[str, Float[Tensor, "layers units"]]:
    """Of each hidden unit: exact medians (the lower middle value) and variances over `inputs`.

    `network`: Linear, activation, …, Linear (`fully_connected`), with hidden layers of one width.
    """
    layers = []
    for linear, function in zip(network[:-1:2], network[1::2], strict=True):
        net = linear(inputs)
        inputs = function(net)
        net_median = net.T.contiguous().median(dim=1).values
        layers.append(
            {
                "median": function(net_median),
                "net_median": net_median,
                "activation_variance": inputs.var(0, correction=0),
                "net_input_variance": net.var(0, correction=0),
            }
        )
    return _stacked(layers)


def _stacked(measured: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([found[name] for found in measured]) for name in measured[0]}


def movement(after_epochs: Mapping[str, Float[np.ndarray, "epochs units"]]) -> dict[str, Float[np.ndarray, " units"]]:
    """QUANTITIES of one layer, from its `unit_statistics` after each epoch; over n epochs variances divide by n − 1."""
    variance = after_epochs["median"].var(0, ddof=1)
    net_variance = after_epochs["net_median"].var(0, ddof=1)
    activation_variance = after_epochs["activation_variance"].mean(0)
    net_input_variance = after_epochs["net_input_variance"].mean(0)
    return {
        "variance": variance,
        "change_variance": np.diff(after_epochs["median"], axis=0).var(0, ddof=1),
        "net_variance": net_variance,
        "activation_variance": activation_variance,
        "net_input_variance": net_input_variance,
        "relative_variance": variance
        / np.where((variance == 0) & (activation_variance == 0), 1.0, activation_variance),
        "relative_net_variance": net_variance / net_input_variance,
    }


def _over_units(values: Float[np.ndarray, " units"]) -> dict[str, float]:
    """Mean, quantiles and share of zeros; NaN for a run that diverged."""
    quantiles = np.quantile(values, list(_QUANTILES.values()))
    still = np.nan if np.isnan(values).any() else float((values == 0).mean())
    return {"mean": float(values.mean()), **dict(zip(_QUANTILES, quantiles.tolist(), strict=True)), "still": still}


# --- verdicts -------------------------------------------------------------------------------------------------------


def run_statistics(table: Any) -> Any:
    """One row an activation and seed, with the numbers that the claims compare; inf for a run that diverged."""
    layers = table.groupby(["activation", "seed", "quantity"])[["mean", "q50"]].mean().unstack("quantity")
    mean = layers["mean"]
    runs = pandas.DataFrame(
        {
            "variance": np.log(mean["variance"]),
            "change_variance": np.log(mean["change_variance"]),
            "relative_variance": np.log(mean["variance"] / mean["activation_variance"]),
            "relative_net_variance": np.log(mean["net_variance"] / mean["net_input_variance"]),
            "typical_variance": layers["q50"]["variance"],
        }
    )
    return runs.fillna(np.inf).reset_index()


def decisions(table: Any) -> list[Decision]:
    """The verdicts of CLAIMS."""
    runs = run_statistics(table)
    return decide(CLAIMS, {c.identifier: paired_differences(runs, c.identifier, "relu", "elu") for c in CLAIMS})


def summary(table: Any) -> str:
    """Layer means of the quantities, the verdicts, and whether the paper's claim depends on the scale."""
    means = table.pivot_table(
        index=["quantity", "layer"], columns="activation", values="mean", sort=False, dropna=False
    )
    means["ratio"] = means["relu"] / means["elu"]
    still = table[table["quantity"] == "variance"].groupby("activation")["still"].mean()
    lost = table[table["diverged"].notna()].groupby("activation")["seed"].nunique()
    found = decisions(table)
    verdicts = {decision.claim.identifier: decision.verdict for decision in found}
    freed = [verdicts[name] for name in ("relative_variance", "relative_net_variance")]
    same = all(verdict == verdicts["variance"] for verdict in freed)
    dependence = "does not depend" if same else "depends"
    ratios = [f"{np.exp(d.effect):.3g} [{np.exp(d.low):.3g}, {np.exp(d.high):.3g}]" for d in found[:4]]
    return "\n".join(
        [
            _setting(table),
            means.to_string(float_format="%.3g"),
            f"units whose median never moves: {100 * still['elu']:.3g} % of ELUs, {100 * still['relu']:.3g} % of ReLUs",
            *(f"{count} runs of {label_of(str(name))} diverged" for name, count in lost.items()),
            *(str(decision) for decision in found),
            f"ReLU / ELU: {ratios[0]}; of the changes {ratios[1]}; relative {ratios[2]}; of net inputs {ratios[3]}",
            f"the paper's verdict {dependence} on whether variances are taken relative to the units' own",
        ]
    )


def _setting(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    return (
        f"{row['data']}, {row['examples']:,} training examples; {table['layer'].max()} hidden layers × {row['units']}; "
        f"learning rate {row['learning_rate']:g}, batches of {row['batch_size']}, {row['epochs']} epochs; "
        f"{table['seed'].nunique()} seeds"
    )


# --- the figure -----------------------------------------------------------------------------------------------------

_PANELS = {
    "variance": "(a) variance of the median activation",
    "change_variance": "(b) variance of its changes",
    "relative_variance": "(c) as (a), relative to the variance over examples",
    "relative_net_variance": "(d) as (c), of the median net input",
}


def draw(table: Any) -> Figure:
    """Distribution over units by layer, quantiles averaged over seeds: 5–95 %, quartiles, median, and the mean."""
    with style():
        figure = Figure(figsize=(7.0, 5.0), layout="constrained")
        panels: Any = figure.subplots(2, 2, sharex=True)
        for panel, (quantity, title) in zip(panels.flat, _PANELS.items(), strict=True):
            shown = table[table["quantity"] == quantity]
            for side, name in ((-0.17, "elu"), (0.17, "relu")):
                _draw_boxes(panel, name, shown[shown["activation"] == name], side)
            panel.set_yscale("symlog", linthresh=_smallest(shown), linscale=0.4)
            panel.set_ylim(bottom=0)
            panel.set_title(title)
        for panel in panels[1]:
            panel.set_xlabel("hidden layer")
            panel.set_xticks(range(1, int(table["layer"].max()) + 1))
        panels[0, 0].set_ylabel("variance over epochs")
        panels[1, 0].set_ylabel("over epochs / over examples")
        panels[1, 1].legend(frameon=False, loc="lower right")
        key = "units of a layer, averaged over seeds: 5 %, quartiles, median, 95 %; symbols: their mean"
        figure.suptitle(f"{_setting(table)}\n{key}", fontsize=8)
    return figure


def _draw_boxes(panel: Any, name: str, shown: Any, side: float) -> None:
    look = look_of(name)
    layers = shown.groupby("layer")[["mean", *_QUANTILES]].mean()
    x = layers.index.to_numpy(float) + side
    panel.vlines(x, layers["q05"], layers["q95"], color=look.colour, linewidth=1.2)
    panel.vlines(x, layers["q25"], layers["q75"], color=look.colour, linewidth=6, alpha=0.45)
    panel.plot(x, layers["q50"], "_", color=look.colour, markersize=10, clip_on=False)
    diverged = int(shown.groupby("seed")["diverged"].max().notna().sum())
    label = f"{look.label} ({diverged} diverged)" if diverged else look.label
    panel.plot(x, layers["mean"], look.marker, color=look.colour, markersize=4, markeredgecolor="white", label=label)


def _smallest(shown: Any) -> float:
    """The power of ten at or below the smallest quartile that is not 0; what is smaller is drawn on a linear scale."""
    quartiles = shown.groupby(["activation", "layer"])[["q25", "q50"]].mean().to_numpy()
    positive = quartiles[quartiles > 0]
    return 10.0 ** np.floor(np.log10(positive.min())) if len(positive) else 1e-6
