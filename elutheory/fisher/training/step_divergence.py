"""How far a step moves the predictive distributions on its batch, measured: the forward passes are run again."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call

from elutheory.errors import InputError
from elutheory.fisher.likelihoods import Likelihood

_CHUNK_NUMBERS = 2**22  # of the outputs that are compared at a time


@dataclass(frozen=True, eq=False)
class Circumstances:
    """What a forward pass depends on beside parameters and inputs: random numbers, and the autocast context.

    - `random_states`: by device, the CPU among them; `autocast`: by type of device the dtype, None: none.
    """

    random_states: dict[torch.device, Tensor]
    autocast: dict[str, torch.dtype | None]

    @classmethod
    def now(cls, devices: Collection[torch.device]) -> "Circumstances":
        """Those on some devices, the CPU among them."""
        autocast = {
            kind: torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
            for kind in {device.type for device in devices}
            if torch.amp.is_autocast_available(kind)
        }
        return cls({device: _random_state(device) for device in devices}, autocast)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Inside they are as they were; afterwards random numbers go on where they would have.

        Parameters that autocast has cast before are cast anew, as they have changed.
        """
        before = {device: _random_state(device) for device in self.random_states}
        with ExitStack() as contexts:
            for kind, dtype in self.autocast.items():
                if dtype is not None:
                    contexts.enter_context(torch.autocast(kind, dtype, cache_enabled=False))
                elif torch.is_autocast_enabled(kind):
                    contexts.enter_context(torch.autocast(kind, enabled=False))
            try:
                for device, state in self.random_states.items():
                    _set_random_state(device, state)
                yield
            finally:
                for device, state in before.items():
                    _set_random_state(device, state)


@dataclass(frozen=True, eq=False)
class NotedPass:
    """A forward pass of a training loop as it can be run again.

    - `arguments`, `keywords`: what the model was given; `circumstances`: under which;
    - `outputs`: what it returned, as `read` lays it out; `version` tells whether that has been changed since;
    - `counting`: which positions count; None: all; `gradients`: the shapes of those that reached the outputs since.
    """

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    circumstances: Circumstances
    outputs: Float[Tensor, "examples *positions classes"]
    version: int
    read: Callable[[Any], Tensor]
    counting: Bool[Tensor, "examples positions"] | None = None
    gradients: list[torch.Size] = field(default_factory=list)

    def reached(self, gradient: Tensor) -> None:
        """Notes that a backward pass has gone through it."""
        self.gradients.append(gradient.shape)


@torch.no_grad()
def divergence_of_step(model: nn.Module, passes: Sequence[NotedPass], likelihood: Likelihood) -> Tensor:
    """Divergence of the model's predictions now from those noted, in nats: the mean over examples, summed over
    positions. The model's buffers stay as they are.

    Passes that no backward pass has gone through are left out, unless that is all of them.
    Raises InputError if what a pass returned has been changed since.
    """
    passes = [one for one in passes if one.gradients] or passes
    total: Tensor | float = 0.0
    for one in passes:
        if one.outputs._version != one.version:
            raise InputError(
                "what the model returned was changed in place after its forward pass, so that the step's divergence "
                "cannot be measured; change a copy, or give max_kl=None."
            )
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        with one.circumstances.restored():
            returned = (
                functional_call(model, buffers, one.arguments, one.keywords)
                if buffers
                else model(*one.arguments, **one.keywords)
            )
        total = total + _divergence(one, one.read(returned), likelihood)
    return torch.as_tensor(total) / sum(len(one.outputs) for one in passes)


def _divergence(one: NotedPass, outputs: Tensor, likelihood: Likelihood) -> Tensor:
    """Summed over examples; in double precision where the device has it, some examples at a time."""
    dtype = torch.float32 if outputs.device.type == "mps" else torch.float64
    size = max(1, _CHUNK_NUMBERS // max(1, math.prod(outputs.shape[1:])))
    total = outputs.new_zeros((), dtype=dtype)
    for start in range(0, len(outputs), size):
        rows = slice(start, start + size)
        divergence = likelihood.divergence(one.outputs[rows].to(dtype), outputs[rows].to(dtype))
        if one.counting is not None:
            divergence = torch.where(one.counting[rows].to(divergence.device), divergence, 0.0)
        total += divergence.sum()
    return total


def _random_state(device: torch.device) -> Tensor:
    if device.type == "cpu":
        return torch.get_rng_state()
    return torch.get_device_module(device).get_rng_state(device)


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.get_device_module(device).set_rng_state(state, device)
