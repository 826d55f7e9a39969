"""T2: gradient descent on the outputs, step by step: `F ← F − η V`, `V ← μ V + Θ[:, B] ∂ℓ/∂F_B / |B|`."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any

import numpy
from jaxtyping import Float

from elutheory.dynamics.gradient_descent.losses import LOSSES, accuracy
from elutheory.dynamics.gradient_descent.minibatches import batches
from elutheory.numerics.arrays import Array, namespace, on_host
from elutheory.output.progress import tracked


@dataclass(frozen=True)
class Descent:
    """How it is descended: SGD on the mean loss of a batch, as torch.optim.SGD does it; `batch_size` None: of all."""

    loss: str
    learning_rate: float
    steps: int
    momentum: float = 0.0
    batch_size: int | None = None
    batch_seed: int = 0
    record_every: int = 1

    @property
    def recorded(self) -> numpy.ndarray:
        """The steps that are recorded: 0, every `record_every`-th, and the last."""
        found = numpy.arange(0, self.steps + 1, self.record_every)
        return found if found[-1] == self.steps else numpy.append(found, self.steps)

    def batches(self, examples: int) -> Iterator[Any]:
        """Which of the examples each step is on, None for all of them."""
        if self.batch_size is None:
            return repeat(None, self.steps)
        return islice(batches(self.batch_seed, examples, self.batch_size), self.steps)


@dataclass(frozen=True, eq=False)
class Task:
    """What is learned: `targets` (classes, inputs) and, of classes, `labels` (inputs,); `trained` and the `tested`.

    Index arrays of the kernel's inputs, `tested` those that are not trained on, in order; all on the host.
    """

    targets: Float[numpy.ndarray, "classes inputs"]
    labels: numpy.ndarray | None
    trained: numpy.ndarray
    tested: numpy.ndarray

    @property
    def trains_on_all(self) -> bool:
        """Whether the trained inputs are all, in their order."""
        return len(self.trained) == self.targets.shape[1] and bool((numpy.diff(self.trained) > 0).all())


@dataclass(frozen=True, eq=False)
class Curves:
    """Losses and accuracies of every function at the recorded steps, (functions, steps); None where there are none.

    `outputs`: (functions, classes, inputs), after the last step.
    """

    loss: Float[numpy.ndarray, "functions steps"]
    accuracy: Float[numpy.ndarray, "functions steps"] | None
    test_loss: Float[numpy.ndarray, "functions steps"] | None
    test_accuracy: Float[numpy.ndarray, "functions steps"] | None
    outputs: Float[Array, "functions classes inputs"]


def descend(
    kernel: Float[Array, "..."],
    outputs: Float[Array, "functions classes inputs"],
    task: Task,
    descent: Descent,
    progress: bool | None = False,
) -> Curves:
    """The curves of functions that start at `outputs` and follow T2; all in the library and place of the kernel.

    `kernel`: (inputs, inputs), which each class follows by itself, or (classes, inputs, classes, inputs), that of a
    finite network, whose classes are coupled. `progress`: whether a bar is shown.
    """
    xp = namespace(kernel)
    loss, records = LOSSES[descent.loss], _Records(task, descent, kernel)
    rows, targets = _rows(kernel, task), _placed(task.targets, kernel)
    trained_targets = _taken(targets, task, kernel)
    outputs, velocity = xp.asarray(outputs, copy=True), None
    recorded = set(descent.recorded.tolist())
    steps = descent.batches(len(task.trained))
    for step in tracked(range(descent.steps + 1), descent.steps + 1, "gradient descent", progress):
        seen = _taken(outputs, task, kernel)
        found = None
        if step in recorded:
            found = loss(seen, trained_targets)
            records.add(found.loss, seen, outputs)
        if step == descent.steps:
            break
        batch = next(steps)
        if batch is None:
            found = found or loss(seen, trained_targets)
            change = _product(found.gradient, rows)
            size = len(task.trained)
        else:
            index = _placed(batch, kernel)
            found = loss(seen[..., index], trained_targets[..., index])
            change = _product(found.gradient, rows[..., index, :] if rows.ndim == 2 else rows[:, index])
            size = len(batch)
        if descent.momentum:
            change /= size
            velocity = change if velocity is None else descent.momentum * velocity + change
            outputs -= descent.learning_rate * velocity
        else:
            change *= descent.learning_rate / size
            outputs -= change
    return records.curves(outputs)


def _rows(kernel: Any, task: Task) -> Any:
    """The kernel's rows of the trained inputs."""
    if task.trains_on_all:
        return kernel
    index = _placed(task.trained, kernel)
    return kernel[index] if kernel.ndim == 2 else kernel[:, index]


def _taken(values: Any, task: Task, kernel: Any) -> Any:
    """Of values (…, inputs) those of the trained inputs."""
    return values if task.trains_on_all else values[..., _placed(task.trained, kernel)]


def _product(gradient: Any, rows: Any) -> Any:
    """Θ[:, B] ∂ℓ/∂F_B, for every function, (functions, classes, inputs)."""
    functions, classes, size = gradient.shape
    if rows.ndim == 2:
        return (gradient.reshape(functions * classes, size) @ rows).reshape(functions, classes, -1)
    flat = rows.reshape(classes * size, -1)
    return (gradient.reshape(functions, classes * size) @ flat).reshape(functions, classes, -1)


def _placed(values: numpy.ndarray, like: Any) -> Any:
    """A numpy array in the library and place of `like`, its dtype kept."""
    if isinstance(like, numpy.ndarray):
        return values
    return namespace(like).asarray(values, device=like.device)


class _Records:
    """What has been recorded so far."""

    def __init__(self, task: Task, descent: Descent, kernel: Any) -> None:
        self.task, self.kernel, self.loss = task, kernel, LOSSES[descent.loss]
        self.columns: dict[str, list[Any]] = {name: [] for name in ("loss", "accuracy", "test_loss", "test_accuracy")}
        self.trained_labels, self.test_labels = (
            None if task.labels is None else _placed(task.labels[index], kernel)
            for index in (task.trained, task.tested)
        )
        self.tested = _placed(task.tested, kernel)
        self.test_targets = _placed(task.targets[:, task.tested], kernel)

    def add(self, loss: Any, seen: Any, outputs: Any) -> None:
        self.columns["loss"].append(on_host(loss))
        if self.trained_labels is not None:
            self.columns["accuracy"].append(on_host(accuracy(seen, self.trained_labels)))
        if len(self.task.tested):
            tested = outputs[..., self.tested]
            self.columns["test_loss"].append(on_host(self.loss(tested, self.test_targets).loss))
            if self.test_labels is not None:
                self.columns["test_accuracy"].append(on_host(accuracy(tested, self.test_labels)))

    def curves(self, outputs: Any) -> Curves:
        found = {name: numpy.stack(rows, axis=1) if rows else None for name, rows in self.columns.items()}
        return Curves(outputs=outputs, **found)  # pyright: ignore[reportArgumentType]
