"""T4, T5: why one network learns faster than another: the kernel's size, the mean's part in it, and its shape."""

from dataclasses import dataclass

from elutheory.dynamics.infinite_width import TrainingKernel
from elutheory.dynamics.prediction import TrainingPrediction


@dataclass(frozen=True, eq=False)
class Run:
    """An activation's kernel and the training that it predicts; `name`: in tables and figures."""

    name: str
    theta: TrainingKernel
    prediction: TrainingPrediction


@dataclass(frozen=True)
class Comparison:
    """How many times as fast `faster` reaches a loss as `slower`, at one learning rate, and what that is made of.

    `factor` = `size` × `mean` × `shape`:

    - `size`: the ratio of the traces, what a larger learning rate would do as well (T4);
    - `mean`: the ratio of the shares of the trace that the top eigenvector, the constant direction's, leaves (T5);
    - `shape`: how much faster the others are learned at an equal sum of their eigenvalues: where the labels lie.

    `at_largest_rate`: the factor when each has the same fraction of its own largest stable rate, to first order in the
    rate: factor × the inverse ratio of the λ_1.
    """

    faster: str
    slower: str
    loss: float
    factor: float
    size: float
    mean: float
    at_largest_rate: float

    @property
    def shape(self) -> float:
        """What size and mean leave of the factor."""
        return self.factor / (self.size * self.mean)


def comparison(first: Run, second: Run, loss: float) -> Comparison:
    """How much faster the first is than the second; both must reach the loss, and not before training."""
    factor = second.prediction.steps_to(loss) / first.prediction.steps_to(loss)
    (trace, top), (other_trace, other_top) = (_size(one) for one in (first, second))
    left = (1 - top / trace) / (1 - other_top / other_trace)
    return Comparison(first.name, second.name, loss, factor, trace / other_trace, left, factor * other_top / top)


def _size(one: Run) -> tuple[float, float]:
    """tr Θ/N and λ_1 of the trained inputs."""
    return float(one.prediction.modes["eigenvalue"].to_numpy().sum()), one.prediction.top_eigenvalue
