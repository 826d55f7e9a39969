"""Do unit means stay nearer zero, and does the loss fall faster, with ELUs? Figure 2 of arXiv 1511.07289 (E2).

Fully connected classifiers with He initialisation, plain stochastic gradient descent; at a seed the same initial
weights and batches for every activation. (a) After each epoch, the median over all hidden units of each unit's mean
activation over fixed training examples; before training, beside what P2 predicts from the data's mean second moment
and overlap, with the band of the networks' width (P6): nothing is fitted. (b) Training and validation cross-entropy.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from torch import Tensor, nn

from analyses.data import datasets
from analyses.experiments.initial_median import initial_median
from analyses.framework.claims import Claim, Decision, decide, paired_differences
from analyses.framework.settings import named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected, hidden_activations
from analyses.networks.training import Training, fabric_on, train
from elutheory.errors import InputError
from elutheory.output.figures import label_of, look_of, style


@dataclass(frozen=True)
class Config:
    """Networks of `layers` hidden layers of `units`, trained on data standardised by one mean and one deviation."""

    data: str = "digits"
    """digits, the path of a data set, or huggingface:NAME."""
    activations: tuple[str, ...] = ("elu", "relu", "leaky_relu")
    """Registry names; the paper's, which are the claims', and shifted_relu."""
    negative_slope: float = 0.1
    """Of leaky_relu."""
    layers: int = 8
    """Hidden layers."""
    units: int = 128
    """Of each hidden layer."""
    epochs: int = 30
    """Passes over the training examples."""
    learning_rate: float = 0.01
    """Of plain stochastic gradient descent."""
    batch_size: int = 64
    """Examples an update."""
    examples: int = 0
    """Training examples, classes in their shares; 0: all."""
    measured: int = 1000
    """Training examples over which the unit means are taken, the same after every epoch; at most all."""
    seeds: int = 12
    """Sets of initial weights and batch orders."""


PRESETS = {"quick": Config(), "paper": Config(epochs=300, seeds=5)}

_OF_THE_PAPER = {"elu", "relu", "leaky_relu", "shifted_relu"}
_LEVEL = 0.01
_ROUNDING = torch.finfo(torch.float32).eps  # a smaller loss is taken for it
_STATISTICS = {
    "distance": "|median unit mean|, averaged over the epochs",
    "log_training_loss": "ln training loss, averaged over the epochs",
    "last_training_loss": "training loss after the last epoch",
    "lowest_validation_loss": "lowest validation loss of all epochs",
}
_SENTENCES = {
    "distance": "ELU's median unit mean stays nearer zero than {}'s.",
    "log_training_loss": "ELU's training loss falls faster than {}'s.",
    "last_training_loss": "ELU ends at a lower training loss than {}.",
    "lowest_validation_loss": "ELU reaches a lower validation loss than {}.",
}
_RIVALS = ("relu", "leaky_relu")
CLAIMS = tuple(
    Claim(
        f"{statistic}: {rival}", sentence.format(label_of(rival)), f"ELU − {label_of(rival)}", described, "less", _LEVEL
    )
    for (statistic, described), sentence in zip(_STATISTICS.items(), _SENTENCES.values(), strict=True)
    for rival in _RIVALS
)
"""Fixed before the records: the paper's words on figure 2, made numbers in the ways that they leave open."""


@dataclass(frozen=True)
class Cell:
    """All seeds of one activation, trained at once."""

    activation: str


def cells(config: Config) -> list[Cell]:
    """One an activation. Raises InputError on repeated ones, ones not of the paper, and sizes below 1."""
    chosen = config.activations
    if not chosen or len(set(chosen)) < len(chosen) or not _OF_THE_PAPER.issuperset(chosen):
        known = ", ".join(sorted(_OF_THE_PAPER))
        raise InputError(f"activations are {', '.join(chosen) or 'none'}; give some of {known}, each once.")
    for name in ("layers", "units", "epochs", "measured", "seeds"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}; give 1 or more.")
    for name in config.activations:
        named_activation(name, config.negative_slope)
    return [Cell(name) for name in config.activations]


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row an activation, seed and epoch; COLUMNS says what it holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str, checkpoint: Path | None = None) -> pandas.DataFrame:
    """The rows of one activation."""
    function = named_activation(cell.activation, config.negative_slope)
    data = datasets.load(config.data).standardised("dataset").flattened()
    data = data.subset(config.examples) if config.examples else data
    measured = data.subset(min(config.measured, len(data.train))).train.inputs
    fabric = fabric_on(device)
    on_device = measured.to(fabric.device)
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
        measure=lambda networks: {"unit_mean_median": networks.map(median_unit_mean, on_device)},
        checkpoint=checkpoint,
    )
    table = trained.table.rename(columns={"train_loss": "training_loss", "diverged_update": "diverged"})
    prediction = initial_median(function, config.layers, config.units, *input_moments(measured))
    predicted = {"predicted": prediction.value, "predicted_low": prediction.low, "predicted_high": prediction.high}
    for name, value in predicted.items():
        table[name] = np.where(table["epoch"] == 0, value, np.nan)
    described = {"activation": cell.activation, "data": data.name, "examples": len(data.train)}
    settings = {name: getattr(config, name) for name in ("layers", "units", "batch_size", "negative_slope")}
    return table.assign(**described, **settings).reindex(columns=list(COLUMNS))


def median_unit_mean(network: nn.Sequential, inputs: Tensor) -> Tensor:
    """Median over all hidden units (the lower middle one) of the unit's mean activation over `inputs` (N, features)."""
    return torch.cat([activations.mean(0) for activations in hidden_activations(network, inputs)]).median()


def input_moments(inputs: Tensor) -> tuple[float, float]:
    """Means of |x|²/n and, over all pairs, of x·x'/n, of `inputs` (N, n)."""
    inputs = inputs.double()
    return inputs.square().mean().item(), inputs.mean(0).square().mean().item()


COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "seed": "of the initial weights and of the order of the batches",
    "epoch": "epochs of training before the measurement",
    "unit_mean_median": "median over all hidden units of the unit's mean activation over the measured examples",
    "training_loss": "mean cross-entropy of the epoch's batches, each before its update; at epoch 0 of all (nats)",
    "validation_loss": "mean cross-entropy of the validation examples after the epoch (nats)",
    "diverged": "updates after which the loss had diverged: no numbers from that epoch on; nan: never",
    "predicted": "at epoch 0: the median by P2; see `analyses.experiments.initial_median`",
    "predicted_low": "at epoch 0: 2.5 % of networks of this width are below",
    "predicted_high": "at epoch 0: 2.5 % of networks of this width are above",
    "data": "name of the data set",
    "examples": "training examples",
    "layers": "hidden layers",
    "units": "of each hidden layer",
    "learning_rate": "of stochastic gradient descent",
    "batch_size": "examples an update",
    "negative_slope": "of leaky_relu",
}


# --- verdicts -------------------------------------------------------------------------------------------------------


def run_statistics(table: Any) -> Any:
    """One row an activation and seed, with the numbers that the claims compare; inf for a run that diverged."""
    trained = table[table["epoch"] > 0].assign(
        distance=lambda runs: runs["unit_mean_median"].abs(),
        log_training_loss=lambda runs: np.log(np.maximum(runs["training_loss"], _ROUNDING)),
        last_training_loss=lambda runs: runs["training_loss"].where(runs["epoch"] == runs["epoch"].max()),
        lowest_validation_loss=lambda runs: runs["validation_loss"],
    )
    aggregated = {"distance": "mean", "log_training_loss": "mean"}
    aggregated |= {"last_training_loss": "max", "lowest_validation_loss": "min"}
    runs = trained.groupby(["activation", "seed"], sort=False).agg({**aggregated, "diverged": "max"}).reset_index()
    runs.loc[runs["diverged"].notna(), list(aggregated)] = np.inf
    return runs.drop(columns="diverged")


def decisions(table: Any) -> list[Decision]:
    """The verdicts of CLAIMS, but of those about activations that were not run."""
    runs = run_statistics(table)
    there = set(runs["activation"])
    claims = [claim for claim in CLAIMS if {"elu", _rival(claim)} <= there]
    differences = {
        claim.identifier: paired_differences(runs, claim.identifier.partition(":")[0], "elu", _rival(claim))
        for claim in claims
    }
    return decide(claims, differences) if claims else []


def _rival(claim: Claim) -> str:
    return claim.identifier.partition(": ")[2]


def summary(table: Any) -> str:
    """Predicted and measured medians before training, the statistics of the runs, and the verdicts."""
    lines = [_setting(table), "", "median unit mean before training: P2's prediction [band of a network], measured"]
    for name, start in table[table["epoch"] == 0].groupby("activation", sort=False):
        measured = start["unit_mean_median"]
        value, low, high = start[["predicted", "predicted_low", "predicted_high"]].iloc[0]
        inside = int(measured.between(low, high).sum())
        lines.append(
            f"  {label_of(str(name))}: {value:.3f} [{low:.3f}, {high:.3f}], measured {measured.mean():.3f} "
            f"± {measured.std():.3f}, {inside} of {len(measured)} networks in the band"
        )
    runs = run_statistics(table).groupby("activation", sort=False)
    diverged = {str(name): int(np.isinf(found["distance"]).sum()) for name, found in runs}
    means = runs[list(_STATISTICS)].mean()
    shifts = (f"{label_of(name)} {start:.3f} to {end:.3f}" for name, start, end in _shifts(table))
    lines += [
        "",
        f"mean over seeds of the median unit mean, before training and after the last epoch: {'; '.join(shifts)}",
    ]
    lines += ["", "means over seeds", means.to_string(float_format="%.4g"), ""]
    lines += [f"{count} runs of {label_of(name)} diverged" for name, count in diverged.items() if count]
    lines += [str(decision) for decision in decisions(table)]
    return "\n".join(lines)


def _shifts(table: Any) -> list[tuple[str, float, float]]:
    """Activation, mean over seeds of its median unit mean before training and at the end."""
    means = table.groupby(["activation", "epoch"], sort=False)["unit_mean_median"].mean().unstack("epoch")
    return [(str(name), row.iloc[0], row.iloc[-1]) for name, row in means.iterrows()]


def _setting(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    return (
        f"{row['data']}, {row['examples']:,} training examples; {row['layers']} hidden layers × {row['units']}; "
        f"learning rate {row['learning_rate']:g}, batches of {row['batch_size']}, {table['epoch'].max()} epochs; "
        f"{table['seed'].nunique()} seeds"
    )


# --- the figure -----------------------------------------------------------------------------------------------------


def draw(table: Any) -> Figure:
    """Median over seeds and their range, by epoch: (a) the median unit mean, (b) training and validation loss."""
    with style():
        figure = Figure(figsize=(7.2, 3.0), layout="constrained")
        panels: Any = figure.subplots(1, 3, sharex=True)
        panels[2].sharey(panels[1])
        names = table["activation"].unique().tolist()
        for order, name in enumerate(names):
            curves = table[table["activation"] == name]
            for panel, column in zip(panels, ("unit_mean_median", "training_loss", "validation_loss"), strict=True):
                _draw_curves(panel, name, curves, column)
            _draw_prediction(panels[0], name, curves, place=(order - len(names)) / 40 * table["epoch"].max())
        titles = ("(a) median over units of their means", "(b) training loss", "(b) validation loss")
        for panel, title in zip(panels, titles, strict=True):
            panel.set_title(title)
            panel.set_xlabel("epoch")
        panels[0].axhline(0.0, color="0.7", linewidth=0.6, zorder=0)
        panels[0].errorbar([], [], [], fmt="_", color="0.3", label="predicted, no fit")
        panels[0].legend(handles=panels[0].containers[-1:], frameon=False, fontsize=8, loc="lower right")
        panels[0].set_ylabel("mean activation")
        panels[1].set_yscale("log")
        lowest, highest = panels[1].get_ylim()
        panels[1].yaxis.set_major_locator(LogLocator(subs=(1.0,) if highest > 1e3 * lowest else (1.0, 2.0, 5.0)))
        panels[1].yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
        panels[1].yaxis.set_minor_formatter(NullFormatter())
        panels[1].set_ylabel("cross-entropy (nats)")
        panels[2].legend(frameon=False, loc="best")
        figure.suptitle(f"{_setting(table)}\nmedian over seeds and range", fontsize=8)
    return figure


def _draw_curves(panel: Any, name: str, curves: Any, column: str) -> None:
    look = look_of(name)
    values = curves.pivot(index="epoch", columns="seed", values=column)
    values = values[values.notna().any(axis=1)]
    middle, lowest, highest = values.median(axis=1), values.min(axis=1), values.max(axis=1)
    diverged = int(curves.groupby("seed")["diverged"].max().notna().sum())
    label = f"{look.label} ({diverged} diverged)" if diverged else look.label
    panel.plot(values.index, middle, color=look.colour, linestyle=look.line, label=label)
    panel.fill_between(values.index, lowest, highest, color=look.colour, alpha=0.2, linewidth=0)


def _draw_prediction(panel: Any, name: str, curves: Any, place: float) -> None:
    value, low, high = curves.loc[curves["epoch"] == 0, ["predicted", "predicted_low", "predicted_high"]].iloc[0]
    panel.errorbar([place], [value], [[value - low], [high - value]], fmt="_", color=look_of(name).colour, markersize=6)
