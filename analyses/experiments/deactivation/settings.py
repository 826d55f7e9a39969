"""The configuration, its presets, and the columns of the table."""

from dataclasses import dataclass
from typing import Annotated, Any

from analyses.framework.settings import (
    BatchSize,
    DataName,
    Epochs,
    Examples,
    HiddenLayers,
    Names,
    Positive,
    SeedCount,
    UnitsPerLayer,
    data_in_words,
)
from elutheory.output.domains import Real, Several, Whole
from elutheory.output.figures import label_of


@dataclass(frozen=True)
class Config:
    """Single units over a grid of means, and networks trained on data standardised by one mean and one deviation."""

    data: DataName = "digits"
    activations: Names = ("elu", "leaky_relu", "relu", "shifted_relu", "tanh")
    """Registry names out of these."""
    negative_slopes: Annotated[tuple[float, ...], Several(Real(0.0, 100.0))] = (0.01, 0.1, 0.25)
    """Of leaky_relu, an activation each; the claims are about these."""
    largest_mean: Annotated[float, Real(1e-3, 100.0)] = 8.0
    """One unit: the grid of means goes from minus this to this."""
    step: Annotated[float, Real(1e-3, 100.0)] = 0.5
    """Of that grid."""
    stds: Annotated[tuple[float, ...], Several(Real(1e-3, 100.0))] = (0.1, 0.3, 1.0)
    """Standard deviations of a unit's net input."""
    channel_noise: Annotated[float, Real(1e-3, 100.0)] = 0.1
    """One unit: standard deviation of the noise of the channel; networks: relative to that of the unit's values."""
    samples: Annotated[int, Whole(2, 10**8)] = 200_000
    """Of the simulated variance."""
    replicates: Annotated[int, Whole(2, 10**5)] = 80
    """Of the sampled information, at every fourth mean."""
    layers: HiddenLayers = 4
    units: UnitsPerLayer = 64
    epochs: Epochs = 100
    learning_rate: Positive = 0.03
    """Of plain stochastic gradient descent, the same for every activation."""
    batch_size: BatchSize = 64
    examples: Examples = 0
    measured: Annotated[int, Whole(2, 10**7)] = 300
    """Test examples at which the networks are measured; at most all."""
    injected: Annotated[tuple[float, ...], Several(Real(1e-6, 1e6))] = (0.1, 1.0)
    """Standard deviations of the injected noise, relative to that of the layer's net inputs."""
    draws: Annotated[int, Whole(2, 10**5)] = 20
    """Of the injected noise."""
    seeds: SeedCount = 12
    """Networks of each activation: initial weights and batch orders."""


PRESETS = {
    "quick": Config(step=1.0, samples=20_000, replicates=20, layers=3, units=32, epochs=6, measured=100, draws=5),
    "paper": Config(),
}

OF_THE_PAPER = ("elu", "leaky_relu", "relu", "shifted_relu", "tanh")

STATES = ("off", "on", "deep")
COLUMNS = {
    "part": "unit: one unit, net input N(mean, std²); layer: trained networks; injection: noise put into them",
    "activation": "a registry name, leaky_relu with its slope in brackets",
    "mean": "unit: of the net input",
    "std": "unit: standard deviation of the net input",
    "variance": "unit: Var f(X), elutheory.gaussian_moments",
    "limit": "unit: leading term of the same for mean → −∞ (M7)",
    "simulated": "unit: the same, sample variance",
    "simulated_error": "unit: its standard error, from the fourth central moment by quadrature",
    "log_slope": "unit: E ln f' (M6), nats; layer: mean over pairs; -inf: constant somewhere, an atom of the output",
    "information": "unit: I(X; f(X) + N(0, channel_noise²)), nats; layer: `off_units.coded_degree`",
    "sampled": "unit: the same by nested Monte Carlo, at every fourth mean",
    "sampled_error": "unit: its standard error",
    "interference": "unit, mean m > 0: nats about X that f(X) + f(X') + noise tells less than f(X) + noise; X' at −m",
    "seed": "layer, injection: of the initial weights and of the order of the batches",
    "layer": "layer, injection: number of the hidden layer, from 1",
    "state": "layer, injection: off: pairs of a unit and a test example, net input < 0; on: others; deep: `states_of`",
    "pairs": "layer: share of the pairs in the state",
    "net_input": "layer: mean over the pairs in the state",
    "net_variance": "layer: variance of the net inputs over the examples, mean over units",
    "gain": "layer: mean square change of the logits over their variance, noise of net_variance at all pairs, linear",
    "unit_gain": "layer: the same a unit in the state",
    "squared_slope": "layer: mean of f'² over the pairs in the state",
    "next_share": "layer: share of the variance of the next layer's net inputs from variation within the state",
    "clamped_change": "layer: mean square change of those over their variance, units in the state at their means there",
    "noise": "injection: standard deviation of the noise over the root of net_variance",
    "linear": "injection: mean square change of the logits over their variance, to first order",
    "change": "injection: the same as it was",
    "change_error": "injection: its standard error over draws",
    "test_error": "layer, injection: share of the test examples that the network misclassifies",
    "diverged": "layer: updates after which the loss had diverged: no numbers; nan: never",
    "data": "name of the data set",
    "examples": "training examples",
    "channel_noise": "see information",
    "samples": "unit: of the simulated variance",
    "layers": "hidden layers",
    "units": "of each hidden layer",
    "epochs": "of training",
    "learning_rate": "of plain stochastic gradient descent",
    "batch_size": "examples an update",
    "measured": "test examples at which the networks are measured",
}


def setting_of(table: Any) -> str:
    """Data and sizes in words, for the figure and the summary."""
    unit = table[table["part"] == "unit"].iloc[0]
    row = table[table["part"] == "layer"].iloc[0]
    return (
        f"one unit: {unit['samples']:,} samples, channel noise {unit['channel_noise']:g}; networks: "
        f"{data_in_words(row['data'])}, "
        f"{row['examples']:,.0f} training examples, {row['layers']} hidden layers × {row['units']}, learning rate "
        f"{row['learning_rate']:g}, {row['epochs']} epochs, at {row['measured']} test examples; "
        f"{table['seed'].nunique()} seeds"
    )


def labelled(activation: str) -> str:
    """The name in sentences, a leaky ReLU's slope with it."""
    slope = activation.partition("(")[2].rstrip(")")
    return f"{label_of(activation)} {slope}".rstrip()


def widest_units(units: Any) -> Any:
    """The rows of the largest standard deviation, which the figure shows."""
    return units[units["std"] == units["std"].max()]
