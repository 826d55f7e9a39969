"""Every deciding test once more, from the committed tables by pandas and scipy alone: nothing of the analyses is used.

Differences are formed here from the columns' own words; p is scipy's exact Wilcoxon test, the effect the median of the
means of all two differences, written out. The ledger's effect and p must be these, and its verdict what they say.
"""

from collections.abc import Callable
from itertools import combinations_with_replacement, product
from statistics import median
from typing import Any

import numpy as np
import pandas
import pytest
from scipy.stats import rankdata, wilcoxon

from analyses.report.abstract_claims import CLAIMS
from tests.analyses.report.committed import FIGURES, committed_ledger


def table(name: str) -> Any:
    return pandas.read_csv(FIGURES / name / "records.csv", low_memory=False)


def by_seed(rows: Any, column: str, across: Any = "activation") -> Any:
    """Mean over all other columns; one row per seed."""
    return rows.groupby(["seed", across])[column].mean().unstack(across)


def dose_response(identifier: str) -> Any:
    rows = table("dose_response").query("role == 'tuned'")
    rows = rows.assign(log=np.log(rows["updates_to_0.1"].fillna(rows["updates"])))
    if identifier == "gap":
        found = by_seed(rows[rows["dose"] == 0], "log")
        return found["elu"] - found["relu"]
    of_dose = by_seed(rows[rows["activation"] == identifier.removeprefix("tuned: ")], "log", "dose")
    return np.polyfit(of_dose.columns.to_numpy(float), of_dose.to_numpy().T, 1)[0]


def causal_claim(_: str) -> Any:
    rows = table("causal_claim").query("role == 'tuned'")
    rows = rows.assign(log=np.log(rows["updates_to_0.1"].fillna(rows["updates"])))
    means = by_seed(rows, "log", "method")
    return means["centring"] - means[["bias-shift term", "unit natural gradient"]].max(axis=1) + 0.05


def depth(identifier: str) -> Any:
    """A diverged network is worse than any other; where both sides have lost one, nobody leads: as the claim says."""
    rows = table("depth").query("use == 'comparison'")
    rows = rows.assign(test_error=rows["test_error"].where(rows["diverged"].isna(), np.inf))
    what, rival = identifier.split(": ")
    errors = {layers: by_seed(of, "test_error") for layers, of in rows.groupby("depth")}
    least = {"all": 0, "above 5": 5}[what]
    with np.errstate(invalid="ignore"):
        leads = [
            np.nan_to_num(100 * (of[rival] - of["elu"]), nan=0.0, posinf=np.inf, neginf=-np.inf)
            for layers, of in errors.items()
            if layers > least
        ]
        return np.nan_to_num(np.mean(leads, axis=0), nan=0.0, posinf=np.inf, neginf=-np.inf)


def vanishing_gradient(identifier: str) -> Any:
    rows = table("vanishing_gradient").query("kind == 'network' and initialisation == 'he'")
    found = by_seed(rows, "rate")
    return found["elu"] - found["tanh" if "tanh" in identifier else "logistic"]


def bias_shift_in_training(_: str) -> Any:
    rows = table("bias_shift_in_training").query("layer > 1 and not batch_norm")
    found = by_seed(rows, "mean_share")
    return found["elu"] - found["relu"]


def footprint(identifier: str) -> Any:
    network = {"E2": "fully_connected", "E4": "convolutional"}[identifier[-2:]]
    rows = table("footprint").query(f"network == '{network}' and quantity == 'seconds' and layer == 0")
    steps = rows[rows["part"].isin(["forward", "backward", "update"])]
    found = np.log(steps.groupby(["seed", "variant"])["value"].sum().unstack("variant"))
    return found["elu"] - found["relu_batch_norm"]


def bias_shift_term(identifier: str) -> Any:
    rows = table("bias_shift_term").query("damping == 0")
    if identifier == "identity":
        return np.log10(rows.groupby("seed")["deviation"].max())
    return by_seed(rows.query("t == 1"), "near_incoming").min(axis=1) - 0.5


def deactivation(identifier: str) -> Any:
    rows = table("deactivation").query("part == 'layer'")

    def of(state: str, column: str) -> Any:
        return rows[rows["state"] == state].set_index(["activation", "seed", "layer"])[column]

    def compared(values: Any) -> Any:
        found = values.groupby(["seed", "activation"]).mean().unstack("activation")
        return found["elu"] - found["leaky_relu(0.1)"]

    if identifier == "saturation":
        return (of("off", "unit_gain") / of("on", "unit_gain"))["elu"].groupby("seed").mean() - 1
    if identifier == "presence":
        return (of("on", "information") - of("off", "information"))["elu"].groupby("seed").mean()
    if identifier.startswith("interference"):
        return compared(of("off", "next_share"))
    return compared(of("deep", "unit_gain") / of("on", "unit_gain"))


def exact_p(differences: Any) -> float:
    """By scipy's table, or where sizes are tied or 0, which it does not know, over all signs; zeros after Pratt."""
    if len(np.unique(np.abs(differences))) == len(differences) and (differences != 0).all():
        return float(wilcoxon(differences, method="exact").pvalue)
    ranks = rankdata(np.abs(differences)) * (differences != 0)
    sums = np.abs(np.array([*product((-1.0, 1.0), repeat=len(ranks))]) @ ranks)
    return float((sums >= abs(np.sign(differences) @ ranks) - 1e-9).mean())


ROUTES: dict[str, Callable[[str], Any]] = {
    "dose_response": dose_response,
    "causal_claim": causal_claim,
    "depth": depth,
    "vanishing_gradient": vanishing_gradient,
    "bias_shift_in_training": bias_shift_in_training,
    "footprint": footprint,
    "bias_shift_term": bias_shift_term,
    "deactivation": deactivation,
}
DECIDING = sorted(
    {(claim.deciding.record, name) for claim in CLAIMS if claim.deciding for name in claim.deciding.cases}
)


@pytest.mark.parametrize(("record", "identifier"), DECIDING)
def test_effect_p_and_verdict_again(record: str, identifier: str) -> None:
    rows = committed_ledger()
    if not (FIGURES / record / "records.csv").exists():
        without = [row for row in rows if any(test.analysis == record for test in row.deciding)]
        assert all(row.verdict == "not tested" for row in without)
        pytest.skip(f"there is no record {record} yet")
    differences = np.asarray(ROUTES[record](identifier), dtype=float)
    (test, *_) = [one for row in rows for one in row.deciding if (one.analysis, one.identifier) == (record, identifier)]
    pairs = [(first + second) / 2 for first, second in combinations_with_replacement(differences.tolist(), 2)]
    estimate = median(0.0 if np.isnan(mean) else mean for mean in pairs)  # of inf and −inf
    assert test.effect == pytest.approx(estimate, rel=1e-9, abs=1e-12)
    assert test.sample_size == len(differences)
    assert test.agreeing == (np.sign(differences) == np.sign(estimate)).sum()
    largest = np.abs(differences[np.isfinite(differences)]).max()
    ranked = np.clip(differences, -2 * largest, 2 * largest)  # a lost one has the largest rank
    assert test.p == pytest.approx(exact_p(ranked), rel=1e-6, abs=1e-15)
    if test.verdict == "holds":
        assert test.p <= 0.05
        assert not test.low < 0 < test.high
    assert test.low <= estimate <= test.high
