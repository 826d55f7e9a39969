"""T1, T5: the tangent kernel of wide networks as they are trained, layer by layer, and what centring leaves of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy
from jaxtyping import Float

from elutheory.activations.kinks import is_continuous
from elutheory.dynamics.spectra import InputKernel
from elutheory.errors import InputError
from elutheory.gram.arguments import GramArguments, gram_arguments
from elutheory.gram.deep_kernels import numeric_activation, pairs_behind
from elutheory.gram.layer_by_layer import advance
from elutheory.gram.pairs import LayerRule, Pairs, refuse_overflow
from elutheory.numerics.arguments import count, real_number, width_per_layer
from elutheory.numerics.arrays import Array, is_torch, library, place_like

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation


@dataclass(frozen=True)
class WideNetwork:
    """A fully connected network, as it is initialised: what its kernels depend on, besides the inputs.

    - `widths` n_1 … n_L of the hidden layers, `features` n_0 of the inputs;
    - `weight_variance` σ_w² = fan_in × Var(weight), `bias_variance` σ_b²; `bias`: whether there are biases that learn.
    """

    activation: "Activation"
    widths: tuple[int, ...]
    features: int
    weight_variance: float
    bias_variance: float
    bias: bool

    @property
    def depth_over_width(self) -> float:
        """Σ 1/n_l: the relative size of what finite width does to the kernel (T6)."""
        return sum(1 / width for width in self.widths)

    def rule(self, incoming: int) -> LayerRule:
        """The law of a layer above `incoming` units."""
        return LayerRule(self.weight_variance, self.bias_variance, own=(float(incoming), float(self.bias)))


@dataclass(frozen=True, eq=False)
class TrainingKernel(InputKernel):
    """T1: Θ of a wide network in the parameterisation that is trained, for N inputs; of C outputs it is Θ ⊗ I_C.

    - `matrix`: Θ = Σ_l (⟨a_{l−1}, a'_{l−1}⟩ + 1) D_l, N × N, of the library, dtype and place of the Gram matrix given;
    - `output_covariance`: K^{L+1}, the covariance of an output over initialisations: F_0 of T2, T3;
    - `gram`: that of the inputs, as given; `network`: what it is the kernel of;
    - `centred_over`: the inputs over whose mean the activations are centred (T5), None where they are not;
    - `method`, and `error`: the largest deviation that the checks of an interpolant found, as in `PropagatedGram`.
    """

    network: WideNetwork
    matrix: Float[Array, "inputs inputs"]
    output_covariance: Float[Array, "inputs inputs"]
    gram: Float[Array, "inputs inputs"]
    method: str
    error: float
    centred_over: Any = None

    @cached_property
    def layers(self) -> tuple[Float[Array, "inputs inputs"], ...]:
        """The parts of layers 1 … L + 1, the output's last: their sum is `matrix`. The layers are run through again."""
        arguments = gram_arguments(self.gram, None)
        weights = averaging(self.centred_over, arguments)
        parts = []
        for own, slopes in _own_parts_and_slopes(self.network, arguments, weights):
            parts = [part * slopes for part in parts] if slopes is not None else []
            parts.append(own)
        return tuple(arguments.returned(part) for part in parts)

    def centred(self, over: Any = None) -> "TrainingKernel":
        """T5: the kernel with the activations of every layer, and the inputs, centred: the origin at their mean.

        ⟨a − m, a' − m⟩ stands in place of ⟨a, a'⟩, m the mean activations; the bias's 1 and D_l stay. `over`: indices
        or a mask of the inputs that m is the mean over, all if None. Raises InputError for indices that are none.
        """
        arguments = gram_arguments(self.gram, None)
        chosen = numpy.arange(len(self.gram)) if over is None else chosen_inputs("over", over, len(self.gram))
        weights = averaging(chosen, arguments)
        matrix: Any = None
        for own, slopes in _own_parts_and_slopes(self.network, arguments, weights):
            matrix = own if matrix is None else own + slopes * matrix
        return replace(self, matrix=arguments.returned(matrix), centred_over=chosen)


def training_kernel(
    activation: "Activation | str",
    gram: Any,
    *,
    depth: Any,
    width: Any,
    features: Any,
    weight_variance: Any,
    bias_variance: Any = 0.0,
    bias: Any = True,
) -> TrainingKernel:
    """T1: the tangent kernel of a fully connected network of `depth` >= 1 hidden layers, as it is trained.

    Weights of variance σ_w²/fan_in, one learning rate for all weights and biases. T_1 = n_0 gram + 1, T_{l+1} =
    n_l E[f(U) f(V)] + 1 + σ_w² E[f'(U) f'(V)] T_l, and T_{L+1} = Θ, in the limit of wide layers (Jacot et al., arXiv
    1806.07572; the parametrisation there, `tangent_kernel`, has σ_w² and σ_b² in place of n_l and 1).

    - `gram`: x·y / n_0 of N inputs of n_0 = `features` numbers, N × N, numpy or torch, float64 or float32 (computed in
      float64, on the tensor's device), as in `propagate_gram`; those that are trained on and those that are not alike;
    - `width`: n_l, an integer or one per hidden layer; the kernel grows with it, in proportion but for n_0 and biases;
    - `weight_variance` σ_w² = fan_in × Var(weight) > 0, 2 for He's initialisation; `bias_variance` σ_b², mostly 0;
    - `bias`: False for layers without biases: the 1 falls away.

    Accuracy as that of `tangent_kernel`: 1e-12 of √(Θ(x,x) Θ(y,y)), but where layers of unequal norms take a
    correlation to 1. torch results are differentiable. Raises InputError: an entry that is no second moment, an f that
    jumps, σ_b² > 0 without biases, overflow.

        import numpy, elutheory as et
        x = numpy.random.default_rng(0).standard_normal((100, 784))
        theta = et.training_kernel("elu", x @ x.T / 784, depth=8, width=128, features=784, weight_variance=2.0)
        theta.matrix, theta.trace, theta.top_share, theta.centred().top_share
    """
    f = numeric_activation(activation)
    if not is_continuous(f):
        raise InputError(f"{f} jumps: its derivative has no second moment, and the net no tangent kernel.")
    depth = count("depth", depth)
    if not isinstance(bias, bool):
        raise InputError(f"bias must be True or False, not {bias!r}.")
    network = WideNetwork(
        f,
        width_per_layer(width, depth),
        count("features", features),
        real_number("weight_variance", weight_variance, positive=True),
        real_number("bias_variance", bias_variance),
        bias,
    )
    if network.bias_variance and not bias:
        raise InputError(f"bias_variance is {bias_variance!r}, but there are no biases; leave it out, or have biases.")
    arguments = gram_arguments(gram, None)
    segments = [(network.rule(n), len(list(layers))) for n, layers in groupby(network.widths)]
    pairs = pairs_behind(f, arguments, network.rule(network.features), segments, with_tangent=True)
    matrix, covariance = arguments.returned(pairs.tangent), arguments.returned(pairs.gram)
    return TrainingKernel(network, matrix, covariance, gram, pairs.method, pairs.error)


def chosen_inputs(name: str, index: Any, inputs: int) -> numpy.ndarray:
    """Indices of some of N inputs, in the order given, from indices, a mask of N, or a slice; raises InputError."""
    every = numpy.arange(inputs)
    try:
        values = index.detach().cpu().numpy() if is_torch(index) else index
        values = values if isinstance(values, slice) or len(values) else slice(0)
        chosen = every[values if isinstance(values, slice) else numpy.asarray(values)]
    except (IndexError, TypeError, ValueError) as error:
        raise InputError(f"{name} must be indices, a mask or a slice of the {inputs} inputs: {error}.") from error
    if chosen.ndim != 1 or not len(chosen) or len(numpy.unique(chosen)) < len(chosen):
        raise InputError(f"{name} must name at least one of the {inputs} inputs, and each once.")
    return chosen


# --- layer by layer -------------------------------------------------------------------------------------------------


def _own_parts_and_slopes(
    network: WideNetwork, arguments: GramArguments, weights: Any
) -> Iterator[tuple[Float[Array, "inputs inputs"], Float[Array, "inputs inputs"] | None]]:
    """For layers 1 … L + 1 ⟨a, a'⟩ + 1 of the activations below, and σ_w² E f'f' of the layer below (None for layer 1).

    With `weights`, those of the mean over the inputs, the activations are centred.
    """

    def own(overlaps: Any) -> Any:
        return (overlaps if weights is None else moved_to_mean(overlaps, weights)) + float(network.bias)

    variance, constant = network.weight_variance, network.bias_variance
    yield own(network.features * arguments.gram), None
    # With nothing of its own and 1 in front, a layer's tangent kernel is σ_w² E f'f'.
    nothing = LayerRule(variance, constant, own=(0.0, 0.0))
    start = LayerRule(variance, constant, own=(0.0, 1.0))
    pairs = pairs_behind(network.activation, arguments, start, [], with_tangent=True)
    for width in network.widths:
        if isinstance(pairs, Pairs):
            pairs.tangent = library(pairs.gram).ones_like(pairs.gram)
            advance(network.activation, pairs, nothing, 1)
            pairs.complete()
        else:
            pairs = replace(pairs, tangent=library(pairs.gram).ones_like(pairs.gram))
            pairs = pairs.behind_layer(network.activation, nothing, False)
        yield own((pairs.gram - constant) * (width / variance)), pairs.tangent


def moved_to_mean(overlaps: Any, weights: Any) -> Any:
    """⟨a − m, a' − m⟩ from ⟨a, a'⟩, m the mean of the a with these weights; 0 on 𝟏 where they are all alike."""
    with_mean = overlaps @ weights
    moved = overlaps - with_mean[:, None] - with_mean[None, :] + weights @ with_mean
    refuse_overflow(moved)
    return moved


def averaging(chosen: Any, arguments: GramArguments) -> Any:
    """The weights of the mean over these inputs, None for none."""
    if chosen is None:
        return None
    weights = numpy.zeros(len(arguments.left))
    weights[chosen] = 1 / len(chosen)
    return place_like(weights, arguments.gram)
