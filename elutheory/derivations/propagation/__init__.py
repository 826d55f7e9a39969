"""P: signals and gradients in deep random networks of infinite width.

- `forward` (P1, P2, P2b): a layer of random weights; the mean activations of its units over the data;
- `backward` (P3): the variance of the gradient; batch normalisation and residual branches;
- `gram_matrices` (P4, P5): a whole data set through a layer, and the recursion of the tangent kernel;
- `fisher_spectrum` (P5): the largest eigenvalue of the Fisher matrix;
- `finite_width` (P6): how far the statistics of a layer vary between random networks.

Start with `forward`.
"""
