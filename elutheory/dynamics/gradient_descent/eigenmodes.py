"""T3, T4: squared error under full batches, mode by mode: the expected loss without sampling, and each function's.

With eigenpairs (λ_k, u_k) of Θ/N of the N trained inputs the residual's mode k is p_k(t) times that at the start, where
p(t + 1) = p(t) − η v(t + 1), v(t + 1) = μ v(t) + λ p(t): (1 − ηλ)^t without momentum μ. What has been learned is q(t)
with λ q = 1 − p, so that another input's outputs are F(0) − Θ_xN/N Σ_k u_k q_k(t) u_kᵀ(F_0 − Y): kernel regression.
"""

from dataclasses import dataclass
from typing import Any

import numpy
from jaxtyping import Float
from scipy.linalg import eigh

from elutheory.dynamics.gradient_descent.descent import Curves, Descent, Task
from elutheory.dynamics.gradient_descent.initial_functions import InitialFunctions
from elutheory.dynamics.gradient_descent.losses import accuracy


@dataclass(frozen=True, eq=False)
class Eigenmodes:
    """Of Θ/N of the trained inputs, by descending eigenvalue: `values` λ_k >= 0 to rounding, `vectors` u_k, columns."""

    values: Float[numpy.ndarray, " modes"]
    vectors: Float[numpy.ndarray, "inputs modes"]

    @classmethod
    def of(cls, kernel: Float[numpy.ndarray, "inputs inputs"]) -> "Eigenmodes":
        """Those of a kernel Θ of N inputs, divided by N."""
        values, vectors = eigh(kernel / len(kernel))
        return cls(values[::-1], vectors[:, ::-1])


@dataclass(frozen=True, eq=False)
class _Progress:
    """At the recorded steps: `left` p_k and `learned` q_k, (modes, steps)."""

    left: Float[numpy.ndarray, "modes steps"]
    learned: Float[numpy.ndarray, "modes steps"]


def progress(values: Float[numpy.ndarray, " modes"], descent: Descent) -> _Progress:
    """p and q of every mode."""
    left, learned = numpy.ones_like(values), numpy.zeros_like(values)
    velocity, learned_velocity = numpy.zeros_like(values), numpy.zeros_like(values)
    recorded, columns = set(descent.recorded.tolist()), []
    for step in range(descent.steps + 1):
        if step in recorded:
            columns.append((left, learned))
        velocity = descent.momentum * velocity + values * left
        learned_velocity = descent.momentum * learned_velocity + left
        left = left - descent.learning_rate * velocity
        learned = learned + descent.learning_rate * learned_velocity
    return _Progress(*(numpy.stack(rows, axis=1) for rows in zip(*columns, strict=True)))


@dataclass(frozen=True, eq=False)
class ExpectedLosses:
    """E ½ |F − Y|² over initialisations at the recorded steps, the mean over the trained inputs and over the others."""

    loss: Float[numpy.ndarray, " steps"]
    test_loss: Float[numpy.ndarray, " steps"] | None


def expected_losses(
    kernel: Float[numpy.ndarray, "inputs inputs"],
    modes: Eigenmodes,
    initial: InitialFunctions,
    task: Task,
    descent: Descent,
) -> ExpectedLosses:
    """T3: ½ Σ_k p_k² (C u_kᵀK u_k + |u_kᵀ(E F_0 − Y)|²)/N, and the like for the inputs that are not trained on."""
    at = progress(modes.values, descent)
    classes, count = len(task.targets), len(task.trained)
    residual = initial.mean - task.targets
    of_modes = residual[:, task.trained] @ modes.vectors
    products = of_modes.T @ of_modes  # of modes k and l, E r̂_k·r̂_l once the covariance is added
    covariance = None if initial.covariance is None else classes * initial.covariance
    if covariance is not None:
        products = products + modes.vectors.T @ covariance[numpy.ix_(task.trained, task.trained)] @ modes.vectors
    loss = 0.5 * (products.diagonal() @ at.left**2) / count
    if not len(task.tested):
        return ExpectedLosses(loss, None)
    reach = kernel[numpy.ix_(task.tested, task.trained)] @ modes.vectors / count
    start, crossed = numpy.sum(residual[:, task.tested] ** 2), reach * (residual[:, task.tested].T @ of_modes)
    crossed = crossed.sum(0)
    if covariance is not None:
        start = start + covariance[task.tested, task.tested].sum()
        between = covariance[numpy.ix_(task.tested, task.trained)] @ modes.vectors
        crossed = crossed + (reach * between).sum(0)
    quadratic = (reach.T @ reach) * products
    total = start - 2.0 * (crossed @ at.learned) + (at.learned * (quadratic @ at.learned)).sum(0)
    return ExpectedLosses(loss, 0.5 * total / len(task.tested))


def descend_by_modes(
    kernel: Float[numpy.ndarray, "inputs inputs"],
    modes: Eigenmodes,
    outputs: Float[numpy.ndarray, "functions classes inputs"],
    task: Task,
    descent: Descent,
) -> Curves:
    """What `descent.descend` finds step by step for squared error and full batches, here by modes at each record."""
    at = progress(modes.values, descent)
    functions, classes, inputs = outputs.shape
    start = (outputs - task.targets).reshape(-1, inputs)
    of_modes = start[:, task.trained] @ modes.vectors
    squares = (of_modes**2).reshape(functions, classes, -1).sum(1)
    loss = 0.5 * (squares @ at.left**2) / len(task.trained)
    reach = kernel[task.tested][:, task.trained] @ modes.vectors / len(task.trained)
    rows: dict[str, list[Any]] = {"accuracy": [], "test_loss": [], "test_accuracy": []}
    flat_targets = numpy.tile(task.targets, (functions, 1))

    def trained_at(place: int) -> Any:
        return flat_targets[:, task.trained] + (of_modes * at.left[:, place]) @ modes.vectors.T

    def tested_at(place: int) -> Any:
        return outputs.reshape(-1, inputs)[:, task.tested] - (of_modes * at.learned[:, place]) @ reach.T

    def by_function(values: Any) -> Any:
        return values.reshape(functions, classes, -1)

    for place in range(len(descent.recorded)):
        if task.labels is not None:
            rows["accuracy"].append(accuracy(by_function(trained_at(place)), task.labels[task.trained]))
        if len(task.tested):
            tested = by_function(tested_at(place))
            residual = tested - task.targets[:, task.tested]
            rows["test_loss"].append(0.5 * (residual**2).sum(1).mean(1))
            if task.labels is not None:
                rows["test_accuracy"].append(accuracy(tested, task.labels[task.tested]))
    last = numpy.empty_like(outputs)
    last[..., task.trained] = by_function(trained_at(-1))
    if len(task.tested):
        last[..., task.tested] = by_function(tested_at(-1))
    found = {name: numpy.stack(values, axis=1) if values else None for name, values in rows.items()}
    return Curves(loss=loss, outputs=last, **found)  # pyright: ignore[reportArgumentType]
