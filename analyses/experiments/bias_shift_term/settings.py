"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from analyses.experiments.bias_shift_term.exponents import TOLERANCE
from analyses.experiments.bias_shift_term.translated_units import PARTS
from analyses.framework.settings import (
    BatchSize,
    DataName,
    Epochs,
    Names,
    NegativeSlope,
    Positive,
    Seeds,
    UnitsPerLayer,
    data_in_words,
)
from elutheory.output.domains import Real, Several, Whole


@dataclass(frozen=True)
class Config:
    """Networks of `layers` hidden layers of `units`, trained by plain SGD on data standardised feature by feature."""

    data: DataName = "digits"
    activations: Names = ("elu", "relu", "leaky_relu", "shifted_relu", "tanh")
    """Registry names."""
    negative_slope: NegativeSlope = 0.1
    layers: Annotated[int, Whole(2, 1000)] = 4
    """Hidden layers; the first, whose incoming activations are the data, is not measured."""
    units: UnitsPerLayer = 64
    epochs: Epochs = 10
    """Of training, before and after which is measured."""
    learning_rate: Positive = 0.05
    """The same for all."""
    batch_size: BatchSize = 64
    examples: Annotated[int, Whole(2, 10**7)] = 1000
    """Training examples over which Fisher matrices, gradients and means are taken."""
    dampings: Annotated[tuple[float, ...], Several(Real(0.0))] = (0.0, 1e-2)
    """Added to Var_q(a), as multiples of the unit's mean variance of the incoming activations; claims: 0."""
    seeds: Seeds = 12


PRESETS = {"quick": Config(layers=3, units=24, epochs=3, examples=256, dampings=(0.0,)), "paper": Config()}

COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "seed": "of the initial weights and of the order of the batches",
    "epoch": "of training before the measurement",
    "layer": "hidden layer, the first being 1",
    "damping": "added to Var_q(a), as a multiple of its mean diagonal; 0: solved on the range of Var_q(a)",
    "t": "E_q of the incoming activations, as a multiple of what it is; medians below are over the layer's units",
    "mean_activation": "root mean square of E_q[a] over incoming units in the network as it is (t = 1); median",
    "mean_share": "|E_q a|²/E_q|a|² at t = 1; median",
    "strength": "1 + E_q[a]·Var_q(a)⁻¹E_q[a] (B1's s c) at t = 1; median",
    "length": "|term|/|unit natural gradient|, both in the metric F_t; median",
    "largest_length": "the same, largest of the units",
    "shift": "|term's change of the mean net input (Theorem 2)|, relative to the root mean square (E_q) change of the "
    "net input by the unit natural gradient; median",
    "cosine": "between gradient and unit natural gradient; median",
    **{f"exponent_{part}": f"d ln|term|/d ln t of the part {part}; median" for part in PARTS},
    **{f"near_{part}": f"share of units whose exponent is within 1 ± {TOLERANCE:g}" for part in PARTS},
    "predicted_exponent": "exponent_shift by the closed form",
    "deviation": "largest deviation of a direct solve from the closed forms of Theorems 1 and 2, as a share of "
    "what the condition number allows",
    "rank": "of Var_q(a) on which the unit is solved; median",
    "dead_units": "units of the layer without gradient at every example",
}
"""Columns of the table and what they hold; those of Config that describe the setting follow. Parts: see `PART_NAMES`"""
PART_NAMES = {
    "shift": "shift of the mean net input (Theorem 2)",
    "bias": "bias step, Δw0 − g0/c",
    "weights": "weight step, Δw − A⁻¹g",
    "gradient": "Δw0 b, taken from g (Theorem 1)",
    "incoming": "k E_q[a], taken from E_p[a] (Theorem 2)",
}
SETTING = ("data", "layers", "units", "epochs", "learning_rate", "batch_size", "examples")


def setting_of(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    return (
        f"{data_in_words(row['data'])}; {row['layers']} hidden layers × {row['units']}, before and after "
        f"{row['epochs']} epochs "
        f"(learning rate {row['learning_rate']:g}, batches of {row['batch_size']}); exact unit Fisher matrices and "
        f"gradients over {row['examples']} examples, undamped unless stated; {table['seed'].nunique()} seeds"
    )
