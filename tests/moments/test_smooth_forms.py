"""Closed forms of smooth activations: GELU, erf, lines times the normal distribution function; sin and cos."""

import math

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mp

import elutheory as et
from elutheory.moments import gaussian_moments
from elutheory.moments.closed_forms import closed_form
from elutheory.moments.closed_forms.error_function import _PANEL, _PANELS, ErrorFunction
from elutheory.moments.closed_forms.sinusoid import Sinusoid
from tests.moments.test_quadrature import CLOSED_FORMS, POINTS, check

MIXED = "2*x*(1 + erf((x - 1)/3)) - x/4 + 0.3"
QUANTITIES = ("mean", "second_moment", "variance", "slope_mean", "slope_second_moment")


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("gelu", (POINTS[1], POINTS[9])),
        ("erf", (POINTS[6],)),
        ("sin", POINTS[3:4]),
        ("cos", POINTS[6:7]),
    ],
)
def test_every_moment_relative_to_itself(name: str, points: tuple[tuple[float, float], ...]) -> None:
    """Against the definition's integral in Arb balls."""
    for point in points:
        check(name, *point)
        assert gaussian_moments(name, *point).method == "closed form"


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_every_moment_over_the_whole_range(name: str) -> None:
    generator = np.random.default_rng(7)
    for _ in range(60):
        std = 10 ** generator.uniform(-6, 6 if name in ("gelu", "erf") else 1)
        check(name, std * generator.uniform(-40, 40), std)


def stds() -> list[float]:
    """Twelve decades, and on both sides of every change of the number of panels."""
    ends = [math.sqrt(0.5 * math.expm1(2.0 * _PANEL * panels)) for panels in _PANELS[:-1]]
    beside = [math.nextafter(end, side) for end in ends if end < 1e30 for side in (0.0, math.inf)]
    return sorted([*np.geomspace(1e-6, 1e6, 37), *beside, 1e20, 1e75])


def exact_moments(s: float) -> tuple[mpmath.mpf, ...]:
    """E gelu², Var gelu, E gelu'² and Var Phi, E phi² of N(0, s²), as elementary functions (Tsuchida et al.)."""
    s = mp.mpf(s)
    q = 1 + s * s
    angle, root = mp.asin(s * s / q), mp.sqrt(1 + 2 * s * s)
    second = s * s / 4 + (s * s * angle + 2 * s**4 / (q * root)) / (2 * mp.pi)
    slope = mp.mpf(1) / 4 + (angle + s * s * (2 / q + 1 / root**2) / root) / (2 * mp.pi)
    return second, second - s**4 / (q * 2 * mp.pi), slope, angle / (2 * mp.pi), 1 / (2 * mp.pi * root)


def test_integrals_over_all_standard_deviations() -> None:
    """1e-14, where 11 nodes on a panel leave more."""
    s = np.array(stds())
    gelu = closed_form(et.activation("gelu"))
    phi = ErrorFunction(1.0, 0.0, (1.0, 0.0), (0.0, 0.0))
    assert gelu is not None
    of_gelu, of_phi = gelu.moments(0.0 * s, s), phi.moments(0.0 * s, s)
    found = zip(of_gelu[1], of_gelu[2], of_gelu[4], of_phi[2], of_phi[4], strict=True)
    with mp.workdps(60):
        for std, row in zip(s, found, strict=True):
            for value, want in zip(row, exact_moments(std), strict=True):
                assert abs(value / want - 1) < 1e-14, std


def test_erf_slope_in_the_tails() -> None:
    """E erf'(X)² = (4/π) e^{−2m²/(1+4s²)}/√(1+4s²), whatever the mean; the exponent's own rounding aside."""
    for std in stds()[::4]:
        for z in (-30.0, -3.0, 1e-3, 12.0):
            found = gaussian_moments("erf", z * std, std).slope_second_moment
            with mp.workdps(40):
                m, s = mp.mpf(z * std), mp.mpf(std)
                exponent = 2 * m * m / (1 + 4 * s * s)
                want = 4 / mp.pi * mp.exp(-exponent) / mp.sqrt(1 + 4 * s * s)
                assert abs(found / want - 1) < 1e-14 + 1e-15 * exponent


def test_far_out() -> None:
    assert gaussian_moments("erf", 1.0, 1e200).variance == pytest.approx(1.0, rel=1e-13)
    assert gaussian_moments("erf", 0.0, 1e200).slope_second_moment == pytest.approx(2 / math.pi * 1e-200, rel=1e-13)
    assert gaussian_moments("gelu", 0.0, 1e160).slope_second_moment == pytest.approx(0.5, rel=1e-13)
    assert gaussian_moments("gelu", 0.0, 1e150).variance == pytest.approx(1e300 * (0.5 - 0.5 / math.pi), rel=1e-13)
    assert gaussian_moments("gelu", 1e300, 1.0).mean == 1e300
    assert gaussian_moments("gelu", -1e300, 1.0).second_moment == 0.0


@pytest.mark.parametrize("text", [MIXED, "3*erfc(-x/5) + 1", "erfc(x)", "cos(1 - 3*x)/2 + sin(-3*x) + 2"])
def test_everything_of_the_form_is_recognised(text: str) -> None:
    """Against Gauss–Hermite sums of 150 nodes, exact to rounding at these standard deviations."""
    f = et.Activation.from_text(text)
    assert isinstance(closed_form(f), ErrorFunction | Sinusoid)
    nodes, weights = np.polynomial.hermite_e.hermegauss(150)
    weights = weights / weights.sum()
    for mean, std in ((0.3, 0.7), (-2.0, 0.4), (1.5, 0.2)):
        result = gaussian_moments(f, mean, std)
        values, slopes = f(mean + std * nodes), f.derivative(mean + std * nodes)
        first = weights @ values
        wanted = (first, weights @ values**2, weights @ (values - first) ** 2, weights @ slopes, weights @ slopes**2)
        for quantity, want in zip(QUANTITIES, wanted, strict=True):
            assert getattr(result, quantity) == pytest.approx(want, rel=1e-12, abs=1e-13), quantity


@pytest.mark.parametrize(
    "text",
    ["x**2*erf(x)", "erf(x) + erf(2*x)", "erf(x)**2", "where(x > 0, erf(x), 0)", "sin(x) + x", "sin(x) + cos(2*x)"],
)
def test_what_is_not_of_the_form_is_left_to_quadrature(text: str) -> None:
    assert closed_form(et.Activation.from_text(text)) is None


def test_log_slope_of_the_normal_distribution_function() -> None:
    want = math.log(2 / math.sqrt(math.pi)) - (0.7**2 + 1.3**2)
    assert gaussian_moments("erf", 0.7, 1.3).log_slope_mean == pytest.approx(want, rel=1e-15)
    falling = et.Activation.from_text("erfc(x)")
    assert math.isnan(gaussian_moments(falling, 0.7, 1.3).log_slope_mean)


@pytest.mark.parametrize("name", ["gelu", "erf", "sin"])
def test_tensors_and_single_precision(name: str) -> None:
    mean, std = np.linspace(-3.0, 3.0, 13), np.geomspace(0.01, 30.0, 13)
    wide = gaussian_moments(name, mean, std)
    tensor = gaussian_moments(name, torch.tensor(mean), torch.tensor(std))
    narrow = gaussian_moments(name, mean.astype(np.float32), std.astype(np.float32))
    near = gaussian_moments(name, mean.astype(np.float32).astype(float), std.astype(np.float32).astype(float))
    for quantity in QUANTITIES:
        np.testing.assert_allclose(getattr(tensor, quantity).numpy(), getattr(wide, quantity), rtol=1e-14, atol=1e-16)
        assert getattr(narrow, quantity).dtype == np.float32
        np.testing.assert_allclose(getattr(narrow, quantity), getattr(near, quantity), rtol=1e-5, atol=1e-7)
