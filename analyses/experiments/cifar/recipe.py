"""The paper's networks and how their rates change in training (sections 4.2 and 4.3), in proportion to the updates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from analyses.experiments.cifar.settings import BATCH, Config
from analyses.networks.architectures import (
    CIFAR_11_DROPOUT,
    CIFAR_11_STACKS,
    CIFAR_18_DROPOUT,
    CIFAR_18_STACKS,
    Stack,
    convolutional,
    initialise,
    scaled,
)
from elutheory.activations import Activation


@dataclass(frozen=True)
class Recipe:
    """A network of the paper: its stacks with a rate of dropout each, and its updates.

    `rates`: from which update on the learning rate is multiplied by which factor. `raised`: from which update on there
    is dropout behind every hidden layer, not only behind a stack's last one, and the factor of its rates.
    """

    stacks: tuple[Stack, ...]
    dropout: tuple[float, ...]
    updates: int
    rates: tuple[tuple[int, float], ...]
    raised: tuple[tuple[int, float], ...] = ()


RECIPES = {
    "11_layers": Recipe(
        CIFAR_11_STACKS, CIFAR_11_DROPOUT, 165_000, rates=((35_000, 0.5), (85_000, 0.05), (135_000, 0.005))
    ),
    "18_layers": Recipe(
        CIFAR_18_STACKS,
        CIFAR_18_DROPOUT,
        205_000,
        rates=((35_000, 0.1),),
        raised=((115_000, 1.0), (165_000, 1.5)),
    ),
}
"""What the paper leaves open of the 18 layers is taken so: as many updates as of the 11 layers, "the final 50,000" of
them with dropout in all layers of a stack, then 40,000 more with 1.5 times the rates."""


def schedule(config: Config, updates: int) -> tuple[tuple[int, float], ...]:
    """(update, factor of the learning rate) for so many updates in all; of those that coincide the last one."""
    recipe = RECIPES[config.network]
    found = {round(start * updates / recipe.updates): factor for start, factor in recipe.rates}
    return tuple(sorted((start, factor) for start, factor in found.items() if start < updates))


def builder(
    config: Config, activation: Activation, normalisation: str, image: Sequence[int], classes: int
) -> Callable[[], nn.Sequential]:
    """Makes the network for images (channels, height, width)."""
    recipe = RECIPES[config.network]
    return lambda: convolutional(
        scaled(recipe.stacks, config.width, classes),
        recipe.dropout,
        activation,
        batch_norm=normalisation == BATCH,
        channels=image[0],
        everywhere=bool(recipe.raised),
    )


def initialised(network: nn.Sequential, seed: int) -> nn.Sequential:
    """Weights of He et al. from the seed, images' channels last in memory, which is quicker."""
    initialise(network, seed)
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def dropout_rates(config: Config, updates: int, update: int) -> list[float]:
    """Of the dropout behind every hidden layer, at this update of so many."""
    recipe = RECIPES[config.network]
    begun = [factor for start, factor in recipe.raised if round(start * updates / recipe.updates) <= update]
    rates = []
    for stack, rate in zip(recipe.stacks, recipe.dropout, strict=True):
        layers = sum(count for count, _, _ in stack)
        of_last = rate * (begun[-1] if begun else 1.0)
        rates += [*[of_last if begun else 0.0] * (layers - 1), of_last]
    return rates[:-1]


def dropout_raising(config: Config, updates: int) -> Callable[[nn.Module, int], None] | None:
    """`adjust` of `analyses.networks.training.train`; None where the rates stay."""
    recipe = RECIPES[config.network]
    if not recipe.raised:
        return None
    changes = {0, *(round(start * updates / recipe.updates) for start, _ in recipe.raised)}
    ends = [*sorted(changes), updates]
    phases = {range(*between): dropout_rates(config, updates, between[0]) for between in pairwise(ends)}

    def raise_dropout(network: nn.Module, update: int) -> None:
        rates = next(rates for phase, rates in phases.items() if update in phase)
        modules = [module for module in network.modules() if isinstance(module, nn.Dropout)]
        for module, rate in zip(modules, rates, strict=True):
            module.p = rate

    return raise_dropout


def optimizer(config: Config) -> Callable[[nn.Module, float], torch.optim.Optimizer]:
    """Gradient descent with momentum; weights of layers decay, biases and normalisation do not."""

    def make(network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        decaying = [parameter for parameter in network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in network.parameters() if parameter.ndim == 1]
        groups = [{"params": decaying, "weight_decay": config.weight_decay}, {"params": others}]
        return torch.optim.SGD(groups, learning_rate, momentum=config.momentum)

    return make
