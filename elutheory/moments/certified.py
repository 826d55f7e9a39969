"""M3-M6 to any number of certified digits: closed forms in Arb balls, and the defining integrals as a second route."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import sympy
from flint import arb, fmpq

from elutheory.activations.activation_function import Activation, activation_names, as_activation
from elutheory.activations.stable_forms import stable
from elutheory.derivations.expectations.integrals import NoClosedForm
from elutheory.derivations.moments.moments_of_activations import MomentFormulas, moment_formulas
from elutheory.derivations.proof.notation import mu, sigma
from elutheory.errors import InputError
from elutheory.moments.certified_balls import certified_expectation, certified_value, log_slope
from elutheory.numerics.working_precision import arb_precision, one_thread_at_a_time

ZERO = fmpq(0)
MOST_DIGITS_BY_INTEGRATION = 200  # seconds; 1000 would take minutes, for evaluations and their precision grow together
MOMENTS = ("mean", "second_moment", "variance", "slope_mean", "slope_second_moment", "log_slope_mean")


def precision(digits: int) -> AbstractContextManager[None]:
    """Arb's working precision, ample for `digits` decimal digits, in a block."""
    return arb_precision(int(3.33 * digits) + 64)


@dataclass(frozen=True, eq=False)
class CertifiedMoment:
    """A moment enclosed in a ball. `value` is None where there is no number, `reason` then says why.

    `route` is "closed form" or "integral"; `confirmed` is True if the other route's ball overlaps this one, None if
    there is no other route.
    """

    name: str
    value: arb | None
    route: str
    confirmed: bool | None
    reason: str = ""

    def text(self, digits: int) -> str:
        """The number to `digits` significant digits, every one of them certain."""
        if self.value is None:
            return self.reason
        if self.value.contains(0):
            return "0" if self.value == 0 else f"0 ± {self.value.rad().str(1, radius=False)}"
        with precision(digits):
            return self.value.str(digits, radius=False)


@cache
def closed_forms(function: Activation) -> MomentFormulas | None:
    """The closed forms of an activation's moments, None if it lies outside the class of M2."""
    try:
        return moment_formulas(function)
    except NoClosedForm:
        return None


def certified_moments(function: Activation | str, mean: fmpq, std: fmpq, digits: int) -> tuple[CertifiedMoment, ...]:
    """The six moments of f(X), X ~ N(mean, std²), for exact rational mean and std > 0, to `digits` decimal digits.

    Registered activations are enclosed by both routes up to 200 digits, beyond by their closed form; one of the user's
    own has the closed form alone. May be called
    from several threads: they are served one after the other, for Arb's precision belongs to the whole process. Raises
    InputError if std is not positive, digits not in 1…1000, there is no route, or the digits cannot be reached.

    >>> import elutheory as et
    >>> from flint import fmpq
    >>> mean, *_ = et.certified_moments("elu", fmpq(-20), fmpq(1, 10), digits=20)
    >>> mean.name, mean.value.str(20, radius=False)
    ('mean', '-0.99999999792851480203')
    """
    function = as_activation(function)
    function.refuse_symbolic()
    if std <= 0:
        raise InputError(f"certified digits need a std above 0, not {std}.")
    if not 1 <= digits <= 1000:
        raise InputError(f"digits is {digits}; 1 to 1000 are possible.")
    with one_thread_at_a_time():
        formulas = closed_forms(function)
    if formulas is None and digits > MOST_DIGITS_BY_INTEGRATION and function.name in activation_names():
        raise InputError(
            f"{function} has no closed form, and integration gives up to {MOST_DIGITS_BY_INTEGRATION} digits, "
            f"not {digits}."
        )
    if formulas is None and function.name not in activation_names():
        raise InputError(f"{function} has no closed form, so its digits cannot be certified; leave out digits.")
    with one_thread_at_a_time():
        return tuple(_certified(function, formulas, name, mean, std, digits) for name in MOMENTS)


def _certified(
    function: Activation, formulas: MomentFormulas | None, name: str, mean: fmpq, std: fmpq, digits: int
) -> CertifiedMoment:
    if name == "log_slope_mean" and (reason := _no_log_slope(function, formulas)):
        return CertifiedMoment(name, None, "closed form", None, reason)
    has_integral = function.name in activation_names() and digits <= MOST_DIGITS_BY_INTEGRATION
    integral = _integral(function, name, mean, std, digits) if has_integral else None
    if formulas is None:
        return CertifiedMoment(name, integral, "integral", None)
    closed_form = certified_value(getattr(formulas, name), {mu: mean, sigma: std}, digits)
    confirmed = None if integral is None else bool(closed_form.overlaps(integral))
    return CertifiedMoment(name, closed_form, "closed form", confirmed)


def _no_log_slope(function: Activation, formulas: MomentFormulas | None) -> str:
    """Why E ln f' is not a number, or nothing."""
    if formulas is not None:
        return formulas.log_slope_reason if formulas.log_slope_mean in (None, -sympy.oo) else ""
    points = (Fraction(tenths, 10) for tenths in range(-60, 61))
    return "f is not increasing everywhere" if any(function.derivative(float(x)) < 0.0 for x in points) else ""


def _integral(function: Activation, name: str, mean: fmpq, std: fmpq, digits: int) -> arb:
    x = function.symbol

    def slope(piece: sympy.Expr) -> sympy.Expr:
        return stable(sympy.diff(stable(piece), x))

    def expectation(transform: Callable[[sympy.Expr], sympy.Expr], offset: fmpq = ZERO) -> arb:
        a, b, power = _growth(function)
        return certified_expectation(function.pieces, x, transform, (a + abs(offset), b, power), mean, std, digits + 5)

    transforms: dict[str, Callable[[sympy.Expr], sympy.Expr]] = {
        "mean": lambda piece: piece,
        "second_moment": lambda piece: piece**2,
        "slope_mean": slope,
        "slope_second_moment": lambda piece: slope(piece) ** 2,
        "log_slope_mean": lambda piece: log_slope(piece, x),
    }
    if name in transforms:
        return expectation(transforms[name])
    # Var f = E (f − m)² − (E f − m)² for every number m; near the mean nothing cancels.
    ball = expectation(transforms["mean"])
    offset = _midpoint(ball)
    m = sympy.Rational(int(offset.p), int(offset.q))
    spread = expectation(lambda piece: (piece - m) ** 2, offset)
    with precision(digits):
        off = ball - arb(offset)
        return spread - off * off


def _midpoint(ball: arb) -> fmpq:
    """The ball's midpoint, exactly."""
    mantissa, exponent = (int(part) for part in ball.mid().man_exp())
    return fmpq(mantissa << max(exponent, 0), 1 << max(-exponent, 0))


def _growth(function: Activation) -> tuple[fmpq, fmpq, int]:
    """(a, b, n) with |f|, f², |f'|, f'² and |ln f'| all at most (a + b|x|)ⁿ, for the registered activations.

    Where they are no polynomials they rise no faster than 2 or their parameter p, start within 1 of zero, and ln f'
    rises no faster than 2 or 1/p, or is at most 2 + x².
    """
    a, b = fmpq(2), fmpq(2)
    for _, value in function.parameters:
        if value != 0:
            exact = abs(fmpq(*Fraction(repr(value)).as_integer_ratio()))
            a, b = a + exact + 1 / exact, b + exact + 1 / exact
    polynomials = (piece.expression for piece in function.pieces if piece.expression.is_polynomial(function.symbol))
    degrees = (sympy.Poly(polynomial, function.symbol).degree() for polynomial in polynomials if polynomial != 0)
    return a, b, 2 * max(1, *map(int, degrees), 1)
