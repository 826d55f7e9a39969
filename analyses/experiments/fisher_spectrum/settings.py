"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from analyses.framework.settings import (
    BatchSize,
    DataName,
    Epochs,
    Names,
    NegativeSlope,
    Positive,
    SeedCount,
    Seeds,
    UnitsPerLayer,
    data_in_words,
)
from elutheory.output.domains import Whole


@dataclass(frozen=True)
class Config:
    """Classifiers of `layers` hidden layers of `units`, trained by SGD on data standardised feature by feature."""

    data: DataName = "digits"
    activations: Names = ("elu", "relu", "leaky_relu", "shifted_relu", "tanh")
    """Registry names; the claims compare elu with relu and leaky_relu."""
    negative_slope: NegativeSlope = 0.1
    layers: Annotated[int, Whole(2, 1000)] = 3
    units: UnitsPerLayer = 64
    examples: Annotated[int, Whole(2, 10**5)] = 128
    """N, the training inputs over which Fisher matrices are taken and gradient descent runs."""
    epochs: Epochs = 5
    """Of training on all training examples, before and after which is measured."""
    learning_rate: Positive = 0.05
    """Of that training, the same for all."""
    batch_size: BatchSize = 64
    """Examples an update of that training."""
    seeds: Seeds = 12
    seeds_at_once: SeedCount = 4
    """Of those, how many are one cell of the sweep."""


PRESETS = {
    "quick": Config(
        activations=("elu", "relu", "tanh"), layers=2, units=24, examples=40, epochs=2, seeds=2, seeds_at_once=2
    ),
    "paper": Config(),
}

NONE, CENTRING, BATCH_NORM = METHODS = ("none", "centring", "batch normalisation")
LINEARISED, NEAR, NETWORK = MODELS = ("linearised", "near a minimum", "network")
FACTORS = (0.9, 1.1)
RANKS = (1, 2, 3, 5, 7, 10, 14, 20, 30, 50, 70, 100, 140, 200, 300, 500, 700, 1000)
"""Of the eigenvalues that are kept, the largest having rank 1."""
STEPS = (0, 1, 2, 3, 4, 5, 7, 10, 14, 20, 30, 50, 70, 100)
"""After which the loss is kept."""
FIRST = 5
"""The first steps, over which growth along the top eigenvector is looked at."""
SMALL = 0.01
"""Residuals near a minimum, as a share of those of the labels."""

COLUMNS = {
    "part": "spectrum: of one Fisher matrix; descent: one run of full-batch gradient descent on the squared error",
    "activation": "the networks' activation function, a registry name",
    "seed": "of the initial weights and of the order of the batches",
    "epoch": "of training before the measurement",
    "method": "none; centring: parameters for incoming activations less their mean; or batch normalisation",
    "likelihood": "of the Fisher matrix: categorical, or gaussian of variance 1 (squared error)",
    "top": "largest eigenvalue λ of the Fisher matrix of all parameters",
    "trace": "its trace",
    "top_share": "top/trace",
    "outlier_share": "share of the trace in the largest classes − 1 eigenvalues",
    "second": "second largest eigenvalue",
    "bulk": "eigenvalue of rank classes: the largest behind the first classes − 1",
    "rank": "eigenvalues above 1e-10 × top",
    "condition": "top over the median of those",
    "unit_top_share": "largest eigenvalue over trace of a unit's block: median over units, mean over the hidden layers "
    "above the first",
    "one_output_top": "gaussian: largest eigenvalue of the Fisher matrix of one output, mean over the outputs",
    "one_output_share": "the same over its trace",
    "kernel_top": "its prediction by the kernel of wide networks: the largest eigenvalue of Θ/N",
    "kernel_share": "the same over its trace",
    "formula_top": "its prediction κ2 + (κ1 − κ2)/N from that kernel's means on and off the diagonal (P5)",
    "formula_share": "the same over its trace",
    "model": "of a descent: linearised: at the initial weights; network; near a minimum: the network with targets that "
    f"differ from its initial outputs by {SMALL:g} of what the labels do",
    "factor": "step size over 2/λ, λ the largest eigenvalue of the gaussian Fisher matrix before the descent",
    "end_factor": "the same with λ after the descent; nan if it diverged, and for the linearised network",
    **{f"eigenvalue_{rank}": f"eigenvalue of rank {rank}; nan where there are fewer" for rank in RANKS},
    **{f"loss_{step}": f"squared error ½|f − y|², mean over the inputs, after {step} steps" for step in STEPS},
    **{f"along_{step}": "part of it along the top eigenvector of JJᵀ" for step in STEPS},
}
"""Columns of the table and what they hold; those of Config that describe the setting follow."""
SETTING = ("data", "layers", "units", "examples", "epochs", "learning_rate", "batch_size", "seeds")


def setting_of(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    return (
        f"{data_in_words(row['data'])}; {row['layers']} hidden layers × {row['units']}; Fisher matrices over "
        f"{row['examples']} "
        f"inputs;\n{row['epochs']} epochs of SGD, learning rate {row['learning_rate']:g}, batches of "
        f"{row['batch_size']}; {table['seed'].nunique()} seeds"
    )
