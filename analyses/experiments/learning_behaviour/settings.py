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
    data_in_words,
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


PRESETS = {
    "quick": Config(epochs=8, seeds=5),
    "paper": Config(activations=("elu", "relu", "leaky_relu", "shifted_relu"), epochs=300, seeds=5),
}

OF_THE_PAPER = {"elu", "relu", "leaky_relu", "shifted_relu"}
FIRST_SEED = 5000
"""Seeds below it were used on other data before the claims were stated."""

LOSSES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Training losses in nats to which epochs are counted, by factors of about three, from an eighth of chance on."""
SHOWN_EPOCHS = (0, 1, 3, 10, 30, 100, 300)
"""After which the layers have rows of their own; after the last epoch as well."""

COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "seed": "of the initial weights and of the order of the batches",
    "epoch": "epochs of training before the measurement",
    "layer": "0: the whole network; otherwise the number of the hidden layer, from 1, after SHOWN_EPOCHS and the last",
    "unit_mean_median": "median over the (layer's) hidden units of the unit's mean activation over the measured "
    "examples",
    "unit_mean_low": "of a layer: the 5 % quantile over units in place of the median",
    "unit_mean_high": "of a layer: the 95 % quantile",
    "mean_share": "Σ (E a)²/Σ E a² over the layer's units (P2b); of a network the layers' average",
    "gaussian_median": "of a layer: the median if every unit's net input were Gaussian with its mean and variance (M3)",
    "gaussian_share": "of a layer: the mean share so",
    "training_loss": "mean cross-entropy of the epoch's batches, each before its update; at epoch 0 of all (nats)",
    "validation_loss": "mean cross-entropy of the validation examples after the epoch (nats)",
    "test_error": "share of the test examples misclassified after the epoch",
    "diverged": "updates after which the loss had diverged: no numbers from that epoch on; nan: never",
    "predicted": "at epoch 0: the network's median by P2, a layer's mean share by P2b; see `prediction.py`",
    "predicted_low": "at epoch 0: 2.5 % of networks of this width are below",
    "predicted_high": "at epoch 0: 2.5 % of networks of this width are above",
    "chance_loss": "entropy of the training examples' classes: the least loss of a constant output (nats)",
    "chance_error": "share of the test examples that are not of the training examples' most frequent class",
    "data": "name of the data set",
    "examples": "training examples",
    "layers": "hidden layers",
    "units": "of each hidden layer",
    "learning_rate": "of stochastic gradient descent",
    "batch_size": "examples an update",
    "negative_slope": "of leaky_relu",
}


def whole_networks(table: Any) -> Any:
    """The rows of whole networks; records made before layers had rows have no others."""
    return table[table["layer"] == 0] if "layer" in table else table


def setting_of(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    return (
        f"{data_in_words(row['data'])}, {row['examples']:,} training examples; {row['layers']} hidden layers × "
        f"{row['units']}; "
        f"learning rate {row['learning_rate']:g}, batches of {row['batch_size']}, {table['epoch'].max()} epochs; "
        f"{table['seed'].nunique()} seeds"
    )
