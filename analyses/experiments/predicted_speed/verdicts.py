"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from typing import Any

import numpy as np
from scipy.stats import spearmanr

from analyses.experiments.predicted_speed.settings import LOSSES, SETTING, setting_of
from analyses.framework.claims import Claim, Decision, decide

LEVEL = 0.05
RANKED = 0.8
"""The rank correlation that the prediction is claimed to reach."""
CLOSE = 0.15
"""The relative error of the ELU/ReLU ratio that is claimed not to be exceeded."""
WIDE, SHALLOW = 512, 1 / 64
"""Where that is claimed: at this width or more, and depth/width at most this."""
_PARTS = 12
CLAIMS = (
    Claim(
        "ranks",
        f"Predicted and measured updates have a rank correlation of at least {RANKED}.",
        "each of twelve random parts of the settings",
        f"Spearman's rank correlation over settings, networks and losses, less {RANKED}",
        "greater",
        LEVEL,
        counted="parts of the settings",
    ),
    Claim(
        "ratio",
        f"The ratio of ELU's to ReLU's updates is predicted within {CLOSE:.0%} in wide, shallow networks.",
        "settings of width ≥ 512, depth/width ≤ 1/64",
        f"|ln measured ratio − ln predicted ratio|, mean over losses and networks, less ln {1 + CLOSE:g}",
        "less",
        LEVEL,
        counted="settings",
    ),
)
"""Fixed before measuring, decided together. A network that does not reach a loss within the updates measured, twice
those predicted, counts as having needed all of these; losses that are not predicted to be reached are not compared."""


def compared(table: Any) -> Any:
    """The rows with a prediction of at least one update; `ratio`, ln measured/predicted, and `reached`."""
    rows = table[table["predicted"] >= 1].copy()
    rows["reached"] = rows["measured"].notna()
    rows["counted"] = rows["measured"].fillna(rows["updates"]).clip(lower=1.0)
    rows["ratio"] = np.log(rows["counted"] / rows["predicted"])
    return rows


def rank_correlations(rows: Any) -> Any:
    """Of the settings dealt out at random to twelve parts, one number per part; fewer parts for few settings."""
    settings = rows[list(SETTING)].drop_duplicates().reset_index(drop=True)
    dealt = np.random.default_rng(0).permutation(len(settings)) % max(1, min(_PARTS, len(settings) // 4))
    parts = rows.merge(settings.assign(part=dealt), on=list(SETTING))
    found = [rank_correlation(part) for _, part in parts.groupby("part")]
    return np.array([value for value in found if np.isfinite(value)])


def rank_correlation(rows: Any) -> float:
    """Spearman's, of predicted and measured updates."""
    found: Any = spearmanr(rows["predicted"], rows["counted"])
    return float(found.statistic)


def elu_to_relu(rows: Any) -> Any:
    """ln of ELU's updates over ReLU's, `predicted` and `measured`: a row per other setting, seed and loss."""
    index = [name for name in SETTING if name != "activation"] + ["seed", "loss"]
    sides = [rows[rows["activation"] == name][[*index, "predicted", "counted"]] for name in ("elu", "relu")]
    both = sides[0].merge(sides[1], on=index, suffixes=("_elu", "_relu"))
    found = both.assign(
        predicted=np.log(both["predicted_elu"] / both["predicted_relu"]),
        measured=np.log(both["counted_elu"] / both["counted_relu"]),
    )
    return found[[*index, "predicted", "measured"]]


def decisions(table: Any) -> list[Decision]:
    """The verdicts of CLAIMS, as far as there are settings for them."""
    rows = compared(table)
    differences: dict[str, Any] = {}
    ranks = rank_correlations(rows)
    if len(ranks):
        differences["ranks"] = ranks - RANKED
    ratios = elu_to_relu(rows)
    ratios = ratios[(ratios["width"] >= WIDE) & (ratios["depth"] <= SHALLOW * ratios["width"])]
    if len(ratios):
        ratios["error"] = (ratios["measured"] - ratios["predicted"]).abs()
        by_setting = ratios.groupby([name for name in SETTING if name != "activation"])["error"].mean()
        differences["ratio"] = by_setting.to_numpy(float) - np.log1p(CLOSE)
    return decide([claim for claim in CLAIMS if claim.identifier in differences], differences)


def summary(table: Any) -> str:
    """How far measured updates are from predicted ones, by width, depth and loss; what was not reached; verdicts."""
    rows = compared(table)
    lines = [setting_of(table), ""]
    whole = rank_correlation(rows)
    lines += [f"rank correlation of predicted and measured updates, all settings, networks and losses: {whole:.3f}", ""]
    for names in (["width", "depth"], ["loss"], ["activation", "initialisation"], ["rule", "batch_size"]):
        found = rows.groupby(names, sort=True).agg(
            settings=("ratio", "size"),
            measured_over_predicted=("ratio", lambda values: float(np.exp(values.median()))),
            lower_quartile=("ratio", lambda values: float(np.exp(values.quantile(0.25)))),
            upper_quartile=("ratio", lambda values: float(np.exp(values.quantile(0.75)))),
            not_reached=("reached", lambda values: int((~values).sum())),
        )
        lines += [f"measured/predicted updates by {' and '.join(names)}", found.to_string(float_format="%.3g"), ""]
    ratios = elu_to_relu(rows)
    if len(ratios):
        medians = np.exp(ratios.groupby("loss")[["predicted", "measured"]].median())
        lines += [
            "ELU's updates as a share of ReLU's, medians over settings",
            medians.to_string(float_format="%.3g"),
            "",
        ]
    unpredicted = int((table["predicted"].isna() & (table["loss"] == LOSSES[-1])).sum())
    lines.append(f"networks not predicted to reach {LOSSES[-1]:g} nats: {unpredicted}")
    diverged = table[table["diverged_update"].notna()].groupby(["rule", "width"])["seed"].size() // len(LOSSES)
    lines += [
        f"networks that diverged, rate {rule}, width {width}: {count}" for (rule, width), count in diverged.items()
    ]
    return "\n".join([*lines, "", *map(str, decisions(table))])
