"""
An activation function of your own
==================================

A formula in text is enough: it goes through a parser that never evaluates Python code, and everything that works for
the named functions works for it.
"""

import matplotlib.pyplot as plt
import numpy as np

import elutheory as et

# %%
# An ELU whose negative part has half the slope, lowered so that its mean over standard normal net inputs is zero. The
# shift is one number, and the theory gives it.

lower = et.Activation.from_text("where(x > 0, x, (exp(x) - 1)/2)", name="half ELU")
shift = float(et.gaussian_moments(lower, 0.0, 1.0).mean)
centred = et.Activation.from_text(f"where(x > 0, x, (exp(x) - 1)/2) - {shift!r}", name="half ELU, centred")
print("mean before", shift, "and after", et.gaussian_moments(centred, 0.0, 1.0).mean)

# %%
# Does a zero mean at one Gaussian keep the means at zero through the layers? The share of the second moment that is a
# constant (P2b) says how much of it is left.

figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for function in (lower, centred, et.activation("elu"), et.activation("relu")):
    start = et.initialisation("variance_preserving", function)
    table = et.propagate(function, 30, start.weight_variance, start.bias_variance, overlap=0.0).table
    axis.plot(table["layer"], table["mean_share"], label=function.name)
axis.set(xlabel="hidden layer", ylabel="constant share of E f²")
axis.legend(frameon=False)
plt.show()

# %%
# What a kink costs, and what saturation does: moments over a range of scales.

scales = np.geomspace(0.01, 10.0, 4)
for function in (lower, centred):
    found = et.gaussian_moments(function, 0.0, scales)
    print(function.name, "variance of the slope:", (found.slope_second_moment - found.slope_mean**2).round(4))

# %%
# As a module of torch, in a model of your own:

print(centred.torch_module())
