"""Autoencoders in training: errors over training and test images after each epoch, beside the mean image's."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas
import torch
from torch import Tensor, nn

from analyses.data import datasets
from analyses.data.datasets import Dataset, Split
from analyses.experiments.autoencoder.settings import COLUMNS, FIRST_SEED, Config
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.training import Training, fabric_on, train
from analyses.networks.training_cost import classifier_shape, training_cost
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains
from elutheory.propagation import initialisation

LOSS_OF: dict[str, Any] = {"logistic": "binary_cross_entropy", "linear": "squared_error"}
"""What is minimised, by the kind of output."""
_AT_ONCE = 1000


@dataclass(frozen=True)
class Cell:
    """All seeds and learning rates of one activation, output and initialisation, trained at once."""

    activation: str
    output: str
    initialisation: str


def cells(config: Config) -> list[Cell]:
    """One cell per output, initialisation and activation. Raises InputError on bad options."""
    check_domains(config)
    check_activations(config.activations, config.negative_slope)
    return [
        Cell(name, output, start)
        for output in config.outputs
        for start in config.initialisations
        for name in config.activations
    ]


def cost(config: Config) -> Cost:
    """Of training, with measured and test examples evaluated after every epoch."""
    examples, (features, *_) = classifier_shape(config.data, config.examples, ())
    sizes = (features, *config.encoder, *reversed(config.encoder[:-1]), features)
    each = training_cost(
        sizes,
        networks=config.seeds * len(config.learning_rates),
        examples=examples,
        epochs=config.epochs,
        batch_size=config.batch_size,
        evaluated=min(config.measured, examples) + examples / 5,
    )
    return each * (len(config.activations) * len(config.outputs) * len(config.initialisations))


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per activation, output, initialisation, seed, learning rate and epoch; COLUMNS says what it holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str, checkpoint: Path | None = None) -> pandas.DataFrame:
    """The rows of one cell."""
    function = named_activation(cell.activation, config.negative_slope)
    start = initialisation(cell.initialisation, function)
    data = datasets.load(config.data).flattened()
    data = data.subset(config.examples) if config.examples else data
    images = Reconstruction.of(data)
    fabric = fabric_on(device)
    measured = data.subset(min(config.measured, len(data.train))).train.inputs
    parts = {"training_error": measured.to(fabric.device), "test_error": data.test.inputs.to(fabric.device)}
    (pixels,) = data.shape
    sizes = (pixels, *config.encoder, *config.encoder[-2::-1], pixels)
    trained = train(
        lambda: fully_connected(sizes, function),
        images,
        Training(
            epochs=config.epochs,
            seeds=tuple(range(FIRST_SEED, FIRST_SEED + config.seeds)),
            learning_rates=config.learning_rates,
            batch_size=config.batch_size,
            loss=LOSS_OF[cell.output],
            evaluated=(),
        ),
        fabric=fabric,
        initialise=partial(initialise, weight_variance=start.weight_variance, bias_variance=start.bias_variance),
        measure=lambda networks: {
            name: _error(lambda batch: networks.map(_squared_errors, batch, cell.output == "logistic"), part)
            for name, part in parts.items()
        },
        checkpoint=checkpoint,
    )
    mean = data.train.inputs.mean(0)
    baselines = {
        "mean_image_training": float((measured - mean).square().mean()),
        "mean_image_test": float((data.test.inputs - mean).square().mean()),
    }
    described = {name: getattr(cell, name) for name in ("activation", "output", "initialisation")}
    settings = {name: getattr(config, name) for name in ("batch_size", "negative_slope")}
    return (
        trained.table.rename(columns={"train_loss": "loss", "diverged_update": "diverged"})
        .assign(**described, **baselines, **settings, encoder="-".join(map(str, config.encoder)))
        .assign(data=data.name, examples=len(data.train))
        .reindex(columns=list(COLUMNS))
    )


def _error(sums: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Mean over the images' pixels, one per network."""
    total = sum(sums(batch).double() for batch in images.split(_AT_ONCE))
    return torch.as_tensor(total) / images.numel()


def _squared_errors(network: nn.Module, images: Tensor, logistic: bool) -> Tensor:
    """Sum over images and pixels."""
    outputs = network(images)
    return ((torch.sigmoid(outputs) if logistic else outputs) - images).square().sum()


@dataclass(frozen=True)
class Reconstruction:
    """Splits whose targets are their inputs."""

    train: Split
    validation: Split
    test: Split

    @classmethod
    def of(cls, data: Dataset) -> "Reconstruction":
        """Every split of the data set with its inputs as targets."""
        inputs = (data.train.inputs, data.validation.inputs, data.test.inputs)
        return cls(*(Split(images, images) for images in inputs))
