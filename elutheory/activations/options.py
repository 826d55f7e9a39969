"""Activation functions as the commands' options name them: names, and parameters for those that have them."""

from collections.abc import Mapping, Sequence

from elutheory.activations.activation_function import Activation, activation
from elutheory.errors import InputError


def given_parameters(**values: float | None) -> dict[str, float]:
    """The parameters whose options are given, by name."""
    return {name: value for name, value in values.items() if value is not None}


def option_of(parameter: str) -> str:
    """The option that gives a parameter: --negative-slope for negative_slope."""
    return f"--{parameter.replace('_', '-')}"


def named_activations(names: Sequence[str], parameters: Mapping[str, float], refusal: str) -> list[Activation]:
    """The registered activations of these names, each once, with those of the parameters that it has.

    `refusal`: what to say of a parameter that none of them has, where {option} stands for its option and {names} for
    the names. Raises InputError for that, for an unknown name and for a parameter outside its domain.
    """
    plain = [activation(name) for name in names]
    own = {function.name: function.parameter_values for function in plain}
    for parameter in parameters:
        if not any(parameter in values for values in own.values()):
            raise InputError(refusal.format(option=option_of(parameter), names=", ".join(own) or "no activation"))
    return [
        activation(name, **{parameter: value for parameter, value in parameters.items() if parameter in values})
        for name, values in own.items()
    ]
