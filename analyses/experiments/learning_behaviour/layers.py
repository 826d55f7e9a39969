"""What the units of each hidden layer do over fixed examples, and what their net inputs alone predict of it (M3)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.networks.stacked import Networks
from elutheory.activations import Activation
from elutheory.moments import gaussian_moments

LAYER_STATISTICS = (
    "unit_mean_median",
    "unit_mean_low",
    "unit_mean_high",
    "mean_share",
    "gaussian_median",
    "gaussian_share",
)
"""Of one layer: the median over units of the unit's mean activation and the 5 and 95 % quantiles (order statistics),
Σ (E a)²/Σ E a², and median and share again from every unit's mean and variance of the net input, taken for Gaussian."""


def unit_moments(network: Any, inputs: Float[Tensor, "examples features"]) -> dict[str, Tensor]:
    """Of every hidden unit over `inputs`: mean and second moment of the activation, mean and variance of the net input.

    Each (layers, units). `network`: Linear, activation, …, Linear, with hidden layers of one width.
    """
    found: dict[str, list[Tensor]] = {"mean": [], "second": [], "net_mean": [], "net_variance": []}
    for linear, function in zip(network[:-1:2], network[1::2], strict=True):
        net = linear(inputs)
        inputs = function(net)
        found["mean"].append(inputs.mean(0))
        found["second"].append(inputs.square().mean(0))
        found["net_mean"].append(net.mean(0))
        found["net_variance"].append(net.var(0, correction=0))
    return {name: torch.stack(values) for name, values in found.items()}


def statistics_of(networks: Networks, function: Activation, inputs: Tensor) -> dict[str, Tensor]:
    """`unit_mean_median` over all hidden units (the lower middle one) and `mean_share`, the layers' average, of each
    network; `layers`: (networks, layers, LAYER_STATISTICS)."""
    units: Any = {name: value.double() for name, value in networks.map(unit_moments, inputs).items()}
    known = {name: units[name].nan_to_num() for name in ("net_mean", "net_variance")}  # a diverged network has NaN
    predicted = gaussian_moments(function, known["net_mean"], known["net_variance"].sqrt())
    ordered = units["mean"].sort(dim=-1).values
    last = ordered.shape[-1] - 1
    low, middle, high = (ordered[..., int(share * last)] for share in (0.05, 0.5, 0.95))
    share = mean_share(units["mean"], units["second"])
    columns = (
        middle,
        low,
        high,
        share,
        predicted.mean.sort(dim=-1).values[..., last // 2],
        mean_share(predicted.mean, predicted.second_moment),
    )
    return {
        "unit_mean_median": units["mean"].flatten(1).median(1).values,
        "mean_share": share.mean(1),
        "layers": torch.stack(columns, dim=-1),
    }


def mean_share(means: Any, second_moments: Any) -> Any:
    """Σ (E a)²/Σ E a² over the last axis, the units (P2b); 0 for a layer whose activations are all 0."""
    seconds = second_moments.sum(-1)
    return (means**2).sum(-1) / (seconds + (seconds == 0))
