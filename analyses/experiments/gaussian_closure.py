"""Does a unit's net input stay Gaussian enough, while a network trains, for M3 to give its mean activation?

The paper's fully connected networks (section 4.1 of arXiv 1511.07289) learn by plain stochastic gradient descent.
At each unit's measured net mean and variance M3 and M4 predict the mean and the variance of its activation over the
training examples; nothing is fitted. Beside them: one Gaussian for the whole layer, and M3 with the first two terms of
the Gram–Charlier series, which take the net input's measured skewness and excess kurtosis.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from analyses.data import datasets
from analyses.framework.settings import named_activation
from analyses.framework.sweep import Sweep
from elutheory.activations import Activation
from elutheory.bias_shift.digits import classifier
from elutheory.errors import InputError
from elutheory.moments import gaussian_moments
from elutheory.output.figures import label_of, look_of, style
from elutheory.statistics import layer_statistics


@dataclass(frozen=True)
class Config:
    """Classifiers of inputs that are standardised as a whole, trained on the mean cross-entropy."""

    data: str = "digits"
    """digits, or the path of a data set."""
    activations: tuple[str, ...] = ("elu", "relu", "leaky_relu", "tanh", "shifted_relu")
    """Registry names."""
    negative_slope: float = 0.1
    """Of leaky_relu."""
    layers: int = 8
    """Hidden layers."""
    units: int = 128
    """Units of a hidden layer."""
    epochs: int = 20
    """Passes over the training data."""
    learning_rate: float = 0.01
    """Of stochastic gradient descent."""
    batch_size: int = 64
    """Examples a step."""
    examples: int = 1000
    """Training examples to measure on, the same at every epoch."""
    seeds: int = 3
    """Sets of initial weights and batch orders, the same for every activation."""

    def __post_init__(self) -> None:
        for name, least in {"layers": 1, "units": 2, "epochs": 0, "batch_size": 1, "examples": 1, "seeds": 1}.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; give {least} or more.")
        if not self.activations:
            raise InputError("activations is empty; name at least one.")
        if not 0 < self.learning_rate < np.inf:
            raise InputError(f"learning_rate is {self.learning_rate}; a finite number above zero is needed.")


PRESETS = {"quick": Config(), "paper": Config(epochs=300, seeds=5)}


@dataclass(frozen=True)
class Cell:
    """One training run."""

    activation: str
    seed: int


def cells(config: Config) -> list[Cell]:
    """Every activation with every seed. Raises InputError for activations that the registry does not know."""
    for name in config.activations:
        named_activation(name, config.negative_slope)
    return [Cell(name, seed) for name in config.activations for seed in range(config.seeds)]


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row a run, recorded epoch and hidden layer; COLUMNS says what it holds."""
    return sweep.table(measure_cell, config, cells(config))


COLUMNS = {
    "activation": "the network's activation function",
    "seed": "of the initial weights and the order of the batches",
    "epoch": "epochs of training before the measurement",
    "layer": "number of the hidden layer, from 1",
    "diverged": "epoch by whose end the run's loss was no finite number, from which on it has no numbers; nan: never",
    "training_loss": "mean cross-entropy of the measured training examples (nats)",
    "net_mean": "mean over units of the mean net input",
    "net_mean_spread": "standard deviation over units of the mean net input",
    "net_std": "mean over units of the net input's standard deviation over examples",
    "skewness": "mean over units of the net input's skewness over examples",
    "skewness_size": "root mean square over units of the same",
    "excess_kurtosis": "mean over units of the net input's excess kurtosis over examples",
    "mean": "mean over units of the mean activation",
    "mean_predicted": "the same, by M3 unit by unit",
    "mean_corrected": "the same, by M3 with the Gram–Charlier terms",
    "mean_layer_wide": "the same, by M3 of one Gaussian for the layer's net inputs",
    "median": "median over units of the mean activation",
    "median_predicted": "the same, by M3",
    "median_corrected": "the same, by M3 with the Gram–Charlier terms",
    "spread": "standard deviation over units of the mean activation",
    "unexplained": "mean squared error of M3 over units / spread²: 1 − R² between units",
    "unexplained_corrected": "the same, with the Gram–Charlier terms",
    "unexplained_layer_wide": "the same, of one Gaussian for the layer: one value for all units, hence at least 1",
    "variance": "mean over units of the activation's variance over examples",
    "variance_predicted": "the same, by M3 and M4 unit by unit",
    "variance_unexplained": "mean squared error of these over units / the variance over units of what is measured",
    "total_variance": "variance of the activation over examples and units: variance + spread²",
    "total_variance_layer_wide": "the same, by M3 and M4 of one Gaussian for the layer's net inputs",
}


# --- training -------------------------------------------------------------------------------------------------------


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """Train one network and measure it: one row a recorded epoch and hidden layer.

    Initial weights (standard normal numbers times √(2/fan_in)) and batches depend on the seed alone, not on the
    activation. A run that diverges says when, and has no numbers from there on.
    """
    with _one_thread():
        return _trained_and_measured(config, cell, device)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Layers are too small to share: more threads are slower, and the record would depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _trained_and_measured(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    function = named_activation(cell.activation, config.negative_slope)
    data = datasets.load(config.data).standardised(by="dataset").flattened()
    inputs, targets = data.train.inputs.to(device), data.train.targets.to(device)
    measured = data.subset(config.examples).train
    examples, labels = measured.inputs.to(device), measured.targets.to(device)
    generator = torch.Generator().manual_seed(cell.seed)
    widths = (inputs.shape[1], *[config.units] * config.layers, data.classes)
    model = classifier(function, widths, generator).to(device, torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), config.learning_rate)

    parts: list[pandas.DataFrame] = []
    trained, diverged = 0, None
    for epoch in recorded_epochs(config.epochs):
        while trained < epoch and diverged is None:
            finite = _train_epoch(model, optimizer, inputs, targets, config.batch_size, generator)
            trained += 1
            diverged = None if finite else trained
        with torch.no_grad():
            loss = nn.functional.cross_entropy(model(examples), labels).item()
        if diverged is None and not np.isfinite(loss):
            diverged = trained
        if diverged is None:
            found = compare(function, measure_units(model, examples)).assign(training_loss=loss, diverged=np.nan)
        else:
            found = pandas.DataFrame({"layer": range(1, config.layers + 1), "diverged": float(diverged)})
        found = found.assign(activation=cell.activation, seed=cell.seed, epoch=epoch)
        parts.append(found.reindex(columns=list(COLUMNS)))
    return pandas.concat(parts, ignore_index=True)


def recorded_epochs(epochs: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, 50, … and the last."""
    series = [digit * 10**exponent for exponent in range(len(str(epochs))) for digit in (1, 2, 5)]
    return sorted({0, epochs, *(epoch for epoch in series if epoch < epochs)})


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    batch_size: int,
    generator: torch.Generator,
) -> bool:
    """One pass over the data in random order; whether every batch's loss was finite."""
    total = torch.zeros((), device=inputs.device)
    for batch in torch.randperm(len(inputs), generator=generator).to(inputs.device).split(batch_size):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[batch]), targets[batch])
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return bool(total.isfinite())


# --- the closure ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MeasuredUnits:
    """Statistics of every hidden unit over examples, arrays (layers, units).

    A net input that never varies has skewness and excess kurtosis nan.
    """

    net_mean: np.ndarray
    net_variance: np.ndarray
    skewness: np.ndarray
    excess_kurtosis: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def measure_units(model: nn.Sequential, inputs: Tensor) -> MeasuredUnits:
    """Of a model Linear, activation, …, Linear with hidden layers of one width; `inputs`: (examples, features)."""
    statistics = layer_statistics(model, inputs, pre_activations=True, extremes=False)
    net = [statistics.units(layer, "input") for layer in statistics.layers]
    out = [statistics.units(layer) for layer in statistics.layers]
    third, fourth = [], []
    with torch.no_grad():
        for name, module in model.named_children():
            if name in statistics.layers:
                skewness, excess_kurtosis = _standardised_cumulants(inputs.double())
                third.append(skewness)
                fourth.append(excess_kurtosis)
            inputs = module(inputs)
    return MeasuredUnits(
        _stacked(unit.mean for unit in net),
        _stacked(unit.variance for unit in net),
        _stacked(third),
        _stacked(fourth),
        _stacked(unit.mean for unit in out),
        _stacked(unit.variance for unit in out),
    )


def _standardised_cumulants(net: Tensor) -> tuple[Tensor, Tensor]:
    """Skewness and excess kurtosis of every column of (examples, units)."""
    deviation = net - net.mean(0)
    std = deviation.square().mean(0).sqrt()
    standard = deviation / torch.where(std > 0, std, torch.nan)
    square = standard.square()
    return (square * standard).mean(0), (square * square).mean(0) - 3


def _stacked(layers: Iterable[Tensor]) -> np.ndarray:
    return torch.stack(list(layers)).cpu().numpy()


def compare(function: Activation, units: MeasuredUnits) -> pandas.DataFrame:
    """The closed forms at the net inputs against the measured activations: one row a layer, columns from `layer` on."""
    net_std = np.sqrt(units.net_variance)
    by_unit = gaussian_moments(function, units.net_mean, net_std)
    terms = gram_charlier_terms(function, units.net_mean, net_std, units.skewness, units.excess_kurtosis)
    corrected = by_unit.mean + np.where(net_std > 0, terms, 0.0)  # M3 is exact for a constant
    wide_std = np.sqrt(units.net_variance.mean(1) + units.net_mean.var(1))
    wide = gaussian_moments(function, units.net_mean.mean(1), wide_std)
    return pandas.DataFrame(
        {
            "layer": np.arange(1, len(net_std) + 1),
            "net_mean": units.net_mean.mean(1),
            "net_mean_spread": units.net_mean.std(1),
            "net_std": net_std.mean(1),
            "skewness": units.skewness.mean(1),
            "skewness_size": np.sqrt((units.skewness**2).mean(1)),
            "excess_kurtosis": units.excess_kurtosis.mean(1),
            "mean": units.mean.mean(1),
            "mean_predicted": by_unit.mean.mean(1),
            "mean_corrected": corrected.mean(1),
            "mean_layer_wide": wide.mean,
            "median": np.median(units.mean, 1),
            "median_predicted": np.median(by_unit.mean, 1),
            "median_corrected": np.median(corrected, 1),
            "spread": units.mean.std(1),
            "unexplained": _unexplained(by_unit.mean, units.mean),
            "unexplained_corrected": _unexplained(corrected, units.mean),
            "unexplained_layer_wide": _unexplained(wide.mean[:, None], units.mean),
            "variance": units.variance.mean(1),
            "variance_predicted": by_unit.variance.mean(1),
            "variance_unexplained": _unexplained(by_unit.variance, units.variance),
            "total_variance": units.variance.mean(1) + units.mean.var(1),
            "total_variance_layer_wide": wide.variance,
        }
    )


def gram_charlier_terms(
    function: Activation, mean: np.ndarray, std: np.ndarray, skewness: np.ndarray, excess_kurtosis: np.ndarray
) -> np.ndarray:
    """skewness/6 σ³ E f‴ + excess_kurtosis/24 σ⁴ E f⁗ over N(mean, std²): what the first two terms of the Gram–Charlier
    series of X add to E f(X). Arrays of one shape.

    E f″ and E f‴ are derivatives of E f′ by the mean, and σ E f⁗ is that of E f″ by σ (heat equation).
    """
    at, width = (torch.from_numpy(values).requires_grad_() for values in (mean, std))
    slope = gaussian_moments(function, at, width).slope_mean
    (second,) = torch.autograd.grad(slope.sum(), at, create_graph=True)
    third, fourth = (part.numpy() for part in torch.autograd.grad(second.sum(), (at, width)))
    return std**3 * (skewness / 6 * third + excess_kurtosis / 24 * fourth)


def _unexplained(predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """1 − R² between a layer's units, nothing fitted; nan where they are all alike."""
    spread = measured.var(1)
    return ((predicted - measured) ** 2).mean(1) / np.where(spread > 0, spread, np.nan)


# --- figure and summary ---------------------------------------------------------------------------------------------


def draw(table: pandas.DataFrame) -> Figure:
    """Above: measured (points) and predicted (lines) median over units of the mean activation, a panel an activation.

    Below: what M3 and M4 leave unexplained, and the net inputs' excess kurtosis. Means over seeds; bars and bands are
    their range.
    """
    names, deepest, last = list(table["activation"].unique()), _deepest(table), max(table["epoch"])
    trained, deep = table[table["epoch"] == last], table[table["layer"] == deepest]
    with style():
        figure = Figure(figsize=(7.2, 5.4), layout="constrained")
        above, below = np.ravel(np.asarray(figure.subfigures(2, 1, height_ratios=(1.0, 1.15))))
        panels: Any = above.subplots(1, len(names), squeeze=False)[0]
        for panel, name in zip(panels, names, strict=True):
            _draw_medians(panel, table[table["activation"] == name], look_of(name).colour)
            panel.set_title(f"{label_of(name)}{_diverged_note(trained, name)}")
        panels[0].set_ylabel("median unit mean")
        handles = _handles(_shown_layers(table))
        above.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=8)

        lower: Any = below.subplots(1, 4)
        _draw_curves(lower[0], deep, "epoch", "unexplained")
        _draw_curves(lower[1], trained, "layer", "unexplained")
        _draw_curves(lower[1], trained, "layer", "unexplained_corrected", dotted=True)
        _draw_curves(lower[2], trained, "layer", "variance_unexplained")
        _draw_curves(lower[3], trained, "layer", "excess_kurtosis")
        titles = (
            f"unit means, layer {deepest}:\n1 − R² of M3",
            f"unit means, epoch {last}:\n1 − R² of M3",
            f"unit variances, epoch {last}:\n1 − R² of M3 and M4",
            f"net inputs, epoch {last}:\nexcess kurtosis",
        )
        for panel, title in zip(lower, titles, strict=True):
            panel.set_title(title, fontsize=8)
        for panel in (*panels, lower[0]):
            panel.set_xscale("symlog", linthresh=1)
            ticks = [0, *(10**power for power in range(0, len(str(last)), 2 if last >= 1000 else 1))]
            panel.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=7)
            panel.set_xlabel("epoch")
        for panel in lower[1:]:
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            panel.set_xlabel("layer")
        for panel in lower[:3]:
            panel.set_yscale("log")
            panel.axhline(1.0, color="0.6", linewidth=0.8)
        lower[3].axhline(0.0, color="0.6", linewidth=0.8)
        curves = lower[0].get_lines()[: len(names)]
        wide = Line2D([], [], color="0.6", linewidth=0.8, label="1: one Gaussian a layer")
        corrected = Line2D([], [], color="0.2", linestyle=":", label="M3 with skewness and kurtosis")
        handles = [*curves, wide, corrected]
        below.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _deepest(table: Any) -> int:
    return int(table["layer"].max())


def _shown_layers(table: Any) -> list[int]:
    """The first, a middle and the last."""
    return sorted({1, (_deepest(table) + 1) // 2, _deepest(table)})


def _handles(layers: list[int]) -> list[Line2D]:
    marks = [
        Line2D([], [], color=_shade("black", layer, layers[-1]), marker="o", markersize=3, label=f"layer {layer}")
        for layer in layers
    ]
    measured = Line2D([], [], color="0.2", marker="o", markersize=3, linestyle="", label="measured")
    return [*marks, measured, Line2D([], [], color="0.2", linewidth=1.2, label="M3")]


def _draw_medians(panel: Any, runs: Any, colour: str) -> None:
    for layer in _shown_layers(runs):
        shade = _shade(colour, layer, _deepest(runs))
        chosen = runs[runs["layer"] == layer]
        predicted = _over_seeds(chosen, "epoch", "median_predicted")
        panel.plot(predicted.index, predicted["mean"], color=shade, linewidth=1.2)
        measured = _over_seeds(chosen, "epoch", "median")
        bars = np.abs(measured[["min", "max"]].to_numpy().T - measured["mean"].to_numpy())
        panel.errorbar(measured.index, measured["mean"], bars, fmt="o", color=shade, markersize=3, linewidth=0.8)


def _draw_curves(panel: Any, rows: Any, along: str, column: str, *, dotted: bool = False) -> None:
    for name, runs in rows.groupby("activation", sort=False):
        look = look_of(str(name))
        found = _over_seeds(runs, along, column)
        panel.fill_between(found.index, found["min"], found["max"], color=look.colour, alpha=0.2, linewidth=0)
        marks = {"linestyle": ":"} if dotted else {"marker": look.marker, "markersize": 3, "label": look.label}
        panel.plot(found.index, found["mean"], color=look.colour, linewidth=1.0, **marks)


def _over_seeds(rows: Any, along: str, column: str) -> Any:
    """Mean, smallest and largest over the seeds that have a number: not diverged, nor units all alike."""
    return rows.dropna(subset=column).groupby(along)[column].agg(["mean", "min", "max"])


def _shade(colour: str, layer: int, deepest: int) -> Any:
    """The deeper the layer, the less white."""
    share = 0.3 + 0.7 * layer / deepest
    return tuple(1 - share * (1 - part) for part in to_rgb(colour))


def _diverged_note(trained: Any, name: str) -> str:
    runs = trained[(trained["activation"] == name) & (trained["layer"] == 1)]
    diverged = int(runs["diverged"].notna().sum())
    return f"\n{diverged} of {len(runs)} diverged" if diverged else ""


def summary(table: pandas.DataFrame) -> str:
    """What is left unexplained at the first and the last epoch, means over seeds, and where the closure fails."""
    rows: Any = table
    deepest, last = _deepest(rows), rows["epoch"].max()
    keys = ["activation", "epoch", "layer"]
    columns = ["unexplained", "unexplained_corrected", "variance_unexplained", "skewness_size", "excess_kurtosis"]
    chosen = rows[rows["epoch"].isin([0, last]) & rows["layer"].isin([1, deepest])]
    shown = chosen.groupby(keys, sort=False)[columns].mean().reset_index()
    lines = [shown.to_string(index=False, float_format="%.2g"), ""]
    lines += [_diverged_line(run) for _, run in rows[rows["diverged"].notna()].groupby(["activation", "seed"])]
    measured = rows[rows["diverged"].isna()]
    if measured.empty:
        return "\n".join([*lines, "No run has numbers: all diverged."])
    for quantity, column in (("means", "unexplained"), ("variances", "variance_unexplained")):
        found = measured.groupby(keys, sort=False)[column].mean().reset_index().dropna()
        worst = found.loc[found[column].idxmax()]
        lines.append(
            f"Unit {quantity}: {_percent(found[column].median())} of the variance between units is unexplained (median "
            f"over activations, epochs and layers); most, {_percent(worst[column])}, in layer {worst['layer']} of "
            f"{label_of(worst['activation'])} at epoch {worst['epoch']}."
        )
    by_unit, wide = (
        ((measured[column] - measured["mean"]).abs() / measured["spread"]).median()
        for column in ("mean_predicted", "mean_layer_wide")
    )
    lines.append(
        f"Layer means: off by {_percent(by_unit)} of the spread of the unit means with M3 unit by unit, by "
        f"{_percent(wide)} with one Gaussian a layer (medians)."
    )
    left = (measured["unexplained_corrected"] / measured["unexplained"]).median()
    worse = (measured["unexplained_corrected"] > measured["unexplained"]).mean()
    lines.append(
        f"Skewness and excess kurtosis leave {_percent(left)} of what M3 leaves (median); they make it worse in "
        f"{_percent(worse)} of the layers measured."
    )
    return "\n".join(lines)


def _diverged_line(run: Any) -> str:
    first = run.iloc[0]
    return f"{label_of(first['activation'])}, seed {first['seed']}: diverged by epoch {first['diverged']:.0f}."


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
