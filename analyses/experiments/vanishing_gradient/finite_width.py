"""The gradient's second moment in a random network of finite width: what P3 leaves out to order 1/width (P6). Derived.

One input, n units a layer, δ of the last layer drawn apart from the network. s_l = |δ_l|²/n is s_{l+1} times

σ_w² (1/n) Σ_i f'(√q_l y_i)² z_i²,   y_i and z_i independent standard normal,

for W_{l+1}, given the net inputs h_{l+1} = W a + b, is still free but in the direction of a. So ln s_l − ln s_L is a
sum over layers of ln chi(q) − V/2n on average, V/n the variance of a term, V = 3 E f'⁴/(E f'²)² − 1. Further:

- q_{l+1} = σ_w² (1/n) Σ_i f(√q_l y_i)² + σ_b² has itself a variance and a shift of order 1/n, and the y_i are the same;
- in the direction of a, of weight 1/n, E (δ·Wa)² is P (q − σ_b²) |δ|² with P = (T (q − σ_b²) + σ_b²)/q, T = E (h·δ)²
  over q |δ|², all of layer l + 1: not 1 where δ knows of h. T is 1 at the last layer, and everywhere for ReLU.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from analyses.networks.random import Start
from elutheory.activations.kinks import features
from elutheory.numerics.quadrature import composite_rule

_REACH, _ORDER = 10.0, 24
_EDGES = np.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0])
"""Of the panels, from every break of f: in units of x, where f bends, and of z = x/√q."""


@dataclass(frozen=True, eq=False)
class LogGradient:
    """ln s_l − ln s_L of every layer l: mean and standard deviation over random networks."""

    mean: Float[np.ndarray, " layers"]
    std: Float[np.ndarray, " layers"]


def log_gradient(
    start: Start, q: Float[np.ndarray, " layers"], chi: Float[np.ndarray, " layers"], width: int
) -> LogGradient:
    """To order 1/width; `q` and `chi` are those of infinite width, from `elutheory.propagate`.

    All layers have `width` units; the first one's net inputs are Gaussian with exactly q, whatever the width.
    """
    weight_variance = start.initialisation.weight_variance
    layers = [_Layer.at(start.activation, float(second_moment)) for second_moment in q]
    excess = alignment(start, q) - 1

    shift, variance = np.zeros(len(q)), np.zeros(len(q))  # of q, times the width
    for index, layer in enumerate(layers[:-1]):
        slope = weight_variance * layer.f2_slope
        shift[index + 1] = slope * shift[index] + weight_variance * layer.f2_bend * variance[index] / 2
        variance[index + 1] = slope**2 * variance[index] + weight_variance**2 * (layer.f4 - layer.f2**2)

    mean, std = np.zeros(len(q)), np.zeros(len(q))
    above = 0.0  # variance that the layers from here on add, times the width
    response = 0.0  # derivative of their sum by q
    for index in reversed(range(len(q) - 1)):
        layer = layers[index]
        bend = layer.slope2_bend - layer.slope2_slope**2  # d² ln chi/dq²
        correction = (
            layer.slope2_slope * shift[index]
            + bend * variance[index] / 2
            - (3 * layer.slope4 - 1) / 2
            + excess[index + 1] * layer.f2_slope2 / layer.f2
        )
        mean[index] = mean[index + 1] + np.log(chi[index]) + correction / width
        to_q = weight_variance * response
        above += 3 * layer.slope4 - 1 + 2 * to_q * (layer.f2_slope2 - layer.f2) + to_q**2 * (layer.f4 - layer.f2**2)
        response = layer.slope2_slope + to_q * layer.f2_slope
        std[index] = np.sqrt((above + response**2 * variance[index]) / width)
    return LogGradient(mean, std)


def alignment(start: Start, q: Float[np.ndarray, " layers"]) -> Float[np.ndarray, " layers"]:
    """P of every layer at infinite width; nan for the first, whose incoming activations are the input."""
    bias_variance = start.initialisation.bias_variance
    found = np.full(len(q), np.nan)
    aligned = 1.0  # T
    for index in reversed(range(1, len(q))):
        found[index] = ((q[index] - bias_variance) * aligned + bias_variance) / q[index]
        layer = _Layer.at(start.activation, float(q[index - 1]))
        aligned = layer.z2_slope2 + (found[index] - 1) * layer.z_f_slope**2 / layer.f2
    return found


@dataclass(frozen=True)
class _Layer:
    """Expectations at √q Z, with the slope s = f'/√(E f'²)."""

    f2: float
    """E f²; f2_slope and f2_bend are its first and second derivative by q."""
    f2_slope: float
    f2_bend: float
    f4: float
    slope2_slope: float
    """d ln chi/dq; slope2_bend is d² chi/dq² over chi."""
    slope2_bend: float
    slope4: float
    """E s⁴."""
    f2_slope2: float
    """E f² s²."""
    z2_slope2: float
    """E Z² s²."""
    z_f_slope: float
    """E Z f s."""

    @classmethod
    def at(cls, f: Any, q: float) -> "_Layer":
        std = np.sqrt(q)
        z, weights = _nodes(f, std)
        value, slope = f(std * z), f.derivative(std * z)
        slope = slope / np.sqrt(weights @ slope**2)
        by_q = (z**2 - 1) / (2 * q)  # d E g(√q Z)/dq = E g(√q Z) (Z² − 1)/2q, and once more
        twice = (z**4 - 6 * z**2 + 3) / (4 * q * q)
        return cls(
            f2=weights @ value**2,
            f4=weights @ value**4,
            f2_slope=weights @ (value**2 * by_q),
            f2_bend=weights @ (value**2 * twice),
            slope4=weights @ slope**4,
            slope2_slope=weights @ (slope**2 * by_q),
            slope2_bend=weights @ (slope**2 * twice),
            f2_slope2=weights @ (value * slope) ** 2,
            z2_slope2=weights @ (z * slope) ** 2,
            z_f_slope=weights @ (z * value * slope),
        )


def _nodes(f: Any, std: float) -> tuple[Any, Any]:
    """Gauss–Legendre panels for the standard normal density, finer where f breaks or bends."""
    steps = np.concatenate([-_EDGES, [0.0], _EDGES])
    edges = np.concatenate([(centre + scale * steps) / std for centre in features(f) for scale in (1.0, std)])
    edges = np.unique(np.clip(np.concatenate([edges, [-_REACH, _REACH]]), -_REACH, _REACH))
    z, weights = composite_rule(edges, _ORDER)
    return z, weights * (np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))
