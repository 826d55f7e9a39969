"""The speed analysis at a toy size: what is left out, what is counted, claims by hand, record to figure."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from torch import nn

from analyses.experiments import predicted_speed as analysis
from analyses.experiments.predicted_speed.measurement import Cell, first_at, largest_work, measured_losses
from analyses.experiments.predicted_speed.settings import COLUMNS, LOSSES, SETTING
from analyses.experiments.predicted_speed.verdicts import compared, elu_to_relu, rank_correlations
from analyses.networks.architectures import fully_connected, initialise
from analyses.networks.classifiers import classification_data
from analyses.networks.training import batch_order
from elutheory.errors import InputError
from tests.analyses.experiments.saved_records import saved_and_drawn

SMALL = analysis.Config(
    examples=40,
    activations=("elu", "relu"),
    depths=(1, 2),
    widths=(32,),
    initialisations=("critical",),
    batch_sizes=(0,),
    fixed_rate=0.005,
    longest=60,
    draws=3,
)


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return analysis.measure(SMALL)


def test_every_setting_has_its_networks_and_losses(table: pandas.DataFrame) -> None:
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == len(analysis.cells(SMALL)) * SMALL.seeds * len(LOSSES)
    assert (table.groupby(list(SETTING))["learning_rate"].nunique() == 1).all()
    fixed = table[table["rule"] == "fixed"]["learning_rate"]
    assert np.allclose(fixed, 0.005 * 512 / 32)
    stable = table[table["rule"] == "stable"]
    assert np.allclose(stable["learning_rate"] * stable["diagonal_mean"] * stable["top_share"], 2.0)


def test_prediction_is_right_about_the_order_of_these_networks(table: pandas.DataFrame) -> None:
    """Toy networks of 32 units: measured within a factor of two and a half, ranks far from chance."""
    rows = compared(table)
    assert len(rows) > 40
    assert rows["ratio"].abs().median() < np.log(1.5)
    assert rows["ratio"].abs().max() < np.log(3.5)
    assert rows[["predicted", "counted"]].corr("spearman").iloc[0, 1] > 0.6


@pytest.mark.parametrize("batch_size", [0, 16])
def test_measured_losses_are_those_of_plain_autograd(batch_size: int) -> None:
    """Full batches step by step; minibatches at the ends of epochs."""
    data = classification_data("digits", 40)
    cell = Cell("elu", 2, 16, "he", batch_size, "fixed")
    variances = {"weight_variance": 1.5, "bias_variance": 0.1}
    config = replace(SMALL, batch_sizes=(batch_size,))
    found = measured_losses(config, cell, data, 0.05, 6, (4000,), variances, "cpu")
    losses, diverged = found[4000]
    network: Any = initialise(fully_connected((64, 16, 16, 10), "elu"), 4000, **variances)
    inputs, targets = data.train.inputs, data.train.targets
    expected = [nn.functional.cross_entropy(network(inputs), targets).item()]
    for epoch in range(6 if batch_size == 0 else 2):
        order = batch_order(4000, epoch, 40)
        for start in range(0, 40, batch_size or 40):
            chosen = order[start : start + (batch_size or 40)]
            loss = nn.functional.cross_entropy(network(inputs[chosen]), targets[chosen])
            with torch.no_grad():
                for parameter, gradient in zip(
                    network.parameters(), torch.autograd.grad(loss, list(network.parameters())), strict=True
                ):
                    parameter -= 0.05 * gradient
        expected.append(nn.functional.cross_entropy(network(inputs), targets).item())
    assert losses.shape == (7,)
    assert np.isnan(diverged)
    assert losses[:: 1 if batch_size == 0 else 3] == pytest.approx(expected, rel=1e-5)
    assert first_at(losses, expected[0]) == 0.0
    assert np.isnan(first_at(losses, 0.0))


def test_settings_of_too_much_work_are_left_out() -> None:
    """64 · 32 + 32 · 32 · (L − 1) + 32 · 10 weights, 6 operations each, 40 examples, 60 updates."""
    deep = Cell("elu", 2, 32, "he", 0, "fixed")
    assert largest_work(SMALL, deep, 64, 10) == 6 * (64 * 32 + 32 * 32 + 32 * 10) * 40 * 60
    limited = replace(SMALL, largest_work=6 * (64 * 32 + 32 * 10) * 40 * 60)
    assert {cell.depth for cell in analysis.cells(limited)} == {1}
    with pytest.raises(InputError, match="every setting"):
        analysis.cells(replace(SMALL, largest_work=1.0))


def made(error: float, ratio_error: float = 0.0) -> pandas.DataFrame:
    """Wide networks whose measured updates are the predicted ones, with a random error and one of ReLU alone."""
    generator = np.random.default_rng(1)
    rows = []
    for place, depth in enumerate((2, 4, 6, 8) * 6):
        for name in ("elu", "relu"):
            for loss in LOSSES:
                predicted = np.exp(3 + 0.1 * place) / loss * (1.0 if name == "elu" else 2.0)
                factor = np.exp(error * generator.standard_normal() + ratio_error * (name == "relu"))
                row: dict[str, Any] = dict.fromkeys(COLUMNS, 0.0)
                row |= {"activation": name, "depth": depth, "width": 512, "initialisation": str(place), "seed": 0}
                row |= {"rule": "fixed", "loss": loss, "predicted": predicted, "measured": predicted * factor}
                rows.append(row | {"updates": 10 * predicted, "diverged_update": np.nan, "data": "made"})
    return pandas.DataFrame(rows)


@pytest.mark.parametrize(
    ("table", "verdicts"),
    [
        (made(0.02), ["holds", "holds"]),
        (made(0.02, ratio_error=0.5), ["holds", "does not hold"]),
        (made(2.5), ["does not hold", "does not hold"]),
    ],
)
def test_claims_by_hand(table: pandas.DataFrame, verdicts: list[str]) -> None:
    assert [decision.verdict for decision in analysis.decisions(table)] == verdicts
    ratios = elu_to_relu(compared(table))
    assert ratios["predicted"].to_numpy() == pytest.approx(np.full(len(ratios), -np.log(2)))
    assert len(rank_correlations(compared(table))) == 12


def test_what_is_not_reached_counts_as_all_updates() -> None:
    table = made(0.0).assign(measured=np.nan)
    rows = compared(table)
    assert not rows["reached"].any()
    assert rows["ratio"].to_numpy() == pytest.approx(np.full(len(rows), np.log(10)))
    assert "not_reached" in analysis.summary(table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": (0,)}, "depths holds 0; give 1 or more"),
        ({"fixed_rate": -1.0}, "fixed_rate is -1.0; a finite number"),
        ({"initialisations": ("their own",)}, "unknown initialisation"),
        ({"activations": ("elu", "elu")}, "give each once"),
        ({"seeds": 0}, "seeds is 0"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        analysis.cells(replace(SMALL, **options))


def test_record_gives_the_same_figure_and_summary(table: pandas.DataFrame) -> None:
    again = saved_and_drawn(table, analysis.draw)
    assert analysis.summary(again)
