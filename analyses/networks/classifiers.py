"""Classifiers as the learning experiments train them: fully connected, one network per seed, plain gradient descent."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from analyses.data import datasets
from analyses.data.datasets import Dataset
from analyses.networks.architectures import fully_connected
from analyses.networks.training import Measure, Trained, Training, train
from elutheory.activations import Activation

if TYPE_CHECKING:
    from lightning.fabric import Fabric

BEATEN = 0.5
"""A network has learned once its training loss is below this much of the loss of a constant output (`chance`)."""


def classification_data(name: str, examples: int) -> Dataset:
    """The data set, standardised by one mean and one standard deviation of all its values, inputs (N, features).

    `examples` of the training part, the classes in their shares; 0: all of them.
    """
    data = datasets.load(name).standardised("dataset").flattened()
    return data.subset(examples) if examples else data


def chance(data: Dataset) -> tuple[float, float]:
    """The least loss of an output that does not depend on the input, on the training examples, and the test error of
    the class that is most frequent among them."""
    counts = np.bincount(data.train.targets.numpy(), minlength=data.classes)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum()), float((data.test.targets.numpy() != counts.argmax()).mean())


def classifier_sizes(config: Any, data: Dataset) -> tuple[int, ...]:
    """Features, `config.units` in each of `config.layers` hidden layers, classes."""
    return (*data.shape, *[config.units] * config.layers, data.classes)


def train_classifiers(
    config: Any,
    activation: Activation,
    data: Dataset,
    *,
    fabric: "Fabric",
    evaluated: Sequence[Literal["train", "validation", "test"]],
    measure: Measure | None = None,
    checkpoint: Path | None = None,
    first_seed: int = 0,
) -> Trained:
    """Networks of `classifier_sizes`, of `config.seeds` seeds from `first_seed` on; `train` says what comes back.

    From `config` come also `epochs`, `learning_rate` and `batch_size`.
    """
    sizes = classifier_sizes(config, data)
    training = Training(
        epochs=config.epochs,
        seeds=tuple(range(first_seed, first_seed + config.seeds)),
        learning_rates=(config.learning_rate,),
        batch_size=config.batch_size,
        evaluated=tuple(evaluated),
    )
    return train(
        lambda: fully_connected(sizes, activation),
        data,
        training,
        fabric=fabric,
        measure=measure,
        checkpoint=checkpoint,
    )
