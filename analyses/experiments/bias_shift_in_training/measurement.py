"""Networks in training: at chosen updates, the change of every unit's mean net input, and its parts (B2)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas
import torch
from torch import Tensor, nn

from analyses.data import datasets
from analyses.experiments.bias_shift_in_training.settings import COLUMNS, MEASURED, OF_CORRECTION, SETTING, Config
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.corrections import unit_corrections
from analyses.networks.stacked import StackedNetworks
from analyses.networks.training import LOSSES, batch_order, fabric_on
from analyses.networks.training_cost import classifier_shape, fisher_cost, parameters, training_cost
from elutheory.errors import InputError
from elutheory.numerics.cost import Cost
from elutheory.output.domains import check_domains


@dataclass(frozen=True)
class Cell:
    """One activation function, with or without batch normalisation; all seeds."""

    activation: str
    batch_norm: bool


def cells(config: Config) -> list[Cell]:
    """Every activation without and with batch normalisation. Raises InputError where nothing would be measured."""
    check_domains(config)
    if config.fisher_examples > config.examples:
        raise InputError(f"fisher examples are 2 to {config.examples}, the number of examples.")
    check_activations(config.activations, config.negative_slope)
    return [Cell(*cell) for cell in product(config.activations, (False, True))]


def cost(config: Config) -> Cost:
    """Of training in float64, of means at the watched updates and of Fisher matrices at the measured ones."""
    examples, sizes = classifier_shape(config.data, 0, [config.units] * config.layers)
    updates = config.updates + config.window
    trained = training_cost(
        sizes,
        networks=config.seeds,
        examples=examples,
        epochs=updates / -(-examples // config.batch_size),
        batch_size=config.batch_size,
        itemsize=8,
    )
    passes = config.seeds * config.points * (config.window + 3)
    watched = Cost(2.0 * parameters(sizes) * config.examples, 0.5, 24.0 * config.examples * sum(sizes)) * passes
    corrections = fisher_cost(sizes, config.fisher_examples) * (config.seeds * config.points)
    return (trained + watched + corrections) * (2 * len(config.activations))


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row per activation, normalisation, seed, measured update and layer; see COLUMNS."""
    return sweep.table(measure_cell, config, cells(config))


def measured_updates(config: Config) -> list[int]:
    """Numbers of the measured updates, the first being 1, about evenly spaced in their logarithm."""
    return sorted(set(np.geomspace(1, config.updates, config.points).round().astype(int).tolist()))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one cell; NaN from the first update on that leaves a loss or an output not finite."""
    data = datasets.load(config.data).standardised().flattened()
    if config.examples > len(data.train):
        raise InputError(f"examples is {config.examples}; {data.name} has {len(data.train)} for training.")
    inputs, targets = data.train.inputs.double().to(device), data.train.targets.to(device)
    examples = datasets.Split(inputs[: config.examples], targets[: config.examples])
    networks = _networks(config, cell, (inputs.shape[1], *[config.units] * config.layers, data.classes), device)
    batches = -(-len(inputs) // config.batch_size)
    measured = measured_updates(config)
    watched = {update for start in measured for update in range(start - 1, start + config.window)}
    means: dict[int, list[Tensor]] = {}
    rows: list[dict[str, Any]] = []
    orders = torch.empty(0)
    for update in range(max(watched) + 1):  # so many are done
        if update in watched:
            means[update] = networks.map(_mean_nets, examples.inputs)
        epoch, batch = divmod(update, batches)
        if batch == 0:
            orders = torch.stack([batch_order(seed, epoch, len(inputs)) for seed in range(config.seeds)]).to(device)
        chosen = orders[:, batch * config.batch_size : (batch + 1) * config.batch_size]
        before = [networks.network(seed) for seed in range(config.seeds)] if update + 1 in measured else []
        losses = networks.step(inputs[chosen], targets[chosen])
        for seed, network in enumerate(before):
            layers = _measure_update(config, network, networks.network(seed), examples)
            found = {"seed": seed, "update": update + 1, "loss": float(losses[seed])}
            rows += [{**found, "layer": number, **layer} for number, layer in enumerate(layers, start=1)]
    for row in rows:
        successive = range(row["update"] - 1, row["update"] + config.window)
        row |= _oscillation(torch.stack([means[update][row["layer"] - 1][row["seed"]] for update in successive]))
    setting = {name: getattr(config, name) for name in SETTING} | {"data": data.name}
    return pandas.DataFrame(rows).assign(**asdict(cell), **setting).reindex(columns=[*COLUMNS, *SETTING])


def _networks(config: Config, cell: Cell, sizes: Sequence[int], device: str) -> Any:
    """One network per seed, under training in float64."""
    function = named_activation(cell.activation, config.negative_slope)
    built = [
        fully_connected(sizes, function, batch_norm=cell.batch_norm, dtype=torch.float64) for _ in range(config.seeds)
    ]
    networks = [initialise(network, seed).to(device) for seed, network in enumerate(built)]
    rates = [config.learning_rate] * config.seeds
    return StackedNetworks(networks, rates, LOSSES["cross_entropy"], fabric_on(device, "64-true"))


def _mean_nets(network: nn.Sequential, inputs: Tensor) -> list[Tensor]:
    """Mean over the inputs of every hidden unit's net input, by layer."""
    return [net.mean(0) for _, net, _ in passed(network, inputs)]


def passed(network: nn.Sequential, inputs: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For every hidden layer (examples, …): incoming activations, net input, and what the activation receives.

    Batch normalisation is by the statistics of `inputs`, in either mode.
    """
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for layer in list(network)[:-1]:
        if isinstance(layer, nn.BatchNorm1d):
            outputs = nn.functional.batch_norm(inputs, None, None, layer.weight, layer.bias, training=True)
            found[-1] = (*found[-1][:2], outputs)
        else:
            outputs = layer(inputs)
        if isinstance(layer, nn.Linear):
            found.append((inputs, outputs, outputs))
        inputs = outputs
    return found


@torch.no_grad()
def _measure_update(
    config: Config, before: nn.Sequential, after: nn.Sequential, examples: datasets.Split
) -> list[dict[str, float]]:
    """By hidden layer, the numbers of MEASURED but the oscillation's."""
    old, new = (passed(network, examples.inputs) for network in (before, after))
    if not all(bool(received.isfinite().all()) for *_, received in (*old, *new)):
        return [dict.fromkeys(MEASURED, np.nan) for _ in old]
    corrections = unit_corrections(before, examples, config.fisher_examples, config.damping)
    linears: Any = [pair for pair in zip(before, after, strict=True) if isinstance(pair[0], nn.Linear)][:-1]
    rows = []
    for (a, net, received), (_, new_net, new_received), (first, second), correction in zip(
        old, new, linears, corrections, strict=True
    ):
        spread = net.std(0, correction=0)
        own = (second.weight - first.weight) @ a.mean(0) + (second.bias - first.bias)
        alone = second(a).mean(0) - net.mean(0)
        change = new_net.mean(0) - net.mean(0)
        effect = new_received - received
        sizes = {"change": change, "own": own, "below": change - own}
        rows.append(
            {
                **{name: _median((size / spread).abs()) for name, size in sizes.items()},
                "received": _median((effect.mean(0) / received.std(0, correction=0)).abs()),
                "explained": float(1 - (change - own).square().sum() / change.square().sum()),
                "identity_error": float(((alone - own) / spread).abs().max()),
                "shift_share": _median(effect.mean(0).square() / effect.square().mean(0)),
                **{name: _median(getattr(correction, name)) for name in OF_CORRECTION},
                "mean_share": correction.mean_share,
                "dead_units": int(correction.cosine.isnan().sum()),
            }
        )
    return rows


def _oscillation(path: Tensor) -> dict[str, float]:
    """Of unit means (updates + 1, units)."""
    changes = path.diff(dim=0)
    opposite = (changes[1:] * changes[:-1] < 0).double().mean()
    lengths = changes.abs().sum(0) / changes.sum(0).abs()
    return {"sign_changes": float(opposite), "path": _median(lengths)} if changes.isfinite().all() else {}


def _median(values: Tensor) -> float:
    return float(np.nanmedian(values.cpu().numpy())) if not values.isnan().all() else np.nan
