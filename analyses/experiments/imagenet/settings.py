"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from analyses.framework.settings import Names, NegativeSlope, Positive, SeedCount, data_in_words
from elutheory.output.domains import Real, Whole


@dataclass(frozen=True)
class Config:
    """What is measured of the network with `width` times the paper's units."""

    data: str = "digits"
    """A folder of images, in subfolders or not; digits: scikit-learn's, enlarged."""
    images: Annotated[int, Whole(2, 10**5)] = 64
    """So many of them, over which the layers' statistics are taken; their mean is taken off."""
    side: Annotated[int, Whole(4, 4096)] = 256
    """Pixels a side to which an image is resized."""
    crop: Annotated[int, Whole(2, 4096)] = 224
    """Pixels a side that the network sees."""
    width: Annotated[float, Real(above=0, most=4)] = 1.0
    """Units of every hidden layer, in units of the paper's."""
    activations: Names = ("elu", "relu")
    """Registry names; the claim is about elu and relu."""
    negative_slope: NegativeSlope = 0.1
    classes: Annotated[int, Whole(2, 10**6)] = 1000
    batch_size: Annotated[int, Whole(1, 10**5)] = 4
    """Images of a training step that is timed."""
    repetitions: Annotated[int, Whole(1, 10**6)] = 12
    """Turns in which a step of every network is timed."""
    learning_rate: Positive = 0.01
    momentum: Annotated[float, Real(0, below=1)] = 0.9
    weight_decay: Annotated[float, Real(0, 1)] = 0.0005
    seeds: SeedCount = 10
    """Sets of initial weights for the layers' statistics."""


PRESETS = {
    "quick": Config(images=4, side=40, crop=32, width=0.03, classes=10, batch_size=2, repetitions=8, seeds=2),
    "paper": Config(),
}

COLUMNS = {
    "activation": "the network's activation function, a registry name",
    "quantity": "mean, second_moment: of the layer's activations over channels, positions and images before training; "
    "seconds: of a training step",
    "layer": "hidden layer, 1 to 14; 0: the whole network",
    "kind": "convolutional or fully connected",
    "seed": "of the initial weights and crops, or the turn",
    "value": "what was measured",
    "predicted": "M3's, given what the layer receives",
    "band": "standard deviation over weights of the value",
    "data": "name of the data",
    "images": "over which statistics are taken",
    "crop": "pixels a side",
    "width": "units of the hidden layers, in units of the paper's",
    "batch_size": "images of a training step",
    "negative_slope": "of leaky_relu",
    "device": "where it was measured",
}


def setting_of(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row = table.iloc[0]
    seeds = table[table["quantity"] == "mean"]["seed"].nunique()
    return (
        f"{data_in_words(row['data'])}, {row['images']} images of {row['crop']} × {row['crop']}; width "
        f"{row['width']:g} of the "
        f"paper's; steps of {row['batch_size']} on {row['device']}; {seeds} seeds"
    )
