"""What theory says of every layer's statistics in networks of random weights (`analyses.networks.random`): no fit.

Two predictions. `from_two_numbers`: the data's mean second moment and mean overlap through P1–P3, with the bands of P6.
`from_gram_matrix`: the data's whole Gram matrix through P4 and, backward, the derivative kernels (P5), infinite width.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
from jaxtyping import Float

from analyses.networks.random import STATISTICS, Architecture, Start
from elutheory.activations import Activation
from elutheory.gram import bias_shift_strength, fisher_top_eigenvalue, propagate_gram
from elutheory.kernels import dual_kernel_derivative
from elutheory.moments import gaussian_moments
from elutheory.propagation import propagate

TWO_NUMBERS = ("mean", "unit_mean_median", "unit_mean_std", "q", "c", "mean_share", "gradient_variance")
_SMALLEST = 1e-12  # relative: an overlap below it is rounding


def from_two_numbers(
    start: Start, architecture: Architecture, gram: Float[np.ndarray, "examples examples"]
) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Values and bands (the standard deviation of one network, P6), a row per layer, a column each of TWO_NUMBERS.

    `gram`: x·x'/features. Its mean diagonal and its mean, over two inputs drawn independently, are the two numbers. No
    bands for the gradient and for residual networks, nor a median where f falls somewhere: nan. Behind batch
    normalisation the bands of the activations' statistics are 0 to leading order.
    """
    count = len(gram)
    second_moment = float(gram.diagonal().mean())
    overlap = min(max(float(gram.mean()), 0.0), second_moment)
    table = propagate(
        start.activation,
        architecture.depth,
        start.initialisation.weight_variance,
        start.initialisation.bias_variance,
        second_moment,
        overlap,
        width=None if architecture.residual else architecture.width,
        batch_norm=architecture.batch_norm,
        residual=architecture.residual,
    ).table
    values = pandas.DataFrame({name: table[name].to_numpy() for name in TWO_NUMBERS})
    values["c"] = (count * table["c"] - table["q"]).to_numpy() / (count - 1)
    if not _never_falls(start.activation):
        values["unit_mean_median"] = math.nan
    bands = {f"{name}_std": name for name in TWO_NUMBERS}
    known = pandas.DataFrame({bands[name]: table[name].to_numpy() for name in bands if name in table})
    return values, known.reindex(index=values.index, columns=list(TWO_NUMBERS))


def from_gram_matrix(
    start: Start,
    architecture: Architecture,
    gram: Float[np.ndarray, "examples examples"],
    features: int,
    damping: float,
) -> pandas.DataFrame:
    """Values in the limit of infinite width, a row per layer, a column each of STATISTICS.

    The median over units of the unit mean is taken for that of units whose mean net input is 0: E_x M(0, K_xx − r_x²/c)
    with r = K1/N, c = 1ᵀK1/N² and M(0, v) = E f(√v Z), what P2's median becomes where the inputs' norms and overlaps
    differ; nan where f falls somewhere. `features`: the fan-in of layer one; the width enters as a fan-in, too, and as
    the number of units in B5. Batch-normalised networks: neither gradients nor Fisher matrices (nan).
    """
    layers = _wide_layers(start, architecture, gram)
    table = pandas.DataFrame(
        [_forward_statistics(start.activation, layer, architecture.width, damping) for layer in layers]
    ).reindex(columns=list(STATISTICS))
    if architecture.batch_norm:
        return table
    weight_variance, skip = start.initialisation.weight_variance, float(architecture.residual)
    delta_gram = np.ones_like(gram)
    for index in reversed(range(len(layers))):
        slopes = layers[index].slope_products
        delta_gram = delta_gram * (slopes if index == len(layers) - 1 else skip + weight_variance * slopes)
        incoming = architecture.width * layers[index - 1].products if index else features * gram
        table.loc[index, "gradient_variance"] = delta_gram.diagonal().mean()
        table.loc[index, "top_fisher_share"] = fisher_top_eigenvalue((incoming + 1) * delta_gram).trace_share
    table["gradient_variance"] /= table["gradient_variance"].iloc[-1]
    return table


@dataclass(frozen=True, eq=False)
class WideLayer:
    """Expectations over a unit of a wide layer, of its N inputs: `net` = E h h' and, of what f is applied to, `seen`.

    - `means` (N,): E f; `products`: E f f'; `slope_products`: E of the product of the two slopes.
    """

    net: Any
    seen: Any
    means: Any
    products: Any
    slope_products: Any


def _wide_layers(start: Start, architecture: Architecture, gram: Any) -> list[WideLayer]:
    """P4. Batch normalisation: the Gram matrix is centred over the inputs and divided by its mean diagonal."""
    initialisation = start.initialisation
    net = initialisation.weight_variance * gram + initialisation.bias_variance
    layers = []
    for _ in range(architecture.depth):
        seen = net
        if architecture.batch_norm:
            seen = net - net.mean(0) - net.mean(1)[:, None] + net.mean()
            seen = (seen + seen.T) / (2 * seen.diagonal().mean())
        layer = WideLayer(net, seen, *_expectations(start.activation, seen))
        layers.append(layer)
        block = initialisation.weight_variance * layer.products + initialisation.bias_variance
        net = net + block if architecture.residual else block
    return layers


def _expectations(f: Activation, covariances: Any) -> tuple[Any, Any, Any]:
    """E f(U), E f(U)f(V) and E f'(U)f'(V) of every input and pair."""
    variances = covariances.diagonal()
    products = propagate_gram(f, covariances, 1, 1.0).activation_gram
    row, column = np.triu_indices(len(variances))
    slope_products = np.empty_like(covariances)
    slopes = dual_kernel_derivative(f, variances[row], variances[column], covariances[row, column]).value
    slope_products[row, column] = slope_products[column, row] = slopes
    return gaussian_moments(f, 0.0, np.sqrt(variances)).mean, products, slope_products


def _forward_statistics(f: Activation, layer: WideLayer, width: int, damping: float) -> dict[str, float]:
    count = len(layer.net)
    q, second_moment = float(layer.net.diagonal().mean()), float(layer.products.diagonal().mean())
    mean, product = float(layer.means.mean()), float(layer.products.mean())
    strength = bias_shift_strength(width * layer.products, damping * second_moment).value
    return {
        "mean": mean,
        "unit_mean_median": _unit_mean_median(f, layer.seen),
        "unit_mean_std": math.sqrt(max(product - mean * mean, 0.0)),
        "q": q,
        "c": (count * float(layer.net.mean()) - q) / (count - 1),
        "mean_share": product / second_moment,
        "bias_shift_strength": strength / (1 - strength),
    }


def _unit_mean_median(f: Activation, covariances: Any) -> float:
    if not _never_falls(f):
        return math.nan
    variances, with_mean = covariances.diagonal(), covariances.mean(0)
    overlap = float(with_mean.mean())
    if overlap > _SMALLEST * float(variances.mean()):
        variances = np.clip(variances - with_mean**2 / overlap, 0.0, None)
    return float(gaussian_moments(f, 0.0, np.sqrt(variances)).mean.mean())


def _never_falls(f: Activation) -> bool:
    return bool((f.derivative(np.linspace(-20.0, 20.0, 4001)) >= 0).all())
