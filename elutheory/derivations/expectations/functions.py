"""Densities and distribution functions of Gaussian variables, one or two at a time, as sympy functions and in numbers.

`phi` and `Phi` are of one standard normal variable, `Phi2` of two correlated ones, with exact derivatives; `NetDensity`
and `PairDensity` are of net inputs with second moment q and overlap c.
"""

# sympy annotates its operators, Function.eval and application loosely.
# pyright: reportIncompatibleMethodOverride=false, reportReturnType=false, reportOperatorIssue=false

import math
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import mpmath
import sympy
from mpmath.calculus.quadrature import GaussLegendre

from elutheory.errors import InputError
from elutheory.output.latex import NO_BREAK

_GUARD_DIGITS = 10
_LEVEL = 5  # of mpmath's Gauss-Legendre rules: 48 nodes

# --- one standard normal variable ---------------------------------------------------------------------------------


class Phi(sympy.Function):
    """`Phi(z) = P(Z <= z)` for standard normal Z; `Phi' = phi`."""

    nargs = 1
    is_last_factor = True

    @classmethod
    def eval(cls, z: sympy.Expr) -> sympy.Expr | None:
        """0 and 1 at the infinities, 1/2 at 0."""
        if z is sympy.oo:
            return sympy.Integer(1)
        if z is sympy.S.NegativeInfinity:
            return sympy.Integer(0)
        return sympy.Rational(1, 2) if z.is_zero else None

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        """Its derivative is phi."""
        return phi(self.args[0])

    def _eval_rewrite_as_erfc(self, z: sympy.Expr, **_: Any) -> sympy.Expr:
        return sympy.erfc(-z / sympy.sqrt(2)) / 2

    def _eval_evalf(self, prec: int) -> sympy.Expr:
        return self.rewrite(sympy.erfc)._eval_evalf(prec)

    def _statement_text(self, printer: Any) -> str:
        return _applied_text(printer, "Φ", self)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\Phi{power}\left({printer._print(self.args[0])}\right)"

    def _mathml_presentation(self, printer: Any) -> Any:
        return _applied_mathml(printer, _leaf(printer, "mi", "Φ"), self)


class phi(sympy.Function):  # noqa: N801 (the density is written with a small letter)
    """`phi(z) = exp(−z²/2) / sqrt(2 pi)`; `phi' = −z phi`."""

    nargs = 1
    is_last_factor = True

    @classmethod
    def eval(cls, z: sympy.Expr) -> sympy.Expr | None:
        """0 at the infinities; phi(−z) is phi(z), whichever sympy calls positive."""
        if z in (sympy.oo, sympy.S.NegativeInfinity):
            return sympy.Integer(0)
        return phi(-z) if z.could_extract_minus_sign() else None

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        """Its derivative is −z phi(z)."""
        (z,) = self.args
        return -z * phi(z)

    def _eval_rewrite_as_exp(self, z: sympy.Expr, **_: Any) -> sympy.Expr:
        return sympy.exp(-(z**2) / 2) / sympy.sqrt(2 * sympy.pi)

    def _eval_evalf(self, prec: int) -> sympy.Expr:
        return self.rewrite(sympy.exp)._eval_evalf(prec)

    def _statement_text(self, printer: Any) -> str:
        return _applied_text(printer, "φ", self)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\varphi{power}\left({printer._print(self.args[0])}\right)"

    def _mathml_presentation(self, printer: Any) -> Any:
        return _applied_mathml(printer, _leaf(printer, "mi", "φ"), self)


# --- two of them ----------------------------------------------------------------------------------------------------


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
        """At correlation 0 it is a product."""
        if r.is_zero:
            return Phi(h) * Phi(k)
        return None

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        """The derivatives by h, k and r, see the class."""
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
        return _applied_text(printer, "Φ₂", self)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        h, k, r = (printer._print(argument) for argument in self.args)
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\Phi_2{power}\left({h}, {k}; {r}\right)"

    def _mathml_presentation(self, printer: Any) -> Any:
        name = printer.dom.createElement("msub")
        for tag, text in (("mi", "Φ"), ("mn", "2")):
            name.appendChild(_leaf(printer, tag, text))
        return _applied_mathml(printer, name, self)


# --- net inputs -----------------------------------------------------------------------------------------------------


class NetDensity(sympy.Function):
    """`p(x; q) = exp(−x²/(2q)) / sqrt(2 pi q)`: the density of N(0, q)."""

    nargs = 2

    def _eval_rewrite_as_exp(self, x: Any, q: Any, **_: Any) -> Any:
        return sympy.exp(-(x**2) / (2 * q)) / sympy.sqrt(2 * sympy.pi * q)

    def _written(self, printer: Any) -> Any:
        return printer._print(_DENSITY(*self.args))

    _statement_text = _latex = _mathml_presentation = _written


class PairDensity(sympy.Function):
    """`p(u, v; q, c)`: the density of a centred Gaussian pair with covariance [[q, c], [c, q]], |c| < q."""

    nargs = 4

    def _eval_rewrite_as_exp(self, u: Any, v: Any, q: Any, c: Any, **_: Any) -> Any:
        determinant = q**2 - c**2
        exponent = -(q * u**2 - 2 * c * u * v + q * v**2) / (2 * determinant)
        return sympy.exp(exponent) / (2 * sympy.pi * sympy.sqrt(determinant))

    def _written(self, printer: Any) -> Any:
        return printer._print(_DENSITY(*self.args))

    _statement_text = _latex = _mathml_presentation = _written


_DENSITY: Any = sympy.Function("p")


def densities_written_out(expression: Any) -> Any:
    """The expression with exponentials in place of the densities of net inputs."""
    return expression.replace(
        lambda node: isinstance(node, NetDensity | PairDensity), lambda node: node.rewrite(sympy.exp)
    )


# --- how functions print themselves -------------------------------------------------------------------------------


def _applied_text(printer: Any, name: str, function: Any) -> str:
    """`name(a, b; c)`, which is not broken over lines."""
    first, *others = (printer._print(argument) for argument in function.args)
    inside = "; ".join([", ".join([first, *others[:1]]), *others[1:]])
    return f"{name}({inside})".replace(" ", NO_BREAK)


def _applied_mathml(printer: Any, name: Any, function: Any) -> Any:
    """`name(a, b; c)` as presentation MathML; `name` is an element."""
    row = printer.dom.createElement("mrow")
    row.appendChild(name)
    for sign, argument in zip("(,;", function.args, strict=False):
        row.appendChild(_leaf(printer, "mo", sign))
        row.appendChild(printer._print(argument))
    row.appendChild(_leaf(printer, "mo", ")"))
    return row


def _leaf(printer: Any, tag: str, text: str) -> Any:
    """A MathML element that holds a sign or a name."""
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
