"""Activations against mpmath formulas written out here, torch's own modules and autograd, and by-hand pieces."""

import copy
import functools
import inspect
import math
import pickle
import subprocess
import sys
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
import torch
from mpmath import mp

import elutheory as et
from elutheory.activations import Activation, activation, activation_names, as_activation
from elutheory.activations.definitions import OTHER_NAMES
from elutheory.activations.kinks import second_derivative
from elutheory.errors import InputError

X = sympy.Symbol("x", real=True)
KINKS = {
    "relu": {0.0: 0.0},
    "leaky_relu": {0.0: 0.01},
    "shifted_relu": {-1.0: 0.0},
    "elu": {0.0: 1.0},
    "celu": {0.0: 1.0},
    "selu": {0.0: 1.0507009873554804934193349852946 * 1.6732632423543772848170429916717},
    "hard_tanh": {-1.0: 0.0, 1.0: 0.0},
    "relu6": {0.0: 0.0, 6.0: 0.0},
    "prelu": {0.0: 0.25},
    "hard_sigmoid": {-3.0: 0.0, 3.0: 0.0},
    "hard_swish": {-3.0: 0.0, 3.0: 1.0},
}
NOT_IN_TORCH = ("squared_relu", "quick_gelu", "erf", "sin", "cos")


def all_activations() -> list[Activation]:
    return [
        *(activation(name) for name in activation_names()),
        activation("elu", alpha=2.5),
        activation("elu", alpha=0.1),
        activation("celu", alpha=0.3),
        activation("leaky_relu", negative_slope=0.2),
        activation("prelu", negative_slope=-0.5),
    ]


each_activation = pytest.mark.parametrize("function", all_activations(), ids=str)


def reference(function: Activation, x: float) -> Any:
    """The textbook formulas, independent of the package, at the working precision of mpmath."""
    parameters = {key: mp.mpf(repr(value)) for key, value in function.parameters}
    x = mp.mpf(x)
    alpha = parameters.get("alpha", mp.mpf(1))
    selu_alpha, scale = mp.mpf("1.6732632423543772848170429916717"), mp.mpf("1.0507009873554804934193349852946")
    formulas = {
        "identity": lambda: x,
        "relu": lambda: max(x, 0),
        "leaky_relu": lambda: x if x > 0 else parameters["negative_slope"] * x,
        "shifted_relu": lambda: max(x, -1),
        "elu": lambda: x if x > 0 else alpha * mp.expm1(x),
        "celu": lambda: x if x > 0 else alpha * mp.expm1(x / alpha),
        "selu": lambda: scale * (x if x > 0 else selu_alpha * mp.expm1(x)),
        "hard_tanh": lambda: min(max(x, -1), 1),
        "relu6": lambda: min(max(x, 0), 6),
        "tanh": lambda: mp.tanh(x),
        "logistic": lambda: 1 / (1 + mp.exp(-x)),
        "softplus": lambda: mp.log1p(mp.exp(x)),
        "gelu": lambda: x * mp.erfc(-x / mp.sqrt(2)) / 2,
        "silu": lambda: x / (1 + mp.exp(-x)),
        "prelu": lambda: x if x > 0 else parameters["negative_slope"] * x,
        "squared_relu": lambda: max(x, 0) ** 2,
        "hard_sigmoid": lambda: min(max(x + 3, 0), 6) / 6,
        "hard_swish": lambda: x * min(max(x + 3, 0), 6) / 6,
        "gelu_tanh": lambda: x / (1 + mp.exp(-mp.sqrt(8 / mp.pi) * (x + mp.mpf("0.044715") * x**3))),
        "quick_gelu": lambda: x / (1 + mp.exp(-mp.mpf("1.702") * x)),
        "mish": lambda: x * mp.tanh(mp.log1p(mp.exp(x))),
        "erf": lambda: mp.erf(x),
        "sin": lambda: mp.sin(x),
        "cos": lambda: mp.cos(x),
    }
    return mp.mpf(formulas[function.name]())


def reference_derivative(function: Activation, x: float) -> Any:
    """A central difference of `reference` with a step of 1e-60 at 600 digits: good to far more than 50 digits."""
    with mp.workdps(600):
        step = mp.mpf(10) ** -60
        return (reference(function, mp.mpf(x) + step) - reference(function, mp.mpf(x) - step)) / (2 * step)


@functools.cache
def references(function: Activation) -> list[tuple[float, Any, Any]]:
    """Points of the grid with the value there and, but for kinks, the derivative: computed once for all kinds."""
    with mp.workdps(50):
        values = [(x, reference(function, x)) for x in grid(700.0)]
    return [(x, value, None if x in kinks(function) else reference_derivative(function, x)) for x, value in values]


def amplification(function: Activation, x: float) -> float:
    """By how much exp(u) amplifies the rounding of its argument u: of these functions it is |u| for x < 0."""
    if function.name == "celu":
        return abs(x) / dict(function.parameters)["alpha"]
    return {"gelu_tanh": 1.6 * abs(x) + 0.08 * abs(x) ** 3, "quick_gelu": 1.7 * abs(x)}.get(function.name, 0.0)


def grid(largest: float) -> list[float]:
    linear = list(np.linspace(-9.7, 9.7, 41))
    logarithmic = [sign * value for sign in (-1, 1) for value in np.geomspace(1e-8, largest, 41)]
    return [float(x) for x in linear + logarithmic] + [sign * x for sign in (-1, 1) for x in (20.0, 300.3, 37.0)]


def kinks(function: Activation) -> list[float]:
    return [float(point) for point in function.breakpoints]


# --- accuracy -----------------------------------------------------------------------------------------------------


@each_activation
@pytest.mark.parametrize("kind", ["float", "numpy", "torch"])
def test_value_and_derivative_have_a_few_units_in_the_last_place_of_error(function: Activation, kind: str) -> None:
    call = {
        "float": lambda f, x: f(x),
        "numpy": lambda f, x: f(np.array([x]))[0],
        "torch": lambda f, x: f(torch.tensor([x], dtype=torch.float64)).item(),
    }[kind]
    epsilon, tiny = sys.float_info.epsilon, sys.float_info.min
    # A zero of f' is not a floating-point number; there only the error relative to f' = O(1) can be small.
    zeros_of_derivative = {
        "gelu": -0.7517915,
        "silu": -1.2784645,
        "gelu_tanh": -0.7524614,
        "quick_gelu": -0.7511712,
        "mish": -1.1924,
        "hard_swish": -1.5,
    }
    for x, exact, slope in references(function):
        if abs(exact) > tiny:
            condition = amplification(function, x)
            assert abs(call(function, x) - exact) <= (8 + condition) * epsilon * abs(exact), (function, x)
        if slope is not None and abs(slope) > tiny:
            scale = 1.0 if abs(x - zeros_of_derivative.get(function.name, math.inf)) < 0.3 else abs(slope)
            condition = amplification(function, x) if x < 0 else 0.0
            assert abs(call(function.derivative, x) - slope) <= (12 + condition) * epsilon * scale, (function, x)


@each_activation
def test_float32_arrays_have_float32_accuracy(function: Activation) -> None:
    x = np.array([x for x in grid(80.0) if abs(x) < 80], dtype=np.float32)
    exact = np.array([float(reference(function, float(value))) for value in x])
    tolerance = (
        16 * np.finfo(np.float32).eps * np.abs(exact) * np.array([1 + 4 * amplification(function, v) for v in x])
    )
    for value in (function(x), function(torch.from_numpy(x)).numpy()):
        assert value.dtype == np.float32
        normal = np.abs(exact) > np.finfo(np.float32).tiny
        assert np.all(np.abs(value - exact)[normal] <= tolerance[normal])


@pytest.mark.parametrize(
    ("name", "x"),
    [("logistic", -700.0), ("softplus", -700.0), ("silu", -700.0), ("mish", -700.0), ("gelu", -37.0), ("gelu", -20.3)],
)
def test_far_tails_keep_their_digits(name: str, x: float) -> None:
    with mp.workdps(50):
        exact = reference(activation(name), x)
    for value in (
        activation(name)(x),
        activation(name)(np.float64(x)),
        activation(name)(torch.tensor(x, dtype=torch.float64)).item(),
    ):
        assert value == pytest.approx(float(exact), rel=8 * sys.float_info.epsilon, abs=0)


def test_derivative_of_tanh_at_300() -> None:
    with mp.workdps(300):
        exact = float(1 / mp.cosh(300) ** 2)
    assert activation("tanh").derivative(300.0) == pytest.approx(exact, rel=1e-15, abs=0)


@each_activation
def test_mpmath_follows_the_working_precision(function: Activation) -> None:
    with mp.workdps(80):
        for x in (mp.mpf("-3.7"), mp.mpf("0.3"), mp.mpf("1e-30"), mp.mpf(-40)):
            assert mp.almosteq(function(x), reference(function, x), rel_eps=mp.mpf(10) ** -78)
        x = mp.mpf("-0.7")
        assert mp.almosteq(function.derivative(x), reference_derivative(function, x), rel_eps=mp.mpf(10) ** -78)


# --- special arguments --------------------------------------------------------------------------------------------


def as_every_kind(x: float) -> list[object]:
    return [x, mp.mpf(x), np.float64(x), np.float32(x), np.array([x, x]), torch.tensor(x), torch.tensor([x]).double()]


@each_activation
def test_nan_gives_nan(function: Activation) -> None:
    for x in as_every_kind(math.nan):
        for value in (function(x), function.derivative(x)):
            assert np.all(np.isnan(np.asarray(value, dtype=float)))


LIMITS = {  # f(−∞), f(∞), f'(−∞), f'(∞)
    "identity": (-math.inf, math.inf, 1, 1),
    "relu": (0, math.inf, 0, 1),
    "leaky_relu": (-math.inf, math.inf, 0.01, 1),
    "shifted_relu": (-1, math.inf, 0, 1),
    "elu": (-1, math.inf, 0, 1),
    "celu": (-1, math.inf, 0, 1),
    "selu": (-1.7580993408473766, math.inf, 0, 1.0507009873554805),
    "hard_tanh": (-1, 1, 0, 0),
    "relu6": (0, 6, 0, 0),
    "tanh": (-1, 1, 0, 0),
    "logistic": (0, 1, 0, 0),
    "softplus": (0, math.inf, 0, 1),
    "gelu": (0, math.inf, 0, 1),
    "silu": (0, math.inf, 0, 1),
    "prelu": (-math.inf, math.inf, 0.25, 1),
    "squared_relu": (0, math.inf, 0, math.inf),
    "hard_sigmoid": (0, 1, 0, 0),
    "hard_swish": (0, math.inf, 0, 1),
    "gelu_tanh": (0, math.inf, 0, 1),
    "quick_gelu": (0, math.inf, 0, 1),
    "mish": (0, math.inf, 0, 1),
    "erf": (-1, 1, 0, 0),
    "sin": (math.nan,) * 4,
    "cos": (math.nan,) * 4,
}


@pytest.mark.parametrize("name", activation_names())
def test_infinity_gives_the_limit(name: str) -> None:
    function = activation(name)
    for end, value, slope in zip((-math.inf, math.inf), LIMITS[name][:2], LIMITS[name][2:], strict=True):
        for x in as_every_kind(end):
            np.testing.assert_allclose(np.asarray(function(x), dtype=float), value, rtol=1e-6, atol=0)
            np.testing.assert_allclose(np.asarray(function.derivative(x), dtype=float), slope, rtol=1e-6, atol=0)


def test_inside_vmap_infinity_gives_the_limit_and_a_finite_gradient() -> None:
    x = torch.tensor([-math.inf, -1e4, 0.0, 1e4], dtype=torch.float64)
    for function in all_activations():
        per_example = torch.func.vmap(function)(x)
        torch.testing.assert_close(per_example, function(x), rtol=0, atol=0, equal_nan=True)
        gradient = torch.func.vmap(torch.func.grad(function))(x)
        oscillates = function.name in ("sin", "cos")  # and has no limit
        assert (torch.isfinite(gradient) | (torch.isinf(x) & oscillates)).all(), function


@each_activation
def test_no_warning_at_ten_thousand(function: Activation) -> None:
    with np.errstate(all="raise"):  # and pytest turns every warning into an error
        for x in (-1e4, 1e4):
            for dtype in (np.float32, np.float64):
                assert np.isfinite(function(np.array([x], dtype))).all()
                assert np.isfinite(function.derivative(np.array([x], dtype))).all()


# --- the kinks, and torch -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINKS)
def test_derivative_at_a_kink_is_torchs(name: str) -> None:
    function, module = activation(name), activation(name).torch_module().double()
    assert kinks(function) == list(KINKS[name])
    for point, slope in KINKS[name].items():
        x = torch.tensor(point, dtype=torch.float64, requires_grad=True)
        (of_module,) = torch.autograd.grad(module(x), x)
        (of_function,) = torch.autograd.grad(function(x), x)
        assert of_module.item() == pytest.approx(slope, rel=1e-15)
        assert of_function.item() == pytest.approx(slope, rel=1e-15)
        for value in as_every_kind(point):
            np.testing.assert_allclose(np.asarray(function.derivative(value), dtype=float), slope, rtol=1e-7)


def test_elu_and_selu_slopes_at_zero_use_alpha() -> None:
    x = torch.tensor(0.0, requires_grad=True)
    (slope,) = torch.autograd.grad(torch.nn.ELU(2.5)(x), x)
    assert activation("elu", alpha=2.5).derivative(0.0) == slope.item() == 2.5


@each_activation
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_module_agrees(function: Activation, dtype: torch.dtype) -> None:
    module = function.torch_module().to(dtype)
    assert type(module).__module__.startswith("torch.nn") == (function.name not in NOT_IN_TORCH)
    x = torch.cat([torch.linspace(-50, 50, 2001, dtype=dtype), torch.tensor([-1.0, 0.0, 1.0, 6.0, 20.5], dtype=dtype)])
    epsilon = torch.finfo(dtype).eps
    # torch 2.13 rounds hard sigmoid's 1/6 to float32 in float64 too; in its GELU 1 + tanh cancels
    of_value = {"hard_sigmoid": 3e-8, "gelu_tanh": 32 * epsilon}.get(function.name, 4 * epsilon)
    torch.testing.assert_close(function(x), module(x), rtol=of_value, atol=3.0 * of_value)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(module(leaf).sum(), leaf)
    # torch 2.13 rounds CELU's 1/alpha to float32 in the backward pass, in float64 too; ours is checked against mpmath.
    tolerance = 2e-6 if str(function) == "celu(alpha=0.3)" else max(16 * epsilon, of_value)
    torch.testing.assert_close(function.derivative(x), slope, rtol=tolerance, atol=tolerance)


def test_module_of_a_custom_activation() -> None:
    module = Activation.from_text("x * tanh(softplus(x))").torch_module()
    x = torch.linspace(-8, 8, 33, dtype=torch.float64)
    torch.testing.assert_close(module(x), torch.nn.functional.mish(x), rtol=1e-14, atol=1e-15)
    assert "tanh" in repr(module)
    assert torch.equal(copy.deepcopy(module)(x), module(x))


@each_activation
def test_gradients_and_second_gradients(function: Activation) -> None:
    x = torch.tensor([-3.3, -0.4, 0.6, 2.2, 7.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradcheck(function.derivative, x)
    (slope,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
    torch.testing.assert_close(slope, function.derivative(x), rtol=1e-13, atol=1e-14)
    (second,) = torch.autograd.grad(slope.sum() + 0 * x.sum(), x)
    (of_derivative,) = torch.autograd.grad(function.derivative(x).sum(), x)
    torch.testing.assert_close(second, of_derivative, rtol=1e-12, atol=3e-13)


CUSTOM = ("where(x > 0, x, exp(x) - 1)", "x * tanh(softplus(x))", "x / (1 + exp(-1.702*x))", "x * erfc(-x/sqrt(2)) / 2")


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch.func.jvp's own
@pytest.mark.parametrize("function", [*all_activations(), *map(Activation.from_text, CUSTOM)], ids=str)
@pytest.mark.parametrize(("dtype", "end", "tolerance"), [(torch.float32, 80.0, 1e-6), (torch.float64, 600.0, 1e-12)])
def test_autograd_keeps_its_digits_in_saturation(
    function: Activation, dtype: torch.dtype, end: float, tolerance: float
) -> None:
    """First and second derivatives, down to underflow, by every way that torch has to a derivative."""
    x = torch.cat([torch.linspace(-end, end, 10, dtype=dtype), torch.linspace(-12.3, 11.9, 20, dtype=dtype)])
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(leaf).sum(), leaf, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum() + 0 * leaf.sum(), leaf)
    for order, found in ((1, slope), (2, second)):
        expected = [exact_derivative(function, point, order) for point in x.tolist()]
        smallest = 8 * torch.finfo(dtype).tiny
        for point, got, right in zip(x.tolist(), found.tolist(), expected, strict=True):
            allowed = smallest if abs(right) < smallest else tolerance * abs(right)
            assert abs(mp.mpf(got) - right) <= allowed, (order, point, got, right)
    from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

    ones = torch.ones_like(x)
    with torch.autograd.forward_ad.dual_level():
        dual = function(torch.autograd.forward_ad.make_dual(x, ones))
        assert torch.equal(torch.autograd.forward_ad.unpack_dual(dual).tangent, slope)
    assert torch.equal(jvp(function, (x,), (ones,))[1], slope)
    assert torch.equal(vmap(grad(function))(x), slope)
    for twice in (grad(grad(function)), jacfwd(jacfwd(function)), jacrev(jacfwd(function)), hessian(function)):
        assert torch.equal(vmap(twice)(x), second)


def exact_derivative(function: Activation, point: float, order: int) -> Any:
    """Of the piece's plain expression at a point inside of it, to 30 digits after all that cancels.

    Sums of exponentials of ±2 x cancel 0.87 |x| digits, the Gaussian's 0.22 x².
    """
    below = (piece for piece in function.pieces if point < piece.upper)
    piece = next(below, function.pieces[-1])
    with mp.workdps(100 if abs(point) < 13 else 560):
        return +derivative_formula(piece.expression, function.symbol, order)(mp.mpf(point))


@functools.cache
def derivative_formula(expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> Any:
    return sympy.lambdify(symbol, sympy.diff(expression, symbol, order), "mpmath")


@each_activation
def test_no_nan_leaks_from_the_branch_not_taken(function: Activation) -> None:
    x = torch.tensor([-1e30, -1e4, 1e4, 1e30], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum() + 0 * x.sum(), x)
    assert torch.isfinite(slope).all()
    assert torch.isfinite(second).all()


def test_square_root_branch_does_not_leak() -> None:
    function = Activation.from_text("where(x > 0, sqrt(x), 0)")
    x = torch.tensor([-1.0, 4.0], requires_grad=True)
    (slope,) = torch.autograd.grad(function(x).sum(), x)
    assert slope.tolist() == [0.0, 0.25]
    assert function.derivative(np.array([-1.0, 0.0, 4.0])).tolist() == [0.0, 0.0, 0.25]


# --- kinds of argument --------------------------------------------------------------------------------------------


@each_activation
def test_kind_dtype_and_shape_are_kept(function: Activation) -> None:
    for f in (function, function.derivative):
        assert type(f(1.5)) is float
        assert type(f(2)) is float
        assert type(f(np.float32(1.5))) is np.float32
        assert type(f(np.float64(1.5))) is np.float64
        assert isinstance(f(mp.mpf(1)), mpmath.mpf)
        for dtype in (np.float16, np.float32, np.float64):
            assert f(np.ones((2, 3), dtype)).dtype == dtype
            assert isinstance(f(np.array(1.0, dtype)), np.ndarray)
        assert f(np.arange(3)).dtype == np.float64
        assert f(np.zeros((0, 2))).shape == (0, 2)
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            assert f(torch.ones(2, 3, dtype=dtype)).dtype == dtype
        assert f(torch.arange(3)).dtype == torch.get_default_dtype()


def test_identity_of_an_array_is_a_copy() -> None:
    x = np.ones(2)
    activation("identity")(x)[0] = 5.0
    assert x[0] == 1.0


def test_default_dtype_does_not_leak() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        for function in all_activations():
            assert function.derivative(torch.ones(2, dtype=torch.float32)).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "x",
    [
        True,
        [1.0],
        "1",
        1j,
        None,
        Fraction(1, 2),
        np.array([True]),
        np.array([1j]),
        torch.tensor([True]),
        torch.tensor(1j),
    ],
    ids=repr,
)
def test_other_arguments_are_refused(x: object) -> None:
    with pytest.raises(InputError, match=r"not "):
        activation("elu")(x)


# --- the registry -------------------------------------------------------------------------------------------------


def test_parameters_and_text() -> None:
    elu = et.activation("elu", alpha=np.float32(2))
    assert repr(elu) == str(elu) == "elu(alpha=2.0)"
    assert elu == activation("elu", alpha=2)
    assert hash(elu) == hash(activation("elu", alpha=Fraction(2)))
    assert elu.parameters == (("alpha", 2.0),)
    assert elu.parameter_values["alpha"] == 2.0
    assert activation("elu", alpha=0.1).expression.args[1][0] == (sympy.exp(X) - 1) / 10
    assert str(activation("relu")) == "relu"
    assert as_activation("relu") == as_activation(activation("relu"))
    assert pickle.loads(pickle.dumps(elu)) == elu  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("ellu", {}, "did you mean 'elu'.*known are identity, relu"),
        ("ReLU", {}, "did you mean 'relu'"),
        ("Sigmoid", {}, "did you mean 'logistic'"),
        ("Hard-Swish", {}, "did you mean 'hard_swish'"),
        ("leaky relu", {}, "did you mean 'leaky_relu'"),
        ("prelu", {"negative_slope": math.inf}, "negative_slope must be a finite number, not inf"),
        (3, {}, "unknown activation 3"),
        ("elu", {"alpha": 0}, "alpha must be a finite number > 0, not 0"),
        ("celu", {"alpha": -1.0}, "> 0, not -1.0"),
        ("elu", {"alpha": math.nan}, "not nan"),
        ("elu", {"alpha": math.inf}, "not inf"),
        ("elu", {"alpha": 10**400}, "alpha must be"),
        ("elu", {"alpha": True}, "not True"),
        ("elu", {"alpha": np.True_}, "not np.True_"),
        ("elu", {"alpha": "1"}, "not '1'"),
        ("elu", {"beta": 1.0}, "no parameter 'beta'; its parameters are: alpha"),
        ("relu", {"alpha": 1.0}, "its parameters are: none"),
        ("leaky_relu", {"negative_slope": -0.1}, ">= 0"),
        ("elu", {"alpha": sympy.Symbol("a")}, "declared positive"),
    ],
)
def test_bad_requests_are_refused(name: object, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        inspect.unwrap(activation)(name, **parameters)  # the import hook would refuse first


def test_other_names_are_understood() -> None:
    assert {activation(other) == activation(name) for other, name in OTHER_NAMES.items()} == {True}
    assert not set(OTHER_NAMES) & set(activation_names())
    assert as_activation("swish") == activation("silu")
    assert str(activation("parametric_relu", negative_slope=0.1)) == "prelu(negative_slope=0.1)"


def test_next_to_its_zero_a_line_keeps_its_digits() -> None:
    x = -3.0 + 2.0**-40
    for argument in (x, np.array(x), torch.tensor(x, dtype=torch.float64)):
        assert float(activation("hard_sigmoid")(argument)) == pytest.approx(2.0**-40 / 6, rel=1e-15)
        assert float(activation("hard_swish")(argument)) == pytest.approx(x * 2.0**-40 / 6, rel=1e-15)
    moments = et.gaussian_moments("hard_sigmoid", x, 1e-14)
    assert moments.mean == pytest.approx(2.0**-40 / 6, rel=1e-15)


def test_as_activation_refuses_the_rest() -> None:
    with pytest.raises(InputError, match="not float"):
        inspect.unwrap(as_activation)(1.0)  # the import hook would refuse first


def test_symbolic_parameter() -> None:
    alpha = sympy.Symbol("alpha", positive=True)
    elu = activation("elu", alpha=alpha)
    assert [piece.expression for piece in elu.pieces] == [alpha * (sympy.exp(X) - 1), X]
    for use in (lambda: elu(1.0), lambda: elu.derivative(1.0), elu.torch_module):
        with pytest.raises(InputError, match="symbolic parameter alpha"):
            use()


def test_pieces_are_maximal_and_exact() -> None:
    hard_tanh = activation("hard_tanh")
    assert [(p.lower, p.upper, p.expression) for p in hard_tanh.pieces] == [
        (-sympy.oo, -1, -1),
        (-1, 1, X),
        (1, sympy.oo, 1),
    ]
    assert hard_tanh.breakpoints == (-1, 1)
    assert activation("leaky_relu", negative_slope=1).breakpoints == ()
    assert len(activation("gelu").pieces) == 1


def test_latex() -> None:
    assert r"\lambda x" in activation("selu").latex
    assert r"\lambda \approx 1.0507" in activation("selu").latex
    assert r"\tanh" in activation("tanh").latex
    for function in all_activations():
        assert len(function.latex) < 200


def test_importing_is_light() -> None:
    code = (
        "import sys, elutheory.activations as a; a.activation_names();"
        "print([m for m in ('sympy', 'numpy', 'torch', 'mpmath', 'scipy') if m in sys.modules]);"
        "a.activation('elu')(-1.0);"
        "print([m for m in ('numpy', 'torch', 'scipy') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split("\n")[:2] == ["[]", "[]"]


# --- a user's own -------------------------------------------------------------------------------------------------


def test_max_min_abs_sign_become_pieces() -> None:
    cases = {
        sympy.Max(X, 0): [(-sympy.oo, 0, 0), (0, sympy.oo, X)],
        sympy.Max(-1, sympy.Min(1, X)): [(-sympy.oo, -1, -1), (-1, 1, X), (1, sympy.oo, 1)],
        sympy.Abs(X**2 - 2): [
            (-sympy.oo, -sympy.sqrt(2), X**2 - 2),
            (-sympy.sqrt(2), sympy.sqrt(2), 2 - X**2),
            (sympy.sqrt(2), sympy.oo, X**2 - 2),
        ],
        sympy.Max(X, 0) - sympy.Max(-X, 0): [(-sympy.oo, sympy.oo, X)],
        sympy.sign(X): [(-sympy.oo, 0, -1), (0, sympy.oo, 1)],
        sympy.Piecewise((sympy.Piecewise((1, X > 2), (2, True)), X > 1), (3, True)): [
            (-sympy.oo, 1, 3),
            (1, 2, 2),
            (2, sympy.oo, 1),
        ],
    }
    for expression, pieces in cases.items():
        function = Activation.from_expression(expression)
        assert [(p.lower, p.upper, p.expression) for p in function.pieces] == pieces
        for x in (-3.0, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 4.0):  # sympy's own substitution is the reference
            exact = float(expression.subs(X, sympy.Rational(x)))
            assert function(x) == pytest.approx(exact, rel=1e-15)
            assert function(np.array([x]))[0] == pytest.approx(exact, rel=1e-15)


def test_breakpoint_follows_the_order_written() -> None:
    left = Activation.from_expression(sympy.Piecewise((1, X <= 0), (2, True)))
    right = Activation.from_expression(sympy.Piecewise((1, X < 0), (2, True)))
    assert (left(0.0), right(0.0)) == (1.0, 2.0)
    assert (left(np.zeros(1))[0], right(torch.zeros(1)).item()) == (1.0, 2.0)


def test_other_symbols_and_floats() -> None:
    t = sympy.Symbol("t")
    swish = Activation.from_expression(t / (1 + sympy.exp(-0.1 * t)), name="swish")
    assert swish.expression == X / (1 + sympy.exp(-X / 10))
    assert str(swish) == "swish"
    assert swish(-8000.0) == pytest.approx(float(mp.mpf(-8000) * mp.exp(-800)), rel=1e-12)
    constant = Activation.from_expression(sympy.Integer(3), symbol=t)
    assert constant(np.array([1.0, -math.inf])).tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("x", "goes to from_text"),
        (X + sympy.Symbol("y"), "exactly one free symbol"),
        (sympy.Integer(1), "exactly one free symbol"),
        (sympy.gamma(X), "gamma.*allowed are"),
        (sympy.Heaviside(X), "Heaviside"),
        (sympy.I * X, "I cannot be evaluated"),
        (1 / X, "pole at x = 0"),
        (1 / (X**2 - 2), "pole"),
        (sympy.sqrt(X), "not a real number"),
        (sympy.log(X), "not a real number|-inf"),
        (sympy.Piecewise((1, X > 0)), "no value where"),
        (sympy.Max(X, sympy.sin(X)), "polynomials"),
        (sympy.Max(0, sympy.log(sympy.Piecewise((X, X > 2), (-3, True)))), "finite and real"),
        (1 / sympy.Piecewise((X, X > 2), (0, True)), "zoo cannot be evaluated"),
    ],
)
def test_bad_expressions_are_refused(expression: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        inspect.unwrap(Activation.from_expression.__func__)(Activation, expression)  # as above


def test_irrational_coefficients_in_torch() -> None:
    function = Activation.from_text("x / sqrt(pi) + 1 / (pi**2 * (1 + x**2)) + 2**x")
    exact = 0.3 / math.sqrt(math.pi) + 1 / (math.pi**2 * 1.09) + 2**0.3
    assert function(torch.tensor(0.3, dtype=torch.float64)).item() == pytest.approx(exact, rel=1e-15)


def test_stable_forms_of_a_users_expression() -> None:
    x = -300.5
    with mp.workdps(400):
        t = mp.mpf(x)
        exact = {
            1 + sympy.erf(X / 10): 1 + mp.erf(t / 10),
            1 - sympy.tanh(X) ** 2: 1 - mp.tanh(t) ** 2,
            1 + sympy.tanh(X): 1 + mp.tanh(t),
            sympy.exp(X) / (1 + sympy.exp(X)): mp.exp(t) / (1 + mp.exp(t)),
            sympy.exp(-X) / (1 + sympy.exp(-X)) ** 2: mp.exp(-t) / (1 + mp.exp(-t)) ** 2,
            X * sympy.tanh(sympy.log(1 + sympy.exp(X))): t * mp.tanh(mp.log(1 + mp.exp(t))),
        }
    for expression, value in exact.items():
        assert Activation.from_expression(expression)(x) == pytest.approx(float(value), rel=1e-12, abs=0)
    near_zero = Activation.from_expression(2 / (1 + sympy.exp(-2 * X)) - 1)  # tanh x
    assert near_zero(1e-12) == pytest.approx(1e-12, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "order", "expected"),
    [
        ("x/sqrt(1 + x**2)", 1, lambda x: (1 + x * x) ** mpmath.mpf(-1.5)),
        ("x/(1 + abs(x))", 1, lambda x: (1 + abs(x)) ** -2),
        ("x/(2 + x**4)**0.25", 1, lambda x: 2 * (2 + x**4) ** mpmath.mpf(-1.25)),
        ("x**2/(1 + x**2) + tanh(x)", 1, lambda x: 2 * x / (1 + x * x) ** 2 + mpmath.sech(x) ** 2),
        ("sqrt(1 + x**2)", 2, lambda x: (1 + x * x) ** mpmath.mpf(-1.5)),
        ("x*atan(x)", 2, lambda x: 2 / (1 + x * x) ** 2),
    ],
)
def test_derivatives_of_algebraic_functions_keep_their_digits(text: str, order: int, expected: Any) -> None:
    """As sympy differentiates them they are differences of nearly equal numbers where |x| is large."""
    f = Activation.from_text(text)
    derivative = f.derivative if order == 1 else second_derivative(f)
    with mpmath.workdps(60):
        for x in (1e-8, 0.3, -0.7, 3.0, 1e3, -1e5, 3e8):
            assert float(derivative(np.array(x))) == pytest.approx(float(expected(mpmath.mpf(x))), rel=1e-14)
