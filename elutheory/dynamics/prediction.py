"""T2–T4, T6: how the loss of a wide network falls in training, predicted from its kernel; nothing is fitted."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy
import pandas
from jaxtyping import Float

from elutheory.dynamics.descent import Curves, Descent, Task, descend
from elutheory.dynamics.eigenmodes import Eigenmodes, descend_by_modes, expected_losses
from elutheory.dynamics.infinite_width import TrainingKernel, chosen_inputs
from elutheory.dynamics.initial_functions import InitialFunctions
from elutheory.dynamics.losses import LOSSES
from elutheory.dynamics.spectra import top_eigenvalue
from elutheory.dynamics.targets import task_of
from elutheory.errors import InputError
from elutheory.numerics.arguments import count, finite_number, real_number
from elutheory.numerics.arrays import Array, is_torch, namespace, on_host

if TYPE_CHECKING:
    import pandas

_BAND = 0.8  # of the functions lie between the columns low and high


@dataclass(frozen=True, eq=False)
class TrainingPrediction:
    """What `predict_training` found.

    - `table` (pandas): a row per recorded step, 0 being before training. `loss`, the mean over the trained inputs, with
      `loss_low` and `loss_high`, between which four in five of the initial functions lie; of classes `accuracy`, and of
      inputs that are not trained on `test_loss` and `test_accuracy`, likewise with their bands; with finite networks
      `finite_loss`, … (T6), medians and bands over those networks. Columns without content are not there;
    - `method`: what `loss` and the others are: medians over sampled functions, or for squared error with full batches
      the expected loss, by eigenmodes, without sampling (accuracies are medians there, too);
    - `losses` (functions, recorded steps): the trained inputs' loss, function by function;
    - `outputs` (functions, inputs, classes): after the last step, in the library and place of the kernel;
    - `depth_over_width`: the relative size of what finite width adds (T6), nan for kernels of measured networks.
    """

    table: "pandas.DataFrame"
    method: str
    losses: Float[numpy.ndarray, "functions recorded"]
    outputs: Float[Array, "functions inputs classes"]
    depth_over_width: float
    descent: Descent
    task: Task
    kernel: Float[numpy.ndarray, "trained trained"]
    initial_gradient: Float[numpy.ndarray, "functions classes trained"]

    def steps_to(self, loss: Any) -> float:
        """The first recorded step at which `loss` is at most this; infinity where it is not within the steps."""
        wanted = finite_number("loss", loss)
        reached = self.table["step"].to_numpy()[self.table["loss"].to_numpy() <= wanted]
        return float(reached[0]) if len(reached) else math.inf

    @cached_property
    def largest_stable_rate(self) -> float:
        """T3: 2/λ_1, and 2 (1 + μ)/λ_1 with momentum μ: full batches and squared error shrink every mode below it.

        Cross-entropy, whose curvature is at most ½, falls at every rate up to twice this, and at larger ones where the
        outputs make its curvature smaller.
        """
        return 2 * (1 + self.descent.momentum) / self.top_eigenvalue if self.top_eigenvalue > 0 else math.inf

    @cached_property
    def top_eigenvalue(self) -> float:
        """λ_1 of Θ/N of the trained inputs."""
        return top_eigenvalue(self.kernel)

    @cached_property
    def eigenmodes(self) -> Eigenmodes:
        """λ_k and u_k of Θ/N of the trained inputs."""
        return Eigenmodes.of(self.kernel)

    @cached_property
    def modes(self) -> "pandas.DataFrame":
        """T3, T4: a row per eigenvector u_k of Θ/N of the trained inputs, by descending eigenvalue.

        `eigenvalue` λ_k; `relative_eigenvalue` λ_k/λ_1, the speed at the best rate; `target` |u_kᵀY|² over the classes;
        `rate` ηλ_k, the part of the mode that is learned in a step; `share` of the squared gradient by the outputs
        before training, which for squared error is the share of the loss; `constant` (u_kᵀ1)²/N: that of 𝟏 in the mode.
        """
        found = self.eigenmodes
        targets = self.task.targets[:, self.task.trained] @ found.vectors
        gradient = (self.initial_gradient @ found.vectors) ** 2
        squares = gradient.sum((0, 1))
        return pandas.DataFrame(
            {
                "eigenvalue": found.values,
                "relative_eigenvalue": found.values / found.values[0],
                "target": (targets**2).sum(0),
                "rate": self.descent.learning_rate * found.values,
                "share": squares / squares.sum(),
                "constant": found.vectors.sum(0) ** 2 / len(found.values),
            }
        )


def predict_training(
    theta: Any,
    targets: Any,
    *,
    learning_rate: Any,
    steps: Any,
    loss: Any = "cross_entropy",
    batch_size: Any = None,
    momentum: Any = 0.0,
    weight_decay: Any = 0.0,
    trained: Any = None,
    classes: Any = None,
    draws: Any = 8,
    seed: Any = 0,
    batch_seed: Any = 0,
    record_every: Any = 1,
) -> TrainingPrediction:
    """T2, T3: SGD on the mean loss, predicted for networks so wide that they follow their linearisation.

    Initial functions are drawn from their Gaussian, covariance K^{L+1} in every output, and descended by the kernel;
    squared error (½ |F − Y|²) with full batches has its expected loss by eigenmodes instead, exactly.

    - `theta`: of `training_kernel`, centred or not;
    - `targets`: of all its inputs. Integers (inputs,) are classes, of which there are `classes` or the largest + 1;
      floats (inputs, classes) are distributions for cross-entropy, and for squared error (also (inputs,)) values;
    - `trained`: indices, mask or slice of the inputs that are trained on, all if None; of the others, losses and
      accuracies are predicted as well;
    - `loss`: "cross_entropy" or "squared_error", the mean over the examples;
    - `learning_rate` η >= 0, `steps` >= 1, `momentum` as in torch.optim.SGD; `batch_size`: None for full batches, else
      epochs in the order of `analyses.networks.training` for the seed `batch_seed`, the last batch smaller;
    - `weight_decay` has to be 0: what decay does to the outputs does not follow from the kernel;
    - `draws` initial functions by `seed`, the first ones the same whatever their number; `record_every` so many steps.

    Results are computed in float64, with the kernel's library, on its device. Raises InputError for arguments outside
    their domain, targets of another length or kind.

        theta = et.training_kernel("elu", gram, depth=8, width=128, features=784, weight_variance=2.0)
        d = et.predict_training(theta, labels, learning_rate=0.01, steps=2000)
        d.table, d.steps_to(0.5), d.largest_stable_rate, d.modes
    """
    if not isinstance(theta, TrainingKernel):
        raise InputError(f"theta must be a training kernel, of training_kernel, not a {type(theta).__name__}.")
    if loss not in LOSSES:
        raise InputError(f"loss is {loss!r}; {' and '.join(LOSSES)} are available.")
    if real_number("weight_decay", weight_decay):
        raise InputError("weight_decay must be 0: the kernel does not say what decay does to the outputs.")
    momentum = real_number("momentum", momentum)
    if momentum >= 1:
        raise InputError(f"momentum must be below 1, not {momentum!r}.")
    descent = Descent(
        loss,
        real_number("learning_rate", learning_rate),
        count("steps", steps),
        momentum,
        None if batch_size is None else count("batch_size", batch_size),
        whole_number("batch_seed", batch_seed),
        count("record_every", record_every),
    )
    kernel = _in_float64(theta.matrix)
    inputs = len(kernel)
    task = task_of(
        targets, inputs, loss, classes, numpy.arange(inputs) if trained is None else _trained(trained, inputs)
    )
    initial = InitialFunctions(numpy.zeros_like(task.targets), on_host(theta.output_covariance))
    functions = initial.draws(count("draws", draws), whole_number("seed", seed))
    with numpy.errstate(over="ignore", invalid="ignore"):
        return _predicted(kernel, functions, initial, task, descent, theta.network.depth_over_width)


def _predicted(
    kernel: Any,
    functions: Float[numpy.ndarray, "functions classes inputs"],
    initial: InitialFunctions,
    task: Task,
    descent: Descent,
    depth_over_width: float,
) -> TrainingPrediction:
    on_kernel = (
        kernel[task.trained][:, task.trained] if is_torch(kernel) else kernel[numpy.ix_(task.trained, task.trained)]
    )
    trained_kernel = on_host(on_kernel)
    table = pandas.DataFrame({"step": descent.recorded})
    if descent.loss == "squared_error" and descent.batch_size is None:
        whole, modes = on_host(kernel), Eigenmodes.of(trained_kernel)
        curves = descend_by_modes(whole, modes, functions, task, descent)
        expected = expected_losses(whole, modes, initial, task, descent)
        centres = {"loss": expected.loss, "test_loss": expected.test_loss}
        method = "expected loss by eigenmodes, over all initial functions"
    else:
        start = (
            functions
            if isinstance(kernel, numpy.ndarray)
            else namespace(kernel).asarray(functions, device=kernel.device)
        )
        curves, centres = descend(kernel, start, task, descent), {}
        method = f"medians of {len(functions)} initial functions, step by step"
    for name, values in _columns(curves, centres).items():
        table[name] = values
    gradient = LOSSES[descent.loss](functions[..., task.trained], task.targets[:, task.trained]).gradient
    outputs = curves.outputs
    outputs = outputs.transpose(0, 2, 1) if isinstance(outputs, numpy.ndarray) else outputs.transpose(1, 2)
    return TrainingPrediction(
        table, method, curves.loss, outputs, depth_over_width, descent, task, trained_kernel, gradient
    )


def _columns(curves: Curves, centres: dict[str, Any]) -> dict[str, Any]:
    """Medians, or the `centres` given, and bands of what there is."""
    columns: dict[str, Any] = {}
    for name in ("loss", "accuracy", "test_loss", "test_accuracy"):
        values = getattr(curves, name)
        if values is None:
            continue
        centre = centres.get(name)
        columns[name] = numpy.median(values, axis=0) if centre is None else centre
        low, high = numpy.quantile(values, [(1 - _BAND) / 2, (1 + _BAND) / 2], axis=0)
        columns |= {f"{name}_low": low, f"{name}_high": high}
    return columns


def _in_float64(matrix: Any) -> Any:
    matrix = matrix.detach() if is_torch(matrix) else matrix
    xp = namespace(matrix)
    return xp.astype(matrix, xp.float64, copy=False)


def _trained(trained: Any, inputs: int) -> numpy.ndarray:
    return chosen_inputs("trained", trained, inputs)


def whole_number(name: str, value: Any) -> int:
    """An integer >= 0; raises InputError."""
    if isinstance(value, bool) or not isinstance(value, int | numpy.integer) or value < 0:
        raise InputError(f"{name} must be an integer >= 0, not {value!r}.")
    return int(value)
