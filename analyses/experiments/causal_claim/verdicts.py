"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas
from scipy.stats import bootstrap

from analyses.experiments.causal_claim.settings import CENTRED, CORRECTIONS, METHODS, NATURAL, ROUNDING, SGD, setting_of
from analyses.experiments.causal_claim.tuning import tuned_rates, tuning_losses
from analyses.framework.claims import Claim, Decision, decide, hodges_lehmann, paired_differences
from elutheory.output.figures import label_of

LEVEL = 0.05
MARGIN = 0.1
"""Differences of ln loss that count as none: 10 % of the loss."""
_AREA = "ln training loss, mean over epochs"
_GAP = "(ReLU − ELU) of the " + _AREA
CLAIMS = (
    Claim("premise", "ELU learns faster than ReLU by SGD.", "ELU − ReLU", _AREA, "less", LEVEL, MARGIN),
    Claim(
        "closeness",
        "ELU's gradient is closer to the unit natural gradient.",
        "ELU − ReLU",
        "cosine along SGD, mean over epochs",
        "greater",
        LEVEL,
    ),
    Claim(
        "centring helps ReLU",
        "Zero means speed up ReLU.",
        "ReLU with centring − ReLU by SGD",
        _AREA,
        "less",
        LEVEL,
        MARGIN,
    ),
    *(
        Claim(
            f"closed: {method}",
            f"The gap closes with {method}.",
            f"SGD − {method}",
            _GAP,
            "greater",
            LEVEL,
            MARGIN,
        )
        for method in METHODS[1:]
    ),
    Claim(
        "left over",
        "ReLU stays behind ELU with the unit natural gradient.",
        "ReLU − ELU",
        _AREA,
        "greater",
        LEVEL,
        MARGIN,
    ),
    Claim(
        "mediation",
        "The cosine predicts the decrease of ln loss in the next epoch better than the mean share does.",
        "cosine − mean share",
        "r² across activations and epochs of plain SGD, each epoch's mean taken off",
        "greater",
        LEVEL,
    ),
)
"""Fixed before measuring; paired by seed, decided together. "closed" is also what the method gains ReLU less what it
gains ELU: within ± MARGIN it helps both alike, and below 0 ELU more, which refutes it."""
DECISIVE = ("premise", "closeness", f"closed: {CENTRED}", f"closed: {NATURAL}")
"""The causal claim is supported if all of these hold, refuted if one does not hold, and open otherwise."""


def run_statistics(table: Any) -> Any:
    """One row per activation, method and seed of the test runs: `area` (mean over epochs of ln training loss), `final`
    (of the last epoch), means over epochs of cosine and shares. From where a run diverged its loss counts as the one
    before training, as if it had learned nothing; cosine and shares are those before."""
    runs = ["activation", "method", "seed"]
    rows = table[table["role"] == "test"].copy()
    start = rows["train_loss"].where(rows["epoch"] == 0).groupby([rows[name] for name in runs]).transform("max")
    rows["area"] = np.log(rows["train_loss"].fillna(start).clip(lower=ROUNDING))
    rows["final"] = rows["area"].where(rows["epoch"] == rows["epoch"].max())
    aggregated: Any = {"area": "mean", "final": "max", **dict.fromkeys(CORRECTIONS, "mean")}
    return rows[rows["epoch"] > 0].groupby(runs, sort=False).agg(aggregated).reset_index()


def gaps(table: Any, outcome: str = "area", rival: str = "relu") -> dict[str, Any]:
    """By method, `outcome` of the rival − ELU's, one per seed: above 0 where ELU is ahead."""
    runs = run_statistics(table)
    return {method: paired_differences(runs[runs["method"] == method], outcome, rival, "elu") for method in METHODS}


def predictions(table: Any) -> Any:
    """One row per test run of plain SGD and epoch but the last: cosine, mean share and gradient share after the epoch,
    and `decrease`, of ln training loss in the next, an update; each epoch's and seed's mean over activations taken off.
    Of runs that did not diverge, whose seeds alone are used."""
    rows = table[(table["role"] == "test") & (table["method"] == SGD) & (table["epoch"] > 0)].copy()
    rows = rows[~rows.groupby("seed")["diverged_update"].transform("max").notna()]
    losses = np.log(rows["train_loss"].clip(lower=ROUNDING))
    rows["decrease"] = losses.groupby([rows["activation"], rows["seed"]]).diff(-1)
    rows["decrease"] /= rows["updates"] / rows["epoch"]
    rows = rows[rows["epoch"] < rows["epoch"].max()]
    columns = [*CORRECTIONS, "decrease"]
    rows[columns] -= rows.groupby(["seed", "epoch"])[columns].transform("mean")
    return rows[["activation", "seed", "epoch", *columns]]


def explained(table: Any) -> Any:
    """By seed, r² of each predictor with `decrease`; 0 where either does not vary."""
    squares = {}
    for seed, rows in predictions(table).groupby("seed"):
        products = rows[[*CORRECTIONS, "decrease"]].cov()  # the means are 0
        both = np.diag(products)[:-1] * products.loc["decrease", "decrease"]
        own = products.loc["decrease", list(CORRECTIONS)].to_numpy(float) ** 2
        squares[seed] = np.divide(own, both, out=np.zeros(len(own)), where=both > 0)
    return pandas.DataFrame.from_dict(squares, orient="index", columns=list(CORRECTIONS))


def decisions(table: Any) -> list[Decision]:
    """The verdicts of CLAIMS, if ELU and ReLU were run; without that on mediation if every seed has a diverged run."""
    if not {"elu", "relu"} <= set(table["activation"]):
        return []
    runs, gap, squares = run_statistics(table), gaps(table), explained(table)
    of_relu = runs[runs["activation"] == "relu"]
    differences = {
        "premise": -gap[SGD],
        "closeness": paired_differences(runs[runs["method"] == SGD], "cosine", "elu", "relu"),
        "centring helps ReLU": paired_differences(of_relu, "area", CENTRED, SGD, by="method"),
        **{f"closed: {method}": gap[SGD] - gap[method] for method in METHODS[1:]},
        "left over": gap[NATURAL],
        "mediation": (squares["cosine"] - squares["mean_share"]).to_numpy(),
    }
    return decide([claim for claim in CLAIMS if len(differences[claim.identifier])], differences)


def conclusion(found: Sequence[Decision]) -> str:
    """The rule of DECISIVE in a sentence."""
    verdicts = {decision.claim.identifier: decision.verdict for decision in found}
    decisive = [verdicts.get(identifier) for identifier in DECISIVE]
    described = ", ".join(f"{identifier}: {verdict}" for identifier, verdict in zip(DECISIVE, decisive, strict=True))
    if "does not hold" in decisive:
        return f"The causal claim is refuted here ({described})."
    if all(verdict == "holds" for verdict in decisive):
        return f"The causal claim is supported here ({described})."
    return f"The causal claim stays open here ({described})."


def shares_closed(table: Any, rival: str = "relu") -> Any:
    """By method: 1 − mean gap/mean gap under SGD, with a 95 % interval from resampling the seeds (percentiles)."""
    gap = gaps(table, rival=rival)

    def share(of_sgd: Any, of_method: Any, axis: int = -1) -> Any:
        return 1 - of_method.mean(axis=axis) / of_sgd.mean(axis=axis)

    rows = {}
    for method in METHODS[1:]:
        pair = (gap[SGD], gap[method])
        low, high = np.nan, np.nan
        if len(gap[SGD]) > 1:
            low, high = bootstrap(pair, share, paired=True, method="percentile", rng=0).confidence_interval
        rows[method] = (share(*pair), low, high)
    return pandas.DataFrame.from_dict(rows, orient="index", columns=["share", "low", "high"])


def summary(table: Any) -> str:
    """Tuned rates, losses, gaps and shares closed, what predicts the decrease, the verdicts and the conclusion."""
    found = decisions(table)
    runs = run_statistics(table)
    columns = ["area", "final", *CORRECTIONS]
    means: Any = runs.groupby(["method", "activation"], sort=False)[columns].mean()
    by = table["tuned_by"].iloc[0]
    other = "training" if by == "validation" else "validation"
    rates, losses = tuned_rates(table, by), tuning_losses(table)
    means.insert(0, "rate", [rates[name, method] for method, name in means.index])
    edges = {method: set(grid["learning_rate"].agg(["min", "max"])) for method, grid in losses.groupby("method")}
    at_edge = [f"{label_of(name)} by {method}" for (name, method), rate in rates.items() if rate in edges[method]]
    otherwise = [
        f"{label_of(name)} by {method} {rate:g}"
        for (name, method), rate in tuned_rates(table, other).items()
        if rate != rates[name, method]
    ]
    test = table[table["role"] == "test"]
    floored = (test["train_loss"] < ROUNDING).mean()
    diverged = test[test["diverged_update"].notna()].groupby(["activation", "method"])["seed"].nunique()
    lines = [
        setting_of(table),
        "",
        "test runs at the tuned rates, means over seeds (area: mean over epochs of ln training loss; final: the last)",
        means.to_string(float_format="%.4g", na_rep=""),
        f"tuned rates at an end of the grid: {', '.join(at_edge) or 'none'}",
        f"{other} loss would have chosen otherwise: {', '.join(otherwise) or 'none'}",
        f"losses below {ROUNDING:.1e}, taken for it: {100 * floored:.2g} % of epochs",
        *[f"runs of {label_of(name)} by {method} that diverged: {count}" for (name, method), count in diverged.items()],
    ]
    for rival in [name for name in runs["activation"].unique() if name != "elu"] if found else []:
        lines += ["", f"gap of {label_of(rival)} behind ELU, Hodges–Lehmann estimates with 95 % intervals (unadjusted)"]
        closed = shares_closed(table, rival)
        for method, values in gaps(table, rival=rival).items():
            effect, low, high = hodges_lehmann(values, LEVEL)
            last, *_ = hodges_lehmann(gaps(table, "final", rival)[method], LEVEL)
            line = f"  {method}: area {effect:+.3f} [{low:+.3f}, {high:+.3f}], final {last:+.3f}"
            if method != SGD:
                share, low, high = closed.loc[method]
                line += f"; share closed {share:.2f} [{low:.2f}, {high:.2f}]"
            lines.append(line)
    squares = explained(table).median()
    described = ", ".join(f"{name} {square:.2f}" for name, square in squares.items())
    lines += ["", f"r² with the next decrease of ln loss along SGD, median over seeds: {described}", ""]
    return "\n".join([*lines, *[str(decision) for decision in found], *([conclusion(found)] if found else [])])
