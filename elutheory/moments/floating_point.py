"""M3–M7 in floating point: the moments of f(X), X ~ N(mean, std²), for numpy and torch, accurate everywhere.

Closed forms where `elutheory.moments.closed_forms` recognises the activation, else quadrature with an error estimate.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elutheory.activations.activation_function import as_activation
from elutheory.moments.evaluation import evaluate, refuse_invalid
from elutheory.numerics.arguments import real_arrays
from elutheory.numerics.arrays import is_torch

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation


@dataclass(frozen=True)
class GaussianMoments:
    """E f, E f², Var f, E f', E f'², E ln f' at X ~ N(mean, std²), of the broadcast shape; and how they were found.

    log_slope_mean = h(f(X)) − h(X) for increasing f (M6). It is −inf where f is constant on a set of positive
    probability (an atom: information is lost), nan where f falls or its slope has no known logarithm.

    >>> import elutheory as et
    >>> moments = et.gaussian_moments("relu", 0.0, 1.0)
    >>> round(float(moments.second_moment), 12), round(float(moments.slope_mean), 12)
    (0.5, 0.5)
    """

    mean: Any
    second_moment: Any
    variance: Any
    slope_mean: Any
    slope_second_moment: Any
    log_slope_mean: Any
    method: str


def gaussian_moments(activation: "Activation | str", mean: Any, std: Any) -> GaussianMoments:
    """The moments of f(X), X ~ N(mean, std²): M3, M4, M6, M7 (arXiv 1511.07289).

    `mean` and `std` are numbers, numpy arrays or torch tensors and broadcast; float64 and float32 come out as they go
    in (numpy promotes a mixture), integers as float64 (torch: the default dtype). torch results have first and second
    derivatives by `mean` and `std`, computed from identities; the activation's parameters are not differentiated.
    Without a closed form all is computed in float64 on the host and rounded; `method` gives the largest of the six
    moments' errors, relative to the moments themselves.
    std = 0 gives f(mean), variance 0 and f'(mean) as `Activation.derivative` has it; mean = ±inf the limits.
    Raises InputError: std negative, infinite or nan; mean nan; not real numbers; shapes that do not broadcast; an
    integral that quadrature cannot find to 1e-8 of the root mean square of what is averaged.

    >>> import elutheory as et
    >>> import numpy as np
    >>> moments = et.gaussian_moments("elu", mean=np.array([-20.0, 0.0]), std=1.0)
    >>> moments.mean.round(6).tolist(), moments.method
    ([-1.0, 0.160521], 'closed form')
    """
    f = as_activation(activation)
    f.refuse_symbolic()
    (mean, std), _ = real_arrays(("mean", "std"), (mean, std))
    if is_torch(mean):
        # torch is not loaded for numpy users
        from elutheory.moments.torch_gradients import torch_moments  # noqa: PLC0415

        values, error = torch_moments(f, mean, std)
    else:
        refuse_invalid(mean, std)
        values, error = evaluate(f, mean, std)
        values = tuple(value[()] for value in values)
    if error is None:
        return GaussianMoments(*values, method="closed form")
    return GaussianMoments(*values, method=f"Gauss-Legendre quadrature, estimated relative error {error:.0e}")
