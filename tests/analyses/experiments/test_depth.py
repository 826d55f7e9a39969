"""Test errors against plain PyTorch, the choice of learning rates, gaps of diverged runs, verdicts, and the figure."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from torch import nn

from analyses.data import datasets
from analyses.experiments import depth as analysis
from analyses.experiments.depth import measurement, verdicts
from analyses.framework import records
from analyses.networks.architectures import initialise
from analyses.networks.training import batch_order
from elutheory.errors import InputError
from elutheory.output.figures import look_of

SMALL = analysis.Config(
    activations=("elu", "leaky_relu"),
    depths=(1, 5),
    units=8,
    epochs=2,
    learning_rates=(0.1, 0.001),
    tuning_seeds=2,
    batch_size=50,
    examples=300,
    seeds=3,
)


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return analysis.measure(SMALL)


def test_a_row_a_network(table: pandas.DataFrame) -> None:
    assert list(table.columns) == list(analysis.COLUMNS)
    for _, networks in table.groupby(["activation", "depth"]):
        assert networks["use"].tolist() == ["tuning"] * 4 + ["comparison"] * 3
        assert networks["seed"].tolist() == [0, 0, 1, 1, 2, 3, 4]
        assert networks["epoch"].tolist() == [2] * 7
        tuning, compared = networks[networks["use"] == "tuning"], networks[networks["use"] == "comparison"]
        mean = tuning.groupby("learning_rate")["validation_error"].mean()
        assert set(compared["learning_rate"]) == {mean.idxmin()}  # no ties in this run:
        assert mean.nunique() == 2
        assert networks["test_error"].notna().tolist() == [False] * 4 + [True] * 3
        assert networks["validation_error"].notna().tolist() == [True] * 4 + [False] * 3


@pytest.mark.parametrize(("name", "function"), [("elu", nn.ELU()), ("leaky_relu", nn.LeakyReLU(0.1))])
def test_errors_are_those_of_a_plain_loop(table: pandas.DataFrame, name: str, function: nn.Module) -> None:
    """Seed 3, 5 hidden layers: torch.optim.SGD on nn.Sequential; rounding may move one example over a boundary."""
    (row,) = table.query("activation == @name and depth == 5 and seed == 3").to_dict("records")
    data = datasets.load("digits").standardised("dataset").flattened().subset(300)
    layers = [layer for sizes in pairwise((64, 8, 8, 8, 8, 8, 10)) for layer in (nn.Linear(*sizes), function)]
    network = initialise(nn.Sequential(*layers[:-1]), seed=3)
    optimizer = torch.optim.SGD(network.parameters(), lr=row["learning_rate"])
    losses: list[float] = []
    for epoch in range(2):
        losses.clear()
        for batch in batch_order(3, epoch, 300).split(50):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(data.train.inputs[batch]), data.train.targets[batch])
            losses.append(loss.item())
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        wrong = (network(data.test.inputs).argmax(1) != data.test.targets).sum().item()
    assert row["training_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert row["test_error"] * len(data.test) == pytest.approx(wrong, abs=1.01)


def tuning(*rows: tuple[float, float, float, float]) -> pandas.DataFrame:
    return pandas.DataFrame(rows, columns=["learning_rate", "validation_error", "validation_loss", "diverged"])


NAN = float("nan")


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([(0.1, 0.2, 9.0, NAN), (0.1, 0.4, 9.0, NAN), (0.01, 0.2, 1.0, NAN), (0.01, 0.5, 1.0, NAN)], 0.1),
        ([(0.1, 0.1, 0.9, NAN), (0.1, 0.3, 0.9, NAN), (0.01, 0.3, 0.8, NAN), (0.01, 0.1, 0.8, NAN)], 0.01),
        ([(0.1, 0.1, 0.1, NAN), (0.1, NAN, NAN, 7.0), (0.01, 0.9, 2.0, NAN), (0.01, 0.9, 2.0, NAN)], 0.01),
        ([(0.1, NAN, NAN, 3.0), (0.01, NAN, NAN, 5.0)], 0.01),
    ],
    ids=["lower error", "same error, lower loss", "none diverged", "all diverged: the smaller"],
)
def test_chosen_rate(rows: Any, chosen: float) -> None:
    assert measurement.chosen_rate(tuning(*rows)) == chosen


# --- tables made by hand ---------------------------------------------------------------------------------------------


def made(
    errors: dict[tuple[str, int], float], seeds: int = 10, diverged: tuple[Any, ...] = (), rate: float = 0.01
) -> pandas.DataFrame:
    """Test errors plus seed/1000; `diverged`: (activation, depth, seed) triples."""
    described = {"epoch": 3, "data": "digits", "examples": 100, "units": 8, "batch_size": 64, "negative_slope": 0.1}
    rows: list[dict[str, Any]] = []
    for (name, depth), error in errors.items():
        rows += [
            {"activation": name, "depth": depth, "use": "tuning", "learning_rate": grid, "seed": 0}
            for grid in (0.1, 0.01, 0.001)
        ]
        for seed in range(1, seeds + 1):
            lost = (name, depth, seed) in diverged
            numbers = {"test_error": NAN if lost else error + seed / 1000, "diverged": 3.0 if lost else NAN}
            key = {"activation": name, "depth": depth, "use": "comparison", "learning_rate": rate, "seed": seed}
            rows.append(key | numbers)
    return pandas.DataFrame(rows).assign(**described).reindex(columns=list(analysis.COLUMNS))


ERRORS = {
    **{("elu", depth): 0.10 for depth in (2, 4, 8, 16)},
    **{("relu", depth): error for depth, error in ((2, 0.10), (4, 0.12), (8, 0.15), (16, 0.21))},
    **{("leaky_relu", depth): error for depth, error in ((2, 0.14), (4, 0.13), (8, 0.12), (16, 0.08))},
}


def test_verdicts_and_effects() -> None:
    """Ten claims; the same sign in all 10 pairs: p = 2⁻⁹ each, 10 · 2⁻⁹ of all claims."""
    found = {decision.claim.identifier: decision for decision in analysis.decisions(made(ERRORS))}
    assert {name: decision.verdict for name, decision in found.items()} == {
        "opening: relu": "holds",
        "2: relu": "undecided",
        "4: relu": "holds",
        "8: relu": "holds",
        "16: relu": "holds",
        "opening: leaky_relu": "does not hold",
        "2: leaky_relu": "holds",
        "4: leaky_relu": "holds",
        "8: leaky_relu": "holds",
        "16: leaky_relu": "does not hold",
    }
    assert found["opening: relu"].effect == pytest.approx((5 + 11) / 2 - (0 + 2) / 2)
    assert found["16: leaky_relu"].effect == pytest.approx(-2)
    assert found["8: relu"].adjusted_p <= 10 / 512


def test_diverged_networks_count_as_worst() -> None:
    lost = (("relu", 16, 1), ("elu", 8, 2), ("relu", 16, 2), ("elu", 16, 3), ("relu", 16, 3), ("elu", 2, 4))
    table = made(ERRORS, diverged=lost)
    gap = verdicts.gaps(table, "relu")
    assert gap.to_numpy()[:4] == pytest.approx(
        np.array([[0, 2, 5, np.inf], [0, 2, -np.inf, np.inf], [0, 2, 5, 0], [-np.inf, 2, 5, 11]])
    )
    assert verdicts.opening(gap).to_numpy()[:5] == pytest.approx(np.array([np.inf, 0, 2.5 - 1, np.inf, 7]))
    said = analysis.summary(table)
    assert "ReLU, 16 layers: 3 of 10 diverged; in the tests that counts as worst" in said
    assert "ELU, 8 layers: 1 of 10 diverged" in said


def test_claims_are_about_what_was_run() -> None:
    shallow = made({key: error for key, error in ERRORS.items() if key[1] <= 4 and key[0] != "leaky_relu"})
    assert [decision.claim.identifier for decision in analysis.decisions(shallow)] == ["2: relu", "4: relu"]
    alone = made({key: error for key, error in ERRORS.items() if key[0] == "elu"})
    assert analysis.decisions(alone) == []
    for table in (shallow, alone):
        assert analysis.draw(table).axes
        assert "means over the seeds" in analysis.summary(table)


def test_rates_at_the_edge_of_the_grid_are_named() -> None:
    only = {("elu", 2): 0.1, ("relu", 2): 0.1}
    assert "edge" not in analysis.summary(made(only))
    assert "edge: ELU with 2 hidden layers, ReLU with 2 hidden layers\n" in analysis.summary(made(only, rate=0.1))


def test_record_gives_the_same_figure_and_summary(table: pandas.DataFrame, tmp_path: Path) -> None:
    saved = records.save(tmp_path, table, analysis.draw, {"analysis": "depth"})
    first = (tmp_path / "figure.svg").read_bytes()
    again = records.redraw(tmp_path, analysis.draw, analysis="depth")
    assert (tmp_path / "figure.svg").read_bytes() == first
    assert analysis.summary(again) == analysis.summary(saved)
    assert "cannot be decided with 3 seeds" in analysis.summary(again)


def test_figure_shows_diverged_networks_as_a_count_only() -> None:
    table = made(ERRORS, diverged=tuple(("relu", 16, seed) for seed in range(1, 11)))
    _, errors, gaps = analysis.draw(table).axes
    assert errors.get_xlabel() == "hidden layers\nReLU, 16 layers: 10 of 10 diverged"
    relu = [line for line in errors.get_lines() if line.get_color() == look_of("relu").colour]
    assert np.asarray(relu[0].get_ydata()) == pytest.approx(np.array([10.55, 12.55, 15.55, NAN]), nan_ok=True)
    assert "ReLU +∞ [+∞, +∞]" in gaps.get_xlabel()
    assert gaps.get_ylim()[1] < 20


def test_scale_of_errors_is_logarithmic_only_where_they_differ_widely() -> None:
    alike = analysis.draw(made(dict.fromkeys(ERRORS, 0.14))).axes
    apart = analysis.draw(made(ERRORS | {("relu", 16): 0.90})).axes
    assert [panel.get_yscale() for panel in alike] == ["log", "linear", "symlog"]
    assert [panel.get_yscale() for panel in apart] == ["log", "symlog", "symlog"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations": ()}, "activations are none"),
        ({"depths": (2, 2)}, "depths are 2, 2; give each once"),
        ({"depths": (0, 2)}, "depths holds 0; give 1 or more"),
        ({"activations": ("elo",)}, "unknown activation"),
        ({"units": 0}, "units is 0"),
        ({"tuning_seeds": 0}, "tuning_seeds is 0"),
        ({"seeds": 0}, "seeds is 0"),
        ({"learning_rates": ()}, "learning_rates are none"),
    ],
)
def test_bad_configurations(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        analysis.measure(analysis.Config(**options))
