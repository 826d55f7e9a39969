"""P6: standard deviations of the layer statistics of a network of finite width, to leading order in 1/width.

The data are many inputs of second moment and overlap as in P1, each layer's weights independent Gaussians. Given the
layers below, the units of a layer are independent and Gaussian with the layer's own (v, c), v = q − c: unit i has the
mean √c Y_i and the variance v over the data. So the next layer's (v, c) is the mean over units of

σ_w² (Var f, M²)(√c Y_i, v)   (+ σ_b² on c),

and to leading order its covariance is J V Jᵀ + σ_w⁴ Cov_Y(Var f, M²)/width: V is this layer's, J the derivative of the
expectation by (v, c). What is measured over the units of a layer adds their scatter in the same way, and the sample
median of the unit means 1/(4 width p²), p their density at the median. `et.finite_width_fluctuations` derives it.

The next order is left out; errors grow with depth/width, the sum of 1/width over the layers so far. Bands that were
exact would hold 68 % of networks within ± one standard deviation. Of 400 each of ELU, ReLU and tanh at widths 64 and
128, 192 inputs, biases with and without, they held at least

| depth/width | 1/32 | 1/16 | 1/8 | 3/16 |
|---|---|---|---|---|
| `variance_over_data` | 58 % | 58 % | 51 % | 50 % |
| `mean_share` (least for ReLU, whose share tends to 1) | 65 % | 65 % | 37 % | 12 % |
| all others | 65 % | 64 % | 65 % | 64 % |

`variance_over_data` lacks the scatter of that variance over units (of order 1/width², there from the second layer on);
ReLU's mean share lies below its band, for what the fluctuations take from the mean, of order depth/width, is left out,
too. So beyond depth/width 1/16 these two are no confidence intervals; the command says so.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

from elutheory.activations.kinks import features
from elutheory.moments.floating_point import gaussian_moments
from elutheory.numerics.quadrature import composite_rule
from elutheory.propagation.layer_map import mean_slope, second_moment_slope

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

_REACH = 8.0
_PANELS = 8
_ORDER = 10
_TRANSITIONS = (0.0, 1.0, 4.0)
_SMALLEST = 1e-150  # a smaller c is taken for 0
LARGEST_DEPTH_OVER_WIDTH = 1 / 16
"""Up to here every band holds more than half of all networks: the table above, tests/propagation/test_simulation.py."""
COVERAGE = {1 / 32: 0.58, 1 / 16: 0.58, 1 / 8: 0.37, 3 / 16: 0.12}
"""Of the table above, by depth/width: the smallest share of networks within one of the bands."""


@dataclass(frozen=True)
class Bands:
    """Standard deviations of a layer's statistics over random networks."""

    q: float
    c: float
    variance_over_data: float
    mean: float
    unit_mean_median: float
    unit_mean_std: float
    mean_share: float


def reach(depth_over_width: float) -> str:
    """How far the bands can be trusted at this depth/width, in words; the shares are those of `COVERAGE`."""
    place = f"at depth/width {depth_over_width:.2g}"
    if depth_over_width <= LARGEST_DEPTH_OVER_WIDTH:
        return f"{place} they hold {100 * COVERAGE[LARGEST_DEPTH_OVER_WIDTH]:.0f} to 68 % of networks"
    known = [share for ratio, share in COVERAGE.items() if ratio >= depth_over_width]
    least = f"as few as {100 * max(known):.0f}" if known else f"fewer than {100 * min(COVERAGE.values()):.0f}"
    return (
        f"{place}, above {LARGEST_DEPTH_OVER_WIDTH}, the next order matters: those of the variance over the data and "
        f"of ReLU's share held {least} % of networks, not 68 %"
    )


@dataclass(frozen=True)
class LayerBands:
    """The bands, and the 2×2 covariance of σ_w² times the unit averages of (Var f, M²)."""

    bands: Bands
    next_covariance: Any


def layer_bands(
    activation: "Activation", v: float, c: float, width: int, weight_variance: float, covariance: Any
) -> LayerBands:
    """P6 for a plain layer of `width` units at (v, c), c >= 0; `covariance` (2×2) is that of the layer's own (v, c)."""
    if c < _SMALLEST:
        return LayerBands(_net_input_bands(c, width, covariance), numpy.zeros((2, 2)))
    y, weight = _nodes(activation, math.sqrt(c), math.sqrt(v))
    m = gaussian_moments(activation, math.sqrt(c) * y, math.sqrt(v))
    mean = float(weight @ m.mean)
    within = float(weight @ m.variance)
    deviation = m.mean - mean
    between = float(weight @ deviation**2)
    # per unit: variance over the data, squared deviation of the mean, mean
    statistics = numpy.stack([m.variance, deviation**2, deviation])
    scatter = statistics - (statistics @ weight)[:, None]
    slope_product = float(weight @ m.slope_mean**2)
    within_by_mean = float(weight @ (m.variance * (y * y - 1))) / (2 * c)  # d E Var f/dc, by parts twice
    by_variance = float(weight @ (y * m.mean * m.slope_mean)) / math.sqrt(c) - slope_product  # d E M²/dv, by parts
    mean_by_q = float(weight @ (y * m.slope_mean)) / (2 * math.sqrt(c))
    jacobian = numpy.array(
        [
            [second_moment_slope(activation, v + c) - by_variance, within_by_mean],
            [by_variance - 2 * mean * mean_by_q, by_variance + slope_product - 2 * mean * mean_by_q],
            [mean_by_q, mean_by_q],
        ]
    )
    found = jacobian @ covariance @ jacobian.T + (scatter * weight) @ scatter.T / width
    # (Var f, M²) with M² = (M − mean)² + 2 mean (M − mean) + mean²
    averages = numpy.array([[1.0, 0.0, 0.0], [0.0, 1.0, 2 * mean]])
    moments = averages @ found @ averages.T
    total = between + mean * mean + within
    share = numpy.array([-(between + mean * mean), within]) / total / total
    net = _net_input_bands(c, width, covariance)
    bands = Bands(
        net.q,
        net.c,
        net.variance_over_data,
        mean=math.sqrt(found[2, 2]),
        unit_mean_median=_median_band(activation, v, c, width, float(covariance[0, 0])),
        unit_mean_std=math.sqrt(found[1, 1]) / (2 * math.sqrt(between)) if between > 0 else 0.0,
        mean_share=math.sqrt(max(float(share @ moments @ share), 0.0)),
    )
    return LayerBands(bands, weight_variance**2 * moments)


def normalised_bands(c: float, width: int, covariance: Any) -> LayerBands:
    """P6 behind batch normalisation: every unit has mean 0 and variance 1 over the data; that leaves order 1/width²."""
    return LayerBands(_net_input_bands(c, width, covariance), numpy.zeros((2, 2)))


def _net_input_bands(c: float, width: int, covariance: Any) -> Bands:
    """q and c as averages over the layer's units: the conditional expectation, and c Y² of every unit."""
    scatter = 2 * c * c / width
    v_band, c_band = float(covariance[0, 0]), float(covariance[1, 1])
    q_band = v_band + c_band + 2 * float(covariance[0, 1])
    return Bands(
        math.sqrt(max(q_band, 0.0) + scatter), math.sqrt(c_band + scatter), math.sqrt(v_band), 0.0, 0.0, 0.0, 0.0
    )


def _median_band(activation: "Activation", v: float, c: float, width: int, v_band: float) -> float:
    """The unit means M(√c Y, v) have density 1/(√(2πc) E f'(√v Z)) at their median M(0, v)."""
    slope = float(gaussian_moments(activation, 0.0, math.sqrt(v)).slope_mean)
    shift = mean_slope(activation, v) if v_band > 0 else 0.0
    return math.sqrt(shift * shift * v_band + math.pi * c * slope * slope / (2 * width))


def _nodes(activation: "Activation", spread: float, width: float) -> tuple[Any, Any]:
    """Nodes y and weights of E_Y g(M(spread Y, width²)): panels end where M turns, next to the kinks of f and 0."""
    edges = set(numpy.linspace(-_REACH, _REACH, _PANELS + 1))
    for kink in features(activation):
        for distance in (multiple * scale for multiple in _TRANSITIONS for scale in (width, 1.0)):
            edges |= {(kink - distance) / spread, (kink + distance) / spread}
    ends = numpy.array(sorted(edge for edge in edges if -_REACH <= edge <= _REACH))
    y, weights = composite_rule(ends, _ORDER)
    return y, weights * (numpy.exp(-0.5 * y * y) / math.sqrt(2 * math.pi))
