"""M: Gaussian moments of activation functions, in closed form.

- `identities` (M1, M2, M5): tilting, truncated moments, Stein's identity;
- `moments_of_activations` (M2–M6): every moment of every piecewise (polynomial × exponential) activation, derived for
  the function at hand;
- `smooth_activations` (M1, M5): those of GELU, erf and lines times them, of sin and cos, and how they are proved;
- `entropy` (M6): what a strictly increasing activation does to the information in its input;
- `deactivation` (M7): what the variance of a unit far below zero tends to.

Start with `identities`.
"""
