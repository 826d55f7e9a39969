"""The claims of `analyses.experiments.deactivation` about trained networks, and their verdicts from its table."""

from typing import Any

import numpy as np
import pandas

from analyses.experiments.deactivation_figure import STATES, labelled
from analyses.framework.claims import Claim, Decision, decide

_LEVEL = 0.05
SLOPES = (0.01, 0.1, 0.25)
_RELU = "relu"
_RIVALS = tuple(f"leaky_relu({slope:g})" for slope in SLOPES)
_TENTH = 0.1
"""Information about the degree below this part of another counts as not coded, for the claim `absence`."""
STATISTICS = {
    "off noise": (
        "Noise at the net inputs of the units that are off changes ELU networks' logits less than {}'s.",
        "mean square change of the logits over their variance, for noise of the layer's own net input variance at all "
        "off units, to first order; mean over hidden layers",
        (*_RIVALS, _RELU),
    ),
    "off to on noise": (
        "Beside noise at an on unit, noise at an off one changes ELU networks' logits less than {}'s.",
        "mean square change of the logits by an off unit over that by an on unit, to first order; mean over hidden "
        "layers",
        _RIVALS,
    ),
    "deep noise": (
        "Beside noise at an on unit, noise at one deep in its off state changes ELU networks' logits less than {}'s.",
        "mean square change of the logits by an off unit, of the tenth of the lowest net inputs, over that by an on "
        "unit, to first order; mean over hidden layers",
        _RIVALS,
    ),
    "off variation": (
        "A unit that is off passes less of the variance of noise on if it is an ELU than if it is a {}.",
        "mean of f'² over units and examples off (M7 for small noise); mean over hidden layers",
        _RIVALS,
    ),
    "off information": (
        "A unit that is off passes less information on if it is an ELU than if it is a {}.",
        "mean of ln f' over units and examples off (M6), nats; mean over hidden layers",
        _RIVALS,
    ),
    "deep information": (
        "A unit deep in its off state passes less information on if it is an ELU than if it is a {}.",
        "mean of ln f' over the tenth of the units and examples off of the lowest net inputs (M6), nats; mean over "
        "hidden layers",
        _RIVALS,
    ),
    "absence": (
        "An ELU codes the degree of absence less than a {}.",
        "I(f; f + noise) over the examples off, noise in proportion to the unit's deviation, nats; mean over hidden "
        "layers",
        _RIVALS,
    ),
    "interference": (
        "A smaller share of the next layer's variance comes from variation while off with ELU than with {}.",
        "share of the variance of the next layer's net inputs from variation within off states; mean over hidden "
        "layers",
        (*_RIVALS, _RELU),
    ),
}
"""By the identifier's beginning: sentence, statistic, rivals."""


def _stated() -> tuple[Claim, ...]:
    compared = [
        Claim(
            f"{beginning}: {rival}", sentence.format(labelled(rival)), f"ELU − {labelled(rival)}", statistic, "less",
            _LEVEL,
        )
        for beginning, (sentence, statistic, rivals) in STATISTICS.items()
        for rival in rivals
    ]  # fmt: skip
    degree = "I(f; f + noise), noise in proportion to the unit's deviation, nats; mean over hidden layers"
    within = [
        Claim("saturation", "Noise at an off unit of ELU networks changes the logits less than noise at an on one.",
              "off/on − 1", f"ELU: {STATISTICS['off to on noise'][1]}", "less", _LEVEL),
        Claim("presence", "ELUs code the degree of presence more than that of absence.", "on − off",
              f"ELU: {degree}", "greater", _LEVEL),
        Claim("absence", "ELUs do not code the degree of absence: less than a tenth as much as that of presence.",
              f"off − {_TENTH:g} · on", f"ELU: {degree}", "less", _LEVEL),
    ]  # fmt: skip
    return (*compared, *within)


CLAIMS = _stated()
"""Fixed before measuring: the paper's words, and where they may fail: against ReLU, which passes nothing while off, and
a leaky ReLU of slope 0.01, which passes less than an ELU between ln 0.01 = −4.6 and 0. "saturation" and those on
the deep state were added when small networks on digits had shown that most ELUs that are off are not saturated."""


def run_statistics(table: Any) -> Any:
    """One row an activation and seed with the numbers that the claims compare, means over hidden layers.

    NaN where a run diverged, or a layer has no pair in the state.
    """
    layers = table[table["part"] == "layer"]
    columns = ["gain", "unit_gain", "squared_slope", "log_slope", "information", "next_share"]
    keys = ["activation", "seed", "layer"]
    off, on, deep = (layers[layers["state"] == state].set_index(keys)[columns] for state in STATES)
    found = pandas.DataFrame(
        {
            "off noise": off["gain"],
            "off to on noise": off["unit_gain"] / on["unit_gain"],
            "deep noise": deep["unit_gain"] / on["unit_gain"],
            "off variation": off["squared_slope"],
            "off information": off["log_slope"],
            "deep information": deep["log_slope"],
            "absence": off["information"],
            "presence": on["information"],
            "interference": off["next_share"],
        }
    )
    return found.groupby(["activation", "seed"], sort=False).agg(lambda values: values.mean(skipna=False)).reset_index()


def decisions(table: Any) -> list[Decision]:
    """The verdicts of CLAIMS about the activations of the table. A run without a number counts as worst."""
    if "elu" not in set(table["activation"]):
        return []
    runs = run_statistics(table)
    there = set(runs["activation"])
    of_elu = runs[runs["activation"] == "elu"]
    within = {
        "saturation": of_elu["off to on noise"] - 1,
        "presence": of_elu["presence"] - of_elu["absence"],
        "absence": of_elu["absence"] - _TENTH * of_elu["presence"],
    }
    differences: dict[str, Any] = {}
    claims = []
    for claim in CLAIMS:
        statistic, _, rival = claim.identifier.partition(": ")
        if rival and rival not in there:
            continue
        if rival:
            by_seed = runs.pivot(index="seed", columns="activation", values=statistic)
            found = by_seed["elu"] - by_seed[rival]
        else:
            found = within[statistic]
        worst = np.inf if claim.alternative == "less" else -np.inf
        differences[claim.identifier] = found.fillna(worst).to_numpy(float)
        claims.append(claim)
    return decide(claims, differences)
