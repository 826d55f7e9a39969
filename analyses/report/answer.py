"""The answer to the question why ELUs learn fast, from the records alone: a paragraph in plain words, and a figure.

Every number and every verdict is computed here from the tables; a record that is not there is named with the command
that makes it, and what it would say is left out.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analyses.experiments.causal_claim import verdicts as of_cause
from analyses.experiments.dose_response import verdicts as of_dose
from analyses.experiments.dose_response.figure import draw_shares
from analyses.experiments.initialisation_and_rate import settings as starts
from analyses.experiments.initialisation_and_rate import verdicts as of_start
from analyses.experiments.predicted_speed import verdicts as of_prediction
from analyses.experiments.predicted_speed.figure import draw_predictions
from analyses.framework import records
from analyses.framework.claims import Decision, hodges_lehmann
from analyses.framework.settings import data_in_words
from elutheory.output.figures import label_of, plain_ticks, style

RECORDS = ("initialisation_and_rate", "predicted_speed", "dose_response", "causal_claim")
"""In the order of the paragraph."""
_LEVEL = 0.05
_MISSED = 0.15
"""A prediction that is off by more than this, in the median, counts as failed."""
_CAPTIONS = {
    "predicted_speed": "Each point is a setting and a training loss: on the line, the tangent kernel at initialisation "
    "predicts the updates to it, with nothing fitted.",
    "dose_response": "Only the mean of what the layers receive is moved, the network's function stays the same, and "
    "each "
    "point has its own best learning rate; ringed: the networks as they are; bars: 95 % intervals.",
}
"""What a panel of the figure shows, by its record, in the order of the panels."""


@dataclass(frozen=True)
class Point:
    """A question that a reader asks first, and what the records answer."""

    question: str
    words: str


@dataclass(frozen=True)
class Answer:
    """`short`: the answer, question by question; `sentences`: all that the records say, in order.

    `missing`: the records that are not there; `tables` by the name of the record.
    """

    short: tuple[Point, ...]
    sentences: tuple[str, ...]
    missing: tuple[str, ...]
    tables: dict[str, Any]

    @property
    def text(self) -> str:
        """The whole paragraph, and what is not measured."""
        return " ".join([*self.sentences, *self.unmeasured])

    @property
    def short_text(self) -> str:
        """The points of the short answer as text, and what is not measured."""
        return " ".join([*(f"{point.question} {point.words}" for point in self.short), *self.unmeasured])

    @property
    def caption(self) -> str:
        """What the panels of the figure show, in words; empty where there is none."""
        letters = iter(["(a)", "(b)"]) if len(self._drawn) > 1 else iter([""])
        return " ".join(f"{next(letters)} {_CAPTIONS[name]}".strip() for name in self._drawn)

    @property
    def unmeasured(self) -> list[str]:
        """A sentence for each record that is not there."""
        return [f"Not measured: {name} (python -m analyses {name})." for name in self.missing]

    @property
    def has_figure(self) -> bool:
        """Whether one of its records at least is there."""
        return bool(self._drawn)

    @property
    def _drawn(self) -> list[str]:
        return [name for name in _CAPTIONS if name in self.tables]


def answer(figures: Path) -> Answer:
    """From the records in the folders of `figures`. Raises InputError for a corrupt one."""
    tables = {
        name: records.load(figures / name, analysis=name)
        for name in RECORDS
        if (figures / name / "records.csv").exists()
    }
    said = {
        "initialisation_and_rate": _how_much,
        "predicted_speed": _how_well_predicted,
        "dose_response": _what_the_mean_does,
        "causal_claim": _what_the_natural_gradient_does,
    }
    in_short = {
        "initialisation_and_rate": _how_much_in_short,
        "dose_response": _the_mean_in_short,
        "causal_claim": _the_natural_gradient_in_short,
        "predicted_speed": _prediction_in_short,
    }
    sentences = [sentence for name in RECORDS if name in tables for sentence in said[name](tables[name])]
    sentences += _what_is_not_predicted(tables)
    short = [sentence for name, say in in_short.items() if name in tables for sentence in say(tables[name])]
    return Answer(tuple(short), tuple(sentences), tuple(name for name in RECORDS if name not in tables), tables)


# --- in short -------------------------------------------------------------------------------------------------------


def _how_much_in_short(table: Any) -> list[Point]:
    """Does it learn faster, by how much, from where to where, how sure."""
    leads, row = of_start.leads(table), table.iloc[0]
    if "paper" not in leads or "he tuned" not in leads:
        return []
    rate = table[table["role"] == "fixed"]["learning_rate"].iloc[0]
    updates = {
        (role, name): np.exp(of_start.outcomes(table, role)[name, "he"].mean())
        for role in ("fixed", "tuned")
        for name in ("elu", "relu")
    }
    agreeing = {name: f"{(leads[name] < 0).sum()} of {len(leads[name])} networks" for name in ("paper", "he tuned")}
    verdict = next(one.verdict for one in of_start.decisions(table) if one.claim.identifier == "he tuned")
    yes_or_no = {"holds": "Yes.", "does not hold": "No."}.get(verdict, "That is not decided.")
    return [
        Point(
            "Do ELU networks learn faster?",
            f"{yes_or_no} On {_data(row)}, initialised as in the paper and each at the learning rate that is best for "
            f"it, they get from chance to a training loss of {starts.DECIDING:g} nats in "
            f"{updates['tuned', 'elu']:,.0f} updates, ReLU networks in "
            f"{updates['tuned', 'relu']:,.0f}: {_percentage(np.exp(hodges_lehmann(leads['he tuned'], _LEVEL)))} of "
            "the updates, "
            f"fewer in {agreeing['he tuned']}.",
        ),
        Point(
            "And at the paper's learning rate?",
            f"At {rate:g} they need {updates['fixed', 'elu']:,.0f} updates, ReLU networks "
            f"{updates['fixed', 'relu']:,.0f}: {_percentage(np.exp(hodges_lehmann(leads['paper'], _LEVEL)))}, fewer in "
            f"{agreeing['paper']}.",
        ),
    ]


def _the_mean_in_short(table: Any) -> list[Point]:
    """Why: what of it is the mean's, and by what it acts."""
    closed, decided = of_dose.share_closed(table), of_dose.decisions(table)
    found = []
    if closed is not None:
        words = (
            "Taking the mean activation off what a ReLU network's layers receive, its function unchanged, closes "
            f"{_percentage(closed)} of its gap behind ELU"
        )
        with_mean = [one for one in decided if one.claim.identifier == "lead without small mean"]
        if with_mean:
            ends = np.exp([with_mean[0].effect, with_mean[0].low, with_mean[0].high])
            words += f"; ELU with its own mean doubled needs {_percentage(ends)} of ReLU's updates"
        found.append(Point("Why?", f"{words}."))
    rate = table[table["role"] == "fixed"]["learning_rate"].iloc[0]
    fixed, tuned = _largest(table, "fixed"), _largest(table, "tuned")
    beginning = "It allows larger steps: at" if fixed < tuned / 2 else "At"
    found.append(
        Point(
            "How does a small mean act?",
            f"{beginning} the one rate {rate:g} moving the mean changes the updates by at most {100 * fixed:.0f} %, at "
            f"tuned rates by up to {100 * tuned:.0f} %.",
        )
    )
    return found


def _the_natural_gradient_in_short(table: Any) -> list[Point]:
    """Not why: the paper's reason."""
    decided = of_cause.decisions(table)
    verdict = next(one.verdict for one in decided if one.claim is of_cause.DECISIVE[1])
    means = of_cause.mean_outcomes(table)
    term, natural = (
        _change(hodges_lehmann((means[method] - means[of_cause.CENTRED]).to_numpy(), _LEVEL)[0]).replace("%", " %")
        for method in (of_cause.TERM, of_cause.NATURAL)
    )
    words = {"holds": "That is borne out", "does not hold": "That is refuted"}.get(verdict, "That is not decided")
    return [
        Point(
            "Is it because the gradient comes closer to the unit natural gradient, as the paper says?",
            f"{words}: adding that gradient's bias-shift term alone takes {term} updates than centring does, the whole "
            f"of it {natural}.",
        )
    ]


def _prediction_in_short(table: Any) -> list[Point]:
    """How much of it theory tells beforehand."""
    rows = of_prediction.compared(table)
    settings = len(rows[list(of_prediction.SETTING)].drop_duplicates())
    widths = np.exp(rows.groupby("width")["ratio"].apply(lambda values: values.abs().median()))
    ends = f"{widths.iloc[-1]:.2f} at width {widths.index[-1]}"
    if len(widths) > 1:
        ends += f" to {widths.iloc[0]:.2f} at width {widths.index[0]}"
    return [
        Point(
            "Can it be told before training?",
            f"From the tangent kernel at initialisation, with nothing fitted: over {settings} settings, at rates up to "
            "the kernel's largest stable one, the rank correlation of predicted and measured updates is "
            f"{of_prediction.rank_correlation(rows):.2f}; they differ by a factor of {ends} (medians).",
        )
    ]


def _data(row: Any) -> str:
    """Data and networks in words."""
    return (
        f"{data_in_words(row['data'])} ({row['examples']:,} examples, {row['layers']} hidden layers of {row['units']})"
    )


def _largest(table: Any, role: str) -> float:
    """The largest share by which the updates of one activation change per dose."""
    return max(abs(float(np.expm1(effect))) for effect in _slopes(table, role).values())


def _slopes(table: Any, role: str) -> dict[str, float]:
    """By activation, the change of ln updates per dose of the mean taken off."""
    outcomes = of_dose.outcomes(table, role)
    return {name: hodges_lehmann(of_dose.slopes(outcomes[name]), _LEVEL)[0] for name in table["activation"].unique()}


# --- at length ------------------------------------------------------------------------------------------------------


def _how_much(table: Any) -> list[str]:
    """How much faster, from where to where, in the paper's setting and where each has its own."""
    leads, row = of_start.leads(table), table.iloc[0]
    if "paper" not in leads:
        return []
    fixed = of_start.outcomes(table, "fixed")
    elu, relu = (np.exp(fixed[name, "he"].mean()) for name in ("elu", "relu"))
    rate = table[table["role"] == "fixed"]["learning_rate"].iloc[0]
    found = [
        f"On {_data(row)}, initialised as the paper does and all at its one learning rate {rate:g}, ELU networks get "
        f"from chance to a training loss of {starts.DECIDING:g} nats in {elu:,.0f} updates, ReLU networks in "
        f"{relu:,.0f}: ELU needs {_share(leads['paper'])} of the updates {_sure(of_start.decisions(table), 'paper')}."
    ]
    if "own" in leads:
        own = of_start.own_initialisations(table)
        found.append(
            f"With a learning rate tuned for each it needs {_share(leads['he tuned'])}, and with the best "
            f"initialisation of each as well (ELU {_words(own['elu'])}, ReLU {_words(own['relu'])}) "
            f"{_share(leads['own'])} {_sure(of_start.decisions(table), 'own')}: so much of the lead is its own and not "
            "that of a step that happens to suit it."
        )
    return found


def _how_well_predicted(table: Any) -> list[str]:
    """Whether the kernel at initialisation says so beforehand."""
    rows = of_prediction.compared(table)
    settings = len(rows[list(of_prediction.SETTING)].drop_duplicates())
    found = [
        "Much of it can be told before training, with nothing fitted, from the tangent kernel at initialisation: over "
        f"{settings} settings of activation, depth, width, initialisation, batch and rate, predicted and measured "
        f"updates have a rank correlation of {of_prediction.rank_correlation(rows):.2f} "
        f"{_sure(of_prediction.decisions(table), 'ranks')}."
    ]
    ratios = of_prediction.elu_to_relu(rows)
    if len(ratios):
        medians = np.exp(ratios[["predicted", "measured"]].median())
        found.append(
            f"ELU's updates are predicted to be {medians['predicted']:.0%} of ReLU's and are {medians['measured']:.0%} "
            "(medians)."
        )
    return found


def _what_the_mean_does(table: Any) -> list[str]:
    """Why: the mean alone, moved."""
    decided, row = of_dose.decisions(table), table.iloc[0]
    changes = [f"{label_of(name)} {100 * np.expm1(effect):+.0f} %" for name, effect in _slopes(table, "tuned").items()]
    rate = table[table["role"] == "fixed"]["learning_rate"].iloc[0]
    largest = _largest(table, "fixed")
    lead = [one for one in decided if one.claim.identifier == "gap"]
    found = []
    if lead:
        tuned = of_dose.outcomes(table, "tuned")
        elu, relu = (np.exp(tuned[name, 0.0].mean()) for name in ("elu", "relu"))
        share, low, high = (np.exp(value) for value in (lead[0].effect, lead[0].low, lead[0].high))
        found.append(
            f"On {_data(row)}, each at its own tuned learning rate, ELU networks get from chance to a training loss of "
            f"{of_dose.DECIDING:g} nats in {elu:,.0f} updates, ReLU networks in {relu:,.0f}: "
            f"ELU needs {share:.0%} of the updates [{low:.0%}, {high:.0%}] {_sure(decided, 'gap')}."
        )
    found.append(
        "Why: where the mean activation alone is taken off what the layers receive, and the function stays the same, "
        f"the updates change, each at its own tuned rate, by {', '.join(changes)} ({_verdicts(decided, 'tuned: ')}); "
        f"at the one rate {rate:g} by at most {largest:.0%} ({_verdicts(decided, 'fixed: ')})."
    )
    closed = of_dose.share_closed(table)
    if closed is not None:
        share, low, high = closed
        found.append(
            f"Taking ReLU's mean off closes {share:.0%} of its gap behind ELU [{low:.0%}, {high:.0%}] "
            f"({data_in_words(row['data'])}, {table[table['role'] == 'tuned']['seed'].nunique()} networks per point)."
        )
    with_mean = [one for one in decided if one.claim.identifier == "lead without small mean"]
    if with_mean:
        found.append(
            f"With its own mean doubled ELU needs {np.exp(with_mean[0].effect):.0%} of plain ReLU's updates "
            f"{_sure(decided, 'lead without small mean')}."
        )
    return found


def _what_the_natural_gradient_does(table: Any) -> list[str]:
    """Whether zero means help, and because of the unit natural gradient."""
    decided = of_cause.decisions(table)
    first, second = (next(one for one in decided if one.claim is claim) for claim in of_cause.DECISIVE)
    found = [
        f"Centring takes {np.exp(first.effect):.0%} of the updates that the gradient takes, mean over "
        f"{' and '.join(map(label_of, table['activation'].unique()))} {_sure(decided, of_cause.ZERO_MEANS)}."
    ]
    means = of_cause.mean_outcomes(table)
    beside = {
        method: hodges_lehmann((means[method] - means[of_cause.CENTRED]).to_numpy(), _LEVEL)[0]
        for method in (of_cause.TERM, of_cause.NATURAL)
    }
    words = {
        "holds": "neither is slower, as it must be if zero means help because they bring the gradient closer to it",
        "does not hold": "that zero means help because they bring the gradient closer to it is refuted, for the slower "
        "of the two does not do as much",
    }
    open_words = "whether zero means help because they bring the gradient closer to it is not decided"
    term, natural = (_change(beside[method]) for method in (of_cause.TERM, of_cause.NATURAL))
    found.append(
        f"Beside centring, the bias-shift term of the unit natural gradient alone takes {term} updates, the whole unit "
        f"natural gradient {natural}; {words.get(second.verdict, open_words)} {_sure(decided, of_cause.BECAUSE)}."
    )
    return found


def _change(effect: float) -> str:
    """A difference of logarithms in words: "8% more"."""
    return f"{abs(np.expm1(effect)):.0%} {'more' if effect > 0 else 'fewer'}"


def _what_is_not_predicted(tables: dict[str, Any]) -> list[str]:
    """The refutations: where measured updates are off the prediction, in the median, and by how much."""
    found = []
    if "predicted_speed" in tables:
        rows = of_prediction.compared(tables["predicted_speed"])
        narrow = rows[rows["width"] == rows["width"].min()]
        by_loss = np.exp(narrow.groupby("loss")["ratio"].median()).sort_index(ascending=False)
        off = [float(loss) for loss, ratio in by_loss.items() if abs(math.log(ratio)) > math.log1p(_MISSED)]  # pyright: ignore
        widths = np.exp(rows.groupby("width")["ratio"].apply(lambda values: values.abs().median()))
        parts = ", ".join(f"a factor of {factor:.2f} at width {width}" for width, factor in widths.items())
        found.append(f"What the kernel does not say: measured updates are off the prediction by {parts} (medians)")
        found[-1] += (
            f", at width {narrow['width'].iloc[0]} by more than {_MISSED:.0%} from a loss of {off[0]:g} nats on."
            if off
            else "."
        )
        wrong = [one for one in of_prediction.decisions(tables["predicted_speed"]) if one.claim.identifier == "ratio"]
        if wrong:
            found.append(
                f"That ELU's share of ReLU's updates is predicted within {of_prediction.CLOSE:.0%} in wide, shallow "
                f"networks: {wrong[0].verdict}{_counts(wrong[0])}."
            )
    if "initialisation_and_rate" in tables:
        table = tables["initialisation_and_rate"]
        tuned = table[(table["role"] == "tuned") & table["predicted"].notna()]
        if len(tuned):
            counted = tuned[starts.OUTCOME].fillna(tuned["updates"])
            factor = float(np.exp(np.log(counted / tuned["predicted"]).median()))
            found.append(f"At tuned rates networks need {factor:.2g} times the updates predicted (median).")
    return found


def _percentage(shares: Iterable[float]) -> str:
    """An estimate and its interval: "57 % [54 to 60 %]"."""
    share, low, high = (100 * value for value in shares)
    return f"{share:.0f} % [{low:.0f} to {high:.0f} %]" if np.isfinite([low, high]).all() else f"{share:.0f} %"


def _share(differences: Any) -> str:
    share, low, high = (np.exp(value) for value in hodges_lehmann(differences, _LEVEL))
    return f"{share:.0%} [{low:.0%}, {high:.0%}]" if np.isfinite([low, high]).all() else f"{share:.0%}"


def _sure(decided: Sequence[Decision], identifier: str) -> str:
    found = [one for one in decided if one.claim.identifier == identifier]
    return f"(claimed beforehand: {found[0].verdict}{_counts(found[0])})" if found else ""


def _counts(decision: Decision) -> str:
    return f", n = {decision.pairs}, p = {decision.adjusted_p:.2g}"


def _verdicts(decided: Sequence[Decision], beginning: str) -> str:
    """How many of the claims hold."""
    about = [one for one in decided if one.claim.identifier.startswith(beginning)]
    return f"claimed beforehand: holds for {sum(one.verdict == 'holds' for one in about)} of {len(about)}"


def _words(kind: str) -> str:
    return {"he": "He's"}.get(kind, kind.replace("_", "-"))


# --- figure ---------------------------------------------------------------------------------------------------------


def draw(found: Answer) -> Figure:
    """Measured over predicted updates; updates at tuned rates over the mean share: a panel for each that is there."""
    titles = {
        "predicted_speed": "updates to a loss: predicted at\ninitialisation, nothing fitted",
        "dose_response": "the mean alone moved: updates\nby what it takes of the second moment",
    }
    there = [name for name in titles if name in found.tables]
    with style():
        count = max(len(there), 1)
        figure = Figure(figsize=(3.6 * count + 0.4, 3.6), layout="constrained")
        panels: Any = figure.subplots(1, count, squeeze=False)[0]
        for letter, panel, name in zip("ab", panels, there, strict=False):
            panel.set_title(f"({letter}) {titles[name]}" if len(there) > 1 else titles[name])
            panel.set_yscale("log")
            if name == "predicted_speed":
                draw_predictions(panel, of_prediction.compared(found.tables[name]))
                panel.set_xscale("log")
                plain_ticks(panel.xaxis, (1,))
                plain_ticks(panel.yaxis, (1,))
                panel.set_xlabel("predicted")
                panel.set_ylabel("measured")
            else:
                for activation in found.tables[name]["activation"].unique():
                    draw_shares(panel, found.tables[name], activation)
                plain_ticks(panel.yaxis, (1, 2, 3, 5))
                panel.set_xlabel("mean share of what layers receive")
                panel.set_ylabel(f"updates to {of_dose.DECIDING:g} nats")
        shown: dict[str, Any] = {}
        for panel in panels:
            handles, labels = panel.get_legend_handles_labels()
            shown |= dict(zip(labels, handles, strict=True))
        if shown:
            columns = min(len(shown), 3 * len(panels))
            figure.legend(shown.values(), shown, loc="outside lower center", ncols=columns, frameon=False)
    return figure
