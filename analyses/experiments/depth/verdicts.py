"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from typing import Any

import numpy as np
import pandas

from analyses.experiments.depth.settings import RIVALS, SHALLOW, of_use, setting_of
from analyses.framework.claims import Claim, Decision, decide, paired_differences
from elutheory.output.figures import label_of

_LEVEL = 0.05


def claims(depths: tuple[int, ...]) -> list[Claim]:
    """Per rival: that the gap opens, where `depths` have both sides of SHALLOW, and one claim per depth.

    All were fixed before measuring.
    """
    both_sides = min(depths) <= SHALLOW < max(depths)
    opening = [
        Claim(
            f"opening: {rival}",
            f"ELU's lead over {label_of(rival)} opens with depth.",
            f"{label_of(rival)} − ELU",
            f"test error in %, mean over depths above {SHALLOW} minus mean over depths up to {SHALLOW}",
            "greater",
            _LEVEL,
        )
        for rival in RIVALS
        if both_sides
    ]
    leads = [
        Claim(
            f"{depth}: {rival}",
            f"With {depth} hidden layers ELU's test error is lower than {label_of(rival)}'s.",
            f"{label_of(rival)} − ELU",
            "test error in %",
            "greater",
            _LEVEL,
        )
        for rival in RIVALS
        for depth in depths
    ]
    return opening + leads


def gaps(table: Any, rival: str) -> Any:
    """Test error of `rival` minus ELU's in %, one row per seed, one column per depth.

    ±inf where one of the two diverged, 0 where both did.
    """
    compared = of_use(table, "comparison").copy()
    compared["percent"] = 100 * compared["test_error"].where(compared["diverged"].isna(), np.inf)
    return pandas.DataFrame(
        {
            depth: paired_differences(networks, "percent", rival, "elu")
            for depth, networks in compared.groupby("depth", sort=True)
        }
    )


def opening(gap: Any) -> Any:
    """The mean gap above SHALLOW hidden layers minus that up to SHALLOW, one per seed; 0 for inf − inf."""
    deep = gap.columns > SHALLOW
    with np.errstate(invalid="ignore"):
        return (gap.loc[:, deep].mean(axis=1) - gap.loc[:, ~deep].mean(axis=1)).fillna(0.0)


def decisions(table: Any) -> list[Decision]:
    """The verdicts of the claims, but of those about activations that were not run."""
    there = set(table["activation"])
    differences: dict[str, Any] = {}
    for rival in RIVALS:
        if {"elu", rival} <= there:
            gap = gaps(table, rival)
            differences[f"opening: {rival}"] = opening(gap)
            differences |= {f"{depth}: {rival}": gap[depth] for depth in gap}
    depths = tuple(sorted(table["depth"].unique().tolist()))
    about = [claim for claim in claims(depths) if claim.identifier in differences]
    return decide(about, differences) if about else []


def summary(table: Any) -> str:
    """Chosen learning rates, test errors, networks that diverged, and the verdicts."""
    compared = of_use(table, "comparison")
    networks = compared.groupby(["depth", "activation"], sort=False)
    found = networks.agg(
        learning_rate=("learning_rate", "first"),
        training_loss=("training_loss", "mean"),
        test_error=("test_error", "mean"),
        deviation=("test_error", "std"),
        diverged=("diverged", "count"),
    )
    edge = [f"{label_of(name)} with {depth} hidden layers" for (depth, name) in _at_edge(table, found)]
    lines = [
        setting_of(table),
        "",
        "means over the seeds that did not diverge",
        found.to_string(float_format="%.4g"),
        "",
    ]
    lines += [f"the chosen learning rate is at the grid's edge: {', '.join(edge)}"] if edge else []
    lines += [f"{line}; in the tests that counts as worst" for line in diverged_networks(compared)]
    lines += [str(decision) for decision in decisions(table)]
    return "\n".join(lines)


def diverged_networks(compared: Any) -> list[str]:
    """Activation, depth and how many of its networks diverged, where any did."""
    counts = compared.groupby(["activation", "depth"], sort=False)["diverged"].agg(["count", "size"])
    return [
        f"{label_of(name)}, {depth} layers: {lost} of {networks} diverged"
        for (name, depth), lost, networks in counts.itertuples()
        if lost
    ]


def _at_edge(table: Any, found: Any) -> list[Any]:
    grid = of_use(table, "tuning")["learning_rate"]
    return [key for key, rate in found["learning_rate"].items() if rate in (grid.min(), grid.max())]
