"""Does ELU's lead in test error over ReLU and leaky ReLU open with depth? The abstract of arXiv 1511.07289 (E9).

Fully connected classifiers with He initialisation, plain stochastic gradient descent. Every activation has, at every
depth, the learning rate of the lowest validation error over one grid; the networks that choose it are not those that
are compared, and the test examples are not seen before. At a seed the same initial weights and batches for every
activation. The gap is the other's test error minus ELU's; it opens if it is larger above 4 hidden layers than up to 4.
All train for the same number of epochs: where training losses differ as well, the gap is also one of learning speed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter, SymmetricalLogLocator

from analyses.data import datasets
from analyses.framework.claims import Claim, Decision, decide, paired_differences
from analyses.framework.settings import named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected
from analyses.networks.training import Training, fabric_on, train
from elutheory.errors import InputError
from elutheory.output.figures import label_of, look_of, number, style


@dataclass(frozen=True)
class Config:
    """Networks of several depths, trained on data standardised by one mean and one deviation."""

    data: str = "digits"
    """digits, the path of a data set, or huggingface:NAME."""
    activations: tuple[str, ...] = ("elu", "relu", "leaky_relu")
    """Registry names; the claims are about these three."""
    negative_slope: float = 0.1
    """Of leaky_relu."""
    depths: tuple[int, ...] = (2, 4, 6, 8, 12, 16)
    """Numbers of hidden layers."""
    units: int = 128
    """Of each hidden layer."""
    epochs: int = 300
    """Passes over the training examples."""
    learning_rates: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    """The grid of each activation and depth, of plain stochastic gradient descent."""
    tuning_seeds: int = 5
    """Sets of initial weights and batch orders that choose the learning rate."""
    batch_size: int = 64
    """Examples an update."""
    examples: int = 0
    """Training examples, classes in their shares; 0: all."""
    seeds: int = 10
    """Further sets, which are compared."""


PRESETS = {
    "quick": Config(depths=(2, 4, 8, 16), units=32, epochs=15, learning_rates=(0.01, 0.03, 0.1, 0.3), tuning_seeds=3),
    "paper": Config(),
}

SHALLOW = 4
"""Hidden layers up to which a network is shallow: the paper claims its gap for more layers."""
_LEVEL = 0.05
_RIVALS = ("relu", "leaky_relu")


def claims(depths: tuple[int, ...]) -> list[Claim]:
    """A rival: the gap opens, where `depths` have both sides of SHALLOW, and one a depth; fixed before measuring."""
    both_sides = min(depths) <= SHALLOW < max(depths)
    opening = [
        Claim(
            f"opening: {rival}",
            f"ELU's lead over {label_of(rival)} opens with depth.",
            f"{label_of(rival)} − ELU",
            f"test error in %, mean over depths above {SHALLOW} minus mean over depths up to {SHALLOW}",
            "greater",
            _LEVEL,
        )
        for rival in _RIVALS
        if both_sides
    ]
    leads = [
        Claim(
            f"{depth}: {rival}",
            f"With {depth} hidden layers ELU's test error is lower than {label_of(rival)}'s.",
            f"{label_of(rival)} − ELU",
            "test error in %",
            "greater",
            _LEVEL,
        )
        for rival in _RIVALS
        for depth in depths
    ]
    return opening + leads


@dataclass(frozen=True)
class Cell:
    """All networks of one activation and depth."""

    activation: str
    depth: int


def cells(config: Config) -> list[Cell]:
    """Every activation and depth. Raises InputError on repeated or unknown ones and sizes below 1."""
    for name in ("activations", "depths"):
        given = getattr(config, name)
        if len(set(given)) < len(given) or not given:
            raise InputError(f"{name} are {', '.join(map(str, given)) or 'none'}; give each once, and one at least.")
    for name in ("units", "epochs", "tuning_seeds", "seeds"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}; give 1 or more.")
    if min(config.depths) < 1:
        raise InputError(f"a depth is {min(config.depths)}; give 1 hidden layer or more.")
    for name in config.activations:
        named_activation(name, config.negative_slope)
    return [Cell(name, depth) for depth in config.depths for name in config.activations]


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row a network after its last epoch; COLUMNS says what it holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str, checkpoint: Path | None = None) -> pandas.DataFrame:
    """The rows of one activation and depth: the networks that choose the learning rate, then those compared."""
    function = named_activation(cell.activation, config.negative_slope)
    data = datasets.load(config.data).standardised("dataset").flattened()
    data = data.subset(config.examples) if config.examples else data
    sizes = (*data.shape, *[config.units] * cell.depth, data.classes)

    def networks(use: str, training: Training) -> Any:
        trained = train(
            lambda: fully_connected(sizes, function),
            data,
            training,
            fabric=fabric_on(device),
            checkpoint=checkpoint and checkpoint.with_stem(f"{checkpoint.stem}-{use}"),
        )
        table = trained.table.rename(columns={"train_loss": "training_loss", "diverged_update": "diverged"})
        for split in training.evaluated:
            table[f"{split}_error"] = 1 - table[f"{split}_accuracy"]
        return table[table["epoch"] == config.epochs].assign(use=use)

    shared: Any = {"epochs": config.epochs, "batch_size": config.batch_size}
    tuning_seeds = tuple(range(config.tuning_seeds))
    seeds = tuple(range(config.tuning_seeds, config.tuning_seeds + config.seeds))
    grid = {"seeds": tuning_seeds, "learning_rates": config.learning_rates, "evaluated": ("validation",)}
    tuning = networks("tuning", Training(**grid, **shared))
    chosen = {"seeds": seeds, "learning_rates": (chosen_rate(tuning),), "evaluated": ("test",)}
    compared = networks("comparison", Training(**chosen, **shared))
    described = {"activation": cell.activation, "depth": cell.depth, "data": data.name, "examples": len(data.train)}
    settings = {name: getattr(config, name) for name in ("units", "batch_size", "negative_slope")}
    return (
        pandas.concat([tuning, compared], ignore_index=True)
        .assign(**described, **settings)
        .reindex(columns=list(COLUMNS))
    )


def chosen_rate(tuning: Any) -> float:
    """Of the rates at which the fewest networks diverge, that of the lowest mean validation error, then loss."""
    rates = tuning.groupby("learning_rate").agg(
        diverged=("diverged", "count"), error=("validation_error", "mean"), loss=("validation_loss", "mean")
    )
    rates["error"] = rates["error"].round(9)  # equal shares, averaged in different orders
    return float(rates.sort_values(["diverged", "error", "loss"], kind="stable").index[0])


COLUMNS = {
    "activation": "the networks' activation function, a registry name",
    "depth": "hidden layers",
    "use": "tuning: to choose the learning rate; comparison: at the learning rate chosen",
    "learning_rate": "of stochastic gradient descent",
    "seed": "of the initial weights and of the order of the batches",
    "training_loss": "mean cross-entropy of the last epoch's batches, each before its update (nats)",
    "validation_loss": "of tuning: mean cross-entropy of the validation examples after the last epoch (nats)",
    "validation_error": "of tuning: share of the validation examples misclassified after the last epoch",
    "test_error": "of comparison: share of the test examples misclassified after the last epoch",
    "diverged": "updates after which the loss had diverged: the network has no numbers; nan: never",
    "epoch": "epochs of training",
    "data": "name of the data set",
    "examples": "training examples",
    "units": "of each hidden layer",
    "batch_size": "examples an update",
    "negative_slope": "of leaky_relu",
}


# --- verdicts -------------------------------------------------------------------------------------------------------


def gaps(table: Any, rival: str) -> Any:
    """Test error of `rival` minus ELU's in %, one row a seed, one column a depth.

    ±inf where one of the two diverged, 0 where both did.
    """
    compared = _of_use(table, "comparison").copy()
    compared["percent"] = 100 * compared["test_error"].where(compared["diverged"].isna(), np.inf)
    return pandas.DataFrame(
        {
            depth: paired_differences(networks, "percent", rival, "elu")
            for depth, networks in compared.groupby("depth", sort=True)
        }
    )


def opening(gap: Any) -> Any:
    """The mean gap above SHALLOW hidden layers minus that up to SHALLOW, one a seed; 0 for inf − inf."""
    deep = gap.columns > SHALLOW
    with np.errstate(invalid="ignore"):
        return (gap.loc[:, deep].mean(axis=1) - gap.loc[:, ~deep].mean(axis=1)).fillna(0.0)


def decisions(table: Any) -> list[Decision]:
    """The verdicts of the claims, but of those about activations that were not run."""
    there = set(table["activation"])
    differences: dict[str, Any] = {}
    for rival in _RIVALS:
        if {"elu", rival} <= there:
            gap = gaps(table, rival)
            differences[f"opening: {rival}"] = opening(gap)
            differences |= {f"{depth}: {rival}": gap[depth] for depth in gap}
    depths = tuple(sorted(table["depth"].unique().tolist()))
    about = [claim for claim in claims(depths) if claim.identifier in differences]
    return decide(about, differences) if about else []


def summary(table: Any) -> str:
    """Chosen learning rates, test errors, networks that diverged, and the verdicts."""
    compared = _of_use(table, "comparison")
    networks = compared.groupby(["depth", "activation"], sort=False)
    found = networks.agg(
        learning_rate=("learning_rate", "first"),
        training_loss=("training_loss", "mean"),
        test_error=("test_error", "mean"),
        deviation=("test_error", "std"),
        diverged=("diverged", "count"),
    )
    edge = [f"{label_of(name)} with {depth} hidden layers" for (depth, name) in _at_edge(table, found)]
    lines = [_setting(table), "", "means over the seeds that did not diverge", found.to_string(float_format="%.4g"), ""]
    lines += [f"the chosen learning rate is at the grid's edge: {', '.join(edge)}"] if edge else []
    lines += [f"{line}; in the tests that counts as worst" for line in _diverged(compared)]
    lines += [str(decision) for decision in decisions(table)]
    return "\n".join(lines)


def _diverged(compared: Any) -> list[str]:
    """Activation, depth and how many of its networks diverged, where any did."""
    counts = compared.groupby(["activation", "depth"], sort=False)["diverged"].agg(["count", "size"])
    return [
        f"{label_of(name)}, {depth} layers: {lost} of {networks} diverged"
        for (name, depth), lost, networks in counts.itertuples()
        if lost
    ]


def _at_edge(table: Any, found: Any) -> list[Any]:
    grid = _of_use(table, "tuning")["learning_rate"]
    return [key for key, rate in found["learning_rate"].items() if rate in (grid.min(), grid.max())]


def _setting(table: Any) -> str:
    """Data and size in words, for the figure and the summary."""
    row, tuning, compared = table.iloc[0], _of_use(table, "tuning"), _of_use(table, "comparison")
    rates, choosing = tuning["learning_rate"].nunique(), tuning["seed"].nunique()
    return (
        f"{row['data']}, {row['examples']:,} training examples; {row['units']} units a layer; batches of "
        f"{row['batch_size']}, {row['epoch']} epochs;\nlearning rate: best of {rates} on the validation examples, "
        f"{choosing} seeds; {compared['seed'].nunique()} other seeds compared"
    )


def _of_use(table: Any, use: str) -> Any:
    return table[table["use"] == use]


# --- the figure -----------------------------------------------------------------------------------------------------


def draw(table: Any) -> Figure:
    """By depth: (a) the chosen learning rate, (b) the test error, (c) the gap; filled where its test decides."""
    names = table["activation"].unique().tolist()
    depths = sorted(table["depth"].unique().tolist())
    grid = sorted(_of_use(table, "tuning")["learning_rate"].unique())
    compared = _of_use(table, "comparison")
    spread = max(depths) / 70
    with style():
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        panels: Any = figure.subplots(1, 3)
        for order, name in enumerate(names):
            networks = compared[compared["activation"] == name]
            shift = spread * (order - (len(names) - 1) / 2)
            _draw_rates(panels[0], name, networks, shift)
            _draw_errors(panels[1], name, networks, shift)
        opened = _draw_gaps(panels[2], decisions(table), spread)
        panels[0].set_yscale("log")
        panels[0].set_yticks(grid, [f"{rate:g}" for rate in grid])
        panels[0].minorticks_off()
        panels[0].set_ylim(grid[0] / 1.4, grid[-1] * 1.4)
        lowest, highest = panels[1].dataLim.intervaly
        if highest > 2 * lowest:
            _scale_by_decades(panels[1], (1, 1.5, 2, 3, 5))
        _scale_by_decades(panels[2], (1, 2, 5))
        titles = ("(a) chosen learning rate", "(b) test error (%)", "(c) the other's error − ELU's (%)")
        notes = ([], _diverged(compared), opened)
        for panel, title, note in zip(panels, titles, notes, strict=True):
            panel.set_title(title)
            panel.set_xticks(depths)
            panel.set_xlabel("\n".join(["hidden layers", *note]), fontsize=8)
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names), frameon=False
        )
        figure.suptitle(_setting(table), fontsize=8)
    return figure


def _scale_by_decades(panel: Any, ticks: Sequence[float]) -> None:
    """Percentages on a logarithmic scale beyond ±1 %, a linear one within."""
    panel.set_yscale("symlog", linthresh=1)
    panel.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1, subs=ticks))
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _draw_rates(panel: Any, name: str, networks: Any, shift: float) -> None:
    look = look_of(name)
    rates = networks.groupby("depth")["learning_rate"].first()
    shown: Any = {"color": look.colour, "linestyle": look.line, "marker": look.marker, "markersize": 4}
    panel.plot(rates.index + shift, rates, label=look.label, linewidth=1, **shown)


def _draw_errors(panel: Any, name: str, networks: Any, shift: float) -> None:
    """Median and range over the seeds that did not diverge."""
    look = look_of(name)
    errors = (100 * networks["test_error"]).groupby(networks["depth"]).agg(["median", "min", "max"])
    middle = errors["median"]
    ranges = [middle - errors["min"], errors["max"] - middle]
    shown: Any = {"color": look.colour, "linestyle": look.line, "marker": look.marker, "markersize": 4}
    panel.errorbar(errors.index + shift, middle, ranges, linewidth=1, **shown)


def _draw_gaps(panel: Any, verdicts: list[Decision], spread: float) -> list[str]:
    """Hodges–Lehmann estimates and intervals, without end where seeds are too few or networks diverged.

    Returns lines about how the gap opens.
    """
    leads = [decision for decision in verdicts if not decision.claim.identifier.startswith("opening")]
    for decision in leads:
        depth, _, rival = decision.claim.identifier.partition(": ")
        look = look_of(rival)
        face = look.colour if decision.verdict in ("holds", "does not hold") else "white"
        place = int(depth) + spread * (_RIVALS.index(rival) - 0.5)
        low, high = np.clip([decision.low, decision.high], -200, 200)  # outside the panel
        panel.plot([place, place], [low, high], color=look.colour, linewidth=1)
        panel.plot(place, decision.effect, marker=look.marker, markersize=4, color=look.colour, markerfacecolor=face)
    shown = [number for decision in leads for number in (decision.effect, decision.low, decision.high)]
    shown = [number for number in shown if np.isfinite(number)]
    panel.set_ylim(1.3 * min([-1, *shown]), 1.3 * max([1, *shown]))
    panel.axhline(0.0, color="0.7", linewidth=0.6, zorder=0)
    openings = [decision for decision in verdicts if decision not in leads]
    if not openings:
        return []
    panel.axvline(SHALLOW + 0.5, color="0.7", linewidth=0.6, linestyle=":", zorder=0)
    return [
        "mean gap, right − left of line:",
        *(
            "{} {} [{}, {}]".format(
                label_of(decision.claim.identifier.partition(": ")[2]),
                *(number(value, "+.2g") for value in (decision.effect, decision.low, decision.high)),
            )
            for decision in openings
        ),
    ]
