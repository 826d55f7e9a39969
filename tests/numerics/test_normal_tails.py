import numpy as np
import pytest
from flint import arb

from elutheory.numerics.normal_tails import CONTINUED_FRACTION_FROM, laplace_differences, overshoot
from tests.references.oracle import precision

STARTS = [CONTINUED_FRACTION_FROM, 4.5, 7.0, 16.0]  # where the continued fraction begins, and where its depth changes
EDGES = [side for start in STARTS for side in (np.nextafter(start, 0.0), start)]


def mills(t: arb) -> arb:
    return (arb.pi() / 2).sqrt() * (t * t / 2).exp() * (t / arb(2).sqrt()).erfc()


def ulps(got: np.floating, want: arb) -> float:
    return abs(float((arb(float(got)) / want - 1).mid())) / float(np.finfo(got.dtype).eps)


# Forward recurrence multiplies a relative error by t⁴/2 = 40 at 3; beyond, the continued fraction leaves a few ulp.
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_overshoot_against_arb(dtype: type) -> None:
    points = np.array([0.0, 1e-9, 0.3, 1.0, 2.0, 3.0, *EDGES, 4.0, 5.0, 8.0, 10.0, 20.0, 38.0, 64.0], dtype=dtype)
    result = overshoot(points)
    assert {result.mills.dtype, result.first.dtype, result.second.dtype} == {np.dtype(dtype)}
    for i, t in enumerate(points):
        with precision(400):
            want = mills(arb(float(t)))
            first = 1 / want - arb(float(t))
            second = 1 / first - arb(float(t))
            limit = 150 if t < CONTINUED_FRACTION_FROM else 4
            assert ulps(result.mills[i], want) < 4
            assert ulps(result.first[i], first) < limit / 4 + 4
            assert ulps(result.second[i], second) < limit


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("s", [1e-12, 1e-8, 1e-3, 0.1, 1.0, 5.0])
def test_laplace_differences_against_arb(dtype: type, s: float) -> None:
    points = np.array([edge for edge in EDGES if edge >= CONTINUED_FRACTION_FROM] + [3.7, 9.0, 30.0, 64.0], dtype=dtype)
    steps = np.full_like(points, s)
    first, second = laplace_differences(points, steps)
    assert first.dtype == second.dtype == dtype
    for i, t in enumerate(points):
        with precision(500):
            t, h = arb(float(t)), arb(float(steps[i]))
            values = [mills(t + n * h) for n in range(3)]
            assert ulps(first[i], 1 - values[1] / values[0]) < 6
            assert ulps(second[i], (values[0] - 2 * values[1] + values[2]) / values[0]) < 8
