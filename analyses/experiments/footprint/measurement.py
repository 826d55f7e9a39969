"""Means at initialisation, counted operations and bytes, and times of layers and training steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas
import torch
from torch import Tensor

from analyses.data import datasets
from analyses.experiments.footprint.batch_statistics import batch_dependence, one_example, unit_means
from analyses.experiments.footprint.networks import ARCHITECTURES, VARIANTS, Architecture, hidden_layers
from analyses.experiments.footprint.operation_counts import PARTS, Work, network_work, update_work
from analyses.experiments.footprint.settings import COLUMNS, Config
from analyses.experiments.footprint.torch_counts import torch_counts
from analyses.framework.sweep import Sweep
from analyses.networks.step_times import interleaved_seconds, layer_seconds, step_seconds, torch_threads
from elutheory.errors import InputError
from elutheory.numerics.cost import SECONDS_PER_UPDATE, Cost
from elutheory.output.domains import check_domains

_RATE = 1e-6  # so small that all steps time the network as it was initialised


_FULLY_CONNECTED, _CONVOLUTIONAL = (1.5e6, 3e4), (1.5e9, 5e7)
"""Floating-point operations of a training step, and bytes it keeps, an example, rounded up."""


@dataclass(frozen=True)
class Cell:
    """All networks, one after the other."""

    networks: tuple[str, ...]


def cells(config: Config) -> list[Cell]:
    """One. Raises InputError on unknown networks and on sizes that are too small."""
    check_domains(config)
    for name in config.networks:
        if name not in ARCHITECTURES:
            raise InputError(f"there is no network {name}; there are {', '.join(ARCHITECTURES)}.")
    return [Cell(config.networks)]


def cost(config: Config) -> Cost:
    """Of timing every part of every variant, and of a pass for each seed."""
    total = Cost()
    for name in config.networks:
        convolutional = name in ARCHITECTURES and ARCHITECTURES[name].convolutional
        size = config.convolutional_batch_size if convolutional else config.batch_size
        operations, held = _CONVOLUTIONAL if convolutional else _FULLY_CONNECTED
        shortest = Cost(updates=config.shortest * 20 / SECONDS_PER_UPDATE)
        timed = Cost(3.0 * operations * size, 5, held * size) + shortest
        seeds = Cost(operations * config.measured, 5, held * config.measured) * config.seeds
        total += (timed * (config.repetitions + 2) + seeds) * len(VARIANTS)
    return total


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """COLUMNS says what a row holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of all networks."""
    with torch_threads(config.threads):
        tables = [_network_rows(config, ARCHITECTURES[name], device).assign(network=name) for name in cell.networks]
    table = pandas.concat(tables, ignore_index=True).reindex(columns=list(COLUMNS))
    table = table.assign(data=datasets.load(config.data).name, measured=config.measured)
    table = table.assign(device=device, threads=config.threads).fillna({"layer": 0, "layers": 1})
    return table.astype({"layer": int, "layers": int})


def _network_rows(config: Config, architecture: Architecture, device: str) -> pandas.DataFrame:
    size = config.convolutional_batch_size if architecture.convolutional else config.batch_size
    needed, held = max(2 * size, config.measured), len(datasets.load(config.data).train)
    if held < needed:
        raise InputError(
            f"{config.data} has {held} training images; batches of {size} need {2 * size}, and mean activations "
            f"{config.measured}."
        )
    images = architecture.images(config.data, needed).to(device)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = [
            counts(architecture, (size, *images.shape[1:])),
            times(config, architecture, images[:size]),
            unit_means(architecture, images[: config.measured], config.seeds),
            batch_dependence(architecture, images[: 2 * size]),
            one_example(architecture, images[0]),
        ]
    return pandas.concat(found, ignore_index=True).assign(batch_size=size)


def counts(architecture: Architecture, shape: Sequence[int]) -> pandas.DataFrame:
    """Work by formulas, torch's counts, parameters and buffers of every variant for inputs of this shape."""
    tables = []
    for variant in VARIANTS:
        network = architecture.shapes(variant)
        layers = [work for _, work in network_work(network, torch.Size(shape))]
        parameters = sum(parameter.numel() for parameter in network.parameters())
        rows = _work_rows(layers) + _quantities("update", update_work(parameters, momentum=architecture.momentum))
        for hidden in hidden_layers(network, shape):
            alone = _work_rows(layers[hidden.place])
            rows += [row | {"layer": hidden.number, "layers": hidden.layers} for row in alone]
        counted = torch_counts(network, torch.empty(*shape, device="meta"))
        for quantity, by_part in (("torch_operations", counted.operations), ("torch_bytes", counted.bytes)):
            rows += [{"quantity": quantity, "part": part, "value": value} for part, value in by_part.items()]
        buffers = sum(buffer.numel() for buffer in network.buffers())
        held = {"kept_bytes": counted.kept_bytes, "parameters": parameters, "buffers": buffers}
        rows += [{"quantity": quantity, "value": value} for quantity, value in held.items()]
        tables.append(pandas.DataFrame(rows).assign(variant=variant))
    return pandas.concat(tables, ignore_index=True)


def _work_rows(layers: Sequence[Mapping[str, Work]]) -> list[dict[str, Any]]:
    return [row for part in PARTS for row in _quantities(part, sum((work[part] for work in layers), Work()))]


def _quantities(part: str, work: Work) -> list[dict[str, Any]]:
    names = ("operations", "exponentials", "bytes")
    return [{"quantity": quantity, "part": part, "value": getattr(work, quantity)} for quantity in names]


def times(config: Config, architecture: Architecture, images: Tensor) -> pandas.DataFrame:
    """Seconds of every part of the whole networks on these images, and of their hidden layers on N(0, 1) net inputs."""
    networks = {variant: architecture.network(variant, 0).to(images.device) for variant in VARIANTS}
    momentum, penalty = (0.9, 0.0005) if architecture.momentum else (0.0, 0.0)
    optimisers = {
        name: torch.optim.SGD(found.parameters(), lr=_RATE, momentum=momentum, weight_decay=penalty)
        for name, found in networks.items()
    }
    targets = torch.arange(len(images), device=images.device) % 10
    steps = {name: step_seconds(found, optimisers[name], images, targets) for name, found in networks.items()}
    tables = [interleaved_seconds(steps, config.repetitions, config.shortest)]
    hidden = {name: hidden_layers(architecture.shapes(name), images.shape) for name in VARIANTS}
    for of_layer in zip(*hidden.values(), strict=True):
        first = of_layer[0]
        net_inputs = torch.randn(first.shape, device=images.device)
        layers = {
            name: layer_seconds(networks[name][found.place], net_inputs)
            for name, found in zip(hidden, of_layer, strict=True)
        }
        seconds = interleaved_seconds(layers, config.repetitions, config.shortest)
        tables.append(seconds.assign(layer=first.number, layers=first.layers))
    return pandas.concat(tables, ignore_index=True).assign(quantity="seconds")
