"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from analyses.framework.settings import (
    BatchSize,
    DataName,
    Epochs,
    Examples,
    HiddenLayers,
    NegativeSlope,
    UnitsPerLayer,
)


@dataclass(frozen=True)
class Config:
    """Classifiers of `layers` hidden layers of `units`, trained on data standardised feature by feature."""

    data: DataName = "digits"
    examples: Examples = 0
    features: int = 0
    """Leading principal components of the training inputs that are kept as inputs; 0: the inputs as they are."""
    activations: tuple[str, ...] = ("elu", "relu")
    """Registry names; the claims are about elu and relu."""
    negative_slope: NegativeSlope = 0.1
    layers: HiddenLayers = 4
    units: UnitsPerLayer = 32
    epochs: Epochs = 8
    batch_size: BatchSize = 64
    learning_rates: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0)
    """The grid of SGD, alone, with batch normalisation and with centring."""
    natural_learning_rates: tuple[float, ...] = (0.002, 0.004, 0.008, 0.016, 0.032, 0.064)
    """The unit natural gradient's grid, of as many rates."""
    damping: float = 1e-2
    """λ as a multiple of the mean diagonal of a unit's Fisher matrix."""
    decay: float = 0.95
    """Of the running Fisher matrices and means, an update."""
    max_kl: float = 1e-3
    """Natural-gradient updates are shortened to this many nats."""
    measured: int = 256
    """Training examples over which cosine and mean share are taken after each epoch of plain SGD."""
    tuned_by: Literal["validation", "training"] = "validation"
    """The learning rate of this split's lowest loss, over the epochs, is taken; "training": to see what changes."""
    tuning_seeds: int = 4
    """Runs a learning rate, for tuning alone."""
    seeds: int = 10
    """Runs that are compared, at the tuned rates."""
    seeds_at_once: int = 5
    """Of those, how many are one cell of the sweep."""


PRESETS = {
    "quick": Config(epochs=4, tuning_seeds=2),
    "paper": Config(activations=("elu", "relu", "leaky_relu", "tanh"), units=64, epochs=20, measured=512, seeds=12),
}
SGD, BATCH_NORM, CENTRED, NATURAL = METHODS = ("SGD", "batch normalisation", "centring", "unit natural gradient")

COLUMNS = {
    "role": "tuning, or test: the runs that are compared",
    "activation": "the networks' activation function, a registry name",
    "method": "SGD, alone or with batch normalisation; centring: SGD for incoming activations less their running mean; "
    "or unit natural gradient",
    "learning_rate": "of the run; in test runs the tuned one",
    "seed": "of the initial weights and of the order of the batches",
    "epoch": "epochs done; 0: before training",
    "updates": "updates done",
    "train_loss": "cross-entropy in nats, mean over the epoch's batches, each before its update; epoch 0: of all "
    "training examples",
    "validation_loss": "cross-entropy after the epoch",
    "diverged_update": "updates after which the loss had diverged; no numbers from that epoch on; nan: never",
    "cosine": "between gradient and unit natural gradient: median over units, mean over hidden layers above the first; "
    "in test runs of plain SGD",
    "mean_share": "|E_p a|²/E_p|a|² of the incoming activations (P2b), mean over the same layers and in the same runs",
    "gradient_share": "share of the effect of a step along the gradient, of one unit alone, that is bias shift; as the "
    "cosine",
}
"""Columns of the table and what they hold; those of Config that describe the setting follow."""
SETTING = ("tuned_by", "examples", "features", "layers", "units", "batch_size", "damping", "decay", "max_kl")
ROUNDING = float(np.finfo(np.float32).eps)  # a smaller loss is taken for it

CORRECTIONS = ("cosine", "mean_share", "gradient_share")


def setting_of(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    seeds = table.groupby("role")["seed"].nunique()
    return (
        f"{row['data']}, {row['examples']:,} training examples; {row['layers']} hidden layers × {row['units']}; "
        f"{table['updates'].max()} updates, batches of {row['batch_size']}; {seeds['test']} seeds, "
        f"rates tuned by {row['tuned_by']} loss on {seeds['tuning']} others"
    )
