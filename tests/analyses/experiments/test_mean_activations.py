"""Deep random networks beside theory: the predictions' own references, a simulation that can fail, record to figure."""

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
import torch
from scipy import stats

from analyses.experiments.mean_activations import measurement
from analyses.experiments.mean_activations.figure import draw
from analyses.experiments.mean_activations.measurement import Cell, cells, measure, with_z_scores
from analyses.experiments.mean_activations.prediction import (
    TWO_NUMBERS,
    from_gram_matrix,
    from_two_numbers,
)
from analyses.experiments.mean_activations.settings import COLUMNS, Config
from analyses.experiments.mean_activations.verdicts import layer_verdicts, summary
from analyses.networks.random import STATISTICS, Architecture, Start, measure_networks
from elutheory.activations import activation
from elutheory.errors import InputError
from elutheory.gram import fisher_top_eigenvalue, propagate_gram, tangent_kernel
from elutheory.output.figures import figure_bytes
from elutheory.propagation import Initialisation, initialisation, propagate
from tests.analyses.experiments.saved_records import rendered_alike

SMALL = Config(
    activations=("relu", "elu", "tanh"),
    initialisations=("he", "critical"),
    architectures=("plain", "batch_norm"),
    widths=(12,),
    depth=4,
    examples=20,
    seeds=8,
)


def start(name: str, weight_variance: float = 1.6, bias_variance: float = 0.05) -> Start:
    return Start(activation(name), Initialisation("own", weight_variance, bias_variance))


def points(count: int, features: int, norms: Any = 1.0) -> Any:
    rng = numpy.random.default_rng(1)
    return norms * rng.standard_normal((count, features)) + 0.3


def gram_of(values: Any) -> Any:
    return values @ values.T / values.shape[1]


def alike_gram(count: int, overlap: float) -> Any:
    """Overlaps equal to 1e-4, second moments exactly."""
    places = numpy.arange(count)
    gram = overlap + 1e-4 * numpy.cos(places[:, None] - places)
    numpy.fill_diagonal(gram, 1.0)
    return gram


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return measure(SMALL)


@pytest.mark.parametrize("name", ["elu", "relu", "tanh"])
@pytest.mark.parametrize("residual", [False, True])
def test_gram_matrix_of_alike_inputs_says_what_two_numbers_say(name: str, residual: bool) -> None:
    # Reference: elutheory.propagate, which knows two numbers. The Gram matrix also knows that an input's overlap with
    # itself is larger; that is 1/N of the mean, and the statistics differ by about as much.
    count, depth, architecture = 100, 4, Architecture(100, 4, residual=residual)
    gram = alike_gram(count, 0.4)
    wide = from_gram_matrix(start(name), architecture, gram, 10, 0.01)
    theory = propagate(name, depth, 1.6, 0.05, 1.0, 0.4, residual=residual).table
    for statistic in ("mean", "q", "c", "gradient_variance"):
        numpy.testing.assert_allclose(wide[statistic], theory[statistic], rtol=5e-4, atol=1e-12)
    for statistic in ("unit_mean_median", "unit_mean_std", "mean_share"):
        numpy.testing.assert_allclose(wide[statistic], theory[statistic], rtol=6 / count, atol=1e-12)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_gram_predictions_are_those_of_propagate_gram(batch_norm: bool) -> None:
    values = points(12, 30, numpy.linspace(0.5, 2, 12)[:, None])
    found = from_gram_matrix(start("elu"), Architecture(50, 3, batch_norm), gram_of(values), 30, 0.01)
    for layer in range(1, 4):
        wide = propagate_gram("elu", gram_of(values), layer, 1.6, 0.05, batch_norm=batch_norm)
        products, row = wide.activation_gram, found.iloc[layer - 1]
        assert row["q"] == pytest.approx(wide.gram.diagonal().mean(), rel=1e-10)
        assert row["c"] == pytest.approx(wide.gram[numpy.triu_indices(12, 1)].mean(), rel=1e-9)
        assert row["mean_share"] == pytest.approx(products.mean() / products.diagonal().mean(), rel=1e-10)


def test_gradients_and_fisher_matrices_are_those_of_the_tangent_kernel() -> None:
    # Θ of the whole net is the sum over layers of (E f f' + bias) ∘ E δδ'; with one hidden layer and no biases that is
    # the read-out's E f f' and layer one's gram ∘ E f'f', each scaled by σ_w² (P5)
    gram = gram_of(points(9, 40))
    for name in ("relu", "elu"):
        theta = tangent_kernel(name, gram, 1, 1.6, 0.0).matrix
        products = propagate_gram(name, gram, 1, 1.6, 0.0).activation_gram
        expected = fisher_top_eigenvalue(theta - 1.6 * products).trace_share
        many = 10**9  # features: the bias is nothing beside so many weights
        found = from_gram_matrix(start(name, bias_variance=0.0), Architecture(50, 1), gram, many, 0.01)
        assert found["top_fisher_share"].iloc[0] == pytest.approx(expected, rel=1e-8)


def test_two_numbers_are_those_of_propagate() -> None:
    values = points(10, 20)
    values, bands = from_two_numbers(start("elu"), Architecture(64, 3), gram_of(values))
    gram = gram_of(points(10, 20))
    second_moment, overlap = float(gram.diagonal().mean()), float(gram.mean())
    theory = propagate("elu", 3, 1.6, 0.05, second_moment, overlap, width=64).table
    for statistic in set(TWO_NUMBERS) - {"c"}:
        numpy.testing.assert_allclose(values[statistic], theory[statistic], rtol=1e-12)
    numpy.testing.assert_allclose(values["c"], (10 * theory["c"] - theory["q"]) / 9, rtol=1e-12)
    numpy.testing.assert_allclose(bands["mean"], theory["mean_std"], rtol=1e-12)
    assert bands["gradient_variance"].isna().all()
    without = from_two_numbers(start("elu"), Architecture(64, 3, residual=True), gram)[1]
    assert without.shape == (3, len(TWO_NUMBERS))
    assert without.isna().to_numpy().all()
    assert from_two_numbers(start("gelu"), Architecture(64, 3), gram)[0]["unit_mean_median"].isna().all()


FORWARD = ("mean", "unit_mean_median", "unit_mean_std", "q", "c", "mean_share")
NAMES, DEPTH, WIDTH, SEEDS = ("elu", "relu", "tanh"), 3, 512, 24


@pytest.fixture(scope="module")
def simulated() -> dict[str, Any]:
    starts = {name: start(name) for name in NAMES}
    values = torch.from_numpy(points(48, 32, numpy.linspace(0.6, 1.6, 48)[:, None]))
    return measure_networks(starts, Architecture(WIDTH, DEPTH), values, range(SEEDS), damping=0.01, memory=2e9)


def z_scores(simulated: Any, factor: float) -> Any:
    """Of the last layer's forward statistics, weight variance `factor` times the simulated one in the prediction."""
    gram = gram_of(points(48, 32, numpy.linspace(0.6, 1.6, 48)[:, None]))
    rows = []
    for name in NAMES:
        wide = from_gram_matrix(start(name, factor * 1.6), Architecture(WIDTH, DEPTH), gram, 32, 0.01)
        for statistic in FORWARD:
            found = simulated[name][statistic][:, -1]
            table = {"measured": found.mean(), "std": found.std(ddof=1), "seeds": SEEDS, "band": numpy.nan}
            rows.append({**table, "two_numbers": numpy.nan, "gram": wide[statistic].iloc[-1]})
    return with_z_scores(pandas.DataFrame(rows))["z_gram"].to_numpy()


def test_simulation_agrees_and_a_wrong_weight_variance_is_found_out(simulated: Any) -> None:
    # Student's t with SEEDS − 1 degrees of freedom; level 0.001 shared among the scores
    limit = stats.t.isf(0.0005 / (len(NAMES) * len(FORWARD)), SEEDS - 1)
    assert abs(z_scores(simulated, 1.0)).max() < limit
    assert abs(z_scores(simulated, 1.05)).max() > limit


def test_gradients_agree_with_the_gram_matrix(simulated: Any) -> None:
    gram = gram_of(points(48, 32, numpy.linspace(0.6, 1.6, 48)[:, None]))
    limit = stats.t.isf(0.0005 / len(NAMES), SEEDS - 1)
    for name in NAMES:
        wide = from_gram_matrix(start(name), Architecture(WIDTH, DEPTH), gram, 32, 0.01)
        found = simulated[name]["gradient_variance"][:, 0]
        error = found.std(ddof=1) / SEEDS**0.5
        assert abs(found.mean() - wide["gradient_variance"].iloc[0]) < limit * error
        assert abs(found.mean() - 1.3 * wide["gradient_variance"].iloc[0]) > limit * error


def test_table_is_complete_and_tidy(table: pandas.DataFrame) -> None:
    assert list(table.columns) == list(COLUMNS)
    keys = ["activation", "initialisation", "architecture", "width", "layer", "statistic"]
    assert not table.duplicated(keys).any()
    assert len(table) == len(cells(SMALL)) * len(SMALL.activations) * SMALL.depth * len(STATISTICS)
    without = table.loc[table["measured"].isna(), ["architecture", "statistic"]].drop_duplicates()
    assert without.to_numpy().tolist() == [["batch_norm", "top_fisher_share"]]
    assert table.loc[table["activation"] == "relu", "nearer"].isna().all()
    critical = initialisation("critical", "elu")
    row = table[(table["activation"] == "elu") & (table["initialisation"] == "critical")].iloc[0]
    assert (row["weight_variance"], row["bias_variance"]) == (critical.weight_variance, critical.bias_variance)


def test_cells_depend_on_nothing_but_their_arguments(table: pandas.DataFrame) -> None:
    again = measurement.measure_cell(SMALL, Cell("critical", "plain", 12), "cpu")
    chosen = table[(table["initialisation"] == "critical") & (table["architecture"] == "plain")]
    pandas.testing.assert_frame_equal(again, chosen.reset_index(drop=True))
    alone = replace(SMALL, activations=("elu",))
    found = measurement.measure_cell(alone, Cell("critical", "plain", 12), "cpu")
    numpy.testing.assert_array_equal(found["measured"], again.loc[again["activation"] == "elu", "measured"])


def test_sign_test() -> None:
    # of 8 networks, only unanimity is below 0.01: 2/256; of 16, 14 : 2 is (0.0042), 13 : 3 is not (0.021)
    seeds, nearer = [8, 8, 8, 16, 16, 16, 8], [8, 0, 7, 14, 13, 2, numpy.nan]
    found = layer_verdicts(pandas.DataFrame({"seeds": seeds, "nearer": nearer}))
    expected = ["nearer", "farther", "undecided", "nearer", "undecided", "farther"]
    assert found.iloc[:-1].tolist() == expected
    assert pandas.isna(found.iloc[-1])


def test_figure_and_summary_come_from_the_record_alone(table: pandas.DataFrame, tmp_path: Path) -> None:
    table.to_csv(tmp_path / "records.csv", index=False)
    saved = pandas.read_csv(tmp_path / "records.csv")
    assert rendered_alike(draw(saved), draw(saved)).startswith(b"<?xml")
    text = summary(saved)
    for words in ("Layers nearer zero than ReLU", "bias-shift correction (B5)", "z-scores", "Not predicted"):
        assert words in text
    worst = saved.loc[saved["z_gram"].abs().idxmax(), "z_gram"]
    assert f"{worst:.3g}" in text


def test_one_activation_and_one_seed_are_enough_to_draw() -> None:
    alone = measure(replace(SMALL, activations=("elu",), initialisations=("he",), architectures=("residual",), seeds=1))
    assert figure_bytes(draw(alone), "png").startswith(b"\x89PNG")
    assert summary(alone).endswith("take more seeds.")
    buffer = io.StringIO(alone.to_csv(index=False))
    assert draw(pandas.read_csv(buffer)).get_axes()


def test_refusals() -> None:
    with pytest.raises(InputError, match="softplus"):
        measure(replace(SMALL, activations=("softplus",), initialisations=("critical",)))
    with pytest.raises(InputError, match="no data set"):
        measure(replace(SMALL, data="nowhere"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "seeds is 0; give 1 or more."),
        ({"depth": -1}, "depth is -1; give 1 or more."),
        ({"examples": 1}, "examples is 1; give 2 or more."),
        ({"widths": (64, 0)}, "widths holds 0; give 1 or more."),
        ({"activations": ()}, "activations are none"),
        ({"damping": float("nan")}, "damping is nan; a finite number"),
    ],
)
def test_nothing_to_measure_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        cells(replace(SMALL, **{"memory": 4.0} | change))
