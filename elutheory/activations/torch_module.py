"""An elementwise function as a torch module, for activations that torch.nn lacks."""

from collections.abc import Callable

import torch


class ActivationModule(torch.nn.Module):
    """Applies an activation elementwise; input and output are floating-point tensors of any one shape."""

    def __init__(self, activation: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The activation, elementwise."""
        return self.activation(inputs)

    def extra_repr(self) -> str:
        """The activation's name and parameters, shown between the brackets of the module's text."""
        return str(self.activation)
