"""Which learning rate is the best of the tuning runs, for every activation and method."""

from typing import Any

import numpy as np

from analyses.experiments.causal_claim.settings import ROUNDING


def tuning_losses(tuning: Any) -> Any:
    """One row per activation, method and learning rate, means over epochs and seeds: `validation`, ln of the lowest
    validation loss so far, and `training`, ln of the training loss; inf where a run diverged."""
    runs = ["activation", "method", "learning_rate", "seed"]
    rows = tuning[(tuning["role"] == "tuning") & (tuning["epoch"] > 0)].copy()
    rows["validation"] = np.log(rows.groupby(runs)["validation_loss"].cummin())
    rows["training"] = np.log(rows["train_loss"].clip(lower=ROUNDING))
    found: Any = rows.groupby(runs[:3], sort=False)[["validation", "training"]]
    return found.agg(lambda values: values.mean(skipna=False)).fillna(np.inf).reset_index()


def tuned_rates(tuning: Any, by: str) -> dict[tuple[str, str], float]:
    """By activation and method, the learning rate of the lowest of `tuning_losses`, of "validation" or of "training";
    none where all diverged."""
    losses = tuning_losses(tuning)
    best = losses[np.isfinite(losses[by])].sort_values(by, kind="stable")
    best = best.drop_duplicates(["activation", "method"])
    return dict(zip(zip(best["activation"], best["method"], strict=True), best["learning_rate"], strict=True))
