"""
Who learns faster, predicted
============================

The tangent kernel of a network as it is trained says how its loss falls (T1–T4). Its largest direction is mostly the
constant one, which means feed and which limits the learning rate (T5).
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import elutheory as et

# %%
# A hundred digits, standardised, and their Gram matrix.

digits = load_digits()
images = digits.data[:100] - digits.data.mean(axis=0)
images /= np.sqrt((images**2).mean())
gram = images @ images.T / 64
labels = digits.target[:100]

# %%
# The kernel of each network as it is trained, with He's initialisation, and its descent at one learning rate for both.

figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name in ("elu", "relu"):
    theta = et.training_kernel(name, gram, depth=4, width=128, features=64, weight_variance=2.0)
    prediction = et.predict_training(theta, labels, learning_rate=0.005, steps=200)
    table = prediction.table
    print(
        f"{name}: trace {theta.trace:.3g}, share of the largest direction {theta.top_share:.2f}, "
        f"loss 0.5 after {prediction.steps_to(0.5):g} steps, stable up to η = {prediction.largest_stable_rate:.2g}"
    )
    (line,) = axis.plot(table["step"], table["loss"], label=name)
    axis.fill_between(table["step"], table["loss_low"], table["loss_high"], color=line.get_color(), alpha=0.2)
axis.set(xlabel="step", ylabel="predicted training loss", yscale="log")
axis.legend(frameon=False)
plt.show()

# %%
# Taking the mean out of the incoming activations (T5) takes the largest direction out of the kernel.

theta = et.training_kernel("relu", gram, depth=4, width=128, features=64, weight_variance=2.0)
print("ReLU, share of the largest direction:", round(theta.top_share, 3), "→", round(theta.centred().top_share, 3))
