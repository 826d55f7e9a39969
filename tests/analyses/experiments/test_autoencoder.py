"""Errors against plain PyTorch, what becomes of diverged runs, verdicts on tables made for them, and the figure."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from torch import nn

from analyses.data import datasets
from analyses.experiments import autoencoder as analysis
from analyses.framework import records
from analyses.networks.architectures import AUTOENCODER, initialise
from analyses.networks.training import batch_order
from elutheory.errors import InputError
from elutheory.output.figures import figure_bytes

SMALL = analysis.Config(
    activations=("elu", "leaky_relu"),
    encoder=(12, 5),
    epochs=2,
    learning_rates=(0.3, 0.01),
    batch_size=50,
    examples=120,
    seeds=2,
)


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return analysis.measure(SMALL)


def test_a_row_a_network_and_epoch(table: pandas.DataFrame) -> None:
    assert list(table.columns) == list(analysis.COLUMNS)
    assert len(table) == len(table.groupby(["activation", "learning_rate", "seed", "epoch"])) == 2 * 2 * 2 * 3
    assert set(zip(table["examples"], table["encoder"], strict=True)) == {(120, "12-5")}


@pytest.mark.parametrize(("name", "function"), [("elu", nn.ELU()), ("leaky_relu", nn.LeakyReLU(0.1))])
def test_errors_are_those_of_a_plain_loop(table: pandas.DataFrame, name: str, function: nn.Module) -> None:
    """torch.optim.SGD in float32 on nn.Sequential: equal but for rounding, of relative size 2⁻²⁴ an operation."""
    data = datasets.load("digits").subset(120)
    images, unseen = data.train.inputs.reshape(120, 64), data.test.inputs.reshape(-1, 64)
    layers = [layer for sizes in pairwise((64, 12, 5, 12, 64)) for layer in (nn.Linear(*sizes), function)]
    network = initialise(nn.Sequential(*layers[:-1]), seed=1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3)

    def errors() -> list[float]:
        with torch.no_grad():
            return [(network(x) - x).square().mean().item() for x in (images, unseen)]

    expected = [errors()]
    for epoch in range(2):
        for batch in batch_order(1, epoch, 120).split(50):
            optimizer.zero_grad()
            nn.functional.mse_loss(network(images[batch]), images[batch]).backward()
            optimizer.step()
        expected.append(errors())
    runs = table[(table["activation"] == name) & (table["learning_rate"] == 0.3) & (table["seed"] == 1)]
    assert runs[["training_error", "test_error"]].to_numpy() == pytest.approx(np.array(expected), rel=1e-4)


def test_reconstruction_targets_are_the_inputs() -> None:
    data = datasets.load("digits").flattened()
    reconstruction = analysis.Reconstruction.of(data)
    for part in ("train", "validation", "test"):
        split = getattr(reconstruction, part)
        assert split.inputs is split.targets is getattr(data, part).inputs


def test_paper_preset_has_the_papers_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """`train` is left as soon as the network is built."""
    built: list[torch.Size] = []

    def train(build: Any, *_: Any, **__: Any) -> None:
        with torch.device("meta"):
            built.extend(tensor.shape for tensor in build().parameters() if tensor.ndim == 2)
        raise KeyboardInterrupt

    images = datasets.Split(torch.rand(64, 28, 28), torch.arange(64) % 10)
    monkeypatch.setattr("analyses.experiments.autoencoder.train", train)
    monkeypatch.setattr(datasets, "load", lambda _: datasets.Dataset("images", 10, images, images, images, ""))
    with pytest.raises(KeyboardInterrupt):
        analysis.measure_cell(analysis.PRESETS["paper"], analysis.Cell("elu"), "cpu")
    assert built == [(units, inputs) for inputs, units in pairwise(AUTOENCODER)]


# --- tables made by hand ---------------------------------------------------------------------------------------------


def made(errors: dict[tuple[str, float], float], seeds: int = 10, diverged: tuple[Any, ...] = ()) -> pandas.DataFrame:
    """One epoch; errors (1 + seed/100) times the given; `diverged`: (activation, learning rate, seed) triples."""
    rows: list[dict[str, Any]] = []
    for (name, rate), error in errors.items():
        for seed in range(seeds):
            for epoch in (0, 1):
                lost = epoch == 1 and (name, rate, seed) in diverged
                value = np.nan if lost else (1.0 if epoch == 0 else error) * (1 + seed / 100)
                rows.append(
                    {
                        "activation": name,
                        "learning_rate": rate,
                        "seed": seed,
                        "epoch": epoch,
                        "training_error": value,
                        "test_error": 2 * value,
                        "diverged": 3.0 if (name, rate, seed) in diverged else np.nan,
                    }
                )
    described = {"data": "digits", "examples": 100, "encoder": "12-5", "batch_size": 64, "negative_slope": 0.1}
    return pandas.DataFrame(rows).assign(**described).reindex(columns=list(analysis.COLUMNS))


ERRORS = {("elu", 0.1): 0.2, ("relu", 0.1): 0.3, ("tanh", 0.1): 0.25, ("elu", 0.01): 0.5, ("relu", 0.01): 0.4} | {
    ("tanh", 0.01): 0.9
}


def test_verdicts_are_against_the_best_of_the_others() -> None:
    """Four claims, the same sign in all 10 pairs: p = 2⁻⁹, 2⁻⁷ of all claims."""
    found = {decision.claim.identifier: decision for decision in analysis.decisions(made(ERRORS))}
    assert {name: decision.verdict for name, decision in found.items()} == {
        "training: 0.1": "holds",
        "training: 0.01": "does not hold",
        "test: 0.1": "holds",
        "test: 0.01": "does not hold",
    }
    assert found["test: 0.1"].effect == pytest.approx(np.log(0.2 / 0.25))
    assert found["training: 0.01"].effect == pytest.approx(np.log(0.5 / 0.4))
    assert found["test: 0.1"].adjusted_p == pytest.approx(2.0**-7)


def test_a_diverged_run_counts_as_worst_and_is_named() -> None:
    lost = tuple(("elu", 0.1, seed) for seed in range(9))
    table = made(ERRORS, diverged=lost)
    found = {decision.claim.identifier: decision for decision in analysis.decisions(table)}
    assert (found["training: 0.1"].effect, found["training: 0.1"].verdict) == (np.inf, "does not hold")
    said = analysis.summary(table)
    assert "ELU at learning rate 0.1: 9 of 10 diverged" in said
    both = tuple((name, 0.1, seed) for name in ("elu", "relu", "tanh") for seed in range(10))
    found = {decision.claim.identifier: decision for decision in analysis.decisions(made(ERRORS, diverged=both))}
    assert (found["training: 0.1"].effect, found["training: 0.1"].verdict) == (0.0, "undecided")


@pytest.mark.parametrize("names", [("elu",), ("relu", "tanh")])
def test_nothing_is_decided_without_elu_or_without_another(names: tuple[str, ...]) -> None:
    table = made({key: error for key, error in ERRORS.items() if key[0] in names})
    assert analysis.decisions(table) == []
    assert "mean over seeds" in analysis.summary(table)


def test_a_learning_rate_too_large_diverges() -> None:
    table = analysis.measure(
        analysis.Config(
            activations=("relu",), encoder=(8,), epochs=1, learning_rates=(1e4, 1e-2), examples=640, seeds=1
        )
    )
    after = table[table["epoch"] == 1].set_index("learning_rate")
    assert after["diverged"].notna().tolist() == [True, False]
    assert after["test_error"].isna().tolist() == [True, False]


def test_record_gives_the_same_figure_and_summary(table: pandas.DataFrame, tmp_path: Path) -> None:
    saved = records.save(tmp_path, table, analysis.draw, {"analysis": "autoencoder"})
    first = (tmp_path / "figure.svg").read_bytes()
    again = records.redraw(tmp_path, analysis.draw, analysis="autoencoder")
    assert (tmp_path / "figure.svg").read_bytes() == first
    assert analysis.summary(again) == analysis.summary(saved)
    assert "cannot be decided with 2 seeds" in analysis.summary(again)


def test_figure_shows_medians_of_the_runs_that_did_not_diverge() -> None:
    figure = analysis.draw(made(ERRORS, diverged=(("elu", 0.1, 9), *(("relu", 0.1, seed) for seed in range(10)))))
    panels = np.array(figure.axes).reshape(2, 2)
    lines = {line.get_color(): line for line in panels[1, 0].get_lines()}
    elu = lines[analysis.look_of("elu").colour]
    assert np.asarray(elu.get_ydata())[-1] == pytest.approx(2 * 0.2 * 1.04)  # of seeds 0 … 8
    assert len(np.asarray(lines[analysis.look_of("relu").colour].get_ydata())) == 0
    assert panels[0, 0].texts[0].get_text() == "ELU: 1 of 10 diverged\nReLU: 10 of 10 diverged"


def test_a_table_of_diverged_runs_alone_is_drawn() -> None:
    lost = tuple((name, rate, seed) for name, rate in ERRORS for seed in range(10))
    assert figure_bytes(analysis.draw(made(ERRORS, diverged=lost)), "svg").startswith(b"<?xml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations": ()}, "activations are none"),
        ({"activations": ("elu", "elu")}, "give each once"),
        ({"activations": ("elo",)}, "unknown activation"),
        ({"epochs": 0}, "epochs is 0"),
        ({"seeds": 0}, "seeds is 0"),
        ({"encoder": ()}, "encoder are none"),
        ({"encoder": (5, 0)}, "encoder holds 0; give 1 or more"),
        ({"learning_rates": ()}, "learning_rates are none"),
    ],
)
def test_bad_configurations(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        analysis.measure(analysis.Config(**options))
