"""Gradients by depth: against autograd, exact distributions and simulation; claims on made-up tables; to the figure."""

import io
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy
import pandas
import pytest
import torch
from scipy import special, stats
from torch import nn

from analyses.data import datasets
from analyses.experiments.vanishing_gradient import draw
from analyses.experiments.vanishing_gradient.finite_width import alignment, log_gradient
from analyses.experiments.vanishing_gradient.float32 import OVERFLOW, PRECISION, SMALLEST_NORMAL, ZERO, lost_after
from analyses.experiments.vanishing_gradient.gradients import random_gradients
from analyses.experiments.vanishing_gradient.measurement import cells, measure, predictions
from analyses.experiments.vanishing_gradient.settings import COLUMNS, PRESETS, Config
from analyses.experiments.vanishing_gradient.verdicts import (
    CHI,
    MARGIN,
    claims,
    decisions,
    predicted_losses,
    summary,
    within_margin,
)
from analyses.framework.claims import Claim
from analyses.networks.random import Start, standard_normals
from elutheory.activations import activation
from elutheory.errors import InputError
from elutheory.moments import gaussian_moments
from elutheory.output.figures import figure_bytes
from elutheory.propagation import Initialisation, initialisation, propagate
from tests.analyses.experiments.saved_records import rendered_alike

SMALL = Config(
    width=32,
    depth=40,
    seeds=12,
    activations=("logistic", "tanh", "relu", "elu"),
    initialisations=("lecun", "critical"),
)
MODULES: dict[str, type[nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid}
FEATURES = 5


def own(name: str, weight_variance: float = 1.6, bias_variance: float = 0.05) -> Start:
    return Start(activation(name), Initialisation("own", weight_variance, bias_variance))


def inputs(count: int) -> torch.Tensor:
    drawn = torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return nn.functional.normalize(drawn) * FEATURES**0.5


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return measure(SMALL)


# --- what is measured -------------------------------------------------------------------------------------------------


def plain_sizes(name: str, start: Start, values: Any, width: int, depth: int, seed: int, dtype: Any) -> list[float]:
    """√s by layer, of one network of torch.nn, by autograd."""
    stream, nets = values.to(dtype), []
    for layer, fan_in in enumerate([FEATURES, *[width] * (depth - 1)], start=1):
        normals = standard_normals(seed, layer, (fan_in + 1, width)).double()
        linear = nn.Linear(fan_in, width, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_((start.initialisation.weight_variance / fan_in) ** 0.5 * normals[:-1].T)
            linear.bias.copy_(start.initialisation.bias_variance**0.5 * normals[-1])
        nets.append(linear(stream))
        stream = MODULES[name]()(nets[-1])
    top = standard_normals(seed, depth + 1, (1, width))[0].to(dtype)
    deltas = torch.autograd.grad(nets[-1] @ top, nets)
    return [float(delta.double().square().mean().sqrt()) for delta in deltas]


def test_gradients_of_stacked_networks_are_those_of_autograd() -> None:
    starts = {"elu": own("elu"), "relu": own("relu", 2.0, 0.0), "tanh": own("tanh", 3.0, 0.2)}
    width, depth, seeds = 40, 6, (4, 0, *range(10, 18))  # more than one group
    found = random_gradients(starts, inputs(len(seeds)), width, depth, seeds)
    for place, name in enumerate(starts):
        for row, seed in enumerate(seeds):
            arguments = (name, starts[name], inputs(len(seeds))[row], width, depth, seed)
            double = numpy.array(plain_sizes(*arguments, torch.float64))
            expected = 2 * numpy.log(double / double[-1])
            numpy.testing.assert_allclose(found.log_second_moment[row, place], expected, atol=1e-11)
            numpy.testing.assert_allclose(found.single[row, place], plain_sizes(*arguments, torch.float32), rtol=1e-4)


def test_float32_underflows_where_autograd_does_and_float64_goes_on() -> None:
    start, depth = own("logistic", 1.0, 0.0), 90
    found = random_gradients({"logistic": start}, inputs(2), 32, depth, (0, 1))
    for row in range(2):
        expected = numpy.array(plain_sizes("logistic", start, inputs(2)[row], 32, depth, row, torch.float32))
        zeros, own_zeros = (int((sizes == 0).sum()) for sizes in (expected, found.single[row, 0]))
        assert 0 < zeros < depth
        assert abs(zeros - own_zeros) <= 1
    assert found.log_second_moment[:, 0, 0].max() < 2 * math.log(ZERO)


def test_networks_that_are_off_are_refused() -> None:
    with pytest.raises(InputError, match="all 2 units of a layer of a relu network are off"):
        random_gradients({"relu": own("relu")}, inputs(20), 2, 12, range(20))


def test_where_float32_loses_a_gradient() -> None:
    def below(size: float) -> float:
        return math.nextafter(size, 0.0)

    weight_std = 0.25
    kept = [below(OVERFLOW), SMALLEST_NORMAL, PRECISION * weight_std, 1.0]  # the last layer last
    assert lost_after(numpy.array(kept), weight_std) == {
        "precision": 2.0,
        "subnormal": math.inf,
        "zero": math.inf,
        "overflow": math.inf,
    }
    sizes = numpy.array(
        [
            [0.0, below(SMALLEST_NORMAL), below(PRECISION * weight_std), 1.0, 1.0],
            [1.0, numpy.nan, OVERFLOW, 1.0, 1.0],
            [1.0, 1.0, 1.0, 1.0, 0.0],
        ]
    )
    found = lost_after(sizes, weight_std)
    expected = {
        "precision": [2, math.inf, 0],
        "subnormal": [3, math.inf, 0],
        "zero": [4, math.inf, 0],
        "overflow": [math.inf, 2, math.inf],
    }
    assert {name: after.tolist() for name, after in found.items()} == expected
    # exact numbers: float32 rounds half its smallest to even, which is 0
    smallest = torch.tensor(ZERO, dtype=torch.float64)
    assert smallest.float() == 0
    assert (1.01 * smallest).float() > 0
    assert lost_after(numpy.array([ZERO, 1.01 * ZERO, 1.0]), 1.0, zero=ZERO)["zero"] == 2
    limits = numpy.finfo(numpy.float32)
    assert (limits.tiny, limits.max) == (SMALLEST_NORMAL, OVERFLOW * (1 - PRECISION))
    weight = torch.tensor(1.0)
    assert weight + below(PRECISION) == weight
    assert weight + 1.01 * PRECISION > weight


# --- what is predicted ------------------------------------------------------------------------------------------------


def test_prediction_at_infinite_width_is_that_of_propagate() -> None:
    start = Start(activation("elu"), initialisation("critical", "elu"))
    found = predictions(start, 64, 7)
    variances = start.initialisation.weight_variance, start.initialisation.bias_variance
    theory = propagate("elu", 7, *variances, 1.0, 0.3).table  # of one input: whatever the overlap
    numpy.testing.assert_allclose(numpy.exp(found["infinite_width"]), theory["gradient_variance"], rtol=1e-12)
    assert found["layer"].tolist() == list(range(1, 8))
    assert found.iloc[-1][["infinite_width", "finite_width", "band"]].tolist() == [0.0, 0.0, 0.0]


def test_expectations_of_a_layer() -> None:
    # References: the package's moments and their difference quotients; for relu by hand
    from analyses.experiments.vanishing_gradient.finite_width import _Layer

    for name, q in (("elu", 0.7), ("elu", 150.0), ("selu", 3e-4), ("tanh", 1.3), ("logistic", 2.0), ("elu", 1e8)):
        f, found, step = activation(name), _Layer.at(activation(name), q), 1e-3 * q
        moments = [gaussian_moments(f, 0.0, math.sqrt(q + k * step)) for k in (-1, 0, 1)]
        second = [float(m.second_moment) for m in moments]
        slopes = [float(m.slope_second_moment) / float(moments[1].slope_second_moment) for m in moments]
        assert found.f2 == pytest.approx(second[1], rel=1e-11)
        for values, first, bend in (
            (second, found.f2_slope, found.f2_bend),
            (slopes, found.slope2_slope, found.slope2_bend),
        ):
            size = values[1] / q
            assert first == pytest.approx((values[2] - values[0]) / (2 * step), abs=1e-5 * size)
            assert bend == pytest.approx((values[2] - 2 * values[1] + values[0]) / step**2, abs=1e-4 * size / q)
    relu = _Layer.at(activation("relu"), 3.0)
    assert [relu.f2, relu.f4, relu.slope4] == pytest.approx([1.5, 13.5, 2.0])
    assert [relu.f2_slope2, relu.z2_slope2, relu.z_f_slope**2 / relu.f2] == pytest.approx([3.0, 1.0, 1.0])


def test_relu_at_finite_width_is_an_exact_product() -> None:
    # s_l/s_{l+1} = (σ_w²/n) χ²_K with K binomial(n, 1/2), layers independent (Hanin and Nica, arXiv 1812.05994)
    errors = []
    for width in (200, 400):
        active = numpy.arange(1, width + 1)
        weights = stats.binom.pmf(active, width, 0.5)
        logs = special.digamma(active / 2) + math.log(2 * 2 / width)
        mean = weights @ logs
        variance = weights @ (special.polygamma(1, active / 2) + (logs - mean) ** 2)
        depth = 5
        found = log_gradient(own("relu", 2.0, 0.0), numpy.full(depth, 2.0), numpy.ones(depth), width)
        below = numpy.arange(depth)[::-1]
        errors.append([found.mean[0] / (depth - 1) - mean, found.std[0] ** 2 / (depth - 1) - variance])
        numpy.testing.assert_allclose(found.mean, below * mean, rtol=0.05)
        numpy.testing.assert_allclose(found.std, numpy.sqrt(below * variance), rtol=0.05)
    # what is left is of order 1/width²
    assert numpy.divide(*errors) == pytest.approx(4, rel=0.1)
    assert numpy.abs(errors[1]).max() < 20 / 400**2


@pytest.mark.parametrize("name", ["tanh", "elu"])
def test_alignment_of_gradients_and_net_inputs_beside_a_simulation(name: str) -> None:
    # Tolerances: 4 standard errors of a ratio of means, and a few 1/width
    width, depth, networks, start = 48, 4, 2000, own(name, 1.6, 0.3)
    theory = alignment(start, propagate(name, depth, 1.6, 0.3, 1.0, 1.0).table["q"].to_numpy())
    assert numpy.isnan(theory[0])
    assert theory[-1] == 1
    f, rng = start.activation, numpy.random.default_rng(5)
    net = math.sqrt(1.9) * rng.standard_normal((networks, width))
    nets, sums, weights = [net], [net], []
    for _ in range(depth - 1):
        weights.append(math.sqrt(1.6 / width) * rng.standard_normal((networks, width, width)))
        sums.append((weights[-1] @ f(nets[-1])[..., None])[..., 0])
        nets.append(sums[-1] + math.sqrt(0.3) * rng.standard_normal((networks, width)))
    delta = rng.standard_normal((networks, width))
    for layer in reversed(range(1, depth)):
        along = (delta * sums[layer]).sum(1) ** 2
        free = (sums[layer] ** 2).mean(1) * (delta**2).sum(1)
        ratio = along.mean() / free.mean()
        error = (along - ratio * free).std() / networks**0.5 / free.mean()
        assert abs(ratio - theory[layer]) < 4 * error + 3 / width
        assert (layer == depth - 1) == (abs(ratio - 1) < 4 * error + 3 / width)  # P departs from 1 visibly
        delta = f.derivative(nets[layer - 1]) * (delta[:, None] @ weights[layer - 1])[:, 0]


@pytest.mark.parametrize("name", ["elu", pytest.param("tanh", marks=pytest.mark.exhaustive)])
def test_finite_width_beside_a_simulation(name: str) -> None:
    # Tolerances: 4 standard errors, and depth/width² for the next order, whose factor is about 1 to 10
    width, depth, networks = 64, 8, 1200
    start = Start(activation(name), initialisation("critical", name))
    layers = predictions(start, width, depth)
    logs = random_gradients({name: start}, inputs(networks), width, depth, range(networks)).log_second_moment[:, 0]
    error = logs.std(0, ddof=1) / networks**0.5
    order = 10 * numpy.arange(depth)[::-1] / width**2
    assert (abs(logs.mean(0) - layers["finite_width"]) <= 4 * error + order).all()
    assert ((logs.mean(0) - layers["infinite_width"]) / error)[0] < -6  # the correction is seen
    spread = logs.std(0, ddof=1)[:-1] / layers["band"][:-1]
    assert abs(spread - 1).max() < 4 / (2 * networks) ** 0.5 + 0.06


# --- claims -----------------------------------------------------------------------------------------------------------


def made_up(rates: dict[str, float], predicted: dict[str, float], seeds: int = 16, depth: int = 11) -> pandas.DataFrame:
    """A table of He networks: rates (± a little) a layer, and predictions; float32 loses nothing."""
    rows: list[dict[str, Any]] = []
    for name, rate in rates.items():
        shared = {"activation": name, "initialisation": "he", "weight_variance": 2.0, "width": 64, "depth": depth}
        for seed in range(seeds):
            found = rate + 1e-4 * (seed - (seeds - 1) / 2)
            lost = {f"lost_{loss}": math.inf for loss in ("precision", "subnormal", "zero", "overflow")}
            rows.append({"kind": "network", "seed": seed, "rate": found, **lost, **shared})
        for layer in range(1, depth + 1):
            logs = {"infinite_width": predicted[name] * (depth - layer), "finite_width": rate * (depth - layer)}
            rows.append({"kind": "layer", "layer": layer, **logs, **shared})
    return pandas.DataFrame(rows).reindex(columns=list(COLUMNS))


def verdicts_of(rates: dict[str, float], predicted: dict[str, float] | None = None, **sizes: int) -> dict[str, str]:
    decided = decisions(made_up(rates, rates if predicted is None else predicted, **sizes))
    return {decision.claim.identifier: decision.verdict for decision in decided}


def test_vanishing_less_is_decided_by_the_sign_beyond_the_margin() -> None:
    claim = "positive identity: elu vs tanh, he"
    assert verdicts_of({"elu": -0.01, "tanh": -0.01 - 1.2 * MARGIN})[claim] == "holds"
    assert verdicts_of({"elu": -0.01, "tanh": -0.01})[claim] == "does not hold"
    assert verdicts_of({"elu": -0.3, "tanh": -0.1})[claim] == "does not hold"
    assert verdicts_of({"elu": 0.4, "tanh": 0.1})[claim] == "holds"  # nothing is cut off where gradients grow
    assert verdicts_of({"elu": -0.01, "tanh": -0.2}, seeds=3)[claim] == "cannot be decided"


def test_not_vanishing_is_decided_by_the_margin() -> None:
    claim = "not vanishing: relu, he"
    assert verdicts_of({"relu": -0.8 * MARGIN})[claim] == "holds"
    assert verdicts_of({"relu": 0.1})[claim] == "holds"
    assert verdicts_of({"relu": -1.2 * MARGIN})[claim] == "does not hold"
    decided = {found.claim.identifier: found for found in decisions(made_up({"relu": 0.1}, {"relu": 0.1}))}
    assert decided[claim].effect == pytest.approx(0.1)
    assert decided[claim].low < 0.1 < decided[claim].high
    assert math.exp(-MARGIN * 200) == pytest.approx(0.01)


def test_theory_is_decided_by_the_margins() -> None:
    rates = {"elu": 0.1, "tanh": -0.4}
    assert verdicts_of(rates)["theory: chi"] == "holds"
    assert verdicts_of(rates, {"elu": 0.1, "tanh": -0.4 - 1.2 * MARGIN})["theory: chi"] == "does not hold"
    assert verdicts_of(rates, {"elu": 0.1 + MARGIN, "tanh": -0.4})["theory: chi"] == "undecided"
    assert verdicts_of(rates, {"elu": 0.12, "tanh": -0.4})["theory: finite width"] == "holds"
    assert verdicts_of(rates)["theory: float32"] == "holds"
    assert verdicts_of({"elu": -3.0}, depth=101)["theory: float32"] == "does not hold"  # predicted, and nothing lost
    # predicted at the last place that there is (2 ln(2⁻²⁴) + ln(2/64) = −36.7), and nothing lost: not to be told apart
    assert verdicts_of({"elu": -3.7}, depth=11)["theory: float32"] == "holds"
    claim: Claim = replace(CHI, margin=1.0)
    centred = numpy.linspace(-0.2, 0.2, 16)
    found = within_margin(claim, {"near": centred, "far": centred - 0.5})
    assert (found.verdict, found.effect) == ("holds", pytest.approx(-0.5))
    assert found.low < -0.5 < found.high


def test_claims_are_about_what_was_measured() -> None:
    kinds = [("elu", "he"), ("tanh", "he"), ("logistic", "he"), ("elu", "critical"), ("tanh", "critical")]
    assert [claim.identifier for claim, _ in claims(kinds)] == [
        "positive identity: elu vs tanh, he",
        "positive identity: elu vs logistic, he",
        "positive identity: elu vs tanh, critical",
        "not vanishing: elu, he",
        "not vanishing: elu, critical",
        "theory: finite width",
    ]
    assert [claim.identifier for claim, _ in claims([("tanh", "he")])] == ["theory: finite width"]


# --- from the configuration to the figure -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activations": ()}, "activations are none"),
        ({"activations": ("elu", "elu")}, "give each once"),
        ({"activations": ("elo",)}, "elo"),
        ({"initialisations": ("he", "hat")}, "unknown initialisation 'hat'"),
        ({"initialisations": ()}, "initialisations are none"),
        ({"activations": ("logistic",), "initialisations": ("critical",)}, "logistic is not critical"),
        ({"depth": 1}, "depth is 1"),
        ({"depth": 251}, "depth is 251; give 250 or less"),
        ({"width": 31}, "width is 31"),
        ({"seeds": 0}, "seeds is 0"),
    ],
)
def test_configurations_without_networks_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cells(replace(SMALL, **changes))


def test_presets_can_decide() -> None:
    for preset in PRESETS.values():
        kinds = [(name, start) for name in preset.activations for start in preset.initialisations]
        assert 2.0 ** (1 - preset.seeds) <= 0.05 / len(claims(kinds))
        assert cells(preset)


def test_table(table: pandas.DataFrame) -> None:
    assert list(table.columns) == list(COLUMNS)
    kinds = 4 * 2 - 1
    assert (table["kind"] == "layer").sum() == kinds * SMALL.depth
    assert (table["kind"] == "network").sum() == kinds * SMALL.seeds
    refused: Any = table[table["kind"] == "refused"].iloc[0]
    assert (refused["activation"], refused["initialisation"]) == ("logistic", "critical")
    for _, rows in table[table["kind"] != "refused"].groupby(["activation", "initialisation"]):
        layers, networks = rows[rows["kind"] == "layer"], rows[rows["kind"] == "network"]
        assert layers["log_gradient"].iloc[0] == pytest.approx(networks["rate"].mean() * (SMALL.depth - 1))
        assert layers["std"].iloc[0] == pytest.approx(networks["rate"].std() * (SMALL.depth - 1))
        assert sorted(networks["seed"]) == list(range(SMALL.seeds))
    lecun = table[(table["activation"] == "logistic") & (table["initialisation"] == "lecun")]
    expected = predicted_losses(lecun[lecun["kind"] == "layer"])
    networks = lecun[lecun["kind"] == "network"]
    assert expected["overflow"] == math.inf
    assert networks["lost_overflow"].eq(math.inf).all()
    assert abs(networks["lost_precision"] - expected["precision"]).max() <= 3
    assert networks["lost_zero"].eq(math.inf).all()


def test_summary_and_figure_need_the_saved_table_alone(table: pandas.DataFrame) -> None:
    saved: Any = pandas.read_csv(io.StringIO(table.to_csv(index=False)))
    assert summary(saved) == summary(table)
    assert "logistic is not critical" in summary(saved)
    assert len(rendered_alike(draw(saved), draw(table))) < 300_000


def test_one_network_and_nothing_lost() -> None:
    config = replace(SMALL, seeds=1, depth=3, activations=("elu",), initialisations=("he",))
    lone = measure(config)
    assert "cannot be decided with 1 seeds" in summary(lone)
    assert "nowhere" in summary(lone)
    assert figure_bytes(draw(lone), "png")


def test_inputs_without_direction_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = datasets.load("digits").flattened()
    flat = data.standardised().subset(2)
    flat.train.inputs[1] = 0.0
    monkeypatch.setattr(type(data), "subset", lambda *_: flat)
    with pytest.raises(InputError, match="an input of digits is the mean of all"):
        measure(SMALL)


def test_pairs_of_one_seed_share_their_numbers() -> None:
    both = random_gradients({"a": own("elu"), "b": own("elu")}, inputs(3), 32, 4, range(3))
    assert (both.single[:, 0] == both.single[:, 1]).all()
    for first, second in pairwise(both.log_second_moment[:, 0, 0]):
        assert first != second
