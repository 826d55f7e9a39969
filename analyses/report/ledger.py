"""The ledger: every claim of the abstract of arXiv 1511.07289, decided from records and proofs, never by hand.

A claim is tested in one or more settings. A setting is one record and the tests of it that must all hold there; each
test is stated in its analysis. The verdict on the claim follows from those on its settings: all hold: "holds"; some do:
"holds under conditions", which are named; none does and one is refuted: "does not hold"; otherwise "undecided". Where
there is nothing to decide it by: "not tested here", with the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import nan
from pathlib import Path
from typing import Literal

from analyses.experiments.causal_claim.verdicts import BECAUSE, ZERO_MEANS
from analyses.experiments.deactivation.verdicts import SLOPES
from analyses.experiments.vanishing_gradient.settings import INITIALISATION_NAMES
from analyses.framework import records
from analyses.framework.catalogue import find_analysis
from analyses.framework.claims import Decision
from elutheory.derivations.catalogue import proof
from elutheory.derivations.proof.steps import VerificationError
from elutheory.errors import InputError

Verdict = Literal["holds", "holds under conditions", "does not hold", "undecided", "not tested here"]
DERIVATIONS = "derivations"
"""In place of a record: the test is a proof, whose every step is checked when the ledger is made."""


@dataclass(frozen=True)
class Setting:
    """A folder of `figures` and the tests of its record that must hold together, by identifiers (`*`: anything).

    `condition`: the setting in words; none: every test is a setting of its own, in the words of its claim. `case`: one
    of several settings that share their condition and are named together.
    """

    record: str
    tests: tuple[str, ...]
    condition: str = ""
    case: str = ""


@dataclass(frozen=True)
class AbstractClaim:
    """What the abstract claims, in our words, and where it is tested; without settings `untested` says why not."""

    identifier: str
    sentence: str
    settings: tuple[Setting, ...] = ()
    untested: str = ""


@dataclass(frozen=True)
class Test:
    """One test and its outcome. `analysis`: the folder of the record, or DERIVATIONS; NaN: there is no such number."""

    __test__ = False  # not one of pytest's

    analysis: str
    identifier: str
    sentence: str
    compared: str
    statistic: str
    effect: float
    low: float
    high: float
    sample_size: int
    p: float
    verdict: str
    condition: str


@dataclass(frozen=True)
class Row:
    """A claim with its verdict; `explanation`: under which conditions, or why it is undecided or not tested."""

    identifier: str
    sentence: str
    verdict: Verdict
    explanation: str
    tests: tuple[Test, ...]


_RECTIFIERS = {"relu": "against ReLU", "leaky_relu": "against leaky ReLU"}
_SHAPES = {"E2": "fully connected", "E4": "convolutional"}
_PARTS = {
    "shift": "shift of the mean net input",
    "bias": "bias step",
    "weights": "weight step",
    "gradient": "Δw0 b",
    "incoming": "k E_q[a]",
}


def _leaky_slopes(condition: str, *tests: str) -> list[Setting]:
    """A case per slope of the leaky ReLU, of these tests of `analyses.experiments.deactivation`."""
    return [
        Setting(
            "deactivation", tuple(f"{test}: leaky_relu({slope:g})" for test in tests), condition, f"slope {slope:g}"
        )
        for slope in SLOPES
    ]


CLAIMS = (
    AbstractClaim(
        "learning speed",
        "ELUs speed up learning.",
        (
            *(
                Setting("learning_behaviour", (f"log_training_loss: {rival}",), "E2, all at one learning rate", name)
                for rival, name in _RECTIFIERS.items()
            ),
            Setting(
                "causal_claim", ("premise",), "against ReLU, each at its own tuned learning rate, all examples at once"
            ),
            Setting("dose_response", ("gap",), "against ReLU, each at its own tuned learning rate, batches of 64"),
            Setting("initialisation_and_rate", ("own",), "against ReLU, each with its own initialisation and rate, E2"),
            Setting("autoencoder", ("training: *",), "training error of an autoencoder at every learning rate, E3"),
        ),
    ),
    AbstractClaim(
        "accuracy",
        "ELUs lead to higher accuracy.",
        (
            Setting("learning_behaviour", ("lowest_validation_loss: *",), "validation loss at 8 hidden layers, E2"),
            *(
                Setting("depth", (f"[0-9]*: {rival}",), "test error at every depth, E9", name)
                for rival, name in _RECTIFIERS.items()
            ),
        ),
    ),
    AbstractClaim(
        "vanishing gradient",
        "ELUs alleviate the vanishing gradient problem through the identity for positive values.",
        (
            *(
                Setting(
                    "vanishing_gradient",
                    (f"positive identity: elu vs *, {start}",),
                    "the gradient vanishes less than with every saturating unit",
                    name,
                )
                for start, name in INITIALISATION_NAMES.items()
            ),
            *(
                Setting("vanishing_gradient", (f"not vanishing: elu, {start}",), "200 layers keep 1 % of it", name)
                for start, name in INITIALISATION_NAMES.items()
            ),
        ),
    ),
    AbstractClaim(
        "mean activations",
        "Negative values push mean activations closer to zero.",
        (
            Setting("learning_behaviour", ("distance: *",), "along training, against ReLU and leaky ReLU, E2"),
            Setting("bias_shift_in_training", ("mean_share",), "as a share of the second moment, along training"),
            *(
                Setting(
                    "mean_activations", (start,), "random networks, farther at no layer", INITIALISATION_NAMES[start]
                )
                for start in ("he", "lecun", "critical")
            ),
        ),
    ),
    AbstractClaim(
        "zero means",
        "Zero means speed up learning.",
        (
            Setting("causal_claim", (ZERO_MEANS,), "centring, each at its own tuned rate, all examples at once"),
            *(
                Setting("dose_response", (f"{role}: *",), f"the mean alone moved, {words}, batches of 64")
                for role, words in (("tuned", "each at its own tuned rate"), ("fixed", "all at the paper's rate"))
            ),
        ),
    ),
    AbstractClaim(
        "cause",
        "They do so because they bring the gradient closer to the unit natural gradient.",
        (
            Setting(
                "causal_claim",
                (ZERO_MEANS, BECAUSE),
                "its bias-shift term alone, and all of it, help as much as zero means",
            ),
        ),
    ),
    AbstractClaim(
        "bias-shift term",
        "The unit natural gradient differs from the gradient by a bias-shift term.",
        (
            Setting(DERIVATIONS, ("theorem-1", "theorem-2"), "from the gradient by weights and bias apart: derived"),
            Setting("bias_shift_term", ("zero mean", "identity"), "the term measured is that of the theorems"),
            Setting(
                "bias_shift_term",
                ("differs: *",),
                "it is more than a tenth of the natural gradient, for every activation function",
            ),
            Setting("bias_shift_term", ("only",), "without it the plain gradient points along the natural one"),
        ),
    ),
    AbstractClaim(
        "proportionality",
        "That term is proportional to the mean activation of the incoming units.",
        tuple(
            Setting("bias_shift_term", (f"{beginning}{part}{ending}",), condition, words)
            for condition, beginning, ending in (
                ("small means", "small: ", ""),
                ("means as they are", "as it is: ", "*"),
            )
            for part, words in _PARTS.items()
        ),
    ),
    AbstractClaim(
        "footprint",
        "ELUs push means toward zero as batch normalisation does, at a smaller computational footprint.",
        tuple(
            Setting("footprint", tuple(f"{test}: {identifier}" for test in tests), condition, shape)
            for identifier, shape in _SHAPES.items()
            for tests, condition in (
                (("median mean, relu", "mean share, relu"), "means nearer zero than ReLU's at initialisation"),
                (("step time",), "time of a training step"),
                (("layer time",), "time of the activations alone"),
                (("bytes", "kept bytes"), "bytes moved and kept"),
                (("operations, exp 1",), "operations, an exponential being one"),
                (("operations, exp 21",), "operations, an exponential being 21"),
            )
        ),
    ),
    AbstractClaim(
        "noise-robust deactivation",
        "Leaky and parametric ReLUs lack the noise-robust deactivation state that ELUs have.",
        (
            Setting(DERIVATIONS, ("deactivation-limit",), "one unit, net input far below 0: derived (M7)"),
            *_leaky_slopes(
                "all units of trained networks that are off, against leaky ReLU", "off noise", "off to on noise"
            ),
            *_leaky_slopes("the tenth deepest in the off state, against leaky ReLU", "deep noise"),
        ),
    ),
    AbstractClaim(
        "saturation",
        "ELUs saturate, which decreases the variation and the information that is propagated.",
        (
            Setting("deactivation", ("saturation",), "off units pass less noise on than on units"),
            *_leaky_slopes("off units pass less on than those of a leaky ReLU", "off variation", "off information"),
            *_leaky_slopes("the tenth deepest: less than those of a leaky ReLU", "deep information"),
        ),
    ),
    AbstractClaim(
        "presence",
        "ELUs code the degree of presence of phenomena, not the degree of their absence.",
        (
            Setting("deactivation", ("presence",), "presence is coded more finely than absence"),
            Setting("deactivation", ("absence",), "absence is coded less than a tenth as finely"),
            *_leaky_slopes("absence is coded less than by a leaky ReLU", "absence"),
        ),
    ),
    AbstractClaim(
        "interference",
        "Dependencies between ELUs are easier to model, and distinct concepts interfere less.",
        (
            *_leaky_slopes("variation while off, against leaky ReLU", "interference"),
            Setting("deactivation", ("interference: relu",), "variation while off, against ReLU"),
        ),
    ),
    AbstractClaim(
        "generalisation",
        "ELUs generalise better than ReLUs and leaky ReLUs in networks of more than 4 layers.",
        (
            *(
                Setting("depth", (f"opening: {rival}",), "the lead opens above 4 hidden layers, E9", name)
                for rival, name in _RECTIFIERS.items()
            ),
        ),
    ),
    AbstractClaim(
        "CIFAR",
        "ELU networks are among the ten best on CIFAR-10 and the best on CIFAR-100.",
        untested="A ranking of 2015; it would need the data, which are the user's to download, and a GPU.",
    ),
    AbstractClaim(
        "ImageNet",
        "On ImageNet ELU networks learn considerably faster than ReLU networks; top-5 error below 10 %.",
        untested="It would need ImageNet, which is the user's to download, and many GPU days.",
    ),
)
"""In the abstract's order. Which tests decide was chosen before the analyses of deactivation, footprint, vanishing
gradients, Fisher spectra and the bias-shift term were measured; the other records had been seen."""


def ledger(figures: Path, claims: Sequence[AbstractClaim] | None = None) -> tuple[Row, ...]:
    """A row per claim (all of CLAIMS), decided from the records in the folders of `figures`.

    Settings whose record is not there are named in the explanation. Raises InputError on a corrupt record, and on one
    without a test that it should have.
    """
    chosen = CLAIMS if claims is None else claims
    names = {setting.record for claim in chosen for setting in claim.settings} - {DERIVATIONS}
    found = {name: _decisions(figures / name) for name in sorted(names) if (figures / name / "records.csv").exists()}
    return tuple(_row(claim, found) for claim in chosen)


def combined(verdicts: Sequence[str]) -> str:
    """Of tests that must all hold: "does not hold" if one does not, "holds" if all do, otherwise "undecided"."""
    if "does not hold" in verdicts:
        return "does not hold"
    return "holds" if all(verdict == "holds" for verdict in verdicts) else "undecided"


def _decisions(folder: Path) -> list[Decision]:
    described = records.provenance_of(folder)
    return find_analysis(described["analysis"]).decisions(records.load(folder))


def _row(claim: AbstractClaim, found: Mapping[str, Sequence[Decision]]) -> Row:
    if not claim.settings:
        return Row(claim.identifier, claim.sentence, "not tested here", claim.untested, ())
    tests: list[Test] = []
    conditions: dict[str, dict[str, list[str]]] = {}
    missing = []
    for setting in claim.settings:
        if setting.record == DERIVATIONS:
            of_setting = [_proof(name) for name in setting.tests]
        elif setting.record in found:
            of_setting = [_test(setting, decision) for decision in _named(setting, found[setting.record])]
        else:
            missing.append(setting.record)
            continue
        for together in [of_setting] if setting.condition else [[test] for test in of_setting]:
            condition = setting.condition or together[0].condition
            verdict = combined([test.verdict for test in together])
            conditions.setdefault(verdict, {}).setdefault(condition, []).append(setting.case)
            tests += [replace(test, condition=_in_words(condition, [setting.case])) for test in together]
    return Row(claim.identifier, claim.sentence, _verdict(conditions), _explanation(conditions, missing), tuple(tests))


def _named(setting: Setting, decisions: Sequence[Decision]) -> list[Decision]:
    named = []
    for pattern in setting.tests:
        matching = [decision for decision in decisions if fnmatchcase(decision.claim.identifier, pattern)]
        if not matching:
            raise InputError(f'the record {setting.record} has no test "{pattern}"; measure it again with its preset.')
        named += matching
    return named


def _test(setting: Setting, decision: Decision) -> Test:
    claim = decision.claim
    return Test(
        setting.record,
        claim.identifier,
        claim.sentence,
        claim.compared,
        claim.statistic,
        decision.effect,
        decision.low,
        decision.high,
        decision.pairs,
        decision.adjusted_p,
        decision.verdict,
        claim.sentence.rstrip("."),
    )


def _proof(name: str) -> Test:
    """The derivation of that name, verified now: a step that fails refutes it."""
    derivation = proof(name)
    try:
        steps, verdict = len(derivation.verify()), "holds"
    except VerificationError:
        steps, verdict = len(derivation.steps), "does not hold"
    return Test(
        DERIVATIONS,
        derivation.identifier,
        f"{derivation.title} [{derivation.number}].",
        "both sides of every step",
        "steps, each machine-checked",
        nan,
        nan,
        nan,
        steps,
        nan,
        verdict,
        f"derived ({derivation.number})",
    )


def _in_words(condition: str, cases: Sequence[str]) -> str:
    named = ", ".join(filter(None, cases))
    return f"{condition} ({named})" if named else condition


def _verdict(conditions: Mapping[str, object]) -> Verdict:
    if not conditions:
        return "not tested here"
    if "holds" in conditions:
        return "holds" if len(conditions) == 1 else "holds under conditions"
    return "does not hold" if "does not hold" in conditions else "undecided"


def _explanation(conditions: Mapping[str, Mapping[str, Sequence[str]]], missing: Sequence[str]) -> str:
    parts = [
        f"{words}: {'; '.join(_in_words(*setting) for setting in conditions[outcome].items())}."
        for outcome, words in (("holds", "Holds"), ("does not hold", "Does not hold"), ("undecided", "Undecided"))
        if outcome in conditions
    ]
    parts += [f"Not measured: {name} (python -m analyses {name})." for name in dict.fromkeys(missing)]
    return " ".join(parts)
