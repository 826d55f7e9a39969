"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from analyses.framework.settings import (
    BatchSize,
    DataName,
    Epochs,
    Examples,
    LearningRates,
    Names,
    NegativeSlope,
    SeedCount,
    UnitsPerLayer,
)
from elutheory.output.domains import Several, Whole


@dataclass(frozen=True)
class Config:
    """Networks of several depths, trained on data standardised by one mean and one deviation."""

    data: DataName = "digits"
    activations: Names = ("elu", "relu", "leaky_relu")
    """Registry names; the claims are about these three."""
    negative_slope: NegativeSlope = 0.1
    depths: Annotated[tuple[int, ...], Several(Whole(1, 1000))] = (2, 4, 6, 8, 12, 16)
    """Numbers of hidden layers."""
    units: UnitsPerLayer = 128
    epochs: Epochs = 300
    learning_rates: LearningRates = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    """The grid of each activation and depth, of plain stochastic gradient descent."""
    tuning_seeds: SeedCount = 5
    """Sets of initial weights and batch orders that choose the learning rate."""
    batch_size: BatchSize = 64
    examples: Examples = 0
    seeds: SeedCount = 10
    """Further sets, which are compared."""


PRESETS = {
    "quick": Config(depths=(2, 4, 8, 16), units=32, epochs=8, learning_rates=(0.01, 0.03, 0.1, 0.3), tuning_seeds=2),
    "paper": Config(),
}

SHALLOW = 4
"""Hidden layers up to which a network is shallow: the paper claims its gap for more layers."""
RIVALS = ("relu", "leaky_relu")

COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "depth": "hidden layers",
    "use": "tuning: to choose the learning rate; comparison: at the learning rate chosen",
    "learning_rate": "of stochastic gradient descent",
    "seed": "of the initial weights and of the order of the batches",
    "training_loss": "mean cross-entropy of the last epoch's batches, each before its update (nats)",
    "validation_loss": "of tuning: mean cross-entropy of the validation examples after the last epoch (nats)",
    "validation_error": "of tuning: share of the validation examples misclassified after the last epoch",
    "test_error": "of comparison: share of the test examples misclassified after the last epoch",
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
        f"{row['data']}, {row['examples']:,} training examples; {row['units']} units a layer; batches of "
        f"{row['batch_size']}, {row['epoch']} epochs;\nlearning rate: best of {rates} on the validation examples, "
        f"{choosing} seeds; {compared['seed'].nunique()} other seeds compared"
    )


def of_use(table: Any, use: str) -> Any:
    """The rows of the networks that choose the learning rate ("tuning") or are compared ("comparison")."""
    return table[table["use"] == use]
