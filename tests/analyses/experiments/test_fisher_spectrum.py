"""The full Fisher matrix by both routes against plain autograd, the wide kernel, descents, verdicts and the figure."""

from itertools import product
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from torch import Tensor, nn

from analyses.data import datasets
from analyses.experiments import fisher_spectrum as analysis
from analyses.experiments.fisher_spectrum import settings, verdicts
from analyses.experiments.fisher_spectrum.full_fisher import (
    centred,
    eigenvalues_of,
    eigenvalues_of_rows,
    fisher_gram,
    flat,
    has_batch_statistics,
    linear_names,
    score_rows,
    unit_eigenvalues,
    wide_tangent_kernel,
)
from analyses.experiments.fisher_spectrum.step_size_limit import descend, function_of, linearised_model, network_model
from analyses.networks.architectures import fully_connected, initialise
from elutheory.activations import activation
from elutheory.errors import InputError
from elutheory.fisher import unit_fisher
from elutheory.gram import fisher_top_eigenvalue, tangent_kernel
from tests.analyses.experiments.saved_records import saved_and_drawn

SMALL = analysis.Config(
    activations=("elu", "relu"), layers=2, units=6, examples=13, epochs=1, batch_size=250, seeds=2, seeds_at_once=2
)
SIZES = (5, 7, 6, 3)
EXAMPLES = 8


def network(name: str = "elu", batch_norm: bool = False, sizes: tuple[int, ...] = SIZES) -> Any:
    """Float64, with biases other than 0."""
    made: Any = initialise(fully_connected(sizes, name, batch_norm=batch_norm, dtype=torch.float64), 1)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return made


def points(examples: int = EXAMPLES, features: int = SIZES[0]) -> Tensor:
    return 0.3 + torch.randn(examples, features, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def dense_fisher(model: nn.Module, inputs: Tensor, likelihood: str) -> Tensor:
    """Mean of Jᵀ (diag(p) − ppᵀ) J, or JᵀJ, one backward pass an output; batch normalisation in training mode."""
    outputs = model.train()(inputs)
    parameters = list(model.parameters())
    total: Any = 0.0
    for output in outputs:
        passes = [torch.autograd.grad(value, parameters, retain_graph=True) for value in output]
        jacobian = torch.stack([torch.cat([part.flatten() for part in one]) for one in passes])
        p = output.detach().softmax(0)
        information = torch.diag(p) - torch.outer(p, p) if likelihood == "categorical" else torch.eye(len(p)).to(p)
        total = total + jacobian.T @ information @ jacobian / len(inputs)
    return total


def same_spectrum(found: Tensor, dense: Tensor) -> None:
    """Up to the zeros at the end, of which there are as many as the larger side has more."""
    expected = torch.linalg.eigvalsh(dense).flip(0)
    size = max(len(found), len(expected))
    found, expected = (torch.cat([one, torch.zeros(size - len(one)).to(one)]) for one in (found, expected))
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-13 * expected[0].item())


@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
@pytest.mark.parametrize("name", ["elu", "relu", "tanh"])
def test_both_routes_have_the_spectrum_of_the_dense_matrix(name: str, likelihood: str) -> None:
    model, inputs = network(name), points()
    dense = dense_fisher(model, inputs, likelihood)
    rows = flat(score_rows(model, inputs, likelihood))
    assert torch.allclose(rows.T @ rows / EXAMPLES, dense, rtol=1e-11, atol=1e-14)
    gram = fisher_gram(model, inputs, likelihood)
    assert torch.allclose(rows @ rows.T / EXAMPLES, gram, rtol=1e-11, atol=1e-14)  # in the same order, too
    assert len(rows) < len(dense)
    same_spectrum(eigenvalues_of(gram), dense)
    same_spectrum(eigenvalues_of_rows(rows, EXAMPLES), dense)


def test_the_side_of_the_parameters_where_it_is_smaller() -> None:
    model, inputs = network(sizes=(2, 2, 3)), points(30, 2)
    rows = flat(score_rows(model, inputs, "categorical"))
    found = eigenvalues_of_rows(rows, 30)
    assert rows.shape == (90, 15)
    assert len(found) == 15
    same_spectrum(found, dense_fisher(model, inputs, "categorical"))


@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
def test_batch_statistics_are_differentiated_through(likelihood: str) -> None:
    """Against autograd of the network in training mode; and the biases in front of it have no effect."""
    model, inputs = network(batch_norm=True), points()
    assert has_batch_statistics(model)
    assert not has_batch_statistics(network())
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    rows = score_rows(model, inputs, likelihood)
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name])
    assert rows["0.bias"].abs().max() < 1e-12
    assert set(rows) == {name for name, _ in model.named_parameters()}
    same_spectrum(eigenvalues_of_rows(flat(rows), EXAMPLES), dense_fisher(model, inputs, likelihood))


def test_unit_blocks_are_those_of_the_unit_fisher() -> None:
    model, inputs = network(), points()
    name = linear_names(model)[1]
    rows = score_rows(model, inputs, "categorical")
    found = unit_eigenvalues(rows[f"{name}.weight"], rows[f"{name}.bias"]) / EXAMPLES
    expected = torch.linalg.eigvalsh(unit_fisher(model, inputs, name, "exact", "categorical").matrix)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-13)


def test_centring_keeps_the_function_and_is_a_congruence() -> None:
    """B4: ∂/∂W' = ∂/∂W − ∂/∂b mᵀ and ∂/∂b' = ∂/∂b, of every layer; activations then have mean 0."""
    model, inputs = network("relu"), points()
    other = centred(model, inputs)
    assert torch.allclose(model(inputs), other(inputs), rtol=1e-12, atol=1e-12)
    rows, moved = (score_rows(one, inputs, "categorical") for one in (model, other))
    incoming = inputs
    for old, new in zip(linear_names(model), linear_names(other), strict=True):
        mean = incoming.mean(0)
        expected = rows[f"{old}.weight"] - rows[f"{old}.bias"][:, :, None] * mean
        assert torch.allclose(moved[f"{new}.weight"], expected, atol=1e-12)
        assert torch.allclose(moved[f"{new}.bias"], rows[f"{old}.bias"], atol=1e-12)
        assert mean.abs().max() > 0.1
        incoming = nn.functional.relu(incoming @ model[int(old)].weight.T + model[int(old)].bias).detach()
    same_spectrum(eigenvalues_of(fisher_gram(other, inputs, "categorical")), dense_fisher(other, inputs, "categorical"))


# --- P5 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["elu", "relu", "tanh"])
def test_wide_kernel_of_equal_widths_is_the_tangent_kernel(name: str) -> None:
    """n/2 times the kernel of parameters N(0, 1), and the biases' share: differences of two sizes leave that alone."""
    inputs = points(5, 4).numpy()
    expected = tangent_kernel(name, inputs @ inputs.T / 4, 2, 2.0).matrix
    few, many = (wide_tangent_kernel(activation(name), np.hstack([inputs] * k) * 1.0, (4 * k,) * 2) for k in (1, 3))
    assert (many - few) / 4 == pytest.approx(expected, rel=1e-9, abs=1e-11)
    biases = few - 2 * expected
    assert biases == pytest.approx(biases.T)
    assert np.linalg.eigvalsh(biases)[0] > 0


def test_wide_kernel_is_approached_by_networks() -> None:
    """Unequal widths: J Jᵀ of one output, mean over 12 networks of widths 300 and 150, within 5 standard errors + 3/150
    of the largest entry."""
    inputs = points(6)
    sizes = (5, 300, 150, 1)
    found = []
    for seed in range(12):
        model: Any = initialise(fully_connected(sizes, "elu", dtype=torch.float64), seed)
        rows = flat(score_rows(model, inputs, "gaussian"))
        found.append((rows @ rows.T).numpy())
    predicted = wide_tangent_kernel(activation("elu"), inputs.numpy(), sizes[1:-1])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert (abs(mean - predicted) < 5 * error + 3 / 150 * predicted.max()).all()
    assert abs(mean / predicted.max()).min() < 0.8  # the entries differ


# --- descents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "converges"), [(0.9, True), (1.1, False)])
def test_linearised_network_at_and_beyond_the_limit(factor: float, converges: bool) -> None:
    """Without a Jacobian against r ← (I − η J Jᵀ/N) r with an explicit one of autograd, step by step."""
    model, inputs = network("elu"), points()
    outputs = model(inputs)
    parameters = list(model.parameters())
    passes = [torch.autograd.grad(value, parameters, retain_graph=True) for value in outputs.flatten()]
    jacobian = torch.stack([torch.cat([part.flatten() for part in one]) for one in passes])
    values, vectors = torch.linalg.eigh(jacobian @ jacobian.T / EXAMPLES)
    rate = factor * 2 / values[-1].item()
    targets = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    function, start = function_of(model, inputs)
    direction = vectors[:, -1].view(outputs.shape)
    found = descend(linearised_model(function, start), start, targets, rate, 60, direction)
    residuals = (outputs.detach() - targets).flatten()
    at_start = (vectors[:, -1] @ residuals).item() ** 2 / (2 * EXAMPLES)
    for step in range(61):
        assert found.losses[step].item() == pytest.approx(residuals.square().sum().item() / (2 * EXAMPLES), rel=1e-8)
        along = at_start * (1 - 2 * factor) ** (2 * step)
        assert found.along[step].item() == pytest.approx(along, rel=1e-6, abs=1e-20)
        residuals = residuals - rate * jacobian @ (jacobian.T @ residuals) / EXAMPLES
    assert (found.losses[-1] < found.losses[0]).item() == converges
    assert (found.losses.diff() < 0).all().item() == converges


def test_the_network_descends_as_with_a_torch_optimizer() -> None:
    model, inputs = network("tanh"), points()
    function, start = function_of(model, inputs)
    targets = torch.zeros(EXAMPLES, 3, dtype=torch.float64)
    found = descend(network_model(function), start, targets, 0.01, 7, torch.zeros_like(targets))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    start = {name: value.clone() for name, value in start.items()}
    for _ in range(7):
        optimizer.zero_grad()
        loss = (model(inputs) - targets).square().sum(1).mean() / 2
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    assert found.losses[:-1].tolist() == pytest.approx(losses, rel=1e-12)
    for name, parameter in model.named_parameters():
        assert torch.allclose(found.parameters[name], parameter, rtol=1e-12)
        assert not torch.equal(parameter, start[name])


def test_a_descent_that_overflows_has_infinite_losses() -> None:
    model, inputs = network("relu"), points()
    function, start = function_of(model, inputs)
    targets = torch.zeros(EXAMPLES, 3, dtype=torch.float64)
    found = descend(network_model(function), start, targets, 1e150, 6, targets)
    assert found.losses[0].isfinite()
    assert found.losses[-1].isinf()
    assert found.along[-1].isinf()


# --- measuring ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    return analysis.measure(SMALL)


def test_rows_of_a_table(table: pandas.DataFrame) -> None:
    assert list(table.columns)[: len(analysis.COLUMNS)] == list(analysis.COLUMNS)
    spectra, descents = (table[table["part"] == part] for part in ("spectrum", "descent"))
    categorical = spectra[spectra["likelihood"] == "categorical"]
    keys = ["activation", "seed", "epoch", "method"]
    expected = set(product(("elu", "relu"), (1000, 1001), (0, 1), settings.METHODS))
    assert set(categorical[keys].itertuples(index=False, name=None)) == expected
    assert len(categorical) == len(expected)
    assert len(spectra) == len(expected) + 4
    assert len(descents) == 4 * len(settings.MODELS) * 2
    assert categorical[["top", "trace", "condition", "unit_top_share", "eigenvalue_100"]].notna().all(axis=None)
    assert (categorical["top"] == categorical["eigenvalue_1"]).all()
    assert categorical["top_share"].between(0, 1).all()
    assert (categorical["rank"] <= 9 * 13).all()


def test_numbers_of_a_table_against_dense_matrices(table: pandas.DataFrame) -> None:
    """ReLU, seed 1001 before training: categorical with each method, gaussian, one output."""
    data = datasets.load("digits").standardised().flattened()
    inputs = data.train.inputs[:13].double()
    model: Any = initialise(fully_connected((64, 6, 6, 10), "relu", dtype=torch.float64), 1001)
    normalised = initialise(fully_connected((64, 6, 6, 10), "relu", batch_norm=True, dtype=torch.float64), 1001)
    models = (model, centred(model, inputs), normalised)
    rows = table.query("activation == 'relu' and seed == 1001 and epoch == 0 and part == 'spectrum'")
    for method, one in zip(settings.METHODS, models, strict=True):
        row = rows[(rows["method"] == method) & (rows["likelihood"] == "categorical")].iloc[0]
        values = torch.linalg.eigvalsh(dense_fisher(one, inputs, "categorical")).flip(0)
        above = values[values > 1e-10 * values[0]]
        expected = {
            "top": values[0],
            "trace": values.sum(),
            "top_share": values[0] / values.sum(),
            "outlier_share": values[:9].sum() / values.sum(),
            "second": values[1],
            "bulk": values[9],
            "rank": len(above),
            "condition": values[0] / np.median(above.numpy()),
            "eigenvalue_20": values[19],
        }
        for name, value in expected.items():
            assert row[name] == pytest.approx(float(value), rel=1e-8), (method, name)
    row = rows[rows["likelihood"] == "gaussian"].iloc[0]
    assert row["top"] == pytest.approx(torch.linalg.eigvalsh(dense_fisher(model, inputs, "gaussian"))[-1].item())
    tops = []
    for output in range(10):
        alone = nn.Sequential(*model[:-1], nn.Linear(6, 1, dtype=torch.float64))
        read_out = {name: parameter[output, None] for name, parameter in model[-1].named_parameters()}
        alone[-1].load_state_dict(read_out)
        tops.append(torch.linalg.eigvalsh(dense_fisher(alone, inputs, "gaussian"))[-1].item())
    assert row["one_output_top"] == pytest.approx(np.mean(tops), rel=1e-9)
    predicted = fisher_top_eigenvalue(wide_tangent_kernel(activation("relu"), inputs.numpy(), (6, 6)))
    assert row["formula_top"] == pytest.approx(predicted.estimate)
    assert row["kernel_share"] == pytest.approx(predicted.trace_share)


def test_descents_start_alike_and_the_linearised_ones_obey_the_limit(table: pandas.DataFrame) -> None:
    descents = verdicts.growth(table)
    labels = descents[descents["model"] != settings.NEAR]
    assert (labels.groupby(["activation", "seed"])["loss_0"].agg(np.ptp) < 1e-12).all()
    near = descents[descents["model"] == settings.NEAR].groupby(["activation", "seed"])["loss_0"].first()
    start = labels.groupby(["activation", "seed"])["loss_0"].first()
    assert near.to_numpy() == pytest.approx(settings.SMALL**2 * start.to_numpy(), rel=1e-9)
    linearised = descents[descents["model"] == settings.LINEARISED]
    for factor, runs in linearised.groupby("factor"):
        growth = 2 * settings.FIRST * np.log(abs(1 - 2 * float(str(factor))))
        assert runs["first"].to_numpy() == pytest.approx(growth, rel=1e-6)
    close = descents[(descents["model"] == settings.NEAR) & (descents["factor"] == 0.9)]
    assert close["end_factor"].to_numpy() == pytest.approx(0.9, rel=0.05)
    assert linearised["end_factor"].isna().all()


def test_after_training_it_is_the_trained_network(table: pandas.DataFrame) -> None:
    """Spectra of the same network before and after differ, and centring is of the same network at both."""
    categorical = verdicts.of_likelihood(table, "categorical").set_index(["activation", "seed", "epoch", "method"])
    top = categorical["top"].unstack("epoch")
    assert (abs(top[1] / top[0] - 1) > 1e-4).all()


def test_record_gives_the_same_figure_and_summary(table: pandas.DataFrame) -> None:
    again = saved_and_drawn(table, analysis.draw)
    assert analysis.summary(again).count("cannot be decided with 2 seeds") == len(verdicts.claims(("elu", "relu")))


# --- tables made by hand --------------------------------------------------------------------------------------------


def made(share: dict[tuple[str, str], float], growth: dict[tuple[str, float], float], seeds: int = 12) -> Any:
    """Shares by activation and method, the same before and after; growth of all losses by model and factor."""
    rows: list[dict[str, Any]] = []
    for seed, name in product(range(seeds), ("elu", "relu")):
        noise = 1 + 0.001 * seed
        own = {"activation": name, "seed": seed}
        for epoch, method in product((0, 3), settings.METHODS):
            value = share[name, method] * noise
            rows.append({**own, "part": "spectrum", "likelihood": "categorical", "epoch": epoch, "method": method,
                         "top": value, "top_share": value, "unit_top_share": value})  # fmt: skip
        rows.append({**own, "part": "spectrum", "likelihood": "gaussian", "epoch": 0, "method": settings.NONE,
                     "one_output_top": 10.0 * noise, "kernel_top": 11.0, "formula_top": 5.0})  # fmt: skip
        for (model, factor), times in growth.items():
            losses = {f"{kind}_{step}": 2.0 * (times * noise if step else 1.0)
                      for kind in ("loss", "along") for step in settings.STEPS}  # fmt: skip
            rows.append({**own, "part": "descent", "likelihood": "gaussian", "epoch": 0, "model": model,
                         "factor": factor, **losses})  # fmt: skip
    return pandas.DataFrame(rows).reindex(columns=[*analysis.COLUMNS])


SHARES = {
    ("elu", settings.NONE): 0.05,
    ("relu", settings.NONE): 0.1,
    ("elu", settings.CENTRING): 0.04,
    ("relu", settings.CENTRING): 0.05,
    ("elu", settings.BATCH_NORM): 0.06,
    ("relu", settings.BATCH_NORM): 0.15,
}
GROWTH = {
    (settings.LINEARISED, 0.9): 0.1,
    (settings.LINEARISED, 1.1): np.inf,
    (settings.NEAR, 0.9): 0.1,
    (settings.NEAR, 1.1): 6.0,
    (settings.NETWORK, 0.9): 0.1,
    (settings.NETWORK, 1.1): 0.2,
}


def verdict_by_claim(table: Any) -> dict[str, str]:
    return {decision.claim.identifier: decision.verdict for decision in analysis.decisions(table)}


def test_verdicts_of_a_made_table() -> None:
    """12 seeds of the same sign: p = 2⁻¹¹, times at most 29 claims; ln 1.1 is within ln 1.25, ln 2 is not."""
    found = verdict_by_claim(made(SHARES, GROWTH))
    refuted = {"P5: elu", "P5: relu", "limit 1.1: network", "limit 1.1: network: elu", "limit 1.1: network: relu"}
    for stage in verdicts.STAGES:
        refuted |= {f"batch normalisation {effect}: {stage}" for effect in ("lowers relu", "lowers elu",
                                                                            "helps relu more than elu")}  # fmt: skip
    assert {name for name, verdict in found.items() if verdict == "does not hold"} == refuted
    assert {verdict for name, verdict in found.items() if name not in refuted} == {"holds"}
    assert {f"{one}: elu vs relu: trained" for one in ("top share", "top eigenvalue", "unit share")} <= set(found)


def test_effects_of_a_made_table() -> None:
    found = {decision.claim.identifier: decision.effect for decision in analysis.decisions(made(SHARES, GROWTH))}
    assert found["top share: elu vs relu: initial"] == pytest.approx(np.log(0.5))
    assert found["centring lowers relu: trained"] == pytest.approx(np.log(0.5))
    assert found["centring helps relu more than elu: initial"] == pytest.approx(np.log(0.5) - np.log(0.8))
    assert found["limit 1.1: near a minimum"] == pytest.approx(np.log(6.0), rel=0.01)
    assert found["limit 1.1: linearised"] == np.inf
    assert found["kernel: elu"] == pytest.approx(np.log(1.25) - np.log(1.1), abs=0.01)


def test_one_activation_that_fails_refutes_a_limit() -> None:
    table = made(SHARES, GROWTH)
    fails = (table["activation"] == "relu") & (table["model"] == settings.NEAR) & (table["factor"] == 1.1)
    table.loc[fails, f"along_{settings.FIRST}"] = 1.0
    assert verdict_by_claim(table)["limit 1.1: near a minimum"] == "does not hold"


def test_networks_that_diverged_in_training_count_as_worst() -> None:
    table = made(SHARES, GROWTH)
    lost = (table["activation"] == "relu") & (table["epoch"] == 3) & (table["method"] != settings.BATCH_NORM)
    table.loc[lost, ["top", "top_share", "unit_top_share"]] = np.nan
    found = {decision.claim.identifier: decision for decision in analysis.decisions(table)}
    assert found["top share: elu vs relu: trained"].effect == -np.inf
    assert found["centring lowers relu: trained"].effect == 0
    assert found["centring lowers relu: trained"].verdict == "undecided"
    assert found["batch normalisation lowers relu: trained"].effect == -np.inf


def test_claims_are_about_what_was_run() -> None:
    names = {claim.identifier for claim in verdicts.claims(("tanh",))}
    assert names >= {"P5: tanh", "kernel: tanh", "limit 0.9: linearised", "limit 1.1: network: tanh"}
    assert not any("elu" in name for name in names)
    every = [claim.identifier for claim in verdicts.claims(analysis.Config().activations)]
    assert len(set(every)) == len(every)
    assert 2.0 ** (1 - analysis.Config().seeds) * len(every) < 0.05  # leaves something to decide


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 1}, "layers is 1"),
        ({"units": 0}, "units is 0"),
        ({"examples": 1}, "examples is 1; give 2 or more"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; a finite number"),
        ({"activations": ()}, "activations are none"),
        ({"activations": ("elu", "elu")}, "give each once"),
        ({"activations": ("elo",)}, "unknown activation"),
        ({"examples": 10_000, "activations": ("elu",)}, "digits has 1247 for training"),
    ],
)
def test_bad_configurations(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        analysis.measure(analysis.Config(**{"seeds": 1, **options}))
