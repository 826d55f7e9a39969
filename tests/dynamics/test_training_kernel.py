"""T1, T5: the kernel against the recursion by quadrature, its parts, its centring, and against networks (T6)."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad

import elutheory as et
from elutheory.activations import activation
from elutheory.kernels import dual_kernel, dual_kernel_derivative

LIMIT = 1e-12


def gram_of(count: int, features: int, *, equal: bool, seed: int = 0) -> np.ndarray:
    inputs = np.random.default_rng(seed).standard_normal((count, features))
    if equal:
        inputs *= np.sqrt(features) / np.linalg.norm(inputs, axis=1)[:, None]
    gram = inputs @ inputs.T / features
    if equal:
        np.fill_diagonal(gram, 1.0)
    return gram


def recursion(
    name: str, gram: np.ndarray, widths: tuple[int, ...], features: int, variance: float, constant: float, bias: bool
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """T1 with the dual kernel of every pair: Θ, K^{L+1}, overlaps by layer and the factors σ_w² E f'f' by layer."""
    K = variance * gram + constant
    overlaps, slopes = [features * gram], []
    for width in widths:
        q = np.diag(K)
        products = dual_kernel(name, q[:, None] + 0 * K, q + 0 * K, K).value
        derivatives = dual_kernel_derivative(name, q[:, None] + 0 * K, q + 0 * K, K).value
        overlaps.append(width * products)
        slopes.append(variance * derivatives)
        K = variance * products + constant
    theta = overlaps[0] + bias
    for overlap, slope in zip(overlaps[1:], slopes, strict=True):
        theta = overlap + bias + slope * theta
    return theta, K, overlaps, slopes


def relative(found: Any, expected: np.ndarray) -> float:
    root = np.sqrt(np.diag(expected))
    return float(np.abs(np.asarray(found) - expected).max(initial=0.0, where=np.isfinite(expected)) / (root.max() ** 2))


CASES = [
    ("elu", (7,), 5, 2.0, 0.0, True),
    ("relu", (128,) * 4, 30, 2.0, 0.0, True),
    ("elu", (20, 300, 300, 11), 30, 1.551, 0.1, True),
    ("tanh", (64, 64, 32), 12, 1.3, 0.2, False),
    ("shifted_relu", (50, 60), 10, 1.7, 0.0, True),
]


@pytest.mark.parametrize("equal", [True, False], ids=["equal norms", "unequal norms"])
@pytest.mark.parametrize(("name", "widths", "features", "variance", "constant", "bias"), CASES)
def test_the_kernel_is_the_recursion_of_every_pair(name, widths, features, variance, constant, bias, equal) -> None:
    constant = constant if bias else 0.0
    gram = gram_of(9, 6, equal=equal)
    theta = et.training_kernel(
        name,
        gram,
        depth=len(widths),
        width=widths,
        features=features,
        weight_variance=variance,
        bias_variance=constant,
        bias=bias,
    )
    expected, covariance, overlaps, slopes = recursion(name, gram, widths, features, variance, constant, bias)
    assert relative(theta.matrix, expected) <= LIMIT
    assert relative(theta.output_covariance, covariance) <= LIMIT
    parts = [overlap + bias for overlap in overlaps]
    for number, slope in enumerate(slopes):
        parts[: number + 1] = [part * slope for part in parts[: number + 1]]
    assert len(theta.layers) == len(widths) + 1
    for found, part in zip(theta.layers, parts, strict=True):
        assert np.abs(found - part).max() <= LIMIT * np.abs(part).max()
    assert np.abs(sum(theta.layers) - theta.matrix).max() <= LIMIT * theta.matrix.max()


def test_one_pair_by_integration() -> None:
    """Two inputs, one hidden layer: E f(U)f(V) and E f'f' by adaptive quadrature, nothing of the package."""
    q, r, c, width, features, variance = 1.3, 0.6, -0.4, 37, 11, 1.8

    def elu(x: float) -> float:
        return x if x > 0 else float(np.expm1(x))

    def slope(x: float) -> float:
        return 1.0 if x > 0 else float(np.exp(x))

    def expectation(f: Any) -> float:
        a, b, cross = variance * q, variance * r, variance * c
        rest = np.sqrt(b - cross**2 / a)

        def inner(x: float) -> float:
            mean, kink = cross / a * x, -cross / a * x / rest
            ends = sorted({-12.0, float(np.clip(kink, -12, 12)), 12.0})
            total = sum(
                quad(lambda z: f(mean + rest * z) * np.exp(-z * z / 2), lower, upper, epsabs=1e-14, epsrel=1e-13)[0]
                for lower, upper in pairwise(ends)
            )
            return total / np.sqrt(2 * np.pi)

        scale = np.sqrt(a)
        halves = ((-12.0, 0.0), (0.0, 12.0))
        total = sum(
            quad(lambda z: f(scale * z) * inner(scale * z) * np.exp(-z * z / 2), *half, epsabs=1e-13, epsrel=1e-12)[0]
            for half in halves
        )
        return total / np.sqrt(2 * np.pi)

    gram = np.array([[q, c], [c, r]])
    theta = et.training_kernel("elu", gram, depth=1, width=width, features=features, weight_variance=variance)
    expected = width * expectation(elu) + 1 + variance * expectation(slope) * (features * c + 1)
    assert theta.matrix[0, 1] == pytest.approx(expected, rel=1e-11)


def test_trace_top_share_and_the_constant_direction() -> None:
    theta = et.training_kernel("relu", gram_of(40, 8, equal=False), depth=3, width=50, features=8, weight_variance=2.0)
    eigenvalues = np.linalg.eigvalsh(theta.matrix)
    assert theta.trace == pytest.approx(np.trace(theta.matrix), rel=1e-14)
    assert theta.diagonal_mean == pytest.approx(eigenvalues.sum() / 40, rel=1e-12)
    assert theta.top_eigenvalue == pytest.approx(eigenvalues[-1] / 40, rel=1e-12)
    assert theta.top_share == pytest.approx(eigenvalues[-1] / eigenvalues.sum(), rel=1e-12)
    assert theta.constant_share == pytest.approx(theta.matrix.sum() / 40 / eigenvalues.sum(), rel=1e-12)


@pytest.mark.parametrize("over", [None, slice(3, 9), np.array([0, 2, 5])])
def test_centred_activations_have_no_constant_direction(over) -> None:
    widths, features, gram = (20, 30), 6, gram_of(12, 6, equal=False, seed=3)
    theta = et.training_kernel("elu", gram, depth=2, width=widths, features=features, weight_variance=1.7)
    _, _, overlaps, slopes = recursion("elu", gram, widths, features, 1.7, 0.0, True)
    chosen = np.arange(12)[slice(None) if over is None else over]
    expected: Any = 0.0
    for overlap, slope in zip(overlaps, [0.0, *slopes], strict=True):
        values, vectors = np.linalg.eigh(overlap)
        units = vectors * np.sqrt(np.clip(values, 0, None))  # activations with these overlaps
        units = units - units[chosen].mean(0)
        expected = units @ units.T + 1 + slope * expected
    centred = theta.centred(over)
    assert np.abs(centred.matrix - expected).max() <= 1e-11 * np.abs(expected).max()
    assert np.abs(sum(centred.layers) - centred.matrix).max() <= LIMIT * np.abs(expected).max()
    assert centred.output_covariance is theta.output_covariance


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize("dose", [-1.0, 0.0, 0.3, 1, 2.0])
@pytest.mark.parametrize("bias", [True, False])
def test_any_dose_of_the_mean_can_be_taken_off(dose: float, inputs: bool, bias: bool) -> None:
    """Against activations with the recursion's overlaps, moved themselves."""
    widths, features, gram, over = (20, 30), 6, gram_of(9, 6, equal=False, seed=4), [0, 1, 2, 5]
    arguments: dict[str, Any] = {"depth": 2, "width": widths, "features": features, "weight_variance": 1.7}
    theta = et.training_kernel("elu", gram, **arguments, bias=bias)
    _, _, overlaps, slopes = recursion("elu", gram, widths, features, 1.7, 0.0, bias)
    expected: Any = 0.0
    for layer, (overlap, slope) in enumerate(zip(overlaps, [0.0, *slopes], strict=True)):
        values, vectors = np.linalg.eigh(overlap)
        units = vectors * np.sqrt(np.clip(values, 0, None))
        units = units - dose * units[over].mean(0) if layer or inputs else units
        expected = units @ units.T + bias + slope * expected
    moved = theta.centred(over, dose=dose, inputs=inputs)
    assert np.abs(moved.matrix - expected).max() <= 1e-11 * np.abs(expected).max()
    assert np.abs(sum(moved.layers) - moved.matrix).max() <= LIMIT * np.abs(expected).max()
    again = moved.centred(dose=0.0)
    assert np.abs(again.matrix - theta.matrix).max() <= LIMIT * np.abs(theta.matrix).max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dose": float("nan")}, "dose must be a finite number, not nan"),
        ({"dose": "1"}, "dose must be a finite number, not '1'"),
        ({"dose": True}, "dose must be a finite number, not True"),
        ({"inputs": 1}, "inputs must be True or False, not 1"),
        ({"over": []}, "over must name at least one"),
        ({"dose": 1e200}, "exceed float64.s range"),
    ],
)
def test_origins_that_are_none_are_refused(options: dict[str, Any], message: str) -> None:
    theta = et.training_kernel("elu", gram_of(4, 3, equal=False), depth=1, width=2, features=3, weight_variance=2.0)
    with pytest.raises(et.InputError, match=message):
        theta.centred(**options)


def test_torch_in_torch_out_and_derivatives() -> None:
    gram = torch.tensor(gram_of(5, 4, equal=False), dtype=torch.float64, requires_grad=True)
    arguments: dict[str, Any] = {"depth": 2, "width": 9, "features": 4, "weight_variance": 1.6}
    direction = np.random.default_rng(1).standard_normal((5, 5))
    direction += direction.T
    theta = et.training_kernel("elu", gram, **arguments)
    (gradient,) = torch.autograd.grad(theta.matrix.sum() + theta.centred().matrix.square().sum(), gram)

    def value(step: float) -> float:
        moved = et.training_kernel("elu", gram.detach().numpy() + step * direction, **arguments)
        return float(moved.matrix.sum() + (moved.centred().matrix ** 2).sum())

    expected = (value(1e-5) - value(-1e-5)) / 2e-5
    assert float((gradient * torch.tensor(direction)).sum()) == pytest.approx(expected, rel=1e-7)
    single = et.training_kernel("elu", gram.detach().float(), **arguments)
    assert single.matrix.dtype == torch.float32
    assert relative(single.matrix.numpy(), theta.matrix.detach().numpy()) <= 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "depth must be an integer >= 1"),
        ({"width": (3, 3, 3)}, "width has 3 entries for 2 layers"),
        ({"features": 0}, "features must be an integer >= 1"),
        ({"weight_variance": 0.0}, "weight_variance must be a finite number > 0"),
        ({"bias": 1}, "bias must be True or False"),
        ({"bias": False, "bias_variance": 0.1}, "there are no biases"),
        ({"activation": "where(x > 0, 1, 0)"}, "jumps"),
    ],
)
def test_bad_arguments_are_refused(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"activation": "elu", "depth": 2, "width": 3, "features": 4, "weight_variance": 2.0}
    given |= change
    name = given.pop("activation")
    function = activation(name) if name == "elu" else et.Activation.from_text(name)
    with pytest.raises(et.InputError, match=message):
        et.training_kernel(function, gram_of(3, 4, equal=True), **given)
    with pytest.raises(et.InputError, match="over must"):
        et.training_kernel("elu", np.eye(3), depth=1, width=2, features=4, weight_variance=2.0).centred([5])
