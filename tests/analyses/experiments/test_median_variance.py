"""Medians of hidden units by hand, variances over epochs from planted paths, verdicts from planted records."""

import numpy as np
import pandas
import pytest
import torch
from torch import nn

from analyses.experiments import median_variance
from analyses.experiments.median_variance.figure import draw
from analyses.experiments.median_variance.measurement import Cell, cells, measure_cell, movement, unit_statistics
from analyses.experiments.median_variance.settings import COLUMNS, FIRST_SEED, PRESETS, QUANTITIES, Config
from analyses.experiments.median_variance.verdicts import DECIDING, decisions, run_statistics, summary
from analyses.networks.architectures import fully_connected, hidden_activations, initialise
from elutheory.errors import InputError
from elutheory.output.figures import figure_bytes
from tests.analyses.experiments.saved_records import rendered_alike

SMALL = Config(layers=2, units=6, epochs=4, examples=130, seeds=2)


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return median_variance.measure(SMALL)


# --- what is measured -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["elu", "relu"])
@pytest.mark.parametrize("examples", [7, 8])
def test_unit_statistics_are_numpys(name: str, examples: int) -> None:
    network = initialise(fully_connected((5, 6, 6, 3), name), 0).double()
    inputs = torch.randn(examples, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = unit_statistics(network, inputs)
    with torch.no_grad():
        activations = hidden_activations(network, inputs)  # pyright: ignore[reportArgumentType]
        nets = [network[0](inputs), network[2](activations[0])]  # pyright: ignore[reportIndexIssue]
    for layer, (net, values) in enumerate(zip(nets, activations, strict=True)):
        lower_middle = np.sort(values.numpy(), axis=0)[(examples - 1) // 2]
        np.testing.assert_allclose(found["median"][layer].numpy(), lower_middle, rtol=1e-12)
        np.testing.assert_array_equal(
            found["net_median"][layer].numpy(), np.sort(net.numpy(), axis=0)[(examples - 1) // 2]
        )
        np.testing.assert_allclose(found["activation_variance"][layer], values.numpy().var(0), rtol=1e-12)
        np.testing.assert_allclose(found["net_input_variance"][layer], net.numpy().var(0), rtol=1e-12)


def test_movement_of_planted_medians() -> None:
    """Medians 1, 3, 2: variance 1, changes 2 and −1 of variance 4.5; the other unit is dead."""
    found = movement(
        {
            "median": np.array([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0]]),
            "net_median": np.array([[1.0, -1.0], [3.0, -3.0], [2.0, -1.0]]),
            "activation_variance": np.array([[2.0, 0.0], [4.0, 0.0], [6.0, 0.0]]),
            "net_input_variance": np.array([[1.0, 2.0], [2.0, 2.0], [3.0, 2.0]]),
        }
    )
    assert set(found) == set(QUANTITIES)
    expected = {
        "variance": [1.0, 0.0],
        "change_variance": [4.5, 0.0],
        "net_variance": [1.0, 4 / 3],
        "activation_variance": [4.0, 0.0],
        "net_input_variance": [2.0, 2.0],
        "relative_variance": [0.25, 0.0],
        "relative_net_variance": [0.5, 2 / 3],
    }
    for name, values in expected.items():
        assert found[name].tolist() == pytest.approx(values), name


def test_table_follows_a_plain_training_loop() -> None:
    """The second seed's medians, from a loop of torch.nn and torch.optim.SGD over the same batches."""
    from analyses.data import datasets
    from analyses.networks.training import batch_order

    data = datasets.load("digits").standardised("dataset").flattened().subset(SMALL.examples)
    network = initialise(fully_connected((64, 6, 6, 10), "relu"), FIRST_SEED + 1)
    optimizer = torch.optim.SGD(network.parameters(), SMALL.learning_rate)
    medians = []
    for epoch in range(SMALL.epochs):
        for batch in batch_order(FIRST_SEED + 1, epoch, SMALL.examples).split(SMALL.batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(data.train.inputs[batch]), data.train.targets[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            medians.append(
                [values.median(0).values.numpy() for values in hidden_activations(network, data.train.inputs)]
            )  # pyright: ignore
    expected = np.array(medians, dtype=np.float64).var(0, ddof=1)  # (layers, units)
    found = measure_cell(SMALL, Cell("relu"), "cpu").query("seed == @FIRST_SEED + 1 and quantity == 'variance'")
    np.testing.assert_allclose(found["mean"], expected.mean(1), rtol=1e-3)
    np.testing.assert_allclose(found["q50"], np.median(expected, axis=1), rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(found["still"], (expected == 0).mean(1))


def test_table_has_a_row_an_activation_seed_layer_and_quantity(table: pandas.DataFrame) -> None:
    assert table.columns.tolist() == list(COLUMNS)
    assert len(table) == 2 * SMALL.seeds * SMALL.layers * len(QUANTITIES)
    assert not table.duplicated(["activation", "seed", "layer", "quantity"]).any()
    assert not table.drop(columns="diverged").isna().any(axis=None)
    assert table["diverged"].isna().all()
    assert (table["examples"] == SMALL.examples).all()


def test_diverged_runs_have_no_numbers_and_their_pairs_are_left_out() -> None:
    wild = Config(layers=1, units=4, epochs=3, examples=130, seeds=2, learning_rate=1e15)
    table = median_variance.measure(wild)
    assert table["diverged"].notna().all()
    assert table[["mean", "q05", "q50", "q95", "still"]].isna().all(axis=None)
    assert run_statistics(table).drop(columns=["activation", "seed"]).isna().all(axis=None)
    assert decisions(table) == []
    assert figure_bytes(median_variance.draw(table), "svg").startswith(b"<?xml")
    said = median_variance.summary(table)
    assert "2 runs of ELU diverged; their pairs are left out\n2 runs of ReLU diverged" in said
    one = planted(4.0, 1.0)
    one.loc[(one["activation"] == "elu") & (one["seed"] == 3), ["mean", "q50"]] = np.nan
    assert {decision.pairs for decision in decisions(one)} == {4}


# --- verdicts -------------------------------------------------------------------------------------------------------


def planted(ratio: float, scale: float, seeds: int = 5) -> pandas.DataFrame:
    """ReLU's medians vary `ratio` times as much as ELU's, and all its variances are `scale` times as large."""
    rows = []
    for name, factor, all_of_them in (("elu", 1.0, 1.0), ("relu", ratio, scale)):
        for seed in range(seeds):
            for layer in (1, 2):
                for place, quantity in enumerate(QUANTITIES):
                    noise = 1 + 0.01 * np.sin((place + 1) * (seed + 1) * (1 + factor) + 10 * layer)
                    moved = factor if quantity in ("variance", "change_variance", "net_variance") else 1.0
                    relative = factor if quantity.startswith("relative") else all_of_them * moved
                    value = relative * noise
                    rows.append(
                        {"activation": name, "seed": seed, "layer": layer, "quantity": quantity, "mean": value}
                        | dict.fromkeys(("q05", "q25", "q50", "q75", "q95"), value)
                    )
    settings = {"data": "planted", "examples": 1000, "epochs": 9, "units": 3, "learning_rate": 0.1, "batch_size": 64}
    known = {"still": 0.0, "diverged": np.nan, "training_loss": 0.1, "chance_loss": 2.3}
    return pandas.DataFrame(rows).assign(**known, **settings)


def test_larger_movement_holds_and_is_measured() -> None:
    found = {decision.claim.identifier: decision for decision in decisions(planted(ratio=4.0, scale=1.0))}
    assert {decision.verdict for decision in found.values()} == {"holds"}
    assert found["variance"].effect == pytest.approx(np.log(4), rel=0.02)  # but for the noise
    assert next(iter(found)) == DECIDING
    assert "medians vary 4 times [" in summary(planted(ratio=4.0, scale=1.0))
    assert "does not depend" in summary(planted(ratio=4.0, scale=1.0))


def test_a_difference_of_scale_alone_is_told_apart() -> None:
    table = planted(ratio=0.5, scale=8.0)
    verdicts = {decision.claim.identifier: decision.verdict for decision in decisions(table)}
    assert verdicts["variance"] == verdicts["change_variance"] == "holds"
    assert {verdicts[name] for name in (DECIDING, "relative_net_variance", "typical_variance")} == {"does not hold"}
    assert "verdict depends" in summary(table)


def test_smaller_movement_does_not_hold_with_the_seeds_of_the_paper() -> None:
    few = decisions(planted(0.5, 1.0, seeds=PRESETS["paper"].seeds))
    assert {decision.verdict for decision in few} == {"does not hold"}


def test_networks_that_have_not_learned_have_no_verdict() -> None:
    table = planted(4.0, 1.0)
    table.loc[table["activation"] == "relu", "training_loss"] = 2.0
    assert {decision.verdict for decision in decisions(table)} == {"not trained"}
    assert "Not trained" in summary(table)
    earlier = decisions(planted(4.0, 1.0).drop(columns=["training_loss", "chance_loss"]))
    assert {decision.verdict for decision in earlier} == {"holds"}


# --- figure and options ---------------------------------------------------------------------------------------------


def test_figure_repeats_and_says_what_it_shows(table: pandas.DataFrame) -> None:
    figure = draw(table)
    said = "digits, 130 training examples; 2 hidden layers × 6; learning rate 0.01, batches of 64, 4 epochs; 2 seeds"
    assert said in figure.get_suptitle()
    assert [panel.get_title(loc="left")[:3] for panel in figure.axes] == ["(a)", "(b)", "(c)", "(d)"]
    rendered_alike(figure, draw(table))
    assert summary(table).startswith(said)


@pytest.mark.parametrize(("name", "value"), [("layers", 0), ("units", 0), ("epochs", 2), ("seeds", 0)])
def test_bad_options(name: str, value: int) -> None:
    with pytest.raises(InputError, match=f"{name} is {value}; give"):
        cells(Config(**{name: value}))
