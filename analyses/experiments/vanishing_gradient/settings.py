"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from analyses.experiments.vanishing_gradient.float32 import LOSSES
from analyses.framework.settings import Names, NegativeSlope, SeedCount, data_in_words
from elutheory.output.domains import Whole
from elutheory.propagation.initialisations import INITIALISATIONS

SMALLEST_WIDTH, LARGEST_DEPTH = 32, 250
"""In narrower networks every unit may be off; in deeper ReLU networks of LeCun's variance the activations themselves
leave float32."""


@dataclass(frozen=True)
class Config:
    """Random networks of every activation under every initialisation that it has."""

    data: str = "digits"
    """digits, or the path of other data."""
    activations: Names = ("logistic", "tanh", "relu", "leaky_relu", "elu", "selu")
    """Registry names."""
    negative_slope: NegativeSlope = 0.1
    initialisations: Names = INITIALISATIONS
    """Names, for elutheory.initialisation; critical is not defined for every activation."""
    width: Annotated[int, Whole(SMALLEST_WIDTH, 10**5)] = 256
    """Units of every hidden layer."""
    depth: Annotated[int, Whole(2, LARGEST_DEPTH)] = 200
    seeds: SeedCount = 200
    """Networks of each kind, each with an input of its own; one seed's have the same standard normal numbers."""


PRESETS = {"quick": Config(width=128, depth=50, seeds=12), "paper": Config()}
INITIALISATION_NAMES = {
    "he": "He",
    "lecun": "LeCun",
    "variance_preserving": "variance-preserving",
    "critical": "critical",
}

COLUMNS = {
    "kind": "layer: over all networks; network: one of them; refused: an initialisation that an activation has not",
    "activation": "the networks' activation function, a registry name",
    "initialisation": "name, for `elutheory.initialisation`",
    "weight_variance": "σ_w², fan_in times the variance of a weight",
    "bias_variance": "σ_b²",
    "layer": "of layer rows: number of the hidden layer, from 1",
    "log_gradient": "of layer rows: ln(s/s of the last layer), mean over networks; s: mean over units of δ², float64",
    "std": "of layer rows: standard deviation over networks of the same",
    "infinite_width": "of layer rows: Σ ln chi from this layer to the last but one (P3)",
    "finite_width": "of layer rows: the same to order 1/width, predicted mean of ln(s/s of the last layer) (P6)",
    "band": "of layer rows: predicted standard deviation of one network's (P6)",
    "seed": "of network rows: of the network's random numbers",
    "rate": "of network rows: ln(s of the first layer/s of the last) a layer, over depth − 1",
    **{
        f"lost_{name}": f"of network rows: layers below the last at which {what}; inf: none"
        for name, what in LOSSES.items()
    },
    "reason": "of refused rows: why",
    "data": "name of the data set",
    "width": "units of every hidden layer",
    "depth": "number of hidden layers",
    "networks": "of each kind",
}


def setting_of(row: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    return (
        f"random networks of {row['depth']} hidden layers of {row['width']} units, {row['networks']} of each kind, "
        f"each on one input of {data_in_words(row['data'])}"
    )
