"""Proofs by exact algebra: matrices of symbolic size, sums over a finite sample space, and instances beside them.

A statement holds for every n if both of its sides have one normal form. The same statement is then evaluated with
symbolic entries at sizes 1, 2, 3, and with exact rational numbers from random sample spaces.

- `statements`: evaluates a sympy statement about matrices in any algebra;
- `normal_form`: the algebra of words of matrices and vectors, for every n;
- `resolvents`: the same idea for a rectangular matrix and the inverses of its damped Gram matrices, for every shape;
- `entries`: matrices of one size, their entries rational functions or rational numbers;
- `finite_sums`: statements about sums over sample points, for every sample space;
- `sample_spaces`: random sample spaces and random layers in exact arithmetic, the source of the instances;
- `settings`: what the symbols of a derivation stand for, and the three checks that follow.

Start with `settings`.
"""
