"""`diagnose`: every column against plain autograd and dense solves, models it has never seen, what it leaves out."""

import html.parser
import math
import types
from collections.abc import Callable
from typing import Any

import numpy
import pandas
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import elutheory as et
from elutheory.diagnosis import Diagnosis, diagnose, model_diagnosis
from elutheory.diagnosis.layer import COLUMNS, ERROR, SAMPLED, correction_strength
from elutheory.errors import InputError
from elutheory.fisher import Gaussian
from elutheory.moments import gaussian_moments
from elutheory.output.figures import figure_bytes
from tests.references.plain_fisher import plain_fisher, plain_scores

EXAMPLES, DAMPING = 70, 0.03


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def classifier(*modules: nn.Module, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """The modules with seeded parameters, in evaluation mode."""
    model = nn.Sequential(*modules).to(dtype).eval()
    numbers = generator(7)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 1.0 if parameter.ndim < 2 else parameter[0].numel() ** -0.5
            parameter.copy_(scale * torch.randn(parameter.shape, generator=numbers, dtype=dtype))
    return model


def perceptron() -> nn.Sequential:
    return classifier(nn.Linear(5, 7), nn.ELU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 4))


def data(*shape: int, classes: int = 4, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(shape, generator=generator(1), dtype=dtype) + 0.5
    return inputs, torch.randint(0, classes, shape[:1], generator=generator(2))


def row(diagnosis: Diagnosis, layer: str) -> dict[str, float]:
    (found,) = diagnosis.table[diagnosis.table["layer"] == layer].to_dict("records")
    return found


@pytest.fixture(scope="module")
def diagnosed() -> Diagnosis:
    return diagnose(perceptron(), data(EXAMPLES, 5), damping=DAMPING, units=100)


@pytest.mark.parametrize("layer", ["0", "2", "4"])
def test_fisher_columns_are_those_of_dense_matrices(diagnosed: Diagnosis, layer: str) -> None:
    # Reference: plain autograd's F (a pass a label), numpy's inverse of F + λI as one matrix, numpy's eigenvalues;
    # s by its definition as the bias entry of the inverse, k and the shifts from the update itself (B2, B3).
    inputs, targets = data(EXAMPLES, 5)
    fisher = plain_fisher(perceptron(), inputs, layer)
    scores = plain_scores(perceptron(), inputs, layer)
    mean = fisher.mean_under_p.numpy()
    expected: dict[str, list[float]] = {}
    for matrix, gradient, mean_q, covariance in zip(
        fisher.matrix.numpy(),
        scores.gradient(targets).numpy(),
        fisher.mean_under_q.numpy(),
        fisher.covariance_under_q.numpy(),
        strict=True,
    ):
        if not matrix.any():
            continue
        damped = matrix + DAMPING * numpy.trace(matrix) / len(matrix) * numpy.eye(len(matrix))
        inverse = numpy.linalg.inv(damped)
        natural = inverse @ gradient
        A, b, c = damped[1:, 1:], damped[1:, 0], damped[0, 0]
        variance = A / c - numpy.outer(b, b) / c**2
        eigenvalues = numpy.linalg.eigvalsh(matrix)
        nonzero = eigenvalues[eigenvalues > 1e-10 * eigenvalues[-1]]
        for key, value in {
            "mean_under_q": mean_q.mean(),
            "mean_over_spread_under_q": numpy.linalg.norm(mean_q) / math.sqrt(numpy.trace(covariance)),
            "s_times_c": inverse[0, 0] * c,
            "k": 1 + (b / c - mean) @ numpy.linalg.solve(variance, b / c),
            "shift_without": abs(mean @ numpy.linalg.solve(A, gradient[1:]) + gradient[0] / c),
            "shift_with": abs(mean @ natural[1:] + natural[0]),
            "cosine": gradient @ natural / numpy.linalg.norm(gradient) / numpy.linalg.norm(natural),
            "rank": len(nonzero),
            "condition_number": nonzero[-1] / nonzero[0],
            "top_eigenvalue_share": eigenvalues[-1] / eigenvalues.sum(),
        }.items():
            expected.setdefault(key, []).append(value)
    found = row(diagnosed, layer)
    for key, values in expected.items():
        assert found[key] == pytest.approx(float(numpy.median(values)), rel=1e-8), key
    assert found["measured_units"] == len(expected["k"])


def test_columns_of_the_activations(diagnosed: Diagnosis) -> None:
    model, (inputs, _) = perceptron(), data(EXAMPLES, 5)
    with torch.no_grad():
        incoming, nets = model[:2](inputs).numpy(), model[:3](inputs).numpy()
    found, mean = row(diagnosed, "2"), incoming.mean(0)
    second = (incoming**2).sum(1).mean()
    assert found["kind"] == "Linear"
    assert (found["units"], found["fan_in"]) == (6, 7)
    assert found["mean_under_p"] == pytest.approx(mean.mean(), rel=1e-12)
    assert found["mean_size"] == pytest.approx(numpy.linalg.norm(mean), rel=1e-12)
    assert found["mean_share"] == pytest.approx(mean @ mean / second, rel=1e-12)
    assert found["mean_over_spread"] == pytest.approx(math.sqrt(mean @ mean / (second - mean @ mean)), rel=1e-10)
    moment = incoming.T @ incoming / EXAMPLES
    damped = moment + DAMPING * numpy.trace(moment) / 7 * numpy.eye(7)
    assert found["strength"] == pytest.approx(mean @ numpy.linalg.solve(damped, mean), rel=1e-10)
    outgoing = numpy.maximum(nets, 0).mean(0)
    closure = gaussian_moments("relu", nets.mean(0), nets.std(0)).mean
    assert found["activation"] == "relu"
    assert found["outgoing_mean"] == pytest.approx(outgoing.mean(), rel=1e-12)
    assert found["outgoing_mean_gaussian"] == pytest.approx(closure.mean(), rel=1e-10)
    assert found["outgoing_mean_deviation"] == pytest.approx(math.sqrt(((outgoing - closure) ** 2).mean()), rel=1e-8)
    assert pandas.isna(row(diagnosed, "4")["activation"])
    assert math.isnan(row(diagnosed, "4")["outgoing_mean"])


def test_closure_predicts_the_mean_of_gaussian_net_inputs() -> None:
    # Net inputs of a layer on N(0, I) are Gaussian: measured minus predicted is sampling error alone, whose standard
    # deviation is below that of the activation over the root of the number of inputs.
    count = 4000
    model = classifier(nn.Linear(3, 20), nn.ELU(), nn.Linear(20, 2))
    inputs = torch.randn(count, 3, generator=generator(3), dtype=torch.float64)
    with torch.no_grad():
        spread = model[:2](inputs).std(0).square().mean().sqrt().item()
    found = row(diagnose(model, inputs, units=2, fisher_examples=10), "0")
    assert 0 < found["outgoing_mean_deviation"] < 4 * spread / math.sqrt(count)


@pytest.mark.parametrize(("points", "fan_in"), [(9, 4), (4, 9), (6, 6)])
def test_strength_is_the_same_by_gram_matrix_and_by_second_moment(points: int, fan_in: int) -> None:
    # B5 by its left-hand side, dense, whichever of its sides the function takes.
    activations = torch.randn(points, fan_in, generator=generator(), dtype=torch.float64) + 1
    mean, moment = activations.mean(0), activations.T @ activations / points
    damped = moment + 0.1 * moment.trace() / fan_in * torch.eye(fan_in, dtype=torch.float64)
    expected = float(mean @ torch.linalg.inv(damped) @ mean)
    assert correction_strength(activations, 0.1) == pytest.approx(expected, rel=1e-10)


def test_strength_of_no_activations_is_undefined() -> None:
    assert math.isnan(correction_strength(torch.zeros(3, 2, dtype=torch.float64), 0.1))


def test_dead_units_are_counted_and_left_out() -> None:
    model = perceptron()
    with torch.no_grad():
        model[2].bias[1] = -1e3  # no input reaches the ReLU's positive side
    found = row(diagnose(model, data(EXAMPLES, 5), units=100), "2")
    alive = row(diagnose(perceptron(), data(EXAMPLES, 5), units=100), "2")
    assert found["dead_units"] == alive["dead_units"] + 1
    assert found["measured_units"] == alive["measured_units"] - 1
    assert math.isfinite(found["s_times_c"])
    assert math.isfinite(found["shift_with"])


def test_a_layer_of_dead_units_alone_has_a_row() -> None:
    model = perceptron()
    with torch.no_grad():
        model[2].bias[:] = -1e3
    found = row(diagnose(model, data(EXAMPLES, 5)), "2")
    assert found["dead_units"] == 6
    assert math.isnan(found["cosine"])


# --- data -----------------------------------------------------------------------------------------------------------


def test_batches_add_up_to_the_tensor() -> None:
    model, (inputs, targets) = perceptron(), data(EXAMPLES, 5)
    whole = diagnose(model, (inputs, targets), units=100)
    parts = list(zip(inputs.split([1, 40, 29]), targets.split([1, 40, 29]), strict=True))
    batched = diagnose(model, parts, units=100)
    assert (whole.order, batched.order) == ("random", "as given")
    assert batched.examples == EXAMPLES
    numbers = list(whole.table.select_dtypes("number"))
    numpy.testing.assert_allclose(batched.table[numbers], whole.table[numbers], rtol=1e-6)


def test_max_examples_stops_the_pass_and_draws_of_the_whole_tensor() -> None:
    inputs = torch.linspace(0, 1, 500, dtype=torch.float64)[:, None].expand(-1, 5)
    found = diagnose(perceptron(), inputs, max_examples=100, fisher_examples=30, units=2)
    assert (found.examples, found.fisher_examples) == (100, 30)
    # Mean of 100 of 500 equally spaced numbers: standard deviation below 0.29/10.
    assert abs(row(found, "0")["mean_under_p"] - 0.5) < 4 * 0.029
    given = diagnose(perceptron(), [inputs[:60], inputs[60:]], max_examples=100, units=2)
    assert given.examples == 100
    assert row(given, "0")["mean_under_p"] == pytest.approx(float(inputs[:100].mean()))


def test_fisher_matrices_are_of_the_examples_and_units_asked_for() -> None:
    inputs, targets = data(EXAMPLES, 5)
    found = diagnose(perceptron(), [(inputs, targets)], units=100, fisher_examples=20, damping=DAMPING)
    fewer = diagnose(perceptron(), [(inputs[:20], targets[:20])], units=100, damping=DAMPING)
    for column in ("s_times_c", "k", "mean_under_q", "top_eigenvalue_share", "strength"):
        assert row(found, "2")[column] == pytest.approx(row(fewer, "2")[column], rel=1e-10)
    assert row(found, "2")["mean_under_p"] != pytest.approx(row(fewer, "2")["mean_under_p"], rel=1e-3)
    assert row(diagnose(perceptron(), inputs, units=3), "0")["measured_units"] == 3


def test_results_depend_on_the_seed_alone() -> None:
    model, (inputs, _) = perceptron(), data(EXAMPLES, 5)

    def found(seed: int) -> Diagnosis:
        return diagnose(model, inputs, units=2, fisher_examples=20, seed=seed)

    state = torch.random.get_rng_state()
    assert found(1).table.equals(found(1).table)
    assert not found(1).table.equals(found(2).table)
    assert torch.equal(state, torch.random.get_rng_state())


def test_without_targets_the_report_says_whose_labels_the_gradient_has() -> None:
    inputs, targets = data(EXAMPLES, 5)
    sampled, given = diagnose(perceptron(), inputs), diagnose(perceptron(), inputs, targets=targets)
    assert (sampled.gradient_labels, given.gradient_labels) == ("sampled", "targets")
    assert "drawn from the model" in sampled.to_text()
    assert "of the data's targets" in given.to_text()


def test_float32_models_and_gaussian_likelihoods() -> None:
    model = classifier(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2), dtype=torch.float32)
    inputs, _ = data(EXAMPLES, 5, dtype=torch.float32)
    targets = torch.zeros(EXAMPLES, 2)
    single = diagnose(model, (inputs, targets), Gaussian(0.25), units=100)
    double = diagnose(model.double(), (inputs.double(), targets.double()), Gaussian(0.25), units=100)
    assert single.likelihood == "gaussian with variance 0.25"
    for column in ("s_times_c", "k", "shift_with", "cosine", "mean_under_p", "outgoing_mean"):
        # Rounding of the activations to float32, times the damped condition number of about 1e3.
        assert row(single, "0")[column] == pytest.approx(row(double, "0")[column], rel=1e-3), column


# --- which activation function follows ------------------------------------------------------------------------------


class OutOfOrder(nn.Module):
    """Activation modules in another order than they run, one shared, one in place, one behind a batch norm, and a
    layer that has none because a sum comes between."""

    def __init__(self) -> None:
        super().__init__()
        self.rectifier, self.exponential = nn.ReLU(inplace=True), nn.ELU(0.5)
        self.a, self.b, self.c, self.d = (nn.Linear(5, 5) for _ in range(4))
        self.norm, self.last = nn.BatchNorm1d(5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.exponential(self.a(x))
        x = self.rectifier(self.norm(self.b(x)))
        x = self.exponential(self.c(x))
        return self.last(self.rectifier(self.d(x) + x))


def test_activations_are_found_by_tensor_not_by_order() -> None:
    model = OutOfOrder().double().eval()
    model.norm.running_mean += 0.7
    inputs, _ = data(EXAMPLES, 5)
    table = diagnose(model, inputs, units=2).table.set_index("layer")
    elu = "elu(alpha=0.5)"
    assert table["activation"].dropna().to_dict() == {"a": elu, "b": "relu", "c": elu}
    with torch.no_grad():
        expected = model.norm(model.b(model.exponential(model.a(inputs)))).relu()
    assert table.loc["b", "outgoing_mean"] == pytest.approx(float(expected.mean()), rel=1e-12)


class OwnSwish(nn.Module):
    """What libraries have in place of torch's modules; counts how often it runs."""

    runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return x * x.sigmoid()


def test_an_activation_module_of_ones_own_is_asked_once_what_it_applies() -> None:
    model = classifier(nn.Linear(5, 4), OwnSwish(), nn.Linear(4, 3))
    found = diagnose(model, data(EXAMPLES, 5, classes=3), units=1)
    assert row(found, "0")["activation"] == "silu"
    assert model[1].runs < 40  # asking ran it, which asked again, without end


# --- models never seen ----------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """Grouped and strided convolutions, batch norm, activations in place, a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.grouped, self.across = nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.Conv2d(4, 4, 1)
        self.act, self.head = nn.ELU(inplace=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.first(x)))
        x = self.act(self.grouped(x) + self.across(x))
        return self.head(x.mean((2, 3)))


class Tokens(nn.Module):
    """What language models are: embeddings, attention whose weights no module is called with, logits in an object."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, activation=nn.GELU())
        self.embedding, self.blocks = nn.Embedding(11, 8), nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 11)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> types.SimpleNamespace:
        hidden = self.blocks(self.embedding(input_ids), src_key_padding_mask=attention_mask == 0)
        return types.SimpleNamespace(logits=self.head(hidden))


def tokens() -> dict[str, Tensor]:
    return {
        "input_ids": torch.randint(0, 11, (30, 5), generator=generator()),
        "attention_mask": torch.ones(30, 5, dtype=torch.int64),
    }


@pytest.mark.parametrize(
    ("make", "inputs", "covered"),
    [
        (Residual, torch.randn(20, 2, 6, 6, generator=generator()), ["first", "grouped", "across", "head"]),
        (
            Tokens,
            tokens(),
            [
                "embedding",
                *(
                    f"blocks.layers.{block}.{layer}"
                    for block in (0, 1)
                    for layer in (
                        "self_attn.q",
                        "self_attn.k",
                        "self_attn.v",
                        "self_attn.out_proj",
                        "linear1",
                        "linear2",
                    )
                ),
                "head",
            ],
        ),
    ],
)
def test_models_never_seen(make: Callable[[], nn.Module], inputs: object, covered: list[str]) -> None:
    torch.manual_seed(0)
    model = make().eval()
    frozen = next(model.parameters()).requires_grad_(False)
    diagnosis = diagnose(model, inputs, units=4)
    assert list(diagnosis.table["layer"]) == covered
    assert diagnosis.kind == "exact"
    parameters = {name for name, _ in model.named_parameters()}
    of_covered = {name for name in parameters if name.rpartition(".")[0] in covered or "in_proj" in name}
    assert diagnosis.uncovered.keys() == parameters - of_covered
    assert all(reason.endswith(".") for reason in diagnosis.uncovered.values())
    finite = diagnosis.table[["mean_under_p", "mean_under_q", "cosine", "condition_number", "strength"]]
    assert numpy.isfinite(finite.to_numpy()).all()
    # The model is as it was: no hooks, no gradients, frozen parameters frozen.
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [parameter.requires_grad for parameter in model.parameters()].count(False) == 1
    assert not frozen.requires_grad


def test_reasons_name_the_kind_of_module_and_what_was_not_asked_for() -> None:
    uncovered = diagnose(Tokens().eval(), tokens(), units=1).uncovered
    assert "LayerNorm" in uncovered["blocks.layers.0.norm1.weight"]
    only = diagnose(perceptron(), data(EXAMPLES, 5), layers=["2"])
    assert only.uncovered["0.weight"] == "layer '0' was not asked for."


def test_a_layer_without_bias_has_that_of_one_that_is_zero() -> None:
    inputs, targets = data(EXAMPLES, 5, classes=3)
    model = classifier(nn.Linear(5, 6, bias=False), nn.ELU(), nn.Linear(6, 3))
    found = diagnose(model, (inputs, targets), units=9, damping=DAMPING)
    twin = classifier(nn.Linear(5, 6), nn.ELU(), nn.Linear(6, 3))
    twin.load_state_dict({**model.state_dict(), "0.bias": torch.zeros(6)}, strict=True)
    expected = diagnose(twin, (inputs, targets), units=9, damping=DAMPING)
    assert (row(found, "0")["bias"], row(expected, "0")["bias"]) == ("virtual", "own")
    for column in ("s_times_c", "k", "shift_without", "shift_with", "mean_under_q"):
        assert row(found, "0")[column] == pytest.approx(row(expected, "0")[column], rel=1e-10)
    assert row(found, "0")["rank"] == row(expected, "0")["rank"] - 1  # of the weights alone
    assert row(found, "0")["cosine"] != pytest.approx(row(expected, "0")["cosine"], rel=1e-3)
    fisher, own = et.unit_fisher(model, inputs, "0"), et.unit_fisher(twin, inputs, "0")
    torch.testing.assert_close(fisher.with_virtual_bias().matrix, own.matrix)
    torch.testing.assert_close(fisher.with_virtual_bias().without_bias().matrix, fisher.matrix)
    with pytest.raises(InputError, match=r"has no bias.*with_virtual_bias\(\) adds one"):
        _ = fisher.c


# --- what is drawn --------------------------------------------------------------------------------------------------


def small_network() -> nn.Sequential:
    return classifier(nn.Conv2d(1, 6, 3), nn.ELU(), nn.Flatten(), nn.Linear(6 * 9, 24), nn.ReLU(), nn.Linear(24, 4))


def test_nothing_drawn_has_no_error() -> None:
    found = diagnose(perceptron(), data(EXAMPLES, 5), units=100).table
    assert (found[[column + ERROR for column in SAMPLED]] == 0).all(axis=None)
    assert (found["cut"] == "none").all()


@pytest.mark.parametrize("options", [{"units": 6}, {"fisher_examples": 80}, {"kind": "monte_carlo"}])
def test_errors_cover_the_truth(options: dict[str, object]) -> None:
    # The truth: nothing drawn. Differences over stated errors, of all columns and layers on some seeds.
    inputs, targets = data(200, 1, 5, 5)
    every = {"units": 99, "fisher_examples": 200, "damping": 0.1, "layers": ["0", "3"]}
    truth = diagnose(small_network(), (inputs, targets), **every).table
    ratios, columns = [], [column for column in SAMPLED if column not in ("rank", "condition_number", "strength")]
    for seed in range(3):
        found = diagnose(small_network(), (inputs, targets), **(every | options), seed=seed).table
        for column in columns:
            drawn = found[column + ERROR] > 0
            ratios += list((found[column] - truth[column])[drawn] / found[column + ERROR][drawn])
    assert len(ratios) > 20
    assert numpy.median(numpy.abs(ratios)) < 1.5  # 0.67 if errors were Gaussian and known
    assert numpy.quantile(numpy.abs(ratios), 0.9) < 4


def test_the_error_of_the_shift_is_true() -> None:
    """The bias shift with the correction, which a few labels say little of: on six seeds, beside nothing drawn."""
    inputs = data(60, 1, 5, 5)
    every: dict[str, Any] = {"units": 99, "fisher_examples": 60, "damping": 0.1, "layers": ["3"]}
    exact = diagnose(small_network(), inputs, **every).table.iloc[0]
    assert exact["shift_with_error"] == 0.0
    drawn = [
        diagnose(small_network(), inputs, **every, kind="monte_carlo", seed=seed).table.iloc[0] for seed in range(6)
    ]
    ratios = [(one["shift_with"] - exact["shift_with"]) / one["shift_with_error"] for one in drawn]
    assert all(one["shift_with_error"] > 0.0 for one in drawn)
    assert 0.2 < numpy.sqrt(numpy.mean(numpy.square(ratios))) < 2.5, ratios
    assert numpy.abs(ratios).max() < 5.0, ratios


def test_exact_where_that_is_affordable(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = small_network(), data(80, 1, 5, 5)
    found = diagnose(model, inputs)
    assert (found.kind, found.samples) == ("exact", 0)
    monkeypatch.setattr(model_diagnosis, "EXACT_OPERATIONS", 2e8)
    some = diagnose(model, inputs)
    assert some.kind == "monte_carlo"
    assert 1 < some.samples < model_diagnosis.MOST_SAMPLES
    assert f"monte_carlo, {some.samples} labels drawn per example" in some.to_text()
    monkeypatch.setattr(model_diagnosis, "EXACT_OPERATIONS", 1.0)
    assert diagnose(model, inputs).samples == 1


def test_units_are_drawn_among_the_live_ones() -> None:
    model = small_network()
    with torch.no_grad():
        model[3].bias[2:] = -1e3
    found = row(diagnose(model, data(80, 1, 5, 5), units=2), "3")
    assert (found["measured_units"], found["dead_units"], found["k_error"]) == (2, 22, 0.0)


def test_what_does_not_fit_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_diagnosis, "FISHER_BYTES", 2**19)
    found = diagnose(small_network(), data(80, 1, 5, 5))
    assert 1 <= row(found, "3")["measured_units"] < 16
    assert row(found, "3")["cut"] == f"{row(found, '3')['measured_units']} of 16 units"
    assert row(found, "5")["cut"] == "none"
    assert row(found, "3")["cut"] in found.to_text()
    assert " ± " in found.to_text()


# --- refusals -------------------------------------------------------------------------------------------------------


class Unused(nn.Module):
    """A layer that never runs is all there is to measure."""

    def __init__(self) -> None:
        super().__init__()
        self.unused, self.scale = nn.Linear(5, 4), nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


class FoldsLargeBatches(nn.Module):
    """Folds the examples of large batches into a second axis, where they are no examples any more."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.folded = nn.Linear(5, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.folded(x[None])[0] if len(x) > 40 else self.folded(x)


def test_layers_that_a_later_batch_shows_unmeasurable_are_dropped() -> None:
    inputs, _ = data(64, 5)
    diagnosis = diagnose(FoldsLargeBatches().double(), [inputs[:10], inputs[10:]])
    assert list(diagnosis.table["layer"]) == ["first"]
    assert "the examples must be the first" in diagnosis.uncovered["folded.weight"]


def broken(message: str, **options: object) -> None:
    inputs = options.pop("data", data(EXAMPLES, 5))
    model = options.pop("model", None) or perceptron()
    with pytest.raises(InputError, match=message):
        diagnose(model, inputs, **options)


def test_refusals_in_one_sentence() -> None:
    inputs, targets = data(EXAMPLES, 5)
    broken("units is 0; a whole number", units=0)
    broken("max_examples is True", max_examples=True)
    broken("damping is 0; a number above zero", damping=0.0)
    broken("damping is -1", damping=-1.0)
    broken("no layer '9'", layers=["9"])
    broken("some batches have targets and some have none", data=[(inputs, targets), inputs])
    broken("kind 'empirical' takes the scores at the data's labels", data=inputs, kind="empirical")
    broken("the data have no batch", data=[])
    broken("inputs are a list", data=([1.0], [1]))
    broken("at least one example is needed", data=inputs[:0])
    broken("targets run from", data=(inputs, targets + 4))
    broken("call model.eval", model=classifier(nn.Linear(5, 4), nn.Dropout()).train())
    broken("no layer whose units have weights", model=nn.Sequential(nn.Tanh()))
    broken("'unused' is never executed", model=Unused().double())


# --- what comes out -------------------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """Tags and text of a page, and whatever it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href") and (value or "#")[0] != "#"
        ]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_is_self_contained_and_escapes_names() -> None:
    model = nn.Sequential()
    name = "<script>alert('$x$')</script>"
    model.add_module(name, nn.Linear(5, 4, dtype=torch.float64))
    page = Page()
    page.feed(diagnose(model, data(EXAMPLES, 5)).to_html())
    assert "script" not in page.tags
    assert name in page.text
    assert {"svg", "table"} <= set(page.tags)
    assert page.loaded == []
    assert all(column in page.text for column in COLUMNS)


def test_figure_has_a_panel_a_question_and_repeats_byte_for_byte(diagnosed: Diagnosis) -> None:
    figure, again = diagnosed.plot(), diagnosed.plot()
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 4
    measured = figure.axes[2].lines[0].get_ydata()
    numpy.testing.assert_array_equal(measured, diagnosed.table["shift_without"])
    assert figure_bytes(figure, "svg") == figure_bytes(again, "svg")


def test_text_has_every_column_and_fits_the_width(diagnosed: Diagnosis) -> None:
    text = diagnosed.to_text(100)
    assert all(column in text for column in COLUMNS)
    assert "Parameters not covered\n  none" in text
    assert "exact, likelihood categorical" in text
    assert max(map(len, text.split("Columns\n")[0].splitlines())) <= 100


def test_table_has_the_documented_columns(diagnosed: Diagnosis) -> None:
    errors = [column + ERROR for column in SAMPLED]
    assert [column for column in diagnosed.table.columns if column not in errors] == list(COLUMNS)
    assert set(errors) <= set(diagnosed.table.columns)
    assert list(diagnosed.table["layer"]) == ["0", "2", "4"]


def test_predicted_mean_shares_stand_beside_measured_ones() -> None:
    torch.manual_seed(0)
    layers = [module for _ in range(3) for module in (nn.Linear(200, 200), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(200, 4)).double().eval()
    et.initialise(model, "critical")
    inputs = torch.randn(150, 200, generator=generator(3), dtype=torch.float64) + 0.3
    table = diagnose(model, inputs, units=1, fisher_examples=10, kind="monte_carlo").table.set_index("layer")
    expected = et.predict_layers(model, inputs).table["mean_share"]
    assert math.isnan(table.loc["0", "mean_share_predicted"])
    assert table["mean_share_predicted"].tolist()[1:] == pytest.approx(expected.tolist(), rel=1e-9)
    # 200 units deviate from infinitely many by about 1/sqrt(200) of 1 − share, layer after layer
    assert table["mean_share"].tolist()[1:] == pytest.approx(expected.tolist(), abs=0.07)


@pytest.mark.parametrize("inputs", [torch.ones(9, 1, 4, 4), torch.ones(9, 3, 5)])
def test_mean_shares_of_other_networks_are_not_predicted(inputs: torch.Tensor) -> None:
    torch.manual_seed(0)
    first = nn.Conv2d(1, 3, 2) if inputs.ndim == 4 else nn.Linear(5, 3)
    width = 27 if inputs.ndim == 4 else 9
    model = nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(width, 2)).eval()
    assert diagnose(model, inputs, units=1).table["mean_share_predicted"].isna().all()
