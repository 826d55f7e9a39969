"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import arg

from analyses.framework.settings import (
    ComparedSeeds,
    DataName,
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
from elutheory.output.domains import Whole

LOSSES = (1.0, 0.5, 0.3, 0.2, 0.1)
"""Training losses in nats to which updates are counted."""
DECIDING = 0.1
"""The one that the claims are about and that tunes the rates; networks that got there learn no further."""
OUTCOME = f"updates_to_{DECIDING:g}"
ARMS = ("activation", "method")
"""What has a learning rate of its own."""
METHODS = SGD, CENTRED, OUTPUTS, TERM, NATURAL, BATCH_NORM = (
    "SGD",
    "centring",
    "centring, outputs too",
    "bias-shift term",
    "unit natural gradient",
    "batch normalisation",
)


@dataclass(frozen=True)
class Config:
    """Classifiers of `layers` hidden layers of `units`, He initialisation, trained on all examples at once."""

    data: DataName = "digits"
    examples: Examples = 0
    features: Annotated[int, Whole(0, 10**6)] = 0
    """Leading principal components of the training inputs that are kept as inputs; 0: the inputs as they are."""
    activations: Names = ("elu", "relu")
    """Registry names; the deciding claims are about their mean."""
    negative_slope: NegativeSlope = 0.1
    layers: Annotated[int, Whole(2, 1000)] = 4
    units: UnitsPerLayer = 64
    updates: Annotated[int, Whole(2, 10**6), arg(help="At most.")] = 150
    learning_rates: LearningRateGrid = (0.2, 0.4, 0.8)
    """The first grid of every activation and method but the unit natural gradient, by factors of two."""
    natural_learning_rates: LearningRateGrid = (0.01, 0.02, 0.04)
    """That of the unit natural gradient, whose steps are longer by a unit's inverse Fisher matrix."""
    widenings: Widenings = 4
    damping: Positive = 1e-2
    """Of the unit natural gradient: λ as a multiple of the mean diagonal of a unit's Fisher matrix."""
    tuning_seeds: TuningSeeds = 4
    seeds: ComparedSeeds = 12


PRESETS = {
    "quick": Config(
        examples=150, layers=2, units=12, updates=40, learning_rates=(0.4, 0.8, 1.6), tuning_seeds=1, seeds=6
    ),
    "paper": Config(examples=1000, features=64, tuning_seeds=8),
}

COLUMNS = {
    "role": "tuning: to choose the rate; tuned: compared at the rate chosen",
    "activation": "the networks' activation function, a registry name",
    "method": "what the networks learn by: " + "; ".join(METHODS),
    "learning_rate": "what the step is multiplied with",
    "seed": "of the initial weights",
    **{
        f"updates_to_{loss:g}": f"updates to a training loss of {loss:g} nats (of all examples, before each update; ln "
        "loss interpolated in between); nan: not reached"
        for loss in LOSSES
    },
    "last_loss": "training loss before the last update taken, for training stops where all networks of a cell are at "
    "the last of these losses; nan: diverged",
    "diverged_update": "updates after which the loss had diverged; nan: never",
    "cosine": "between gradient and unit natural gradient at initialisation: median over units, mean over hidden "
    "layers above the first; of compared networks of SGD",
    "centred_cosine": "the same for incoming activations less their mean",
    "mean_share": "|E_p a|²/E_p|a|² of the incoming activations (P2b) at initialisation, mean over the same layers",
    "updates": "updates that a network may take",
    "data": "name of the data set",
    "examples": "training examples",
    "features": "inputs of a network",
    "layers": "hidden layers",
    "units": "of each hidden layer",
    "damping": "of the unit natural gradient, relative",
    "negative_slope": "of leaky_relu",
}


def setting_of(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    seeds = table.groupby("role")["seed"].nunique()
    return (
        f"{data_in_words(row['data'])}, {row['examples']:,} training examples, all in every update, {row['features']} "
        "inputs; "
        f"{row['layers']} hidden layers × {row['units']}, He; at most {row['updates']} updates; {seeds['tuned']} "
        f"networks per point, rates tuned on {seeds['tuning']} others"
    )
