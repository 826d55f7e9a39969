"""Hooks on a model that are always removed, and the one that notes what a layer receives and returns."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Note = Callable[[Tensor, Tensor], Tensor | None]
"""Takes what a layer received and returned; gives the net input that the model goes on with, or None: as it is."""


@contextmanager
def hooked(handles: Iterator[RemovableHandle]) -> Iterator[None]:
    """Inside, the hooks that the iterator registers one by one are in place; afterwards none of them is.

    They go too where registering a later one or the code inside fails.
    """
    registered = []
    try:
        for handle in handles:
            registered.append(handle)
        yield
    finally:
        for handle in registered:
            handle.remove()


def on_calls(layer: nn.Module, note: Note) -> RemovableHandle:
    """Registers a hook that gives `note` every call of the layer, before the user's own hooks see its output.

    Of the net input that `note` gives the model gets a copy, so that an activation function may change it in place.
    """

    def after(_module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Tensor) -> Any:
        net = note(arguments[0] if arguments else keywords["input"], output)
        return None if net is None else net.clone()

    return layer.register_forward_hook(after, prepend=True, with_kwargs=True)
