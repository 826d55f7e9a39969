"""Kernels on a grid of standard deviations and angles, for which one rule serves all standard deviations.

References: Arb balls (`pair_oracle`), which share no rule with the package, and the moments of one variable at angle 0.
"""

import numpy
import pytest
from flint import arb

from elutheory.activations import activation
from elutheory.gram.interpolation import grid_expectation, has_common_rule
from elutheory.kernels.expectations import centred_pair_expectation
from elutheory.moments import gaussian_moments
from tests.references.oracle import moments_at, pieces, precision
from tests.references.pair_oracle import Pair, angles, quantity_at

STDS = numpy.array([0.0625, 0.75, 3.0, 12.0])
ANGLES = numpy.array([1e-3, 0.4, 1.5, 2.9])


@pytest.mark.parametrize("name", ["elu", "selu"])
@pytest.mark.parametrize(("order", "quantity"), [(0, "value"), (1, "slope")])
def test_grids_against_certified_balls(name: str, order: int, quantity: str) -> None:
    f, found = pieces(name), grid_expectation(activation(name), order, STDS, STDS[::2], ANGLES)
    assert found.shape == (4, 2, 4)
    square = ("second_moment", "slope_second_moment")[order]
    with precision(130):
        root = [moments_at(f, arb(0), arb(std))[square].sqrt() for std in STDS]
        for (i, j, k), value in numpy.ndenumerate(found):
            s, t = arb(STDS[i]), arb(STDS[2 * j])
            exact = quantity_at(f, quantity, angles(Pair(s * s, t * t, s * t * arb(ANGLES[k]).cos())))
            assert exact.rel_accuracy_bits() > 50
            assert float(abs(value - exact) / (root[i] * root[2 * j])) < 5e-15


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
