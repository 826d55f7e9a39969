"""Every number against certified balls (oracle.py): M1–M4 at high precision, and the defining integrals themselves."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import sympy
import torch
from flint import acb, arb
from scipy.optimize import brentq

import elutheory as et
from elutheory.errors import InputError
from elutheory.moments import gaussian_moments
from elutheory.moments.closed_forms import closed_form, exponential_linear, ramp
from elutheory.moments.closed_forms.exponential_linear import ExponentialLinear
from elutheory.moments.closed_forms.piecewise_linear import Kink, PiecewiseLinear
from elutheory.moments.closed_forms.ramp import Ramp
from elutheory.numerics.normal_tails import CONTINUED_FRACTION_FROM
from tests.references import oracle

EPS = 2.0**-52
SMALLEST = 2.0**-1022
TOLERANCE = {
    "mean": 1e-13,
    "second_moment": 1e-13,
    "variance": 1e-12,
    "slope_mean": 1e-13,
    "slope_second_moment": 1e-13,
}

CASES = (
    ("relu", {}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.9999}),
    ("shifted_relu", {}),
    ("hard_tanh", {}),
    ("relu6", {}),
    ("elu", {}),
    ("selu", {}),
    ("celu", {}),
)
ALPHAS = (0.001, 0.01, 0.1, 0.5, 0.9999, 1.7, 5.0, 10.0)
EXPONENTIAL = (*CASES[6:], *(("elu", {"alpha": a}) for a in ALPHAS), *(("celu", {"alpha": a}) for a in ALPHAS))
ALL = (*CASES[:6], *EXPONENTIAL)


def identify(case: object) -> str:
    return str(case[0]) + "".join(f"-{value}" for value in case[1].values()) if isinstance(case, tuple) else str(case)


def random_points(seed: int, count: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """mean in ±[0, 100], std in [1e-8, 100]: linear, logarithmic, by z = mean/std, and around every kink."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(5, size=count)
    std = np.where(rng.random(count) < 0.5, 10 ** rng.uniform(-8, 2, count), 10 ** rng.uniform(-2, 1, count))
    std = np.where(rng.random(count) < 0.2, rng.uniform(0.001, 100, count), std)
    mean = np.select(
        [kind == 0, kind == 1, kind == 2, kind == 3],
        [
            rng.uniform(-100, 100, count),
            rng.uniform(-5, 5, count),
            rng.choice([-1, 1], count) * 10 ** rng.uniform(-6, 2, count),
            rng.uniform(-40, 10, count) * std,
        ],
        0.0,
    )
    kinks = {"shifted_relu": [0, -1], "hard_tanh": [-1, 0, 1], "relu6": [0, 3, 6]}.get(name, [0])
    mean = mean + np.where(np.abs(mean) < 10, rng.choice(kinks, count), 0)
    return np.clip(mean, -100, 100), std


def check(case: tuple[str, dict[str, float]], mean: np.ndarray, std: np.ndarray) -> None:
    """The issue's bound: relative tolerance + 4 ulp of input rounding, wherever the result is a normal number."""
    name, parameters = case
    pieces = oracle.pieces(name, **parameters)
    result = gaussian_moments(et.activation(name, **parameters), mean, std)
    assert result.method == "closed form"
    balls = [oracle.closed_form(pieces, *point) for point in zip(mean, std, strict=True)]
    for quantity, tolerance in TOLERANCE.items():
        want, got = np.array([float(ball[quantity].mid()) for ball in balls]), getattr(result, quantity)
        assert np.isfinite(got).all()
        normal = np.abs(want) >= SMALLEST
        error = np.abs(got - want)[normal] / np.abs(want)[normal]
        for i in np.flatnonzero(normal)[error > tolerance]:
            allowed = abs(float(oracle.allowance(pieces, mean[i], std[i], quantity).mid()) / want[i])
            bound = tolerance + 4 * EPS * allowed
            assert abs(got[i] / want[i] - 1) <= bound, (quantity, mean[i], std[i], got[i], want[i], bound)


@pytest.mark.parametrize("case", ALL, ids=identify)
def test_certified_on_random_points(case: tuple[str, dict[str, float]]) -> None:
    check(case, *random_points(sum(map(ord, identify(case))), 150, case[0]))


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", ALL, ids=identify)
def test_certified_on_very_many_random_points(case: tuple[str, dict[str, float]]) -> None:
    """10⁵ points in all: 25 activations, 4000 each."""
    check(case, *random_points(1 + sum(map(ord, identify(case))), 4000, case[0]))


def check_on_grid(case: tuple[str, dict[str, float]], means: list[float], stds: list[float]) -> None:
    mean, std = (grid.ravel() for grid in np.meshgrid(sorted({*means, *(-mean for mean in means)}), stds))
    check(case, mean, std)


@pytest.mark.parametrize("case", ALL, ids=identify)
def test_certified_on_grids(case: tuple[str, dict[str, float]]) -> None:
    check_on_grid(case, [0.0, 1e-3, 1.0, 100.0], [1e-8, 1e-4, 0.3, 3.0, 100.0])


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", ALL, ids=identify)
def test_certified_on_finer_grids(case: tuple[str, dict[str, float]]) -> None:
    means = [0.0, 1e-6, 1e-3, 0.1, 1.0, 10.0, *np.linspace(25, 100, 4)]
    check_on_grid(case, means, [1e-8, 1e-6, 1e-4, 1e-2, 0.3, 1.0, 3.0, 10.0, 37.0, 100.0])


def around(value: float) -> list[float]:
    return [np.nextafter(value, -np.inf), value, np.nextafter(value, np.inf)]


@pytest.mark.parametrize("case", EXPONENTIAL, ids=identify)
def test_both_sides_of_every_switch_exponential(case: tuple[str, dict[str, float]]) -> None:
    """z at the switches of the overshoot and of the centred series; s U's mean at those of the Laplace series."""
    form = closed_form(et.activation(case[0], **case[1]))
    assert isinstance(form, ExponentialLinear)
    points: list[tuple[float, float]] = []
    for z in (0.0, CONTINUED_FRACTION_FROM, 4.5, 7.0, 16.0, 64.0, exponential_linear.Z_CENTRED):
        for sign in (-1.0, 1.0):
            for std in (1e-6, 0.05, 0.5, 1.0):
                points += [(sign * mean, std) for mean in around(z * std)]
    for z in (-30.0, -3.0, -1.5):
        for std in around(exponential_linear.S_CENTRED / form.rate):
            points.append((z * std, std))
    for z in (-20.0, -1.0, 0.0, 1.0, 2.9, 3.1, 10.0):
        for level in (exponential_linear.SMALL_FIRST, exponential_linear.SMALL_SECOND):
            std = switching_std(z, level) / form.rate
            points += [(z * s, s) for s in (std * (1 - 1e-9), *around(std), std * (1 + 1e-9))]
    points += [(t * std, std) for std in (0.2, 1.0, 5.0) for n in (1, 2) for t in around(-n * form.rate * std)]
    mean, std = (np.array(column) for column in zip(*points, strict=True))
    keep = (np.abs(mean) <= 100) & (std <= 100)
    check(case, mean[keep], std[keep])


def switching_std(z: float, level: float) -> float:
    """s with s E U = level."""
    with oracle.precision(200):
        tail = (arb(z) / arb(2).sqrt()).erfc() / 2
        density = (-arb(z) * z / 2).exp() / (2 * arb.pi()).sqrt()
        return float(level / (density / tail - z))


@pytest.mark.parametrize("case", [("hard_tanh", {}), ("relu6", {})], ids=identify)
def test_both_sides_of_every_switch_ramp(case: tuple[str, dict[str, float]]) -> None:
    form = closed_form(et.activation(case[0]))
    assert isinstance(form, Ramp)
    width = form.upper.at - form.lower.at
    points: list[tuple[float, float]] = []
    for std in around(width / ramp.NARROW_WIDTH):
        points += [(mean, std) for mean in (form.lower.at, form.middle, form.upper.at, -20.0, 30.0)]
    for std in (2.0 * width, 5.0 * width):
        reach = ramp.NARROW_TILT * std * std / width
        points += [(mean, std) for side in (form.lower.at - reach, form.upper.at + reach) for mean in around(side)]
    for std in (0.5 * width, width, 0.01 * width):
        near = ramp.SMALL_ODD * std
        for place in (form.lower.at, form.upper.at, form.middle, form.middle - near, form.middle + near):
            points += [(mean, std) for mean in around(place)]
    for std in around(0.5 * width / ramp.SMALL_ODD):
        points += [(form.middle + distance, std) for distance in (-1.0, 1e-6, 0.3, 2.0)]
    mean, std = (np.array(column) for column in zip(*points, strict=True))
    keep = (np.abs(mean) <= 100) & (std <= 100)
    check(case, mean[keep], std[keep])


def test_mean_through_its_zero() -> None:
    """SELU's constants put E f = 0 at (0, 1): nothing but the inputs' rounding may show there."""
    offsets = np.concatenate([[0.0], np.logspace(-12, -2, 21)])
    mean = np.concatenate([offsets, -offsets, np.zeros(42)])
    std = np.concatenate([np.ones(44), 1 - offsets[1:], 1 + offsets[1:]])[: mean.size]
    mean = mean[: std.size]
    check(("selu", {}), mean, std)
    check(("elu", {}), -0.25 * np.logspace(-8, 0, 30) ** 2, np.logspace(-8, 0, 30))


@pytest.mark.parametrize("case", EXPONENTIAL, ids=identify)
def test_both_sides_of_the_switches_of_a_mean_near_zero(case: tuple[str, dict[str, float]]) -> None:
    """Around the mean at which E f vanishes, to both edges of the band integrated node by node; its ends in z, s."""
    f = et.activation(case[0], **case[1])
    form = closed_form(f)
    assert isinstance(form, ExponentialLinear)
    points: list[tuple[float, float]] = []
    ends_in_s = around(exponential_linear.NEAR_ZERO_S / form.rate)
    for std in (*np.logspace(-2, 2, 9), *(std for std in ends_in_s if std <= 100)):
        if gaussian_moments(f, -100.0, std).mean >= 0:
            continue  # its zero lies farther out than the means that are promised
        zero = brentq(lambda mean, std=std: float(gaussian_moments(f, mean, std).mean), -100.0, 100.0, xtol=1e-14)
        points += [(zero + share * std, std) for share in (0.0, 1e-9, -1e-9, 1e-4, -1e-4, 0.01, -0.01, 0.03, -0.03)]
        points += [(mean, std) for mean in around(-exponential_linear.NEAR_ZERO_Z * std)]
    mean, std = (np.array(column) for column in zip(*points, strict=True))
    assert mean.size >= 7 * 12
    check(case, mean, std)


INTEGRANDS: dict[str, Callable[[oracle.Piece, acb], acb]] = {
    "mean": lambda p, x: arb(p.a) + arb(p.b) * x + arb(p.c) * (arb(p.k) * x).exp(),
    "second_moment": lambda p, x: (arb(p.a) + arb(p.b) * x + arb(p.c) * (arb(p.k) * x).exp()) ** 2,
    "slope_mean": lambda p, x: arb(p.b) + arb(p.c) * arb(p.k) * (arb(p.k) * x).exp(),
    "slope_second_moment": lambda p, x: (arb(p.b) + arb(p.c) * arb(p.k) * (arb(p.k) * x).exp()) ** 2,
}


@pytest.mark.parametrize("case", [*CASES, ("elu", {"alpha": 2.5}), ("celu", {"alpha": 0.5})], ids=identify)
@pytest.mark.parametrize(
    ("mean", "std"),
    [(-1.5, 0.5), *(pytest.param(*point, marks=pytest.mark.exhaustive) for point in ((0.0, 1.0), (0.75, 2.0)))],
)
def test_the_oracle_itself(case: tuple[str, dict[str, float]], mean: float, std: float) -> None:
    """Closed form and defining integral are two balls around one number; the integral's tails weigh below 1e-40."""
    pieces = oracle.pieces(case[0], **case[1])
    closed = oracle.closed_form(pieces, mean, std)
    for quantity, integrand in INTEGRANDS.items():
        integral = oracle.integral(pieces, mean, std, integrand)
        assert abs(float((integral - closed[quantity]).mid())) < 1e-18


def test_deactivated_state() -> None:
    """M7: Var f → alpha² e^{2 mean + std²} (e^{std²} − 1), where the textbook difference has no digit left."""
    for std in (1e-8, 1e-6, 0.1, 2.0):
        variance = gaussian_moments(et.activation("elu", alpha=2.0), -60.0, std).variance
        assert variance == pytest.approx(4 * math.exp(-120 + std**2) * math.expm1(std**2), rel=1e-12)
    assert gaussian_moments("leaky_relu", -60.0, 0.1).variance == pytest.approx(1e-6, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "kink", "std"),
    [("shifted_relu", -1.0, 1e-18), ("hard_tanh", 1.0, 1e-16), ("hard_tanh", -1.0, 1e-12), ("relu6", 6.0, 1e-15)],
)
def test_variance_at_a_kink_where_f_is_not_zero(name: str, kink: float, std: float) -> None:
    """Of half a normal variable: std² (1/2 − 1/(2π)), however far f is from 0."""
    want = std**2 * (0.5 - 0.5 / math.pi)
    assert gaussian_moments(name, kink, std).variance == pytest.approx(want, rel=1e-14)
    narrow = gaussian_moments(name, np.float32(kink), np.float32(1e-5)).variance
    assert narrow == pytest.approx(float(np.float32(1e-5)) ** 2 * (0.5 - 0.5 / math.pi), rel=3e-7)


def test_log_slope_mean() -> None:
    """M6, against the certified closed form; −inf at an atom."""
    for case in (("elu", {"alpha": 0.3}), ("celu", {"alpha": 2.0}), ("selu", {}), ("leaky_relu", {})):
        for mean, std in ((-3.0, 1.0), (0.5, 2.0), (2.0, 0.1)):
            want = oracle.closed_form(oracle.pieces(case[0], **case[1]), mean, std)["log_slope_mean"]
            got = gaussian_moments(et.activation(case[0], **case[1]), mean, std).log_slope_mean
            assert got == pytest.approx(float(want.mid()), rel=1e-13)
    assert gaussian_moments("relu", 0.0, 1.0).log_slope_mean == -math.inf
    assert math.isnan(gaussian_moments(et.Activation.from_text("abs(x)"), 0.0, 1.0).log_slope_mean)


# --- float32, torch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("case", ALL, ids=identify)
def test_float32(case: tuple[str, dict[str, float]], library: str) -> None:
    """The same bounds in units of float32's eps; reference: float64, certified above."""
    mean, std = (x.astype(np.float32) for x in random_points(11, 5000, case[0]))
    activation = et.activation(case[0], **case[1])
    if library == "numpy":
        result = gaussian_moments(activation, mean, std)
    else:
        result = gaussian_moments(activation, torch.tensor(mean), torch.tensor(std))
    wide, wide_std = mean.astype(np.float64), std.astype(np.float64)
    h = 1e-10  # below std / mean
    want, *moved = (
        gaussian_moments(activation, wide * (1 + a), wide_std * (1 + b)) for a, b in ((0, 0), (h, 0), (0, h))
    )
    eps = 2.0**-23
    for quantity, tolerance in TOLERANCE.items():
        got, exact = getattr(result, quantity), getattr(want, quantity)
        assert got.dtype == (np.float32 if library == "numpy" else torch.float32)
        got = np.asarray(got).astype(np.float64)
        allowed = sum(np.abs(getattr(other, quantity) - exact) for other in moved) / h
        bound = tolerance * (eps / EPS) * np.abs(exact) + 4 * eps * allowed
        normal = (np.abs(exact) >= 2.0**-126) & (np.abs(exact) < 2.0**127)
        assert np.all(np.isfinite(got[normal]))
        assert np.all((np.abs(got - exact) <= bound)[normal])


def test_nothing_is_upcast() -> None:
    mean, std = np.float32([-3.0, 0.1, 5.0]), np.float32([1e-3, 1.0, 0.5])
    for name in ("elu", "celu", "selu"):
        form = closed_form(et.activation(name))
        assert isinstance(form, ExponentialLinear)
        state = form.conditional_moments(mean, std)
        assert {value.dtype for value in vars(state).values()} == {np.dtype(np.float32)}
    for name in ("relu", "shifted_relu", "hard_tanh", "relu6"):
        form = closed_form(et.activation(name))
        assert isinstance(form, PiecewiseLinear)
        state = form.decomposition(mean, std)
        arrays = [state.mean, *state.densities]
        arrays += [value for piece in state.pieces for value in (piece.probability, piece.mean, piece.variance)]
        assert {value.dtype for value in arrays} == {np.dtype(np.float32)}


@pytest.mark.parametrize("case", ALL, ids=identify)
def test_torch_agrees_with_numpy(case: tuple[str, dict[str, float]]) -> None:
    """Tolerances as for numpy, doubled: two certified-size errors."""
    mean, std = random_points(5, 4000, case[0])
    activation = et.activation(case[0], **case[1])
    ours = gaussian_moments(activation, torch.tensor(mean), torch.tensor(std))
    want = gaussian_moments(activation, mean, std)
    for quantity, tolerance in TOLERANCE.items():
        np.testing.assert_allclose(
            getattr(ours, quantity).numpy(),
            getattr(want, quantity),
            rtol=4 * tolerance,
            atol=3e-14 * std.max() * 0 + 2e-15,
        )


QUANTITIES = (*TOLERANCE, "log_slope_mean")
SMOOTH = [("tanh", {}), ("gelu", {}), ("erf", {}), ("sin", {}), ("softplus", {})]


ONE_OF_A_FORM = (("shifted_relu", {}), ("celu", {"alpha": 0.5}), ("gelu", {}), ("sin", {}), ("softplus", {}))
SECOND_ORDER = [*CASES, ("elu", {"alpha": 2.5}), ("celu", {"alpha": 0.5}), *SMOOTH]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=identify(case), marks=[] if case in ONE_OF_A_FORM else [pytest.mark.exhaustive])
        for case in SECOND_ORDER
    ],
)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_gradients_to_second_order(case: tuple[str, dict[str, float]], quantity: str) -> None:
    """Against central differences (torch's own check)."""
    activation = et.activation(case[0], **case[1])
    mean = torch.tensor([-2.0, -0.3, 0.1, 1.5, 4.0], dtype=torch.float64, requires_grad=True)
    std = torch.tensor([0.5, 0.2, 1.0, 2.0, 0.7], dtype=torch.float64, requires_grad=True)

    def moment(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
        return getattr(gaussian_moments(activation, mean, std), quantity)

    if not torch.isfinite(moment(mean, std)).all():
        return
    assert torch.autograd.gradcheck(moment, (mean, std), eps=1e-5, atol=1e-8, fast_mode=True)
    assert torch.autograd.gradgradcheck(moment, (mean, std), eps=1e-5, atol=1e-7, fast_mode=True)


@pytest.mark.parametrize(
    "case", [("elu", {}), ("selu", {}), ("celu", {"alpha": 0.5}), ("leaky_relu", {})], ids=identify
)
@pytest.mark.parametrize(
    ("mean", "std"), [(-20.0, 0.1), (-20.0, 1e-3), (-5.0, 2.0), (0.01, 0.2), (3.0, 0.5), (1e-3, 1e-5)]
)
def test_first_derivatives_against_arb(case: tuple[str, dict[str, float]], mean: float, std: float) -> None:
    """Difference quotients of the certified moments, step 2^-200; where the textbook gradient has cancelled away."""
    pieces = oracle.pieces(case[0], **case[1])
    for quantity in TOLERANCE:
        m = torch.tensor(mean, dtype=torch.float64, requires_grad=True)
        s = torch.tensor(std, dtype=torch.float64, requires_grad=True)
        value = getattr(gaussian_moments(et.activation(case[0], **case[1]), m, s), quantity)
        got = torch.autograd.grad(value, (m, s))
        with oracle.precision(1500):
            h = arb(2) ** -200
            at = oracle.moments_at(pieces, arb(mean), arb(std))[quantity]
            want = (
                (oracle.moments_at(pieces, arb(mean) + h, arb(std))[quantity] - at) / h,
                (oracle.moments_at(pieces, arb(mean), arb(std) + h)[quantity] - at) / h,
            )
            for ours, certified in zip(got, want, strict=True):
                assert float(ours) == pytest.approx(float(certified.mid()), rel=1e-11, abs=1e-300), quantity


def test_erfcx_gradient_keeps_its_digits() -> None:
    """torch's own derivative of erfcx is off by 3e-11 at 1000; ours does not pass through it."""
    mean = torch.tensor(0.0, dtype=torch.float64)
    std = torch.tensor(1000.0, dtype=torch.float64, requires_grad=True)
    gradient = torch.autograd.grad(gaussian_moments("elu", mean, std).slope_mean, std)[0]
    with oracle.precision(600):
        h = arb(2) ** -100
        pieces = oracle.pieces("elu")
        at, moved = (oracle.moments_at(pieces, arb(0), arb(1000) + step)["slope_mean"] for step in (arb(0), h))
        assert float(gradient) == pytest.approx(float(((moved - at) / h).mid()), rel=1e-9)


def test_third_derivatives_are_refused() -> None:
    mean = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    first = torch.autograd.grad(gaussian_moments("elu", mean, 1.0).mean, mean, create_graph=True)[0]
    second = torch.autograd.grad(first, mean, create_graph=True)[0]
    third = torch.autograd.grad(second, mean, create_graph=True)[0]
    with pytest.raises(InputError, match="first and second derivatives"):
        torch.autograd.grad(third, mean)


def test_functional_transforms() -> None:
    means = torch.linspace(-2, 2, 5, dtype=torch.float64)

    def variance(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
        return gaussian_moments("elu", mean, std).variance

    std = torch.tensor(0.7, dtype=torch.float64)
    mapped = torch.func.vmap(torch.func.grad(variance, argnums=1), in_dims=(0, None))(means, std)
    stds = std.repeat(5).requires_grad_()
    assert torch.equal(mapped, torch.autograd.grad(variance(means, stds).sum(), stds)[0])
    hessian = torch.func.vmap(torch.func.jacrev(torch.func.jacrev(variance)), in_dims=(0, None))(means, std)
    means.requires_grad_()
    first = torch.autograd.grad(variance(means, std).sum(), means, create_graph=True)[0]
    assert torch.allclose(hessian, torch.autograd.grad(first.sum(), means)[0], rtol=1e-14, atol=0)


# --- quadrature ----------------------------------------------------------------------------------------------------


POINTS = ((0.0, 1.0), (-3.0, 0.1), (2.0, 30.0), (-50.0, 2.0), (0.5, 1e-6), (5.0, 100.0))
SLOW = ("softplus", 5.0, 100.0)  # its certified integral takes as long as all the others


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        pytest.param(name, *point, marks=[pytest.mark.exhaustive] if (name, *point) == SLOW else [])
        for name in ("tanh", "logistic", "softplus", "silu")
        for point in POINTS
    ],
)
def test_quadrature_against_certified_integrals(name: str, mean: float, std: float) -> None:
    """`acb.integral` of the registry's definition, written by hand for Arb."""
    functions: dict[str, Callable[[acb], acb]] = {
        "tanh": lambda x: x.tanh(),
        "logistic": lambda x: 1 / (1 + (-x).exp()),
        "softplus": lambda x: (1 + x.exp()).log(),
        "silu": lambda x: x / (1 + (-x).exp()),
    }
    whole = (oracle.Piece(None, None, *(oracle.exact("0"),) * 4),)
    f = functions[name]
    result = gaussian_moments(name, mean, std)
    assert result.method.startswith("Gauss-Legendre quadrature, estimated relative error ")
    integrals = [oracle.integral(whole, mean, std, lambda _, x, n=n: f(x) ** n, bits=150) for n in (1, 2)]
    with oracle.precision(400):
        want_variance = float((integrals[1] - integrals[0] ** 2).mid())
    scale = math.sqrt(float(integrals[1].mid()))
    assert result.mean == pytest.approx(float(integrals[0].mid()), rel=1e-12, abs=1e-14 * scale)
    assert result.second_moment == pytest.approx(float(integrals[1].mid()), rel=1e-12)
    assert result.variance == pytest.approx(want_variance, rel=1e-11)


def test_closed_form_is_recognised_by_shape_not_by_name() -> None:
    x = sympy.Symbol("x", real=True)
    mine = et.Activation.from_expression(sympy.Piecewise((3 * x, x > 0), (sympy.exp(2 * x) - 1, True)), x)
    assert isinstance(closed_form(mine), ExponentialLinear)
    assert isinstance(closed_form(et.Activation.from_text("abs(x)")), Kink)
    assert gaussian_moments(et.Activation.from_text("abs(x)"), 0.0, 1.0).mean == pytest.approx(math.sqrt(2 / math.pi))


@pytest.mark.parametrize(
    "text", ["where(x > 0, x, 0) + x**2*0", "max(x, 0.3*x - 2, 2*x - 5)", "where(x > 1, x**2, 2*x - 1)"]
)
def test_quadrature_at_kinks(text: str) -> None:
    """Kinks are resolved; reference: a Riemann sum of four million terms (error about 1e-12)."""
    f = et.Activation.from_text(text)
    for mean, std in ((0.2, 1.0), (3.0, 0.01), (1.0, 20.0)):
        t = np.linspace(-12, 12, 4_000_001)
        density = np.exp(-0.5 * t * t) / math.sqrt(2 * math.pi) * (t[1] - t[0])
        want = float(np.sum(f(mean + std * t) * density))
        result = gaussian_moments(f, mean, std)
        assert result.mean == pytest.approx(want, rel=1e-9, abs=1e-10 * math.sqrt(result.second_moment))


def test_log_slope_of_smooth_activations() -> None:
    """tanh' underflows beyond 372, its logarithm does not: E ln tanh' → 2 ln 2 − 2 E|X|."""
    got = gaussian_moments("tanh", 0.0, 1e4).log_slope_mean
    assert got == pytest.approx(math.log(4) - 2e4 * math.sqrt(2 / math.pi), abs=1e-3)
    want = (
        -10.0 - 2 * gaussian_moments("softplus", -10.0, 3.0).mean
    )  # ln σ'(x) = −x − 2 softplus(−x), X ~ −X' symmetric
    assert gaussian_moments("logistic", 10.0, 3.0).log_slope_mean == pytest.approx(want, rel=1e-13)
    assert math.isnan(gaussian_moments("gelu", 0.0, 1.0).log_slope_mean)


# --- limits, shapes, errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["elu", "relu", "hard_tanh", "tanh", "shifted_relu"])
def test_zero_std_and_infinite_mean(name: str) -> None:
    f = et.activation(name)
    mean = np.array([-2.0, 0.0, 0.5])
    result = gaussian_moments(f, mean, 0.0)
    assert np.array_equal(result.mean, f(mean))
    assert np.array_equal(result.second_moment, f(mean) ** 2)
    assert np.array_equal(result.slope_mean, f.derivative(mean))
    assert not result.variance.any()
    far = gaussian_moments(f, np.array([-np.inf, np.inf]), 2.0)
    ends, slopes = f(np.array([-np.inf, np.inf])), f.derivative(np.array([-np.inf, np.inf]))
    assert np.array_equal(far.mean, ends)
    assert np.array_equal(far.variance, 4 * slopes**2)
    tensor = gaussian_moments(f, torch.tensor([-np.inf, np.inf, 0.25]), torch.tensor([1.0, 1.0, 0.0]))
    assert torch.equal(tensor.mean[:2], torch.tensor(ends, dtype=torch.float32))
    assert tensor.variance[2] == 0


def test_shapes_and_kinds() -> None:
    result = gaussian_moments("elu", np.zeros((3, 1)), np.ones(4))
    assert result.mean.shape == (3, 4)
    assert isinstance(gaussian_moments("elu", 0, 1).mean, np.float64)
    assert gaussian_moments("elu", np.float32(0), 1.0).mean.dtype == np.float32
    assert gaussian_moments("elu", np.zeros(2, np.float32), np.ones(2)).mean.dtype == np.float64
    assert gaussian_moments("elu", np.zeros(0), 1.0).mean.shape == (0,)
    assert gaussian_moments("tanh", np.zeros(0), 1.0).mean.shape == (0,)
    assert gaussian_moments("elu", torch.zeros(2, 3), 1).variance.shape == (2, 3)
    assert gaussian_moments("elu", torch.zeros(0), 1.0).mean.shape == (0,)
    assert gaussian_moments("elu", torch.tensor([1, 2]), 1).mean.dtype == torch.float32
    many = np.linspace(-3, 3, 70001)  # several chunks
    assert gaussian_moments("elu", many, 1.0).mean[[0, -1]].tolist() == [
        gaussian_moments("elu", -3.0, 1.0).mean,
        gaussian_moments("elu", 3.0, 1.0).mean,
    ]


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (0.0, -1.0, "std must be finite and >= 0, not -1.0."),
        (0.0, np.array([1.0, -2.0]), "std must be finite and >= 0, not -2.0 (first along axis 0 at 1)."),
        (0.0, math.inf, "std must be finite and >= 0, not inf."),
        (0.0, math.nan, "std must be finite and >= 0, not nan."),
        (np.array([0.0, np.nan]), 1.0, "mean must be a number or ±inf, not nan (first along axis 0 at 1)."),
        (torch.tensor([0.0, math.nan]), 1.0, "mean must be a number or ±inf, not nan (first along axis 0 at 1)."),
        (0.0, torch.tensor(-1.0), "std must be finite and >= 0, not -1.0."),
        ("0", 1.0, "mean must be real numbers, not str."),
        (True, 1.0, "mean must be real numbers, not bool."),
        (1j, 1.0, "mean must be real numbers, not complex."),
        (np.array([1j]), 1.0, "mean must be real numbers, not of dtype complex128."),
        ([0.0], 1.0, "mean must be a number, a numpy array or a torch tensor, not a list."),
        (np.zeros(2, np.float16), 1.0, "mean and std must be float32, float64 or integers, not float16."),
        (np.zeros(2), np.ones(3), "mean of shape (2,) and std of shape (3,) do not broadcast."),
        (torch.zeros(2), torch.ones(3), "mean of shape (2,) and std of shape (3,) do not broadcast."),
        (torch.zeros(2), np.ones(2), "with a torch tensor, std must be a tensor or a Python number, not ndarray."),
    ],
)
def test_errors(mean: object, std: object, message: str) -> None:
    for name in ("elu", "tanh"):
        with pytest.raises(InputError) as caught:
            gaussian_moments(name, mean, std)
        assert str(caught.value) == message


def test_symbolic_activations_are_refused() -> None:
    symbolic = et.activation("elu", alpha=sympy.Symbol("alpha", positive=True))
    with pytest.raises(InputError, match="has the symbolic parameter alpha; give it a number"):
        gaussian_moments(symbolic, 0.0, 1.0)


@pytest.mark.parametrize(("name", "square"), [("hard_tanh", 1.0), ("relu6", 18.0)])
@pytest.mark.parametrize("std", [1e40, 1e160, 1e300])
def test_bounded_functions_far_out(name: str, square: float, std: float) -> None:
    """A ramp is a step: E f² is the mean of its two levels' squares, however far std² is beyond the range."""
    moments = gaussian_moments(name, 0.0, std)
    assert moments.second_moment == pytest.approx(square, rel=1e-13)
    assert moments.variance == pytest.approx(square - float(moments.mean) ** 2, rel=1e-13)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "shifted_relu", "elu", "identity"])
def test_what_overflows_is_infinite(name: str) -> None:
    moments = gaussian_moments(name, 0.0, 1e160)
    assert moments.second_moment == moments.variance == math.inf
