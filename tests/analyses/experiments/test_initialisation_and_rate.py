"""The analysis of initialisations at a toy size: the networks it trains, claims by hand, record to figure."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas
import pytest
import torch

import elutheory as et
from analyses.experiments import initialisation_and_rate as analysis
from analyses.experiments.initialisation_and_rate.settings import ARMS, COLUMNS, OUTCOME
from analyses.experiments.initialisation_and_rate.verdicts import leads, own_initialisations
from analyses.framework.rates import best_rate, tuning_scores
from analyses.networks.architectures import fully_connected, initialise
from elutheory.errors import InputError
from tests.analyses.experiments.saved_records import saved_and_drawn

SMALL = analysis.Config(
    activations=("elu", "relu"),
    initialisations=("he", "critical"),
    examples=80,
    layers=2,
    units=16,
    epochs=13,
    batch_size=16,
    learning_rates=(0.1, 0.2, 0.4),
    widenings=1,
    fixed_rate=0.2,
    tuning_seeds=1,
    seeds=2,
    draws=2,
)


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return analysis.measure(SMALL)


def test_table_has_every_network_with_its_initialisation(table: pandas.DataFrame) -> None:
    assert list(table.columns) == list(COLUMNS)
    compared = table[table["role"] != "tuning"]
    assert len(compared) == 2 * 4 * SMALL.seeds
    assert set(table[table["role"] == "tuning"]["seed"]).isdisjoint(compared["seed"])
    critical = et.initialisation("critical", "elu")
    rows = table[(table["activation"] == "elu") & (table["initialisation"] == "critical")]
    assert np.allclose(rows["weight_variance"], critical.weight_variance)
    assert np.allclose(rows["bias_variance"], critical.bias_variance)
    scores = tuning_scores(table, OUTCOME, ARMS)
    tuned = table[table["role"] == "tuned"].groupby(list(ARMS))["learning_rate"].first()
    assert all(tuned[arm] == best_rate(rates) for arm, rates in scores.items())


def test_prediction_stands_beside_what_is_measured(table: pandas.DataFrame) -> None:
    """Toy networks of 16 units, within a factor of two and a half; only compared networks have one."""
    both = table.dropna(subset=["predicted", OUTCOME])
    assert len(both) >= 8
    assert (np.log(both[OUTCOME] / both["predicted"]).abs() < np.log(2.5)).all()
    assert table[table["role"] == "tuning"]["predicted"].isna().all()


def test_variances_of_weights_and_biases_are_as_asked() -> None:
    """Of 200 × 300 weights and 300 biases, within 5 standard errors √(2/n); the weights are He's, rescaled."""
    sizes = (200, 300, 300)
    he = initialise(fully_connected(sizes, "elu"), 3)
    other = initialise(fully_connected(sizes, "elu"), 3, weight_variance=1.5, bias_variance=0.25)
    for first, second in zip(he[::2], other[::2], strict=True):  # pyright: ignore[reportIndexIssue]
        assert torch.allclose(second.weight, first.weight * 0.75**0.5, rtol=1e-6)
        assert not first.bias.any()
        biases, weights = second.bias.square().mean().item(), second.weight.square().mean().item()
        assert biases == pytest.approx(0.25, rel=5 * (2 / 300) ** 0.5)
        assert weights * second.in_features == pytest.approx(1.5, rel=5 * (2 / second.weight.numel()) ** 0.5)


def made(updates: dict[tuple[str, str, str], float]) -> pandas.DataFrame:
    """Twelve compared networks of each role, activation and initialisation; one that tunes."""
    generator = np.random.default_rng(0)
    rows = []
    for (role, name, kind), value in updates.items():
        for seed in range(12):
            row: dict[str, Any] = dict.fromkeys(COLUMNS, 0.0)
            row |= {"role": role, "activation": name, "initialisation": kind, "seed": seed, "updates": 1000}
            row |= {OUTCOME: value * np.exp(0.01 * generator.standard_normal()), "learning_rate": 0.1, "data": "made"}
            rows.append(row | {"diverged_update": np.nan, "predicted": value})
        if role == "tuned":
            rows.append(rows[-1] | {"role": "tuning", "seed": 99, OUTCOME: value})
    return pandas.DataFrame(rows)


def test_claims_by_hand() -> None:
    """ELU leads twofold with He at one rate, not at all where each has its own."""
    table = made(
        {
            ("fixed", "elu", "he"): 100,
            ("fixed", "relu", "he"): 200,
            ("tuned", "elu", "he"): 90,
            ("tuned", "relu", "he"): 80,
            ("fixed", "elu", "critical"): 300,
            ("tuned", "elu", "critical"): 80,
        }
    )
    assert own_initialisations(table) == {"elu": "critical", "relu": "he"}
    assert np.exp(leads(table)["own"]).mean() == pytest.approx(1.0, abs=0.02)
    assert {decision.claim.identifier: decision.verdict for decision in analysis.decisions(table)} == {
        "paper": "holds",
        "he tuned": "does not hold",
        "own": "does not hold",
        "partly the rate": "holds",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initialisations": ("their own",)}, "unknown initialisation"),
        ({"activations": ("elu", "elu")}, "give each once"),
        ({"layers": 0}, "layers is 0"),
        ({"learning_rates": (0.1, 0.3, 0.9)}, "each must be twice"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        analysis.cells(replace(SMALL, **options))


def test_record_gives_the_same_figure_and_summary(table: pandas.DataFrame) -> None:
    again = saved_and_drawn(table, analysis.draw)
    assert analysis.summary(again)
