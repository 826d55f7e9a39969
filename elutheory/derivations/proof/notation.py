"""The symbols of the derivations, and how each is written in text and in LaTeX."""

from typing import Any

import sympy
from sympy.printing.precedence import PRECEDENCE


class InnerProduct(sympy.Expr):
    """A 1 x 1 matrix expression, such as `b.T * A.I * b`, read as the commuting scalar that it is."""

    is_commutative = True
    precedence = PRECEDENCE["Mul"]

    def __new__(cls, matrix: Any) -> "InnerProduct":
        if getattr(matrix, "shape", None) != (1, 1):
            raise ValueError(f"only a 1 x 1 matrix is a scalar, {matrix} is not")
        return super().__new__(cls, matrix)


n = sympy.Symbol("n", integer=True, positive=True)

# The unit Fisher matrix F = [[A, b], [b.T, c]] and its inverse [[K, u], [u.T, s]] (F1, L1).
A = sympy.MatrixSymbol("A", n, n)
b = sympy.MatrixSymbol("b", n, 1)
c = sympy.Symbol("c", positive=True)
K = sympy.MatrixSymbol("K", n, n)
u = sympy.MatrixSymbol("u", n, 1)
s = sympy.Symbol("s", positive=True)

# Incoming activations under q(z) and p(z): means, second moment, covariance (F2, F3).
mean_q = sympy.MatrixSymbol("mean_q", n, 1)
mean_p = sympy.MatrixSymbol("mean_p", n, 1)
second_moment_q = sympy.MatrixSymbol("second_moment_q", n, n)
variance_q = sympy.MatrixSymbol("variance_q", n, n)

# Under one distribution (L2); `other_mean` is any vector.
mean = sympy.MatrixSymbol("mean", n, 1)
second_moment = sympy.MatrixSymbol("second_moment", n, n)
variance = sympy.MatrixSymbol("variance", n, n)
other_mean = sympy.MatrixSymbol("e", n, 1)

# Gradient of the unit, update, and the bias shift it causes (B1, B2, B3).
g = sympy.MatrixSymbol("g", n, 1)
g0 = sympy.Symbol("g0", real=True)
delta_w = sympy.MatrixSymbol("delta_w", n, 1)
delta_w0 = sympy.Symbol("delta_w0", real=True)
shift = sympy.Symbol("shift", real=True)
shift_uncorrected = sympy.Symbol("shift_uncorrected", real=True)
k = sympy.Symbol("k", real=True)

# The net input X ~ N(mu, sigma²), and moments of f(X) (M1-M7); `f'` is the derivative of the pieces of f.
mu = sympy.Symbol("mu", real=True)
sigma = sympy.Symbol("sigma", positive=True)
unit_mean = sympy.Symbol("unit_mean", real=True)
unit_second_moment = sympy.Symbol("unit_second_moment", positive=True)
unit_variance = sympy.Symbol("unit_variance", positive=True)
slope_mean = sympy.Symbol("slope_mean", real=True)
slope_second_moment = sympy.Symbol("slope_second_moment", positive=True)
value_slope_mean = sympy.Symbol("value_slope_mean", real=True)
input_value_mean = sympy.Symbol("input_value_mean", real=True)
log_slope_mean = sympy.Symbol("log_slope_mean", real=True)
flat_probability = sympy.Symbol("flat_probability", real=True)
mean_by_mu = sympy.Symbol("mean_by_mu", real=True)
mean_by_sigma = sympy.Symbol("mean_by_sigma", real=True)
deactivated_mean = sympy.Symbol("deactivated_mean", real=True)
deactivated_variance = sympy.Symbol("deactivated_variance", positive=True)
deactivated_slope_second_moment = sympy.Symbol("deactivated_slope_second_moment", positive=True)

# Name of a symbol -> (Unicode, LaTeX). Names not listed are written as they are.
WRITTEN: dict[str, tuple[str, str]] = {
    "mean_q": ("E_q[a]", r"\mathrm{E}_q[a]"),
    "mean_p": ("E_p[a]", r"\mathrm{E}_p[a]"),
    "second_moment_q": ("E_q[aaᵀ]", r"\mathrm{E}_q[a a^\top]"),
    "variance_q": ("Var_q(a)", r"\mathrm{Var}_q(a)"),
    "mean": ("E[a]", r"\mathrm{E}[a]"),
    "second_moment": ("E[aaᵀ]", r"\mathrm{E}[a a^\top]"),
    "variance": ("Var(a)", r"\mathrm{Var}(a)"),
    "g0": ("g₀", "g_0"),
    "delta_w": ("Δw", r"\Delta w"),
    "delta_w0": ("Δw₀", r"\Delta w_0"),
    "shift": ("shift", r"\mathrm{shift}"),
    "shift_uncorrected": ("shift₀", r"\mathrm{shift}_0"),
    "ones": ("𝟏", r"\mathbf{1}"),
    "alpha": ("α", r"\alpha"),
    "negative_slope": ("s", "s"),
    "mu": ("μ", r"\mu"),
    "sigma": ("σ", r"\sigma"),
    "unit_mean": ("E[f]", r"\mathrm{E}[f]"),
    "unit_variance": ("Var[f]", r"\mathrm{Var}[f]"),
    "unit_second_moment": ("E[f²]", r"\mathrm{E}[f^2]"),
    "slope_mean": ("E[f′]", r"\mathrm{E}[f']"),
    "slope_second_moment": ("E[f′²]", r"\mathrm{E}[f'^2]"),
    "value_slope_mean": ("E[f f′]", r"\mathrm{E}[f f']"),
    "input_value_mean": ("E[X f]", r"\mathrm{E}[X f]"),
    "log_slope_mean": ("E[ln f′]", r"\mathrm{E}[\ln f']"),
    "flat_probability": ("P(f′=0)", r"\mathrm{P}(f'=0)"),
    "mean_by_mu": ("∂E[f]/∂μ", r"\frac{\partial\,\mathrm{E}[f]}{\partial\mu}"),
    "mean_by_sigma": ("∂E[f]/∂σ", r"\frac{\partial\,\mathrm{E}[f]}{\partial\sigma}"),
    "deactivated_mean": ("E[f] (μ→−∞)", r"\mathrm{E}[f]\;(\mu\to-\infty)"),
    "deactivated_variance": ("Var[f] (μ→−∞)", r"\mathrm{Var}[f]\;(\mu\to-\infty)"),
    "deactivated_slope_second_moment": ("E[f′²] (μ→−∞)", r"\mathrm{E}[f'^2]\;(\mu\to-\infty)"),
    "delta": ("δ", r"\delta"),
    "w0": ("w₀", r"w_0"),
    "mean_q_j": ("E_q[a_j]", r"\mathrm{E}_q[a_j]"),
    "mean_q_k": ("E_q[a_k]", r"\mathrm{E}_q[a_k]"),
    "mean_p_j": ("E_p[a_j]", r"\mathrm{E}_p[a_j]"),
    "covariance_p_j": ("Cov_p(δ², a_j)", r"\mathrm{Cov}_p(\delta^2, a_j)"),
    "variance_q_jk": ("Cov_q(a_j, a_k)", r"\mathrm{Cov}_q(a_j, a_k)"),
}
WRITTEN |= {f"T_{power}": (f"T{digit}", f"T_{power}") for power, digit in enumerate("₀₁₂₃₄₅₆")}  # M2
WRITTEN |= {
    f"tilted_{power}": (f"E[exp(cX) {text}1(a<X<b)]", rf"\mathrm{{E}}[e^{{cX}} {latex}1_{{a<X<b}}]")
    for power, (text, latex) in enumerate((("", ""), ("X ", "X "), ("X² ", "X^2 ")))
}
