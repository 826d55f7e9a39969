"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from analyses.framework.settings import DataName, Names, NegativeSlope, Positive, SeedCount
from elutheory.output.domains import OneOf, Real, Several, Whole
from elutheory.output.figures import label_of

ArchitectureName = Literal["plain", "batch_norm", "residual", "batch_norm_residual"]
InitialisationName = Literal["he", "lecun", "variance_preserving", "critical"]
Architectures = Annotated[tuple[ArchitectureName, ...], Several(OneOf(*get_args(ArchitectureName)))]
Initialisations = Annotated[tuple[InitialisationName, ...], Several(OneOf(*get_args(InitialisationName)))]


@dataclass(frozen=True)
class Config:
    """Networks of `depth` hidden layers on `examples` training inputs, each feature standardised."""

    data: DataName = "digits"
    activations: Names = ("relu", "leaky_relu", "elu", "tanh")
    """Registry names."""
    negative_slope: NegativeSlope = 0.1
    reference: str = "relu"
    """The activation whose distance from zero the others' are compared with."""
    initialisations: Initialisations = ("he", "lecun", "critical")
    """Of all networks."""
    architectures: Architectures = ("plain",)
    """Of all networks."""
    widths: Annotated[tuple[int, ...], Several(Whole(1, 10**5))] = (256,)
    """Units of every hidden layer."""
    depth: Annotated[int, Whole(1, 1000)] = 30
    """Hidden layers."""
    examples: Annotated[int, Whole(2, 10**5)] = 128
    """Training inputs, the classes in their shares."""
    seeds: SeedCount = 8
    """Networks of each kind."""
    damping: Positive = 0.01
    """λ of B5, as a multiple of the mean second moment of a unit."""
    memory: Annotated[float, Real(1e-3, 1e6)] = 4.0
    """Gigabytes for networks that are computed together."""


PRESETS = {
    "quick": Config(depth=10, examples=64),
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
