"""Options that experiments share, each with its help text, and the checks of options before anything is measured.

An experiment's Config takes an option by its type: `layers: HiddenLayers = 4`. The default is the experiment's own. Its
`cells` then checks what was given and raises InputError in one sentence.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from tyro.conf import arg

from elutheory.activations import Activation, activation
from elutheory.errors import InputError

DataName = Annotated[str, arg(help="digits, the path of a data set, or huggingface:NAME.")]
Examples = Annotated[int, arg(help="Training examples, classes in their shares; 0: all.")]
HiddenLayers = Annotated[int, arg(help="Hidden layers.")]
UnitsPerLayer = Annotated[int, arg(help="Of each hidden layer.")]
NegativeSlope = Annotated[float, arg(help="Of leaky_relu.")]
Epochs = Annotated[int, arg(help="Passes over the training examples.")]
BatchSize = Annotated[int, arg(help="Examples an update.")]
Seeds = Annotated[int, arg(help="Sets of initial weights and batch orders.")]


def named_activation(name: str, negative_slope: float) -> Activation:
    """The registry's activation function; `negative_slope` is that of the leaky ReLU and concerns no other.

    Raises InputError for unknown names.
    """
    return activation(name, **({"negative_slope": negative_slope} if name == "leaky_relu" else {}))


def check_at_least(config: Any, **least: int) -> None:
    """Raises InputError for the first field below its bound; `check_at_least(config, layers=2, seeds=1)`."""
    for name, bound in least.items():
        if getattr(config, name) < bound:
            raise InputError(f"{name} is {getattr(config, name)}; give {bound} or more.")


def check_each_once(config: Any, *names: str) -> None:
    """Raises InputError for the first of these fields that holds nothing, or something twice."""
    for name in names:
        _check_once(name, getattr(config, name))


def check_activations(names: Sequence[str], negative_slope: float) -> None:
    """Raises InputError unless `names` holds one name at least, each once, and the registry knows them all."""
    _check_once("activations", names)
    for name in names:
        named_activation(name, negative_slope)


def _check_once(name: str, given: Sequence[Any]) -> None:
    if not given or len(set(given)) < len(given):
        raise InputError(f"{name} are {', '.join(map(str, given)) or 'none'}; give each once, and one at least.")
