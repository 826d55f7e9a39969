"""The share of the largest direction. References: numpy's eigenvalues, tables made up for their verdict."""

import numpy as np
import pandas
import pytest

from analyses.experiments import largest_direction
from elutheory.dynamics import training_kernel
from elutheory.errors import InputError

SMALL = largest_direction.Config(depths=(1, 3), examples=10, seeds=2)


def test_the_share_is_that_of_the_largest_eigenvalue() -> None:
    table = largest_direction.measure(SMALL)
    row = table[(table["activation"] == "relu") & (table["depth"] == 3) & (table["seed"] == 1)]
    inputs = np.random.default_rng(1).normal(0.5, 1.0, (10, 50))
    theta = training_kernel("relu", inputs @ inputs.T / 50, depth=3, width=128, features=50, weight_variance=2.0)
    eigenvalues = np.linalg.eigvalsh(theta.matrix)
    assert row["share"].item() == pytest.approx(eigenvalues[-1] / eigenvalues.sum(), rel=1e-10)


@pytest.mark.parametrize(("relu", "verdict"), [(0.6, "holds"), (0.4, "does not hold")])
def test_the_verdict_follows_the_table(relu: float, verdict: str) -> None:
    rows = [
        {"activation": name, "depth": 8, "seed": seed, "share": share + 0.001 * seed * (name == "relu")}
        for name, share in (("elu", 0.5), ("relu", relu))
        for seed in range(8)
    ]
    (decision,) = largest_direction.decisions(pandas.DataFrame(rows))
    assert decision.verdict == verdict


def test_bad_options_are_refused() -> None:
    with pytest.raises(InputError, match="examples is 1"):
        largest_direction.cells(largest_direction.Config(examples=1))
