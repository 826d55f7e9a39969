"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from analyses.experiments.dose_response.settings import ARMS, DECIDING, OUTCOME, setting_of
from analyses.framework.claims import Claim, Decision, decide, hodges_lehmann
from analyses.framework.rates import rate_beyond, tuned_outcomes, tuning_scores
from elutheory.output.figures import label_of

LEVEL = 0.05
MARGIN = 0.05
"""Differences of ln updates that count as none: 5 % of the updates."""
_RESAMPLED = 9_999
_OUTCOME = f"ln updates to a training loss of {DECIDING:g} nats"


def claims(activations: Sequence[str]) -> list[Claim]:
    """Per activation one for tuned rates and one for the fixed rate, and two about the gap; fixed before measuring."""
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
    return found


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
    return decide([claim for claim in claims(names) if claim.identifier in differences], differences)


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
