"""The causal claim: networks of a small size, each method's step by hand, both claims come out either way."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas
import pytest
import torch

from analyses.experiments import causal_claim as analysis
from analyses.experiments.causal_claim import measurement, settings, verdicts
from analyses.framework.rates import best_rate, rate_beyond, tuning_scores
from analyses.networks.architectures import initialise
from elutheory.activations import activation
from elutheory.errors import InputError
from elutheory.fisher import unit_fisher
from tests.analyses.experiments.saved_records import saved_and_drawn

SMALL = analysis.Config(
    examples=60,
    features=12,
    layers=2,
    units=6,
    updates=6,
    learning_rates=(0.5, 1.0, 2.0),
    natural_learning_rates=(0.05, 0.1, 0.2),
    widenings=1,
    tuning_seeds=1,
    seeds=2,
)


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return analysis.measure(SMALL)


def test_table_has_every_network_at_the_rate_of_the_best_score(table: pandas.DataFrame) -> None:
    assert list(table.columns) == list(settings.COLUMNS)
    scores = tuning_scores(table, settings.OUTCOME, settings.ARMS)
    assert set(scores) == set(product(SMALL.activations, settings.METHODS))
    tuned = table[table["role"] == "tuned"]
    assert len(tuned) == len(scores) * SMALL.seeds
    chosen = tuned.groupby(list(settings.ARMS))["learning_rate"].agg(["min", "max"])
    for arm, rates in scores.items():
        assert chosen.loc[arm].tolist() == [best_rate(rates)] * 2
        first = SMALL.natural_learning_rates if arm[1] == settings.NATURAL else SMALL.learning_rates
        assert len(rates) == 3 + (rate_beyond({rate: rates[rate] for rate in first}) is not None)
    assert not set(table[table["role"] == "tuning"]["seed"]) & set(tuned["seed"])


def test_closeness_is_that_of_the_compared_networks_of_sgd(table: pandas.DataFrame) -> None:
    columns = ["cosine", "centred_cosine", "mean_share"]
    measured = (table["role"] == "tuned") & (table["method"] == settings.SGD)
    assert table.loc[measured, columns].stack().between(0, 1).all()
    assert table.loc[~measured, columns].isna().all(axis=None)


def test_inputs_have_mean_zero_and_second_moment_one() -> None:
    for features in (0, 12):
        inputs = measurement.prepared(replace(SMALL, features=features)).train.inputs.double()
        assert inputs.shape[1] == (features or 64)
        assert inputs.square().mean().item() == pytest.approx(1.0, rel=1e-6)
        assert inputs.mean(0).abs().max() < 1e-6
    second = inputs.mT @ inputs
    assert (second - second.diag().diag()).abs().max() < 1e-4 * second.diag().max()  # principal components,
    assert (second.diag().diff() <= 0).all()  # the leading ones first
    with pytest.raises(InputError, match="has at most 60 components"):
        measurement.prepared(replace(SMALL, features=61))


@pytest.mark.parametrize("method", settings.METHODS[:-1])
@pytest.mark.parametrize("name", ["elu", "relu"])
def test_the_step_of_each_method_by_hand(method: str, name: str) -> None:
    """Of a hidden layer, in float64, as a matrix times the gradient (g0, g): I; F⁻¹ for Var(a) = I and E a under p or
    q, by which Theorem 2 gives the bias shift; (F + λI)⁻¹."""
    data = measurement.prepared(SMALL)
    inputs, targets = data.train.inputs.double(), data.train.targets
    network: Any = initialise(measurement.network_of((12, 6, 5, 10), activation(name), method).double(), 3)
    layer = network[2]
    plain = network[:5]
    fisher = unit_fisher(plain, inputs, layer="2", kind="exact")
    before = torch.cat([layer.bias[:, None], layer.weight], dim=1).detach().clone()
    make = measurement.optimizer_of(method, 0.02)
    optimizer = torch.optim.SGD(network.parameters(), 0.1) if make is None else make(network, 0.1)
    network.train()
    torch.nn.functional.cross_entropy(network(inputs), targets).backward()
    gradient = torch.cat([layer.bias.grad[:, None], layer.weight.grad], dim=1).clone()
    optimizer.step()
    step = (before - torch.cat([layer.bias[:, None], layer.weight], dim=1).detach()) / 0.1

    with torch.no_grad():
        first = initialise(measurement.network_of((12, 6, 5, 10), activation(name), method).double(), 3)
        received = first[:2](inputs)  # pyright: ignore
    mean = received.mean(0)
    if method == settings.NATURAL:
        diagonal = fisher.matrix.diagonal(dim1=1, dim2=2).mean(1)
        matrices = fisher.matrix + 0.02 * diagonal[:, None, None] * torch.eye(7)
        alive = diagonal > 0
        expected = torch.linalg.solve(matrices[alive], gradient[alive, :, None])[:, :, 0]
        assert torch.allclose(step[alive], expected, rtol=1e-6, atol=1e-9)
        assert not step[~alive].any()
        return
    for unit, (change, own) in enumerate(zip(step, gradient, strict=True)):
        if method == settings.SGD:
            assert torch.allclose(change, own, rtol=1e-12, atol=1e-14)
            continue
        mean_q = fisher.mean_under_q[unit].nan_to_num() if method == settings.TERM else mean  # NaN: a dead unit
        matrix = torch.eye(7, dtype=torch.float64)
        matrix[0, 1:] = matrix[1:, 0] = mean_q
        matrix[1:, 1:] += torch.outer(mean_q, mean_q)
        assert torch.allclose(matrix @ change, own, rtol=1e-8, atol=1e-10)
        k = 1 + (mean_q - mean) @ mean_q
        shift = (mean - k * mean_q) @ torch.linalg.solve(matrix[1:, 1:], own[1:]) + k * own[0]
        assert torch.allclose(mean @ change[1:] + change[0], shift, rtol=1e-8, atol=1e-10)


def test_centring_outputs_leaves_them_without_a_mean_and_gradients_too() -> None:
    data = measurement.prepared(SMALL)
    network: Any = initialise(measurement.network_of((12, 6, 10), activation("relu"), settings.OUTPUTS), 1)
    network.train()
    outputs = network(data.train.inputs)
    assert outputs.mean(0).abs().max() < 1e-6
    torch.nn.functional.cross_entropy(outputs, data.train.targets).backward()
    assert network[2].bias.grad.abs().max() < 1e-7  # adding a constant to the outputs changes nothing
    with torch.no_grad():
        assert torch.allclose(network.eval()(data.train.inputs), outputs, atol=1e-6)


def test_the_same_cells_give_the_same_table(table: pandas.DataFrame) -> None:
    again = measurement.measure_cell(SMALL, measurement.cells(SMALL)[0], "cpu")
    pandas.testing.assert_frame_equal(again, table.iloc[: len(again)], check_dtype=False)


def test_record_gives_the_same_figure_and_summary(table: pandas.DataFrame) -> None:
    again = saved_and_drawn(table, analysis.draw)
    assert "cannot be decided with 2 seeds" in analysis.summary(again)


# --- made tables ----------------------------------------------------------------------------------------------------


def made_table(logarithms: dict[str, float], gap: float = 0.5, closer: float = 0.1, seeds: int = 12) -> Any:
    """ln updates by method, ReLU `gap` behind ELU by every one, with differences between networks."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for name, method, seed in product(("elu", "relu"), settings.METHODS, range(seeds)):
        row: dict[str, Any] = dict.fromkeys(settings.COLUMNS, 0.0)
        logarithm = logarithms[method] + gap * (name == "relu") + 0.01 * rng.standard_normal()
        row |= {"role": "tuned", "activation": name, "method": method, "seed": seed, "data": "made", "updates": 150}
        row |= {settings.OUTCOME: np.exp(logarithm), "learning_rate": 0.1, "diverged_update": np.nan}
        if method == settings.SGD:
            row |= {"cosine": 0.3 - 0.1 * (name == "relu"), "mean_share": 0.5}
            row["centred_cosine"] = row["cosine"] + closer + 0.01 * rng.random()
        rows.append(row)
    return pandas.DataFrame(rows)


EQUAL = dict.fromkeys(settings.METHODS, 4.0)
HELPED = EQUAL | {settings.CENTRED: 3.6, settings.OUTPUTS: 3.6}


@pytest.mark.parametrize(
    ("logarithms", "zero_means", "because"),
    [
        (HELPED | {settings.TERM: 3.6, settings.NATURAL: 3.0}, "holds", "holds"),
        (HELPED | {settings.TERM: 3.58, settings.NATURAL: 3.62}, "holds", "holds"),
        (HELPED | {settings.TERM: 3.9, settings.NATURAL: 3.0}, "holds", "does not hold"),
        (HELPED | {settings.TERM: 3.5, settings.NATURAL: 3.7}, "holds", "does not hold"),
        (EQUAL, "does not hold", "holds"),
        (EQUAL | {settings.CENTRED: 4.2}, "does not hold", "holds"),
    ],
)
def test_both_claims_can_come_out_either_way(logarithms: dict[str, float], zero_means: str, because: str) -> None:
    found = {decision.claim.identifier: decision for decision in analysis.decisions(made_table(logarithms))}
    assert (found["zero means"].verdict, found["because"].verdict) == (zero_means, because)
    assert found["zero means"].effect == pytest.approx(logarithms[settings.CENTRED] - 4.0, abs=0.02)
    assert found["closer"].verdict == found["premise"].verdict == found["closeness"].verdict == "holds"
    assert ("nothing to be caused" in verdicts.conclusion(list(found.values()))) == (zero_means != "holds")


def test_what_helps_relu_more_than_elu_is_told_from_what_helps_both_alike() -> None:
    table = made_table(EQUAL)
    helped = (table["activation"] == "relu") & (table["method"] == settings.NATURAL)
    table.loc[helped, settings.OUTCOME] *= np.exp(-0.3)
    found = {decision.claim.identifier: decision for decision in analysis.decisions(table)}
    assert found[f"closed: {settings.NATURAL}"].verdict == "holds"
    assert found[f"closed: {settings.CENTRED}"].verdict == "does not hold"
    assert found[f"gain: {settings.NATURAL}, relu"].verdict == "holds"
    assert found[f"gain: {settings.NATURAL}, elu"].verdict == "does not hold"
    share, low, high = verdicts.gain(table, "relu", settings.NATURAL)
    assert low < share < high
    assert share == pytest.approx(np.exp(-0.3), rel=0.02)


def test_a_network_that_does_not_get_there_counts_as_all_its_updates() -> None:
    table = made_table(EQUAL)
    table.loc[table.index[3], settings.OUTCOME] = np.nan
    assert np.exp(verdicts.outcomes(table)["elu", settings.SGD].iloc[3]) == pytest.approx(150)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 1}, "layers is 1; give 2 or more"),
        ({"seeds": 0}, "seeds is 0"),
        ({"examples": -1}, "examples is -1"),
        ({"features": -1}, "features is -1"),
        ({"updates": 1}, "updates is 1"),
        ({"activations": ()}, "give each once"),
        ({"activations": ("elu", "elu")}, "give each once"),
        ({"activations": ("elu", "nelu")}, "nelu"),
        ({"learning_rates": (0.1, 0.2)}, r"^learning_rates are 0\.1, 0\.2; give each once, and 3 at least"),
        ({"natural_learning_rates": (0.1, 0.2, 0.5)}, r"natural_learning_rates are .* each must be twice"),
        ({"damping": 0.0}, r"damping is 0\.0"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        analysis.cells(replace(SMALL, **options))
