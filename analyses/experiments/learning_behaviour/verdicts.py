"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from typing import Any

import numpy as np
import torch

from analyses.experiments.learning_behaviour.settings import setting_of
from analyses.framework.claims import Claim, Decision, decide, paired_differences
from elutheory.output.figures import label_of

_LEVEL = 0.05
_ROUNDING = torch.finfo(torch.float32).eps  # a smaller loss is taken for it
_STATISTICS = {
    "distance": "|median unit mean|, averaged over the epochs",
    "log_training_loss": "ln training loss, averaged over the epochs",
    "last_training_loss": "training loss after the last epoch",
    "lowest_validation_loss": "lowest validation loss of all epochs",
}
_SENTENCES = {
    "distance": "ELU's median unit mean stays nearer zero than {}'s.",
    "log_training_loss": "ELU's training loss falls faster than {}'s.",
    "last_training_loss": "ELU ends at a lower training loss than {}.",
    "lowest_validation_loss": "ELU reaches a lower validation loss than {}.",
}
_RIVALS = ("relu", "leaky_relu")
CLAIMS = tuple(
    Claim(
        f"{statistic}: {rival}", sentence.format(label_of(rival)), f"ELU − {label_of(rival)}", described, "less", _LEVEL
    )
    for (statistic, described), sentence in zip(_STATISTICS.items(), _SENTENCES.values(), strict=True)
    for rival in _RIVALS
)
"""Fixed before the records: the paper's words on figure 2, made numbers in the ways that they leave open."""


def run_statistics(table: Any) -> Any:
    """One row per activation and seed, with the numbers that the claims compare; inf for a run that diverged."""
    trained = table[table["epoch"] > 0].assign(
        distance=lambda runs: runs["unit_mean_median"].abs(),
        log_training_loss=lambda runs: np.log(np.maximum(runs["training_loss"], _ROUNDING)),
        last_training_loss=lambda runs: runs["training_loss"].where(runs["epoch"] == runs["epoch"].max()),
        lowest_validation_loss=lambda runs: runs["validation_loss"],
    )
    aggregated = {"distance": "mean", "log_training_loss": "mean"}
    aggregated |= {"last_training_loss": "max", "lowest_validation_loss": "min"}
    runs = trained.groupby(["activation", "seed"], sort=False).agg({**aggregated, "diverged": "max"}).reset_index()
    runs.loc[runs["diverged"].notna(), list(aggregated)] = np.inf
    return runs.drop(columns="diverged")


def decisions(table: Any) -> list[Decision]:
    """The verdicts of CLAIMS, but of those about activations that were not run."""
    runs = run_statistics(table)
    there = set(runs["activation"])
    claims = [claim for claim in CLAIMS if {"elu", _rival(claim)} <= there]
    differences = {
        claim.identifier: paired_differences(runs, claim.identifier.partition(":")[0], "elu", _rival(claim))
        for claim in claims
    }
    return decide(claims, differences) if claims else []


def _rival(claim: Claim) -> str:
    return claim.identifier.partition(": ")[2]


def summary(table: Any) -> str:
    """Predicted and measured medians before training, the statistics of the runs, and the verdicts."""
    lines = [setting_of(table), "", "median unit mean before training: P2's prediction [band of a network], measured"]
    for name, start in table[table["epoch"] == 0].groupby("activation", sort=False):
        measured = start["unit_mean_median"]
        value, low, high = start[["predicted", "predicted_low", "predicted_high"]].iloc[0]
        inside = int(measured.between(low, high).sum())
        lines.append(
            f"  {label_of(str(name))}: {value:.3f} [{low:.3f}, {high:.3f}], measured {measured.mean():.3f} "
            f"± {measured.std():.3f}, {inside} of {len(measured)} networks in the band"
        )
    runs = run_statistics(table).groupby("activation", sort=False)
    diverged = {str(name): int(np.isinf(found["distance"]).sum()) for name, found in runs}
    means = runs[list(_STATISTICS)].mean()
    shifts = (f"{label_of(name)} {start:.3f} to {end:.3f}" for name, start, end in _shifts(table))
    lines += [
        "",
        f"mean over seeds of the median unit mean, before training and after the last epoch: {'; '.join(shifts)}",
    ]
    lines += ["", "means over seeds", means.to_string(float_format="%.4g"), ""]
    lines += [f"{count} runs of {label_of(name)} diverged" for name, count in diverged.items() if count]
    lines += [str(decision) for decision in decisions(table)]
    return "\n".join(lines)


def _shifts(table: Any) -> list[tuple[str, float, float]]:
    """Activation, mean over seeds of its median unit mean before training and at the end."""
    means = table.groupby(["activation", "epoch"], sort=False)["unit_mean_median"].mean().unstack("epoch")
    return [(str(name), row.iloc[0], row.iloc[-1]) for name, row in means.iterrows()]
