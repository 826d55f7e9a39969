"""The accuracy analysis at a small size: what it measures, that it draws from records alone, and its errors."""

from pathlib import Path

import numpy as np
import pandas
import pytest

from analyses.__main__ import main
from analyses.experiments import moment_accuracy
from analyses.framework.sweep import Sweep
from tests.analyses.experiments.saved_records import saved_and_drawn

SMALL = moment_accuracy.Config(means=9, stds=5)


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return moment_accuracy.measure(SMALL)


def test_textbook_forms_lose_their_digits_and_ours_do_not(table: pandas.DataFrame) -> None:
    assert len(table) == 2 * 2 * SMALL.means * SMALL.stds
    worst = table.groupby(["moment", "form"])["relative_error"].max()
    assert worst["variance", "elutheory"] < 1e-12
    assert worst["mean", "elutheory"] < 1e-12
    assert worst["variance", "textbook"] > 1e-3
    assert worst["mean", "textbook"] > 1e-4


def test_textbook_form_is_right_where_nothing_cancels() -> None:
    """Against 0.160520572266556…, E elu(Z), and 0.644945417492924…, E elu(Z)²: 30-digit quadrature by mpmath."""
    values = moment_accuracy.textbook(1.0, np.array([0.0]), np.array([1.0]))
    assert values["mean"][0] == pytest.approx(0.160520572266556050, rel=1e-14)
    assert values["variance"][0] == pytest.approx(0.644945417492923863 - 0.160520572266556050**2, rel=1e-14)


def test_values_below_the_normal_doubles_are_left_out(table: pandas.DataFrame) -> None:
    left_out = table[table["relative_error"].isna()]
    assert (left_out["moment"] == "variance").all()
    assert (left_out["mean"] < 0).all()


def test_figure_is_drawn_from_saved_records_and_repeats(table: pandas.DataFrame) -> None:
    saved_and_drawn(table, moment_accuracy.draw)


@pytest.mark.exhaustive  # two interpreters start; the sweep has tests of its own
def test_both_moments_side_by_side_give_the_same_table(table: pandas.DataFrame) -> None:
    pandas.testing.assert_frame_equal(moment_accuracy.measure(SMALL, Sweep(jobs=2)), table, check_exact=True)


def test_summary_names_the_largest_errors(table: pandas.DataFrame) -> None:
    assert moment_accuracy.summary(table).splitlines()[-1].split()[-1] == "inf"  # the textbook form overflows


@pytest.mark.parametrize("option", [["--alpha", "-1"], ["--means", "4"], ["--means", "1"], ["--stds", "0"]])
def test_bad_input(option: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["moment_accuracy", *option, "--output", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "new").exists()
