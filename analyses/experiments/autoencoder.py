"""Do deep autoencoders of ELUs reconstruct best, at every learning rate? Figure 3 of arXiv 1511.07289 (E3).

Fully connected, an encoder and its mirror image, plain stochastic gradient descent; at a seed the same initial weights
and batches for every activation. The error, trained on and reported, is the mean squared error per pixel, of pixels in
[0, 1]. The paper leaves open: the error's unit (with the sum over pixels in place of the mean, ELUs diverge at the
largest of its learning rates), the weights before training (here He's, which give ELUs larger outputs than ReLUs and so
a larger error to start from), and the output, linear here; the code is activated as every other hidden layer is.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analyses.data import datasets
from analyses.data.datasets import Dataset, Split
from analyses.framework.claims import Claim, Decision, decide, paired_differences
from analyses.framework.settings import (
    BatchSize,
    DataName,
    Epochs,
    Examples,
    LearningRates,
    Names,
    NegativeSlope,
    Seeds,
    check_activations,
    named_activation,
)
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected
from analyses.networks.training import Training, fabric_on, train
from analyses.networks.training_cost import classifier_shape, training_cost
from elutheory.numerics.cost import Cost
from elutheory.output.domains import Several, Whole, check_domains
from elutheory.output.figures import label_of, look_of, style


@dataclass(frozen=True)
class Config:
    """Autoencoders of one shape, trained at several learning rates."""

    data: DataName = "digits"
    activations: Names = ("elu", "relu", "leaky_relu", "shifted_relu")
    """Registry names; the claims set elu against the others."""
    negative_slope: NegativeSlope = 0.1
    encoder: Annotated[tuple[int, ...], Several(Whole(1, 10**5), repeated=True)] = (1000, 500, 250, 30)
    """Units of its layers, the code last; the decoder mirrors them."""
    epochs: Epochs = 500
    learning_rates: LearningRates = (1e-2, 1e-3, 1e-4, 1e-5)
    """Of plain stochastic gradient descent."""
    batch_size: BatchSize = 64
    examples: Examples = 0
    seeds: Seeds = 10


PRESETS = {"quick": Config(encoder=(64, 32, 16, 8), epochs=20, seeds=9), "paper": Config()}

_LEVEL = 0.05
_SPLITS = ("training", "test")


def claims(learning_rates: tuple[float, ...]) -> list[Claim]:
    """One claim per learning rate and split; fixed before measuring."""
    return [
        Claim(
            f"{split}: {rate:g}",
            f"At learning rate {rate:g} ELU's {split} error is the lowest.",
            "ELU − the lowest of the others",
            "ln of the mean squared error per pixel after the last epoch",
            "less",
            _LEVEL,
        )
        for split in _SPLITS
        for rate in learning_rates
    ]


@dataclass(frozen=True)
class Cell:
    """All seeds and learning rates of one activation, trained at once."""

    activation: str


def cells(config: Config) -> list[Cell]:
    """One cell per activation. Raises InputError on repeated or unknown ones and sizes that are too small."""
    check_domains(config)
    check_activations(config.activations, config.negative_slope)
    return [Cell(name) for name in config.activations]


def cost(config: Config) -> Cost:
    """Of training, with training and validation examples evaluated after every epoch."""
    examples, (features, *_) = classifier_shape(config.data, config.examples, ())
    sizes = (features, *config.encoder, *reversed(config.encoder[:-1]), features)
    networks = config.seeds * len(config.learning_rates)
    each = training_cost(
        sizes,
        networks=networks,
        examples=examples,
        epochs=config.epochs,
        batch_size=config.batch_size,
        evaluated=examples,
    )
    return each * len(config.activations)


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per activation, seed, learning rate and epoch; COLUMNS says what it holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str, checkpoint: Path | None = None) -> pandas.DataFrame:
    """The rows of one activation."""
    function = named_activation(cell.activation, config.negative_slope)
    data = datasets.load(config.data).flattened()
    data = data.subset(config.examples) if config.examples else data
    (pixels,) = data.shape
    sizes = (pixels, *config.encoder, *config.encoder[-2::-1], pixels)
    trained = train(
        lambda: fully_connected(sizes, function),
        Reconstruction.of(data),
        Training(
            epochs=config.epochs,
            seeds=tuple(range(config.seeds)),
            learning_rates=config.learning_rates,
            batch_size=config.batch_size,
            loss="mean_squared_error",
            evaluated=("train", "test"),
        ),
        fabric=fabric_on(device),
        checkpoint=checkpoint,
    )
    names = {"whole_train_loss": "training_error", "test_loss": "test_error", "diverged_update": "diverged"}
    return (
        trained.table.rename(columns=names)
        .assign(
            activation=cell.activation,
            data=data.name,
            examples=len(data.train),
            encoder="-".join(map(str, config.encoder)),
            batch_size=config.batch_size,
            negative_slope=config.negative_slope,
        )
        .reindex(columns=list(COLUMNS))
    )


@dataclass(frozen=True)
class Reconstruction:
    """Splits whose targets are their inputs."""

    train: Split
    validation: Split
    test: Split

    @classmethod
    def of(cls, data: Dataset) -> "Reconstruction":
        """Every split of the data set with its inputs as targets."""
        inputs = (data.train.inputs, data.validation.inputs, data.test.inputs)
        return cls(*(Split(images, images) for images in inputs))


COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "learning_rate": "of stochastic gradient descent",
    "seed": "of the initial weights and of the order of the batches",
    "epoch": "epochs of training before the measurement",
    "training_error": "mean squared error per pixel over all training examples after the epoch",
    "test_error": "the same over the test examples",
    "diverged": "updates after which the loss had diverged: no numbers from that epoch on; nan: never",
    "data": "name of the data set",
    "examples": "training examples",
    "encoder": "units of the encoder's layers",
    "batch_size": "examples an update",
    "negative_slope": "of leaky_relu",
}


# --- verdicts -------------------------------------------------------------------------------------------------------


def final_errors(table: Any) -> Any:
    """One row per activation, learning rate and seed: errors after the last epoch, inf for a run that diverged."""
    last = table[table["epoch"] == table["epoch"].max()].copy()
    last.loc[last["diverged"].notna(), [f"{split}_error" for split in _SPLITS]] = np.inf
    return last


def decisions(table: Any) -> list[Decision]:
    """The verdicts of the claims; none where ELU or all others were not run."""
    final = final_errors(table)
    ours = final["activation"] == "elu"
    if ours.all() or not ours.any():
        return []
    errors = [f"{split}_error" for split in _SPLITS]
    others = final[~ours].groupby(["learning_rate", "seed"])[errors].min().reset_index()
    both = pandas.concat([final[ours], others.assign(activation="others")], ignore_index=True)
    with np.errstate(divide="ignore"):
        both[errors] = np.log(both[errors])
    rates = tuple(table["learning_rate"].unique())
    differences = {
        f"{split}: {rate:g}": paired_differences(both[both["learning_rate"] == rate], f"{split}_error", "elu", "others")
        for split in _SPLITS
        for rate in rates
    }
    return decide(claims(rates), differences)


def summary(table: Any) -> str:
    """Mean errors before training and after the last epoch, runs that diverged, and the verdicts."""
    lines = [_setting(table), "", "mean squared error per pixel, mean over seeds"]
    columns = ["activation", "learning_rate"]
    epochs = {"before": table[table["epoch"] == 0], "after": table[table["epoch"] == table["epoch"].max()]}
    means = {
        f"{split} error {when}": rows.groupby(columns, sort=False)[f"{split}_error"].mean(skipna=False)
        for split in _SPLITS
        for when, rows in epochs.items()
    }
    lines += [pandas.DataFrame(means).to_string(float_format="%.4g", na_rep="diverged"), ""]
    lines += [f"{label_of(name)} at learning rate {rate:g}: {count}" for (name, rate), count in _diverged(table)]
    lines += [str(decision) for decision in decisions(table)]
    return "\n".join(lines)


def _diverged(table: Any) -> list[tuple[Any, str]]:
    """(activation, learning rate) and how many of its runs diverged, where any did."""
    runs = table[table["epoch"] == table["epoch"].max()].groupby(["activation", "learning_rate"], sort=False)
    counts = [(key, int(rows["diverged"].notna().sum()), len(rows)) for key, rows in runs]
    return [(key, f"{count} of {runs} diverged") for key, count, runs in counts if count]


def _setting(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row, epochs = table.iloc[0], table["epoch"].max()
    updates = epochs * -(-row["examples"] // row["batch_size"])
    return (
        f"{row['data']}, {row['examples']:,} training examples; encoder {row['encoder']} and its mirror; batches of "
        f"{row['batch_size']}, {epochs} epochs ({updates:,} updates); {table['seed'].nunique()} seeds"
    )


# --- the figure -----------------------------------------------------------------------------------------------------


def draw(table: Any) -> Figure:
    """Error by epoch, a column per learning rate, training above test: median over seeds and their range."""
    rates, names = table["learning_rate"].unique().tolist(), table["activation"].unique().tolist()
    with style():
        figure = Figure(figsize=(1.0 + 1.6 * max(len(rates), 3), 4.2), layout="constrained")
        panels: Any = figure.subplots(len(_SPLITS), len(rates), sharex=True, sharey=True, squeeze=False)
        for (row, column), panel in np.ndenumerate(panels):
            at_rate = table[table["learning_rate"] == rates[column]]
            panel.set_yscale("log")  # before the curves, of which there may be none
            for name in names:
                _draw_curves(panel, name, at_rate[at_rate["activation"] == name], f"{_SPLITS[row]}_error")
            if row == 0:
                panel.set_title(f"learning rate {rates[column]:g}")
                gone = [f"{label_of(name)}: {count}" for (name, _), count in _diverged(at_rate)]
                panel.text(0.97, 0.97, "\n".join(gone), transform=panel.transAxes, fontsize=7, ha="right", va="top")
        for row, split in enumerate(_SPLITS):
            panels[row, 0].set_ylabel(f"{split} error\n(mean square per pixel)")
        for panel in panels[-1]:
            panel.set_xlabel("epoch")
        looks = [look_of(name) for name in names]
        lines = [Line2D([], [], color=look.colour, linestyle=look.line, label=look.label) for look in looks]
        figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False, fontsize=8)
        figure.suptitle(_setting(table), fontsize=8, wrap=True)
    return figure


def _draw_curves(panel: Any, name: str, curves: Any, column: str) -> None:
    """Of the runs that did not diverge: a median over the others alone would drop once the worst have left."""
    look = look_of(name)
    kept = curves[curves.groupby("seed")["diverged"].transform("max").isna()]
    values = kept.pivot(index="epoch", columns="seed", values=column)
    panel.plot(values.index, values.median(axis=1), color=look.colour, linestyle=look.line, linewidth=1.2)
    low, high = values.min(axis=1), values.max(axis=1)
    panel.fill_between(values.index, low, high, color=look.colour, alpha=0.2, linewidth=0)
