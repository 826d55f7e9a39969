"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from analyses.framework.settings import (
    BatchSize,
    DataName,
    Epochs,
    Examples,
    LearningRates,
    Names,
    NegativeSlope,
    Seeds,
    data_in_words,
)
from elutheory.output.domains import OneOf, Several, Whole

OutputName = Literal["logistic", "linear"]
InitialisationName = Literal["he", "variance_preserving"]


@dataclass(frozen=True)
class Config:
    """Autoencoders of one shape, trained at several learning rates."""

    data: DataName = "digits"
    activations: Names = ("elu", "relu", "leaky_relu", "shifted_relu")
    """Registry names; the claims set elu against the others."""
    negative_slope: NegativeSlope = 0.1
    outputs: Annotated[tuple[OutputName, ...], Several(OneOf(*get_args(OutputName)))] = ("logistic", "linear")
    """logistic: cross-entropy summed over pixels; linear: half the squared error, summed."""
    initialisations: Annotated[tuple[InitialisationName, ...], Several(OneOf(*get_args(InitialisationName)))] = (
        "he",
        "variance_preserving",
    )
    """Of the weights before training."""
    encoder: Annotated[tuple[int, ...], Several(Whole(1, 10**5), repeated=True)] = (1000, 500, 250, 30)
    """Units of its layers, the code last; the decoder mirrors them."""
    epochs: Epochs = 60
    learning_rates: LearningRates = (1e-2, 1e-3)
    """Of plain stochastic gradient descent."""
    batch_size: BatchSize = 64
    examples: Examples = 0
    measured: Annotated[int, Whole(1, 10**7)] = 10_000
    """Training examples, at most all, whose errors are measured after every epoch; of test examples, all."""
    seeds: Seeds = 3


PRESETS = {
    "quick": Config(
        activations=("elu", "relu"),
        initialisations=("variance_preserving",),
        encoder=(64, 16),
        epochs=40,
        learning_rates=(2e-2, 5e-3),
    ),
    "paper": Config(),
}
FIRST_SEED = 5000
"""Seeds below it were used on other data before the claims were stated."""
BEATEN = 0.5
"""A network has learned once its test error is below this much of the mean image's."""
SPLITS = ("training", "test")
CASE = ["output", "initialisation", "learning_rate"]
"""What activations are compared within."""

COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "output": "logistic (summed cross-entropy minimised) or linear (half the summed squared error)",
    "initialisation": "of the weights: he or variance_preserving",
    "learning_rate": "of stochastic gradient descent",
    "seed": "of the initial weights and of the order of the batches",
    "epoch": "epochs of training before the measurement",
    "loss": "what is minimised: mean over the epoch's batches, each before its update; at epoch 0 of all (nats)",
    "training_error": "mean squared error per pixel over the measured training examples after the epoch",
    "test_error": "the same over the test examples",
    "mean_image_training": "the same of the mean training image, over the measured training examples",
    "mean_image_test": "the same over the test examples",
    "diverged": "updates after which the loss had diverged: no numbers from that epoch on; nan: never",
    "data": "name of the data set",
    "examples": "training examples",
    "encoder": "units of the encoder's layers",
    "batch_size": "examples an update",
    "negative_slope": "of leaky_relu",
}


def setting_of(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row, epochs = table.iloc[0], table["epoch"].max()
    updates = epochs * -(-row["examples"] // row["batch_size"])
    return (
        f"{data_in_words(row['data'])}, {row['examples']:,} training examples; encoder {row['encoder']} and its "
        "mirror; batches of "
        f"{row['batch_size']}, {epochs} epochs ({updates:,} updates); {table['seed'].nunique()} seeds"
    )


def case_in_words(output: str, initialisation: str, rate: float) -> str:
    """A case in words: "logistic output, He, learning rate 0.01"."""
    start = {"he": "He", "variance_preserving": "variance preserving"}[initialisation]
    return f"{output} output, {start}, learning rate {rate:g}"
