"""Do zero means speed up learning because they bring the gradient closer to the unit natural gradient?

If so, what separates ELU from ReLU under SGD must shrink where the gradient is corrected by other means: by centring
the incoming activations (B4, the bias-shift part alone), by batch normalisation, by the whole unit natural gradient. If
these help ELU as much as ReLU, the correction is not what separates them, and the claim is refuted. Every activation
and method has a learning rate of its own, tuned over equally many rates by the validation loss of other seeds than
those compared. Which claims are tested, and how, is fixed in CLAIMS; which of them decide, in DECISIVE.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas
import torch
from matplotlib.figure import Figure
from scipy.stats import bootstrap
from torch import Tensor, nn

from analyses.data import datasets
from analyses.framework.claims import Claim, Decision, decide, hodges_lehmann, paired_differences
from analyses.framework.settings import check_activations, named_activation
from analyses.framework.sweep import Sweep
from analyses.networks.architectures import fully_connected
from analyses.networks.corrections import unit_corrections
from analyses.networks.training import Training, fabric_on, train
from elutheory.errors import InputError
from elutheory.fisher import UnitNaturalGradient
from elutheory.output.figures import label_of, look_of, style


@dataclass(frozen=True)
class Config:
    """Classifiers of `layers` hidden layers of `units`, trained on data standardised feature by feature."""

    data: str = "digits"
    """digits, the path of a data set, or huggingface:NAME."""
    examples: int = 0
    """Training examples, classes in their shares; 0: all."""
    features: int = 0
    """Leading principal components of the training inputs that are kept as inputs; 0: the inputs as they are."""
    activations: tuple[str, ...] = ("elu", "relu")
    """Registry names; the claims are about elu and relu."""
    negative_slope: float = 0.1
    """Of leaky_relu."""
    layers: int = 4
    """Hidden layers."""
    units: int = 32
    """Of each hidden layer."""
    epochs: int = 8
    """Passes over the training examples."""
    batch_size: int = 64
    """Examples an update."""
    learning_rates: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0)
    """The grid of SGD, alone, with batch normalisation and with centring."""
    natural_learning_rates: tuple[float, ...] = (0.002, 0.004, 0.008, 0.016, 0.032, 0.064)
    """The unit natural gradient's grid, of as many rates."""
    damping: float = 1e-2
    """λ as a multiple of the mean diagonal of a unit's Fisher matrix."""
    decay: float = 0.95
    """Of the running Fisher matrices and means, an update."""
    max_kl: float = 1e-3
    """Natural-gradient updates are shortened to this many nats."""
    measured: int = 256
    """Training examples over which cosine and mean share are taken after each epoch of plain SGD."""
    tuned_by: Literal["validation", "training"] = "validation"
    """The learning rate of this split's lowest loss, over the epochs, is taken; "training": to see what changes."""
    tuning_seeds: int = 4
    """Runs a learning rate, for tuning alone."""
    seeds: int = 10
    """Runs that are compared, at the tuned rates."""
    seeds_at_once: int = 5
    """Of those, how many are one cell of the sweep."""


PRESETS = {
    "quick": Config(),
    "paper": Config(activations=("elu", "relu", "leaky_relu", "tanh"), units=64, epochs=20, measured=512, seeds=12),
}
SGD, BATCH_NORM, CENTRED, NATURAL = METHODS = ("SGD", "batch normalisation", "centring", "unit natural gradient")
_FIRST_SEED, _FIRST_TUNING_SEED = 2000, 1_000_000  # smaller ones were used while grids and sizes were chosen

COLUMNS = {
    "role": "tuning, or test: the runs that are compared",
    "activation": "the networks' activation function, a registry name",
    "method": "SGD, alone or with batch normalisation; centring: SGD for incoming activations less their running mean; "
    "or unit natural gradient",
    "learning_rate": "of the run; in test runs the tuned one",
    "seed": "of the initial weights and of the order of the batches",
    "epoch": "epochs done; 0: before training",
    "updates": "updates done",
    "train_loss": "cross-entropy in nats, mean over the epoch's batches, each before its update; epoch 0: of all "
    "training examples",
    "validation_loss": "cross-entropy after the epoch",
    "diverged_update": "updates after which the loss had diverged; no numbers from that epoch on; nan: never",
    "cosine": "between gradient and unit natural gradient: median over units, mean over hidden layers above the first; "
    "in test runs of plain SGD",
    "mean_share": "|E_p a|²/E_p|a|² of the incoming activations (P2b), mean over the same layers and in the same runs",
    "gradient_share": "share of the effect of a step along the gradient, of one unit alone, that is bias shift; as the "
    "cosine",
}
"""Columns of the table and what they hold; those of Config that describe the setting follow."""
_SETTING = ("tuned_by", "examples", "features", "layers", "units", "batch_size", "damping", "decay", "max_kl")
_ROUNDING = float(np.finfo(np.float32).eps)  # a smaller loss is taken for it

LEVEL = 0.05
MARGIN = 0.1
"""Differences of ln loss that count as none: 10 % of the loss."""
_AREA = "ln training loss, mean over epochs"
_GAP = "(ReLU − ELU) of the " + _AREA
CLAIMS = (
    Claim("premise", "ELU learns faster than ReLU by SGD.", "ELU − ReLU", _AREA, "less", LEVEL, MARGIN),
    Claim(
        "closeness",
        "ELU's gradient is closer to the unit natural gradient.",
        "ELU − ReLU",
        "cosine along SGD, mean over epochs",
        "greater",
        LEVEL,
    ),
    Claim(
        "centring helps ReLU",
        "Zero means speed up ReLU.",
        "ReLU with centring − ReLU by SGD",
        _AREA,
        "less",
        LEVEL,
        MARGIN,
    ),
    *(
        Claim(
            f"closed: {method}",
            f"The gap closes with {method}.",
            f"SGD − {method}",
            _GAP,
            "greater",
            LEVEL,
            MARGIN,
        )
        for method in METHODS[1:]
    ),
    Claim(
        "left over",
        "ReLU stays behind ELU with the unit natural gradient.",
        "ReLU − ELU",
        _AREA,
        "greater",
        LEVEL,
        MARGIN,
    ),
    Claim(
        "mediation",
        "The cosine predicts the decrease of ln loss in the next epoch better than the mean share does.",
        "cosine − mean share",
        "r² across activations and epochs of plain SGD, each epoch's mean taken off",
        "greater",
        LEVEL,
    ),
)
"""Fixed before measuring; paired by seed, decided together. "closed" is also what the method gains ReLU less what it
gains ELU: within ± MARGIN it helps both alike, and below 0 ELU more, which refutes it."""
DECISIVE = ("premise", "closeness", f"closed: {CENTRED}", f"closed: {NATURAL}")
"""The causal claim is supported if all of these hold, refuted if one does not hold, and open otherwise."""


# --- measuring ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """Runs of one activation by one method at one learning rate."""

    role: str
    activation: str
    method: str
    learning_rate: float
    seeds: tuple[int, ...]


def cells(config: Config) -> list[Cell]:
    """The runs that tune. Raises InputError where nothing would be measured."""
    for name in ("layers", "units", "epochs", "batch_size", "tuning_seeds", "seeds", "seeds_at_once"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}; give 1 or more.")
    if config.layers < 2:
        raise InputError(f"layers is {config.layers}; 2 or more are needed, of which the first is not measured.")
    if config.examples < 0 or config.features < 0:
        raise InputError("examples and features are 0 (all) or more.")
    check_activations(config.activations, config.negative_slope)
    if len(config.learning_rates) != len(config.natural_learning_rates) or not config.learning_rates:
        raise InputError("both grids have equally many learning rates, one or more; every method is tuned alike.")
    if min(*config.learning_rates, *config.natural_learning_rates) <= 0:
        raise InputError("learning rates are positive.")
    if config.measured < 2:
        raise InputError(f"measured is {config.measured}; give 2 or more.")
    seeds = tuple(range(_FIRST_TUNING_SEED, _FIRST_TUNING_SEED + config.tuning_seeds))
    return [
        Cell("tuning", name, method, rate, seeds)
        for method in reversed(METHODS)  # the longest first
        for name in config.activations
        for rate in (config.natural_learning_rates if method == NATURAL else config.learning_rates)
    ]


def test_cells(config: Config, tuning: pandas.DataFrame) -> list[Cell]:
    """The runs that are compared, at the tuned rates. Raises InputError where every rate diverged."""
    rates = tuned_rates(tuning, config.tuned_by)
    end = _FIRST_SEED + config.seeds
    groups = [
        tuple(range(start, min(start + config.seeds_at_once, end)))
        for start in range(_FIRST_SEED, end, config.seeds_at_once)
    ]
    found = []
    for method in reversed(METHODS):
        for name in config.activations:
            if (name, method) not in rates:
                raise InputError(f"every run of {name} by {method} diverged in tuning; give smaller learning rates.")
            found += [Cell("test", name, method, rates[name, method], seeds) for seeds in groups]
    return found


def measure(config: Config, sweep: Sweep = Sweep()) -> pandas.DataFrame:  # noqa: B008
    """One row a run and epoch, first of the runs that tune, then of those that are compared; see COLUMNS."""
    tuning = sweep.table(measure_cell, config, cells(config))
    test = sweep.table(measure_cell, config, test_cells(config, tuning))
    return pandas.concat([tuning, test], ignore_index=True)


def measure_cell(config: Config, cell: Cell, device: str) -> pandas.DataFrame:
    """The rows of one cell."""
    data = prepared(config)
    function = named_activation(cell.activation, config.negative_slope)
    sizes = (data.train.inputs.shape[1], *[config.units] * config.layers, data.classes)
    measured = min(config.measured, len(data.train))
    examples = datasets.Split(
        data.train.inputs[:measured].double().to(device), data.train.targets[:measured].to(device)
    )

    def measure_corrections(networks: Any) -> dict[str, Tensor]:
        found = [_corrections(networks.network(run), examples, config.damping) for run in range(len(networks))]
        return {name: torch.tensor([of_one[name] for of_one in found]) for name in _CORRECTIONS}

    def make_optimizer(network: nn.Module, rate: float) -> torch.optim.Optimizer:
        centred = "p" if cell.method == CENTRED else False
        options: Any = {"damping": config.damping, "decay": config.decay, "max_kl": config.max_kl}
        return UnitNaturalGradient(network, rate, kind="exact", centred=centred, **options)

    trained = train(
        lambda: fully_connected(sizes, function, batch_norm=cell.method == BATCH_NORM),
        data,
        Training(
            config.epochs, cell.seeds, (cell.learning_rate,), batch_size=config.batch_size, evaluated=("validation",)
        ),
        fabric=fabric_on(device),
        make_optimizer=make_optimizer if cell.method in (CENTRED, NATURAL) else None,
        measure=measure_corrections if (cell.role, cell.method) == ("test", SGD) else None,
    )
    table = trained.table.assign(role=cell.role, activation=cell.activation, method=cell.method, data=data.name)
    table = table.assign(updates=table["epoch"] * -(-len(data.train) // config.batch_size))
    table = table.assign(**{name: getattr(config, name) for name in _SETTING} | {"examples": len(data.train)})
    return table.reindex(columns=[*COLUMNS, "data", *_SETTING])


def prepared(config: Config) -> datasets.Dataset:
    """Standardised, flat, and in the coordinates of the principal components where `features` asks for them."""
    data = datasets.load(config.data)
    if config.examples:
        data = data.subset(config.examples)
    data = data.standardised().flattened()
    if not config.features:
        return data
    inputs = data.train.inputs.double()
    if config.features > min(inputs.shape):
        raise InputError(f"features is {config.features}; {data.name} has at most {min(inputs.shape)} components.")
    _, vectors = torch.linalg.eigh(inputs.mT @ inputs)
    basis = vectors[:, -config.features :].flip(1).float()
    parts = {name: getattr(data, name) for name in ("train", "validation", "test")}
    return replace(data, **{name: datasets.Split(part.inputs @ basis, part.targets) for name, part in parts.items()})


_CORRECTIONS = ("cosine", "mean_share", "gradient_share")


def _corrections(network: Any, examples: datasets.Split, damping: float) -> dict[str, float]:
    """Medians over units, mean over hidden layers above the first; NaN for a network that diverged."""
    if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
        return dict.fromkeys(_CORRECTIONS, np.nan)
    layers = unit_corrections(network.double(), examples, len(examples), damping)[1:]
    return {
        "cosine": float(np.mean([layer.cosine.nanmedian().item() for layer in layers])),
        "mean_share": float(np.mean([layer.mean_share for layer in layers])),
        "gradient_share": float(np.mean([layer.gradient_share.nanmedian().item() for layer in layers])),
    }


# --- tuning ---------------------------------------------------------------------------------------------------------


def tuning_losses(tuning: Any) -> Any:
    """One row an activation, method and learning rate, means over epochs and seeds: `validation`, ln of the lowest
    validation loss so far, and `training`, ln of the training loss; inf where a run diverged."""
    runs = ["activation", "method", "learning_rate", "seed"]
    rows = tuning[(tuning["role"] == "tuning") & (tuning["epoch"] > 0)].copy()
    rows["validation"] = np.log(rows.groupby(runs)["validation_loss"].cummin())
    rows["training"] = np.log(rows["train_loss"].clip(lower=_ROUNDING))
    found: Any = rows.groupby(runs[:3], sort=False)[["validation", "training"]]
    return found.agg(lambda values: values.mean(skipna=False)).fillna(np.inf).reset_index()


def tuned_rates(tuning: Any, by: str) -> dict[tuple[str, str], float]:
    """By activation and method, the learning rate of the lowest of `tuning_losses`, of "validation" or of "training";
    none where all diverged."""
    losses = tuning_losses(tuning)
    best = losses[np.isfinite(losses[by])].sort_values(by, kind="stable")
    best = best.drop_duplicates(["activation", "method"])
    return dict(zip(zip(best["activation"], best["method"], strict=True), best["learning_rate"], strict=True))


# --- verdicts -------------------------------------------------------------------------------------------------------


def run_statistics(table: Any) -> Any:
    """One row an activation, method and seed of the test runs: `area` (mean over epochs of ln training loss), `final`
    (of the last epoch), means over epochs of cosine and shares. From where a run diverged its loss counts as the one
    before training, as if it had learned nothing; cosine and shares are those before."""
    runs = ["activation", "method", "seed"]
    rows = table[table["role"] == "test"].copy()
    start = rows["train_loss"].where(rows["epoch"] == 0).groupby([rows[name] for name in runs]).transform("max")
    rows["area"] = np.log(rows["train_loss"].fillna(start).clip(lower=_ROUNDING))
    rows["final"] = rows["area"].where(rows["epoch"] == rows["epoch"].max())
    aggregated: Any = {"area": "mean", "final": "max", **dict.fromkeys(_CORRECTIONS, "mean")}
    return rows[rows["epoch"] > 0].groupby(runs, sort=False).agg(aggregated).reset_index()


def gaps(table: Any, outcome: str = "area", rival: str = "relu") -> dict[str, Any]:
    """By method, `outcome` of the rival − ELU's, one a seed: above 0 where ELU is ahead."""
    runs = run_statistics(table)
    return {method: paired_differences(runs[runs["method"] == method], outcome, rival, "elu") for method in METHODS}


def predictions(table: Any) -> Any:
    """One row a test run of plain SGD and epoch but the last: cosine, mean share and gradient share after the epoch,
    and `decrease`, of ln training loss in the next, an update; each epoch's and seed's mean over activations taken off.
    Of runs that did not diverge, whose seeds alone are used."""
    rows = table[(table["role"] == "test") & (table["method"] == SGD) & (table["epoch"] > 0)].copy()
    rows = rows[~rows.groupby("seed")["diverged_update"].transform("max").notna()]
    losses = np.log(rows["train_loss"].clip(lower=_ROUNDING))
    rows["decrease"] = losses.groupby([rows["activation"], rows["seed"]]).diff(-1)
    rows["decrease"] /= rows["updates"] / rows["epoch"]
    rows = rows[rows["epoch"] < rows["epoch"].max()]
    columns = [*_CORRECTIONS, "decrease"]
    rows[columns] -= rows.groupby(["seed", "epoch"])[columns].transform("mean")
    return rows[["activation", "seed", "epoch", *columns]]


def explained(table: Any) -> Any:
    """By seed, r² of each predictor with `decrease`; 0 where either does not vary."""
    squares = {}
    for seed, rows in predictions(table).groupby("seed"):
        products = rows[[*_CORRECTIONS, "decrease"]].cov()  # the means are 0
        both = np.diag(products)[:-1] * products.loc["decrease", "decrease"]
        own = products.loc["decrease", list(_CORRECTIONS)].to_numpy(float) ** 2
        squares[seed] = np.divide(own, both, out=np.zeros(len(own)), where=both > 0)
    return pandas.DataFrame.from_dict(squares, orient="index", columns=list(_CORRECTIONS))


def decisions(table: Any) -> list[Decision]:
    """The verdicts of CLAIMS, if ELU and ReLU were run; without that on mediation if every seed has a diverged run."""
    if not {"elu", "relu"} <= set(table["activation"]):
        return []
    runs, gap, squares = run_statistics(table), gaps(table), explained(table)
    of_relu = runs[runs["activation"] == "relu"]
    differences = {
        "premise": -gap[SGD],
        "closeness": paired_differences(runs[runs["method"] == SGD], "cosine", "elu", "relu"),
        "centring helps ReLU": paired_differences(of_relu, "area", CENTRED, SGD, by="method"),
        **{f"closed: {method}": gap[SGD] - gap[method] for method in METHODS[1:]},
        "left over": gap[NATURAL],
        "mediation": (squares["cosine"] - squares["mean_share"]).to_numpy(),
    }
    return decide([claim for claim in CLAIMS if len(differences[claim.identifier])], differences)


def conclusion(found: Sequence[Decision]) -> str:
    """The rule of DECISIVE in a sentence."""
    verdicts = {decision.claim.identifier: decision.verdict for decision in found}
    decisive = [verdicts.get(identifier) for identifier in DECISIVE]
    described = ", ".join(f"{identifier}: {verdict}" for identifier, verdict in zip(DECISIVE, decisive, strict=True))
    if "does not hold" in decisive:
        return f"The causal claim is refuted here ({described})."
    if all(verdict == "holds" for verdict in decisive):
        return f"The causal claim is supported here ({described})."
    return f"The causal claim stays open here ({described})."


def shares_closed(table: Any, rival: str = "relu") -> Any:
    """By method: 1 − mean gap/mean gap under SGD, with a 95 % interval from resampling the seeds (percentiles)."""
    gap = gaps(table, rival=rival)

    def share(of_sgd: Any, of_method: Any, axis: int = -1) -> Any:
        return 1 - of_method.mean(axis=axis) / of_sgd.mean(axis=axis)

    rows = {}
    for method in METHODS[1:]:
        pair = (gap[SGD], gap[method])
        low, high = np.nan, np.nan
        if len(gap[SGD]) > 1:
            low, high = bootstrap(pair, share, paired=True, method="percentile", rng=0).confidence_interval
        rows[method] = (share(*pair), low, high)
    return pandas.DataFrame.from_dict(rows, orient="index", columns=["share", "low", "high"])


def summary(table: Any) -> str:
    """Tuned rates, losses, gaps and shares closed, what predicts the decrease, the verdicts and the conclusion."""
    found = decisions(table)
    runs = run_statistics(table)
    columns = ["area", "final", *_CORRECTIONS]
    means: Any = runs.groupby(["method", "activation"], sort=False)[columns].mean()
    by = table["tuned_by"].iloc[0]
    other = "training" if by == "validation" else "validation"
    rates, losses = tuned_rates(table, by), tuning_losses(table)
    means.insert(0, "rate", [rates[name, method] for method, name in means.index])
    edges = {method: set(grid["learning_rate"].agg(["min", "max"])) for method, grid in losses.groupby("method")}
    at_edge = [f"{label_of(name)} by {method}" for (name, method), rate in rates.items() if rate in edges[method]]
    otherwise = [
        f"{label_of(name)} by {method} {rate:g}"
        for (name, method), rate in tuned_rates(table, other).items()
        if rate != rates[name, method]
    ]
    test = table[table["role"] == "test"]
    floored = (test["train_loss"] < _ROUNDING).mean()
    diverged = test[test["diverged_update"].notna()].groupby(["activation", "method"])["seed"].nunique()
    lines = [
        _setting(table),
        "",
        "test runs at the tuned rates, means over seeds (area: mean over epochs of ln training loss; final: the last)",
        means.to_string(float_format="%.4g", na_rep=""),
        f"tuned rates at an end of the grid: {', '.join(at_edge) or 'none'}",
        f"{other} loss would have chosen otherwise: {', '.join(otherwise) or 'none'}",
        f"losses below {_ROUNDING:.1e}, taken for it: {100 * floored:.2g} % of epochs",
        *[f"runs of {label_of(name)} by {method} that diverged: {count}" for (name, method), count in diverged.items()],
    ]
    for rival in [name for name in runs["activation"].unique() if name != "elu"] if found else []:
        lines += ["", f"gap of {label_of(rival)} behind ELU, Hodges–Lehmann estimates with 95 % intervals (unadjusted)"]
        closed = shares_closed(table, rival)
        for method, values in gaps(table, rival=rival).items():
            effect, low, high = hodges_lehmann(values, LEVEL)
            last, *_ = hodges_lehmann(gaps(table, "final", rival)[method], LEVEL)
            line = f"  {method}: area {effect:+.3f} [{low:+.3f}, {high:+.3f}], final {last:+.3f}"
            if method != SGD:
                share, low, high = closed.loc[method]
                line += f"; share closed {share:.2f} [{low:.2f}, {high:.2f}]"
            lines.append(line)
    squares = explained(table).median()
    described = ", ".join(f"{name} {square:.2f}" for name, square in squares.items())
    lines += ["", f"r² with the next decrease of ln loss along SGD, median over seeds: {described}", ""]
    return "\n".join([*lines, *[str(decision) for decision in found], *([conclusion(found)] if found else [])])


def _setting(table: Any) -> str:
    row = table.iloc[0]
    seeds = table.groupby("role")["seed"].nunique()
    return (
        f"{row['data']}, {row['examples']:,} training examples; {row['layers']} hidden layers × {row['units']}; "
        f"{table['updates'].max()} updates, batches of {row['batch_size']}; {seeds['test']} seeds, "
        f"rates tuned by {row['tuned_by']} loss on {seeds['tuning']} others"
    )


# --- the figure -----------------------------------------------------------------------------------------------------


def draw(table: Any) -> Figure:
    """Above: training loss, a panel a method (median over seeds, range). Below: gaps with 95 % intervals, and decrease
    of ln loss in the next epoch of SGD by cosine and by mean share, all relative to the mean over activations."""
    with style():
        figure = Figure(figsize=(7.2, 4.6), layout="constrained")
        parts: Any = figure.subfigures(2, 1)
        above, below = parts
        panels: Any = above.subplots(1, 4, sharey=True)
        for panel, method, letter in zip(panels, METHODS, "abcd", strict=True):
            _draw_losses(panel, table, method)
            panel.set_title(f"({letter}) {method}")
            panel.set_xlabel("updates")
        panels[0].set_yscale("log")
        _limit_losses(panels)
        panels[0].set_ylabel("training loss (nats)")
        panels[0].legend(frameon=False, fontsize=7)
        panels = below.subplots(1, 3, width_ratios=[1.25, 1, 1])
        _draw_gaps(panels[0], table)
        panels[1].sharey(panels[2])
        for panel, name, title in zip(
            panels[1:], ("cosine", "mean_share"), ("(f) cosine", "(g) mean share"), strict=True
        ):
            _draw_predictions(panel, table, name)
            panel.set_title(title)
        figure.suptitle(_setting(table).replace(" updates, ", " updates,\n"), fontsize=8)
    return figure


def _draw_losses(panel: Any, table: Any, method: str) -> None:
    rows = table[(table["role"] == "test") & (table["method"] == method) & (table["epoch"] > 0)]
    for name, of_one in rows.groupby("activation", sort=False):
        look = look_of(name)
        losses = of_one.pivot(index="updates", columns="seed", values="train_loss").clip(lower=_ROUNDING)
        panel.plot(losses.index, losses.median(axis=1), color=look.colour, linestyle=look.line, label=look.label)
        panel.fill_between(
            losses.index, losses.min(axis=1), losses.max(axis=1), color=look.colour, alpha=0.2, linewidth=0
        )


def _limit_losses(panels: Any) -> None:
    """The medians and a factor of 3; a panel says how far runs reach beyond."""
    medians = np.concatenate([line.get_ydata() for panel in panels for line in panel.lines])
    lowest, highest = np.nanmin(medians) / 3, np.nanmax(medians) * 3
    panels[0].set_ylim(lowest, highest)
    for panel in panels:
        reached = max(band.get_datalim(panel.transData).y1 for band in panel.collections)
        if reached > highest:
            note = f"single runs\nreach {reached:.1g}"
            panel.text(0.97, 0.97, note, transform=panel.transAxes, ha="right", va="top", fontsize=7)


def _draw_gaps(panel: Any, table: Any) -> None:
    names = table["activation"].unique().tolist()
    rivals = [name for name in names if name != "elu"] if "elu" in names else []
    for order, rival in enumerate(rivals):
        look = look_of(rival)
        for place, values in enumerate(gaps(table, rival=rival).values()):
            effect, low, high = hodges_lehmann(values, LEVEL)
            low, high = (low, high) if np.isfinite([low, high]).all() else (effect, effect)
            height = -place + 0.18 * ((len(rivals) - 1) / 2 - order)
            reach = [[effect - low], [high - effect]]
            label = look.label if place == 0 else None
            panel.errorbar(
                effect, height, xerr=reach, fmt=look.marker, color=look.colour, markersize=4, linewidth=1, label=label
            )
    panel.axvline(0.0, color="0.7", linewidth=0.6, zorder=0)
    panel.set_yticks([-place for place in range(len(METHODS))], METHODS)
    panel.set_xlabel("mean ln training loss less ELU's")
    panel.set_title("(e) gap behind ELU")
    panel.legend(frameon=False, fontsize=7)


def _draw_predictions(panel: Any, table: Any, name: str) -> None:
    rows = predictions(table)
    for activated, of_one in rows.groupby("activation", sort=False):
        panel.scatter(
            of_one[name], of_one["decrease"], s=3, color=look_of(str(activated)).colour, alpha=0.5, linewidth=0
        )
    square = explained(table)[name].median()
    panel.text(0.03, 0.97, f"r² = {square:.2f}", transform=panel.transAxes, fontsize=8, va="top")
    panel.set_xlabel(f"{name.replace('_', ' ')}, relative", fontsize=8)
    if name == "cosine":
        panel.set_ylabel("decrease of ln loss\nan update, relative")
