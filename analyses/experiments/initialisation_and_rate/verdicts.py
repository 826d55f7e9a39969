"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from typing import Any

import numpy as np

from analyses.experiments.initialisation_and_rate.settings import ARMS, DECIDING, OUTCOME, setting_of
from analyses.framework.claims import Claim, Decision, decide, hodges_lehmann
from analyses.framework.rates import rate_beyond, tuned_outcomes, tuning_scores
from elutheory.output.figures import label_of

LEVEL = 0.05
MARGIN = 0.05
"""Differences of ln updates that count as none: 5 % of the updates."""
_OUTCOME = f"ln updates to a training loss of {DECIDING:g} nats"
CLAIMS = (
    Claim(
        "paper",
        "With He's initialisation and the paper's rate ELU learns faster than ReLU.",
        "ELU − ReLU",
        _OUTCOME,
        "less",
        LEVEL,
        MARGIN,
    ),
    Claim(
        "he tuned",
        "With He's initialisation, each at its own tuned rate, ELU learns faster than ReLU.",
        "ELU − ReLU",
        _OUTCOME,
        "less",
        LEVEL,
        MARGIN,
    ),
    Claim(
        "own",
        "Each with its own best initialisation and tuned rate, ELU learns faster than ReLU.",
        "ELU − ReLU",
        _OUTCOME,
        "less",
        LEVEL,
        MARGIN,
    ),
    Claim(
        "partly the rate",
        "ELU's lead is smaller where each has its own initialisation and rate than in the paper's setting.",
        "ELU − ReLU with their own less ELU − ReLU in the paper's setting",
        _OUTCOME,
        "greater",
        LEVEL,
        MARGIN,
    ),
)
"""Fixed before measuring, decided together. The best initialisation is that of the best score of the tuning seeds."""


def outcomes(table: Any, role: str) -> Any:
    """ln updates to the deciding loss: one row per seed, columns (activation, initialisation)."""
    return tuned_outcomes(table, OUTCOME, role, ARMS)


def own_initialisations(table: Any) -> dict[str, str]:
    """By activation, the initialisation whose best rate has the best score of the seeds that tune."""
    best: dict[str, tuple[Any, str]] = {}
    for (name, kind), rates in tuning_scores(table, OUTCOME, ARMS).items():
        score = min(rates.values())
        if name not in best or score < best[name][0]:
            best[name] = (score, kind)
    return {name: kind for name, (_, kind) in best.items()}


def leads(table: Any) -> dict[str, Any]:
    """ELU − ReLU in ln updates, one per seed: in the paper's setting, with He tuned, and each with its own."""
    tuned, fixed = outcomes(table, "tuned"), outcomes(table, "fixed")
    own = own_initialisations(table)
    found = {}
    if {("elu", "he"), ("relu", "he")} <= set(fixed.columns):
        found["paper"] = (fixed["elu", "he"] - fixed["relu", "he"]).to_numpy()
        found["he tuned"] = (tuned["elu", "he"] - tuned["relu", "he"]).to_numpy()
    if {"elu", "relu"} <= set(own):
        found["own"] = (tuned["elu", own["elu"]] - tuned["relu", own["relu"]]).to_numpy()
    return found


def decisions(table: Any) -> list[Decision]:
    """The verdicts of CLAIMS, as far as ELU, ReLU and He's initialisation were run."""
    differences = leads(table)
    if {"paper", "own"} <= set(differences):
        differences["partly the rate"] = differences["own"] - differences["paper"]
    about = [claim for claim in CLAIMS if claim.identifier in differences]
    return decide(about, differences) if about else []


def summary(table: Any) -> str:
    """Rates, updates measured and predicted, what is left of the lead, and the verdicts."""
    lines = [setting_of(table), ""]
    for role in ("fixed", "tuned"):
        rows = table[table["role"] == role]
        found = rows.groupby(list(ARMS), sort=False).agg(
            weight_variance=("weight_variance", "first"),
            rate=("learning_rate", "first"),
            predicted=("predicted", "first"),
            kernel_size=("diagonal_mean", "first"),
            top_share=("top_share", "first"),
            not_reached=(OUTCOME, lambda values: int(values.isna().sum())),
            diverged=("diverged_update", "count"),
        )
        logarithms = outcomes(table, role)
        found.insert(2, "measured", [np.exp(logarithms[key].mean()) for key in found.index])
        lines += [
            f"{role} rate: updates to {DECIDING:g} nats (measured: geometric means, all updates where not reached)",
            found.to_string(float_format="%.4g"),
            "",
        ]
    scores = tuning_scores(table, OUTCOME, ARMS)
    at_edge = [arm for arm, rates in scores.items() if rate_beyond(rates) is not None]
    edge = [f"{label_of(name)} with {kind}" for name, kind in at_edge]
    lines.append(f"tuned rates at an end of the widened grid: {', '.join(edge) or 'none'}")
    own = [f"{label_of(name)}: {kind}" for name, kind in own_initialisations(table).items()]
    lines.append(f"initialisation of the fewest updates on the tuning seeds: {', '.join(own)}")
    for name, values in leads(table).items():
        share, low, high = (100 * np.exp(value) for value in hodges_lehmann(values, LEVEL))
        lines.append(f"ELU needs {share:.0f} % of ReLU's updates [{low:.0f}, {high:.0f}] ({_SETTINGS[name]})")
    return "\n".join([*lines, "", *map(str, decisions(table))])


_SETTINGS = {
    "paper": "He, one rate for both",
    "he tuned": "He, own rates",
    "own": "own initialisations and rates",
}
