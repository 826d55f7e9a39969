"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from analyses.experiments.dose_response.settings import ARMS, DECIDING, OUTCOME, setting_of
from analyses.framework.claims import Claim, Decision, decide, hodges_lehmann
from analyses.framework.rates import rate_beyond, tuned_outcomes, tuning_scores
from elutheory.output.figures import label_of

LEVEL = 0.05
MARGIN = 0.05
"""Differences of ln updates that count as none: 5 % of the updates."""
CLOSE = 0.15
"""The relative error of the updates per dose that the prediction is claimed not to exceed."""
RANKED = 0.8
"""The rank correlation that the prediction is claimed to reach."""
_RESAMPLED = 9_999
_OUTCOME = f"ln updates to a training loss of {DECIDING:g} nats"


def claims(activations: Sequence[str], *, predicted: bool = False) -> list[Claim]:
    """Per activation one for tuned rates and one for the fixed rate, and two about the gap; fixed before measuring.

    With predictions: per activation one about T5's, and one about the order of all doses and activations.
    """
    slope = f"least-squares slope of {_OUTCOME} over the dose"
    found = [
        *(
            Claim(
                f"tuned: {name}",
                f"Taking the mean off speeds up {label_of(name)}, each dose at its own tuned rate.",
                "slope over the dose",
                slope,
                "less",
                LEVEL,
                MARGIN,
            )
            for name in activations
        ),
        *(
            Claim(
                f"fixed: {name}",
                f"Taking the mean off speeds up {label_of(name)} at the same fixed rate for all.",
                "slope over the dose",
                slope,
                "less",
                LEVEL,
                MARGIN,
            )
            for name in activations
        ),
    ]
    if {"elu", "relu"} <= set(activations):
        found += [
            Claim(
                "gap",
                "ELU learns faster than ReLU, each at its own tuned rate.",
                "ELU − ReLU at dose 0",
                _OUTCOME,
                "less",
                LEVEL,
                MARGIN,
            ),
            Claim(
                "lead without small mean",
                "ELU with its mean doubled is still faster than ReLU.",
                "ELU at dose −1 − ReLU at dose 0",
                _OUTCOME,
                "less",
                LEVEL,
                MARGIN,
            ),
        ]
    if predicted:
        found += [
            Claim(
                f"predicted: {name}",
                f"T5 predicts how {label_of(name)}'s updates change with the dose within {CLOSE:.0%} a dose.",
                "measured and predicted slope over the dose, at tuned rates",
                f"|measured − predicted slope| of {_OUTCOME}, less ln {1 + CLOSE:g}",
                "less",
                LEVEL,
            )
            for name in activations
        ]
        found.append(
            Claim(
                "predicted ranks",
                f"Predicted and measured updates have a rank correlation of at least {RANKED}.",
                "activations, doses and both rates",
                f"Spearman's rank correlation, less {RANKED}",
                "greater",
                LEVEL,
            )
        )
    return found


def predictions(table: Any, role: str) -> Any:
    """ln of the predicted updates by (activation, dose), all updates where not reached; empty without predictions."""
    rows = table[table["role"] == role]
    if "predicted" not in rows or rows["predicted"].isna().all():
        return rows["updates"].iloc[:0]
    return (
        np.log(rows["predicted"].fillna(rows["updates"]).clip(lower=1.0)).groupby([rows[name] for name in ARMS]).first()
    )


def outcomes(table: Any, role: str) -> Any:
    """ln updates to the deciding loss: one row per seed, columns (activation, dose); see `tuned_outcomes`."""
    return tuned_outcomes(table, OUTCOME, role, ARMS)


def slopes(found: Any) -> Any:
    """Least-squares slope of `outcomes` over the dose, one per seed."""
    doses = found.columns.to_numpy(float)
    centred = doses - doses.mean()
    return (found.to_numpy(float) @ centred) / (centred @ centred)


def decisions(table: Any) -> list[Decision]:
    """The verdicts of the claims about the activations that were run."""
    tuned, fixed = outcomes(table, "tuned"), outcomes(table, "fixed")
    names = table["activation"].unique().tolist()
    doses = set(table["dose"])
    differences: dict[str, Any] = {}
    for name in names:
        differences[f"tuned: {name}"] = slopes(tuned[name])
        differences[f"fixed: {name}"] = slopes(fixed[name])
    if {"elu", "relu"} <= set(names):
        differences["gap"] = (tuned["elu", 0.0] - tuned["relu", 0.0]).to_numpy()
        if -1.0 in doses:
            differences["lead without small mean"] = (tuned["elu", -1.0] - tuned["relu", 0.0]).to_numpy()
    differences |= _beside_predictions(table, {"tuned": tuned, "fixed": fixed}, names)
    stated = claims(names, predicted="predicted ranks" in differences)
    return decide([claim for claim in stated if claim.identifier in differences], differences)


def _beside_predictions(table: Any, measured: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """By claim about a prediction its difference, one per seed; empty without predictions."""
    predicted = {role: predictions(table, role) for role in measured}
    if not all(map(len, predicted.values())):
        return {}
    found: dict[str, Any] = {}
    for name in names:
        slope = slopes(predicted["tuned"][name].to_frame().T)
        found[f"predicted: {name}"] = np.abs(slopes(measured["tuned"][name]) - slope) - np.log1p(CLOSE)
    by_seed = np.hstack([measured[role][predicted[role].index].to_numpy(float) for role in measured])
    expected = np.concatenate([predicted[role].to_numpy(float) for role in measured])
    correlations: Any = [spearmanr(one, expected) for one in by_seed]
    found["predicted ranks"] = np.array([correlation.statistic for correlation in correlations]) - RANKED
    return found


def share_closed(table: Any) -> tuple[float, float, float] | None:
    """How much of ReLU's gap behind ELU, in ln updates at tuned rates, centring ReLU (dose 1) closes.

    With a 95 % interval from resampling the seeds; None without ELU, ReLU and dose 1, and without a gap.
    """
    tuned = outcomes(table, "tuned")
    if not {("elu", 0.0), ("relu", 0.0), ("relu", 1.0)} <= set(tuned.columns):
        return None
    plain, centred, elu = (tuned[key].to_numpy(float) for key in (("relu", 0.0), ("relu", 1.0), ("elu", 0.0)))

    seeds = np.arange(len(plain))
    drawn = np.concatenate([[seeds], np.random.default_rng(0).choice(seeds, (_RESAMPLED, len(seeds)))])
    gaps = (plain - elu)[drawn].mean(1)
    shares = np.divide((plain - centred)[drawn].mean(1), gaps, out=np.full(len(gaps), np.nan), where=gaps != 0)
    shares = shares[np.isfinite(shares)]
    if not gaps[0] or not len(shares):
        return None
    low, high = np.percentile(shares, [2.5, 97.5]) if len(seeds) > 1 else (np.nan, np.nan)
    return float(shares[0]), float(low), float(high)


def summary(table: Any) -> str:
    """Rates and updates by activation and dose, the share of the gap closed, and the verdicts."""
    scores = tuning_scores(table, OUTCOME, ARMS)
    lines = [setting_of(table), ""]
    for role in ("tuned", "fixed"):
        rows = table[table["role"] == role]
        found = rows.groupby(["activation", "dose"], sort=False).agg(
            rate=("learning_rate", "first"),
            mean_share=("mean_share", "mean"),
            not_reached=(OUTCOME, lambda values: int(values.isna().sum())),
            diverged=("diverged_update", "count"),
        )
        logarithms = outcomes(table, role)
        found.insert(1, "updates", [np.exp(logarithms[key].mean()) for key in found.index])
        expected = predictions(table, role)
        if len(expected):
            found.insert(2, "predicted", [np.exp(expected[key]) for key in found.index])
            stable = rows.groupby(["activation", "dose"], sort=False)["largest_stable_rate"].first()
            found.insert(1, "rate/stable", found["rate"] / stable)
        lines += [
            f"{role} rate: geometric mean of the updates to {DECIDING:g} nats (all updates where not reached)",
            found.to_string(float_format="%.4g"),
            "",
        ]
    at_edge = [arm for arm, rates in scores.items() if rate_beyond(rates) is not None]
    edge = [f"{label_of(name)} at dose {dose:g}" for name, dose in at_edge]
    lines.append(f"tuned rates at an end of the widened grid: {', '.join(edge) or 'none'}")
    closed = share_closed(table)
    if closed is not None:
        share, low, high = closed
        lines.append(f"share of ReLU's gap behind ELU that centring closes: {share:.2f} [{low:.2f}, {high:.2f}]")
    for name in table["activation"].unique():
        found = hodges_lehmann(slopes(outcomes(table, "tuned")[name]), LEVEL)
        effect, low, high = (100 * (np.exp(value) - 1) for value in found)
        lines.append(f"{label_of(name)}: {effect:+.0f} % updates per dose at tuned rates [{low:+.0f}, {high:+.0f}]")
    return "\n".join([*lines, "", *map(str, decisions(table))])
