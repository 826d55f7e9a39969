"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from typing import Any

import numpy as np
import pandas

from analyses.experiments.fisher_spectrum.settings import (
    FACTORS,
    FIRST,
    LINEARISED,
    METHODS,
    NETWORK,
    NONE,
    STEPS,
    setting_of,
)
from analyses.framework.claims import Claim, Decision, decide
from elutheory.output.figures import label_of

_LEVEL = 0.05
TOLERANCE = 1.25
"""A predicted eigenvalue agrees with the measured one within this factor."""
STAGES = {"initial": "before training", "trained": "after training"}


def claims(activations: tuple[str, ...]) -> list[Claim]:
    """Of networks with these activations; fixed before measuring, but for "near a minimum": that the network leaves the
    region of its linearisation within a step from its initial weights was seen on another seed, and then added."""
    there = set(activations)
    found = []
    for stage, when in STAGES.items():
        if {"elu", "relu"} <= there:
            found += _comparisons(stage, when, there)
    for name in activations:
        compared = f"ln {TOLERANCE:g} − |deviation| of {label_of(name)}"
        for identifier, how in (("P5", "κ2 + (κ1 − κ2)/N (P5)"), ("kernel", "the largest eigenvalue of the kernel")):
            found.append(
                Claim(
                    f"{identifier}: {name}",
                    f"{label_of(name)}: {how} predicts the largest eigenvalue of one output's Fisher matrix within a "
                    f"factor {TOLERANCE:g}.",
                    compared,
                    "deviation: ln of predicted over measured, gaussian, before training, mean over outputs",
                    "greater",
                    _LEVEL,
                )
            )
    return found + _limits(activations)


def _comparisons(stage: str, when: str, there: set[str]) -> list[Claim]:
    def claim(identifier: str, sentence: str, compared: str, statistic: str) -> Claim:
        return Claim(f"{identifier}: {stage}", f"{sentence} {when}.", compared, f"{statistic}, {when}", "less", _LEVEL)

    share, top = "ln of the top eigenvalue's share of the trace", "ln of the top eigenvalue"
    unit = "ln of the top eigenvalue's share in a unit's block, median over units"
    found = []
    for rival in ("relu", "leaky_relu"):
        if rival in there:
            name = label_of(rival)
            sides = f"ELU − {name}"
            found += [
                claim(f"top share: elu vs {rival}", f"The top eigenvalue's share is smaller for ELU than for {name}",
                      sides, share),
                claim(f"top eigenvalue: elu vs {rival}", f"The top eigenvalue is smaller for ELU than for {name}",
                      sides, top),
                claim(f"unit share: elu vs {rival}", f"The top eigenvalue's share in a unit's block is smaller for ELU "
                      f"than for {name}", sides, unit),
            ]  # fmt: skip
    for method in METHODS[1:]:
        for name in ("relu", "elu"):
            found.append(
                claim(f"{method} lowers {name}", f"{method.capitalize()} lowers the top eigenvalue's share of "
                      f"{label_of(name)}", f"{label_of(name)} with {method} − without", share)
            )  # fmt: skip
        found.append(
            claim(f"{method} helps relu more than elu", f"{method.capitalize()} lowers the share more for ReLU than "
                  "for ELU", "ReLU − ELU, of the difference with − without", share)
        )  # fmt: skip
    return found


def _limits(activations: tuple[str, ...]) -> list[Claim]:
    first = f"ln of the loss along the top eigenvector after {FIRST} steps over that before"
    last = f"ln of the loss after {STEPS[-1]} steps over that before"

    def claim(identifier: str, sentence: str, which: str, statistic: str, alternative: Any) -> Claim:
        return Claim(identifier, sentence, f"{which} − 0", statistic, alternative, _LEVEL)

    largest, smallest = "the activation with the largest", "the activation with the smallest"
    return [
        claim("limit 0.9: linearised", "The linearised network converges at 0.9 times 2/λ.", largest, last, "less"),
        claim("limit 1.1: linearised", "The linearised network diverges at 1.1 times 2/λ.", smallest, last, "greater"),
        claim("limit 0.9: near a minimum", "A network near a minimum approaches it at 0.9 times 2/λ.", largest, first,
              "less"),
        claim("limit 1.1: near a minimum", "A network near a minimum leaves it at 1.1 times 2/λ.", smallest, first,
              "greater"),
        claim("limit 0.9: network", "From its initial weights on a network learns at 0.9 times 2/λ.", largest, last,
              "less"),
        claim("limit 1.1: network", "From its initial weights on a network's loss grows along the top eigenvector at "
              "1.1 times 2/λ.", smallest, first, "greater"),
        *(
            claim(f"limit 1.1: network: {name}", f"From its initial weights on a network with {label_of(name)} "
                  "diverges at 1.1 times 2/λ.", label_of(name), last, "greater")
            for name in activations
        ),
    ]  # fmt: skip


def decisions(table: Any) -> list[Decision]:
    """The verdicts of the claims that are about activations that were run."""
    about = claims(tuple(table["activation"].unique()))
    differences = {
        **_compared(table),
        **_predicted(table),
        **_descended(table),
    }
    return decide(about, differences)


def _compared(table: Any) -> dict[str, Any]:
    """By identifier one difference a seed. A network that diverged has inf, the worst; two of them differ by 0."""
    spectra = of_likelihood(table, "categorical")
    stage = np.where(spectra["epoch"] > 0, "trained", "initial")
    keys = [pandas.Series(stage, index=spectra.index, name="stage"), spectra["activation"], spectra["method"]]

    def logarithms(column: str) -> Any:
        values = np.log(spectra[column]).fillna(np.inf)
        return values.groupby([spectra["seed"], *keys]).first().unstack([1, 2, 3])

    share, top, unit = (logarithms(column) for column in ("top_share", "top", "unit_top_share"))
    there = set(spectra["activation"])
    found = {}
    for when in STAGES:
        for rival in {"relu", "leaky_relu"} & there if {"elu", "relu"} <= there else set():
            for name, values in (("top share", share), ("top eigenvalue", top), ("unit share", unit)):
                difference = _minus(values[when, "elu", NONE], values[when, rival, NONE])
                found[f"{name}: elu vs {rival}: {when}"] = difference
        for method in METHODS[1:] if {"elu", "relu"} <= there else ():
            effect = {name: _minus(share[when, name, method], share[when, name, NONE]) for name in ("relu", "elu")}
            found |= {f"{method} lowers {name}: {when}": difference for name, difference in effect.items()}
            found[f"{method} helps relu more than elu: {when}"] = _minus(effect["relu"], effect["elu"])
    return found


def _minus(first: Any, second: Any) -> Any:
    left, right = np.asarray(first, float), np.asarray(second, float)
    with np.errstate(invalid="ignore"):
        return np.where((left == right) & np.isinf(left), 0.0, left - right)


def _predicted(table: Any) -> dict[str, Any]:
    found = {}
    for name, spectra in of_likelihood(table, "gaussian").groupby("activation", sort=False):
        for identifier, column in (("P5", "formula_top"), ("kernel", "kernel_top")):
            deviation = np.log(spectra[column] / spectra["one_output_top"]).abs()
            found[f"{identifier}: {name}"] = np.log(TOLERANCE) - deviation.to_numpy()
    return found


def growth(table: Any) -> Any:
    """The descents with `first`, ln growth along the top eigenvector in FIRST steps, and `last`, of the loss in all."""
    descents = table[table["part"] == "descent"]
    return descents.assign(
        first=np.log(descents[f"along_{FIRST}"] / descents["along_0"]),
        last=np.log(descents[f"loss_{STEPS[-1]}"] / descents["loss_0"]),
    )


def _descended(table: Any) -> dict[str, Any]:
    found = {}
    for (model, factor), runs in growth(table).groupby(["model", "factor"]):
        by_seed = runs.groupby("seed")
        column = "last" if model == LINEARISED or (model, factor) == (NETWORK, min(FACTORS)) else "first"
        worst = by_seed[column].max() if factor < 1 else by_seed[column].min()
        found[f"limit {factor:g}: {model}"] = worst.to_numpy()
        if model == NETWORK and factor > 1:
            for name, own in runs.groupby("activation"):
                found[f"limit {factor:g}: {model}: {name}"] = own.sort_values("seed")["last"].to_numpy()
    return found


def of_likelihood(table: Any, likelihood: str) -> Any:
    """The spectra of Fisher matrices of this likelihood."""
    return table[(table["part"] == "spectrum") & (table["likelihood"] == likelihood)]


def summary(table: Any) -> str:
    """Spectra, predictions, what became of the descents, and the verdicts."""
    spectra = of_likelihood(table, "categorical")
    columns = ["top", "top_share", "outlier_share", "second", "bulk", "condition", "rank", "unit_top_share"]
    means = spectra.groupby(["epoch", "activation", "method"], sort=False)[columns].mean()
    gaussian = of_likelihood(table, "gaussian").groupby("activation", sort=False)
    predictions = ["one_output_top", "kernel_top", "formula_top", "one_output_share", "kernel_share", "formula_share"]
    lines = [
        setting_of(table),
        "",
        "categorical likelihood, means over seeds",
        means.to_string(float_format="%.3g"),
        "",
    ]
    lines += ["gaussian likelihood, one output, before training: measured and predicted"]
    lines += [gaussian[predictions].mean().to_string(float_format="%.3g"), "", "gradient descent: runs", ""]
    lines += [fates(table).to_string(float_format="%.3g"), ""]
    lost = spectra[spectra["top"].isna()].groupby(["activation", "method"]).size()
    lines += [f"{label_of(name)}, {method}: {count} diverged in training" for (name, method), count in lost.items()]
    return "\n".join([*lines, *map(str, decisions(table))])


def fates(table: Any) -> Any:
    """Of the descents by model, factor and activation: how many grew, ended above the start, were lost to infinity."""
    runs = growth(table)
    runs = runs.assign(grew=runs["first"] > 0, above=runs["last"] > 0, lost=np.isinf(runs[f"loss_{STEPS[-1]}"]), runs=1)
    return runs.groupby(["model", "factor", "activation"], sort=False).agg(
        runs=("runs", "sum"),
        grew_at_first=("grew", "sum"),
        ended_above_start=("above", "sum"),
        not_finite=("lost", "sum"),
        median_end_factor=("end_factor", "median"),
    )
