"""The curves of the paper's first figure: values against its formulas, both sides of every kink, bad options."""

import numpy as np
import pandas
import pytest

from analyses.experiments import activation_curves
from analyses.experiments.activation_curves import PRESETS, Config, measure
from elutheory.errors import InputError
from tests.analyses.experiments.saved_records import rendered_alike

NAMES = ["relu", "elu(alpha=1.0)", "leaky_relu(negative_slope=0.1)", "shifted_relu"]


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return measure(PRESETS["paper"])


def test_curves_are_the_papers_formulas(table: pandas.DataFrame) -> None:
    assert table["activation"].unique().tolist() == NAMES
    x = {name: curve["net_input"].to_numpy() for name, curve in table.groupby("activation")}
    values = {name: curve["value"].to_numpy() for name, curve in table.groupby("activation")}
    formulas = [
        lambda x: np.maximum(x, 0),
        lambda x: np.where(x > 0, x, np.exp(x) - 1),
        lambda x: np.maximum(x, 0.1 * x),
        lambda x: np.maximum(x, -1),
    ]
    for name, formula in zip(NAMES, formulas, strict=True):
        np.testing.assert_allclose(values[name], formula(x[name]), rtol=1e-12, atol=1e-15)
        assert (x[name].min(), x[name].max()) == (-10.0, 10.0)


@pytest.mark.parametrize(
    ("name", "kink", "left", "right"),
    [(NAMES[0], 0, 0, 1), (NAMES[1], 0, 1, 1), (NAMES[2], 0, 0.1, 1), (NAMES[3], -1, 0, 1)],
)
def test_derivative_on_both_sides_of_the_kink(
    table: pandas.DataFrame, name: str, kink: float, left: float, right: float
) -> None:
    there = table[(table["activation"] == name) & (table["net_input"] == kink)].sort_values("piece")
    assert there["derivative"].tolist() == pytest.approx([left, right])
    assert there["value"].iloc[0] == pytest.approx(there["value"].iloc[1], abs=1e-15)


def test_derivatives_are_slopes_of_the_values(table: pandas.DataFrame) -> None:
    for _, piece in table.groupby(["activation", "piece"]):
        x, y, slope = (piece[name].to_numpy() for name in ("net_input", "value", "derivative"))
        step = x[1] - x[0]
        middle = (slope[1:] + slope[:-1]) / 2
        np.testing.assert_allclose(np.diff(y) / step, middle, atol=step**2 / 12)  # trapezoidal rule, |f'''| ≤ 1


def test_a_kink_outside_the_range_leaves_one_piece() -> None:
    small = measure(Config(largest=0.5, points=3))
    assert small.groupby("activation")["piece"].nunique().to_dict() == {**dict.fromkeys(NAMES, 2), "shifted_relu": 1}


def test_figure_repeats_and_summary_names_every_range(table: pandas.DataFrame) -> None:
    rendered_alike(activation_curves.draw(table), activation_curves.draw(table))
    assert all(name in activation_curves.summary(table) for name in NAMES)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(largest=0.0), "largest is 0.0"),
        (Config(largest=float("nan")), "largest is nan"),
        (Config(points=1), "points is 1"),
        (Config(alpha=-1.0), "alpha is -1.0; a finite number"),
    ],
)
def test_bad_options(config: Config, message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure(config)
