"""What torch itself counts of a training step: operations of products, bytes of operands, bytes kept for backward."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class TorchCounts:
    """By part, forward and backward. `operations`: of matrix products and convolutions, without their biases.

    `bytes`: of every kernel's distinct operands and of its results, as torch calls it: how often a kernel reads them is
    not seen. `kept_bytes`: of distinct tensors that forward keeps for backward, parameters and buffers aside, which are
    there anyway. An ELU keeps its net inputs; a ReLU, and an ELU in place, its outputs, which the next layer keeps too.
    """

    operations: dict[str, int]
    bytes: dict[str, int]
    kept_bytes: int


def torch_counts(network: nn.Module, inputs: Tensor) -> TorchCounts:
    """Of forward and of backward from gradients of the outputs; on the device "meta" nothing is computed."""
    kept = _Kept(network)
    with FlopCounterMode(display=False) as operations, OperandBytes() as moved:
        with saved_tensors_hooks(kept.keep, lambda held: held):
            outputs = network(inputs)
        forward = operations.get_total_flops(), moved.bytes
        outputs.backward(torch.empty_like(outputs))
        total = operations.get_total_flops(), moved.bytes
    by_part = [{"forward": some, "backward": all_ - some} for some, all_ in zip(forward, total, strict=True)]
    return TorchCounts(by_part[0], by_part[1], kept.bytes)


class OperandBytes(TorchDispatchMode):
    """Sums the bytes of every kernel's distinct operands and of its results; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        if not _moves_nothing(func):
            operands = {id(tensor): tensor for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
            self.bytes += sum(map(_bytes_of, [*operands.values(), *tree_leaves(results)]))
        return results


def _moves_nothing(func: Any) -> bool:
    """Views, and memory that is only reserved."""
    views = any(found.alias_info is not None and not found.alias_info.is_write for found in func._schema.returns)
    return views or func._schema.name.startswith(("aten::empty", "aten::detach"))


def _bytes_of(held: Any) -> int:
    return held.numel() * held.element_size() if isinstance(held, Tensor) else 0


class _Kept:
    def __init__(self, network: nn.Module) -> None:
        self._state = {_storage(tensor) for tensor in (*network.parameters(), *network.buffers())}
        self._tensors: dict[int, Tensor] = {}

    def keep(self, tensor: Tensor) -> Tensor:
        if _storage(tensor) not in self._state:
            self._tensors[_storage(tensor)] = tensor  # held, so that no other takes its place in memory
        return tensor

    @property
    def bytes(self) -> int:
        return sum(tensor.untyped_storage().nbytes() for tensor in self._tensors.values())


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
