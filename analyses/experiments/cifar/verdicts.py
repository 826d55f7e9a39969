"""The claims, fixed before measuring, their verdicts from the table, what training takes, and the summary in words."""

from typing import Any

import numpy as np
import pandas

from analyses.experiments.cifar.recipe import RECIPES
from analyses.experiments.cifar.settings import BATCH, NONE, layers_of, setting_of
from analyses.framework.claims import Claim, Decision, decide, without_learning
from elutheory.numerics.cost import duration
from elutheory.output.figures import label_of

LEVEL = 0.05
MARGIN = 0.5
"""Percentage points of test error by which batch normalisation may improve ELU and still not count as improving it."""
BELOW_NORMALISED, NOT_IMPROVED = "elu below relu with batch normalisation", "elu not improved by batch normalisation"
_TAIL = 0.1
"""Of the epochs at the end, over which the test error is averaged: a tenth, one at least."""
_DEVIATIONS = 3.0
"""Standard deviations of guessing by which a network that has learned is better than chance."""

Arm = tuple[str, str]
"""Activation and normalisation."""
_STATISTIC = "test error in %, mean over the last tenth of the epochs"
_PAIRS: dict[str, tuple[Arm, Arm]] = {
    BELOW_NORMALISED: (("elu", NONE), ("relu", BATCH)),
    NOT_IMPROVED: (("elu", BATCH), ("elu", NONE)),
    "elu below relu": (("elu", NONE), ("relu", NONE)),
    "elu below leaky_relu": (("elu", NONE), ("leaky_relu", NONE)),
}
_SENTENCES = {
    BELOW_NORMALISED: "ELU without batch normalisation has a lower test error than ReLU with it.",
    NOT_IMPROVED: f"Batch normalisation lowers ELU's test error by less than {MARGIN:g} percentage points.",
    "elu below relu": "ELU has a lower test error than ReLU.",
    "elu below leaky_relu": "ELU has a lower test error than leaky ReLU.",
}


def name_of(arm: Arm) -> str:
    """ "ELU", "ELU + batch normalisation"."""
    activation, normalisation = arm
    return label_of(activation) + (" + batch normalisation" if normalisation == BATCH else "")


def _claim(identifier: str) -> Claim:
    first, second = (name_of(arm) for arm in _PAIRS[identifier])
    granted = identifier == NOT_IMPROVED
    compared = f"{first} − {second}" + (f" + {MARGIN:g}" if granted else "")
    return Claim(identifier, _SENTENCES[identifier], compared, _STATISTIC, "greater" if granted else "less", LEVEL)


CLAIMS = tuple(_claim(identifier) for identifier in _PAIRS)
"""Fixed before any record: two-sided tests paired by seed, Bonferroni over those whose networks were run."""


def final_errors(table: Any) -> pandas.DataFrame:
    """Test error in % (`_STATISTIC`), a row per seed, a column per activation and normalisation; inf: diverged."""
    epochs = int(table["epoch"].max())
    tail = table[table["epoch"] > epochs - max(1, round(_TAIL * epochs))]
    runs = tail.assign(percent=100 * tail["test_error"]).groupby(["seed", "activation", "normalisation"], sort=False)
    found = runs.agg(percent=("percent", "mean"), diverged=("diverged", "max")).reset_index()
    found["percent"] = found["percent"].where(found["diverged"].isna(), np.inf)
    return found.pivot(index="seed", columns=["activation", "normalisation"], values="percent")


def threshold(table: Any) -> float:
    """The test error in % below which a network has learned: chance, less three standard deviations of guessing."""
    row = table.iloc[0]
    chance, examples = float(row["chance_error"]), float(row["test_examples"])
    return 100 * (chance - _DEVIATIONS * (chance * (1 - chance) / examples) ** 0.5)


def untrained(table: Any) -> dict[Arm, int]:
    """How many networks that did not diverge are no better than chance, where any are."""
    errors = final_errors(table)
    counts = ((errors >= threshold(table)) & np.isfinite(errors)).sum()
    return {arm: int(count) for arm, count in counts.items() if count}  # pyright: ignore[reportReturnType]


def decisions(table: Any) -> list[Decision]:
    """The verdicts of CLAIMS whose networks were run; "not trained" where one of them is no better than chance.

    A run that diverged counts as worst; where both of a pair did, they count as equal.
    """
    errors, idle = final_errors(table), untrained(table)
    claims = [claim for claim in CLAIMS if set(_PAIRS[claim.identifier]) <= set(errors.columns)]
    differences = {claim.identifier: _differences(errors, claim) for claim in claims}
    decided = decide(claims, differences) if claims else []
    return [
        without_learning(decision) if set(_PAIRS[decision.claim.identifier]) & set(idle) else decision
        for decision in decided
    ]


def _differences(errors: Any, claim: Claim) -> Any:
    first, second = (errors[arm].to_numpy(float) for arm in _PAIRS[claim.identifier])
    with np.errstate(invalid="ignore"):
        found = np.where(np.isinf(first) & np.isinf(second), 0.0, first - second)
    return found + (MARGIN if claim.identifier == NOT_IMPROVED else 0.0)


def training_times(table: Any) -> pandas.DataFrame:
    """What a network takes by normalisation and activation, in updates per second, evaluation included.

    `hours`: of a network of this size; `paper_hours`: of the paper's updates of the paper's network on images of this
    size, on this device, where it does as many operations per second as were measured here.
    """
    row = table.iloc[0]
    paper = RECIPES[str(row["network"])].updates
    speed = table.groupby(["normalisation", "activation"], sort=False)["updates_per_second"].median()
    found = pandas.DataFrame({"updates_per_second": speed})
    found["operations_per_second"] = speed * row["operations"]
    found["hours"] = row["updates"] / speed / 3600
    found["paper_hours"] = paper * row["paper_operations"] / found["operations_per_second"] / 3600
    return found.reset_index()


def summary(table: Any) -> str:
    """Test errors, runs that diverged or have not learned, layers' means and their prediction, times, verdicts."""
    errors = final_errors(table)
    lines = [setting_of(table), "", f"{_STATISTIC}: mean (standard deviation) of the networks that did not diverge"]
    for arm, found in errors.items():
        finite = found[np.isfinite(found)]
        lost = len(found) - len(finite)
        lines.append(
            f"  {name_of(arm)}: {finite.mean():.2f} ({finite.std():.2f})"  # pyright: ignore[reportArgumentType]
            + (f"; {lost} of {len(found)} diverged" if lost else "")
        )
    lines += [
        f"{count} of {len(errors)} networks of {name_of(arm)} are no better than chance ({threshold(table):.1f} %)"
        for arm, count in untrained(table).items()
    ]
    lines += [
        "",
        "layers' means before training: measured, M3's, mean over seeds; z of the mean over seeds; at the end",
    ]
    lines += _of_layers(table)
    lines += [
        "",
        "updates and operations per second, evaluation included; time of a network of this size, and of the paper's on "
        "this device at as many operations per second",
    ]
    for _, row in training_times(table).iterrows():
        name = name_of((str(row["activation"]), str(row["normalisation"])))
        speeds = f"{row['updates_per_second']:.3g}, {row['operations_per_second']:.2g}"
        lines.append(f"  {name}: {speeds}; {_hours(row['hours'])}, {_hours(row['paper_hours'])}")
    return "\n".join([*lines, "", *map(str, decisions(table))])


def _hours(hours: Any) -> str:
    return "not measured" if np.isnan(hours) else duration(3600 * hours)


def _of_layers(table: Any) -> list[str]:
    lines = []
    last = int(table["epoch"].max())
    for (activation, normalisation), runs in table.groupby(["activation", "normalisation"], sort=False):
        start, end = (runs[runs["epoch"] == epoch] for epoch in (0, last))
        parts = []
        for layer in layers_of(table):
            measured, predicted = start[f"mean_{layer}"], start[f"predicted_{layer}"]
            spread = start[f"band_{layer}"].pow(2).sum() ** 0.5 / len(start)
            z = f" (z {(measured - predicted).mean() / spread:+.1f})" if spread > 0 else ""
            parts.append(
                f"{layer}: {measured.mean():.3f}, {predicted.mean():.3f}{z}; {end[f'mean_{layer}'].mean():.3f}"
            )
        lines += [f"  {name_of((str(activation), str(normalisation)))}", *(f"    {part}" for part in parts)]
    return lines
