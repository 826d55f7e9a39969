"""Layers' statistics of networks of several seeds, and times of training steps that take turns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
import torch
from torch import Tensor, nn

from analyses.data import datasets
from analyses.data.resized_images import resized_images
from analyses.experiments.imagenet.settings import COLUMNS, Config
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import imagenet_15, initialise
from analyses.networks.augmentation import cropped, draws
from analyses.networks.layer_means import layer_moments
from analyses.networks.step_times import interleaved_seconds, step_seconds
from analyses.networks.training_cost import convolutional_cost, passes_cost, size_of
from elutheory.errors import InputError
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains

_AT_ONCE = 8
"""Images whose activations are held at the same time."""


@dataclass(frozen=True)
class Cell:
    """The statistics of the networks of one seed, or (None) the times of all."""

    seed: int | None


def cells(config: Config) -> list[Cell]:
    """One per seed and one of times. Raises InputError where nothing could be measured."""
    check_domains(config)
    check_activations(config.activations, config.negative_slope)
    if config.crop > config.side:
        raise InputError(f"crop is {config.crop}; give {config.side} (side) or less.")
    return [*(Cell(seed) for seed in range(config.seeds)), Cell(None)]


def cost(config: Config) -> Cost:
    """Of all steps and of a pass for each seed; every network that is timed is held with gradients and momenta."""
    with torch.device("meta"):
        size = size_of(built(config, config.activations[0]), (3, config.crop, config.crop))
    functions = len(config.activations)
    step = convolutional_cost(size, examples=config.batch_size, epochs=1, batch_size=config.batch_size)
    steps = step * (functions * (config.repetitions + 2))
    passes = passes_cost(size, images=config.images, at_once=_AT_ONCE, itemsize=8)
    images = 4.0 * 3 * config.images * (config.side**2 + config.crop**2)
    held = Cost(updates=functions * config.seeds, bytes=functions * step.bytes + images)
    return steps + passes * (functions * config.seeds) + held


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """COLUMNS says what a row holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one cell."""
    name, images = images_of(config)
    table = timed(config, images, device) if cell.seed is None else statistics(config, cell.seed, images, device)
    settings = {name: getattr(config, name) for name in ("images", "crop", "width", "batch_size", "negative_slope")}
    return table.assign(data=name, device=device, **settings).reindex(columns=list(COLUMNS))


def built(config: Config, activation: str) -> nn.Sequential:
    """The network, not initialised."""
    return imagenet_15(named_activation(activation, config.negative_slope), classes=config.classes, width=config.width)


def images_of(config: Config) -> tuple[str, Tensor]:
    """Name and images (N, 3, side, side), less their per-pixel mean, over one standard deviation of all numbers."""
    if config.data == "digits":
        digits = datasets.load("digits").subset(config.images).train.inputs[:, None]
        images = nn.functional.interpolate(digits, (config.side,) * 2, mode="bilinear").expand(-1, 3, -1, -1)
        name = "digits"
    else:
        folder = Path(config.data)
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder; a folder of images, or digits, is needed.")
        images = torch.from_numpy(resized_images(folder, config.images, config.side)).float()
        name = folder.resolve().name
    images = images - images.mean(0)
    deviation = images.std()
    if not deviation > 0:
        raise InputError(f"all images of {name} are the same; others are needed.")
    return name, images / deviation


def crops_of(config: Config, images: Tensor, seed: int) -> Tensor:
    """A random crop of each, mirrored or not."""
    places, mirrored = draws(seed, 0, len(images), config.side - config.crop)
    return cropped(images, 0, places, mirrored, size=(config.crop, config.crop))


@torch.no_grad()
def statistics(config: Config, seed: int, images: Tensor, device: str) -> pandas.DataFrame:
    """Mean and second moment of every hidden layer before training, and M3's."""
    rows: list[dict[str, Any]] = []
    crops = crops_of(config, images, seed).to(device)
    for name in config.activations:
        network = built(config, name).to(device)
        initialise(network, seed)
        moments = layer_moments(network, crops.split(_AT_ONCE), named_activation(name, config.negative_slope))
        for number, layer in enumerate(moments, start=1):
            kind = "convolutional" if layer.convolutional else "fully connected"
            described = {"activation": name, "layer": number, "kind": kind, "seed": seed}
            rows += [
                described
                | {"quantity": quantity, "value": found.measured, "predicted": found.predicted, "band": found.band}
                for quantity, found in (("mean", layer.mean), ("second_moment", layer.second_moment))
            ]
    return pandas.DataFrame(rows)


def timed(config: Config, images: Tensor, device: str) -> pandas.DataFrame:
    """Seconds of a training step of each network on one batch, in turn."""
    batch = crops_of(config, images, 0)[: config.batch_size]
    batch = batch.repeat(-(-config.batch_size // len(batch)), 1, 1, 1)[: config.batch_size].to(device)
    targets = torch.arange(config.batch_size, device=device) % config.classes
    steps = {}
    for name in config.activations:
        network = initialise(built(config, name).to(device), 0)
        steps[name] = step_seconds(network, optimizer(config, network), batch, targets)
    with torch.random.fork_rng():  # dropout draws
        found: Any = interleaved_seconds(steps, config.repetitions, 0.0)
    whole = found[found["part"] != "evaluation"].groupby(["variant", "seed"], sort=False)["value"].sum().reset_index()
    return whole.rename(columns={"variant": "activation"}).assign(quantity="seconds", layer=0)


def optimizer(config: Config, network: nn.Module) -> torch.optim.Optimizer:
    """Gradient descent with momentum and weight decay, as the paper's."""
    return torch.optim.SGD(
        network.parameters(), config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )
