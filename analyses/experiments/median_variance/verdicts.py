"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from typing import Any

import numpy as np
import pandas

from analyses.experiments.median_variance.settings import setting_of
from analyses.framework.claims import Claim, Decision, decide, paired_differences, without_learning
from analyses.networks.classifiers import BEATEN
from elutheory.output.figures import label_of

_LEVEL = 0.05
_DIFFERENCE = "ReLU − ELU"
_TINY = float(np.finfo(np.float32).tiny)
DECIDING = "relative_variance"


def _claim(identifier: str, sentence: str, described: str) -> Claim:
    return Claim(identifier, sentence, _DIFFERENCE, f"ln of the {described}", "greater", _LEVEL, test="t")


CLAIMS = (
    _claim(
        DECIDING,
        "Relative to the units' variance over examples, ReLUs' medians vary more over the epochs than ELUs'.",
        "mean variance over epochs / the mean variance over examples",
    ),
    _claim(
        "relative_net_variance",
        "So do the median net inputs, relative to their variance over examples.",
        "mean variance over epochs / the mean variance over examples",
    ),
    _claim(
        "typical_variance",
        "So does the median activation of the typical ReLU, the layer's median unit, relative to its variance.",
        "median over a layer's units of the relative variance, averaged over the layers",
    ),
    _claim(
        "variance",
        "The median activations of ReLUs vary more over the epochs than those of ELUs, in their own scales.",
        "mean over units of the variance",
    ),
    _claim(
        "change_variance",
        "The changes of ReLUs' median activations vary more over the epochs than those of ELUs'.",
        "mean over units of the variance",
    ),
)
"""Fixed before the records; the first one decides. The last two are the paper's, of its caption and its text: they
depend on how large an activation's values are. With five networks of each kind the t test can decide."""


def run_statistics(table: Any) -> Any:
    """One row per activation and seed, with the numbers that the claims compare; NaN for a run that diverged.

    `learned`: whether its training loss beat that of a constant output; NaN if it diverged or nothing is known.
    """
    layers = table.groupby(["activation", "seed", "quantity"])[["mean", "q50"]].mean().unstack("quantity")
    mean = layers["mean"]
    ratios = {
        "relative_variance": mean["variance"] / mean["activation_variance"].clip(lower=_TINY),
        "relative_net_variance": mean["net_variance"] / mean["net_input_variance"].clip(lower=_TINY),
        "typical_variance": layers["q50"]["relative_variance"],
        "variance": mean["variance"],
        "change_variance": mean["change_variance"],
    }
    runs = pandas.DataFrame({name: np.log(values.clip(lower=_TINY)) for name, values in ratios.items()})
    if "chance_loss" in table:
        of_run = table.groupby(["activation", "seed"])[["training_loss", "chance_loss"]].first()
        learned = (of_run["training_loss"] < BEATEN * of_run["chance_loss"]).astype(float)
        runs["learned"] = learned.where(of_run["training_loss"].notna())
    return runs.reset_index()


def decisions(table: Any) -> list[Decision]:
    """The verdicts of CLAIMS; pairs of which a run diverged are left out. None where no pair is left."""
    runs = run_statistics(table)
    kept = runs[
        runs.groupby("seed")["variance"].transform("count") == runs.groupby("seed")["variance"].transform("size")
    ]
    if kept.empty:
        return []
    found = decide(CLAIMS, {c.identifier: paired_differences(kept, c.identifier, "relu", "elu") for c in CLAIMS})
    lazy = "learned" in kept and bool((kept.groupby("activation")["learned"].mean() < 0.5).any())
    return [without_learning(one) for one in found] if lazy else found


def finding(table: Any) -> str:
    """What the record says, in a sentence."""
    found = {one.claim.identifier: one for one in decisions(table)}
    if not found:
        return "All pairs of networks have one that diverged."
    if found[DECIDING].verdict == "not trained":
        return "Not trained: no verdict on how much the medians move."
    relative, raw = (_times(found[name]) for name in (DECIDING, "variance"))
    return (
        f"Over training ReLUs' medians vary {relative} as much as ELUs' relative to the units' variance over examples, "
        f"{raw} in their own scales."
    )


def _times(decision: Decision) -> str:
    times, low, high = (np.exp(value) for value in (decision.effect, decision.low, decision.high))
    return f"{times:.2g} times" + (f" [{low:.2g}, {high:.2g}]" if np.isfinite(high) else "")


def summary(table: Any) -> str:
    """Layer means of the quantities, the verdicts, and whether the paper's claim depends on the scale."""
    means = table.pivot_table(
        index=["quantity", "layer"], columns="activation", values="mean", sort=False, dropna=False
    )
    means["ratio"] = means["relu"] / means["elu"]
    still = table[table["quantity"] == "variance"].groupby("activation")["still"].mean()
    lost = table[table["diverged"].notna()].groupby("activation")["seed"].nunique()
    found = decisions(table)
    verdicts = {decision.claim.identifier: decision.verdict for decision in found}
    freed = [verdicts.get(name) for name in ("relative_variance", "relative_net_variance")]
    same = all(verdict == verdicts.get("variance") for verdict in freed)
    dependence = "does not depend" if same else "depends"
    return "\n".join(
        [
            setting_of(table),
            means.to_string(float_format="%.3g"),
            f"units whose median never moves: {100 * still['elu']:.3g} % of ELUs, {100 * still['relu']:.3g} % of ReLUs",
            *(
                f"{count} runs of {label_of(str(name))} diverged; their pairs are left out"
                for name, count in lost.items()
            ),
            *(str(decision) for decision in found),
            finding(table),
            f"the paper's verdict {dependence} on whether variances are taken relative to the units' own",
        ]
    )
