"""Distribution function of two correlated standard normal variables, as a sympy function with exact derivatives."""

# sympy annotates Function.eval and application loosely.
# pyright: reportIncompatibleMethodOverride=false, reportReturnType=false, reportOperatorIssue=false

import math
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import mpmath
import sympy
from mpmath.calculus.quadrature import GaussLegendre

from elutheory.derivations.expectations.functions import Phi, phi
from elutheory.errors import InputError

_GUARD_DIGITS = 10
_LEVEL = 5  # of mpmath's Gauss-Legendre rules: 48 nodes


def bivariate_density(h: Any, k: Any, r: Any) -> Any:
    """`phi2(h, k; r)`, the density of two standard normal variables with correlation r."""
    return sympy.exp(-(h**2 - 2 * r * h * k + k**2) / (2 * (1 - r**2))) / (2 * sympy.pi * sympy.sqrt(1 - r**2))


class Phi2(sympy.Function):
    """`Phi2(h, k, r) = P(Z1 <= h, Z2 <= k)`, Z1 and Z2 standard normal with correlation r.

    `∂h Phi2 = phi(h) Phi((k − r h)/sqrt(1 − r²))`, `∂k` likewise, and `∂r Phi2 = phi2(h, k; r)` (Plackett 1954).
    """

    nargs = 3

    @classmethod
    def eval(cls, h: sympy.Expr, k: sympy.Expr, r: sympy.Expr) -> sympy.Expr | None:
        if r.is_zero:
            return Phi(h) * Phi(k)
        return None

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        h, k, r = self.args
        if argindex == 3:
            return bivariate_density(h, k, r)
        first, second = (h, k) if argindex == 1 else (k, h)
        return phi(first) * Phi((second - r * first) / sympy.sqrt(1 - r**2))

    def _eval_evalf(self, prec: int) -> sympy.Expr | None:
        if not all(argument.is_number for argument in self.args):
            return None
        digits = wanted = int(prec * math.log10(2)) + 1
        while True:  # an absolute error that is small relative to the value
            with mpmath.workdps(digits + _GUARD_DIGITS):
                arguments: Any = self.args
                numbers = [mpmath.mpf(str(argument.evalf(digits + _GUARD_DIGITS))) for argument in arguments]
                value = bivariate_probability(*numbers)
                if value > mpmath.mpf(10) ** (wanted - digits - _GUARD_DIGITS // 2):
                    return sympy.Float(value, wanted)
            digits *= 2

    def _statement_text(self, printer: Any) -> str:
        h, k, r = (printer._print(argument) for argument in self.args)
        return f"Φ₂({h}, {k}; {r})".replace(" ", "\N{NO-BREAK SPACE}")

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        h, k, r = (printer._print(argument) for argument in self.args)
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\Phi_2{power}\left({h}, {k}; {r}\right)"

    def _mathml_presentation(self, printer: Any) -> Any:
        row = printer.dom.createElement("mrow")
        name = printer.dom.createElement("msub")
        for tag, leaf in (("mi", "Φ"), ("mn", "2")):
            name.appendChild(_leaf(printer, tag, leaf))
        row.appendChild(name)
        for sign, argument in zip("(,;", self.args, strict=True):
            row.appendChild(_leaf(printer, "mo", sign))
            row.appendChild(printer._print(argument))
        row.appendChild(_leaf(printer, "mo", ")"))
        return row


def _leaf(printer: Any, tag: str, text: str) -> Any:
    element = printer.dom.createElement(tag)
    element.appendChild(printer.dom.createTextNode(text))
    return element


# --- numbers ------------------------------------------------------------------------------------------------------


def bivariate_probability(h: Any, k: Any, r: Any) -> Any:
    """`P(Z1 <= h, Z2 <= k)` of mpmath numbers, with an absolute error of the working precision.

    `Phi(h) Phi(k)` plus the integral of Plackett's slope from correlation 0 to r; raises InputError unless |r| < 1.
    """
    if not -1 < r < 1:
        raise InputError(f"Phi2 needs a correlation inside (-1, 1), not {mpmath.nstr(r)}.")
    with mpmath.workdps(mpmath.mp.dps + _GUARD_DIGITS):
        value = _plackett(+h, +k, +r, mpmath.mp.dps)
    return +value


@lru_cache(maxsize=4096)
def _plackett(h: Any, k: Any, r: Any, digits: int) -> Any:
    """The slope in r integrated from 0 with `r = tanh(v)`, which takes the singularity at r = 1 to infinity."""
    apart, together, constant = (h - k) ** 2 / 8, (h + k) ** 2 / 8, (h * h + k * k) / 4

    def integrand(v: Any) -> Any:
        grown = mpmath.exp(v)
        square = grown * grown
        return 2 * grown / (1 + square) * mpmath.exp(-apart * square - together / square - constant)

    end = mpmath.atanh(r)
    panels, before = max(1, int(mpmath.ceil(abs(end)))), None
    while True:
        half = end / (2 * panels)
        rule = gauss_legendre(mpmath.mp.prec)
        integral = half * mpmath.fsum(
            weight * integrand(half * (2 * panel + 1 + node)) for panel in range(panels) for node, weight in rule
        )
        if before is not None and abs(integral - before) <= mpmath.mpf(10) ** (3 - digits):
            return mpmath.ncdf(h) * mpmath.ncdf(k) + integral / (2 * mpmath.pi)
        panels, before = 2 * panels, integral


@cache
def gauss_legendre(precision: int) -> list[tuple[Any, Any]]:
    """48 nodes and weights on [−1, 1]."""
    return GaussLegendre(mpmath.mp).calc_nodes(_LEVEL, precision)


def numerical_value(expression: sympy.Expr, values: Mapping[Any, sympy.Rational], digits: int) -> Any:
    """An expression in Phi2, Phi, phi, exp and rational functions at exact numbers, as an mpmath real.

    Raises InputError where there is no real value. Sums may cancel: `digits` are relative to their largest term.
    """
    unknown = expression.free_symbols - values.keys()
    if unknown or expression.has(sympy.zoo, sympy.nan, sympy.oo, -sympy.oo):
        reason = f"{min(map(str, unknown))} has no value" if unknown else "it is not finite"
        raise InputError(f"{expression} has no value at {dict(values)}: {reason}.")
    functions = {"Phi2": bivariate_probability, "Phi": mpmath.ncdf, "phi": mpmath.npdf}
    symbols = list(values)
    with mpmath.workdps(digits + _GUARD_DIGITS):
        numbers = [mpmath.mpf(int(value.p)) / int(value.q) for value in values.values()]
        try:
            value = sympy.lambdify(symbols, expression, [functions, "mpmath"])(*numbers)
        except (ZeroDivisionError, NameError, TypeError) as error:
            raise InputError(f"{expression} has no value at {dict(values)}: {error}") from error
        value = mpmath.mpmathify(value)
        if not isinstance(value, mpmath.mpf) or not mpmath.isfinite(value):
            raise InputError(f"{expression} has no real value at {dict(values)}: {value}")
        return value
