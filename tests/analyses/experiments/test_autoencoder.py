"""Errors against plain PyTorch, what becomes of diverged runs, verdicts on tables made for them, and the figure."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from torch import nn

from analyses.data import datasets
from analyses.experiments import autoencoder as analysis
from analyses.experiments.autoencoder.measurement import Cell, Reconstruction
from analyses.experiments.autoencoder.settings import FIRST_SEED
from analyses.framework.settings import named_activation
from analyses.networks.architectures import AUTOENCODER, initialise
from analyses.networks.training import batch_order
from elutheory.errors import InputError
from elutheory.output.figures import figure_bytes, look_of
from elutheory.propagation import initialisation
from tests.analyses.experiments.saved_records import saved_and_drawn

SMALL = analysis.Config(
    activations=("elu", "leaky_relu"),
    initialisations=("variance_preserving",),
    encoder=(12, 5),
    epochs=2,
    learning_rates=(0.003, 0.001),
    batch_size=50,
    examples=120,
    measured=70,
    seeds=2,
)
KEYS = ["output", "initialisation", "activation", "learning_rate", "seed", "epoch"]


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return analysis.measure(SMALL)


def test_a_row_a_network_and_epoch(table: pandas.DataFrame) -> None:
    assert list(table.columns) == list(analysis.COLUMNS)
    assert len(table) == len(table.groupby(KEYS)) == 2 * 2 * 2 * 2 * 3
    assert set(zip(table["examples"], table["encoder"], strict=True)) == {(120, "12-5")}


@pytest.mark.parametrize(("name", "function"), [("elu", nn.ELU()), ("leaky_relu", nn.LeakyReLU(0.1))])
@pytest.mark.parametrize("output", ["logistic", "linear"])
def test_errors_are_those_of_a_plain_loop(table: pandas.DataFrame, name: str, function: nn.Module, output: str) -> None:
    """torch.optim.SGD in float32 on nn.Sequential: equal but for rounding, of relative size 2⁻²⁴ an operation."""
    data = datasets.load("digits").subset(120)
    images, unseen = data.train.inputs.reshape(120, 64), data.test.inputs.reshape(-1, 64)
    measured = data.subset(70).train.inputs.reshape(70, 64)
    layers = [layer for sizes in pairwise((64, 12, 5, 12, 64)) for layer in (nn.Linear(*sizes), function)]
    start = initialisation("variance_preserving", named_activation(name, 0.1))
    variances = {"weight_variance": start.weight_variance, "bias_variance": start.bias_variance}
    network = initialise(nn.Sequential(*layers[:-1]), seed=FIRST_SEED + 1, **variances)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.003)
    final = torch.sigmoid if output == "logistic" else lambda outputs: outputs

    def errors() -> list[float]:
        with torch.no_grad():
            return [(final(network(x)) - x).square().mean().item() for x in (measured, unseen)]

    expected = [errors()]
    for epoch in range(2):
        for batch in batch_order(FIRST_SEED + 1, epoch, 120).split(50):
            optimizer.zero_grad()
            outputs, targets = network(images[batch]), images[batch]
            loss = (
                nn.functional.binary_cross_entropy(torch.sigmoid(outputs), targets, reduction="sum")
                if output == "logistic"
                else (outputs - targets).square().sum() / 2
            )
            (loss / len(batch)).backward()
            optimizer.step()
        expected.append(errors())
    runs = table.query(
        "activation == @name and learning_rate == 0.003 and seed == @FIRST_SEED + 1 and output == @output"
    )
    assert runs[["training_error", "test_error"]].to_numpy() == pytest.approx(np.array(expected), rel=1e-4)


def test_baseline_is_the_error_of_the_mean_image(table: pandas.DataFrame) -> None:
    data = datasets.load("digits").flattened().subset(120)
    mean, measured = data.train.inputs.mean(0), data.subset(70).train.inputs
    for split, images in (("training", measured), ("test", data.test.inputs)):
        expected = nn.functional.mse_loss(mean.expand_as(images), images).item()
        assert table[f"mean_image_{split}"].unique() == pytest.approx([expected])


def test_reconstruction_targets_are_the_inputs() -> None:
    data = datasets.load("digits").flattened()
    reconstruction = Reconstruction.of(data)
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
    monkeypatch.setattr("analyses.experiments.autoencoder.measurement.train", train)
    monkeypatch.setattr(datasets, "load", lambda _: datasets.Dataset("images", 10, images, images, images, ""))
    with pytest.raises(KeyboardInterrupt):
        analysis.measure_cell(analysis.PRESETS["paper"], Cell("elu", "logistic", "he"), "cpu")
    assert built == [(units, inputs) for inputs, units in pairwise(AUTOENCODER)]


# --- tables made by hand ---------------------------------------------------------------------------------------------


def made(errors: dict[tuple[str, float], float], seeds: int = 3, diverged: tuple[Any, ...] = ()) -> pandas.DataFrame:
    """One epoch of logistic outputs; errors (1 + noise) times the given; the mean image's are 1 and 2.

    `diverged`: (activation, learning rate, seed) triples.
    """
    rows: list[dict[str, Any]] = []
    for place, ((name, rate), error) in enumerate(errors.items()):
        for seed in range(seeds):
            for epoch in (0, 1):
                lost = epoch == 1 and (name, rate, seed) in diverged
                noise = 1 + np.sin(7 * place + seed) / 200
                value = np.nan if lost else (3.0 if epoch == 0 else error) * noise
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
    described |= {"output": "logistic", "initialisation": "he", "mean_image_training": 1.0, "mean_image_test": 2.0}
    return pandas.DataFrame(rows).assign(**described).reindex(columns=list(analysis.COLUMNS))


ERRORS = {("elu", 0.1): 0.2, ("relu", 0.1): 0.3, ("tanh", 0.1): 0.25, ("elu", 0.01): 0.45, ("relu", 0.01): 0.4} | {
    ("tanh", 0.01): 0.9
}
CASE = "logistic output, He, learning rate"


def test_verdicts_are_against_the_best_of_the_others() -> None:
    found = {decision.claim.identifier: decision for decision in analysis.decisions(made(ERRORS))}
    assert {name: decision.verdict for name, decision in found.items()} == {
        f"test: {CASE} 0.1": "holds",
        f"test: {CASE} 0.01": "does not hold",
        f"training: {CASE} 0.1": "holds",
        f"training: {CASE} 0.01": "does not hold",
    }
    assert found[f"test: {CASE} 0.1"].effect == pytest.approx(np.log(0.2 / 0.25), abs=0.02)
    assert "lowest in 1 of 2 cases, not so in 1." in analysis.finding(made(ERRORS))


@pytest.mark.parametrize(
    ("errors", "void"),
    [
        ({("elu", 0.1): 0.6, ("relu", 0.1): 0.3}, True),
        ({("elu", 0.1): 0.3, ("relu", 0.1): 0.6}, True),
        ({("elu", 0.1): 0.3, ("relu", 0.1): 0.6, ("tanh", 0.1): 0.4}, False),
        ({("elu", 0.1): 0.49, ("relu", 0.1): 0.48}, False),
    ],
)
def test_networks_not_below_half_of_the_mean_image_are_not_trained(errors: Any, void: bool) -> None:
    found = analysis.decisions(made(errors))
    assert {decision.verdict == "not trained" for decision in found} == {void}
    assert ("have networks that have not learned" in analysis.finding(made(errors))) == void


def test_a_diverged_run_counts_as_the_mean_image_and_is_named() -> None:
    lost = tuple(("elu", 0.1, seed) for seed in range(2))
    found = {one.claim.identifier: one for one in analysis.decisions(made(ERRORS, diverged=lost))}
    expected = (2 * np.log(1 / 0.25) + np.log(0.2 / 0.25)) / 3
    assert found[f"training: {CASE} 0.1"].effect == pytest.approx(expected, abs=0.02)
    assert "2 networks of ELU diverged" in analysis.summary(made(ERRORS, diverged=lost))


@pytest.mark.parametrize("names", [("elu",), ("relu", "tanh")])
def test_nothing_is_decided_without_elu_or_without_another(names: tuple[str, ...]) -> None:
    table = made({key: error for key, error in ERRORS.items() if key[0] in names})
    assert analysis.decisions(table) == []
    assert "mean over seeds" in analysis.summary(table)


def test_a_learning_rate_too_large_diverges() -> None:
    config = analysis.Config(
        activations=("relu",),
        outputs=("linear",),
        initialisations=("he",),
        encoder=(8,),
        epochs=1,
        learning_rates=(1e4, 1e-2),
        examples=640,
        seeds=1,
    )
    table = analysis.measure(config)
    after = table[table["epoch"] == 1].set_index("learning_rate")
    assert after["diverged"].notna().tolist() == [True, False]
    assert after["test_error"].isna().tolist() == [True, False]


def test_record_gives_the_same_figure_and_summary(table: pandas.DataFrame) -> None:
    again = saved_and_drawn(table, analysis.draw)
    assert analysis.summary(again)


def test_figure_shows_medians_of_the_runs_that_did_not_diverge_and_the_mean_image() -> None:
    lost = (("elu", 0.1, 2), *(("relu", 0.1, seed) for seed in range(3)))
    table = made(ERRORS, diverged=lost)
    panel = analysis.draw(table).axes[0]
    lines = {line.get_color(): line for line in panel.get_lines()}
    elu = table.query("activation == 'elu' and learning_rate == 0.1 and epoch == 1 and seed < 2")["test_error"]
    assert np.asarray(lines[look_of("elu").colour].get_ydata())[-1] == pytest.approx(elu.median())
    assert len(np.asarray(lines[look_of("relu").colour].get_ydata())) == 0
    assert "ELU: 1 diverged\nReLU: 3 diverged" in [text.get_text() for text in panel.texts]
    assert [np.asarray(line.get_ydata())[0] for line in panel.get_lines()[-2:]] == [2.0, 1.0]


def test_a_table_of_diverged_runs_alone_is_drawn() -> None:
    lost = tuple((name, rate, seed) for name, rate in ERRORS for seed in range(3))
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
        ({"outputs": ("relu",)}, "outputs"),
        ({"initialisations": ("he", "he")}, "give each once"),
    ],
)
def test_bad_configurations(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        analysis.measure(analysis.Config(**options))
