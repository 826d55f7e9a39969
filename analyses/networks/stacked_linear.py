"""`nn.Linear` which `torch.func.vmap` turns into one batched product a pass, forward and backward."""

from typing import Any

import torch
from torch import Tensor, nn


def stackable(network: nn.Module) -> nn.Module:
    """The network with its linear layers, in place, computed by `_Affine` while training; the numbers stay the same."""
    for module in network.modules():
        if type(module) is nn.Linear and module.bias is not None:
            module.__class__ = _StackableLinear
    return network


class _StackableLinear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.ndim == 2 and not torch.is_autocast_enabled(input.device.type):
            return _Affine.apply(input, self.weight, self.bias)  # pyright: ignore[reportReturnType]
        return super().forward(input)


class _Affine(torch.autograd.Function):
    """x Wᵀ + b of inputs (examples, fan_in); with a leading dimension of all three, of many networks."""

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return torch.matmul(inputs, weight.mT).add_(bias.unsqueeze(-2))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, Tensor, Tensor]:
        (outputs,) = gradients
        inputs, weight = ctx.saved_tensors
        inner = torch.matmul(outputs, weight) if ctx.needs_input_grad[0] else None
        return inner, torch.matmul(outputs.mT, inputs), outputs.sum(-2)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *operands: Tensor) -> tuple[Any, int]:
        stacked = [
            operand.expand(info.batch_size, *operand.shape) if dim is None else operand.movedim(dim, 0)
            for operand, dim in zip(operands, in_dims, strict=True)
        ]
        return _Affine.apply(*stacked), 0
