"""
What theory predicts for every layer
====================================

A wide random network is a recursion on two numbers, the second moment of its net inputs and their overlap (P1). Means,
gradients and depth scales follow (P2, P3), and so do the bands of a finite width (P6).
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import elutheory as et

# %%
# Where a network settles, and how fast, is a question about fixed points. The critical initialisation puts it on the
# edge of chaos, where gradients neither vanish nor explode.

critical = et.initialisation("critical", "elu")
print(critical)
print(et.fixed_points("elu", critical.weight_variance, critical.bias_variance).table.T)

# %%
# Forty layers of 256 units, predicted.

prediction = et.propagate(
    "elu", 40, critical.weight_variance, critical.bias_variance, second_moment=1.0, overlap=0.3, width=256
)
print(prediction.table[["layer", "q", "correlation", "mean_share", "chi"]].iloc[[0, 9, 19, 39]])

# %%
# And measured: twenty random networks with two inputs of that overlap.

generator = np.random.default_rng(0)
inputs = generator.standard_normal((2, 256))
inputs[1] -= inputs[0] * (inputs[0] @ inputs[1]) / (inputs[0] @ inputs[0])
inputs /= np.sqrt((inputs**2).mean(axis=1, keepdims=True))
inputs[1] = 0.3 * inputs[0] + np.sqrt(1 - 0.3**2) * inputs[1]
measured = np.empty((20, 40))
for network in measured:
    activations = torch.tensor(inputs)
    for layer in range(40):
        weights = torch.tensor(generator.standard_normal((256, 256)) * np.sqrt(critical.weight_variance / 256))
        biases = torch.tensor(generator.standard_normal(256) * np.sqrt(critical.bias_variance))
        net = activations @ weights.T + biases
        activations = torch.nn.functional.elu(net)
        network[layer] = float((net[0] @ net[1]) / 256)

# %%
# Nothing is fitted; the band is one standard deviation of a network of this width.

layers = prediction.table["layer"]
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
axis.plot(layers, measured.T, color="0.8", linewidth=0.8)
axis.plot(layers, measured.mean(axis=0), "o", markersize=3, label="mean of 20 networks")
axis.plot(layers, prediction.table["c"], label="predicted")
low, high = (prediction.table["c"] + sign * prediction.table["c_std"] for sign in (-1, 1))
axis.fill_between(layers, low, high, alpha=0.3, label="one network, predicted")
axis.set(xlabel="hidden layer", ylabel="overlap of two inputs")
axis.legend(frameon=False)
plt.show()
