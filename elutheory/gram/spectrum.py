"""P5, B5: what a data set's Gram matrices say of Fisher matrices: their largest eigenvalue, the bias shift's strength.

N × N matrices of N inputs are enough for both: the non-zero eigenvalues of ΦᵀΦ/N are those of ΦΦᵀ/N.
"""

from dataclasses import dataclass
from typing import Any

import numpy
from scipy import linalg

from elutheory.errors import InputError
from elutheory.gram.arguments import gram_arguments
from elutheory.gram.deep_kernels import TangentKernel
from elutheory.numerics.arguments import real_number
from elutheory.numerics.arrays import on_host


@dataclass(frozen=True)
class FisherTopEigenvalue:
    """P5, for one output of unit variance and N inputs; F = E ∇net ∇netᵀ over the inputs.

    - `diagonal_mean` κ1 = tr F and `off_diagonal_mean` κ2, of the tangent kernel Θ;
    - `estimate` = κ2 + (κ1 − κ2)/N = 1ᵀΘ1/N², never above `exact`, the largest eigenvalue of Θ/N and of F;
    - `estimated_share` and `trace_share`: the shares of tr F in `estimate` and in `exact` (nan if Θ = 0).

    >>> import elutheory as et
    >>> import numpy as np
    >>> top = et.fisher_top_eigenvalue(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> top.diagonal_mean, top.off_diagonal_mean, round(top.trace_share, 12)
    (2.0, 1.0, 0.75)
    """

    estimate: float
    exact: float
    diagonal_mean: float
    off_diagonal_mean: float
    method: str = "symmetric eigenvalue decomposition"

    @property
    def estimated_share(self) -> float:
        """The share of tr F that `estimate` has, estimate/κ1."""
        return self.estimate / self.diagonal_mean if self.diagonal_mean > 0 else float("nan")

    @property
    def trace_share(self) -> float:
        """The share of tr F that the largest eigenvalue has, exact/κ1."""
        return self.exact / self.diagonal_mean if self.diagonal_mean > 0 else float("nan")


def fisher_top_eigenvalue(tangent_kernel: TangentKernel | Any) -> FisherTopEigenvalue:
    """P5: κ2 + (κ1 − κ2)/N and the exact largest eigenvalue of the Fisher matrix (Karakida et al., arXiv 1806.01316).

    `tangent_kernel`: that of N >= 2 inputs, a `TangentKernel` or its N × N matrix, numpy or torch; measured ones of
    finite nets, J Jᵀ of one output's Jacobian J, as well. The parameters are those of the kernel's parametrisation.
    Raises InputError: not square, not symmetric, an entry that is no inner product.

    >>> import elutheory as et
    >>> import numpy as np
    >>> top = et.fisher_top_eigenvalue(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> top.estimate, round(top.exact, 12)
    (1.5, 1.5)
    """
    given = tangent_kernel.matrix if isinstance(tangent_kernel, TangentKernel) else tangent_kernel
    matrix = on_host(gram_arguments(given, None).gram)
    count = len(matrix)
    if count < 2:
        raise InputError("fisher_top_eigenvalue needs the tangent kernel of at least two inputs, not of one.")
    trace, total = float(matrix.trace()), float(matrix.sum())
    return FisherTopEigenvalue(
        total / count**2,
        float(numpy.linalg.eigvalsh(matrix)[-1]) / count,
        trace / count,
        (total - trace) / (count * (count - 1)),
    )


@dataclass(frozen=True)
class BiasShiftStrength:
    """B5: `value` = mᵀ(S + λI)⁻¹m, from 0 (zero means) to 1, and the `method` by which it was found.

    >>> import elutheory as et
    >>> import numpy as np
    >>> round(et.bias_shift_strength(np.eye(4), damping=0.25).value, 12)  # one unit for each of four inputs
    0.5
    """

    value: float
    method: str


def bias_shift_strength(gram: Any, damping: Any) -> BiasShiftStrength:
    """B5: mᵀ(S + λI)⁻¹m = (1/N) 1ᵀK(K + λN I)⁻¹1 of N inputs, m = Φᵀ1/N and S = ΦᵀΦ/N, from K = ΦΦᵀ.

    `gram` is K (N × N, numpy or torch), summed over the n units: n × `PropagatedGram.activation_gram` of a wide layer.
    Without the factor n the result is that of the damping n λ. By the lemma L2, 1/(1 − value) = 1 + mᵀ(Var + λI)⁻¹m.

    `damping` λ > 0: by Cholesky factors. λ = 0: the share of 1 in the range of K, which the eigenvalues above
    N × rounding × the largest span; 1 for K of full rank. Raises InputError: gram not square and symmetric, an entry
    that is no inner product; damping negative, not finite, or too small to make K + λN I positive definite.

    >>> import elutheory as et
    >>> import numpy as np
    >>> activations = np.array([[1.0, 2.0], [1.0, 0.0], [1.0, 1.0]])  # three inputs, two units
    >>> round(et.bias_shift_strength(activations @ activations.T, damping=0.1).value, 6)
    0.918728
    """
    damping = real_number("damping", damping)
    arguments = gram_arguments(gram, None)
    matrix = on_host(arguments.gram)
    count = len(matrix)
    if damping == 0.0:
        values, vectors = numpy.linalg.eigh(matrix)
        inside = values > count * arguments.unit * max(float(values[-1]), 0.0)
        rank = int(numpy.count_nonzero(inside))
        share = float((vectors[:, inside].sum(0) ** 2).sum()) / count
        return BiasShiftStrength(share, f"eigenvectors of the range, of dimension {rank} of {count}")
    try:
        factor = linalg.cho_factor(matrix + damping * count * numpy.eye(count), lower=True)
    except linalg.LinAlgError as error:
        raise InputError(
            f"gram + {damping:g} N I is not positive definite to rounding; give a larger damping, or 0 for the range."
        ) from error
    return BiasShiftStrength(float(linalg.cho_solve(factor, matrix.sum(1)).mean()), "Cholesky factors")
