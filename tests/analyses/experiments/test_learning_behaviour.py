"""The median unit mean by hand and against theory, its prediction by another route, verdicts from planted records."""

import numpy as np
import pandas
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch import nn

from analyses.data import datasets
from analyses.experiments import learning_behaviour
from analyses.experiments.learning_behaviour.figure import draw
from analyses.experiments.learning_behaviour.measurement import (
    Cell,
    cells,
    input_moments,
    measure_cell,
)
from analyses.experiments.learning_behaviour.prediction import drawn_layers, initial_median, initial_shares
from analyses.experiments.learning_behaviour.settings import (
    COLUMNS,
    FIRST_SEED,
    LOSSES,
    PRESETS,
    Config,
    whole_networks,
)
from analyses.experiments.learning_behaviour.verdicts import (
    DECIDING,
    PAIR,
    crossing_epochs,
    decisions,
    finding,
    run_statistics,
    summary,
)
from analyses.networks.architectures import fully_connected, hidden_activations, initialise
from analyses.networks.classifiers import chance
from analyses.networks.training import batch_order
from elutheory.activations import activation
from elutheory.errors import InputError
from elutheory.moments import gaussian_moments
from elutheory.propagation import propagate
from tests.analyses.experiments.saved_records import rendered_alike

SMALL = Config(layers=2, units=5, epochs=3, examples=130, measured=50, seeds=2)
FUNCTIONS = {name: activation(name) for name in ("elu", "relu", "hard_tanh")}


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return learning_behaviour.measure(SMALL)


def pooled_means(network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([values.mean(0) for values in hidden_activations(network, inputs)])  # pyright: ignore


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
    means, shares = drawn_layers(FUNCTIONS["elu"], 1, 128, 1.0, 0.5, 2.0, 2000)
    expected = propagate("elu", 1, 2.0, 0.0, 1.0, 0.5, width=128).table["unit_mean_median_std"].iloc[0]
    assert np.median(means, axis=2).std() == pytest.approx(expected, rel=4 / np.sqrt(2 * 2000) + 1 / 128)
    known = propagate("elu", 1, 2.0, 0.0, 1.0, 0.5, width=128).table.iloc[0]
    assert shares.mean() == pytest.approx(known["mean_share"], abs=4 * shares.std() / np.sqrt(2000) + 1 / 128)
    assert shares.std() == pytest.approx(known["mean_share_std"], rel=4 / np.sqrt(2 * 2000) + 4 / 128)
    value, low, high = initial_shares(FUNCTIONS["elu"], 1, 128, 1.0, 0.5)[0]
    assert value == known["mean_share"]
    assert (high - low) / 2 == pytest.approx(1.96 * known["mean_share_std"], rel=0.15)  # quantiles of 1,000 draws


def test_band_holds_the_medians_of_random_networks_on_gaussian_data() -> None:
    """200 networks, on inputs of one mean and independent coordinates: 95 % in the band, within 4 standard errors."""
    generator = torch.Generator().manual_seed(0)
    inputs = 0.7 + 0.7 * torch.randn(400, 60, generator=generator)
    found = initial_median(FUNCTIONS["elu"], 3, 32, *input_moments(inputs))
    networks = [initialise(fully_connected((60, 32, 32, 32, 2), "elu"), seed) for seed in range(200)]
    medians = [float(pooled_means(network, inputs).median()) for network in networks]
    inside = np.mean([found.low < median < found.high for median in medians])
    assert abs(inside - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 200)
    assert np.mean(medians) == pytest.approx(found.value, abs=4 * np.std(medians) / np.sqrt(200))


# --- what is measured -----------------------------------------------------------------------------------------------


def test_input_moments_are_means_over_all_pairs() -> None:
    inputs = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.0, 1.0]])
    gram = (inputs @ inputs.T / 2).numpy()
    assert input_moments(inputs) == pytest.approx((gram.diagonal().mean(), gram.mean()))


def test_table_follows_a_plain_training_loop() -> None:
    """The second seed, from a loop of torch.nn and torch.optim.SGD over the same batches; layers by plain averages."""
    data = datasets.load("digits").standardised("dataset").flattened().subset(SMALL.examples)
    measured = data.subset(SMALL.measured).train.inputs
    seed, function = FIRST_SEED + 1, activation("leaky_relu", negative_slope=0.1)
    network = initialise(fully_connected((64, 5, 5, 10), function), seed)
    optimizer = torch.optim.SGD(network.parameters(), SMALL.learning_rate)
    loss = nn.functional.cross_entropy
    rows = []
    for epoch in range(SMALL.epochs + 1):
        losses = []
        for batch in batch_order(seed, epoch - 1, SMALL.examples).split(SMALL.batch_size) if epoch else []:
            optimizer.zero_grad()
            found = loss(network(data.train.inputs[batch]), data.train.targets[batch])
            losses += [found.item()] * len(batch)
            found.backward()
            optimizer.step()
        with torch.no_grad():
            start = loss(network(data.train.inputs), data.train.targets).item()
            validation = loss(network(data.validation.inputs), data.validation.targets).item()
            wrong = (network(data.test.inputs).argmax(1) != data.test.targets).double().mean().item()
        middle = np.sort(pooled_means(network, measured).numpy())[4]
        rows.append([middle, np.mean(losses) if epoch else start, validation, wrong])
    table = measure_cell(SMALL, Cell("leaky_relu"), "cpu").query("seed == @seed")
    found = whole_networks(table)[["unit_mean_median", "training_loss", "validation_loss", "test_error"]]
    np.testing.assert_allclose(found, np.array(rows), rtol=1e-4, atol=1e-6)

    layers = table[(table["layer"] > 0) & (table["epoch"] == SMALL.epochs)]
    first, *_ = (values.double() for values in hidden_activations(network, measured))
    net = network[0](measured).double()
    gaussian = gaussian_moments(function, net.mean(0), net.std(0, correction=0))
    expected = {
        "unit_mean_median": first.mean(0).median(),
        "mean_share": first.mean(0).square().sum() / first.square().mean(0).sum(),
        "gaussian_median": gaussian.mean.median(),
        "gaussian_share": gaussian.mean.square().sum() / gaussian.second_moment.sum(),
    }
    for name, value in expected.items():
        assert layers[name].iloc[0] == pytest.approx(value.item(), rel=1e-4)
    assert layers["unit_mean_low"].iloc[0] <= layers["unit_mean_median"].iloc[0] <= layers["unit_mean_high"].iloc[0]


def test_table_has_a_row_a_run_and_epoch_and_the_prediction_at_the_start(table: pandas.DataFrame) -> None:
    assert table.columns.tolist() == list(COLUMNS)
    networks, layers = whole_networks(table), table[table["layer"] > 0]
    assert len(networks) == 3 * SMALL.seeds * (SMALL.epochs + 1)
    assert len(layers) == 3 * SMALL.seeds * 3 * SMALL.layers  # after 0, 1 and 3 epochs
    assert layers.groupby(["activation", "seed", "epoch"])["layer"].apply(list).tolist() == [[1, 2]] * 18
    assert set(table["seed"]) == {FIRST_SEED, FIRST_SEED + 1}
    assert table["unit_mean_median"].notna().all()
    for rows in (networks, layers):
        start = rows[rows["epoch"] == 0]
        assert (start["predicted_low"] < start["predicted"]).all()
        assert (start["predicted"] < start["predicted_high"]).all()
        assert rows.loc[rows["epoch"] > 0, ["predicted", "predicted_low", "predicted_high"]].isna().all(axis=None)
    assert (table["examples"] == SMALL.examples).all()
    shares = layers[layers["epoch"] == 3].groupby(["activation", "seed"])["mean_share"].mean()
    whole = networks[networks["epoch"] == 3].set_index(["activation", "seed"])["mean_share"]
    np.testing.assert_allclose(shares.sort_index(), whole.sort_index(), rtol=1e-9)


def test_chance_by_hand() -> None:
    data = datasets.load("digits").subset(40)
    counts = np.bincount(data.train.targets.numpy(), minlength=10) / 40
    loss, error = chance(data)
    constant = torch.tensor(counts).log().expand(40, 10)
    assert loss == pytest.approx(nn.functional.cross_entropy(constant, data.train.targets).item())
    assert error == pytest.approx((data.test.targets != int(counts.argmax())).double().mean().item())


def test_the_same_seed_starts_alike_whatever_the_activation(table: pandas.DataFrame) -> None:
    """ReLU and leaky ReLU with slope 0 are one function: the same run, batch by batch."""
    config = Config(**{**vars(SMALL), "negative_slope": 0.0})
    relu, leaky = (measure_cell(config, Cell(name), "cpu") for name in ("relu", "leaky_relu"))
    for column in ("unit_mean_median", "training_loss", "validation_loss", "mean_share"):
        np.testing.assert_array_equal(relu[column], leaky[column])


# --- verdicts -------------------------------------------------------------------------------------------------------

COMPARED = ("unit_mean_median", "training_loss", "validation_loss", "test_error", "mean_share")


def planted(
    elu: float, rivals: float, seeds: int = 5, diverging: str = "", chance_loss: float = 5.0
) -> pandas.DataFrame:
    """Numbers `elu` of ELUs and `rivals` of the others, halved at every epoch, with noise by activation and seed."""
    rows = []
    for place, name in enumerate(("elu", "relu", "leaky_relu")):
        size = elu if name == "elu" else rivals
        for seed in range(seeds):
            for epoch in range(12):
                value = size * (1 + 0.01 * np.sin(seed * (place + 1))) * 0.5**epoch
                gone = name == diverging and epoch > 0
                rows.append(
                    {"activation": name, "seed": seed, "epoch": epoch, "diverged": 7.0 if name == diverging else np.nan}
                    | dict.fromkeys(COMPARED, np.nan if gone else value)
                    | {"predicted": size, "predicted_low": 0.99 * size, "predicted_high": 1.02 * size}
                )
    settings = {"data": "planted", "examples": 1000, "layers": 2, "units": 3, "learning_rate": 0.1, "batch_size": 64}
    return pandas.DataFrame(rows).assign(**settings, layer=0, chance_loss=chance_loss, chance_error=0.9)


def test_statistics_by_hand() -> None:
    """ln loss falls by ln 2 per epoch, from 0.8: middles of epochs 1, 2, … have 0.4, 0.2, …"""
    table = planted(elu=0.8, rivals=1.0, seeds=1)
    table["unit_mean_median"] *= -1
    elu = run_statistics(table).set_index("activation").loc["elu"]
    halves = 0.8 * 0.5 ** np.arange(1, 12)
    assert elu["distance"] == elu["mean_share"] == pytest.approx(halves.mean())
    assert elu["log_training_loss"] == pytest.approx(np.log(halves).mean())
    assert elu["last_training_loss"] == pytest.approx(np.log(halves[-1]))
    assert elu["lowest_validation_loss"] == pytest.approx(np.log(halves[-1]))
    assert elu["test_error"] == pytest.approx(100 * halves[-1])
    expected = {loss: np.log(min(11, 0.5 + np.log2(0.4 / loss))) for loss in LOSSES}
    for loss, value in expected.items():
        assert elu[f"epochs to {loss:g}"] == pytest.approx(value)
    assert elu["epochs"] == pytest.approx(np.mean(list(expected.values())))


def test_verdicts_on_both_sides_with_the_seeds_of_the_paper() -> None:
    for elu, rivals, verdict in ((0.5, 1.0, "holds"), (1.0, 0.5, "does not hold")):
        found = decisions(planted(elu, rivals, seeds=PRESETS["paper"].seeds))
        assert found[0].claim.identifier == DECIDING
        assert len(found) == 1 + len(LOSSES) + 2 * 7
        assert {one.verdict for one in found if one.effect} == {verdict}
        assert {one.claim.identifier for one in found if not one.effect} <= {"epochs to 0.001: relu"}


def test_deciding_claim_is_against_the_faster_of_the_two() -> None:
    table = planted(0.5, 1.0)
    runs = run_statistics(table).set_index(["activation", "seed"])["epochs"].unstack("activation")
    found = decisions(table)[0]
    assert found.effect == pytest.approx((runs["elu"] - runs[list(PAIR)].min(axis=1)).mean())
    assert f"ELU needs {100 * np.exp(found.effect):.0f} %" in finding(table)


def test_networks_that_have_not_learned_have_no_verdict() -> None:
    found = decisions(planted(0.5, 1.0, chance_loss=1e-4))
    assert {one.verdict for one in found} == {"not trained"}
    assert finding(planted(0.5, 1.0, chance_loss=1e-4)).startswith("Not trained")
    table = planted(0.5, 1.0)
    table.loc[table["activation"] == "leaky_relu", "chance_loss"] = 1e-4
    verdicts = {one.claim.identifier: one.verdict for one in decisions(table)}
    assert verdicts[DECIDING] == verdicts["epochs: leaky_relu"] == "not trained"
    assert verdicts["epochs: relu"] == "holds"


def test_crossing_is_the_epoch_from_which_on_the_other_stays_below() -> None:
    table = planted(0.5, 1.0, seeds=2)
    assert np.isnan(crossing_epochs(table, "relu")).all()
    late = (table["activation"] == "relu") & (table["epoch"].isin([3, 8, 9, 10, 11])) & (table["seed"] == 1)
    table.loc[late, "training_loss"] = 1e-9
    np.testing.assert_array_equal(crossing_epochs(table, "relu"), [np.nan, 8.0])
    assert "ReLU is ahead at the end for 1 of 2 seeds, from epoch 8 on" in finding(table)


def test_diverged_runs_count_as_untrained_and_are_counted() -> None:
    verdicts = {d.claim.identifier: d for d in decisions(planted(0.5, 1.0, diverging="elu"))}
    assert verdicts[DECIDING].verdict == "does not hold"
    assert verdicts[DECIDING].effect > 0
    table = planted(0.5, 1.0, diverging="relu")
    verdicts = {d.claim.identifier: d for d in decisions(table)}
    assert {verdicts[f"{name}: relu"].verdict for name in ("epochs", "last_training_loss")} == {"holds"}
    assert "5 runs of ReLU diverged" in summary(table)
    labels = [text.get_text() for text in draw(table).legends[0].get_texts()]
    assert "ReLU (5 diverged)" in labels


def test_claims_about_what_was_not_run_or_measured_are_left_out() -> None:
    table = planted(0.5, 1.0)
    without = table[table["activation"] != "leaky_relu"]
    assert {decision.claim.compared for decision in decisions(without)} == {"ELU − ReLU"}
    assert decisions(table[table["activation"] != "elu"]) == []
    earlier = table.drop(columns=["layer", "test_error", "mean_share", "chance_loss", "chance_error"])
    assert decisions(earlier)[0].verdict == "holds"
    assert "before test errors and layers were measured" in summary(earlier)
    assert len(draw(earlier).axes) == 2


# --- figure and options ---------------------------------------------------------------------------------------------


def test_figure_repeats_and_says_what_it_shows(table: pandas.DataFrame) -> None:
    figure = draw(table)
    said = "digits, 130 training examples; 2 hidden layers × 5; learning rate 0.01, batches of 64, 3 epochs; 2 seeds"
    assert said in " ".join(figure.get_suptitle().split())
    assert summary(table).startswith(said)
    assert [panel.get_title(loc="left")[:3] for panel in figure.axes] == ["(a)", "(b)", "(c)", "(d)"]
    rendered_alike(figure, draw(table))


@pytest.mark.parametrize(("epochs", "first_digits"), [(3, {"1", "2", "5"}), (12, {"1"})])
def test_ticks_of_losses_over_many_decades_are_powers_of_ten(epochs: int, first_digits: set[str]) -> None:
    table = planted(elu=0.5, rivals=1.0)
    panel = draw(table[table["epoch"] < epochs]).axes[1]
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
