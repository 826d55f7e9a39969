"""Layers that differ, layer normalisation, dropout and gated residual branches, against networks that are drawn."""

from typing import Any

import numpy
import pytest
from numpy import ndarray

import elutheory as et
from elutheory.errors import InputError

WIDTH, DEPTH, DRAWS = 1000, 3, 6
Q, C = 1.0, 0.3


def drawn(functions: list[Any], weights: list[float], biases: list[float], **kind: Any) -> ndarray:
    """(q, c) of the net inputs of every layer, of random networks of WIDTH units; and their spread over the draws."""
    gate, rate, norm = kind.get("residual", 0.0), kind.get("dropout", 0.0), kind.get("layer_norm", False)
    found = []
    for seed in range(DRAWS):
        random = numpy.random.default_rng(seed)
        root = numpy.linalg.cholesky(numpy.array([[Q, C], [C, Q]]))
        activations, net, rows = root @ random.normal(size=(2, WIDTH)), numpy.zeros((2, WIDTH)), []
        for index in range(DEPTH):
            weight = random.normal(size=(WIDTH, WIDTH)) * numpy.sqrt(weights[index] / WIDTH)
            block = activations @ weight.T + random.normal(size=WIDTH) * numpy.sqrt(biases[index])
            net = block + (gate * net if index else 0.0)
            rows.append([(net * net).mean(), (net[0] * net[1]).mean()])
            seen = (net - net.mean(1)[:, None]) / net.std(1)[:, None] if norm else net
            mask = (random.random((2, WIDTH)) >= rate) / (1 - rate)
            activations = functions[index](seen) * mask
        found.append(rows)
    return numpy.array(found)


MIXED: dict[str, tuple[list[str], list[float], list[float], dict[str, Any]]] = {
    "activations": (["relu", "tanh", "elu"], [2.0] * 3, [0.0] * 3, {}),
    "variances": (["elu"] * 3, [1.0, 2.5, 0.7], [0.0, 0.2, 0.5], {}),
    "layer norm": (["relu"] * 3, [3.0] * 3, [0.1] * 3, {"layer_norm": True}),
    "dropout": (["elu"] * 3, [1.5] * 3, [0.05] * 3, {"dropout": 0.4}),
    "leaky gate": (["tanh"] * 3, [1.0] * 3, [0.0] * 3, {"residual": 0.6}),
    "all": (
        ["relu", "elu", "tanh"],
        [1.0, 2.0, 0.5],
        [0.1, 0.0, 0.3],
        {"dropout": 0.2, "residual": 0.8, "layer_norm": True},
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_drawn_networks_have_these_moments(name: str) -> None:
    activations, weights, biases, kind = MIXED[name]
    functions = [et.activation(one) for one in activations]
    table = et.propagate(activations, DEPTH, weights, biases, Q, C, **kind).table
    found = drawn(functions, weights, biases, **kind)
    mean, error = found.mean(0), found.std(0, ddof=1) / numpy.sqrt(DRAWS)
    for column, place in (("q", 0), ("c", 1)):
        numpy.testing.assert_array_less(abs(table[column] - mean[:, place]), 5 * error[:, place] + 0.01)


@pytest.mark.parametrize("name", MIXED)
def test_chi_is_the_derivative_of_perturbations(name: str) -> None:
    """chi at c = q is the slope of c' there, but for dropout, whose masks differ: there it is over what is kept."""
    activations, weights, biases, kind = MIXED[name]
    if "dropout" in kind:
        table = et.propagate(activations, DEPTH, weights, biases, Q, C, **kind).table
        plain = et.propagate(activations, DEPTH, weights, biases, Q, C, **{**kind, "dropout": 0.0}).table
        gate = kind.get("residual", 0.0) ** 2
        assert table["chi"][0] - gate == pytest.approx((plain["chi"][0] - gate) / (1 - kind["dropout"]), rel=1e-12)
        return
    step = 1e-6
    table = et.propagate(activations, DEPTH, weights, biases, Q, Q, **kind).table
    nearly = et.propagate(activations, DEPTH, weights, biases, Q, Q - step, **kind).table
    ratio = nearly["variance_over_data"][1] / nearly["variance_over_data"][0]
    assert table["chi"][0] == pytest.approx(ratio, rel=3e-3)


def test_layers_that_are_alike_are_what_they_were() -> None:
    one = et.propagate("elu", 3, 1.5, 0.1, 1.0, 0.2)
    same = et.propagate(["elu"] * 3, 3, [1.5] * 3, [0.1] * 3, 1.0, 0.2, dropout=0.0, residual=0.0, layer_norm=False)
    assert one.table.equals(same.table)
    assert (one.activation, one.weight_variance) == (same.activation, same.weight_variance)
    residual = et.propagate("elu", 3, 1.5, 0.1, residual=True).table
    assert residual.equals(et.propagate("elu", 3, 1.5, 0.1, residual=1.0).table)


def test_bad_layers_are_refused() -> None:
    for arguments, options, sentence in [
        ((["relu"], 2, 1.0), {}, "activation has 1 entries for 2 layers"),
        (("relu", 2, [1.0]), {}, "weight_variance has 1 entries for 2 layers"),
        (("relu", 2, [1.0, 0.0]), {}, "weight_variance must be a finite number > 0"),
        (("relu", 2, 1.0), {"dropout": 1.0}, "dropout must be a rate below 1, not 1"),
        (("relu", 2, 1.0), {"dropout": -0.1}, "dropout must be a finite number >= 0"),
        (("relu", 2, 1.0), {"residual": "yes"}, "residual must be a finite number"),
        (("relu", 2, 1.0), {"layer_norm": True, "batch_norm": True}, "batch_norm or layer_norm, not both"),
        (("relu", 2, 1.0), {"layer_norm": True, "width": 10}, "without layer normalisation and dropout"),
        ((["relu", "elu"], 2, 1.0), {"width": 10}, "for layers that are alike"),
    ]:
        with pytest.raises(InputError, match=sentence):
            et.propagate(*arguments, **options)
