"""Pair expectations of torch tensors: values as in numpy, first derivatives from identities (Price's theorem).

With K_ij = E f^(i)(U) f^(j)(V), point masses included: ∂K_ij by the covariance is K_{i+1,j+1}, by mean_u K_{i+1,j}, by
variance_u ½ K_{i+2,j}. GELU, erf, bumps, waves and their like have all of these in closed form; without f''', by Stein,
variance_u K_31 = E[(U − mean_u) f''(U) f'(V)] − covariance K_22.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

from elutheory.kernels.error_function_pairs import error_function_mixed
from elutheory.kernels.expectations import evaluate
from elutheory.kernels.packet_pairs import packet_mixed
from elutheory.kernels.pairs import PairArguments, pair_arguments
from elutheory.kernels.quadrature import MIXED_TOLERANCE, mixed_expectation
from elutheory.moments.closed_forms import closed_form, piecewise_form
from elutheory.moments.closed_forms.error_function import ErrorFunction
from elutheory.moments.closed_forms.sinusoid import Sinusoid
from elutheory.numerics.arrays import indices

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

# K_22 diverges where |correlation| = 1 and both kinks meet: derivatives are those at this angle.
_SMALLEST_SINE = 1e-12
_SMALLEST_STD = 1e-150


def torch_pair_expectation(f: "Activation", quantity: str, arrays: tuple[Any, ...], dtype: Any) -> tuple[Any, str]:
    """value, slope or covariance for `pair_arguments.broadcast`'s tensors, and the method."""
    detached = tuple(array.detach() for array in arrays)
    pair = pair_arguments(detached, torch.finfo(dtype).eps)
    with torch.no_grad():
        (value,), method = evaluate(f, (quantity,), pair)
    value = value.reshape(arrays[0].shape)
    if torch.is_grad_enabled() and any(array.requires_grad for array in arrays):
        value = _Expectation.apply(value, f, quantity, *arrays)
    return value.to(dtype), method


class _Expectation(torch.autograd.Function):
    """The identity on `value`, with the derivatives by variances, covariance and means."""

    @staticmethod
    def forward(ctx: Any, value: Any, f: Any, quantity: str, *arrays: Any) -> Any:
        ctx.save_for_backward(*arrays)
        ctx.activation, ctx.quantity = f, quantity
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        arrays = ctx.saved_tensors
        pair = pair_arguments(tuple(array.detach() for array in arrays), torch.finfo(torch.float64).eps * 1e9)
        derivatives = _derivatives(ctx.activation, ctx.quantity, pair, arrays[2].reshape(-1), ctx.needs_input_grad[3:])
        terms = [None if term is None else gradient * term.reshape(gradient.shape) for term in derivatives]
        return None, None, None, *terms


def _derivatives(f: Any, quantity: str, pair: PairArguments, covariance: Any, needed: Any) -> list[Any]:
    """By variance_u, variance_v, covariance, mean_u, mean_v; None where not needed."""
    sine = pair.sine.clamp_min(_SMALLEST_SINE)
    std_u, std_v = (std.clamp_min(_SMALLEST_STD) for std in (pair.std_u, pair.std_v))
    forwards = PairArguments(pair.mean_u, pair.mean_v, std_u, std_v, pair.cosine, sine)
    backwards = forwards.swapped()

    def K(i: int, j: int, pair: PairArguments) -> Any:
        """i belongs to the first of the two."""
        return mixed(f, (i, j), pair)

    results: list[Any] = [None] * 5
    own = 1 if quantity == "slope" else 0
    if needed[2]:
        results[2] = K(own + 1, own + 1, forwards)
    for place, ordered in ((0, forwards), (1, backwards)):
        if needed[place]:
            if own:
                results[place] = 0.5 * _third(f, covariance, ordered)
            else:
                results[place] = 0.5 * K(2, 0, ordered)
                if quantity == "covariance":
                    results[place] = results[place] - 0.5 * _product_of_means(f, 2, ordered)
        if needed[3 + place]:
            results[3 + place] = K(own + 1, own, ordered)
            if quantity == "covariance":
                results[3 + place] = results[3 + place] - _product_of_means(f, 1, ordered)
    return results


def mixed(f: "Activation", orders: tuple[int, int], pair: PairArguments) -> Any:
    """E f^(i)(U) f^(j)(V), orders 0 to 2, not both 0: in closed form where f has a smooth one and that is accurate."""
    value, accurate = _smooth(f, orders, pair)
    rest = indices(~accurate)
    if len(rest):
        i, j = orders
        chosen, form = pair[rest], piecewise_form(f)
        if j == 0 or (j == 2 and i == 1):  # the smoothed factor is the one that has a closed form, or a point mass
            value[rest] = mixed_expectation(f, form, (j, i), False, chosen.swapped())
        else:
            value[rest] = mixed_expectation(f, form, (i, j), False, chosen)
    return value


def _third(f: "Activation", covariance: Any, pair: PairArguments) -> Any:
    """E f'''(U) f'(V)."""
    value, accurate = _smooth(f, (3, 1), pair)
    rest = indices(~accurate)
    if len(rest):
        chosen = pair[rest]
        weighted = mixed_expectation(f, piecewise_form(f), (2, 1), True, chosen)
        value[rest] = (weighted - covariance[rest] * mixed(f, (2, 2), chosen)) / chosen.std_u**2
    return value


def _smooth(f: "Activation", orders: tuple[int, int], pair: PairArguments) -> tuple[Any, Any]:
    """E f^(i)(U) f^(j)(V) of GELU, erf, bumps, waves and their like, and where it is accurate."""
    form = closed_form(f)
    if isinstance(form, ErrorFunction):
        return error_function_mixed(form, orders, pair)
    if form is not None and not isinstance(form, Sinusoid):
        return torch.empty_like(pair.mean_u), torch.zeros_like(pair.mean_u, dtype=torch.bool)
    value, error = packet_mixed(f, orders, pair)
    return value, error <= MIXED_TOLERANCE


def _product_of_means(f: Any, order: int, pair: PairArguments) -> Any:
    """E f^(order)(U) E f(V): as if the two were independent."""
    independent = replace(pair, cosine=torch.zeros_like(pair.cosine), sine=torch.ones_like(pair.sine))
    return mixed(f, (order, 0), independent)
