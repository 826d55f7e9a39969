"""The claims, fixed before measuring, their verdicts from the table, and the summary in words.

With five networks of each activation a signed-rank test cannot reach 0.05, so that the differences of logarithms, of
shares and of points are decided by the t test (`analyses.framework.claims`), all of them together at one level.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas
import torch

from analyses.experiments.learning_behaviour.settings import LOSSES, setting_of, whole_networks
from analyses.framework.claims import Claim, Decision, decide, paired_differences, without_learning
from analyses.framework.rates import place_of
from analyses.networks.classifiers import BEATEN
from elutheory.output.figures import label_of

LEVEL = 0.05
PAIR = ("relu", "leaky_relu")
"""The two that ELU stands beside in the paper's figure 2."""
RIVALS = (*PAIR, "shifted_relu")
DECIDING = "falls fastest"
"""The claim that a reader of the figure means."""
_LOSSES_IN_WORDS = ", ".join(f"{loss:g}" for loss in LOSSES)
_EPOCHS = f"ln epochs to a training loss, mean over {_LOSSES_IN_WORDS} nats (all epochs where not reached)"
_ROUNDING = torch.finfo(torch.float32).eps  # a smaller loss is taken for it
_LAST = 0.1
"""Share of the epochs, the last ones, over which test errors are averaged."""
STATISTICS = {
    "epochs": ("ELU's training loss falls faster than {}'s.", _EPOCHS),
    "log_training_loss": (
        "ELU's training loss is lower than {}'s over the whole training.",
        "mean ln loss of all epochs",
    ),
    "last_training_loss": ("ELU ends at a lower training loss than {}.", "ln training loss of the last epoch"),
    "lowest_validation_loss": (
        "ELU reaches a lower validation loss than {}.",
        "ln of the lowest validation loss of all epochs",
    ),
    "test_error": (
        "ELU ends at a lower test error than {}.",
        "test error in %, mean over the last tenth of the epochs",
    ),
    "mean_share": (
        "The means' share of ELU's activations is lower than of {}'s.",
        "Σ (E a)²/Σ E a², mean over layers and epochs",
    ),
    "distance": (
        "ELU's median unit mean stays nearer zero than {}'s.",
        "|median unit mean|, in each activation's own scale, mean over the epochs",
    ),
}
"""Sentence and number of the claims about ELU and one other, by what the runs are summed up by."""


def claims(statistics: Collection[str], rivals: Collection[str]) -> list[Claim]:
    """The deciding claim first; then every statistic for every rival; fixed before measuring."""

    def claim(identifier: str, sentence: str, compared: str, described: str) -> Claim:
        return Claim(identifier, sentence, compared, described, "less", LEVEL, test="t")

    found = []
    if set(PAIR) <= set(rivals):
        faster = "ELU − the faster of ReLU and leaky ReLU"
        found.append(claim(DECIDING, "ELU's training loss falls fastest.", faster, _EPOCHS))
    if "relu" in rivals:
        found += [
            claim(
                f"epochs to {loss:g}: relu",
                f"ELU gets to a training loss of {loss:g} nats in fewer epochs than ReLU.",
                "ELU − ReLU",
                "ln epochs (all epochs where not reached)",
            )
            for loss in LOSSES
        ]
    for statistic, (sentence, described) in STATISTICS.items():
        if statistic in statistics:
            found += [
                claim(f"{statistic}: {rival}", sentence.format(label_of(rival)), f"ELU − {label_of(rival)}", described)
                for rival in rivals
            ]
    return found


def run_statistics(table: Any) -> Any:
    """One row per activation and seed: the numbers that the claims compare, `epochs to L` of every loss among them.

    A loss is where ln loss, between the middles of epochs, first passes it (`place_of`), half an epoch at least. A run
    that diverged counts as one that was never trained: it has its numbers before training, and took all epochs.
    `learned`: 1 if it beat a constant output, else 0; NaN if it diverged, or where the record does not know chance.
    """
    rows = whole_networks(table)
    return rows.groupby(["activation", "seed"], sort=False).apply(_of_run, include_groups=False).reset_index()


def _of_run(run: Any) -> Any:
    run = run.sort_values("epoch")
    losses, epochs = run["training_loss"].to_numpy(float), run["epoch"].to_numpy(float)
    diverged = bool(run["diverged"].notna().any())
    kept = run.iloc[:1] if diverged else run.iloc[1:]
    places = np.concatenate([[0.0], epochs[1:] - 0.5])
    reached = {loss: np.nan if diverged else place_of(losses, places, loss) for loss in LOSSES}
    found = {
        f"epochs to {loss:g}": np.log(epochs[-1] if np.isnan(at) else max(at, 0.5)) for loss, at in reached.items()
    }
    last = kept.tail(max(1, round(_LAST * len(kept))))
    found |= {
        "epochs": np.mean(list(found.values())),
        "log_training_loss": np.log(np.maximum(kept["training_loss"], _ROUNDING)).mean(),
        "last_training_loss": np.log(max(kept["training_loss"].iloc[-1], _ROUNDING)),
        "lowest_validation_loss": np.log(max(kept["validation_loss"].min(), _ROUNDING)),
        "distance": kept["unit_mean_median"].abs().mean(),
    }
    if "test_error" in run:
        found |= {"test_error": 100 * last["test_error"].mean(), "mean_share": kept["mean_share"].mean()}
    chance = run["chance_loss"].iloc[0] if "chance_loss" in run else np.nan
    known = not diverged and np.isfinite(chance)
    found["learned"] = float(losses[-1] < BEATEN * chance) if known else np.nan
    return pandas.Series(found)


def crossing_epochs(table: Any, rival: str) -> Any:
    """By seed: the epoch from which on the rival's training loss stays below ELU's; NaN where ELU ends lower."""
    ahead = (training_losses(table, "elu") < training_losses(table, rival)).iloc[1:]
    behind = (~ahead).to_numpy()
    after = behind[::-1].cumprod(axis=0).sum(axis=0)  # epochs at the end without a lead
    return np.where(after > 0, len(behind) - after + 1.0, np.nan)


def training_losses(table: Any, name: str) -> Any:
    """By epoch and seed; infinite once diverged."""
    rows = whole_networks(table)
    losses = rows[rows["activation"] == name].pivot(index="epoch", columns="seed", values="training_loss")
    return losses.fillna(np.inf)


def decisions(table: Any) -> list[Decision]:
    """The verdicts of the claims about the activations and the numbers that the record has."""
    runs = run_statistics(table)
    there = set(runs["activation"])
    if "elu" not in there:
        return []
    rivals = [rival for rival in RIVALS if rival in there]
    about = claims(set(runs.columns), rivals)
    found = decide(about, {claim.identifier: _differences(claim.identifier, runs) for claim in about})
    mostly = runs.groupby("activation")["learned"].mean()
    lazy = {str(name) for name, share in mostly.items() if share < 0.5}
    return [without_learning(one) if lazy & {"elu", *_others(one.claim.identifier)} else one for one in found]


def _others(identifier: str) -> tuple[str, ...]:
    return PAIR if identifier == DECIDING else (identifier.rpartition(": ")[2],)


def _differences(identifier: str, runs: Any) -> Any:
    if identifier == DECIDING:
        return np.maximum(*(paired_differences(runs, "epochs", "elu", rival) for rival in PAIR))
    statistic, _, rival = identifier.rpartition(": ")
    return paired_differences(runs, statistic, "elu", rival)


def finding(table: Any) -> str:
    """What the record says, in a sentence or two."""
    decided = {one.claim.identifier: one for one in decisions(table)}
    if DECIDING not in decided:
        return ""
    found = decided[DECIDING]
    if found.verdict == "not trained":
        return "Not trained: no verdict on how fast the training loss falls."
    share, low, high = (100 * np.exp(value) for value in (found.effect, found.low, found.high))
    interval = f" [{low:.0f}, {high:.0f}]" if np.isfinite(high) else ""
    words = [
        f"ELU needs {share:.0f} %{interval} of the epochs to the same training loss that the faster of ReLU and leaky "
        "ReLU needs"
    ]
    crossed = crossing_epochs(table, "relu")
    later = int(np.isfinite(crossed).sum())
    if later:
        since = f"from epoch {np.nanmedian(crossed):.0f} on"
        words.append(f"ReLU is ahead at the end for {later} of {len(crossed)} seeds, {since}")
    else:
        words.append("ReLU is behind at the end, too")
    return "; ".join(words) + "."


def summary(table: Any) -> str:
    """Predicted and measured medians before training, the statistics of the runs, and the verdicts."""
    rows = whole_networks(table)
    lines = [setting_of(rows), "", "median unit mean before training: P2's prediction [band of a network], measured"]
    for name, start in rows[rows["epoch"] == 0].groupby("activation", sort=False):
        measured = start["unit_mean_median"]
        value, low, high = start[["predicted", "predicted_low", "predicted_high"]].iloc[0]
        inside = int(measured.between(low, high).sum())
        lines.append(
            f"  {label_of(str(name))}: {value:.3f} [{low:.3f}, {high:.3f}], measured {measured.mean():.3f} "
            f"± {measured.std():.3f}, {inside} of {len(measured)} networks in the band"
        )
    runs = run_statistics(table)
    lost = rows.groupby(["activation", "seed"], sort=False)["diverged"].max().notna().groupby("activation", sort=False)
    means = runs.drop(columns="seed").groupby("activation", sort=False).mean()
    shifts = (f"{label_of(name)} {start:.3f} to {end:.3f}" for name, start, end in _shifts(rows))
    lines += [
        "",
        f"mean over seeds of the median unit mean, before training and after the last epoch: {'; '.join(shifts)}",
        "",
        "means over seeds (epochs and losses as natural logarithms)",
        means.T.to_string(float_format="%.4g"),
        "",
    ]
    for rival in (name for name in RIVALS if {"elu", name} <= set(runs["activation"])):
        crossed = crossing_epochs(table, rival)
        ahead = np.isfinite(crossed)
        lines.append(
            f"{label_of(rival)}'s training loss is below ELU's at the end for {ahead.sum()} of {len(crossed)} seeds"
            + (f", from epoch {np.nanmedian(crossed):.0f} on (median)" if ahead.any() else "")
        )
    lines += [f"{count} runs of {label_of(str(name))} diverged" for name, count in lost.sum().items() if count]
    if "test_error" not in rows:
        lines.append("This record was made before test errors and layers were measured.")
    return "\n".join([*lines, finding(table), "", *map(str, decisions(table))])


def _shifts(rows: Any) -> list[tuple[str, float, float]]:
    """Activation, mean over seeds of its median unit mean before training and at the end."""
    means = rows.groupby(["activation", "epoch"], sort=False)["unit_mean_median"].mean().unstack("epoch")
    return [(str(name), row.iloc[0], row.iloc[-1]) for name, row in means.iterrows()]
