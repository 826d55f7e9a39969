"""
Descending along the unit natural gradient
==========================================

`et.UnitNaturalGradient` is an optimizer like those of torch: an ordinary loop, no closure. Beside it, plain SGD on the
same badly conditioned problem: pixels with a large mean.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

import elutheory as et

# %%
# Digits whose pixels all have 4 added: the constant direction now dominates every kernel.

digits = load_digits()
images = torch.tensor(digits.data / 16.0 + 4.0, dtype=torch.float32)
labels = torch.tensor(digits.target)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.ELU(), nn.Linear(32, 10))


def losses(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
    """Training losses of 60 batches."""
    order = torch.Generator().manual_seed(1)
    found = []
    for _ in range(60):
        batch = torch.randint(len(images), (128,), generator=order)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


# %%
# The natural gradient's steps are limited by how far they move the predictions (``max_kl``), so its learning rate needs
# little tuning; SGD is shown at three rates.

figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for rate in (0.001, 0.003, 0.01):
    model = network()
    axis.plot(losses(model, torch.optim.SGD(model.parameters(), lr=rate)), color="0.6", label=f"SGD, {rate:g}")
model = network()
found = losses(model, et.UnitNaturalGradient(model, lr=0.03, max_kl=0.05))
axis.plot(found, label="unit natural gradient")
axis.set(xlabel="step", ylabel="training loss", ylim=(0, 4))
axis.legend(frameon=False)
plt.show()
print("unit natural gradient, last ten steps:", round(sum(found[-10:]) / 10, 3))
