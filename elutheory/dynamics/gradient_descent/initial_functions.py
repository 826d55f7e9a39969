"""F_0: the outputs at initialisation, a Gaussian over the weights of a wide network, or those of one network."""

from dataclasses import dataclass
from typing import Any

import numpy
from jaxtyping import Float
from scipy.linalg import get_lapack_funcs

from elutheory.numerics.arrays import Array


@dataclass(frozen=True, eq=False)
class InitialFunctions:
    """Gaussian outputs (classes, inputs): their `mean`, and the `covariance` of each class between the inputs.

    `covariance` is None where the outputs are known; both are float64 numpy arrays.
    """

    mean: Float[numpy.ndarray, "classes inputs"]
    covariance: Float[numpy.ndarray, "inputs inputs"] | None

    def draws(self, number: int, seed: int) -> Float[numpy.ndarray, "functions classes inputs"]:
        """So many functions; the first ones are the same whatever the number. The one function where it is known."""
        if self.covariance is None:
            return self.mean[None].copy()
        normal = numpy.random.default_rng(seed).standard_normal((number, *self.mean.shape))
        root = covariance_root(self.covariance)
        drawn = normal[..., : root.shape[1]].reshape(-1, root.shape[1]) @ root.T
        return self.mean + drawn.reshape(normal.shape)


def covariance_root(covariance: Float[Array, "inputs inputs"]) -> Any:
    """R (inputs, rank) with RRᵀ the covariance: Cholesky's factor with pivots, which allows inputs that are alike."""
    (pivoted_cholesky,) = get_lapack_funcs(("pstrf",), (numpy.array(covariance, dtype=numpy.float64),))
    factor, pivots, rank, _ = pivoted_cholesky(covariance, lower=1)
    root = numpy.empty((len(factor), rank))
    root[pivots - 1] = numpy.tril(factor)[:, :rank]
    return root
