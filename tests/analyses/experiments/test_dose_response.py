"""The dose-response analysis at a toy size: the cells it measures, claims by hand, record to figure."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas
import pytest

from analyses.experiments import dose_response as analysis
from analyses.experiments.dose_response.settings import ARMS, COLUMNS, OUTCOME
from analyses.experiments.dose_response.verdicts import claims, outcomes, share_closed, slopes
from analyses.framework.rates import best_rate, rate_beyond, tuning_scores
from elutheory.errors import InputError
from tests.analyses.experiments.saved_records import saved_and_drawn

SMALL = analysis.Config(
    activations=("elu", "relu"),
    doses=(-1.0, 0.0, 1.0),
    examples=100,
    layers=2,
    units=6,
    epochs=3,
    learning_rates=(0.5, 1.0, 2.0),
    widenings=1,
    tuning_seeds=1,
    seeds=2,
    draws=2,
)


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return analysis.measure(SMALL)


def test_table_has_every_network_and_pairs_share_their_start(table: pandas.DataFrame) -> None:
    assert list(table.columns) == list(COLUMNS)
    scores = tuning_scores(table, OUTCOME, ARMS)
    assert len(scores) == 6
    for role in ("tuned", "fixed"):
        rows = table[table["role"] == role]
        assert len(rows) == 6 * SMALL.seeds
        starts = rows.groupby(["activation", "seed"])["initial_loss"]
        assert np.allclose(starts.max(), starts.min(), rtol=1e-5)  # the same function at every dose
        chosen = rows.groupby(["activation", "dose"])["learning_rate"].agg(["min", "max"])
        assert (chosen["min"] == chosen["max"]).all()
    tuned = table[table["role"] == "tuned"].groupby(["activation", "dose"])["learning_rate"].first()
    for key, rates in scores.items():
        assert tuned[key] == best_rate(rates)
        assert len(rates) == 3 + (rate_beyond({rate: rates[rate] for rate in SMALL.learning_rates}) is not None)
    shares = table.groupby(["activation", "dose"])["mean_share"].mean()
    for name in SMALL.activations:
        assert shares[name, -1.0] > shares[name, 0.0] > shares[name, 1.0]
        assert shares[name, 1.0] < 1e-10
    assert table.loc[table["role"] == "tuning", "predicted"].isna().all()
    assert not set(table[table["role"] == "tuning"]["seed"]) & set(table[table["role"] == "tuned"]["seed"])


def made(updates: dict[tuple[str, str, float], list[float]]) -> pandas.DataFrame:
    rows = []
    for (role, name, dose), values in updates.items():
        for seed, value in enumerate(values):
            row: dict[str, Any] = dict.fromkeys(COLUMNS, 0.0)
            row |= {"role": role, "activation": name, "dose": dose, "seed": seed, "updates": 1000, "data": "made"}
            rows.append(
                row | {"updates_to_0.1": value, "learning_rate": 0.1, "diverged_update": np.nan, "predicted": np.nan}
            )
    return pandas.DataFrame(rows)


def test_claims_by_hand() -> None:
    """ReLU needs e^−0.4 of the updates per dose, ELU the same at every dose and half of plain ReLU's; none at a fixed
    rate depends on the dose."""
    generator = np.random.default_rng(0)
    noise = np.exp(0.01 * generator.standard_normal((2, 2, 3, 12)))
    updates = {
        (role, name, dose): (
            noise[i, j, k] * (100 if role == "fixed" else 400 * np.exp(-0.4 * dose) if name == "relu" else 200)
        ).tolist()
        for i, role in enumerate(("tuned", "fixed"))
        for j, name in enumerate(("elu", "relu"))
        for k, dose in enumerate((-1.0, 0.0, 1.0))
    }
    table = made(updates)
    found = {decision.claim.identifier: decision for decision in analysis.decisions(table)}
    assert {name: decision.verdict for name, decision in found.items()} == {
        "tuned: elu": "does not hold",
        "tuned: relu": "holds",
        "fixed: elu": "does not hold",
        "fixed: relu": "does not hold",
        "gap": "holds",
        "lead without small mean": "holds",
    }
    assert found["tuned: relu"].effect == pytest.approx(-0.4, abs=0.01)
    closed = share_closed(table)
    assert closed is not None
    assert closed[0] == pytest.approx(0.4 / np.log(2), abs=0.02)
    assert closed[1] < closed[0] < closed[2]
    assert [claim.identifier for claim in claims(["elu", "relu"])] == list(found)


def test_claims_about_predictions_by_hand() -> None:
    """Predicted are ReLU's e^−0.4 a dose, as measured, and none for ELU, where −0.4 are measured; at a fixed rate all
    are alike but for the activation."""
    generator = np.random.default_rng(1)
    measured, predicted = {}, {}
    for role in ("tuned", "fixed"):
        for name, size in (("elu", 200), ("relu", 400)):
            for dose in (-1.0, 0.0, 1.0):
                noise = np.exp(0.01 * generator.standard_normal(12))
                slope = -0.4 if role == "tuned" else 0.0
                measured[role, name, dose] = (noise * size * np.exp(slope * dose)).tolist()
                predicted[role, name, dose] = size * np.exp(slope * dose * (name == "relu"))
    table = made(measured)
    table["predicted"] = [
        predicted[key] for key in table[["role", "activation", "dose"]].itertuples(index=False, name=None)
    ]
    found = {decision.claim.identifier: decision for decision in analysis.decisions(table)}
    assert found["predicted: relu"].verdict == "holds"
    assert found["predicted: elu"].verdict == "does not hold"
    assert found["predicted: elu"].effect == pytest.approx(0.4 - np.log(1.15), abs=0.01)
    assert found["predicted ranks"].pairs == 12
    without = table.assign(predicted=np.nan)
    assert not [one for one in analysis.decisions(without) if one.claim.identifier.startswith("predicted")]
    assert not [
        one for one in analysis.decisions(table.drop(columns="predicted")) if "predicted" in one.claim.identifier
    ]


def test_a_network_that_does_not_get_there_counts_as_all_its_updates() -> None:
    table = made({("tuned", "elu", dose): [value, 10.0] for dose, value in ((-1.0, np.nan), (0.0, 100.0), (1.0, 10.0))})
    found = outcomes(table, "tuned")
    assert np.exp(found["elu", -1.0]).tolist() == pytest.approx([1000.0, 10.0])
    assert slopes(found["elu"]).tolist() == pytest.approx([-np.log(100) / 2, 0.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"doses": (1.0, 2.0)}, "0 among them"),
        ({"doses": (0.0, float("inf"))}, "doses holds inf; a finite number"),
        ({"learning_rates": (0.1, 0.2)}, "give each once, and 3 at least"),
        ({"learning_rates": (0.1, 0.2, 0.5)}, "each must be twice"),
        ({"fixed_rate": 0.0}, "fixed_rate is 0.0; a finite number"),
        ({"layers": 1}, "layers is 1; give 2 or more"),
        ({"activations": ("elu", "nelu")}, "nelu"),
        ({"doses": (0.0, 0.0)}, "give each once"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        analysis.cells(replace(SMALL, **options))


def test_record_gives_the_same_figure_and_summary(table: pandas.DataFrame) -> None:
    again = saved_and_drawn(table, analysis.draw)
    assert "cannot be decided with 2 seeds" in analysis.summary(again)
