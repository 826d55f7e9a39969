"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from analyses.framework.settings import (
    BatchSize,
    ComparedSeeds,
    DataName,
    Examples,
    LearningRateGrid,
    Names,
    NegativeSlope,
    TuningSeeds,
    UnitsPerLayer,
    Widenings,
    data_in_words,
)
from elutheory.output.domains import Several, Whole


@dataclass(frozen=True)
class Config:
    """Networks of several depths, trained on data standardised by one mean and one deviation."""

    data: DataName = "digits"
    activations: Names = ("elu", "relu", "leaky_relu")
    """Registry names; the claims are about these three."""
    negative_slope: NegativeSlope = 0.1
    depths: Annotated[tuple[int, ...], Several(Whole(1, 1000))] = (2, 4, 5, 6, 8, 12)
    """Numbers of hidden layers."""
    units: UnitsPerLayer = 128
    epochs: Annotated[int, Whole(5, 10**6)] = 15
    """Passes over the training examples, 5 or more: learning rates are a fifth of the chosen one from three fifths of
    them on, a 25th in the last fifth, over which test errors are averaged."""
    learning_rates: LearningRateGrid = (0.02, 0.04, 0.08, 0.16)
    """The first grid of each activation and depth, by factors of two."""
    widenings: Widenings = 4
    tuning_seeds: TuningSeeds = 2
    batch_size: BatchSize = 64
    examples: Examples = 0
    seeds: ComparedSeeds = 12


PRESETS = {
    "quick": Config(
        depths=(2, 6), units=32, epochs=5, learning_rates=(0.1, 0.2, 0.4), widenings=1, tuning_seeds=1, seeds=10
    ),
    "paper": Config(examples=10_000),
}
FIRST_SEED, FIRST_TUNING_SEED = 7000, 7_000_000
"""Seeds below the first were used on other data before the claims were stated."""
RATE_FACTORS = ((0.6, 0.2), (0.8, 0.04))
"""From this share of the training on, the learning rate times this factor."""
AVERAGED = 0.2
"""Share of the epochs, the last ones, over which errors are averaged: those at the lowest rate."""

SHALLOW = 4
"""Hidden layers up to which a network is shallow: the paper's first version claims its lead for more."""
DEEP = 5
"""The same of the last version."""
RIVALS = ("relu", "leaky_relu")

COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "depth": "hidden layers",
    "use": "tuning: to choose the learning rate; comparison: at the learning rate chosen",
    "learning_rate": "of stochastic gradient descent",
    "seed": "of the initial weights and of the order of the batches",
    "training_loss": "mean cross-entropy of the last epoch's batches, each before its update (nats)",
    "chance_loss": "entropy of the training examples' classes: the least loss of a constant output (nats)",
    "validation_loss": "of tuning: mean cross-entropy of the validation examples, mean of the last fifth of the epochs",
    "validation_error": "of tuning: share of the validation examples misclassified, mean of the last fifth",
    "test_error": "of comparison: share of the test examples misclassified, mean of the last fifth of the epochs",
    "diverged": "updates after which the loss had diverged: the network has no numbers; nan: never",
    "epoch": "epochs of training",
    "data": "name of the data set",
    "examples": "training examples",
    "units": "of each hidden layer",
    "batch_size": "examples an update",
    "negative_slope": "of leaky_relu",
}


def setting_of(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row, tuning, compared = table.iloc[0], of_use(table, "tuning"), of_use(table, "comparison")
    rates, choosing = tuning["learning_rate"].nunique(), tuning["seed"].nunique()
    return (
        f"{data_in_words(row['data'])}, {row['examples']:,} training examples; {row['units']} units a layer; batches "
        "of "
        f"{row['batch_size']}, {row['epoch']} epochs;\nlearning rate: best of up to {rates} on the validation "
        f"examples, {choosing} seeds; {compared['seed'].nunique()} other seeds compared"
    )


def of_use(table: Any, use: str) -> Any:
    """The rows of the networks that choose the learning rate ("tuning") or are compared ("comparison")."""
    return table[table["use"] == use]
