"""P5, B5: the Fisher matrix's largest eigenvalue, the bias shift's strength: against explicit features and networks."""

from functools import cache
from typing import Any

import numpy
import pytest
import torch

from elutheory.errors import InputError
from elutheory.gram import bias_shift_strength, fisher_top_eigenvalue, propagate_gram, tangent_kernel

FUNCTIONS = {
    "relu": (lambda x: numpy.maximum(x, 0), lambda x: 1.0 * (x > 0)),
    "elu": (
        lambda x: numpy.where(x > 0, x, numpy.expm1(numpy.minimum(x, 0))),
        lambda x: numpy.exp(numpy.minimum(x, 0)),
    ),
    "tanh": (numpy.tanh, lambda x: 1 - numpy.tanh(x) ** 2),
}
WEIGHT_VARIANCE, WIDTH, DEPTH, COUNT = 2.0, 200, 3, 300


@cache
def points() -> Any:
    """Standard normal, of the second moment 1 exactly."""
    x = numpy.random.default_rng(11).standard_normal((COUNT, WIDTH))
    return x * numpy.sqrt(WIDTH) / numpy.linalg.norm(x, axis=1, keepdims=True)


def network(name: str, seed: int) -> tuple[Any, Any]:
    """One net's tangent kernel by backpropagation, Σ_l σ_w² (a·a'/n)(δ·δ'), and the last layer's activations."""
    rng = numpy.random.default_rng(seed)
    f, slope = FUNCTIONS[name]
    weights = [rng.standard_normal((WIDTH, WIDTH)) * numpy.sqrt(WEIGHT_VARIANCE / WIDTH) for _ in range(DEPTH)]
    read_out = rng.standard_normal(WIDTH) * numpy.sqrt(WEIGHT_VARIANCE / WIDTH)
    activations, nets = [points()], []
    for weight in weights:
        nets.append(activations[-1] @ weight)
        activations.append(f(nets[-1]))
    matrix = WEIGHT_VARIANCE / WIDTH * activations[-1] @ activations[-1].T
    delta = read_out * slope(nets[-1])
    for layer in reversed(range(DEPTH)):
        matrix += WEIGHT_VARIANCE / WIDTH * (activations[layer] @ activations[layer].T) * (delta @ delta.T)
        if layer:
            delta = (delta @ weights[layer].T) * slope(nets[layer - 1])
    return 0.5 * (matrix + matrix.T), activations[-1]


@pytest.mark.parametrize(("name", "share"), [("relu", 0.27), ("elu", 0.08), ("tanh", 0.003)])
def test_share_of_the_top_eigenvalue_against_networks(name: str, share: float) -> None:
    """Width 200, three hidden layers, 300 inputs, σ_w² = 2: the kernel's prediction holds what theory.md P5 reports.

    The mean over 6 networks within 4.5 standard errors and the order 1/width by which they differ from the limit; the
    exact eigenvalue, whose eigenvector follows the noise, is the larger one.
    """
    predicted = fisher_top_eigenvalue(tangent_kernel(name, points() @ points().T / WIDTH, DEPTH, WEIGHT_VARIANCE))
    assert predicted.estimated_share == pytest.approx(share, abs=0.005)
    found = [fisher_top_eigenvalue(network(name, seed)[0]) for seed in range(6)]
    estimates, exact = (
        numpy.array([getattr(one, kind) for one in found]) for kind in ("estimated_share", "trace_share")
    )
    for measured, prediction in ((estimates, predicted.estimated_share), (exact, predicted.trace_share)):
        noise = measured.std(ddof=1) / numpy.sqrt(len(measured))
        assert abs(measured.mean() - prediction) < 4.5 * noise + 2 / WIDTH
    assert (exact >= estimates).all()


def test_largest_eigenvalue_and_means_of_the_kernel() -> None:
    """Of J Jᵀ with an explicit J: F = JᵀJ/N has the eigenvalue, the estimate is 1ᵀΘ1/N²."""
    jacobian = numpy.random.default_rng(0).standard_normal((12, 7)) + 0.4
    found = fisher_top_eigenvalue(jacobian @ jacobian.T)
    fisher = jacobian.T @ jacobian / 12
    assert found.exact == pytest.approx(numpy.linalg.eigvalsh(fisher)[-1], rel=1e-13)
    assert found.diagonal_mean == pytest.approx(numpy.trace(fisher), rel=1e-13)
    matrix = jacobian @ jacobian.T
    off = matrix[~numpy.eye(12, dtype=bool)].mean()
    assert found.off_diagonal_mean == pytest.approx(off, rel=1e-13)
    assert found.estimate == pytest.approx(off + (found.diagonal_mean - off) / 12, rel=1e-13)
    assert found.estimate == pytest.approx(float((jacobian.mean(0) ** 2).sum()), rel=1e-13)
    assert found.estimate < found.exact
    assert found.trace_share == pytest.approx(found.exact / found.diagonal_mean, rel=1e-15)
    assert found.method == "symmetric eigenvalue decomposition"
    assert fisher_top_eigenvalue(torch.tensor(matrix)) == found
    zero = fisher_top_eigenvalue(numpy.zeros((2, 2)))
    assert zero.exact == 0
    assert numpy.isnan([zero.trace_share, zero.estimated_share]).all()


def features(count: int, units: int) -> Any:
    return numpy.random.default_rng(1).standard_normal((count, units)) + 0.3


@pytest.mark.parametrize(("count", "units"), [(20, 8), (8, 20), (12, 12)])
@pytest.mark.parametrize("damping", [3.0, 1e-2, 1e-6])
def test_strength_against_explicit_features(count: int, units: int, damping: float) -> None:
    """mᵀ(S + λI)⁻¹m, and L2: t/(1 − t) is mᵀ(Var + λI)⁻¹m."""
    phi = features(count, units)
    mean = phi.mean(0)
    moment, identity = phi.T @ phi / count, numpy.eye(units)
    found = bias_shift_strength(phi @ phi.T, damping)
    assert found.value == pytest.approx(mean @ numpy.linalg.solve(moment + damping * identity, mean), rel=1e-9)
    covariance = moment - numpy.outer(mean, mean)
    strength = mean @ numpy.linalg.solve(covariance + damping * identity, mean)
    assert found.value / (1 - found.value) == pytest.approx(strength, rel=1e-6)
    assert found.method == "Cholesky factors"
    assert bias_shift_strength(torch.tensor(phi @ phi.T), damping).value == pytest.approx(found.value, rel=1e-12)


def test_without_damping_the_share_of_constants_in_the_range() -> None:
    """Fewer units than inputs: mᵀS⁻¹m by a solve; as many or more: 1."""
    phi = features(20, 8)
    mean = phi.mean(0)
    found = bias_shift_strength(phi @ phi.T, 0.0)
    assert found.value == pytest.approx(mean @ numpy.linalg.solve(phi.T @ phi / 20, mean), rel=1e-12)
    assert found.method == "eigenvectors of the range, of dimension 8 of 20"
    assert bias_shift_strength(phi @ phi.T, 1e-9).value == pytest.approx(found.value, rel=1e-6)
    full = features(8, 20)
    assert bias_shift_strength(full @ full.T, 0.0).value == pytest.approx(1.0, rel=1e-12)
    single = bias_shift_strength((phi @ phi.T).astype(numpy.float32), 0.0)
    assert single.method == found.method
    assert single.value == pytest.approx(found.value, rel=1e-3)
    assert bias_shift_strength(torch.tensor(phi @ phi.T, dtype=torch.float32), 0.0).method == found.method
    assert bias_shift_strength(numpy.zeros((3, 3)), 0.0).value == 0.0


@pytest.mark.parametrize("name", ["relu", "elu", "tanh"])
def test_strength_of_a_wide_network_from_its_kernel(name: str) -> None:
    """K ≈ n K∞ of the third layer at λ = 0.05 n: six networks, 4.5 standard errors and the order N/n in the kernel."""
    count = 40
    gram = points()[:count] @ points()[:count].T / WIDTH
    limit = WIDTH * propagate_gram(name, gram, DEPTH, WEIGHT_VARIANCE).activation_gram
    damping = 0.05 * WIDTH
    predicted = bias_shift_strength(limit, damping).value
    measured = []
    for seed in range(6):
        phi = network(name, seed)[1][:count]
        measured.append(bias_shift_strength(phi @ phi.T, damping).value)
    noise = numpy.std(measured, ddof=1) / numpy.sqrt(len(measured))
    assert abs(numpy.mean(measured) - predicted) < 4.5 * noise + 0.1 * count / WIDTH


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: fisher_top_eigenvalue(numpy.ones((1, 1))), "at least two inputs, not of one"),
        (lambda: fisher_top_eigenvalue(numpy.ones((2, 3))), r"gram of shape \(2, 3\) is not square"),
        (lambda: bias_shift_strength(numpy.eye(3), -1.0), "damping must be a finite number >= 0, not -1.0"),
        (lambda: bias_shift_strength(numpy.eye(3), numpy.nan), "damping must be a finite number >= 0, not nan"),
        (lambda: bias_shift_strength(numpy.array([[1.0, 0.2], [0.3, 1.0]]), 1.0), "gram must be symmetric"),
        (lambda: bias_shift_strength(numpy.ones((3, 3)), 1e-30), "not positive definite to rounding; give a larger"),
    ],
)
def test_arguments_that_are_refused(call: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        call()
