"""What the table says, in words: how much the closure leaves unexplained, and where it fails."""

from typing import Any

import pandas

from analyses.experiments.gaussian_closure.settings import deepest_layer
from elutheory.output.figures import label_of


def summary(table: pandas.DataFrame) -> str:
    """What is left unexplained at the first and the last epoch, means over seeds, and where the closure fails."""
    rows: Any = table
    deepest, last = deepest_layer(rows), rows["epoch"].max()
    keys = ["activation", "epoch", "layer"]
    columns = ["unexplained", "unexplained_corrected", "variance_unexplained", "skewness_size", "excess_kurtosis"]
    chosen = rows[rows["epoch"].isin([0, last]) & rows["layer"].isin([1, deepest])]
    shown = chosen.groupby(keys, sort=False)[columns].mean().reset_index()
    lines = [shown.to_string(index=False, float_format="%.2g"), ""]
    lines += [_diverged_line(run) for _, run in rows[rows["diverged"].notna()].groupby(["activation", "seed"])]
    measured = rows[rows["diverged"].isna()]
    if measured.empty:
        return "\n".join([*lines, "No run has numbers: all diverged."])
    for quantity, column in (("means", "unexplained"), ("variances", "variance_unexplained")):
        found = measured.groupby(keys, sort=False)[column].mean().reset_index().dropna()
        worst = found.loc[found[column].idxmax()]
        lines.append(
            f"Unit {quantity}: {_percent(found[column].median())} of the variance between units is unexplained (median "
            f"over activations, epochs and layers); most, {_percent(worst[column])}, in layer {worst['layer']} of "
            f"{label_of(worst['activation'])} at epoch {worst['epoch']}."
        )
    by_unit, wide = (
        ((measured[column] - measured["mean"]).abs() / measured["spread"]).median()
        for column in ("mean_predicted", "mean_layer_wide")
    )
    lines.append(
        f"Layer means: off by {_percent(by_unit)} of the spread of the unit means with M3 unit by unit, by "
        f"{_percent(wide)} with one Gaussian a layer (medians)."
    )
    left = (measured["unexplained_corrected"] / measured["unexplained"]).median()
    worse = (measured["unexplained_corrected"] > measured["unexplained"]).mean()
    lines.append(
        f"Skewness and excess kurtosis leave {_percent(left)} of what M3 leaves (median); they make it worse in "
        f"{_percent(worse)} of the layers measured."
    )
    return "\n".join(lines)


def _diverged_line(run: Any) -> str:
    first = run.iloc[0]
    return f"{label_of(first['activation'])}, seed {first['seed']}: diverged by epoch {first['diverged']:.0f}."


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
