"""Polynomials, exponentials, waves, Gaussian bumps, their products and sums: against balls and against sums of nodes.

The balls' reference is the textbook's: the inverse of the inverse of the covariance matrix plus the decays, in rational
numbers of the variances and covariances exactly as given, and Isserlis' theorem.
"""

import numpy as np
import pytest
import torch
from flint import arb, fmpq, fmpq_mat

import elutheory as et
from elutheory.kernels import dual_covariance, dual_kernel, dual_kernel_derivative
from elutheory.kernels.packet_pairs import packet_expectation
from elutheory.moments.closed_forms.packets import packets_of
from tests.references.oracle import precision

KERNELS = {"value": dual_kernel, "slope": dual_kernel_derivative, "covariance": dual_covariance}
# f as decay a and polynomial p: p(x) e^{−a x²/2}; f' by p' − a x p
BUMPS = {
    "exp(-x**2)": (2, (1,)),
    "x*exp(-x**2/2)": (1, (0, 1)),
    "exp(-500*x**2)": (1000, (1,)),
    "(1 - x**2)*exp(-x**2/2)": (1, (1, 0, -1)),
    "x**2": (0, (0, 0, 1)),
}
Polynomial = tuple[int, ...]


def derivative(decay: int, polynomial: Polynomial) -> Polynomial:
    found = [0] * (len(polynomial) + 1)
    for power, number in enumerate(polynomial):
        if power:
            found[power - 1] += power * number
        found[power + 1] -= decay * number
    return tuple(found)


def expectation(decay: int, p: Polynomial, q: Polynomial, numbers: tuple[fmpq, ...], decay_v: int) -> arb:
    """E p(U) q(V) e^{−(decay U² + decay_v V²)/2} for variances, covariance, means."""
    u, v, c, m, n = numbers
    sigma, decays = fmpq_mat([[u, c], [c, v]]), fmpq_mat([[decay, 0], [0, decay_v]])
    one = fmpq_mat([[1, 0], [0, 1]])
    inverse = (one + sigma * decays).inv()
    tilted, mean = inverse * sigma, inverse * fmpq_mat([[m], [n]])
    exponent = (fmpq_mat([[m, n]]) * decays * mean)[0, 0]
    su, sv, suv, mu, mv = tilted[0, 0], tilted[1, 1], tilted[0, 1], mean[0, 0], mean[1, 0]
    moments: dict[tuple[int, int], fmpq] = {}

    def moment(i: int, j: int) -> fmpq:
        if i < 0 or j < 0:
            return fmpq(0)
        if (i, j) == (0, 0):
            return fmpq(1)
        if (i, j) not in moments:
            if i:
                found = mu * moment(i - 1, j) + (i - 1) * su * moment(i - 2, j) + j * suv * moment(i - 1, j - 1)
            else:
                found = mv * moment(0, j - 1) + (j - 1) * sv * moment(0, j - 2)
            moments[i, j] = found
        return moments[i, j]

    total = fmpq(0)
    for i, first in enumerate(p):
        for j, second in enumerate(q):
            total += first * second * moment(i, j)
    return arb(total) * (-arb(exponent) / 2).exp() / arb((one + sigma * decays).det()).sqrt()


def random_pairs(seed: int, count: int) -> list[tuple[float, ...]]:
    """Variances, covariance, means: std 1e-6 … 1e6, mean/std −20 … 20, 1 − |correlation| 1e-15 … 1."""
    rng = np.random.default_rng(seed)
    pairs = []
    while len(pairs) < count:
        std_u, std_v = 10.0 ** rng.uniform(-6, 6, 2)
        if rng.random() < 0.6:
            std_v = std_u * 10.0 ** rng.uniform(-1, 1)
        mean_u, mean_v = rng.choice([0.0, 1.0, 20.0]) * rng.uniform(-1, 1, 2) * (std_u, std_v)
        if rng.random() < 0.2:
            mean_v, std_v = mean_u, std_u
        u, v = std_u * std_u, std_v * std_v
        c = rng.choice([-1.0, 1.0]) * (1.0 - 10.0 ** rng.uniform(-15, 0)) * (u**0.5 * v**0.5)
        if c * c <= u * v * (1.0 - 1e-15):
            pairs.append((u, v, c, mean_u, mean_v))
    return pairs


def check(name: str, seed: int, count: int) -> int:
    """How many numbers were right."""
    f = et.Activation.from_text(name)
    decay, p = BUMPS[name]
    right = 0
    for pair in random_pairs(seed, count):
        with precision(600):
            exact = tuple(fmpq(*float(number).as_integer_ratio()) for number in pair)
            u, v, _, m, n = exact
            for quantity, kernel in KERNELS.items():
                g = derivative(decay, p) if quantity == "slope" else p
                want = expectation(decay, g, g, exact, decay)
                roots = [expectation(decay, g, g, (w, w, w, k, k), decay) for w, k in ((u, m), (v, n))]
                size = float((roots[0] * roots[1]).sqrt())
                allowed = 1e-13 * size
                if quantity == "covariance":
                    means = [expectation(decay, p, (1,), (w, w, w, k, k), 0) for w, k in ((u, m), (v, n))]
                    want = want - means[0] * means[1]
                    # sums over bumps cancel: of itself, or what is promised of the value
                    allowed = max(1e-12 * abs(float(want)), 1e-14 * size)
                if size < 1e-250:
                    continue
                found = kernel(f, *pair).value
                swapped = kernel(f, pair[1], pair[0], pair[2], pair[4], pair[3]).value
                assert abs(found - float(want)) <= allowed, (quantity, pair, found, float(want), size)
                assert abs(found - swapped) <= 1e-15 * size
                right += 1
    return right


@pytest.mark.parametrize("name", BUMPS)
def test_over_twelve_decades(name: str) -> None:
    assert check(name, 4, 10) >= 24


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", BUMPS)
def test_over_twelve_decades_everywhere(name: str, seed: int) -> None:
    assert check(name, 100 + seed, 60) >= 120


@pytest.mark.parametrize(
    "text",
    [
        "exp(-x**2)",
        "x*exp(-x**2/2)",
        "(1 - x**2)*exp(-x**2/2)",
        "exp(-(x - 1)**2) - 2*exp(-(x + 1)**2/3)*x",
        "x + exp(-x**2)",
        "1 - exp(-x**2)",
        "x**3 - x",
        "x + sin(x)**2",
        "cos(5*x + 1)*exp(-x**2/2)",
        "sinh(x/2)",
        "x*exp(x/3)",
        "sin(x) + sin(2*x)/2",
        "x**2*cos(x)",
    ],
)
def test_sums_of_nodes(text: str) -> None:
    f = et.Activation.from_text(text)
    assert packets_of(f) is not None
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = np.outer(weights, weights) / weights.sum() ** 2
    points = ((0.5, 0.4, 0.3, 0.0, 0.0), (0.2, 0.7, -0.8, 1.0, -0.5), (0.6, 0.6, 0.99, 0.4, 0.4))
    for s, t, rho, m, n in points:
        u = m + s * nodes[:, None] + 0.0 * nodes
        v = n + t * (rho * nodes[:, None] + np.sqrt(1 - rho * rho) * nodes)
        value, slope = (float((weights * g(u) * g(v)).sum()) for g in (f, f.derivative))
        means = float((weights * f(u)).sum()), float((weights * f(v)).sum())
        wanted = {"value": value, "slope": slope, "covariance": value - means[0] * means[1]}
        for quantity, kernel in KERNELS.items():
            numbers = (s * s, t * t, rho * s * t, m, n)
            found = kernel(f, *numbers)
            assert found.value == pytest.approx(wanted[quantity], rel=2e-12, abs=1e-14)
            if (s, t) != points[1][:2]:
                continue
            tensors = [torch.tensor(number, dtype=torch.float64) for number in numbers]
            assert float(kernel(f, *tensors).value) == pytest.approx(found.value, rel=1e-13, abs=1e-15)


@pytest.mark.parametrize("text", ["tanh(x)*exp(-x**2)", "exp(x**2)", "exp(-x**4)", "sin(x**2)", "(1 + x)**20"])
def test_others_are_none_of_these(text: str) -> None:
    one = np.ones(1)
    _, error = packet_expectation(et.Activation.from_text(text), "value", one, one, one, one, 0.5 * one, 0.8 * one)
    assert np.isinf(error).all()
