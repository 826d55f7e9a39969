"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from typing import Any

import numpy as np
import pandas

from analyses.experiments.bias_shift_term.exponents import SMALL, TOLERANCE, across_layers
from analyses.experiments.bias_shift_term.settings import PART_NAMES, setting_of
from analyses.experiments.bias_shift_term.translated_units import PARTS
from analyses.framework.claims import Claim, Decision, decide
from elutheory.output.figures import label_of

_LEVEL = 0.05
_LEAST_LENGTH, _LEAST_COSINE, _SMALL_TOLERANCE = 0.1, 0.9, 0.01
ROUNDING = 1e-8
"""The term counts as none at a smaller share of the unit natural gradient: `deviation_bound` of F_0 (condition 1)."""
_WHERE = "mean over hidden layers above the first, before and after training"


def claims(activations: tuple[str, ...]) -> list[Claim]:
    """Of networks with these activations; fixed before measuring. Undamped; one number per seed."""

    def claim(identifier: str, sentence: str, compared: str, statistic: str, alternative: Any = "greater") -> Claim:
        return Claim(identifier, sentence, compared, statistic, alternative, _LEVEL)

    length = "length of the bias-shift term over the unit natural gradient's, metric F, median over units"
    differs = [
        claim(
            f"differs: {name}",
            f"{label_of(name)}: the unit natural gradient differs from the block-diagonal gradient by more than "
            f"{_LEAST_LENGTH:.0%} of its length.",
            f"{label_of(name)} − {_LEAST_LENGTH:g}",
            f"{length}; {_WHERE}",
        )
        for name in activations
    ]
    exact = [
        claim(
            "zero mean",
            "With zero mean the term vanishes, to rounding.",
            f"all activations − {ROUNDING:g}",
            "log10 of the term's length over the unit natural gradient's, t = 0, largest of all units",
            "less",
        ),
        claim(
            "identity",
            "The term is that of Theorems 1 and 2, to rounding.",
            "direct solve − closed form",
            "log10 of the largest deviation over what the condition number allows, of all units and t",
            "less",
        ),
    ]
    only = [
        claim(
            "only",
            "Without the term (zero mean) the gradient points along the unit natural gradient.",
            f"the activation with the smallest − {_LEAST_COSINE:g}",
            f"cosine of the two at t = 0, median over units; {_WHERE}",
        ),
        claim(
            "closer",
            "Zero mean brings the gradient closer to the unit natural gradient.",
            "t = 0 − t = 1, of the activation with the smallest difference",
            f"cosine of the two, median over units; {_WHERE}",
        ),
    ]
    slogan = [claim("elu below relu", "The term is smaller for ELU.", "ELU − ReLU", f"{length}; {_WHERE}", "less")]
    small = [
        claim(
            f"small: {part}",
            f"For small means the term is proportional to the mean: {PART_NAMES[part]}.",
            f"{_SMALL_TOLERANCE:g} − the largest of all activations",
            f"|exponent − 1| at {SMALL:g} of the mean, of the median over units; largest of the layers above the "
            "first, before and after training",
        )
        for part in PARTS
    ]
    share = f"share of units with exponent within 1 ± {TOLERANCE:g} at the mean as it is"
    as_it_is = [
        claim(
            f"as it is: shift: {name}",
            f"{label_of(name)}: at the mean as it is the term is proportional to it for most units: "
            f"{PART_NAMES['shift']}.",
            f"{label_of(name)} − 0.5",
            f"{share}; {_WHERE}",
        )
        for name in activations
    ]
    as_it_is += [
        claim(
            f"as it is: {part}",
            f"At the mean as it is the term is proportional to it for most units: {PART_NAMES[part]}.",
            "the activation with the smallest − 0.5",
            f"{share}; {_WHERE}",
        )
        for part in PARTS[1:]
    ]
    return differs + exact + only + slogan * ({"elu", "relu"} <= set(activations)) + small + as_it_is


def run_statistics(table: Any) -> Any:
    """One row per activation and seed with the numbers that the claims compare, undamped; NaN where a run diverged.

    `length`, `cosine` and the shares `near_PART` at t = 1 and `centred_cosine` at t = 0: means over layers, before and
    after training; `largest_length` at t = 0, `deviation` at all t and `off_PART` = |exponent − 1| at SMALL: largest.
    """
    keys = ["activation", "seed"]
    exact = table[table["damping"] == 0]

    def over(rows: Any, statistic: str) -> Any:
        return rows.groupby(keys, sort=False).agg(lambda values: getattr(values, statistic)(skipna=False))

    def at(t: float, columns: list[str]) -> Any:
        return exact.loc[exact["t"] == t, keys + columns]

    off = [f"exponent_{part}" for part in PARTS]
    small = at(SMALL, off)
    small[off] = (small[off] - 1).abs()
    columns = [
        over(at(1.0, ["length", "cosine", *[f"near_{part}" for part in PARTS]]), "mean"),
        over(at(0.0, ["cosine"]), "mean").rename(columns={"cosine": "centred_cosine"}),
        over(at(0.0, ["largest_length"]), "max"),
        over(exact[[*keys, "deviation"]], "max"),
        over(small, "max").rename(columns={f"exponent_{part}": f"off_{part}" for part in PARTS}),
    ]
    return pandas.concat(columns, axis=1).reset_index()


def decisions(table: Any) -> list[Decision]:
    """The verdicts of `claims` on the table's activations. A run that diverged or has a dead layer counts as worst."""
    stated = claims(tuple(table["activation"].unique()))
    differences = _differences(run_statistics(table), stated)
    worst = {claim.identifier: np.inf if claim.alternative == "less" else -np.inf for claim in stated}
    return decide(stated, {name: found.fillna(worst[name]).to_numpy() for name, found in differences.items()})


def _differences(runs: Any, stated: list[Claim]) -> dict[str, Any]:
    """By claim, one number per seed."""

    def by_seed(column: str) -> Any:
        return runs.pivot(index="seed", columns="activation", values=column)

    def of_all(values: Any, statistic: str) -> Any:
        return getattr(values, statistic)(axis=1, skipna=False)

    length, centred = by_seed("length"), by_seed("centred_cosine")
    with np.errstate(divide="ignore"):
        found = {
            "zero mean": np.log10(of_all(by_seed("largest_length"), "max") / ROUNDING),
            "identity": np.log10(of_all(by_seed("deviation"), "max")),
        }
    found["only"] = of_all(centred, "min") - _LEAST_COSINE
    found["closer"] = of_all(centred - by_seed("cosine"), "min")
    for name in length:
        found[f"differs: {name}"] = length[name] - _LEAST_LENGTH
        found[f"as it is: shift: {name}"] = by_seed("near_shift")[name] - 0.5
    for part in PARTS:
        found[f"small: {part}"] = _SMALL_TOLERANCE - of_all(by_seed(f"off_{part}"), "max")
        found[f"as it is: {part}"] = of_all(by_seed(f"near_{part}"), "min") - 0.5
    if {"elu", "relu"} <= set(length):
        found["elu below relu"] = length["elu"] - length["relu"]
    return {claim.identifier: found[claim.identifier] for claim in stated}


def summary(table: Any) -> str:
    """Sizes, exponents and shares by activation, how the term goes with the mean across layers, and the verdicts."""
    at_small, as_it_is = (table[table["t"] == t] for t in (SMALL, 1.0))
    keys = ["damping", "activation"]
    sizes = as_it_is.groupby(keys, sort=False)[["mean_activation", "mean_share", "strength", "length", "shift"]].mean()
    centred = table[table["t"] == 0].groupby(keys, sort=False)["cosine"].mean()
    cosines = pandas.DataFrame({"cosine": as_it_is.groupby(keys, sort=False)["cosine"].mean(), "centred": centred})
    columns = [f"exponent_{part}" for part in PARTS]
    exponents = [rows.groupby(keys, sort=False)[columns].mean() for rows in (at_small, as_it_is)]
    shares = as_it_is.groupby(keys, sort=False)[[f"near_{part}" for part in PARTS]].mean()
    correlation, slope = across_layers(table)
    diverged = table[table["length"].isna()].groupby("activation")["seed"].nunique()
    return "\n".join(
        [
            setting_of(table),
            "the parts of the term: " + "; ".join(f"{part}: {PART_NAMES[part]}" for part in PARTS),
            "",
            f"{_WHERE}, of medians over units, then over seeds; at the mean as it is (t = 1), centred: t = 0",
            sizes.join(cosines).to_string(float_format="%.3g"),
            "",
            f"exponent d ln|term|/d ln t at t = {SMALL:g}",
            exponents[0].to_string(float_format="%.3f"),
            "",
            "exponent at t = 1",
            exponents[1].to_string(float_format="%.3f"),
            "",
            f"share of units with exponent within 1 ± {TOLERANCE:g} at t = 1",
            shares.to_string(float_format="%.3f"),
            "",
            "Across activations, layers, before and after training, size of the term against |E_q[a]|, undamped: rank "
            f"correlation {_between(correlation)}, log-log slope {_between(slope)} (1 would be proportional).",
            "",
            *[
                f"{count} networks of {label_of(str(name))} diverged or had a dead layer"
                for name, count in diverged.items()
            ],
            *[str(decision) for decision in decisions(table)],
        ]
    )


def _between(values: Any) -> str:
    return f"{values.mean():.2f} ({values.min():.2f} to {values.max():.2f} over seeds)"
