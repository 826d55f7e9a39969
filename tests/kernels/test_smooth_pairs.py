"""Arc-sine kernels of GELU, erf and lines times Phi, elementary ones of sin and cos, over twelve decades, in Arb balls.

References are the textbook's formulas (Williams 1997; Tsuchida et al., arXiv 2002.08517) in 400 bits, where they may
cancel, from the variances and covariances exactly as given; sums of Gauss–Hermite nodes where nothing is extreme.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from flint import arb, fmpq

import elutheory as et
from elutheory.kernels import dual_covariance, dual_kernel, dual_kernel_derivative
from elutheory.kernels.analytic.mehler import mehler_expectation
from elutheory.kernels.error_function_pairs import error_function_pairs
from elutheory.kernels.pairs import PairArguments
from elutheory.moments.closed_forms import closed_form
from elutheory.moments.closed_forms.error_function import ErrorFunction
from tests.references.oracle import precision

KERNELS = {"value": dual_kernel, "slope": dual_kernel_derivative, "covariance": dual_covariance}
MIXED = et.Activation.from_text("2*x*(1 + erf((x - 1)/3)) - x/4 + 0.3")


def pairs(count: int, seed: int) -> tuple[np.ndarray, ...]:
    """Variances and covariance: std (twelve decades, two between the two) and 1 − |correlation| log-uniform."""
    rng = np.random.default_rng(seed)
    std_u = 10 ** rng.uniform(-6, 6, count)
    std_v = std_u * 10 ** rng.uniform(-2, 2, count)
    correlation = rng.choice([-1.0, 1.0], count) * (1 - 10 ** rng.uniform(-16, 0, count))
    variance_u, variance_v = std_u**2, std_v**2
    covariance = correlation * np.sqrt(variance_u * variance_v)
    covariance[::9] = np.sign(covariance[::9]) * variance_u[::9]
    variance_v[::9] = variance_u[::9]
    bound = np.sqrt(variance_u * variance_v) * (1 - 2.0**-50)
    return variance_u, variance_v, np.where(np.arange(count) % 9 == 0, covariance, np.clip(covariance, -bound, bound))


def erf_reference(u: arb, v: arb, c: arb) -> dict[str, arb]:
    """erf(x) = 2 Phi(√2 x) − 1."""
    root = ((1 + 2 * u) * (1 + 2 * v) - 4 * c * c).sqrt()
    value = 2 / arb.pi() * (2 * c / ((1 + 2 * u) * (1 + 2 * v)).sqrt()).asin()
    return {"value": value, "covariance": value, "slope": 4 / arb.pi() / root}


def gelu_reference(u: arb, v: arb, c: arb) -> dict[str, arb]:
    first, second = 1 + u, 1 + v
    angle, root = (c / (first * second).sqrt()).asin(), (first * second - c * c).sqrt()
    value = c / 4 + (c * angle + (u * v + c * c * (1 / first + 1 / second - 1)) / root) / (2 * arb.pi())
    slope = arb(1) / 4 + (angle + c * (1 / first + 1 / second) / root + c / root**3) / (2 * arb.pi())
    return {"value": value, "covariance": value - u * v / (first * second).sqrt() / (2 * arb.pi()), "slope": slope}


def sin_reference(u: arb, v: arb, c: arb) -> dict[str, arb]:
    damping = (-(u + v) / 2).exp()
    return {"value": damping * c.sinh(), "covariance": damping * c.sinh(), "slope": damping * c.cosh()}


def cos_reference(u: arb, v: arb, c: arb) -> dict[str, arb]:
    damping = (-(u + v) / 2).exp()
    return {"value": damping * c.cosh(), "covariance": damping * (c.cosh() - 1), "slope": damping * c.sinh()}


REFERENCES: dict[str, Callable[[arb, arb, arb], dict[str, arb]]] = {
    "erf": erf_reference,
    "gelu": gelu_reference,
    "sin": sin_reference,
    "cos": cos_reference,
}


def deviations(name: str, arguments: tuple[np.ndarray, ...]) -> dict[str, float]:
    """The largest, relative to the root mean squares; to itself of the covariance where the correlation is positive."""
    found = {quantity: kernel(name, *arguments).value for quantity, kernel in KERNELS.items()}
    worst = dict.fromkeys(KERNELS, 0.0)
    with precision(6000 if name in ("sin", "cos") else 400):
        for place, numbers in enumerate(zip(*arguments, strict=True)):
            u, v, c = (arb(fmpq(*float(number).as_integer_ratio())) for number in numbers)
            exact, own, other = (REFERENCES[name](*triple) for triple in ((u, v, c), (u, u, u), (v, v, v)))
            for quantity, want in exact.items():
                scale = (own[quantity] * other[quantity]).sqrt()
                if quantity == "covariance" and c > 0:
                    scale = want
                if scale < arb(2) ** -1000:
                    continue
                worst[quantity] = max(worst[quantity], abs(float((found[quantity][place] - want) / scale)))
    return worst


@pytest.mark.parametrize("name", REFERENCES)
def test_over_twelve_decades(name: str) -> None:
    arguments = pairs(120, 3)
    if name in ("sin", "cos"):  # beyond, all is 0
        keep = arguments[0] + arguments[1] < 1000.0
        arguments = tuple(array[keep] for array in arguments)
    worst = deviations(name, arguments)
    assert worst["value"] < 3e-15
    assert worst["slope"] < 3e-15
    assert worst["covariance"] < 1e-14
    swapped = arguments[1], arguments[0], arguments[2]
    for kernel in KERNELS.values():
        np.testing.assert_allclose(kernel(name, *arguments).value, kernel(name, *swapped).value, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("function", "mean", "method"),
    [
        ("gelu", 0.0, "closed form (arc-sine)"),
        (MIXED, 1.0, "closed form (arc-sine)"),
        ("erf", 0.4, "closed form (bivariate normal"),
        ("gelu", 0.7, "closed form (bivariate normal"),
        (MIXED, 0.2, "closed form (bivariate normal"),
        (et.Activation.from_text("sin(2*x + 1) - 3*cos(2*x) + 1"), 0.3, "closed form (elementary)"),
    ],
    ids=str,
)
def test_sums_of_nodes(function: et.Activation | str, mean: float, method: str) -> None:
    """Both at the centre, off it, and everything of these forms."""
    f = et.activation(function) if isinstance(function, str) else function
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = np.outer(weights, weights) / weights.sum() ** 2
    for s, t, rho in ((0.5, 0.4, 0.3), (0.2, 0.7, -0.8), (0.6, 0.6, 0.99)):
        u = mean + s * nodes[:, None] + 0.0 * nodes
        v = mean + t * (rho * nodes[:, None] + np.sqrt(1 - rho * rho) * nodes)
        value = float((weights * f(u) * f(v)).sum())
        means = float((weights * f(u)).sum()), float((weights * f(v)).sum())
        slope = float((weights * f.derivative(u) * f.derivative(v)).sum())
        wanted = {"value": value, "slope": slope, "covariance": value - means[0] * means[1]}
        for quantity, kernel in KERNELS.items():
            found = kernel(f, s * s, t * t, rho * s * t, mean, mean)
            assert found.value == pytest.approx(wanted[quantity], rel=2e-12, abs=1e-14)
            assert found.method.startswith(method)


@pytest.mark.parametrize("function", ["erf", "gelu", MIXED], ids=str)
def test_quadrants_and_series_agree(function: et.Activation | str) -> None:
    """Means off the centre: two routes that share no sum; of most pairs the first is accurate, and says so."""
    f = et.activation(function) if isinstance(function, str) else function
    form = closed_form(f)
    assert isinstance(form, ErrorFunction)
    rng = np.random.default_rng(3)
    std_u, std_v = 10.0 ** rng.uniform(-1.5, 0.5, (2, 300))
    mean_u, mean_v = rng.uniform(-2, 2, (2, 300))
    gap = np.where(rng.random(300) < 0.5, rng.uniform(0, 1, 300), 10.0 ** rng.uniform(-14, 0, 300))
    cosine = rng.choice([-1.0, 1.0], 300) * (1.0 - gap)
    pairs = PairArguments(mean_u, mean_v, std_u, std_v, cosine, np.sqrt(gap * (2.0 - gap)))
    for quantity, (value, accurate) in zip(KERNELS, error_function_pairs(form, tuple(KERNELS), pairs), strict=True):
        assert accurate.mean() > 0.4
        series, error = mehler_expectation(f, quantity, *pairs.columns)
        both = accurate & (error < 1e-13)
        assert both.sum() > 100
        size = abs(series)
        if quantity != "covariance":
            moments = [form.moments(mean, std) for mean, std in ((mean_u, std_u), (mean_v, std_v))]
            size = np.sqrt(moments[0][1 if quantity == "value" else 4] * moments[1][1 if quantity == "value" else 4])
        worst = (abs(value - series) / size)[both].max()
        assert worst <= (1e-12 if quantity == "covariance" else 1e-13), (quantity, worst)


def test_a_batch_with_means_at_the_centre_and_off_it() -> None:
    means = np.array([0.0, 0.3, 0.0])
    found = dual_kernel("gelu", 1.0, 2.0, 0.5, means, 0.0)
    assert found.method.startswith("closed form (arc-sine) where both means are at the centre, else closed form (bivar")
    assert found.value[0] == found.value[2] == dual_kernel("gelu", 1.0, 2.0, 0.5).value
    assert found.value[1] == dual_kernel("gelu", 1.0, 2.0, 0.5, 0.3, 0.0).value


def test_limits() -> None:
    assert dual_kernel("erf", 1e200, 1e200, 5e199).value == pytest.approx(1 / 3, rel=1e-14)
    assert dual_kernel("erf", 1e300, 1e-300, 0.0).value == 0.0
    assert dual_kernel("gelu", 1e300, 1e300, 1e300).value == pytest.approx(5e299, rel=1e-14)
    assert dual_kernel("gelu", 1e300, 1e300, -1e300).value == pytest.approx(0.0, abs=1e285)
    assert dual_kernel_derivative("gelu", 1e300, 1e300, 1e300).value == pytest.approx(0.5, rel=1e-14)
    assert dual_kernel("gelu", 0.0, 1.0, 0.0).value == 0.0
    assert dual_kernel("cos", 0.0, 1.0, 0.0).value == pytest.approx(np.exp(-0.5), rel=1e-15)
    assert dual_kernel("sin", 1e200, 1e200, 1e200).value == 0.5


@pytest.mark.parametrize("name", ["gelu", "erf", "sin"])
def test_tensors_and_their_gradients(name: str) -> None:
    numbers = ([0.5], [0.8], [0.2], [0.0], [0.0])
    tensors = [torch.tensor(row, dtype=torch.float64, requires_grad=True) for row in numbers]
    for kernel in (dual_kernel, dual_kernel_derivative):
        value = kernel(name, *tensors).value
        np.testing.assert_allclose(value.detach().numpy(), kernel(name, *map(np.array, numbers)).value, rtol=1e-14)
        assert torch.autograd.gradcheck(
            lambda *x, kernel=kernel: kernel(name, *x).value, tensors, atol=1e-7, fast_mode=True
        )
    assert dual_kernel(name, *(tensor.float() for tensor in tensors)).value.dtype == torch.float32
