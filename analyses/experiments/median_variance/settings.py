"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from analyses.framework.settings import (
    BatchSize,
    DataName,
    Examples,
    HiddenLayers,
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
    layers: HiddenLayers = 5
    units: UnitsPerLayer = 256
    epochs: Annotated[int, Whole(3, 10**6)] = 12
    """Passes over the training examples, 3 or more."""
    learning_rate: Positive = 0.01
    """Of plain stochastic gradient descent."""
    batch_size: BatchSize = 64
    examples: Examples = 0
    """Training examples, classes in their shares; 0: all. The medians are over all that are trained on."""
    seeds: Seeds = 10


PRESETS = {"quick": Config(units=64, epochs=8, seeds=5), "paper": Config(epochs=200, seeds=5)}
FIRST_SEED = 5000
"""Seeds below it were used on other data before the claims were stated."""

COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "seed": "of the initial weights and of the order of the batches",
    "layer": "number of the hidden layer, from 1",
    "quantity": "what the distribution over the layer's units is of: one of QUANTITIES",
    "mean": "over units",
    **{f"q{percent:02d}": f"{percent} % quantile over units" for percent in (5, 25, 50, 75, 95)},
    "still": "share of units whose quantity is exactly 0",
    "training_loss": "mean cross-entropy of the last epoch's batches (nats)",
    "chance_loss": "entropy of the training examples' classes: the least loss of a constant output (nats)",
    "diverged": "updates after which the loss had diverged: the run has no numbers; nan: never",
    "data": "name of the data set",
    "examples": "training examples",
    "epochs": "of training, after each of which the medians are taken",
    "units": "of each hidden layer",
    "learning_rate": "of stochastic gradient descent",
    "batch_size": "examples an update",
}
QUANTITIES = {
    "variance": "variance over epochs of the unit's median activation",
    "change_variance": "variance over epochs of the change of that median from one epoch to the next",
    "net_variance": "variance over epochs of the unit's median net input",
    "activation_variance": "variance over examples of the unit's activation, mean over epochs",
    "net_input_variance": "variance over examples of the unit's net input, mean over epochs",
    "relative_variance": "variance / activation_variance; 0 where both are 0, for a unit that is 0 throughout",
    "relative_net_variance": "net_variance / net_input_variance",
}
QUANTILES = {name: int(name[1:]) / 100 for name in COLUMNS if name.startswith("q") and name[1:].isdigit()}


def setting_of(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    return (
        f"{data_in_words(row['data'])}, {row['examples']:,} training examples; {table['layer'].max()} hidden layers × "
        f"{row['units']}; "
        f"learning rate {row['learning_rate']:g}, batches of {row['batch_size']}, {row['epochs']} epochs; "
        f"{table['seed'].nunique()} seeds"
    )
