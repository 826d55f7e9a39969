"""Counting updates, widening grids, refusing grids that are none."""

from typing import Any

import numpy as np
import pytest

from analyses.framework.rates import check_grid, place_of, rate_beyond, updates_to
from elutheory.errors import InputError


def test_updates_are_interpolated_on_a_line_of_ln_loss() -> None:
    """Losses e², e, 1, e⁻¹ of epochs of 10 updates stand at the updates 0, 5, 15, 25."""
    losses = np.exp([2.0, 1.0, 0.0, -1.0])
    assert updates_to(losses, 10, np.exp(0.5)) == pytest.approx(10.0)
    assert updates_to(losses, 10, np.exp(-1.0)) == pytest.approx(25.0)
    assert updates_to(losses, 10, np.exp(1.5)) == pytest.approx(2.5)
    assert updates_to(losses, 10, np.exp(3.0)) == 0.0
    assert np.isnan(updates_to(losses, 10, np.exp(-1.1)))
    assert updates_to(np.array([2.0, 0.5, np.nan]), 10, 0.5) == pytest.approx(5.0)
    assert np.isnan(updates_to(np.array([2.0, np.nan, np.nan]), 10, 0.5))
    assert place_of(losses, np.array([3.0, 4.0, 8.0, 9.0]), np.exp(0.25)) == pytest.approx(7.0)
    assert place_of(losses, np.array([3.0, 4.0, 8.0, 9.0]), np.exp(3.0)) == 3.0


def test_grids_are_widened_beyond_the_end_at_which_the_best_rate_lies() -> None:
    def scores(*values: float) -> dict[float, Any]:
        return {0.1 * 2**place: (0, value, 0.0) for place, value in enumerate(values)}

    assert rate_beyond(scores(3.0, 1.0, 2.0)) is None
    assert rate_beyond(scores(1.0, 2.0, 3.0)) == pytest.approx(0.05)
    assert rate_beyond(scores(3.0, 2.0, 1.0)) == pytest.approx(0.8)
    missing = {0.1: (1, 1.0, 0.0), 0.2: (0, 5.0, 0.0), 0.4: (4, 6.0, np.inf)}
    assert rate_beyond(missing) is None  # a network that gets there is better than a fast one that may not


@pytest.mark.parametrize(
    ("rates", "message"),
    [((0.1, 0.2, 0.5), "^learning_rates are .*; each must be twice"), ((1.0, 3.0, 2.0), "each must be twice")],
)
def test_grids_that_are_refused(rates: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_grid(rates)
    check_grid((0.4, 0.1, 0.2))
    with pytest.raises(InputError, match=r"^mine are 0\.1, 0\.5; each"):
        check_grid((0.1, 0.5), name="mine")
