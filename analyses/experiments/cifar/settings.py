"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from analyses.framework.settings import (
    BatchSize,
    DataName,
    Epochs,
    Examples,
    Names,
    NegativeSlope,
    Positive,
    Seeds,
    data_in_words,
)
from elutheory.output.domains import OneOf, Real, Several, Whole

BATCH, NONE = "batch", "none"
"""Normalisations."""
OF_THE_PAPER = ("elu", "relu", "leaky_relu", "shifted_relu")


@dataclass(frozen=True)
class Config:
    """Convolutional networks of the paper, with `width` times its units in every layer, on images of any size."""

    data: DataName = "digits"
    examples: Examples = 0
    """Training examples; a validation part is trained on too, for nothing is chosen."""
    network: Annotated[str, OneOf("11_layers", "18_layers")] = "11_layers"
    """Of section 4.2 (figures 4 and 5) or 4.3 (table 1)."""
    width: Annotated[float, Real(above=0, most=4)] = 1.0
    """Units of every hidden layer, in units of the paper's."""
    activations: Names = OF_THE_PAPER
    """Registry names; the claims are about elu, relu and leaky_relu."""
    normalisations: Annotated[tuple[str, ...], Several(OneOf(NONE, BATCH))] = (NONE, BATCH)
    """Networks without and with batch normalisation."""
    negative_slope: NegativeSlope = 0.1
    epochs: Epochs = 330
    """330 of 500 updates are the paper's 165,000; of 18 layers 410 are its 205,000."""
    batch_size: BatchSize = 100
    learning_rate: Positive = 0.01
    """At the beginning; the paper's schedule lowers it."""
    momentum: Annotated[float, Real(0, below=1)] = 0.9
    weight_decay: Annotated[float, Real(0, 1)] = 0.0005
    """Of the weights, not of biases and normalisation."""
    regularisation: Positive = 0.1
    """Of ZCA: added to the variance of each direction."""
    padding: Annotated[int, Whole(0, 64)] = 4
    """Zeros around an image, from which it is cropped."""
    measured: Annotated[int, Whole(2, 10**5)] = 500
    """Training images over which the units' means are taken, the same after every epoch; at most all."""
    precision: Annotated[str, OneOf("32-true", "bf16-mixed")] = "32-true"
    """Of the products: float32, or bfloat16 with weights in float32."""
    seeds: Seeds = 10
    """Sets of initial weights, orders and crops."""


PRESETS = {
    "quick": Config(
        examples=400,
        width=0.1,
        activations=("elu", "relu"),
        epochs=15,
        batch_size=50,
        padding=1,
        measured=100,
        seeds=2,
    ),
    "reduced": Config(width=0.125, epochs=6, measured=200, seeds=8),
    "paper": Config(precision="bf16-mixed"),
    "paper_18": Config(
        network="18_layers",
        activations=("elu",),
        normalisations=(NONE,),
        epochs=410,
        precision="bf16-mixed",
        seeds=1,
    ),
}

COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "normalisation": "none, or batch: batch normalisation before every activation",
    "seed": "of the initial weights, of the order of the batches, of crops and of dropout",
    "epoch": "epochs of training before the measurement",
    "training_loss": "mean cross-entropy of the epoch's batches, each before its update, with dropout and crops; at "
    "epoch 0 of all training images without (nats)",
    "test_loss": "mean cross-entropy of the test images after the epoch (nats)",
    "test_error": "share of the test images that are classified wrongly",
    "diverged": "updates after which the loss had diverged: no numbers from that epoch on; nan: never",
    "unit_mean_median": "median over the channels of all hidden layers of the channel's mean activation, over "
    "positions and measured images (batch normalisation by their own statistics)",
    "updates_per_second": "of the epoch, evaluation and measurement included; nan where the run was interrupted in it",
    "operations": "floating-point operations of an update's products",
    "paper_operations": "those of the paper's network, of this input and batch",
    "updates": "that the network was given",
    "chance_error": "test error of naming the most frequent class",
    "test_examples": "test images",
    "data": "name of the data set",
    "examples": "training images",
    "network": "11_layers or 18_layers",
    "width": "units of the hidden layers, in units of the paper's",
    "batch_size": "images an update",
    "learning_rate": "of stochastic gradient descent at the beginning",
    "precision": "32-true: float32; bf16-mixed: products in bfloat16",
    "negative_slope": "of leaky_relu",
}
"""Behind them, of every hidden layer L: mean_L, the mean activation over channels, positions and measured images;
mean_share_L, |E a|²/E|a|² of its channels; at epoch 0 predicted_L, M3's mean, and band_L, the standard deviation over
weights of the mean."""
OF_LAYERS = ("mean", "mean_share", "predicted", "band")


def layers_of(table: Any) -> list[int]:
    """Numbers of the hidden layers that the table has columns of."""
    return sorted(int(name.removeprefix("mean_")) for name in table if name.removeprefix("mean_").isdecimal())


def setting_of(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    return (
        f"{data_in_words(row['data'])}, {row['examples']:,} training images; {row['network'].replace('_', ' ')}, width "
        f"{row['width']:g} of the paper's; {table['epoch'].max()} epochs = {row['updates']:,} updates of "
        f"{row['batch_size']}, {row['precision']}; {table['seed'].nunique()} seeds"
    )
