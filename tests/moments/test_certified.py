"""Certified digits: known constants, two routes that overlap, mpmath as a third, and refusals."""

from concurrent.futures import ThreadPoolExecutor

import mpmath
import pytest
import sympy
from flint import arb, ctx, fmpq

from elutheory.activations import Activation, activation, activation_names
from elutheory.derivations.expectations.functions import Phi
from elutheory.errors import InputError
from elutheory.moments import certified_moments
from elutheory.moments.certified import MOMENTS, precision
from elutheory.moments.certified_balls import ball, certified_expectation, certified_value, log_slope

POINTS = ((fmpq(0), fmpq(1)), (fmpq(-5, 2), fmpq(1, 10)), (fmpq(3), fmpq(20)))


EVERY_RUN = ("relu", "elu", "hard_tanh", "tanh")  # an atom, an exponential, two kinks, and no closed form


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in EVERY_RUN else pytest.mark.exhaustive) for name in activation_names()],
)
def test_both_routes_overlap(name: str) -> None:
    for mean, std in POINTS[:2]:
        for moment in certified_moments(activation(name), mean, std, 30):
            assert moment.confirmed in (True, None)
            assert moment.value is not None or moment.reason


def test_known_constants() -> None:
    """E relu(Z) = 1/√(2π) and Var relu(Z) = 1/2 − 1/(2π), by hand; OEIS A231863 for 1/√(2π)."""
    moments = {moment.name: moment for moment in certified_moments(activation("relu"), fmpq(0), fmpq(1), 40)}
    assert moments["mean"].text(40) == "0.3989422804014326779399460599343818684759"
    with precision(40):
        exact = arb(1) / 2 - 1 / (2 * arb.pi())
        assert moments["variance"].value is not None
        assert abs(moments["variance"].value - exact) < arb("1e-40")
    assert "atom" in moments["log_slope_mean"].text(10)


def test_threads_do_not_move_each_others_precision() -> None:
    """The same digits from four threads at once, each asking for its own number, as from one after the other."""
    tasks = [("relu", digits) for digits in (12, 60, 25, 40)]

    def digits_of(task: tuple[str, int]) -> list[str]:
        name, digits = task
        return [m.text(digits) for m in certified_moments(activation(name), fmpq(1, 3), fmpq(2), digits)]

    before = ctx.prec
    alone = [digits_of(task) for task in tasks]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(digits_of, tasks)) == alone
    assert ctx.prec == before


@pytest.mark.parametrize(
    "name", ["softplus", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("tanh", "gelu"))]
)
def test_integral_against_mpmath(name: str) -> None:
    function = activation(name)
    with mpmath.workdps(30):
        for mean, std in POINTS[:2]:
            mu, sigma = (mpmath.mpf(int(x.p)) / int(x.q) for x in (mean, std))

            def integrand(t, mu=mu, sigma=sigma):
                return function(mu + sigma * t) ** 2 * mpmath.npdf(t)

            expected = mpmath.quad(integrand, [-mpmath.inf, -6, 0, 6, mpmath.inf])
            moment = certified_moments(function, mean, std, 20)[MOMENTS.index("second_moment")]
            assert moment.text(18) == mpmath.nstr(expected, 18, strip_zeros=False)


def test_a_wrong_closed_form_does_not_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from elutheory.moments import certified as module

    right = module.closed_forms(activation("elu"))
    assert right is not None
    wrong = replace(right, mean=right.mean + sympy.Rational(1, 10**25))
    monkeypatch.setattr(module, "closed_forms", lambda _: wrong)
    moment = module.certified_moments(activation("elu"), fmpq(0), fmpq(1), 30)[0]
    assert moment.confirmed is False


def test_precision_is_raised_until_the_digits_are_there_and_put_back() -> None:
    before = ctx.prec
    x = sympy.Symbol("x")
    cancelling = sympy.exp(x) - 1 - x - x**2 / 2
    tiny = certified_value(cancelling, {x: fmpq(1, 10**30)}, 40)
    assert tiny.rel_accuracy_bits() > 130
    assert ctx.prec == before
    with precision(40):
        assert abs(tiny * arb(10) ** 90 * 6 - 1) < arb("1e-29")


def test_an_exact_zero_is_said_to_be_one() -> None:
    mean = certified_moments(activation("tanh"), fmpq(0), fmpq(1), 20)[0]
    assert mean.text(20).startswith("0 ± ")


def test_tail_bound_covers_what_is_not_integrated() -> None:
    """With so few digits that the range is cut early, the ball must still contain E X² = 1 + 1/4."""
    identity = activation("identity")
    result = certified_expectation(
        identity.pieces, identity.symbol, lambda e: e**2, (fmpq(1), fmpq(1), 2), fmpq(1, 2), fmpq(1), 3
    )
    assert result.contains(fmpq(5, 4))


def test_log_slope_is_written_without_products() -> None:
    tanh = activation("tanh")
    expression = log_slope(tanh.expression, tanh.symbol)
    with precision(30):
        value = ball(expression, {tanh.symbol: arb(2)})
        assert abs(value - (1 - arb(2).tanh() ** 2).log()) < arb("1e-29")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("elu", fmpq(0), fmpq(0), 20), "std above 0, not 0"),
        (("elu", fmpq(0), fmpq(-1), 20), "std above 0, not -1"),
        (("elu", fmpq(0), fmpq(1), 0), "digits is 0; 1 to 1000"),
        (("elu", fmpq(0), fmpq(1), 1001), "digits is 1001; 1 to 1000"),
    ],
)
def test_refusals(arguments: tuple[str, fmpq, fmpq, int], message: str) -> None:
    name, *rest = arguments
    with pytest.raises(InputError, match=message):
        certified_moments(activation(name), *rest)


def test_activations_without_any_route_are_refused() -> None:
    with pytest.raises(InputError, match="no closed form, so its digits cannot be certified"):
        certified_moments(Activation.from_text("x * tanh(x)"), fmpq(0), fmpq(1), 20)
    with pytest.raises(InputError, match="certified digits know no"):
        ball(sympy.gamma(sympy.Symbol("x")), {sympy.Symbol("x"): arb(1)})


def test_distribution_function_keeps_its_tail() -> None:
    z = sympy.Symbol("z")
    value = certified_value(Phi(z), {z: fmpq(-40)}, 20)
    with mpmath.workdps(25):
        assert value.str(18, radius=False) == mpmath.nstr(mpmath.ncdf(-40), 18, strip_zeros=False)
