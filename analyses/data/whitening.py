"""Global contrast normalisation and ZCA whitening, as the paper prepares CIFAR's images (section 4.2)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LEAST_DEVIATION = 1e-6
"""An image below is constant: one of n numbers in steps of 1/255 that is not has (n − 1)^½/(255 n) or more, 7e-5 for
3 × 32 × 32; rounding makes 1e-16 of a constant one (test_whitening.py)."""
_ROWS = 1000
"""Images at a time, so that few are held in float64."""


def contrast_normalised(images: Any) -> NDArray[np.float32]:
    """Each image (of N, *shape) less its mean, over its standard deviation, both over all its numbers; constant: 0.

    Goodfellow et al. (Maxout networks) scale to the norm 55 instead, which for CIFAR is a deviation of 0.99.
    """
    found = np.empty(images.shape, np.float32)
    for start in range(0, len(images), _ROWS):
        rows = np.asarray(images[start : start + _ROWS], np.float64)
        axes = tuple(range(1, rows.ndim))
        rows = rows - rows.mean(axes, keepdims=True)
        deviations = rows.std(axes, keepdims=True)
        constant = deviations < _LEAST_DEVIATION
        found[start : start + _ROWS] = np.where(constant, 0.0, rows / np.where(constant, 1.0, deviations))
    return found


@dataclass(frozen=True)
class Whitening:
    """x → `matrix` (x − `mean`), of x flat; the matrix is symmetric (ZCA: the images stay images)."""

    mean: NDArray[np.float64]
    matrix: NDArray[np.float64]

    def applied(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Whitened images of the same shape (N, *shape), computed in float32."""
        matrix, mean = self.matrix.astype(np.float32), self.mean.astype(np.float32)
        found = np.empty_like(images)
        for start in range(0, len(images), _ROWS):
            rows = images[start : start + _ROWS]
            found[start : start + _ROWS] = ((rows.reshape(len(rows), -1) - mean) @ matrix).reshape(rows.shape)
        return found


def fitted_whitening(images: NDArray[np.float32], regularisation: float) -> Whitening:
    """(C + `regularisation` I)^(−½) with C the covariance of the images (N, *shape) over examples, flat.

    In float64. The regularisation, > 0, keeps directions in which images hardly vary from being blown up; 0.1 is that
    of pylearn2, which prepared the images of Goodfellow et al.
    """
    flat = images.reshape(len(images), -1)
    mean = flat.mean(0, dtype=np.float64)
    covariance = np.zeros((len(mean), len(mean)))
    for start in range(0, len(flat), _ROWS):
        rows = flat[start : start + _ROWS] - mean
        covariance += rows.T @ rows
    variances, directions = np.linalg.eigh(covariance / len(flat))
    scales = 1 / np.sqrt(np.maximum(variances, 0.0) + regularisation)
    return Whitening(mean, (directions * scales) @ directions.T)
