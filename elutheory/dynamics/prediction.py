"""T2–T4, T6: how the loss of a wide network falls in training, predicted from its kernel; nothing is fitted."""

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy
import pandas
from jaxtyping import Float

from elutheory.dynamics.finite_networks import finite_network
from elutheory.dynamics.gradient_descent.descent import Curves, Descent, Task, descend
from elutheory.dynamics.gradient_descent.eigenmodes import Eigenmodes, descend_by_modes, expected_losses
from elutheory.dynamics.gradient_descent.initial_functions import InitialFunctions
from elutheory.dynamics.gradient_descent.losses import LOSSES
from elutheory.dynamics.gradient_descent.targets import task_of
from elutheory.dynamics.infinite_width import TrainingKernel, chosen_inputs
from elutheory.dynamics.measured_networks import EmpiricalTrainingKernel
from elutheory.dynamics.spectra import top_eigenvalue
from elutheory.errors import InputError
from elutheory.numerics.arguments import count, finite_number, real_number
from elutheory.numerics.arrays import Array, is_torch, namespace, on_host
from elutheory.output.progress import tracked

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
    - `finite_losses` (networks, recorded steps): the same of finite networks, None without;
    - `depth_over_width`: the relative size of what finite width adds (T6), nan for kernels of measured networks.

    >>> import elutheory as et
    >>> import numpy as np
    >>> theta = et.training_kernel("elu", np.eye(4), depth=1, width=32, features=4, weight_variance=1.0)
    >>> prediction = et.predict_training(theta, [0, 1, 0, 1], learning_rate=0.01, steps=20, loss="squared_error")
    >>> prediction.method
    'expected loss by eigenmodes, over all initial functions'
    """

    table: "pandas.DataFrame"
    method: str
    losses: Float[numpy.ndarray, "functions recorded"]
    outputs: Float[Array, "functions inputs classes"]
    finite_losses: Float[numpy.ndarray, "networks recorded"] | None
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
    finite_networks: Any = 0,
    record_every: Any = 1,
    progress: bool | None = None,
) -> TrainingPrediction:
    """T2, T3: SGD on the mean loss, predicted for networks so wide that they follow their linearisation.

    Initial functions are drawn from their Gaussian, covariance K^{L+1} in every output, and descended by the kernel;
    squared error (½ |F − Y|²) with full batches has its expected loss by eigenmodes instead, exactly.

    - `theta`: of `training_kernel`, centred or not; or of `empirical_training_kernel`, whose one initial function is
      what the model returned: with its blocks the linearised network exactly, else as if its outputs were not coupled;
    - `targets`: of all its inputs. Integers (inputs,) are classes, of which there are `classes` or the largest + 1;
      floats (inputs, classes) are distributions for cross-entropy, and for squared error (also (inputs,)) values;
    - `trained`: indices, mask or slice of the inputs that are trained on, all if None; of the others, losses and
      accuracies are predicted as well;
    - `loss`: "cross_entropy" or "squared_error", the mean over the examples;
    - `learning_rate` η >= 0, `steps` >= 1, `momentum` as in torch.optim.SGD; `batch_size`: None for full batches, else
      epochs in the order of `analyses.networks.training` for the seed `batch_seed`, the last batch smaller;
    - `weight_decay` has to be 0: what decay does to the outputs does not follow from the kernel;
    - `draws` initial functions by `seed`, the first ones the same whatever their number; `record_every` so many steps;
    - `finite_networks`: so many networks of the kernel's widths, each with its own kernel and initial function (T6),
      predicted beside; their kernels are of all outputs, (inputs × classes)² numbers;
    - `progress`: a bar with the time left, from two seconds on; None: where standard error is a terminal.

    Results are computed in float64, with the kernel's library, on its device. Raises InputError for arguments outside
    their domain, targets of another length or kind.

        theta = et.training_kernel("elu", gram, depth=8, width=128, features=784, weight_variance=2.0)
        d = et.predict_training(theta, labels, learning_rate=0.01, steps=2000)
        d.table, d.steps_to(0.5), d.largest_stable_rate, d.modes

    >>> import elutheory as et
    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal((20, 10))
    >>> theta = et.training_kernel("elu", x @ x.T / 10, depth=2, width=64, features=10, weight_variance=2.0)
    >>> prediction = et.predict_training(theta, (x[:, 0] > 0).astype(int), learning_rate=0.01, steps=50)
    >>> len(prediction.table), bool(prediction.table["loss"].iloc[-1] < prediction.table["loss"].iloc[0])
    (51, True)
    """
    if not isinstance(theta, TrainingKernel | EmpiricalTrainingKernel):
        kind = type(theta).__name__
        raise InputError(f"theta must be of training_kernel or empirical_training_kernel, not a {kind}.")
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
    inputs = len(theta.matrix)
    chosen = numpy.arange(inputs) if trained is None else chosen_inputs("trained", trained, inputs)
    task = task_of(targets, inputs, loss, classes, chosen)
    number, seed = count("draws", draws), whole_number("seed", seed)
    networks = whole_number("finite_networks", finite_networks)
    if isinstance(theta, EmpiricalTrainingKernel):
        if networks:
            raise InputError("finite_networks are drawn for a kernel of training_kernel; this one is of a network.")
        if theta.outputs.shape[1] != len(task.targets):
            raise InputError(f"targets have {len(task.targets)} classes, the model {theta.outputs.shape[1]} outputs.")
        initial = InitialFunctions(on_host(theta.outputs).T.copy(), None)
        kernel = theta.matrix if theta.blocks is None else theta.blocks.permute(1, 0, 3, 2)
    else:
        initial = InitialFunctions(numpy.zeros_like(task.targets), on_host(theta.output_covariance))
        kernel = theta.matrix
    functions = initial.draws(number, seed)
    kernel = _in_float64(kernel)
    table = pandas.DataFrame({"step": descent.recorded})
    with numpy.errstate(over="ignore", invalid="ignore"):
        curves, centres, method = _curves(kernel, functions, initial, task, descent, progress)
        columns = _columns(curves, centres)
        finite = [
            _of_finite_network(theta, task, descent, kernel, (seed, place))
            for place in tracked(range(networks), networks, "finite networks", progress)
        ]
        if finite:
            columns |= {f"finite_{name}": values for name, values in _columns(_joined(finite), {}).items()}
        gradient = LOSSES[loss](functions[..., task.trained], task.targets[:, task.trained]).gradient
    for name, values in columns.items():
        table[name] = values
    return TrainingPrediction(
        table,
        method,
        curves.loss,
        curves.outputs.swapaxes(1, 2),
        _joined(finite).loss if finite else None,
        theta.network.depth_over_width if isinstance(theta, TrainingKernel) else math.nan,
        descent,
        task,
        _trained_kernel(theta.matrix, task),
        gradient,
    )


def _curves(
    kernel: Any,
    functions: Float[numpy.ndarray, "functions classes inputs"],
    initial: InitialFunctions,
    task: Task,
    descent: Descent,
    progress: bool | None,
) -> tuple[Curves, dict[str, Any], str]:
    """Every function's, what stands in place of their medians, and how it was computed."""
    if descent.loss == "squared_error" and descent.batch_size is None and kernel.ndim == 2:
        whole, modes = on_host(kernel), Eigenmodes.of(_trained_kernel(kernel, task))
        curves = descend_by_modes(whole, modes, functions, task, descent)
        expected = expected_losses(whole, modes, initial, task, descent)
        curves = replace(curves, outputs=_placed(curves.outputs, kernel))
        centres = {"loss": expected.loss, "test_loss": expected.test_loss}
        over = "of the model's outputs" if initial.covariance is None else "over all initial functions"
        return curves, centres, f"expected loss by eigenmodes, {over}"
    what = f"medians of {len(functions)} initial functions" if len(functions) > 1 else "one initial function"
    return descend(kernel, _placed(functions, kernel), task, descent, progress), {}, f"{what}, step by step"


def _of_finite_network(theta: Any, task: Task, descent: Descent, like: Any, seed: tuple[int, ...]) -> Curves:
    network = finite_network(theta, len(task.targets), seed)
    return descend(_placed(network.blocks, like), _placed(network.outputs[None], like), task, descent)


def _joined(curves: list[Curves]) -> Curves:
    """Those of several networks as of several functions."""

    def rows(name: str) -> Any:
        found = [getattr(one, name) for one in curves]
        return None if found[0] is None else namespace(found[0]).concat(found)

    return Curves(*(rows(field.name) for field in fields(Curves)))


def _trained_kernel(matrix: Any, task: Task) -> Any:
    return on_host(matrix)[numpy.ix_(task.trained, task.trained)]


def _placed(values: Any, like: Any) -> Any:
    return values if isinstance(like, numpy.ndarray) else namespace(like).asarray(values, device=like.device)


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


def whole_number(name: str, value: Any) -> int:
    """An integer >= 0; raises InputError."""
    if isinstance(value, bool) or not isinstance(value, int | numpy.integer) or value < 0:
        raise InputError(f"{name} must be an integer >= 0, not {value!r}.")
    return int(value)
