"""Predictions for a data set against networks drawn at random, and against P1-P3 where two numbers tell it all."""

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import nn

import elutheory as et
from elutheory.errors import InputError
from elutheory.gram.wide_layers import STATISTICS

GENERATOR = numpy.random.default_rng(0)
INPUTS = GENERATOR.normal(0.4, 1.0, (40, 12)) * GENERATOR.uniform(0.3, 2.0, (40, 1))


def network(*activations: nn.Module, width: int = 1500) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for number, activation in enumerate(activations):
        layers += [nn.Linear(width if number else 12, width), activation, nn.Dropout(0.1)]
    return nn.Sequential(*layers, nn.Linear(width, 3)).double().eval()


def test_wide_networks_have_the_statistics_predicted() -> None:
    """ReLU's unit means, too, which two numbers get wrong on inputs of unequal norms."""
    model = et.initialise(network(nn.ReLU(), nn.ELU(), nn.Tanh()), "he", seed=1)
    predicted = et.predict_layers(model, INPUTS).table
    measured = et.layer_statistics(model, torch.from_numpy(INPUTS), layers=["2", "5", "8"]).table
    assert list(predicted["activation"]) == ["relu", "elu(alpha=1.0)", "tanh"]
    for column in ("mean", "unit_mean_median", "unit_mean_std", "mean_share"):
        spread = numpy.abs(predicted["unit_mean_std"]).max()
        numpy.testing.assert_allclose(measured[column], predicted[column], atol=0.1 * spread, rtol=0.05)


def test_one_activation_is_the_same_layer_after_layer() -> None:
    whole = et.predict_layers("elu", INPUTS, 3, initialisation="critical", width=50).table
    chosen = et.initialisation("critical", "elu")
    several = et.predict_layers(
        [nn.ELU(), "elu", et.activation("elu")],
        torch.from_numpy(INPUTS),
        weight_variance=[chosen.weight_variance] * 3,
        bias_variance=chosen.bias_variance,
        width=50,
    ).table
    for column in STATISTICS:
        numpy.testing.assert_allclose(whole[column], several[column], rtol=1e-12)
    assert whole["bias_shift_strength"].notna().all()


@pytest.mark.parametrize("name", ["relu", "elu", "tanh"])
def test_inputs_of_one_norm_and_overlap_are_those_of_two_numbers(name: str) -> None:
    """A simplex: every norm 1 and every product 0.3."""
    gram = 0.7 * numpy.eye(20) + 0.3
    inputs = numpy.linalg.cholesky(gram) * numpy.sqrt(20)
    found = et.predict_layers(name, inputs, 4, weight_variance=1.7, bias_variance=0.1).table
    two = et.propagate(name, 4, 1.7, 0.1, second_moment=1.0, overlap=0.3).table
    numpy.testing.assert_allclose(found["q"], two["q"], rtol=1e-9)
    numpy.testing.assert_allclose(found["c"], two["c"], rtol=1e-9)
    numpy.testing.assert_allclose(found["mean"], two["mean"], rtol=1e-9, atol=1e-12)
    ratio = two["gradient_variance"] / two["gradient_variance"].iloc[-1]
    numpy.testing.assert_allclose(found["gradient_variance"], ratio, rtol=1e-9)


def test_files_pages_and_figures(tmp_path: Path) -> None:
    found = et.predict_layers("relu", INPUTS, 2, weight_variance=2.0)
    found.save(tmp_path / "predicted.json")
    back = et.LayerPredictions.load(tmp_path / "predicted.json")
    assert back.examples == 40
    for column in STATISTICS:
        numpy.testing.assert_allclose(back.table[column], found.table[column], rtol=1e-12)
    assert "<table" in found._repr_html_()
    assert "mean_share" in str(found)
    assert len(found.plot().axes) == 4
    with pytest.raises(InputError, match="there is no file"):
        et.LayerPredictions.load(tmp_path / "missing.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match="is no file that"):
        et.LayerPredictions.load(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("elu", INPUTS), {"weight_variance": 1.0}, "depth is needed"),
        (("elu", INPUTS, 2), {}, "either weight_variance, or the name"),
        (("elu", INPUTS, 2), {"weight_variance": 1.0, "initialisation": "he"}, "either weight_variance"),
        (("elu", INPUTS, 2), {"weight_variance": [1.0]}, "1 numbers for 2 layers"),
        ((["elu", "relu"], INPUTS, 3), {"weight_variance": 1.0}, "depth is 3 for 2 activations"),
        (("elu", INPUTS, 2), {"weight_variance": -1.0}, "must be a finite number >= 0"),
        (("elu", INPUTS[:1], 2), {"weight_variance": 1.0}, "at least two"),
        (("elu", INPUTS * numpy.nan, 2), {"weight_variance": 1.0}, "NaN or infinity"),
        ((network(nn.ReLU(), width=4), INPUTS, 2), {}, "a model has its own depth"),
        ((nn.Sequential(nn.Linear(12, 4), nn.LayerNorm(4)), INPUTS), {}, "'1' is a LayerNorm"),
        ((nn.Sequential(nn.Linear(12, 4), nn.Linear(4, 4)), INPUTS), {}, "no activation function behind it"),
        ((nn.Sequential(nn.Linear(9, 4), nn.ReLU()), INPUTS), {}, "12 features"),
        ((nn.Conv1d(1, 1, 1), INPUTS), {}, "is a Conv1d"),
        ((nn.PReLU(3), INPUTS, 2), {"weight_variance": 1.0}, "3 slopes"),
    ],
)
def test_refusals_in_one_sentence(arguments: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        et.predict_layers(*arguments, **options)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("name", ["he", "lecun", "variance_preserving", "critical", "xavier", "torch"])
def test_initialisations_have_their_variances(name: str) -> None:
    model = network(nn.ELU(), nn.ELU(), width=600)
    et.initialise(model, name, seed=3)
    weight, bias = model[4].weight.detach(), model[4].bias.detach()
    if name in ("xavier", "torch"):
        expected, of_bias = (1.0, 0.0) if name == "xavier" else (1 / 3, 1 / 3 / 600)
    else:
        chosen = et.initialisation(name, "elu")
        expected, of_bias = chosen.weight_variance, chosen.bias_variance
    assert abs(600 * float(weight.square().mean()) / expected - 1) < 0.02
    assert abs(float(bias.square().mean()) - of_bias) <= 0.2 * of_bias
    again = et.initialise(network(nn.ELU(), nn.ELU(), width=600), name, seed=3)
    assert torch.equal(again[4].weight, model[4].weight)


def test_initialise_needs_an_activation_where_the_model_does_not_tell() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ELU())
    with pytest.raises(InputError, match="is a Conv2d"):
        et.initialise(model, "critical")
    et.initialise(model, "critical", nn.ELU(), seed=0)
    with pytest.raises(InputError, match="unknown initialisation 'kaiming'; known are he"):
        et.initialise(model, "kaiming")
    with pytest.raises(InputError, match="no Linear or Conv1d"):
        et.initialise(nn.Tanh(), "he")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.ELU(0.5), "elu(alpha=0.5)"),
        (nn.PReLU(init=0.1), "prelu(negative_slope=0.1"),
        (nn.GELU(approximate="tanh"), "gelu_tanh"),
        (nn.Mish(), "mish"),
        (nn.Hardswish(), "hard_swish"),
        (nn.Identity(), "identity"),
        (nn.SiLU(), "silu"),
    ],
)
def test_functions_that_take_an_activation_take_modules(module: nn.Module, name: str) -> None:
    found = et.gaussian_moments(module, 0.3, 1.2)
    points = torch.linspace(-8, 9, 200_001, dtype=torch.float64)
    with torch.no_grad():
        values = module.double()(points)
    density = torch.exp(-0.5 * ((points - 0.3) / 1.2) ** 2) / (1.2 * (2 * torch.pi) ** 0.5)
    assert abs(float(found.mean) - float(torch.trapezoid(values * density, points))) < 1e-7
    assert abs(float(et.dual_kernel(module, 1.0, 1.0, 0.5).value)) < 10
    assert et.propagate(module, 2, 1.0).table.shape[0] == 2
