"""
Watch a ResNet train
====================

What does an update do in every layer of a small residual network while Lightning trains it? How much of its effect is a
shift of the mean, the same for every input, and how does that change?
"""

import logging
import warnings

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import elutheory as et
from elutheory.callbacks import LightningWatch

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")

# %%
# A residual network of two blocks. Its activation functions are called, ``torch.relu(…)``, not modules; they are seen
# all the same.


class Block(nn.Module):
    """Two convolutions around a short cut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x))))))


class ResNet(lightning.LightningModule):
    """For images of 8 × 8 pixels in ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block1, self.block2 = nn.Conv2d(1, 8, 3, padding=1), Block(8), Block(8)
        self.classify = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.block1(torch.relu(self.stem(x))))
        return self.classify(x.mean((2, 3)))

    def training_step(self, batch: list[Tensor]) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


# %%
# The callback measures every 20 updates. Left out, ``every`` follows from what measuring takes: at most 5 % of the
# time.

digits = load_digits()
images = torch.tensor(digits.images[:600, None] / 16.0, dtype=torch.float32)
labels = torch.tensor(digits.target[:600])
torch.manual_seed(0)
model, watch = ResNet(), LightningWatch(every=20, examples=16, units=4)
before = et.layer_statistics(model, images)
trainer = lightning.Trainer(
    max_epochs=3,
    accelerator="cpu",
    logger=False,
    callbacks=[watch],
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(model, DataLoader(TensorDataset(images, labels), batch_size=30, shuffle=True))

# %%
# One row per measurement and layer; ``bias_shift_share`` is the share of the update's effect that is a shift.

table = watch.table
print(table.pivot(index="layer", columns="step", values="bias_shift_share").round(3))
print(table.pivot(index="layer", columns="step", values="mean_share").round(3))

# %%
# The activations before and after, unit means and dead units among them, in one table and one figure.

comparison = et.compare(before, et.layer_statistics(model, images))
print(comparison.table[["layer", "mean_before", "mean_after", "dead_share_before", "dead_share_after"]].to_string())
figure = comparison.plot()
