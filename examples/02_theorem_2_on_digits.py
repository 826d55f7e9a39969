"""
Theorem 2, proved and measured
==============================

The unit natural gradient differs from the gradient by a bias-shift term. Here that is derived with every step checked
by machine, and then measured on a network that classifies handwritten digits.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import elutheory as et

# %%
# Writing a derivation out verifies it: a tick means that both sides were compared just now, by the checks that the
# letters name.

print(et.theorem_2().to_text())

# %%
# A small network with ELUs and a few hundred digits. Pixels lie between 0 and 1.

digits = load_digits()
images = torch.tensor(digits.images.reshape(-1, 64) / 16.0, dtype=torch.float64)[:400]
labels = torch.tensor(digits.target)[:400]
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 32), nn.ELU(), nn.Linear(32, 16), nn.ELU(), nn.Linear(16, 10)).double()

# %%
# The exact Fisher matrix of every unit of the second hidden layer, the bias coordinate first, and the gradient of the
# same layer in the same coordinates.

fisher = et.unit_fisher(model, images, layer="2")
nn.functional.cross_entropy(model(images), labels).backward()
gradient = torch.cat([model[2].bias.grad[:, None], model[2].weight.grad], dim=1)
print(fisher.shape, "units × coordinates × coordinates; dead units:", int(fisher.dead.sum()))

# %%
# The correction of Theorems 1 and 2 comes from the blocks of the matrix, without solving with it; solving with it gives
# the same.

correction = et.bias_shift_correction(fisher, gradient, damping=1e-2, relative=True)
solved = fisher.natural_gradient(gradient, damping=1e-2, relative=True)
print("largest difference:", float((solved[:, 0] - correction.delta_w0).abs().max() / solved[:, 0].abs().max()))
print("k by unit:", correction.k.numpy().round(3))
