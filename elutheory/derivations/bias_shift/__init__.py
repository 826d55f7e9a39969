"""F, L and B (arXiv 1511.07289, sections 2 and 3): unit Fisher matrices, the two lemmas, Theorems 1 and 2.

- `fisher_matrix` (F1–F3): the blocks of a unit's Fisher matrix, and the distribution q that they are moments of;
- `partitioned_inverse` (L1, L2): Lemmas 1 and 2;
- `unit_natural_gradient` (B1–B4): Theorem 1, the bias shift, Theorem 2, and centring;
- `push_through_identity` (B5): the correction's strength from the Gram matrix of a data set;
- `gaussian_inputs` (B1 and B3 with M3 and M4): the correction for ELU units whose net inputs are Gaussian.

Start with `partitioned_inverse`.
"""
