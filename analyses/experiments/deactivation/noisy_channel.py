"""Information that passes through an activation and additive Gaussian noise: I(X; f(X) + N), N ~ N(0, noise²), in nats.

I = h(f(X) + N) − h(N). Without the noise it would be infinite for increasing f: what M6 gives, h(f(X)) − h(X), is how
much a fine, fixed resolution of the output tells less than one of the input. With it, f(X) may have atoms.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import logsumexp, xlogy

from elutheory.activations import Activation
from elutheory.activations.kinks import breakpoint_values
from elutheory.numerics.quadrature import composite_rule

_REACH = 9.0
"""Standard deviations on both sides of a normal mean: 2e-19 is beyond."""
_STEP = 0.5
"""Of the trapezoidal rule in y, in units of the noise: for the density it is exact to exp(−2π²/step²)."""
_PANEL, _DEGREE = 3.0, 16
"""Gauss–Legendre in x: the noise's kernel spans at least its standard deviation there, for slopes up to 1."""


def channel_information(activation: Activation, mean: float, std: float, noise: float) -> float:
    """I(X; f(X) + N) for X ~ N(mean, std²) by quadrature; |f'| ≤ 1, std > 0, noise > 0."""
    values, weights = gaussian_rule(activation, mean, std, min(1.5, _PANEL * noise / std))
    return information(activation(values), weights, noise)


def information(values: Any, probabilities: Any, noise: float) -> float:
    """I(V; V + N) for V that takes `values` with `probabilities`, both of shape (n,)."""
    places = np.asarray(values, dtype=np.float64) / noise
    ends = places.min() - _REACH, places.max() + _REACH
    points = np.linspace(*ends, int(np.ceil((ends[1] - ends[0]) / _STEP)) + 1)
    density = _density(points, places, probabilities)
    entropy = -(points[1] - points[0]) * xlogy(density, density).sum()
    return max(0.0, float(entropy - 0.5 * np.log(2 * np.pi * np.e)))


def interference(activation: Activation, present: float, absent: float, std: float, noise: float) -> float:
    """Nats about a present concept that a reader of two loses by the degree of an absent one.

    I(X; f(X) + N) − I(X; f(X) + f(X') + N), X ~ N(present, std²), X' ~ N(absent, std²) and N independent; |f'| ≤ 1.
    """
    half = noise / np.sqrt(2)  # the noise is shared out, that both densities are smooth
    sides = []
    for mean in (present, absent):
        values, weights = gaussian_rule(activation, mean, std, min(1.5, _PANEL * half / std))
        places = activation(values) / half
        ends = np.floor((places.min() - _REACH) / _STEP), np.ceil((places.max() + _REACH) / _STEP)
        sides.append(_density(_STEP * np.arange(ends[0], ends[1] + 1), places, weights))
    density = _STEP * np.convolve(*sides)
    entropy = -_STEP * xlogy(density, np.maximum(density, np.finfo(float).tiny)).sum() - 0.5 * np.log(4 * np.pi * np.e)
    alone, other = (channel_information(activation, mean, std, noise) for mean in (present, absent))
    return max(0.0, alone + other - float(entropy))


def sampled_information(
    activation: Activation,
    mean: float,
    std: float,
    noise: float,
    generator: np.random.Generator,
    *,
    replicates: int = 80,
    outer: int = 100,
    inner: int = 1000,
) -> tuple[float, float]:
    """The information by nested Monte Carlo, and its standard error over independent replicates.

    Mean of ln p(y | x) − ln p(y) over `outer` pairs, p(y) being the mean of the noise's density over `inner` fresh x:
    the logarithm of a mean is biased, upwards by about the kernel's relative variance over 2·`inner`.
    """
    estimates = np.empty(replicates)
    for replicate in range(replicates):
        sent, other = (activation(generator.normal(mean, std, size)) / noise for size in (outer, inner))
        received = sent + generator.standard_normal(outer)
        given = -0.5 * (received - sent) ** 2
        marginal = logsumexp(-0.5 * (received[:, None] - other) ** 2, axis=1) - np.log(inner)
        estimates[replicate] = (given - marginal).mean()
    return float(estimates.mean()), float(estimates.std(ddof=1) / np.sqrt(replicates))


def gaussian_rule(activation: Activation, mean: float, std: float, panel: float = 1.5) -> tuple[Any, Any]:
    """Nodes x and weights of E h(X), X ~ N(mean, std²): panels of `panel` · std at most, split where f has kinks."""
    kinks = [(kink - mean) / std for kink in breakpoint_values(activation)]
    splits = [-_REACH, *(kink for kink in kinks if abs(kink) < _REACH), _REACH]
    edges = np.concatenate(
        [
            np.linspace(low, high, int(np.ceil((high - low) / panel)) + 1)[: None if high == _REACH else -1]
            for low, high in pairwise(splits)
        ]
    )
    t, weights = composite_rule(edges, _DEGREE)
    return mean + std * t, weights * np.exp(-0.5 * t**2) / np.sqrt(2 * np.pi)


def _density(points: Any, places: Any, probabilities: Any) -> Any:
    """Of a value among `places`, with these probabilities, and noise of variance 1."""
    return np.exp(-0.5 * (points[:, None] - places) ** 2) @ np.asarray(probabilities) / np.sqrt(2 * np.pi)
