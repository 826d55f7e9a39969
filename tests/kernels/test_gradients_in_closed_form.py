"""Derivatives of torch's dual kernels of GELU, erf, lines times Phi, bumps and waves, beside sums of nodes."""

import numpy as np
import pytest
import sympy
import torch

import elutheory as et
from elutheory.activations.kinks import values
from elutheory.kernels import dual_covariance, dual_kernel, dual_kernel_derivative
from elutheory.kernels.analytic.mehler import mehler_mixed
from elutheory.kernels.pairs import PairArguments
from elutheory.kernels.torch_gradients import mixed

TEXTS = ("x*(1 + erf(x/sqrt(2)))/2", "erf(x)", "2*x*(1 + erf((x - 1)/3)) - x/4 + 0.3", "exp(-x**2)", "x + sin(x)**2")
ORDERS = ((1, 0), (0, 1), (1, 1), (2, 0), (2, 1), (1, 2), (2, 2))


def by_nodes(text: str, orders: tuple[int, int], pair: tuple[float, ...]) -> float:
    m, n, s, t, cosine, sine = pair
    f = et.Activation.from_text(text)
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    weights = np.outer(weights, weights) / weights.sum() ** 2
    u = m + s * nodes[:, None] + 0.0 * nodes
    v = n + t * (cosine * nodes[:, None] + sine * nodes)
    return float((weights * values(f, orders[0], u) * values(f, orders[1], v)).sum())


@pytest.mark.parametrize("text", TEXTS)
def test_mixed_orders(text: str) -> None:
    f = et.Activation.from_text(text)
    for pair in ((0.3, -0.2, 0.5, 0.4, 0.6, 0.8), (0.0, 0.0, 0.6, 0.6, -0.28, 0.96), (-0.7, 0.9, 0.3, 0.5, 0.0, 1.0)):
        columns = PairArguments(*(torch.tensor([number], dtype=torch.float64) for number in pair))
        for orders in ORDERS:
            expected = by_nodes(text, orders, pair)
            assert float(mixed(f, orders, columns)) == pytest.approx(expected, rel=1e-11, abs=1e-13), (pair, orders)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kernel", [dual_kernel, dual_kernel_derivative, dual_covariance])
def test_gradients_are_differences(text: str, kernel) -> None:
    """Also far out, where series and nodes do not reach: standard deviations of 40."""
    f = et.Activation.from_text(text)
    for numbers in ((0.5, 0.8, 0.2, 0.3, -0.4), (1600.0, 900.0, 700.0, 10.0, -5.0)):
        tensors = [torch.tensor([number], dtype=torch.float64, requires_grad=True) for number in numbers]
        found = torch.autograd.grad(kernel(f, *tensors).value.sum(), tensors)
        for place, derivative in enumerate(found):
            step = 1e-4 * abs(numbers[place])
            high, low = ([*numbers[:place], numbers[place] + sign * step, *numbers[place + 1 :]] for sign in (1, -1))
            difference = (kernel(f, *high).value - kernel(f, *low).value) / (2.0 * step)
            size = abs(kernel(f, *numbers).value) / abs(numbers[place])
            assert float(derivative) == pytest.approx(difference, rel=2e-6, abs=1e-7 * size), (numbers, place)


@pytest.mark.parametrize("text", TEXTS[:4])
def test_mehler_series(text: str) -> None:
    """Two routes that share no sum, for random pairs, of the root mean squares."""
    f = et.Activation.from_text(text)
    rng = np.random.default_rng(5)
    std_u, std_v = 10.0 ** rng.uniform(-2, 0.7, (2, 150))
    mean_u, mean_v = rng.uniform(-3, 3, (2, 150))
    gap = 10.0 ** rng.uniform(-9, 0, 150)
    cosine = rng.choice([-1.0, 1.0], 150) * (1.0 - gap)
    columns = mean_u, mean_v, std_u, std_v, cosine, np.sqrt(gap * (2.0 - gap))
    ones, zeros = np.ones(150), np.zeros(150)
    sides = [(mean_u, mean_u, std_u, std_u, ones, zeros), (mean_v, mean_v, std_v, std_v, ones, zeros)]
    for orders in ORDERS:
        series, error = mehler_mixed(f, orders, False, *columns)
        found = mixed(f, orders, PairArguments(*map(torch.tensor, columns))).numpy()
        settled = error < 1e-13
        assert settled.sum() > 60, orders
        squares = [mehler_mixed(f, (order, order), False, *side)[0] for order, side in zip(orders, sides, strict=True)]
        worst = (abs(found - series) / np.sqrt(abs(squares[0] * squares[1])))[settled].max()
        assert worst <= 1e-12, (orders, worst)


@pytest.mark.parametrize("std", [1e-2, 1e-4, 1e-7])
@pytest.mark.parametrize("text", TEXTS[:4])
def test_small_standard_deviations(text: str, std: float) -> None:
    """There E f'(U)f'(V) = f'(m)f'(n) to first order, and its derivative by a variance ½ f'''(m) f'(n)."""
    f = et.Activation.from_text(text)
    m, n = 0.7, -0.4
    numbers = (std**2, 2.0 * std**2, 0.5 * std**2, m, n)
    tensors = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in numbers]
    by_variance = torch.autograd.grad(dual_kernel_derivative(f, *tensors).value, tensors[0])[0]
    x = f.symbol
    third, slope = (float(sympy.diff(f.expression, x, k).subs(x, at).evalf(25)) for k, at in ((3, m), (1, n)))
    assert float(by_variance) == pytest.approx(0.5 * third * slope, rel=60.0 * std**2 + 1e-12)


@pytest.mark.parametrize("text", [TEXTS[0], TEXTS[3]])
def test_gradcheck(text: str) -> None:
    f = et.Activation.from_text(text)
    rows = ([0.5, 2.0, 30.0], [0.8, 0.1, 9.0], [0.2, -0.3, 12.0], [0.3, -1.0, 4.0], [-0.4, 0.7, 0.0])
    tensors = [torch.tensor(row, dtype=torch.float64, requires_grad=True) for row in rows]
    for kernel in (dual_kernel, dual_kernel_derivative, dual_covariance):
        assert torch.autograd.gradcheck(
            lambda *x, kernel=kernel: kernel(f, *x).value, tensors, atol=1e-7, rtol=1e-5, fast_mode=True
        )
