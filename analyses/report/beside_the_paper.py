"""What the paper reports beside what the records here say, quantity by quantity: the table "paper / here".

The paper's values are those of its text and tables; where it has a figure alone, its finding stands in words. What is
here is computed from the records that are there, and what differs from the paper's setting from their provenance.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analyses.experiments.autoencoder import verdicts as of_autoencoder
from analyses.experiments.cifar import verdicts as of_cifar
from analyses.experiments.cifar.settings import BATCH, NONE
from analyses.experiments.depth import verdicts as of_depth
from analyses.experiments.learning_behaviour import settings as learning_settings
from analyses.experiments.learning_behaviour import verdicts as of_learning
from analyses.experiments.median_variance import verdicts as of_medians
from analyses.framework import records
from analyses.framework.claims import Decision, hodges_lehmann
from analyses.report.effects import Quantity
from analyses.report.ledger import size_in_words
from elutheory.output.figures import label_of, number

NO_RECORD = "no record yet"
_LEVEL = 0.05
_POINTS = Quantity("percentage points less", "percentage points more")
_LEAD = Quantity("percentage points more test error", "percentage points less test error")


@dataclass(frozen=True)
class Setting:
    """Of an experiment in the paper: what a record's configuration is compared with; `remarks`: what always differs."""

    configuration: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """One quantity. `experiment`: its number; `record`: a folder of `figures`.

    `paper`: what the paper gives; `here`: the value with its interval, or NO_RECORD; `size`: data and networks;
    `differs`: from the paper's setting; `hours`: that the record took, NaN without one.
    """

    experiment: str
    quantity: str
    paper: str
    here: str
    size: str
    seeds: str
    differs: str
    hours: float
    record: str


@dataclass(frozen=True)
class _Reported:
    experiment: str
    record: str
    quantity: str
    paper: str
    here: Callable[[Any], str]


def beside_the_paper(figures: Path) -> tuple[Line, ...]:
    """A line per quantity of REPORTED, in the paper's order, from the records in the folders of `figures`.

    Raises InputError for a corrupt record.
    """
    found = {}
    for name in sorted({reported.record for reported in REPORTED}):
        if (figures / name / "records.csv").exists():
            found[name] = records.load(figures / name, analysis=name), records.provenance_of(figures / name)
    return tuple(_line(reported, figures, found.get(reported.record)) for reported in REPORTED)


def _line(reported: _Reported, figures: Path, record: tuple[Any, dict[str, Any]] | None) -> Line:
    said = reported.experiment, reported.quantity, reported.paper
    if record is None:
        return Line(*said, NO_RECORD, "", "", "", np.nan, reported.record)
    table, described = record
    config = described.get("config", {})
    with records.columns_of(figures / reported.record, table):
        here = reported.here(table)
    differs = differences(SETTINGS[reported.experiment], config)
    hours = float(described.get("seconds", np.nan)) / 3600
    return Line(*said, here, size_in_words(config), str(config.get("seeds", "")), differs, hours, reported.record)


def differences(setting: Setting, config: Mapping[str, Any]) -> str:
    """What a record's configuration has in place of the paper's, in words."""
    found = []
    for name, paper in setting.configuration.items():
        value = config.get(name)
        ours = tuple(value) if isinstance(value, list) else value
        if ours != paper:
            found.append(f"{name.replace('_', ' ')} {_words(ours)} for {_words(paper)}")
    return "; ".join([*found, *setting.remarks])


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_words, value))
    if value == 0 and not isinstance(value, float):
        return "all"
    return f"{value:,}" if isinstance(value, int) else str(value)


# --- what is said of a table ----------------------------------------------------------------------------------------


def _decided(decisions: Callable[[Any], list[Decision]], identifier: str, quantity: Quantity) -> Callable[[Any], str]:
    """Effect, interval and verdict of that claim; a dash where the record lacks it."""

    def said(table: Any) -> str:
        found = [one for one in decisions(table) if one.claim.identifier == identifier]
        if not found:
            return "not measured by this record"
        (one,) = found
        if one.verdict == "not trained":
            return "networks that have not learned"
        agreeing = f"{one.agreeing} of {one.pairs} {one.claim.counted}"
        return f"{quantity.effect(one.effect)} [{quantity.interval(one.low, one.high)}; {agreeing}]"

    return said


def _last_medians(table: Any) -> str:
    rows = learning_settings.whole_networks(table)
    last = rows[rows["epoch"] == rows["epoch"].max()].groupby("activation", sort=False)["unit_mean_median"]
    return ", ".join(f"{label_of(str(name))} {found.mean():.2f} ({found.std():.2f})" for name, found in last)


def _crossing(table: Any) -> str:
    crossed = of_learning.crossing_epochs(table, "relu")
    later = crossed[np.isfinite(crossed)]
    if not len(later):
        return f"not for any of {len(crossed)} seeds"
    return (
        f"epoch {np.median(later):.0f} [{later.min():.0f} to {later.max():.0f}; {len(later)} of {len(crossed)} seeds]"
    )


def _cifar_errors(table: Any) -> str:
    errors = of_cifar.final_errors(table)
    parts = [
        f"{label_of(activation)} {found.mean():.2f} ({found.std():.2f})"
        for (activation, normalisation), found in errors.items()  # pyright: ignore[reportGeneralTypeIssues]
        if normalisation == NONE
    ]
    return ", ".join(parts)


def _cifar_change(activation: str) -> Callable[[Any], str]:
    """Test error with batch normalisation less that without."""

    def said(table: Any) -> str:
        errors = of_cifar.final_errors(table)
        if not {(activation, BATCH), (activation, NONE)} <= set(errors.columns):
            return "not measured by this record"
        with np.errstate(invalid="ignore"):
            change = (errors[activation, BATCH] - errors[activation, NONE]).fillna(0.0)
        effect, low, high = hodges_lehmann(change, _LEVEL)
        return f"{_POINTS.effect(effect)} [{_POINTS.interval(low, high)}; {len(change)} seeds]"

    return said


# --- the table ------------------------------------------------------------------------------------------------------

SETTINGS = {
    "E2": Setting(
        {
            "data": "mnist",
            "examples": 0,
            "layers": 8,
            "units": 128,
            "epochs": 300,
            "learning_rate": 0.01,
            "batch_size": 64,
            "seeds": 5,
        },
        ("a sixth of the training images is for validation",),
    ),
    "E3": Setting(
        {
            "data": "mnist",
            "examples": 0,
            "encoder": (1000, 500, 250, 30),
            "epochs": 500,
            "learning_rates": (1e-2, 1e-3, 1e-4, 1e-5),
            "batch_size": 64,
        },
        ("output, loss and initial weights are not given by the paper",),
    ),
    "E4": Setting(
        {"data": "cifar100", "examples": 0, "network": "11_layers", "width": 1.0, "epochs": 330, "seeds": 10},
    ),
    "E5": Setting(
        {"data": "cifar100", "examples": 0, "network": "11_layers", "width": 1.0, "epochs": 330, "seeds": 10},
    ),
    "E8": Setting(
        {"data": "mnist", "examples": 0, "layers": 5, "units": 256, "epochs": 200, "learning_rate": 0.01},
        ("a sixth of the training images is for validation",),
    ),
    "E9": Setting({}, ("the paper gives no setting",)),
}
"""The paper's (arXiv 1511.07289, sections 4.1 and 4.2, appendix C); 0 examples: all."""

_FEWER = Quantity("fewer epochs", "more epochs", of_ratio=True)
_RATIO = Quantity("less", "more", of_ratio=True)
REPORTED = (
    _Reported(
        "E2",
        "learning_behaviour",
        "epochs to the same training loss, ELU against the faster of ReLU and leaky ReLU",
        "ELU's training loss falls fastest (figure 2b)",
        _decided(of_learning.decisions, of_learning.DECIDING, _FEWER),
    ),
    _Reported(
        "E2", "learning_behaviour", "epoch from which on ReLU's training loss is below ELU's", "not said", _crossing
    ),
    _Reported(
        "E2",
        "learning_behaviour",
        "training loss of the last epoch, ELU against ReLU",
        "not said",
        _decided(of_learning.decisions, "last_training_loss: relu", _RATIO),
    ),
    _Reported(
        "E2",
        "learning_behaviour",
        "test error at the end, ELU against ReLU",
        "not said",
        _decided(of_learning.decisions, "test_error: relu", _POINTS),
    ),
    _Reported(
        "E2",
        "learning_behaviour",
        "median over units of their mean activation, after the last epoch (standard deviation over seeds)",
        "ELU's stays nearest zero (figure 2a)",
        _last_medians,
    ),
    _Reported(
        "E3",
        "autoencoder",
        "reconstruction error",
        "ELU's is the lowest at every learning rate (figure 3)",
        of_autoencoder.finding,
    ),
    _Reported(
        "E4",
        "cifar",
        "test error in % (standard deviation over seeds)",
        "CIFAR-100: ELU 28.75 (0.24), shifted ReLU 29.35 (0.29), leaky ReLU 30.59 (0.29), ReLU 31.56 (0.37)",
        _cifar_errors,
    ),
    _Reported(
        "E4",
        "cifar",
        "test error, ELU against ReLU",
        "2.81 percentage points less (p < 0.001)",
        _decided(of_cifar.decisions, "elu below relu", _POINTS),
    ),
    _Reported(
        "E5",
        "cifar",
        "test error, ELU against ReLU with batch normalisation",
        "ELU's is lower (figure 5)",
        _decided(of_cifar.decisions, of_cifar.BELOW_NORMALISED, _POINTS),
    ),
    _Reported(
        "E5", "cifar", "test error of ELU with batch normalisation against without", "no gain", _cifar_change("elu")
    ),
    _Reported(
        "E5", "cifar", "test error of ReLU with batch normalisation against without", "lower", _cifar_change("relu")
    ),
    _Reported(
        "E8",
        "median_variance",
        "variance over training of the units' median activation, ReLU against ELU",
        "much larger for ReLU (figure 7)",
        _decided(of_medians.decisions, "variance", _RATIO),
    ),
    _Reported(
        "E8",
        "median_variance",
        "the same relative to the units' variance over examples",
        "not said",
        _decided(of_medians.decisions, of_medians.DECIDING, _RATIO),
    ),
    *(
        _Reported(
            "E9",
            "depth",
            f"test error, ELU against {label_of(rival)}, mean over depths above {least} hidden layers",
            f"ELU generalises better ({version})",
            _decided(of_depth.decisions, f"above {least}: {rival}", _LEAD),
        )
        for least, version in ((5, "abstract, last version"), (4, "abstract, first version"))
        for rival in ("relu", "leaky_relu")
    ),
)


# --- forms ----------------------------------------------------------------------------------------------------------

HEADINGS = ("", "quantity", "the paper", "here", "size, seeds", "what differs", "hours")


def cells_of(line: Line) -> tuple[str, ...]:
    """The texts of a line's cells, in the order of HEADINGS."""
    seeds = f"{line.seeds} seeds" if line.seeds else ""
    size = "; ".join(filter(None, (line.size, seeds)))
    hours = "" if np.isnan(line.hours) else number(line.hours, ".2g")
    return line.experiment, line.quantity, line.paper, line.here, size, line.differs, hours


def paper_markdown(figures: Path) -> str:
    """The page docs/beside_the_paper.md."""
    lines = [cells_of(line) for line in beside_the_paper(figures)]
    rows = [HEADINGS, ("---",) * len(HEADINGS), *lines]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (
        "# Beside the paper\n\n"
        "What the paper reports, and what the records in `figures/` say of the same quantity; made from them by "
        "`python -m analyses paper`. In brackets: the interval that holds for all claims of its analysis at once, with "
        "95 %, and how many of the networks, paired by seed, agree. Hours are those of the record on the machine that "
        "made it. [The experiments by number](statements.md#what-the-paper-ran).\n\n"
        f"{table}\n"
    )
