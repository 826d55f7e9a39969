"""A function on torch tensors whose derivatives, of every order, are themselves evaluated, never left to autograd.

Autograd's derivative of a stable formula need not be stable: that of `expm1(u)` is computed as `expm1(u) + 1`, which is
0 from u = −17 on in float32, where exp(u) is 4e-8; those of `tanh` and `sigmoid` as 1 − y² and y (1 − y). Here the
derivative is another function of x, in stable form of its own, backward, forward and under `torch.func`.
"""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.autograd.forward_ad import _set_fwd_grad_enabled


@runtime_checkable
class Differentiable(Protocol):
    """An elementwise function of a floating-point tensor, with its derivative, which is another one."""

    def on_tensor(self, x: Tensor) -> Tensor:
        """The values at x, of its shape, dtype and device; what autograd makes of them is not used."""
        ...

    def differentiated(self) -> "Differentiable":
        """The derivative."""
        ...


def differentiable(function: Differentiable, x: Tensor) -> Tensor:
    """The function's values at x; gradients and tangents of every order are those of `function.differentiated()`."""
    return _Elementwise.apply(x, function)  # pyright: ignore[reportReturnType]


class _Elementwise(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, function: Differentiable) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        values = function.on_tensor(x)
        return values.clone() if values is x else values

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Differentiable], output: Tensor) -> None:
        x, ctx.function = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        return gradient * differentiable(ctx.function.differentiated(), x), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _function: None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        # Without this tangent, with those of an outer forward mode:
        primal = torch._unpack_dual(x, level=0)[0]  # pyright: ignore[reportPrivateImportUsage]
        with _set_fwd_grad_enabled(True):  # torch disables it here, and tangents of tangents would silently be 0
            return tangent * differentiable(ctx.function.differentiated(), primal)
