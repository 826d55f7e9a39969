"""Test errors against plain PyTorch, the choice of learning rates, gaps of diverged runs, verdicts, and the figure."""

import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from torch import nn

from analyses.data import datasets
from analyses.experiments import depth as analysis
from analyses.experiments.depth import measurement, verdicts
from analyses.experiments.depth.settings import FIRST_SEED, FIRST_TUNING_SEED
from analyses.framework.rates import best_rate
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.classifiers import classification_data
from analyses.networks.training import Training, batch_order, train
from elutheory.errors import InputError
from elutheory.output.figures import look_of
from tests.analyses.experiments.saved_records import saved_and_drawn

SMALL = analysis.Config(
    activations=("elu", "leaky_relu"),
    depths=(6,),
    units=8,
    epochs=5,
    learning_rates=(0.1, 0.2, 0.4),
    widenings=1,
    tuning_seeds=2,
    batch_size=50,
    examples=300,
    seeds=3,
)


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return analysis.measure(SMALL)


def test_a_row_a_network_and_the_best_rate_lies_inside_or_was_widened(table: pandas.DataFrame) -> None:
    assert list(table.columns) == list(analysis.COLUMNS)
    for _, networks in table.groupby(["activation", "depth"]):
        tuning, compared = networks[networks["use"] == "tuning"], networks[networks["use"] == "comparison"]
        assert set(tuning["seed"]) == {FIRST_TUNING_SEED, FIRST_TUNING_SEED + 1}
        assert compared["seed"].tolist() == [FIRST_SEED, FIRST_SEED + 1, FIRST_SEED + 2]
        rates = sorted(tuning["learning_rate"].unique())
        np.testing.assert_allclose(np.diff(np.log2(rates)), 1.0)
        of_rates = tuning.groupby("learning_rate")
        kept = of_rates["diverged"].count() == of_rates["diverged"].count().min()
        mean = of_rates["validation_error"].mean().round(9)[kept]
        (chosen,) = compared["learning_rate"].unique()
        assert mean[chosen] == mean.min()
        assert len(rates) == 3 + (mean.loc[0.1:0.4].idxmin() != 0.2)
        assert compared["test_error"].notna().all()
        assert compared["validation_error"].isna().all()
        assert (networks["epoch"] == 5).all()


@pytest.mark.parametrize(("name", "function"), [("elu", nn.ELU()), ("leaky_relu", nn.LeakyReLU(0.1))])
def test_errors_are_those_of_a_plain_loop(table: pandas.DataFrame, name: str, function: nn.Module) -> None:
    """6 hidden layers: torch.optim.SGD on nn.Sequential, its rate decayed; rounding may move one example over."""
    (row,) = table.query("activation == @name and depth == 6 and seed == @FIRST_SEED + 1").to_dict("records")
    data = datasets.load("digits").standardised("dataset").flattened().subset(300)
    layers = [layer for sizes in pairwise((64, *[8] * 6, 10)) for layer in (nn.Linear(*sizes), function)]
    network = initialise(nn.Sequential(*layers[:-1]), seed=FIRST_SEED + 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=row["learning_rate"])
    losses: list[float] = []
    update = 0
    for epoch in range(5):
        losses.clear()
        for batch in batch_order(FIRST_SEED + 1, epoch, 300).split(50):
            factor = 1.0 if update < 18 else 0.2 if update < 24 else 0.04  # of 30 updates
            optimizer.param_groups[0]["lr"] = factor * row["learning_rate"]
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(data.train.inputs[batch]), data.train.targets[batch])
            losses.append(loss.item())
            loss.backward()
            optimizer.step()
            update += 1
    with torch.no_grad():
        wrong = (network(data.test.inputs).argmax(1) != data.test.targets).sum().item()
    assert row["training_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert row["test_error"] * len(data.test) == pytest.approx(wrong, abs=1.01)


def test_errors_are_averaged_over_the_last_fifth_of_the_epochs() -> None:
    config = dataclasses.replace(SMALL, epochs=10)
    cell = measurement.Cell("comparison", "elu", 1, 0.1, (FIRST_SEED,))
    (averaged,) = measurement.measure_cell(config, cell, "cpu")["test_error"]
    updates = 6 * 10
    schedule = ((round(0.6 * updates), 0.2), (round(0.8 * updates), 0.04))
    data = classification_data("digits", 300)
    training = Training(10, (FIRST_SEED,), (0.1,), batch_size=50, schedule=schedule, evaluated=("test",))
    curve = train(lambda: fully_connected((64, 8, 10), "elu"), data, training).table
    assert averaged == pytest.approx(1 - curve["test_accuracy"].iloc[-2:].mean())


NAN = float("nan")


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([(0.1, 0.2, 9.0, NAN), (0.1, 0.4, 9.0, NAN), (0.2, 0.2, 1.0, NAN), (0.2, 0.5, 1.0, NAN)], 0.1),
        ([(0.1, 0.1, 0.9, NAN), (0.1, 0.3, 0.9, NAN), (0.05, 0.3, 0.8, NAN), (0.05, 0.1, 0.8, NAN)], 0.05),
        ([(0.1, 0.1, 0.1, NAN), (0.1, NAN, NAN, 7.0), (0.05, 0.9, 2.0, NAN), (0.05, 0.9, 2.0, NAN)], 0.05),
        ([(0.1, NAN, NAN, 3.0), (0.05, NAN, NAN, 5.0)], 0.05),
    ],
    ids=["lower error", "same error, lower loss", "none diverged", "all diverged: the smaller"],
)
def test_best_rate(rows: Any, chosen: float) -> None:
    columns = ["learning_rate", "validation_error", "validation_loss", "diverged"]
    table = pandas.DataFrame(rows, columns=columns).assign(use="tuning", activation="elu", depth=2)
    assert best_rate(measurement.scores(table)["elu", 2]) == chosen


# --- tables made by hand ---------------------------------------------------------------------------------------------


def made(
    errors: dict[tuple[str, int], float], seeds: int = 12, diverged: tuple[Any, ...] = (), rate: float = 0.01
) -> pandas.DataFrame:
    """Test errors plus seed/1000; `diverged`: (activation, depth, seed) triples."""
    described = {"epoch": 3, "data": "digits", "examples": 100, "units": 8, "batch_size": 64, "negative_slope": 0.1}
    described |= {"training_loss": 0.1, "chance_loss": 2.3}
    rows: list[dict[str, Any]] = []
    for (name, depth), error in errors.items():
        rows += [
            {"activation": name, "depth": depth, "use": "tuning", "learning_rate": grid, "seed": 0}
            for grid in (0.1, 0.01, 0.001)
        ]
        for seed in range(1, seeds + 1):
            lost = (name, depth, seed) in diverged
            numbers = {"test_error": NAN if lost else error + seed / 1000, "diverged": 3.0 if lost else NAN}
            key = {"activation": name, "depth": depth, "use": "comparison", "learning_rate": rate, "seed": seed}
            rows.append(key | numbers)
    return pandas.DataFrame(rows).assign(**described).reindex(columns=list(analysis.COLUMNS))


ERRORS = {
    **{("elu", depth): 0.10 for depth in (2, 4, 8, 16)},
    **{("relu", depth): error for depth, error in ((2, 0.10), (4, 0.12), (8, 0.15), (16, 0.21))},
    **{("leaky_relu", depth): error for depth, error in ((2, 0.14), (4, 0.13), (8, 0.12), (16, 0.08))},
}


def test_verdicts_and_effects() -> None:
    """Eight claims; the same sign in all 12 pairs: p = 2⁻¹¹ each, 8 · 2⁻¹¹ of all claims."""
    found = {decision.claim.identifier: decision for decision in analysis.decisions(made(ERRORS))}
    assert {name: decision.verdict for name, decision in found.items()} == {
        "above 5: relu": "holds",
        "above 5: leaky_relu": "undecided",
        "above 4: relu": "holds",
        "above 4: leaky_relu": "undecided",
        "all: relu": "holds",
        "all: leaky_relu": "holds",
        "opening: relu": "holds",
        "opening: leaky_relu": "does not hold",
    }
    assert found["above 5: relu"].effect == found["above 4: relu"].effect == pytest.approx((5 + 11) / 2)
    assert found["above 5: leaky_relu"].effect == pytest.approx(0, abs=1e-9)
    assert found["all: relu"].effect == pytest.approx((0 + 2 + 5 + 11) / 4)
    assert found["opening: relu"].effect == pytest.approx((5 + 11) / 2 - (0 + 2) / 2)
    assert found["all: relu"].adjusted_p == pytest.approx(8 / 2**11)
    assert "+8.00 points [" in analysis.finding(made(ERRORS))


def test_five_layers_count_above_four_only() -> None:
    errors = {("elu", 5): 0.1, ("relu", 5): 0.3, ("elu", 6): 0.1, ("relu", 6): 0.2}
    found = {decision.claim.identifier: decision.effect for decision in analysis.decisions(made(errors))}
    assert found == pytest.approx({"above 5: relu": 10, "above 4: relu": 15, "all: relu": 15})


def test_networks_that_have_not_learned_are_not_trained() -> None:
    table = made(ERRORS)
    table.loc[(table["activation"] == "relu") & (table["depth"] == 16), "training_loss"] = 2.2
    verdicts = {decision.claim.identifier: decision.verdict for decision in analysis.decisions(table)}
    assert {name for name, verdict in verdicts.items() if verdict == "not trained"} == {
        "above 5: relu",
        "above 4: relu",
        "all: relu",
        "opening: relu",
    }
    assert "ReLU, 16 layers: not trained" in analysis.summary(table)
    earlier = analysis.decisions(table.drop(columns="chance_loss"))
    assert "not trained" not in {decision.verdict for decision in earlier}


def test_diverged_networks_count_as_worst() -> None:
    lost = (("relu", 16, 1), ("elu", 8, 2), ("relu", 16, 2), ("elu", 16, 3), ("relu", 16, 3), ("elu", 2, 4))
    table = made(ERRORS, diverged=lost)
    gap = verdicts.gaps(table, "relu")
    assert gap.to_numpy()[:4] == pytest.approx(
        np.array([[0, 2, 5, np.inf], [0, 2, -np.inf, np.inf], [0, 2, 5, 0], [-np.inf, 2, 5, 11]])
    )
    assert verdicts.pooled(gap, "opening").to_numpy()[:5] == pytest.approx(np.array([np.inf, 0, 2.5 - 1, np.inf, 7]))
    assert verdicts.pooled(gap, "above 5").to_numpy()[:4] == pytest.approx(np.array([np.inf, 0, 2.5, 8]))
    said = analysis.summary(table)
    assert "ReLU, 16 layers: 3 of 12 diverged; in the tests that counts as worst" in said
    assert "ELU, 8 layers: 1 of 12 diverged" in said


def test_claims_are_about_what_was_run() -> None:
    shallow = made({key: error for key, error in ERRORS.items() if key[1] <= 4 and key[0] != "leaky_relu"})
    assert [decision.claim.identifier for decision in analysis.decisions(shallow)] == ["all: relu"]
    alone = made({key: error for key, error in ERRORS.items() if key[0] == "elu"})
    assert analysis.decisions(alone) == []
    for table in (shallow, alone):
        assert analysis.draw(table).axes
        assert "means over the seeds" in analysis.summary(table)


def test_rates_at_the_edge_of_the_grid_are_named() -> None:
    only = {("elu", 2): 0.1, ("relu", 2): 0.1}
    assert "edge: nowhere\n" in analysis.summary(made(only))
    assert "edge: ELU with 2 hidden layers, ReLU with 2 hidden layers\n" in analysis.summary(made(only, rate=0.1))


def test_record_gives_the_same_figure_and_summary(table: pandas.DataFrame) -> None:
    said = analysis.summary(saved_and_drawn(table, analysis.draw))
    assert "cannot be decided with 3 seeds" in said or "not trained" in said


def test_figure_shows_diverged_networks_as_a_count_only() -> None:
    table = made(ERRORS, diverged=tuple(("relu", 16, seed) for seed in range(1, 13)))
    errors, leads = analysis.draw(table).axes
    assert errors.get_xlabel() == "hidden layers\nReLU, 16 layers: 12 of 12 diverged"
    relu = [line for line in errors.get_lines() if line.get_color() == look_of("relu").colour]
    assert np.asarray(relu[0].get_ydata()) == pytest.approx(np.array([10.65, 12.65, 15.65, NAN]), nan_ok=True)
    assert leads.get_ylim()[1] < 20
    assert [panel.get_title(loc="left")[:3] for panel in (errors, leads)] == ["(a)", "(b)"]


def test_scale_of_errors_is_logarithmic_only_where_they_differ_widely() -> None:
    assert analysis.draw(made(dict.fromkeys(ERRORS, 0.14))).axes[0].get_yscale() == "linear"
    assert analysis.draw(made(ERRORS | {("relu", 16): 0.90})).axes[0].get_yscale() == "log"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations": ()}, "activations are none"),
        ({"depths": (2, 2)}, "depths are 2, 2; give each once"),
        ({"depths": (0, 2)}, "depths holds 0; give 1 or more"),
        ({"activations": ("elo",)}, "unknown activation"),
        ({"units": 0}, "units is 0"),
        ({"tuning_seeds": 0}, "tuning_seeds is 0"),
        ({"seeds": 0}, "seeds is 0"),
        ({"learning_rates": ()}, "learning_rates are none"),
        ({"learning_rates": (0.1, 0.2, 0.5)}, "each must be twice the one before"),
        ({"epochs": 4}, "epochs is 4"),
    ],
)
def test_bad_configurations(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        analysis.measure(analysis.Config(**options))
