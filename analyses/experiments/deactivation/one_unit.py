"""One unit, net input N(mean, std²): variance and information passed on, in closed form, by quadrature and sampled."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from analyses.experiments.deactivation.noisy_channel import (
    channel_information,
    gaussian_rule,
    interference,
    sampled_information,
)
from elutheory.activations import Activation
from elutheory.moments import gaussian_moments

_SAMPLED_EVERY = 4


def unit_rows(
    function: Activation, means: Any, stds: Sequence[float], channel_noise: float, samples: int, replicates: int
) -> list[dict[str, Any]]:
    """One row per mean and standard deviation; `COLUMNS` in `settings.py` says what it holds.

    The random numbers are the same for every activation.
    """
    rows = []
    for kind, std in enumerate(stds):
        moments = gaussian_moments(function, means, std)
        for place, mean in enumerate(np.asarray(means).tolist()):
            generator = np.random.default_rng((kind, place))
            values = function(generator.normal(mean, std, samples))
            row = {
                "mean": mean,
                "std": std,
                "variance": moments.variance[place],
                "limit": deactivated_variance(function, mean, std),
                "simulated": values.var(ddof=1),
                "simulated_error": variance_error(function, mean, std, samples),
                "log_slope": moments.log_slope_mean[place],
                "information": channel_information(function, mean, std, channel_noise),
            }
            if mean > 0:
                row["interference"] = interference(function, mean, -mean, std, channel_noise)
            if place % _SAMPLED_EVERY == 0:
                row["sampled"], row["sampled_error"] = sampled_information(
                    function, mean, std, channel_noise, generator, replicates=replicates
                )
            rows.append(row)
    return rows


def deactivated_variance(function: Activation, mean: float, std: float) -> float:
    """The leading term of Var f(X), X ~ N(mean, std²), for mean → −∞ (M7); 0: f is constant there.

    tanh x → −1 + 2e^{2x}: the law of an ELU of twice the net input, 4 times the variance.
    """
    if function.name == "leaky_relu":
        return dict(function.parameters)["negative_slope"] ** 2 * std**2
    rate, scale = {"elu": (1.0, 1.0), "tanh": (2.0, 2.0)}.get(function.name, (0.0, 0.0))
    return float(scale**2 * np.exp(2 * rate * mean + (rate * std) ** 2) * np.expm1((rate * std) ** 2))


def variance_error(function: Activation, mean: float, std: float, samples: int) -> float:
    """Standard error of the sample variance: √((m4 − m2² (n − 3)/(n − 1))/n), central moments by quadrature."""
    nodes, weights = gaussian_rule(function, mean, std)
    squares = (function(nodes) - weights @ function(nodes)) ** 2
    spread = weights @ squares**2 - (weights @ squares) ** 2 * (samples - 3) / (samples - 1)
    return float(max(0.0, spread) / samples) ** 0.5
