"""The bias-shift term over translated means: against Fisher matrices of translated activations, and its verdicts."""

import copy
from dataclasses import replace

import numpy as np
import pandas
import pytest
import torch
from torch import Tensor

from analyses.data.datasets import Split
from analyses.experiments import bias_shift_term as analysis
from analyses.experiments.bias_shift_term import measurement, settings, verdicts
from analyses.experiments.bias_shift_term.exponents import SCALES, SMALL, across_layers, measure_network, scales
from analyses.experiments.bias_shift_term.translated_units import PARTS, TranslatedUnits, translated_units
from analyses.networks.architectures import fully_connected, initialise
from elutheory.errors import InputError
from elutheory.fisher import LayerScores, UnitFisher, bias_shift_correction, model_scores
from elutheory.output.figures import figure_bytes

SMALL_CONFIG = analysis.Config(activations=("elu", "relu"), layers=2, units=8, epochs=1, examples=60, seeds=2)


def examples(count: int = 60) -> Split:
    generator = torch.Generator().manual_seed(1)
    return Split(torch.randn(count, 5, generator=generator, dtype=torch.float64), torch.arange(count) % 3)


def both_scores(*, singular: bool = False) -> tuple[LayerScores, LayerScores]:
    """Of the second hidden layer; singular: one incoming unit copies another one, and one is always 0."""
    network = initialise(fully_connected((5, 7, 6, 3), "elu", dtype=torch.float64), 0)
    if singular:
        with torch.no_grad():
            network[0].weight[1] = network[0].weight[0]  # pyright: ignore
            network[0].weight[2] = 0.0  # pyright: ignore
    data = examples()
    at_model = model_scores(network, data.inputs, ["2"], "exact").layers["2"]
    return at_model, model_scores(network, data.inputs, ["2"], "empirical", targets=data.targets).layers["2"]


@pytest.fixture(scope="module")
def scores() -> tuple[LayerScores, LayerScores]:
    return both_scores()


@pytest.fixture(scope="module")
def units(scores: tuple[LayerScores, LayerScores]) -> TranslatedUnits:
    return translated_units(*scores)


def of_translated(scores: tuple[LayerScores, LayerScores], unit: int, t: float) -> tuple[UnitFisher, Tensor, Tensor]:
    """Fisher matrix and gradient of one unit from its own incoming activations, moved example by example; E_q[a]."""
    at_model, at_targets = (of_layer.unit(unit) for of_layer in scores)
    mean = UnitFisher.from_scores(at_model).mean_under_q[0]
    moved = at_model.incoming - (1 - t) * mean
    fisher = UnitFisher.from_scores(replace(at_model, incoming=moved))
    return fisher, replace(at_targets, incoming=moved).gradient(), mean


@pytest.mark.parametrize("t", [0.0, 1e-3, 0.3, 1.0, 2.0])
def test_parts_are_those_of_translated_activations(
    scores: tuple[LayerScores, LayerScores], units: TranslatedUnits, t: float
) -> None:
    """The package's Fisher matrix, its solves and its Theorem 2, in the activations' own coordinates."""
    found = units.difference(t)
    for unit in range(6):
        fisher, gradient, mean = of_translated(scores, unit, t)
        c, A = fisher.c[0], fisher.A[0]
        natural = fisher.natural_gradient(gradient)[0]
        weights = torch.linalg.solve(A, gradient[0, 1:])
        theorem = bias_shift_correction(fisher, gradient)
        variance = fisher.covariance_under_q[0]
        step = natural[1:] - weights
        expected = {
            "shift": theorem.shift_with - theorem.shift_without,
            "bias": natural[0] - gradient[0, 0] / c,
            "weights": (step @ variance @ step).sqrt(),
        }
        for part, value in expected.items():
            assert found.parts[part][unit] == pytest.approx(float(c * value), rel=1e-8, abs=1e-12)
        whitened_mean = (t * mean @ torch.linalg.solve(variance, t * mean)).sqrt()
        assert found.parts["gradient"][unit] == pytest.approx(
            float(natural[0].abs() * c * whitened_mean), rel=1e-8, abs=1e-12
        )
        assert found.parts["incoming"][unit] == pytest.approx(
            float(theorem.k.abs() * whitened_mean), rel=1e-8, abs=1e-12
        )
        size = (natural @ fisher.matrix[0] @ natural * c).sqrt()
        assert units.length[unit] == pytest.approx(float(size), rel=1e-8)
        difference = torch.cat([(natural[0] - gradient[0, 0] / c)[None], step])
        length = units.length_of(found.natural - found.blockwise, t)[unit]
        assert length == pytest.approx(
            float((difference @ fisher.matrix[0] @ difference * c).sqrt()), rel=1e-8, abs=1e-12
        )
        cosine = torch.nn.functional.cosine_similarity(gradient[0], natural, dim=0)
        assert units.cosine(found.natural, t)[unit] == pytest.approx(float(cosine), rel=1e-8)


def test_closed_forms(units: TranslatedUnits) -> None:
    """Against direct solves and, of the exponent, central differences of them."""
    for t in (0.0, 1e-3, 0.3, 1.0, 3.0):
        found = units.difference(t)
        assert torch.allclose(found.natural - found.blockwise, units.predicted_step(t), rtol=1e-9, atol=1e-13)
        assert torch.allclose(found.parts["shift"], units.predicted_shift(t), rtol=1e-8, atol=1e-13)
        assert torch.allclose(units.length_of(found.natural, t), units.length, rtol=1e-10)  # the same at every t
    for t in (1e-3, 1.0):
        before, after = (units.difference(t * float(np.exp(step))).parts["shift"] for step in (-1e-4, 1e-4))
        measured = (after / before).log() / 2e-4
        assert torch.allclose(measured, units.predicted_shift_exponent(t), rtol=1e-5, atol=1e-6)


def test_condition_number_is_that_of_the_matrix(units: TranslatedUnits) -> None:
    for t in (0.0, 0.5, 1.0):
        mean = t * units.mean_under_q
        first = torch.cat([torch.ones(len(mean), 1, dtype=mean.dtype), mean], dim=1)
        matrix = first[:, :, None] * first[:, None, :]
        matrix[:, 1:, 1:] += torch.eye(7, dtype=mean.dtype)
        eigenvalues = torch.linalg.eigvalsh(matrix)
        assert torch.allclose(units.condition_number(t), eigenvalues[:, -1] / eigenvalues[:, 0], rtol=1e-7)


def test_damping_is_noise_in_the_incoming_activations(scores: tuple[LayerScores, LayerScores]) -> None:
    """c λ I added to A, in the activations' own coordinates; its natural gradient and k do as the theorems say."""
    damped = translated_units(*scores, 0.3)
    found = damped.difference(1.0)
    for unit in range(6):
        fisher, gradient, mean = of_translated(scores, unit, 1.0)
        noise = 0.3 * fisher.covariance_under_q[0].diagonal().mean()
        matrix = fisher.matrix[0].clone()
        matrix.diagonal()[1:] += fisher.c[0] * noise
        natural = torch.linalg.solve(matrix, gradient[0])
        weights = torch.linalg.solve(matrix[1:, 1:], gradient[0, 1:])
        shift = fisher.mean_under_p @ (natural[1:] - weights) + natural[0] - gradient[0, 0] / fisher.c[0]
        assert found.parts["shift"][unit] == pytest.approx(float(fisher.c[0] * shift), rel=1e-8)
        assert damped.strength[unit] < mean @ torch.linalg.solve(fisher.covariance_under_q[0], mean)


def test_a_singular_matrix_is_solved_on_its_range() -> None:
    """As the pseudo-inverse does: the same change of the net input at every example."""
    scores = both_scores(singular=True)
    units = translated_units(*scores)
    assert units.rank.tolist() == [5] * 6
    step = units.difference(1.0).natural
    expected = UnitFisher.from_scores(scores[0]).natural_gradient(scores[1].gradient(), singular="range")
    a = scores[0].incoming[:, 0, 0]
    whitened = torch.einsum("uni,uij->unj", a - units.raw_mean[:, None], units.whitening) + units.mean_under_q[:, None]
    change = (torch.einsum("unj,uj->un", whitened, step[:, 1:]) + step[:, :1]) / UnitFisher.from_scores(scores[0]).c[
        :, None
    ]
    assert torch.allclose(change, (a @ expected[:, 1:].mT + expected[:, 0]).mT, rtol=1e-7, atol=1e-10)


def test_dead_units_are_left_out(scores: tuple[LayerScores, LayerScores]) -> None:
    at_model, at_targets = scores
    deltas = at_model.deltas.clone()
    deltas[..., 2] = 0.0
    found = translated_units(replace(at_model, deltas=deltas), at_targets)
    assert found.dead == 1
    kept = translated_units(at_model, at_targets).strength[[0, 1, 3, 4, 5]]
    assert torch.allclose(found.strength, kept, rtol=1e-10)


def test_without_variance_there_is_no_term(scores: tuple[LayerScores, LayerScores]) -> None:
    """A unit that only one example reaches; and a layer without any that is alive has no units."""
    at_model, at_targets = scores
    deltas = at_model.deltas.clone()
    deltas[:, 1:, :, 4] = 0.0
    found = translated_units(replace(at_model, deltas=deltas), at_targets)
    assert found.rank.tolist() == [7, 7, 7, 7, 0, 7]
    difference = found.difference(1.0)
    assert all(difference.parts[part][4] == 0 for part in PARTS)
    assert torch.equal(difference.natural[4, :1], at_targets.gradient()[4, :1])
    none = translated_units(replace(at_model, deltas=torch.zeros_like(deltas)), at_targets)
    assert (none.dead, len(none.strength), len(none.difference(1.0).natural)) == (6, 0, 0)


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return analysis.measure(SMALL_CONFIG)


def test_rows_and_what_must_hold(table: pandas.DataFrame) -> None:
    points = len(scales(0.0)) + len(scales(0.01))
    assert len(table) == 2 * SMALL_CONFIG.seeds * 2 * (SMALL_CONFIG.layers - 1) * points
    assert list(table.columns) == [*analysis.COLUMNS, *settings.SETTING]
    exact = table[table["damping"] == 0]
    assert sorted(exact["t"].unique()) == list(SCALES)
    assert table["deviation"].max() < 1
    assert exact.loc[exact["t"] == 0, "largest_length"].max() < 1e-10
    later = table[table["t"] > 0]
    assert not later[list(analysis.COLUMNS)].isna().any(axis=None)
    assert np.allclose(later["exponent_bias"], 1, atol=1e-4)
    assert (later["near_bias"] == 1).all()
    assert np.allclose(later["exponent_shift"], later["predicted_exponent"], atol=0.05)
    assert (later["strength"] > 1).all()
    assert later["length"].gt(0).all()
    assert later["largest_length"].ge(later["length"]).all()
    assert exact["rank"].max() <= SMALL_CONFIG.units


def test_a_network_that_diverged_has_no_numbers() -> None:
    network = initialise(fully_connected((5, 7, 6, 3), "elu", dtype=torch.float64), 0)
    broken = copy.deepcopy(network)
    with torch.no_grad():
        broken[0].bias[0] = torch.nan  # pyright: ignore
    rows = measure_network(broken, examples(), (0.0, 0.1))
    assert [(row["layer"], row["damping"], row["t"]) for row in rows] == [
        (row["layer"], row["damping"], row["t"]) for row in measure_network(network, examples(), (0.0, 0.1))
    ]
    assert all(len(row) == 3 for row in rows)


def made_table(table: pandas.DataFrame) -> pandas.DataFrame:
    """Twelve seeds: term 0.2 (ELU) or 0.3 of the natural gradient, as the theorems say, proportional for small means;
    at the mean as it is only the bias' part and, of ELU, the shift."""
    first = table[(table["damping"] == 0) & (table["seed"] == 0) & (table["epoch"] == 0)]
    made = pandas.concat([first.assign(seed=seed) for seed in range(12)], ignore_index=True)
    elu = made["activation"] == "elu"
    wiggle = 1e-4 * (1 + made["seed"])
    made["length"] = np.where(elu, 0.2, 0.3) + wiggle * np.where(elu, 1, 2)
    made["cosine"] = np.where(made["t"] == 0, 0.5 + wiggle, 0.3)
    made["largest_length"], made["deviation"] = 1e-13 + 1e-14 * wiggle, 1e-4 + 0.1 * wiggle
    for part in PARTS:
        made[f"exponent_{part}"] = 1 + wiggle
        made[f"near_{part}"] = np.where((part == "bias") | (elu & (part == "shift")), 0.9 + wiggle, 0.1 + wiggle)
    return made


def test_verdicts_come_from_the_table(table: pandas.DataFrame) -> None:
    made = made_table(table)
    found = {decision.claim.identifier: decision.verdict for decision in analysis.decisions(made)}
    refuted = {"only", "as it is: shift: relu", "as it is: weights", "as it is: gradient", "as it is: incoming"}
    assert {name for name, verdict in found.items() if verdict == "does not hold"} == refuted
    assert set(found.values()) == {"holds", "does not hold"}
    assert {"zero mean", "identity", "closer", "elu below relu", "as it is: bias", "small: shift"} <= set(found)
    made["largest_length"] = 1e-3
    made.loc[(made["t"] == SMALL) & (made["activation"] == "relu"), "exponent_weights"] = 1.02
    found = {decision.claim.identifier: decision.verdict for decision in analysis.decisions(made)}
    assert (found["zero mean"], found["small: weights"]) == ("does not hold", "does not hold")


def test_a_diverged_network_counts_as_worst(table: pandas.DataFrame) -> None:
    made = made_table(table)
    made.loc[
        made["activation"] == "elu", [name for name in table if name.startswith(("exp", "near", "len", "cos"))]
    ] = np.nan
    found = {decision.claim.identifier: decision.verdict for decision in analysis.decisions(made)}
    assert found["differs: elu"] == found["closer"] == found["small: bias"] == "does not hold"
    assert found["elu below relu"] == "does not hold"
    assert found["differs: relu"] == "holds"
    assert "12 networks of ELU diverged" in analysis.summary(made)


def test_correlation_and_slope_across_layers() -> None:
    """length = 2 √mean at every layer: rank correlation 1, slope ½."""
    mean = np.array([0.1, 0.2, 0.5, 0.9])
    rows = [
        {"seed": seed, "t": t, "damping": damping, "mean_activation": number, "length": 2 * number**0.5 if t else 0.0}
        for seed in range(2)
        for t in (0.0, 1.0)
        for damping in (0.0, 0.1)
        for number in mean
    ]
    correlation, slope = across_layers(pandas.DataFrame(rows))
    assert correlation == pytest.approx([1.0, 1.0])
    assert slope == pytest.approx([0.5, 0.5])


def test_figure_and_summary_of_a_measured_table(table: pandas.DataFrame) -> None:
    assert figure_bytes(analysis.draw(table), "svg").startswith(b"<?xml")
    text = analysis.summary(table)
    assert text.count("cannot be decided with 2 seeds") == len(verdicts.claims(("elu", "relu")))
    assert "digits; 2 hidden layers × 8" in text


@pytest.mark.parametrize(
    "wrong",
    [
        {"layers": 1},
        {"seeds": 0},
        {"learning_rate": 0.0},
        {"examples": 1},
        {"dampings": (0.1,)},
        {"dampings": (0.0, -1.0)},
        {"activations": ()},
        {"activations": ("elu", "elu")},
        {"activations": ("no such",)},
    ],
)
def test_bad_configurations_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        measurement.cells(analysis.Config(**{**SMALL_CONFIG.__dict__, **wrong}))


def test_more_examples_than_there_are_are_refused() -> None:
    with pytest.raises(InputError, match="1247"):
        analysis.measure(replace(SMALL_CONFIG, examples=5000))
