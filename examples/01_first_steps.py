"""
First steps: an activation function and its moments
===================================================

What does an ELU do to a Gaussian net input? Its mean, its variance and its slope are known in closed form, to the last
digit, and everything else in this package stands on them.
"""

import matplotlib.pyplot as plt
import numpy as np
from flint import fmpq

import elutheory as et

# %%
# An activation function has one symbolic definition. A call takes floats, numpy arrays, torch tensors or mpmath
# numbers, and gives back the same.

elu = et.activation("elu", alpha=1.0)
print(elu, "from left to right:", [str(piece.expression) for piece in elu.pieces])
print(elu(np.array([-2.0, 0.0, 2.0])))

# %%
# The moments of f(X) for X ~ N(mean, std²) are M3 and M4 of the theory. Far in the saturated part a naive formula loses
# every digit of the variance; these keep theirs.

moments = et.gaussian_moments(elu, mean=-20.0, std=1e-6)
print("mean", moments.mean, "variance", moments.variance)
print("found by:", moments.method)

# %%
# Any number of certified digits can be asked for. Each was enclosed by two routes, the
# closed form and integration, in interval arithmetic.

for certified in et.certified_moments("elu", fmpq(-20), fmpq(1, 1_000_000), digits=30)[:3]:
    print(f"{certified.name:14} {certified.value.str(30, radius=False)}")

# %%
# The paper argues with means that are pushed toward zero. So they are, but for a net input of mean zero the mean of an
# ELU is not zero:

means = np.linspace(-4.0, 4.0, 161)
figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for name in ("elu", "relu", "silu", "tanh"):
    found = et.gaussian_moments(name, means, 1.0)
    axes[0].plot(means, found.mean, label=name)
    axes[1].plot(means, found.variance, label=name)
axes[0].set(xlabel="mean of the net input", ylabel="mean activation")
axes[1].set(xlabel="mean of the net input", ylabel="variance of the activation")
axes[0].legend(frameon=False)
plt.show()
