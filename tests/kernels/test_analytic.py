"""Pair expectations of analytic activations: Mehler's series and the graded rules against exact ones, and each other.

References: erf, whose pair expectations are bivariate normal probabilities and Gaussian integrals, in Arb's balls, over
standard deviations of twelve decades. Other activations: the two routes share no sum and must agree where both hold.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from flint import acb, arb

import elutheory as et
from elutheory.errors import InputError
from elutheory.gram.interpolation import grid_expectation
from elutheory.kernels import dual_covariance, dual_kernel, dual_kernel_derivative
from elutheory.kernels.analytic import mehler
from elutheory.kernels.analytic.graded import graded_expectations
from elutheory.kernels.analytic.mehler import coarsest_steps, mehler_expectation
from elutheory.kernels.analytic.scales import features, widths
from elutheory.kernels.expectations import _FARTHEST, _within, centred_pair_expectation, evaluate
from elutheory.kernels.pairs import PairArguments
from tests.references.oracle import precision

QUANTITIES = ("value", "slope", "covariance")
RELATIVE = {"value": 1e-13, "slope": 1e-13, "covariance": 1e-12}
OWN = {
    "mish": "x*tanh(log(1 + exp(x)))",
    "shifted": "tanh(x - 3)",
    "two steps": "tanh(x - 3) + tanh(x + 20)",
    "algebraic": "sqrt(1 + x**2)",
    "arc": "atan(x)",
    "quick": "x/(1 + exp(-1.702*x))",
    "bump": "exp(-x**2)",
    "gelu_tanh": "0.5*x*(1 + tanh(0.7978845608*(x + 0.044715*x**3)))",
}


@cache
def named(name: str) -> et.Activation:
    return et.Activation.from_text(OWN[name]) if name in OWN else et.activation(name)


ERF = et.Activation.from_text("erf(x)")


def columns(seed: int, count: int, stds: tuple[float, float], ratio: float) -> tuple[np.ndarray, ...]:
    """Means, standard deviations, cosine, sine: std and 1 − |cosine| log-uniform, mean/std uniform."""
    rng = np.random.default_rng(seed)
    std_u, std_v = 10.0 ** rng.uniform(*stds, (2, count))
    mean_u, mean_v = rng.uniform(-ratio, ratio, (2, count)) * np.array([std_u, std_v])
    gap = 10.0 ** rng.uniform(-16, 0, count)
    sine = np.sqrt(gap * (2 - gap))
    cosine = rng.choice([-1.0, 1.0], count) * (1.0 - gap)
    return mean_u, mean_v, std_u, std_v, cosine, sine


# --- erf, exactly --------------------------------------------------------------------------------------------------


def erf_reference(quantity: str, m1: float, m2: float, s1: float, s2: float, cosine: float, sine: float) -> arb:
    """erf(x) = 2Φ(√2 x) − 1: E erf(U) erf(V) from P(Z₁ < h, Z₂ < k), by Plackett's integral over its angle."""
    one = arb(1)
    u, v, q = arb(s1), arb(s2), arb(sine)
    rho = (one - q * q).sqrt() * (1 if cosine > 0 else -1)  # the angle is known by its sine: |cosine| is near 1
    if abs(cosine) < 0.7:
        rho = arb(cosine)
    a, b, c = one + 2 * u * u, one + 2 * v * v, 2 * rho * u * v
    determinant = a * b - c * c
    if quantity == "slope":
        exponent = (b * arb(m1) ** 2 - 2 * c * arb(m1) * arb(m2) + a * arb(m2) ** 2) / determinant
        return 4 / arb.pi() * (-exponent).exp() / determinant.sqrt()
    h, k, r = arb(2).sqrt() * arb(m1) / a.sqrt(), arb(2).sqrt() * arb(m2) / b.sqrt(), c / (a * b).sqrt()

    def density(angle: acb, _: bool) -> acb:
        cos = angle.cos()
        return (-(h * h - 2 * h * k * angle.sin() + k * k) / (2 * cos * cos)).exp() / (2 * acb.pi())

    end = arb.atan2(c, determinant.sqrt())
    assert abs(r) < 1
    covariance = 4 * acb.integral(density, 0, end).real
    if quantity == "covariance":
        return covariance
    return covariance + (h / arb(2).sqrt()).erf() * (k / arb(2).sqrt()).erf()


def erf_size(quantity: str, m1: float, m2: float, s1: float, s2: float) -> float:
    """√(E g(U)² E g(V)²); of erf itself roughly: Plackett's integral is too near π/2 for balls there."""
    if quantity == "value":
        return float(np.sqrt(second_moment(ERF, m1, s1)) * np.sqrt(second_moment(ERF, m2, s2)))
    squares = [float(erf_reference(quantity, m, m, s, s, 1.0, 0.0)) for m, s in ((m1, s1), (m2, s2))]
    return float(np.sqrt(squares[0]) * np.sqrt(squares[1]))


def check_erf(seed: int, count: int, stds: tuple[float, float], ratio: float) -> None:
    pairs = columns(seed, count, stds, ratio)
    for quantity in QUANTITIES:
        (found,), _ = evaluate(ERF, (quantity,), PairArguments(*pairs))
        (swapped,), _ = evaluate(ERF, (quantity,), PairArguments(*(pairs[i] for i in (1, 0, 3, 2, 4, 5))))
        np.testing.assert_array_equal(found, swapped)
        with precision(400):
            for got, *pair in zip(found, *pairs, strict=True):
                want = float(erf_reference(quantity, *pair))
                size = abs(want) if quantity == "covariance" else erf_size(quantity, *pair[:4])
                assert abs(got - want) <= RELATIVE[quantity] * size + 1e-300, (quantity, pair, got, want)


@pytest.mark.parametrize(("seed", "stds"), [(0, (-6, 0)), (1, (-1, 1)), (2, (0, 6))])
def test_erf_over_twelve_decades(seed: int, stds: tuple[float, float]) -> None:
    check_erf(seed, 8, stds, 3.0)


def test_value_of_a_narrow_variable_beside_one_in_saturation() -> None:
    """The quadrants are near ½ or 0, the value is a thousandth: what they are rounded to must not count."""
    pair = -458394.675653751, -0.0004430123612969549, 162736.79410418525, 0.00030738703774365147
    pair += 0.9999999999999947, 1.0372653097056847e-07
    (found,), _ = evaluate(ERF, ("value",), PairArguments(*(np.array([number]) for number in pair)))
    with precision(400):
        want = float(erf_reference("value", *pair))
    assert abs(found[0] - want) <= 1e-13 * erf_size("value", *pair[:4])


def test_covariance_where_steps_for_the_mean_cross_a_feature() -> None:
    """V given U lies far beyond the feature on either side of it: a sum of increments from there missed it by 4e-8."""
    pair = -1214926.2103150247, 679.8803640477349, 937764.7807028678, 946.9876706250914, 0.9987247821622718
    pair += (0.050485735558895926,)
    (found,), _ = evaluate(ERF, ("covariance",), PairArguments(*(np.array([number]) for number in pair)))
    with precision(400):
        assert found[0] == pytest.approx(float(erf_reference("covariance", *pair)), rel=1e-12)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(20))
def test_erf_over_twelve_decades_everywhere(seed: int) -> None:
    check_erf(100 + seed, 40, (-6, 6), 3.0)


@pytest.mark.parametrize(("seed", "ratio"), [(201, 12.0), (203, 40.0)])
def test_covariances_in_the_tails(seed: int, ratio: float) -> None:
    """What is returned is as near as the method says, or refused: series and graded rules state untrue errors there."""
    checked = 0
    for pair in zip(*columns(seed, 40, (-2, 2), ratio), strict=True):
        try:
            (found,), method = evaluate(ERF, ("covariance",), PairArguments(*(np.array([number]) for number in pair)))
        except InputError:
            continue
        with precision(400):
            want = float(erf_reference("covariance", *pair))
        if abs(want) > 1e-290:
            checked += 1
            assert found[0] == pytest.approx(want, rel=1e-8 if "nested" in method else 1e-12), (pair, method)
    assert checked >= 20


# --- two routes ----------------------------------------------------------------------------------------------------


def check_routes(name: str, pairs: tuple[np.ndarray, ...], least: int) -> None:
    """Where both state an error below what is promised they agree; and at `least` that many pairs have both."""
    for quantity in QUANTITIES:
        with np.errstate(all="ignore"):
            series, error = mehler_expectation(named(name), quantity, *pairs)
            graded, other = graded_expectations(named(name), quantity, *pairs)
            if quantity == "covariance":
                size = abs(graded)
            else:
                g = named(name) if quantity == "value" else named(name).derivative
                size = np.sqrt([second_moment(g, m, s) for m, s in zip(*pairs[:4:2], strict=True)])
                size *= np.sqrt([second_moment(g, m, s) for m, s in zip(*pairs[1:4:2], strict=True)])
        both = (error <= RELATIVE[quantity]) & (other <= RELATIVE[quantity])
        if quantity != "value":  # in the tails neither is used
            both &= _within(_FARTHEST, PairArguments(*pairs))
        assert both.sum() >= least, (quantity, error, other)
        # each promises that much
        assert (abs(series - graded)[both] <= 2.0 * RELATIVE[quantity] * size[both]).all(), quantity


def second_moment(g: Callable[[Any], Any], mean: float, std: float) -> float:
    """E g², roughly: a plain sum over many nodes."""
    x = np.linspace(-12, 12, 20001)
    return float((g(mean + std * x) ** 2 * np.exp(-0.5 * x * x)).sum() * (x[1] - x[0]) / np.sqrt(2 * np.pi))


@pytest.mark.parametrize("name", ["tanh", "gelu", "silu", "softplus", "logistic", *OWN])
def test_series_and_graded_rules_agree(name: str) -> None:
    check_routes(name, columns(sum(map(ord, name)), 8, (-3, 0.2), 2.0), 6)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["tanh", "gelu", "silu", "softplus", "logistic", *OWN])
def test_series_and_graded_rules_agree_everywhere(name: str) -> None:
    check_routes(name, columns(sum(map(ord, name)), 200, (-6, 6), 8.0), 20)


@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_both_sides_of_every_number_of_terms_and_step(name: str) -> None:
    """Standard deviations from where 48 terms do to where 768 do not, in steps of 10 %, next to correlation one."""
    std = 1.1 ** np.arange(-10, 22)
    zero, gap = np.zeros_like(std), np.full_like(std, 1e-9)
    check_routes(name, (zero, 0.3 * std, std, 0.9 * std, 1.0 - gap, np.sqrt(gap * (2.0 - gap))), 16)


def test_steps_see_every_feature_within_reach() -> None:
    """E tanh² over nodes that miss tanh's whole rise is 1, over every second one too: no sign of error."""
    places, found = widths(named("tanh"))
    assert (found[abs(places) < 0.5] > 0.9).all()
    steps = coarsest_steps(named("tanh"), np.array([0.0, 0.3, 30.0, 3000.0]), np.array([1e-3, 1.0, 83.0, 83.0]))
    assert steps[0] == 0
    assert 0 < steps[1] < steps[2]
    assert steps[2] == len(mehler._STEPS)  # none does
    assert steps[3] == 0  # 36 standard deviations away
    assert features(et.Activation.from_text("sin(x)")) is None


# --- what the public functions do ----------------------------------------------------------------------------------


def test_methods_and_refusals() -> None:
    assert dual_kernel("tanh", 1e4, 1e4, 9.9e3).method.startswith("graded trapezoidal rules, estimated relative error")
    mixed = dual_kernel("tanh", np.array([1.0, 1e4]), np.array([1.0, 1e4]), np.array([0.5, 9.9e3])).method
    assert "Mehler" in mixed
    assert "graded" in mixed
    assert dual_kernel(et.Activation.from_text("tanh(x)*sin(30*x)"), 0.01, 0.01, 0.005).method.startswith("Mehler")
    for kernel in (dual_kernel, dual_kernel_derivative, dual_covariance):
        with pytest.raises(InputError, match="sin"):
            kernel(et.Activation.from_text("tanh(x)*sin(30*x)"), 1e6, 1e6, 5e5)


def test_far_from_every_feature() -> None:
    """tanh is 1 there, and its covariance that of an event 16 standard deviations away, or below every number."""
    assert dual_kernel("tanh", 1e4, 1e4, 5e3, 1600.0, 1600.0).value == pytest.approx(1.0, rel=1e-15)
    assert 0.0 < dual_covariance("tanh", 1e4, 1e4, 9e3, 1600.0, 1600.0).value < 1e-50
    assert dual_covariance("tanh", 1.0, 1.0, 0.5, 1e3, 1e3).value == 0.0
    # its slope has all of its mass 18 and more standard deviations away, where the first nodes do not reach
    assert (
        6e-110
        < dual_kernel_derivative("gelu_tanh", 22.4**2, 64.5**2, 0.999999999998 * 22.4 * 64.5, -479.3, -1434.6).value
        < 1e-108
    )


@pytest.mark.parametrize("order", [0, 1])
def test_a_grid_of_norms_and_angles_is_its_pairs(order: int) -> None:
    """Norms and angles where 48 terms do, where 768 do not, and where not even an input can be expanded (40)."""
    std_u, std_v, angle = np.array([0.5, 2.5, 40.0]), np.array([0.5, 4.0]), np.array([1e-3, 0.4, 1.5, 3.0])
    found = grid_expectation(named("tanh"), order, std_u, std_v, angle)
    columns = np.broadcast_arrays(std_u[:, None, None], std_v[:, None], np.cos(angle), np.sin(angle))
    pairs = centred_pair_expectation(named("tanh"), order, *(column.reshape(-1) for column in columns))
    np.testing.assert_allclose(found.reshape(-1), pairs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_torch_agrees(quantity: str) -> None:
    pairs = columns(7, 12, (-2, 2), 2.0)
    (expected,), _ = evaluate(named("silu"), (quantity,), PairArguments(*pairs))
    (found,), _ = evaluate(named("silu"), (quantity,), PairArguments(*map(torch.tensor, pairs)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_inputs_that_repeat_are_expanded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs of twenty inputs: twenty rows of values, not 400."""
    counted = []
    f = named("tanh")
    evaluated = f.__call__

    class Counting:
        breakpoints = ()

        def __call__(self, x: np.ndarray) -> np.ndarray:
            counted.append(len(x))
            return evaluated(x)

    std = np.repeat(np.linspace(0.5, 1.0, 20), 20)
    other = np.tile(np.linspace(0.5, 1.0, 20), 20)
    zero, cosine = np.zeros(400), np.full(400, 0.3)
    monkeypatch.setattr("elutheory.kernels.analytic.scales.widths", lambda _: widths(f))
    value, _ = mehler_expectation(Counting(), "value", zero, zero, std, other, cosine, np.sqrt(1 - cosine**2))  # pyright: ignore
    np.testing.assert_allclose(value.reshape(20, 20), value.reshape(20, 20).T, rtol=0)
    assert max(counted) <= 20
