"""Mean activations layer by layer in deep random networks, measured beside theory with nothing fitted (P1–P6, B5).

Fully connected networks at initialisation, on standardised data, many seeds: `analyses.networks.random` measures,
`analyses.experiments.layer_predictions` predicts, from two numbers of the data (mean second moment and mean overlap,
with bands of
finite width) and from its whole Gram matrix (infinite width). Where is ELU's mean nearer zero than ReLU's, and where is
it not? Networks of one seed have the same standard normal weights whatever the activation; a sign test decides.
"""

from dataclasses import dataclass
from math import nan
from typing import Any, Literal

import numpy as np
import pandas
import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from analyses.data import datasets
from analyses.experiments.layer_predictions import from_gram_matrix, from_two_numbers
from analyses.framework.claims import Claim, Decision
from analyses.framework.settings import named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.random import STATISTICS, Architecture, Start, measure_networks
from elutheory.errors import InputError
from elutheory.output.figures import label_of, look_of, style
from elutheory.propagation import initialisation

ArchitectureName = Literal["plain", "batch_norm", "residual", "batch_norm_residual"]
InitialisationName = Literal["he", "lecun", "variance_preserving", "critical"]


@dataclass(frozen=True)
class Config:
    """Networks of `depth` hidden layers on `examples` training inputs, each feature standardised."""

    data: str = "digits"
    activations: tuple[str, ...] = ("relu", "leaky_relu", "elu", "tanh")
    negative_slope: float = 0.1  # of leaky_relu
    reference: str = "relu"  # whose distance from zero the others' are compared with
    initialisations: tuple[InitialisationName, ...] = ("he", "lecun", "critical")
    architectures: tuple[ArchitectureName, ...] = ("plain",)
    widths: tuple[int, ...] = (256,)
    depth: int = 30
    examples: int = 128
    seeds: int = 8
    damping: float = 0.01  # of B5, relative to the mean second moment of a unit
    memory: float = 4.0  # gigabytes for networks computed together


PRESETS = {
    "quick": Config(),
    "paper": Config(
        activations=("relu", "leaky_relu", "elu", "selu", "tanh"),
        architectures=("plain", "batch_norm", "residual"),
        widths=(64, 256, 1024, 4096),
        depth=100,
        examples=256,
        seeds=16,
        memory=8.0,
    ),
}
LEVEL = 0.01
"""Of the two-sided sign test over seeds: nearer zero, farther, or undecided."""
DOUBTFUL = 3.0
"""Size of a z-score that is counted."""
HOLDS = 0.05
"""A prediction holds for a statistic where at most this share of its z-scores is doubtful."""

COLUMNS = {
    "data": "name of the data set",
    "examples": "training inputs of it",
    "activation": "the networks' activation function",
    "initialisation": "name, for `elutheory.initialisation`",
    "weight_variance": "σ_w², fan_in times the variance of a weight",
    "bias_variance": "σ_b²",
    "architecture": "plain, batch_norm, residual, or batch_norm_residual",
    "width": "units of every hidden layer",
    "depth": "number of hidden layers",
    "layer": "number of the hidden layer, from 1",
    "statistic": "one of `analyses.networks.random.STATISTICS`",
    "measured": "mean over seeds",
    "std": "standard deviation over seeds",
    "seeds": "number of networks",
    "nearer": "seeds in which the size of the statistic is below that of the reference activation; nan: the reference",
    "two_numbers": "predicted from the data's mean second moment and mean overlap; nan: no prediction",
    "band": "predicted standard deviation of one network (P6); nan: none",
    "z_two_numbers": "(measured − two_numbers)/(band/√seeds), std for the band where that is nan or 0",
    "gram": "predicted from the data's Gram matrix, for infinite width; nan: no prediction",
    "z_gram": "(measured − gram)/(std/√seeds)",
}


@dataclass(frozen=True)
class Cell:
    """Networks of all activations: they share their random numbers."""

    initialisation: InitialisationName
    architecture: ArchitectureName
    width: int


def cells(config: Config) -> list[Cell]:
    """Every width, architecture and initialisation. Raises InputError where there is nothing to measure."""
    for name, least in (("depth", 1), ("examples", 2), ("seeds", 1)):
        if getattr(config, name) < least:
            raise InputError(f"{name} is {getattr(config, name)}; give {least} or more.")
    if min(config.widths, default=0) < 1 or not (
        config.activations and config.initialisations and config.architectures
    ):
        raise InputError("widths of 1 or more, activations, initialisations and architectures are needed, one of each.")
    if not (0 < config.damping < np.inf and config.memory > 0):
        raise InputError(f"damping is {config.damping:g} and memory {config.memory:g}; numbers above 0 are needed.")
    return [
        Cell(name, architecture, width)
        for width in config.widths
        for architecture in config.architectures
        for name in config.initialisations
    ]


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row a cell, activation, layer and statistic; COLUMNS says what it holds."""
    return sweep.table(measure_cell, config, cells(config))


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one cell."""
    architecture = architecture_of(cell, config.depth)
    starts = {name: start_of(config, cell, name) for name in config.activations}
    data = datasets.load(config.data).flattened().standardised().subset(config.examples)
    inputs = data.train.inputs
    measured = measure_networks(
        starts,
        architecture,
        inputs.to(device),
        range(config.seeds),
        damping=config.damping,
        memory=config.memory * 1e9,
    )
    doubles = inputs.to(torch.float64).numpy()
    features = doubles.shape[1]
    gram = doubles @ doubles.T / features
    tables = []
    for name, start in starts.items():
        values, bands = from_two_numbers(start, architecture, gram)
        wide = from_gram_matrix(start, architecture, gram, features, config.damping)
        for statistic in STATISTICS:
            found = measured[name][statistic]
            table = pandas.DataFrame({"layer": np.arange(1, config.depth + 1), "statistic": statistic})
            table["measured"], table["std"], table["seeds"] = found.mean(0), _spread(found), config.seeds
            if name != config.reference and config.reference in measured:
                table["nearer"] = (abs(found) < abs(measured[config.reference][statistic])).sum(0)
            if statistic in values:
                table["two_numbers"], table["band"] = values[statistic].to_numpy(), bands[statistic].to_numpy()
            table["gram"] = wide[statistic].to_numpy(float)
            tables.append(table.assign(activation=name, **_variances(start)))
    table = pandas.concat(tables, ignore_index=True)
    table = (
        table.assign(data=data.name, examples=len(inputs))
        .assign(
            initialisation=cell.initialisation, architecture=cell.architecture, width=cell.width, depth=config.depth
        )
        .reindex(columns=list(COLUMNS))
    )
    return with_z_scores(table)


def architecture_of(cell: Cell, depth: int) -> Architecture:
    """What the cell's networks are built of."""
    return Architecture(cell.width, depth, "batch_norm" in cell.architecture, "residual" in cell.architecture)


def start_of(config: Config, cell: Cell, name: str) -> Start:
    """The activation and its initialisation. Raises InputError where it has none of that name."""
    function = named_activation(name, config.negative_slope)
    return Start(function, initialisation(cell.initialisation, function))


def _variances(start: Start) -> dict[str, float]:
    found = start.initialisation
    return {"weight_variance": found.weight_variance, "bias_variance": found.bias_variance}


def _spread(found: Any) -> Any:
    return found.std(0, ddof=1) if len(found) > 1 else np.full(found.shape[1], np.nan)


def with_z_scores(table: pandas.DataFrame) -> pandas.DataFrame:
    """The table with its columns z_two_numbers and z_gram computed from the others."""
    root = np.sqrt(table["seeds"])
    # a statistic that is constant by definition (the last layer's gradient variance) has no z-score
    errors = table["std"].where(table["std"] > 0) / root
    banded = table["band"].where(table["band"] > 0) / root
    return table.assign(
        z_two_numbers=(table["measured"] - table["two_numbers"]) / banded.fillna(errors),
        z_gram=(table["measured"] - table["gram"]) / errors,
    )


def verdicts(table: Any) -> pandas.Series:
    """By row "nearer" to zero than the reference, "farther" or "undecided", by the sign test; nan: the reference."""
    compared = table["nearer"].notna()
    nearer, seeds = table.loc[compared, "nearer"].to_numpy(), table.loc[compared, "seeds"].to_numpy()
    p = np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(nearer, seeds - nearer), seeds, 0.5))
    found = np.where(p > LEVEL, "undecided", np.where(2 * nearer > seeds, "nearer", "farther"))
    return pandas.Series(found, index=table.index[compared], dtype=object).reindex(table.index)


def decisions(table: Any) -> list[Decision]:
    """By initialisation of plain networks: is ELU's median unit mean nearer zero than the reference's, layer by layer?

    "holds": nearer at some layers and farther at none; "does not hold": farther at one or more. The effect is the share
    of layers where it is nearer, its interval up to the share where it is not farther.
    """
    rows = table.assign(found=verdicts(table))
    rows = rows[(rows["statistic"] == "unit_mean_median") & (rows["activation"] == "elu") & rows["found"].notna()]
    rows = rows[(rows["architecture"] == "plain") & (rows["width"] == rows["width"].max())]
    decided = []
    for start, layers in rows.groupby("initialisation", sort=False):
        nearer, farther = (float((layers["found"] == found).mean()) for found in ("nearer", "farther"))
        claim = Claim(
            str(start),
            f"In random networks, {_NAMES[str(start)]} initialisation, ELU's median unit mean is nearer zero than "
            f"{_reference_label(table)}'s.",
            f"ELU, {_reference_label(table)}",
            f"share of layers where nearer (to: where not farther), sign test over networks at {LEVEL:g} a layer",
            "greater",
            LEVEL,
        )
        verdict = "does not hold" if farther else "holds" if nearer else "undecided"
        decided.append(Decision(claim, int(layers["seeds"].iloc[0]), nearer, nearer, 1 - farther, nan, nan, verdict))
    return decided


# --- the figure -----------------------------------------------------------------------------------------------------

_PANELS = (
    ("unit_mean_median", "median of unit means", "linear"),
    ("unit_mean_std", "spread of unit means (std)", "linear"),
    ("mean_share", "mean share |E a|²/E|a|²", "linear"),
    ("gradient_variance", "gradient variance (last layer: 1)", "log"),
    ("top_fisher_share", "top Fisher eigenvalue ÷ trace", "log"),
    ("bias_shift_strength", "bias-shift strength (B5)", "log"),
)
_MAPS = (("unit_mean_median", "|median of unit means|"), ("mean_share", "mean share"))
_NAMES = {"he": "He", "lecun": "LeCun", "variance_preserving": "variance preserving", "critical": "critical"}
_MARKERS = 12
_CELL = ["width", "architecture", "initialisation"]
_CURVE = ["initialisation", "activation"]


def draw(table: pandas.DataFrame) -> Figure:
    """Six statistics by layer, measured and predicted, and where which activation is nearer zero than the reference.

    Of the widest plain networks in the table (else of its first architecture), the panels of critical ones (else of its
    first initialisation).
    """
    drawn: Any = table[table["width"] == table["width"].max()]
    drawn = drawn[drawn["architecture"] == _preferred(drawn["architecture"], "plain")]
    shown: Any = drawn[drawn["initialisation"] == _preferred(drawn["initialisation"], "critical")]
    names = list(shown["activation"].unique())
    compared = compared_rows(drawn)
    rows = len(compared[_CURVE].drop_duplicates())
    with style():
        maps = 0.9 + 0.14 * rows if rows else 0.0
        figure = Figure(figsize=(7.2, 4.6 + maps), layout="constrained")
        parts = figure.subfigures(2 if rows else 1, 1, height_ratios=[4.6, maps] if rows else [1], squeeze=False)[:, 0]
        panels: Any = parts[0].subplots(2, 3, sharex=True).ravel()
        for panel, (statistic, label, scale) in zip(panels, _PANELS, strict=True):
            for name in names:
                chosen = shown[(shown["activation"] == name) & (shown["statistic"] == statistic)]
                _draw_curves(panel, chosen.sort_values("layer"), name)
            panel.set_ylabel(label)
            values = shown.loc[shown["statistic"] == statistic, ["measured", "gram", "two_numbers"]].to_numpy()
            if scale == "log" and np.nanmax(values, initial=0.0) > 10 * np.nanmin(values, initial=np.inf) > 0:
                panel.set_yscale("log")
        for panel in panels[3:]:
            panel.set_xlabel("layer")
        panels[0].axhline(0.0, color="0.8", linewidth=0.6, zorder=0)
        handles = [
            Line2D([], [], color=look_of(name).colour, marker=look_of(name).marker, markersize=4, label=label_of(name))
            for name in names
        ]
        handles += [
            Line2D([], [], color="0.3", marker="o", markersize=4, linestyle="none", label="measured"),
            Line2D([], [], color="0.3", label="Gram matrix"),
            Line2D([], [], color="0.3", linestyle=(0, (1, 1.5)), label="two numbers"),
        ]
        place = {"loc": "outside upper center", "ncols": len(handles), "frameon": False}
        parts[0].legend(handles=handles, title=_title(shown.iloc[0]), title_fontsize=9, **place, **_LEGEND)
        if rows:
            _draw_maps(parts[1], compared, _reference_label(drawn))
    return figure


_LEGEND: dict[str, Any] = {"fontsize": 8, "handlelength": 1.6, "columnspacing": 1.0, "handletextpad": 0.4}


def _preferred(column: Any, name: str) -> str:
    return name if (column == name).any() else str(column.iloc[0])


def _title(row: Any) -> str:
    kind = {"plain": "", "batch_norm": ", batch-normalised", "residual": ", residual"}
    name = kind.get(str(row["architecture"]), ", batch-normalised and residual")
    networks = (
        f"width {row['width']}, {row['seeds']} networks{name}, {_NAMES[str(row['initialisation'])]} initialisation"
    )
    return f"{row['examples']} inputs of {row['data']}, {networks}: mean and standard error"


def _draw_curves(panel: Any, rows: Any, name: str) -> None:
    look = look_of(name)
    layers = rows["layer"].to_numpy()
    root = np.sqrt(rows["seeds"].to_numpy())
    panel.plot(layers, rows["gram"], color=look.colour, linewidth=1.0)
    panel.plot(layers, rows["two_numbers"], color=look.colour, linewidth=1.0, linestyle=(0, (1, 1.5)))
    band = rows["band"].to_numpy() / root
    low, high = rows["two_numbers"] - band, rows["two_numbers"] + band
    panel.fill_between(layers, low, high, color=look.colour, alpha=0.15, linewidth=0)
    marked = np.unique(np.linspace(0, len(layers) - 1, _MARKERS).round().astype(int))
    points, errors = rows["measured"].to_numpy()[marked], (rows["std"].to_numpy() / root)[marked]
    panel.errorbar(
        layers[marked], points, errors, color=look.colour, marker=look.marker, markersize=3, linestyle="none",
        elinewidth=0.8,
    )  # fmt: skip


def _draw_maps(part: Any, compared: Any, reference: str) -> None:
    """Ratios to the reference, a row an initialisation and activation."""
    axes = part.subplots(1, len(_MAPS), sharey=True)
    keys = compared[_CURVE].drop_duplicates()
    index = pandas.MultiIndex.from_frame(keys)
    image: Any = None
    for panel, (statistic, title) in zip(axes, _MAPS, strict=True):
        chosen = compared[compared["statistic"] == statistic]
        ratios, found = (chosen.pivot(index=_CURVE, columns="layer", values=name).reindex(index)
                         for name in ("ratio", "verdict"))  # fmt: skip
        layers = ratios.columns.to_numpy()
        image = panel.pcolormesh(
            layers, range(len(keys)), np.clip(ratios, 1 / 8, 8), norm=LogNorm(1 / 8, 8), cmap="RdBu_r",
            shading="nearest", rasterized=True,
        )  # fmt: skip
        row, column = np.nonzero(found.to_numpy() == "undecided")
        panel.plot(layers[column], row, ".", color="0.3", markersize=1.5)
        panel.set_title(title)
        panel.set_xlabel("layer")
        panel.spines[:].set_visible(False)
    labels = [f"{label_of(name)}, {_NAMES[start]}" for start, name in keys.itertuples(index=False)]
    axes[0].set_yticks(range(len(keys)), labels, fontsize=8)
    axes[0].invert_yaxis()
    bar = part.colorbar(image, ax=axes, ticks=[1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8], fraction=0.04)
    bar.ax.set_yticklabels(["≤ 1/8", "1/4", "1/2", "1", "2", "4", "≥ 8"])
    bar.ax.minorticks_off()
    bar.set_label(f"÷ {reference}'s (dots: undecided)")


def compared_rows(table: Any) -> Any:
    """The rows with a `verdict`, and `ratio`: the statistic's root mean square over seeds, over the reference's."""
    keys = [*_CELL, "layer", "statistic"]
    seeds = table["seeds"]
    table = table.assign(size=np.hypot(table["measured"], table["std"].fillna(0.0) * np.sqrt((seeds - 1) / seeds)))
    reference = table.loc[table["nearer"].isna(), [*keys, "size"]].rename(columns={"size": "reference"})
    found = table.assign(verdict=verdicts(table))[table["nearer"].notna()].merge(reference, on=keys)
    return found.assign(ratio=found["size"] / found["reference"].where(found["reference"] > 0))


# --- what the command prints ----------------------------------------------------------------------------------------


def summary(table: pandas.DataFrame) -> str:
    """Where an activation is nearer zero than the reference, where not; B5's strength; the predictions' errors."""
    parts = [_nearness(table), _bias_shift(table), _accuracy(table)]
    return "\n\n".join(part for part in parts if part)


def _nearness(table: Any) -> str:
    found = compared_rows(table)
    if found.empty:
        return ""
    reference, seeds = _reference_label(table), int(table["seeds"].max())
    keys = [*_CELL, "activation"]
    rows, farther = [], []
    for statistic, title in _MAPS:
        for key, group in found[found["statistic"] == statistic].groupby(keys, sort=False):
            layers = {name: _ranges(group.loc[group["verdict"] == name, "layer"]) for name in _VERDICTS}
            rows.append({**dict(zip(keys, key, strict=True)), "compared": title, **layers})
            if layers["farther"] != "-":
                width, architecture, start, name = key
                kind = f"{start}, {architecture}, width {width}"
                farther.append(f"  {title} of {label_of(name)} ({kind}): layers {layers['farther']}")
    lines = [
        f"Layers nearer zero than {reference}, farther, and undecided; two-sided sign test over {seeds} networks of",
        f"the same random numbers, level {LEVEL:g}, each layer by itself:",
        pandas.DataFrame(rows).to_string(index=False),
    ]
    if 2 * 0.5**seeds > LEVEL:
        lines.append(f"{seeds} networks are too few for the test to decide anything.")
    lines.append(f"Not nearer zero than {reference}, but farther:" if farther else f"Nowhere farther than {reference}.")
    note = (
        "The median has the activations' own scale, which an initialisation may let grow or vanish; the share has none."
    )
    return "\n".join([*lines, *farther, note])


def _reference_label(table: Any) -> str:
    return label_of(str(table.loc[table["nearer"].isna(), "activation"].iloc[0]))


def _ranges(layers: Any) -> str:
    """1, 2, 3, 7 as "1–3 7"; "-" for none."""
    numbers = {int(layer) for layer in layers}
    starts = sorted(n for n in numbers if n - 1 not in numbers)
    ends = sorted(n for n in numbers if n + 1 not in numbers)
    return " ".join(f"{a}–{b}" if b > a else f"{a}" for a, b in zip(starts, ends, strict=True)) or "-"


def _bias_shift(table: Any) -> str:
    """B5 beside the mean share, at the first, middle and last layer."""
    depth = int(table["layer"].max())
    layers = sorted({1, (1 + depth) // 2, depth})
    chosen = table[table["layer"].isin(layers) & table["statistic"].isin(["bias_shift_strength", "mean_share"])]
    wide: Any = chosen.pivot(index=[*_CELL, "activation"], columns=["statistic", "layer"], values="measured")
    lines = [
        "Strength m·(Var + λI)⁻¹m of the bias-shift correction (B5) and mean share, measured, by layer:",
        wide.to_string(float_format="%.3g"),
    ]
    for layer in layers:
        strength, share = wide["bias_shift_strength"][layer], wide["mean_share"][layer]
        line = (
            f"Layer {layer}: strength {strength.min():.3g} to {strength.max():.3g}, above 100 in "
            f"{(strength > 100).sum()} of {len(strength)} kinds of networks; mean share {share.min():.2g} to "
            f"{share.max():.2g}"
        )
        if min(strength.nunique(), share.nunique()) > 2:
            correlation: Any = stats.spearmanr(strength, share)
            line += f"; rank correlation of the two {correlation.statistic:.2f}"
        lines.append(line + ".")
    return "\n".join(lines)


def _accuracy(table: Any) -> str:
    """z-scores by prediction and statistic."""
    rows = [
        _scores(group, prediction, column)
        for prediction, column in _PREDICTIONS.items()
        for _, group in table[table[f"z_{column}"].notna()].groupby("statistic", sort=False)
    ]
    if not rows:
        return "One network has no spread over seeds, hence no z-scores; take more seeds."
    found = pandas.DataFrame(rows)
    seeds = int(table["seeds"].max())
    lines = [
        f"z-scores (measured − predicted)/standard error. Beyond {DOUBTFUL:g} by chance:",
        f"{2 * stats.t.sf(DOUBTFUL, seeds - 1):.1%} with the error from {seeds} networks, "
        f"{2 * stats.norm.sf(DOUBTFUL):.1%} with the predicted band.",
        found.to_string(index=False, float_format="%.3g"),
    ]
    for prediction, group in found[found[_DOUBTFUL_SHARE] > HOLDS].groupby("prediction", sort=False):
        lines.append(
            f"Do not hold within the errors (more than {HOLDS:.0%} beyond {DOUBTFUL:g}), {prediction}: "
            f"{', '.join(group['statistic'])}."
        )
    return "\n".join([*lines, _LIMITS])


def _scores(group: Any, prediction: str, column: str) -> dict[str, Any]:
    z = group[f"z_{column}"]
    worst = group.loc[z.abs().idxmax()]
    predicted = group[column].where(group[column].abs() > _ROUNDING)
    return {
        "prediction": prediction,
        "statistic": worst["statistic"],
        "z-scores": len(z),
        _DOUBTFUL_SHARE: (z.abs() > DOUBTFUL).mean(),
        "worst": z[worst.name],
        "at": " ".join(str(worst[name]) for name in ["activation", *_CELL[::-1], "layer"]),
        "median |measured/predicted − 1|": (group["measured"] / predicted - 1).abs().median(),
    }


_VERDICTS = ("nearer", "farther", "undecided")
_PREDICTIONS = {"two numbers": "two_numbers", "Gram matrix": "gram"}
_DOUBTFUL_SHARE = f"|z| > {DOUBTFUL:g}"
_ROUNDING = 1e-12
_LIMITS = """\
The two numbers leave out that real inputs differ in norm and overlap. The Gram matrix has both; what deviates from it
is finite width, of relative order depth/width, and large in B5, where n units span at most n directions. Not predicted:
B5 and Fisher matrices from two numbers; gradients and Fisher matrices of batch-normalised networks from the Gram
matrix; bands of gradients and of residual networks; medians where the activation falls somewhere."""
