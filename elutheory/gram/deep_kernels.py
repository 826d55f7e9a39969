"""P4, P5: the Gram matrix of a whole data set, and its tangent kernel, through the layers of a wide random net.

In the limit of infinite width the net inputs of every layer are Gaussian over the weights, with a covariance between
inputs that follows from the layer below: K_1 = σ_w² gram + σ_b², K_{l+1} = σ_w² E[f(U) f(V)] + σ_b² with
(U, V) ~ N(0, [[K_l(x,x), K_l(x,y)], [K_l(x,y), K_l(y,y)]]).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jaxtyping import Float

from elutheory.activations.activation_function import as_activation
from elutheory.activations.kinks import is_continuous
from elutheory.errors import InputError
from elutheory.gram.arguments import GramArguments, gram_arguments
from elutheory.gram.layer_by_layer import advance, advance_normalised
from elutheory.gram.pairs import LayerRule, Pairs
from elutheory.numerics.arguments import count, real_number
from elutheory.numerics.arrays import Array, is_torch
from elutheory.output.progress import ticking

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation
    from elutheory.gram.differentiable import DifferentiablePairs


@dataclass(frozen=True, eq=False)
class PropagatedGram:
    """Net inputs of one hidden layer, over the weights: P4.

    - `gram`: their second moments, of the shape, library, dtype and place of what went in;
    - `second_moments`: (left, right), those of the rows' and columns' inputs; both the diagonal where gram is square;
    - `method`: how it was computed; `error`: the largest deviation that the checks of an interpolant found, relative to
      √(K(x,x) K(y,y)), 0 where none was used.

    >>> import elutheory as et
    >>> import numpy as np
    >>> deep = et.propagate_gram("elu", np.eye(3), depth=2, weight_variance=1.5)
    >>> deep.gram.shape, deep.error < 1e-12, deep.activation_gram.shape
    ((3, 3), True, (3, 3))
    """

    activation: "Activation"
    gram: Float[Array, "rows columns"]
    second_moments: tuple[Float[Array, " rows"], Float[Array, " columns"]]
    method: str
    error: float
    batch_norm: bool = False
    symmetric: bool = True

    @cached_property
    def activation_gram(self) -> Float[Array, "rows columns"]:
        """E[f(U) f(V)] of the layer's activations: ΦΦᵀ/n of n units as n → ∞, the K/n of B5; like `gram`."""
        identity = LayerRule(1.0, 0.0)
        arguments = gram_arguments(self.gram, None if self.symmetric else self.second_moments)
        pairs = pairs_behind(self.activation, arguments, identity, [(identity, 1)], batch_norm=self.batch_norm)
        return arguments.returned(pairs.gram)


@dataclass(frozen=True, eq=False)
class TangentKernel:
    """P5: the neural tangent kernel of a net with scalar linear read-out, and the Gram matrix of its output.

    - `matrix`: Θ, the sum over all parameters of the products of the output's derivatives at two inputs, in the
      parametrisation net = σ_w/√n w·a + σ_b b with w, b ~ N(0, 1);
    - `gram`: the output's second moments; `method` and `error` as in `PropagatedGram`.

    >>> import elutheory as et
    >>> import numpy as np
    >>> theta = et.tangent_kernel("elu", np.eye(2), depth=4, weight_variance=1.5, bias_variance=0.03)
    >>> theta.matrix.shape, theta.gram.shape
    ((2, 2), (2, 2))
    """

    matrix: Float[Array, "rows columns"]
    gram: Float[Array, "rows columns"]
    method: str
    error: float


def propagate_gram(
    activation: "Activation | str",
    gram: Any,
    depth: Any,
    weight_variance: Any,
    bias_variance: Any = 0.0,
    *,
    second_moments: Any = None,
    batch_norm: bool = False,
    residual: bool = False,
    progress: bool | None = None,
) -> PropagatedGram:
    """P4: second moments of the net inputs of hidden layer `depth` >= 1; layer 1 has σ_w² gram + σ_b².

    `gram`: x·y / n_0 of inputs of dimension n_0, numpy or torch, float64 or float32 (computed in float64, on the
    tensor's device); N × N, or of any shape with `second_moments` = (x·x/n_0 of the rows, y·y/n_0 of the columns).
    `weight_variance` σ_w² = fan_in × Var(w) and `bias_variance` σ_b² >= 0. With `residual` each layer is
    h + W f(h) + b, so that K_{l+1} = K_l + σ_w² E f f + σ_b². With `batch_norm` a layer is W f(BN(h)) + b: K_l is
    centred over the data and divided by tr/N, the units' variance over the data in the mean. Exact where that variance
    is the same for all units, which takes K_l of many comparable directions; only for square matrices. `progress`: a
    bar with the time left, from two seconds on; None: where standard error is a terminal.

    Accuracy: 1e-12 of √(K(x,x) K(y,y)), at any depth where the layers do not amplify the rounding of `gram` itself.
    torch results are differentiable. Raises InputError: an entry that is no second moment, named; overflow.

    >>> import elutheory as et
    >>> import numpy as np
    >>> deep = et.propagate_gram("relu", np.array([[1.0, 0.2], [0.2, 1.0]]), depth=3, weight_variance=2.0)
    >>> deep.gram.round(6).tolist()
    [[2.0, 1.119644], [1.119644, 2.0]]
    """
    f = numeric_activation(activation)
    layers = count("depth", depth) - 1
    rule = _rule(weight_variance, bias_variance, residual)
    arguments = gram_arguments(gram, second_moments)
    if batch_norm and not arguments.symmetric:
        raise InputError("batch_norm needs the square Gram matrix of the whole batch, not second_moments.")
    pairs = pairs_behind(f, arguments, rule, [(rule, layers)], batch_norm=batch_norm, progress=progress)
    gram, left, right = (arguments.returned(values) for values in (pairs.gram, pairs.left, pairs.right))
    return PropagatedGram(f, gram, (left, right), pairs.method, pairs.error, batch_norm, arguments.symmetric)


def tangent_kernel(
    activation: "Activation | str",
    gram: Any,
    depth: Any,
    weight_variance: Any,
    bias_variance: Any = 0.0,
    *,
    second_moments: Any = None,
    residual: bool = False,
    progress: bool | None = None,
) -> TangentKernel:
    """P5: tangent kernel of the net of `depth` >= 1 hidden layers and a linear read-out of the same variances.

    Θ_1 = K_1, Θ_{l+1} = K_{l+1} + σ_w² E[f'(U) f'(V)] Θ_l up to l = depth (Jacot et al., arXiv 1806.07572): what
    neural-tangents computes for `stax.serial(*[Dense(n, σ_w, σ_b), f] * depth, Dense(1, σ_w, σ_b))`. With `residual`
    the hidden layers are h + W f(h) + b, and Θ_{l+1} = Θ_l + σ_w² E f f + σ_b² + σ_w² E[f'f'] Θ_l. Arguments, accuracy
    and errors as for `propagate_gram`; but where layers of unequal norms take a correlation to 1, its rounding moves
    the angle, hence Θ, by up to 1e-8 a layer if f has a kink. No batch normalisation: it makes one input's output
    depend on all others.
    Raises InputError, too, where f jumps: its f' has no second moment.

    >>> import elutheory as et
    >>> import numpy as np
    >>> theta = et.tangent_kernel("relu", np.eye(2), depth=1, weight_variance=2.0)
    >>> theta.matrix.round(6).tolist()
    [[4.0, 0.63662], [0.63662, 4.0]]
    """
    f = numeric_activation(activation)
    layers = count("depth", depth)
    rule, read_out = (_rule(weight_variance, bias_variance, links) for links in (residual, False))
    if not is_continuous(f):
        raise InputError(f"{f} jumps: its derivative has no second moment, and the net no tangent kernel.")
    arguments = gram_arguments(gram, second_moments)
    segments = [(rule, layers - 1), (read_out, 1)] if residual else [(rule, layers)]
    pairs = pairs_behind(f, arguments, rule, segments, with_tangent=True, progress=progress)
    return TangentKernel(arguments.returned(pairs.tangent), arguments.returned(pairs.gram), pairs.method, pairs.error)


def numeric_activation(activation: "Activation | str") -> "Activation":
    """The activation, with numbers for all parameters."""
    f = as_activation(activation)
    f.refuse_symbolic()
    return f


def _rule(weight_variance: Any, bias_variance: Any, residual: bool) -> LayerRule:
    return LayerRule(
        real_number("weight_variance", weight_variance), real_number("bias_variance", bias_variance), residual
    )


def pairs_behind(
    f: "Activation",
    arguments: GramArguments,
    first: LayerRule,
    segments: list[tuple[LayerRule, int]],
    *,
    batch_norm: bool = False,
    with_tangent: bool = False,
    progress: bool | None = False,
) -> "Pairs | DifferentiablePairs":
    """All pairs behind layer one, of the rule `first`, and so many layers of each rule of `segments`.

    `progress`: whether a bar is shown of tiles and layers, not of those that torch differentiates or are normalised.
    """
    if is_torch(arguments.gram) and arguments.gram.requires_grad:
        # numpy users must not pay for torch
        from elutheory.gram.differentiable import DifferentiablePairs  # noqa: PLC0415

        pairs = DifferentiablePairs.of_layer_one(arguments, first, with_tangent)
        for rule, repeats in segments:
            for _ in range(repeats):
                pairs = pairs.behind_layer(f, rule, batch_norm)
        return pairs
    pairs = Pairs.of_layer_one(arguments, first, with_tangent)
    pairs.layers = sum(repeats for _, repeats in segments)
    with ticking(None, "pairs of inputs", progress) as pairs.ticks:
        for rule, repeats in segments:
            if batch_norm:
                for _ in range(repeats):
                    advance_normalised(f, pairs, rule)
            else:
                advance(f, pairs, rule, repeats)
    pairs.complete()
    return pairs
