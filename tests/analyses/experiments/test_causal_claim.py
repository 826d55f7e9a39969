"""The causal claim: runs of a small size, tuning and verdicts by hand, and that it can come out either way."""

from itertools import product
from typing import Any

import numpy as np
import pandas
import pytest
import torch

from analyses.experiments import causal_claim as analysis
from analyses.experiments.causal_claim import measurement, settings, tuning, verdicts
from elutheory.errors import InputError
from elutheory.output.figures import figure_bytes

SMALL = analysis.Config(
    examples=130,
    layers=2,
    units=6,
    epochs=3,
    learning_rates=(0.1, 1e4),
    natural_learning_rates=(0.004, 0.008),
    measured=50,
    tuning_seeds=1,
    seeds=3,
    seeds_at_once=2,
)
SETTING = {"data": "made", "tuned_by": "validation", "examples": 640, "layers": 2, "units": 6, "batch_size": 64}


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return analysis.measure(SMALL)


def test_runs_are_those_that_were_asked_for(table: pandas.DataFrame) -> None:
    runs = ["role", "activation", "method", "learning_rate", "seed"]
    assert (table.groupby(runs).size() == SMALL.epochs + 1).all()
    counts = table[runs].drop_duplicates().groupby("role").size()
    assert counts["tuning"] == 2 * len(settings.METHODS) * 2
    assert counts["test"] == 2 * len(settings.METHODS) * SMALL.seeds
    seeds = table.groupby("role")["seed"].unique()
    assert not set(seeds["tuning"]) & set(seeds["test"])
    test = table[table["role"] == "test"]
    assert (test.groupby(["activation", "method"])["learning_rate"].nunique() == 1).all()
    assert (test.loc[test["method"] != settings.NATURAL, "learning_rate"] == 0.1).all()  # 1e4 diverges
    assert table["updates"].max() == 9


def test_methods_of_one_seed_start_alike(table: pandas.DataFrame) -> None:
    """Same initial weights: one loss before training, but for batch normalisation's evaluation mode."""
    start = table[(table["epoch"] == 0) & (table["method"] != settings.BATCH_NORM) & (table["role"] == "test")]
    losses = start.groupby(["activation", "seed"])["train_loss"].agg(["min", "max"])
    assert np.allclose(losses["min"], losses["max"], rtol=1e-6)


def test_cosine_and_shares_are_measured_along_plain_sgd_alone(table: pandas.DataFrame) -> None:
    measured = (table["role"] == "test") & (table["method"] == settings.SGD)
    columns = list(settings.CORRECTIONS)
    assert table.loc[measured, columns].notna().all(axis=None)
    assert table.loc[~measured, columns].isna().all(axis=None)
    assert table.loc[measured, columns].stack().between(0, 1).all()


def test_the_same_cells_give_the_same_table(table: pandas.DataFrame) -> None:
    cell = measurement.cells(SMALL)[0]
    again = measurement.measure_cell(SMALL, cell, "cpu")
    pandas.testing.assert_frame_equal(again, table.iloc[: len(again)], check_dtype=False)


def test_figure_and_summary_of_a_measured_table(table: pandas.DataFrame) -> None:
    assert figure_bytes(analysis.draw(table), "svg").startswith(b"<?xml")
    text = analysis.summary(table)
    assert text.count("cannot be decided with 3 seeds") == len(verdicts.CLAIMS)
    assert "The causal claim stays open here" in text


# --- made tables ----------------------------------------------------------------------------------------------------


def made_table(gap: dict[str, float], cosine: float = 0.05, seeds: int = 10) -> pandas.DataFrame:
    """Test runs whose ln loss is −2 for ELU and that of ReLU `gap` above, with differences between seeds."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for method, seed in product(settings.METHODS, range(seeds)):
        noise = 0.02 * rng.standard_normal(2)
        for name, epoch in product(("elu", "relu"), range(4)):
            later = gap[method] * (name == "relu") + noise[int(name == "relu")]
            numbers = {"train_loss": np.exp(1.0 if epoch == 0 else -2.0 + later), "validation_loss": 0.1}
            if method == settings.SGD:
                closer = cosine * (name == "elu")
                numbers |= {"cosine": 0.2 + closer + 0.01 * rng.random(), "mean_share": 0.3 * rng.random()}
                numbers["gradient_share"] = rng.random()
            key = {"role": "test", "activation": name, "method": method, "seed": seed, "epoch": epoch}
            rows.append({**key, "learning_rate": 0.1, "updates": 10 * epoch, "diverged_update": np.nan, **numbers})
    tuned = [{**row, "role": "tuning", "seed": 1_000_000, "cosine": np.nan} for row in rows if row["seed"] == 0]
    return pandas.DataFrame(tuned + rows).assign(**SETTING)


def verdict_by_claim(table: pandas.DataFrame) -> dict[str, str]:
    return {decision.claim.identifier: decision.verdict for decision in analysis.decisions(table)}


def test_it_is_supported_where_correcting_the_gradient_closes_the_gap() -> None:
    gap = {settings.SGD: 1.0, settings.BATCH_NORM: 0.5, settings.CENTRED: 0.2, settings.NATURAL: 0.0}
    table = made_table(gap)
    found = verdict_by_claim(table)
    assert [found[identifier] for identifier in verdicts.DECISIVE] == ["holds"] * 4
    assert found["left over"] == "does not hold"
    assert "supported" in verdicts.conclusion(analysis.decisions(table))
    closed = verdicts.shares_closed(table)
    for method, (share, low, high) in closed.iterrows():
        assert low <= share <= high
        assert share == pytest.approx(1 - gap[str(method)], abs=0.05)


def test_it_is_refuted_where_the_correction_helps_elu_as_much() -> None:
    gap = {settings.SGD: 1.0, settings.BATCH_NORM: 0.0, settings.CENTRED: 1.0, settings.NATURAL: 0.3}
    table = made_table(gap)
    found = verdict_by_claim(table)
    assert found[f"closed: {settings.CENTRED}"] == "does not hold"
    assert found[f"closed: {settings.NATURAL}"] == found["left over"] == "holds"
    assert "refuted" in verdicts.conclusion(analysis.decisions(table))


def test_it_is_refuted_where_the_gradient_is_no_closer_or_elu_no_faster() -> None:
    gap = dict.fromkeys(settings.METHODS, 0.0) | {settings.SGD: 1.0}
    assert verdict_by_claim(made_table(gap, cosine=-0.05))["closeness"] == "does not hold"
    assert verdict_by_claim(made_table(dict.fromkeys(settings.METHODS, 0.0)))["premise"] == "does not hold"


def test_a_diverged_run_counts_as_one_that_learned_nothing_from_there_on() -> None:
    table = made_table(dict.fromkeys(settings.METHODS, 0.0))
    run = (table["activation"] == "relu") & (table["method"] == settings.CENTRED) & (table["seed"] == 3)
    table.loc[run & (table["epoch"] > 1), ["train_loss", "validation_loss"]] = np.nan
    table.loc[run, "diverged_update"] = 17.0
    found = verdicts.run_statistics(table)
    row = found[(found["activation"] == "relu") & (found["method"] == settings.CENTRED) & (found["seed"] == 3)]
    kept = np.log(table.loc[run & (table["epoch"] == 1), "train_loss"].item())
    assert row["area"].item() == pytest.approx((kept + 1.0 + 1.0) / 3)
    assert row["final"].item() == pytest.approx(1.0)
    assert "runs of ReLU by centring that diverged: 1" in analysis.summary(table)


def test_rates_are_tuned_by_the_lowest_validation_loss_so_far_and_never_diverge() -> None:
    """0.1: ln of 0.5, 0.5; 0.2: of 0.8, 0.2, which is less; 0.4 is the lowest until one seed diverges."""
    losses = {0.1: [[0.5, 0.9], [0.5, 0.9]], 0.2: [[0.8, 0.2], [0.8, 0.2]], 0.4: [[0.1, 0.1], [0.1, np.nan]]}
    rows = [
        {"learning_rate": rate, "seed": seed, "epoch": epoch, "validation_loss": loss, "train_loss": rate}
        for rate, of_seeds in losses.items()
        for seed, curve in enumerate(of_seeds)
        for epoch, loss in enumerate([9.0, *curve])
    ]
    tuned = pandas.DataFrame(rows).assign(role="tuning", activation="elu", method=settings.SGD)
    found = tuning.tuning_losses(tuned)["validation"].tolist()
    assert found == pytest.approx([np.log(0.5), np.log(0.4), np.inf])
    assert tuning.tuned_rates(tuned, "validation") == {("elu", settings.SGD): 0.2}
    assert tuning.tuned_rates(tuned, "training") == {("elu", settings.SGD): 0.1}
    with pytest.raises(InputError, match="every run of elu"):
        measurement.test_cells(analysis.Config(activations=("elu",)), tuned[tuned["learning_rate"] == 0.4])


def test_what_predicts_the_decrease_is_found() -> None:
    """Losses made so that each epoch's decrease is the cosine before it, plus a number of the epoch."""
    rng = np.random.default_rng(1)
    rows: list[dict[str, Any]] = []
    for name, seed in product(("elu", "relu", "tanh"), range(2)):
        loss = 0.0
        for epoch in range(1, 7):
            numbers = {"cosine": rng.random(), "mean_share": rng.random(), "gradient_share": rng.random()}
            key = {"activation": name, "seed": seed, "epoch": epoch, "updates": 10 * epoch}
            rows.append({**key, "train_loss": np.exp(loss), **numbers})
            loss -= 10 * (0.1 * numbers["cosine"] + 0.05 * epoch)
    table = pandas.DataFrame(rows).assign(role="test", method=settings.SGD, diverged_update=np.nan)
    found = verdicts.predictions(table)
    assert found["epoch"].max() == 5
    assert np.allclose(found["decrease"], 0.1 * found["cosine"], atol=1e-12)
    squares = verdicts.explained(table)
    assert squares["cosine"].tolist() == pytest.approx([1.0, 1.0])
    assert (squares["mean_share"] < 0.9).all()


def test_principal_components_keep_the_largest_variances() -> None:
    whole, cut = measurement.prepared(analysis.Config()), measurement.prepared(analysis.Config(features=20))
    variances = torch.linalg.svdvals(whole.train.inputs.double()).square() / len(whole.train)
    inputs = cut.train.inputs.double()
    second = inputs.mT @ inputs / len(inputs)
    assert torch.allclose(second, torch.diag(variances[:20]), atol=1e-5)
    assert cut.test.inputs.shape == (len(whole.test), 20)
    with pytest.raises(InputError, match="at most 64"):
        measurement.prepared(analysis.Config(features=65))


@pytest.mark.parametrize(
    "wrong",
    [
        {"layers": 1},
        {"seeds": 0},
        {"examples": -1},
        {"activations": ()},
        {"activations": ("elu", "elu")},
        {"activations": ("elu", "nonsense")},
        {"learning_rates": (0.1,)},
        {"learning_rates": (0.1, 0.0)},
        {"learning_rates": (), "natural_learning_rates": ()},
        {"measured": 1},
    ],
)
def test_bad_configurations_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        measurement.cells(analysis.Config(**{**SMALL.__dict__, **wrong}))
