"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from collections.abc import Sequence
from dataclasses import replace
from math import log, nan
from typing import Any

import numpy as np
import pandas

from analyses.experiments.vanishing_gradient.float32 import LOSSES, ZERO, lost_after
from analyses.experiments.vanishing_gradient.settings import INITIALISATION_NAMES, setting_of
from analyses.framework.claims import Claim, Decision, decide, hodges_lehmann
from elutheory.output.figures import label_of

MARGIN = log(100) / 200
"""Change of ln s a layer that counts as none: after 200 layers δ is still a tenth of what it was."""
FLOAT32_MARGIN = 0.1
"""Relative error of a predicted depth of loss that counts as none."""
_LEVEL = 0.05
_POSITIVE_IDENTITY = ("elu", "relu", "leaky_relu", "selu")
_COMPARED, _SATURATING = ("elu", "relu", "leaky_relu"), ("tanh", "logistic")


def claims(kinds: Sequence[tuple[str, str]]) -> list[tuple[Claim, float]]:
    """Those about networks of these activations and initialisations, each with what its statistic is tested against.

    Fixed before any network was measured; what theory predicts of them was known. The first ones compared losses of
    ln s, cut off at 0, so that two activations whose gradients grow could not differ; now they compare its change.
    """
    starts = list(dict.fromkeys(start for _, start in kinds))
    identity = [
        (
            Claim(
                f"positive identity: {name} vs {rival}, {start}",
                f"Under {INITIALISATION_NAMES[start]} initialisation {label_of(name)}'s gradient vanishes less than "
                f"{label_of(rival)}'s.",
                f"{label_of(name)} − {label_of(rival)}",
                f"change of ln s a layer; none is below {MARGIN:.3f}",
                "greater",
                _LEVEL,
                MARGIN,
            ),
            0.0,
        )
        for start in starts
        for name in _COMPARED
        for rival in _SATURATING
        if {(name, start), (rival, start)} <= set(kinds)
    ]
    kept = [
        (
            Claim(
                f"not vanishing: {name}, {start}",
                f"Under {INITIALISATION_NAMES[start]} initialisation {label_of(name)}'s gradient does not vanish: 200 "
                "layers keep more than a hundredth of its second moment.",
                label_of(name),
                f"change of ln s a layer, tested against {-MARGIN:.3f}",
                "greater",
                _LEVEL,
            ),
            -MARGIN,
        )
        for start in starts
        for name in _POSITIVE_IDENTITY
        if (name, start) in kinds
    ]
    finite = Claim(
        "theory: finite width",
        "To order 1/width theory is nearer a network's gradient than at infinite width.",
        "|error of P3| − |error of P6|",
        "change of ln s a layer, mean over all kinds of networks",
        "greater",
        _LEVEL,
    )
    return [*identity, *kept, (finite, 0.0)]


CHI = Claim(
    "theory: chi",
    "The gradient of every kind of network changes by chi (P3) a layer.",
    "measured − predicted",
    f"change of ln s a layer, the largest error of all kinds; none is below {MARGIN:.3f}",
    "less",
    _LEVEL,
    MARGIN,
)
FLOAT32 = Claim(
    "theory: float32",
    "chi (P3) predicts after how many layers float32 loses the gradient.",
    "measured ÷ predicted − 1",
    f"layers below the last, the largest error of all kinds of networks and losses; none is below {FLOAT32_MARGIN:g}",
    "less",
    _LEVEL,
    FLOAT32_MARGIN,
)


def decisions(table: Any) -> list[Decision]:
    """The verdicts of the claims; of CHI and FLOAT32 see `within_margin`."""
    kinds = kinds_of(table)
    rates = {kind: rows.sort_values("seed")["rate"].to_numpy() for kind, rows in kinds.items()}
    predicted = {kind: layers_of(table, kind) for kind in kinds}
    depth = int(table["depth"].iloc[0])
    wide, finite = (
        {kind: float(layers[name].iloc[0]) / (depth - 1) for kind, layers in predicted.items()}
        for name in ("infinite_width", "finite_width")
    )
    nearer = [abs(rates[kind] - wide[kind]) - abs(rates[kind] - finite[kind]) for kind in kinds]
    values = {"theory: finite width": np.mean(nearer, axis=0)}
    for start in {start for _, start in kinds}:
        there = {name: rates[name, of] for name, of in kinds if of == start}
        values |= {f"not vanishing: {name}, {start}": change for name, change in there.items()}
        values |= {
            f"positive identity: {name} vs {rival}, {start}": there[name] - there[rival]
            for name in there
            for rival in there
        }
    stated = claims(list(kinds))
    shifted = {claim.identifier: values[claim.identifier] - against for claim, against in stated}
    decided = [
        replace(found, effect=found.effect + against, low=found.low + against, high=found.high + against)
        for found, (_, against) in zip(decide([claim for claim, _ in stated], shifted), stated, strict=True)
    ]
    errors = {kind: rates[kind] - wide[kind] for kind in kinds}
    depths = {}
    for kind, rows in kinds.items():
        expected = predicted_losses(predicted[kind])
        for loss, after in expected.items():
            depths[kind, loss] = _relative_error(rows[f"lost_{loss}"].to_numpy(float), after, depth - 1)
    return [*decided, within_margin(CHI, errors), within_margin(FLOAT32, depths)]


def kinds_of(table: Any) -> dict[tuple[str, str], Any]:
    """The network rows by (activation, initialisation)."""
    networks = table[table["kind"] == "network"]
    return dict(iter(networks.groupby(["activation", "initialisation"], sort=False)))


def layers_of(table: Any, kind: tuple[str, str]) -> Any:
    """The layer rows of this (activation, initialisation)."""
    name, start = kind
    return table[(table["kind"] == "layer") & (table["activation"] == name) & (table["initialisation"] == start)]


def predicted_losses(layers: Any) -> dict[str, float]:
    """`lost_after` of the infinitely wide networks of these layer rows."""
    first = layers.iloc[0]
    sizes = np.exp(layers["infinite_width"].to_numpy() / 2)
    after = lost_after(sizes, (first["weight_variance"] / first["width"]) ** 0.5, zero=ZERO)
    return {loss: float(found) for loss, found in after.items()}


def within_margin(claim: Claim, errors: dict[Any, Any]) -> Decision:
    """Of a claim that no error, one per network in every case, exceeds `claim.margin`.

    "holds": all cases' intervals (Hodges–Lehmann), simultaneous at the claim's level, lie within; "does not hold": one
    lies outside. The effect is that of the case whose error is largest. There is no p.
    """
    margin = claim.margin or 0.0
    found = {case: hodges_lehmann(values, claim.level / len(errors)) for case, values in errors.items()}
    inside = all(-margin <= low and high <= margin for _, low, high in found.values())
    outside = any(low > margin or high < -margin for _, low, high in found.values())
    case, (effect, low, high) = max(found.items(), key=lambda item: abs(item[1][0]))
    verdict = "holds" if inside else "does not hold" if outside else "undecided"
    return Decision(claim, len(errors[case]), effect, low, high, nan, nan, verdict)


def _relative_error(measured: Any, predicted: float, last: int) -> Any:
    """measured/predicted − 1, no loss counted as one at the last place that there is."""
    return np.minimum(measured, last) / min(predicted, last) - 1


def summary(table: Any) -> str:
    """Change of s, measured and predicted; where float32 loses the gradient; initialisations refused; verdicts."""
    kinds = kinds_of(table)
    row = table.iloc[0]
    rates, losses = [], []
    for (name, start), networks in kinds.items():
        layers = layers_of(table, (name, start))
        rates.append({"initialisation": start, "activation": name, **_agreement(layers, networks)})
        expected = predicted_losses(layers)
        for loss, predicted in expected.items():
            measured = networks[f"lost_{loss}"].to_numpy(float)
            if np.isfinite([predicted, measured.min()]).any():
                lowest, middle, highest = np.sort(measured)[[0, len(measured) // 2, -1]]
                losses.append(
                    {
                        "initialisation": start,
                        "activation": name,
                        "loss": loss,
                        "predicted": predicted,
                        "median": middle,
                        "lowest": lowest,
                        "highest": highest,
                    }
                )
    refused = table[table["kind"] == "refused"]
    parts = [
        setting_of(row),
        "",
        f"ln s after {row['depth'] - 1} layers, s the mean over units of δ²: measured (mean and std over networks); by "
        "P3; to order 1/width with\nits band (P6); errors over the standard error; factor a layer, measured and by P3:",
        pandas.DataFrame(rates).to_string(index=False, float_format="%.4g"),
        "",
        "layers below the last at which float32 has lost the gradient (inf: not within the network):",
        pandas.DataFrame(losses).to_string(index=False, float_format="%.4g") if losses else "nowhere",
        *(f"{loss}: {what}" for loss, what in LOSSES.items()),
        "",
        *(f"no {found.initialisation} initialisation: {found.reason}" for found in refused.itertuples()),
        *(str(decision) for decision in decisions(table)),
    ]
    return "\n".join(parts)


def _agreement(layers: Any, networks: Any) -> dict[str, float]:
    first, depth = layers.iloc[0], len(layers)
    error = first["std"] / len(networks) ** 0.5
    return {
        "measured": first["log_gradient"],
        "std": first["std"],
        "P3": first["infinite_width"],
        "P6": first["finite_width"],
        "band": first["band"],
        "z(P3)": (first["log_gradient"] - first["infinite_width"]) / error,
        "z(P6)": (first["log_gradient"] - first["finite_width"]) / error,
        "factor": np.exp(first["log_gradient"] / (depth - 1)),
        "chi": np.exp(first["infinite_width"] / (depth - 1)),
    }
