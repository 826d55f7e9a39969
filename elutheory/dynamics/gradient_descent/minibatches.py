"""In which order the examples of an epoch are taken: a permutation by seed and epoch, the same on every device."""

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

import numpy
from jaxtyping import Int

if TYPE_CHECKING:
    from torch import Tensor


def batch_order(seed: int, epoch: int, examples: int) -> "Tensor":
    """The order of the training examples in this epoch, counted from 0: a permutation, the same on every device."""
    import torch  # noqa: PLC0415 (full batches need no torch)

    mixed = numpy.random.SeedSequence((seed, epoch)).generate_state(1, numpy.uint64)[0]
    return torch.randperm(examples, generator=torch.Generator().manual_seed(int(mixed >> 1)))


def batches(seed: int, examples: int, batch_size: int) -> Iterator[Int[numpy.ndarray, " batch"]]:
    """Batch after batch, epoch after epoch, without end; the last of an epoch has the examples that are left."""
    for epoch in count():
        order = batch_order(seed, epoch, examples).numpy()
        for start in range(0, examples, batch_size):
            yield order[start : start + batch_size]
