"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from typing import Any

import numpy as np
import pandas

from analyses.experiments.median_variance.settings import setting_of
from analyses.framework.claims import Claim, Decision, decide, paired_differences
from elutheory.output.figures import label_of

_LEVEL = 0.05
_DIFFERENCE = "ReLU − ELU"
CLAIMS = (
    Claim(
        "variance",
        "The median activations of ReLUs vary more over the epochs than those of ELUs.",
        _DIFFERENCE,
        "ln of the mean over units of the variance",
        "greater",
        _LEVEL,
    ),
    Claim(
        "change_variance",
        "The changes of ReLUs' median activations vary more over the epochs than those of ELUs'.",
        _DIFFERENCE,
        "ln of the mean over units of the variance",
        "greater",
        _LEVEL,
    ),
    Claim(
        "relative_variance",
        "So do ReLUs' median activations relative to the units' variance over examples.",
        _DIFFERENCE,
        "ln of the mean variance over epochs / the mean variance over examples",
        "greater",
        _LEVEL,
    ),
    Claim(
        "relative_net_variance",
        "So do the median net inputs, relative to their variance over examples.",
        _DIFFERENCE,
        "ln of the mean variance over epochs / the mean variance over examples",
        "greater",
        _LEVEL,
    ),
    Claim(
        "typical_variance",
        "So does the median activation of the typical ReLU, the layer's median unit.",
        _DIFFERENCE,
        "median over a layer's units of the variance, averaged over the layers",
        "greater",
        _LEVEL,
    ),
)
"""Fixed before the records. The first two are the paper's, of its caption and its text; the others vary the measure."""


def run_statistics(table: Any) -> Any:
    """One row per activation and seed, with the numbers that the claims compare; inf for a run that diverged."""
    layers = table.groupby(["activation", "seed", "quantity"])[["mean", "q50"]].mean().unstack("quantity")
    mean = layers["mean"]
    runs = pandas.DataFrame(
        {
            "variance": np.log(mean["variance"]),
            "change_variance": np.log(mean["change_variance"]),
            "relative_variance": np.log(mean["variance"] / mean["activation_variance"]),
            "relative_net_variance": np.log(mean["net_variance"] / mean["net_input_variance"]),
            "typical_variance": layers["q50"]["variance"],
        }
    )
    return runs.fillna(np.inf).reset_index()


def decisions(table: Any) -> list[Decision]:
    """The verdicts of CLAIMS."""
    runs = run_statistics(table)
    return decide(CLAIMS, {c.identifier: paired_differences(runs, c.identifier, "relu", "elu") for c in CLAIMS})


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
    freed = [verdicts[name] for name in ("relative_variance", "relative_net_variance")]
    same = all(verdict == verdicts["variance"] for verdict in freed)
    dependence = "does not depend" if same else "depends"
    ratios = [f"{np.exp(d.effect):.3g} [{np.exp(d.low):.3g}, {np.exp(d.high):.3g}]" for d in found[:4]]
    return "\n".join(
        [
            setting_of(table),
            means.to_string(float_format="%.3g"),
            f"units whose median never moves: {100 * still['elu']:.3g} % of ELUs, {100 * still['relu']:.3g} % of ReLUs",
            *(f"{count} runs of {label_of(str(name))} diverged" for name, count in lost.items()),
            *(str(decision) for decision in found),
            f"ReLU / ELU: {ratios[0]}; of the changes {ratios[1]}; relative {ratios[2]}; of net inputs {ratios[3]}",
            f"the paper's verdict {dependence} on whether variances are taken relative to the units' own",
        ]
    )
