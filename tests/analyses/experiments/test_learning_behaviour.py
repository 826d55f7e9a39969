"""The median unit mean by hand and against theory, its prediction by another route, verdicts from planted records."""

import numpy as np
import pandas
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch import nn

from analyses.experiments import learning_behaviour
from analyses.experiments.learning_behaviour.figure import draw
from analyses.experiments.learning_behaviour.measurement import (
    Cell,
    cells,
    input_moments,
    measure_cell,
    median_unit_mean,
)
from analyses.experiments.learning_behaviour.prediction import drawn_unit_means, initial_median
from analyses.experiments.learning_behaviour.settings import COLUMNS, PRESETS, Config
from analyses.experiments.learning_behaviour.verdicts import CLAIMS, decisions, run_statistics, summary
from analyses.networks.architectures import fully_connected, hidden_activations, initialise
from elutheory.activations import activation
from elutheory.errors import InputError
from elutheory.moments import gaussian_moments
from elutheory.output.figures import figure_bytes
from elutheory.propagation import propagate

SMALL = Config(layers=2, units=5, epochs=3, examples=130, measured=50, seeds=2)
FUNCTIONS = {name: activation(name) for name in ("elu", "relu", "hard_tanh")}


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return learning_behaviour.measure(SMALL)


# --- the prediction before training ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["elu", "relu"])
@pytest.mark.parametrize(("second_moment", "overlap"), [(1.0, 0.5), (2.0, 0.1)])
def test_prediction_is_the_root_of_the_pooled_distribution(name: str, second_moment: float, overlap: float) -> None:
    """Σ_l Φ(μ_l(t)/√c_l) = layers/2, M(μ_l(t), v_l) = t, by two nested root searches."""
    function = FUNCTIONS[name]
    layers = propagate(function, 4, 2.0, 0.0, second_moment, overlap).table[["c", "variance_over_data"]].to_numpy()

    def share_below(median: float) -> float:
        def net_mean(variance: float) -> float:
            return brentq(lambda mu: gaussian_moments(function, mu, variance**0.5).mean - median, -30, 30, xtol=1e-13)

        return sum(norm.cdf(net_mean(variance) / spread**0.5) for spread, variance in layers) - 2.0

    median = brentq(share_below, 0.01, 2.0, xtol=1e-12)
    found = initial_median(function, 4, 50, second_moment, overlap, networks=10)
    assert found.value == pytest.approx(median, rel=2e-4)
    assert found.low < found.value < found.high


def test_one_layer_has_the_median_of_p2() -> None:
    found = initial_median(FUNCTIONS["elu"], 1, 20, 1.0, 0.4, networks=10)
    expected = propagate("elu", 1, 2.0, 0.0, 1.0, 0.4).table["unit_mean_median"].iloc[0]
    assert found.value == pytest.approx(expected, rel=1e-9)


def test_odd_activations_have_median_zero_and_a_symmetric_band() -> None:
    found = initial_median(FUNCTIONS["hard_tanh"], 3, 40, 1.0, 0.4, networks=2000)
    assert found.value == pytest.approx(0.0, abs=1e-12)
    assert found.low == pytest.approx(-found.high, rel=0.15)  # quantiles of 2,000 draws: 6 standard errors


def test_band_of_one_layer_is_p6s() -> None:
    """The standard deviation of a median of 128 unit means, to leading order; 4 standard errors of 2,000 networks."""
    means = drawn_unit_means(FUNCTIONS["elu"], 1, 128, 1.0, 0.5, 2.0, 2000)
    expected = propagate("elu", 1, 2.0, 0.0, 1.0, 0.5, width=128).table["unit_mean_median_std"].iloc[0]
    assert np.median(means, axis=2).std() == pytest.approx(expected, rel=4 / np.sqrt(2 * 2000) + 1 / 128)


def test_band_holds_the_medians_of_random_networks_on_gaussian_data() -> None:
    """200 networks, on inputs of one mean and independent coordinates: 95 % in the band, within 4 standard errors."""
    generator = torch.Generator().manual_seed(0)
    inputs = 0.7 + 0.7 * torch.randn(400, 60, generator=generator)
    found = initial_median(FUNCTIONS["elu"], 3, 32, *input_moments(inputs))
    medians = [
        float(median_unit_mean(initialise(fully_connected((60, 32, 32, 32, 2), "elu"), seed), inputs).detach())  # pyright: ignore
        for seed in range(200)
    ]
    inside = np.mean([found.low < median < found.high for median in medians])
    assert abs(inside - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 200)
    assert np.mean(medians) == pytest.approx(found.value, abs=4 * np.std(medians) / np.sqrt(200))


# --- what is measured -----------------------------------------------------------------------------------------------


def test_input_moments_are_means_over_all_pairs() -> None:
    inputs = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.0, 1.0]])
    gram = (inputs @ inputs.T / 2).numpy()
    assert input_moments(inputs) == pytest.approx((gram.diagonal().mean(), gram.mean()))


def test_table_follows_a_plain_training_loop() -> None:
    """Seed 1, from a loop of torch.nn and torch.optim.SGD over the same batches."""
    from analyses.data import datasets
    from analyses.networks.training import batch_order

    data = datasets.load("digits").standardised("dataset").flattened().subset(SMALL.examples)
    measured = data.subset(SMALL.measured).train.inputs
    network = initialise(fully_connected((64, 5, 5, 10), activation("leaky_relu", negative_slope=0.1)), 1)
    optimizer = torch.optim.SGD(network.parameters(), SMALL.learning_rate)
    loss = nn.functional.cross_entropy
    rows = []
    for epoch in range(SMALL.epochs + 1):
        losses = []
        for batch in batch_order(1, epoch - 1, SMALL.examples).split(SMALL.batch_size) if epoch else []:
            optimizer.zero_grad()
            found = loss(network(data.train.inputs[batch]), data.train.targets[batch])
            losses += [found.item()] * len(batch)
            found.backward()
            optimizer.step()
        with torch.no_grad():
            start = loss(network(data.train.inputs), data.train.targets).item()
            validation = loss(network(data.validation.inputs), data.validation.targets).item()
            means = torch.cat([values.mean(0) for values in hidden_activations(network, measured)])  # pyright: ignore
        rows.append([np.sort(means.numpy())[4], np.mean(losses) if epoch else start, validation])
    table = measure_cell(SMALL, Cell("leaky_relu"), "cpu").query("seed == 1")
    found = table[["unit_mean_median", "training_loss", "validation_loss"]]
    np.testing.assert_allclose(found, np.array(rows), rtol=1e-4, atol=1e-6)


def test_table_has_a_row_a_run_and_epoch_and_the_prediction_at_the_start(table: pandas.DataFrame) -> None:
    assert table.columns.tolist() == list(COLUMNS)
    assert len(table) == 3 * SMALL.seeds * (SMALL.epochs + 1)
    assert table["unit_mean_median"].notna().all()
    start = table[table["epoch"] == 0]
    assert (start["predicted_low"] < start["predicted"]).all()
    assert (start["predicted"] < start["predicted_high"]).all()
    assert table.loc[table["epoch"] > 0, ["predicted", "predicted_low", "predicted_high"]].isna().all(axis=None)
    assert (table["examples"] == SMALL.examples).all()


def test_the_same_seed_starts_alike_whatever_the_activation(table: pandas.DataFrame) -> None:
    """ReLU and leaky ReLU with slope 0 are one function: the same run, batch by batch."""
    config = Config(**{**vars(SMALL), "negative_slope": 0.0})
    relu, leaky = (measure_cell(config, Cell(name), "cpu") for name in ("relu", "leaky_relu"))
    for column in ("unit_mean_median", "training_loss", "validation_loss"):
        np.testing.assert_array_equal(relu[column], leaky[column])


# --- verdicts -------------------------------------------------------------------------------------------------------


def planted(elu: float, rivals: float, seeds: int = 12, diverging: str = "") -> pandas.DataFrame:
    """Medians and losses `elu` of ELUs and `rivals` of the others, halved by the second epoch, with noise by seed."""
    rows = []
    for name in ("elu", "relu", "leaky_relu"):
        size = elu if name == "elu" else rivals
        for seed in range(seeds):
            for epoch in range(3):
                value = size * (1 + 0.01 * np.sin(seed)) * 0.5**epoch
                gone = name == diverging and epoch > 0
                rows.append(
                    {"activation": name, "seed": seed, "epoch": epoch, "diverged": 7.0 if name == diverging else np.nan}
                    | dict.fromkeys(("unit_mean_median", "training_loss", "validation_loss"), np.nan if gone else value)
                    | {"predicted": size, "predicted_low": 0.99 * size, "predicted_high": 1.02 * size}
                )
    settings = {"data": "planted", "examples": 1000, "layers": 2, "units": 3, "learning_rate": 0.1, "batch_size": 64}
    return pandas.DataFrame(rows).assign(**settings)


def test_statistics_by_hand() -> None:
    table = planted(elu=0.4, rivals=1.0, seeds=1)
    table["unit_mean_median"] *= -1
    elu = run_statistics(table).set_index("activation").loc["elu"]
    assert elu["distance"] == pytest.approx((0.2 + 0.1) / 2)
    assert elu["log_training_loss"] == pytest.approx((np.log(0.2) + np.log(0.1)) / 2)
    assert elu["last_training_loss"] == pytest.approx(0.1)
    assert elu["lowest_validation_loss"] == pytest.approx(0.1)


def test_verdicts_on_both_sides() -> None:
    assert {decision.verdict for decision in decisions(planted(0.5, 1.0))} == {"holds"}
    assert {decision.verdict for decision in decisions(planted(1.0, 0.5))} == {"does not hold"}
    few = decisions(planted(0.5, 1.0, seeds=PRESETS["paper"].seeds))
    assert {decision.verdict for decision in few} == {"cannot be decided"}
    assert len(few) == len(CLAIMS) == 8
    assert len(CLAIMS) * 2.0 ** (1 - PRESETS["quick"].seeds) <= CLAIMS[0].level


def test_diverged_runs_count_as_worst_and_are_counted() -> None:
    assert {decision.verdict for decision in decisions(planted(0.5, 1.0, diverging="elu"))} == {"does not hold"}
    verdicts = {d.claim.identifier: d for d in decisions(planted(0.5, 1.0, diverging="relu"))}
    assert {decision.verdict for decision in verdicts.values()} == {"holds"}
    assert verdicts["distance: relu"].effect == -np.inf
    table = planted(0.5, 1.0, diverging="relu")
    assert "12 runs of ReLU diverged" in summary(table)
    labels = [text.get_text() for text in draw(table).axes[2].get_legend().get_texts()]
    assert "ReLU (12 diverged)" in labels


def test_claims_about_activations_that_were_not_run_are_left_out() -> None:
    table = planted(0.5, 1.0)
    without = table[table["activation"] != "leaky_relu"]
    assert {decision.claim.compared for decision in decisions(without)} == {"ELU − ReLU"}
    assert decisions(table[table["activation"] != "elu"]) == []


# --- figure and options ---------------------------------------------------------------------------------------------


def test_figure_repeats_and_says_what_it_shows(table: pandas.DataFrame) -> None:
    first, second = (figure_bytes(draw(table), "svg") for _ in range(2))
    assert first == second
    said = "digits, 130 training examples; 2 hidden layers × 5; learning rate 0.01, batches of 64, 3 epochs; 2 seeds"
    assert draw(table).get_suptitle().startswith(said)
    assert summary(table).startswith(said)


@pytest.mark.parametrize(("elu", "first_digits"), [(0.5, {"1", "2", "5"}), (1e-4, {"1"})])
def test_ticks_of_losses_over_many_decades_are_powers_of_ten(elu: float, first_digits: set[str]) -> None:
    panel = draw(planted(elu, rivals=1.0)).axes[1]
    lowest, highest = panel.get_ylim()
    shown = [tick for tick in panel.get_yticks() if lowest <= tick <= highest]
    assert {f"{tick:e}"[0] for tick in shown} == first_digits


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds is 0"),
        ({"layers": 0}, "layers is 0"),
        ({"measured": 0}, "measured is 0"),
        ({"activations": ()}, "activations are none; give each once"),
        ({"activations": ("elu", "elu")}, "activations are elu, elu; give each once"),
        ({"activations": ("elu", "tanh")}, "activations are elu, tanh; give some of elu, leaky_relu,"),
        ({"negative_slope": -1.0}, "negative_slope is -1.0; a finite number ≥ 0"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cells(Config(**options))  # pyright: ignore[reportArgumentType]
