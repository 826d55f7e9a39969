"""P4, P5, B5 together: every statistic of wide random layers, for a data set as it is, layer by layer.

The Gram matrix of the inputs goes forward (P4), the products of slopes backward (P5). Layers may differ in activation
and variances.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
import pandas
from jaxtyping import Float

from elutheory.gram.deep_kernels import propagate_gram
from elutheory.gram.spectrum import bias_shift_strength, fisher_top_eigenvalue
from elutheory.kernels.dual_kernels import dual_kernel_derivative
from elutheory.moments.floating_point import gaussian_moments
from elutheory.output.progress import tracked

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

STATISTICS = {
    "mean": "mean activation over units and inputs",
    "unit_mean_median": "median over units of a unit's mean activation over the inputs; nan where f falls somewhere",
    "unit_mean_std": "standard deviation over units of the same means",
    "q": "second moment of the net inputs",
    "c": "mean over units and pairs of different inputs of the product of two net inputs",
    "mean_share": "|E a|²/E|a|² of the layer's activations a, expectations over the inputs (P2b)",
    "gradient_variance": "second moment of the output's derivative by the net inputs, over that of the last layer",
    "top_fisher_share": "largest eigenvalue over trace, of the Fisher matrix of the layer's weights and biases",
    "bias_shift_strength": "m·(Var + λI)⁻¹m of the layer's activations, from B5's value v as v/(1 − v)",
}
"""What is predicted of every hidden layer."""

_SMALLEST = 1e-12  # relative: an overlap below it is rounding


@dataclass(frozen=True)
class HiddenLayer:
    """A layer net = W a + b, a' = f(net): its f, fan_in × Var(w) and Var(b), and its number of units.

    `width` None: infinitely many, of which B5 says nothing and whose bias counts for nothing beside the weights.
    """

    activation: "Activation"
    weight_variance: float
    bias_variance: float = 0.0
    width: int | None = None


@dataclass(frozen=True, eq=False)
class WideLayer:
    """Expectations over a unit of a wide layer, of its N inputs: `net` = E h h' and, of what f is applied to, `seen`.

    - `means` (N,): E f; `products`: E f f'; `slope_products`: E of the product of the two slopes.
    """

    net: Float[numpy.ndarray, "examples examples"]
    seen: Float[numpy.ndarray, "examples examples"]
    means: Float[numpy.ndarray, " examples"]
    products: Float[numpy.ndarray, "examples examples"]
    slope_products: Float[numpy.ndarray, "examples examples"]


def layer_statistics_table(
    layers: Sequence[HiddenLayer],
    gram: Float[numpy.ndarray, "examples examples"],
    features: int,
    damping: float,
    *,
    batch_norm: bool = False,
    residual: bool = False,
    progress: bool | None = False,
) -> pandas.DataFrame:
    """A row per layer, a column each of STATISTICS, in the limit of infinite width.

    `gram`: x·x'/`features`. The median over units of the unit mean is taken for that of units whose mean net input is
    0: E_x M(0, K_xx − r_x²/c) with r = K1/N, c = 1ᵀK1/N² and M(0, v) = E f(√v Z), what P2's median becomes where the
    inputs' norms and overlaps differ. The widths enter as a fan-in, and as numbers of units in B5. Batch-normalised
    networks: neither gradients nor Fisher matrices (nan). `progress`: whether a bar is shown.
    """
    through = tracked(_wide_layers(layers, gram, batch_norm, residual), len(layers), "layers", progress)
    wide = list(through)
    rows = [_forward_statistics(layer, found, damping) for layer, found in zip(layers, wide, strict=True)]
    table = pandas.DataFrame(rows).reindex(columns=list(STATISTICS))
    if batch_norm:
        return table
    delta_gram = numpy.ones_like(gram)
    for index in reversed(range(len(wide))):
        slopes = wide[index].slope_products
        last = index == len(wide) - 1
        delta_gram = delta_gram * (slopes if last else float(residual) + layers[index + 1].weight_variance * slopes)
        table.loc[index, "gradient_variance"] = delta_gram.diagonal().mean()
        width = layers[index - 1].width if index else features
        incoming = wide[index - 1].products if index else gram
        of_weights = incoming if width is None else width * incoming + 1
        table.loc[index, "top_fisher_share"] = fisher_top_eigenvalue(of_weights * delta_gram).trace_share
    table["gradient_variance"] /= table["gradient_variance"].iloc[-1]
    return table


def _wide_layers(layers: Sequence[HiddenLayer], gram: Any, batch_norm: bool, residual: bool) -> Iterator[WideLayer]:
    """P4. Batch normalisation: the Gram matrix is centred over the inputs and divided by its mean diagonal."""
    net = layers[0].weight_variance * gram + layers[0].bias_variance
    for index, layer in enumerate(layers):
        seen = net
        if batch_norm:
            seen = net - net.mean(0) - net.mean(1)[:, None] + net.mean()
            seen = (seen + seen.T) / (2 * seen.diagonal().mean())
        found = WideLayer(net, seen, *_expectations(layer.activation, seen))
        yield found
        if index < len(layers) - 1:
            block = layers[index + 1].weight_variance * found.products + layers[index + 1].bias_variance
            net = net + block if residual else block


def _expectations(f: "Activation", covariances: Any) -> tuple[Any, Any, Any]:
    """E f(U), E f(U)f(V) and E f'(U)f'(V) of every input and pair."""
    variances = covariances.diagonal()
    products = propagate_gram(f, covariances, 1, 1.0, progress=False).activation_gram
    row, column = numpy.triu_indices(len(variances))
    slope_products = numpy.empty_like(covariances)
    slopes = dual_kernel_derivative(f, variances[row], variances[column], covariances[row, column]).value
    slope_products[row, column] = slope_products[column, row] = slopes
    return gaussian_moments(f, 0.0, numpy.sqrt(variances)).mean, products, slope_products


def _forward_statistics(layer: HiddenLayer, found: WideLayer, damping: float) -> dict[str, float]:
    count = len(found.net)
    q, second_moment = float(found.net.diagonal().mean()), float(found.products.diagonal().mean())
    mean, product = float(found.means.mean()), float(found.products.mean())
    strength = math.nan
    if layer.width is not None:
        value = bias_shift_strength(layer.width * found.products, damping * second_moment).value
        strength = value / (1 - value)
    return {
        "mean": mean,
        "unit_mean_median": _unit_mean_median(layer.activation, found.seen),
        "unit_mean_std": math.sqrt(max(product - mean * mean, 0.0)),
        "q": q,
        "c": (count * float(found.net.mean()) - q) / (count - 1),
        "mean_share": product / second_moment if second_moment else math.nan,
        "bias_shift_strength": strength,
    }


def _unit_mean_median(f: "Activation", covariances: Any) -> float:
    if not _never_falls(f):
        return math.nan
    variances, with_mean = covariances.diagonal(), covariances.mean(0)
    overlap = float(with_mean.mean())
    if overlap > _SMALLEST * float(variances.mean()):
        variances = numpy.clip(variances - with_mean**2 / overlap, 0.0, None)
    return float(gaussian_moments(f, 0.0, numpy.sqrt(variances)).mean.mean())


def _never_falls(f: "Activation") -> bool:
    return bool((f.derivative(numpy.linspace(-20.0, 20.0, 4001)) >= 0).all())
