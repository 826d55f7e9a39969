"""Proofs about Gaussian expectations, of one variable and of correlated pairs, and the quadratures beside them.

A formula in Phi, phi and exp is proved by what characterises the expectation (the heat equation in mean and variance,
derivatives and decay, Price's slope in the correlation); that two formulas are equal is decided by a normal form. The
quadratures integrate definitions and share nothing with the formulas.

- `functions`: Phi, phi, Phi2 and the densities, as sympy functions and in numbers;
- `normal_form`, `pair_normal_form`: equality of formulas, without and with a correlation;
- `integrals`: the integral of any piecewise (polynomial × exponential) function (M1, M2);
- `checks`, `pair_checks`, `layer_checks`: proofs and quadratures for moments (M), pairs (K) and layers (P1–P3);
- `pointwise`: identities between functions, at every point;
- `pair_notation`, `layer_notation`: the symbols of K, and of P and B5.

Start with `integrals`.
"""
