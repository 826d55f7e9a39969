"""The one detector of jumps, on both sides of its threshold; and what is built on it."""

import numpy as np
import pytest
import sympy

from elutheory.activations import Activation, activation
from elutheory.activations.kinks import (
    breakpoint_values,
    features,
    is_continuous,
    jumps,
    refuse_discontinuous,
    second_derivative,
    values,
)
from elutheory.errors import InputError

X = sympy.Symbol("x", real=True)


def step(height: object) -> Activation:
    return Activation.from_expression(sympy.Piecewise((X + height, X > 0), (X, True)))


def test_jumps_of_every_order() -> None:
    elu = activation("elu", alpha=2.0)
    assert [jumps(elu, order) for order in (0, 1, 2)] == [(), ((0.0, -1.0),), ((0.0, -2.0),)]
    assert jumps(activation("relu6"), 1) == ((0.0, 1.0), (6.0, -1.0))
    assert jumps(Activation.from_text("where(x > 0.5, x + 1, where(x > -1, x, -2))"), 0) == ((-1.0, 1.0), (0.5, 1.0))


def test_both_sides_of_the_smallest_jump() -> None:
    for digits, seen in ((17, True), (29, True), (31, False)):
        function = step(sympy.Rational(1, 10**digits))
        assert bool(jumps(function, 0)) == seen
        assert is_continuous(function) != seen


def test_what_is_left_of_two_equal_numbers_is_no_jump() -> None:
    """√2 + √3 = √(5 + 2√6), which sympy does not see: what its evaluation leaves of the difference is rounding."""
    difference = sympy.sqrt(2) + sympy.sqrt(3) - sympy.sqrt(5 + 2 * sympy.sqrt(6))
    assert difference != 0
    assert is_continuous(step(difference))


@pytest.mark.parametrize(
    ("text", "order", "height"),
    [
        ("where(x>0, sin(x)/x, 1)", 0, 0.0),
        ("where(x>0, sin(x)/x, 2)", 0, -1.0),
        ("where(x<0, (exp(x)-1)/x, 1)", 1, -0.5),
        ("where(x>0, 1/x - 1/sinh(x), 0)", 1, 1 / 6),
        ("where(x<0, exp(-1/x**2), 0)", 0, 0.0),
        ("where(x<0, exp(-1/x**2), 0)", 1, 0.0),
        ("where(x>0, x*log(x), 0)", 0, 0.0),
        ("where(x>0, atan(1/x), 0)", 0, np.pi / 2),
        ("where(x>pi, sin(x)/(x-pi), -1)", 0, 0.0),
        ("where(x>0, x**0.01, 0)", 0, 0.0),
    ],
)
def test_jumps_where_a_limit_is_no_value(text: str, order: int, height: float) -> None:
    """Limits by Taylor's series, by hand."""
    found = jumps(Activation.from_text(text), order)
    assert [jump for _, jump in found] == ([pytest.approx(height, rel=1e-15)] if height else [])


@pytest.mark.parametrize(
    "text", ["where(x>0, 1/x, 0)", "where(x>0, exp(1/x), 0)", "where(x>0, sin(1/x), 0)", "log(abs(x))"]
)
def test_without_a_limit_there_is_no_jump(text: str) -> None:
    with pytest.raises(
        InputError, match=r"has no finite limit of f at x = 0 from (above|below), or none that is found"
    ):
        is_continuous(Activation.from_text(text))


def test_discontinuous_activations_are_refused() -> None:
    refuse_discontinuous(activation("shifted_relu"))
    with pytest.raises(InputError, match=r"jumps at 0; propagation needs it continuous\."):
        refuse_discontinuous(step(1))
    with pytest.raises(InputError, match=r"jumps at 0\.500000; propagation"):
        refuse_discontinuous(Activation.from_text("where(x > 0.5, 1, 0)"))


def test_places_and_values() -> None:
    assert breakpoint_values(activation("shifted_relu")) == (-1.0,)
    assert features(activation("shifted_relu")) == (-1.0, 0.0)
    assert features(activation("tanh")) == (0.0,)
    x = np.array([-0.5, 2.0])
    elu = activation("elu")
    assert values(elu, 0, x).tolist() == elu(x).tolist()
    assert values(elu, 1, x).tolist() == elu.derivative(x).tolist()
    assert values(elu, 2, x).tolist() == second_derivative(elu)(x).tolist() == [np.exp(-0.5), 0.0]
