"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from analyses.framework.settings import (
    BatchSize,
    HiddenLayers,
    Names,
    NegativeSlope,
    Positive,
    SeedCount,
)
from elutheory.output.domains import Whole, check_domains


@dataclass(frozen=True)
class Config:
    """Classifiers of inputs that are standardised as a whole, trained on the mean cross-entropy."""

    data: str = "digits"
    """digits, or the path of a data set."""
    activations: Names = ("elu", "relu", "leaky_relu", "tanh", "shifted_relu")
    """Registry names."""
    negative_slope: NegativeSlope = 0.1
    layers: HiddenLayers = 8
    units: Annotated[int, Whole(2, 10**5)] = 128
    """Units of a hidden layer."""
    epochs: Annotated[int, Whole(0, 10**6)] = 20
    """Passes over the training data."""
    learning_rate: Positive = 0.01
    """Of stochastic gradient descent."""
    batch_size: BatchSize = 64
    """Examples a step."""
    examples: Annotated[int, Whole(1, 10**7)] = 1000
    """Training examples to measure on, the same at every epoch."""
    seeds: SeedCount = 3
    """Sets of initial weights and batch orders, the same for every activation."""

    def __post_init__(self) -> None:
        check_domains(self)


PRESETS = {"quick": Config(epochs=4), "paper": Config(epochs=300, seeds=5)}

COLUMNS = {
    "activation": "the network's activation function",
    "seed": "of the initial weights and the order of the batches",
    "epoch": "epochs of training before the measurement",
    "layer": "number of the hidden layer, from 1",
    "diverged": "epoch by whose end the run's loss was no finite number, from which on it has no numbers; nan: never",
    "training_loss": "mean cross-entropy of the measured training examples (nats)",
    "net_mean": "mean over units of the mean net input",
    "net_mean_spread": "standard deviation over units of the mean net input",
    "net_std": "mean over units of the net input's standard deviation over examples",
    "skewness": "mean over units of the net input's skewness over examples",
    "skewness_size": "root mean square over units of the same",
    "excess_kurtosis": "mean over units of the net input's excess kurtosis over examples",
    "mean": "mean over units of the mean activation",
    "mean_predicted": "the same, by M3 unit by unit",
    "mean_corrected": "the same, by M3 with the Gram–Charlier terms",
    "mean_layer_wide": "the same, by M3 of one Gaussian for the layer's net inputs",
    "median": "median over units of the mean activation",
    "median_predicted": "the same, by M3",
    "median_corrected": "the same, by M3 with the Gram–Charlier terms",
    "spread": "standard deviation over units of the mean activation",
    "unexplained": "mean squared error of M3 over units / spread²: 1 − R² between units",
    "unexplained_corrected": "the same, with the Gram–Charlier terms",
    "unexplained_layer_wide": "the same, of one Gaussian for the layer: one value for all units, hence at least 1",
    "variance": "mean over units of the activation's variance over examples",
    "variance_predicted": "the same, by M3 and M4 unit by unit",
    "variance_unexplained": "mean squared error of these over units / the variance over units of what is measured",
    "total_variance": "variance of the activation over examples and units: variance + spread²",
    "total_variance_layer_wide": "the same, by M3 and M4 of one Gaussian for the layer's net inputs",
}


def deepest_layer(table: Any) -> int:
    """Number of the last hidden layer, the first being 1."""
    return int(table["layer"].max())
