"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from analyses.experiments.causal_claim.settings import (
    ARMS,
    CENTRED,
    DECIDING,
    METHODS,
    NATURAL,
    OUTCOME,
    SGD,
    TERM,
    setting_of,
)
from analyses.framework.claims import Claim, Decision, decide, hodges_lehmann
from analyses.framework.rates import rate_beyond, tuned_outcomes, tuning_scores
from elutheory.output.figures import label_of

LEVEL = 0.05
MARGIN = 0.05
"""Differences of ln updates that count as none: 5 % of the updates."""
_OUTCOME = f"ln updates to a training loss of {DECIDING:g} nats"
_MEAN = f"{_OUTCOME}, mean over activation functions"
ZERO_MEANS, BECAUSE = "zero means", "because"
DECISIVE = (
    Claim(ZERO_MEANS, "Zero means speed up learning.", f"{CENTRED} − {SGD}", _MEAN, "less", LEVEL, MARGIN),
    Claim(
        BECAUSE,
        "They do so because they bring the gradient closer to the unit natural gradient, whose bias-shift term alone, "
        "and the whole of which, speeds up learning as much.",
        f"{CENTRED} − the slower of {TERM} and {NATURAL}",
        f"{_MEAN}, plus {MARGIN:g}",
        "greater",
        LEVEL,
    ),
)
"""The test that decides each of the two claims; fixed before measuring, decided together, all at rates of their own.

Zero means speed up learning *because* they bring the gradient closer to the unit natural gradient only if getting there
gives at least as much: first by the part that the theorems say the mean makes, for which every unit's E_q[a] counts and
not E_p[a], then by the whole. Either of them slower than centring, by more than the margin, refutes it: then the means
act by something else, such as the constant direction of the whole network's kernel (T5), where E_p[a] counts. That both
are as fast does not prove that nothing else acts; it is what the claim says must be."""


def further_claims(activations: Sequence[str]) -> list[Claim]:
    """What is tested beside, decided among themselves: how near the gradients are, and each method's own gains."""
    cosine = "cosine with the unit natural gradient at initialisation"
    found = [
        Claim(
            "closer",
            "Zero means bring the gradient closer to the unit natural gradient.",
            "centred activations − as they are",
            f"{cosine}, mean over activation functions",
            "greater",
            LEVEL,
        )
    ]
    if {"elu", "relu"} <= set(activations):
        found += [
            Claim("premise", "ELU learns faster than ReLU by SGD.", "ELU − ReLU", _OUTCOME, "less", LEVEL, MARGIN),
            Claim(
                "closeness",
                "ELU's gradient is closer to the unit natural gradient.",
                "ELU − ReLU",
                cosine,
                "greater",
                LEVEL,
            ),
            *(
                Claim(
                    f"closed: {method}",
                    f"{method.capitalize()} helps ReLU more than ELU.",
                    f"SGD − {method}",
                    f"(ReLU − ELU) of the {_OUTCOME}",
                    "greater",
                    LEVEL,
                    MARGIN,
                )
                for method in METHODS[1:]
            ),
        ]
    return found + [
        Claim(
            f"gain: {method}, {name}",
            f"{label_of(name)} learns faster by {method} than by SGD.",
            f"{method} − SGD",
            _OUTCOME,
            "less",
            LEVEL,
            MARGIN,
        )
        for method in METHODS[1:]
        for name in activations
    ]


def outcomes(table: Any) -> Any:
    """ln updates to the deciding loss: one row per seed, columns (activation, method); see `tuned_outcomes`."""
    return tuned_outcomes(table, OUTCOME, "tuned", ARMS)


def mean_outcomes(table: Any) -> Any:
    """Their mean over activation functions: one row per seed, a column per method."""
    return outcomes(table).T.groupby(level="method").mean().T


def decisions(table: Any) -> list[Decision]:
    """The verdicts of DECISIVE, then those of `further_claims`."""
    found, means = outcomes(table), mean_outcomes(table)
    names = table["activation"].unique().tolist()
    slower = means[[TERM, NATURAL]].max(axis=1)
    deciding = {
        ZERO_MEANS: (means[CENTRED] - means[SGD]).to_numpy(),
        BECAUSE: (means[CENTRED] - slower + MARGIN).to_numpy(),
    }
    cosines = cosines_at_start(table)
    differences = {"closer": (cosines["centred_cosine"] - cosines["cosine"]).mean(axis=1).to_numpy()}
    if {"elu", "relu"} <= set(names):
        gaps = {method: (found["relu", method] - found["elu", method]).to_numpy() for method in METHODS}
        differences["premise"] = -gaps[SGD]
        differences["closeness"] = (cosines["cosine", "elu"] - cosines["cosine", "relu"]).to_numpy()
        differences |= {f"closed: {method}": gaps[SGD] - gaps[method] for method in METHODS[1:]}
    for name in names:
        for method in METHODS[1:]:
            differences[f"gain: {method}, {name}"] = (found[name, method] - found[name, SGD]).to_numpy()
    return [*decide(DECISIVE, deciding), *decide(further_claims(names), differences)]


def cosines_at_start(table: Any) -> Any:
    """One row per seed, columns (cosine or centred_cosine, activation), of the compared networks of SGD."""
    rows = table[(table["role"] == "tuned") & (table["method"] == SGD)]
    return rows.pivot(index="seed", columns="activation", values=["cosine", "centred_cosine"])


def gain(table: Any, name: str, method: str) -> tuple[float, float, float]:
    """Updates by the method as a share of those by SGD: Hodges–Lehmann estimate with a 95 % interval (unadjusted)."""
    found = outcomes(table)
    effect, low, high = hodges_lehmann((found[name, method] - found[name, SGD]).to_numpy(), LEVEL)
    return float(np.exp(effect)), float(np.exp(low)), float(np.exp(high))


def conclusion(found: Sequence[Decision]) -> str:
    """Both claims in a sentence."""
    verdicts = {decision.claim.identifier: decision.verdict for decision in found}
    first, second = (verdicts[claim.identifier] for claim in DECISIVE)
    if first != "holds":
        return f"Whether zero means speed up learning: {first}; then there is nothing to be caused."
    return (
        f"Zero means speed up learning: {first}. Because they bring the gradient closer to the natural one: {second}."
    )


def summary(table: Any) -> str:
    """Rates, updates and gains by activation and method, cosines, the verdicts and the conclusion."""
    rows = table[table["role"] == "tuned"]
    found = rows.groupby(list(ARMS), sort=False).agg(
        rate=("learning_rate", "first"),
        not_reached=(OUTCOME, lambda values: int(values.isna().sum())),
        diverged=("diverged_update", "count"),
    )
    logarithms = outcomes(table)
    found.insert(1, "updates", [np.exp(logarithms[key].mean()) for key in found.index])
    shares = np.array([gain(table, *key) for key in found.index])
    for place, column in enumerate(("of_SGD", "low", "high")):
        found.insert(2 + place, column, shares[:, place])
    cosines = cosines_at_start(table).mean().unstack(0)
    scores = tuning_scores(table, OUTCOME, ARMS)
    edge = [f"{label_of(name)} by {method}" for (name, method), rates in scores.items() if rate_beyond(rates)]
    decided = decisions(table)
    lines = [
        setting_of(table),
        "",
        f"updates to {DECIDING:g} nats (geometric means; all updates where not reached), also as a share of SGD's",
        found.to_string(float_format="%.4g"),
        "",
        f"tuned rates at an end of the widened grid: {', '.join(edge) or 'none'}",
        "",
        "cosine of gradient and unit natural gradient at initialisation, means over networks",
        cosines.to_string(float_format="%.3g"),
        "",
        "deciding:",
        *map(str, decided[: len(DECISIVE)]),
        conclusion(decided),
        "",
        "beside:",
        *map(str, decided[len(DECISIVE) :]),
    ]
    return "\n".join(lines)
