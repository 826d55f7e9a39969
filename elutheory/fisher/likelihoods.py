"""Likelihoods p(y | outputs) of a model: densities, scores, samples and exact factors of their Fisher information."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from elutheory.errors import InputError

_DRAWN = 64
"""Labels drawn for the divergence of a likelihood that has neither a formula nor factors.

They give an example's to a sixth and a batch's to less. Guarded by
`test_a_likelihood_of_a_users_own_is_limited_by_its_columns`.
"""


class Likelihood(ABC):
    """p(y | outputs) for outputs of shape (examples, classes) or (examples, positions, classes).

    Positions have independent labels. An example's score is d ln p(y | outputs) / d outputs. One of your own needs
    `log_density` and `sample`, and `score_factors` too if kind "exact" is wanted:

        class Poisson(et.Likelihood):
            def log_density(self, outputs, targets):
                return (targets * outputs - outputs.exp() - torch.lgamma(targets + 1)).flatten(1).sum(1)
            def sample(self, outputs, samples, generator=None):
                return torch.poisson(outputs.exp().expand(samples, *outputs.shape), generator=generator)

    >>> import elutheory as et
    >>> import torch
    >>> class Laplace(et.Likelihood):
    ...     def log_density(self, outputs, targets):
    ...         return -(targets - outputs).abs().flatten(1).sum(1)
    ...     def sample(self, outputs, samples, generator=None):
    ...         uniform = torch.rand((samples, *outputs.shape), generator=generator) - 0.5
    ...         return outputs - uniform.sign() * torch.log1p(-2 * uniform.abs())
    ...
    >>> Laplace().score(torch.zeros(1, 2), torch.tensor([[3.0, -1.0]]))
    tensor([[ 1., -1.]])
    """

    @property
    def name(self) -> str:
        """The likelihood's name, with its parameters if it has any; by default the class's, in small letters."""
        return type(self).__name__.lower()

    @property
    def labels_are_classes(self) -> bool:
        """Whether a label is one of the classes, so that outputs have an axis of classes which targets lack."""
        return False

    @property
    def takes_logits(self) -> bool:
        """Whether outputs that are probabilities are a mistake."""
        return False

    @property
    def has_factors(self) -> bool:
        """Whether `score_factors` is there, which kind "exact" needs."""
        return type(self).score_factors is not Likelihood.score_factors

    def check_outputs(self, outputs: Tensor) -> None:
        """Raise InputError unless `outputs` are finite and of one of the two shapes."""
        _check_outputs(outputs, self.name, fewest=1)

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        """Raise InputError unless `targets` are labels that fit the outputs: by default finite, and of their shape."""
        _check_shape(targets, outputs.shape)
        _check_finite(targets)

    @abstractmethod
    def log_density(
        self, outputs: Float[Tensor, "examples ..."], targets: Shaped[Tensor, "examples ..."]
    ) -> Float[Tensor, " examples"]:
        """ln p(targets | outputs) in nats, summed over an example's positions and outputs; differentiable in `outputs`.

        Raises InputError for targets that do not fit.
        """

    @abstractmethod
    def sample(
        self, outputs: Float[Tensor, "examples ..."], samples: int, generator: torch.Generator | None = None
    ) -> Shaped[Tensor, "samples examples ..."]:
        """Labels drawn from p(y | outputs), on the outputs' device."""

    def score(
        self, outputs: Float[Tensor, "*shape"], targets: Shaped[Tensor, "examples ..."]
    ) -> Float[Tensor, "*shape"]:
        """d ln p(targets | outputs) / d outputs; by default autograd's of `log_density`.

        Raises InputError for targets that do not fit.
        """
        self.check_targets(outputs, targets)
        with torch.enable_grad():
            variable = outputs.detach().requires_grad_()
            return torch.autograd.grad(self.log_density(variable, targets).sum(), variable)[0]

    def drawn_scores(
        self, outputs: Float[Tensor, "*shape"], samples: int, generator: torch.Generator | None = None
    ) -> Iterator[Float[Tensor, "*shape"]]:
        """Scores of labels drawn from p(y | outputs), over √samples: columns as `score_factors`, in expectation."""
        return (self.score(outputs, labels) / samples**0.5 for labels in self.sample(outputs, samples, generator))

    def divergence(
        self, outputs: Float[Tensor, "examples ..."], others: Float[Tensor, "examples ..."]
    ) -> Float[Tensor, "examples ..."]:
        """The Kullback–Leibler divergence of p(y | others) from p(y | outputs) in nats, of every example and position.

        Without a formula of its own a likelihood has the quadratic one, ½ Σ_c (v_c · (others − outputs))², with the
        columns v_c of `score_factors`, or, without these, of `drawn_scores` for _DRAWN labels, the same ones each time.
        """
        drawn = torch.Generator(outputs.device).manual_seed(0)
        columns = self.score_factors(outputs) if self.has_factors else self.drawn_scores(outputs, _DRAWN, drawn)
        moved, total = others - outputs, torch.zeros_like(outputs[..., 0])
        for column in columns:
            total += (column * moved).sum(-1).square()
        return 0.5 * total

    def score_factors(self, outputs: Float[Tensor, "*shape"]) -> Iterator[Float[Tensor, "*shape"]]:
        """Columns v_c, each of the outputs' shape, with E_y[score scoreᵀ] = sum_c v_c v_cᵀ for every example (F1).

        There are positions × classes columns, position by position: a column is zero at all positions but one. Raises
        InputError for a likelihood that does not have them.
        """
        raise InputError(
            f"the likelihood {self.name!r} has no score_factors, which kind 'exact' needs; give it that method, or use "
            "kind='monte_carlo'."
        )


class _KnownLikelihood(Likelihood):
    """One whose scores and factors have formulas; drawn labels are not checked, which a device would wait for."""

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.check_targets(outputs, targets)
        return self._score(outputs, targets)

    def drawn_scores(
        self, outputs: Tensor, samples: int, generator: torch.Generator | None = None
    ) -> Iterator[Float[Tensor, "*shape"]]:
        return (self._score(outputs, labels) / samples**0.5 for labels in self.sample(outputs, samples, generator))

    def score_factors(self, outputs: Tensor) -> Iterator[Float[Tensor, "*shape"]]:
        if outputs.ndim == 2:
            yield from self._factors(outputs)
            return
        for position in range(outputs.shape[1]):
            for factor in self._factors(outputs[:, position]):
                column = torch.zeros_like(outputs)
                column[:, position] = factor
                yield column

    @abstractmethod
    def _score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The score at targets that fit."""

    @abstractmethod
    def _factors(self, outputs: Float[Tensor, "examples classes"]) -> Iterator[Float[Tensor, "examples classes"]]:
        """The columns at one position, one per class."""


@dataclass(frozen=True)
class Categorical(_KnownLikelihood):
    """p(y | outputs) = softmax(outputs)_y; targets are integers in [0, classes), one per example or position, or soft
    labels t of the outputs' shape: probabilities, of which one-hot ones are a case.

    As `torch.nn.CrossEntropyLoss(weight, label_smoothing=ε)` the loss of a label is −Σ_k w_k t_k ln p_k with
    t = (1 − ε) e_y + ε/classes, its score is w ⊙ t − (Σ w_k t_k) p, summed over examples without division by their
    weights. With `class_weights` w (one for each class) or `label_smoothing` ε, which make ln p a loss and no density,
    E_y[score scoreᵀ] is what F becomes, labels y drawn from p. Factor columns: √p_y score(y) for every class y. Raises
    InputError unless the weights are finite and not negative, and ε in [0, 1).

    >>> import elutheory as et
    >>> import torch
    >>> et.Categorical().score(torch.zeros(1, 2), torch.tensor([0]))
    tensor([[ 0.5000, -0.5000]])
    """

    class_weights: Sequence[float] | Tensor | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.class_weights is not None:
            weights = torch.as_tensor(self.class_weights, dtype=torch.float64)
            if weights.ndim != 1 or not weights.isfinite().all() or (weights < 0).any() or not (weights > 0).any():
                raise InputError("class_weights must be finite numbers, one for each class, none negative, not all 0.")
            object.__setattr__(self, "class_weights", tuple(weights.tolist()))
        if isinstance(self.label_smoothing, bool) or not 0 <= self.label_smoothing < 1:
            raise InputError(f"label_smoothing is {self.label_smoothing}; a number from 0 to below 1 is needed.")

    @property
    def name(self) -> str:
        """The string "categorical", with class weights and label smoothing where there are any."""
        parts = ["class weights"] if self.class_weights is not None else []
        parts += [f"label smoothing {self.label_smoothing:g}"] if self.label_smoothing else []
        return " with ".join(["categorical", " and ".join(parts)]) if parts else "categorical"

    @property
    def labels_are_classes(self) -> bool:
        """True: a label is one of the classes."""
        return True

    @property
    def takes_logits(self) -> bool:
        """True: softmax(outputs) are the probabilities."""
        return True

    def check_outputs(self, outputs: Tensor) -> None:
        """Raise InputError unless `outputs` are finite and of two classes or more, as many as class weights."""
        if outputs.ndim in (2, 3) and outputs.shape[-1] == 1 and outputs.numel():
            raise InputError(
                f"the model returned outputs of shape {tuple(outputs.shape)}; (examples, classes) or (examples, "
                "positions, classes) with 2 or more classes is needed for a categorical likelihood; for one logit of "
                'two classes it is likelihood="bernoulli".'
            )
        _check_outputs(outputs, "categorical", fewest=2)
        if isinstance(self.class_weights, tuple) and len(self.class_weights) != outputs.shape[-1]:
            raise InputError(f"there are {len(self.class_weights)} class_weights for {outputs.shape[-1]} classes.")

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        """Raise InputError unless `targets` are integers in [0, classes), one per example or position, or
        probabilities of the outputs' shape."""
        if targets.shape == outputs.shape:
            if targets.is_complex() or not (targets >= 0).all():
                raise InputError(
                    "targets of the outputs' shape are probabilities of the classes; none may be negative."
                )
            if ((targets.to(outputs.dtype).sum(-1) - 1).abs() > _SUM_OF_PROBABILITIES).any():
                raise InputError("targets of the outputs' shape are probabilities of the classes; they must sum to 1.")
            return
        _check_shape(targets, outputs.shape[:-1])
        if targets.dtype not in _INTEGERS:
            raise InputError(
                f"targets are {targets.dtype}; a categorical likelihood needs integers, or probabilities of shape "
                f"{tuple(outputs.shape)}."
            )
        classes = outputs.shape[-1]
        if ((targets < 0) | (targets >= classes)).any():
            raise InputError(
                f"targets run from {targets.min()} to {targets.max()}; they must lie in 0 to {classes - 1}."
            )

    def log_density(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Σ ln softmax(outputs)_target over the positions of every example; Σ_k w_k t_k ln softmax(outputs)_k."""
        self.check_targets(outputs, targets)
        logarithms = outputs.log_softmax(-1)
        if self._is_plain and targets.shape != outputs.shape:
            return logarithms.gather(-1, targets.long()[..., None]).flatten(1).sum(1)
        return (self._weighted(outputs, targets) * logarithms).flatten(1).sum(1)

    @property
    def _is_plain(self) -> bool:
        return self.class_weights is None and not self.label_smoothing

    def _weighted(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """w ⊙ t."""
        if targets.shape == outputs.shape:
            weighted = targets.to(outputs.dtype)
        else:
            index = targets.long()[..., None]
            weighted = torch.zeros_like(outputs).scatter(-1, index, torch.ones_like(outputs[..., :1]))
        if self.label_smoothing:
            weighted = (1 - self.label_smoothing) * weighted + self.label_smoothing / outputs.shape[-1]
        if self.class_weights is not None:
            weighted = weighted * torch.as_tensor(self.class_weights, dtype=outputs.dtype, device=outputs.device)
        return weighted

    def _score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        score = -outputs.softmax(-1)
        if self._is_plain and targets.shape != outputs.shape:
            return score.scatter_add(-1, targets.long()[..., None], torch.ones_like(score[..., :1]))
        weighted = self._weighted(outputs, targets)
        return weighted + weighted.sum(-1, keepdim=True) * score

    def sample(self, outputs: Tensor, samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Class numbers with probabilities softmax(outputs), one per sample, example and position."""
        device = outputs.device if generator is None else generator.device
        probabilities = outputs.softmax(-1).flatten(0, -2).to(device)
        drawn = torch.multinomial(probabilities, samples, replacement=True, generator=generator)
        return drawn.T.reshape(samples, *outputs.shape[:-1]).to(outputs.device)

    def divergence(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Σ_y p_y (ln p_y − ln p'_y) of every example and position."""
        logarithms = outputs.log_softmax(-1)
        return (logarithms.exp() * (logarithms - others.log_softmax(-1))).sum(-1)

    def _factors(self, outputs: Tensor) -> Iterator[Tensor]:
        probabilities = outputs.softmax(-1)
        for label, root in enumerate(probabilities.sqrt().unbind(-1)):
            if self._is_plain:
                factor = -root[:, None] * probabilities
                factor[:, label] += root
            else:
                labels = torch.full(outputs.shape[:-1], label, device=outputs.device)
                factor = root[:, None] * self._score(outputs, labels)
            yield factor


@dataclass(frozen=True)
class Bernoulli(_KnownLikelihood):
    """Independent y_k = 1 with probability σ(outputs_k) = 1/(1 + e^−outputs_k); targets from 0 to 1 of the outputs'
    shape, those in between being probabilities of a 1 (grey levels).

    Factor columns: √(p_k (1 − p_k)) e_k for every output k.

    >>> import elutheory as et
    >>> import torch
    >>> et.Bernoulli().score(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor([[ 0.5000, -0.5000]])
    """

    @property
    def name(self) -> str:
        """The string "bernoulli"."""
        return "bernoulli"

    @property
    def takes_logits(self) -> bool:
        """True: σ(outputs) are the probabilities."""
        return True

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        """Raise InputError unless `targets` lie in 0 to 1 and have the outputs' shape."""
        _check_shape(targets, outputs.shape)
        if targets.is_complex() or not ((targets >= 0) & (targets <= 1)).all():
            raise InputError("targets of a Bernoulli likelihood must all lie in 0 to 1.")

    def log_density(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Σ t ln σ(outputs) + (1 − t) ln σ(−outputs) over the outputs of every example."""
        self.check_targets(outputs, targets)
        ones = targets.to(outputs.dtype)
        logsigmoid = torch.nn.functional.logsigmoid
        return (ones * logsigmoid(outputs) + (1 - ones) * logsigmoid(-outputs)).flatten(1).sum(1)

    def _score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        ones = targets.to(outputs.dtype)
        return ones * (-outputs).sigmoid() - (1 - ones) * outputs.sigmoid()

    def sample(self, outputs: Tensor, samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Zeros and ones, in the outputs' dtype, with probabilities σ(outputs) of a one."""
        device = outputs.device if generator is None else generator.device
        probabilities = outputs.sigmoid().to(device).expand(samples, *outputs.shape)
        return torch.bernoulli(probabilities, generator=generator).to(outputs.device)

    def divergence(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Σ_k [p_k (ln p_k − ln p'_k) + (1 − p_k)(ln(1 − p_k) − ln(1 − p'_k))] of every example and position."""
        logsigmoid = torch.nn.functional.logsigmoid
        of_ones = outputs.sigmoid() * (logsigmoid(outputs) - logsigmoid(others))
        return (of_ones + (-outputs).sigmoid() * (logsigmoid(-outputs) - logsigmoid(-others))).sum(-1)

    def _factors(self, outputs: Tensor) -> Iterator[Tensor]:
        for index, net in enumerate(outputs.unbind(-1)):
            factor = torch.zeros_like(outputs)
            factor[:, index] = (net.sigmoid() * (-net).sigmoid()).sqrt()
            yield factor


@dataclass(frozen=True)
class Gaussian(_KnownLikelihood):
    """Independent y_k ~ N(outputs_k, variance); targets real, of the outputs' shape, in their dtype or converted to it.

    `variance` in squared output units. Factor columns: e_k / √variance for every output k. Raises InputError unless
    `variance` is positive and finite.

    >>> import elutheory as et
    >>> import torch
    >>> et.Gaussian(variance=0.5).score(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor([[2., 0.]])
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

    def check_outputs(self, outputs: Tensor) -> None:
        """Raise InputError unless `outputs` are finite and at least one per example."""
        _check_outputs(outputs, "gaussian", fewest=1)

    def check_targets(self, outputs: Tensor, targets: Tensor) -> None:
        """Raise InputError unless `targets` are finite real numbers, of the outputs' shape."""
        _check_shape(targets, outputs.shape)
        if targets.is_complex():
            raise InputError(f"targets are {targets.dtype}; those of a Gaussian must be real numbers.")
        _check_finite(targets)

    def log_density(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Σ −½ [(target − output)²/variance + ln 2π variance] over the outputs of every example."""
        self.check_targets(outputs, targets)
        squares = (targets.to(outputs.dtype) - outputs).square() / self.variance
        return -0.5 * (squares + math.log(2 * math.pi * self.variance)).flatten(1).sum(1)

    def _score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (targets.to(outputs.dtype) - outputs) / self.variance

    def sample(self, outputs: Tensor, samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Normal numbers about the outputs."""
        device = outputs.device if generator is None else generator.device
        shape = (samples, *outputs.shape)
        noise = torch.randn(shape, generator=generator, dtype=outputs.dtype, device=device).to(outputs.device)
        return outputs + math.sqrt(self.variance) * noise

    def divergence(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Σ_k (output_k − output'_k)² / (2 variance) of every example and position."""
        return (outputs - others).square().sum(-1) / (2 * self.variance)

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
    if isinstance(likelihood, type) and issubclass(likelihood, Likelihood):
        raise InputError(f"likelihood is the class {likelihood.__name__}; an instance of it is needed.")
    named = {"categorical": Categorical, "bernoulli": Bernoulli, "gaussian": Gaussian}
    if not isinstance(likelihood, str) or likelihood not in named:
        raise InputError(
            f"likelihood {likelihood!r} is not available; 'categorical', 'bernoulli', 'gaussian' (variance 1), "
            "Gaussian(variance) and instances of a Likelihood of your own are."
        )
    return named[likelihood]()


def described_likelihood(likelihood: Likelihood | str) -> dict[str, Any]:
    """What JSON can hold of a likelihood: its class and parameters, of one of your own or a text the name alone."""
    if isinstance(likelihood, Categorical | Bernoulli | Gaussian):
        return {"class": type(likelihood).__name__, "parameters": asdict(likelihood)}
    return {"name": likelihood if isinstance(likelihood, str) else likelihood.name}


def likelihood_described(described: dict[str, Any]) -> Likelihood | str:
    """The inverse of `described_likelihood`; of one of your own, the name. Raises KeyError for anything else."""
    if "name" in described:
        return str(described["name"])
    classes = {kind.__name__: kind for kind in (Categorical, Bernoulli, Gaussian)}
    return classes[described["class"]](**described["parameters"])


_SUM_OF_PROBABILITIES = 1e-3  # how far from 1 probabilities may sum: float16's rounding, of hundreds of classes
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


def _check_finite(targets: Tensor) -> None:
    if not targets.isfinite().all():
        raise InputError("targets contain NaN or infinity; every number must be finite.")
