"""Kernels on a grid of standard deviations and angles, for which one rule serves all standard deviations.

References: Arb balls (kept in `layer_records`), which share no rule with the package, and at angle 0 the moments of one
variable.
"""

from typing import Any

import numpy
import pytest

from elutheory.activations import activation
from elutheory.gram.interpolation import grid_expectation, has_common_rule
from elutheory.kernels.expectations import centred_pair_expectation
from elutheory.moments import gaussian_moments
from tests.references.layer_records import ANGLES, STDS, cases, grid


@pytest.mark.parametrize(("case", "exact"), cases("grids"))
def test_grids_against_certified_balls(case: tuple[str, int], exact: dict[str, Any]) -> None:
    name, order = case
    stds, values, root = numpy.array(STDS), numpy.array(exact["values"]), numpy.array(exact["roots"])
    found = grid_expectation(activation(name), order, stds, stds[::2], numpy.array(ANGLES))
    assert found.shape == values.shape == (4, 2, 4)
    assert (abs(found - values) / (root[:, None, None] * root[::2, None]) < 5e-15).all()


@pytest.mark.exhaustive
@pytest.mark.parametrize(("case", "exact"), cases("grids"))
def test_the_records_of_grids(case: tuple[str, int], exact: dict[str, Any]) -> None:
    """The balls, computed again."""
    assert grid(*case) == exact


@pytest.mark.parametrize("name", ["elu", "celu", "selu"])
def test_the_same_variable_has_its_second_moments(name: str) -> None:
    """Angle 0, up to a hundred decay lengths of f'; U and V change places, at π too."""
    f, stds = activation(name), numpy.geomspace(1e-3, 100.0, 12)
    moments = gaussian_moments(f, numpy.zeros_like(stds), stds)
    for order, square in ((0, moments.second_moment), (1, moments.slope_second_moment)):
        found = grid_expectation(f, order, stds, stds, numpy.array([0.0, numpy.pi]))
        numpy.testing.assert_allclose(numpy.diag(found[:, :, 0]), square, rtol=1.5e-14)
        root = numpy.sqrt(square)
        for side in (0, 1):
            asymmetry = found[:, :, side] - found[:, :, side].T
            assert (abs(asymmetry) < 1.5e-14 * numpy.outer(root, root)).all()


@pytest.mark.parametrize("name", ["relu", "hard_tanh", "tanh"])
def test_without_a_common_rule_every_pair_by_itself(name: str) -> None:
    f = activation(name)
    assert not has_common_rule(f)
    assert has_common_rule(activation("elu"))
    u, v, angle = numpy.array([0.5, 1.25]), numpy.array([2.0, 1.0, 0.5]), numpy.array([0.3, 2.0])
    for order in (0, 1):
        found = grid_expectation(f, order, u, v, angle)
        assert found.shape == (2, 3, 2)
        cosine, sine = (function(numpy.full(1, angle[1])) for function in (numpy.cos, numpy.sin))
        expected = centred_pair_expectation(f, order, u[:1], v[2:], cosine, sine)
        assert found[0, 2, 1] == pytest.approx(float(expected[0]), rel=1e-14)
