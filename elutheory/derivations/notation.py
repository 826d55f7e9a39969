"""The symbols of the derivations, and how each is written in text and in LaTeX."""

import sympy

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
    "mu": ("μ", r"\mu"),
    "sigma": ("σ", r"\sigma"),
    "unit_mean": ("E[f]", r"\mathrm{E}[f]"),
    "unit_variance": ("Var[f]", r"\mathrm{Var}[f]"),
    "unit_second_moment": ("E[f²]", r"\mathrm{E}[f^2]"),
    "delta": ("δ", r"\delta"),
    "w0": ("w₀", r"w_0"),
    "mean_q_j": ("E_q[a_j]", r"\mathrm{E}_q[a_j]"),
    "mean_q_k": ("E_q[a_k]", r"\mathrm{E}_q[a_k]"),
    "mean_p_j": ("E_p[a_j]", r"\mathrm{E}_p[a_j]"),
    "covariance_p_j": ("Cov_p(δ², a_j)", r"\mathrm{Cov}_p(\delta^2, a_j)"),
    "variance_q_jk": ("Cov_q(a_j, a_k)", r"\mathrm{Cov}_q(a_j, a_k)"),
}
