"""What theory says of every layer's statistics in networks of random weights (`analyses.networks.random`): no fit.

Two predictions. `from_two_numbers`: the data's mean second moment and mean overlap through P1–P3, with the bands of P6.
`from_gram_matrix`: the data's whole Gram matrix through P4 and, backward, the derivative kernels (P5), infinite width.
"""

import math
from typing import Any

import numpy as np
import pandas
from jaxtyping import Float

from analyses.networks.random import STATISTICS, Architecture, Start
from elutheory.activations import Activation
from elutheory.gram.wide_layers import HiddenLayer, layer_statistics_table
from elutheory.propagation import propagate

TWO_NUMBERS = ("mean", "unit_mean_median", "unit_mean_std", "q", "c", "mean_share", "gradient_variance")


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
    hidden = HiddenLayer(
        start.activation,
        start.initialisation.weight_variance,
        start.initialisation.bias_variance,
        architecture.width,
    )
    table: Any = layer_statistics_table(
        [hidden] * architecture.depth,
        gram,
        features,
        damping,
        batch_norm=architecture.batch_norm,
        residual=architecture.residual,
    )
    return table[list(STATISTICS)]


def _never_falls(f: Activation) -> bool:
    return bool((f.derivative(np.linspace(-20.0, 20.0, 4001)) >= 0).all())
