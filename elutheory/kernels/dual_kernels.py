"""K1–K3 in floating point: E f(U)f(V), E f'(U)f'(V) and Cov(f(U), f(V)) of Gaussian pairs, numpy and torch.

One integral over U with the conditional mean of f'(V) in closed form where `elutheory.moments.closed_forms` knows the
activation as one of pieces, or bivariate normal probabilities where that is accurate; arc-sine formulas of centred
pairs for GELU and erf, elementary ones for sin and cos; Gaussian integrals for polynomials, exponentials, waves, bumps
and what they multiply and add to. Else, for analytic f, Mehler's series (K4), or trapezoidal rules in graded variables
where that is too long; and nested quadrature for what neither holds. `method` says which, and its error.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

from elutheory.activations.activation_function import as_activation
from elutheory.kernels.expectations import evaluate
from elutheory.kernels.pairs import broadcast, pair_arguments
from elutheory.numerics.arrays import is_torch

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation


@dataclass(frozen=True)
class DualKernel:
    """`value`, of the broadcast shape, and the `method` by which it was found.

    >>> import elutheory as et
    >>> kernel = et.dual_kernel("erf", 1.0, 1.0, 0.5)
    >>> round(float(kernel.value), 12)
    0.216346895939
    """

    value: Any
    method: str


def dual_kernel(
    activation: "Activation | str",
    variance_u: Any,
    variance_v: Any,
    covariance: Any,
    mean_u: Any = 0.0,
    mean_v: Any = 0.0,
) -> DualKernel:
    """E f(U)f(V) (K1) for Gaussian U, V of the given variances, covariance and means.

    Numbers, numpy arrays or torch tensors, which broadcast; float64 and float32 come out as they go in, integers as
    float64 (torch: the default dtype); all is computed in float64 on the tensor's own device, and torch results are
    differentiable. Variances >= 0; a zero variance means a constant. |covariance| above the geometric mean of the
    variances by up to 64 rounding units is taken as that mean. Error: within 1e-13 of √(E f(U)² E f(V)²); of nested
    quadrature what `method` states, at most 1e-8.
    Raises InputError: not finite, negative variance or |correlation| > 1, naming the first such pair; wrong types;
    shapes that do not broadcast; an integral that no rule finds to 1e-8.

    >>> import elutheory as et
    >>> import numpy as np
    >>> kernel = et.dual_kernel("relu", variance_u=1.0, variance_v=1.0, covariance=np.array([0.0, 1.0]))
    >>> kernel.value.round(12).tolist()
    [0.159154943092, 0.5]
    """
    return _evaluated(activation, "value", (variance_u, variance_v, covariance, mean_u, mean_v))


def dual_kernel_derivative(
    activation: "Activation | str",
    variance_u: Any,
    variance_v: Any,
    covariance: Any,
    mean_u: Any = 0.0,
    mean_v: Any = 0.0,
) -> DualKernel:
    """E f'(U)f'(V) (K2), the derivative of `dual_kernel` by the covariance (Price); relative error within 1e-13.

    Where f has no closed form the error is relative to √(E f'(U)² E f'(V)²). Arguments and exceptions as for
    `dual_kernel`. At a kink that holds a constant U, f' is that of `Activation.derivative`.

    >>> import elutheory as et
    >>> float(et.dual_kernel_derivative("relu", 1.0, 1.0, 0.0).value)
    0.25
    """
    return _evaluated(activation, "slope", (variance_u, variance_v, covariance, mean_u, mean_v))


def dual_covariance(
    activation: "Activation | str",
    variance_u: Any,
    variance_v: Any,
    covariance: Any,
    mean_u: Any = 0.0,
    mean_v: Any = 0.0,
) -> DualKernel:
    """Cov(f(U), f(V)) (K3), not by subtraction: relative error within 1e-12 for increasing f.

    Arguments as for `dual_kernel`.

    >>> import elutheory as et
    >>> f"{float(et.dual_covariance('elu', 1.0, 1.0, 1e-9).value):.6e}"
    '5.800015e-10'
    """
    return _evaluated(activation, "covariance", (variance_u, variance_v, covariance, mean_u, mean_v))


def _evaluated(activation: "Activation | str", quantity: str, values: tuple[Any, ...]) -> DualKernel:
    f = as_activation(activation)
    f.refuse_symbolic()
    arrays, dtype = broadcast(values)
    if is_torch(arrays[0]):
        from elutheory.kernels.torch_gradients import torch_pair_expectation  # noqa: PLC0415 (torch, for tensors)

        return DualKernel(*torch_pair_expectation(f, quantity, arrays, dtype))

    with numpy.errstate(all="ignore"):  # rounding to 0 or to infinity is the right result, not news
        pair = pair_arguments(arrays, float(numpy.finfo(dtype).eps))
        (value,), method = evaluate(f, (quantity,), pair)
        value = value.reshape(arrays[0].shape).astype(dtype)
    return DualKernel(value[()], method)
