"""Dual kernels against certified references (pair_oracle.py): the whole accuracy box, edges, gradients, errors."""

import math
import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import sympy
import torch
from flint import arb
from hypothesis import given, settings
from hypothesis import strategies as st

import elutheory as et
from elutheory.errors import InputError
from elutheory.kernels import DualKernel, dual_covariance, dual_kernel, dual_kernel_derivative
from elutheory.kernels.arc_cosine import applies
from elutheory.kernels.expectations import pair_expectation
from elutheory.kernels.pairs import PairArguments
from elutheory.kernels.panels import layouts
from elutheory.moments import gaussian_moments
from elutheory.moments.closed_forms import closed_form
from tests.references import oracle, pair_oracle
from tests.references.pair_oracle import Pair

EPS = 2.0**-52
SMALLEST = arb(2) ** -1022
FUNCTIONS: dict[str, Callable[..., DualKernel]] = {
    "value": dual_kernel,
    "slope": dual_kernel_derivative,
    "covariance": dual_covariance,
}
CASES = (
    ("elu", {}),
    ("elu", {"alpha": 0.3}),
    ("elu", {"alpha": 2.5}),
    ("celu", {}),
    ("celu", {"alpha": 1.7}),
    ("selu", {}),
    ("relu", {}),
    ("leaky_relu", {}),
    ("shifted_relu", {}),
    ("hard_tanh", {}),
    ("relu6", {}),
)
FEW = (CASES[0], CASES[7], CASES[8])
GAPS = (1e-3, 1e-6, 1e-10, 1e-13)  # 1 − |rho|


def identify(case: object) -> str:
    return str(case[0]) + "".join(f"-{value}" for value in case[1].values()) if isinstance(case, tuple) else str(case)


def random_pairs(seed: int, count: int) -> list[Pair]:
    """Means in [−5, 5], stds in [1e-3, 10]; |rho| anywhere, a little below 1, and 1 to rounding and exactly."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(count):
        means, stds = rng.uniform(-5, 5, 2), 10 ** rng.uniform(-3, 1, 2)
        alike = rng.random()
        if alike < 0.25:
            stds[1], means[1] = stds[0], means[0]
        elif alike < 0.35:
            means[:] = 0.0
        stds = np.float64(np.float32(stds))  # squares and products are exact
        sign = rng.choice([-1.0, 1.0])
        match i % 8:
            case 0 | 1 | 2:
                rho = rng.uniform(-1, 1)
            case 7:
                rho = sign * (1 - rng.choice([0.0, 2.0**-53]))  # the latter: as inner products come out
            case kind:
                rho = sign * (1 - GAPS[kind - 3])
        pairs.append(Pair(*map(float, (stds[0] ** 2, stds[1] ** 2, rho * (stds[0] * stds[1]), *means))))
    return pairs


def evaluate(activation: et.Activation, quantity: str, pairs: list[Pair]) -> np.ndarray:
    return FUNCTIONS[quantity](activation, *np.array([pair.arguments for pair in pairs]).T).value


def tolerance(activation: et.Activation, quantity: str, pair: Pair, want: arb) -> arb:
    """Of the value 1e-13 of sqrt(E f(U)² E f(V)²), relative 1e-13 of the slope and 1e-12 of the covariance."""
    if quantity == "value":
        u, v = (
            arb(float(gaussian_moments(activation, mean, math.sqrt(variance)).second_moment))
            for mean, variance in ((pair.mean_u, pair.variance_u), (pair.mean_v, pair.variance_v))
        )
        return arb("1e-13") * (u * v).sqrt() + SMALLEST
    return (arb("1e-13") if quantity == "slope" else arb("1e-12")) * abs(want) + SMALLEST


def check(case: tuple[str, dict[str, float]], quantity: str, pairs: list[Pair]) -> None:
    """Within the bound; where that is not kept, of the bound and 4 rounding units of the arguments."""
    f, activation = oracle.pieces(case[0], **case[1]), et.activation(case[0], **case[1])
    for pair, got in zip(pairs, map(float, evaluate(activation, quantity, pairs)), strict=True):
        assert math.isfinite(got), (case, quantity, pair)
        want = pair_oracle.certified(f, quantity, pair)
        error, allowed = abs(arb(got) - want), tolerance(activation, quantity, pair, want)
        if not error <= allowed:
            allowed += 4 * EPS * pair_oracle.allowance(f, quantity, pair)
        assert error <= allowed, (case, quantity, pair, got, want.str(25))


# --- accuracy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantity", FUNCTIONS)
@pytest.mark.parametrize("case", CASES, ids=identify)
def test_certified_on_random_pairs(case: tuple[str, dict[str, float]], quantity: str) -> None:
    """Half of the kinds of `random_pairs`, the other half for the next quantity and the next case."""
    half = (CASES.index(case) + [*FUNCTIONS].index(quantity)) % 2
    check(case, quantity, random_pairs(sum(map(ord, identify(case) + quantity)), 8)[half::2])


@pytest.mark.parametrize("quantity", FUNCTIONS)
@pytest.mark.parametrize("name", pair_oracle.SMOOTH)
def test_smooth_activations_on_random_pairs(name: str, quantity: str) -> None:
    """Against the two-dimensional trapezoidal rule; relative to the scale, as it knows no more than doubles."""
    f = pair_oracle.SMOOTH[name]
    pairs = random_pairs(3 + sum(map(ord, name)), 8)
    for pair, got in zip(pairs, evaluate(et.activation(name), quantity, pairs), strict=True):
        want, scale = pair_oracle.smooth_expectation(f, quantity, pair)
        relative = 1e-12 if quantity == "covariance" else 1e-13
        assert abs(float(got) - want) <= relative * scale, (pair, float(got), want)


def with_correlation(rho_of: Callable[[float], float]) -> Iterator[Pair]:
    for variances, means in (
        ((1.0, 1.0), (0.0, 0.0)),
        ((0.25, 4.0), (0.3, -2.0)),
        ((2.0**-20, 64.0), (-5.0, 5.0)),
    ):
        root = math.sqrt(variances[0] * variances[1])  # exact
        yield Pair(*variances, rho_of(root), *means)


@pytest.mark.parametrize("quantity", FUNCTIONS)
@pytest.mark.parametrize("case", FEW, ids=identify)
def test_both_sides_of_correlation_one(case: tuple[str, dict[str, float]], quantity: str) -> None:
    """Exactly ±1, the sign by turns, and the next number of the other sign."""
    sign = (-1.0) ** (FEW.index(case) + [*FUNCTIONS].index(quantity))
    check(case, quantity, list(with_correlation(lambda root: sign * root)))
    check(case, quantity, list(with_correlation(lambda root: -sign * math.nextafter(root, 0))))


@pytest.mark.parametrize("case", FEW, ids=identify)
def test_both_sides_of_no_correlation_and_of_a_constant(case: tuple[str, dict[str, float]]) -> None:
    near = [*with_correlation(lambda _: 0.0), *with_correlation(lambda root: 1e-40 * root)]
    near += [Pair(variance, 1.0, 0.0, 0.25, -0.5) for variance in (0.0, 1e-300, 1e-30)]
    near += [Pair(1.0, variance, 0.5 * math.sqrt(variance), 0.25, -0.5) for variance in (1e-200, 1e-30)]
    check(case, "value", near)
    check(case, "slope", near)
    activation = et.activation(case[0], **case[1])
    for pair, got in zip(near, evaluate(activation, "covariance", near), strict=True):
        u, v = (
            gaussian_moments(activation, mean, math.sqrt(variance)).slope_mean
            for mean, variance in ((pair.mean_u, pair.variance_u), (pair.mean_v, pair.variance_v))
        )  # E f'(U)f'(V) at no correlation: a constant's distance from it is its standard deviation
        small = pair.covariance == 0 or abs(pair.covariance) < 1e-35
        want = pair.covariance * (u * v if small else float(evaluate(activation, "slope", [pair])[0]))
        assert float(got) == pytest.approx(want, rel=1e-12, abs=1e-305), pair


@pytest.mark.parametrize("quantity", FUNCTIONS)
@pytest.mark.parametrize("case", FEW, ids=identify)
def test_extremes(case: tuple[str, dict[str, float]], quantity: str) -> None:
    """Where both are almost surely on the other side of the kink, and where the standard deviations are far apart."""
    check(
        case,
        quantity,
        [
            Pair(0.0625, 0.0625, 0.0625, -3.0, -3.0),
            Pair(0.0625, 0.0625, 0.06, -3.0, -2.0),
            Pair(4.0, 2.0**-10, 0.0583, 0.75, -1.5),
            Pair(1.0, 1.0, -0.75, -4.0, -4.0),
            Pair(100.0, 1e-6, 0.00999, -5.0, -5.0),
            Pair(100.0, 1e-6, -0.0099999999999, 0.0, 1e-3),
        ],
    )


# --- the references agree with each other --------------------------------------------------------------------------


def midpoint(ball: arb) -> float:
    return float(ball.mid())


@pytest.mark.parametrize("quantity", ["value", "slope"])
@pytest.mark.parametrize("name", ["elu", "leaky_relu", "shifted_relu"])
def test_references_agree(name: str, quantity: str) -> None:
    """The certified reduction, mpmath's two-dimensional integral and the Mehler series."""
    f, order = oracle.pieces(name), int(quantity == "slope")
    for pair in (Pair(1.0, 4.0, 1.0, 0.5, -1.0), Pair(9.0, 0.25, -0.9, -1.0, 0.3)):
        want = midpoint(pair_oracle.certified(f, quantity, pair))
        series, bound = pair_oracle.mehler_expectation(f, order, pair)
        assert abs(float(series) - want) <= float(bound) + 4 * EPS * abs(want)
        assert bound < 1e-13
        if pair.covariance > 0:
            assert float(pair_oracle.polar_expectation(f, order, pair)) == pytest.approx(want, rel=1e-14)


def test_references_of_the_covariance_agree() -> None:
    """Subtraction at high precision against Price's theorem, K3."""
    for name, pair in (
        ("hard_tanh", Pair(1.0, 4.0, 1.0, 0.5, -1.0)),
        ("elu", Pair(1e-4, 1e-4, -6e-5, -2.0, -2.1)),
    ):
        f = oracle.pieces(name)
        want = midpoint(pair_oracle.certified(f, "covariance", pair))
        assert float(pair_oracle.price_covariance(f, pair)) == pytest.approx(want, rel=1e-14)


@pytest.mark.parametrize("name", pair_oracle.SMOOTH)
@pytest.mark.parametrize("quantity", FUNCTIONS)
def test_trapezoidal_rule_has_converged(name: str, quantity: str) -> None:
    f = pair_oracle.SMOOTH[name]
    for pair in (Pair(100.0, 100.0, 99.99, -5.0, 1.0), Pair(1e-4, 25.0, -0.02, 2.0, -3.0)):
        coarse, scale = pair_oracle.smooth_expectation(f, quantity, pair)
        assert abs(pair_oracle.smooth_expectation(f, quantity, pair, 1.3)[0] - coarse) <= 5e-15 * scale


@pytest.mark.parametrize("covariance", [-3.0, -1.0, 0.5, 2.999999, 3.0])
def test_arc_cosine_formula(covariance: float) -> None:
    pair = Pair(9.0, 1.0, covariance)
    assert dual_kernel("relu", *pair.arguments).value == pytest.approx(
        float(pair_oracle.arc_cosine(0, pair)), rel=1e-13
    )
    slope = dual_kernel_derivative("relu", *pair.arguments).value
    assert slope == pytest.approx(float(pair_oracle.arc_cosine(1, pair)), rel=1e-13)


# --- identities ----------------------------------------------------------------------------------------------------


ALL = (*CASES, *((name, {}) for name in ("identity", *pair_oracle.SMOOTH)))


@pytest.mark.parametrize("case", ALL, ids=identify)
def test_symmetric_in_the_two_variables(case: tuple[str, dict[str, float]]) -> None:
    activation, pairs = et.activation(case[0], **case[1]), random_pairs(11, 16)
    swapped = [pair.swapped for pair in pairs]
    scale = np.sqrt(
        [
            gaussian_moments(activation, p.mean_u, math.sqrt(p.variance_u)).second_moment
            * gaussian_moments(activation, p.mean_v, math.sqrt(p.variance_v)).second_moment
            for p in pairs
        ]
    )
    ours, theirs = evaluate(activation, "value", pairs), evaluate(activation, "value", swapped)
    assert np.all(np.abs(ours - theirs) <= 2e-13 * scale)
    for quantity in ("slope", "covariance"):
        np.testing.assert_allclose(
            evaluate(activation, quantity, pairs), evaluate(activation, quantity, swapped), rtol=1e-11, atol=1e-15
        )


@pytest.mark.parametrize("case", ALL, ids=identify)
def test_equal_arguments_give_the_moments(case: tuple[str, dict[str, float]]) -> None:
    activation = et.activation(case[0], **case[1])
    means, stds = np.array([-4.0, -0.7, 0.0, 0.6, 3.0]), np.array([0.5, 1e-3, 1.0, 7.0, 2.5])
    variances = stds * stds
    moments = gaussian_moments(activation, means, np.sqrt(variances))
    arguments = (activation, variances, variances, variances, means, means)
    np.testing.assert_allclose(dual_kernel(*arguments).value, moments.second_moment, rtol=2e-13)
    np.testing.assert_allclose(dual_kernel_derivative(*arguments).value, moments.slope_second_moment, rtol=2e-13)
    np.testing.assert_allclose(dual_covariance(*arguments).value, moments.variance, rtol=2e-12, atol=1e-300)


@pytest.mark.parametrize("case", ALL, ids=identify)
def test_uncorrelated_factorises(case: tuple[str, dict[str, float]]) -> None:
    activation = et.activation(case[0], **case[1])
    u, v = (gaussian_moments(activation, mean, std) for mean, std in ((-1.5, 2.0), (0.25, 0.5)))
    arguments = (activation, 4.0, 0.25, 0.0, -1.5, 0.25)
    scale = math.sqrt(u.second_moment * v.second_moment)
    assert dual_kernel(*arguments).value == pytest.approx(u.mean * v.mean, rel=0, abs=2e-13 * scale)
    assert dual_kernel_derivative(*arguments).value == pytest.approx(u.slope_mean * v.slope_mean, rel=2e-13)
    assert dual_covariance(*arguments).value == 0.0


@pytest.mark.parametrize("case", ALL, ids=identify)
def test_value_is_covariance_and_means(case: tuple[str, dict[str, float]]) -> None:
    activation, pairs = et.activation(case[0], **case[1]), random_pairs(12, 24)
    numbers = np.array([pair.arguments for pair in pairs]).T
    u, v = (gaussian_moments(activation, numbers[3 + i], np.sqrt(numbers[i])) for i in (0, 1))
    value = evaluate(activation, "covariance", pairs) + u.mean * v.mean
    scale = np.sqrt(u.second_moment * v.second_moment)
    assert np.all(np.abs(evaluate(activation, "value", pairs) - value) <= 2e-13 * scale + 1e-300)


def test_identity() -> None:
    pairs = random_pairs(13, 24)
    numbers = np.array([pair.arguments for pair in pairs]).T
    identity = et.activation("identity")
    np.testing.assert_allclose(evaluate(identity, "slope", pairs), 1.0, rtol=1e-13)
    np.testing.assert_allclose(evaluate(identity, "covariance", pairs), numbers[2], rtol=1e-12)


@pytest.mark.parametrize("quantity", FUNCTIONS)
def test_scaling(quantity: str) -> None:
    """relu(c x) = c relu(x); celu(x; alpha) = alpha elu(x/alpha). Powers of two leave the correlation as it is."""
    pairs = random_pairs(14, 24)
    power = 0 if quantity == "slope" else 2
    for outer, inner, factor in (
        (et.activation("relu"), et.activation("relu"), 4.0),
        (et.activation("celu", alpha=2.0), et.activation("elu"), 2.0),
    ):
        larger = [
            Pair(*(factor**2 * x for x in p.arguments[:3]), *(factor * x for x in p.arguments[3:])) for p in pairs
        ]
        ours, theirs = evaluate(outer, quantity, larger), factor**power * evaluate(inner, quantity, pairs)
        np.testing.assert_allclose(ours, theirs, rtol=3e-12, atol=1e-300)


@settings(derandomize=True)
@given(
    st.lists(st.lists(st.integers(-6, 6), min_size=3, max_size=3), min_size=2, max_size=6),
    st.integers(-8, 3),
    st.sampled_from([-3.0, 0.0, 0.5]),
    st.sampled_from(["elu", "relu", "shifted_relu", "hard_tanh"]),
)
def test_gram_matrices_stay_positive_semidefinite(rows: list[list[int]], exponent: int, mean: float, name: str) -> None:
    """Small integers times a power of two: the Gram matrix is exact, duplicates and opposites included."""
    data = np.array(rows) * 2.0**exponent
    gram = data @ data.T
    variances = np.diag(gram)
    for function in FUNCTIONS.values():
        kernel = function(name, variances[:, None], variances, gram, mean, mean).value
        diagonal = np.diag(kernel)
        limit = np.sqrt(diagonal[:, None]) * np.sqrt(diagonal)
        assert np.all(np.abs(kernel) <= limit * (1 + 1e-12))
        assert np.linalg.eigvalsh((kernel + kernel.T) / 2)[0] >= -32 * len(rows) * EPS * diagonal.max()


def test_rounded_gram_matrices_stay_positive_semidefinite() -> None:
    """Inner products as BLAS forms them: |correlation| of a row with its multiples is 1 only to rounding."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((20, 300))
    data = np.concatenate([data, 3.7 * data, -0.1 * data])
    gram = data @ data.T
    variances = np.diag(gram)
    for dtype in (np.float64, np.float32):
        kernel = dual_kernel("elu", *(x.astype(dtype) for x in (variances[:, None], variances, gram))).value
        low = np.linalg.eigvalsh(kernel.astype(np.float64))[0]
        assert low >= -32 * len(data) * np.finfo(dtype).eps * kernel.max()


# --- a user's own activation ---------------------------------------------------------------------------------------


BENDS = (  # e to 40 digits
    oracle._piece(None, -1.0, a=-2.0, c="2.7182818284590452353602874713526624977572", k=1.0),
    oracle._piece(-1.0, 1.0, b=1.0),
    oracle._piece(1.0, None, a=-1.0, b=2.0),
)


@pytest.mark.parametrize(
    ("text", "pieces", "quantities"),
    [
        (
            "where(x > 1, 2*x - 1, where(x > -1, x, exp(x + 1) - 2))",
            BENDS,
            FUNCTIONS,
        ),
        (
            "where(x > 0.5, x + 1, where(x > -1, x, -2))",
            (
                oracle._piece(None, -1.0, a=-2.0),
                oracle._piece(-1.0, 0.5, b=1.0),
                oracle._piece(0.5, None, a=1.0, b=1.0),
            ),
            ("value",),
        ),
    ],
    ids=["kinks", "jumps"],
)
def test_kinks_and_jumps_of_a_users_activation(
    text: str, pieces: tuple[oracle.Piece, ...], quantities: tuple[str, ...]
) -> None:
    activation = et.Activation.from_text(text)
    pairs = [
        Pair(1.0, 1.0, 0.5),
        Pair(4.0, 0.25, -0.9, -1.0, 0.5),
        Pair(1.0, 1.0, 1.0),
        Pair(1.0, 1.0, 0.9, -1.0, -1.0),
        Pair(0.0, 1.0, 0.0, 0.25, 1.0),
    ]
    for quantity in quantities:
        for pair, got in zip(pairs, evaluate(activation, quantity, pairs), strict=True):
            want = midpoint(pair_oracle.certified(pieces, quantity, pair))
            assert float(got) == pytest.approx(want, rel=1e-11, abs=1e-12), (quantity, pair)


@pytest.mark.parametrize("gap", [1e-6, 1e-13])
def test_bends_of_a_users_slope_next_to_correlation_one(gap: float) -> None:
    """f' bends at −1 without a jump, where both means are: sharp in E[f'(V) | U], and not to be refused."""
    text, pieces = "where(x > 1, 2*x - 1, where(x > -1, x, exp(x + 1) - 2))", BENDS
    pairs = [Pair(1.0, 1.0, sign * (1.0 - gap), -1.0, -1.0) for sign in (1.0, -1.0)]
    for quantity in FUNCTIONS:
        for pair, got in zip(pairs, evaluate(et.Activation.from_text(text), quantity, pairs), strict=True):
            want = midpoint(pair_oracle.certified(pieces, quantity, pair))
            assert float(got) == pytest.approx(want, rel=1e-12 if quantity == "covariance" else 1e-13), (quantity, pair)


def test_what_quadrature_cannot_resolve_is_refused() -> None:
    for function in FUNCTIONS.values():
        with pytest.raises(InputError, match="sin"):
            function(et.Activation.from_text("sin(1000*x)"), 2500.0, 2500.0, 1250.0, 0.3, 0.3)


# --- torch and float32 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantity", FUNCTIONS)
@pytest.mark.parametrize("case", [*CASES, ("tanh", {}), ("gelu", {})], ids=identify)
def test_torch_agrees_with_numpy(case: tuple[str, dict[str, float]], quantity: str) -> None:
    activation, pairs = et.activation(case[0], **case[1]), random_pairs(5, 24)
    tensors = [torch.tensor(column) for column in np.array([pair.arguments for pair in pairs]).T]
    ours = FUNCTIONS[quantity](activation, *tensors)
    assert ours.value.dtype == torch.float64
    assert not ours.value.requires_grad
    want = evaluate(activation, quantity, pairs)
    np.testing.assert_allclose(ours.value.numpy(), want, rtol=4e-12, atol=1e-14)


@pytest.mark.parametrize("quantity", FUNCTIONS)
def test_float32(quantity: str) -> None:
    """float32 in, float32 out: the float64 result for the same numbers, rounded."""
    pairs = [
        pair
        for pair in random_pairs(6, 48)
        if abs(pair.covariance) < 0.9 * math.sqrt(pair.variance_u * pair.variance_v)
    ]
    numbers = np.array([pair.arguments for pair in pairs]).T.astype(np.float32)
    want = FUNCTIONS[quantity]("elu", *numbers.astype(np.float64)).value
    ours = FUNCTIONS[quantity]("elu", *numbers).value
    theirs = FUNCTIONS[quantity]("elu", *map(torch.tensor, numbers)).value
    assert ours.dtype == np.float32
    assert theirs.dtype == torch.float32
    np.testing.assert_allclose(ours, want, rtol=2.0**-23)
    np.testing.assert_allclose(theirs.numpy(), want, rtol=2.0**-23)


@pytest.mark.parametrize("quantity", FUNCTIONS)
@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("elu", Pair(1.0, 4.0, 1.0, 0.5, -1.0)),
        ("elu", Pair(1.0, 1.0, 1.0 - 1e-6)),
        ("shifted_relu", Pair(0.01, 9.0, -0.2, -1.2, 1.0)),
    ],
    ids=str,
)
def test_gradients_are_certified(name: str, pair: Pair, quantity: str) -> None:
    """Against difference quotients of the certified values."""
    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in pair.arguments]
    value = FUNCTIONS[quantity](name, *tensors).value
    got = torch.autograd.grad(value, tensors, allow_unused=True, materialize_grads=True)
    want = [midpoint(x) for x in pair_oracle.gradient(oracle.pieces(name), quantity, pair)]
    scale = max(map(abs, want))
    for ours, certified in zip(got, want, strict=True):
        assert float(ours) == pytest.approx(certified, rel=1e-10, abs=1e-12 * scale)


@pytest.mark.parametrize("case", [*FEW, ("relu", {}), ("tanh", {}), ("gelu", {})], ids=identify)
def test_price(case: tuple[str, dict[str, float]]) -> None:
    """K3's root: the derivative of E f(U) f(V), and of the covariance, by the covariance is E f'(U) f'(V)."""
    activation = et.activation(case[0], **case[1])
    columns = [torch.tensor(x) for x in np.array([pair.arguments for pair in random_pairs(7, 24)]).T]
    inside = torch.abs(columns[2]) < 0.9999 * torch.sqrt(columns[0] * columns[1])
    columns = [column[inside] for column in columns]
    columns[2].requires_grad_()
    want = dual_kernel_derivative(activation, *columns).value.detach()
    for function in (dual_kernel, dual_covariance):
        (gradient,) = torch.autograd.grad(function(activation, *columns).value.sum(), columns[2])
        np.testing.assert_allclose(gradient.numpy(), want.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("quantity", FUNCTIONS)
@pytest.mark.parametrize("case", [*FEW, ("tanh", {})], ids=identify)
def test_gradcheck(case: tuple[str, dict[str, float]], quantity: str) -> None:
    activation = et.activation(case[0], **case[1])
    columns = [
        torch.tensor(column, dtype=torch.float64, requires_grad=True)
        for column in ([1.0, 0.5], [2.0, 0.25], [0.7, -0.2], [0.1, -1.0], [-0.4, 0.3])
    ]
    assert torch.autograd.gradcheck(lambda *x: FUNCTIONS[quantity](activation, *x).value, columns, eps=1e-5, atol=1e-8)


# --- the entry for angles ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [1e-20, 1e-9, 0.3, math.pi / 2])
def test_angles_below_the_rounding_of_the_correlation(angle: float) -> None:
    """E[f'f'] at zero means and a tiny angle t: `E f'² − J² t/(2 pi)`, J the jump of f' at 0 (relu: at every angle)."""
    cosine, sine = math.cos(angle), math.sin(angle)
    arrays = [np.array([x]) for x in (0.0, 0.0, 1.5, 1.5, cosine, sine)]
    relu = pair_expectation(et.activation("relu"), 1, *arrays)
    assert float(relu[0]) == pytest.approx((math.pi - angle) / (2 * math.pi), rel=1e-13)
    elu = et.activation("elu", alpha=0.5)
    slope = float(pair_expectation(elu, 1, *arrays)[0])
    if angle < 1e-8:
        want = gaussian_moments(elu, 0.0, 1.5).slope_second_moment - 0.25 * angle / (2 * math.pi)
        assert slope == pytest.approx(want, rel=1e-13)
    value = float(pair_expectation(elu, 0, *arrays)[0])
    with oracle.precision(160):
        at = pair_oracle.Angles(arb(0), arb(0), arb(1.5), arb(1.5), (1 - arb(sine) ** 2).sqrt(), arb(sine))
        at = at if angle < 1.5 else pair_oracle.Angles(arb(0), arb(0), arb(1.5), arb(1.5), arb(cosine), arb(sine))
        f = oracle.pieces("elu", alpha=0.5)
        assert value == pytest.approx(midpoint(pair_oracle.expectation_at(f, 0, at)), rel=1e-13)
        assert slope == pytest.approx(midpoint(pair_oracle.expectation_at(f, 1, at)), rel=1e-13)


# --- both sides of every switch between rules -----------------------------------------------------------------------


def rule(name: str, numbers: dict[str, float]) -> object:
    """Which panels `numbers` get, or that none are needed."""
    form = closed_form(et.activation(name))
    assert form is not None
    pair = PairArguments(*angle_arguments(numbers))
    if applies(form, pair)[0]:
        return "closed form"
    return next(layouts(form, pair))[0]


def angle_arguments(numbers: dict[str, float]) -> list[np.ndarray]:
    """mean_u, mean_v, std_u, std_v, cosine, sine; `ratio` is sine/cosine, negative for a negative cosine."""
    at = {"mean_u": 0.25, "mean_v": -0.5, "std_u": 1.0, "std_v": 1.0, "ratio": 0.75} | numbers
    angle = math.atan2(abs(at["ratio"]), math.copysign(1.0, at["ratio"]))
    columns = (at["mean_u"], at["mean_v"], at["std_u"], at["std_v"], math.cos(angle), math.sin(angle))
    return [np.array([x]) for x in columns]


SWITCHES = [
    *(
        (name, {"mean_u": mean}, "ratio", start, stop)
        for name, mean in (("elu", 0.0), ("elu", 0.25), ("leaky_relu", 0.25))
        for start, stop in ((0.9, 1.2), (-0.9, -1.2), (0.5, 0.7), (0.2, 0.4))
    ),
    ("elu", {}, "std_u", 1.8, 2.2),
    ("elu", {"ratio": -0.75}, "std_u", 1.8, 2.2),
    ("elu", {}, "std_v", 1.8, 2.2),
    ("elu", {"std_u": 1.9, "ratio": 0.01}, "mean_u", -0.5, -4.0),
    ("elu", {"std_u": 1.9, "std_v": 1.9, "ratio": 0.01, "mean_u": -1.0}, "mean_v", 0.0, -5.0),
    ("elu", {}, "mean_u", 0.0, 0.1),
    ("leaky_relu", {}, "mean_u", 2.5, 3.5),
    ("leaky_relu", {}, "mean_v", -2.5, -3.5),
    ("shifted_relu", {}, "mean_u", 1.5, 2.5),
    ("hard_tanh", {"mean_v": 0.5}, "mean_u", 1.5, 2.5),
    ("relu", {"mean_v": 0.0}, "mean_u", 0.0, 0.1),
    ("leaky_relu", {"mean_u": 0.0}, "mean_v", 0.0, -0.1),
]


@pytest.mark.parametrize(("name", "numbers", "moved", "start", "stop"), SWITCHES)
def test_both_sides_of_a_switch(name: str, numbers: dict[str, float], moved: str, start: float, stop: float) -> None:
    """Bisection finds the two neighbouring numbers that are treated differently: both against the certified value."""
    first = rule(name, numbers | {moved: start})
    while (middle := 0.5 * (start + stop)) not in (start, stop):
        if rule(name, numbers | {moved: middle}) == first:
            start = middle
        else:
            stop = middle
    sides = [angle_arguments(numbers | {moved: x}) for x in (start, stop)]
    assert rule(name, numbers | {moved: stop}) != first
    f, activation = oracle.pieces(name), et.activation(name)
    with oracle.precision(128):
        at = pair_oracle.Angles(*(arb(float(x[0])) for x in sides[0]))
        value, slope = (midpoint(pair_oracle.expectation_at(f, order, at)) for order in (0, 1))
    scale = math.sqrt(
        math.prod(
            float(gaussian_moments(activation, float(mean[0]), float(std[0])).second_moment)
            for mean, std in (sides[0][0:3:2], sides[0][1:4:2])
        )
    )
    for side in sides:
        assert abs(float(pair_expectation(activation, 0, *side)[0]) - value) <= 1e-13 * scale
        assert float(pair_expectation(activation, 1, *side)[0]) == pytest.approx(slope, rel=1e-13)


@pytest.mark.parametrize("std_v", [4.0, math.nextafter(4.0, 5.0)])
@pytest.mark.parametrize("mean", [-3.0, 0.5])
def test_both_sides_of_the_switch_between_forms_of_the_conditional_slope(mean: float, std_v: float) -> None:
    """At std_v sine = 2."""
    cosine = math.sqrt(0.75)
    f, activation = oracle.pieces("elu"), et.activation("elu")
    got = pair_expectation(activation, 1, *(np.array([x]) for x in (mean, mean, 1.0, std_v, cosine, 0.5)))
    with oracle.precision(128):
        at = pair_oracle.Angles(arb(mean), arb(mean), arb(1.0), arb(std_v), arb(cosine), arb(0.5))
        assert float(got[0]) == pytest.approx(midpoint(pair_oracle.expectation_at(f, 1, at)), rel=1e-13)


# --- limits, shapes, errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["elu", "relu", "hard_tanh", "tanh", "shifted_relu"])
def test_zero_variance_is_a_constant(name: str) -> None:
    f = et.activation(name)
    v = gaussian_moments(f, 0.5, 2.0)
    assert dual_kernel(f, 0.0, 4.0, 0.0, -0.3, 0.5).value == pytest.approx(float(f(-0.3)) * v.mean, rel=1e-13)
    slope = dual_kernel_derivative(f, 0.0, 4.0, 0.0, -0.3, 0.5).value
    assert slope == pytest.approx(float(f.derivative(-0.3)) * v.slope_mean, rel=1e-13)
    assert dual_covariance(f, 0.0, 4.0, 0.0, -0.3, 0.5).value == 0.0
    both = dual_kernel(f, 0.0, 0.0, 0.0, -0.3, 0.75).value
    assert both == pytest.approx(float(f(-0.3)) * float(f(0.75)), rel=1e-13)
    assert dual_kernel_derivative(f, 0, 0, 0, 0, 0).value == pytest.approx(float(f.derivative(0.0)) ** 2, rel=1e-13)


@pytest.mark.parametrize("quantity", FUNCTIONS)
def test_shapes_and_kinds(quantity: str) -> None:
    function = FUNCTIONS[quantity]
    result = function("elu", np.ones((3, 1)), np.ones(4), 0.5)
    assert isinstance(result, DualKernel)
    assert result.value.shape == (3, 4)
    assert isinstance(function("elu", 1, 1, 0).value, np.float64)
    assert function("elu", 1.0, 1.0, np.float32(0.5)).value.dtype == np.float32
    assert function("elu", np.ones(2, np.float32), np.ones(2), 0.5).value.dtype == np.float64
    for name in ("elu", "tanh"):
        assert function(name, np.zeros((0, 3)), 1.0, 0.0).value.shape == (0, 3)
        assert function(name, torch.zeros((0, 3)), 1.0, 0.0).value.shape == (0, 3)
    assert function("elu", torch.ones(2, 1), 1, torch.zeros(3)).value.shape == (2, 3)
    assert function("elu", torch.tensor([1, 2]), 1, 0).value.dtype == torch.float32
    many = np.linspace(-1, 1, 3001)  # several chunks, each pair on its own
    together = function("elu", 1.0, 1.0, many).value
    assert together[[0, 1700, -1]].tolist() == [function("elu", 1.0, 1.0, many[i]).value for i in (0, 1700, -1)]


@pytest.mark.parametrize("name", ["elu", "relu", "hard_tanh", "identity"])
def test_method_names_a_closed_form_or_one_dimensional_rule(name: str) -> None:
    for function in FUNCTIONS.values():
        method = function(name, 1.0, 2.0, 0.5, 0.3, 0.1).method
        assert method.startswith(("closed form", "one-dimensional"))
        assert method == function(name, torch.tensor(1.0), 2.0, 0.5, 0.3, 0.1).method


def test_method_names_mehlers_series_with_its_error() -> None:
    for function in FUNCTIONS.values():
        assert re.fullmatch(
            r"Mehler's series, estimated relative error \de-1\d", function("tanh", 1.0, 2.0, 0.5).method
        )


def test_method_names_nested_quadrature() -> None:
    assert dual_kernel(et.Activation.from_text("where(x > 0, x, tanh(x))"), 1.0, 2.0, 0.5).method.startswith("nested")


ONES = np.ones(3)


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ((1.0, 1.0, 1.001), ("covariance", "1.001")),
        ((1.0, 1.0, -1.0 - 1e-12), ("covariance", "-1.000000000001")),
        ((1.0, 1.0, 1e300), ("covariance", "1e+300")),
        ((1e-300, 1e-300, 1.0), ("covariance", "1e-300")),
        ((0.0, 1.0, 1e-3), ("covariance", "0.001")),
        ((-1.0, 1.0, 0.0), ("variance_u", "-1.0")),
        ((ONES, np.array([1.0, 1.0, -2.0]), 0.0), ("variance_v", "2", "-2.0")),
        ((1.0, math.nan, 0.0), ("variance_v", "nan")),
        ((math.inf, 1.0, 0.0), ("variance_u", "inf")),
        ((1.0, 1.0, math.nan), ("covariance", "nan")),
        ((1.0, 1.0, 0.0, math.nan), ("mean_u", "nan")),
        ((1.0, 1.0, 0.0, 0.0, math.inf), ("mean_v", "inf")),
        ((ONES[:, None], ONES, np.array([[0, 0, 0], [0, 3.0, 0], [0, 0, 3.0]])), ("(1, 1)", "3.0")),
        ((torch.ones(2), 1.0, torch.tensor([0.0, 2.0])), ("pair 1", "2.0")),
        ((torch.tensor(-1.0), 1.0, 0.0), ("variance_u", "-1.0")),
        (("1", 1.0, 0.0), ("variance_u", "str")),
        ((1.0, True, 0.0), ("variance_v", "bool")),
        ((1.0, 1.0, 1j), ("covariance", "complex")),
        ((1.0, 1.0, [0.0]), ("covariance", "list")),
        ((np.ones(2, np.float16), np.float16(1), np.float16(0)), ("float16",)),
        ((ONES, np.ones(2), 0.0), ("(3,)", "(2,)", "broadcast")),
        ((torch.ones(3), torch.ones(2), 0.0), ("(3,)", "(2,)", "broadcast")),
        ((torch.ones(3), ONES, 0.0), ("variance_v", "ndarray")),
    ],
    ids=str,
)
def test_errors(arguments: tuple[object, ...], fragments: tuple[str, ...]) -> None:
    for name in ("elu", "tanh"):
        for function in FUNCTIONS.values():
            with pytest.raises(InputError) as caught:
                function(name, *arguments)
            message = str(caught.value)
            assert all(fragment in message for fragment in fragments), message
            assert message.endswith(".")
            assert "\n" not in message


def test_correlation_one_up_to_rounding_is_one() -> None:
    for function in FUNCTIONS.values():
        for dtype in (np.float64, np.float32):
            one = dtype(1.0)
            above = one + 4 * np.finfo(dtype).eps
            assert function("elu", one, one, above).value == function("elu", one, one, one).value
            assert function("elu", one, one, -above).value == function("elu", one, one, -one).value


def test_symbolic_activations_and_derivatives_of_jumps_are_refused() -> None:
    symbolic = et.activation("elu", alpha=sympy.Symbol("alpha", positive=True))
    for function in FUNCTIONS.values():
        with pytest.raises(InputError, match="has the symbolic parameter alpha; give it a number"):
            function(symbolic, 1.0, 1.0, 0.5)
    step = et.Activation.from_text("where(x > 0, 1, 0)")
    for function in (dual_kernel_derivative, dual_covariance):
        with pytest.raises(InputError, match="jump"):
            function(step, 1.0, 1.0, 0.5)
    quadrant = dual_kernel(step, 1.0, 1.0, 0.5).value
    assert quadrant == pytest.approx(1 / 3, rel=1e-13)  # 1/4 + asin(1/2)/(2 pi)


@pytest.mark.parametrize("covariance", [0.0, 1e-300, 1e-17, -6e-17, 1e-12, -1e-3])
def test_odd_activation_next_to_correlation_zero(covariance: float) -> None:
    # K4: tanh is odd, so E ff = a_1² rho + a_3² rho³ + …, where a_1 = E f' for unit variance (M5).
    slope = float(gaussian_moments("tanh", 0.0, 1.0).slope_mean)
    size = float(gaussian_moments("tanh", 0.0, 1.0).second_moment)
    value = dual_kernel("tanh", 1.0, 1.0, covariance).value
    assert value == pytest.approx(slope**2 * covariance, rel=abs(covariance) ** 2, abs=1e-13 * size)
    assert dual_covariance("tanh", 1.0, 1.0, covariance).value == pytest.approx(slope**2 * covariance, rel=1e-6)


@pytest.mark.parametrize("name", ["elu", "selu", "celu"])
@pytest.mark.parametrize("std", [2.0, 5.0, 10.0, 20.0])
def test_slope_of_equal_steep_arguments(name: str, std: float) -> None:
    # Reference: gaussian_moments, certified in test_moments; f' decays within a small part of the standard deviation.
    slope = dual_kernel_derivative(name, std**2, std**2, std**2).value
    assert slope == pytest.approx(gaussian_moments(name, 0.0, std).slope_second_moment, rel=1e-14)
