"""What is computed in 16 bits, by a model or under autocast, is worked on in 32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

LOW_PRECISION = (torch.bfloat16, torch.float16)


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype for sums and solves over tensors of `dtype`: float32 for those of 16 bits."""
    return torch.float32 if dtype in LOW_PRECISION else dtype


@contextmanager
def without_autocast(device: torch.device) -> Iterator[None]:
    """Inside no operation on the device is cast to lower precision."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        with torch.autocast(device.type, enabled=False):
            yield
    else:
        yield
