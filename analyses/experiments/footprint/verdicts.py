"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from collections.abc import Sequence
from dataclasses import replace
from math import isnan, log, nan
from typing import Any

import numpy as np
import pandas

from analyses.experiments.footprint.networks import ARCHITECTURES, VARIANTS
from analyses.experiments.footprint.settings import (
    EXPONENTIAL_COSTS,
    FIVE_PER_CENT,
    NAMES,
    NORMALISED,
    STEP,
    setting_of,
)
from analyses.framework.claims import Claim, Decision, decide, hodges_lehmann

_LEVEL = 0.05


def claims(networks: Sequence[str]) -> list[Claim]:
    """Those of times and means, decided over repetitions and seeds. Fixed before anything was timed or averaged."""
    normalised = "with batch normalisation and ReLUs"
    step, layer, ln_step = "a training step takes", "the hidden layers' activations alone take", "ln seconds of a step"
    stated = [
        ("step time", NORMALISED, f"{step} less time with ELUs than {normalised}", ln_step),
        (
            "layer time",
            NORMALISED,
            f"{layer} less time with ELUs than {normalised}",
            "ln seconds, forward and backward",
        ),
        (
            "five per cent",
            "relu",
            f"{step} at most 5 % longer with ELUs than with ReLUs",
            f"{ln_step}, tested against {FIVE_PER_CENT:.3f}",
        ),
    ]
    median, share = "|median unit mean| at initialisation", "Σ unit mean² / Σ unit second moment at initialisation"
    for rival, words in (("relu", "with ReLUs"), (NORMALISED, normalised)):
        stated += [
            (f"median mean, {rival}", rival, f"the median unit mean is nearer zero with ELUs than {words}", median),
            (
                f"mean share, {rival}",
                rival,
                f"unit means have a smaller share of the second moment with ELUs than {words}",
                share,
            ),
        ]
    return [
        Claim(
            f"{subject}: {ARCHITECTURES[name].identifier}",
            f"{ARCHITECTURES[name].identifier}: {sentence}.",
            f"{NAMES['elu']} − {NAMES[rival]}",
            statistic,
            "less",
            _LEVEL,
        )
        for name in networks
        for subject, rival, sentence, statistic in stated
    ]


def decisions(table: Any) -> list[Decision]:
    """The verdicts of `claims`, and those of `counted_decisions`."""
    networks = table["network"].unique().tolist()
    values: dict[str, Any] = {}
    for name in networks:
        rows = table[table["network"] == name]
        steps, layers = (np.log(seconds) for seconds in (step_seconds_of(rows), layer_seconds_of(rows)))
        means = {quantity: pivoted(rows, quantity).abs() for quantity in ("unit_mean_median", "mean_share")}
        found = {
            "step time": steps["elu"] - steps[NORMALISED],
            "layer time": layers["elu"] - layers[NORMALISED],
            "five per cent": steps["elu"] - steps["relu"] - FIVE_PER_CENT,
        }
        for rival in ("relu", NORMALISED):
            found[f"median mean, {rival}"] = means["unit_mean_median"]["elu"] - means["unit_mean_median"][rival]
            found[f"mean share, {rival}"] = means["mean_share"]["elu"] - means["mean_share"][rival]
        values |= {f"{subject}: {ARCHITECTURES[name].identifier}": found[subject].to_numpy() for subject in found}
    decided = [
        replace(one, effect=one.effect + FIVE_PER_CENT, low=one.low + FIVE_PER_CENT, high=one.high + FIVE_PER_CENT)
        if one.claim.identifier.startswith("five per cent")
        else one
        for one in decide(claims(networks), values)
    ]
    return decided + [one for name in networks for one in counted_decisions(table[table["network"] == name])]


def counted_decisions(rows: Any) -> list[Decision]:
    """Of one network's training step, with ELUs and with batch normalisation and ReLUs: counts, not samples.

    "holds" where ELU's is the smaller, "does not hold" otherwise; n = 1, and there is no p. The formulas, and so the
    outcome, were known when these were stated.
    """
    identifier = ARCHITECTURES[rows["network"].iloc[0]].identifier
    arithmetic, exponentials, moved = (_of_step(rows, name) for name in ("operations", "exponentials", "bytes"))
    compared = {
        f"operations, exp {cost}": (arithmetic + cost * exponentials, f"operations, an exponential counted as {cost}")
        for cost in EXPONENTIAL_COSTS
    }
    compared["bytes"] = (moved, "bytes that unfused kernels read and write")
    compared["kept bytes"] = (_single(rows, "kept_bytes"), "bytes that forward keeps for backward")
    decided = []
    for subject, (found, described) in compared.items():
        effect = log(found["elu"] / found[NORMALISED])
        claim = Claim(
            f"{subject}: {identifier}",
            f"{identifier}: a training step has fewer {described}, with ELUs than with batch normalisation and ReLUs.",
            f"{NAMES['elu']} − {NAMES[NORMALISED]}",
            "ln of the count, exact",
            "less",
            _LEVEL,
        )
        verdict = "holds" if effect < 0 else "does not hold"
        decided.append(Decision(claim, 1, effect, effect, effect, nan, nan, verdict))
    return decided


def break_even(rows: Any) -> float:
    """Operations that an exponential may count for ELU's step to have as many as that of normalised ReLUs."""
    arithmetic, exponentials = _of_step(rows, "operations"), _of_step(rows, "exponentials")
    return (arithmetic[NORMALISED] - arithmetic["elu"]) / (exponentials["elu"] - exponentials[NORMALISED])


def pivoted(rows: Any, quantity: str, parts: Sequence[str] = (), *, layer: int | None = 0) -> Any:
    """Sums over the parts, seeds down, variants across; `layer` None: of all hidden layers together."""
    found = rows[(rows["quantity"] == quantity) & (rows["part"].isin(parts) if parts else True)]
    found = found[found["layer"] == layer] if layer is not None else found[found["layer"] > 0]
    found = found.assign(value=found["value"] * found["layers"])
    return found.groupby(["seed", "variant"], dropna=False)["value"].sum().unstack()


def step_seconds_of(rows: Any) -> Any:
    """Of whole training steps, repetitions down, variants across."""
    return pivoted(rows, "seconds", STEP)


def layer_seconds_of(rows: Any) -> Any:
    """Forward and backward of all hidden layers' normalisations and activations alone, likewise."""
    return pivoted(rows, "seconds", STEP, layer=None)


def _of_step(rows: Any, quantity: str) -> Any:
    return pivoted(rows, quantity, STEP).iloc[0]


def _single(rows: Any, quantity: str) -> Any:
    return pivoted(rows, quantity).iloc[0]


def ratios(rows: Any) -> pandas.DataFrame:
    """Ratios to ReLU, each with low and high: by `what`, variant and scope (step: whole network; layers: hidden alone).

    Times: Hodges–Lehmann of ln over the repetitions, interval of 95 %; counts are exact.
    """
    found = []
    for scope, layer in (("step", 0), ("layers", None)):
        measured = {
            **{f"time, {part}": pivoted(rows, "seconds", [part], layer=layer) for part in ("forward", "backward")},
            "time, training": pivoted(rows, "seconds", STEP, layer=layer),
            "time, evaluation": pivoted(rows, "seconds", ["evaluation"], layer=layer),
        }
        arithmetic, exponentials, moved = (
            pivoted(rows, name, STEP, layer=layer) for name in ("operations", "exponentials", "bytes")
        )
        counted = {f"operations, exp {cost}": arithmetic + cost * exponentials for cost in EXPONENTIAL_COSTS}
        counted["bytes moved"] = moved
        if scope == "step":
            counted["bytes kept"] = pivoted(rows, "kept_bytes")
            counted["parameters, state"] = pivoted(rows, "parameters") + pivoted(rows, "buffers")
        for what, values in {**counted, **measured}.items():
            for variant in values.columns:
                middle, low, high = hodges_lehmann(np.log(values[variant] / values["relu"]), 0.05)
                low, high = (middle, middle) if what in counted else (low, high)
                found.append((scope, what, variant, *np.exp([middle, low, high])))
    return pandas.DataFrame(found, columns=["scope", "what", "variant", "ratio", "low", "high"])


def summary(table: Any) -> str:
    """Ratios, times, counts two ways, mean activations, what batch normalisation asks of a batch, and the verdicts."""
    lines = [setting_of(table)]
    for name, rows in table.groupby("network", sort=False):
        lines += ["", *_network_summary(str(name), rows)]
    return "\n".join([*lines, "", *map(_in_words, decisions(table))])


def _in_words(decision: Decision) -> str:
    """Of a count, which is no sample, without interval and p."""
    if not isnan(decision.p):
        return str(decision)
    claim = decision.claim
    return f"{decision.verdict}: {claim.sentence} {claim.compared}, {claim.statistic}: {decision.effect:+.3g}"


def _network_summary(name: str, rows: Any) -> list[str]:
    found = ratios(rows).pivot(index=["scope", "what"], columns="variant", values="ratio")[list(VARIANTS)]
    seconds = 1000 * step_seconds_of(rows).median()[list(VARIANTS)]
    means = {quantity: pivoted(rows, quantity).mean() for quantity in ("unit_mean_median", "mean_share")}
    means["predicted_mean"] = pivoted(rows, "predicted_mean").iloc[0]
    depends = {part: pivoted(rows, "batch_dependence", [part]).iloc[0] for part in ("forward", "evaluation")}
    counted = {
        f"{quantity}, {part}": pivoted(rows, quantity, [part]).iloc[0]
        for quantity in ("operations", "torch_operations", "bytes", "torch_bytes")
        for part in ("forward", "backward")
    }
    held = {quantity: pivoted(rows, quantity).iloc[0] for quantity in ("parameters", "buffers", "kept_bytes")}
    return [
        f"{name} ({ARCHITECTURES[name].identifier}), batches of {rows['batch_size'].iloc[0]}",
        f"milliseconds a step, median: {', '.join(f'{NAMES[one]} {value:.4g}' for one, value in seconds.items())}",
        "ratios to ReLU (step: the whole network; layers: normalisations and activations of the hidden layers alone)",
        found.to_string(float_format="%.4f"),
        f"an exponential may count {break_even(rows):.3g} operations for ELU to have as few as batch norm and ReLU",
        "counts by formulas and by torch, which counts products' operations only and each operand once a kernel",
        pandas.DataFrame({**counted, **held}).T[list(VARIANTS)].to_string(float_format="%.6g"),
        "mean activations at initialisation, means over seeds; predicted with batch normalisation",
        pandas.DataFrame(means).T[list(VARIANTS)].to_string(float_format="%.4f"),
        "relative change of an example's outputs with other examples beside it: in training mode, in evaluation",
        pandas.DataFrame(depends).T[list(VARIANTS)].to_string(float_format="%.2g"),
        *_refusals(rows),
    ]


def _refusals(rows: Any) -> list[str]:
    """Which variants take no step on one example, and which hidden layers refuse it."""
    lines = []
    for variant, found in rows[rows["quantity"] == "one_example"].groupby("variant", sort=False):
        layers = found[found["layer"] > 0]
        refusing = int(layers.loc[layers["value"] == 0, "layers"].sum())
        reason = found.loc[found["layer"] == 0, "reason"].iloc[0]
        told = f'refused ("{reason}")' if isinstance(reason, str) and reason else "taken"
        total = layers["layers"].sum()
        lines.append(
            f"a step on one example, {NAMES[str(variant)]}: {told}; {refusing} of {total} hidden layers refuse it"
        )
    return lines
