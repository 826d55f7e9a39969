"""An activation as a torch module, for those that torch.nn lacks."""

import torch

from elutheory.activations import Activation


class ActivationModule(torch.nn.Module):
    """Applies an activation elementwise; input and output are floating-point tensors of any one shape."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.activation(inputs)

    def extra_repr(self) -> str:
        return str(self.activation)
