"""Gradient descent on the outputs of a network that its tangent kernel describes (T2, T3).

- `targets`: what is learned, from the caller's; `initial_functions`: F_0, drawn from its Gaussian;
- `descent` (T2): step by step, with `losses` and the order of `minibatches`; start here;
- `eigenmodes` (T3): squared error without steps, the expected loss without sampling.
"""
