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
from elutheory.numerics.arguments import count, finite_number, real_number, width_per_layer
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
class Origin:
    """Where the origin of the activations lies: at `dose` × their mean over some of the inputs (T5).

    - `over`: the indices of these inputs, each once; `dose` 1: centred, 0: as they are, −1: the mean is doubled;
    - `inputs`: whether what the first layer receives, the network's inputs, is moved like the activations.
    """

    over: numpy.ndarray
    dose: float
    inputs: bool

    def moved(self, overlaps: Float[Array, "inputs inputs"]) -> Float[Array, "inputs inputs"]:
        """⟨a − c m, a' − c m⟩ from ⟨a, a'⟩; at dose 1, m being the mean over all inputs, 0 on 𝟏."""
        weights = numpy.zeros(len(overlaps))
        weights[self.over] = 1 / len(self.over)
        weights = place_like(weights, overlaps)
        with_mean = overlaps @ weights
        shared = self.dose * (with_mean[:, None] + with_mean[None, :])
        found = overlaps - shared + self.dose * self.dose * (weights @ with_mean)
        refuse_overflow(found)
        return found


@dataclass(frozen=True, eq=False)
class TrainingKernel(InputKernel):
    """T1: Θ of a wide network in the parameterisation that is trained, for N inputs; of C outputs it is Θ ⊗ I_C.

    - `matrix`: Θ = Σ_l (⟨a_{l−1}, a'_{l−1}⟩ + 1) D_l, N × N, of the library, dtype and place of the Gram matrix given;
    - `output_covariance`: K^{L+1}, the covariance of an output over initialisations: F_0 of T2, T3;
    - `gram`: that of the inputs, as given; `network`: what it is the kernel of;
    - `origin`: to where the activations' origin is moved (T5), None where it is not;
    - `method`, and `error`: the largest deviation that the checks of an interpolant found, as in `PropagatedGram`.

    >>> import elutheory as et
    >>> import numpy as np
    >>> theta = et.training_kernel("relu", np.eye(3), depth=2, width=64, features=10, weight_variance=2.0)
    >>> len(theta.layers), bool(np.isclose(theta.trace, np.trace(theta.matrix)))
    (3, True)
    """

    network: WideNetwork
    matrix: Float[Array, "inputs inputs"]
    output_covariance: Float[Array, "inputs inputs"]
    gram: Float[Array, "inputs inputs"]
    method: str
    error: float
    origin: Origin | None = None

    @cached_property
    def layers(self) -> tuple[Float[Array, "inputs inputs"], ...]:
        """The parts of layers 1 … L + 1, the output's last: their sum is `matrix`. The layers are run through again."""
        arguments = gram_arguments(self.gram, None)
        parts = []
        for own, slopes in _own_parts_and_slopes(self.network, arguments, self.origin):
            parts = [part * slopes for part in parts] if slopes is not None else []
            parts.append(own)
        return tuple(arguments.returned(part) for part in parts)

    def centred(self, over: Any = None, *, dose: Any = 1.0, inputs: Any = True) -> "TrainingKernel":
        """T5: the kernel with the activations of every layer, and the inputs, centred: the origin at their mean.

        ⟨a − c m, a' − c m⟩ = ⟨a, a'⟩ − c (g + g') + c² ḡ stands in place of ⟨a, a'⟩, m the mean activations, g an
        input's mean overlap and ḡ their mean; the bias's 1 and D_l stay, and so does the function at initialisation.
        Always of the activations as they are, whatever this kernel's own origin.

        - `over`: indices or a mask of the inputs that m is the mean over, all if None;
        - `dose` c: how much of the mean is taken off: 1 all of it, 0 nothing, −1 doubles it;
        - `inputs`: False for the network's inputs as they are, only the hidden layers' activations moved.

        Raises InputError for indices that are none, and a dose that is no finite number.

            theta.centred().constant_share, theta.centred(dose=-1.0, inputs=False).top_share
        """
        if not isinstance(inputs, bool):
            raise InputError(f"inputs must be True or False, not {inputs!r}.")
        arguments = gram_arguments(self.gram, None)
        chosen = numpy.arange(len(self.gram)) if over is None else chosen_inputs("over", over, len(self.gram))
        origin = Origin(chosen, finite_number("dose", dose), inputs)
        matrix: Any = None
        for own, slopes in _own_parts_and_slopes(self.network, arguments, origin):
            matrix = own if matrix is None else own + slopes * matrix
        return replace(self, matrix=arguments.returned(matrix), origin=origin)


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
    progress: bool | None = None,
) -> TrainingKernel:
    """T1: the tangent kernel of a fully connected network of `depth` >= 1 hidden layers, as it is trained.

    Weights of variance σ_w²/fan_in, one learning rate for all weights and biases. T_1 = n_0 gram + 1, T_{l+1} =
    n_l E[f(U) f(V)] + 1 + σ_w² E[f'(U) f'(V)] T_l, and T_{L+1} = Θ, in the limit of wide layers (Jacot et al., arXiv
    1806.07572; the parametrisation there, `tangent_kernel`, has σ_w² and σ_b² in place of n_l and 1).

    - `gram`: x·y / n_0 of N inputs of n_0 = `features` numbers, N × N, numpy or torch, float64 or float32 (computed in
      float64, on the tensor's device), as in `propagate_gram`; those that are trained on and those that are not alike;
    - `width`: n_l, an integer or one per hidden layer; the kernel grows with it, in proportion but for n_0 and biases;
    - `weight_variance` σ_w² = fan_in × Var(weight) > 0, 2 for He's initialisation; `bias_variance` σ_b², mostly 0;
    - `bias`: False for layers without biases: the 1 falls away;
    - `progress`: a bar with the time left, from two seconds on; None: where standard error is a terminal.

    Accuracy as that of `tangent_kernel`: 1e-12 of √(Θ(x,x) Θ(y,y)), but where layers of unequal norms take a
    correlation to 1. torch results are differentiable. Raises InputError: an entry that is no second moment, an f that
    jumps, σ_b² > 0 without biases, overflow.

        import numpy, elutheory as et
        x = numpy.random.default_rng(0).standard_normal((100, 784))
        theta = et.training_kernel("elu", x @ x.T / 784, depth=8, width=128, features=784, weight_variance=2.0)
        theta.matrix, theta.trace, theta.top_share, theta.centred().top_share

    >>> import elutheory as et
    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal((20, 10))
    >>> theta = et.training_kernel("elu", x @ x.T / 10, depth=2, width=64, features=10, weight_variance=2.0)
    >>> theta.matrix.shape, 0 < theta.top_share < 1
    ((20, 20), True)
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
    pairs = pairs_behind(f, arguments, network.rule(network.features), segments, with_tangent=True, progress=progress)
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
    network: WideNetwork, arguments: GramArguments, origin: Origin | None
) -> Iterator[tuple[Float[Array, "inputs inputs"], Float[Array, "inputs inputs"] | None]]:
    """For layers 1 … L + 1 ⟨a, a'⟩ + 1 of the activations below, and σ_w² E f'f' of the layer below (None for layer 1).

    With an `origin`, of the activations less that.
    """
    variance, constant = network.weight_variance, network.bias_variance
    yield own_part(network, origin, 0, network.features * arguments.gram), None
    # With nothing of its own and 1 in front, a layer's tangent kernel is σ_w² E f'f'.
    nothing = LayerRule(variance, constant, own=(0.0, 0.0))
    start = LayerRule(variance, constant, own=(0.0, 1.0))
    pairs = pairs_behind(network.activation, arguments, start, [], with_tangent=True)
    for layer, width in enumerate(network.widths, start=1):
        if isinstance(pairs, Pairs):
            pairs.tangent = library(pairs.gram).ones_like(pairs.gram)
            advance(network.activation, pairs, nothing, 1)
            pairs.complete()
        else:
            pairs = replace(pairs, tangent=library(pairs.gram).ones_like(pairs.gram))
            pairs = pairs.behind_layer(network.activation, nothing, False)
        yield own_part(network, origin, layer, (pairs.gram - constant) * (width / variance)), pairs.tangent


def own_part(network: WideNetwork, origin: Origin | None, layer: int, overlaps: Any) -> Any:
    """⟨a, a'⟩ + 1 of what layer `layer` + 1 receives, the inputs at 0, from the overlaps of the activations."""
    moves = origin is not None and (origin.inputs or layer > 0)
    return (origin.moved(overlaps) if origin is not None and moves else overlaps) + float(network.bias)
