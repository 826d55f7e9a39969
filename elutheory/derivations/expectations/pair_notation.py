"""The symbols of K1-K3 (correlated pairs), and how each is written in text and in LaTeX."""

from typing import Any

import sympy

from elutheory.derivations.proof.notation import WRITTEN

# X = s1 (a + Z1), Y = s2 (b + Z2); rho in (−1, 1) is the correlation of X and Y.
a, b, rho = sympy.symbols("a b rho", real=True)
s1, s2 = sympy.symbols("s1 s2", positive=True)
pair_covariance = sympy.Symbol("pair_covariance", real=True)  # Cov(f(X), g(Y)) (K3)

# f(x) = A x above 0, B (e^{kx} − 1) below; weights of tilting, and E[(u + Z1) 1(Z1 > −u) 1(Z2 < −v)] (K1).
A, B, k = sympy.symbols("A B k", positive=True)
x = sympy.Symbol("x", real=True)
e1, e2, e12 = sympy.symbols("e1 e2 e12", positive=True)
G: Any = sympy.Function("G")

# E[f(X) f(Y)] and E[f'(X) f'(Y)], whole and by quadrant.
QUADRANTS = ("above_above", "above_below", "below_above", "below_below")
value_mean = sympy.Symbol("pair_value_mean", real=True)
slope_mean = sympy.Symbol("pair_slope_mean", real=True)
value_parts = {name: sympy.Symbol(f"pair_value_{name}", real=True) for name in QUADRANTS}
slope_parts = {name: sympy.Symbol(f"pair_slope_{name}", real=True) for name in QUADRANTS}
relu_value_mean = sympy.Symbol("relu_pair_value_mean", real=True)
relu_slope_mean = sympy.Symbol("relu_pair_slope_mean", real=True)
square_mean = sympy.Symbol("value_square_mean", real=True)  # Y = X
square_slope_mean = sympy.Symbol("slope_square_mean", real=True)


def place(quadrant: str) -> str:
    """A quadrant in words."""
    first, second = ({"above": ">", "below": "≤"}[side] for side in quadrant.split("_"))
    return f"X{first}0 and Y{second}0"


# Name of a symbol -> (Unicode, LaTeX).
WRITTEN |= {
    "rho": ("ρ", r"\rho"),
    "pair_covariance": ("Cov(f(X),g(Y))", r"\mathrm{Cov}(f(X), g(Y))"),
    "pair_value_mean": ("E[f(X)f(Y)]", r"\mathrm{E}[f(X) f(Y)]"),
    "pair_slope_mean": ("E[f′(X)f′(Y)]", r"\mathrm{E}[f'(X) f'(Y)]"),
    "relu_pair_value_mean": ("E[f(X)f(Y)] (ReLU)", r"\mathrm{E}[f(X) f(Y)]_{\mathrm{ReLU}}"),
    "relu_pair_slope_mean": ("E[f′(X)f′(Y)] (ReLU)", r"\mathrm{E}[f'(X) f'(Y)]_{\mathrm{ReLU}}"),
    "value_square_mean": ("E[f(X)²]", r"\mathrm{E}[f(X)^2]"),
    "slope_square_mean": ("E[f′(X)²]", r"\mathrm{E}[f'(X)^2]"),
}
for _name in QUADRANTS:
    _where = place(_name).replace(" and ", ",")
    _latex = _where.replace("≤", r"\leq ")
    WRITTEN |= {
        f"pair_value_{_name}": (f"E[f(X)f(Y) 1({_where})]", rf"\mathrm{{E}}[f(X) f(Y) 1_{{{_latex}}}]"),
        f"pair_slope_{_name}": (f"E[f′(X)f′(Y) 1({_where})]", rf"\mathrm{{E}}[f'(X) f'(Y) 1_{{{_latex}}}]"),
    }
