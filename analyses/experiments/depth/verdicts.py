"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from typing import Any

import numpy as np
import pandas

from analyses.experiments.depth.settings import DEEP, RIVALS, SHALLOW, of_use, setting_of
from analyses.framework.claims import Claim, Decision, decide, hodges_lehmann, paired_differences, without_learning
from analyses.networks.classifiers import BEATEN
from elutheory.output.figures import label_of, number

LEVEL = 0.05
_POOLED = {
    f"above {DEEP}": (lambda depth: depth > DEEP, f"above {DEEP} hidden layers"),
    f"above {SHALLOW}": (lambda depth: depth > SHALLOW, f"above {SHALLOW} hidden layers"),
    "all": (lambda depth: depth > 0, "at all depths"),
}
"""Over which depths a lead is averaged."""
OPENING = "opening"


def claims(depths: tuple[int, ...]) -> list[Claim]:
    """Per rival: the pooled leads of which `depths` has some, and that the lead opens, where they have both sides.

    All were fixed before measuring; `above 5` is what the last version of the abstract says.
    """
    found = [
        Claim(
            f"{name}: {rival}",
            f"ELU's test error is lower than {label_of(rival)}'s {words}.",
            f"{label_of(rival)} − ELU",
            "test error in %, mean over these depths",
            "greater",
            LEVEL,
        )
        for name, (chosen, words) in _POOLED.items()
        for rival in RIVALS
        if any(map(chosen, depths))
    ]
    both_sides = min(depths) <= SHALLOW < max(depths)
    return found + [
        Claim(
            f"{OPENING}: {rival}",
            f"ELU's lead over {label_of(rival)} opens with depth.",
            f"{label_of(rival)} − ELU",
            f"test error in %, mean over depths above {SHALLOW} minus mean over depths up to {SHALLOW}",
            "greater",
            LEVEL,
        )
        for rival in RIVALS
        if both_sides
    ]


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


def pooled(gap: Any, name: str) -> Any:
    """The mean gap over the depths of a claim, or how it opens, one per seed; 0 for inf − inf."""
    with np.errstate(invalid="ignore"):
        if name == OPENING:
            deep = gap.columns > SHALLOW
            return (gap.loc[:, deep].mean(axis=1) - gap.loc[:, ~deep].mean(axis=1)).fillna(0.0)
        return gap.loc[:, [_POOLED[name][0](depth) for depth in gap]].mean(axis=1).fillna(0.0)


def decisions(table: Any) -> list[Decision]:
    """The verdicts of the claims, but of those about activations that were not run."""
    there = set(table["activation"])
    of_rival = {rival: gaps(table, rival) for rival in RIVALS if {"elu", rival} <= there}
    depths = tuple(sorted(table["depth"].unique().tolist()))
    about = [claim for claim in claims(depths) if _rival(claim) in of_rival]
    if not about:
        return []
    differences = {
        claim.identifier: pooled(of_rival[_rival(claim)], claim.identifier.partition(":")[0]) for claim in about
    }
    lazy = untrained(table)
    found = []
    for one in decide(about, differences):
        names = {"elu", _rival(one.claim)}
        chosen = _POOLED.get(one.claim.identifier.partition(":")[0], (lambda _: True, ""))[0]
        void = any(name in names and chosen(depth) for name, depth in lazy)
        found.append(without_learning(one) if void else one)
    return found


def _rival(claim: Claim) -> str:
    return claim.identifier.partition(": ")[2]


def untrained(table: Any) -> list[tuple[str, int]]:
    """Activation and depth of which most compared networks neither diverged nor beat a constant output."""
    compared = of_use(table, "comparison")
    if "chance_loss" not in compared:
        return []
    failed = compared["diverged"].isna() & ~(compared["training_loss"] < BEATEN * compared["chance_loss"])
    shares = failed.groupby([compared["activation"], compared["depth"]]).mean()
    return [(str(name), int(depth)) for (name, depth), share in shares.items() if share > 0.5]


def finding(table: Any) -> str:
    """What the record says, in a sentence."""
    named = f"above {DEEP}"
    parts = []
    for one in decisions(table):
        name, _, rival = one.claim.identifier.partition(": ")
        if name == named and one.verdict == "not trained":
            parts.append(f"not trained against {label_of(rival)}")
        elif name == named:
            lead, low, high = (number(value, "+.2f") for value in (one.effect, one.low, one.high))
            parts.append(f"{lead} points [{low}, {high}] over {label_of(rival)}")
    return f"ELU's mean lead in test error {named} hidden layers: {', '.join(parts)}." if parts else ""


def summary(table: Any) -> str:
    """Chosen learning rates, test errors, leads by depth, networks that diverged or did not learn, and the verdicts."""
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
        *_leads(table),
        f"the chosen learning rate is at the grid's edge: {', '.join(edge) or 'nowhere'}",
    ]
    lines += [f"{line}; in the tests that counts as worst" for line in diverged_networks(compared)]
    lines += [f"{label_of(name)}, {depth} layers: not trained" for name, depth in untrained(table)]
    return "\n".join([*lines, finding(table), *map(str, decisions(table))])


def _leads(table: Any) -> list[str]:
    """Lead by depth, with an interval for each alone; none of these is a test."""
    lines = []
    for rival in RIVALS:
        if {"elu", rival} <= set(table["activation"]):
            gap = gaps(table, rival)
            each = {depth: hodges_lehmann(gap[depth], LEVEL) for depth in gap}
            said = (f"{depth}: {lead:+.2f} [{low:+.2f}, {high:+.2f}]" for depth, (lead, low, high) in each.items())
            lines.append(f"lead over {label_of(rival)} in points by hidden layers, each by itself: {'; '.join(said)}")
    return lines


def diverged_networks(compared: Any) -> list[str]:
    """Activation, depth and how many of its networks diverged, where any did."""
    counts = compared.groupby(["activation", "depth"], sort=False)["diverged"].agg(["count", "size"])
    return [
        f"{label_of(name)}, {depth} layers: {lost} of {networks} diverged"
        for (name, depth), lost, networks in counts.itertuples()
        if lost
    ]


def _at_edge(table: Any, found: Any) -> list[Any]:
    """(depth, activation) whose rate is the lowest or highest of those that were tried for it."""
    tried = of_use(table, "tuning").groupby(["depth", "activation"])["learning_rate"].agg(["min", "max"])
    return [key for key, rate in found["learning_rate"].items() if rate in tuple(tried.loc[key])]
