"""The descent analysis at a small size: its problems, what it counts, and that it draws from records alone."""

from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

from analyses.__main__ import main
from analyses.experiments import natural_gradient_descent as analysis
from elutheory.activations import activation_names
from elutheory.output.figures import look_of, looks_of
from tests.analyses.experiments.saved_records import saved_and_drawn

SMALL = analysis.Config(examples=100, seeds=1, steps=40, learning_rates=(0.0316, 0.1, 0.316))


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return analysis.measure(SMALL)


def test_inputs_are_as_badly_conditioned_as_stated() -> None:
    """Standard deviations within 5 standard errors of a geometric series, σ/√(2n); means at most 3 of them from 0."""
    config = analysis.Config(examples=4000)
    _, inputs, labels = analysis.make_problem(config, "network", seed=1)
    wanted = np.geomspace(config.smallest_std, config.largest_std, config.features)
    stds = inputs.std(0).numpy()
    assert np.abs(stds / wanted - 1).max() < 5 / np.sqrt(2 * config.examples)
    assert (inputs.mean(0).abs().numpy() / wanted).max() < config.largest_mean + 5 / np.sqrt(config.examples)
    assert set(labels.tolist()) == set(range(config.classes))


def test_methods_start_from_the_same_loss_and_the_natural_gradient_is_ahead(table: pandas.DataFrame) -> None:
    runs = len(analysis.PROBLEMS) * len(analysis.METHODS) * len(SMALL.learning_rates) * SMALL.seeds
    assert len(table) == runs * table["step"].nunique()
    start = table[table["step"] == 0].groupby(["problem", "seed"])["loss"]
    assert (start.nunique() == 1).all()
    last = analysis.tuned(table).query("step == 40").groupby(["problem", "method"])["loss"].mean()
    for problem in analysis.PROBLEMS:
        assert last[problem, "unit natural gradient"] < last[problem, "SGD"] - 0.05


def test_one_step_of_sgd_is_the_gradient() -> None:
    """Against the softmax regression's gradient in closed form: E[(p − y) (1, x)]."""
    model, inputs, labels = analysis.make_problem(SMALL, "logistic regression", seed=0)
    layer = model[0]
    assert isinstance(layer, torch.nn.Linear)
    with torch.no_grad():
        outputs = model(inputs)
        residuals = outputs.softmax(1) - torch.nn.functional.one_hot(labels, 3)
        moved = outputs - 0.1 * (inputs @ (inputs.T @ residuals) + residuals.sum(0)) / len(inputs)
        expected = torch.nn.functional.cross_entropy(moved, labels).item()
    losses = dict(analysis._train(SMALL, "logistic regression", "SGD", 0.1, 0))
    assert losses[1] == pytest.approx(expected, rel=1e-12)


def test_tuning_and_counting_by_hand() -> None:
    """Two learning rates a method; SGD's better one ends at 0.5 after 4 steps, which ours passes after 1 or never."""
    losses = {
        ("SGD", 0.1): [1.0, 0.9, 0.8, 0.6, 0.5],
        ("SGD", 1.0): [1.0, 0.3, np.nan, np.nan, np.nan],
        ("SGD, momentum 0.9", 0.1): [1.0, 0.8, 0.6, 0.4, 0.45],
        ("SGD, momentum 0.9", 1.0): [1.0, 1.1, 1.2, 1.3, 1.4],
        ("unit natural gradient", 0.1): [1.0, 0.7, 0.45, 0.44, 0.43],
        ("unit natural gradient", 1.0): [1.0, 0.48, 0.47, 0.46, 0.46],
    }
    table = pandas.DataFrame(
        [
            {"problem": "network", "method": method, "learning_rate": rate, "seed": 0, "step": step, "loss": loss}
            for (method, rate), curve in losses.items()
            for step, loss in enumerate(curve)
        ]
    )
    table["lowest"] = table.groupby(["method", "learning_rate"])["loss"].cummin()
    rates = analysis.tuned(table).groupby("method")["learning_rate"].first()
    assert rates.to_dict() == {"SGD": 0.1, "SGD, momentum 0.9": 0.1, "unit natural gradient": 0.1}
    reached = analysis.steps_to_reach(table).set_index(["reference", "method"])
    ours = reached.loc[("SGD", "unit natural gradient")]
    assert (ours["target"], ours["steps"], ours["share"], ours["learning_rate"]) == (0.5, 1, 0.25, 1.0)
    assert reached.loc[("SGD", "SGD, momentum 0.9"), "steps"] == 3
    assert reached.loc[("SGD, momentum 0.9", "SGD, momentum 0.9"), "share"] == 1
    assert np.isnan(reached.loc[("SGD, momentum 0.9", "unit natural gradient"), "steps"])


def test_figure_is_drawn_from_saved_records_and_repeats(table: pandas.DataFrame) -> None:
    pandas.testing.assert_frame_equal(saved_and_drawn(table, analysis.draw), table, rtol=1e-6)


def test_methods_have_colours_that_no_activation_has(table: pandas.DataFrame) -> None:
    looks = looks_of(analysis.METHODS)
    (panel, _) = analysis.draw(table).axes
    drawn = {str(line.get_label()): line.get_color() for line in panel.get_lines()}
    assert drawn == {method: look.colour for method, look in looks.items()}
    assert not set(drawn.values()) & {look_of(name).colour for name in activation_names()}


def test_summary_shows_losses_and_shares(table: pandas.DataFrame) -> None:
    shown = analysis.summary(table)
    assert shown.count("unit natural gradient") == 2 * 3
    assert "share" in shown


@pytest.mark.parametrize(
    "option", [["--seeds", "0"], ["--steps", "0"], ["--classes", "1"], ["--learning-rates"], ["--learning-rates", "-1"]]
)
def test_bad_input(option: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["natural_gradient_descent", *option, "--output", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "new").exists()
