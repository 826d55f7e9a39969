"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from math import log
from typing import Annotated, Any

from analyses.experiments.footprint.networks import VARIANTS
from analyses.framework.settings import DataName, Names, SeedCount, data_in_words
from elutheory.output.domains import Real, Whole
from elutheory.output.figures import label_of


@dataclass(frozen=True)
class Config:
    """What is measured of each network, without and with batch normalisation."""

    data: DataName = "digits"
    networks: Names = ("fully_connected", "convolutional")
    """fully_connected (E2), convolutional (E4)."""
    batch_size: Annotated[int, Whole(2, 10**6)] = 64
    """Examples a step of the fully connected network."""
    convolutional_batch_size: Annotated[int, Whole(2, 10**6)] = 100
    """Examples a step of the convolutional one."""
    repetitions: Annotated[int, Whole(1, 10**6)] = 20
    """Turns in which every variant is timed."""
    shortest: Annotated[float, Real(0.0, 3600.0)] = 0.02
    """Least seconds of a turn, by more steps in a row."""
    measured: Annotated[int, Whole(2, 10**6)] = 100
    """Examples over which mean activations are taken, one batch."""
    seeds: SeedCount = 20
    """Sets of initial weights for the mean activations."""
    threads: Annotated[int, Whole(1, 1024)] = 1
    """Of torch, on the CPU."""


PRESETS = {
    "quick": Config(convolutional_batch_size=4, repetitions=10, shortest=0.005, measured=16, seeds=10),
    "paper": Config(),
}

EXPONENTIAL_COSTS = (1, 21)
"""Operations that an exponential counts: as any other, and written out in float32, by reduction of the range in two
parts (6), a polynomial of degree 7 (14) and scaling (1)."""
FIVE_PER_CENT = log(1.05)
NORMALISED = "relu_batch_norm"
NAMES = {name: label_of(function) + " + batch norm" * norm for name, (function, norm) in VARIANTS.items()}
STEP = ("forward", "backward", "update")

COLUMNS = {
    "network": "fully_connected (E2) or convolutional (E4)",
    "variant": "activation, and batch normalisation if there is",
    "quantity": "seconds; operations (without exponentials), exponentials, bytes: by formulas; torch_operations (of "
    "products), torch_bytes, kept_bytes (held for backward): as torch counts them; parameters, buffers: how many "
    "numbers; unit_mean_median: over all hidden units; mean_share: Σ unit mean² / Σ unit second moment, mean over "
    "hidden layers; predicted_mean: E f(X), X ~ N(0, 1); batch_dependence: |change of an example's outputs|/|outputs| "
    "with other examples beside it; one_example: 1 where a step on one example can be taken, 0 where it is refused",
    "part": "forward, backward and update of a training step, or evaluation",
    "layer": "0: the whole network; otherwise the normalisation and activation of that hidden layer alone",
    "layers": "hidden layers of the same shape, for which the row stands",
    "seed": "repetition of the timing, or seed of the initial weights",
    "value": "of the quantity",
    "reason": "of the refusal",
    "data": "name of the data set",
    "batch_size": "examples a step",
    "measured": "examples of the mean activations",
    "device": "where it was timed",
    "threads": "of torch, on the CPU",
}


def setting_of(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    turns, seeds = (table.loc[table["quantity"] == name, "seed"].nunique() for name in ("seconds", "mean_share"))
    return (
        f"{turns} turns on {row['device']}, threads: {row['threads']}; mean activations over {row['measured']} images "
        f"of {data_in_words(row['data'])}, {seeds} seeds"
    )
