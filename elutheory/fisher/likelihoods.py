"""Likelihoods p(y | outputs) of a model: densities, scores, samples and exact factors of their Fisher information."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from elutheory.errors import InputError


class Likelihood(ABC):
    """p(y | outputs) for outputs of shape (examples, classes) or (examples, positions, classes).

    Positions have independent labels. An example's score is d ln p(y | outputs) / d outputs.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The likelihood's name, with its parameters if it has any."""

    @property
    def labels_are_classes(self) -> bool:
        """Whether a label is one of the classes, so that outputs have an axis of classes which targets lack."""
        return True

    @property
    def takes_logits(self) -> bool:
        """Whether outputs that are probabilities are a mistake."""
        return False

    @abstractmethod
    def check_outputs(self, outputs: Tensor) -> None:
        """Raise InputError unless `outputs` are finite and of one of the two shapes."""

    @abstractmethod
    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        """Raise InputError unless `targets` are labels that fit the outputs."""

    @abstractmethod
    def log_density(
        self, outputs: Float[Tensor, "examples ..."], targets: Shaped[Tensor, "examples ..."]
    ) -> Float[Tensor, " examples"]:
        """ln p(targets | outputs) in nats, summed over an example's positions and outputs; differentiable in `outputs`.

        Raises InputError for targets that do not fit.
        """

    def score(
        self, outputs: Float[Tensor, "*shape"], targets: Shaped[Tensor, "examples ..."]
    ) -> Float[Tensor, "*shape"]:
        """d ln p(targets | outputs) / d outputs. Raises InputError for targets that do not fit."""
        self.check_targets(outputs, targets)
        return self._score(outputs, targets)

    @abstractmethod
    def _score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The score at targets that fit."""

    @abstractmethod
    def sample(
        self, outputs: Float[Tensor, "examples ..."], samples: int, generator: torch.Generator | None = None
    ) -> Shaped[Tensor, "samples examples ..."]:
        """Labels drawn from p(y | outputs), on the outputs' device."""

    def drawn_scores(
        self, outputs: Float[Tensor, "*shape"], samples: int, generator: torch.Generator | None = None
    ) -> Iterator[Float[Tensor, "*shape"]]:
        """Scores of labels drawn from p(y | outputs), each over √samples: in expectation, columns as `score_factors`.

        They are not checked, which a device would have to be waited for.
        """
        return (self._score(outputs, labels) / samples**0.5 for labels in self.sample(outputs, samples, generator))

    @abstractmethod
    def _factors(self, outputs: Float[Tensor, "examples classes"]) -> Iterator[Float[Tensor, "examples classes"]]:
        """The columns at one position, one per class."""

    def score_factors(self, outputs: Float[Tensor, "*shape"]) -> Iterator[Float[Tensor, "*shape"]]:
        """Columns v_c, each of the outputs' shape, with E_y[score scoreᵀ] = sum_c v_c v_cᵀ for every example (F1).

        There are positions × classes columns, position by position: a column is zero at all positions but one.
        """
        if outputs.ndim == 2:
            yield from self._factors(outputs)
            return
        for position in range(outputs.shape[1]):
            for factor in self._factors(outputs[:, position]):
                column = torch.zeros_like(outputs)
                column[:, position] = factor
                yield column


@dataclass(frozen=True)
class Categorical(Likelihood):
    """p(y | outputs) = softmax(outputs)_y; targets are integers in [0, classes), one per example or position.

    Factor columns: √p_y (e_y − p) for every class y.
    """

    @property
    def name(self) -> str:
        """The string "categorical"."""
        return "categorical"

    @property
    def takes_logits(self) -> bool:
        """True: softmax(outputs) are the probabilities."""
        return True

    def check_outputs(self, outputs: Tensor) -> None:
        """Raise InputError unless `outputs` are finite and of two classes or more."""
        _check_outputs(outputs, self.name, fewest=2)

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        """Raise InputError unless `targets` are integers in [0, classes), one per example or position."""
        _check_shape(targets, outputs.shape[:-1])
        if targets.dtype not in _INTEGERS:
            raise InputError(f"targets are {targets.dtype}; a categorical likelihood needs integers.")
        classes = outputs.shape[-1]
        if ((targets < 0) | (targets >= classes)).any():
            raise InputError(
                f"targets run from {targets.min()} to {targets.max()}; they must lie in 0 to {classes - 1}."
            )

    def log_density(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Σ ln softmax(outputs)_target over the positions of every example."""
        self.check_targets(outputs, targets)
        chosen = outputs.log_softmax(-1).gather(-1, targets.long()[..., None])
        return chosen.flatten(1).sum(1)

    def _score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        score = -outputs.softmax(-1)
        index = targets.long()[..., None]
        return score.scatter_add(-1, index, torch.ones_like(score[..., :1]))

    def sample(self, outputs: Tensor, samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Class numbers with probabilities softmax(outputs), one per sample, example and position."""
        device = outputs.device if generator is None else generator.device
        probabilities = outputs.softmax(-1).flatten(0, -2).to(device)
        drawn = torch.multinomial(probabilities, samples, replacement=True, generator=generator)
        return drawn.T.reshape(samples, *outputs.shape[:-1]).to(outputs.device)

    def _factors(self, outputs: Tensor) -> Iterator[Tensor]:
        probabilities = outputs.softmax(-1)
        for label, root in enumerate(probabilities.sqrt().unbind(-1)):
            factor = -root[:, None] * probabilities
            factor[:, label] += root
            yield factor


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    """Independent y_k = 1 with probability σ(outputs_k) = 1/(1 + e^−outputs_k); targets 0 or 1, of the outputs' shape.

    Factor columns: √(p_k (1 − p_k)) e_k for every output k.
    """

    @property
    def name(self) -> str:
        """The string "bernoulli"."""
        return "bernoulli"

    @property
    def labels_are_classes(self) -> bool:
        """False: every output has a label of its own."""
        return False

    @property
    def takes_logits(self) -> bool:
        """True: σ(outputs) are the probabilities."""
        return True

    def check_outputs(self, outputs: Tensor) -> None:
        """Raise InputError unless `outputs` are finite and at least one per example."""
        _check_outputs(outputs, self.name, fewest=1)

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        """Raise InputError unless `targets` are 0 or 1, of the outputs' shape."""
        _check_shape(targets, outputs.shape)
        if not ((targets == 0) | (targets == 1)).all():
            raise InputError("targets of a Bernoulli likelihood must all be 0 or 1.")

    def log_density(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Σ ln σ(±outputs), with + where the target is 1, over the outputs of every example."""
        self.check_targets(outputs, targets)
        return torch.nn.functional.logsigmoid(torch.where(targets == 1, outputs, -outputs)).flatten(1).sum(1)

    def _score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.where(targets == 1, (-outputs).sigmoid(), -outputs.sigmoid())

    def sample(self, outputs: Tensor, samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Zeros and ones, in the outputs' dtype, with probabilities σ(outputs) of a one."""
        device = outputs.device if generator is None else generator.device
        probabilities = outputs.sigmoid().to(device).expand(samples, *outputs.shape)
        return torch.bernoulli(probabilities, generator=generator).to(outputs.device)

    def _factors(self, outputs: Tensor) -> Iterator[Tensor]:
        for index, net in enumerate(outputs.unbind(-1)):
            factor = torch.zeros_like(outputs)
            factor[:, index] = (net.sigmoid() * (-net).sigmoid()).sqrt()
            yield factor


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """Independent y_k ~ N(outputs_k, variance); targets real, of the outputs' shape.

    `variance` in squared output units. Factor columns: e_k / √variance for every output k. Raises InputError unless
    `variance` is positive and finite.
    """

    variance: float | int = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.variance, bool) or not isinstance(self.variance, (int, float)):
            raise InputError(f"variance is a {type(self.variance).__name__}; a positive finite number is needed.")
        if not (math.isfinite(self.variance) and self.variance > 0):
            raise InputError(f"variance is {self.variance}; a positive finite number is needed.")

    @property
    def name(self) -> str:
        """The string "gaussian with variance …"."""
        return f"gaussian with variance {self.variance:g}"

    @property
    def labels_are_classes(self) -> bool:
        """False: every output has a label of its own."""
        return False

    def check_outputs(self, outputs: Tensor) -> None:
        """Raise InputError unless `outputs` are finite and at least one per example."""
        _check_outputs(outputs, "gaussian", fewest=1)

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        """Raise InputError unless `targets` are finite, of the outputs' shape and dtype."""
        _check_shape(targets, outputs.shape)
        if targets.dtype != outputs.dtype:
            raise InputError(
                f"targets are {targets.dtype}; those of a Gaussian must be {outputs.dtype}, as the outputs."
            )
        if not targets.isfinite().all():
            raise InputError("targets contain NaN or infinity; every number must be finite.")

    def log_density(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Σ −½ [(target − output)²/variance + ln 2π variance] over the outputs of every example."""
        self.check_targets(outputs, targets)
        squares = (targets - outputs).square() / self.variance
        return -0.5 * (squares + math.log(2 * math.pi * self.variance)).flatten(1).sum(1)

    def _score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (targets - outputs) / self.variance

    def sample(self, outputs: Tensor, samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Normal numbers about the outputs."""
        device = outputs.device if generator is None else generator.device
        shape = (samples, *outputs.shape)
        noise = torch.randn(shape, generator=generator, dtype=outputs.dtype, device=device).to(outputs.device)
        return outputs + math.sqrt(self.variance) * noise

    def _factors(self, outputs: Tensor) -> Iterator[Tensor]:
        for index in range(outputs.shape[-1]):
            factor = torch.zeros_like(outputs)
            factor[:, index] = 1 / math.sqrt(self.variance)
            yield factor


def as_likelihood(likelihood: Likelihood | str) -> Likelihood:
    """The likelihood itself, or the one named "categorical", "bernoulli" or "gaussian" (variance 1).

    Raises InputError for anything else.
    """
    if isinstance(likelihood, Likelihood):
        return likelihood
    named = {"categorical": Categorical, "bernoulli": Bernoulli, "gaussian": Gaussian}
    if likelihood not in named:
        raise InputError(
            f"likelihood {likelihood!r} is not available; 'categorical', 'bernoulli', 'gaussian' (variance 1) and "
            "Gaussian(variance) are."
        )
    return named[likelihood]()


_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def _check_outputs(outputs: Tensor, name: str, fewest: int) -> None:
    if outputs.ndim not in (2, 3) or outputs.shape[-1] < fewest or outputs.numel() == 0:
        raise InputError(
            f"the model returned outputs of shape {tuple(outputs.shape)}; (examples, classes) or (examples, positions, "
            f"classes) with {fewest} or more classes is needed for a {name} likelihood."
        )
    if not outputs.isfinite().all():
        raise InputError("the model's outputs contain NaN or infinity; its parameters must give finite ones.")


def _check_shape(targets: Tensor, needed: torch.Size) -> None:
    if targets.shape != needed:
        raise InputError(f"targets have shape {tuple(targets.shape)}; {tuple(needed)} is needed.")
