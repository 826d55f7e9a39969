"""T: training dynamics of wide networks, as of their linearisation.

- `standard_parameterisation` (T1): the tangent kernel of networks as they are trained, one learning rate for all;
- `gradient_descent` (T2): what a step does to the outputs;
- `modes` (T3, T4): squared error solved exactly; the largest stable rate; size and shape of a kernel;
- `constant_direction` (T5): the mean's part in it, and what centring leaves.

Start with `gradient_descent`.
"""
