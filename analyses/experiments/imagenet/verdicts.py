"""The claim, fixed before measuring, its verdict from the table, and the summary in words."""

from math import log
from typing import Any

import numpy as np

from analyses.experiments.imagenet.settings import setting_of
from analyses.framework.claims import Claim, Decision, decide, paired_differences
from elutheory.output.figures import label_of

LONGER = 0.1
"""Share by which a step with ELUs may take longer than one with ReLUs; the paper's took 5.8 % longer."""
CLAIMS = (
    Claim(
        "step time",
        f"A training step with ELUs takes less than {LONGER:.0%} longer than one with ReLUs.",
        "ELU − ReLU",
        f"ln seconds of a step, less ln {1 + LONGER:g} for ELU",
        "less",
        0.05,
        counted="turns",
    ),
)
"""Fixed before the records."""


def log_ratios(table: Any) -> Any:
    """ln of ELU's seconds over ReLU's, one per turn."""
    seconds = table[table["quantity"] == "seconds"]
    return paired_differences(seconds.assign(value=np.log(seconds["value"])), "value", "elu", "relu")


def decisions(table: Any) -> list[Decision]:
    """The verdict, if both were run."""
    if not {"elu", "relu"} <= set(table["activation"]):
        return []
    return decide(CLAIMS, {"step time": log_ratios(table) - log(1 + LONGER)})


def summary(table: Any) -> str:
    """Every layer's mean and second moment beside M3's, times, and the verdict."""
    lines = [setting_of(table), "", "before training, mean over seeds: measured, M3's (z of the mean over seeds)"]
    statistics = table[table["quantity"] != "seconds"]
    for (name, quantity), rows in statistics.groupby(["activation", "quantity"], sort=False):
        lines.append(f"  {label_of(str(name))}, {str(quantity).replace('_', ' ')}")
        for layer, found in rows.groupby("layer", sort=True):
            spread = found["band"].pow(2).sum() ** 0.5
            z = f" (z {(found['value'] - found['predicted']).sum() / spread:+.1f})" if spread > 0 else ""
            measured, said = found["value"].mean(), found["predicted"].mean()
            lines.append(f"    {layer} ({found['kind'].iloc[0]}): {measured:.4g}, {said:.4g}{z}")
    seconds = table[table["quantity"] == "seconds"].groupby("activation", sort=False)["value"].median()
    lines += ["", "seconds of a training step, median of the turns"]
    lines += [f"  {label_of(str(name))}: {value:.3g}" for name, value in seconds.items()]
    if {"elu", "relu"} <= set(seconds.index):
        ratio = np.exp(np.median(log_ratios(table)))
        lines.append(f"  ELU over ReLU: {ratio:.3f} (the paper: 12.15 over 11.48 hours, 1.058)")
    return "\n".join([*lines, "", *map(str, decisions(table))])
