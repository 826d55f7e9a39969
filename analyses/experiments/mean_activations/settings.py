"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Any, Literal

from elutheory.output.figures import label_of

ArchitectureName = Literal["plain", "batch_norm", "residual", "batch_norm_residual"]
InitialisationName = Literal["he", "lecun", "variance_preserving", "critical"]


@dataclass(frozen=True)
class Config:
    """Networks of `depth` hidden layers on `examples` training inputs, each feature standardised."""

    data: str = "digits"
    activations: tuple[str, ...] = ("relu", "leaky_relu", "elu", "tanh")
    negative_slope: float = 0.1  # of leaky_relu
    reference: str = "relu"  # whose distance from zero the others' are compared with
    initialisations: tuple[InitialisationName, ...] = ("he", "lecun", "critical")
    architectures: tuple[ArchitectureName, ...] = ("plain",)
    widths: tuple[int, ...] = (256,)
    depth: int = 30
    examples: int = 128
    seeds: int = 8
    damping: float = 0.01  # of B5, relative to the mean second moment of a unit
    memory: float = 4.0  # gigabytes for networks computed together


PRESETS = {
    "quick": Config(depth=20, examples=64),
    "paper": Config(
        activations=("relu", "leaky_relu", "elu", "selu", "tanh"),
        architectures=("plain", "batch_norm", "residual"),
        widths=(64, 256, 1024, 4096),
        depth=100,
        examples=256,
        seeds=16,
        memory=8.0,
    ),
}

COLUMNS = {
    "data": "name of the data set",
    "examples": "training inputs of it",
    "activation": "the networks' activation function",
    "initialisation": "name, for `elutheory.initialisation`",
    "weight_variance": "σ_w², fan_in times the variance of a weight",
    "bias_variance": "σ_b²",
    "architecture": "plain, batch_norm, residual, or batch_norm_residual",
    "width": "units of every hidden layer",
    "depth": "number of hidden layers",
    "layer": "number of the hidden layer, from 1",
    "statistic": "one of `analyses.networks.random.STATISTICS`",
    "measured": "mean over seeds",
    "std": "standard deviation over seeds",
    "seeds": "number of networks",
    "nearer": "seeds in which the size of the statistic is below that of the reference activation; nan: the reference",
    "two_numbers": "predicted from the data's mean second moment and mean overlap; nan: no prediction",
    "band": "predicted standard deviation of one network (P6); nan: none",
    "z_two_numbers": "(measured − two_numbers)/(band/√seeds), std for the band where that is nan or 0",
    "gram": "predicted from the data's Gram matrix, for infinite width; nan: no prediction",
    "z_gram": "(measured − gram)/(std/√seeds)",
}
MAPS = (("unit_mean_median", "|median of unit means|"), ("mean_share", "mean share"))
INITIALISATION_NAMES = {
    "he": "He",
    "lecun": "LeCun",
    "variance_preserving": "variance preserving",
    "critical": "critical",
}
CELL = ["width", "architecture", "initialisation"]
CURVE = ["initialisation", "activation"]


def reference_label(table: Any) -> str:
    """The label of the activation that the others are compared with."""
    return label_of(str(table.loc[table["nearer"].isna(), "activation"].iloc[0]))
