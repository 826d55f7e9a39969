"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from analyses.framework.settings import DataName, Names, NegativeSlope, Positive, SeedCount, data_in_words
from elutheory.output.domains import Real, Several, Whole

LOSSES = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1)
"""Training losses in nats to which updates are counted."""
RULES = ("fixed", "stable")
REFERENCE_WIDTH = 512
"""The width to which `fixed_rate` belongs."""


@dataclass(frozen=True)
class Config:
    """Classifiers on data standardised by one mean and deviation: inputs of second moment 1."""

    data: DataName = "digits"
    examples: Annotated[int, Whole(2, 10**5)] = 192
    activations: Names = ("elu", "relu", "leaky_relu", "shifted_relu", "tanh")
    """Registry names; one claim is about the ratio of elu and relu."""
    negative_slope: NegativeSlope = 0.1
    depths: Annotated[tuple[int, ...], Several(Whole(1, 1000))] = (2, 4, 8, 16)
    """Numbers of hidden layers."""
    widths: Annotated[tuple[int, ...], Several(Whole(1, 10**5))] = (128, 512, 2048)
    """Units of each hidden layer."""
    initialisations: Names = ("he", "variance_preserving", "critical")
    """As `elutheory.initialisation` knows them; an activation that has none of that name is left out there."""
    batch_sizes: Annotated[tuple[int, ...], Several(Whole(0, 10**7))] = (0, 64)
    """Examples per update; 0: all."""
    fixed_rate: Positive = 0.002
    """Learning rate of 512 units, the same for every activation, depth and initialisation; inversely proportional to
    the width, as the kernel is proportional to it. The other rate is 2/λ_1 of each kernel, the largest stable one."""
    longest: Annotated[int, Whole(1, 10**6)] = 600
    """Updates that are predicted; a network is measured for twice the updates predicted to the lowest loss, at most
    this many."""
    draws: Annotated[int, Whole(1, 10**4)] = 8
    """Initial functions of the prediction, of which medians are taken."""
    largest_work: Annotated[float, Real(1.0, 1e18)] = 1.5e12
    """Floating-point operations of one network's training beyond which a setting is left out."""
    seeds: SeedCount = 2
    """Networks per setting."""


PRESETS = {
    "quick": Config(
        activations=("elu", "relu"),
        depths=(2, 4),
        widths=(64,),
        initialisations=("he",),
        batch_sizes=(0,),
        fixed_rate=0.001,
        longest=200,
        draws=2,
        examples=60,
    ),
    "paper": Config(),
}

SETTING = ("activation", "depth", "width", "initialisation", "batch_size", "rule")
"""What a setting is, beside the seeds."""

COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "depth": "hidden layers L",
    "width": "units n of each",
    "initialisation": "of weights and biases: he, variance_preserving or critical",
    "batch_size": "examples per update; 0: all of them",
    "rule": "fixed: one learning rate for every activation, depth and initialisation; stable: 2/λ_1 of the kernel",
    "learning_rate": "of stochastic gradient descent",
    "seed": "of the initial weights and of the order of the batches",
    "loss": "training loss in nats, to which updates are counted",
    "predicted": "updates to it by T2, median of initial functions; nan: not within the updates predicted",
    "measured": "updates after which a network's training loss is at most this; nan: not within those measured",
    "updates": "updates that were measured",
    "diverged_update": "updates after which the loss had diverged; nan: never",
    "diagonal_mean": "tr Θ/N, the size of the kernel",
    "top_share": "λ_1/tr(Θ/N), the share of its largest eigenvalue",
    "data": "name of the data set",
    "examples": "training examples N",
    "negative_slope": "of leaky_relu",
}


def setting_of(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    settings = len(table[list(SETTING)].drop_duplicates())
    return (
        f"{data_in_words(row['data'])}, {row['examples']:,} training examples; {settings} settings of activation, "
        "depth, width, "
        f"initialisation, batch and rate; {table['seed'].nunique()} networks each; nothing fitted"
    )
