"""E[elu(X)²]: google-deepmind/dks beside elutheory, in one run.

Install `dks` and `absl-py` (which it needs without saying so) into the benchmark's own environment. Run as
`pytest benchmarks -o addopts= -s`; without dks the comparison is skipped and says so.
"""

import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import pytest
from flint import arb, fmpq

from elutheory.activations import activation
from elutheory.moments import certified_moments, gaussian_moments
from elutheory.moments.certified import precision

VALUES = 10**4


def _error(value: float) -> float:
    """Against the certified second moment of a standard normal net input."""
    second_moment = certified_moments(activation("elu"), fmpq(0), fmpq(1), 30)[1].value
    assert second_moment is not None
    with precision(30):
        return float((abs(arb(value) - second_moment) / second_moment).mid())


def test_second_moment_beside_dks(capsys: pytest.CaptureFixture[str], compare: Callable[..., None]) -> None:
    elu = activation("elu")
    std = np.ones(VALUES)
    gaussian_moments(elu, 0.0, std)
    start = time.perf_counter()
    for _ in range(20):
        ours = gaussian_moments(elu, 0.0, std).second_moment
    our_seconds = (time.perf_counter() - start) / 20 / VALUES
    our_error = _error(float(ours[0]))

    def keep(**fields: float | str | None) -> None:
        what = f"E[elu(X)²], a value of {VALUES:,}"
        compare(name="second_moment", what=what, peer="dks", seconds=our_seconds, error=our_error, **fields)

    if find_spec("dks") is None:
        keep(peer_seconds=None)
        pytest.skip("dks is not installed: no comparison with it")
    from dks.base import activation_transform as peer

    peer._estimate_gaussian_mean(lambda x: elu(x) ** 2)  # its quadrature nodes are loaded on first use
    start = time.perf_counter()
    for _ in range(20):
        theirs = float(peer._estimate_gaussian_mean(lambda x: elu(x) ** 2))
    their_seconds = (time.perf_counter() - start) / 20
    their_error = _error(theirs)
    keep(peer_version=version("dks"), peer_seconds=their_seconds, peer_error=their_error)
    with capsys.disabled():
        print(
            f"\nE[elu²]   seconds a value   relative error\n"
            f"dks       {their_seconds:15.1e}   {their_error:.1e}\n"
            f"elutheory {our_seconds:15.1e}   {our_error:.1e}   ({their_seconds / our_seconds:,.0f} times faster; all "
            f"six moments)"
        )
    assert their_seconds >= 1000 * our_seconds
    assert our_error <= their_error / 100
