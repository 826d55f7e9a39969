"""The claims, fixed before measuring, their verdicts from the table, and the summary in words."""

from typing import Any

import numpy as np
import pandas

from analyses.experiments.autoencoder.settings import BEATEN, CASE, SPLITS, case_in_words, setting_of
from analyses.framework.claims import Claim, Decision, decide, paired_differences, without_learning
from elutheory.output.figures import label_of

_LEVEL = 0.05


def claims(cases: list[tuple[Any, ...]]) -> list[Claim]:
    """One claim per split and case, test errors first; fixed before measuring.

    With few networks of each kind it is the t test that can decide.
    """
    return [
        Claim(
            f"{split}: {case_in_words(*case)}",
            f"ELU's {split} error is the lowest with {case_in_words(*case)}.",
            "ELU − the lowest of the others",
            "ln of the mean squared error per pixel after the last epoch",
            "less",
            _LEVEL,
            test="t",
        )
        for split in reversed(SPLITS)
        for case in cases
    ]


def final_errors(table: Any) -> Any:
    """One row per network: errors after the last epoch, the mean image's for one that diverged.

    `state`: "learned" where the test error is below BEATEN of the mean image's, "diverged", or "not trained".
    """
    last = table[table["epoch"] == table["epoch"].max()].copy()
    diverged = last["diverged"].notna()
    for split in SPLITS:
        last[f"{split}_error"] = last[f"{split}_error"].where(~diverged, last[f"mean_image_{split}"])
    learned = last["test_error"] < BEATEN * last["mean_image_test"]
    return last.assign(state=np.select([diverged, learned], ["diverged", "learned"], "not trained"))


def states(table: Any) -> Any:
    """One row per case and activation: how many networks learned, diverged, or did neither."""
    final = final_errors(table)
    counted = final.groupby([*CASE, "activation"], sort=False)["state"].value_counts().unstack(fill_value=0)
    return counted.reindex(columns=["learned", "diverged", "not trained"], fill_value=0)


def decisions(table: Any) -> list[Decision]:
    """The verdicts of the claims; none where ELU or all others were not run.

    A case says "not trained" where most networks of ELU, or of each of the others, neither learned nor diverged.
    """
    final = final_errors(table)
    ours = final["activation"] == "elu"
    if ours.all() or not ours.any():
        return []
    errors = [f"{split}_error" for split in SPLITS]
    others = final[~ours].groupby([*CASE, "seed"])[errors].min().reset_index().assign(activation="others")
    both = pandas.concat([final[ours], others], ignore_index=True)
    both[errors] = np.log(both[errors])
    cases = list(final[CASE].drop_duplicates().itertuples(index=False, name=None))
    differences = {}
    for case in cases:
        chosen = both[(both[CASE] == list(case)).all(axis=1)]
        for split in SPLITS:
            identifier = f"{split}: {case_in_words(*case)}"
            differences[identifier] = paired_differences(chosen, f"{split}_error", "elu", "others")
    void = {case_in_words(*case) for case in cases if _untrained(states(table).loc[case])}
    return [
        without_learning(one) if one.claim.identifier.partition(": ")[2] in void else one
        for one in decide(claims(cases), differences)
    ]


def _untrained(counted: Any) -> bool:
    """`counted`: the states of a case, a row an activation."""
    lazy = counted["not trained"] > counted.sum(axis=1) / 2
    return bool(lazy["elu"] or lazy.drop("elu").all())


def finding(table: Any) -> str:
    """What the record says, in a sentence or two."""
    found = [one for one in decisions(table) if one.claim.identifier.startswith("test: ")]
    counts = {verdict: sum(one.verdict == verdict for one in found) for verdict in ("holds", "does not hold")}
    lazy = sum(one.verdict == "not trained" for one in found)
    counted = states(table)
    lost = counted.groupby("activation", sort=False)["diverged"].sum() if len(counted) else {}
    words = [
        f"ELU's test error is the lowest in {counts['holds']} of {len(found)} cases, not so in "
        f"{counts['does not hold']}" + (f"; {lazy} have networks that have not learned" if lazy else "")
    ]
    words += [f"{count} networks of {label_of(str(name))} diverged" for name, count in lost.items() if count]
    return "; ".join(words) + "."


def summary(table: Any) -> str:
    """Mean errors before training and after the last epoch beside the mean image's, and the verdicts."""
    row = table.iloc[0]
    lines = [
        setting_of(table),
        f"mean image: {row['mean_image_training']:.4g} (training), {row['mean_image_test']:.4g} (test)",
        "",
        "mean squared error per pixel, mean over seeds; networks that learned (below half of the mean image's), …",
    ]
    keys = [*CASE, "activation"]
    epochs = {"before": table[table["epoch"] == 0], "after": table[table["epoch"] == table["epoch"].max()]}
    means = {
        f"{split} {when}": rows.groupby(keys, sort=False)[f"{split}_error"].mean(skipna=False)
        for split in SPLITS
        for when, rows in epochs.items()
    }
    found = pandas.DataFrame(means).join(states(table))
    lines += [found.to_string(float_format="%.4g", na_rep="diverged"), "", finding(table)]
    return "\n".join([*lines, *map(str, decisions(table))])
