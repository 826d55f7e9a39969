"""Bias shift along stochastic gradient descent: measured, predicted to first order, and what the correction removes.

At updates spaced evenly in their logarithm, for every hidden unit: the change of its mean net input over fixed training
examples by this update of all layers, its own part E_p[a]·Δw + Δw0 (B2, exact for an update of this layer alone) and
the rest, E_p[Δa]·(w + Δw), from the layers below; then the part of the natural gradient's shift that the correction
removes (B3), the cosine between gradient and unit natural gradient, and how the unit's mean oscillates over the
following updates. With batch normalisation net inputs are measured before it, and once more as the activation function
receives them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from analyses.data import datasets
from analyses.framework.claims import Claim, Decision, decide, paired_differences
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.corrections import unit_corrections
from analyses.networks.stacked import StackedNetworks
from analyses.networks.training import LOSSES, batch_order, fabric_on
from elutheory.errors import InputError
from elutheory.output.figures import label_of, look_of, style


@dataclass(frozen=True)
class Config:
    """Networks of `layers` hidden layers of `units`, trained by plain SGD on data standardised feature by feature."""

    data: str = "digits"
    """digits, the path of a data set, or huggingface:NAME."""
    activations: tuple[str, ...] = ("elu", "relu", "leaky_relu", "shifted_relu", "tanh")
    """Registry names; the claims are about elu and relu."""
    negative_slope: float = 0.1
    """Of leaky_relu."""
    layers: int = 4
    """Hidden layers."""
    units: int = 64
    """Of each hidden layer."""
    learning_rate: float = 0.05
    """The same for all."""
    batch_size: int = 64
    """Examples an update."""
    updates: int = 640
    """The last one that is measured."""
    points: int = 5
    """Measured updates, the first and the last included."""
    window: int = 20
    """Successive updates over which oscillation is measured, starting with each measured one."""
    examples: int = 512
    """Training examples over which means and gradients are taken."""
    fisher_examples: int = 256
    """Of them, those over which the exact unit Fisher matrices are taken."""
    damping: float = 1e-2
    """λ as a multiple of the mean diagonal of a unit's Fisher matrix."""
    seeds: int = 10
    """Sets of initial weights and batch orders."""


PRESETS = {"quick": Config(), "paper": Config(units=128, updates=6000, points=14, examples=1000, seeds=12)}

COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "batch_norm": "whether net inputs are normalised over the batch",
    "seed": "of the initial weights and of the order of the batches",
    "update": "updates done once the measured one is",
    "layer": "hidden layer, the first being 1",
    "loss": "cross-entropy of the update's batch before it, nats",
    "change": "|change of the unit's mean net input by the update|; this and the next 3 in standard deviations of the "
    "net input over the examples, median over units",
    "own": "|E_p[a]·Δw + Δw0|, the part of the unit's own weights (B2)",
    "below": "|E_p[Δa]·(w + Δw)|, the part of the layers below",
    "received": "|change of the mean of what the activation function receives|: after batch normalisation, if any",
    "explained": "1 − Σ(change − own part)²/Σ change² over the layer's units",
    "identity_error": "largest |change of the mean if this layer alone is updated − own part| of all units",
    "shift_share": "(E Δ)²/E Δ² of the change Δ of what the activation function receives, over examples: the share of "
    "the update's effect that is one shift for all; median over units",
    "removed": "1 − |bias shift of the natural gradient|/|the same without the coupling| (B2, B3); median over units",
    "gradient_share": "the same share of the effect of a step of the unit alone along its gradient; median over units",
    "share_without": "of a step along the natural gradient without the coupling of bias and weights (B2)",
    "share_with": "of a step along the unit natural gradient (B3)",
    "cosine": "between the gradient over the examples and the unit natural gradient; median over units",
    "mean_share": "|E_p a|²/E_p|a|² of the layer's incoming activations (P2b)",
    "sign_changes": "share of successive changes of the unit's mean net input, over the window, that have opposite "
    "signs; mean over units",
    "path": "Σ|change|/|Σ change| over the window; median over units",
    "dead_units": "units of the layer without gradient at every example",
}
"""Columns of the table and what they hold; those of Config that describe the setting follow."""
_MEASURED = tuple(list(COLUMNS)[6:])
_OF_CORRECTION = ("removed", "gradient_share", "share_without", "share_with", "cosine")
_SETTING = ("data", "layers", "units", "learning_rate", "batch_size", "examples", "fisher_examples", "damping")

_LEVEL = 0.05
_WHERE = "mean over measured updates and hidden layers above the first"


def _claim(statistic: str, sentence: str, described: str, alternative: Any, pair: str = "ELU − ReLU") -> Claim:
    return Claim(statistic, sentence, pair, f"{described}, {_WHERE}", alternative, _LEVEL)


CLAIMS = (
    _claim("mean_share", "ELU's incoming activations have less of a mean.", "mean share", "less"),
    _claim("cosine", "ELU's gradient is closer to the unit natural gradient.", "cosine", "greater"),
    _claim("shift_share", "Less of an update's effect is bias shift with ELU.", "shift's share of the effect", "less"),
    _claim("below", "Layers below shift ELU's units less.", "ln |shift from below|", "less"),
    _claim("removed", "The correction removes less of ELU's bias shift.", "part removed by B3", "less"),
    _claim("sign_changes", "ELU's unit means oscillate less.", "share of sign changes", "less"),
    _claim(
        "shift_share, normalised",
        "Batch normalisation lowers the bias shift that ReLUs receive.",
        "shift's share of the effect",
        "less",
        "ReLU with batch normalisation − ReLU",
    ),
)
"""Fixed before measuring; paired by seed. Rates are equal, so sizes of shifts differ with the gradients' sizes too; the
shares and the cosine do not depend on them."""


# --- measuring ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One activation function, with or without batch normalisation; all seeds."""

    activation: str
    batch_norm: bool


def cells(config: Config) -> list[Cell]:
    """Every activation without and with batch normalisation. Raises InputError where nothing would be measured."""
    for name in ("units", "batch_size", "updates", "points", "seeds"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}; give 1 or more.")
    if config.layers < 2:
        raise InputError(f"layers is {config.layers}; what comes from the layers below needs 2 or more.")
    if config.window < 2:
        raise InputError(f"window is {config.window}; signs change between 2 updates or more.")
    if config.learning_rate <= 0 or config.damping <= 0:
        raise InputError("learning rate and damping are positive.")
    if not 1 < config.fisher_examples <= config.examples:
        raise InputError(f"fisher examples are 2 to {config.examples}, the number of examples.")
    check_activations(config.activations, config.negative_slope)
    return [Cell(*cell) for cell in product(config.activations, (False, True))]


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row an activation, normalisation, seed, measured update and layer; see COLUMNS."""
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
    setting = {name: getattr(config, name) for name in _SETTING} | {"data": data.name}
    return pandas.DataFrame(rows).assign(**asdict(cell), **setting).reindex(columns=[*COLUMNS, *_SETTING])


def _networks(config: Config, cell: Cell, sizes: Sequence[int], device: str) -> Any:
    """One a seed, under training in float64."""
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
    """By hidden layer, the numbers of _MEASURED but the oscillation's."""
    old, new = (passed(network, examples.inputs) for network in (before, after))
    if not all(bool(received.isfinite().all()) for *_, received in (*old, *new)):
        return [dict.fromkeys(_MEASURED, np.nan) for _ in old]
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
                **{name: _median(getattr(correction, name)) for name in _OF_CORRECTION},
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


# --- verdicts -------------------------------------------------------------------------------------------------------


def run_statistics(table: Any) -> Any:
    """One row an activation, normalisation and seed: means over measured updates and hidden layers above the first.

    `below` is averaged as a logarithm. A run without a number (diverged, or all units of a layer dead) counts as worst:
    −inf for the cosine and inf else.
    """
    used = table[table["layer"] > 1].assign(below=lambda rows: np.log(rows["below"]))
    columns = list(_AVERAGED)
    runs: Any = used.groupby(["activation", "batch_norm", "seed"], sort=False)[columns]
    means = runs.agg(lambda values: values.mean(skipna=False)).reset_index()
    worst = {name: -np.inf if name == "cosine" else np.inf for name in columns}
    return means.fillna(worst)


_AVERAGED = {
    "mean_share": "mean share of incoming activations",
    "shift_share": "shift's share of an update's effect",
    "below": "ln |shift from below|, in deviations",
    "explained": "explained by own weights",
    "gradient_share": "shift's share of a step: gradient",
    "share_without": "  natural gradient, no coupling",
    "share_with": "  unit natural gradient",
    "removed": "part of the shift removed by B3",
    "cosine": "cosine with unit natural gradient",
    "sign_changes": "share of sign changes",
}


def decisions(table: Any) -> list[Decision]:
    """The verdicts of CLAIMS, if ELU and ReLU were run."""
    if not {"elu", "relu"} <= set(table["activation"]):
        return []
    runs = run_statistics(table)
    runs["run"] = runs["activation"] + np.where(runs["batch_norm"], ", normalised", "")
    differences = {}
    for claim in CLAIMS:
        statistic, _, arm = claim.identifier.partition(", ")
        first, second = ("relu, normalised", "relu") if arm else ("elu", "relu")
        differences[claim.identifier] = paired_differences(runs, statistic, first, second, by="run")
    return decide(CLAIMS, differences)


def summary(table: Any) -> str:
    """The identity, means over seeds, and the verdicts."""
    runs = run_statistics(table)
    means = runs.groupby(["batch_norm", "activation"], sort=False)[list(_AVERAGED)].mean().T
    means.index = [_AVERAGED[str(name)] for name in means.index]
    means.columns = [f"{label_of(name)}{', BN' if normalised else ''}" for normalised, name in means.columns]
    diverged = table[table["loss"].isna() | table["change"].isna()].groupby(["activation", "batch_norm"])["seed"]
    return "\n".join(
        [
            _setting(table),
            "",
            "Of an update of one layer alone, the change of the mean net input less E_p[a]·Δw + Δw0 (B2, exact) is at "
            f"most {table['identity_error'].max():.1e} standard deviations of the net input.",
            "",
            f"{_WHERE}, then over seeds (BN: batch normalisation)",
            means.to_string(float_format="%.3f"),
            "",
            *[f"{seeds.nunique()} runs diverged: {name}" for name, seeds in diverged],
            *[str(decision) for decision in decisions(table)],
        ]
    )


def _setting(table: Any) -> str:
    row = table.iloc[0]
    return (
        f"{row['data']}; {row['layers']} hidden layers × {row['units']}; learning rate {row['learning_rate']:g}, "
        f"batches of {row['batch_size']}; means over {row['examples']} examples, exact unit Fisher matrices over "
        f"{row['fisher_examples']}, relative damping {row['damping']:g}; {table['seed'].nunique()} seeds"
    )


# --- the figure -----------------------------------------------------------------------------------------------------


def draw(table: Any) -> Figure:
    """By update, mean over hidden layers above the first: median over seeds and their range; last panel: averages."""
    with style():
        figure = Figure(figsize=(7.2, 4.7), layout="constrained")
        panels: Any = figure.subplots(2, 3)
        shares = "share of update's effect"
        panels[0, 0].sharey(panels[0, 1])
        _draw_curves(panels[0, 0], table, False, "shift_share", "(a) bias shift", shares)
        _draw_curves(panels[0, 1], table, True, "shift_share", "(b) with batch normalisation", "")
        panels[0, 0].set_yscale("log")
        _draw_curves(panels[0, 2], table, False, "explained", "(c) shift by own weights", "explained share")
        _draw_curves(panels[1, 0], table, False, "cosine", "(d) with unit natural gradient", "cosine of the gradient")
        _draw_curves(
            panels[1, 1], table, False, "sign_changes", "(e) oscillation of unit means", "share of sign changes"
        )
        _draw_directions(panels[1, 2], table)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8)
        figure.suptitle(_setting(table).replace("; means", "\nmeans"), fontsize=8)
    return figure


def _draw_curves(panel: Any, table: Any, normalised: bool, column: str, title: str, unit: str) -> None:
    rows = table[(table["batch_norm"] == normalised) & (table["layer"] > 1)]
    for name, of_one in rows.groupby("activation", sort=False):
        look = look_of(name)
        values = of_one.groupby(["update", "seed"])[column].mean().unstack()
        panel.plot(values.index, values.median(axis=1), color=look.colour, linestyle=look.line, label=look.label)
        panel.fill_between(
            values.index, values.min(axis=1), values.max(axis=1), color=look.colour, alpha=0.15, linewidth=0
        )
    panel.set_xscale("log")
    panel.set_title(title)
    panel.set_xlabel("update")
    panel.set_ylabel(unit)


def _draw_directions(panel: Any, table: Any) -> None:
    """Bias shift's share of a step of the unit alone along three directions, an activation a column."""
    runs = run_statistics(table).query("not batch_norm")
    names = runs["activation"].unique().tolist()
    directions = {
        "gradient_share": ("o", "gradient"),
        "share_without": ("^", "natural gradient, uncoupled"),
        "share_with": ("D", "unit natural gradient"),
    }
    for order, (column, (marker, label)) in enumerate(directions.items()):
        values = runs.pivot(index="activation", columns="seed", values=column).loc[names]
        middle = values.median(axis=1).to_numpy()
        reach = np.stack([middle - values.min(axis=1).to_numpy(), values.max(axis=1).to_numpy() - middle])
        places = np.arange(len(names)) + 0.2 * (order - 1)
        for place, value, below, above, name in zip(places, middle, *reach, names, strict=True):
            panel.errorbar(
                place, value, [[below], [above]], fmt=marker, color=look_of(name).colour, markersize=4, linewidth=1
            )
        panel.plot([], [], marker, color="0.4", markersize=4, label=label)
    panel.set_yscale("log")
    lowest = panel.get_ylim()[0]
    panel.set_ylim(lowest / 30, 1.5)  # room for the legend
    panel.set_xticks([])
    panel.set_title("(f) bias shift, unit's own step")
    panel.set_ylabel("share of step's effect")
    panel.legend(frameon=False, fontsize=7, loc="lower left")
