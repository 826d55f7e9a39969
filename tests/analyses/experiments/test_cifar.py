"""The recipe against the paper's numbers, layers' means by hand and against theory, resuming, planted verdicts."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from torch import nn

from analyses.data.prepared_images import prepared_images
from analyses.experiments import cifar
from analyses.experiments.cifar import recipe
from analyses.experiments.cifar.measurement import FIRST_SEED, Cell, cells, measure_cell, measured_images
from analyses.experiments.cifar.settings import BATCH, COLUMNS, NONE, PRESETS, Config, layers_of
from analyses.experiments.cifar.verdicts import (
    BELOW_NORMALISED,
    CLAIMS,
    NOT_IMPROVED,
    decisions,
    final_errors,
    summary,
    threshold,
    training_times,
    untrained,
)
from analyses.networks.layer_means import hidden_layers, layer_means, layer_moments
from elutheory.activations import activation
from elutheory.errors import InputError

SMALL = Config(examples=60, width=0.02, activations=("elu", "relu"), epochs=3, batch_size=25, padding=1, measured=20)
PAPER_UPDATES = {"11_layers": (165_000, 330), "18_layers": (205_000, 410)}


# --- the recipe -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("normalisation", "of_normalisation"), [(NONE, 0), (BATCH, 2 * (2 * 192 + 2 * 240 + 2 * 260))])
def test_the_network_of_figure_4_has_the_papers_units(normalisation: str, of_normalisation: int) -> None:
    """By hand: sum of field² · channels · units + units over 192 (5), 192, 240 (3), … 300 (2), 300, classes."""
    of_normalisation += 2 * (2 * 280 + 2 * 300) if normalisation == BATCH else 0
    with torch.device("meta"):
        network = recipe.builder(Config(), activation("elu"), normalisation, (3, 32, 32), 10)()
    pairs = [(3, 192, 5), (192, 192, 1), (192, 240, 3), (240, 240, 1), (240, 260, 2), (260, 260, 1), (260, 280, 2)]
    pairs += [(280, 280, 1), (280, 300, 2), (300, 300, 1), (300, 10, 1)]
    expected = sum(field**2 * channels * units + units for channels, units, field in pairs)
    assert expected == 1_669_028 - 90 * 301
    assert sum(parameter.numel() for parameter in network.parameters()) == expected + of_normalisation


@pytest.mark.parametrize("name", PAPER_UPDATES)
def test_the_papers_epochs_are_its_updates(name: str) -> None:
    updates, epochs = PAPER_UPDATES[name]
    assert recipe.RECIPES[name].updates == updates == epochs * 50_000 // 100


def test_learning_rates_change_where_the_papers_do() -> None:
    eleven, eighteen = Config(), Config(network="18_layers")
    assert recipe.schedule(eleven, 165_000) == ((35_000, 0.5), (85_000, 0.05), (135_000, 0.005))
    assert recipe.schedule(eleven, 165) == ((35, 0.5), (85, 0.05), (135, 0.005))
    assert recipe.schedule(eighteen, 205_000) == ((35_000, 0.1),)
    assert recipe.schedule(eleven, 1) == ((0, 0.5),)  # 0.21 rounds to 0; the others fall behind the end
    rates = [0.01 * factor for _, factor in recipe.schedule(eleven, 165_000)]
    np.testing.assert_allclose(rates, [0.005, 0.0005, 0.00005])


def test_dropout_is_raised_in_two_phases() -> None:
    """At first in the last layers of stacks; in all layers for 50,000 updates; 1.5 times that for 40,000."""
    config = Config(network="18_layers")
    layers = {"first": 1, "second": 4, "third": 4, "fourth": 3, "fifth": 3, "sixth": 2, "seventh": 1}
    rates = dict(zip(layers, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5), strict=True))
    last = [rate for name, rate in rates.items() for rate in [0.0] * (layers[name] - 1) + [rate]]
    everywhere = [rates[name] for name, count in layers.items() for _ in range(count)]
    assert len(everywhere) == 18
    for updates in (205_000, 205):
        for update, expected in (
            (0, last),
            (115, everywhere),
            (164, everywhere),
            (165, [1.5 * rate for rate in everywhere]),
            (204, [1.5 * rate for rate in everywhere]),
        ):
            found = recipe.dropout_rates(config, updates, update * updates // 205)
            np.testing.assert_allclose(found, expected)
    assert recipe.dropout_rates(config, 205_000, 114_999) == last
    assert recipe.dropout_raising(Config(), 100) is None
    adjust = recipe.dropout_raising(config, 205)
    assert adjust is not None
    network = recipe.builder(dataclasses.replace(config, width=0.01), activation("elu"), NONE, (3, 8, 8), 10)()
    adjust(network, 170)
    found = [module.p for module in network if isinstance(module, nn.Dropout)]
    np.testing.assert_allclose(found, [1.5 * rate for rate in everywhere])


def test_weights_decay_and_nothing_else() -> None:
    network = recipe.builder(SMALL, activation("elu"), BATCH, (1, 8, 8), 10)()
    optimizer = recipe.optimizer(SMALL)(network, 0.3)
    decaying = {id(held) for group in optimizer.param_groups if group["weight_decay"] for held in group["params"]}
    weights = {id(module.weight) for module in network if isinstance(module, nn.Conv2d)}
    assert decaying == weights
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(map(id, network.parameters()))
    assert {(group["momentum"], group["lr"]) for group in optimizer.param_groups} == {(0.9, 0.3)}


def test_the_same_seed_starts_alike_whatever_activation_and_normalisation() -> None:
    weights = []
    for name, normalisation in (("elu", NONE), ("relu", BATCH), ("shifted_relu", NONE)):
        network = recipe.initialised(recipe.builder(SMALL, activation(name), normalisation, (1, 8, 8), 10)(), 3)
        weights.append([module.weight for module in network if isinstance(module, nn.Conv2d)])
    for layers in zip(*weights, strict=True):
        for other in layers[1:]:
            torch.testing.assert_close(other, layers[0], rtol=0, atol=0)


# --- layers' means --------------------------------------------------------------------------------------------------


def images(count: int = 6) -> torch.Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("normalisation", [NONE, BATCH])
def test_layers_means_by_hooks(normalisation: str) -> None:
    """In training mode without dropout, which is how batch normalisation takes the images' own statistics."""
    network = recipe.initialised(recipe.builder(SMALL, activation("elu"), normalisation, (1, 8, 8), 10)(), 0)
    state = {name: held.clone() for name, held in network.state_dict().items()}
    found = layer_means(network, images())
    for name, held in network.state_dict().items():
        assert torch.equal(held, state[name]), name
    seen: list[torch.Tensor] = []
    for module in network.train():
        if isinstance(module, nn.ELU):
            module.register_forward_hook(lambda _, __, outputs: seen.append(outputs.detach()))
        elif isinstance(module, nn.Dropout):
            module.p = 0.0
    network(images())
    assert len(seen) == 10
    expected = [float(values.mean()) for values in seen]
    np.testing.assert_allclose(found["mean"].detach(), expected, rtol=1e-4, atol=1e-6)
    channels = torch.cat([values.mean((0, 2, 3)) for values in seen])
    assert float(found["unit_mean_median"].detach()) == pytest.approx(float(channels.median()), rel=1e-4, abs=1e-6)
    share = float(seen[3].mean((0, 2, 3)).square().sum() / seen[3].square().mean((0, 2, 3)).sum())
    assert float(found["mean_share"][3].detach()) == pytest.approx(share, rel=1e-4)


@pytest.mark.parametrize("name", ["elu", "shifted_relu"])
def test_predicted_means_are_those_over_many_networks(name: str) -> None:
    """Given what a layer receives: the first layer's inputs are the same in all networks, so all share its M3."""
    found, predicted = [], []
    for seed in range(100):
        network = recipe.initialised(recipe.builder(SMALL, activation(name), NONE, (1, 8, 8), 10)(), seed)
        first = next(iter(hidden_layers(network, images())))
        found.append(float(first.activations.detach().mean()))
        if seed == 0:
            predicted = layer_moments(network, [images()], activation(name))
    assert np.mean(found) == pytest.approx(predicted[0].mean.predicted, abs=4 * np.std(found) / 100**0.5)


def test_deep_layers_means_lie_in_their_bands() -> None:
    """Of 20 networks: in every layer the sum of measured less predicted is within four standard deviations, and its
    square is the band's, roughly."""
    differences, bands = [], []
    config = dataclasses.replace(SMALL, width=0.15)
    for seed in range(20):
        network = recipe.initialised(recipe.builder(config, activation("elu"), NONE, (1, 8, 8), 10)(), seed)
        predicted = layer_moments(network, [images()], activation("elu"))
        measured = layer_means(network, images())["mean"].detach().numpy()
        differences.append(measured - [said.mean.predicted for said in predicted])
        bands.append([said.mean.band for said in predicted])
    spread = np.square(bands).sum(0) ** 0.5
    assert (np.abs(np.sum(differences, 0)) < 4 * spread).all()
    assert 0.6 < np.square(differences).sum() / np.square(bands).sum() < 1.7


def test_behind_batch_normalisation_the_mean_is_that_of_a_standard_normal() -> None:
    network = recipe.initialised(recipe.builder(SMALL, activation("relu"), BATCH, (1, 8, 8), 10)(), 0)
    predicted = layer_moments(network, [images()], activation("relu"))
    assert [said.mean.predicted for said in predicted] == pytest.approx([1 / (2 * np.pi) ** 0.5] * 10)
    assert np.isnan([said.mean.band for said in predicted]).all()


# --- the table ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return cifar.measure(dataclasses.replace(SMALL, seeds=1))


def test_table_has_a_row_a_network_and_epoch(table: pandas.DataFrame) -> None:
    assert table.columns.tolist()[: len(COLUMNS)] == list(COLUMNS)
    assert layers_of(table) == list(range(1, 11))
    assert len(table) == 4 * (SMALL.epochs + 1)
    start = table["epoch"] == 0
    assert table.loc[start & (table["normalisation"] == NONE), "band_10"].notna().all()
    assert table.loc[start, "predicted_1"].notna().all()
    assert table.loc[~start, ["predicted_1", "band_1"]].isna().all(axis=None)
    assert (table["updates"] == 3 * 3).all()
    assert table.loc[~start, "updates_per_second"].gt(0).all()
    assert set(table["seed"]) == {FIRST_SEED}
    assert cifar.draw(table)
    assert "not trained: ELU" in summary(table)


def test_measured_images_are_the_papers_training_images() -> None:
    data = prepared_images("digits", SMALL.examples, SMALL.regularisation)
    found = measured_images(data.train, 20)
    assert found.shape == (20, 1, 8, 8)
    rows = {tuple(image.flatten().tolist()) for image in data.train.inputs}
    assert all(tuple(image.flatten().tolist()) in rows for image in found)
    assert len(measured_images(data.train, 10**5)) == SMALL.examples


def test_an_interrupted_network_goes_on_with_the_same_bits(
    tmp_path: Path, table: pandas.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second epoch, with dropout, batch normalisation and momentum; updates per second aside."""
    from analyses.networks import augmentation, training

    cell, checkpoint = Cell(FIRST_SEED, "elu", BATCH), tmp_path / "cell.safetensors"
    whole_draws = augmentation.draws

    def interrupted(seed: int, update: int, examples: int, room: int):
        if update == 5:
            raise KeyboardInterrupt
        return whole_draws(seed, update, examples, room)

    monkeypatch.setitem(training.train.__kwdefaults__, "checkpoint_seconds", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(augmentation, "draws", interrupted)
        with pytest.raises(KeyboardInterrupt):
            measure_cell(SMALL, cell, "cpu", checkpoint=checkpoint)
    assert checkpoint.exists()
    found = measure_cell(SMALL, cell, "cpu", checkpoint=checkpoint).drop(columns="updates_per_second")
    whole = table.query("activation == 'elu' and normalisation == 'batch'").drop(columns="updates_per_second")
    pandas.testing.assert_frame_equal(found, whole.reset_index(drop=True), check_exact=True)


def test_cells_come_seed_after_seed() -> None:
    found = cells(dataclasses.replace(SMALL, seeds=2))
    assert [cell.seed - FIRST_SEED for cell in found] == [0] * 4 + [1] * 4
    assert len(cells(PRESETS["paper"])) == 80
    assert len(cells(PRESETS["paper_18"])) == 1


@pytest.mark.parametrize(
    "change",
    [{"network": "12_layers"}, {"normalisations": ("layer",)}, {"width": 0.0}, {"precision": "16"}, {"momentum": 1.0}],
)
def test_bad_options_are_refused(change: dict) -> None:
    with pytest.raises(InputError):
        cells(dataclasses.replace(SMALL, **change))


@pytest.mark.parametrize(("examples", "batch_size"), [(51, 25), (1, 100), (7, 3)])
def test_a_last_batch_of_one_is_refused_before_anything_is_trained(examples: int, batch_size: int) -> None:
    """By the first network, though it has no batch normalisation itself."""
    config = dataclasses.replace(SMALL, examples=examples, batch_size=batch_size)
    with pytest.raises(InputError, match="has one, and batch normalisation needs two; change batch_size"):
        measure_cell(config, Cell(FIRST_SEED, "elu", NONE), "cpu")


# --- verdicts -------------------------------------------------------------------------------------------------------

ARMS = [
    (name, normalisation) for name in ("elu", "relu", "leaky_relu", "shifted_relu") for normalisation in (NONE, BATCH)
]


def planted(errors: dict[tuple[str, str], float], seeds: int = 8, diverging: tuple[str, str] | None = None, **more):
    """Test errors of the last of ten epochs, the same before; with a spread by seed."""
    rows = []
    for arm in ARMS:
        for seed in range(seeds):
            for epoch in range(11):
                error = errors.get(arm, 0.5) + 0.01 * np.sin(seed) + 1e-4 * np.cos(seed + ARMS.index(arm))
                gone = arm == diverging and epoch > 3
                rows.append(
                    {"activation": arm[0], "normalisation": arm[1], "seed": seed, "epoch": epoch}
                    | {"test_error": np.nan if gone else (error if epoch == 10 else 0.9)}
                    | {"diverged": 3.0 if arm == diverging else np.nan, "updates_per_second": 2.0 if epoch else np.nan}
                    | {"mean_1": 0.1, "mean_share_1": 0.2, "predicted_1": 0.1 if epoch == 0 else np.nan, "band_1": 0.01}
                )
    settings = {"data": "planted", "examples": 5000, "network": "11_layers", "width": 0.5, "precision": "32-true"}
    settings |= {"batch_size": 100, "updates": 7200, "operations": 1e9, "paper_operations": 4e9}
    return pandas.DataFrame(rows).assign(**{**settings, "chance_error": 0.9, "test_examples": 10_000, **more})


def verdicts(found: pandas.DataFrame) -> dict[str, str]:
    return {decision.claim.identifier: decision.verdict for decision in decisions(found)}


def test_the_papers_outcome_holds_and_its_opposite_does_not() -> None:
    paper = {("elu", NONE): 0.40, ("elu", BATCH): 0.40, ("relu", BATCH): 0.45}
    assert set(verdicts(planted(paper)).values()) == {"holds"}
    opposite = {("elu", NONE): 0.60, ("elu", BATCH): 0.50, ("relu", BATCH): 0.45}
    assert set(verdicts(planted(opposite)).values()) == {"does not hold"}
    assert len(CLAIMS) == 4
    assert len(CLAIMS) * 2.0 ** (1 - PRESETS["reduced"].seeds) <= CLAIMS[0].level
    assert len(CLAIMS) * 2.0 ** (1 - PRESETS["paper"].seeds) <= CLAIMS[0].level
    assert set(verdicts(planted(paper, seeds=7)).values()) == {"cannot be decided"}


@pytest.mark.parametrize(
    ("improvement", "verdict"), [(-0.01, "holds"), (0.0, "holds"), (0.0045, "holds"), (0.006, "does not hold")]
)
def test_half_a_point_is_granted_to_batch_normalisation(improvement: float, verdict: str) -> None:
    found = planted({("elu", NONE): 0.5, ("elu", BATCH): 0.5 - improvement})
    assert verdicts(found)[NOT_IMPROVED] == verdict
    (decision,) = [one for one in decisions(found) if one.claim.identifier == NOT_IMPROVED]
    assert decision.effect == pytest.approx(0.5 - 100 * improvement, abs=0.03)


def test_networks_no_better_than_chance_decide_nothing() -> None:
    """Chance 90 %, 10,000 images: three standard deviations are 0.9 points."""
    assert threshold(planted({})) == pytest.approx(100 * (0.9 - 3 * (0.9 * 0.1 / 10_000) ** 0.5))
    found = planted({("relu", BATCH): 0.91})
    assert untrained(found) == {("relu", BATCH): 8}
    assert verdicts(found)[BELOW_NORMALISED] == "not trained"
    assert "not trained" not in {verdict for name, verdict in verdicts(found).items() if name != BELOW_NORMALISED}
    assert "8 of 8 networks of ReLU + batch normalisation are no better than chance (89.1 %)" in summary(found)
    assert str(decisions(found)[0]).startswith("not trained: ELU without")


def test_diverged_runs_count_as_worst_and_are_counted() -> None:
    found = planted({}, diverging=("relu", NONE))
    assert np.isinf(final_errors(found)[("relu", NONE)]).all()
    assert verdicts(found)["elu below relu"] == "holds"
    assert untrained(found) == {}
    assert "ReLU: nan (nan); 8 of 8 diverged" in summary(found)
    assert verdicts(planted({}, diverging=("elu", NONE)))["elu below leaky_relu"] == "does not hold"
    (lost,) = [text.get_text() for text in cifar.draw(found).axes[1].texts]
    assert lost == "8 diverged"


def test_only_claims_about_networks_that_were_run_are_decided() -> None:
    found = planted({})
    assert list(verdicts(found[found["activation"].isin(["elu", "leaky_relu"])])) == [
        NOT_IMPROVED,
        "elu below leaky_relu",
    ]
    assert decisions(found[found["activation"] == "relu"]) == []


def test_the_error_is_the_mean_over_the_last_tenth_of_the_epochs() -> None:
    found = planted({("elu", NONE): 0.3})
    errors = final_errors(found)[("elu", NONE)]
    seeds = np.arange(8)
    np.testing.assert_allclose(errors, 30 + np.sin(seeds) + 0.01 * np.cos(seeds))
    longer = pandas.concat([found, found[found["epoch"] > 0].assign(epoch=found["epoch"] + 10)])
    np.testing.assert_allclose(final_errors(longer)[("elu", NONE)], (errors + 90) / 2)


def test_times_of_the_papers_size_follow_from_the_operations_measured() -> None:
    """2 updates of 1e9 operations per second: 165,000 of 4e9 take 330,000 s."""
    times = training_times(planted({}))
    assert len(times) == 8
    np.testing.assert_allclose(times["hours"], 1.0)
    np.testing.assert_allclose(times["paper_hours"], 165_000 * 2 / 3600)
    assert "ELU: 2, 2e+09; 60 minutes, 3.8 days" in summary(planted({}))
