"""Gaussian moments of torch tensors: values as in numpy, derivatives from identities between moments."""

from typing import TYPE_CHECKING, Any

import torch

from elutheory.errors import InputError
from elutheory.moments.closed_forms import closed_form
from elutheory.moments.closed_forms.form import HIGHEST_ORDER
from elutheory.moments.evaluation import evaluate, refuse_invalid
from elutheory.moments.quadrature import derivative_by_quadrature
from elutheory.numerics.arrays import on_host, place_like

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

_QUANTITIES = ("mean", "second_moment", "variance", "slope_mean", "slope_second_moment", "log_slope_mean")
_FAR = 1e30
_CHUNK = 131072


def torch_moments(f: "Activation", mean: Any, std: Any) -> tuple[tuple[Any, ...], float | None]:
    """The six moments for tensors of one shape, dtype and device, and the error estimate (None: closed form)."""
    error: list[float | None] = [0.0]
    return _Moments.apply(mean, std, f, error), error[0]  # pyright: ignore


def _batched_first(info: Any, in_dims: Any, tensors: tuple[Any, ...]) -> list[Any]:
    """The tensors with the dimension that `vmap` maps over moved to the front, added where a tensor has none."""
    moved = []
    for tensor, dimension in zip(tensors, in_dims, strict=False):
        moved.append(
            tensor.expand(info.batch_size, *tensor.shape) if dimension is None else tensor.movedim(dimension, 0)
        )
    return moved


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(mean: Any, std: Any, f: "Activation", error: list[float | None]) -> Any:
        refuse_invalid(mean, std)
        values, error[0] = evaluate(f, mean, std)
        return values

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        mean, std, f, _ = inputs
        ctx.save_for_backward(mean, std)
        ctx.activation = f
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        mean, std = ctx.saved_tensors
        f = ctx.activation
        by_mean = by_std = None
        for quantity, gradient in zip(_QUANTITIES, gradients, strict=True):
            if gradient is None:
                continue
            if ctx.needs_input_grad[0]:
                term = gradient * _order(mean, std, f, quantity, 1)
                by_mean = term if by_mean is None else by_mean + term
            if ctx.needs_input_grad[1]:
                term = gradient * _by_std(mean, std, f, quantity, 0)
                by_std = term if by_std is None else by_std + term
        return by_mean, by_std, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, mean: Any, std: Any, f: "Activation", error: Any) -> Any:  # pyright: ignore
        return _Moments.apply(*_batched_first(info, in_dims, (mean, std)), f, error), (0,) * 6


class _MeanDerivative(torch.autograd.Function):
    """∂^order of a moment by the mean."""

    @staticmethod
    def forward(mean: Any, std: Any, f: "Activation", quantity: str, order: int) -> Any:
        shape = mean.shape
        mean = mean.reshape(-1).clamp(-_FAR, _FAR)
        std = std.reshape(-1).clamp_min(torch.finfo(std.dtype).tiny)
        form = closed_form(f)
        if form is None:
            result = derivative_by_quadrature(f, quantity, order, on_host(mean), on_host(std))
            return place_like(result, mean).reshape(shape)
        step = _CHUNK if mean.device.type == "cpu" else max(mean.numel(), 1)
        chunks = [
            form.derivative(quantity, order, mean[i : i + step], std[i : i + step])
            for i in range(0, mean.numel(), step)
        ]
        return torch.cat(chunks).reshape(shape) if chunks else torch.zeros_like(mean).reshape(shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        mean, std, ctx.activation, ctx.quantity, ctx.order = inputs
        ctx.save_for_backward(mean, std)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        mean, std = ctx.saved_tensors
        if ctx.order + 2 > HIGHEST_ORDER:
            raise InputError("gaussian_moments has first and second derivatives; a third was asked for.")
        by_mean = by_std = None
        if ctx.needs_input_grad[0]:
            by_mean = gradient * _order(mean, std, ctx.activation, ctx.quantity, ctx.order + 1)
        if ctx.needs_input_grad[1]:
            by_std = gradient * _by_std(mean, std, ctx.activation, ctx.quantity, ctx.order)
        return by_mean, by_std, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, mean: Any, std: Any, f: "Activation", quantity: str, order: int) -> Any:  # pyright: ignore
        return _MeanDerivative.apply(*_batched_first(info, in_dims, (mean, std)), f, quantity, order), 0


def _order(mean: Any, std: Any, f: Any, quantity: str, order: int) -> Any:
    return _MeanDerivative.apply(mean, std, f, quantity, order)


def _by_std(mean: Any, std: Any, f: Any, quantity: str, order: int) -> Any:
    """∂_std of the `order`-th derivative: std times two orders more; Var = E f² − (E f)² adds ∂^order of 2 (E f')²."""
    curvature = _order(mean, std, f, quantity, order + 2)
    if quantity == "variance":
        F = [_order(mean, std, f, "mean", n + 1) for n in range(order + 1)]
        curvature = curvature + (
            2.0 * F[0] * F[0] if order == 0 else 4.0 * F[0] * F[1] if order == 1 else 4.0 * (F[1] * F[1] + F[0] * F[2])
        )
    return std * curvature
