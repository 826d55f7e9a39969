"""What the units do over the data, beside what they would do if their net inputs were Gaussian (M3, M4)."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas
import torch
from torch import Tensor, nn

from elutheory.activations import Activation
from elutheory.moments import gaussian_moments
from elutheory.statistics import layer_statistics


@dataclass(frozen=True)
class MeasuredUnits:
    """Statistics of every hidden unit over examples, arrays (layers, units).

    A net input that never varies has skewness and excess kurtosis nan.
    """

    net_mean: np.ndarray
    net_variance: np.ndarray
    skewness: np.ndarray
    excess_kurtosis: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def measure_units(model: nn.Sequential, inputs: Tensor) -> MeasuredUnits:
    """Of a model Linear, activation, …, Linear with hidden layers of one width; `inputs`: (examples, features)."""
    statistics = layer_statistics(model, inputs, pre_activations=True, extremes=False)
    net = [statistics.units(layer, "input") for layer in statistics.layers]
    out = [statistics.units(layer) for layer in statistics.layers]
    third, fourth = [], []
    with torch.no_grad():
        for name, module in model.named_children():
            if name in statistics.layers:
                skewness, excess_kurtosis = _standardised_cumulants(inputs.double())
                third.append(skewness)
                fourth.append(excess_kurtosis)
            inputs = module(inputs)
    return MeasuredUnits(
        _stacked(unit.mean for unit in net),
        _stacked(unit.variance for unit in net),
        _stacked(third),
        _stacked(fourth),
        _stacked(unit.mean for unit in out),
        _stacked(unit.variance for unit in out),
    )


def _standardised_cumulants(net: Tensor) -> tuple[Tensor, Tensor]:
    """Skewness and excess kurtosis of every column of (examples, units)."""
    deviation = net - net.mean(0)
    std = deviation.square().mean(0).sqrt()
    standard = deviation / torch.where(std > 0, std, torch.nan)
    square = standard.square()
    return (square * standard).mean(0), (square * square).mean(0) - 3


def _stacked(layers: Iterable[Tensor]) -> np.ndarray:
    return torch.stack(list(layers)).cpu().numpy()


def compare(function: Activation, units: MeasuredUnits) -> pandas.DataFrame:
    """The closed forms at the net inputs against the measured activations: a row per layer, columns from `layer` on."""
    net_std = np.sqrt(units.net_variance)
    by_unit = gaussian_moments(function, units.net_mean, net_std)
    terms = gram_charlier_terms(function, units.net_mean, net_std, units.skewness, units.excess_kurtosis)
    corrected = by_unit.mean + np.where(net_std > 0, terms, 0.0)  # M3 is exact for a constant
    wide_std = np.sqrt(units.net_variance.mean(1) + units.net_mean.var(1))
    wide = gaussian_moments(function, units.net_mean.mean(1), wide_std)
    return pandas.DataFrame(
        {
            "layer": np.arange(1, len(net_std) + 1),
            "net_mean": units.net_mean.mean(1),
            "net_mean_spread": units.net_mean.std(1),
            "net_std": net_std.mean(1),
            "skewness": units.skewness.mean(1),
            "skewness_size": np.sqrt((units.skewness**2).mean(1)),
            "excess_kurtosis": units.excess_kurtosis.mean(1),
            "mean": units.mean.mean(1),
            "mean_predicted": by_unit.mean.mean(1),
            "mean_corrected": corrected.mean(1),
            "mean_layer_wide": wide.mean,
            "median": np.median(units.mean, 1),
            "median_predicted": np.median(by_unit.mean, 1),
            "median_corrected": np.median(corrected, 1),
            "spread": units.mean.std(1),
            "unexplained": _unexplained(by_unit.mean, units.mean),
            "unexplained_corrected": _unexplained(corrected, units.mean),
            "unexplained_layer_wide": _unexplained(wide.mean[:, None], units.mean),
            "variance": units.variance.mean(1),
            "variance_predicted": by_unit.variance.mean(1),
            "variance_unexplained": _unexplained(by_unit.variance, units.variance),
            "total_variance": units.variance.mean(1) + units.mean.var(1),
            "total_variance_layer_wide": wide.variance,
        }
    )


def gram_charlier_terms(
    function: Activation, mean: np.ndarray, std: np.ndarray, skewness: np.ndarray, excess_kurtosis: np.ndarray
) -> np.ndarray:
    """skewness/6 σ³ E f‴ + excess_kurtosis/24 σ⁴ E f⁗ over N(mean, std²): what the first two terms of the Gram–Charlier
    series of X add to E f(X). Arrays of one shape.

    E f″ and E f‴ are derivatives of E f′ by the mean, and σ E f⁗ is that of E f″ by σ (heat equation).
    """
    at, width = (torch.from_numpy(values).requires_grad_() for values in (mean, std))
    slope = gaussian_moments(function, at, width).slope_mean
    (second,) = torch.autograd.grad(slope.sum(), at, create_graph=True)
    third, fourth = (part.numpy() for part in torch.autograd.grad(second.sum(), (at, width)))
    return std**3 * (skewness / 6 * third + excess_kurtosis / 24 * fourth)


def _unexplained(predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """1 − R² between a layer's units, nothing fitted; nan where they are all alike."""
    spread = measured.var(1)
    return ((predicted - measured) ** 2).mean(1) / np.where(spread > 0, spread, np.nan)
