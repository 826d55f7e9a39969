"""Size and exponent of the bias-shift term over the translated mean, for the hidden units of one network."""

from typing import Any

import numpy as np
from torch import Tensor, nn

from analyses.data import datasets
from analyses.experiments.bias_shift_term.translated_units import PARTS, Difference, TranslatedUnits, translated_units
from elutheory.fisher import model_scores
from elutheory.fisher.theorem_checks import deviation_bound

SCALES = (0.0, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
"""The measured t."""
SMALL = 1e-4
"""The t at which a mean counts as small."""
TOLERANCE = 0.1
"""Exponents within 1 ± TOLERANCE count as 1."""
_STEP = 0.01
"""Half the difference of ln t over which an exponent is taken."""


def measure_network(
    network: nn.Sequential, examples: datasets.Split, dampings: tuple[float, ...]
) -> list[dict[str, float]]:
    """What COLUMNS in `settings.py` says, by hidden layer above the first, damping and t.

    `network`: fully connected, float64; one with parameters that are not finite has no numbers.
    """
    names = [str(place) for place, layer in enumerate(network) if isinstance(layer, nn.Linear)][1:-1]
    if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
        layers = range(2, len(names) + 2)
        keys = [(layer, damping, t) for layer in layers for damping in dampings for t in scales(damping)]
        return [dict(zip(("layer", "damping", "t"), key, strict=True)) for key in keys]
    at_model = model_scores(network, examples.inputs, names, "exact").layers
    at_targets = model_scores(network, examples.inputs, names, "empirical", targets=examples.targets).layers
    rows: list[dict[str, float]] = []
    for layer, name in enumerate(names, start=2):
        for damping in dampings:
            units = translated_units(at_model[name], at_targets[name], damping)
            found = {"layer": layer, "damping": damping, **_as_it_is(units)}
            rows += [{**found, "t": t, **_at(units, t)} for t in scales(damping)]
    return rows


def scales(damping: float) -> tuple[float, ...]:
    """The measured t: with damping only those about which the claims are."""
    return (0.0, SMALL, 1.0) if damping else SCALES


def _as_it_is(units: TranslatedUnits) -> dict[str, float]:
    squared = units.raw_mean.square()
    return {
        "mean_activation": _median(squared.mean(1).sqrt()),
        "mean_share": _median(squared.sum(1) / units.second_moment),
        "strength": _median(1 + units.strength),
        "rank": _median(units.rank.double()),
        "dead_units": units.dead,
    }


def _at(units: TranslatedUnits, t: float) -> dict[str, float]:
    found = units.difference(t)
    lengths = units.length_of(found.natural - found.blockwise, t) / units.length
    numbers = {
        "length": _median(lengths),
        "largest_length": _largest(lengths),
        "shift": _median(found.parts["shift"].abs() / units.length),
        "cosine": _median(units.cosine(found.natural, t)),
        "deviation": _deviation(units, found, t),
    }
    if t == 0:
        return numbers
    before, after = (units.difference(t * float(np.exp(sign * _STEP))).parts for sign in (-1, 1))
    for part in PARTS:
        exponents = (after[part] / before[part]).abs().log() / (2 * _STEP)
        exponents = exponents[exponents.isfinite()]
        numbers[f"exponent_{part}"] = _median(exponents)
        near = ((exponents - 1).abs() <= TOLERANCE).double()
        numbers[f"near_{part}"] = float(near.mean()) if len(near) else np.nan
    return {**numbers, "predicted_exponent": _median(units.predicted_shift_exponent(t))}


def _deviation(units: TranslatedUnits, found: Difference, t: float) -> float:
    """Of the term as a vector and of its shift, relative to the lengths of what is subtracted."""
    step = found.natural - found.blockwise
    size = found.natural.norm(dim=1) + found.blockwise.norm(dim=1)
    means = (units.mean_under_p - (1 - t) * units.mean_under_q).norm(dim=1)
    of_step = (step - units.predicted_step(t)).norm(dim=1) / size
    of_shift = (found.parts["shift"] - units.predicted_shift(t)).abs() / (size * (1 + means))
    allowed = size.new_tensor([deviation_bound(number) for number in units.condition_number(t).tolist()])
    return max(_largest(of_step / allowed), _largest(of_shift / allowed))


def _median(values: Tensor) -> float:
    """Of the units that have a number."""
    found = values[values.isfinite()].cpu().numpy()
    return float(np.median(found)) if len(found) else np.nan


def _largest(values: Tensor) -> float:
    found = values[~values.isnan()]
    return float(found.max()) if len(found) else np.nan


def across_layers(table: Any) -> tuple[Any, Any]:
    """By seed, Spearman's correlation and the log-log slope of `length` on `mean_activation` at t = 1, undamped."""
    rows = table[(table["t"] == 1) & (table["damping"] == 0)]
    correlations, slopes = [], []
    for _, group in rows.groupby("seed"):
        mean, length = group["mean_activation"], group["length"]
        correlations.append(mean.corr(length, method="spearman", min_periods=3))
        shown = length.notna()
        mean, length = np.log(mean[shown]), np.log(length[shown])
        slopes.append(mean.cov(length, min_periods=3) / mean.var())
    return np.array(correlations), np.array(slopes)
