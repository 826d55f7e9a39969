"""What an analysis will take, estimated first: what it took or more, in proportion; beyond the memory refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from analyses.framework.catalogue import catalogue, find_analysis
from analyses.framework.run import run_analysis
from analyses.networks import training_cost
from analyses.networks.training_cost import DataShape
from elutheory.errors import InputError
from elutheory.numerics import cost as costs
from elutheory.numerics.cost import HOUR, Cost, check_cost, duration
from tests.analyses.framework import toy_analysis as toy

FIGURES = Path(__file__).parents[3] / "figures"
SHAPES = {
    "digits": DataShape(1248, 64, 10),
    "fashion-mnist": DataShape(50_000, 784, 10),
    "mnist": DataShape(50_000, 784, 10),
    "cifar10": DataShape(41_667, 3072, 10),
}


def recorded() -> list[Path]:
    return sorted(path.parent for path in FIGURES.glob("*/provenance.json"))


def estimated(analysis: Any, config: Any, monkeypatch: pytest.MonkeyPatch) -> Cost:
    """The cost with the data's shape as it was; their files may not be here."""
    for module in {analysis.cost.__module__, training_cost.__name__}:
        import_path = f"{module}.shape_of"
        monkeypatch.setattr(import_path, lambda data: SHAPES[data], raising=False)
    return analysis.cost(config)


@pytest.mark.parametrize("folder", recorded(), ids=lambda folder: folder.name)
def test_the_records_took_what_is_estimated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of one core: as many as were measured or more, up to twelve times, half a minute aside."""
    provenance = json.loads((folder / "provenance.json").read_text())
    analysis = find_analysis(provenance["analysis"])
    settings = {
        name: tuple(value) if isinstance(value, list) else value for name, value in provenance["config"].items()
    }
    cost = estimated(analysis, analysis.Config(**settings), monkeypatch)
    took = provenance["seconds"] * provenance["jobs"]
    assert took <= cost.seconds + 30
    assert cost.seconds <= 12 * took + 30


@pytest.mark.parametrize("name", catalogue())
def test_presets_are_estimated_and_fit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    analysis = find_analysis(name)
    quick, paper = (estimated(analysis, analysis.PRESETS[preset], monkeypatch) for preset in ("quick", "paper"))
    assert 0 < quick.seconds <= paper.seconds
    assert quick.seconds < HOUR
    assert 0 < quick.bytes < 4.1e9
    assert 0 < paper.bytes < 16e9


def test_what_does_not_fit_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("elutheory.numerics.memory.free_bytes", lambda _: 10**9)
    monkeypatch.setattr(toy, "cost", lambda _: Cost(bytes=0.6e9))
    run_analysis(toy, tmp_path / "one", device="cpu", progress=False)
    with pytest.raises(InputError, match=r"^this takes about 1\.8 GB of memory in 2 jobs, and 1 GB are free; ask for"):
        run_analysis(toy, tmp_path / "two", device="cpu", jobs=2, progress=False)
    assert not (tmp_path / "two").exists()
    assert capsys.readouterr().err == ""


def test_what_takes_more_than_an_hour_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    check_cost(Cost(operations=3500 * costs.OPERATIONS_PER_SECOND))
    assert capsys.readouterr().err == ""
    check_cost(Cost(operations=7300 * costs.OPERATIONS_PER_SECOND, updates=3600 / costs.SECONDS_PER_UPDATE), jobs=2)
    said = capsys.readouterr().err
    assert said == "elutheory: this takes up to 91 minutes (7.2e+05 updates, 1.1e+14 floating-point operations).\n"


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.14159, "3.1 seconds"), (7300, "2 hours"), (1e6, "12 days"), (1e12, "32,000 years")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_costs_add_up() -> None:
    total = Cost(1, 2, 3) * 10 + Cost(1, 1, 5)
    assert total == Cost(11, 21, 5)
