"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from math import nan
from typing import Any

import numpy as np
import pandas
from scipy import stats

from analyses.experiments.mean_activations.settings import CELL, INITIALISATION_NAMES, MAPS, reference_label
from analyses.framework.claims import Claim, Decision
from elutheory.output.figures import label_of

LEVEL = 0.01
"""Of the two-sided sign test over seeds: nearer zero, farther, or undecided."""
DOUBTFUL = 3.0
"""Size of a z-score that is counted."""
HOLDS = 0.05
"""A prediction holds for a statistic where at most this share of its z-scores is doubtful."""


def layer_verdicts(table: Any) -> pandas.Series:
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
    rows = table.assign(found=layer_verdicts(table))
    rows = rows[(rows["statistic"] == "unit_mean_median") & (rows["activation"] == "elu") & rows["found"].notna()]
    rows = rows[(rows["architecture"] == "plain") & (rows["width"] == rows["width"].max())]
    decided = []
    for start, layers in rows.groupby("initialisation", sort=False):
        nearer, farther = (float((layers["found"] == found).mean()) for found in ("nearer", "farther"))
        claim = Claim(
            str(start),
            f"In random networks, {INITIALISATION_NAMES[str(start)]} initialisation, ELU's median unit mean is nearer "
            f"zero than {reference_label(table)}'s.",
            f"ELU, {reference_label(table)}",
            f"share of layers where nearer (to: where not farther), sign test over networks at {LEVEL:g} a layer",
            "greater",
            LEVEL,
        )
        verdict = "does not hold" if farther else "holds" if nearer else "undecided"
        decided.append(Decision(claim, int(layers["seeds"].iloc[0]), nearer, nearer, 1 - farther, nan, nan, verdict))
    return decided


def compared_rows(table: Any) -> Any:
    """The rows with a `verdict`, and `ratio`: the statistic's root mean square over seeds, over the reference's."""
    keys = [*CELL, "layer", "statistic"]
    seeds = table["seeds"]
    table = table.assign(size=np.hypot(table["measured"], table["std"].fillna(0.0) * np.sqrt((seeds - 1) / seeds)))
    reference = table.loc[table["nearer"].isna(), [*keys, "size"]].rename(columns={"size": "reference"})
    found = table.assign(verdict=layer_verdicts(table))[table["nearer"].notna()].merge(reference, on=keys)
    return found.assign(ratio=found["size"] / found["reference"].where(found["reference"] > 0))


def summary(table: pandas.DataFrame) -> str:
    """Where an activation is nearer zero than the reference, where not; B5's strength; the predictions' errors."""
    parts = [_nearness(table), _bias_shift(table), _accuracy(table)]
    return "\n\n".join(part for part in parts if part)


def _nearness(table: Any) -> str:
    found = compared_rows(table)
    if found.empty:
        return ""
    reference, seeds = reference_label(table), int(table["seeds"].max())
    keys = [*CELL, "activation"]
    rows, farther = [], []
    for statistic, title in MAPS:
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
    wide: Any = chosen.pivot(index=[*CELL, "activation"], columns=["statistic", "layer"], values="measured")
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
        "at": " ".join(str(worst[name]) for name in ["activation", *CELL[::-1], "layer"]),
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
