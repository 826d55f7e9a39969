"""Moments without a closed form against Arb: relative to themselves, at zeros, in tails, over twelve decades of std."""

import math
import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from flint import acb, arb

import elutheory as et
from elutheory.errors import InputError
from elutheory.kernels import dual_kernel
from elutheory.moments import gaussian_moments
from elutheory.moments.quadrature.integrals import make_integrand
from elutheory.moments.quadrature.panels import by_panels
from elutheory.moments.quadrature.trapezoidal import by_trapezoidal_rule
from tests.references import oracle

NAMES = ("mean", "second_moment", "variance", "slope_mean", "slope_second_moment")
TOLERANCE = dict.fromkeys(NAMES, 1e-13) | {"variance": 1e-12}
SMALLEST = arb(2) ** -1022

Function = Callable[[acb], acb]


def _normal(x: acb) -> acb:
    return (-x / arb(2).sqrt()).erfc() / 2


def _density(x: acb) -> acb:
    return (-x * x / 2).exp() / (2 * arb.pi()).sqrt()


def _logistic(x: acb) -> acb:
    return 1 / (1 + (-x).exp())


# f and f' of the registry's names, written down again
FUNCTIONS: dict[str, tuple[Function, Function]] = {
    "tanh": (lambda x: x.tanh(), lambda x: 1 - x.tanh() ** 2),
    "logistic": (_logistic, lambda x: _logistic(x) * _logistic(-x)),
    "softplus": (lambda x: (1 + x.exp()).log(), _logistic),
    "silu": (lambda x: x * _logistic(x), lambda x: _logistic(x) * (1 + x * _logistic(-x))),
}
CLOSED_FORMS: dict[str, tuple[Function, Function]] = {
    "gelu": (lambda x: x * _normal(x), lambda x: _normal(x) + x * _density(x)),
    "erf": (lambda x: x.erf(), lambda x: 2 * (-x * x).exp() / arb.pi().sqrt()),
    "sin": (lambda x: x.sin(), lambda x: x.cos()),
    "cos": (lambda x: x.cos(), lambda x: -x.sin()),
}


def expectation(g: Function, mean: float, std: float, bits: int) -> arb:
    """E g(X) over |Z| <= 45, cut where g may change fast, at `bits` bits relative to the largest part."""
    with oracle.precision(2 * bits):
        mu, sigma = arb(mean), arb(std)
        ends = [arb(t) for t in (-45, -30, -15, -6, 0, 6, 15, 30, 45)]
        ends += [(sign * arb(2) ** k - mu) / sigma for k in range(-1, 26, 2) for sign in (-1, 1)] + [-mu / sigma]
        inside = sorted((end for end in ends if abs(end) <= 45), key=lambda end: float(end.mid()))
        parts = [
            acb.integral(
                lambda t, _: g(mu + sigma * t) * _density(t), a, b, rel_tol=arb(2) ** -bits, abs_tol=arb(2) ** -1500
            ).real
            for a, b in pairwise(inside)
        ]
        return sum(parts, arb(0))


def references(name: str, mean: float, std: float) -> dict[str, arb]:
    f, slope = (FUNCTIONS | CLOSED_FORMS)[name]
    bits = 250  # saturated tails cancel 115 of them in the variance
    first, second = expectation(f, mean, std, bits), expectation(lambda x: f(x) ** 2, mean, std, bits)
    with oracle.precision(2 * bits):
        variance = second - first**2
    return {
        "mean": first,
        "second_moment": second,
        "variance": variance,
        "slope_mean": expectation(slope, mean, std, bits),
        "slope_second_moment": expectation(lambda x: slope(x) ** 2, mean, std, bits),
    }


def stated_error(method: str) -> float:
    if method == "closed form":
        return 1e-13
    return float(re.fullmatch(r"Gauss-Legendre quadrature, estimated relative error (\S+)", method)[1])  # type: ignore[index]


def check(name: str, mean: float, std: float) -> None:
    """Every moment within its tolerance of itself, and within the stated error (its last digit is rounded)."""
    result = gaussian_moments(name, mean, std)
    for quantity, want in references(name, mean, std).items():
        got = getattr(result, quantity)
        if abs(want) < SMALLEST:
            assert abs(got) <= 4e-308
            continue
        with oracle.precision(900):
            error = abs(float((arb(got) / want - 1).mid()))
        with oracle.precision(900):
            # four roundings of mean and std in a deep tail move the moment itself
            allowed = 4 * 2.0**-52 * (1 + (mean / std) ** 2 if abs(mean / std) > 5 else 1)
        assert error <= TOLERANCE[quantity] + allowed, (name, quantity, mean, std, error)
        assert error <= 1.5 * stated_error(result.method) + allowed, (name, quantity, mean, std, error, result.method)


# at a zero of f, at ordinary places, in the saturated and in the vanishing tail, where std is far from 1
POINTS = (
    (0.0, 1e-15),
    (0.0, 1e-8),
    (0.0, 1e-6),
    (1e-9, 1e-3),
    (1e-4, 1.0),
    (-1e-17, 1e-8),
    (0.7, 0.3),
    (-8.0, 0.9),
    (20.0, 1.0),
    (-40.0, 1.0),
    (-12.0, 0.3),
    (3.0, 50.0),
    (-1e5, 1e4),
    (1e-3, 1e6),
)


@pytest.mark.parametrize(
    ("name", "point"),
    [("silu", POINTS[1]), ("silu", POINTS[2]), ("tanh", POINTS[3]), ("tanh", POINTS[4]), ("softplus", POINTS[10])],
)
def test_moments_relative_to_themselves(name: str, point: tuple[float, float]) -> None:
    check(name, *point)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FUNCTIONS)
def test_moments_over_the_whole_range(name: str) -> None:
    """mean/std from −40 to 40, std from 1e-6 to 1e6."""
    generator = np.random.default_rng(19)
    points = [*POINTS]
    for _ in range(40):
        std = 10 ** generator.uniform(-6, 6)
        points.append((generator.uniform(-40, 40) * std, std))
    for mean, std in points:
        check(name, float(mean), float(std))


def test_mean_log_slope_at_its_zero() -> None:
    """ln tanh' = −2 ln cosh vanishes at 0: E ln tanh' = −std² + std⁴/2 − … at mean 0."""
    for std in (1e-12, 1e-8, 1e-3):
        got = gaussian_moments("tanh", 0.0, std).log_slope_mean
        assert got == pytest.approx(-(std**2) + std**4 / 2, rel=1e-14)
    # close to it: −2 ln cosh m = −m² + m⁴/6
    assert gaussian_moments("tanh", 1e-9, 1e-12).log_slope_mean == pytest.approx(-1e-18 - 1e-24, rel=1e-14)


@pytest.mark.parametrize("std", [1e-3, 1.0, 30.0])
def test_narrow_bumps_are_not_missed(std: float) -> None:
    """A Gaussian bump of width w at c, by hand: E f = w/√(std² + w²) e^{−c²/2(std² + w²)}, E f² that of w/√2."""
    for place, width in ((0.7, 1e-3), (-2.0, 1e-5), (0.0, 1e-6)):
        f = et.Activation.from_text(f"exp(-(x - ({place}))**2/{2 * width**2!r})")
        want = width / math.hypot(std, width) * math.exp(-(place**2) / (2 * (std**2 + width**2)))
        got = gaussian_moments(f, 0.0, std)
        allowed = 1e-13 + 8 * 2.0**-53 * abs(place) / width  # rounding moves x near c by 2^-53 |c|
        assert abs(got.mean - want) <= 2 * stated_error(got.method) * want
        assert got.mean == pytest.approx(want, rel=allowed, abs=1e-300)
        squared = width / math.hypot(math.sqrt(2) * std, width) * math.exp(-(place**2) / (2 * std**2 + width**2))
        assert got.second_moment == pytest.approx(squared, rel=allowed, abs=1e-300)
    steep = gaussian_moments(et.Activation.from_text("tanh(1000*(x - 0.3))"), 0.0, 1.0)
    # E f'² is 1000²·(4/3)/1000 times the density at 0.3 but for the density's curvature, of relative order 1e-6
    assert steep.slope_second_moment == pytest.approx(4000 / 3 * math.exp(-0.045) / math.sqrt(2 * math.pi), rel=1e-6)


def by_many_panels(f: et.Activation, place: float, width: float, mean: float, std: float) -> tuple[float, float]:
    """E f and E f² by Gauss–Legendre between ends that close in on `place` down to `width`."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    distances = 0.3 * width * 1.5 ** np.arange(80)
    ends = np.concatenate([np.linspace(-9, 9, 60) * std + mean, place + distances, place - distances, [place]])
    ends = np.unique(np.clip(ends, mean - 9 * std, mean + 9 * std))
    half = np.diff(ends) / 2
    x = ends[:-1, None] + half[:, None] * (nodes + 1)
    weight = half[:, None] * weights * np.exp(-(((x - mean) / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi))
    return math.fsum((f(x) * weight).ravel()), math.fsum((f(x) ** 2 * weight).ravel())


@pytest.mark.parametrize(
    ("text", "place", "width"),
    [
        ("exp(-9 - 1e8*x**2)", 0.0, 1e-4),  # a bump whose argument has no real zero
        ("exp(-(exp(x) - 2)**2*1e4)", math.log(2), 5e-3),  # one that only touches zero
        ("x*exp(-1e6*(x - 1)**4)", 1.0, 3e-2),  # a zero of order four
        ("x + exp(-(x - 3)**2*1e12)", 3.0, 1e-6),  # odd wherever one looks but there
        ("sqrt(1e-12 + x**2)", 0.0, 1e-6),  # branch points all but on the line
        ("log(1e-12 + x**2)", 0.0, 1e-6),
        ("log(1e-8 + sinh(x)**2)", 0.0, 1e-4),
        ("tanh(1e4*(exp(x) - 2))*(1 + x)", math.log(2), 5e-5),
    ],
)
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.7, 0.2), (1.5, 3.0)])
def test_where_a_function_changes_fast_is_found(text: str, place: float, width: float, mean: float, std: float) -> None:
    f = et.Activation.from_text(text)
    got = gaussian_moments(f, mean, std)
    first, second = by_many_panels(f, place, width, mean, std)
    # the sum's own nodes are rounded like the place
    allowed = 2 * stated_error(got.method) + 1e-14 + 8 * 2.0**-53 * abs(place) / width
    assert got.mean == pytest.approx(first, rel=allowed, abs=1e-300)
    assert got.second_moment == pytest.approx(second, rel=allowed, abs=1e-300)


@pytest.mark.parametrize(
    "text",
    [
        "tanh(x)",
        "log(1 + exp(x))",
        "x/(1 + exp(-x))",
        "exp(-x**2)*x",
        "x*tanh(3*x - 1)",
        "atan(2*x) + x/10",
        "1/(1 + (x - 1)**2)",
        "sqrt(0.01 + x**2)",
        "x**3 - x",
        "erf(x) + exp(0.2*x)",
    ],
)
def test_the_trapezoidal_rule_agrees_with_panels(text: str) -> None:
    """Two rules with nodes of their own, from std a tenth to a thousand lengths of f, within what they say they err."""
    generator = np.random.default_rng(27)
    std = 10 ** generator.uniform(-1, 3, 150)
    mean = np.where(generator.uniform(size=150) < 0.2, 0.0, generator.uniform(-6, 6, 150) * (1 + std))
    integrand = make_integrand(et.Activation.from_text(text))
    quick, stated, right = by_trapezoidal_rule(integrand, mean, std)
    assert right.mean() > 0.25
    found, errors = by_panels(integrand, mean[right], std[right])
    with np.errstate(all="ignore"):
        apart = np.abs(quick[:, right] - found) / np.abs(found)
    both_zero = (np.abs(quick[:, right]) < 1e-300) & (np.abs(found) < 1e-300)
    unknown = np.isnan(found)
    assert np.all((apart <= stated[:, right] + errors + 1e-15) | both_zero | unknown)


@pytest.mark.parametrize(("mean", "std", "place"), [(0.0, 30.0, "180"), (500.0, 1.0, "500")])
def test_what_overflows_is_said_to(mean: float, std: float, place: str) -> None:
    f = et.Activation.from_text("(exp(x) - 2)**2")
    sentence = f"beyond double precision: f² or f'² exceeds 1.8e308 at x = {place}, within 38.5 standard deviations"
    with pytest.raises(InputError, match=re.escape(sentence)):
        gaussian_moments(f, mean, std)
    with pytest.raises(InputError, match=re.escape(sentence)):
        dual_kernel(f, std**2, std**2, 0.1 * std**2, mean, mean)


def test_far_values_in_one_call() -> None:
    """Deep saturation beside ordinary means: none of them is refused, each is what it is alone."""
    means = np.array([0.0, 1.0, -300.0, -350.0, 400.0])
    together = gaussian_moments("tanh", means, 1.0)
    for index, mean in enumerate(means):
        alone = gaussian_moments("tanh", float(mean), 1.0)
        for quantity in NAMES:
            assert getattr(together, quantity)[index] == pytest.approx(getattr(alone, quantity), rel=1e-14)
    # tanh' → 4 e^{−2|x|}: E f' = 4 e^{−600 + 2}
    assert together.slope_mean[2] == pytest.approx(4 * math.exp(-598), rel=1e-12)


def test_float32_is_rounded_float64() -> None:
    mean, std = np.array([0.0, 1e-3, -5.0, 2.0], dtype=np.float32), np.array([1e-6, 1e-3, 1.0, 30.0], dtype=np.float32)
    for name in FUNCTIONS:
        narrow = gaussian_moments(name, mean, std)
        wide = gaussian_moments(name, mean.astype(float), std.astype(float))
        tensor = gaussian_moments(name, torch.tensor(mean), torch.tensor(std))
        for quantity in NAMES:
            assert np.array_equal(getattr(narrow, quantity), getattr(wide, quantity).astype(np.float32))
            assert np.array_equal(getattr(tensor, quantity).numpy(), getattr(narrow, quantity))


def test_gradients_in_bounded_memory_and_under_vmap() -> None:
    """∂_mean E f = E f', ∂_std E f = std E f'' (finite differences), for one call, under vmap and at second order."""
    means = torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True)
    std = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    result = gaussian_moments("silu", means, std)
    slope, by_std = torch.autograd.grad(result.mean.sum(), (means, std))
    assert torch.allclose(slope, result.slope_mean, rtol=1e-13, atol=0)
    h = 1e-4
    moved = [gaussian_moments("silu", means.detach(), std.detach() + sign * h).mean.sum() for sign in (1, -1)]
    assert float(by_std) == pytest.approx(float((moved[0] - moved[1]) / (2 * h)), rel=1e-7)
    mapped = torch.func.vmap(torch.func.grad(lambda m: gaussian_moments("silu", m, std.detach()).mean))(means.detach())
    assert torch.allclose(mapped, slope, rtol=1e-13, atol=0)


def test_gradients_pass_kinks() -> None:
    """f = x² above 1, 2 x − 1 below: f'' jumps there; f = sign(x): f itself does. Finite differences of the values."""
    for text in ("where(x > 1, x**2 + x, 3*x - 1)", "tanh(x) + sign(x)"):
        f = et.Activation.from_text(text)
        mean = torch.tensor([0.6, 1.0, -0.3], dtype=torch.float64, requires_grad=True)
        std = torch.tensor([0.5, 0.7, 1.1], dtype=torch.float64, requires_grad=True)
        for quantity in ("mean", "second_moment", "variance"):
            assert torch.autograd.gradcheck(
                lambda m, s, f=f, quantity=quantity: getattr(gaussian_moments(f, m, s), quantity),
                (mean, std),
                eps=1e-5,
                atol=1e-8,
            )


def test_too_many_panels_are_refused_at_once() -> None:
    with pytest.raises(InputError, match=r"would take \d+ panels; 2000 are possible\."):
        gaussian_moments(et.Activation.from_text("tanh(x)*sin(1000*x)"), 0.3, 50.0)
