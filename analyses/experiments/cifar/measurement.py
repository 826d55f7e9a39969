"""Networks trained one at a time, seed after seed, with their layers' means after every epoch."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from torch import Tensor

from analyses.data.datasets import Split
from analyses.data.labelled_images import stratified_order
from analyses.data.prepared_images import kept_shape, prepared_images
from analyses.experiments.cifar import recipe
from analyses.experiments.cifar.settings import BATCH, COLUMNS, OF_LAYERS, Config
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.augmentation import crops_and_flips
from analyses.networks.layer_means import LayerMoments, layer_means, layer_moments
from analyses.networks.stacked import Networks
from analyses.networks.training import Training, fabric_on, train
from analyses.networks.training_cost import ConvolutionalSize, convolutional_cost, shape_of, size_of
from elutheory.errors import InputError
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains

FIRST_SEED = 4000
"""Other seeds were used while sizes were chosen."""


@dataclass(frozen=True)
class Cell:
    """One network."""

    seed: int
    activation: str
    normalisation: str


def cells(config: Config) -> list[Cell]:
    """Seed after seed, so that what is unfinished has all networks of some seeds. Raises InputError on bad options."""
    check_domains(config)
    check_activations(config.activations, config.negative_slope)
    return [
        Cell(FIRST_SEED + seed, activation, normalisation)
        for seed in range(config.seeds)
        for activation in config.activations
        for normalisation in config.normalisations
    ]


def cost(config: Config) -> Cost:
    """Of all networks, and of whitening the images; those of the training part are held twice, of the test part too."""
    examples, image, classes = _shape(config)
    held = min(config.examples or examples, examples)
    evaluated = held / 5 + min(config.measured, held)
    each = convolutional_cost(
        _size(config, config.width, image, classes),
        examples=held,
        epochs=config.epochs,
        batch_size=config.batch_size,
        evaluated=evaluated,
    )
    numbers = float(np.prod(image))
    whitening = Cost(4 * held * numbers**2 + 20 * numbers**3, bytes=8 * (held + evaluated) * numbers + 32 * numbers**2)
    networks = config.seeds * len(config.activations) * len(config.normalisations)
    total = each * networks + whitening
    return total + Cost(bytes=total.bytes + each.bytes)


def _shape(config: Config) -> tuple[int, tuple[int, ...], int]:
    """Training examples, image and classes; of images not prepared yet the shape is told from their numbers."""
    known = kept_shape(config.data, config.examples, config.regularisation)
    if known is not None:
        return known
    shape = shape_of(config.data)
    colours = 3 if round((shape.features / 3) ** 0.5) ** 2 * 3 == shape.features else 1
    side = round((shape.features / colours) ** 0.5)
    return shape.examples * 6 // 5, (colours, side, side), shape.classes


def _size(config: Config, width: float, image: tuple[int, ...], classes: int) -> ConvolutionalSize:
    scaled = Config(network=config.network, width=width)
    with torch.device("meta"):
        return size_of(recipe.builder(scaled, named_activation("elu", 0.1), BATCH, image, classes)(), image)


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per network and epoch; see COLUMNS."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str, checkpoint: Path | None = None) -> pandas.DataFrame:
    """The rows of one network."""
    activation = named_activation(cell.activation, config.negative_slope)
    data = prepared_images(config.data, config.examples, config.regularisation)
    if BATCH in config.normalisations and len(data.train) % config.batch_size == 1:
        raise InputError(
            f"of {len(data.train)} training images the last batch of {config.batch_size} has one, and batch "
            "normalisation needs two; change batch_size."
        )
    fabric = fabric_on(device, config.precision)
    measured = measured_images(data.train, config.measured).to(fabric.device)
    each = -(-len(data.train) // config.batch_size)
    build = recipe.builder(config, activation, cell.normalisation, data.shape, data.classes)
    predicted: list[LayerMoments] = []

    def start(network: Any, seed: int) -> Any:
        recipe.initialised(network, seed)
        predicted.extend(layer_moments(network, [measured], activation))
        return network

    trained = train(
        build,
        data,
        Training(
            config.epochs,
            (cell.seed,),
            (config.learning_rate,),
            batch_size=config.batch_size,
            schedule=recipe.schedule(config, config.epochs * each),
            evaluated=("test",),
        ),
        fabric=fabric,
        make_optimizer=recipe.optimizer(config),
        initialise=start,
        augment=crops_and_flips(config.padding),
        adjust=recipe.dropout_raising(config, config.epochs * each),
        measure=means_and_speed(measured, each),
        checkpoint=checkpoint,
    )
    table = trained.table.rename(columns={"train_loss": "training_loss", "diverged_update": "diverged"})
    table["test_error"] = 1 - table["test_accuracy"]
    columns: dict[str, Any] = {name: trained.measured[name][:, 0].numpy() for name in ("mean", "mean_share")}
    beginning = np.where(table["epoch"] == 0, 1.0, np.nan)[:, None]
    columns["predicted"] = beginning * [layer.mean.predicted for layer in predicted]
    columns["band"] = beginning * [layer.mean.band for layer in predicted]
    layers = pandas.DataFrame(
        {f"{name}_{layer + 1}": columns[name][:, layer] for layer in range(len(predicted)) for name in OF_LAYERS}
    )
    described = {"activation": cell.activation, "normalisation": cell.normalisation, "data": data.name}
    settings = {
        name: getattr(config, name) for name in ("network", "width", "batch_size", "precision", "negative_slope")
    }
    batch = min(config.batch_size, len(data.train))
    for name, width in (("operations", config.width), ("paper_operations", 1.0)):
        table[name] = batch * _size(config, width, data.shape, data.classes).training
    table = table.assign(
        **described,
        **settings,
        updates=each * config.epochs,
        examples=len(data.train),
        chance_error=data.chance,
        test_examples=len(data.test),
    )
    return pandas.concat([table.reindex(columns=list(COLUMNS)), layers], axis=1)


def means_and_speed(images: Tensor, updates: int) -> Callable[[Networks], dict[str, Tensor]]:
    """`measure` of `train`: the layers' means on these images, and the updates per second since the last time."""
    last: float | None = None

    def measure(networks: Networks) -> dict[str, Tensor]:
        nonlocal last
        found = networks.map(layer_means, images)
        now = time.perf_counter()
        speed = np.nan if last is None else updates / (now - last)
        last = now
        return found | {"updates_per_second": torch.full((len(networks),), speed, dtype=torch.float64)}

    return measure


def measured_images(train: Split, number: int) -> Tensor:
    """So many of the training images, at most all, the classes in their shares; always the same."""
    return train.inputs[stratified_order(train.targets.numpy(), 0)[:number]]
