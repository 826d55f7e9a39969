"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from typing import Any

import numpy as np

from analyses.experiments.bias_shift_in_training.settings import setting_of
from analyses.framework.claims import Claim, Decision, decide, paired_differences
from elutheory.output.figures import label_of

_LEVEL = 0.05
_WHERE = "mean over measured updates and hidden layers above the first"


def _claim(statistic: str, sentence: str, described: str, alternative: Any, pair: str = "ELU − ReLU") -> Claim:
    return Claim(statistic, sentence, pair, f"{described}, {_WHERE}", alternative, _LEVEL)


CLAIMS = (
    _claim("mean_share", "ELU's incoming activations have less of a mean.", "mean share", "less"),
    _claim("cosine", "ELU's gradient is closer to the unit natural gradient.", "cosine", "greater"),
    _claim("shift_share", "Less of an update's effect is bias shift with ELU.", "shift's share of the effect", "less"),
    _claim("below", "Layers below shift ELU's units less.", "ln |shift from below|", "less"),
    _claim("removed", "The correction removes less of ELU's bias shift.", "part removed by B3", "less"),
    _claim("sign_changes", "ELU's unit means oscillate less.", "share of sign changes", "less"),
    _claim(
        "shift_share, normalised",
        "Batch normalisation lowers the bias shift that ReLUs receive.",
        "shift's share of the effect",
        "less",
        "ReLU with batch normalisation − ReLU",
    ),
)
"""Fixed before measuring; paired by seed. Rates are equal, so sizes of shifts differ with the gradients' sizes too; the
shares and the cosine do not depend on them."""


def run_statistics(table: Any) -> Any:
    """One row per activation, normalisation and seed: means over measured updates and hidden layers above the first.

    `below` is averaged as a logarithm. A run without a number (diverged, or all units of a layer dead) counts as worst:
    −inf for the cosine and inf else.
    """
    used = table[table["layer"] > 1].assign(below=lambda rows: np.log(rows["below"]))
    columns = list(_AVERAGED)
    runs: Any = used.groupby(["activation", "batch_norm", "seed"], sort=False)[columns]
    means = runs.agg(lambda values: values.mean(skipna=False)).reset_index()
    worst = {name: -np.inf if name == "cosine" else np.inf for name in columns}
    return means.fillna(worst)


_AVERAGED = {
    "mean_share": "mean share of incoming activations",
    "shift_share": "shift's share of an update's effect",
    "below": "ln |shift from below|, in deviations",
    "explained": "explained by own weights",
    "gradient_share": "shift's share of a step: gradient",
    "share_without": "  natural gradient, no coupling",
    "share_with": "  unit natural gradient",
    "removed": "part of the shift removed by B3",
    "cosine": "cosine with unit natural gradient",
    "sign_changes": "share of sign changes",
}


def decisions(table: Any) -> list[Decision]:
    """The verdicts of CLAIMS, if ELU and ReLU were run."""
    if not {"elu", "relu"} <= set(table["activation"]):
        return []
    runs = run_statistics(table)
    runs["run"] = runs["activation"] + np.where(runs["batch_norm"], ", normalised", "")
    differences = {}
    for claim in CLAIMS:
        statistic, _, arm = claim.identifier.partition(", ")
        first, second = ("relu, normalised", "relu") if arm else ("elu", "relu")
        differences[claim.identifier] = paired_differences(runs, statistic, first, second, by="run")
    return decide(CLAIMS, differences)


def summary(table: Any) -> str:
    """The identity, means over seeds, and the verdicts."""
    runs = run_statistics(table)
    means = runs.groupby(["batch_norm", "activation"], sort=False)[list(_AVERAGED)].mean().T
    means.index = [_AVERAGED[str(name)] for name in means.index]
    means.columns = [f"{label_of(name)}{', BN' if normalised else ''}" for normalised, name in means.columns]
    diverged = table[table["loss"].isna() | table["change"].isna()].groupby(["activation", "batch_norm"])["seed"]
    return "\n".join(
        [
            setting_of(table),
            "",
            "Of an update of one layer alone, the change of the mean net input less E_p[a]·Δw + Δw0 (B2, exact) is at "
            f"most {table['identity_error'].max():.1e} standard deviations of the net input.",
            "",
            f"{_WHERE}, then over seeds (BN: batch normalisation)",
            means.to_string(float_format="%.3f"),
            "",
            *[f"{seeds.nunique()} runs diverged: {name}" for name, seeds in diverged],
            *[str(decision) for decision in decisions(table)],
        ]
    )
