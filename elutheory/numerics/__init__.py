"""Tools of the numerical layer that know nothing of activation functions; every other package may use them.

- `arrays`: numpy or torch, and the few operations that the two spell differently; start here;
- `arguments`: what the package takes from its callers, checked once: numbers, arrays, tensors;
- `quadrature`: Gauss–Legendre nodes, panels, antiderivatives;
- `normal_tails`: Mills' ratio and the overshoot of a standard normal beyond a threshold;
- `normal_quadrants`: the four quadrants of two correlated ones;
- `known_numbers`: numbers beside what rounding may have made of them;
- `running_moments`: mean and variance of every unit over data that come in batches;
- `twofold`: numbers of twice the digits;
- `working_precision`: Arb's and mpmath's, which belong to the whole process: one thread at a time;
- `chebyshev`: Chebyshev series and functions in pieces;
- `memory`: what is free, so that what does not fit is refused before it is allocated;
- `cost`: what a computation will take, estimated before it begins;
- `tiles`: work on a large matrix tile by tile, on every core.
"""
