"""Options that experiments share, each with its domain and help text, and the checks that concern several at once.

An experiment's Config takes an option by its type: `layers: HiddenLayers = 4`. The default is the experiment's own. Its
`cells` then checks what was given, `check_domains` first, and raises InputError in one sentence.
"""

from collections.abc import Sequence
from typing import Annotated

from tyro.conf import arg

from elutheory.activations import Activation, activation
from elutheory.output.domains import SMALLEST, Real, Several, Whole

DataName = Annotated[str, arg(help="digits, the path of a data set, or huggingface:NAME.")]
Examples = Annotated[int, Whole(0, 10**8), arg(help="Training examples, classes in their shares; 0: all.")]
HiddenLayers = Annotated[int, Whole(1, 1000), arg(help="Hidden layers.")]
UnitsPerLayer = Annotated[int, Whole(1, 10**5), arg(help="Of each hidden layer.")]
NegativeSlope = Annotated[float, Real(0.0, 100.0), arg(help="Of leaky_relu.")]
Epochs = Annotated[int, Whole(1, 10**6), arg(help="Passes over the training examples.")]
BatchSize = Annotated[int, Whole(1, 10**7), arg(help="Examples an update.")]
Seeds = Annotated[int, Whole(1, 10**5), arg(help="Sets of initial weights and batch orders.")]
Widenings = Annotated[
    int,
    Whole(0, 100),
    arg(help="How many further rates, by factors of two, are tried while the best one is at an end of the grid."),
]
TuningSeeds = Annotated[int, Whole(1, 10**5), arg(help="Networks per rate, for tuning alone.")]
ComparedSeeds = Annotated[int, Whole(1, 10**5), arg(help="Networks that are compared, fresh ones.")]

SeedCount = Annotated[int, Whole(1, 10**5)]
"""Seeds of which the experiment says what they are for."""
Positive = Annotated[float, Real(SMALLEST)]
Names = Annotated[tuple[str, ...], Several(None)]
LearningRates = Annotated[tuple[float, ...], Several(Real(SMALLEST))]
LearningRateGrid = Annotated[tuple[float, ...], Several(Real(SMALLEST), least=3)]


def named_activation(name: str, negative_slope: float) -> Activation:
    """The registry's activation function; `negative_slope` is that of the leaky ReLU and concerns no other.

    Raises InputError for unknown names.
    """
    return activation(name, **({"negative_slope": negative_slope} if name == "leaky_relu" else {}))


def check_activations(names: Sequence[str], negative_slope: float) -> None:
    """Raises InputError unless the registry knows all names."""
    for name in names:
        named_activation(name, negative_slope)


def data_in_words(name: str) -> str:
    """A data set's name as readers know it: "MNIST" for mnist; a name that is not known here stays."""
    return {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "fashion-mnist": "Fashion-MNIST", "mnist": "MNIST"}.get(
        name, name
    )
