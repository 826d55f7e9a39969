"""The two losses whose descent is predicted, each the mean over examples, and their gradients by the outputs (T2).

Outputs are (functions, classes, inputs), so that softmax runs along the inputs, and a step is one matrix product.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float

from elutheory.numerics.arrays import Array, namespace


@dataclass(frozen=True, eq=False)
class Evaluation:
    """`gradient` ∂ℓ/∂F of each example's loss, and `loss`, the mean over the examples, of every function."""

    gradient: Float[Array, "functions classes inputs"]
    loss: Float[Array, " functions"]


Loss = Callable[[Any, Any], Evaluation]


def softmax_cross_entropy(
    outputs: Float[Array, "functions classes inputs"], targets: Float[Array, "classes inputs"]
) -> Evaluation:
    """−Σ_c y_c ln softmax(F)_c; the gradient is softmax(F) − Y."""
    xp = namespace(outputs)
    largest = xp.max(outputs, axis=1, keepdims=True)
    gradient = xp.exp(outputs - largest)
    total = xp.sum(gradient, axis=1, keepdims=True)
    gradient /= total
    loss = (xp.log(total) + largest)[:, 0] - xp.sum(targets * outputs, axis=1)
    gradient -= targets
    return Evaluation(gradient, xp.mean(loss, axis=1))


def half_squared_error(
    outputs: Float[Array, "functions classes inputs"], targets: Float[Array, "classes inputs"]
) -> Evaluation:
    """½ |F − Y|²; the gradient is the residual F − Y."""
    xp = namespace(outputs)
    residual = outputs - targets
    return Evaluation(residual, 0.5 * xp.mean(xp.sum(residual * residual, axis=1), axis=1))


LOSSES: Mapping[str, Loss] = {"cross_entropy": softmax_cross_entropy, "squared_error": half_squared_error}


def accuracy(outputs: Float[Array, "functions classes inputs"], labels: Any) -> Float[Array, " functions"]:
    """The share of the inputs whose largest output is that of their label."""
    xp = namespace(outputs)
    return xp.mean(xp.astype(xp.argmax(outputs, axis=1) == labels, xp.float64), axis=1)
