"""Full-batch gradient descent on the mean of ½|f(x) − y|²: a network's, and its linearisation's at the start.

Of the linearised network the residuals r obey r ← (I − η JJᵀ/N) r: gradient descent converges if η < 2/λ_max of JJᵀ/N,
the largest eigenvalue of the Fisher matrix of a Gaussian likelihood, and diverges beyond.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vjp

Parameters = dict[str, Tensor]
Function = Callable[[Parameters], Tensor]
"""Parameters to the outputs of all inputs (N, outputs)."""
Model = Callable[[Parameters], tuple[Tensor, Callable[[Tensor], tuple[Parameters]]]]
"""Parameters to outputs and the product of the transposed Jacobian with a cotangent."""


@dataclass(frozen=True, eq=False)
class Descent:
    """Before each of the steps and after the last.

    - `losses`: mean over inputs of ½|f(x) − y|²; inf once it is not finite;
    - `along`: the part of it along a direction u of unit length of the residuals, (u·r)²/(2N);
    - `parameters`: the last ones.
    """

    losses: Float[Tensor, " steps"]
    along: Float[Tensor, " steps"]
    parameters: Parameters


def function_of(network: nn.Module, inputs: Tensor) -> tuple[Function, Parameters]:
    """The network as a function of its parameters, and these."""
    start = {name: parameter.detach() for name, parameter in network.named_parameters()}
    return lambda parameters: functional_call(network, parameters, (inputs,)), start


def network_model(function: Function) -> Model:
    """The network itself."""
    return lambda parameters: vjp(function, parameters)  # pyright: ignore[reportReturnType]


def linearised_model(function: Function, start: Parameters) -> Model:
    """f(θ0) + J (θ − θ0), J at θ0 = `start`; J as the transpose of the linear Jᵀ, by reverse mode twice."""
    at_start: Any = vjp(function, start)
    value, pull_back = at_start
    transposed: Any = vjp(lambda cotangent: vjp(function, start)[1](cotangent)[0], torch.zeros_like(value))
    _, push_forward = transposed

    def model(parameters: Parameters) -> tuple[Tensor, Callable[[Tensor], tuple[Parameters]]]:
        (change,) = push_forward({name: parameters[name] - start[name] for name in start})
        return value + change, pull_back

    return model


def descend(
    model: Model,
    start: Parameters,
    targets: Float[Tensor, "examples outputs"],
    rate: float,
    steps: int,
    direction: Float[Tensor, "examples outputs"],
) -> Descent:
    """That many steps from `start`, fewer if the loss stops being finite."""
    losses = torch.full((steps + 1,), torch.inf, dtype=targets.dtype)
    along = losses.clone()
    parameters = start
    for step in range(steps + 1):
        outputs, pull_back = model(parameters)
        residuals = (outputs - targets).detach()
        loss = residuals.square().sum() / (2 * len(targets))
        if not loss.isfinite():
            break
        losses[step], along[step] = loss, (residuals * direction).sum().square() / (2 * len(targets))
        if step < steps:
            (gradient,) = pull_back(residuals / len(targets))
            parameters = {name: parameters[name] - rate * gradient[name].detach() for name in start}
    return Descent(losses, along, parameters)
