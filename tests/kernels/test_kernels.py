"""Dual kernels against certified references (pair_oracle.py): the whole accuracy box, edges, gradients, errors.

The certified values are data (pair_records.json); the exhaustive tests compute a sample of them again, and others.
"""

import math
import re
from collections.abc import Callable

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
from elutheory.kernels.expectations import pair_cost, pair_expectation
from elutheory.kernels.exponential_half_lines import half_lines, within_reach
from elutheory.kernels.pairs import PairArguments
from elutheory.kernels.quadrature import closed_rule
from elutheory.moments import gaussian_moments
from elutheory.moments.closed_forms import closed_form
from elutheory.moments.closed_forms.exponential_linear import ExponentialLinear
from tests.references import oracle, pair_oracle, pair_records
from tests.references.pair_oracle import Pair
from tests.references.pair_records import (
    CASES,
    EPS,
    FEW,
    FUNCTIONS,
    Case,
    Record,
    identify,
    random_pairs,
    records,
    wide_pairs,
)


def evaluate(activation: et.Activation, quantity: str, pairs: list[Pair]) -> np.ndarray:
    return FUNCTIONS[quantity](activation, *np.array([pair.arguments for pair in pairs]).T).value


# --- accuracy ------------------------------------------------------------------------------------------------------


CERTIFIED = (
    "random",
    "correlation one",
    "uncorrelated",
    "extremes",
    "conditional slope",
    "small angles",
    "worst",
    "twelve decades",
)


@pytest.mark.parametrize("record", [pytest.param(r, id=f"{name}-{r}") for name in CERTIFIED for r in records(name)])
def test_certified(record: Record) -> None:
    """Within the bound; where that is not kept, of the bound and 4 rounding units of the arguments."""
    activation = record.function
    found = pair_records.evaluate(activation, record.quantity, record.numbers)
    for numbers, got, want, allowance in zip(record.numbers, found, record.want, record.allowance, strict=True):
        bound = pair_records.tolerance(activation, record.quantity, numbers, want) + 4 * EPS * allowance
        assert abs(float(got) - want) <= bound, (numbers, float(got), want)


@pytest.mark.exhaustive
@pytest.mark.parametrize("point_set", [name for name in pair_records.POINT_SETS if name != "gradients"])
def test_records_are_what_the_oracle_says(point_set: str) -> None:
    """One pair of every third record."""
    for i, record in enumerate(records(point_set)):
        if i % 3 == 0:
            row = i // 3 % len(record.numbers)
            case = (record.activation, record.parameters)
            want = pair_records.certified(case, record.quantity, record.numbers[row])
            assert record.want[row] == pytest.approx(want, rel=4 * EPS)


@pytest.mark.exhaustive
@pytest.mark.parametrize("quantity", FUNCTIONS)
@pytest.mark.parametrize("case", CASES, ids=identify)
@pytest.mark.parametrize("draw", [random_pairs, wide_pairs])
def test_certified_on_other_random_pairs(case: Case, quantity: str, draw: Callable[[int, int], list[Pair]]) -> None:
    f, activation = oracle.pieces(case[0], **case[1]), et.activation(case[0], **case[1])
    pairs = draw(1 + sum(map(ord, identify(case) + quantity)), 8)
    for pair, got in zip(pairs, evaluate(activation, quantity, pairs), strict=True):
        want = float(pair_oracle.certified(f, quantity, pair).mid())
        error, bound = abs(float(got) - want), pair_records.tolerance(activation, quantity, [*pair.arguments], want)
        if error > bound:
            bound += 4 * EPS * float(pair_oracle.allowance(f, quantity, pair).mid())
        assert error <= bound, (pair, float(got), want)


def half_line_pairs(count: int, seed: int) -> PairArguments:
    """Standard deviations from 0.03 to 8, means up to 8 of them away, 1 − |correlation| from 1e-14 to 1."""
    rng = np.random.default_rng(seed)
    std_u, std_v = 10.0 ** rng.uniform(-1.5, 0.9, (2, count))
    mean_u, mean_v = rng.uniform(-1, 1, (2, count)) * rng.choice([0.0, 1.0, 3.0, 8.0], (2, count))
    gap = np.where(rng.random(count) < 0.5, rng.uniform(0, 1, count), 10.0 ** rng.uniform(-14, 0, count))
    cosine = rng.choice([-1.0, 1.0], count) * (1.0 - gap)
    return PairArguments(mean_u * std_u, mean_v * std_v, std_u, std_v, cosine, np.sqrt(gap * (2.0 - gap)))


@pytest.mark.parametrize("case", [case for case in CASES if "elu" in case[0] and "relu" not in case[0]], ids=identify)
def test_quadrants_and_the_integral_agree(case: Case) -> None:
    """Two routes that share no sum; of many pairs the first is accurate, and says so."""
    form = closed_form(et.activation(case[0], **case[1]))
    assert isinstance(form, ExponentialLinear)
    pairs = half_line_pairs(2000, 5)
    pairs = pairs[np.flatnonzero(within_reach(form, pairs))]
    found = half_lines(form, tuple(FUNCTIONS), pairs)
    for quantity, (value, accurate), integral in zip(
        FUNCTIONS, found, closed_rule(form, tuple(FUNCTIONS), pairs), strict=True
    ):
        assert accurate.mean() > 0.3, quantity
        size = abs(integral)
        if quantity == "value":
            roots = [
                np.sqrt(form.moments(mean, std)[1])
                for mean, std in ((pairs.mean_u, pairs.std_u), (pairs.mean_v, pairs.std_v))
            ]
            size = roots[0] * roots[1]
        error = (abs(value - integral) / size)[accurate].max()
        assert error <= (1e-12 if quantity == "covariance" else 1e-13), (quantity, error)


@pytest.mark.exhaustive
@pytest.mark.parametrize("quantity", FUNCTIONS)
@pytest.mark.parametrize("case", [("elu", {}), ("selu", {}), ("elu", {"alpha": 0.3})], ids=identify)
def test_quadrants_are_certified(case: Case, quantity: str) -> None:
    f, activation = oracle.pieces(case[0], **case[1]), et.activation(case[0], **case[1])
    columns = half_line_pairs(24, 11).columns
    mean_u, mean_v, std_u, std_v, cosine, _ = (np.float64(np.float32(column)) for column in columns)
    pairs = [
        Pair(*map(float, row)) for row in zip(std_u**2, std_v**2, cosine * (std_u * std_v), mean_u, mean_v, strict=True)
    ]
    for pair, got in zip(pairs, evaluate(activation, quantity, pairs), strict=True):
        want = float(pair_oracle.certified(f, quantity, pair).mid())
        error, bound = abs(float(got) - want), pair_records.tolerance(activation, quantity, [*pair.arguments], want)
        if error > bound:
            bound += 4 * EPS * float(pair_oracle.allowance(f, quantity, pair).mid())
        assert error <= bound, (pair, float(got), want)


@pytest.mark.parametrize("quantity", FUNCTIONS)
@pytest.mark.parametrize("name", pair_oracle.SMOOTH)
def test_smooth_activations_on_random_pairs(name: str, quantity: str) -> None:
    """Against the two-dimensional trapezoidal rule; relative to the scale, as it knows no more than doubles."""
    f = pair_oracle.SMOOTH[name]
    half = ([*pair_oracle.SMOOTH].index(name) + [*FUNCTIONS].index(quantity)) % 2
    pairs = random_pairs(3 + sum(map(ord, name)), 8)[half::2]
    for pair, got in zip(pairs, evaluate(et.activation(name), quantity, pairs), strict=True):
        want, scale = pair_oracle.smooth_expectation(f, quantity, pair)
        relative = 1e-12 if quantity == "covariance" else 1e-13
        assert abs(float(got) - want) <= relative * scale, (pair, float(got), want)


@pytest.mark.parametrize("case", FEW, ids=identify)
def test_covariance_on_both_sides_of_no_correlation_and_of_a_constant(case: Case) -> None:
    activation, near = et.activation(case[0], **case[1]), pair_records.almost_uncorrelated()
    for pair, got in zip(near, evaluate(activation, "covariance", near), strict=True):
        u, v = (
            gaussian_moments(activation, mean, math.sqrt(variance)).slope_mean
            for mean, variance in ((pair.mean_u, pair.variance_u), (pair.mean_v, pair.variance_v))
        )  # E f'(U)f'(V) at no correlation: a constant's distance from it is its standard deviation
        small = pair.covariance == 0 or abs(pair.covariance) < 1e-35
        want = pair.covariance * (u * v if small else float(evaluate(activation, "slope", [pair])[0]))
        assert float(got) == pytest.approx(want, rel=1e-12, abs=1e-305), pair


@pytest.mark.parametrize("std", [1e20, 1e100, 1e153])
def test_far_out_a_ramp_is_a_step(std: float) -> None:
    """E sign(U) sign(V) = 2/π asin ρ."""
    variance = std * std
    for correlation, want in ((0.5, 1 / 3), (-0.5, -1 / 3), (1.0, 1.0), (0.0, 0.0)):
        value = dual_kernel("hard_tanh", variance, variance, correlation * variance).value
        assert value == pytest.approx(want, rel=1e-13, abs=1e-13)


# --- the references agree with each other --------------------------------------------------------------------------


def midpoint(ball: arb) -> float:
    return float(ball.mid())


@pytest.mark.exhaustive
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


@pytest.mark.exhaustive
def test_references_of_the_covariance_agree() -> None:
    """Subtraction at high precision against Price's theorem, K3."""
    for name, pair in (
        ("hard_tanh", Pair(1.0, 4.0, 1.0, 0.5, -1.0)),
        ("elu", Pair(1e-4, 1e-4, -6e-5, -2.0, -2.1)),
    ):
        f = oracle.pieces(name)
        want = midpoint(pair_oracle.certified(f, "covariance", pair))
        assert float(pair_oracle.price_covariance(f, pair)) == pytest.approx(want, rel=1e-14)


@pytest.mark.exhaustive
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


@pytest.mark.parametrize("case", [case for case in ALL if case not in CASES], ids=identify)
def test_symmetric_in_the_two_variables(case: Case) -> None:
    """By quadrature; every closed form: `test_exchanged_to_the_bit_over_twelve_decades`."""
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


@pytest.mark.parametrize("quantity", FUNCTIONS)
@pytest.mark.parametrize("case", CASES, ids=identify)
def test_exchanged_to_the_bit_over_twelve_decades(case: Case, quantity: str) -> None:
    """Of what has a closed form; and torch finds what numpy finds."""
    activation, pairs = et.activation(case[0], **case[1]), wide_pairs(17, 100)
    found = evaluate(activation, quantity, pairs)
    assert np.all(np.isfinite(found))
    assert found.tolist() == evaluate(activation, quantity, [pair.swapped for pair in pairs]).tolist()
    columns = np.array([pair.arguments for pair in pairs]).T
    tensors = FUNCTIONS[quantity](activation, *map(torch.tensor, columns)).value.numpy()
    scale = np.abs(found)
    if quantity == "value":
        stds = np.sqrt(columns[:2])
        moments = [gaussian_moments(activation, columns[3 + i], stds[i]).second_moment for i in (0, 1)]
        scale = np.sqrt(moments[0]) * np.sqrt(moments[1])
    # of a steep pair the two libraries' roundings of exp differ by what rounding its arguments does
    relative = 1e-12 if quantity == "covariance" else 1e-13
    assert np.all(np.abs(tensors - found) <= relative * scale + 1e-300)


@pytest.mark.parametrize("case", ALL, ids=identify)
def test_equal_arguments_give_the_moments(case: Case) -> None:
    activation = et.activation(case[0], **case[1])
    means, stds = np.array([-4.0, -0.7, 0.0, 0.6, 3.0]), np.array([0.5, 1e-3, 1.0, 7.0, 2.5])
    variances = stds * stds
    moments = gaussian_moments(activation, means, np.sqrt(variances))
    arguments = (activation, variances, variances, variances, means, means)
    np.testing.assert_allclose(dual_kernel(*arguments).value, moments.second_moment, rtol=2e-13)
    np.testing.assert_allclose(dual_kernel_derivative(*arguments).value, moments.slope_second_moment, rtol=2e-13)
    np.testing.assert_allclose(dual_covariance(*arguments).value, moments.variance, rtol=2e-12, atol=1e-300)


@pytest.mark.parametrize("case", ALL, ids=identify)
def test_uncorrelated_factorises(case: Case) -> None:
    activation = et.activation(case[0], **case[1])
    u, v = (gaussian_moments(activation, mean, std) for mean, std in ((-1.5, 2.0), (0.25, 0.5)))
    arguments = (activation, 4.0, 0.25, 0.0, -1.5, 0.25)
    scale = math.sqrt(u.second_moment * v.second_moment)
    assert dual_kernel(*arguments).value == pytest.approx(u.mean * v.mean, rel=0, abs=2e-13 * scale)
    assert dual_kernel_derivative(*arguments).value == pytest.approx(u.slope_mean * v.slope_mean, rel=2e-13)
    assert dual_covariance(*arguments).value == 0.0


@pytest.mark.parametrize("case", ALL, ids=identify)
def test_value_is_covariance_and_means(case: Case) -> None:
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


@pytest.mark.parametrize("record", records("users"), ids=str)
def test_kinks_and_jumps_of_a_users_activation(record: Record) -> None:
    for pair, got, want in zip(
        record.pairs, evaluate(record.function, record.quantity, record.pairs), record.want, strict=True
    ):
        assert float(got) == pytest.approx(want, rel=1e-11, abs=1e-12), pair


@pytest.mark.parametrize("record", records("users' bends"), ids=str)
def test_bends_of_a_users_slope_next_to_correlation_one(record: Record) -> None:
    """f' bends at −1 without a jump, where both means are: sharp in E[f'(V) | U], and not to be refused."""
    relative = 1e-12 if record.quantity == "covariance" else 1e-13
    for pair, got, want in zip(
        record.pairs, evaluate(record.function, record.quantity, record.pairs), record.want, strict=True
    ):
        assert float(got) == pytest.approx(want, rel=relative), pair


def test_what_quadrature_cannot_resolve_is_refused() -> None:
    for function in FUNCTIONS.values():
        with pytest.raises(InputError, match="sin"):
            function(et.Activation.from_text("tanh(x)*sin(1000*x)"), 2500.0, 2500.0, 1250.0, 0.3, 0.3)


# --- torch and float32 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantity", FUNCTIONS)
@pytest.mark.parametrize("case", [("elu", {}), ("tanh", {}), ("gelu", {})], ids=identify)
def test_torch_agrees_with_numpy(case: Case, quantity: str) -> None:
    """By quadrature; every closed form: `test_exchanged_to_the_bit_over_twelve_decades`."""
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


@pytest.mark.parametrize("record", records("gradients"), ids=str)
def test_gradients_are_certified(record: Record) -> None:
    """Against difference quotients of the certified values."""
    for pair, want in zip(record.pairs, record.want, strict=True):
        tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in pair.arguments]
        value = FUNCTIONS[record.quantity](record.activation, *tensors).value
        got = torch.autograd.grad(value, tensors, allow_unused=True, materialize_grads=True)
        scale = max(map(abs, want))
        for ours, certified in zip(got, want, strict=True):
            assert float(ours) == pytest.approx(certified, rel=1e-10, abs=1e-12 * scale), pair


@pytest.mark.parametrize("case", [*FEW, ("relu", {}), ("tanh", {}), ("gelu", {})], ids=identify)
def test_price(case: Case) -> None:
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


@pytest.mark.parametrize("case", CASES, ids=identify)
def test_price_over_twelve_decades(case: Case) -> None:
    """Gradients are finite, and that by the covariance is the slope; next to correlation one f' may jump too often."""
    activation = et.activation(case[0], **case[1])
    columns = np.array([pair.arguments for pair in wide_pairs(7, 40)]).T
    inside = np.abs(columns[2]) < (1 - 1e-9) * np.sqrt(columns[0] * columns[1])
    tensors = [torch.tensor(column, requires_grad=True) for column in columns[:, inside]]
    want = dual_kernel_derivative(activation, *tensors).value.detach()
    for function in (dual_kernel, dual_covariance):
        gradients = torch.autograd.grad(function(activation, *tensors).value.sum(), tensors)
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
        np.testing.assert_allclose(gradients[2].numpy(), want.numpy(), rtol=1e-12, atol=1e-300)


def test_slope_in_a_window_much_narrower_than_the_standard_deviation() -> None:
    """Reference: pair_oracle.certified; the window's ends must not be rounded in standard deviations."""
    numbers = (0.3671511018511872, 67105217510.00469, 40559.04741827806, -1.3703411708557869, 440819.7997662165)
    assert dual_kernel_derivative("hard_tanh", *numbers).value == pytest.approx(1.0015129249443893e-07, rel=1e-13)


JUMPING = ("sign(x)", "where(x > 0.5, x + 1, where(x > -1, x, -2))")


@pytest.mark.parametrize("text", JUMPING)
def test_gradients_where_f_jumps(text: str) -> None:
    """Price's theorem with the jumps' point masses: against difference quotients of fourth order."""
    f, arguments, step = et.Activation.from_text(text), np.array([1.3, 0.7, -0.4, 0.3, -0.6]), 1e-3
    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in arguments]
    gradients = torch.autograd.grad(dual_kernel(f, *tensors).value, tensors)
    steps = step * np.array([-2.0, -1.0, 1.0, 2.0])[:, None, None] * np.eye(5)
    values = dual_kernel(f, *np.moveaxis(arguments + steps, -1, 0)).value
    want = np.array([1.0, -8.0, 8.0, -1.0]) @ values / (12 * step)
    np.testing.assert_allclose([float(gradient) for gradient in gradients], want, rtol=1e-8)


def test_gradient_of_a_step_by_the_covariance() -> None:
    """E sign(U) sign(V) = 2/π asin ρ."""
    covariance = torch.tensor([0.5, -0.9], dtype=torch.float64, requires_grad=True)
    value = dual_kernel(et.Activation.from_text("sign(x)"), 1.0, 1.0, covariance).value
    (gradient,) = torch.autograd.grad(value.sum(), covariance)
    want = 2 / np.pi / np.sqrt(1 - np.array([0.5, -0.9]) ** 2)
    np.testing.assert_allclose(gradient.numpy(), want, rtol=1e-12)


@pytest.mark.parametrize("std", [10.0, 20.0, 40.0])
def test_gradients_of_steep_opposite_pairs(std: float) -> None:
    """exp(V) overflows where V given U is large, and has probability 0 there: Price's theorem, and no nan."""
    arguments = (1.0, std**2, -0.9999 * std, 0.2, 0.1)
    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in arguments]
    for function in FUNCTIONS.values():
        gradients = torch.autograd.grad(function("elu", *tensors).value, tensors)
        assert all(torch.isfinite(gradient) for gradient in gradients)
    (gradient,) = torch.autograd.grad(dual_kernel("elu", *tensors).value, tensors[2])
    assert float(gradient) == pytest.approx(float(dual_kernel_derivative("elu", *arguments).value), rel=1e-12)


@pytest.mark.parametrize("quantity", FUNCTIONS)
@pytest.mark.parametrize("case", [*FEW, ("tanh", {})], ids=identify)
def test_gradcheck(case: Case, quantity: str) -> None:
    activation = et.activation(case[0], **case[1])
    columns = [
        torch.tensor(column, dtype=torch.float64, requires_grad=True)
        for column in ([1.0, 0.5], [2.0, 0.25], [0.7, -0.2], [0.1, -1.0], [-0.4, 0.3])
    ]

    def kernel(*arguments: torch.Tensor) -> torch.Tensor:
        return FUNCTIONS[quantity](activation, *arguments).value

    assert torch.autograd.gradcheck(kernel, columns, eps=1e-5, atol=1e-8)


# --- the entry for angles ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [1e-20, 1e-9, 0.3, math.pi / 2])
def test_angles_below_the_rounding_of_the_correlation(angle: float) -> None:
    """E[f'f'] at zero means and a tiny angle t: `E f'² − J² t/(2 pi)`, J the jump of f' at 0 (relu: at every angle)."""
    arrays = [np.array([x]) for x in (0.0, 0.0, 1.5, 1.5, math.cos(angle), math.sin(angle))]
    relu = pair_expectation(et.activation("relu"), 1, *arrays)
    assert float(relu[0]) == pytest.approx((math.pi - angle) / (2 * math.pi), rel=1e-13)
    elu = et.activation("elu", alpha=0.5)
    if angle < 1e-8:
        want = gaussian_moments(elu, 0.0, 1.5).slope_second_moment - 0.25 * angle / (2 * math.pi)
        assert float(pair_expectation(elu, 1, *arrays)[0]) == pytest.approx(want, rel=1e-13)


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


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("where(x>0,x,exp(x)-1)", 0.0, 0.0),
        ("tanh(x)", 0.0, 0.0),
        ("where(x>0,tanh(x),x)", 0.02, 0.1),
        ("abs(3*abs(3*abs(3*x-1)-1)-1)", 0.4, 2.0),
    ],
)
def test_cost_of_pairs(text: str, least: float, most: float) -> None:
    """Seconds: what has kinks and no closed form took 0.03 and 0.47 at two and eight pieces."""
    assert least <= pair_cost(et.Activation.from_text(text)).seconds <= most
