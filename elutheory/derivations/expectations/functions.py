"""Density and distribution function of the standard normal distribution, as sympy functions."""

# sympy annotates Function.eval and application loosely.
# pyright: reportIncompatibleMethodOverride=false, reportReturnType=false

from typing import Any

import sympy

from elutheory.output.latex import NO_BREAK


class Phi(sympy.Function):
    """`Phi(z) = P(Z <= z)` for standard normal Z; `Phi' = phi`."""

    nargs = 1
    is_last_factor = True

    @classmethod
    def eval(cls, z: sympy.Expr) -> sympy.Expr | None:
        if z is sympy.oo:
            return sympy.Integer(1)
        if z is sympy.S.NegativeInfinity:
            return sympy.Integer(0)
        return sympy.Rational(1, 2) if z.is_zero else None

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return phi(self.args[0])

    def _eval_rewrite_as_erfc(self, z: sympy.Expr, **_: Any) -> sympy.Expr:
        return sympy.erfc(-z / sympy.sqrt(2)) / 2

    def _eval_evalf(self, prec: int) -> sympy.Expr:
        return self.rewrite(sympy.erfc)._eval_evalf(prec)

    def _statement_text(self, printer: Any) -> str:
        return applied_text(printer, "Φ", self)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\Phi{power}\left({printer._print(self.args[0])}\right)"

    def _mathml_presentation(self, printer: Any) -> Any:
        return applied_mathml(printer, leaf(printer, "mi", "Φ"), self)


class phi(sympy.Function):  # noqa: N801 (the density is written with a small letter)
    """`phi(z) = exp(−z²/2) / sqrt(2 pi)`; `phi' = −z phi`."""

    nargs = 1
    is_last_factor = True

    @classmethod
    def eval(cls, z: sympy.Expr) -> sympy.Expr | None:
        if z in (sympy.oo, sympy.S.NegativeInfinity):
            return sympy.Integer(0)
        return phi(-z) if z.could_extract_minus_sign() else None

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        (z,) = self.args
        return -z * phi(z)  # pyright: ignore[reportOperatorIssue]

    def _eval_rewrite_as_exp(self, z: sympy.Expr, **_: Any) -> sympy.Expr:
        return sympy.exp(-(z**2) / 2) / sympy.sqrt(2 * sympy.pi)

    def _eval_evalf(self, prec: int) -> sympy.Expr:
        return self.rewrite(sympy.exp)._eval_evalf(prec)

    def _statement_text(self, printer: Any) -> str:
        return applied_text(printer, "φ", self)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\varphi{power}\left({printer._print(self.args[0])}\right)"

    def _mathml_presentation(self, printer: Any) -> Any:
        return applied_mathml(printer, leaf(printer, "mi", "φ"), self)


# --- how functions print themselves -------------------------------------------------------------------------------


def applied_text(printer: Any, name: str, function: Any) -> str:
    """`name(a, b; c)`, which is not broken over lines."""
    first, *others = (printer._print(argument) for argument in function.args)
    inside = "; ".join([", ".join([first, *others[:1]]), *others[1:]])
    return f"{name}({inside})".replace(" ", NO_BREAK)


def applied_mathml(printer: Any, name: Any, function: Any) -> Any:
    """`name(a, b; c)` as presentation MathML; `name` is an element."""
    row = printer.dom.createElement("mrow")
    row.appendChild(name)
    for sign, argument in zip("(,;", function.args, strict=False):
        row.appendChild(leaf(printer, "mo", sign))
        row.appendChild(printer._print(argument))
    row.appendChild(leaf(printer, "mo", ")"))
    return row


def leaf(printer: Any, tag: str, text: str) -> Any:
    """A MathML element that holds a sign or a name."""
    element = printer.dom.createElement(tag)
    element.appendChild(printer.dom.createTextNode(text))
    return element
