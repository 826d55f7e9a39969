"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from analyses.framework.settings import (
    BatchSize,
    DataName,
    Names,
    NegativeSlope,
    Positive,
    Seeds,
    UnitsPerLayer,
    data_in_words,
)
from elutheory.output.domains import Whole


@dataclass(frozen=True)
class Config:
    """Networks of `layers` hidden layers of `units`, trained by plain SGD on data standardised feature by feature."""

    data: DataName = "digits"
    activations: Names = ("elu", "relu", "leaky_relu", "shifted_relu", "tanh")
    """Registry names; the claims are about elu and relu."""
    negative_slope: NegativeSlope = 0.1
    layers: Annotated[int, Whole(2, 1000)] = 4
    units: UnitsPerLayer = 64
    learning_rate: Positive = 0.05
    """The same for all."""
    batch_size: BatchSize = 64
    updates: Annotated[int, Whole(1, 10**7)] = 640
    """The last one that is measured."""
    points: Annotated[int, Whole(1, 10**4)] = 5
    """Measured updates, the first and the last included."""
    window: Annotated[int, Whole(2, 10**5)] = 20
    """Successive updates over which oscillation is measured, starting with each measured one."""
    examples: Annotated[int, Whole(2, 10**7)] = 512
    """Training examples over which means and gradients are taken."""
    fisher_examples: Annotated[int, Whole(2, 10**7)] = 256
    """Of them, those over which the exact unit Fisher matrices are taken."""
    damping: Positive = 1e-2
    """λ as a multiple of the mean diagonal of a unit's Fisher matrix."""
    seeds: Seeds = 10


PRESETS = {
    "quick": Config(activations=("elu", "relu"), units=32, updates=80, points=3, examples=256),
    "paper": Config(units=128, updates=6000, points=14, examples=1000, seeds=12),
}

COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "batch_norm": "whether net inputs are normalised over the batch",
    "seed": "of the initial weights and of the order of the batches",
    "update": "updates done once the measured one is",
    "layer": "hidden layer, the first being 1",
    "loss": "cross-entropy of the update's batch before it, nats",
    "change": "|change of the unit's mean net input by the update|; this and the next 3 in standard deviations of the "
    "net input over the examples, median over units",
    "own": "|E_p[a]·Δw + Δw0|, the part of the unit's own weights (B2)",
    "below": "|E_p[Δa]·(w + Δw)|, the part of the layers below",
    "received": "|change of the mean of what the activation function receives|: after batch normalisation, if any",
    "explained": "1 − Σ(change − own part)²/Σ change² over the layer's units",
    "identity_error": "largest |change of the mean if this layer alone is updated − own part| of all units",
    "shift_share": "(E Δ)²/E Δ² of the change Δ of what the activation function receives, over examples: the share of "
    "the update's effect that is one shift for all; median over units",
    "removed": "1 − |bias shift of the natural gradient|/|the same without the coupling| (B2, B3); median over units",
    "gradient_share": "the same share of the effect of a step of the unit alone along its gradient; median over units",
    "share_without": "of a step along the natural gradient without the coupling of bias and weights (B2)",
    "share_with": "of a step along the unit natural gradient (B3)",
    "cosine": "between the gradient over the examples and the unit natural gradient; median over units",
    "mean_share": "|E_p a|²/E_p|a|² of the layer's incoming activations (P2b)",
    "sign_changes": "share of successive changes of the unit's mean net input, over the window, that have opposite "
    "signs; mean over units",
    "path": "Σ|change|/|Σ change| over the window; median over units",
    "dead_units": "units of the layer without gradient at every example",
}
"""Columns of the table and what they hold; those of Config that describe the setting follow."""
MEASURED = tuple(list(COLUMNS)[6:])
OF_CORRECTION = ("removed", "gradient_share", "share_without", "share_with", "cosine")
SETTING = ("data", "layers", "units", "learning_rate", "batch_size", "examples", "fisher_examples", "damping")


def setting_of(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    return (
        f"{data_in_words(row['data'])}; {row['layers']} hidden layers × {row['units']}; learning rate "
        f"{row['learning_rate']:g}, "
        f"batches of {row['batch_size']}; means over {row['examples']} examples, exact unit Fisher matrices over "
        f"{row['fisher_examples']}, relative damping {row['damping']:g}; {table['seed'].nunique()} seeds"
    )
