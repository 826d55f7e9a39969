"""
Diagnose a model
================

Where is the bias shift in a model of your own? One pass over its data gives a row for every layer.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import elutheory as et

# %%
# Any torch model will do. This one is convolutional, with ReLUs, and trained for a few epochs.

digits = load_digits()
images = torch.tensor(digits.images[:, None] / 16.0, dtype=torch.float32)
labels = torch.tensor(digits.target)
torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(128, 32),
    nn.ReLU(),
    nn.Linear(32, 10),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(5):
    for batch in torch.randperm(len(images)).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()

# %%
# The diagnosis. Columns are described in ``elutheory.diagnosis.layer.COLUMNS``, and by the text.

diagnosis = et.diagnose(model, (images, labels), units=8, fisher_examples=128, max_examples=500)
print(diagnosis.to_text())

# %%
# What the table says, drawn.

figure = diagnosis.plot()

# %%
# The activations themselves, unit by unit, in one pass.

statistics = et.layer_statistics(model, images, quantiles=(0.5,))
print(statistics.table.T)
