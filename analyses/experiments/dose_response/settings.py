"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from analyses.framework.settings import (
    BatchSize,
    ComparedSeeds,
    DataName,
    Epochs,
    Examples,
    LearningRateGrid,
    Names,
    NegativeSlope,
    Positive,
    TuningSeeds,
    UnitsPerLayer,
    Widenings,
    data_in_words,
)
from elutheory.output.domains import Real, Several, Whole

LOSSES = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05)
"""Training losses in nats to which updates are counted."""
DECIDING = 0.1
"""The one that the claims are about and that tunes the rates: a tenth of a nat, chance being 2.3."""

OUTCOME = f"updates_to_{DECIDING:g}"
ARMS = ("activation", "dose")
"""What has a learning rate of its own."""


@dataclass(frozen=True)
class Config:
    """Classifiers of `layers` hidden layers of `units`, He initialisation, data standardised by one mean and deviation:
    inputs of second moment 1."""

    data: DataName = "digits"
    examples: Examples = 0
    activations: Names = ("elu", "relu", "leaky_relu", "shifted_relu", "tanh")
    """Registry names; the claims about the gap are about elu and relu."""
    negative_slope: NegativeSlope = 0.1
    doses: Annotated[tuple[float, ...], Several(Real(-1e3, 1e3))] = (-1.0, -0.5, 0.0, 0.5, 1.0)
    """Multiples of the mean activation that are taken off; 0 must be one of them."""
    layers: Annotated[int, Whole(2, 1000)] = 8
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
    """The first grid of every activation and dose, by factors of two."""
    widenings: Widenings = 4
    fixed_rate: Positive = 0.01
    """The rate at which all are compared too: the paper's."""
    tuning_seeds: TuningSeeds = 4
    seeds: ComparedSeeds = 12
    draws: Annotated[int, Whole(0, 10**4)] = 0
    """Initial functions of the prediction by T5; 0: no prediction."""


PRESETS = {
    "quick": Config(
        activations=("elu", "relu"),
        doses=(-1.0, 0.0, 1.0),
        layers=3,
        units=24,
        examples=250,
        epochs=40,
        learning_rates=(0.1, 0.2, 0.4),
        widenings=1,
        fixed_rate=0.1,
        tuning_seeds=2,
        seeds=6,
        draws=4,
    ),
    "paper": Config(examples=4000),
    "predicted": Config(
        activations=("elu", "relu", "tanh"), doses=(-1.0, 0.0, 1.0), examples=1000, epochs=100, draws=4
    ),
}
ROLES = ("tuning", "tuned", "fixed")

COLUMNS = {
    "role": "tuning: to choose the rate; tuned: compared at the rate chosen; fixed: compared at one rate for all",
    "activation": "the networks' activation function, a registry name",
    "dose": "multiple of the units' mean activation at initialisation that is taken off what each layer receives",
    "learning_rate": "of stochastic gradient descent",
    "seed": "of the initial weights and of the order of the batches",
    "mean_share": "|E(a − c m)|²/E|a − c m|² of what layers above the first receive at initialisation, their mean",
    "initial_loss": "cross-entropy of the training examples before training, in nats",
    **{
        f"updates_to_{loss:g}": f"updates to a training loss of {loss:g} nats (mean over an epoch's batches, each "
        "before its update, placed in the middle of the epoch; ln loss interpolated in between); nan: not reached"
        for loss in LOSSES
    },
    "predicted": f"of compared networks: updates to {DECIDING:g} nats by T5's kernel at this dose and rate, the "
    "inputs' "
    "own origin kept, median of initial functions; nan: not within the updates, or not predicted",
    "largest_stable_rate": "T3: 2/λ_1 of that kernel; nan: not predicted",
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
        f"{row['units']}, He; "
        f"batches of {row['batch_size']}, at most {row['updates']:,} updates; {seeds['tuned']} networks per point"
    )
