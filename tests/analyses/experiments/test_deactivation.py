"""Units that are off: against closed forms, autograd and plain loops; verdicts on made-up tables; to the figure."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from scipy import integrate, stats
from torch import nn

from analyses.experiments import deactivation as analysis
from analyses.experiments.deactivation import draw
from analyses.experiments.deactivation.measurement import cells, measure, states_of
from analyses.experiments.deactivation.noisy_channel import (
    channel_information,
    gaussian_rule,
    information,
    interference,
    sampled_information,
)
from analyses.experiments.deactivation.off_units import (
    HiddenLayer,
    clamped_change,
    coded_degree,
    gain,
    hidden_layers,
    injected_change,
    state_share,
)
from analyses.experiments.deactivation.one_unit import deactivated_variance, unit_rows, variance_error
from analyses.experiments.deactivation.settings import COLUMNS, Config, labelled
from analyses.experiments.deactivation.verdicts import CLAIMS, SLOPES, absent_share, decisions, run_statistics, summary
from analyses.framework.settings import named_activation
from analyses.networks.architectures import fully_connected, initialise
from elutheory.activations import activation
from elutheory.errors import InputError
from elutheory.moments import gaussian_moments
from tests.analyses.experiments.saved_records import rendered_alike

SMALL = Config(
    activations=("elu", "leaky_relu", "relu"),
    negative_slopes=(0.01, 0.25),
    largest_mean=8.0,
    step=2.0,
    stds=(0.5, 1.0),
    samples=4000,
    replicates=4,
    layers=2,
    units=6,
    epochs=1,
    measured=40,
    draws=3,
    seeds=2,
)

# --- information through a noisy channel ------------------------------------------------------------------------------


@pytest.mark.parametrize(("std", "noise"), [(1.0, 0.1), (0.1, 1.0), (0.3, 0.3), (1.0, 0.01)])
def test_linear_channels_have_gaussian_information(std: float, noise: float) -> None:
    """Identity, and leaky ReLU 40 deviations below its kink: ½ ln(1 + s²std²/noise²)."""
    for function, mean, slope in ((activation("identity"), 0.3, 1.0), (named_activation("leaky_relu", 0.1), -40, 0.1)):
        expected = 0.5 * math.log1p((slope * std / noise) ** 2)
        assert channel_information(function, mean, std, noise) == pytest.approx(expected, rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("name", ["elu", "relu", "tanh", "shifted_relu"])
@pytest.mark.parametrize("mean", [-1.5, 0.2])
def test_channel_against_adaptive_quadrature(name: str, mean: float) -> None:
    """∫∫ by scipy.integrate.quad_vec of the joint density: of nothing that the module computes."""
    function, std, noise = activation(name), 0.8, 0.4

    ys = np.arange(-4.4, 8.4, 0.2)

    def joint(x: float) -> np.ndarray:
        return stats.norm.pdf(x, mean, std) * stats.norm.pdf(ys, float(function(x)), noise)

    densities, error, *_ = integrate.quad_vec(
        joint, mean - 7 * std, mean + 7 * std, points=[-1.0, 0.0], epsabs=1e-11, epsrel=1e-11, norm="max"
    )
    assert error < 1e-9
    entropy = -0.2 * (densities * np.log(np.maximum(densities, 1e-300))).sum()
    expected = entropy - stats.norm(scale=noise).entropy()
    assert channel_information(function, mean, std, noise) == pytest.approx(expected, abs=2e-7)


def test_interference_of_normal_values() -> None:
    """Leaky ReLU far from its kink, x and s x: ½ ln(1 + v/n) − ½ ln(1 + v/(n + s²v)); ReLU: 0."""
    for slope in (0.01, 0.25):
        found = interference(named_activation("leaky_relu", slope), 12.0, -12.0, 1.0, 0.1)
        expected = 0.5 * math.log1p(100) - 0.5 * math.log1p(1 / (0.01 + slope**2))
        assert found == pytest.approx(expected, rel=1e-8)
    assert interference(activation("relu"), 12.0, -12.0, 1.0, 0.1) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["elu", "tanh", "shifted_relu"])
def test_interference_by_all_pairs_of_values(name: str) -> None:
    """h(f + f' + N) from the sums of all pairs of nodes, not by a convolution."""
    function, noise = activation(name), 0.3
    (x, p), (y, q) = (gaussian_rule(function, mean, 0.8) for mean in (1.0, -1.0))
    together = information(np.add.outer(function(x), function(y)).ravel(), np.outer(p, q).ravel(), noise)
    alone = [information(function(values), weights, noise) for values, weights in ((x, p), (y, q))]
    assert interference(function, 1.0, -1.0, 0.8, noise) == pytest.approx(sum(alone) - together, abs=1e-6)


def test_sampled_information_agrees() -> None:
    generator = np.random.default_rng(5)
    for name, mean in (("elu", -2.0), ("elu", 2.0), ("tanh", 1.0), ("relu", 0.0)):
        exact = channel_information(activation(name), mean, 1.0, 0.1)
        found, error = sampled_information(activation(name), mean, 1.0, 0.1, generator)
        assert 0 < error < 0.03
        assert abs(found - exact) < 5 * error


def test_information_of_few_values() -> None:
    """One value: none; well separated ones: the logarithm of their number; pairs: the binary-input Gaussian channel."""
    assert information([2.0, 2.0, 2.0], np.full(3, 1 / 3), 0.7) == pytest.approx(0, abs=1e-14)
    assert information([0.0, 50.0, -70.0, 9e2], np.full(4, 0.25), 1.0) == pytest.approx(math.log(4), rel=1e-12)

    def integrand(z: float) -> float:
        return stats.norm.pdf(z) * math.log1p(math.exp(-2 * (1 + z)))

    expected = math.log(2) - integrate.quad(integrand, -12, 12)[0]  # of ±1 in noise of variance 1
    assert information([-1.0, 1.0], [0.5, 0.5], 1.0) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("mean", [-6.0, -0.7, 0.0, 3.0])
def test_rule_gives_gaussian_moments(mean: float) -> None:
    for name in ("elu", "relu", "shifted_relu"):
        nodes, weights = gaussian_rule(activation(name), mean, 0.9)
        values = activation(name)(nodes)
        expected = gaussian_moments(name, mean, 0.9)
        assert weights.sum() == pytest.approx(1, rel=1e-14)
        assert weights @ values == pytest.approx(expected.mean, rel=1e-12, abs=1e-15)
        assert weights @ (values - weights @ values) ** 2 == pytest.approx(expected.variance, rel=1e-9, abs=1e-15)


# --- one unit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "slope"), [("elu", 0.0), ("leaky_relu", 0.1), ("tanh", 0.0)])
def test_limit_of_the_variance(name: str, slope: float) -> None:
    """M7: the exact variance tends to it."""
    function = named_activation(name, slope)
    ratios = [
        gaussian_moments(function, mean, 0.7).variance / deactivated_variance(function, mean, 0.7)
        for mean in (-3.0, -6.0, -12.0)
    ]
    distances = [abs(ratio - 1) for ratio in ratios]
    assert distances[0] > distances[1]
    assert distances[2] <= max(distances[1], 2 * np.finfo(float).eps)  # at the limit both numbers are rounded
    assert distances[2] < 1e-7  # tanh: the next term is e^{2 mean} smaller
    assert deactivated_variance(activation("relu"), -3.0, 0.7) == 0


def test_error_of_the_simulated_variance() -> None:
    """Of normal values: √(2/(n − 1)) σ²; and simulation."""
    function = activation("identity")
    assert variance_error(function, 0.4, 0.5, 50) == pytest.approx(0.25 * math.sqrt(2 / 49), rel=1e-12)
    generator = np.random.default_rng(2)
    found = activation("elu")(generator.normal(-1, 1, (20_000, 50))).var(1, ddof=1).std()
    assert found == pytest.approx(variance_error(activation("elu"), -1.0, 1.0, 50), rel=0.05)


def test_unit_rows() -> None:
    means, stds = np.arange(-8.0, 9.0, 2.0), (0.5, 1.0)
    rows = pandas.DataFrame(unit_rows(activation("elu"), means, stds, 0.1, samples=4000, replicates=4))
    assert rows["mean"].unique().tolist() == [-8, -6, -4, -2, 0, 2, 4, 6, 8]
    deviations = (rows["simulated"] - rows["variance"]) / rows["simulated_error"]
    assert deviations.abs().max() < 5
    assert deviations.abs().max() > 0.1
    assert rows.loc[rows["sampled"].notna(), "mean"].unique().tolist() == [-8, 0, 8]
    assert rows.loc[rows["mean"] == -8, "log_slope"].to_numpy() == pytest.approx(-8, abs=1e-9)
    relu = pandas.DataFrame(unit_rows(activation("relu"), means, stds, 0.1, samples=10, replicates=4))
    assert (relu.loc[relu["mean"] < 0, "log_slope"] == -np.inf).all()
    assert (relu["limit"] == 0).all()


# --- networks ---------------------------------------------------------------------------------------------------------


def a_network(name: str = "elu") -> tuple[nn.Sequential, torch.Tensor]:
    network: Any = initialise(fully_connected((4, 5, 6, 3), name, dtype=torch.float64), 1)
    return network, torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_slopes_against_jacobians_example_by_example() -> None:
    network, inputs = a_network()
    layers, logits = hidden_layers(network, inputs)
    assert torch.equal(logits, network(inputs))
    assert len(layers) == 2
    stream = inputs
    for place, layer in zip((0, 2), layers, strict=True):
        stream = network[place](stream)
        assert torch.allclose(layer.net, stream)
        for example in range(7):
            jacobian: Any = torch.autograd.functional.jacobian(network[place + 1 :], stream[example])
            assert torch.allclose(layer.squared_slopes[example], jacobian.square().sum(0), rtol=1e-10)
        stream = network[place + 1](stream)
        assert torch.allclose(layer.value, stream)
        assert torch.equal(layer.outgoing, network[place + 2].weight)


def test_small_noise_changes_the_logits_as_the_gain_says() -> None:
    """To the error of the draws; in the other state nothing is changed, and ReLU passes nothing while off."""
    network, inputs = a_network()
    for layer in hidden_layers(network, inputs)[0]:
        for state in (layer.net < 0, layer.net >= 0):
            change, error = injected_change(network, layer, network(inputs).detach(), state, 1e-4, 500, 3)
            assert error < 0.1 * change
            assert abs(change - 1e-8 * gain(layer, state)) < 5 * error
    network, inputs = a_network("relu")
    layer = hidden_layers(network, inputs)[0][1]
    assert gain(layer, layer.net < 0) == 0
    assert injected_change(network, layer, network(inputs).detach(), layer.net < -1e-2, 1e-4, 3, 0) == (0, 0)


def made_up_layer(units: int = 3) -> tuple[HiddenLayer, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    net, outgoing = (torch.randn(shape, units, generator=generator, dtype=torch.float64) for shape in (50, 2))
    value = nn.functional.elu(net)
    return HiddenLayer(1, net, value, torch.ones_like(net), outgoing), net < 0


def test_share_of_the_variance_by_conditional_variances() -> None:
    layer, off = made_up_layer()
    table = pandas.DataFrame({"unit": np.tile(range(3), 50), "value": layer.value.ravel(), "off": off.ravel()})
    weights = layer.outgoing.square().sum(0).numpy()
    within, total, between = 0.0, 0.0, 0.0
    for unit, rows in table.groupby("unit"):
        by_state = rows.groupby("off")["value"]
        parts = by_state.var(ddof=0) * by_state.size() / len(rows)
        means = by_state.transform("mean")
        within += weights[unit] * parts[True]
        between += weights[unit] * means.var(ddof=0)
        total += weights[unit] * rows["value"].var(ddof=0)
    assert state_share(layer, off) == pytest.approx(within / total, rel=1e-12)
    assert state_share(layer, off) + state_share(layer, ~off) + between / total == pytest.approx(1, rel=1e-12)


def test_clamping_by_replacing_values() -> None:
    layer, off = made_up_layer()
    clamped = layer.value.clone()
    for unit in range(3):
        clamped[off[:, unit], unit] = layer.value[off[:, unit], unit].mean()
    before, after = layer.value @ layer.outgoing.T, clamped @ layer.outgoing.T
    expected = (after - before).square().mean(0).sum() / before.var(0, correction=0).sum()
    assert clamped_change(layer, off) == pytest.approx(float(expected), rel=1e-12)
    alone = replace(layer, outgoing=torch.eye(3, dtype=torch.float64))  # each unit for itself: the two agree
    assert clamped_change(alone, off) == pytest.approx(state_share(alone, off), rel=1e-12)


def test_coded_degree_of_two_values() -> None:
    """Off: one value, nothing; on: two, far apart for little noise. A unit of one value is no error."""
    net = torch.tensor([[-1.0, 0.0], [-2.0, 0.0], [1.0, 0.0], [3.0, 0.0]], dtype=torch.float64)
    layer = HiddenLayer(1, net, net.relu(), net, torch.ones(1, 2, dtype=torch.float64))
    off, first = net < 0, torch.tensor([True, False])
    assert coded_degree(layer, off, 0.01) == pytest.approx(0, abs=1e-12)
    assert coded_degree(layer, ~off & first, 0.01) == pytest.approx(math.log(2), rel=1e-12)
    assert coded_degree(layer, ~off, 0.01) == pytest.approx(math.log(2) / 3, rel=1e-12)  # 4 of 6 pairs code nothing
    assert math.isnan(coded_degree(layer, off & ~off, 0.01))


def test_states() -> None:
    states = states_of(torch.arange(-20.0, 10.0).reshape(10, 3))
    assert {name: int(state.sum()) for name, state in states.items()} == {"off": 20, "on": 10, "deep": 2}
    assert not states_of(torch.ones(2, 2))["deep"].any()


# --- table, verdicts, figure ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return measure(SMALL)


def test_table(table: pandas.DataFrame) -> None:
    assert list(table.columns) == list(COLUMNS)
    names = ["elu", "leaky_relu(0.01)", "leaky_relu(0.25)", "relu"]
    assert table["activation"].unique().tolist() == names
    sizes = table.groupby("part").size()
    assert sizes.to_dict() == {"unit": 4 * 9 * 2, "layer": 4 * 2 * 2 * 3, "injection": 4 * 2 * 2 * 3 * 2}
    layers = table[table["part"] == "layer"]
    shares = layers[layers["state"] != "deep"].groupby(["activation", "seed", "layer"])["pairs"].sum()
    assert shares.to_numpy() == pytest.approx(1)
    off = layers[layers["state"] == "off"].set_index("activation")
    assert off.loc["leaky_relu(0.25)", "squared_slope"].to_numpy() == pytest.approx(0.0625)
    assert off.loc["elu", "log_slope"].to_numpy() == pytest.approx(off.loc["elu", "net_input"].to_numpy())
    assert (off.loc["relu", ["gain", "next_share", "clamped_change"]].to_numpy() == 0).all()
    assert (off.loc["relu", "log_slope"] == -np.inf).all()
    assert (layers["test_error"].between(0, 1)).all()


def test_figure_repeats_and_says_what_it_shows(table: pandas.DataFrame) -> None:
    rendered_alike(draw(table), draw(table))
    said = summary(table)
    assert "networks: digits, 1,247 training examples, 2 hidden layers × 6" in said
    assert "ELU passes less variance than leaky ReLU 0.25 at means up to -2 (std 0.5), -2 (std 1)" in said
    assert labelled("leaky_relu(0.25)") == "leaky ReLU 0.25"
    assert labelled("tanh") == "tanh"
    assert "cannot be decided with 2 seeds" in said


def test_interference_of_two_concepts(table: pandas.DataFrame) -> None:
    rows = table[(table["part"] == "unit") & (table["activation"] == "elu") & (table["std"] == 1.0)]
    absent, present = (gaussian_moments("elu", mean, 1.0).variance for mean in (-2.0, 2.0))
    assert absent_share(rows)[2.0] == pytest.approx(absent / (absent + present))
    lost = rows.set_index("mean")["interference"]
    assert lost[lost.index <= 0].isna().all()
    assert lost[2.0] == interference(activation("elu"), 2.0, -2.0, 1.0, 0.1)


def planted(elu: float, rivals: float, seeds: int = 12) -> pandas.DataFrame:
    """Off and deep numbers of ELU and of the others; of the on state 1 for all."""
    names = ["elu", *(f"leaky_relu({slope:g})" for slope in SLOPES), "relu"]
    columns = ["gain", "unit_gain", "squared_slope", "log_slope", "information", "next_share"]
    rows = [
        {"part": "layer", "activation": name, "seed": seed, "layer": layer, "state": state}
        | dict.fromkeys(columns, 1.0 if state == "on" else size * (1 + seed / 1000) * layer)
        for name, size in zip(names, [elu, *[rivals] * 4], strict=True)
        for seed in range(seeds)
        for layer in (1, 2)
        for state in ("off", "on", "deep")
    ]
    return pandas.DataFrame(rows)


def test_verdicts_on_both_sides() -> None:
    assert {decision.verdict for decision in decisions(planted(0.01, 0.5))} == {"holds"}
    assert {decision.verdict for decision in decisions(planted(2.0, 0.5))} == {"does not hold"}
    few = decisions(planted(0.01, 0.5, seeds=5))
    assert {decision.verdict for decision in few} == {"cannot be decided"}
    assert len(few) == len(CLAIMS) == len({claim.identifier for claim in CLAIMS})
    assert len(CLAIMS) * 2.0 ** (1 - min(preset.seeds for preset in analysis.PRESETS.values())) <= CLAIMS[0].level
    statistic = run_statistics(planted(0.2, 0.5)).set_index(["activation", "seed"])
    assert statistic.loc[("elu", 0), "off noise"] == pytest.approx(0.3)
    assert statistic.loc[("relu", 0), "absence"] == pytest.approx(0.75)


def test_runs_without_numbers_count_as_worst() -> None:
    found = planted(0.01, 0.5)
    found.loc[found["activation"] == "elu", ["gain", "information"]] = np.nan
    verdicts = {decision.claim.identifier: decision.verdict for decision in decisions(found)}
    assert {verdicts[name] for name in ("off noise: relu", "presence", "absence")} == {"does not hold"}
    assert verdicts["interference: relu"] == "holds"


def test_claims_about_activations_that_were_not_run_are_left_out() -> None:
    found = planted(0.01, 0.5)
    alone = decisions(found[found["activation"] == "elu"])
    assert {decision.claim.identifier for decision in alone} == {"saturation", "presence", "absence"}
    assert decisions(found[found["activation"] != "elu"]) == []


def test_cells_are_both_parts_of_every_activation() -> None:
    found = cells(Config(activations=("elu", "leaky_relu")))
    assert len(found) == 2 * (1 + 3)
    assert {cell.negative_slope for cell in found if cell.activation == "leaky_relu"} == {0.01, 0.1, 0.25}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations": ()}, "activations are none; give each once"),
        ({"activations": ("elu", "gelu")}, "activations hold gelu; give some of elu,"),
        ({"negative_slopes": (0.1, 0.1)}, "negative_slopes are 0.1, 0.1; give each once"),
        ({"negative_slopes": (-0.1,)}, "negative_slopes holds -0.1"),
        ({"seeds": 0}, "seeds is 0; give 1 or more"),
        ({"draws": 1}, "draws is 1; give 2 or more"),
        ({"step": 0.0}, "step is 0.0; a finite number ≥ 0.001"),
        ({"stds": (0.1, -1.0)}, "stds holds -1.0; a finite number"),
        ({"channel_noise": 0.001}, "channel_noise is 0.001; a hundredth"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cells(Config(**options))  # pyright: ignore[reportArgumentType]
