"""E[elu(X)²]: google-deepmind/dks beside elutheory, in one run.

Install `dks` and `absl-py` (which it needs without saying so) into the benchmark's own environment. Run as
`pytest benchmarks -o addopts= -s`; without dks the comparison is skipped and says so.
"""

import time

import numpy as np
import pytest
from flint import arb, fmpq

from elutheory.activations import activation
from elutheory.certified_digits import certified_moments, precision
from elutheory.moments import gaussian_moments

VALUES = 10**4


def _error(value: float) -> float:
    """Against the certified second moment of a standard normal net input."""
    second_moment = certified_moments(activation("elu"), fmpq(0), fmpq(1), 30)[1].value
    assert second_moment is not None
    with precision(30):
        return float((abs(arb(value) - second_moment) / second_moment).mid())


def test_second_moment_beside_dks(capsys: pytest.CaptureFixture[str]) -> None:
    peer = pytest.importorskip("dks.base.activation_transform", reason="dks is not installed: no comparison with it")
    elu = activation("elu")
    peer._estimate_gaussian_mean(lambda x: elu(x) ** 2)  # its quadrature nodes are loaded on first use
    start = time.perf_counter()
    for _ in range(20):
        theirs = float(peer._estimate_gaussian_mean(lambda x: elu(x) ** 2))
    their_seconds = (time.perf_counter() - start) / 20

    std = np.ones(VALUES)
    gaussian_moments(elu, 0.0, std)
    start = time.perf_counter()
    for _ in range(20):
        ours = gaussian_moments(elu, 0.0, std).second_moment
    our_seconds = (time.perf_counter() - start) / 20 / VALUES

    their_error, our_error = _error(theirs), _error(float(ours[0]))
    with capsys.disabled():
        print(
            f"\nE[elu²]   seconds a value   relative error\n"
            f"dks       {their_seconds:15.1e}   {their_error:.1e}\n"
            f"elutheory {our_seconds:15.1e}   {our_error:.1e}   ({their_seconds / our_seconds:,.0f} times faster; all "
            f"six moments)"
        )
    assert their_seconds >= 1000 * our_seconds
    assert our_error <= their_error / 100
