"""Activation functions as the analyses name them: registry names, with one option for the leaky ReLU's slope."""

from collections.abc import Sequence

from elutheory.activations import Activation, activation
from elutheory.errors import InputError


def named_activation(name: str, negative_slope: float) -> Activation:
    """The registry's, with this slope below zero if it is the leaky ReLU. Raises InputError for unknown names."""
    return activation(name, **({"negative_slope": negative_slope} if name == "leaky_relu" else {}))


def check_activations(names: Sequence[str], negative_slope: float) -> None:
    """Raises InputError unless `names` holds one name at least, each once, and the registry knows them all."""
    if not names or len(set(names)) < len(names):
        raise InputError(f"activations are {', '.join(names) or 'none'}; give each once, and one at least.")
    for name in names:
        named_activation(name, negative_slope)
