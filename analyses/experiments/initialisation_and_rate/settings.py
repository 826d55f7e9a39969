"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from analyses.framework.settings import (
    BatchSize,
    ComparedSeeds,
    DataName,
    Epochs,
    Examples,
    HiddenLayers,
    LearningRateGrid,
    Names,
    NegativeSlope,
    Positive,
    TuningSeeds,
    UnitsPerLayer,
    Widenings,
    data_in_words,
)
from elutheory.output.domains import Whole

DECIDING = 0.1
"""Training loss in nats to which updates are counted."""
OUTCOME = f"updates_to_{DECIDING:g}"
ARMS = ("activation", "initialisation")
"""What has a learning rate of its own."""


@dataclass(frozen=True)
class Config:
    """Classifiers of `layers` hidden layers of `units`, data standardised by one mean and deviation."""

    data: DataName = "digits"
    examples: Examples = 0
    activations: Names = ("elu", "relu", "leaky_relu", "tanh")
    """Registry names; the claims are about elu and relu."""
    negative_slope: NegativeSlope = 0.1
    initialisations: Names = ("he", "variance_preserving", "critical")
    """As `elutheory.initialisation` knows them; one that an activation has not is left out there."""
    layers: HiddenLayers = 8
    units: UnitsPerLayer = 128
    epochs: Epochs = 25
    batch_size: BatchSize = 64
    learning_rates: LearningRateGrid = (
        0.005,
        0.01,
        0.02,
        0.04,
        0.08,
        0.16,
    )
    """The first grid of every activation and initialisation, by factors of two."""
    widenings: Widenings = 4
    fixed_rate: Positive = 0.01
    """The paper's rate, at which all are compared too."""
    tuning_seeds: TuningSeeds = 4
    seeds: ComparedSeeds = 12
    draws: Annotated[int, Whole(1, 10**4)] = 4
    """Initial functions of the prediction."""


PRESETS = {
    "quick": Config(
        activations=("elu", "relu"),
        initialisations=("he", "variance_preserving"),
        examples=300,
        layers=3,
        units=24,
        epochs=40,
        learning_rates=(0.1, 0.2, 0.4),
        widenings=1,
        fixed_rate=0.1,
        tuning_seeds=2,
        seeds=6,
    ),
    "paper": Config(examples=4000),
}

COLUMNS = {
    "role": "tuning: to choose the rate; tuned: compared at the rate chosen; fixed: compared at one rate for all",
    "activation": "the networks' activation function, a registry name",
    "initialisation": "of weights and biases: he, variance_preserving or critical",
    "weight_variance": "fan_in times the variance of the weights",
    "bias_variance": "of the biases",
    "learning_rate": "of stochastic gradient descent",
    "seed": "of the initial weights and of the order of the batches",
    OUTCOME: f"updates to a training loss of {DECIDING:g} nats (mean over an epoch's batches, each before its update, "
    "placed in the middle of the epoch; ln loss interpolated in between); nan: not reached",
    "predicted": "of compared networks: the same of T2's loss over the examples, median of initial functions; nan: not "
    "within the updates",
    "diagonal_mean": "tr Θ/N of the wide network, the kernel's size",
    "top_share": "λ_1/tr(Θ/N)",
    "last_loss": "training loss of the last epoch trained (no longer than the networks of a cell need to the lowest "
    "loss counted); nan: diverged",
    "diverged_update": "updates after which the loss had diverged; nan: never",
    "updates": "updates that a network was given at most",
    "data": "name of the data set",
    "examples": "training examples",
    "layers": "hidden layers",
    "units": "of each hidden layer",
    "batch_size": "examples per update",
    "negative_slope": "of leaky_relu",
}


def setting_of(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    seeds = table.groupby("role")["seed"].nunique()
    return (
        f"{data_in_words(row['data'])}, {row['examples']:,} training examples; {row['layers']} hidden layers × "
        f"{row['units']}; "
        f"batches of {row['batch_size']}, at most {row['updates']:,} updates; {seeds['tuned']} networks per point"
    )
