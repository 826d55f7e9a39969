"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from analyses.framework.settings import (
    BatchSize,
    DataName,
    Epochs,
    Examples,
    HiddenLayers,
    Names,
    NegativeSlope,
    Positive,
    Seeds,
    UnitsPerLayer,
)
from elutheory.output.domains import Whole


@dataclass(frozen=True)
class Config:
    """Networks of `layers` hidden layers of `units`, trained on data standardised by one mean and one deviation."""

    data: DataName = "digits"
    activations: Names = ("elu", "relu", "leaky_relu")
    """Registry names; the paper's, which are the claims', and shifted_relu."""
    negative_slope: NegativeSlope = 0.1
    layers: HiddenLayers = 8
    units: UnitsPerLayer = 128
    epochs: Epochs = 30
    learning_rate: Positive = 0.01
    """Of plain stochastic gradient descent."""
    batch_size: BatchSize = 64
    examples: Examples = 0
    measured: Annotated[int, Whole(1, 10**7)] = 1000
    """Training examples over which the unit means are taken, the same after every epoch; at most all."""
    seeds: Seeds = 12


PRESETS = {"quick": Config(epochs=8), "paper": Config(epochs=300, seeds=5)}

OF_THE_PAPER = {"elu", "relu", "leaky_relu", "shifted_relu"}

COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "seed": "of the initial weights and of the order of the batches",
    "epoch": "epochs of training before the measurement",
    "unit_mean_median": "median over all hidden units of the unit's mean activation over the measured examples",
    "training_loss": "mean cross-entropy of the epoch's batches, each before its update; at epoch 0 of all (nats)",
    "validation_loss": "mean cross-entropy of the validation examples after the epoch (nats)",
    "diverged": "updates after which the loss had diverged: no numbers from that epoch on; nan: never",
    "predicted": "at epoch 0: the median by P2; see `analyses.experiments.learning_behaviour.prediction`",
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


def setting_of(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    return (
        f"{row['data']}, {row['examples']:,} training examples; {row['layers']} hidden layers × {row['units']}; "
        f"learning rate {row['learning_rate']:g}, batches of {row['batch_size']}, {table['epoch'].max()} epochs; "
        f"{table['seed'].nunique()} seeds"
    )
