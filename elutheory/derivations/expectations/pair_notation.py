"""The symbols of K1-K4 (correlated pairs)."""

from typing import Any

import sympy

from elutheory.derivations.proof.notation import Symbol

# X = s1 (a + Z1), Y = s2 (b + Z2); rho in (−1, 1) is the correlation of X and Y.
a, b = sympy.symbols("a b", real=True)
rho = Symbol("rho", "ρ", r"\rho", real=True)
s1, s2 = sympy.symbols("s1 s2", positive=True)
pair_covariance = Symbol("pair_covariance", "Cov(f(X),g(Y))", r"\mathrm{Cov}(f(X), g(Y))", real=True)  # K3

# f(x) = A x above 0, B (e^{kx} − 1) below; weights of tilting, and E[(u + Z1) 1(Z1 > −u) 1(Z2 < −v)] (K1).
A, B, k = sympy.symbols("A B k", positive=True)
x = sympy.Symbol("x", real=True)
e1, e2, e12 = sympy.symbols("e1 e2 e12", positive=True)
G: Any = sympy.Function("G")

# E[f(X) f(Y)] and E[f'(X) f'(Y)], whole and by quadrant.
QUADRANTS = ("above_above", "above_below", "below_above", "below_below")
value_mean = Symbol("pair_value_mean", "E[f(X)f(Y)]", r"\mathrm{E}[f(X) f(Y)]", real=True)
slope_mean = Symbol("pair_slope_mean", "E[f′(X)f′(Y)]", r"\mathrm{E}[f'(X) f'(Y)]", real=True)
relu_value_mean = Symbol(
    "relu_pair_value_mean", "E[f(X)f(Y)] (ReLU)", r"\mathrm{E}[f(X) f(Y)]_{\mathrm{ReLU}}", real=True
)
relu_slope_mean = Symbol(
    "relu_pair_slope_mean", "E[f′(X)f′(Y)] (ReLU)", r"\mathrm{E}[f'(X) f'(Y)]_{\mathrm{ReLU}}", real=True
)
square_mean = Symbol("value_square_mean", "E[f(X)²]", r"\mathrm{E}[f(X)^2]", real=True)  # Y = X
square_slope_mean = Symbol("slope_square_mean", "E[f′(X)²]", r"\mathrm{E}[f'(X)^2]", real=True)

# Of f(X) and g(Y) at zero means, as a function of the correlation (K4).
value_pair_mean = Symbol("value_pair_mean", "E[f(X)g(Y)]", r"\mathrm{E}[f(X) g(Y)]", real=True)
value_slope = Symbol("value_slope", "∂E[f(X)g(Y)]/∂ρ", r"\frac{\partial}{\partial\rho}\mathrm{E}[f(X) g(Y)]", real=True)
value_curvature = Symbol(
    "value_curvature", "∂²E[f(X)f(Y)]/∂ρ²", r"\frac{\partial^2}{\partial\rho^2}\mathrm{E}[f(X) f(Y)]", real=True
)


def place(quadrant: str) -> str:
    """A quadrant in words."""
    first, second = ({"above": ">", "below": "≤"}[side] for side in quadrant.split("_"))
    return f"X{first}0 and Y{second}0"


def _part(kind: str, quadrant: str, text: str, latex: str) -> Symbol:
    """The part of an expectation of `text` that comes from one quadrant."""
    where = place(quadrant).replace(" and ", ",")
    inside = where.replace("≤", r"\leq ")
    return Symbol(
        f"pair_{kind}_{quadrant}", f"E[{text} 1({where})]", rf"\mathrm{{E}}[{latex} 1_{{{inside}}}]", real=True
    )


value_parts = {name: _part("value", name, "f(X)f(Y)", "f(X) f(Y)") for name in QUADRANTS}
slope_parts = {name: _part("slope", name, "f′(X)f′(Y)", "f'(X) f'(Y)") for name in QUADRANTS}
