"""P2 and P6 for the paper's figure 2a: the median of all hidden units' mean activations before training, layers pooled;
and the means' share of each layer's second moment (P2b).

Given the layers below, unit i of layer l has over the data the mean net input √c_l Y_i, Y_i ~ N(0, 1), the variance
v_l, and the mean activation M(√c_l Y_i, v_l), M = E f (M3). In the next layer v = σ_w² mean Var f, c = σ_w² mean M²,
over the units of this one: expectations in the limit of infinite width, averages over draws of Y at a finite width.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from elutheory.activations import Activation
from elutheory.moments import gaussian_moments
from elutheory.propagation import propagate

_STRATA = 20_001


@dataclass(frozen=True)
class InitialMedian:
    """`value` in the limit of infinite width; 95 % of networks of finite width have theirs between `low` and `high`."""

    value: float
    low: float
    high: float


def initial_median(
    activation: Activation,
    layers: int,
    units: int,
    second_moment: float,
    overlap: float,
    *,
    weight_variance: float = 2.0,
    networks: int = 1000,
) -> InitialMedian:
    """For `layers` hidden layers of `units`, weights N(0, weight_variance/fan_in), biases 0; f does not fall.

    `second_moment` and `overlap`, >= 0: of the inputs, the means of |x|²/n and of x·x'/n over all pairs. The value is
    the median of the mixture of the layers' laws, each at the middles of 20,001 equally likely strata of Y; the band
    comes from `networks` draws of the recursion, always the same.
    """
    table = propagate(activation, layers, weight_variance, 0.0, second_moment, overlap).table
    strata = ndtri((np.arange(_STRATA) + 0.5) / _STRATA)
    spread, within = (np.sqrt(table[name].to_numpy(float))[:, None] for name in ("c", "variance_over_data"))
    means = gaussian_moments(activation, spread * strata, within).mean
    drawn, _ = drawn_layers(activation, layers, units, second_moment, overlap, weight_variance, networks)
    medians = np.median(drawn, axis=(1, 2))
    low, high = np.quantile(medians, (0.025, 0.975))
    return InitialMedian(float(np.median(means)), float(low), float(high))


def initial_shares(
    activation: Activation,
    layers: int,
    units: int,
    second_moment: float,
    overlap: float,
    *,
    weight_variance: float = 2.0,
    networks: int = 1000,
) -> Float[np.ndarray, "layers 3"]:
    """The means' share of each layer's second moment before training: in the limit of infinite width, then the band of
    95 % of the networks of this width; the arguments are those of `initial_median`."""
    table = propagate(activation, layers, weight_variance, 0.0, second_moment, overlap).table
    _, drawn = drawn_layers(activation, layers, units, second_moment, overlap, weight_variance, networks)
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return np.stack([table["mean_share"].to_numpy(float), low, high], axis=1)


def drawn_layers(
    activation: Activation,
    layers: int,
    units: int,
    second_moment: float,
    overlap: float,
    weight_variance: float,
    networks: int,
) -> tuple[Float[np.ndarray, "networks layers units"], Float[np.ndarray, "networks layers"]]:
    """Unit means of networks of finite width, by the recursion above, and the means' shares; generator of seed 0."""
    generator = np.random.default_rng(0)
    v = np.full((networks, 1), weight_variance * (second_moment - overlap))
    c = np.full((networks, 1), weight_variance * overlap)
    found, shares = [], []
    for _ in range(layers):
        moments = gaussian_moments(activation, np.sqrt(c) * generator.standard_normal((networks, units)), np.sqrt(v))
        within, between = moments.variance.mean(1, keepdims=True), (moments.mean**2).mean(1, keepdims=True)
        found.append(moments.mean)
        shares.append((between / (within + between))[:, 0])
        v, c = weight_variance * within, weight_variance * between
    return np.stack(found, axis=1), np.stack(shares, axis=1)
