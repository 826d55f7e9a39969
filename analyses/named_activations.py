"""Activation functions as the analyses name them: registry names, with one option for the leaky ReLU's slope."""

from elutheory.activations import Activation, activation


def named_activation(name: str, negative_slope: float) -> Activation:
    """The registry's, with this slope below zero if it is the leaky ReLU. Raises InputError for unknown names."""
    return activation(name, **({"negative_slope": negative_slope} if name == "leaky_relu" else {}))
