"""Densities of net inputs: N(0, q), and the pair with second moments q and overlap c."""

# sympy annotates its operators loosely.
# pyright: reportIncompatibleMethodOverride=false, reportReturnType=false, reportOperatorIssue=false

from typing import Any

import sympy


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


def in_exponentials(expression: Any) -> Any:
    """The densities written out."""
    return expression.replace(
        lambda node: isinstance(node, NetDensity | PairDensity), lambda node: node.rewrite(sympy.exp)
    )
