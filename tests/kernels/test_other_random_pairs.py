"""Random pairs over the whole range, all registered activations and some users' own, beside composite rules in numpy.

The reference knows nothing of the package: E f(U)f(V) as one integral inside the other, Gauss–Legendre on panels that
grow geometrically from every place where the integrand changes: places of f, and where V given U passes them. It is
right to about 1e-15 of the root mean squares. Piecewise functions are certified in balls by test_kernels.py.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import elutheory as et
from elutheory.errors import InputError
from elutheory.kernels import dual_covariance, dual_kernel, dual_kernel_derivative

KERNELS = {"value": dual_kernel, "slope": dual_kernel_derivative, "covariance": dual_covariance}
REGISTERED = tuple(
    name
    for name in et.activation_names()
    if not et.activation(name).breakpoints and name not in ("identity", "sin", "cos")
)
OWN = (
    "x*tanh(log(1 + exp(x)))",
    "tanh(x - 3) + x/5",
    "sqrt(1 + x**2)",
    "atan(x)",
    "exp(-x**2)",
    "x*exp(-x**2/2)",
    "1/(1 + x**2)",
    "erf(x)*x",
    "x/sqrt(1 + x**2)",
    "log(1 + x**2)",
)
NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)
PLACES = (0.0, 3.0)  # where functions above change, over a length of about 1


def named(name: str) -> et.Activation:
    return et.activation(name) if name in et.activation_names() else et.Activation.from_text(name)


def other_pairs(seed: int, count: int) -> list[tuple[float, ...]]:
    """Means, standard deviations, cosine, sine: std 1e-6 … 1e6, mean/std −40 … 40, 1 − |correlation| 1e-16 … 1."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        std_u, std_v = 10.0 ** rng.uniform(-6, 6, 2)
        if rng.random() < 0.5:
            std_v = std_u * 10.0 ** rng.uniform(-1, 1)
        ratio = rng.choice([0.0, 1.0, 4.0, 40.0])
        mean_u, mean_v = rng.uniform(-ratio, ratio, 2) * (std_u, std_v)
        gap = 10.0 ** rng.uniform(-16, 0)
        cosine = rng.choice([-1.0, 1.0]) * (1.0 - gap)
        pairs.append((mean_u, mean_v, std_u, std_v, cosine, float(np.sqrt(gap * (2.0 - gap)))))
    return pairs


def graded(centre: float, width: float, low: float, high: float) -> np.ndarray:
    """Ends that grow geometrically from a place of that width."""
    steps = 0.5 * width * 1.6 ** np.arange(0.0, max(1.0, np.log((high - low) / width + 1.0) / np.log(1.6) + 3.0))
    return np.concatenate([centre - steps, [centre], centre + steps])


def rule(ends: list[np.ndarray], low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    even = np.linspace(low, high, round(1.25 * (high - low)) + 1)
    points = np.unique(np.clip(np.concatenate([*ends, even]), low, high))
    half, middle = 0.5 * np.diff(points), 0.5 * (points[1:] + points[:-1])
    return (middle[:, None] + half[:, None] * NODES).ravel(), (half[:, None] * WEIGHTS).ravel()


def density(z: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)


def expectation(g: Callable[[Any], Any], pair: tuple[float, ...]) -> tuple[float, float, float, float]:
    """E g(U)g(V), √(E g(U)² E g(V)²), E g(U), E g(V)."""
    m1, m2, s1, s2, cosine, sine = pair
    far = max(abs(m1) / s1, abs(m2) / s2) > 4.0  # exponentials have their mass beyond the bulk
    reach, inner_reach = (39.0, 39.0) if far else (13.0, 10.5)
    sides = []
    for mean, std in ((m1, s1), (m2, s2)):
        z, weight = rule([graded((place - mean) / std, 1.0 / std, -reach, reach) for place in PLACES], -reach, reach)
        weight, value = weight * density(z), g(mean + std * z)
        sides.append((weight @ value, weight @ value**2))
    slant, tau = s2 * cosine, s2 * sine
    ends = [graded((place - m1) / s1, 1.0 / s1, -reach, reach) for place in PLACES]
    if slant:
        width = np.hypot(1.0, tau) / abs(slant)
        ends += [graded((place - m2) / slant, width, -reach, reach) for place in PLACES]
    x, weight = rule(ends, -reach, reach)
    weight = weight * density(x)
    mean_v = m2 + slant * x
    # z of V given x, on panels about where V passes the places: those of z
    if tau > 0.0:
        inner = np.empty_like(x)
        for start in range(0, len(x), 64):
            part = mean_v[start : start + 64]
            inner[start : start + 64] = smoothed(g, part, tau, inner_reach)
    else:
        inner = g(mean_v)
    values = weight * g(m1 + s1 * x)
    return float(values @ inner), float(np.sqrt(sides[0][1] * sides[1][1])), float(sides[0][0]), float(sides[1][0])


def smoothed(g: Callable[[Any], Any], mean: np.ndarray, tau: float, reach: float) -> np.ndarray:
    """E g(mean + tau Z), the panels those of each mean's own."""
    fixed = np.linspace(-reach, reach, round(2.0 * reach / 1.5) + 1)
    rows = [fixed + 0.0 * mean[:, None]]
    if tau > 0.2:
        steps = np.concatenate([-(0.5 * 1.6 ** np.arange(40.0))[::-1], [0.0], 0.5 * 1.6 ** np.arange(40.0)])
        steps = steps[np.abs(steps) < 40.0 * tau + 1.0]
        rows += [(place + steps - mean[:, None]) / tau for place in PLACES]
    ends = np.sort(np.clip(np.concatenate(rows, 1), -reach, reach), 1)
    half, middle = 0.5 * np.diff(ends), 0.5 * (ends[:, 1:] + ends[:, :-1])
    keep = (half > 0.0).any(0)
    half, middle = half[:, keep], middle[:, keep]
    z = middle[:, :, None] + half[:, :, None] * NODES
    values = g(mean[:, None, None] + tau * z) * density(z)
    return (values @ WEIGHTS * half).sum(1)


def check(name: str, seed: int, count: int) -> tuple[int, int, list[Any]]:
    """How many numbers were compared, how many were refused, and those that are wrong."""
    f = named(name)
    compared, refused, wrong = 0, 0, []
    for pair in other_pairs(seed + sum(map(ord, name)), count):
        m1, m2, s1, s2, cosine, _ = pair
        arguments = (s1 * s1, s2 * s2, cosine * (s1 * s1) ** 0.5 * (s2 * s2) ** 0.5, m1, m2)
        exact = angles_of(arguments)
        for quantity, kernel in KERNELS.items():
            try:
                got, swapped = (
                    float(kernel(f, *ordered).value)
                    for ordered in (arguments, (arguments[1], arguments[0], arguments[2], m2, m1))
                )
            except InputError:
                refused += 1
                continue
            g = f.derivative if quantity == "slope" else f
            with np.errstate(all="ignore"):
                value, size, first, second = expectation(g, exact)
            want, allowed = value, 1e-13 * size
            if quantity == "covariance":
                want = value - first * second
                allowed = 1e-12 * abs(want) + 2e-14 * size  # the reference subtracts
            if not np.isfinite(want) or size < 1e-140:
                continue  # squares that double precision does not hold
            compared += 1
            if not abs(got - want) <= allowed + 2e-14 * size or not abs(got - swapped) <= 1e-14 * size:
                wrong.append((quantity, pair, got, want, abs(got - want) / size))
    return compared, refused, wrong


def angles_of(arguments: tuple[float, ...]) -> tuple[float, ...]:
    """Means, standard deviations, cosine, sine of the doubles handed in, by exact fractions."""
    u, v, c = (Fraction(number) for number in arguments[:3])
    square = c * c / (u * v)
    sine, cosine = float(np.sqrt(max(float(1 - square), 0.0))), float(np.sqrt(float(square)))
    std_u, std_v = (float(np.sqrt(variance)) for variance in arguments[:2])
    return (*arguments[3:], std_u, std_v, cosine if c > 0 else -cosine, sine)


@pytest.mark.parametrize("name", ["tanh", "gelu", "softplus", OWN[4]])
def test_random_pairs(name: str) -> None:
    compared, _, wrong = check(name, 1, 2)
    assert compared >= 4
    assert wrong == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", [*REGISTERED, *OWN])
def test_other_random_pairs(name: str, seed: int) -> None:
    compared, _, wrong = check(name, 100 * seed, 12)
    assert compared >= 18
    assert wrong == []
