"""The closure on net inputs whose distribution is known, a run against plain numpy, divergence, and the figure."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from scipy.special import ndtr
from scipy.stats import kurtosis, norm, skew

from analyses.data import datasets
from analyses.experiments import gaussian_closure as analysis
from analyses.experiments.gaussian_closure import closure, measurement
from elutheory.activations import Activation, activation
from elutheory.bias_shift.digits import classifier
from elutheory.errors import InputError
from tests.analyses.experiments.saved_records import saved_and_drawn

SMALL = analysis.Config(activations=("elu", "tanh"), layers=2, units=6, epochs=2, examples=200, seeds=2)
NAMES = list(analysis.Config().activations)


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return analysis.measure(SMALL)


def _layer(name: str, weights: np.ndarray, biases: np.ndarray) -> tuple[Activation, torch.nn.Sequential]:
    """One hidden layer in float64: units of given weights (units, features) and biases."""
    function = activation(name)
    units, features = weights.shape
    model = classifier(function, (features, units, 2), torch.Generator().manual_seed(0))
    hidden = model[0]
    assert isinstance(hidden, torch.nn.Linear)
    with torch.no_grad():
        hidden.weight.copy_(torch.from_numpy(weights))
        hidden.bias.copy_(torch.from_numpy(biases))
    return function, model


@pytest.mark.parametrize("name", NAMES)
def test_exact_for_gaussian_net_inputs(name: str) -> None:
    """One linear layer on N standard normal inputs. Standard errors: of a mean √(Var f/N), of a variance
    √((E(f − E f)⁴ − Var² f)/N), of skewness √(6/N), of excess kurtosis √(24/N); the root mean square over units, which
    are correlated, stays within 4 of them."""
    examples, units = 20_000, 40
    random = np.random.default_rng(1)
    weights, biases = random.normal(size=(units, 5)), random.normal(size=units)
    inputs = random.normal(size=(examples, 5))
    function, model = _layer(name, weights, biases)
    (row,) = closure.compare(function, closure.measure_units(model, torch.from_numpy(inputs))).itertuples()
    values = function(inputs @ weights.T + biases)
    deviations = values - values.mean(0)
    errors_of_variance = (deviations**4).mean(0) - values.var(0) ** 2
    assert row.unexplained * values.mean(0).var() < 16 * values.var(0).mean() / examples
    assert row.unexplained_corrected < row.unexplained
    assert row.variance_unexplained * values.var(0).var() < 16 * errors_of_variance.mean() / examples
    assert row.skewness_size < 4 * np.sqrt(6 / examples)
    assert abs(row.excess_kurtosis) < 4 * np.sqrt(24 / examples)
    assert row.unexplained < 1e-3 < 1 <= row.unexplained_layer_wide


def test_two_clusters_are_not_gaussian_and_it_shows() -> None:
    """Net inputs w x + b with x in two clusters, N(±1, 0.1²): the mean is that of two M3s, the prediction one M3."""
    examples, width = 20_000, 0.1
    random = np.random.default_rng(2)
    weights, biases = np.array([1.0, 2.0, -3.0, 0.5]), np.array([0.0, 0.5, -1.0, 1.5])
    inputs = random.choice([-1.0, 1.0], size=examples) + width * random.normal(size=examples)
    function, model = _layer("elu", weights[:, None], biases)
    units = closure.measure_units(model, torch.from_numpy(inputs[:, None]))
    (row,) = closure.compare(function, units).itertuples()
    scale = np.abs(weights)
    true = sum(_elu_moments(biases + sign * weights, width * scale)[0] for sign in (-1, 1)) / 2
    one = _elu_moments(biases, np.sqrt(1 + width**2) * scale)[0]
    tolerance = 5 * np.sqrt(units.variance / examples)  # standard errors of a mean; M's slope by the mean is at most 1
    assert (np.abs(units.mean - true) < tolerance).all()
    assert abs(row.mean_predicted - one.mean()) < 5 * np.sqrt(units.net_variance.max() / examples)
    assert row.excess_kurtosis == pytest.approx(-2 / (1 + width**2) ** 2, abs=5 * np.sqrt(24 / examples))
    assert row.unexplained == pytest.approx(((one - true) ** 2).mean() / true.var(), rel=0.1)
    assert row.unexplained > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_gram_charlier_terms_against_integrals_with_hermite_polynomials(name: str) -> None:
    """E f(μ + σ Z) He₃(Z) and He₄: Gauss-Legendre rules between 0 and −1, where these activations have their kinks."""
    function = activation(name)
    means, stds = np.array([-2.0, -0.3, 0.0, 1.2]), np.array([0.5, 1.5, 1.0, 2.0])
    nodes, weights = np.polynomial.legendre.leggauss(80)
    wanted = []
    for mean, std in zip(means, stds, strict=True):
        ends = np.sort(np.clip([-12, 12, -mean / std, (-1 - mean) / std], -12, 12))
        half, middle = np.diff(ends)[:, None] / 2, (ends[1:] + ends[:-1])[:, None] / 2
        z = (middle + half * nodes).ravel()
        density = (half * weights).ravel() * norm.pdf(z) * function(mean + std * z)
        wanted.append([density @ (z**3 - 3 * z), density @ (z**4 - 6 * z**2 + 3)])
    third, fourth = np.array(wanted).T
    found = closure.gram_charlier_terms(function, means, stds, np.full(4, 0.7), np.full(4, -1.1))
    np.testing.assert_allclose(found, 0.7 / 6 * third - 1.1 / 24 * fourth, rtol=0, atol=1e-11)


def _elu_moments(mean: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """M3 and M4 as the theory page has them: E f and Var f."""
    z, phi = mean / std, norm.pdf(mean / std)
    once, twice = np.exp(mean + std**2 / 2) * ndtr(-z - std), np.exp(2 * mean + 2 * std**2) * ndtr(-z - 2 * std)
    first = mean * ndtr(z) + std * phi + once - ndtr(-z)
    return first, (mean**2 + std**2) * ndtr(z) + mean * std * phi + twice - 2 * once + ndtr(-z) - first**2


def test_a_run_against_plain_numpy() -> None:
    """Forward and backward passes, gradient descent, statistics and M3, M4 written out in float64; training itself is
    in float32, hence the tolerance."""
    config = replace(SMALL, epochs=1)
    found = measurement.measure_cell(config, measurement.Cell("elu", 1), "cpu").set_index(["epoch", "layer"])
    data = datasets.load("digits")
    pixels, labels = data.train.inputs.double().numpy().reshape(len(data.train), -1), data.train.targets.numpy()
    chosen = data.subset(config.examples).train
    examples = (chosen.inputs.double().numpy().reshape(config.examples, -1) - pixels.mean()) / pixels.std()
    pixels = (pixels - pixels.mean()) / pixels.std()

    generator = torch.Generator().manual_seed(1)
    sizes = (64, 6, 6, 10)
    weights = [
        torch.empty(units, fan_in, dtype=torch.float64).normal_(0, np.sqrt(2 / fan_in), generator=generator).numpy()
        for fan_in, units in pairwise(sizes)
    ]
    biases = [np.zeros(units) for units in sizes[1:]]
    _compare_with(found.loc[0], *_forward(weights, biases, examples), chosen.targets.numpy())
    order = torch.randperm(len(pixels), generator=generator).numpy()
    for start in range(0, len(order), config.batch_size):
        batch = order[start : start + config.batch_size]
        nets, outs = _forward(weights, biases, pixels[batch])
        delta = _softmax(nets[2])
        delta[np.arange(len(batch)), labels[batch]] -= 1
        delta /= len(batch)
        for layer in (2, 1, 0):
            below = outs[layer - 1] if layer else pixels[batch]
            step = (delta.T @ below, delta.sum(0))
            delta = delta @ weights[layer]
            if layer:
                delta = delta * np.where(nets[layer - 1] > 0, 1.0, np.exp(nets[layer - 1]))
            weights[layer] = weights[layer] - config.learning_rate * step[0]
            biases[layer] = biases[layer] - config.learning_rate * step[1]
    _compare_with(found.loc[1], *_forward(weights, biases, examples), chosen.targets.numpy())


def _forward(
    weights: list[np.ndarray], biases: list[np.ndarray], inputs: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Net inputs of every layer, the last one's being the logits, and activations of the hidden layers."""
    nets, outs = [], []
    for weight, bias in zip(weights, biases, strict=True):
        nets.append(inputs @ weight.T + bias)
        inputs = np.where(nets[-1] > 0, nets[-1], np.expm1(np.minimum(nets[-1], 0)))
        outs.append(inputs)
    return nets, outs[:-1]


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _compare_with(found: pandas.DataFrame, nets: list[np.ndarray], outs: list[np.ndarray], labels: np.ndarray) -> None:
    loss = -np.log(_softmax(nets[-1])[np.arange(len(labels)), labels]).mean()
    for number, (net, out) in enumerate(zip(nets, outs, strict=False), 1):
        mean, variance = _elu_moments(net.mean(0), net.std(0))
        wide_mean, wide_variance = _elu_moments(net.mean(), net.std())
        wanted = {
            "training_loss": loss,
            "net_mean": net.mean(),
            "net_mean_spread": net.mean(0).std(),
            "net_std": net.std(0).mean(),
            "skewness": skew(net).mean(),
            "skewness_size": np.sqrt((skew(net) ** 2).mean()),
            "excess_kurtosis": kurtosis(net).mean(),
            "mean": out.mean(),
            "mean_predicted": mean.mean(),
            "mean_layer_wide": wide_mean,
            "median": np.median(out.mean(0)),
            "median_predicted": np.median(mean),
            "spread": out.mean(0).std(),
            "unexplained": ((out.mean(0) - mean) ** 2).mean() / out.mean(0).var(),
            "unexplained_layer_wide": ((out.mean(0) - wide_mean) ** 2).mean() / out.mean(0).var(),
            "variance": out.var(0).mean(),
            "variance_predicted": variance.mean(),
            "variance_unexplained": ((out.var(0) - variance) ** 2).mean() / out.var(0).var(),
            "total_variance": out.var(),
            "total_variance_layer_wide": wide_variance,
        }
        np.testing.assert_allclose(found.loc[number, list(wanted)].astype(float), list(wanted.values()), rtol=2e-4)


def test_rows_and_what_seeds_share(table: pandas.DataFrame) -> None:
    """One row a run, epoch and layer; the same first layer for every activation of a seed, another for another seed."""
    assert list(table.columns) == list(analysis.COLUMNS)
    assert measurement.recorded_epochs(300) == [0, 1, 2, 5, 10, 20, 50, 100, 200, 300]
    assert measurement.recorded_epochs(0) == [0]
    keys = ["activation", "seed", "epoch", "layer"]
    assert len(table.drop_duplicates(keys)) == len(table) == 2 * 2 * 3 * 2
    assert table.drop(columns=["diverged"]).notna().to_numpy().all()
    assert table["diverged"].isna().all()
    start = table[(table["epoch"] == 0) & (table["layer"] == 1)].groupby("seed")["net_mean"]
    assert (start.nunique() == 1).all()
    assert start.first().nunique() == 2
    final = table[(table["epoch"] == 2) & (table["layer"] == 1)].groupby("seed")["training_loss"]
    assert (final.nunique() == 2).all()


def test_a_cell_depends_on_its_arguments_alone(table: pandas.DataFrame) -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    again = measurement.measure_cell(SMALL, measurement.Cell("tanh", 1), "cpu")
    first = table[(table["activation"] == "tanh") & (table["seed"] == 1)].reset_index(drop=True)
    pandas.testing.assert_frame_equal(first, again, check_exact=True)
    assert torch.get_num_threads() == threads


def test_diverged_runs_have_an_epoch_and_no_numbers(table: pandas.DataFrame) -> None:
    config = replace(SMALL, activations=("leaky_relu",), seeds=1, learning_rate=1e8)
    diverged = analysis.measure(config)
    start, after = diverged[diverged["epoch"] == 0], diverged[diverged["epoch"] > 0]
    assert start["unexplained"].notna().all()
    assert (after["diverged"] == 1).all()
    assert after.drop(columns=["activation", "seed", "epoch", "layer", "diverged"]).isna().to_numpy().all()
    assert "leaky ReLU, seed 0: diverged by epoch 1." in analysis.summary(diverged)
    both = pandas.concat([table, diverged], ignore_index=True)
    labels = [text.get_text() for legend in analysis.draw(both).legends for text in legend.get_texts()]
    assert "leaky ReLU (1 of 1 diverged)" in labels
    assert "ELU" in labels


def test_units_without_variation() -> None:
    """A constant net input has no skewness, and M3 is exact; units all alike leave no share to explain."""
    flat = closure.MeasuredUnits(
        *(np.full((1, 3), value) for value in (-1.0, 0.0, np.nan, np.nan, np.expm1(-1.0), 0.0))
    )
    (row,) = closure.compare(activation("elu"), flat).itertuples()
    assert row.mean_predicted == row.mean_corrected == pytest.approx(np.expm1(-1.0), rel=1e-15)
    assert np.isnan([row.skewness, row.excess_kurtosis, row.unexplained, row.variance_unexplained]).all()


def test_figure_and_summary_come_from_saved_records(table: pandas.DataFrame) -> None:
    loaded = saved_and_drawn(table, analysis.draw)
    pandas.testing.assert_frame_equal(loaded, table, rtol=1e-6)
    assert "Unit variances: " in analysis.summary(loaded)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "seeds is 0; give 1 or more"),
        ({"epochs": -1}, "epochs is -1; give 0 or more"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; a finite number"),
        ({"activations": ()}, "activations are none"),
        ({"activations": ("eluu",)}, "unknown activation 'eluu'"),
        ({"examples": 10_000}, "examples is 10000; 1 to"),
    ],
)
def test_bad_configurations_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        analysis.measure(replace(SMALL, **change))
