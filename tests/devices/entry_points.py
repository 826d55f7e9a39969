"""Every public name that takes tensors or torch models, called once or more, at a place: a device and a dtype.

A case returns its results by name. Inputs are the same numbers at every place, so results can be compared.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

import elutheory as et
from elutheory.statistics import LayerStatistics, layer_statistics, observe_layers

Results = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where, and in which dtype, a case computes."""

    device: torch.device
    dtype: torch.dtype

    def numbers(self, *values: float) -> Tensor:
        """A vector of the given values."""
        return torch.tensor(values, dtype=torch.float64).to(self.device, self.dtype)

    def normal(self, *shape: int, seed: int = 0) -> Tensor:
        """Standard normal numbers; those of float32 can be represented in float64, too."""
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
        return drawn.to(self.device, self.dtype)

    def labels(self, count: int, classes: int) -> Tensor:
        """Labels 0 … classes − 1 in turn."""
        return (torch.arange(count) * 7 % classes).to(self.device)

    def gram(self, count: int, unit_norms: bool = False) -> Tensor:
        """Second moments of `count` inputs."""
        inputs = torch.randn(count, 9, generator=torch.Generator().manual_seed(3), dtype=torch.float32).double()
        if unit_norms:
            inputs = 3.0 * inputs / inputs.norm(dim=1, keepdim=True)
        gram = inputs @ inputs.T / 9
        return (0.5 * (gram + gram.T)).to(self.device, self.dtype)

    def settle(self, model: nn.Module) -> nn.Module:
        """The model with parameters that depend on their shapes alone."""
        with torch.no_grad():
            for seed, parameter in enumerate(model.parameters()):
                fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
                parameter.copy_(self.normal(*parameter.shape, seed=50 + seed) / math.sqrt(fan_in))
        return model

    def perceptron(self, hidden: int = 6, classes: int = 3) -> nn.Module:
        """5 inputs, two hidden layers, ELU and ReLU."""
        own = {"device": self.device, "dtype": self.dtype}
        layers = nn.Linear(5, hidden, **own), nn.ELU(), nn.Linear(hidden, hidden, **own), nn.ReLU()
        return self.settle(nn.Sequential(*layers, nn.Linear(hidden, classes, **own))).eval()

    def convolution(self, classes: int = 3) -> nn.Module:
        """2 × 5 × 5 inputs; a strided convolution, one in groups, one unit dead."""
        own = {"device": self.device, "dtype": self.dtype}
        first, second = nn.Conv2d(2, 4, 3, stride=2, padding=1, **own), nn.Conv2d(4, 4, 2, groups=2, bias=False, **own)
        norm = nn.BatchNorm2d(4, **own)
        model = nn.Sequential(first, norm, nn.SiLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(16, classes, **own))
        return self.settle(model).eval()


@dataclass(frozen=True)
class EntryPoint:
    """A case, and the public names it is for.

    `waits`: the host has to wait for a value on the device; `float64`: results are in float64 at every place.
    """

    names: tuple[str, ...]
    run: Callable[[Place], Results]
    waits: bool = True
    float64: bool = False

    def results_of(self, place: Place) -> Place:
        """Where the results have to be."""
        return replace(place, dtype=torch.float64) if self.float64 else place


ENTRY_POINTS: dict[str, EntryPoint] = {}


def entry_point(*names: str, **options: bool) -> Callable[[Callable[[Place], Results]], Callable[[Place], Results]]:
    """Adds a function to ENTRY_POINTS."""

    def register(run: Callable[[Place], Results]) -> Callable[[Place], Results]:
        ENTRY_POINTS[run.__name__] = EntryPoint(names, run, **options)
        return run

    return register


# --- activations, moments, kernels ----------------------------------------------------------------------------------

REGISTERED = ("elu", "relu", "leaky_relu", "selu", "gelu", "silu", "softplus", "relu6", "hard_tanh", "shifted_relu")


@entry_point("Activation", "activation", waits=False)
def activations(place: Place) -> Results:
    x = torch.cat([place.normal(20), place.numbers(-math.inf, -1e3, 0.0, 1e3, math.inf)])
    custom = et.Activation.from_text("where(x > 0, x, exp(x) - 1) + erf(x) + log(1 + x * x)")
    found: Results = {}
    for function in (*map(et.activation, REGISTERED), custom):
        found[f"{function}"], found[f"{function}, slope"] = function(x), function.derivative(x)
        found[f"{function}, module"] = function.torch_module()(x)
    inside = x[:20].requires_grad_()
    (found["gradient"],) = torch.autograd.grad(custom.derivative(inside).sum(), inside)
    return found


MOMENTS = ("mean", "second_moment", "variance", "slope_mean", "slope_second_moment", "log_slope_mean")


@entry_point("gaussian_moments", "GaussianMoments")
def moments(place: Place) -> Results:
    mean, std = place.normal(40), place.normal(40, seed=1).abs() + 0.1
    far, none = place.numbers(-30.0, 2.0, math.inf, 0.5, -80.0), place.numbers(1.0, 0.0, 1.0, 40.0, 3.0)
    arguments = {
        "vectors": (mean, std),
        "far": (far, none),
        "scalar": (mean[0], 1.5),
        "rows": (mean[:, None], std[:3]),
        "a scalar on the host": (torch.tensor(0.5, dtype=place.dtype), std),
    }
    found: Results = {}
    for name in ("elu", "relu", "hard_tanh"):
        for kind, pair in arguments.items():
            result = et.gaussian_moments(name, *pair)
            found |= {f"{name}, {kind}, {moment}": getattr(result, moment) for moment in MOMENTS}
    return found


@entry_point("gaussian_moments")
def moments_by_quadrature(place: Place) -> Results:
    mean, std = place.numbers(-1.0, 0.0, 2.0, 0.3), place.numbers(0.5, 1.0, 2.0, 0.0)
    found: Results = {}
    for name in ("silu", "tanh"):
        result = et.gaussian_moments(name, mean, std)
        found |= {f"{name}, {moment}": getattr(result, moment) for moment in MOMENTS if moment != "log_slope_mean"}
        leaves = mean.clone().requires_grad_(), std.clone().requires_grad_()
        gradients = torch.autograd.grad(et.gaussian_moments(name, *leaves).variance[:3].sum(), leaves)
        found |= {f"{name}, by mean": gradients[0], f"{name}, by std": gradients[1]}
    return found


@entry_point("gaussian_moments")
def derivatives_of_moments(place: Place) -> Results:
    mean, std = place.normal(6).requires_grad_(), (place.normal(6, seed=1).abs() + 0.2).requires_grad_()
    found: Results = {}
    for name in ("elu", "relu"):
        result = et.gaussian_moments(name, mean, std)
        total = result.mean.sum() + result.variance.sum() + result.slope_second_moment.sum()
        first = torch.autograd.grad(total, (mean, std), create_graph=True)
        second = torch.autograd.grad(first[0].sum() + first[1].sum(), (mean, std))
        found |= {f"{name}, {key}": value for key, value in zip("ab", first, strict=True)}
        found |= {f"{name}, {key}": value for key, value in zip("cd", second, strict=True)}
    return found


@entry_point("gaussian_moments")
def moments_under_vmap(place: Place) -> Results:
    mean, std = place.normal(6), place.normal(6, seed=1).abs() + 0.2

    def expectation(m: Tensor, s: Tensor) -> Tensor:
        return et.gaussian_moments("elu", m, s).mean

    return {"slopes": torch.func.vmap(torch.func.grad(expectation, argnums=(0, 1)))(mean, std)[1]}


KERNELS = {
    "value": et.dual_kernel,
    "slope": et.dual_kernel_derivative,
    "covariance": et.dual_covariance,
}


@entry_point("dual_kernel", "dual_kernel_derivative", "dual_covariance", "DualKernel")
def kernels(place: Place) -> Results:
    variances = place.normal(12).square() + 0.1, place.normal(12, seed=1).square() + 0.1
    correlation = torch.cat([place.normal(8, seed=2).tanh(), place.numbers(0.0, 1.0, -1.0, 0.9999)])
    covariance = correlation * (variances[0] * variances[1]).sqrt()
    means = place.normal(12, seed=3), place.normal(12, seed=4)
    found: Results = {}
    for name in ("elu", "relu"):
        for quantity, kernel in KERNELS.items():
            found[f"{name}, {quantity}"] = kernel(name, *variances, covariance, *means).value
            found[f"{name}, centred {quantity}"] = kernel(name, variances[0][:, None], 2.0, 0.1).value
    return found


@entry_point("dual_kernel", "dual_kernel_derivative", "dual_covariance")
def kernels_by_nested_quadrature(place: Place) -> Results:
    arguments = place.numbers(1.0, 0.5), 2.0, place.numbers(0.3, -0.8), 0.1
    return {quantity: kernel("silu", *arguments).value for quantity, kernel in KERNELS.items()}


@entry_point("dual_kernel", "dual_kernel_derivative", "dual_covariance")
def derivatives_of_kernels(place: Place) -> Results:
    leaves = [
        place.numbers(*column).requires_grad_()
        for column in ([1.0, 0.5], [2.0, 0.25], [0.7, -0.2], [0.1, -1.0], [-0.4, 0.3])
    ]
    found: Results = {}
    for quantity, kernel in KERNELS.items():
        gradients = torch.autograd.grad(kernel("elu", *leaves).value.sum(), leaves)
        found |= {f"{quantity} {place}": gradient for place, gradient in enumerate(gradients)}
    return found


# --- Gram matrices --------------------------------------------------------------------------------------------------


def _gram_results(kind: str, found: Any) -> Results:
    results = {f"{kind}, gram": found.gram}
    if isinstance(found, et.TangentKernel):
        return results | {f"{kind}, tangent": found.matrix}
    left, right = found.second_moments
    return results | {f"{kind}, left": left, f"{kind}, right": right, f"{kind}, activation": found.activation_gram}


@entry_point("propagate_gram", "PropagatedGram")
def gram_matrices(place: Place) -> Results:
    gram, rows, columns = place.gram(7), place.gram(7)[:4, 4:], place.gram(7).diagonal()
    sides = columns[:4], columns[4:]
    found: Results = {}
    found |= _gram_results("equal norms", et.propagate_gram("elu", place.gram(7, unit_norms=True), 4, 1.5, 0.1))
    for name in ("elu", "relu", "silu"):
        found |= _gram_results(name, et.propagate_gram(name, gram, 2, 1.5, 0.1))
    found |= _gram_results("between two sets", et.propagate_gram("elu", rows, 3, 1.5, second_moments=sides))
    found |= _gram_results("normalised", et.propagate_gram("elu", gram, 3, 1.5, 0.1, batch_norm=True))
    found |= _gram_results("residual", et.propagate_gram("relu", gram, 3, 1.5, 0.1, residual=True))
    return found


@entry_point("propagate_gram", "tangent_kernel")
def derivatives_of_gram_matrices(place: Place) -> Results:
    found: Results = {}
    whole = place.gram(4).requires_grad_()
    outcomes = {
        "plain": et.propagate_gram("elu", whole, 3, 1.5, 0.1).gram,
        "normalised": et.propagate_gram("elu", whole, 2, 1.5, 0.1, batch_norm=True).gram,
        "tangent": et.tangent_kernel("relu", whole, 2, 2.0, 0.1, residual=True).matrix,
    }
    weight = place.normal(4, 4, seed=8)
    for kind, outcome in outcomes.items():
        found[kind] = outcome.detach()
        (found[f"{kind}, gradient"],) = torch.autograd.grad((weight * outcome).sum(), whole, retain_graph=True)
    part, norms = place.gram(4)[:2, 2:].clone().requires_grad_(), place.gram(4).diagonal()
    outcome = et.propagate_gram("elu", part, 2, 1.5, second_moments=(norms[:2], norms[2:])).gram
    (found["between two sets"],) = torch.autograd.grad(outcome.sum(), part)
    return found


@entry_point("tangent_kernel", "TangentKernel")
def tangent_kernels(place: Place) -> Results:
    found: Results = {}
    for name in ("elu", "relu"):
        found |= _gram_results(name, et.tangent_kernel(name, place.gram(7), 3, 1.5, 0.1))
    equal = et.tangent_kernel("silu", place.gram(7, unit_norms=True), 3, 1.5, 0.1, residual=True)
    return found | _gram_results("equal norms", equal)


def _training_kernel(place: Place) -> Any:
    return et.training_kernel("elu", place.gram(7), depth=2, width=6, features=9, weight_variance=1.5)


@entry_point("training_kernel", "TrainingKernel")
def training_kernels(place: Place) -> Results:
    theta = _training_kernel(place)
    found: Results = {"matrix": theta.matrix, "covariance": theta.output_covariance, "share": theta.top_share}
    found["centred"] = theta.centred([0, 2, 3]).matrix
    return found | {f"layer {number}": part for number, part in enumerate(theta.layers)}


@entry_point("predict_training", "TrainingPrediction", float64=True)
def predicted_training(place: Place) -> Results:
    found: Results = {}
    theta, labels = _training_kernel(place), place.labels(7, 3)
    for loss in ("cross_entropy", "squared_error"):
        for batch_size in (None, 2):
            d = et.predict_training(
                theta,
                labels,
                learning_rate=0.01,
                steps=4,
                loss=loss,
                batch_size=batch_size,
                momentum=0.5,
                trained=slice(5),
                draws=2,
                finite_networks=1,
            )
            found[f"{loss}, {batch_size}"] = d.outputs
            found[f"{loss}, {batch_size}, loss"] = float(d.table["loss"].iloc[-1])
    return found


@entry_point("empirical_training_kernel", "EmpiricalTrainingKernel")
def kernels_of_models(place: Place) -> Results:
    found: Results = {}
    for name, model, inputs in (
        ("perceptron", place.perceptron(), place.normal(4, 5)),
        ("convolution", place.convolution(), place.normal(4, 2, 5, 5)),
    ):
        kernel = et.empirical_training_kernel(model, inputs, blocks=True)
        found |= {f"{name}, matrix": kernel.matrix, f"{name}, outputs": kernel.outputs, f"{name}, all": kernel.blocks}
    return found


@entry_point("fisher_top_eigenvalue", "FisherTopEigenvalue", "bias_shift_strength", "BiasShiftStrength")
def kernel_spectra(place: Place) -> Results:
    tangent = et.tangent_kernel("elu", place.gram(7), 3, 1.5, 0.1)
    top = et.fisher_top_eigenvalue(tangent)
    return {
        "estimate": top.estimate,
        "exact": top.exact,
        "of a matrix": et.fisher_top_eigenvalue(tangent.matrix).trace_share,
        "strength": et.bias_shift_strength(place.gram(7), 0.1).value,
        "strength on the range": et.bias_shift_strength(place.gram(7), 0).value,
    }


# --- scores and Fisher matrices -------------------------------------------------------------------------------------


@entry_point("Likelihood", "Categorical", "Bernoulli", "Gaussian")
def likelihoods(place: Place) -> Results:
    outputs, real = place.normal(6, 3), place.normal(6, 3, seed=1)
    cases = (
        (et.Categorical(), place.labels(6, 3)),
        (et.Bernoulli(), (real > 0).to(torch.int64)),
        (et.Gaussian(2.5), real),
    )
    found: Results = {}
    for likelihood, targets in cases:
        found[f"{likelihood.name}, log density"] = likelihood.log_density(outputs, targets)
        found[f"{likelihood.name}, score"] = likelihood.score(outputs, targets)
        found[f"{likelihood.name}, factors"] = torch.stack(list(likelihood.score_factors(outputs)))
        positions = likelihood.score_factors(outputs[:, None])
        found[f"{likelihood.name}, factors of positions"] = torch.stack(list(positions))
        drawn = likelihood.sample(outputs, 4, torch.Generator().manual_seed(5))
        found[f"{likelihood.name}, drawn"] = drawn
        found[f"{likelihood.name}, score of drawn"] = likelihood.score(outputs, drawn[0])
    return found


KINDS = ("exact", "monte_carlo", "empirical")


def _fisher_arguments(place: Place, kind: str, count: int) -> dict[str, Any]:
    if kind == "exact":
        return {"kind": kind}
    if kind == "empirical":
        return {"kind": kind, "targets": place.labels(count, 3)}
    return {"kind": kind, "samples": 2, "generator": torch.Generator().manual_seed(4)}


@entry_point("layer_scores", "model_scores", "LayerScores", "ModelScores")
def scores(place: Place) -> Results:
    found: Results = {}
    models = ((place.perceptron(), place.normal(9, 5)), (place.convolution(), place.normal(9, 2, 5, 5)))
    for model, inputs in models:
        for kind in KINDS:
            result = et.model_scores(model, inputs, **_fisher_arguments(place, kind, 9))
            found[f"{kind}, {len(model)} outputs"] = result.outputs
            for name, layer in result.layers.items():
                key = f"{kind}, {len(model)} {name}"
                found |= {f"{key}, incoming": layer.incoming, f"{key}, deltas": layer.deltas}
                found[f"{key}, squares"] = layer.squared_deltas()
                if kind == "empirical":
                    found[f"{key}, gradient"] = layer.gradient()
    mapping = {"input": place.normal(9, 5)}
    one = et.layer_scores(place.perceptron(), mapping, "0", likelihood=et.Gaussian(2.0))
    basis = torch.linalg.qr(place.normal(5, 2, seed=6).cpu()).Q.to(place.device)
    return found | {"projected": one.project(basis).incoming, "unit": one.unit(1).deltas}


def _fisher_results(key: str, fisher: Any, gradient: Tensor) -> Results:
    found = {
        "matrix": fisher.matrix,
        "mean under p": fisher.mean_under_p,
        "mean under q": fisher.mean_under_q,
        "complement": fisher.complement_of(slice(None)),
        "A": fisher.A,
        "eigenvalues": fisher.eigenvalues,
        "mean diagonal": fisher.mean_diagonal,
        "damped": fisher.natural_gradient(gradient, 0.1, relative=True),
    }
    if gradient.dtype == torch.float64:  # float32 leaves what is near to singular no digits to compare
        found["on the range"] = fisher.natural_gradient(gradient, singular="range")
    if fisher.has_bias:
        found |= {"b": fisher.b, "c": fisher.c, "damped matrix": fisher.damped(0.2).matrix}
    return {f"{key}, {name}": value for name, value in found.items()}


@entry_point("unit_fisher", "UnitFisher")
def fisher_matrices(place: Place) -> Results:
    found: Results = {}
    model, inputs = place.perceptron(), place.normal(40, 5)
    gradient = place.normal(6, 6, seed=2)
    for kind in KINDS:
        fisher = et.unit_fisher(model, inputs, "0", batch_size=16, **_fisher_arguments(place, kind, 40))
        found |= _fisher_results(kind, fisher, gradient)
    few = et.unit_fisher(model, inputs[:4], "0")
    found |= _fisher_results("factors", few, gradient)
    found |= _fisher_results("factors and more", few.update(inputs[4:30] + 8.0), gradient)
    far = et.unit_fisher(model, inputs + 8.0, "0")
    found |= _fisher_results("far", far, gradient)
    found |= _fisher_results("merged", far.merge(et.unit_fisher(model, inputs[:3] - 2.0, "0")), gradient)
    found["rank"] = [float(rank) for rank in et.unit_fisher(model, inputs, "0").rank]
    return found


@entry_point("fisher_diagonal")
def diagonals(place: Place) -> Results:
    found: Results = {}
    for kind in KINDS:
        arguments = _fisher_arguments(place, kind, 12)
        for name, (model, inputs) in {
            "perceptron": (place.perceptron(), place.normal(12, 5)),
            "convolutions": (place.convolution(), place.normal(12, 2, 5, 5)),
        }.items():
            of_kind = et.fisher_diagonal(model, inputs, batch_size=7, **arguments)
            found |= {f"{kind}, {name}, {parameter}": value for parameter, value in of_kind.items()}
    return found


@entry_point("approximate_unit_fisher", "SharedUnitFisher", "ProjectedUnitFisher")
def fisher_matrices_of_wide_layers(place: Place) -> Results:
    """Natural gradients: the matrices are summed in float64 whatever the model's dtype."""
    model, inputs, gradient = place.perceptron(), place.normal(40, 5), place.normal(6, 6, seed=2)
    return {
        approximation: et.approximate_unit_fisher(
            model, inputs, "0", approximation, rank=3, batch_size=16
        ).natural_gradient(gradient, damping=0.1)
        for approximation in ("shared", "projected")
    }


@entry_point("unit_fisher", "UnitFisher")
def fisher_matrices_of_convolutions(place: Place) -> Results:
    found: Results = {}
    model, inputs = place.convolution(), place.normal(12, 2, 5, 5)
    for sharing in ("exact", "positionwise"):
        for layer, shape in (("0", (4, 19)), ("3", (4, 8))):
            fisher = et.unit_fisher(model, inputs, layer, weight_sharing=sharing)
            found |= _fisher_results(f"{sharing} {layer}", fisher, place.normal(*shape, seed=2))
    return found


def _random_scores(place: Place, seed: int, positions: int, sharing: str) -> Any:
    incoming = place.normal(9, 2, positions, 3, seed=seed)
    deltas = place.normal(3, 9, positions, 4, seed=seed + 1)
    return et.LayerScores(incoming, deltas, weight_sharing=sharing)


@entry_point("UnitFisher", "LayerScores", waits=False)
def fisher_accumulation(place: Place) -> Results:
    """Sums over batches of scores, as factors and as matrices."""
    found: Results = {}
    for positions, sharing in ((1, "exact"), (2, "exact"), (2, "positionwise")):
        fisher = et.UnitFisher.from_scores(_random_scores(place, 0, positions, sharing))
        for seed in (2, 4):
            fisher.add_scores(_random_scores(place, seed, positions, sharing))
        key = f"{sharing}, {positions}"
        found |= {f"{key}, p": fisher.mean_under_p, f"{key}, q": fisher.mean_under_q, f"{key}, c": fisher.c}
        found[f"{key}, complement"] = fisher.complement_of(slice(None))
    return found


@entry_point("bias_shift_correction", "BiasShiftCorrection")
def corrections(place: Place) -> Results:
    found: Results = {}
    for examples in (4, 40):
        fisher = et.unit_fisher(place.perceptron(), place.normal(examples, 5), "0")
        correction = et.bias_shift_correction(fisher, place.normal(6, 6, seed=2), 0.1)
        found |= {f"{examples}, {key}": getattr(correction, key) for key in vars(correction)}
    return found


# --- training and diagnosis -----------------------------------------------------------------------------------------

OPTIMIZERS: Mapping[str, dict[str, Any]] = {
    "exact": {"kind": "exact"},
    "monte carlo": {"kind": "monte_carlo", "samples": 2, "momentum": 0.5, "weight_decay": 0.01},
    "empirical": {"kind": "empirical", "max_kl": None, "relative": False},
    "undamped": {"kind": "exact", "damping": 0.0},
    "centred under p": {"centred": "p"},
    "centred under q": {"centred": "q", "kind": "exact"},
}


def trained(place: Place, options: dict[str, Any], convolution: bool = False) -> Iterator[tuple[Any, nn.Module]]:
    """The optimizer and the model behind each training step, without end."""
    model = (place.convolution() if convolution else place.perceptron()).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    inputs = place.normal(30, 2, 5, 5) if convolution else place.normal(30, 5)
    targets = place.labels(30, 3)
    optimizer = et.UnitNaturalGradient(model, 0.1, **options)
    while True:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
        yield optimizer, model


@entry_point("UnitNaturalGradient")
def training_steps(place: Place) -> Results:
    found: Results = {}
    for name, options in OPTIMIZERS.items():
        steps = trained(place, options)
        next(steps)
        optimizer, model = next(steps)
        optimizer.load_state_dict(optimizer.state_dict())
        _, model = next(steps)
        found |= {f"{name}, {key}": value.detach() for key, value in model.named_parameters()}
        states = optimizer.state_dict()["state"]
        for index, state in states.items():
            found |= {f"{name}, {key} {index}": value for key, value in state.items() if isinstance(value, Tensor)}
    return found


@entry_point("UnitNaturalGradient")
def training_steps_of_convolutions(place: Place) -> Results:
    found: Results = {}
    for sharing in ("exact", "positionwise"):
        options = {"kind": "exact", "weight_sharing": sharing}
        _, model = next(trained(place, options, convolution=True))
        found |= {f"{sharing}, {key}": value.detach() for key, value in model.named_parameters()}
    return found


class Shifted(nn.Module):
    """An activation function of another library, which keeps a constant in a buffer."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.register_buffer("floor", torch.full((), -1.0, dtype=place.dtype).to(place.device))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.maximum(inputs, self.floor.expand_as(inputs))


@entry_point("predict_layers", "LayerPredictions")
def layer_predictions(place: Place) -> Results:
    table = et.predict_layers("elu", place.normal(30, 9), 3, 2.0, 0.0, width=16).table
    return {f"{layer} {column}": value for layer, row in table.iterrows() for column, value in row.items()}


@entry_point("initialise")
def drawn_weights(place: Place) -> Results:
    """Where and in which dtype: the numbers drawn are other ones in each."""
    model = et.initialise(place.perceptron(), "he", seed=3)
    return {name: torch.zeros_like(values) for name, values in model.state_dict().items()}


@entry_point("diagnose", "Diagnosis")
def diagnoses(place: Place) -> Results:
    found: Results = {}
    perceptron = place.perceptron()
    perceptron[3] = Shifted(place)
    cases = {
        "perceptron": (perceptron, (place.normal(30, 5), place.labels(30, 3))),
        "convolution": (place.convolution(), place.normal(20, 2, 5, 5)),
    }
    for key, (model, data) in cases.items():
        table = et.diagnose(model, data, fisher_examples=16, units=3).table.set_index("layer")
        for layer, row in table.iterrows():
            found |= {f"{key} {layer} {column}": value for column, value in row.items()}
    return found


def _statistics_results(key: str, found: LayerStatistics) -> Results:
    results: Results = {}
    for layer in found.layers:
        units = found.units(layer)
        results |= {f"{key} {layer} {name}": value for name, value in vars(units).items() if value is not None}
    for index, row in found.table.iterrows():
        results |= {f"{key} {index} {column}": value for column, value in row.items()}
    return results


@entry_point("layer_statistics", "LayerStatistics", "UnitStatistics", float64=True)
def statistics(place: Place) -> Results:
    quantiles = (0.1, 0.5)
    perceptron = place.perceptron()
    perceptron[3] = Shifted(place)
    data = [(place.normal(20, 5), place.labels(20, 3)), (place.normal(7, 5, seed=1), place.labels(7, 3))]
    named = layer_statistics(perceptron, data, layers=["1", "3"], pre_activations=True, quantiles=quantiles)
    found = _statistics_results("perceptron", named)
    model, images = place.convolution(), place.normal(12, 2, 5, 5)
    every = layer_statistics(model, images, batch_size=5, quantiles=quantiles)
    loaded = LayerStatistics.from_bytes(every.to_bytes())
    found |= _statistics_results("merged", every.merge(layer_statistics(model, images[:3] + 1.0, quantiles=quantiles)))
    found |= {f"loaded {name}": value for name, value in loaded.table.iloc[0].items()}
    return found | _statistics_results("sketches", layer_statistics(model, images, quantiles=quantiles, memory=10))


def observed(place: Place, batches: int) -> LayerStatistics:
    """Statistics of so many batches in the caller's own loop."""
    model = place.perceptron()
    with observe_layers(model, pre_activations=True, extremes=True) as found, torch.no_grad():
        for seed in range(batches):
            model(place.normal(6, 5, seed=seed))
    return found


@entry_point("observe_layers", waits=False, float64=True)
def observations(place: Place) -> Results:
    """Enough batches for the sums to be folded together."""
    found = observed(place, 40)
    return {f"{layer} {name}": value for layer in found.layers for name, value in vars(found.units(layer)).items()}


WITHOUT_TENSORS = (
    # what is said of numbers, symbols and text
    "activation_names",
    "certified_moments",
    "Propagation",
    "propagate",
    "FixedPoints",
    "fixed_points",
    "CriticalityLine",
    "criticality_line",
    "Initialisation",
    "initialisation",
    "InputError",
    # two results beside each other
    "Comparison",
    "compare",
    # derivations
    "Assumption",
    "Check",
    "Derivation",
    "Step",
    "VerificationError",
    "lemma_1",
    "lemma_2",
    "fisher_information",
    "theorem_1",
    "bias_shift_of_a_unit",
    "theorem_2",
    "centring",
    "gaussian_units",
    "MomentFormulas",
    "moment_formulas",
    "activation_moments",
    "gaussian_expectation",
    "tilting",
    "truncated_moments",
    "stein",
    "entropy_of_output",
    "deactivation_limit",
    "bivariate_normal",
    "bivariate_tilting",
    "price_theorem",
    "mehler_series",
    "DualKernelFormulas",
    "dual_kernel_formulas",
    "dual_kernel_closed_form",
    "dual_kernel_derivative_closed_form",
    "zero_mean_dual_kernel",
    "dual_kernel_limits",
    "mean_field_recursion",
    "unit_mean_median",
    "unit_mean_spread",
    "gradient_recursion",
    "batch_normalised_recursion",
    "residual_recursion",
    "gram_matrix_recursion",
    "tangent_kernel_recursion",
    "fisher_top_eigenvalue_bound",
    "finite_width_fluctuations",
    "push_through",
    "training_kernel_recursion",
    "linearised_descent",
    "training_modes",
    "centred_training_kernel",
)
"""Public names that take neither tensors nor torch models."""


# --- comparing ------------------------------------------------------------------------------------------------------


def differences(found: Results, expected: Results, place: Place, tolerance: float) -> list[str]:
    """What is wrong with results found at `place`, `expected` being those on the CPU in the same dtype.

    Device, dtype and shape of every tensor; values to `tolerance` × the largest expected value's size.
    """
    wrong = [f"{name} is only here or there" for name in found.keys() ^ expected.keys()]
    for name in found.keys() & expected.keys():
        value, want = found[name], expected[name]
        if not isinstance(want, Tensor):
            if isinstance(want, str) or want is None or isinstance(value, str) or value is None:
                close = value == want
            else:
                pair = (torch.tensor(number, dtype=torch.float64) for number in (value, want))
                close = torch.allclose(*pair, rtol=tolerance, atol=tolerance, equal_nan=True)
            wrong += [] if close else [f"{name} is {value!r}, not {want!r}"]
            continue
        dtype = place.dtype if want.is_floating_point() else want.dtype
        if (value.device, value.dtype, value.shape) != (place.device, dtype, want.shape):
            wrong.append(
                f"{name} is {value.dtype} {tuple(value.shape)} on {value.device}, not {dtype} {tuple(want.shape)} on "
                f"{place.device}"
            )
            continue
        value, want = value.detach().cpu().double(), want.detach().double()
        size = float(want[want.isfinite()].abs().max()) if want.isfinite().any() else 0.0
        if not torch.allclose(value, want, rtol=0.0, atol=tolerance * size, equal_nan=True):
            wrong.append(f"{name} differs by {float((value - want).abs().max())!r}, of {size!r}")
    return sorted(wrong)
