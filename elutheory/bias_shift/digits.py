"""Theorems 1 and 2 on real data: handwritten digits, a small trained classifier, the exact Fisher of its units."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from elutheory.activations.activation_function import Activation, as_activation
from elutheory.errors import InputError
from elutheory.fisher.scores import layer_scores
from elutheory.fisher.theorem_checks import LayerRecord, layer_record
from elutheory.models.data import load_digits
from elutheory.numerics.cost import Cost

EXAMPLES, PIXELS, CLASSES = 1797, 64, 10  # of the digits
MEMORY_LIMIT = 2**30


@dataclass(frozen=True)
class DigitsExperiment:
    """What is trained and what is measured. Raises InputError for settings outside the stated domain.

    - `hidden`: widths of the hidden layers, at least one; a layer's Fisher matrices must fit into 1 GiB;
    - `epochs` ≥ 0, `learning_rate` > 0, `batch_size` ≥ 1: plain stochastic gradient descent on the mean cross-entropy;
    - `layers`: numbers of the layers to measure, 1 for the first hidden layer, len(hidden) + 1 for the output layer;
      None: every hidden layer;
    - `damping`: see `layer_record`;
    - `seed`: of the initial weights and the order of the batches, 0 to 2⁶³ − 1.
    """

    hidden: tuple[int, ...] = (32, 32)
    epochs: int = 15
    learning_rate: float = 0.05
    batch_size: int = 32
    layers: tuple[int, ...] | None = None
    damping: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(f"hidden is {self.hidden}; one or more widths of at least 1 are needed.")
        if self.epochs < 0:
            raise InputError(f"epochs is {self.epochs}; zero or more are needed.")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError(f"learning_rate is {self.learning_rate}; a finite number above zero is needed.")
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}; at least 1 is needed.")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}; an integer from 0 to 2⁶³ − 1 is needed.")
        if self.damping is not None and not (math.isfinite(self.damping) and self.damping >= 0):
            raise InputError(f"damping is {self.damping}; a finite number, zero or larger, is needed.")
        if self.layers == ():
            raise InputError("layers is empty; name at least one layer, or None for every hidden layer.")
        for number in self.layers or ():
            if not 1 <= number <= len(self.hidden) + 1:
                raise InputError(
                    f"there is no layer {number}; the hidden layers are 1 to {len(self.hidden)}, the output layer is "
                    f"{len(self.hidden) + 1}."
                )
        for number in self.measured_layers:
            fan_in, units = self.widths[number - 1 : number + 1]
            size = 2 * units * (fan_in + 1) ** 2 * 8
            if size > MEMORY_LIMIT:
                raise InputError(
                    f"the Fisher matrices of layer {number} ({units} units, fan-in {fan_in}) take "
                    f"{size / 2**30:.1f} GiB; {MEMORY_LIMIT / 2**30:.0f} GiB is allowed, so choose narrower layers or "
                    "measure others."
                )

    @property
    def widths(self) -> tuple[int, ...]:
        """Pixels, hidden widths, classes."""
        return (PIXELS, *self.hidden, CLASSES)

    @property
    def measured_layers(self) -> tuple[int, ...]:
        """Numbers of the layers to measure."""
        return tuple(range(1, len(self.hidden) + 1)) if self.layers is None else self.layers


@dataclass(frozen=True)
class NetworkRecord:
    """A trained classifier's numbers: mean cross-entropy (nats) and accuracy in [0, 1] on the training data, which is
    all 1,797 digits, and one record per measured layer, named by its number."""

    activation: str
    training_loss: float
    training_accuracy: float
    layers: tuple[LayerRecord, ...]


def experiment_cost(experiment: DigitsExperiment) -> Cost:
    """Of training one classifier, and of its measured layers' Fisher matrices and their inverses."""
    weights = sum((fan_in + 1) * units for fan_in, units in pairwise(experiment.widths))
    batches = -(-EXAMPLES // experiment.batch_size)
    training = Cost(6.0 * weights * EXAMPLES, batches * 0.1 * len(experiment.widths)) * experiment.epochs
    held = 8.0 * (4 * weights + 4 * EXAMPLES * sum(experiment.widths))
    layers = [(experiment.widths[number - 1] + 1, experiment.widths[number]) for number in experiment.measured_layers]
    matrices = sum(units * (2.0 * EXAMPLES * rows**2 * CLASSES + 60 * rows**3) for rows, units in layers)
    largest = max(units * rows**2 for rows, units in layers)
    return training + Cost(matrices, len(layers), held + 8.0 * 6 * largest)


def measure_digits(activation_function: Activation | str, experiment: DigitsExperiment) -> NetworkRecord:
    """Train the classifier with one activation function on the digits and measure its layers; deterministic.

    Initial weights and batches depend on `experiment` alone: activation functions are compared on the same ones.
    Raises InputError if training diverges, and for whatever `layer_record` refuses.
    """
    chosen = as_activation(activation_function)
    pixels, labels = load_digits()
    generator = torch.Generator().manual_seed(experiment.seed)
    model = classifier(chosen, experiment.widths, generator)
    train(model, pixels, labels, experiment, generator)
    with torch.no_grad():
        logits = model(pixels)
    loss = nn.functional.cross_entropy(logits, labels).item()
    if not math.isfinite(loss):
        raise _diverged(experiment)
    return NetworkRecord(
        activation=str(chosen),
        training_loss=loss,
        training_accuracy=(logits.argmax(1) == labels).double().mean().item(),
        layers=tuple(
            _measure_layer(model, pixels, labels, number, experiment.damping) for number in experiment.measured_layers
        ),
    )


def _measure_layer(model: nn.Module, pixels: Tensor, labels: Tensor, number: int, damping: float | None) -> LayerRecord:
    name = linear_name(number)
    loss = layer_scores(model, pixels, name, kind="empirical", targets=labels)
    return layer_record(layer_scores(model, pixels, name), loss.gradient(), str(number), damping)


def linear_name(number: int) -> str:
    """Name of fully connected layer `number` (from 1) in the model `classifier` builds."""
    return str(2 * (number - 1))


def classifier(activation_function: Activation, widths: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    """Fully connected float64 network, He initialisation: weights N(0, 2/fan_in), biases 0 (arXiv 1502.01852)."""
    layers: list[nn.Module] = []
    for fan_in, units in pairwise(widths):
        linear = nn.Linear(fan_in, units, dtype=torch.float64, device="meta").to_empty(device="cpu")
        nn.init.normal_(linear.weight, 0.0, math.sqrt(2 / fan_in), generator)
        nn.init.zeros_(linear.bias)
        layers += [linear, activation_function.torch_module()]
    return nn.Sequential(*layers[:-1])


def train(
    model: nn.Module, pixels: Tensor, labels: Tensor, experiment: DigitsExperiment, generator: torch.Generator
) -> None:
    """Plain stochastic gradient descent on the mean cross-entropy, in place. Raises InputError if the loss diverges."""
    parameters = list(model.parameters())
    for _ in range(experiment.epochs):
        for batch in torch.randperm(len(labels), generator=generator).split(experiment.batch_size):
            loss = nn.functional.cross_entropy(model(pixels[batch]), labels[batch])
            if not loss.isfinite():
                raise _diverged(experiment)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                    parameter -= experiment.learning_rate * gradient


def _diverged(experiment: DigitsExperiment) -> InputError:
    return InputError(
        f"training diverged: the loss is not finite at learning rate {experiment.learning_rate:g}; choose a lower one."
    )
