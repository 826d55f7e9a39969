"""The symbols of the derivations, each declared once with how it is written in text and in LaTeX.

A written form belongs to its symbol: `Symbol("slope", "f′(h)", "f'(h)", real=True)` is written f′(h) wherever it
stands, and a reader's own `sympy.Symbol("slope", real=True)` is another symbol, written by its name.
"""

# sympy annotates its symbols by what its own classes happen to return.
# pyright: reportIncompatibleMethodOverride=false, reportReturnType=false, reportAttributeAccessIssue=false

from collections.abc import Mapping
from typing import Any, NamedTuple

import sympy
from sympy.printing.precedence import PRECEDENCE

# sympy keeps one object per name and assumptions, and it orders terms by the names of classes, then of symbols. So the
# written form is compared and hashed with the name, after it, and both classes bear the names of sympy's own.


class Written(NamedTuple):
    """How a symbol is written: in Unicode text (MathML is made from it), and in LaTeX."""

    text: str
    latex: str


class Symbol(sympy.Symbol):
    """A symbol with its written form; equal to no `sympy.Symbol` of any name."""

    __slots__ = ("written",)
    written: Written

    def __new__(cls, name: str, text: str, latex: str = "", **assumptions: bool) -> "Symbol":
        """Without `latex`, LaTeX is written as the text is."""
        symbol = sympy.Symbol.__xnew__(cls, name, **assumptions)
        symbol.written = Written(text, latex or text)
        return symbol

    def __getnewargs_ex__(self) -> tuple[tuple[str, str, str], dict[str, bool]]:
        return (self.name, *self.written), self._assumptions_orig

    def _hashable_content(self) -> tuple[Any, ...]:
        return "\0".join((self.name, *self.written)), *self._assumptions0


class Str(sympy.core.symbol.Str):
    """The name of a matrix symbol, with its written form."""

    __slots__ = ("written",)
    written: Written

    def __new__(cls, name: str, text: str, latex: str) -> "Str":
        """A name that compares unequal to the plain string of sympy."""
        string = super().__new__(cls, name)
        string.written = Written(text, latex)
        return string

    def __getnewargs__(self) -> tuple[str, str, str]:
        return self.name, *self.written

    def _hashable_content(self) -> tuple[str]:
        return ("\0".join((self.name, *self.written)),)


def matrix(name: str, rows: Any, columns: Any, text: str, latex: str = "") -> sympy.MatrixSymbol:
    """A rows x columns matrix symbol with its written form; without `latex`, LaTeX is written as the text is."""
    return sympy.MatrixSymbol(Str(name, text, latex or text), rows, columns)


class InnerProduct(sympy.Expr):
    """A 1 x 1 matrix expression, such as `b.T * A.I * b`, read as the commuting scalar that it is."""

    is_commutative = True
    precedence = PRECEDENCE["Mul"]

    def __new__(cls, matrix: Any) -> "InnerProduct":
        """The scalar that a 1 x 1 matrix expression is; raises ValueError for any other shape."""
        if getattr(matrix, "shape", None) != (1, 1):
            raise ValueError(f"only a 1 x 1 matrix is a scalar, {matrix} is not")
        return super().__new__(cls, matrix)


# --- the symbols --------------------------------------------------------------------------------------------------

n = sympy.Symbol("n", integer=True, positive=True)

# The unit Fisher matrix F = [[A, b], [b.T, c]] and its inverse [[K, u], [u.T, s]] (F1, L1).
A = sympy.MatrixSymbol("A", n, n)
b = sympy.MatrixSymbol("b", n, 1)
c = sympy.Symbol("c", positive=True)
K = sympy.MatrixSymbol("K", n, n)
u = sympy.MatrixSymbol("u", n, 1)
s = sympy.Symbol("s", positive=True)

# Incoming activations under q(z) and p(z): means, second moment, covariance (F2, F3).
mean_q = matrix("mean_q", n, 1, "E_q[a]", r"\mathrm{E}_q[a]")
mean_p = matrix("mean_p", n, 1, "E_p[a]", r"\mathrm{E}_p[a]")
second_moment_q = matrix("second_moment_q", n, n, "E_q[aaᵀ]", r"\mathrm{E}_q[a a^\top]")
variance_q = matrix("variance_q", n, n, "Var_q(a)", r"\mathrm{Var}_q(a)")

# Under one distribution (L2); `other_mean` is any vector.
mean = matrix("mean", n, 1, "E[a]", r"\mathrm{E}[a]")
second_moment = matrix("second_moment", n, n, "E[aaᵀ]", r"\mathrm{E}[a a^\top]")
variance = matrix("variance", n, n, "Var(a)", r"\mathrm{Var}(a)")
other_mean = sympy.MatrixSymbol("e", n, 1)

# Gradient of the unit, update, and the bias shift it causes (B1, B2, B3).
g = sympy.MatrixSymbol("g", n, 1)
g0 = Symbol("g0", "g₀", "g_0", real=True)
delta_w = matrix("delta_w", n, 1, "Δw", r"\Delta w")
delta_w0 = Symbol("delta_w0", "Δw₀", r"\Delta w_0", real=True)
shift = Symbol("shift", "shift", r"\mathrm{shift}", real=True)
shift_uncorrected = Symbol("shift_uncorrected", "shift₀", r"\mathrm{shift}_0", real=True)
k = sympy.Symbol("k", real=True)

# The net input X ~ N(mu, sigma²). The arguments of `moment_formulas` are plain symbols, so that a reader's own
# sympy.Symbol("mu", real=True) takes numbers there; a parameter of an activation may not be called so.
mu = sympy.Symbol("mu", real=True)
sigma = sympy.Symbol("sigma", positive=True)
_ARGUMENTS: dict[sympy.Basic, Written] = {mu: Written("μ", r"\mu"), sigma: Written("σ", r"\sigma")}

# Moments of f(X) (M1-M7); `f'` is the derivative of the pieces of f.
unit_mean = Symbol("unit_mean", "E[f]", r"\mathrm{E}[f]", real=True)
unit_second_moment = Symbol("unit_second_moment", "E[f²]", r"\mathrm{E}[f^2]", positive=True)
unit_variance = Symbol("unit_variance", "Var[f]", r"\mathrm{Var}[f]", positive=True)
slope_mean = Symbol("slope_mean", "E[f′]", r"\mathrm{E}[f']", real=True)
slope_second_moment = Symbol("slope_second_moment", "E[f′²]", r"\mathrm{E}[f'^2]", positive=True)
value_slope_mean = Symbol("value_slope_mean", "E[f f′]", r"\mathrm{E}[f f']", real=True)
input_value_mean = Symbol("input_value_mean", "E[X f]", r"\mathrm{E}[X f]", real=True)
log_slope_mean = Symbol("log_slope_mean", "E[ln f′]", r"\mathrm{E}[\ln f']", real=True)
input_entropy = Symbol("input_entropy", "h(X)", real=True)
output_entropy = Symbol("output_entropy", "h(f(X))", real=True)
flat_probability = Symbol("flat_probability", "P(f′=0)", r"\mathrm{P}(f'=0)", real=True)
mean_by_mu = Symbol("mean_by_mu", "∂E[f]/∂μ", r"\frac{\partial\,\mathrm{E}[f]}{\partial\mu}", real=True)
mean_by_sigma = Symbol("mean_by_sigma", "∂E[f]/∂σ", r"\frac{\partial\,\mathrm{E}[f]}{\partial\sigma}", real=True)
deactivated_mean = Symbol("deactivated_mean", "E[f] (μ→−∞)", r"\mathrm{E}[f]\;(\mu\to-\infty)", real=True)
deactivated_variance = Symbol(
    "deactivated_variance", "Var[f] (μ→−∞)", r"\mathrm{Var}[f]\;(\mu\to-\infty)", positive=True
)
deactivated_slope_second_moment = Symbol(
    "deactivated_slope_second_moment", "E[f′²] (μ→−∞)", r"\mathrm{E}[f'^2]\;(\mu\to-\infty)", positive=True
)
truncated_moments = tuple(
    Symbol(f"T_{power}", f"T{digit}", f"T_{power}", real=True) for power, digit in enumerate("₀₁₂₃₄₅₆")
)
tilted_moments = tuple(
    Symbol(f"tilted_{power}", f"E[exp(cX) {text}1(a<X<b)]", rf"\mathrm{{E}}[e^{{cX}} {latex}1_{{a<X<b}}]", real=True)
    for power, (text, latex) in enumerate((("", ""), ("X ", "X "), ("X² ", "X^2 ")))
)

# The parameters of the registry's activation functions, left symbolic.
alpha = Symbol("alpha", "α", r"\alpha", positive=True)
negative_slope = Symbol("negative_slope", "s", positive=True)
PARAMETERS: Mapping[str, Symbol] = {"alpha": alpha, "negative_slope": negative_slope}


def written(symbol: sympy.Basic) -> Written | None:
    """How a symbol or matrix symbol declared here is written; None for anybody else's, which is written by its name."""
    name = symbol.args[0] if isinstance(symbol, sympy.MatrixSymbol) else symbol
    return name.written if isinstance(name, Symbol | Str) else _ARGUMENTS.get(symbol)
