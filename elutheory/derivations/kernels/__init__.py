"""K: expectations of products for correlated Gaussian pairs.

- `identities`: the bivariate normal distribution, tilting of a pair, Price's theorem (K3);
- `formulas`: the dual kernels of ELU, CELU, SELU and ReLU as formulas and in many digits (K1, K2);
- `dual_kernels`: the same formulas derived, quadrant by quadrant;
- `mehler` (K4): the dual kernel at zero means as a series in the correlation, and its convexity;
- `special_cases`: zero means, ReLU's arc-cosine kernels, independent and equal inputs.

Start with `formulas`.
"""
